//! What the oracle found to be wrong once (see `oracle_found`), where NAT gateways and load
//! balancers lie on one way; each must stay right.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::*;
use vpclab_dataplane::tables::*;

const SYN: u8 = tcp_flag::SYN;
const ACK: u8 = tcp_flag::ACK;

/// A load balancer with its node at `node` in subnet `subnet` of [`nat_gateway`], where what
/// hosts 1 and 2 send into the target's subnet goes by the gateway; whether the target sees
/// its clients. A packet with a TTL of 1 from host 1 to it dies, new and cached, and `teller`
/// says so.
fn dies_at(mut w: World, subnet: u32, node: &'static str, kept: bool, teller: &str) {
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.table(1, &[local, ("10.0.2.0/24", RouteTarget::Eni(EniId(3)))]);
    let kind = EniKind::LoadBalancer(LoadBalancerId(0));
    w.eni(6, subnet, &[node], &[], kind);
    w.edit(|b| {
        let targets = vec![target("10.0.2.20", 80, TargetHealth::Healthy)];
        let row = TargetGroupRow {
            preserve_client_ip: kept,
            ..target_group(1, targets)
        };
        b.set_target_group(TargetGroupId(0), Some(row));
        let balancer = load_balancer(LoadBalancerKind::Network, 1, 6, (6, 80));
        b.set_load_balancer(LoadBalancerId(0), Some(balancer));
    });
    let (client, service) = ("10.0.1.10:40000", format!("{node}:80"));
    let got = only(w.tcp(1, client, &service, SYN).out, 5);
    assert_eq!(read(&got).tuple.src, ip("10.0.0.5"));
    for flags in [SYN, ACK] {
        let frame = with_ttl(w.frame(1, &tcp(client, &service), flags, b""), 1);
        let seen = w.send(1, frame);
        assert_eq!(seen.drops, [(EniId(1), DropReason::TtlExpired)]);
        assert_eq!(read(&only(seen.out, 1)).tuple.src, ip(teller));
    }
}

/// Case 1003496.
#[test]
fn a_packet_that_dies_before_a_load_balancer_dies_at_no_gateway_behind_it() {
    let mut w = nat_gateway();
    settings(&mut w, |settings| settings.ttl_vpc_router = 1);
    dies_at(w, 1, "10.0.1.30", false, "10.0.1.1");
}

/// Case 2026116383 of clients that targets see.
#[test]
fn a_way_through_a_gateway_that_was_left_and_taken_again_has_its_answers() {
    let mut w = nat_gateway();
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.table(1, &[local, ("10.0.1.0/24", RouteTarget::Eni(EniId(3)))]);
    for host in [1, 2] {
        w.eni_edit(host, |eni| eni.groups = vec![SecurityGroupId(2)]);
    }
    let there = tuple(17, "10.0.1.10:40000", "10.0.1.11:8080");
    let by_router = |w: &mut World| {
        let frame = w.frame(1, &there, 0, b"x");
        read(&only(w.send(1, frame).out, 2)).tuple
    };
    let translated = by_router(&mut w);
    assert_eq!(translated.src, ip("10.0.0.5"));
    // Past the gateway, neighbour to neighbour, both ways.
    for (from, tuple, to) in [(2, there.reversed(), 1), (1, there, 2)] {
        let mut frame = w.frame(from, &tuple, 0, b"x");
        let mac = w.tables.enis.row(EniId(to)).unwrap().mac;
        frame.bytes_mut()[..6].copy_from_slice(&mac.0);
        assert_eq!(read(&only(w.send(from, frame).out, to)).tuple, tuple);
    }
    assert_eq!(by_router(&mut w), translated);
    let answer = w.frame(2, &translated.reversed(), 0, b"x");
    let got = only(w.send(2, answer).out, 1);
    assert_eq!(read(&got).tuple, there.reversed());
}

/// Case 2028140794 of peers.
#[test]
fn who_tracks_a_gateways_packets_does_not_know_the_client_behind_it() {
    for service in ["10.0.2.30:53", "10.0.2.31:53"] {
        knows_no_client_behind_a_gateway(service);
    }
}

/// An endpoint, or a node.
fn knows_no_client_behind_a_gateway(service: &str) {
    let mut w = nat_gateway();
    let local = ("10.0.0.0/16", RouteTarget::Local);
    let by_gateway = ("10.0.2.0/24", RouteTarget::Eni(EniId(3)));
    w.table(1, &[local.clone(), by_gateway]);
    w.group(3, everything(), everything());
    let front = EniKind::Endpoint(EndpointId(0));
    w.eni(6, 3, &["10.0.2.30"], &[3], front);
    let node = EniKind::LoadBalancer(LoadBalancerId(0));
    w.eni(7, 3, &["10.0.2.31"], &[3], node);
    w.edit(|b| {
        let targets = vec![target("10.0.2.20", 53, TargetHealth::Healthy)];
        b.set_target_group(TargetGroupId(0), Some(target_group(1, targets)));
        let balancer = load_balancer(LoadBalancerKind::Network, 1, 7, (17, 53));
        b.set_load_balancer(LoadBalancerId(0), Some(balancer));
        let kind = EndpointKind::Interface {
            load_balancers: vec![LoadBalancerId(0)],
            enis: vec![EniId(6)],
        };
        b.set_endpoint(EndpointId(0), Some(endpoint(1, kind)));
    });
    let ask = |w: &mut World| {
        let asked = tuple(17, "10.0.1.10:40000", service);
        let frame = w.frame(1, &asked, 0, b"x");
        w.send(1, frame)
    };
    only(ask(&mut w).out, 5);
    // Tracked: what its rules now say does not matter.
    w.group(3, vec![], vec![]);
    only(ask(&mut w).out, 5);
    w.table(1, &[local]);
    let seen = ask(&mut w);
    assert_eq!(seen.drops, [(EniId(1), DropReason::SecurityGroup)]);
}

/// Case 2038040020 of peers.
#[test]
fn who_speaks_for_a_node_takes_no_client_from_it() {
    let mut w = direct(false);
    w.eni_edit(4, |eni| eni.source_dest_check = false);
    let (client, service) = ("10.0.1.11:40000", "10.0.1.30:443");
    // Sent by another, with the node's address and port.
    only(w.tcp(4, service, client, SYN | ACK).out, 5);
    let got = only(w.tcp(5, client, service, SYN).out, 4);
    let answer = w.frame(4, &read(&got).tuple.reversed(), SYN | ACK, b"");
    only(w.send(4, answer).out, 5);
    let next = only(w.tcp(5, client, service, ACK).out, 4);
    assert_eq!(read(&next).tuple, read(&got).tuple);
}

/// The same, and what it tracks is no plan for others.
#[test]
fn whom_tracking_lets_through_to_a_node_opens_it_to_nobody_else() {
    let mut w = direct(false);
    w.eni_edit(4, |eni| eni.source_dest_check = false);
    // May be called, and calls nobody.
    w.group(9, everything(), vec![]);
    w.eni_edit(5, |eni| eni.groups = vec![SecurityGroupId(9)]);
    let service = "10.0.1.30:443";
    only(w.tcp(4, service, "10.0.1.11:40000", SYN | ACK).out, 5);
    only(w.tcp(5, "10.0.1.11:40000", service, SYN).out, 4);
    let seen = w.tcp(5, "10.0.1.11:40001", service, SYN);
    assert_eq!(seen.drops, [(EniId(5), DropReason::SecurityGroup)]);
    // Its own goes on, also when it is walked again.
    w.eni_edit(5, |eni| eni.label = label("another"));
    only(w.tcp(5, "10.0.1.11:40000", service, ACK).out, 4);
}

/// The gateway before the load balancer: it is the one that takes of the packet's TTL.
#[test]
fn a_packet_that_dies_at_a_gateway_before_a_load_balancer_dies_there() {
    dies_at(nat_gateway(), 3, "10.0.2.30", true, "10.0.0.5");
}

/// Case 2038140631 of peers.
#[test]
fn a_gateway_whose_address_another_uses_tells_nobody_of_its_ttl() {
    let mut w = nat_gateway();
    settings(&mut w, |settings| settings.ttl_igw = 1);
    w.eni_edit(5, |eni| eni.source_dest_check = false);
    let tuple = tuple(17, "10.0.0.5:40000", "198.51.100.7:80");
    let frame = with_ttl(w.frame(5, &tuple, 0, b"x"), 1);
    let seen = w.send(5, frame);
    assert_eq!(seen.drops, [(EniId(5), DropReason::TtlExpired)]);
    assert_eq!(read(&only(seen.out, 5)).tuple.src, ip("10.0.2.1"));
}

/// Host 5 of [`nat_gateway`], whose packets keep whatever source they have.
fn spoofs(w: &mut World) {
    w.eni_edit(5, |eni| eni.source_dest_check = false);
}

/// Case 2038150896 of peers: a packet with the address of a node, and the port that it then
/// gives to a connection.
#[test]
fn a_nodes_port_has_its_answers_whoever_sent_from_it_before() {
    let ask = |w: &mut World| only(w.tcp(5, "10.0.1.11:40000", "10.0.1.30:443", SYN).out, 4);
    // Which port it will be.
    let translated = read(&ask(&mut direct(false))).tuple;
    let mut w = direct(false);
    w.eni(6, 20, &["10.0.1.12"], &[1], EniKind::Host);
    w.eni_edit(6, |eni| eni.source_dest_check = false);
    // The target may be called, and calls nobody.
    w.group(
        9,
        vec![rule(None, PortMatch::Any, any("10.0.1.0/24"))],
        vec![],
    );
    w.eni_edit(4, |eni| eni.groups = vec![SecurityGroupId(9)]);
    let spoofed = w.frame(6, &translated, SYN, b"");
    only(w.send(6, spoofed.clone()).out, 4);
    assert_eq!(read(&ask(&mut w)).tuple, translated);
    for flags in [SYN | ACK, ACK] {
        let answer = w.frame(4, &translated.reversed(), flags, b"");
        let got = read(&only(w.send(4, answer).out, 5)).tuple;
        assert_eq!(got, tcp("10.0.1.30:443", "10.0.1.11:40000"));
        // Sent again, it takes nothing back.
        only(w.send(6, spoofed.clone()).out, 4);
    }
}

/// The same where a changed route leads the connection past a router that has passed its
/// packets on.
#[test]
fn a_nodes_port_has_its_answers_past_a_router_that_was_left_out() {
    let mut w = direct(false);
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.eni(6, 20, &["10.0.1.12"], &[1], EniKind::Host);
    w.eni_edit(6, |eni| eni.source_dest_check = false);
    w.table(
        3,
        &[local.clone(), ("10.0.2.0/24", RouteTarget::Eni(EniId(6)))],
    );
    w.subnet(20, 2, &["10.0.1.0/24"], 3);
    w.table(4, std::slice::from_ref(&local));
    w.subnet(22, 2, &["10.0.3.0/24"], 4);
    w.eni_edit(6, |eni| {
        (eni.subnet, eni.addresses) = (SubnetId(22), vec![ip("10.0.3.12")])
    });
    let (client, service) = ("10.0.1.11:40000", "10.0.1.30:443");
    let got = only(w.tcp(5, client, service, SYN).out, 6);
    let translated = read(&got).tuple;
    let passed_on = w.frame(6, &translated, SYN, b"");
    only(w.send(6, passed_on).out, 4);
    w.table(3, &[local]);
    only(w.tcp(5, client, service, SYN).out, 4);
    let answer = w.frame(4, &translated.reversed(), SYN | ACK, b"");
    only(w.send(4, answer).out, 5);
}

/// What only the connection's packets keep alive ends with it, not with the spoofed one's.
#[test]
fn who_sent_from_a_nodes_port_before_does_not_live_on_by_its_connection() {
    let ask = |w: &mut World| only(w.tcp(5, "10.0.1.11:40000", "10.0.1.30:443", SYN).out, 4);
    let translated = read(&ask(&mut direct(false))).tuple;
    let mut w = direct(false);
    let narrow = || vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))];
    w.group(8, narrow(), narrow());
    w.eni(6, 20, &["10.0.1.12"], &[8], EniKind::Host);
    w.eni_edit(6, |eni| eni.source_dest_check = false);
    w.eni_edit(4, |eni| eni.groups = vec![SecurityGroupId(8)]);
    let spoofed = w.frame(6, &translated, SYN, b"");
    only(w.send(6, spoofed.clone()).out, 4);
    ask(&mut w);
    // What its group tracked is half-open: 30 s.
    for _ in 0..2 {
        w.wait(20);
        ask(&mut w);
    }
    w.group(8, narrow(), vec![]);
    let seen = w.send(6, spoofed);
    assert_eq!(seen.drops, [(EniId(6), DropReason::SecurityGroup)]);
}

/// The same of a gateway's port.
#[test]
fn a_gateways_port_has_its_answers_whoever_sent_from_it_before() {
    let mut w = nat_gateway();
    spoofs(&mut w);
    let (client, server) = ("10.0.1.10:40000", "198.51.100.7:80");
    let spoofed = w.frame(5, &tcp("10.0.0.5:40000", server), SYN, b"");
    // By its route to the internet gateway, which knows the gateway's address.
    only(w.send(5, spoofed).out, 4);
    let got = read(&only(w.tcp(1, client, server, SYN).out, 4)).tuple;
    let answer = w.frame(4, &got.reversed(), SYN | ACK, b"");
    let back = read(&only(w.send(4, answer).out, 1)).tuple;
    assert_eq!(back, tcp(server, client));
}
