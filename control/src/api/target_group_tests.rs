use std::net::IpAddr;

use vpclab_dataplane::tables::{self, TargetHealth};
use vpclab_dataplane::time::Instant;

use super::super::testing::*;
use super::super::*;
use super::*;

struct Fixture {
    control: ControlPlane,
    vpc: VpcId,
    group: TargetGroupArn,
}

/// A VPC 10.0.0.0/16 with 10.0.1.0/24 in zone a and 10.0.2.0/24 in zone b, and
/// a TCP group whose listener is on a load balancer.
fn fixture() -> Fixture {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let a = subnet_in(&mut control, &vpc, "10.0.1.0/24", "us-east-1a");
    subnet_in(&mut control, &vpc, "10.0.2.0/24", "us-east-1b");
    let group = CreateTargetGroup::new("web", LbProtocol::Tcp, 80, vpc.clone());
    let group = control.execute(group).unwrap();
    let kind = vpclab_dataplane::tables::LoadBalancerKind::Network;
    let balancer = CreateLoadBalancer::new("web", kind, [a]);
    let listener = CreateListener {
        load_balancer_arn: control.execute(balancer).unwrap(),
        protocol: Some(LbProtocol::Tcp),
        port: Some(80),
        target_group_arn: group.clone(),
        tcp_idle_s: None,
    };
    control.execute(listener).unwrap();
    Fixture {
        control,
        vpc,
        group,
    }
}

impl Fixture {
    fn rows(&self) -> Vec<tables::Target> {
        let tables = self.control.tables().snapshot();
        let index = self.control.model().row(&self.group).unwrap();
        tables.target_groups.row(index).unwrap().targets.clone()
    }

    fn register(&self, targets: Vec<TargetDescription>) -> RegisterTargets {
        RegisterTargets {
            target_group_arn: self.group.clone(),
            targets,
        }
    }

    fn deregister(&mut self, id: &str, at_s: u64) {
        let request = DeregisterTargets {
            target_group_arn: self.group.clone(),
            targets: vec![TargetDescription::new(id)],
            now: Instant::from_secs(at_s),
        };
        self.control.execute(request).unwrap();
    }
}

#[test]
fn geneve_needs_its_port_and_names_are_unique() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let geneve = CreateTargetGroup::new("gwy", LbProtocol::Geneve, 80, vpc.clone());
    refused(&mut control, geneve, "ValidationError", "6081");
    let tcp = CreateTargetGroup::new("web", LbProtocol::Tcp, 80, vpc.clone());
    let first = control.execute(tcp.clone()).unwrap();
    assert_eq!(control.execute(tcp).unwrap(), first, "idempotent");
    let other = CreateTargetGroup::new("web", LbProtocol::Tcp, 81, vpc);
    refused(&mut control, other, "DuplicateTargetGroupName", "web");
    let nowhere = CreateTargetGroup::new("x", LbProtocol::Tcp, 80, "vpc-12345678".into());
    refused(&mut control, nowhere, "ValidationError", "vpc-12345678");
}

#[test]
fn a_target_has_the_zone_of_the_subnet_that_holds_it() {
    let mut f = fixture();
    let mut outside = TargetDescription::new("192.168.7.7");
    outside.all_zones = true;
    let request = f.register(vec![
        TargetDescription::new("10.0.1.10"),
        TargetDescription::new("10.0.2.10"),
        outside,
    ]);
    f.control.execute(request).unwrap();
    let zone = |name| f.control.model().zone(name);
    let shown: Vec<_> = f.rows().iter().map(|t| (t.address, t.az)).collect();
    assert_eq!(
        shown,
        [
            (IpAddr::from([10, 0, 1, 10]), zone("us-east-1a")),
            (IpAddr::from([10, 0, 2, 10]), zone("us-east-1b")),
            (IpAddr::from([192, 168, 7, 7]), None),
        ]
    );
    assert!(f.rows().iter().all(|t| t.health == TargetHealth::Initial));
    // A subnet made later gives its targets their zone.
    let late = f.register(vec![TargetDescription::new("10.0.9.9")]);
    f.control.execute(late).unwrap();
    assert_eq!(f.rows()[3].az, None);
    subnet_in(&mut f.control, &f.vpc.clone(), "10.0.9.0/24", "us-east-1c");
    assert_eq!(f.rows()[3].az, f.control.model().zone("us-east-1c"));
    assert_consistent(&f.control);
}

#[test]
fn targets_that_cannot_be_are_refused() {
    let mut f = fixture();
    for bad in ["192.168.7.7", "8.8.8.8", "web-1", "eni-12345678"] {
        let request = f.register(vec![TargetDescription::new(bad)]);
        refused(&mut f.control, request, "InvalidTarget", bad);
    }
    for bad in ["10.0.1.10", "8.8.8.8"] {
        let mut target = TargetDescription::new(bad);
        target.all_zones = true;
        let request = f.register(vec![target]);
        refused(&mut f.control, request, "InvalidTarget", bad);
    }
    f.control
        .quotas_mut()
        .set(Quota::TargetsPerZonePerNetworkLoadBalancer, 1);
    let two = ["10.0.1.10", "10.0.1.11"].map(TargetDescription::new);
    let request = f.register(two.to_vec());
    refused(&mut f.control, request, "TooManyTargets", "Targets per");
}

#[test]
fn a_deregistered_target_drains_for_the_delay_and_can_come_back() {
    let mut f = fixture();
    let both = ["10.0.1.10", "10.0.1.11"].map(TargetDescription::new);
    let request = f.register(both.to_vec());
    f.control.execute(request.clone()).unwrap();
    f.deregister("10.0.1.10", 100);
    assert_eq!(f.rows()[0].health, TargetHealth::Draining);
    assert_eq!(f.rows()[1].health, TargetHealth::Initial);
    let finish = |at_s| FinishDeregistration {
        target_group_arn: f.group.clone(),
        now: Instant::from_secs(at_s),
    };
    let (early, late) = (finish(399), finish(400));
    f.control.execute(early).unwrap();
    assert_eq!(f.rows().len(), 2);
    f.control.execute(late.clone()).unwrap();
    assert_eq!(f.rows().len(), 1);

    f.deregister("10.0.1.11", 500);
    f.control.execute(request).unwrap();
    assert_eq!(f.rows().len(), 2);
    assert!(f.rows().iter().all(|t| t.health == TargetHealth::Initial));
    f.control.execute(late).unwrap();
    assert_eq!(f.rows().len(), 2, "re-registered, so nothing drains");
    f.deregister("10.0.1.99", 500);
    assert_consistent(&f.control);
}

#[test]
fn health_is_set_and_never_on_a_draining_target() {
    let mut f = fixture();
    let request = f.register(vec![TargetDescription::new("10.0.1.10")]);
    f.control.execute(request).unwrap();
    let set = |health| SetTargetHealth {
        target_group_arn: f.group.clone(),
        target: TargetId::Address([10, 0, 1, 10].into()),
        port: 80,
        health,
        failure: None,
    };
    let (up, down) = (set(TargetHealth::Healthy), set(TargetHealth::Unhealthy));
    f.control.execute(up).unwrap();
    assert_eq!(f.rows()[0].health, TargetHealth::Healthy);
    f.deregister("10.0.1.10", 0);
    f.control.execute(down).unwrap();
    assert_eq!(f.rows()[0].health, TargetHealth::Draining);
}

#[test]
fn attributes_belong_to_a_kind_of_group() {
    let mut f = fixture();
    let of = |group: &TargetGroupArn| ModifyTargetGroupAttributes {
        target_group_arn: group.clone(),
        ..Default::default()
    };
    let sticky = ModifyTargetGroupAttributes {
        stickiness: Some(Stickiness::TwoTuple),
        ..of(&f.group)
    };
    refused(&mut f.control, sticky, "ValidationError", "stickiness.type");
    let delay = ModifyTargetGroupAttributes {
        deregistration_delay_s: Some(3601),
        ..of(&f.group)
    };
    refused(&mut f.control, delay, "ValidationError", "3601");

    let geneve = CreateTargetGroup::new("gwy", LbProtocol::Geneve, 6081, f.vpc.clone());
    let geneve = f.control.execute(geneve).unwrap();
    let reset = ModifyTargetGroupAttributes {
        reset_on_idle: Some(true),
        ..of(&geneve)
    };
    f.control.execute(reset).unwrap();
    let sticky = ModifyTargetGroupAttributes {
        stickiness: Some(Stickiness::ThreeTuple),
        ..of(&geneve)
    };
    refused(&mut f.control, sticky, "ValidationError", "5-tuple");
    let all = ModifyTargetGroupAttributes {
        stickiness: Some(Stickiness::ThreeTuple),
        failover: Some(Failover::Rebalance),
        reset_on_idle: Some(false),
        deregistration_delay_s: Some(0),
        ..of(&geneve)
    };
    f.control.execute(all).unwrap();
    let tables = f.control.tables().snapshot();
    let index = f.control.model().row(&geneve).unwrap();
    let row = tables.target_groups.row(index).unwrap();
    assert_eq!(row.stickiness, Stickiness::ThreeTuple);
    assert_eq!(row.failover, Failover::Rebalance);
    assert_consistent(&f.control);
}

#[test]
fn a_host_is_a_target_by_its_interface_or_its_name() {
    let mut f = fixture();
    let subnets: Vec<SubnetId> = f
        .control
        .model()
        .subnets()
        .iter()
        .map(|subnet| subnet.id.clone())
        .collect();
    let first = interface(&mut f.control, &subnets[0]);
    let second = interface(&mut f.control, &subnets[1]);
    let hosts = CreateTargetGroup {
        target_type: TargetType::Instance,
        ..CreateTargetGroup::new("hosts", LbProtocol::Tcp, 80, f.vpc.clone())
    };
    f.group = f.control.execute(hosts).unwrap();
    let host = f.control.model().get(&second).unwrap().attachment.clone();
    let names = [first.to_string(), host.unwrap().host.to_string()];
    let request = f.register(names.map(TargetDescription::new).to_vec());
    f.control.execute(request.clone()).unwrap();
    f.control.execute(request).unwrap();
    let primary = |id: &NetworkInterfaceId| f.control.model().get(id).unwrap().primary();
    let expected = [&first, &second].map(|id| IpAddr::V4(primary(id).unwrap()));
    let shown: Vec<IpAddr> = f.rows().iter().map(|target| target.address).collect();
    assert_eq!(shown, expected);
    assert!(f.rows().iter().all(|target| target.az.is_some()));
    let foreign = f.register(vec![TargetDescription::new("10.0.1.10")]);
    refused(&mut f.control, foreign, "InvalidTarget", "10.0.1.10");
    // A host that goes takes its target's address with it.
    let detach = DetachNetworkInterface {
        network_interface: first.clone(),
    };
    f.control.execute(detach).unwrap();
    let delete = DeleteNetworkInterface {
        network_interface: first,
    };
    f.control.execute(delete).unwrap();
    assert_eq!(f.rows().len(), 1);
    assert_consistent(&f.control);
}
