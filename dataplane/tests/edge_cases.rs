//! Single cases that random testing found, each on a small world.

#![allow(clippy::unwrap_used, reason = "a test stops where its data is bad")]

mod common;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{ETHERNET_LEN, Frame, protocol, tcp_flag};
use vpclab_dataplane::pipeline::Sink;

#[test]
fn hosts_may_use_the_tunnels_port_among_themselves_and_are_cached() {
    let mut w = east_west();
    let tuple = tuple(protocol::UDP, "10.0.1.10:5000", "10.0.2.10:6081");
    for payload in [&b"not GENEVE"[..], &[8, 0, 8, 0, 0, 0, 0, 0, 0x45]] {
        for _ in 0..3 {
            let frame = w.frame(1, &tuple, 0, payload);
            only(w.send(1, frame).out, 2);
        }
    }
    assert_eq!(w.pipeline.counters().flow_misses, 1);
}

#[test]
fn an_ipv6_client_never_reaches_an_ipv4_target_half_translated() {
    let mut w = privatelink();
    for (eni, address) in [
        (1, "2001:db8::10"),
        (2, "2001:db8::20"),
        (3, "2001:db8::30"),
    ] {
        w.eni_edit(eni, |row| row.addresses.push(ip(address)));
    }
    w.table(
        1,
        &[
            ("10.0.0.0/16", vpclab_dataplane::tables::RouteTarget::Local),
            (
                "2001:db8::/64",
                vpclab_dataplane::tables::RouteTarget::Local,
            ),
        ],
    );
    let seen = w.tcp(
        1,
        "[2001:db8::10]:4000",
        "[2001:db8::20]:443",
        tcp_flag::SYN,
    );
    assert!(seen.out.is_empty());
    assert_eq!(seen.drops, [(EniId(1), DropReason::NoTarget)]);
}

#[test]
fn a_frame_to_an_endpoint_in_the_same_subnet_does_not_show_its_mac_to_the_provider() {
    let mut w = privatelink();
    w.eni_edit(2, |row| {
        row.subnet = SubnetId(10);
        row.addresses = vec![ip("10.0.1.20")];
    });
    let (client, endpoint) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let there = tcp("10.0.1.10:40000", "10.0.1.20:443");
    for _ in 0..2 {
        let frame = build(client, endpoint, &there, tcp_flag::SYN, b"");
        let out = only(w.send(1, frame).out, 4);
        let router = w.tables.subnets.row(SubnetId(21)).unwrap().router_mac;
        assert_eq!(out.bytes()[6..12], router.0);
        assert!(out.bytes().len() > ETHERNET_LEN);
    }
}

#[test]
fn an_interface_without_a_host_sends_nothing() {
    use vpclab_dataplane::packet::Arp;
    let mut w = east_west();
    let frame = w.frame(1, &tcp("10.0.1.10:1", "10.0.2.10:2"), tcp_flag::SYN, b"");
    only(w.send(1, frame.clone()).out, 2);
    w.eni_edit(1, |row| row.attached = false);
    let detached = [(EniId(1), DropReason::Detached)];
    assert_eq!(w.send(1, frame).drops, detached);
    let ping = w.frame(
        1,
        &tuple(protocol::ICMP, "10.0.1.10:1", "10.0.1.1:1"),
        0,
        b"",
    );
    assert_eq!(w.send(1, ping).drops, detached);
    let mut who_has = vpclab_dataplane::packet::Frame::with_capacity(64);
    Arp {
        is_request: true,
        sender_mac: Mac([2, 0, 0, 0, 0, 1]),
        sender_ip: "10.0.1.10".parse().unwrap(),
        target_mac: Mac::default(),
        target_ip: "10.0.1.1".parse().unwrap(),
    }
    .write(&mut who_has, Mac::BROADCAST);
    assert_eq!(w.send(1, who_has).drops, detached);
}

#[test]
fn private_ipv6_addresses_have_no_way_through_an_internet_gateway() {
    use vpclab_dataplane::tables::{EniKind, RouteTarget};
    let mut w = World::new();
    w.vpc(0, &[], false, None);
    w.table(0, &[]);
    w.subnet(1, 0, &["0.0.0.0/0", "::/0"], 0);
    w.eni(5, 1, &["2001:db8:f::53"], &[], EniKind::Host);
    // Two VPCs with the same private block.
    for vpc in [1, 2] {
        w.vpc(vpc, &["fd00:1::/48"], true, None);
        let out = RouteTarget::InternetGateway;
        w.table(vpc, &[("fd00:1::/64", RouteTarget::Local), ("::/0", out)]);
        w.subnet(vpc * 10, vpc, &["fd00:1::/64"], vpc);
        w.group(vpc, everything(), everything());
        w.eni(vpc, vpc * 10, &["fd00:1::10"], &[vpc], EniKind::Host);
    }
    let seen = w.tcp(5, "[2001:db8:f::53]:1", "[fd00:1::10]:80", tcp_flag::SYN);
    assert_eq!(seen.drops, [(EniId(5), DropReason::IgwNoPrivateAddress)]);
    let seen = w.tcp(1, "[fd00:1::10]:80", "[2001:db8:f::53]:1", tcp_flag::SYN);
    assert_eq!(seen.drops, [(EniId(1), DropReason::IgwNoPublicAddress)]);
}

/// What a watcher is told, in order.
#[derive(Default)]
struct Watcher(Vec<(&'static str, EniId, Vec<u8>)>);

impl Sink for Watcher {
    const WATCHES: bool = true;

    fn received(&mut self, port: EniId, bytes: &[u8]) {
        self.0.push(("in", port, bytes.to_vec()));
    }
    fn transmit(&mut self, port: EniId, frame: Frame) {
        self.0.push(("out", port, frame.bytes().to_vec()));
    }
    fn local(&mut self, _: EniId, _: Frame) {}
    fn dropped(&mut self, port: EniId, _: DropReason, bytes: &[u8]) {
        self.0.push(("drop", port, bytes.to_vec()));
    }
}

#[test]
fn a_watcher_sees_of_each_packet_what_it_led_to_before_the_next_and_others_the_same() {
    let mut w = worked();
    let there = |port: u32| tcp(&format!("10.0.1.10:{port}"), "203.0.113.80:443");
    let mut batch = Vec::new();
    let mut add = |mut frame: Frame, port: u32| {
        frame.port = EniId(port);
        batch.push(frame);
    };
    for port in 4_000..4_020 {
        for flags in [tcp_flag::SYN, tcp_flag::ACK] {
            let frame = w.frame(1, &there(port), flags, b"some bytes");
            let geneve = only(w.send(1, frame.clone()).out, 4);
            let returned = bounce(geneve);
            only(w.send(4, returned.clone()).out, 5);
            if flags == tcp_flag::ACK {
                add(frame, 1);
                add(returned, 4);
            }
        }
        // The first of a connection, and one that nobody knows: the long way.
        add(w.frame(1, &there(port + 100), tcp_flag::SYN, b""), 1);
        add(w.frame(1, &there(port + 200), tcp_flag::ACK, b""), 1);
    }
    let mut twin = worked();
    for port in 4_000..4_020 {
        for flags in [tcp_flag::SYN, tcp_flag::ACK] {
            let frame = twin.frame(1, &there(port), flags, b"some bytes");
            let geneve = only(twin.send(1, frame).out, 4);
            only(twin.send(4, bounce(geneve)).out, 5);
        }
    }
    let (mut watcher, mut seen) = (Watcher::default(), Seen::default());
    let mut same = batch.clone();
    w.pipeline
        .process(w.now, &w.tables, &mut batch, &mut watcher);
    twin.pipeline
        .process(twin.now, &twin.tables, &mut same, &mut seen);
    assert_eq!(watcher.0.len(), 160, "one follows the other");
    let (entered, led_to): (Vec<_>, Vec<_>) =
        watcher.0.chunks(2).map(|two| (&two[0], &two[1])).unzip();
    assert!(entered.iter().all(|told| told.0 == "in"));
    assert!(led_to.iter().all(|told| told.0 != "in"));
    let sent = led_to.iter().filter(|told| told.0 == "out");
    let sent: Vec<_> = sent.map(|told| (told.1, told.2.as_slice())).collect();
    let others: Vec<_> = seen
        .out
        .iter()
        .map(|(port, frame)| (*port, frame.bytes()))
        .collect();
    assert_eq!(sent.len(), 60);
    assert_eq!(sent, others);
    assert_eq!(seen.drops.len(), 20);
    let counts = |w: &World| w.pipeline.counters().named().collect::<Vec<_>>();
    assert_eq!(counts(&w), counts(&twin));
}
