//! What lies beyond a VPC's own router: peers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::worlds::only;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{protocol, tcp_flag};
use vpclab_dataplane::tables::*;

const SYN: u8 = tcp_flag::SYN;

/// VPCs 1, 2 and 3 with blocks 10.N/16 and ENIs N in subnets N0; 1 – 2 and 2 – 3
/// are peered, and every table leads everything to the left or right neighbour.
fn line(cross_region: bool) -> World {
    let mut w = World::new();
    let peering = |n| RouteTarget::Peering(PeeringId(n));
    for vpc in [1, 2, 3] {
        let block = format!("10.{vpc}.0.0/16");
        w.vpc(vpc, &[&block], false, None);
        let routes = match vpc {
            1 => vec![("0.0.0.0/0", peering(1))],
            2 => vec![("10.1.0.0/16", peering(1)), ("0.0.0.0/0", peering(2))],
            _ => vec![("0.0.0.0/0", peering(2))],
        };
        let local = [(block.as_str(), RouteTarget::Local)];
        w.table(vpc * 10, &[&local[..], &routes].concat());
        w.subnet(vpc * 10, vpc, &[&format!("10.{vpc}.1.0/24")], vpc * 10);
        let all = || Peer::Cidr("0.0.0.0/0".parse().unwrap());
        let rules = || vec![rule(None, PortMatch::Any, all())];
        w.group(vpc, rules(), rules());
        w.eni(
            vpc,
            vpc * 10,
            &[&format!("10.{vpc}.1.10")],
            &[vpc],
            EniKind::Host,
        );
    }
    w.edit(|b| {
        for n in [1, 2] {
            let row = PeeringRow {
                label: label("pcx"),
                vpcs: [VpcId(n), VpcId(n + 1)],
                cross_region,
            };
            b.set_peering(PeeringId(n), Some(row));
        }
    });
    w
}

#[test]
fn a_peering_connection_leads_to_the_next_vpc_and_no_further() {
    let mut w = line(false);
    let frame = only(w.tcp(1, "10.1.1.10:4000", "10.2.1.10:80", SYN).out, 2);
    assert_eq!(read(&frame).tuple, tcp("10.1.1.10:4000", "10.2.1.10:80"));
    let back = w.tcp(2, "10.2.1.10:80", "10.1.1.10:4000", SYN | tcp_flag::ACK);
    only(back.out, 1);
    for to in ["10.3.1.10:80", "203.0.113.80:80"] {
        let seen = w.tcp(1, "10.1.1.10:4000", to, SYN);
        assert!(seen.out.is_empty());
        assert_eq!(seen.drops, [(EniId(1), DropReason::PeeringNotInVpc)]);
    }
    let seen = w.tcp(1, "10.1.1.10:4000", "10.2.9.9:80", SYN);
    assert_eq!(seen.drops, [(EniId(1), DropReason::AddressUnassigned)]);
}

#[test]
fn a_known_flow_ends_with_its_peering_connection() {
    let mut w = line(false);
    only(w.tcp(1, "10.1.1.10:4000", "10.2.1.10:80", SYN).out, 2);
    w.edit(|b| b.set_peering(PeeringId(1), None));
    let seen = w.tcp(1, "10.1.1.10:4000", "10.2.1.10:80", tcp_flag::ACK);
    assert_eq!(seen.drops, [(EniId(1), DropReason::Blackhole)]);
}

/// EC2 "Network MTU": 9001 to a peer in the region, 8500 to another region.
#[test]
fn between_regions_packets_are_smaller() {
    for (cross_region, fits) in [(false, 9001), (true, 8500)] {
        let mut w = line(cross_region);
        let datagram = tuple(protocol::UDP, "10.1.1.10:5", "10.2.1.10:9");
        let frame = w.frame(1, &datagram, 0, &vec![7; fits - 28]);
        only(w.send(1, frame).out, 2);
        if fits == 8500 {
            let frame = w.frame(1, &datagram, 0, &vec![7; fits - 27]);
            let seen = w.send(1, frame);
            assert_eq!(seen.drops, [(EniId(1), DropReason::Mtu)]);
            let told = read(&only(seen.out, 1));
            assert_eq!((told.tuple.src, told.icmp_type), (ip("10.1.1.1"), 3));
        }
    }
}
