//! Probes through the data plane: the target's security group judges them.

use std::net::Ipv4Addr;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::pipeline::{Config, Pipeline, Sink};
use vpclab_dataplane::tables::{LoadBalancerKind, TargetHealth};
use vpclab_dataplane::time::{Duration, Instant};

use super::testing::Peer;
use super::*;
use crate::api::testing::*;
use crate::api::*;
use crate::model::*;

#[derive(Default)]
struct Out {
    to_hosts: Vec<(EniId, Frame)>,
    to_nodes: Vec<(EniId, Frame)>,
}

impl Sink for Out {
    fn transmit(&mut self, port: EniId, frame: Frame) {
        self.to_hosts.push((port, frame));
    }

    fn local(&mut self, eni: EniId, frame: Frame) {
        self.to_nodes.push((eni, frame));
    }
}

/// A host's interface with this address in a group that admits `port`.
fn host(
    control: &mut ControlPlane,
    vpc: &VpcId,
    subnet: &SubnetId,
    address: Ipv4Addr,
    port: u16,
) -> NetworkInterfaceId {
    let group = security_group(control, vpc, &format!("port-{port}"));
    let rule = AuthorizeSecurityGroup {
        group: group.clone(),
        permissions: vec![Permission::tcp(port, RulePeer::Cidr(cidr("10.0.0.0/16")))],
        ..AuthorizeSecurityGroup::default()
    };
    control.execute(rule).unwrap();
    let request = CreateNetworkInterface {
        subnet: subnet.clone(),
        private_ip_address: Some(address),
        groups: vec![group],
        ..CreateNetworkInterface::default()
    };
    let id = control.execute(request).unwrap();
    let attach = AttachNetworkInterface {
        network_interface: id.clone(),
        host: "web".into(),
        ..AttachNetworkInterface::default()
    };
    control.execute(attach).unwrap();
    id
}

/// Health of a target at `address` after 41 s, whose group admits `port` while
/// it listens on port 80. The node is 10.0.1.4.
fn health_of(address: [u8; 4], port: u16) -> TargetHealth {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let node_subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
    let other = subnet(&mut control, &vpc, "10.0.2.0/24");
    let at = if address[2] == 1 {
        &node_subnet
    } else {
        &other
    };
    let balancer = CreateLoadBalancer::new("lb", LoadBalancerKind::Network, [node_subnet.clone()]);
    let balancer = control.execute(balancer).unwrap();
    let target = host(&mut control, &vpc, at, address.into(), port);
    let group = CreateTargetGroup::new("web", LbProtocol::Tcp, 80, vpc);
    let group = control.execute(group).unwrap();
    let listener = CreateListener {
        load_balancer_arn: balancer.clone(),
        protocol: Some(LbProtocol::Tcp),
        port: Some(80),
        target_group_arn: group.clone(),
        tcp_idle_s: None,
    };
    control.execute(listener).unwrap();
    let register = RegisterTargets {
        target_group_arn: group.clone(),
        targets: vec![TargetDescription::new(Ipv4Addr::from(address).to_string())],
    };
    control.execute(register).unwrap();

    let model = control.model();
    let node = model.get(&balancer).unwrap().nodes[0].interface.clone();
    let node_mac = model.get(&node).unwrap().mac;
    let target_port = EniId(model.row(&target).unwrap());
    let mac = model.get(&target).unwrap().mac;
    let router = crate::compile::router_mac(model.row(at).unwrap());
    let next_hop = if address[2] == 1 { node_mac } else { router };
    let socket = std::net::SocketAddr::from((address, 80)).to_string();
    let mut peer = Peer::new(mac, next_hop, &socket, true, b"");

    let mut pipeline = Pipeline::new(Config::default());
    let mut checks = HealthChecks::new(7);
    assert!(checks.sync(Instant::ZERO, control.model()).is_empty());
    let (mut rx, mut now) = (Vec::new(), Instant::ZERO);
    while now < Instant::from_secs(41) {
        let mut batch = Vec::new();
        for change in checks.poll(now, &mut rx, &mut batch).health {
            control.execute(change).unwrap();
        }
        let mut out = Out::default();
        let tables = control.tables().snapshot();
        pipeline.process(now, &tables, &mut batch, &mut out);
        let mut to_peer: Vec<Frame> = std::mem::take(&mut out.to_hosts)
            .into_iter()
            .map(|(port, frame)| {
                assert_eq!(port, target_port);
                frame
            })
            .collect();
        peer.poll(now, &mut to_peer, &mut batch);
        for frame in &mut batch {
            frame.port = target_port;
        }
        pipeline.process(now, &tables, &mut batch, &mut out);
        rx.append(&mut out.to_nodes);
        let soon = now + Duration::from_millis(1);
        now = match checks.next_deadline() {
            Some(at) if rx.is_empty() => at.max(soon),
            _ => soon,
        };
    }
    let group = control.model().get(&group).unwrap();
    group.targets[0].health
}

#[test]
fn a_probe_reaches_a_target_of_the_nodes_subnet_and_of_another() {
    assert_eq!(health_of([10, 0, 1, 50], 80), TargetHealth::Healthy);
    assert_eq!(health_of([10, 0, 2, 50], 80), TargetHealth::Healthy);
}

#[test]
fn a_target_whose_group_does_not_admit_the_probe_is_unhealthy() {
    assert_eq!(health_of([10, 0, 1, 50], 81), TargetHealth::Unhealthy);
    assert_eq!(health_of([10, 0, 2, 50], 81), TargetHealth::Unhealthy);
}
