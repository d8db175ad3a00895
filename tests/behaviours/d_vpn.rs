//! B, D, F. Virtual private gateways: which route wins, and what is reached from on
//! premises.

use vpclab::api::*;
use vpclab::model::{AddressFamily, Destination, RouteTargetSpec};
use vpclab_tests::{Packet, World, cidr};

/// A VPC with a virtual private gateway that propagates what it knows, a peer, and
/// offices on premises. `fw` forwards whatever it is sent.
const HYBRID: &str = "
name: hybrid
vpcs:
  main:
    cidr: 10.1.0.0/16
    igw: true
    vgw: true
    subnets:
      app: {cidr: 10.1.1.0/24}
      other: {cidr: 10.1.2.0/24}
      inspection: {cidr: 10.1.3.0/24, route_table: inspection}
      public: {cidr: 10.1.4.0/24, route_table: public}
    route_tables:
      app:
        main: true
        propagate: true
        routes:
          - {to: 172.31.0.0/20, via: to-peer}
          - {to: 172.31.0.0/16, via: vgw}
      inspection: {propagate: true}
      public: {propagate: true, routes: [{to: 0.0.0.0/0, via: igw}]}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
  peer:
    cidr: 172.31.0.0/20
    subnets: {peer: {cidr: 172.31.0.0/24}}
    route_tables: {peer: {main: true, routes: [{to: 10.1.0.0/16, via: to-peer}]}}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
peerings:
  to-peer: {vpcs: [main, peer]}
hosts:
  app: {subnet: app, address: 10.1.1.10, groups: main/open}
  twin: {subnet: other, address: 10.1.2.10, groups: main/open}
  fw: {subnet: inspection, address: 10.1.3.10, groups: main/open, source_dest_check: false}
  web: {subnet: public, address: 10.1.4.10, groups: main/open, eip: 203.0.113.10}
  peer: {subnet: peer, address: 172.31.0.5, groups: peer/open}
on_prem:
  office:
    cidrs: [192.168.0.0/16, 172.31.0.0/16]
    vpn: main
    hosts:
      laptop: {addresses: 192.168.1.8}
      far: {addresses: 172.31.99.5}
  clash:
    cidrs: 10.1.2.0/24
    vpn: main
    hosts:
      shadow: {addresses: 10.1.2.10}
internet:
  hosts:
    site: {addresses: 198.51.100.7}
";

fn to(w: &World, target: &str) -> RouteTargetSpec {
    match target {
        "vgw" => RouteTargetSpec::VpnGateway(w.names.vpcs["main"].vpn_gateway.clone().unwrap()),
        host => RouteTargetSpec::NetworkInterface(w.interface(host)),
    }
}

/// Who of these hosts gets a packet from `app` to an address.
fn who(w: &mut World, dst: &str) -> Vec<&'static str> {
    const HOSTS: [&str; 7] = ["twin", "fw", "web", "peer", "laptop", "far", "shadow"];
    w.mute(&HOSTS);
    w.mute(&["app"]);
    w.send("app", &Packet::udp("10.1.1.10:5", format!("{dst}:9")));
    let got = |host: &&&str| !w.take(host).is_empty();
    HOSTS.iter().filter(got).copied().collect()
}

/// Given 172.31.0.0/20 → pcx and 172.31.0.0/16 → a virtual private gateway (in a
/// transit gateway's place), when the destination is 172.31.0.5, then pcx.
#[test]
fn b020_the_longer_prefix_wins_whatever_it_leads_to() {
    let mut w = World::new(HYBRID);
    assert_eq!(who(&mut w, "172.31.0.5"), ["peer"]);
    assert_eq!(who(&mut w, "172.31.99.5"), ["far"]);
    w.expect_counters("rx +2, tx +2");
}

/// Given a static and a propagated route of equal length, then the static one; the
/// propagated one is there again when that is gone.
#[test]
fn b021_static_beats_propagated() {
    let mut w = World::new(HYBRID);
    assert_eq!(who(&mut w, "192.168.1.8"), ["laptop"]);
    let aside = to(&w, "fw");
    w.route("main/app", "192.168.0.0/16", aside);
    assert_eq!(who(&mut w, "192.168.1.8"), ["fw"]);
    let route_table = w.table("main/app");
    w.apply(DeleteRoute {
        route_table,
        destination: Destination::Cidr(cidr("192.168.0.0/16")),
    });
    assert_eq!(who(&mut w, "192.168.1.8"), ["laptop"]);
    // Longer than both, it wins as any other route does.
    w.route("main/app", "192.168.0.0/15", to(&w, "fw"));
    assert_eq!(who(&mut w, "192.168.1.8"), ["laptop"]);
}

/// Given a prefix-list entry and a propagated route of equal length, then the list;
/// a static route of equal length beats both.
#[test]
fn b022_a_prefix_list_beats_propagated_and_static_beats_both() {
    let mut w = World::new(HYBRID);
    let list = w.apply(CreateManagedPrefixList {
        prefix_list_name: "offices".into(),
        address_family: AddressFamily::Ipv4,
        entries: vec![cidr("192.168.0.0/16").into()],
        max_entries: 2,
        ..CreateManagedPrefixList::default()
    });
    let (route_table, target) = (w.table("main/app"), to(&w, "fw"));
    w.apply(CreateRoute {
        route_table,
        destination: Destination::PrefixList(list),
        target,
    });
    assert_eq!(who(&mut w, "192.168.1.8"), ["fw"]);
    let out = to(&w, "vgw");
    w.route("main/app", "192.168.0.0/16", out);
    assert_eq!(who(&mut w, "192.168.1.8"), ["laptop"]);
}

/// Given propagated 10.1.2.0/24 inside local 10.1.0.0/16, when the destination is
/// 10.1.2.10, then local.
#[test]
fn b023_a_propagated_route_never_beats_local() {
    let mut w = World::new(HYBRID);
    assert_eq!(who(&mut w, "10.1.2.10"), ["twin"]);
}

/// Connections work both ways over the VPN, and nothing beyond the VPC's own
/// private addresses is reached from on premises: not the internet by its gateway,
/// not a public address of its own, not a peer. Without propagation or the
/// connection there is no way back.
#[test]
fn from_on_premises_only_the_vpcs_private_addresses_are_reached() {
    let mut w = World::new(HYBRID);
    w.host("web").tcp_listen(80).echo();
    w.host("laptop").tcp_listen(80).echo();
    let conn = w.echo("laptop", "10.1.4.10", 80);
    let seen = w.host("web").accepted_from(&conn).unwrap();
    assert!(seen.peer().to_string().starts_with("192.168.1.8:"));
    w.echo("app", "192.168.1.8", 80);
    w.expect_counters("flow.created +2");
    w.mute(&["laptop", "app", "web"]);
    w.settle();
    w.reset_counters();
    for beyond in ["198.51.100.7", "203.0.113.10", "172.31.0.5", "10.1.200.1"] {
        w.send(
            "laptop",
            &Packet::udp("192.168.1.8:5", format!("{beyond}:9")),
        );
        w.expect_counters("rx +1, tx +0, drop.vgw.not_for_vpc +1");
    }
    let set = SetVgwRoutePropagation {
        route_table: w.table("main/app"),
        vpn_gateway: w.names.vpcs["main"].vpn_gateway.clone().unwrap(),
        enabled: false,
    };
    w.apply(set);
    w.send("app", &Packet::udp("10.1.1.10:5", "192.168.1.8:9"));
    w.expect_counters("rx +1, tx +0, drop.route.none +1");
}

/// An edge table of the virtual private gateway leads what the office sends through a
/// middlebox (V:gateway-route-tables); replies that go around it do not matter to it.
#[test]
fn an_edge_table_of_the_gateway_leads_to_a_middlebox() {
    let edge = "route_tables:
      edge: {edge: vgw, routes: [{to: 10.1.1.0/24, via: fw}]}";
    let mut w = World::new(&HYBRID.replacen("route_tables:", edge, 1));
    w.mute(&["app", "fw", "web", "laptop"]);
    w.send("laptop", &Packet::udp("192.168.1.8:5", "10.1.1.10:9"));
    assert_eq!(w.take("fw")[0].to(), "10.1.1.10:9");
    assert!(w.take("app").is_empty());
    // Forwarded by it, it arrives; what is for another subnet goes straight there.
    w.send("fw", &Packet::udp("192.168.1.8:5", "10.1.1.10:9"));
    assert_eq!(w.take("app")[0].from(), "192.168.1.8:5");
    w.send("laptop", &Packet::udp("192.168.1.8:5", "10.1.4.10:9"));
    assert_eq!(w.take("web").len(), 1);
}

/// A private NAT gateway may stand before the virtual private gateway (VPC guide "NAT
/// gateway use cases"): the office sees its address, and cannot use it.
#[test]
fn behind_a_private_nat_gateway_the_office_sees_its_address() {
    let nat = "nat_gateways:\n  inside: {subnet: inspection, address: 10.1.3.5, type: private}\n";
    let mut w = World::new(&format!("{HYBRID}{nat}"));
    w.host("laptop").tcp_listen(80).echo();
    let target = RouteTargetSpec::NatGateway(w.names.nat_gateways["inside"].id.clone());
    w.route("main/public", "192.168.0.0/16", target);
    let conn = w.echo("web", "192.168.1.8", 80);
    let seen = w.host("laptop").accepted_from(&conn).unwrap();
    assert!(seen.peer().to_string().starts_with("10.1.3.5:"));
    w.mute(&["laptop", "web"]);
    w.settle();
    w.reset_counters();
    w.send("laptop", &Packet::syn("192.168.1.8:5", "10.1.3.5:80"));
    w.expect_counters("rx +1, tx +0, drop.nat.unsolicited +1");
}

/// A host on premises with prefixes is a router: it gets what is for any address of
/// them but another host's own, and what it forwards from there gets in.
#[test]
fn a_router_on_premises_stands_for_prefixes() {
    let router = "laptop: {addresses: 192.168.1.8}
      router: {addresses: 192.168.0.1, prefixes: 192.168.0.0/16}";
    let mut w = World::new(&HYBRID.replace("laptop: {addresses: 192.168.1.8}", router));
    w.mute(&["app", "laptop", "router"]);
    w.send("app", &Packet::udp("10.1.1.10:5", "192.168.77.5:9"));
    assert_eq!(w.take("router")[0].to(), "192.168.77.5:9");
    w.send("app", &Packet::udp("10.1.1.10:5", "192.168.1.8:9"));
    assert!(w.take("router").is_empty());
    assert_eq!(w.take("laptop").len(), 1);
    w.take("app");
    w.send("router", &Packet::udp("192.168.77.5:7", "10.1.1.10:9"));
    assert_eq!(w.take("app")[0].from(), "192.168.77.5:7");
    // Not what is no address of its prefixes, nor by a host without any.
    w.reset_counters();
    w.send("router", &Packet::udp("172.16.0.1:7", "10.1.1.10:9"));
    w.send("laptop", &Packet::udp("192.168.77.5:7", "10.1.1.10:9"));
    w.expect_counters("rx +2, tx +0, drop.source_dest_check +2");
}

/// An interface endpoint in a VPC that an office reaches by VPN.
const OFFICE: &str = "
name: office
vpcs:
  consumer:
    cidr: 10.1.0.0/16
    vgw: true
    subnets: {app: {cidr: 10.1.1.0/24}}
    route_tables: {app: {main: true, propagate: true}}
    security_groups:
      endpoint: {ingress: [{proto: tcp, ports: 80, from: 192.168.0.0/16}]}
  provider:
    cidr: 192.168.0.0/16
    subnets: {servers: {cidr: 192.168.3.0/24}}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
hosts:
  server: {subnet: servers, address: 192.168.3.10, groups: open}
on_prem:
  office:
    cidrs: 192.168.0.0/16
    static_routes: 192.168.0.0/16
    vpn: consumer
    hosts: {laptop: {addresses: 192.168.1.8}}
load_balancers:
  web: {type: network, subnets: servers, listeners: [{proto: tcp, port: 80, target_group: servers}]}
target_groups:
  servers: {protocol: tcp, port: 80, targets: server}
endpoint_services:
  web: {load_balancers: web}
endpoints:
  service: {service: web, subnets: app, address: 10.1.1.100, groups: endpoint}
";

/// Given on-prem by VPN, when it connects to an endpoint's address, then it works,
/// though the provider has the office's addresses.
#[test]
fn b086_an_endpoint_is_reached_from_on_premises() {
    let mut w = World::new(OFFICE);
    w.host("server").tcp_listen(80).echo();
    w.healthy();
    let conn = w.echo("laptop", "10.1.1.100", 80);
    assert_eq!(
        conn.local().to_string().split(':').next(),
        Some("192.168.1.8")
    );
    // The provider's own addresses are not the office's.
    w.mute(&["laptop"]);
    w.reset_counters();
    w.send("laptop", &Packet::syn("192.168.1.8:5", "192.168.3.10:80"));
    w.expect_counters("rx +1, tx +0, drop.vgw.not_for_vpc +1");
}
