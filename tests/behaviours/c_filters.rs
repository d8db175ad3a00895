//! C. Security groups and network ACLs.

use vpclab::api::*;
use vpclab::appliance::Appliance;
use vpclab::model::{Direction, RouteTargetSpec, RulePeer};
use vpclab_dataplane::packet::tcp_flag;
use vpclab_dataplane::tables::PortMatch;
use vpclab_tests::{Packet, World, cidr, seconds};

use crate::fixtures::{FIREWALLS, INSPECTION};

/// A client that nobody may call, a server with a group of its own, and two
/// members of the default group.
const GROUPS: &str = "
name: groups
vpcs:
  main:
    cidr: 10.0.0.0/16
    igw: true
    subnets:
      left: {cidr: 10.0.1.0/24, route_table: public}
      right: {cidr: 10.0.2.0/24, route_table: public}
    route_tables:
      public: {routes: [{to: 0.0.0.0/0, via: igw}]}
    security_groups:
      client: {ingress: []}
      # 443 from one subnet, and nothing out.
      server:
        ingress: [{proto: tcp, ports: 443, from: 10.0.1.0/24}]
        egress: []
      # 443 from everywhere, everything out: not tracked.
      public:
        ingress: [{proto: tcp, ports: 443, from: 0.0.0.0/0}]
      from-client:
        ingress: [{proto: tcp, ports: 443, from: client}]
      open:
        ingress: [{proto: all, from: 0.0.0.0/0}]
hosts:
  client: {subnet: left, address: 10.0.1.10, groups: client, eip: 203.0.113.10}
  other: {subnet: left, address: 10.0.1.11, groups: open}
  server: {subnet: right, address: 10.0.2.10, groups: server}
  public: {subnet: right, address: 10.0.2.11, groups: public}
  by-group: {subnet: right, address: 10.0.2.12, groups: from-client, eip: 203.0.113.12}
  member-1: {subnet: left, address: 10.0.1.21}
  member-2: {subnet: right, address: 10.0.2.22}
  peer: {subnet: left, address: 10.0.1.12, groups: open}
";

fn groups() -> World {
    World::new(GROUPS)
}

fn acl_entry(
    w: &World,
    acl: &str,
    direction: Direction,
    rule_number: u16,
    allow: bool,
) -> AclEntry {
    AclEntry {
        network_acl: w.acl(acl),
        direction,
        rule_number,
        allow,
        protocol: None,
        ports: PortMatch::Any,
        cidr: cidr("0.0.0.0/0"),
    }
}

/// Given inbound 443 only and no outbound rules, when a client connects, then
/// SYN-ACK and data go out; the server can start nothing.
#[test]
fn b035_replies_need_no_outbound_rule() {
    let mut w = groups();
    w.host("server").tcp_listen(443).echo();
    let conn = w.echo("client", "10.0.2.10", 443);
    assert_eq!(conn.data(), b"hello");
    w.run_for(seconds(1));
    w.expect_counters("flow.created +1");
    w.mute(&["server"]);
    w.send("server", &Packet::syn("10.0.2.10:1000", "10.0.1.11:80"));
    w.expect_counters("rx +1, drop.security_group +1");
}

/// Given a tracked open flow, when its allow rule is removed, then it goes on;
/// a new flow fails.
#[test]
fn b036_a_tracked_flow_outlives_its_rule() {
    let mut w = groups();
    w.host("server").tcp_listen(443).echo();
    let conn = w.echo("client", "10.0.2.10", 443);
    w.revoke_all("main/server", Direction::Ingress);
    w.reset_counters();
    conn.send(" again");
    w.run_until(|_| conn.received("hello again")).unwrap();
    w.run_for(seconds(1));
    w.expect_counters("rx +2..");
    w.mute(&["client"]);
    w.send("client", &Packet::syn("10.0.1.10:1000", "10.0.2.10:443"));
    w.expect_counters("rx +1, drop.security_group +1");
}

/// Given an untracked flow (0/0 both ways), when the rule is removed, then it
/// stops with the next packet.
#[test]
fn b037_an_untracked_flow_stops_with_its_rule() {
    let mut w = groups();
    // All ports from everywhere, and all out, on both sides of the rule.
    w.mute(&["other", "public"]);
    let (c, s) = ("10.0.1.11:1000", "10.0.2.11:443");
    w.send("other", &Packet::syn(c, s));
    w.send(
        "public",
        &Packet::ack(s, c).flags(tcp_flag::SYN | tcp_flag::ACK),
    );
    w.send("other", &Packet::ack(c, s));
    assert_eq!((w.take("public").len(), w.take("other").len()), (2, 1));
    w.expect_counters("rx +3, tx +3");
    w.revoke_all("main/public", Direction::Ingress);
    w.send("other", &Packet::ack(c, s));
    assert!(w.take("public").is_empty());
    w.expect_counters("rx +1, drop.security_group +1");
}

/// Given a flow, when a NACL deny is added, then it stops at once, and goes on
/// when the deny is taken away.
#[test]
fn b038_a_network_acl_stops_a_live_flow() {
    let mut w = groups();
    w.mute(&["client", "server"]);
    let (c, s) = ("10.0.1.10:1000", "10.0.2.10:443");
    w.send("client", &Packet::syn(c, s));
    w.send(
        "server",
        &Packet::ack(s, c).flags(tcp_flag::SYN | tcp_flag::ACK),
    );
    w.send("client", &Packet::ack(c, s));
    w.expect_counters("rx +3, tx +3, flow.created +1");
    let entry = acl_entry(&w, "main/default", Direction::Ingress, 50, false);
    w.apply(CreateNetworkAclEntry(entry));
    w.send("client", &Packet::ack(c, s));
    w.send("server", &Packet::ack(s, c));
    w.expect_counters("rx +2, drop.network_acl +2");
    let request = DeleteNetworkAclEntry {
        network_acl: w.acl("main/default"),
        direction: Direction::Ingress,
        rule_number: 50,
    };
    w.apply(request);
    w.send("client", &Packet::ack(c, s));
    w.expect_counters("rx +1, tx +1");
}

/// Given UDP with one request and answer, when an unsolicited packet comes after
/// 31 s, then dropped (after 29 s not); for a stream only after 180 s.
#[test]
fn b039_udp_entries_live_30_s_and_streams_180_s() {
    let mut w = groups();
    w.mute(&["client", "other"]);
    let exchange = |w: &mut World, port: u16| {
        let (c, s) = (format!("10.0.1.10:{port}"), "10.0.1.11:53");
        w.send("client", &Packet::udp(&c, s));
        w.send("other", &Packet::udp(s, &c));
    };
    let late = |w: &mut World, port: u16| {
        w.take("client");
        w.send(
            "other",
            &Packet::udp("10.0.1.11:53", format!("10.0.1.10:{port}")),
        );
        w.take("client").len()
    };
    for (port, idle, arrives) in [(1000, 29, 1), (1001, 31, 0)] {
        exchange(&mut w, port);
        w.run_for(seconds(idle));
        w.reset_counters();
        assert_eq!(late(&mut w, port), arrives, "after {idle} s");
        w.expect_counters(["rx +1, drop.security_group +1", "rx +1, tx +1"][arrives]);
    }
    for (port, idle, arrives) in [(1002, 178, 1), (1003, 181, 0)] {
        exchange(&mut w, port);
        exchange(&mut w, port);
        w.run_for(seconds(idle));
        w.reset_counters();
        assert_eq!(late(&mut w, port), arrives, "stream after {idle} s");
        w.expect_counters(["rx +1, drop.security_group +1", "rx +1, tx +1"][arrives]);
    }
}

/// Given the default group, when a host outside it connects, then dropped; a
/// member connects.
#[test]
fn b040_the_default_group_admits_its_members() {
    let mut w = groups();
    w.host("member-2").tcp_listen(80).echo();
    w.mute(&["other"]);
    w.send("other", &Packet::syn("10.0.1.11:1000", "10.0.2.22:80"));
    w.expect_counters("rx +1, drop.security_group +1");
    w.echo("member-1", "10.0.2.22", 80);
    w.run_for(seconds(1));
    w.expect_counters("flow.created +1");
}

/// Given rule "source sg-client", when a member connects by private IP, then
/// accepted; by public IP through the gateway, dropped.
#[test]
fn b041_a_group_reference_means_private_addresses() {
    let mut w = groups();
    w.mute(&["client", "by-group"]);
    w.send("client", &Packet::syn("10.0.1.10:1000", "10.0.2.12:443"));
    assert_eq!(w.take("by-group")[0].from(), "10.0.1.10:1000");
    w.expect_counters("rx +1, tx +1");
    w.send("client", &Packet::syn("10.0.1.10:1001", "203.0.113.12:443"));
    assert!(w.take("by-group").is_empty());
    w.expect_counters("rx +1, drop.security_group +1");
    // By CIDR the same packet passes: it was the reference that failed.
    let peer = RulePeer::Cidr(cidr("203.0.113.10/32"));
    w.allow(
        "main/from-client",
        Direction::Ingress,
        Permission::tcp(443, peer),
    );
    w.send("client", &Packet::syn("10.0.1.10:1002", "203.0.113.12:443"));
    assert_eq!(w.take("by-group")[0].from(), "203.0.113.10:1002");
    w.expect_counters("rx +1, tx +1");
}

/// Given NACL rule 90 deny and 100 allow for the same traffic, then denied.
#[test]
fn b042_the_lowest_acl_rule_that_matches_decides() {
    let mut w = groups();
    w.mute(&["other", "server"]);
    let packet = Packet::syn("10.0.1.11:1000", "10.0.2.10:443");
    w.send("other", &packet);
    w.expect_counters("rx +1, tx +1");
    let entry = acl_entry(&w, "main/default", Direction::Ingress, 90, false);
    w.apply(CreateNetworkAclEntry(entry.clone()));
    w.send("other", &packet);
    w.expect_counters("rx +1, drop.network_acl +1");
    w.apply(ReplaceNetworkAclEntry(AclEntry {
        allow: true,
        ..entry
    }));
    w.send("other", &packet);
    w.expect_counters("rx +1, tx +1");
}

/// Puts another ACL before a subnet.
fn guard(
    w: &mut World,
    subnet: &str,
    entries: impl Fn(vpclab::model::NetworkAclId) -> Vec<AclEntry>,
) {
    let (vpc, subnet) = (w.vpc("main"), w.subnet(subnet));
    let made = w.apply(CreateNetworkAcl { vpc, name: None });
    let network_acl = made;
    for entry in entries(network_acl.clone()) {
        w.apply(CreateNetworkAclEntry(entry));
    }
    let model = w.control().model();
    let association = network_acl_association(model, &subnet).unwrap();
    w.apply(ReplaceNetworkAclAssociation {
        association,
        network_acl,
    });
}

/// Given NACL in 443 allow and out only 443 allow, when a client outside the
/// subnet connects from port 50000, then the SYN arrives and the SYN-ACK is
/// dropped.
#[test]
fn b043_a_network_acl_remembers_no_connection() {
    let mut w = groups();
    w.mute(&["client"]);
    guard(&mut w, "main/right", |network_acl| {
        let entry = |direction| AclEntry {
            network_acl: network_acl.clone(),
            direction,
            rule_number: 100,
            allow: true,
            protocol: Some(6),
            ports: PortMatch::Range(443, 443),
            cidr: cidr("0.0.0.0/0"),
        };
        vec![entry(Direction::Ingress), entry(Direction::Egress)]
    });
    w.host("server").tcp_listen(443);
    w.send("client", &Packet::syn("10.0.1.10:50000", "10.0.2.10:443"));
    assert!(w.take("server")[0].has(tcp_flag::SYN));
    assert!(w.take("client").is_empty());
    // The server's ARP for its router is answered, too.
    w.expect_counters("drop.network_acl +1, tx +2");
}

/// Given NACL deny all, when two hosts of that subnet talk, then delivered; a
/// host of another subnet is not heard.
#[test]
fn b044_no_acl_between_hosts_of_one_subnet() {
    let mut w = groups();
    guard(&mut w, "main/left", |_| Vec::new());
    w.host("other").tcp_listen(80).echo();
    w.echo("peer", "10.0.1.11", 80);
    w.run_for(seconds(1));
    w.expect_counters("flow.created +1");
    w.mute(&["public"]);
    w.send("public", &Packet::syn("10.0.2.11:1000", "10.0.1.11:80"));
    w.expect_counters("rx +1, drop.network_acl +1");
}

/// Given an endpoint and a host in one subnet and a NACL that denies out, when
/// the host sends to the endpoint, then dropped.
#[test]
fn b046_the_acl_is_judged_on_the_way_to_an_endpoint_of_the_same_subnet() {
    let mut w = World::new(INSPECTION);
    let firewalls = FIREWALLS.map(|name| w.host(name).run_appliance(Appliance::new(), Some(80)));
    let network_interface = w.apply(CreateNetworkInterface {
        subnet: w.subnet("app/inspection"),
        private_ip_address: Some([10, 1, 2, 10].into()),
        ..CreateNetworkInterface::default()
    });
    w.apply(AttachNetworkInterface {
        network_interface,
        host: "beside".into(),
        ..AttachNetworkInterface::default()
    });
    w.healthy();
    let target = RouteTargetSpec::VpcEndpoint(w.vpce("inspect"));
    w.route("app/inspection", "192.0.2.0/24", target);
    w.mute(&["beside"]);
    let packet = Packet::udp("10.1.2.10:5", "192.0.2.9:9");
    let inspected = |firewalls: &[vpclab::lab::RunningAppliance; 3]| -> usize {
        firewalls.iter().map(|fw| fw.received().len()).sum()
    };
    w.send("beside", &packet);
    assert_eq!(inspected(&firewalls), 1);
    // What comes back is routed into the endpoint again: not this test's matter.
    w.expect_counters("gwlb.flow_created +1, drop.route.loop +1");
    let entry = acl_entry(&w, "app/default", Direction::Egress, 50, false);
    w.apply(CreateNetworkAclEntry(entry));
    w.send("beside", &packet);
    assert_eq!(inspected(&firewalls), 1);
    w.expect_counters("rx +1, drop.network_acl +1, tx +0");
}
