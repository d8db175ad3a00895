use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::super::parse::{ETHERNET_LEN, parse_ip};
use super::super::vectors;
use super::*;
use crate::addr::EniId;

/// RFC 1071 as written: 16-bit words, carries folded in at once.
fn sum_by_definition(bytes: &[u8]) -> u16 {
    let mut total = 0u32;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        total += u32::from(u16::from_be_bytes([pair[0], low]));
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

#[test]
fn rfc_1071_example() {
    assert_eq!(
        sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
        0xddf2
    );
    assert_eq!(sum(&[]), 0);
}

proptest! {
    #[test]
    fn few_words_fold_to_the_same(total in 0u64..1 << 36) {
        prop_assert_eq!(fold_few(total), fold(total));
    }
}

proptest! {
    /// Bytes of all ones and of zeros make the carries; half of the headers are put right.
    #[test]
    fn a_header_is_right_if_its_words_add_up(bytes: [(u8, u8); 20], good: bool) {
        let mut header = bytes.map(|(kind, byte)| match kind % 3 {
            0 => 0xff,
            1 => 0,
            _ => byte,
        });
        header[0] = 0x45;
        if good {
            header[10..12].fill(0);
            let right = !sum_by_definition(&header);
            header[10..12].copy_from_slice(&right.to_be_bytes());
        }
        let expected = sum_by_definition(&header) == 0xffff;
        prop_assert_eq!(is_right(&header), expected);
        prop_assert!(expected || !good);
    }
}

#[test]
fn few_words_fold_to_the_same_at_the_edges() {
    for high in 0..16u64 {
        for near in [0, 0x1_0000, 0xffff_0000, 0xffff_ffff] {
            for by in 0..4 {
                let total = (high << 32) + near - u64::min(near, by);
                assert_eq!(fold_few(total), fold(total), "{total:#x}");
                let more = (total + by).min((1 << 36) - 1);
                assert_eq!(fold_few(more), fold(more), "{more:#x}");
            }
        }
    }
}

#[test]
fn rfc_1624_example() {
    // §4: the case in which RFC 1141's equation gives 0xffff.
    assert_eq!(Delta::default().replace16(0x5555, 0x3285).apply(0xdd2f), 0);
}

#[test]
fn reference_packets_have_right_checksums() {
    for name in vectors::GWLB {
        let packet = vectors::gwlb(name);
        assert_eq!(sum(&packet[..20]), 0xffff, "{name}");
        let inner = &packet[68..];
        let headers = parse_ip(inner, 0).unwrap();
        assert!(verify_transport(inner, &headers), "{name}");
        for at in usize::from(headers.l4)..inner.len() {
            let mut changed = inner.to_vec();
            changed[at] ^= 0x10;
            let Ok(headers) = parse_ip(&changed, 0) else {
                continue;
            };
            assert!(!verify_transport(&changed, &headers), "{name} byte {at}");
        }
        let mut filled = inner.to_vec();
        let field = usize::from(headers.l4) + field_offset(headers.tuple.protocol).unwrap();
        filled[field] ^= 0xa5;
        fill_transport(&mut filled, &headers);
        assert_eq!(filled, inner, "{name}");
    }
}

#[test]
fn udp_zero_rule() {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1, 2)
        .write(&mut frame, &[0, 0])
        .unwrap();
    let headers = parse_ip(&frame, ETHERNET_LEN).unwrap();
    // Choose a payload that makes the sum all ones: the checksum would be zero.
    let checksum: [u8; 2] = frame[40..42].try_into().unwrap();
    frame[42..44].copy_from_slice(&checksum);
    fill_transport(&mut frame, &headers);
    assert_eq!(frame[40..42], [0xff, 0xff]);
    assert!(verify_transport(&frame, &headers));

    frame[40..42].copy_from_slice(&[0, 0]);
    fill_transport(&mut frame, &headers);
    assert_eq!(frame[40..42], [0, 0], "no checksum stays none");
    assert!(verify_transport(&frame, &headers));
    assert_eq!(Delta::default().replace16(1, 2).apply_udp(0), 0);
    // A delta that leads to zero gives all ones.
    assert_eq!(Delta::default().replace16(0, 5).apply_udp(5), 0xffff);
}

#[test]
fn udp_over_ipv6_needs_a_checksum() {
    let mut packet = vectors::gwlb("D").split_off(68);
    let headers = parse_ip(&packet, 0).unwrap();
    packet[46..48].copy_from_slice(&[0, 0]);
    assert!(!verify_transport(&packet, &headers));
    fill_transport(&mut packet, &headers);
    assert_eq!(packet[46..48], [0x4d, 0x1d]);
}

#[test]
fn partial_outside_the_frame_is_malformed() {
    let mut frame = Frame::from_bytes(EniId(0), &[0; 20]);
    frame.offload.checksum = Checksum::Partial {
        start: 10,
        offset: 9,
    };
    assert_eq!(
        complete_partial(&mut frame),
        Err(DropReason::MalformedTransport)
    );
    frame.offload.checksum = Checksum::Partial {
        start: u16::MAX,
        offset: u16::MAX,
    };
    assert_eq!(
        complete_partial(&mut frame),
        Err(DropReason::MalformedTransport)
    );
}

#[test]
fn a_partial_checksum_must_be_the_transport_headers() {
    let packet = vectors::gwlb("D").split_off(68);
    let headers = parse_ip(&packet, 0).unwrap();
    let partial = |start, offset| Checksum::Partial { start, offset };
    assert!(partial_fits(partial(40, 6), &headers));
    assert!(partial_fits(Checksum::Unverified, &headers));
    assert!(
        !partial_fits(partial(40, 16), &headers),
        "TCP's field in UDP"
    );
    assert!(
        !partial_fits(partial(0, 6), &headers),
        "within the IP header"
    );
    let mut other = headers;
    other.tuple.protocol = 50;
    assert!(!partial_fits(partial(40, 6), &other), "no checksum");
    other = headers;
    other.fragment = Fragment::First;
    assert!(!partial_fits(partial(40, 6), &other), "fragment");
}

/// A TCP or UDP frame of either family, and where its addresses lie.
fn frame(v6: bool, tcp: bool, addresses: ([u8; 16], [u8; 16]), payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let eth = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = if v6 {
        eth.ipv6(addresses.0, addresses.1, 64)
    } else {
        let short = |a: [u8; 16]| [a[0], a[1], a[2], a[3]];
        eth.ipv4(short(addresses.0), short(addresses.1), 64)
    };
    if tcp {
        ip.tcp(1024, 443, 7, 8)
            .ack(9)
            .write(&mut bytes, payload)
            .unwrap();
    } else {
        ip.udp(1024, 53).write(&mut bytes, payload).unwrap();
    }
    bytes
}

fn write_addresses(bytes: &mut [u8], src: IpAddr, dst: IpAddr) {
    match (src, dst) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            bytes[26..30].copy_from_slice(&s.octets());
            bytes[30..34].copy_from_slice(&d.octets());
            fill_ipv4_header(&mut bytes[14..34]);
        }
        (IpAddr::V6(s), IpAddr::V6(d)) => {
            bytes[22..38].copy_from_slice(&s.octets());
            bytes[38..54].copy_from_slice(&d.octets());
        }
        _ => unreachable!(),
    }
}

fn addr(v6: bool, octets: [u8; 16]) -> IpAddr {
    if v6 {
        Ipv6Addr::from(octets).into()
    } else {
        Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into()
    }
}

proptest! {
    #[test]
    fn sum_agrees_with_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(sum(&bytes), sum_by_definition(&bytes));
    }

    #[test]
    fn incremental_update_equals_recomputing(
        mut bytes in prop::collection::vec(any::<u8>(), 8..80),
        new16: u16, new32: u32,
    ) {
        bytes[0] |= 1; // a real header is never all zeros
        let len = bytes.len() & !1;
        bytes.truncate(len);
        let before = !sum(&bytes);
        let old16 = u16::from_be_bytes([bytes[2], bytes[3]]);
        let old32 = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        bytes[2..4].copy_from_slice(&new16.to_be_bytes());
        bytes[4..8].copy_from_slice(&new32.to_be_bytes());
        let delta = Delta::default().replace16(old16, new16);
        let delta = delta.and(Delta::default().replace32(old32, new32));
        prop_assert_eq!(delta.apply(before), !sum(&bytes));
    }

    /// Full and partial checksums under NAT: the changed packet is right, and
    /// completing the changed partial sum gives the same bytes.
    #[test]
    fn translated_packets_keep_right_checksums(
        v6: bool, tcp: bool, addresses: ([u8; 16], [u8; 16]), new: ([u8; 16], [u8; 16]),
        port: u16, payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let original = frame(v6, tcp, addresses, &payload);
        let before = parse_ip(&original, ETHERNET_LEN).unwrap();
        prop_assert!(verify_transport(&original, &before));
        let (src, dst) = (addr(v6, new.0), addr(v6, new.1));
        let moved = Delta::default()
            .replace_addr(before.tuple.src, src)
            .replace_addr(before.tuple.dst, dst);
        let l4 = usize::from(before.l4);
        let field = l4 + field_offset(before.tuple.protocol).unwrap();
        let old = u16::from_be_bytes([original[field], original[field + 1]]);

        let mut full = original.clone();
        write_addresses(&mut full, src, dst);
        full[l4..l4 + 2].copy_from_slice(&port.to_be_bytes());
        let all = moved.replace16(before.tuple.sport, port);
        let sum = if tcp { all.apply(old) } else { all.apply_udp(old) };
        full[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        let after = parse_ip(&full, ETHERNET_LEN).unwrap();
        prop_assert!(verify_transport(&full, &after));
        let mut recomputed = full.clone();
        fill_transport(&mut recomputed, &after);
        prop_assert_eq!(&recomputed, &full);

        let len = original.len() - l4;
        let pseudo = pseudo_header(before.tuple.src, before.tuple.dst, before.tuple.protocol, len as u32);
        let mut partial = Frame::from_bytes(EniId(0), &full);
        let bytes = partial.bytes_mut();
        bytes[field..field + 2].copy_from_slice(&moved.apply_partial(pseudo.folded()).to_be_bytes());
        partial.offload.checksum = Checksum::Partial { start: before.l4, offset: (field - l4) as u16 };
        complete_partial(&mut partial).unwrap();
        prop_assert_eq!(partial.bytes(), &full[..]);
        prop_assert_eq!(partial.offload.checksum, Checksum::Verified);
    }
}
