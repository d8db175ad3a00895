//! The health checks of a control plane, with targets that are up or silent.

use std::net::IpAddr;

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::tables::{LoadBalancerKind, TargetHealth};
use vpclab_dataplane::time::{Duration, Instant};

use super::testing::Peer;
use super::*;
use crate::api::testing::*;
use crate::api::*;
use crate::model::*;

/// A load balancer in zones a and b with a target in each.
struct Fixture {
    control: ControlPlane,
    checks: HealthChecks,
    balancer: LoadBalancerArn,
    group: TargetGroupArn,
    listener: ListenerArn,
}

const IN_A: &str = "10.0.1.50";
const IN_B: &str = "10.0.2.50";

fn fixture() -> Fixture {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let a = subnet_in(&mut control, &vpc, "10.0.1.0/24", "us-east-1a");
    let b = subnet_in(&mut control, &vpc, "10.0.2.0/24", "us-east-1b");
    let balancer = CreateLoadBalancer::new("web", LoadBalancerKind::Network, [a, b]);
    let balancer = control.execute(balancer).unwrap();
    let group = CreateTargetGroup::new("web", LbProtocol::Tcp, 80, vpc);
    let group = control.execute(group).unwrap();
    let listener = control.execute(listener(&balancer, &group)).unwrap();
    let targets = RegisterTargets {
        target_group_arn: group.clone(),
        targets: vec![TargetDescription::new(IN_A), TargetDescription::new(IN_B)],
    };
    control.execute(targets).unwrap();
    let mut checks = HealthChecks::new(7);
    assert!(checks.sync(Instant::ZERO, control.model()).is_empty());
    Fixture {
        control,
        checks,
        balancer,
        group,
        listener,
    }
}

fn listener(balancer: &LoadBalancerArn, group: &TargetGroupArn) -> CreateListener {
    CreateListener {
        load_balancer_arn: balancer.clone(),
        protocol: Some(LbProtocol::Tcp),
        port: Some(80),
        target_group_arn: group.clone(),
        tcp_idle_s: None,
    }
}

impl Fixture {
    fn apply(&mut self, now: Instant, changes: HealthChanges) {
        for change in changes.health {
            self.control.execute(change).unwrap();
        }
        for change in changes.drained {
            self.control.execute(change).unwrap();
        }
        let more = self.checks.sync(now, self.control.model());
        assert!(more.is_empty(), "one round settles: {more:?}");
    }

    fn sync(&mut self, now: Instant) {
        let changes = self.checks.sync(now, self.control.model());
        self.apply(now, changes);
    }

    fn health(&self) -> Vec<TargetHealth> {
        let group = self.control.model().get(&self.group).unwrap();
        group.targets.iter().map(|target| target.health).collect()
    }

    /// Port, MAC address and router's MAC address of the node at this address.
    fn node(&self, address: [u8; 4]) -> (EniId, Mac, Mac) {
        let tables = self.control.tables().snapshot();
        let (index, eni) = tables
            .enis
            .iter()
            .find(|(_, eni)| eni.addresses.contains(&IpAddr::from(address)))
            .unwrap();
        let subnet = tables.subnets.row(eni.subnet).unwrap();
        (EniId(index), eni.mac, subnet.router_mac)
    }

    /// Sources and destinations of the first packets of new probes.
    fn probes(&mut self, now: Instant) -> Vec<(String, String)> {
        let mut tx = Vec::new();
        let _ = self.checks.poll(now, &mut Vec::new(), &mut tx);
        let mut shown: Vec<_> = tx.iter().map(addresses).collect();
        shown.sort();
        shown
    }
}

fn addresses(frame: &Frame) -> (String, String) {
    let at = |from: usize| {
        let bytes: [u8; 4] = frame.bytes()[from..from + 4].try_into().unwrap();
        IpAddr::from(bytes).to_string()
    };
    (at(26), at(30))
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(a, b): &(&str, &str)| (a.to_owned(), b.to_owned());
    list.iter().map(owned).collect()
}

#[test]
fn each_node_probes_the_targets_that_it_would_use() {
    let mut f = fixture();
    let own_zone = [("10.0.1.4", IN_A), ("10.0.2.4", IN_B)];
    assert_eq!(f.probes(Instant::ZERO), pairs(&own_zone));
    let cross_zone = ModifyLoadBalancerAttributes {
        load_balancer_arn: f.balancer.clone(),
        cross_zone: Some(true),
        ..Default::default()
    };
    f.control.execute(cross_zone).unwrap();
    f.sync(Instant::from_millis(1));
    let added = [("10.0.1.4", IN_B), ("10.0.2.4", IN_A)];
    assert_eq!(f.probes(Instant::from_millis(1)), pairs(&added));
}

#[test]
fn a_target_that_answers_is_healthy_and_a_silent_one_unhealthy() {
    let mut f = fixture();
    let (port, mac, router) = f.node([10, 0, 1, 4]);
    let mut peer = Peer::new(router, mac, "10.0.1.50:80", true, b"");
    let (mut rx, mut tx) = (Vec::new(), Vec::new());
    let mut now = Instant::ZERO;
    let mut healthy_at = None;
    while now < Instant::from_secs(41) {
        let changes = f.checks.poll(now, &mut rx, &mut tx);
        f.apply(now, changes);
        if f.health()[0] == TargetHealth::Healthy {
            healthy_at.get_or_insert(now);
        }
        if now < Instant::from_secs(39) {
            assert_eq!(f.health()[1], TargetHealth::Initial, "{now:?}");
        }
        tx.retain(|frame| frame.port == port);
        let mut replies = Vec::new();
        peer.poll(now, &mut tx, &mut replies);
        rx.extend(replies.into_iter().map(|frame| (port, frame)));
        let soon = now + Duration::from_millis(1);
        now = if rx.is_empty() {
            f.checks.next_deadline().unwrap().max(soon)
        } else {
            soon
        };
    }
    assert!(healthy_at.unwrap() < Instant::from_millis(10));
    assert_eq!(f.health(), [TargetHealth::Healthy, TargetHealth::Unhealthy]);
    let group = f.control.model().get(&f.group).unwrap();
    let failure = group.targets[1].failure.unwrap();
    assert_eq!(failure.reason(), "Target.Timeout");
}

#[test]
fn targets_without_a_listener_are_unused() {
    let mut f = fixture();
    let gone = DeleteListener {
        listener_arn: f.listener.clone(),
    };
    f.control.execute(gone).unwrap();
    f.sync(Instant::ZERO);
    assert_eq!(f.health(), [TargetHealth::Unused; 2]);
    assert_eq!(f.probes(Instant::ZERO), []);
    assert_eq!(f.checks.next_deadline(), None);
    let back = listener(&f.balancer, &f.group);
    f.control.execute(back).unwrap();
    f.sync(Instant::ZERO);
    assert_eq!(f.health(), [TargetHealth::Initial; 2]);
    assert_eq!(f.probes(Instant::ZERO).len(), 2);
}

#[test]
fn a_draining_target_is_not_probed_and_goes_when_its_delay_is_over() {
    let mut f = fixture();
    let request = DeregisterTargets {
        target_group_arn: f.group.clone(),
        targets: vec![TargetDescription::new(IN_A)],
        now: Instant::from_secs(1),
    };
    f.control.execute(request).unwrap();
    f.sync(Instant::from_secs(1));
    assert_eq!(
        f.probes(Instant::from_secs(1)),
        pairs(&[("10.0.2.4", IN_B)])
    );
    assert_eq!(f.health()[0], TargetHealth::Draining);
    let over = Instant::from_secs(301);
    assert!(f.checks.next_deadline().unwrap() <= over);
    let changes = f.checks.poll(over, &mut Vec::new(), &mut Vec::new());
    assert_eq!(changes.drained.len(), 1);
    f.apply(over, changes);
    assert_eq!(f.health().len(), 1);
}

#[test]
fn a_target_with_an_interface_in_the_nodes_subnet_is_framed_directly() {
    let mut f = fixture();
    let (_, mac, _) = f.node([10, 0, 1, 4]);
    // The node itself is the one interface at hand in this subnet.
    let request = RegisterTargets {
        target_group_arn: f.group.clone(),
        targets: vec![TargetDescription::new("10.0.1.4")],
    };
    f.control.execute(request).unwrap();
    f.sync(Instant::ZERO);
    let mut tx = Vec::new();
    let _ = f.checks.poll(Instant::ZERO, &mut Vec::new(), &mut tx);
    let direct = tx.iter().find(|frame| addresses(frame).1 == "10.0.1.4");
    assert_eq!(
        direct.map(|frame| frame.bytes()[..6].to_vec()),
        Some(mac.0.to_vec())
    );
    let (_, _, router) = f.node([10, 0, 1, 4]);
    let routed = tx.iter().find(|frame| addresses(frame).1 == IN_A);
    assert_eq!(
        routed.map(|frame| frame.bytes()[..6].to_vec()),
        Some(router.0.to_vec())
    );
}
