//! A. Addressing, layer 2, MTU, TTL, loops.

use vpclab::api::*;
use vpclab::appliance::Appliance;
use vpclab::model::{Destination, RouteTargetSpec};
use vpclab_dataplane::addr::Mac;
use vpclab_dataplane::packet::{Arp, ETHERNET_LEN, Frame};
use vpclab_tests::{Packet, World, cidr, ip};

use crate::fixtures::{INSPECTION, INTERNET, TWO_SUBNETS};

fn interface(w: &World, subnet: &str) -> CreateNetworkInterface {
    CreateNetworkInterface {
        subnet: w.subnet(subnet),
        ..CreateNetworkInterface::default()
    }
}

/// Given a /24 subnet, when an ENI asks for .0, .1, .2, .3 or .255, then refused.
#[test]
fn b001_reserved_addresses_of_a_subnet_are_refused() {
    let mut w = World::new(TWO_SUBNETS);
    for last in [0, 1, 2, 3, 255] {
        let address = std::net::Ipv4Addr::new(10, 0, 1, last);
        let request = CreateNetworkInterface {
            private_ip_address: Some(address),
            ..interface(&w, "main/left")
        };
        w.refused(request, "InvalidParameterValue", &address.to_string());
    }
    let request = CreateNetworkInterface {
        private_ip_address: Some([10, 0, 1, 4].into()),
        ..interface(&w, "main/left")
    };
    w.apply(request);
}

/// Given a /28 subnet, when 12 ENIs get automatic addresses, then the 12th fails.
#[test]
fn b002_a_28_subnet_holds_eleven_interfaces() {
    let mut w = World::new(
        "
name: small
vpcs:
  main:
    cidr: 10.0.0.0/16
    subnets:
      small: {cidr: 10.0.9.0/28}
",
    );
    for _ in 0..11 {
        let request = interface(&w, "main/small");
        w.apply(request);
    }
    let request = interface(&w, "main/small");
    let subnet = w.subnet("main/small").to_string();
    w.refused(request, "InsufficientFreeAddressesInSubnet", &subnet);
}

/// Given VPC CIDR 169.254.0.0/16 or 224.0.0.0/8 (or /16 of it), then refused.
#[test]
fn b003_link_local_and_multicast_vpc_blocks_are_refused() {
    let mut w = World::new(TWO_SUBNETS);
    for block in ["169.254.0.0/16", "224.0.0.0/8", "224.0.0.0/16"] {
        let request = CreateVpc {
            cidr_block: Some(cidr(block)),
            ..CreateVpc::default()
        };
        w.refused(request, "InvalidVpc.Range", block);
    }
}

/// An ARP request from host `a` for an address, and the answer.
fn arp(w: &mut World, target: [u8; 4]) -> Option<Arp> {
    let host = w.host("a");
    let request = Arp {
        is_request: true,
        sender_mac: host.mac(),
        sender_ip: [10, 0, 1, 10].into(),
        target_mac: Mac([0; 6]),
        target_ip: target.into(),
    };
    let mut frame = Frame::with_capacity(64);
    request.write(&mut frame, Mac::BROADCAST);
    host.clear_frames();
    host.send_raw(frame.bytes());
    w.settle();
    let frames = w.host("a").frames();
    assert!(frames.len() <= 1, "{frames:?}");
    let answer = frames.first()?;
    Some(Arp::parse(&answer.bytes, ETHERNET_LEN).unwrap())
}

/// Given two hosts in a subnet, when A ARPs for B, then A alone gets an answer,
/// with B's MAC, and B sees no ARP.
#[test]
fn b004_arp_is_answered_by_the_mapping_not_by_the_peer() {
    let mut w = World::new(TWO_SUBNETS);
    w.mute(&["a", "b", "c"]);
    let answer = arp(&mut w, [10, 0, 1, 11]).expect("an answer");
    assert!(!answer.is_request);
    assert_eq!(answer.sender_mac, w.host("b").mac());
    assert_eq!(answer.sender_ip.octets(), [10, 0, 1, 11]);
    assert!(w.host("b").frames().is_empty());
    assert!(w.host("c").frames().is_empty());
    w.expect_exact_counters("rx +1, consumed +1, generated +1, tx +1");

    // ASSUMPTION: an address that is not in use is not answered for.
    assert_eq!(arp(&mut w, [10, 0, 1, 77]), None);
    w.expect_exact_counters("rx +1, drop.l2.neighbor_unknown +1");
}

/// When a host ARPs for its .1, then the router's MAC is returned.
#[test]
fn b005_arp_for_the_first_address_finds_the_router() {
    let mut w = World::new(TWO_SUBNETS);
    w.mute(&["a", "b", "c"]);
    let answer = arp(&mut w, [10, 0, 1, 1]).expect("an answer");
    assert_eq!(answer.sender_mac, w.router_mac("a"));
    assert_ne!(answer.sender_mac, w.router_mac("c"));
    w.expect_exact_counters("rx +1, consumed +1, generated +1, tx +1");
}

/// When a host sends to 255.255.255.255, the subnet's last address or
/// 224.0.0.5, then nobody receives it.
#[test]
fn b006_broadcast_and_multicast_reach_nobody() {
    let mut w = World::new(TWO_SUBNETS);
    w.mute(&["a", "b", "c"]);
    let router = w.router_mac("a");
    let multicast = Mac([0x01, 0, 0x5e, 0, 0, 5]);
    for (to, mac) in [
        ("255.255.255.255:9", Mac::BROADCAST),
        ("255.255.255.255:9", router),
        ("10.0.1.255:9", Mac::BROADCAST),
        ("10.0.1.255:9", router),
        ("224.0.0.5:9", multicast),
        ("224.0.0.5:9", router),
    ] {
        w.send_to_mac("a", mac, &Packet::udp("10.0.1.10:9", to));
        w.expect_counters("rx +1, drop.l2.not_unicast +1, tx +0");
    }
    for host in ["a", "b", "c"] {
        assert!(w.host(host).frames().is_empty(), "{host}");
    }
}

/// Given the check on, when an ENI sends with a foreign source, then dropped.
#[test]
fn b007_a_foreign_source_is_dropped_at_the_source_check() {
    let mut w = World::new(TWO_SUBNETS);
    w.mute(&["a", "c"]);
    let packet = Packet::udp("10.0.1.99:5", "10.0.2.10:9");
    w.send("a", &packet);
    w.expect_counters("rx +1, drop.source_dest_check +1, tx +0");
    assert!(w.take("c").is_empty());

    set_check(&mut w, "a", false);
    w.send("a", &packet);
    w.expect_counters("rx +1, tx +1");
    assert_eq!(w.take("c")[0].from(), "10.0.1.99:5");
}

fn set_check(w: &mut World, host: &str, on: bool) {
    let network_interface = w.interface(host);
    w.apply(ModifyNetworkInterfaceAttribute {
        network_interface,
        source_dest_check: Some(on),
        ..ModifyNetworkInterfaceAttribute::default()
    });
}

/// Given the check on, when a packet for a foreign destination is routed to an
/// ENI, then dropped; with the check off, delivered.
#[test]
fn b008_a_foreign_destination_needs_the_check_off() {
    let mut w = World::new(TWO_SUBNETS);
    w.mute(&["a", "c"]);
    let target = RouteTargetSpec::NetworkInterface(w.interface("c"));
    w.route("main/left", "192.168.0.0/16", target);
    let packet = Packet::udp("10.0.1.10:5", "192.168.7.7:9");
    w.send("a", &packet);
    w.expect_counters("rx +1, drop.source_dest_check +1, tx +0");
    assert!(w.take("c").is_empty());

    set_check(&mut w, "c", false);
    w.send("a", &packet);
    w.expect_counters("rx +1, tx +1");
    assert_eq!(w.take("c")[0].to(), "192.168.7.7:9");
}

/// Given prefix 10.0.1.16/28 on an ENI, when a packet for 10.0.1.20 arrives,
/// then that ENI gets it and the check passes.
#[test]
fn b009_a_delegated_prefix_belongs_to_its_interface() {
    let mut w = World::new(TWO_SUBNETS);
    w.mute(&["b", "c"]);
    let packet = Packet::udp("10.0.2.10:5", "10.0.1.20:9");
    w.send("c", &packet);
    w.expect_counters("drop.route.address_unassigned +1");
    let network_interface = w.interface("b");
    w.apply(AssignPrivateIpAddresses {
        network_interface,
        ipv4_prefixes: vec![cidr("10.0.1.16/28")],
        ..AssignPrivateIpAddresses::default()
    });
    w.send("c", &packet);
    assert_eq!(w.take("b")[0].to(), "10.0.1.20:9");
    // And as a source.
    w.send("b", &Packet::udp("10.0.1.20:9", "10.0.2.10:5"));
    assert_eq!(w.take("c")[0].from(), "10.0.1.20:9");
    w.expect_counters("rx +2, tx +2");
}

/// Given a secondary address moved to another ENI, when a packet for it is
/// sent, then the new ENI gets it, without any ARP from guests.
#[test]
fn b010_a_secondary_address_moves_by_the_api_alone() {
    let mut w = World::new(TWO_SUBNETS);
    w.mute(&["a", "b", "c"]);
    let assign = |w: &World, host: &str, allow_reassignment| AssignPrivateIpAddresses {
        network_interface: w.interface(host),
        private_ip_addresses: vec![[10, 0, 1, 50].into()],
        allow_reassignment,
        ..AssignPrivateIpAddresses::default()
    };
    let first = assign(&w, "a", false);
    w.apply(first);
    w.mute(&["a", "b", "c"]);
    let packet = Packet::udp("10.0.2.10:5", "10.0.1.50:9");
    w.send("c", &packet);
    assert_eq!(w.take("a").len(), 1);
    let unwanted = assign(&w, "b", false);
    w.refused(unwanted, "InvalidIPAddress.InUse", "10.0.1.50");
    let moved = assign(&w, "b", true);
    w.apply(moved);
    w.mute(&["a", "b", "c"]);
    w.send("c", &packet);
    assert!(w.take("a").is_empty());
    assert_eq!(w.take("b")[0].to(), "10.0.1.50:9");
    w.expect_counters("rx +2, tx +2");
    // A neighbour that asks gets the new owner.
    let answer = arp(&mut w, [10, 0, 1, 50]).expect("an answer");
    assert_eq!(answer.sender_mac, w.host("b").mac());
}

/// When a route to 169.254.168.0/24 is created, then refused.
#[test]
fn b015_routes_to_the_services_range_are_refused() {
    let mut w = World::new(TWO_SUBNETS);
    for block in ["169.254.168.0/24", "169.254.168.0/22", "fd00:ec2::/64"] {
        let request = CreateRoute {
            route_table: w.table("main/left"),
            destination: Destination::Cidr(cidr(block)),
            target: RouteTargetSpec::NetworkInterface(w.interface("c")),
        };
        w.refused(request, "InvalidParameterValue", block);
    }
}

/// Given a 9001-byte packet with DF for an internet host, then dropped, and
/// ICMP 3/4 with MTU 1500 comes back.
#[test]
fn b016_a_packet_too_large_for_the_internet_gateway_is_refused_with_icmp() {
    let mut w = World::new(INTERNET);
    w.mute(&["web", "peer"]);
    let packet = Packet::udp("10.0.1.10:5", "198.51.100.7:9");
    w.send("web", &packet.clone().ip_len(9001));
    w.expect_counters("rx +1, drop.mtu +1, generated +1, tx +1");
    let errors = w.host("web").icmp_errors();
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].icmp_type, errors[0].code), (3, 4));
    assert_eq!(errors[0].word & 0xffff, 1500);
    assert_eq!(errors[0].from, ip("10.0.1.1"));
    assert!(w.take("peer").is_empty());

    w.send("web", &packet.ip_len(1500));
    assert_eq!(w.take("peer")[0].headers.ip_len, 1500);
    w.expect_counters("rx +1, tx +1");
}

/// Given TTL 1, when a packet crosses the VPC router, then delivered with TTL 1.
#[test]
fn b017_the_vpc_router_leaves_the_ttl_alone() {
    let mut w = World::new(TWO_SUBNETS);
    w.mute(&["a", "c"]);
    w.send("a", &Packet::udp("10.0.1.10:5", "10.0.2.10:9").ttl(1));
    let got = w.take("c");
    assert_eq!(got[0].headers.ttl, 1);
    assert_eq!(got[0].src_mac(), w.router_mac("c"));
    w.expect_counters("rx +1, tx +1");
}

/// Given an endpoint subnet whose route leads back to the endpoint just left,
/// then dropped as a loop, after one visit to an appliance.
#[test]
fn b018_a_route_back_into_the_endpoint_just_left_is_a_loop() {
    let mut w = World::new(INSPECTION);
    let firewalls = crate::fixtures::FIREWALLS
        .map(|name| w.host(name).run_appliance(Appliance::new(), Some(80)));
    w.healthy();
    w.mute(&["app", "peer"]);
    let target = RouteTargetSpec::VpcEndpoint(w.vpce("inspect"));
    let request = ReplaceRoute {
        route_table: w.table("app/inspection"),
        destination: Destination::Cidr(cidr("0.0.0.0/0")),
        target,
    };
    w.apply(request);
    w.send("app", &Packet::udp("10.1.1.10:5", "198.51.100.7:9"));
    w.expect_counters("gwlb.flow_created +1, drop.route.loop +1");
    let visits: usize = firewalls.iter().map(|fw| fw.received().len()).sum();
    assert_eq!(visits, 1);
    assert!(w.take("peer").is_empty());
}
