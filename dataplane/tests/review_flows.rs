//! Sessions, flows and mappings: whose they are, and when they are over.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{ETHERNET_LEN, Frame, checksum, parse_ip, protocol, tcp_flag};
use vpclab_dataplane::pipeline::{Config, Pipeline};
use vpclab_dataplane::tables::*;
use vpclab_dataplane::time::Duration;

const SYN: u8 = tcp_flag::SYN;
const SYN_ACK: u8 = tcp_flag::SYN | tcp_flag::ACK;
const ACK: u8 = tcp_flag::ACK;
const FIN: u8 = tcp_flag::FIN | tcp_flag::ACK;

const APP: &str = "10.0.1.10:40000";
const WEB: &str = "203.0.113.80:443";
const EIP: &str = "198.51.100.1:40000";

fn small(connections: usize, gwlb_flows: usize) -> Pipeline {
    Pipeline::new(Config {
        connections,
        gwlb_flows,
        fragments: 4,
        seed: 7,
        ..Config::default()
    })
}

/// App to internet host by the appliance.
fn out(w: &mut World, flags: u8) -> Vec<(EniId, Frame)> {
    let geneve = only(w.tcp(1, APP, WEB, flags).out, 4);
    w.send(4, bounce(geneve)).out
}

/// And back.
fn back(w: &mut World, flags: u8) -> Vec<(EniId, Frame)> {
    let geneve = only(w.tcp(5, WEB, EIP, flags).out, 4);
    w.send(4, bounce(geneve)).out
}

/// East-west with host 3 (10.0.3.10) as a router between the two subnets.
fn routed(there: bool, back: bool) -> World {
    let mut w = east_west();
    let router = |on: bool| {
        if on {
            RouteTarget::Eni(EniId(3))
        } else {
            RouteTarget::Local
        }
    };
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.table(2, &[local.clone(), ("10.0.2.0/24", router(there))]);
    w.table(3, &[local, ("10.0.1.0/24", router(back))]);
    w.subnet(1, 1, &["10.0.1.0/24"], 2);
    w.subnet(2, 1, &["10.0.2.0/24"], 3);
    w.subnet(3, 1, &["10.0.3.0/24"], 1);
    w.eni(3, 3, &["10.0.3.10"], &[1], EniKind::Host);
    w.eni_edit(3, |eni| eni.source_dest_check = false);
    w
}

#[test]
fn gwlb_a_tunnel_slot_used_again_belongs_to_its_new_tenant_alone() {
    let mut w = worked();
    // A second consumer with the same addresses, and groups that track.
    let outward = || vec![rule(None, PortMatch::Any, any("0.0.0.0/0"))];
    w.group(9, vec![], outward());
    w.eni_edit(1, |eni| eni.groups = vec![SecurityGroupId(9)]);
    let gwlbe = || RouteTarget::GatewayEndpoint(EndpointId(1));
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.vpc(3, &["10.0.0.0/16"], true, Some(32));
    w.table(30, &[local.clone(), ("0.0.0.0/0", gwlbe())]);
    w.table(
        31,
        &[local.clone(), ("0.0.0.0/0", RouteTarget::InternetGateway)],
    );
    w.table(32, &[local, ("10.0.1.0/24", gwlbe())]);
    w.subnet(30, 3, &["10.0.1.0/24"], 30);
    w.subnet(31, 3, &["10.0.2.0/24"], 31);
    w.eni(11, 30, &["10.0.1.10"], &[9], EniKind::Host);
    w.eni_edit(11, |eni| {
        eni.public = vec![PublicAddress {
            private: ip("10.0.1.10"),
            public: ip("198.51.100.2"),
        }];
    });
    let kind = EniKind::GatewayEndpoint(EndpointId(1));
    w.eni(12, 31, &["10.0.2.20"], &[], kind);
    w.edit(|b| {
        let kind = EndpointKind::GatewayLoadBalancer {
            load_balancers: vec![LoadBalancerId(0)],
            eni: EniId(12),
        };
        let row = EndpointRow {
            vpce: 77,
            ..endpoint(3, kind)
        };
        b.set_endpoint(EndpointId(1), Some(row));
    });
    only(out(&mut w, SYN), 5);
    only(back(&mut w, SYN_ACK), 1);
    only(out(&mut w, ACK), 5);
    // The tunnel's flow is forgotten long before the groups forget theirs.
    w.wait(701);
    w.tcp(5, WEB, "198.51.100.9:1", ACK);
    let geneve = only(w.tcp(11, APP, WEB, SYN).out, 4);
    only(w.send(4, bounce(geneve)).out, 5);
    let geneve = only(w.tcp(5, WEB, "198.51.100.2:40000", SYN_ACK).out, 4);
    only(w.send(4, bounce(geneve)).out, 11);
}

#[test]
fn a_dead_session_does_not_keep_its_end_from_a_new_one() {
    let mut w = routed(true, true);
    let all = vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))];
    w.group(2, all, vec![]);
    w.eni_edit(2, |eni| eni.groups = vec![SecurityGroupId(2)]);
    let at_router = only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 3);
    drop(at_router);
    only(w.tcp(3, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 2);
    // Never answered. Much later, without the router:
    w.wait(60);
    w.table(2, &[("10.0.0.0/16", RouteTarget::Local)]);
    w.table(3, &[("10.0.0.0/16", RouteTarget::Local)]);
    only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 2);
    let seen = w.tcp(2, "10.0.2.10:2", "10.0.1.10:1", SYN_ACK);
    assert_eq!(seen.drops, []);
    only(seen.out, 1);
}

#[test]
fn an_asymmetric_reply_needs_the_tracking_of_where_it_arrives() {
    let mut w = routed(true, false);
    let all = vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))];
    w.group(2, vec![], all);
    w.eni_edit(1, |eni| {
        eni.groups = vec![SecurityGroupId(2)];
        eni.timeouts.tcp_established = Duration::from_secs(60);
    });
    for (there, back) in [(SYN, SYN_ACK), (ACK, ACK), (ACK, ACK)] {
        only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", there).out, 3);
        only(w.tcp(3, "10.0.1.10:1", "10.0.2.10:2", there).out, 2);
        only(w.tcp(2, "10.0.2.10:2", "10.0.1.10:1", back).out, 1);
    }
    // The sender's side remembers for five days, the receiver's for a minute.
    w.wait(61);
    let seen = w.tcp(2, "10.0.2.10:2", "10.0.1.10:1", ACK);
    assert_eq!(seen.drops, [(EniId(2), DropReason::SecurityGroup)]);
}

#[test]
fn privatelink_no_two_clients_share_a_source_port_behind_an_appliance() {
    let mut w = privatelink();
    // The provider has a router between its load balancer and its servers.
    let router = ("10.0.2.0/24", RouteTarget::Eni(EniId(6)));
    w.table(22, &[("10.0.0.0/16", RouteTarget::Local), router]);
    w.subnet(20, 2, &["10.0.1.0/24"], 22);
    w.subnet(22, 2, &["10.0.3.0/24"], 2);
    w.eni(6, 22, &["10.0.3.10"], &[1], EniKind::Host);
    w.eni_edit(6, |eni| eni.source_dest_check = false);
    let mut ports = std::collections::HashSet::new();
    for client in 0..1000u16 {
        let from = format!("10.0.1.10:{}", 20_000 + client);
        let at_router = only(w.tcp(1, &from, "10.0.2.20:443", SYN).out, 6);
        assert!(
            ports.insert(read(&at_router).tuple.sport),
            "port used twice"
        );
    }
}

#[test]
fn privatelink_does_not_translate_between_families() {
    let mut w = privatelink();
    w.eni_edit(3, |eni| eni.addresses.push(ip("2001:db8:2::30")));
    w.eni_edit(4, |eni| eni.addresses.push(ip("2001:db8:2::40")));
    let targets = vec![target("2001:db8:2::40", 8443, TargetHealth::Healthy)];
    w.edit(|b| b.set_target_group(TargetGroupId(0), Some(target_group(2, targets))));
    let seen = w.tcp(1, "10.0.1.10:40000", "10.0.2.20:443", SYN);
    assert_eq!(seen.drops, [(EniId(1), DropReason::NoTarget)]);
}

#[test]
fn privatelink_shows_no_mac_address_of_a_client() {
    let mut w = privatelink();
    // Client and endpoint in one subnet: framed directly.
    let kind = EniKind::Endpoint(EndpointId(0));
    w.eni(2, 10, &["10.0.1.20"], &[1], kind);
    let mac = w.tables.enis.row(EniId(2)).unwrap().mac;
    let mut frame = w.frame(1, &tcp("10.0.1.10:40000", "10.0.1.20:443"), SYN, b"");
    frame.bytes_mut()[..6].copy_from_slice(&mac.0);
    let at_server = only(w.send(1, frame).out, 4);
    let router = w.tables.subnets.row(SubnetId(21)).unwrap().router_mac;
    assert_eq!(at_server.bytes()[6..12], router.0);
}

#[test]
fn privatelink_a_long_idle_timeout_outlives_short_tracking() {
    let mut w = privatelink();
    w.edit(|b| {
        let mut row = load_balancer(LoadBalancerKind::Network, 2, 3, (6, 443));
        row.listeners[0].tcp_idle = Duration::from_secs(3600);
        b.set_load_balancer(LoadBalancerId(0), Some(row));
    });
    for eni in [1, 2, 4] {
        w.eni_edit(eni, |eni| {
            eni.timeouts.tcp_established = Duration::from_secs(350)
        });
    }
    let at_server = read(&only(w.tcp(1, APP, "10.0.2.20:443", SYN).out, 4)).tuple;
    let frame = w.frame(4, &at_server.reversed(), SYN_ACK, b"");
    only(w.send(4, frame).out, 1);
    only(w.tcp(1, APP, "10.0.2.20:443", ACK).out, 4);
    w.wait(1000);
    let late = only(w.tcp(1, APP, "10.0.2.20:443", ACK).out, 4);
    assert_eq!(read(&late).tuple, at_server);
}

#[test]
fn privatelink_tcp_fragments_do_not_pass() {
    let mut w = privatelink();
    only(w.tcp(1, APP, "10.0.2.20:443", SYN).out, 4);
    let mut frame = w.frame(1, &tcp(APP, "10.0.2.20:443"), ACK, &[7; 20]);
    frame.bytes_mut()[20] = 0x20; // more fragments, DF clear
    mend(&mut frame);
    let seen = w.send(1, frame);
    assert_eq!(seen.drops, [(EniId(1), DropReason::LbFragment)]);
}

/// Writes the IPv4 header checksum anew.
fn mend(frame: &mut Frame) {
    let bytes = frame.bytes_mut();
    vpclab_dataplane::packet::checksum::fill_ipv4_header(&mut bytes[14..34]);
}

#[test]
fn gwlb_a_connection_that_follows_a_closed_one_is_not_hurried() {
    let mut w = worked();
    for (there, answer) in [(SYN, SYN_ACK), (ACK, ACK), (FIN, FIN), (ACK, ACK)] {
        only(out(&mut w, there), 5);
        only(back(&mut w, answer), 1);
    }
    w.wait(5);
    for (there, answer) in [(SYN, SYN_ACK), (ACK, ACK)] {
        only(out(&mut w, there), 5);
        only(back(&mut w, answer), 1);
    }
    w.wait(60);
    only(out(&mut w, ACK), 5);
    only(back(&mut w, ACK), 1);
}

#[test]
fn gwlb_one_closed_connection_does_not_end_a_two_tuple_flow() {
    let mut w = worked();
    w.edit(|b| {
        let targets = vec![target("10.100.0.20", 6081, TargetHealth::Healthy)];
        let row = TargetGroupRow {
            stickiness: Stickiness::TwoTuple,
            ..target_group(2, targets)
        };
        b.set_target_group(TargetGroupId(0), Some(row));
    });
    for (there, answer) in [(SYN, SYN_ACK), (ACK, ACK)] {
        only(out(&mut w, there), 5);
        only(back(&mut w, answer), 1);
    }
    // Another connection of the same two hosts comes and goes.
    only(w.tcp(1, "10.0.1.10:50000", WEB, SYN).out, 4);
    only(w.tcp(1, "10.0.1.10:50000", WEB, FIN).out, 4);
    only(w.tcp(5, WEB, "198.51.100.1:50000", FIN).out, 4);
    w.wait(60);
    only(out(&mut w, ACK), 5);
}

#[test]
fn a_table_full_of_dead_sessions_takes_new_ones() {
    let mut w = east_west();
    w.pipeline = small(4, 8);
    let udp = |port: u16| tuple(protocol::UDP, &format!("10.0.1.10:{port}"), "10.0.2.10:53");
    for port in 1..=4 {
        let frame = w.frame(1, &udp(port), 0, b"");
        only(w.send(1, frame).out, 2);
    }
    let frame = w.frame(1, &udp(5), 0, b"");
    assert_eq!(
        w.send(1, frame).drops,
        [(EniId(1), DropReason::FlowTableFull)]
    );
    w.wait(200);
    let frame = w.frame(1, &udp(6), 0, b"");
    only(w.send(1, frame).out, 2);
}

#[test]
fn gwlb_a_table_full_of_expired_flows_takes_new_ones() {
    let mut w = worked();
    w.pipeline = small(64, 8);
    let udp = |port: u16| {
        tuple(
            protocol::UDP,
            &format!("10.0.1.10:{port}"),
            "203.0.113.80:53",
        )
    };
    for port in 1..=7 {
        let frame = w.frame(1, &udp(port), 0, b"");
        only(w.send(1, frame).out, 4);
    }
    let frame = w.frame(1, &udp(8), 0, b"");
    assert_eq!(
        w.send(1, frame).drops,
        [(EniId(1), DropReason::FlowTableFull)]
    );
    w.wait(121);
    let frame = w.frame(1, &udp(9), 0, b"");
    only(w.send(1, frame).out, 4);
}

/// VPC 1 with an IGW whose edge table leads to host 3, a router; host 1 has the
/// EIP and reaches the internet by `target`.
fn edge_router(target: RouteTarget, edge: RouteTarget) -> World {
    let mut w = World::new();
    w.vpc(0, &[], false, None);
    w.table(0, &[]);
    w.subnet(9, 0, &["0.0.0.0/0"], 0);
    w.vpc(1, &["10.0.0.0/16"], true, Some(12));
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.table(10, &[local.clone(), ("0.0.0.0/0", target)]);
    w.table(
        11,
        &[local.clone(), ("0.0.0.0/0", RouteTarget::InternetGateway)],
    );
    w.table(12, &[local, ("10.0.1.0/24", edge)]);
    w.subnet(1, 1, &["10.0.1.0/24"], 10);
    w.subnet(3, 1, &["10.0.3.0/24"], 11);
    w.eni(1, 1, &["10.0.1.10"], &[], EniKind::Host);
    w.eni_edit(1, |eni| {
        eni.public = vec![PublicAddress {
            private: ip("10.0.1.10"),
            public: ip("198.51.100.1"),
        }];
    });
    w.eni(3, 3, &["10.0.3.10"], &[], EniKind::Host);
    w.eni_edit(3, |eni| eni.source_dest_check = false);
    w.eni(5, 9, &["203.0.113.80"], &[], EniKind::Host);
    w
}

#[test]
fn a_router_named_by_the_edge_table_may_send_replies_out() {
    let router = || RouteTarget::Eni(EniId(3));
    let mut w = edge_router(router(), router());
    only(w.tcp(5, WEB, EIP, SYN).out, 3);
    only(w.tcp(3, WEB, APP, SYN).out, 1);
    only(w.tcp(1, APP, WEB, SYN_ACK).out, 3);
    let seen = w.tcp(3, APP, WEB, SYN_ACK);
    assert_eq!(seen.drops, []);
    only(seen.out, 5);
}

#[test]
fn a_new_edge_route_stops_direct_replies_at_once() {
    let mut w = edge_router(RouteTarget::InternetGateway, RouteTarget::Local);
    for (there, back) in [(SYN, SYN_ACK), (ACK, ACK)] {
        only(w.tcp(5, WEB, EIP, there).out, 1);
        only(w.tcp(1, APP, WEB, back).out, 5);
    }
    let router = ("10.0.1.0/24", RouteTarget::Eni(EniId(3)));
    w.table(12, &[("10.0.0.0/16", RouteTarget::Local), router]);
    let seen = w.tcp(1, APP, WEB, ACK);
    assert_eq!(seen.drops, [(EniId(1), DropReason::IngressRedirection)]);
}

/// Groups that allow everything track nothing, so who began is known only as long as each
/// direction is remembered: then whoever sends next began, and what comes in by the edge
/// table's router is not answered past it (`aws-behaviour.md` §2.3, §3.1).
#[test]
fn an_idle_untracked_connection_is_begun_by_whoever_sends_next() {
    let router = RouteTarget::Eni(EniId(3));
    for (idle, is_answer) in [(29, false), (31, true)] {
        let mut w = edge_router(RouteTarget::InternetGateway, router.clone());
        w.group(1, everything(), everything());
        for eni in [1, 3] {
            w.eni_edit(eni, |row| row.groups = vec![SecurityGroupId(1)]);
        }
        only(w.tcp(5, WEB, EIP, ACK).out, 3);
        only(w.tcp(1, APP, WEB, ACK).out, 5);
        only(w.tcp(3, WEB, APP, ACK).out, 1);
        w.wait(idle);
        only(w.tcp(3, WEB, APP, ACK).out, 1);
        let seen = w.tcp(1, APP, WEB, ACK);
        match is_answer {
            true => assert_eq!(seen.drops, [(EniId(1), DropReason::IngressRedirection)]),
            false => drop(only(seen.out, 5)),
        }
    }
}

#[test]
fn the_internet_reaches_addresses_of_a_delegated_ipv6_prefix() {
    let mut w = worked();
    w.edit(|b| b.set_route_table(RouteTableId(12), None));
    w.vpc(1, &["10.0.0.0/16", "2001:db8:1::/48"], true, None);
    w.eni_edit(1, |eni| {
        eni.prefixes = vec!["2001:db8:1:1:5::/80".parse().unwrap()]
    });
    let seen = w.tcp(5, "[2001:db8:f::53]:443", "[2001:db8:1:1:5::9]:80", SYN);
    assert_eq!(seen.drops, []);
    only(seen.out, 1);
}

#[test]
fn link_local_addresses_are_not_routed() {
    let mut w = worked();
    let ll = w.tables.enis.row(EniId(1)).unwrap().mac.link_local();
    let from = format!("[{ll}]:1");
    let seen = w.tcp(1, &from, "[2001:db8:f::53]:443", SYN);
    assert_eq!(seen.drops, [(EniId(1), DropReason::NotRoutable)]);
}

/// Who begins by the router and is answered directly: of his connection only what he sends
/// himself and what arrives at him.
fn answered_directly(ingress: Vec<SecurityGroupRule>) -> World {
    let mut w = routed(true, false);
    w.group(2, ingress, everything());
    w.eni_edit(1, |eni| {
        eni.groups = vec![SecurityGroupId(2)];
        eni.timeouts.tcp_established = Duration::from_secs(350);
    });
    w
}

/// A packet from one end to the other, by the router there.
fn exchange(w: &mut World, port: u16, (there, back): (u8, u8)) {
    let (client, server) = (format!("10.0.1.10:{port}"), "10.0.2.10:80");
    only(w.tcp(1, &client, server, there).out, 3);
    only(w.tcp(3, &client, server, there).out, 2);
    only(w.tcp(2, server, &client, back).out, 1);
}

/// The connection that an answer does not belong to, and that lets it in, lives on by it, also
/// where answers are cached.
#[test]
fn an_answer_keeps_the_connection_alive_that_lets_it_in() {
    let mut w = answered_directly(vec![]);
    exchange(&mut w, 1, (SYN, SYN_ACK));
    exchange(&mut w, 1, (ACK, ACK));
    // So often that nothing that is cached is looked at again, and for longer than it lives.
    for _ in 0..100 {
        only(w.tcp(2, "10.0.2.10:80", "10.0.1.10:1", ACK).out, 1);
        w.wait(5);
    }
    assert!(w.pipeline.counters().flow_hits >= 90, "cached");
    // Decided anew.
    w.eni_edit(1, |eni| eni.label = label("another"));
    only(w.tcp(2, "10.0.2.10:80", "10.0.1.10:1", ACK).out, 1);
    w.wait(351);
    let seen = w.tcp(2, "10.0.2.10:80", "10.0.1.10:1", ACK);
    assert_eq!(seen.drops, [(EniId(2), DropReason::SecurityGroup)]);
}

/// An answer that rules let in (untracked: the router began by itself) is no model for one
/// that a connection lets in, which lives on by it.
#[test]
fn an_answer_that_rules_judged_is_no_plan_for_others() {
    let low = rule(
        Some(protocol::TCP),
        PortMatch::Range(1, 100),
        any("0.0.0.0/0"),
    );
    let mut w = answered_directly(vec![low]);
    for port in [1, 2] {
        let client = format!("10.0.1.10:{port}");
        only(w.tcp(3, &client, "10.0.2.10:80", SYN).out, 2);
        only(w.tcp(2, "10.0.2.10:80", &client, SYN_ACK).out, 1);
    }
    exchange(&mut w, 3, (SYN, SYN_ACK));
    exchange(&mut w, 3, (ACK, ACK));
    // Longer than a connection lives that nobody has answered.
    w.wait(100);
    w.group(2, vec![], everything());
    only(w.tcp(2, "10.0.2.10:80", "10.0.1.10:3", ACK).out, 1);
    let seen = w.tcp(2, "10.0.2.10:80", "10.0.1.10:1", ACK);
    assert_eq!(seen.drops, [(EniId(2), DropReason::SecurityGroup)]);
}

/// What a router changes of such an answer its checksum follows, whatever is noted beside it.
#[test]
fn an_answer_that_another_connection_lets_in_has_its_checksum() {
    let mut w = answered_directly(vec![]);
    settings(&mut w, |settings| settings.ttl_vpc_router = 1);
    exchange(&mut w, 1, (SYN, SYN_ACK));
    exchange(&mut w, 1, (ACK, ACK));
    for _ in 0..3 {
        let got = only(w.tcp(2, "10.0.2.10:80", "10.0.1.10:1", ACK).out, 1);
        assert_eq!(read(&got).ttl, 63);
    }
}

/// A SYN that comes out of a tunnel a second time is no packet like others.
#[test]
fn gwlb_a_syn_to_a_nat_gateway_has_a_smaller_mss_each_time() {
    let mut w = worked();
    let local = ("10.0.0.0/16", RouteTarget::Local);
    let by_gateway = ("0.0.0.0/0", RouteTarget::Eni(EniId(6)));
    w.table(11, &[local.clone(), by_gateway]);
    w.table(14, &[local, ("0.0.0.0/0", RouteTarget::InternetGateway)]);
    w.subnet(13, 1, &["10.0.4.0/24"], 14);
    let gateway = EniKind::NatGateway(NatGatewayId(0));
    w.eni(6, 13, &["10.0.4.5"], &[], gateway);
    let (private, public) = (ip("10.0.4.5"), ip("198.51.100.6"));
    w.eni_edit(6, |eni| {
        eni.public = vec![PublicAddress { private, public }]
    });
    w.edit(|b| {
        let row = NatGatewayRow {
            label: label("nat-0a1b2c3d4e5f60718"),
            eni: EniId(6),
        };
        b.set_nat_gateway(NatGatewayId(0), Some(row));
    });
    for _ in 0..2 {
        let mss = |mss: u16| [2, 4, mss.to_be_bytes()[0], mss.to_be_bytes()[1]];
        let mut frame = w.frame(1, &tcp(APP, WEB), SYN, &mss(8960));
        // These four bytes are an option.
        frame.bytes_mut()[ETHERNET_LEN + 32] = 0x60;
        let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
        checksum::fill_transport(frame.bytes_mut(), &headers);
        let geneve = only(w.send(1, frame).out, 4);
        let got = only(w.send(4, bounce(geneve)).out, 5);
        assert_eq!(got.bytes()[usize::from(read(&got).l4) + 20..], mss(8460));
    }
}
