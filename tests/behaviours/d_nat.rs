//! D. NAT gateways.

use std::collections::BTreeSet;

use vpclab::api::*;
use vpclab::model::RouteTargetSpec;
use vpclab_dataplane::packet::{Fragment, protocol, tcp_flag};
use vpclab_tests::{Packet, World, ip, seconds};

/// Two hosts of private subnets behind a NAT gateway in a public one, and a
/// private NAT gateway in a third. `web` has an Elastic IP of its own.
const NAT: &str = "
name: nat
vpcs:
  main:
    cidr: 10.0.0.0/16
    igw: true
    subnets:
      private: {cidr: 10.0.1.0/24, route_table: private}
      public: {cidr: 10.0.0.0/24, route_table: public, network_acl: public}
      inner: {cidr: 10.0.2.0/24, route_table: public}
    route_tables:
      public:
        routes: [{to: 0.0.0.0/0, via: igw}]
      private:
        routes: [{to: 0.0.0.0/0, via: out}, {to: 100.64.0.0/10, via: inside}]
    network_acls:
      public:
        ingress: [{rule: 100, action: allow, cidr: 0.0.0.0/0}]
        egress: [{rule: 100, action: allow, cidr: 0.0.0.0/0}]
    security_groups:
      client: {ingress: []}
      open:
        ingress: [{proto: all, from: 0.0.0.0/0}]
hosts:
  a: {subnet: private, address: 10.0.1.10, groups: client}
  b: {subnet: private, address: 10.0.1.11, groups: client}
  web: {subnet: public, address: 10.0.0.20, eip: 203.0.113.20, groups: open}
nat_gateways:
  out: {subnet: public, address: 10.0.0.5, eip: 203.0.113.5}
  inside: {subnet: inner, address: 10.0.2.5, type: private}
internet:
  hosts:
    peer: {addresses: 198.51.100.7}
    other: {addresses: 198.51.100.8}
";

/// Given a NAT gateway, when two hosts use the same source port to one server,
/// then the server sees one address and two ports in 1024–65535, answers reach the
/// host that asked, and nobody outside reaches either.
#[test]
fn b050_hosts_behind_a_nat_gateway_share_its_address_and_never_a_port() {
    let mut w = World::new(NAT);
    w.host("peer").tcp_listen(80).echo();
    let open = |w: &mut World, host: &str| {
        let conn = w.host(host).tcp_connect_from(40_000, "198.51.100.7", 80);
        conn.send(host);
        w.run_until(|_| conn.received(host)).unwrap();
        conn
    };
    let conns = [open(&mut w, "a"), open(&mut w, "b")];
    let peer = w.host("peer");
    let seen: BTreeSet<_> = peer.accepted().iter().map(|conn| conn.peer()).collect();
    assert_eq!(seen.len(), 2, "{seen:?}");
    for socket in &seen {
        assert_eq!(socket.ip(), ip("203.0.113.5"));
        assert!(socket.port() >= 1024);
    }
    assert!(conns.iter().all(|conn| conn.is_established()));
    w.expect_counters("flow.created +2");
    // Pings, too, and what comes by itself does not.
    for host in ["a", "b"] {
        let ping = w.host(host).ping("198.51.100.7");
        w.run_until(|_| ping.is_answered()).unwrap();
    }
    w.mute(&["a", "b", "peer", "other"]);
    w.take("a");
    w.take("b");
    w.reset_counters();
    for port in seen.iter().map(|socket| socket.port()) {
        let to = format!("203.0.113.5:{port}");
        w.send("other", &Packet::syn("198.51.100.8:80", &to));
        w.send("peer", &Packet::udp("198.51.100.7:80", &to));
    }
    w.send("peer", &Packet::ping("198.51.100.7", "203.0.113.5"));
    w.expect_counters("rx +5, drop.nat.unsolicited +5, tx +0");
    assert!(w.take("a").is_empty() && w.take("b").is_empty());
    // Its subnet's ACL and route table are judged, and a private gateway leads to
    // no internet gateway.
    w.send("a", &Packet::syn("10.0.1.10:5", "100.64.0.9:80"));
    w.expect_counters("rx +1, drop.igw.rfc6598 +1, tx +0");
    let target = RouteTargetSpec::NatGateway(w.names.nat_gateways["inside"].id.clone());
    let replace = ReplaceRoute {
        route_table: w.table("main/private"),
        destination: vpclab::model::Destination::Cidr(vpclab_tests::cidr("0.0.0.0/0")),
        target,
    };
    w.apply(replace);
    w.send("a", &Packet::syn("10.0.1.10:6", "198.51.100.7:80"));
    w.expect_counters("rx +1, drop.igw.no_public_address +1, tx +0");
}

/// Given 55 000 flows to one destination over one address, when one more starts,
/// then it is dropped and counted as `ErrorPortAllocation`; to another it works.
#[test]
fn b051_the_55_001st_flow_to_one_destination_is_refused_and_counted() {
    let mut w = World::new(NAT);
    w.mute(&["a", "b", "peer", "other"]);
    for host in ["a", "b", "peer", "other"] {
        w.host(host).set_record(false);
    }
    let hosts = [("a", "10.0.1.10"), ("b", "10.0.1.11")];
    let send = |w: &mut World, n: u32, to: &str| {
        let (host, address) = hosts[(n % 2) as usize];
        let from = format!("{address}:{}", 2000 + n / 2);
        let router = w.router_mac(host);
        let host = w.host(host);
        host.send_raw(&Packet::udp(from, to).frame(host.mac(), router));
    };
    for n in 0..55_000 {
        send(&mut w, n, "198.51.100.7:53");
        if n % 256 == 255 {
            w.settle();
        }
    }
    w.settle();
    w.expect_counters("rx +55000, tx +55000, flow.created +55000");
    send(&mut w, 55_000, "198.51.100.7:53");
    w.settle();
    w.expect_counters("rx +1, drop.nat.port_allocation +1, tx +0");
    let gateway = w.names.nat_gateways["out"].id.clone();
    let counts = w.nat_counts(&gateway);
    assert_eq!(
        (
            counts.port_allocation_errors,
            counts.active,
            counts.attempts
        ),
        (1, 55_000, 55_000)
    );
    send(&mut w, 55_001, "198.51.100.8:53");
    send(&mut w, 55_002, "198.51.100.7:54");
    w.settle();
    w.expect_counters("rx +2, tx +2, flow.created +2");
}

/// Given a TCP connection idle for 351 s, when the inside sends data, then it is
/// reset and nothing leaves; after 349 s it is carried.
#[test]
fn b052_after_350_s_of_silence_the_inside_is_reset_and_nothing_leaves() {
    let mut w = World::new(NAT);
    w.host("peer").tcp_listen(80).echo();
    let conn = w.echo("a", "198.51.100.7", 80);
    w.run_for(seconds(349));
    conn.send(" again");
    w.run_until(|_| conn.received("hello again")).unwrap();
    w.run_for(seconds(351));
    w.reset_counters();
    w.take("peer");
    conn.send(" late");
    w.run_for(seconds(1));
    assert!(conn.was_reset());
    assert!(w.take("peer").is_empty());
    w.expect_counters("drop.nat.no_connection +1, generated +1.., flow.created +0");
    // The server's side is not told, and what it still sends reaches nobody.
    let server = w.host("peer").accepted().remove(0);
    assert!(server.is_established());
    server.send("anyone?");
    w.run_for(seconds(1));
    w.expect_counters("drop.nat.unsolicited +1.., flow.created +0");
}

/// When a fragmented UDP datagram passes a NAT gateway, then it is forwarded; a
/// fragmented TCP segment or echo is dropped.
#[test]
fn b053_fragments_of_udp_pass_and_those_of_tcp_and_icmp_do_not() {
    let mut w = World::new(NAT);
    w.mute(&["a", "peer"]);
    let (host, router) = (w.host("a"), w.router_mac("a"));
    let long = |packet: Packet| packet.ip_len(1400).fragments(host.mac(), router, 600);
    let pieces = long(Packet::udp("10.0.1.10:5000", "198.51.100.7:53"));
    assert_eq!(pieces.len(), 3);
    pieces.iter().for_each(|piece| host.send_raw(piece));
    w.settle();
    w.expect_counters("rx +3, tx +3, flow.created +1");
    let seen = w.take("peer");
    let kinds: Vec<_> = seen.iter().map(|seen| seen.headers.fragment).collect();
    assert_eq!(kinds, [Fragment::First, Fragment::Later, Fragment::Later]);
    assert!(
        seen.iter()
            .all(|seen| seen.headers.tuple.src == ip("203.0.113.5"))
    );
    assert_eq!(seen[0].from(), "203.0.113.5:5000");
    for packet in [
        Packet::ack("10.0.1.10:5000", "198.51.100.7:80"),
        Packet::ping("10.0.1.10", "198.51.100.7"),
    ] {
        long(packet).iter().for_each(|piece| host.send_raw(piece));
        w.settle();
        w.expect_counters("rx +3, drop.nat.fragment +3, tx +0");
    }
}

/// When ESP or GRE goes to a NAT gateway, then it is dropped; UDP is not.
#[test]
fn b054_esp_and_gre_do_not_pass() {
    let mut w = World::new(NAT);
    w.mute(&["a", "peer"]);
    for protocol in [47, 50] {
        let packet = Packet::other(protocol, "10.0.1.10", "198.51.100.7").payload(b"anything");
        w.send("a", &packet);
        w.expect_counters("rx +1, drop.nat.protocol +1, tx +0");
    }
    w.send("a", &Packet::udp("10.0.1.10:5", "198.51.100.7:9"));
    let seen = w.take("peer").remove(0);
    assert_eq!(seen.headers.tuple.protocol, protocol::UDP);
    assert!(!seen.has(tcp_flag::SYN));
    w.expect_counters("rx +1, tx +1");
}
