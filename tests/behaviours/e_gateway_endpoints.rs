//! E. Gateway endpoints.

use vpclab::api::*;
use vpclab::model::{Destination, Direction, RulePeer, VpcEndpointType};
use vpclab_dataplane::packet::tcp_flag;
use vpclab_tests::{Packet, World};

/// Two public subnets; the table of the first has the endpoint's route. `s3` has an
/// address of S3's in us-east-1, `west` one of us-west-2's.
const S3: &str = "
name: s3
vpcs:
  main:
    cidr: 10.0.0.0/16
    igw: true
    subnets:
      with: {cidr: 10.0.1.0/24, route_table: with}
      without: {cidr: 10.0.2.0/24, route_table: without}
    route_tables:
      with:
        routes: [{to: 0.0.0.0/0, via: igw}, {to: 10.1.0.0/16, via: joined}]
      without:
        routes: [{to: 0.0.0.0/0, via: igw}]
    security_groups:
      open:
        ingress: [{proto: all, from: 0.0.0.0/0}]
      only-s3:
        ingress: []
        egress: [{proto: tcp, ports: 443, to: pl-s3}]
  peer:
    cidr: 10.1.0.0/16
    subnets:
      far: {cidr: 10.1.1.0/24, route_table: far}
    route_tables:
      far:
        routes: [{to: 10.0.0.0/16, via: joined}, {to: 0.0.0.0/0, via: joined}]
    security_groups:
      open:
        ingress: [{proto: all, from: 0.0.0.0/0}]
peerings:
  joined: {vpcs: [main, peer]}
hosts:
  a: {subnet: with, address: 10.0.1.10, eip: 203.0.113.10, groups: open}
  b: {subnet: without, address: 10.0.2.10, eip: 203.0.113.11, groups: open}
  c: {subnet: with, address: 10.0.1.11, eip: 203.0.113.12, groups: only-s3}
  far: {subnet: far, address: 10.1.1.10, groups: open}
endpoints:
  s3: {type: gateway, service: s3, route_tables: with}
internet:
  hosts:
    s3-host: {addresses: 52.216.1.1}
    west: {addresses: 52.218.128.1}
    other: {addresses: 198.51.100.7}
";

/// Given 0/0 → IGW and an S3 gateway endpoint on the table, when the destination is
/// in the list, then the endpoint is used and the source stays private; connections
/// and pings work both ways, and end with the endpoint.
#[test]
fn b061_the_endpoint_is_used_and_the_source_stays_private() {
    let mut w = World::new(S3);
    w.host("s3-host").tcp_listen(443).echo();
    let conn = w.echo("a", "52.216.1.1", 443);
    let seen = w.host("s3-host").accepted_from(&conn).unwrap().peer();
    assert_eq!(seen.ip(), vpclab_tests::ip("10.0.1.10"));
    let ping = w.host("a").ping("52.216.1.1");
    w.run_until(|_| ping.is_answered()).unwrap();
    // Nothing comes in that nobody started.
    w.mute(&["a", "s3-host"]);
    w.take("a");
    w.reset_counters();
    w.send("s3-host", &Packet::syn("52.216.1.1:443", "10.0.1.10:80"));
    w.expect_counters("rx +1, drop.igw.no_private_address +1, tx +0");
    // What is open breaks when the endpoint goes.
    let local = conn.local();
    let vpc_endpoints = vec![w.vpce("s3")];
    let unsuccessful = w.apply(DeleteVpcEndpoints { vpc_endpoints });
    assert!(unsuccessful.is_empty());
    w.send("s3-host", &Packet::ack("52.216.1.1:443", local));
    w.expect_counters("rx +1, drop.endpoint.gateway_answer +1, tx +0");
    w.take("s3-host");
    w.send("a", &Packet::syn("10.0.1.10:5", "52.216.1.1:443"));
    assert_eq!(w.take("s3-host")[0].from(), "203.0.113.10:5");
}

/// Given a second subnet whose table is not associated, when it sends to S3, then
/// by the internet gateway.
#[test]
fn b062_a_subnet_without_the_route_takes_the_internet_gateway() {
    let mut w = World::new(S3);
    w.mute(&["a", "b", "s3-host"]);
    w.send("b", &Packet::syn("10.0.2.10:5", "52.216.1.1:443"));
    assert_eq!(w.take("s3-host")[0].from(), "203.0.113.11:5");
    w.send("a", &Packet::syn("10.0.1.10:5", "52.216.1.1:443"));
    assert_eq!(w.take("s3-host")[0].from(), "10.0.1.10:5");
}

/// When the destination is an S3 range of another region, then 0/0 is used.
#[test]
fn b063_other_regions_take_the_default_route() {
    let mut w = World::new(S3);
    w.mute(&["a", "west", "other"]);
    for (host, to) in [("west", "52.218.128.1"), ("other", "198.51.100.7")] {
        w.send("a", &Packet::syn("10.0.1.10:5", format!("{to}:443")));
        assert_eq!(w.take(host)[0].from(), "203.0.113.10:5");
    }
}

/// When a peered VPC or an office behind a VPN tries the endpoint, then it cannot;
/// the endpoint's own VPC can.
#[test]
fn b064_neither_a_peer_nor_an_office_can_use_the_endpoint() {
    let mut w = World::new(include_str!("../../examples/hybrid.yaml"));
    w.mute(&["app", "peer", "laptop", "s3-server"]);
    w.run_for(vpclab_tests::seconds(1));
    w.reset_counters();
    w.take("laptop");
    w.take("peer");
    w.send("peer", &Packet::syn("10.2.1.10:5", "52.216.1.1:443"));
    w.expect_counters("drop.peering.not_in_vpc +1");
    w.send("laptop", &Packet::syn("192.168.1.10:5", "52.216.1.1:443"));
    w.expect_counters("drop.vgw.not_for_vpc +1");
    assert!(w.take("s3-server").is_empty());
    w.send("app", &Packet::syn("10.1.1.10:5", "52.216.1.1:443"));
    assert_eq!(w.take("s3-server")[0].from(), "10.1.1.10:5");
    // Nor does the service answer anybody else through it.
    for other in ["192.168.1.10:5", "10.2.1.10:5"] {
        w.reset_counters();
        w.send("s3-server", &Packet::ack("52.216.1.1:443", other));
        w.expect_counters("drop.igw.no_private_address +1");
    }
    assert!(w.take("laptop").is_empty() && w.take("peer").is_empty());
}

/// When the user deletes the route by hand, then refused; deleting the endpoint
/// removes it.
#[test]
fn b065_only_the_endpoint_removes_its_route() {
    let mut w = World::new(S3);
    let delete = DeleteRoute {
        route_table: w.table("main/with"),
        destination: Destination::PrefixList("pl-63a5400a".into()),
    };
    let endpoint = w.vpce("s3");
    w.refused(delete.clone(), "InvalidParameterValue", endpoint.as_str());
    let unsuccessful = w.apply(DeleteVpcEndpoints {
        vpc_endpoints: vec![endpoint],
    });
    assert!(unsuccessful.is_empty());
    w.refused(delete, "InvalidRoute.NotFound", "pl-63a5400a");
}

/// When UDP is sent to a listed address, then dropped.
#[test]
fn b066_udp_does_not_pass() {
    let mut w = World::new(S3);
    w.mute(&["a", "s3-host"]);
    w.send("a", &Packet::udp("10.0.1.10:5", "52.216.1.1:53"));
    w.expect_counters("rx +1, drop.endpoint.gateway_protocol +1, tx +0");
}

/// When a second S3 endpoint is put on the same table, then refused; on another
/// table it is not, and a DynamoDB one is not.
#[test]
fn b067_one_endpoint_a_service_and_table() {
    let mut w = World::new(S3);
    let vpc = w.vpc("main");
    let create = |w: &World, service: &str, table: &str| CreateVpcEndpoint {
        route_tables: vec![w.table(table)],
        ..CreateVpcEndpoint::new(VpcEndpointType::Gateway, vpc.clone(), service, [])
    };
    let (s3, dynamodb) = (
        "com.amazonaws.us-east-1.s3",
        "com.amazonaws.us-east-1.dynamodb",
    );
    let again = create(&w, s3, "main/with");
    w.refused(again, "RouteAlreadyExists", "pl-63a5400a");
    let elsewhere = create(&w, s3, "main/without");
    w.apply(elsewhere);
    let other = create(&w, dynamodb, "main/with");
    w.apply(other);
}

/// Given a group whose only outbound rule is to `pl-s3` 443, then S3 works and other
/// internet does not.
#[test]
fn b071_a_group_may_name_the_list() {
    let mut w = World::new(S3);
    w.mute(&["c", "s3-host", "other"]);
    w.send("c", &Packet::syn("10.0.1.11:5", "52.216.1.1:443"));
    assert!(w.take("s3-host")[0].has(tcp_flag::SYN));
    w.reset_counters();
    w.send("c", &Packet::syn("10.0.1.11:6", "52.216.1.1:80"));
    w.send("c", &Packet::syn("10.0.1.11:6", "198.51.100.7:443"));
    w.expect_counters("rx +2, drop.security_group +2, tx +0");
    // By the API, too.
    let list = RulePeer::PrefixList("pl-02cd2c6b".into());
    w.allow(
        "main/only-s3",
        Direction::Egress,
        Permission::tcp(443, list),
    );
}
