use std::net::IpAddr;

use vpclab_dataplane::tables::EniKind;

use super::super::testing::*;
use super::super::*;
use super::*;

fn nlb(control: &mut ControlPlane, subnets: &[SubnetId]) -> LoadBalancerArn {
    let request = CreateLoadBalancer::new("web", LoadBalancerKind::Network, subnets.to_vec());
    control.execute(request).unwrap()
}

#[test]
fn a_load_balancer_has_a_requester_managed_node_in_each_subnet() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let a = subnet_in(&mut control, &vpc, "10.0.1.0/24", "us-east-1a");
    let b = subnet_in(&mut control, &vpc, "10.0.2.0/24", "us-east-1b");
    let mut request = CreateLoadBalancer::new("web", LoadBalancerKind::Network, [a, b]);
    request.subnets[1].private_ipv4 = Some([10, 0, 2, 200].into());
    let arn = control.execute(request).unwrap();
    assert!(
        arn.as_str().starts_with(
            "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/web/"
        ),
        "{arn}"
    );
    let (tables, row) = row(&control, &arn);
    assert!(!row.cross_zone);
    assert!(row.enforce_privatelink_groups);
    let addresses: Vec<(u16, IpAddr)> = row
        .nodes
        .iter()
        .map(|node| {
            let eni = tables.enis.row(node.eni).unwrap();
            assert!(matches!(eni.kind, EniKind::LoadBalancer(_)));
            assert!(eni.attached);
            let subnet = tables.subnets.row(eni.subnet).unwrap();
            assert_eq!(subnet.az, node.az);
            (node.az.0, eni.addresses[0])
        })
        .collect();
    assert_eq!(addresses[0].1, IpAddr::from([10, 0, 1, 4]));
    assert_eq!(addresses[1].1, IpAddr::from([10, 0, 2, 200]));
    assert_ne!(addresses[0].0, addresses[1].0);
    assert_consistent(&control);
}

fn row(
    control: &ControlPlane,
    arn: &LoadBalancerArn,
) -> (
    std::sync::Arc<vpclab_dataplane::tables::Snapshot>,
    vpclab_dataplane::tables::LoadBalancerRow,
) {
    let tables = control.tables().snapshot();
    let index = control.model().row(arn).unwrap();
    let row = tables.load_balancers.row(index).unwrap().clone();
    (tables, row)
}

#[test]
fn wrong_subnets_names_and_groups_are_refused() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let a = subnet(&mut control, &vpc, "10.0.1.0/24");
    let same_zone = subnet(&mut control, &vpc, "10.0.2.0/24");
    let elsewhere = vpc_with(&mut control, "10.1.0.0/16");
    let other = subnet_in(&mut control, &elsewhere, "10.1.1.0/24", "us-east-1b");
    let network =
        |subnets: Vec<SubnetId>| CreateLoadBalancer::new("web", LoadBalancerKind::Network, subnets);
    let code = "InvalidConfigurationRequest";
    let twice = network(vec![a.clone(), same_zone.clone()]);
    refused(&mut control, twice, code, same_zone.as_str());
    refused(
        &mut control,
        network(vec![a.clone(), other.clone()]),
        code,
        other.as_str(),
    );
    refused(
        &mut control,
        network(Vec::new()),
        "ValidationError",
        "subnet",
    );
    let unknown = network(vec!["subnet-12345678".into()]);
    refused(&mut control, unknown, "SubnetNotFound", "subnet-12345678");
    for name in ["", "-web", "web-", "we_b", &"x".repeat(33)] {
        let request = CreateLoadBalancer {
            name: name.to_owned(),
            ..network(vec![a.clone()])
        };
        refused(&mut control, request, "ValidationError", name);
    }
    let group = default_group(&control, &elsewhere);
    let foreign = CreateLoadBalancer {
        security_groups: vec![group.clone()],
        ..network(vec![a.clone()])
    };
    refused(
        &mut control,
        foreign,
        "InvalidSecurityGroup",
        group.as_str(),
    );
    let gateway = CreateLoadBalancer {
        kind: LoadBalancerKind::Gateway,
        security_groups: vec![default_group(&control, &vpc)],
        ..network(vec![a.clone()])
    };
    refused(&mut control, gateway, code, "gateway");
    let mut reserved = network(vec![a]);
    reserved.subnets[0].private_ipv4 = Some([10, 0, 1, 2].into());
    refused(&mut control, reserved, "InvalidParameterValue", "10.0.1.2");
}

#[test]
fn the_same_request_again_makes_nothing_and_another_by_that_name_is_refused() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let a = subnet(&mut control, &vpc, "10.0.1.0/24");
    let first = nlb(&mut control, std::slice::from_ref(&a));
    assert_eq!(nlb(&mut control, std::slice::from_ref(&a)), first);
    let gateway = CreateLoadBalancer::new("web", LoadBalancerKind::Gateway, [a]);
    refused(&mut control, gateway, "DuplicateLoadBalancerName", "web");
}

#[test]
fn nodes_follow_the_subnets_and_groups_that_are_set() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let a = subnet_in(&mut control, &vpc, "10.0.1.0/24", "us-east-1a");
    let b = subnet_in(&mut control, &vpc, "10.0.2.0/24", "us-east-1b");
    let c = subnet_in(&mut control, &vpc, "10.0.3.0/24", "us-east-1c");
    let arn = nlb(&mut control, &[a.clone(), b.clone()]);
    let kept = row(&control, &arn).1.nodes[1].clone();
    let gone = row(&control, &arn).1.nodes[0].clone();
    let request = SetSubnets {
        load_balancer_arn: arn.clone(),
        subnets: vec![b.into(), c.into()],
    };
    control.execute(request).unwrap();
    let (tables, now) = row(&control, &arn);
    assert_eq!(now.nodes.len(), 2);
    assert_eq!(now.nodes[0], kept);
    assert_eq!(tables.enis.len(), 2, "{gone:?} went or was reused");
    let groups = SetSecurityGroups {
        load_balancer_arn: arn,
        security_groups: vec![default_group(&control, &vpc)],
        enforce_on_privatelink: None,
    };
    refused(&mut control, groups, "InvalidConfigurationRequest", "web");
    assert_consistent(&control);
}

#[test]
fn groups_given_at_creation_can_be_changed_and_enforcement_switched() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let a = subnet(&mut control, &vpc, "10.0.1.0/24");
    let group = default_group(&control, &vpc);
    let request = CreateLoadBalancer {
        security_groups: vec![group.clone()],
        ..CreateLoadBalancer::new("web", LoadBalancerKind::Network, [a])
    };
    let arn = control.execute(request).unwrap();
    let request = SetSecurityGroups {
        load_balancer_arn: arn.clone(),
        security_groups: vec![group.clone()],
        enforce_on_privatelink: Some(false),
    };
    control.execute(request).unwrap();
    let (tables, now) = row(&control, &arn);
    assert!(!now.enforce_privatelink_groups);
    let node = tables.enis.row(now.nodes[0].eni).unwrap();
    let index = control.model().row(&group).unwrap();
    assert_eq!(node.groups, [index.into()]);
    let none = SetSecurityGroups {
        load_balancer_arn: arn,
        ..SetSecurityGroups::default()
    };
    refused(
        &mut control,
        none,
        "InvalidConfigurationRequest",
        "security group",
    );
}

#[test]
fn deleting_takes_nodes_and_listeners_and_is_refused_while_a_service_uses_it() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let a = subnet(&mut control, &vpc, "10.0.1.0/24");
    let arn = nlb(&mut control, &[a]);
    let group = CreateTargetGroup::new("web", LbProtocol::Tcp, 80, vpc);
    let group = control.execute(group).unwrap();
    let listener = CreateListener {
        load_balancer_arn: arn.clone(),
        protocol: Some(LbProtocol::Tcp),
        port: Some(80),
        target_group_arn: group.clone(),
        tcp_idle_s: None,
    };
    control.execute(listener).unwrap();
    let service = CreateVpcEndpointServiceConfiguration {
        network_load_balancer_arns: vec![arn.clone()],
        ..Default::default()
    };
    let service = control.execute(service).unwrap().service;
    let delete = DeleteLoadBalancer {
        load_balancer_arn: arn,
    };
    refused(
        &mut control,
        delete.clone(),
        "ResourceInUse",
        service.as_str(),
    );
    let services = DeleteVpcEndpointServiceConfigurations {
        services: vec![service],
    };
    assert_eq!(control.execute(services).unwrap(), []);
    control.execute(delete.clone()).unwrap();
    control.execute(delete).unwrap();
    let tables = control.tables().snapshot();
    assert!(tables.enis.is_empty() && tables.load_balancers.is_empty());
    assert!(control.model().listeners().is_empty());
    assert_consistent(&control);
}

#[test]
fn a_listener_is_checked_against_its_target_group_and_its_port() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let a = subnet(&mut control, &vpc, "10.0.1.0/24");
    let balancer = nlb(&mut control, std::slice::from_ref(&a));
    let mut group = |name: &str, protocol, port| {
        let request = CreateTargetGroup::new(name, protocol, port, vpc.clone());
        control.execute(request).unwrap()
    };
    let tcp = group("tcp", LbProtocol::Tcp, 80);
    let both = group("both", LbProtocol::TcpUdp, 53);
    let geneve = group("geneve", LbProtocol::Geneve, 6081);
    let listener = |protocol, port, group: &TargetGroupArn| CreateListener {
        load_balancer_arn: balancer.clone(),
        protocol: Some(protocol),
        port: Some(port),
        target_group_arn: group.clone(),
        tcp_idle_s: None,
    };
    let udp = listener(LbProtocol::Udp, 80, &tcp);
    refused(&mut control, udp, "IncompatibleProtocols", "UDP");
    let wrong = listener(LbProtocol::Geneve, 80, &geneve);
    refused(&mut control, wrong, "UnsupportedProtocol", "GENEVE");
    let zero = listener(LbProtocol::Tcp, 0, &tcp);
    refused(&mut control, zero, "ValidationError", "port");
    for idle in [59, 6001] {
        let request = CreateListener {
            tcp_idle_s: Some(idle),
            ..listener(LbProtocol::Tcp, 80, &tcp)
        };
        refused(&mut control, request, "ValidationError", &idle.to_string());
    }
    let first = listener(LbProtocol::Tcp, 80, &tcp);
    let first = control.execute(first).unwrap();
    assert!(first.as_str().contains(":listener/net/web/"), "{first}");
    let again = listener(LbProtocol::Tcp, 80, &tcp);
    refused(&mut control, again, "DuplicateListener", "80");
    control
        .execute(listener(LbProtocol::TcpUdp, 53, &both))
        .unwrap();
    let row = row(&control, &balancer).1;
    let mut shown: Vec<(u8, u16)> = row.listeners.iter().map(|l| (l.protocol, l.port)).collect();
    shown.sort_unstable();
    assert_eq!(shown, [(6, 53), (6, 80), (17, 53)]);

    let gateway = CreateLoadBalancer::new("gwy", LoadBalancerKind::Gateway, [a]);
    let gateway = control.execute(gateway).unwrap();
    let bare = CreateListener {
        load_balancer_arn: gateway.clone(),
        target_group_arn: geneve,
        ..CreateListener::default()
    };
    let with_port = CreateListener {
        port: Some(6081),
        ..bare.clone()
    };
    refused(&mut control, with_port, "ValidationError", "gateway");
    control.execute(bare.clone()).unwrap();
    refused(&mut control, bare, "TooManyListeners", "gwy");
    let shared = CreateListener {
        load_balancer_arn: gateway,
        target_group_arn: tcp.clone(),
        ..CreateListener::default()
    };
    refused(&mut control, shared, "IncompatibleProtocols", "TCP");
    let change = ModifyListener {
        listener_arn: first.clone(),
        port: Some(8080),
        tcp_idle_s: Some(60),
        ..ModifyListener::default()
    };
    control.execute(change).unwrap();
    let clash = ModifyListener {
        listener_arn: first.clone(),
        port: Some(53),
        ..ModifyListener::default()
    };
    refused(&mut control, clash, "DuplicateListener", "53");
    let in_use = DeleteTargetGroup {
        target_group_arn: tcp.clone(),
    };
    refused(
        &mut control,
        in_use.clone(),
        "ResourceInUse",
        first.as_str(),
    );
    let gone = DeleteListener {
        listener_arn: first,
    };
    control.execute(gone).unwrap();
    control.execute(in_use).unwrap();
    assert_consistent(&control);
}
