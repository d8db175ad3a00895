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
fn an_endpoint_that_tracks_a_gateways_packets_does_not_know_the_client_behind_it() {
    let mut w = nat_gateway();
    let local = ("10.0.0.0/16", RouteTarget::Local);
    let by_gateway = ("10.0.2.0/24", RouteTarget::Eni(EniId(3)));
    w.table(1, &[local.clone(), by_gateway]);
    w.group(3, everything(), everything());
    let front = EniKind::Endpoint(EndpointId(0));
    w.eni(6, 3, &["10.0.2.30"], &[3], front);
    let node = EniKind::LoadBalancer(LoadBalancerId(0));
    w.eni(7, 3, &["10.0.2.31"], &[], node);
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
        let asked = tuple(17, "10.0.1.10:40000", "10.0.2.30:53");
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
