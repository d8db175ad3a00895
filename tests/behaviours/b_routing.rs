//! B. Route tables.

use vpclab::api::*;
use vpclab::appliance::Appliance;
use vpclab::model::{AddressFamily, Connectivity, Destination, RouteTargetSpec};
use vpclab_dataplane::packet::tcp_flag;
use vpclab_tests::{Packet, World, cidr};

use crate::fixtures::{FIREWALLS, INSPECTION, INTERNET, TWO_SUBNETS};

fn create(w: &World, table: &str, to: &str, target: RouteTargetSpec) -> CreateRoute {
    CreateRoute {
        route_table: w.table(table),
        destination: Destination::Cidr(cidr(to)),
        target,
    }
}

/// Given 10.0.0.0/16 local and 0/0 → IGW, when the destination is in the VPC,
/// then local: a host gets it with its private source, a free address nobody.
#[test]
fn b019_local_beats_the_default_route() {
    let mut w = World::new(INTERNET);
    w.mute(&["web", "back", "peer"]);
    w.send("web", &Packet::udp("10.0.1.10:5", "10.0.2.10:9"));
    assert_eq!(w.take("back")[0].from(), "10.0.1.10:5");
    w.expect_counters("rx +1, tx +1");
    w.send("web", &Packet::udp("10.0.1.10:5", "10.0.9.9:9"));
    w.expect_counters("rx +1, drop.route.address_unassigned +1");
    w.send("web", &Packet::udp("10.0.1.10:5", "198.51.100.7:9"));
    assert_eq!(w.take("peer").len(), 1);
    w.expect_counters("rx +1, tx +1");
}

/// A VPC whose subnets a and b may be inspected on the way to each other.
const EAST_WEST: &str = "
name: east-west
vpcs:
  app:
    cidr: 10.1.0.0/16
    subnets:
      a: {cidr: 10.1.1.0/24, route_table: a}
      b: {cidr: 10.1.2.0/24}
      c: {cidr: 10.1.3.0/24}
      inspection: {cidr: 10.1.9.0/24, route_table: inspection}
    route_tables:
      a: {routes: [{to: 10.1.2.0/24, via: inspect}]}
      inspection: {}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
hosts:
  a: {subnet: app/a, address: 10.1.1.10, groups: open}
  b: {subnet: app/b, address: 10.1.2.10, groups: open}
  c: {subnet: app/c, address: 10.1.3.10, groups: open}
  fw: {subnet: app/inspection, address: 10.1.9.11, groups: open}
load_balancers:
  firewalls: {type: gateway, subnets: app/inspection, listeners: [{target_group: firewalls}]}
target_groups:
  firewalls: {protocol: geneve, targets: [fw]}
endpoint_services:
  firewalls: {load_balancers: firewalls, acceptance_required: false}
endpoints:
  inspect: {service: firewalls, subnets: app/inspection}
";

/// Given a static route for exactly subnet B's CIDR → GWLBE, when A sends to B,
/// then the packet goes to the endpoint; to subnet C it goes straight.
#[test]
fn b024_a_route_for_exactly_a_subnet_beats_local() {
    let mut w = World::new(EAST_WEST);
    let fw = w.host("fw").run_appliance(Appliance::new(), Some(80));
    w.healthy();
    w.mute(&["a", "b", "c"]);
    w.send("a", &Packet::udp("10.1.1.10:5", "10.1.2.10:9"));
    assert_eq!(fw.received().len(), 1);
    assert_eq!(w.take("b")[0].from(), "10.1.1.10:5");
    w.expect_counters("gwlb.flow_created +1");
    w.send("a", &Packet::udp("10.1.1.10:5", "10.1.3.10:9"));
    assert_eq!(fw.received().len(), 1, "C is not inspected");
    assert_eq!(w.take("c").len(), 1);
    w.expect_counters("gwlb.flow_created +0");
}

/// When a static route for half a subnet is created, then refused.
#[test]
fn b025_a_route_for_half_a_subnet_is_refused() {
    let mut w = World::new(TWO_SUBNETS);
    let target = RouteTargetSpec::NetworkInterface(w.interface("b"));
    let half = create(&w, "main/left", "10.0.2.0/25", target.clone());
    w.refused(half, "InvalidParameterValue", "10.0.2.0/25");
    let whole = create(&w, "main/left", "10.0.2.0/24", target);
    w.apply(whole);
}

/// When a static route more specific than local targets an IGW, then refused.
#[test]
fn b026_a_route_inside_the_vpc_to_an_internet_gateway_is_refused() {
    let mut w = World::new(INTERNET);
    let igw = w.names.vpcs["main"].internet_gateway.clone().unwrap();
    let target = RouteTargetSpec::InternetGateway(igw);
    let inside = create(&w, "main/public", "10.0.2.0/24", target.clone());
    w.refused(inside, "InvalidParameterValue", "10.0.2.0/24");
    let outside = create(&w, "main/public", "192.0.2.0/24", target);
    w.apply(outside);
}

/// Given a route whose target ENI is gone, when a packet hits it, then dropped
/// as a blackhole though 0/0 exists.
#[test]
fn b027_a_route_to_a_deleted_interface_is_a_blackhole() {
    let mut w = World::new(INTERNET);
    w.mute(&["web", "peer"]);
    let subnet = w.subnet("main/private");
    let made = w.apply(CreateNetworkInterface {
        subnet,
        ..CreateNetworkInterface::default()
    });
    let target = RouteTargetSpec::NetworkInterface(made.clone());
    w.route("main/public", "198.51.100.0/24", target);
    w.apply(DeleteNetworkInterface {
        network_interface: made,
    });
    let packet = Packet::udp("10.0.1.10:5", "198.51.100.7:9");
    w.send("web", &packet);
    w.expect_counters("rx +1, drop.route.blackhole +1, tx +0");
    assert!(w.take("peer").is_empty());
    let request = DeleteRoute {
        route_table: w.table("main/public"),
        destination: Destination::Cidr(cidr("198.51.100.0/24")),
    };
    w.apply(request);
    w.send("web", &packet);
    w.expect_counters("rx +1, tx +1");
    assert_eq!(w.take("peer").len(), 1);
}

/// Given two hosts in a subnet whose table sends the subnet to an ENI, when A
/// frames B's MAC, then B receives directly; framed to the router it goes to
/// the ENI.
#[test]
fn b028_a_frame_to_a_neighbour_obeys_no_route() {
    let mut w = World::new(TWO_SUBNETS);
    w.mute(&["a", "b", "c"]);
    let network_interface = w.interface("c");
    w.apply(ModifyNetworkInterfaceAttribute {
        network_interface: network_interface.clone(),
        source_dest_check: Some(false),
        ..ModifyNetworkInterfaceAttribute::default()
    });
    let target = RouteTargetSpec::NetworkInterface(network_interface);
    w.route("main/left", "10.0.1.0/24", target);
    let packet = Packet::udp("10.0.1.10:5", "10.0.1.11:9");
    let (mine, neighbour) = (w.host("a").mac(), w.host("b").mac());
    w.send_to_mac("a", neighbour, &packet);
    assert_eq!(w.take("b")[0].src_mac(), mine);
    assert!(w.take("c").is_empty());
    w.send("a", &packet);
    assert!(w.take("b").is_empty());
    assert_eq!(w.take("c")[0].to(), "10.0.1.11:9");
    w.expect_counters("rx +2, tx +2");
}

/// Given an IGW table `app CIDR → vpce`, when a packet for the app's EIP
/// arrives, then it enters the endpoint with the private destination.
#[test]
fn b029_an_edge_table_sees_the_private_destination() {
    let mut w = World::new(INSPECTION);
    let firewalls = FIREWALLS.map(|name| w.host(name).run_appliance(Appliance::new(), Some(80)));
    w.healthy();
    w.mute(&["app", "peer"]);
    w.send("peer", &Packet::udp("198.51.100.7:5", "203.0.113.10:9"));
    let inner: Vec<_> = firewalls.iter().flat_map(|fw| fw.received()).collect();
    assert_eq!(inner.len(), 1);
    // The inner IPv4 header begins after 8 + 32 bytes of GENEVE.
    assert_eq!(&inner[0].payload[40 + 16..40 + 20], [10, 1, 1, 10]);
    let got = w.take("app");
    assert_eq!(
        (got[0].from(), got[0].to()),
        ("198.51.100.7:5".into(), "10.1.1.10:9".into())
    );
    w.expect_counters("gwlb.flow_created +1");
}

/// When a gateway's table gets a route with a prefix-list destination, then
/// refused. (NAT gateways, the other half, are not there yet.)
#[test]
fn b030_a_gateway_table_takes_no_prefix_list_and_no_nat_gateway() {
    let mut w = World::new(INSPECTION);
    let list = prefix_list(&mut w, "10.1.1.0/24", 5);
    let request = CreateRoute {
        route_table: w.table("app/gateway"),
        destination: Destination::PrefixList(list.clone()),
        target: RouteTargetSpec::NetworkInterface(w.interface("app")),
    };
    w.refused(request, "InvalidParameterValue", list.as_str());
    let request = CreateRoute {
        route_table: w.table("app/app"),
        destination: Destination::PrefixList(list),
        target: RouteTargetSpec::NetworkInterface(w.interface("app")),
    };
    w.apply(request);
    let gateway = w.apply(CreateNatGateway {
        subnet: w.subnet("app/inspection"),
        connectivity: Connectivity::Private,
        ..CreateNatGateway::default()
    });
    let request = CreateRoute {
        route_table: w.table("app/gateway"),
        destination: Destination::Cidr(cidr("10.1.2.0/24")),
        target: RouteTargetSpec::NatGateway(gateway.clone()),
    };
    w.refused(request, "InvalidParameterValue", gateway.as_str());
}

fn prefix_list(w: &mut World, block: &str, max_entries: u32) -> vpclab::model::PrefixListId {
    let entry = PrefixListEntry {
        cidr: cidr(block),
        description: String::new(),
    };
    w.apply(CreateManagedPrefixList {
        prefix_list_name: "list".into(),
        address_family: AddressFamily::Ipv4,
        max_entries,
        entries: vec![entry],
        name: None,
    })
}

/// When a route `pl-… → GWLBE` is created, then refused.
#[test]
fn b031_a_prefix_list_may_not_lead_to_a_gateway_load_balancer_endpoint() {
    let mut w = World::new(INSPECTION);
    let list = prefix_list(&mut w, "192.0.2.0/24", 5);
    let request = CreateRoute {
        route_table: w.table("app/app"),
        destination: Destination::PrefixList(list.clone()),
        target: RouteTargetSpec::VpcEndpoint(w.vpce("inspect")),
    };
    w.refused(request, "InvalidParameterValue", list.as_str());
}

/// Given an IPv4 default route only, when an IPv6 packet leaves, then dropped
/// for want of a route.
#[test]
fn b032_the_ipv4_default_route_does_not_carry_ipv6() {
    let mut w = World::new(INSPECTION);
    let firewalls = FIREWALLS.map(|name| w.host(name).run_appliance(Appliance::new(), Some(80)));
    w.healthy();
    w.mute(&["app", "peer"]);
    let request = DeleteRoute {
        route_table: w.table("app/app"),
        destination: Destination::Cidr(cidr("::/0")),
    };
    w.apply(request);
    w.send(
        "app",
        &Packet::udp("[2001:db8:1:1::10]:5", "[2001:db8:ffff::7]:9"),
    );
    w.expect_counters("rx +1, drop.route.none +1, tx +0");
    assert!(firewalls.iter().all(|fw| fw.received().is_empty()));
    w.send("app", &Packet::udp("10.1.1.10:5", "198.51.100.7:9"));
    assert_eq!(w.take("peer").len(), 1);
    w.expect_counters("gwlb.flow_created +1");
}

/// Given a subnet without an association, then the main table is used; after
/// another table becomes main, the new one, by the next packet of a live flow.
#[test]
fn b033_subnets_without_an_association_follow_the_main_table() {
    let mut w = World::new(INTERNET);
    w.mute(&["back", "peer"]);
    let request = AllocateAddress::default();
    let allocation = w.apply(request).allocation;
    let network_interface = w.interface("back");
    w.apply(AssociateAddress {
        allocation,
        network_interface,
        ..AssociateAddress::default()
    });
    let packet = Packet::udp("10.0.2.10:5", "198.51.100.7:9");
    w.send("back", &packet);
    w.expect_counters("rx +1, drop.route.none +1, tx +0");
    let replace = |w: &World, table: &str| {
        let model = w.control().model();
        let main = main_association(model, &w.vpc("main")).unwrap();
        ReplaceRouteTableAssociation {
            association: main.id.clone(),
            route_table: w.table(table),
        }
    };
    let request = replace(&w, "main/public");
    w.apply(request);
    w.send("back", &packet);
    assert_eq!(w.take("peer").len(), 1);
    w.expect_counters("rx +1, tx +1");
    let request = replace(&w, "main/main");
    w.apply(request);
    w.send("back", &packet);
    assert!(w.take("peer").is_empty());
    w.expect_counters("rx +1, drop.route.none +1, tx +0");
}

/// Given 500 routes, when one more is added, then the quota refuses it; a prefix
/// list counts by its max-entries.
#[test]
fn b034_a_table_holds_500_routes_and_lists_count_by_max_entries() {
    let mut w = World::new(TWO_SUBNETS);
    let target = RouteTargetSpec::NetworkInterface(w.interface("c"));
    let list = prefix_list(&mut w, "192.0.2.0/24", 100);
    let by_list = CreateRoute {
        route_table: w.table("main/left"),
        destination: Destination::PrefixList(list),
        target: target.clone(),
    };
    let before = routes(&w);
    w.apply(by_list);
    let mut made = 0;
    let refused = loop {
        let block = format!("172.{}.{}.0/24", 16 + made / 256, made % 256);
        let request = create(&w, "main/left", &block, target.clone());
        match w.execute(request) {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
        assert!(made <= 500, "no quota");
    };
    assert_eq!(refused.code, "RouteLimitExceeded", "{refused}");
    // ASSUMPTION of the tables: local routes do not count.
    assert_eq!(made, 400, "beside a list of 100 and {before} local routes");
}

fn routes(w: &World) -> usize {
    let table = w.table("main/left");
    w.control().model().get(&table).unwrap().routes.len()
}

/// A reminder that the routes above carry TCP as well: one connection through
/// the appliance of [`EAST_WEST`] and back, the reply not inspected because
/// subnet b has no such route.
#[test]
fn b024_asymmetric_tcp_passes_when_the_appliance_saw_the_first_packet() {
    let mut w = World::new(EAST_WEST);
    let fw = w.host("fw").run_appliance(Appliance::new(), Some(80));
    w.healthy();
    w.host("b").tcp_listen(80).echo();
    let conn = w.echo("a", "10.1.2.10", 80);
    assert_eq!(conn.peer().to_string(), "10.1.2.10:80");
    let inspected = fw.received();
    assert!(!inspected.is_empty());
    let from_b = |payload: &[u8]| payload[40 + 12..40 + 16] == [10, 1, 2, 10];
    assert!(inspected.iter().all(|packet| !from_b(&packet.payload)));
    let flags = inspected[0].payload[40 + 20 + 13];
    assert_eq!(flags & tcp_flag::SYN, tcp_flag::SYN);
}
