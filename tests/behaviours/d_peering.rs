//! D. VPC peering.

use vpclab::api::*;
use vpclab::model::{Direction, RulePeer};
use vpclab_tests::{Packet, World};

/// A line of peers: a – b – c. `b` has all that a peer might want to use of it.
const LINE: &str = "
name: line
vpcs:
  a:
    cidr: 10.1.0.0/16
    subnets: {a: {cidr: 10.1.1.0/24}}
    route_tables:
      a:
        main: true
        routes:
          - {to: 10.2.0.0/16, via: a-b}
          - {to: 10.3.0.0/16, via: a-b}
          - {to: 0.0.0.0/0, via: a-b}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
  b:
    cidr: 10.2.0.0/16
    igw: true
    subnets: {b: {cidr: 10.2.1.0/24}}
    route_tables:
      b:
        main: true
        routes:
          - {to: 10.1.0.0/16, via: a-b}
          - {to: 10.3.0.0/16, via: b-c}
          - {to: 0.0.0.0/0, via: igw}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
      known: {ingress: [{proto: tcp, ports: 80, from: a/open}]}
  c:
    cidr: 10.3.0.0/16
    subnets: {c: {cidr: 10.3.1.0/24}}
    route_tables:
      c:
        main: true
        routes:
          - {to: 10.1.0.0/16, via: b-c}
          - {to: 10.2.0.0/16, via: b-c}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
peerings:
  a-b: {vpcs: [a, b]}
  b-c: {vpcs: [b, c]}
hosts:
  a: {subnet: a/a, address: 10.1.1.10, groups: open}
  b: {subnet: b/b, address: 10.2.1.10, groups: open, eip: 203.0.113.10}
  known: {subnet: b/b, address: 10.2.1.11, groups: known}
  c: {subnet: c/c, address: 10.3.1.10, groups: open}
internet:
  hosts:
    peer: {addresses: 198.51.100.7}
";

/// Given A–B and B–C peered, when A sends to C through B, then dropped; each of
/// the two reaches its own peer, whose host sees the private source.
#[test]
fn b055_peering_is_not_transitive() {
    let mut w = World::new(LINE);
    // Connections work both ways between neighbours.
    w.host("b").tcp_listen(80).echo();
    w.echo("a", "10.2.1.10", 80);
    w.echo("c", "10.2.1.10", 80);
    w.expect_counters("flow.created +2");
    w.mute(&["a", "b", "c"]);
    w.take("b");
    w.send("a", &Packet::udp("10.1.1.10:5", "10.2.1.10:9"));
    assert_eq!(w.take("b")[0].from(), "10.1.1.10:5");
    w.send("c", &Packet::udp("10.3.1.10:5", "10.2.1.10:9"));
    assert_eq!(w.take("b")[0].from(), "10.3.1.10:5");
    w.expect_counters("rx +2, tx +2");
    w.take("a");
    w.take("c");
    for (from, to) in [("a", "10.3.1.10"), ("c", "10.1.1.10")] {
        let own = w.host(from).address();
        w.send(from, &Packet::udp(format!("{own}:5"), format!("{to}:9")));
        w.expect_counters("rx +1, tx +0, drop.peering.not_in_vpc +1");
    }
    assert!(w.take("a").is_empty() && w.take("c").is_empty());
}

/// Given A–B peered and A's 0/0 → pcx, when A sends to the internet, then dropped
/// (PCX_REQUIRES_ADDRESS_IN_VPC_CIDR), though B has a gateway; nor does B's
/// gateway bring in what is for A.
#[test]
fn b056_a_peers_internet_gateway_cannot_be_used() {
    let mut w = World::new(LINE);
    w.mute(&["a", "b", "peer"]);
    w.send("a", &Packet::udp("10.1.1.10:5", "198.51.100.7:9"));
    w.expect_counters("rx +1, tx +0, drop.peering.not_in_vpc +1");
    w.send("b", &Packet::udp("10.2.1.10:5", "198.51.100.7:9"));
    assert_eq!(w.take("peer").len(), 1, "B's own way out is there");
    // A public address of B's, too, is outside its blocks.
    w.send("a", &Packet::udp("10.1.1.10:5", "203.0.113.10:9"));
    w.expect_counters("rx +2, tx +1, drop.peering.not_in_vpc +1");
}

/// A group of the peer is a source (PE:vpc-peering-security-groups); a rule
/// that names it is stale, and allows nothing, when the connection is gone.
/// Then the routes are blackholes, and they still win.
#[test]
fn a_peers_group_counts_until_the_connection_is_deleted() {
    let mut w = World::new(LINE);
    w.host("known").tcp_listen(80).echo();
    w.echo("a", "10.2.1.11", 80);
    w.no_connection("c", "10.2.1.11", 80);
    w.mute(&["a", "b", "known"]);
    let peering = w.names.peerings["a-b"].clone();
    w.apply(DeleteVpcPeeringConnection { peering });
    w.reset_counters();
    w.send("a", &Packet::udp("10.1.1.10:5", "10.2.1.10:9"));
    w.expect_counters("rx +1, tx +0, drop.route.blackhole +1");
    let stale = w.group("b/known");
    let open = w.group("a/open");
    let again = AuthorizeSecurityGroup {
        group: stale,
        direction: Direction::Ingress,
        permissions: vec![Permission::udp(53, RulePeer::Group(open.clone()))],
    };
    w.refused(again, "InvalidGroup.NotFound", &open.to_string());
}

/// An interface endpoint is a private address of its VPC, so a peer reaches it
/// (PrivateLink guide "Concepts"): its groups judge the peer's address, the
/// provider sees the load balancer's. Nothing comes back but answers.
#[test]
fn an_interface_endpoint_is_reached_from_a_peer_and_by_vpn() {
    let mut w = World::new(include_str!("../../examples/hybrid.yaml"));
    w.host("server").tcp_listen(80).echo();
    w.healthy();
    for client in ["peer", "laptop", "app"] {
        let conn = w.echo(client, "10.1.1.100", 80);
        let node = w.nlb("web").address("az1");
        assert_eq!(w.host("server").peer_of(&conn), node, "{client}");
        // Nor can the provider start anything toward them.
        let seen = w.host("server").accepted_from(&conn).unwrap().peer();
        w.reset_counters();
        w.send("server", &Packet::syn("10.1.3.10:80", seen));
        w.expect_counters("drop.privatelink.one_way +1, flow.created +0");
    }
    w.revoke_all("consumer/endpoint", Direction::Ingress);
    for (client, own) in [("peer", "10.2.1.10"), ("laptop", "192.168.1.10")] {
        w.mute(&[client]);
        w.reset_counters();
        w.send(client, &Packet::syn(format!("{own}:999"), "10.1.1.100:80"));
        w.expect_counters("rx +1, tx +0, drop.security_group +1");
    }
}
