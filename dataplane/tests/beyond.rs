//! What lies beyond a VPC's own router: peers, and networks on premises.

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

/// VPC 1 (ENI 1) with a virtual private gateway, and two networks on premises:
/// 8 (192.168/16, ENI 8), and 9, whose tunnel is down.
fn hybrid() -> World {
    let mut w = World::new();
    let vgw = RouteTarget::VirtualPrivateGateway;
    let everything = || {
        ["0.0.0.0/0", "::/0"]
            .map(|all| rule(None, PortMatch::Any, worlds::any(all)))
            .to_vec()
    };
    w.vpc(1, &["10.1.0.0/16"], false, None);
    w.table(
        10,
        &[
            ("10.1.0.0/16", RouteTarget::Local),
            ("0.0.0.0/0", vgw.clone()),
            ("::/0", vgw),
        ],
    );
    w.subnet(10, 1, &["10.1.1.0/24", "2001:db8:1:1::/64"], 10);
    w.group(1, everything(), everything());
    w.eni(
        1,
        10,
        &["10.1.1.10", "2001:db8:1:1::10"],
        &[1],
        EniKind::Host,
    );
    w.vpc(8, &["192.168.0.0/16"], false, None);
    w.table(80, &[]);
    w.subnet(80, 8, &["0.0.0.0/0"], 80);
    w.eni(8, 80, &["192.168.1.8"], &[], EniKind::Host);
    w.eni(9, 80, &["192.168.2.9"], &[], EniKind::Host);
    w.eni_edit(1, |eni| eni.source_dest_check = false);
    w.edit(|b| {
        let mut vpc = b.view().vpcs.row(VpcId(1)).unwrap().clone();
        let known = [("192.168.0.0/16", Some(8)), ("172.16.0.0/16", None)];
        vpc.vgw = Some(VgwRow {
            label: label("vgw"),
            edge_table: None,
            known: known
                .map(|(prefix, vpc)| (prefix.parse().unwrap(), vpc.map(VpcId)))
                .to_vec(),
        });
        b.set_vpc(VpcId(1), Some(vpc));
        let mut network = b.view().vpcs.row(VpcId(8)).unwrap().clone();
        network.on_prem = Some(vec![("10.1.0.0/16".parse().unwrap(), VpcId(1))]);
        b.set_vpc(VpcId(8), Some(network));
    });
    w
}

#[test]
fn a_virtual_private_gateway_joins_its_vpc_and_what_it_knows() {
    let mut w = hybrid();
    let frame = only(w.tcp(8, "192.168.1.8:4000", "10.1.1.10:80", SYN).out, 1);
    assert_eq!(read(&frame).tuple, tcp("192.168.1.8:4000", "10.1.1.10:80"));
    let back = w.tcp(1, "10.1.1.10:80", "192.168.1.8:4000", SYN | tcp_flag::ACK);
    only(back.out, 8);
    // Neighbours there need no tunnel.
    only(w.tcp(8, "192.168.1.8:4000", "192.168.2.9:80", SYN).out, 9);
    for (from, src, dst, reason) in [
        (1, "10.1.1.10:5", "203.0.113.1:80", DropReason::VgwNoRoute),
        (
            1,
            "10.1.1.10:5",
            "172.16.0.1:80",
            DropReason::OnPremUnreachable,
        ),
        (
            1,
            "10.1.1.10:5",
            "192.168.7.7:80",
            DropReason::OnPremUnreachable,
        ),
        (
            1,
            "10.9.1.10:5",
            "192.168.1.8:80",
            DropReason::VgwNotFromVpc,
        ),
        (
            8,
            "192.168.1.8:5",
            "203.0.113.1:80",
            DropReason::VgwNotForVpc,
        ),
        (8, "192.168.1.8:5", "10.1.7.7:80", DropReason::VgwNotForVpc),
        (
            1,
            "[2001:db8:1:1::10]:5",
            "[2001:db8:9::1]:80",
            DropReason::VgwIpv6,
        ),
    ] {
        let seen = w.tcp(from, src, dst, SYN);
        assert!(seen.out.is_empty(), "{dst}");
        assert_eq!(seen.drops, [(EniId(from), reason)], "{dst}");
    }
}

/// VPN guide: 1446 bytes, and no path MTU discovery: what may be fragmented is,
/// what may not vanishes without a word. A hop of the gateway's takes a TTL.
#[test]
fn a_tunnel_carries_1446_bytes_and_tells_nobody() {
    let mut w = hybrid();
    let datagram = tuple(protocol::UDP, "10.1.1.10:5", "192.168.1.8:9");
    let frame = w.frame(1, &datagram, 0, &[7; 1446 - 28]);
    let came = read(&only(w.send(1, frame).out, 8));
    assert_eq!(came.ttl, 63);
    let seen = w.send(1, w.frame(1, &datagram, 0, &[7; 1447 - 28]));
    assert!(seen.out.is_empty());
    assert_eq!(seen.drops, [(EniId(1), DropReason::Mtu)]);
}
