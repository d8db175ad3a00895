use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, SlicedPacket, TransportSlice};

use super::super::field::write16;
use super::super::parse::{ETHERNET_LEN, parse_ip, parse_quoted};
use super::*;
use crate::addr::{EniId, Mac};

const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

fn udp(v6: bool, payload: usize) -> Vec<u8> {
    let eth = PacketBuilder::ethernet2(MACS.0, MACS.1);
    let ip = match v6 {
        true => eth.ipv6([0x20; 16], [0x21; 16], 9),
        false => eth.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9),
    };
    let mut frame = Vec::new();
    ip.udp(1000, 2000)
        .write(&mut frame, &vec![7; payload])
        .unwrap();
    frame
}

fn error_for(original: &[u8], error: fn(&Headers) -> IcmpError) -> Frame {
    let headers = parse_ip(original, ETHERNET_LEN).unwrap();
    let router = match headers.is_ipv4() {
        true => std::net::Ipv4Addr::new(10, 0, 0, 254).into(),
        false => Mac(MACS.1).link_local().into(),
    };
    let ends = Endpoints {
        src_mac: Mac(MACS.1),
        dst_mac: Mac(MACS.0),
        src: router,
        dst: headers.tuple.src,
    };
    let mut out = Frame::with_capacity(1500);
    error(&headers).write(&mut out, &ends, original, &headers);
    out
}

#[test]
fn errors_quote_the_packet_up_to_the_limit() {
    for (v6, payload, len) in [
        (false, 0, 56),
        (false, 100, 156),
        (false, 520, 576),
        (false, 521, 576),
        (false, 1400, 576),
        (true, 0, 96),
        (true, 1184, 1280),
        (true, 1185, 1280),
    ] {
        let mut original = udp(v6, payload);
        let packet_len = original.len();
        original.resize(packet_len.max(60), 0xee); // padding is not quoted
        let out = error_for(&original, IcmpError::time_exceeded);
        let headers = parse_ip(out.bytes(), ETHERNET_LEN).unwrap();
        assert_eq!(headers.ip_len, len, "v6 {v6} payload {payload}");
        assert!(checksum::verify_transport(out.bytes(), &headers));
        assert!(headers.is_icmp_error());
        let quote = usize::from(headers.l4) + 8;
        let quoted = &out.bytes()[quote..];
        assert_eq!(quoted, &original[ETHERNET_LEN..ETHERNET_LEN + quoted.len()]);
        let before = parse_ip(&original, ETHERNET_LEN).unwrap();
        assert_eq!(
            parse_quoted(out.bytes(), quote).unwrap().tuple,
            before.tuple
        );
        assert_eq!(headers.tuple.dst, before.tuple.src);
    }
}

#[test]
fn types_are_what_etherparse_calls_them() {
    use etherparse::icmpv4::{DestUnreachableHeader as V4, TimeExceededCode as T4};
    use etherparse::icmpv6::{DestUnreachableCode as V6, TimeExceededCode as T6};
    type Make = fn(&Headers) -> IcmpError;
    let too_big: Make = |h| IcmpError::too_big(h, 8500);
    let cases: [(Make, Icmpv4Type, Icmpv6Type); 5] = [
        (
            too_big,
            Icmpv4Type::DestinationUnreachable(V4::FragmentationNeeded { next_hop_mtu: 8500 }),
            Icmpv6Type::PacketTooBig { mtu: 8500 },
        ),
        (
            IcmpError::time_exceeded,
            Icmpv4Type::TimeExceeded(T4::TtlExceededInTransit),
            Icmpv6Type::TimeExceeded(T6::HopLimitExceeded),
        ),
        (
            IcmpError::no_route,
            Icmpv4Type::DestinationUnreachable(V4::Network),
            Icmpv6Type::DestinationUnreachable(V6::NoRoute),
        ),
        (
            IcmpError::host_unreachable,
            Icmpv4Type::DestinationUnreachable(V4::Host),
            Icmpv6Type::DestinationUnreachable(V6::Address),
        ),
        (
            IcmpError::port_unreachable,
            Icmpv4Type::DestinationUnreachable(V4::Port),
            Icmpv6Type::DestinationUnreachable(V6::Port),
        ),
    ];
    for (make, v4, v6) in cases {
        let frame = error_for(&udp(false, 10), make);
        match SlicedPacket::from_ethernet(frame.bytes())
            .unwrap()
            .transport
        {
            Some(TransportSlice::Icmpv4(icmp)) => assert_eq!(icmp.icmp_type(), v4),
            other => panic!("{other:?}"),
        }
        let frame = error_for(&udp(true, 10), make);
        match SlicedPacket::from_ethernet(frame.bytes())
            .unwrap()
            .transport
        {
            Some(TransportSlice::Icmpv6(icmp)) => assert_eq!(icmp.icmp_type(), v6),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn errors_are_not_caused_by_errors_fragments_or_groups() {
    let parse = |frame: &[u8]| parse_ip(frame, ETHERNET_LEN).unwrap();
    for v6 in [false, true] {
        let original = udp(v6, 8);
        assert!(may_cause_error(&parse(&original)));
        let error = error_for(&original, IcmpError::no_route);
        assert!(!may_cause_error(&parse(error.bytes())));
        let later = Headers {
            fragment: Fragment::Later,
            ..parse(&original)
        };
        assert!(!may_cause_error(&later));
    }
    for address in ["224.0.0.1", "255.255.255.255"] {
        let mut headers = parse(&udp(false, 8));
        headers.tuple.dst = address.parse().unwrap();
        assert!(!may_cause_error(&headers), "{address}");
    }
}

#[test]
fn echo_requests_become_replies_in_place() {
    for v6 in [false, true] {
        for partial in [false, true] {
            let eth = |a, b| PacketBuilder::ethernet2(a, b);
            let (mut request, mut reply) = (Vec::new(), Vec::new());
            if v6 {
                let (a, b) = ([0x20; 16], [0x21; 16]);
                let built = eth(MACS.0, MACS.1).ipv6(a, b, 9).icmpv6_echo_request(5, 6);
                built.write(&mut request, b"payload").unwrap();
                let built = eth(MACS.1, MACS.0).ipv6(b, a, 64).icmpv6_echo_reply(5, 6);
                built.write(&mut reply, b"payload").unwrap();
            } else {
                let (a, b) = ([10, 0, 0, 1], [10, 0, 0, 2]);
                let built = eth(MACS.0, MACS.1).ipv4(a, b, 9).icmpv4_echo_request(5, 6);
                built.write(&mut request, b"payload").unwrap();
                let built = eth(MACS.1, MACS.0).ipv4(b, a, 64).icmpv4_echo_reply(5, 6);
                built.write(&mut reply, b"payload").unwrap();
            }
            let mut frame = Frame::from_bytes(EniId(0), &request);
            let headers = parse_ip(&request, ETHERNET_LEN).unwrap();
            if partial {
                let at = usize::from(headers.l4) + 2;
                let pseudo = match v6 {
                    true => {
                        let (src, dst) = (headers.tuple.src, headers.tuple.dst);
                        checksum::pseudo_header(src, dst, 58, 15).folded()
                    }
                    false => 0,
                };
                write16(frame.bytes_mut(), at, pseudo);
                frame.offload.checksum = Checksum::Partial {
                    start: headers.l4,
                    offset: 2,
                };
            }
            assert!(echo_reply(&mut frame, &headers));
            checksum::complete_partial(&mut frame).unwrap();
            assert_eq!(frame.bytes(), reply, "v6 {v6} partial {partial}");
            let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
            assert!(!echo_reply(&mut frame, &headers), "a reply is not answered");
            assert_eq!(frame.bytes(), reply);
        }
    }
}

#[test]
fn a_reply_of_zeros_has_the_checksum_of_all_ones() {
    let eth = PacketBuilder::ethernet2(MACS.0, MACS.1);
    let mut request = Vec::new();
    let built = eth
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9)
        .icmpv4_echo_request(0, 0);
    built.write(&mut request, &[0; 8]).unwrap();
    let headers = parse_ip(&request, ETHERNET_LEN).unwrap();
    let mut frame = Frame::from_bytes(EniId(0), &request);
    assert!(echo_reply(&mut frame, &headers));
    assert_eq!(
        frame.bytes()[34..],
        [&[0, 0, 0xff, 0xff][..], &[0; 12]].concat()
    );
}
