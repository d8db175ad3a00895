//! The four walks of ARCHITECTURE.md on hand-made rows.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{FiveTuple, Frame, protocol, tcp_flag};
use vpclab_dataplane::tables::*;
use vpclab_dataplane::time::Duration;

const SYN: u8 = tcp_flag::SYN;
const SYN_ACK: u8 = tcp_flag::SYN | tcp_flag::ACK;
const ACK: u8 = tcp_flag::ACK;

fn any(prefix: &str) -> Peer {
    Peer::Cidr(prefix.parse().unwrap())
}

fn port(n: u16) -> PortMatch {
    PortMatch::Range(n, n)
}

/// Consumer VPC 1 and provider VPC 2, both 10.0.0.0/16. ENI 1 client, 2
/// endpoint, 3 node, 4 server.
fn privatelink() -> World {
    let mut w = World::new();
    for vpc in [1, 2] {
        w.vpc(vpc, &["10.0.0.0/16"], false, None);
        w.table(vpc, &[("10.0.0.0/16", RouteTarget::Local)]);
        w.subnet(vpc * 10, vpc, &["10.0.1.0/24"], vpc);
        w.subnet(vpc * 10 + 1, vpc, &["10.0.2.0/24"], vpc);
    }
    w.group(
        1,
        vec![],
        vec![rule(None, PortMatch::Any, any("0.0.0.0/0"))],
    );
    w.group(
        2,
        vec![rule(Some(6), port(443), any("10.0.1.0/24"))],
        vec![],
    );
    w.group(
        4,
        vec![rule(Some(6), port(8443), any("10.0.1.0/24"))],
        vec![],
    );
    w.eni(1, 10, &["10.0.1.10"], &[1], EniKind::Host);
    w.eni(
        2,
        11,
        &["10.0.2.20"],
        &[2],
        EniKind::Endpoint(EndpointId(0)),
    );
    w.eni(
        3,
        20,
        &["10.0.1.30"],
        &[],
        EniKind::LoadBalancer(LoadBalancerId(0)),
    );
    w.eni(4, 21, &["10.0.2.40"], &[4], EniKind::Host);
    w.edit(|b| {
        let target = Target {
            address: ip("10.0.2.40"),
            port: 8443,
            az: Some(AzId(0)),
            health: TargetHealth::Healthy,
            failures: 0,
        };
        b.set_target_group(
            TargetGroupId(0),
            Some(TargetGroupRow {
                label: label("tg"),
                vpc: VpcId(2),
                targets: vec![target],
                stickiness: Stickiness::FiveTuple,
                failover: Failover::NoRebalance,
                reset_on_unhealthy: false,
                reset_on_deregistration: false,
                reset_on_idle: false,
                proxy_protocol: false,
                preserve_client_ip: false,
            }),
        );
        b.set_load_balancer(
            LoadBalancerId(0),
            Some(LoadBalancerRow {
                label: label("nlb"),
                kind: LoadBalancerKind::Network,
                vpc: VpcId(2),
                nodes: vec![LoadBalancerNode {
                    az: AzId(0),
                    eni: EniId(3),
                }],
                listeners: vec![Listener {
                    protocol: 6,
                    port: 443,
                    target_group: Some(TargetGroupId(0)),
                    tcp_idle: Duration::from_secs(350),
                }],
                cross_zone: false,
                enforce_privatelink_groups: true,
            }),
        );
        b.set_endpoint(
            EndpointId(0),
            Some(EndpointRow {
                label: label("vpce-0a1b2c3d4e5f60718"),
                vpce: 0xa1b2_c3d4_e5f6_0718,
                vpc: VpcId(1),
                available: true,
                kind: EndpointKind::Interface {
                    load_balancers: vec![LoadBalancerId(0)],
                    enis: vec![EniId(2)],
                },
            }),
        );
    });
    w
}

fn only(mut out: Vec<(EniId, Frame)>, port: u32) -> Frame {
    assert_eq!(out.len(), 1, "one frame expected");
    let (at, frame) = out.remove(0);
    assert_eq!(at, EniId(port));
    frame
}

#[test]
fn privatelink_translates_both_ways_between_equal_cidrs() {
    let mut w = privatelink();
    let seen = w.tcp(1, "10.0.1.10:40000", "10.0.2.20:443", SYN);
    assert_eq!(seen.drops, []);
    let at_server = read(&only(seen.out, 4)).tuple;
    assert_eq!(
        (at_server.src, at_server.dst, at_server.dport),
        (ip("10.0.1.30"), ip("10.0.2.40"), 8443)
    );
    assert!(at_server.sport >= 1024);
    for flags in [SYN_ACK, ACK, ACK] {
        let frame = w.frame(4, &at_server.reversed(), flags, b"");
        let back = read(&only(w.send(4, frame).out, 1)).tuple;
        assert_eq!(back, tcp("10.0.2.20:443", "10.0.1.10:40000"));
        let again = read(&only(
            w.tcp(1, "10.0.1.10:40000", "10.0.2.20:443", ACK).out,
            4,
        ))
        .tuple;
        assert_eq!(again, at_server);
    }
    assert_eq!(w.pipeline.counters().flow_misses, 2, "one walk each way");
    // Late data of an idle flow is answered with a reset.
    w.wait(351);
    let seen = w.tcp(1, "10.0.1.10:40000", "10.0.2.20:443", ACK);
    let reset = read(&only(seen.out, 1));
    assert_eq!(reset.tcp_flags & tcp_flag::RST, tcp_flag::RST);
    assert_eq!(reset.tuple, tcp("10.0.2.20:443", "10.0.1.10:40000"));
}

#[test]
fn the_provider_cannot_start_anything() {
    let mut w = privatelink();
    let at_server = read(&only(
        w.tcp(1, "10.0.1.10:40000", "10.0.2.20:443", SYN).out,
        4,
    ))
    .tuple;
    let back = at_server.reversed();
    w.group(
        4,
        vec![rule(None, PortMatch::Any, any("0.0.0.0/0"))],
        vec![rule(None, PortMatch::Any, any("0.0.0.0/0"))],
    );
    let frame = w.frame(4, &back, SYN, b"");
    assert_eq!(
        w.send(4, frame).drops,
        [(EniId(4), DropReason::PrivateLinkOneWay)]
    );
    for tuple in [
        FiveTuple {
            sport: 9999,
            ..back
        },
        FiveTuple {
            protocol: protocol::UDP,
            ..back
        },
    ] {
        let frame = w.frame(4, &tuple, SYN, b"");
        assert_eq!(
            w.send(4, frame).drops,
            [(EniId(4), DropReason::PrivateLinkOneWay)]
        );
    }
    assert_eq!(
        w.tcp(4, "10.0.2.40:1", "10.0.2.20:443", SYN).drops[0].1,
        DropReason::AddressUnassigned
    );
}

/// App VPC 1 (10.1/16) with IGW and edge table, appliance VPC 2. ENI 1 app
/// (EIP 198.51.100.1), 2 endpoint, 3 node, 4 appliance, 5 internet host.
fn inspection() -> World {
    let mut w = World::new();
    w.vpc(0, &[], false, None);
    w.table(0, &[]);
    w.subnet(1, 0, &["0.0.0.0/0", "::/0"], 0);
    w.vpc(1, &["10.1.0.0/16"], true, Some(12));
    w.vpc(2, &["10.100.0.0/16"], false, None);
    let gwlbe = RouteTarget::GatewayEndpoint(EndpointId(0));
    w.table(
        10,
        &[
            ("10.1.0.0/16", RouteTarget::Local),
            ("0.0.0.0/0", gwlbe.clone()),
        ],
    );
    w.table(
        11,
        &[
            ("10.1.0.0/16", RouteTarget::Local),
            ("0.0.0.0/0", RouteTarget::InternetGateway),
        ],
    );
    w.table(
        12,
        &[("10.1.0.0/16", RouteTarget::Local), ("10.1.1.0/24", gwlbe)],
    );
    w.table(20, &[("10.100.0.0/16", RouteTarget::Local)]);
    w.subnet(10, 1, &["10.1.1.0/24"], 10);
    w.subnet(11, 1, &["10.1.2.0/24"], 11);
    w.subnet(20, 2, &["10.100.0.0/24"], 20);
    w.group(
        1,
        vec![rule(Some(6), port(80), any("0.0.0.0/0"))],
        vec![rule(None, PortMatch::Any, any("0.0.0.0/0"))],
    );
    w.group(
        4,
        vec![rule(Some(17), port(6081), any("10.100.0.0/24"))],
        vec![rule(None, PortMatch::Any, any("0.0.0.0/0"))],
    );
    w.eni(1, 10, &["10.1.1.10"], &[1], EniKind::Host);
    w.eni_edit(1, |eni| {
        eni.public = vec![PublicAddress {
            private: ip("10.1.1.10"),
            public: ip("198.51.100.1"),
        }]
    });
    w.eni(
        2,
        11,
        &["10.1.2.20"],
        &[],
        EniKind::GatewayEndpoint(EndpointId(0)),
    );
    w.eni(
        3,
        20,
        &["10.100.0.10"],
        &[],
        EniKind::LoadBalancer(LoadBalancerId(0)),
    );
    w.eni(4, 20, &["10.100.0.20"], &[4], EniKind::Host);
    w.eni(5, 1, &["203.0.113.80"], &[], EniKind::Host);
    w.edit(|b| {
        let target = Target {
            address: ip("10.100.0.20"),
            port: 6081,
            az: Some(AzId(0)),
            health: TargetHealth::Healthy,
            failures: 0,
        };
        b.set_target_group(
            TargetGroupId(0),
            Some(TargetGroupRow {
                label: label("tg"),
                vpc: VpcId(2),
                targets: vec![target],
                stickiness: Stickiness::FiveTuple,
                failover: Failover::NoRebalance,
                reset_on_unhealthy: false,
                reset_on_deregistration: false,
                reset_on_idle: false,
                proxy_protocol: false,
                preserve_client_ip: false,
            }),
        );
        b.set_load_balancer(
            LoadBalancerId(0),
            Some(LoadBalancerRow {
                label: label("gwlb"),
                kind: LoadBalancerKind::Gateway,
                vpc: VpcId(2),
                nodes: vec![LoadBalancerNode {
                    az: AzId(0),
                    eni: EniId(3),
                }],
                listeners: vec![Listener {
                    protocol: 0,
                    port: 0,
                    target_group: Some(TargetGroupId(0)),
                    tcp_idle: Duration::from_secs(350),
                }],
                cross_zone: false,
                enforce_privatelink_groups: false,
            }),
        );
        b.set_endpoint(
            EndpointId(0),
            Some(EndpointRow {
                label: label("vpce-0a1b2c3d4e5f60718"),
                vpce: 0xa1b2_c3d4_e5f6_0718,
                vpc: VpcId(1),
                available: true,
                kind: EndpointKind::GatewayLoadBalancer {
                    load_balancers: vec![LoadBalancerId(0)],
                    eni: EniId(2),
                },
            }),
        );
    });
    w
}

/// What an appliance does: outer addresses and MACs swapped, the rest as it came.
fn bounce(mut frame: Frame) -> Frame {
    let bytes = frame.bytes_mut();
    for at in 0..6 {
        bytes.swap(at, at + 6);
    }
    for at in 26..30 {
        bytes.swap(at, at + 4);
    }
    frame
}

#[test]
fn gwlb_inspects_both_directions_and_the_igw_translates() {
    let mut w = inspection();
    for (client, packets) in [(SYN, SYN_ACK), (ACK, ACK), (ACK, ACK)] {
        let geneve = only(
            w.tcp(1, "10.1.1.10:40000", "203.0.113.80:443", client).out,
            4,
        );
        let at_internet = only(w.send(4, bounce(geneve)).out, 5);
        assert_eq!(
            read(&at_internet).tuple,
            tcp("198.51.100.1:40000", "203.0.113.80:443")
        );
        let geneve = only(
            w.tcp(5, "203.0.113.80:443", "198.51.100.1:40000", packets)
                .out,
            4,
        );
        let at_app = only(w.send(4, bounce(geneve)).out, 1);
        assert_eq!(
            read(&at_app).tuple,
            tcp("203.0.113.80:443", "10.1.1.10:40000")
        );
    }
    assert_eq!(w.pipeline.counters().flow_misses, 4);
    assert_eq!(w.pipeline.counters().gwlb_flows_created, 1);
}

#[test]
fn gwlb_a_connection_from_the_internet_is_inspected_too() {
    let mut w = inspection();
    for (there, back) in [(SYN, SYN_ACK), (ACK, ACK)] {
        let geneve = only(
            w.tcp(5, "203.0.113.80:5000", "198.51.100.1:80", there).out,
            4,
        );
        let at_app = only(w.send(4, bounce(geneve)).out, 1);
        assert_eq!(
            read(&at_app).tuple,
            tcp("203.0.113.80:5000", "10.1.1.10:80")
        );
        let geneve = only(w.tcp(1, "10.1.1.10:80", "203.0.113.80:5000", back).out, 4);
        let out = only(w.send(4, bounce(geneve)).out, 5);
        assert_eq!(
            read(&out).tuple,
            tcp("198.51.100.1:80", "203.0.113.80:5000")
        );
    }
}

/// The other half of behaviour 18: the tunnel to the appliance is itself routed
/// into the endpoint.
#[test]
fn tables_that_lead_a_packet_round_inside_the_data_plane_are_a_loop() {
    let mut w = inspection();
    w.subnet(21, 2, &["10.100.1.0/24"], 20);
    w.eni(4, 21, &["10.100.1.20"], &[4], EniKind::Host);
    w.edit(|b| {
        let mut group = b
            .view()
            .target_groups
            .row(TargetGroupId(0))
            .unwrap()
            .clone();
        group.targets[0].address = ip("10.100.1.20");
        b.set_target_group(TargetGroupId(0), Some(group));
    });
    let syn = |w: &mut World| w.tcp(1, "10.1.1.10:40000", "203.0.113.80:443", SYN);
    only(syn(&mut w).out, 4);
    let round = RouteTarget::GatewayEndpoint(EndpointId(0));
    w.table(
        20,
        &[
            ("10.100.0.0/16", RouteTarget::Local),
            ("10.100.1.0/24", round),
        ],
    );
    let seen = syn(&mut w);
    assert_eq!(seen.drops, [(EniId(1), DropReason::Loop)]);
}

#[test]
fn gwlb_forgets_a_flow_that_its_target_does_not_answer_in_30_s() {
    let mut w = inspection();
    let syn = |w: &mut World| w.tcp(1, "10.1.1.10:40000", "203.0.113.80:443", SYN);
    let unanswered = only(syn(&mut w).out, 4);
    w.wait(31);
    let late = w.tcp(1, "10.1.1.10:40000", "203.0.113.80:443", ACK);
    assert_eq!(late.drops, [(EniId(1), DropReason::GwlbNoFlow)]);
    let seen = w.send(4, bounce(unanswered));
    assert_eq!(seen.drops, [(EniId(4), DropReason::GwlbCookie)]);
    // Another try opens another flow; answered, it lives on.
    let geneve = only(syn(&mut w).out, 4);
    only(w.send(4, bounce(geneve)).out, 5);
    w.wait(31);
    only(w.tcp(1, "10.1.1.10:40000", "203.0.113.80:443", ACK).out, 4);
    assert_eq!(w.pipeline.counters().gwlb_flows_created, 2);
}

#[test]
fn gwlb_produces_the_worked_packet() {
    let mut w = inspection();
    w.pipeline.inject_gwlb_flow(0x5eed_0001, 60033);
    let frame = only(w.tcp(1, "10.1.1.10:40000", "203.0.113.80:443", SYN).out, 4);
    let outer = &frame.bytes()[14..14 + 68];
    let hex: String = outer[20..].iter().map(|b| format!("{b:02x}")).collect();
    let expected = "ea8117c1005800000800080000000000\
                    01080102a1b2c3d4e5f60718010802020000000000000000010803015eed0001";
    assert_eq!(hex, expected);
}

#[test]
fn same_subnet_skips_acl_and_an_acl_change_stops_a_flow_at_once() {
    let mut w = World::new();
    w.vpc(1, &["10.0.0.0/16"], false, None);
    w.table(1, &[("10.0.0.0/16", RouteTarget::Local)]);
    w.subnet(1, 1, &["10.0.1.0/24"], 1);
    w.subnet(2, 1, &["10.0.2.0/24"], 1);
    let all = || vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))];
    w.group(1, all(), all());
    w.eni(1, 1, &["10.0.1.10"], &[1], EniKind::Host);
    w.eni(2, 1, &["10.0.1.11"], &[1], EniKind::Host);
    w.eni(3, 2, &["10.0.2.10"], &[1], EniKind::Host);
    only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 3);
    only(w.tcp(3, "10.0.2.10:2", "10.0.1.10:1", SYN_ACK).out, 1);
    // The rules go: the tracked flow lives, a new one does not.
    w.group(1, vec![], vec![]);
    only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", ACK).out, 3);
    assert_eq!(
        w.tcp(1, "10.0.1.10:9", "10.0.2.10:2", SYN).drops[0].1,
        DropReason::SecurityGroup
    );
    // The ACL closes: both end across subnets, not within one.
    w.group(1, all(), all());
    let deny = NetworkAclRow {
        label: label("acl"),
        ingress: vec![],
        egress: vec![],
    };
    w.edit(|b| b.set_network_acl(NetworkAclId(1), Some(deny)));
    assert_eq!(
        w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", ACK).drops[0].1,
        DropReason::NetworkAcl
    );
    only(w.tcp(1, "10.0.1.10:1", "10.0.1.11:2", SYN).out, 2);
}

#[test]
fn a_zone_that_is_down_ends_flows_at_once_both_ways_and_others_go_on() {
    let mut w = World::new();
    w.vpc(1, &["10.0.0.0/16"], false, None);
    w.table(1, &[("10.0.0.0/16", RouteTarget::Local)]);
    let all = || vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))];
    w.group(1, all(), all());
    for subnet in 1..=3 {
        let block = format!("10.0.{subnet}.0/24");
        w.subnet(subnet, 1, &[&block], 1);
        let address = format!("10.0.{subnet}.10");
        w.eni(subnet, subnet, &[&address], &[1], EniKind::Host);
    }
    only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 2);
    only(w.tcp(2, "10.0.2.10:2", "10.0.1.10:1", SYN_ACK).out, 1);
    only(w.tcp(1, "10.0.1.10:1", "10.0.3.10:2", SYN).out, 3);
    let set = |w: &mut World, down| {
        let mut row = w.tables.subnets.row(SubnetId(2)).unwrap().clone();
        row.down = down;
        w.edit(|b| b.set_subnet(SubnetId(2), Some(row)));
    };
    set(&mut w, true);
    for (from, src, dst) in [
        (1, "10.0.1.10:1", "10.0.2.10:2"),
        (2, "10.0.2.10:2", "10.0.1.10:1"),
    ] {
        let seen = w.tcp(from, src, dst, ACK);
        assert_eq!(seen.drops[0].1, DropReason::ZoneDown, "{src}");
        assert!(seen.out.is_empty());
    }
    only(w.tcp(1, "10.0.1.10:1", "10.0.3.10:2", ACK).out, 3);
    // Its connection was kept: it goes on when the zone is back.
    set(&mut w, false);
    only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", ACK).out, 2);
}
