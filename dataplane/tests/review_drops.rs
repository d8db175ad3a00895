//! One packet for each of the reasons to drop that no other test is about.

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
const APP: &str = "10.0.1.10:40000";
const WEB: &str = "203.0.113.80:443";
const SERVICE: &str = "10.0.2.20:443";

/// The one drop of a frame that led to no other.
fn reason(seen: Seen) -> DropReason {
    assert!(
        seen.out.is_empty() && seen.local.is_empty(),
        "{:?}",
        seen.out
    );
    assert_eq!(seen.drops.len(), 1);
    seen.drops[0].1
}

/// App subnet straight to the internet gateway, no edge table.
fn direct() -> World {
    let mut w = worked();
    let igw = RouteTarget::InternetGateway;
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.table(10, &[local, ("0.0.0.0/0", igw.clone()), ("::/0", igw)]);
    w.vpc(1, &["10.0.0.0/16", "2001:db8:1::/48"], true, None);
    w
}

fn target_groups(w: &mut World, change: impl FnOnce(&mut TargetGroupRow)) {
    let mut row = w
        .tables
        .target_groups
        .row(TargetGroupId(0))
        .unwrap()
        .clone();
    change(&mut row);
    w.edit(|b| b.set_target_group(TargetGroupId(0), Some(row)));
}

fn balancers(w: &mut World, change: impl FnOnce(&mut LoadBalancerRow)) {
    let id = LoadBalancerId(0);
    let mut row = w.tables.load_balancers.row(id).unwrap().clone();
    change(&mut row);
    w.edit(|b| b.set_load_balancer(id, Some(row)));
}

fn endpoints(w: &mut World, change: impl FnOnce(&mut EndpointRow)) {
    let mut row = w.tables.endpoints.row(EndpointId(0)).unwrap().clone();
    change(&mut row);
    w.edit(|b| b.set_endpoint(EndpointId(0), Some(row)));
}

#[test]
fn frames_of_no_use_to_a_vpc() {
    let mut w = east_west();
    let to = |w: &World, mac: [u8; 6]| {
        let mut frame = w.frame(1, &tcp(APP, "10.0.2.10:2"), SYN, b"");
        frame.bytes_mut()[..6].copy_from_slice(&mac);
        frame
    };
    let frame = to(&w, [2, 9, 9, 9, 9, 9]);
    assert_eq!(reason(w.send(1, frame)), DropReason::UnknownMac);
    let frame = to(&w, [0xff; 6]);
    assert_eq!(reason(w.send(1, frame)), DropReason::NotUnicast);
    let mut frame = w.frame(1, &tcp(APP, "10.0.2.10:2"), SYN, b"");
    frame.bytes_mut()[7] ^= 1;
    assert_eq!(reason(w.send(1, frame)), DropReason::SpoofedMac);
    let frame = w.frame(1, &tcp(APP, "10.0.2.10:2"), SYN, b"");
    assert_eq!(reason(w.send(99, frame)), DropReason::NoSuchPort);
    frame_of_type(&mut w, 0x88cc, DropReason::EtherType);
    // Nobody has 10.0.1.77: nobody answers for it.
    let mut who = Frame::with_capacity(64);
    put_ethernet(
        &mut who,
        Mac::BROADCAST,
        Mac([2, 0, 0, 0, 0, 1]),
        ethertype::ARP,
    );
    who.extend(&[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 1, 10]);
    who.extend(&[0, 0, 0, 0, 0, 0, 10, 0, 1, 77]);
    assert_eq!(reason(w.send(1, who)), DropReason::NeighborUnknown);
    let seen = w.tcp(1, APP, "10.0.1.255:2", SYN);
    assert_eq!(reason(seen), DropReason::NotUnicast);
    assert_eq!(
        reason(w.tcp(1, APP, "10.0.1.1:2", SYN)),
        DropReason::NotAnswered
    );
    w.eni_edit(2, |eni| eni.attached = false);
    assert_eq!(
        reason(w.tcp(1, APP, "10.0.2.10:2", SYN)),
        DropReason::Detached
    );
}

fn frame_of_type(w: &mut World, kind: u16, why: DropReason) {
    let mut frame = w.frame(1, &tcp(APP, "10.0.2.10:2"), SYN, b"");
    frame.bytes_mut()[12..14].copy_from_slice(&kind.to_be_bytes());
    assert_eq!(reason(w.send(1, frame)), why);
}

#[test]
fn a_later_fragment_alone_finds_no_flow() {
    let mut w = privatelink();
    balancers(&mut w, |row| row.listeners[0].protocol = 17);
    let question = tuple(protocol::UDP, APP, SERVICE);
    let mut frame = w.frame(1, &question, 0, &[7; 3000]);
    frame.bytes_mut()[20] = 0; // DF clear
    checksum::fill_ipv4_header(&mut frame.bytes_mut()[14..34]);
    let mut pieces = Vec::new();
    let cut = fragment_ipv4(frame, 1500, &mut FramePool::new(4), &mut |piece| {
        pieces.push(piece);
    });
    assert_eq!(cut, Ok(3));
    let early = pieces[1].clone();
    assert_eq!(reason(w.send(1, early)), DropReason::Fragment);
    // With the first one seen, all are translated alike.
    for piece in pieces {
        let headers = read(&only(w.send(1, piece).out, 4));
        assert_eq!(
            (headers.tuple.src, headers.tuple.dst),
            (ip("10.0.1.30"), ip("10.0.2.40"))
        );
    }
}

#[test]
fn a_blackhole_wins_its_lookup() {
    let mut w = direct();
    let hole = ("203.0.113.0/24", RouteTarget::Blackhole);
    let igw = ("0.0.0.0/0", RouteTarget::InternetGateway);
    w.table(10, std::slice::from_ref(&igw));
    only(w.tcp(1, APP, WEB, SYN).out, 5);
    w.table(10, &[igw, hole]);
    assert_eq!(reason(w.tcp(1, APP, WEB, ACK)), DropReason::Blackhole);
}

#[test]
fn the_internet_gateway_refuses() {
    let mut w = direct();
    for (to, why) in [
        ("192.168.5.5:1", DropReason::IgwRfc1918),
        ("100.64.0.9:1", DropReason::IgwRfc6598),
        ("192.0.2.9:1", DropReason::InternetUnreachable),
    ] {
        assert_eq!(reason(w.tcp(1, APP, to, SYN)), why);
    }
    assert_eq!(
        reason(w.tcp(5, WEB, "192.0.2.9:1", SYN)),
        DropReason::IgwNoPrivateAddress
    );
    w.eni_edit(5, |eni| eni.source_dest_check = false);
    for (from, why) in [
        ("192.168.5.5:1", DropReason::IgwSourceRfc1918),
        ("100.64.0.9:1", DropReason::IgwSourceRfc6598),
    ] {
        assert_eq!(reason(w.tcp(5, from, "198.51.100.1:80", SYN)), why);
    }
    w.eni_edit(1, |eni| {
        eni.public.clear();
        eni.source_dest_check = false;
    });
    assert_eq!(
        reason(w.tcp(1, APP, WEB, SYN)),
        DropReason::IgwNoPublicAddress
    );
    let (v6, web6) = ("[2001:db8:1:1::10]:1", "[2001:db8:f::53]:443");
    only(w.tcp(1, v6, web6, SYN).out, 5);
    assert_eq!(
        reason(w.tcp(1, "[2001:db8:1:1::99]:1", web6, SYN)),
        DropReason::GatewaySpoofed
    );
    w.eni_edit(1, |eni| eni.deny_all_igw_traffic = true);
    assert_eq!(reason(w.tcp(1, v6, web6, ACK)), DropReason::IgwDenied);
}

#[test]
fn an_endpoint_refuses() {
    let mut w = privatelink();
    let ping = tuple(protocol::ICMP, "10.0.1.10:5", "10.0.2.20:5");
    let frame = w.frame(1, &ping, 0, b"");
    assert_eq!(reason(w.send(1, frame)), DropReason::EndpointProtocol);
    assert_eq!(
        reason(w.tcp(1, APP, "10.0.2.20:80", SYN)),
        DropReason::NoListener
    );
    only(w.tcp(1, APP, SERVICE, SYN).out, 4);
    let large = w.frame(1, &tcp(APP, SERVICE), ACK, &[0; 8461]);
    assert_eq!(reason(w.send(1, large)), DropReason::EndpointMtu);
    let largest = w.frame(1, &tcp(APP, SERVICE), ACK, &[0; 8460]);
    only(w.send(1, largest).out, 4);
    // A rejected connection keeps its flows and takes no new ones.
    endpoints(&mut w, |row| row.available = false);
    only(w.tcp(1, APP, SERVICE, ACK).out, 4);
    let seen = w.tcp(1, "10.0.1.10:40001", SERVICE, SYN);
    assert_eq!(reason(seen), DropReason::EndpointUnavailable);
    endpoints(&mut w, |row| row.available = true);
    balancers(&mut w, |row| row.nodes[0].az = AzId(1));
    let seen = w.tcp(1, "10.0.1.10:40001", SERVICE, SYN);
    assert_eq!(reason(seen), DropReason::EndpointNotInAz);
}

#[test]
fn a_load_balancer_refuses() {
    let mut w = privatelink();
    // No connection: a reset, and nothing behind.
    let seen = w.tcp(1, APP, SERVICE, ACK);
    assert_eq!(seen.drops, [(EniId(1), DropReason::NoConnection)]);
    only(seen.out, 1);
    target_groups(&mut w, |row| row.targets[0].az = Some(AzId(1)));
    assert_eq!(reason(w.tcp(1, APP, SERVICE, SYN)), DropReason::NoTarget);
    balancers(&mut w, |row| row.cross_zone = true);
    only(w.tcp(1, APP, SERVICE, SYN).out, 4);
    balancers(&mut w, |row| row.listeners[0].target_group = None);
    let seen = w.tcp(1, "10.0.1.10:40001", SERVICE, SYN);
    assert_eq!(reason(seen), DropReason::ListenerNoTargetGroup);
    let ping = tuple(protocol::ICMP, "10.0.2.40:5", "10.0.1.30:5");
    let frame = w.frame(4, &ping, 0, b"");
    assert_eq!(reason(w.send(4, frame)), DropReason::LbNotForNode);
}

#[test]
fn a_gateway_load_balancer_refuses() {
    let mut w = worked();
    assert_eq!(reason(w.tcp(1, APP, WEB, ACK)), DropReason::GwlbNoFlow);
    let geneve = only(w.tcp(1, APP, WEB, SYN).out, 4);
    only(w.send(4, bounce(geneve)).out, 5);
    w.wait(351);
    assert_eq!(reason(w.tcp(1, APP, WEB, ACK)), DropReason::GwlbNoFlow);
    target_groups(&mut w, |row| row.reset_on_idle = true);
    let seen = w.tcp(1, APP, WEB, ACK);
    assert_eq!(seen.drops, [(EniId(1), DropReason::GwlbNoFlow)]);
    assert_eq!(
        read(&only(seen.out, 1)).tcp_flags & tcp_flag::RST,
        tcp_flag::RST
    );
    target_groups(&mut w, |row| row.targets[0].az = Some(AzId(1)));
    let seen = w.tcp(1, "10.0.1.10:40001", WEB, SYN);
    assert_eq!(reason(seen), DropReason::GwlbNoTarget);
}

#[test]
fn a_router_that_counts_hops_tells_when_they_run_out() {
    let mut w = east_west();
    let settings = Settings {
        ttl_vpc_router: 1,
        ..Settings::default()
    };
    w.edit(|b| b.set_settings(settings));
    let mut frame = w.frame(1, &tcp(APP, "10.0.2.10:2"), SYN, b"");
    frame.bytes_mut()[22] = 1;
    checksum::fill_ipv4_header(&mut frame.bytes_mut()[14..34]);
    let seen = w.send(1, frame);
    assert_eq!(seen.drops, [(EniId(1), DropReason::TtlExpired)]);
    let error = read(&only(seen.out, 1));
    assert_eq!((error.icmp_type, error.tuple.src), (11, ip("10.0.1.1")));
}

#[test]
fn a_drop_is_explained_by_the_same_walk_and_nothing_is_kept_of_it() {
    use vpclab_dataplane::walk::{Component, Rule};

    let mut w = direct();
    w.table(10, &[("10.0.0.0/16", RouteTarget::Local)]);
    let mut frame = w.frame(1, &tcp(APP, WEB), SYN, b"");
    frame.port = EniId(1);
    let dropped = reason(w.send(1, frame.clone()));
    let counted = w.pipeline.counters().clone();
    let path = w.pipeline.explain(w.now, &w.tables, &frame).unwrap();
    assert_eq!(path.drop_reason(), Some(dropped));
    let hop = path.hops.last().unwrap();
    assert_eq!(hop.component, Component::RouteTable(RouteTableId(10)));
    assert_eq!(
        (hop.rule, hop.dropped),
        (Rule::None, Some(DropReason::NoRoute))
    );
    assert_eq!(w.pipeline.counters().flow_misses, counted.flow_misses);
    assert!(w.pipeline.connections().sessions.is_empty());

    // What is not walked is not explained.
    let arp = Frame::from_bytes(EniId(1), &[0xff; 60]);
    assert!(w.pipeline.explain(w.now, &w.tables, &arp).is_none());
    frame.port = EniId(99);
    assert!(w.pipeline.explain(w.now, &w.tables, &frame).is_none());
}
