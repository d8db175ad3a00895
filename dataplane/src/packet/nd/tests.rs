use etherparse::icmpv6::{NeighborAdvertisementHeader, RouterAdvertisementHeader};
use etherparse::{Icmpv6Type, PacketBuilder, SlicedPacket, TransportSlice};

use super::super::parse::{ETHERNET_LEN, parse_ip};
use super::*;

const HOST: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// An ICMPv6 packet as etherparse writes it, with a right checksum.
fn icmpv6(src: &str, dst: &str, hops: u8, kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let (word, rest) = body.split_first_chunk::<4>().unwrap();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(HOST.0, [0x33, 0x33, 0xff, 0, 0, 2])
        .ipv6(address(src).octets(), address(dst).octets(), hops)
        .icmpv6_raw(kind, code, *word)
        .write(&mut frame, rest)
        .unwrap();
    frame
}

fn solicitation(target: &str, options: &[u8]) -> Vec<u8> {
    [&[0; 4][..], &address(target).octets(), options].concat()
}

fn parse(frame: &[u8]) -> Result<NeighborSolicitation, DropReason> {
    let headers = parse_ip(frame, ETHERNET_LEN).unwrap();
    NeighborSolicitation::parse(frame, &headers)
}

const SOURCE_LINK: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 1];
const GROUP: &str = "ff02::1:ff00:2";

#[test]
fn solicitations_parse() {
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let cases = [
        ("unicast", "fd00::1", "fd00::2", vec![], None, false),
        (
            "group",
            "fd00::1",
            GROUP,
            SOURCE_LINK.to_vec(),
            Some(HOST),
            false,
        ),
        (
            "other option first",
            "fd00::1",
            GROUP,
            [nonce, SOURCE_LINK].concat(),
            Some(HOST),
            false,
        ),
        (
            "duplicate address detection",
            "::",
            GROUP,
            nonce.to_vec(),
            None,
            true,
        ),
    ];
    for (name, src, dst, options, source_mac, is_dad) in cases {
        let frame = icmpv6(src, dst, 255, 135, 0, &solicitation("fd00::2", &options));
        let expected = NeighborSolicitation {
            target: address("fd00::2"),
            source_mac,
            is_dad,
        };
        assert_eq!(parse(&frame), Ok(expected), "{name}");
    }
}

#[test]
fn invalid_solicitations_are_malformed() {
    let good = solicitation("fd00::2", &SOURCE_LINK);
    let ask = |src, dst, hops, code, body: &[u8]| icmpv6(src, dst, hops, 135, code, body);
    let mut wrong_checksum = ask("fd00::1", GROUP, 255, 0, &good);
    wrong_checksum[56] ^= 1;
    let cases = [
        ("hop limit 254", ask("fd00::1", GROUP, 254, 0, &good)),
        ("code 1", ask("fd00::1", GROUP, 255, 1, &good)),
        ("checksum", wrong_checksum),
        (
            "target is a group",
            ask("fd00::1", GROUP, 255, 0, &solicitation("ff02::1", &[])),
        ),
        ("short", ask("fd00::1", GROUP, 255, 0, &good[..19])),
        (
            "option of length 0",
            ask(
                "fd00::1",
                GROUP,
                255,
                0,
                &solicitation("fd00::2", &[1, 0, 0, 0]),
            ),
        ),
        (
            "option cut short",
            ask("fd00::1", GROUP, 255, 0, &good[..26]),
        ),
        (
            "DAD with a link-layer address",
            ask("::", GROUP, 255, 0, &good),
        ),
        (
            "DAD not to the group",
            ask("::", "fd00::2", 255, 0, &solicitation("fd00::2", &[])),
        ),
        ("another type", icmpv6("fd00::1", GROUP, 255, 136, 0, &good)),
    ];
    for (name, frame) in cases {
        assert_eq!(parse(&frame), Err(DropReason::MalformedNeighbor), "{name}");
    }
}

/// The ICMPv6 message of a frame as etherparse sees it, its checksum checked.
fn check(frame: &Frame) -> (Icmpv6Type, Vec<u8>) {
    let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
    assert!(checksum::verify_transport(frame.bytes(), &headers));
    assert_eq!(headers.ttl, 255);
    let sliced = SlicedPacket::from_ethernet(frame.bytes()).unwrap();
    let Some(TransportSlice::Icmpv6(icmp)) = sliced.transport else {
        panic!("not ICMPv6: {sliced:?}");
    };
    (icmp.icmp_type(), icmp.payload().to_vec())
}

#[test]
fn a_solicitation_is_answered() {
    let target = address("fd00::2");
    for (src, dst_mac, dst, solicited) in [
        ("fd00::1", HOST, address("fd00::1"), true),
        ("::", ALL_NODES_MAC, ALL_NODES, false),
    ] {
        let frame = icmpv6(src, GROUP, 255, 135, 0, &solicitation("fd00::2", &[]));
        let headers = parse_ip(&frame, ETHERNET_LEN).unwrap();
        let request = NeighborSolicitation::parse(&frame, &headers).unwrap();
        let mut out = Frame::with_capacity(128);
        NeighborAdvertisement::answer(&request, HOST, &headers, ROUTER, true).write(&mut out);
        let (kind, payload) = check(&out);
        let Icmpv6Type::NeighborAdvertisement(flags) = kind else {
            panic!("{kind:?}");
        };
        let expected = NeighborAdvertisementHeader {
            router: true,
            solicited,
            r#override: true,
        };
        assert_eq!(flags, expected);
        assert_eq!(payload[..16], target.octets());
        assert_eq!(payload[16..], [2, 1, 2, 0, 0, 0, 0, 0xfe]);
        let after = parse_ip(out.bytes(), ETHERNET_LEN).unwrap();
        assert_eq!(after.tuple.dst, IpAddr::V6(dst));
        assert_eq!(after.tuple.src, IpAddr::V6(target));
        assert_eq!(out.bytes()[..12], [dst_mac.0, ROUTER.0].concat());
    }
}

#[test]
fn router_solicitations_parse() {
    let parse = |frame: &[u8]| {
        let headers = parse_ip(frame, ETHERNET_LEN).unwrap();
        RouterSolicitation::parse(frame, &headers)
    };
    let with_link = [&[0; 4][..], &SOURCE_LINK].concat();
    let good = icmpv6("fe80::1", "ff02::2", 255, 133, 0, &with_link);
    assert_eq!(
        parse(&good),
        Ok(RouterSolicitation {
            source_mac: Some(HOST)
        })
    );
    let unspecified = icmpv6("::", "ff02::2", 255, 133, 0, &[0; 4]);
    assert_eq!(
        parse(&unspecified),
        Ok(RouterSolicitation { source_mac: None })
    );
    let both = icmpv6("::", "ff02::2", 255, 133, 0, &with_link);
    assert_eq!(parse(&both), Err(DropReason::MalformedNeighbor));
}

#[test]
fn router_advertisement_gives_mtu_and_no_autonomous_prefix() {
    let advertisement = RouterAdvertisement {
        ends: Endpoints {
            src_mac: ROUTER,
            dst_mac: HOST,
            src: ROUTER.link_local().into(),
            dst: address("fe80::1").into(),
        },
        lifetime_s: 1800,
        mtu: 9001,
        on_link: None,
    };
    let expected = Icmpv6Type::RouterAdvertisement(RouterAdvertisementHeader {
        cur_hop_limit: 64,
        managed_address_config: true,
        other_config: false,
        router_lifetime: 1800,
    });
    let mut out = Frame::with_capacity(128);
    advertisement.write(&mut out);
    let (kind, payload) = check(&out);
    assert_eq!(kind, expected);
    let link_and_mtu = [1, 1, 2, 0, 0, 0, 0, 0xfe, 5, 1, 0, 0, 0, 0, 0x23, 0x29];
    assert_eq!(payload[8..], link_and_mtu);

    let prefix = Prefix::new("fd00:1::".parse().unwrap(), 64);
    let mut out = Frame::with_capacity(128);
    RouterAdvertisement {
        on_link: prefix,
        ..advertisement
    }
    .write(&mut out);
    let (kind, payload) = check(&out);
    assert_eq!(kind, expected);
    assert_eq!(payload[8..24], link_and_mtu);
    assert_eq!(payload[24..28], [3, 4, 64, 0x80], "on-link, not autonomous");
    assert_eq!(payload[40..], address("fd00:1::").octets());
}
