//! What the oracle (`tests/oracle`) found to be wrong once; each must stay right.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::*;
use vpclab_dataplane::tables::*;

const SYN: u8 = tcp_flag::SYN;
const ACK: u8 = tcp_flag::ACK;

fn ttl(frame: &Frame) -> u8 {
    read(frame).ttl
}

/// An ICMP message of type 3 from ENI `from` about `about`.
fn unreachable(w: &World, from: u32, (src, dst): (&str, &str), about: &Frame) -> Frame {
    let eni = w.tables.enis.row(EniId(from)).unwrap();
    let ends = Endpoints {
        src_mac: eni.mac,
        dst_mac: w.tables.subnets.row(eni.subnet).unwrap().router_mac,
        src: ip(src),
        dst: ip(dst),
    };
    let mut frame = Frame::with_capacity(600);
    let error = IcmpError {
        kind: 3,
        code: 1,
        rest: 0,
    };
    error.write(&mut frame, &ends, about.bytes(), &read(about));
    frame.offload = Offload::default();
    frame
}

#[test]
fn cached_packets_follow_a_change_of_settings() {
    let mut w = east_west();
    for _ in 0..2 {
        let got = only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 2);
        assert_eq!(ttl(&got), 64);
    }
    settings(&mut w, |settings| settings.ttl_vpc_router = 1);
    for _ in 0..2 {
        let got = only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 2);
        assert_eq!(ttl(&got), 63);
    }
}

#[test]
fn an_address_given_out_of_anothers_delegated_prefix_moves_its_packets() {
    let mut w = east_west();
    w.eni(3, 2, &["10.0.2.11"], &[1], EniKind::Host);
    w.eni_edit(2, |eni| {
        eni.prefixes = vec!["10.0.2.64/28".parse().unwrap()];
    });
    for _ in 0..2 {
        only(w.tcp(1, "10.0.1.10:1", "10.0.2.67:2", SYN).out, 2);
    }
    w.eni_edit(3, |eni| eni.addresses.push(ip("10.0.2.67")));
    only(w.tcp(1, "10.0.1.10:1", "10.0.2.67:2", SYN).out, 3);
    w.eni_edit(3, |eni| eni.addresses.truncate(1));
    only(w.tcp(1, "10.0.1.10:1", "10.0.2.67:2", SYN).out, 2);
}

/// East-west where host 2 takes packets of members of group 1 alone.
fn members_only() -> World {
    let mut w = east_west();
    let from_members = rule(None, PortMatch::Any, Peer::Group(SecurityGroupId(1)));
    w.group(2, vec![from_members], vec![]);
    w.eni_edit(2, |eni| eni.groups = vec![SecurityGroupId(2)]);
    w
}

#[test]
fn a_delegated_prefix_is_a_member_of_its_interfaces_groups() {
    let mut w = members_only();
    w.eni_edit(1, |eni| {
        eni.prefixes = vec!["10.0.1.64/28".parse().unwrap()];
    });
    only(w.tcp(1, "10.0.1.67:1", "10.0.2.10:2", SYN).out, 2);
    w.eni_edit(1, |eni| eni.prefixes.clear());
    let seen = w.tcp(1, "10.0.1.67:1", "10.0.2.10:2", SYN);
    assert_eq!(seen.drops, [(EniId(1), DropReason::SourceDestCheck)]);
}

#[test]
fn a_group_reference_does_not_reach_across_a_middlebox() {
    let mut w = members_only();
    only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 2);
    // The same packet, sent on by a router of the same group.
    w.subnet(3, 1, &["10.0.3.0/24"], 1);
    w.eni(3, 3, &["10.0.3.10"], &[1], EniKind::Host);
    w.eni_edit(3, |eni| eni.source_dest_check = false);
    let seen = w.tcp(3, "10.0.1.10:7", "10.0.2.10:2", SYN);
    assert_eq!(seen.drops, [(EniId(3), DropReason::SecurityGroup)]);
    only(w.tcp(3, "10.0.3.10:7", "10.0.2.10:2", SYN).out, 2);
}

#[test]
fn a_group_reference_does_not_mean_another_vpcs_equal_address() {
    let mut w = privatelink();
    // The load balancer takes packets of a provider's host that has, in its own
    // VPC, the address that the client has in the consumer's.
    w.group(8, everything(), everything());
    w.eni(9, 20, &["10.0.1.10"], &[8], EniKind::Host);
    let members = rule(None, PortMatch::Any, Peer::Group(SecurityGroupId(8)));
    w.group(9, vec![members], everything());
    w.eni_edit(3, |eni| eni.groups = vec![SecurityGroupId(9)]);
    let seen = w.tcp(1, "10.0.1.10:40000", "10.0.2.20:443", SYN);
    assert_eq!(seen.drops, [(EniId(1), DropReason::SecurityGroup)]);
    only(w.tcp(9, "10.0.1.10:40000", "10.0.1.30:443", SYN).out, 4);
}

#[test]
fn identifier_zero_tells_a_ping_from_its_answer() {
    let mut w = east_west();
    let all = || vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))];
    w.group(2, vec![], all());
    w.eni_edit(1, |eni| eni.groups = vec![SecurityGroupId(2)]);
    let ping = |w: &World, from, src, dst, kind: u8| {
        let mut frame = w.frame(from, &tuple(protocol::ICMP, src, dst), 0, b"");
        frame.bytes_mut()[34] = kind;
        let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
        checksum::fill_transport(frame.bytes_mut(), &headers);
        frame
    };
    let (a, b) = ("10.0.1.10:0", "10.0.2.10:0");
    let request = ping(&w, 1, a, b, 8);
    only(w.send(1, request).out, 2);
    for kind in [8, 13] {
        let other = ping(&w, 2, b, a, kind);
        let seen = w.send(2, other);
        assert_eq!(seen.drops, [(EniId(2), DropReason::SecurityGroup)]);
    }
    let reply = ping(&w, 2, b, a, 0);
    only(w.send(2, reply).out, 1);
}

#[test]
fn the_order_of_rules_does_not_make_a_flow_tracked() {
    for narrow_first in [true, false] {
        let mut w = east_west();
        let open = rule(None, PortMatch::Any, any("0.0.0.0/0"));
        let narrow = rule(None, PortMatch::Any, any("10.0.1.0/24"));
        let mut ingress = vec![open.clone(), narrow];
        if narrow_first {
            ingress.reverse();
        }
        w.group(2, ingress, vec![open]);
        w.eni_edit(2, |eni| eni.groups = vec![SecurityGroupId(2)]);
        only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 2);
        // Untracked: it stops at once when the rules go.
        w.group(2, vec![], vec![]);
        let seen = w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", ACK);
        assert_eq!(seen.drops, [(EniId(1), DropReason::SecurityGroup)]);
    }
}

#[test]
fn a_new_mapping_is_not_tracked_where_the_old_one_was() {
    let mut w = privatelink();
    w.edit(|b| {
        let balancer = load_balancer(LoadBalancerKind::Network, 2, 3, (17, 443));
        b.set_load_balancer(LoadBalancerId(0), Some(balancer));
    });
    w.group(2, everything(), everything());
    w.eni_edit(4, |eni| eni.groups = vec![SecurityGroupId(2)]);
    let sent = tuple(protocol::UDP, "10.0.1.10:40000", "10.0.2.20:443");
    let there = |w: &mut World| {
        let frame = w.frame(1, &sent, 0, b"x");
        w.send(1, frame)
    };
    let back = |w: &mut World, got: Frame| {
        let frame = w.frame(4, &read(&got).tuple.reversed(), 0, b"x");
        w.send(4, frame).out
    };
    let got = only(there(&mut w).out, 4);
    only(back(&mut w, got), 1);
    only(there(&mut w).out, 4);
    // The mapping is gone after 120 s; the group's stream would last 180.
    w.wait(121);
    w.group(2, vec![], vec![]);
    assert_eq!(there(&mut w).drops, [(EniId(1), DropReason::SecurityGroup)]);
}

#[test]
fn a_tunnels_leg_to_an_end_of_the_flow_inside_is_judged_by_the_rules() {
    let mut w = worked();
    // The appliance itself asks the app something; the answer is inspected.
    w.table(
        20,
        &[
            ("10.100.0.0/16", RouteTarget::Local),
            ("0.0.0.0/0", RouteTarget::InternetGateway),
        ],
    );
    w.vpc(2, &["10.100.0.0/16"], true, None);
    w.eni_edit(4, |eni| {
        eni.public = vec![PublicAddress {
            private: ip("10.100.0.20"),
            public: ip("198.51.100.4"),
        }];
    });
    w.vpc(1, &["10.0.0.0/16", "2001:db8:1::/48"], true, None);
    let all = vec![rule(None, PortMatch::Any, any("0.0.0.0/0"))];
    w.group(2, vec![], all);
    w.eni_edit(4, |eni| eni.groups = vec![SecurityGroupId(2)]);
    let udp = |src, dst| tuple(protocol::UDP, src, dst);
    let asks = w.frame(4, &udp("10.100.0.20:5000", "198.51.100.1:53"), 0, b"x");
    only(w.send(4, asks).out, 1);
    let answers = w.frame(1, &udp("10.0.1.10:53", "198.51.100.4:5000"), 0, b"x");
    let answer = w.send(1, answers);
    // Its group lets no tunnel in, whoever is inside.
    assert_eq!(answer.drops, [(EniId(1), DropReason::SecurityGroup)]);
}

#[test]
fn a_syn_to_a_closed_connection_is_judged_anew_by_whatever_way_it_comes() {
    let mut w = east_west();
    w.subnet(3, 1, &["10.0.3.0/24"], 1);
    w.eni(3, 3, &["10.0.3.10"], &[1], EniKind::Host);
    w.eni_edit(3, |eni| eni.source_dest_check = false);
    let outward = vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))];
    w.group(2, vec![], outward);
    w.eni_edit(1, |eni| eni.groups = vec![SecurityGroupId(2)]);
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.table(2, &[local, ("10.0.2.0/24", RouteTarget::Eni(EniId(3)))]);
    w.subnet(1, 1, &["10.0.1.0/24"], 2);
    // Out by the router, and reset; the other side's SYN comes straight.
    let (a, b) = ("10.0.1.10:1", "10.0.2.10:2");
    only(w.tcp(1, a, b, tcp_flag::RST).out, 3);
    let seen = w.tcp(2, b, a, SYN);
    assert_eq!(seen.drops, [(EniId(2), DropReason::SecurityGroup)]);
}

#[test]
fn a_packet_back_at_its_sender_needs_its_rules() {
    let mut w = east_west();
    let outward = vec![rule(None, PortMatch::Any, any("0.0.0.0/0"))];
    w.group(2, vec![], outward);
    w.eni_edit(1, |eni| {
        eni.groups = vec![SecurityGroupId(2)];
        eni.source_dest_check = false;
    });
    w.table(1, &[("10.0.0.0/16", RouteTarget::Eni(EniId(1)))]);
    for _ in 0..2 {
        let seen = w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN);
        assert_eq!(seen.drops, [(EniId(1), DropReason::SecurityGroup)]);
    }
}

#[test]
fn a_packet_dies_on_its_way_to_a_load_balancer_that_would_give_it_a_fresh_ttl() {
    let mut w = privatelink();
    settings(&mut w, |settings| settings.ttl_vpc_router = 1);
    let tuple = tcp("10.0.1.10:40000", "10.0.2.20:443");
    let frame = w.frame(1, &tuple, SYN, b"");
    let got = only(w.send(1, frame.clone()).out, 4);
    // 64 from the load balancer, less its own router's share.
    assert_eq!(ttl(&got), 63);
    for _ in 0..2 {
        let seen = w.send(1, with_ttl(frame.clone(), 1));
        assert_eq!(seen.drops, [(EniId(1), DropReason::TtlExpired)]);
    }
}

#[test]
fn the_way_of_a_tunnel_ages_its_outside_only() {
    let mut w = worked();
    settings(&mut w, |settings| settings.ttl_vpc_router = 1);
    let outer = only(w.tcp(1, "10.0.1.10:40000", "203.0.113.80:443", SYN).out, 4);
    assert_eq!(ttl(&outer), 63);
    let inner = parse_ip(outer.bytes(), ETHERNET_LEN + GENEVE_OUTER_LEN).unwrap();
    assert_eq!(inner.ttl, 63, "once by the app's router, not again inside");
}

#[test]
fn the_internets_time_exceeded_comes_from_a_real_address() {
    let mut w = worked();
    settings(&mut w, |settings| settings.ttl_igw = 1);
    let frame = w.frame(5, &tcp("203.0.113.80:443", "198.51.100.1:40000"), SYN, b"");
    let seen = w.send(5, with_ttl(frame, 1));
    assert_eq!(seen.drops, [(EniId(5), DropReason::TtlExpired)]);
    assert_eq!(read(&only(seen.out, 5)).tuple.src, ip("198.51.100.1"));
}

#[test]
fn an_internet_gateway_translates_what_an_unrelated_error_quotes() {
    let mut w = worked();
    w.table(
        10,
        &[
            ("10.0.0.0/16", RouteTarget::Local),
            ("0.0.0.0/0", RouteTarget::InternetGateway),
        ],
    );
    w.vpc(1, &["10.0.0.0/16", "2001:db8:1::/48"], true, None);
    // About a packet that no session is about.
    let about = build(
        Mac::default(),
        Mac::default(),
        &tcp("203.0.113.80:443", "10.0.1.10:40000"),
        SYN,
        b"",
    );
    let error = unreachable(&w, 1, ("10.0.1.10", "203.0.113.80"), &about);
    let got = only(w.send(1, error).out, 5);
    let headers = read(&got);
    let quoted = parse_quoted(got.bytes(), usize::from(headers.l4) + 8).unwrap();
    let public = tcp("203.0.113.80:443", "198.51.100.1:40000");
    assert_eq!(quoted.tuple, public);
    assert_eq!(
        checksum::sum(&got.bytes()[42..62]),
        0xffff,
        "of the quoted header"
    );
}

/// An error of PrivateLink's server about the client's datagram, as the client
/// gets it after `spoil` did something to it. The datagram has no checksum of its
/// own that would make up for its new addresses.
fn translated_error(spoil: impl Fn(&mut Frame)) -> (Frame, Headers) {
    let mut w = privatelink();
    w.edit(|b| {
        let balancer = load_balancer(LoadBalancerKind::Network, 2, 3, (17, 443));
        b.set_load_balancer(LoadBalancerId(0), Some(balancer));
    });
    let sent = tuple(protocol::UDP, "10.0.1.10:40000", "10.0.2.20:443");
    let mut frame = w.frame(1, &sent, 0, &[7; 16]);
    frame.bytes_mut()[40..42].copy_from_slice(&[0, 0]);
    let got = only(w.send(1, frame).out, 4);
    let mut error = unreachable(&w, 4, ("10.0.2.40", "10.0.1.30"), &got);
    spoil(&mut error);
    let at_client = only(w.send(4, error).out, 1);
    let headers = parse_ip(at_client.bytes(), ETHERNET_LEN).unwrap();
    (at_client, headers)
}

fn icmp_checksum(frame: &Frame, headers: &Headers) -> Vec<u8> {
    frame.bytes()[usize::from(headers.l4) + 2..][..2].to_vec()
}

#[test]
fn an_error_with_a_wrong_checksum_is_not_made_right_by_translating_it() {
    let (good, headers) = translated_error(|_| {});
    assert!(checksum::verify_transport(good.bytes(), &headers));
    let (bad, headers) = translated_error(|frame| frame.bytes_mut()[36] ^= 0x40);
    assert!(!checksum::verify_transport(bad.bytes(), &headers));
}

#[test]
fn the_first_fragment_of_an_error_keeps_the_checksum_of_the_whole() {
    let (whole, headers) = translated_error(|_| {});
    let (first, fragment) = translated_error(|frame| {
        let bytes = frame.bytes_mut();
        // The last bytes of the quoted packet follow in another fragment.
        let shorter = ETHERNET_LEN + 20 + 8 + 32;
        let total = (shorter - ETHERNET_LEN) as u16;
        bytes[16..18].copy_from_slice(&total.to_be_bytes());
        bytes[20] = 0x20;
        checksum::fill_ipv4_header(&mut bytes[14..34]);
        frame.resize(shorter);
    });
    assert_eq!(fragment.fragment, Fragment::First);
    let sums = [
        icmp_checksum(&whole, &headers),
        icmp_checksum(&first, &fragment),
    ];
    assert_eq!(sums[0], sums[1]);
}

#[test]
fn a_tunnels_checksum_that_is_there_must_be_right() {
    let mut w = worked();
    let geneve = only(w.tcp(1, "10.0.1.10:40000", "203.0.113.80:443", SYN).out, 4);
    let returned = bounce(geneve);
    let with = |sum: [u8; 2]| {
        let mut frame = returned.clone();
        frame.bytes_mut()[40..42].copy_from_slice(&sum);
        frame
    };
    let headers = parse_ip(returned.bytes(), ETHERNET_LEN).unwrap();
    let mut right = with([1, 1]);
    checksum::fill_transport(right.bytes_mut(), &headers);
    let seen = w.send(4, with([0x12, 0x34]));
    assert_eq!(seen.drops, [(EniId(4), DropReason::MalformedGeneve)]);
    only(w.send(4, right).out, 5);
    only(w.send(4, with([0, 0])).out, 5);
}

#[test]
fn a_target_has_answered_even_if_its_packet_gets_no_further() {
    let mut w = worked();
    let dst = "192.0.2.1:443";
    let cookie = |frame: &Frame| frame.bytes()[78..82].to_vec();
    let geneve = only(w.tcp(1, "10.0.1.10:40000", dst, SYN).out, 4);
    let first = cookie(&geneve);
    let seen = w.send(4, bounce(geneve));
    assert_eq!(seen.drops, [(EniId(4), DropReason::InternetUnreachable)]);
    w.wait(31);
    let geneve = only(w.tcp(1, "10.0.1.10:40000", dst, SYN).out, 4);
    assert_eq!(cookie(&geneve), first, "the flow is still known");
}

/// Host 1 calls host 2 by its public address. Then 2's subnet routes answers to 1
/// directly: they come from an address that 1 has not called.
#[test]
fn what_an_end_tracks_is_what_it_sent_not_the_session() {
    let mut w = east_west();
    w.vpc(1, &["10.0.0.0/16"], true, None);
    let by_igw = [
        ("10.0.0.0/16", RouteTarget::Local),
        ("0.0.0.0/0", RouteTarget::InternetGateway),
    ];
    w.table(1, &by_igw);
    w.table(2, &by_igw);
    w.subnet(2, 1, &["10.0.2.0/24"], 2);
    w.group(
        3,
        vec![],
        vec![rule(None, PortMatch::Any, any("0.0.0.0/0"))],
    );
    w.group(4, everything(), everything());
    for (id, private, public) in [
        (1, "10.0.1.10", "198.51.100.1"),
        (2, "10.0.2.10", "198.51.100.2"),
    ] {
        w.eni_edit(id, |eni| {
            eni.public = vec![PublicAddress {
                private: ip(private),
                public: ip(public),
            }];
            eni.groups = vec![SecurityGroupId(2 + id)];
            eni.source_dest_check = id != 1;
        });
    }
    only(w.tcp(1, "10.0.1.10:1", "198.51.100.2:2", SYN).out, 2);
    only(w.tcp(2, "10.0.2.10:2", "198.51.100.1:1", SYN | ACK).out, 1);
    let past_it = ("198.51.100.1/32", RouteTarget::Eni(EniId(1)));
    w.table(2, &[by_igw.as_slice(), &[past_it]].concat());
    let seen = w.tcp(2, "10.0.2.10:2", "198.51.100.1:1", ACK);
    assert_eq!(seen.drops, [(EniId(2), DropReason::SecurityGroup)]);
    w.table(2, &by_igw);
    only(w.tcp(2, "10.0.2.10:2", "198.51.100.1:1", ACK).out, 1);
}

/// A frame of a connection through node 3, sent to another node of the balancer.
#[test]
fn a_load_balancers_flow_is_known_where_it_was_called() {
    let mut w = privatelink();
    let node = EniKind::LoadBalancer(LoadBalancerId(0));
    w.eni(5, 20, &["10.0.1.31"], &[], node);
    w.eni(6, 20, &["10.0.1.50"], &[], EniKind::Host);
    only(w.tcp(6, "10.0.1.50:1000", "10.0.1.30:443", SYN).out, 4);
    let mut frame = w.frame(6, &tcp("10.0.1.50:1000", "10.0.1.30:443"), ACK, b"");
    let other = w.tables.enis.row(EniId(5)).unwrap().mac;
    frame.bytes_mut()[..6].copy_from_slice(&other.0);
    let seen = w.send(6, frame);
    assert_eq!(seen.drops, [(EniId(6), DropReason::NoListener)]);
}

#[test]
fn a_cached_way_past_a_closed_connection_is_not_for_a_syn() {
    let mut w = east_west();
    w.subnet(3, 1, &["10.0.3.0/24"], 1);
    w.eni(3, 3, &["10.0.3.10"], &[1], EniKind::Host);
    w.eni_edit(3, |eni| eni.source_dest_check = false);
    let outward = vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))];
    w.group(2, vec![], outward);
    w.eni_edit(1, |eni| eni.groups = vec![SecurityGroupId(2)]);
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.table(2, &[local, ("10.0.2.0/24", RouteTarget::Eni(EniId(3)))]);
    w.subnet(1, 1, &["10.0.1.0/24"], 2);
    // Out by the router, and reset; what comes straight back belongs to it still.
    let (a, b) = ("10.0.1.10:1", "10.0.2.10:2");
    only(w.tcp(1, a, b, tcp_flag::RST).out, 3);
    for _ in 0..2 {
        only(w.tcp(2, b, a, SYN | ACK).out, 1);
    }
    let seen = w.tcp(2, b, a, SYN);
    assert_eq!(seen.drops, [(EniId(2), DropReason::SecurityGroup)]);
}

#[test]
fn what_passes_untracked_does_not_bring_an_expired_entry_back() {
    let mut w = east_west();
    let inside = || vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))];
    w.group(2, inside(), inside());
    w.eni_edit(1, |eni| eni.groups = vec![SecurityGroupId(2)]);
    let send = |w: &mut World, from, src, dst| {
        let frame = w.frame(from, &tuple(protocol::UDP, src, dst), 0, b"x");
        w.send(from, frame)
    };
    let (a, b) = ("10.0.1.10:1000", "10.0.2.10:53");
    only(send(&mut w, 1, a, b).out, 2);
    // Forgotten by its sender's groups, which then are open to all: untracked.
    w.wait(61);
    w.group(2, everything(), everything());
    only(send(&mut w, 2, b, a).out, 1);
    w.group(2, vec![], everything());
    let seen = send(&mut w, 2, b, a);
    assert_eq!(seen.drops, [(EniId(2), DropReason::SecurityGroup)]);
}

#[test]
fn a_balancers_connection_outlives_the_appliance_on_its_way() {
    let mut w = privatelink();
    let local = || ("10.0.0.0/16", RouteTarget::Local);
    let inspected = RouteTarget::GatewayEndpoint(EndpointId(1));
    w.vpc(3, &["10.100.0.0/16"], false, None);
    w.table(30, &[("10.100.0.0/16", RouteTarget::Local)]);
    w.subnet(30, 3, &["10.100.0.0/24"], 30);
    w.subnet(22, 2, &["10.0.3.0/24"], 2);
    w.table(23, &[local(), ("10.0.2.0/24", inspected)]);
    w.subnet(20, 2, &["10.0.1.0/24"], 23);
    let kind = EniKind::GatewayEndpoint(EndpointId(1));
    w.eni(7, 22, &["10.0.3.20"], &[], kind);
    let node = EniKind::LoadBalancer(LoadBalancerId(1));
    w.eni(8, 30, &["10.100.0.10"], &[], node);
    w.eni(9, 30, &["10.100.0.20"], &[1], EniKind::Host);
    w.edit(|b| {
        let targets = vec![target("10.100.0.20", 6081, TargetHealth::Healthy)];
        b.set_target_group(TargetGroupId(1), Some(target_group(3, targets)));
        let mut balancer = load_balancer(LoadBalancerKind::Gateway, 3, 8, (0, 0));
        balancer.listeners[0].target_group = Some(TargetGroupId(1));
        b.set_load_balancer(LoadBalancerId(1), Some(balancer));
        let kind = EndpointKind::GatewayLoadBalancer {
            load_balancers: vec![LoadBalancerId(1)],
            eni: EniId(7),
        };
        b.set_endpoint(EndpointId(1), Some(endpoint(2, kind)));
    });
    let (client, service) = ("10.0.1.10:40000", "10.0.2.20:443");
    let geneve = only(w.tcp(1, client, service, SYN).out, 9);
    only(w.send(9, bounce(geneve)).out, 4);
    // The appliance is taken out of the way; the client tries again.
    w.table(23, &[local()]);
    let got = only(w.tcp(1, client, service, SYN).out, 4);
    let answer = w.frame(4, &read(&got).tuple.reversed(), SYN | ACK, b"");
    only(w.send(4, answer).out, 1);
    only(w.tcp(1, client, service, ACK).out, 4);
}

#[test]
fn an_acl_judges_an_error_by_who_reports() {
    let mut w = east_west();
    w.subnet(3, 1, &["10.0.3.0/24"], 1);
    w.eni(3, 3, &["10.0.3.10"], &[1], EniKind::Host);
    w.eni_edit(3, |eni| eni.source_dest_check = false);
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.table(2, &[local, ("10.0.2.0/24", RouteTarget::Eni(EniId(3)))]);
    w.subnet(1, 1, &["10.0.1.0/24"], 2);
    let sent = only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 3);
    let report = |w: &mut World| {
        let frame = unreachable(w, 3, ("10.0.3.10", "10.0.1.10"), &sent);
        w.send(3, frame)
    };
    only(report(&mut w).out, 1);
    // The router's subnet is shut out, the far end's is not.
    let mut row = allow_all();
    row.ingress.insert(
        0,
        NetworkAclRule {
            number: 50,
            allow: false,
            cidr: "10.0.3.0/24".parse().unwrap(),
            ..row.ingress[0]
        },
    );
    let acl = w.tables.subnets.row(SubnetId(1)).unwrap().network_acl;
    let other = NetworkAclId(acl.0 + 1);
    w.edit(|b| b.set_network_acl(other, Some(row)));
    let mut subnet = (*w.tables.subnets.row(SubnetId(1)).unwrap()).clone();
    subnet.network_acl = other;
    w.edit(|b| b.set_subnet(SubnetId(1), Some(subnet)));
    let seen = report(&mut w);
    assert_eq!(seen.drops, [(EniId(3), DropReason::NetworkAcl)]);
}

/// Case 400056 of clients that targets see.
#[test]
fn a_syn_that_may_not_enter_ends_no_connection() {
    let mut w = east_west();
    // Only answers get in.
    w.group(2, vec![], everything());
    w.eni(1, 1, &["10.0.1.10"], &[2], EniKind::Host);
    let there = tcp("10.0.1.10:40000", "10.0.2.10:80");
    let back = there.reversed();
    let fin = tcp_flag::FIN | tcp_flag::ACK;
    for (from, tuple, flags, to) in [
        (1, there, tcp_flag::SYN, 2),
        (2, back, tcp_flag::SYN | tcp_flag::ACK, 1),
        (1, there, tcp_flag::ACK, 2),
        (2, back, fin, 1),
        (1, there, fin, 2),
    ] {
        let frame = w.frame(from, &tuple, flags, b"");
        only(w.send(from, frame).out, to);
    }
    let mut to_all = w.frame(1, &there, tcp_flag::SYN, b"");
    to_all.bytes_mut()[..6].fill(0xff);
    assert_eq!(
        w.send(1, to_all).drops,
        [(EniId(1), DropReason::NotUnicast)]
    );
    // The last FIN again: its answer was lost.
    let again = w.frame(2, &back, fin, b"");
    only(w.send(2, again).out, 1);
}

#[test]
fn later_fragments_of_a_long_error_keep_their_bytes() {
    let mut w = worked();
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.table(
        10,
        &[local.clone(), ("0.0.0.0/0", RouteTarget::InternetGateway)],
    );
    w.table(12, &[local]);
    let asked = tuple(17, "203.0.113.80:53", "198.51.100.1:4000");
    let got = only(w.send(5, w.frame(5, &asked, 0, b"x")).out, 1);
    let mut error = unreachable(&w, 1, ("10.0.1.10", "203.0.113.80"), &got);
    error.resize(ETHERNET_LEN + 3000);
    let bytes = error.bytes_mut();
    bytes[ETHERNET_LEN + 100..].fill(0xff);
    bytes[16..18].copy_from_slice(&3000u16.to_be_bytes());
    bytes[20] = 0;
    checksum::fill_ipv4_header(&mut bytes[14..34]);
    let headers = parse_ip(bytes, ETHERNET_LEN).unwrap();
    checksum::fill_transport(bytes, &headers);
    let seen = w.send(1, error);
    assert_eq!((seen.drops.len(), seen.out.len()), (0, 3));
    let mut message: Vec<u8> = Vec::new();
    for (port, piece) in &seen.out {
        assert_eq!(*port, EniId(5));
        message.extend(&piece.bytes()[ETHERNET_LEN + 20..]);
    }
    assert_eq!(checksum::sum(&message), 0xffff, "of the whole message");
    assert!(message[100..].iter().all(|&byte| byte == 0xff));
}
