use etherparse::{PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice};

use super::super::checksum::{complete_partial, pseudo_header, verify_transport};
use super::super::parse::{ETHERNET_LEN, parse_ip};
use super::*;
use crate::addr::{EniId, Mac};

fn syn(v6: bool, options: &[u8]) -> Vec<u8> {
    let eth = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = match v6 {
        true => eth.ipv6([0x20; 16], [0x21; 16], 9),
        false => eth.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9),
    };
    let mut frame = Vec::new();
    let tcp = ip.tcp(1000, 443, 100, 1024).syn();
    tcp.options_raw(options)
        .unwrap()
        .write(&mut frame, b"")
        .unwrap();
    frame
}

#[test]
fn options_are_those_that_etherparse_sees() {
    use TcpOptionElement as E;
    let elements = [
        E::MaximumSegmentSize(1460),
        E::SelectiveAcknowledgementPermitted,
        E::Timestamp(1, 2),
        E::Noop,
        E::WindowScale(7),
    ];
    let eth = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9);
    let mut frame = Vec::new();
    let tcp = eth.tcp(1, 2, 3, 4).syn().options(&elements).unwrap();
    tcp.write(&mut frame, b"data").unwrap();
    let headers = parse_ip(&frame, ETHERNET_LEN).unwrap();
    let found: Vec<_> = TcpOptions::of(&frame, &headers)
        .map(|option| (option.kind, option.at, option.value.to_vec()))
        .collect();
    let expected = vec![
        (2, 2, vec![0x05, 0xb4]),
        (4, 6, vec![]),
        (8, 8, vec![0, 0, 0, 1, 0, 0, 0, 2]),
        (3, 19, vec![7]),
    ];
    assert_eq!(found, expected);
}

#[test]
fn malformed_options_end_the_walk() {
    for (name, bytes, count) in [
        ("empty", &[][..], 0),
        ("length 0", &[2, 0, 1, 1], 0),
        ("length 1", &[2, 1, 1, 1], 0),
        ("beyond the header", &[4, 2, 2, 5, 1], 1),
        ("kind without length", &[4, 2, 1, 2], 1),
        ("after the end of the list", &[0, 2, 2, 4, 5, 0xb4], 0),
        ("only padding", &[1, 1, 1, 1], 0),
    ] {
        assert_eq!(TcpOptions::new(bytes).count(), count, "{name}");
    }
}

#[test]
fn mss_is_clamped_and_the_checksum_follows() {
    let aligned = [2, 4, 0x23, 0x01, 1, 1, 4, 2];
    let odd = [1, 2, 4, 0x23, 0x01, 1, 4, 2];
    for v6 in [false, true] {
        for (options, at) in [(aligned, 2), (odd, 3)] {
            for partial in [false, true] {
                let bytes = syn(v6, &options);
                let headers = parse_ip(&bytes, ETHERNET_LEN).unwrap();
                let l4 = usize::from(headers.l4);
                let mut frame = Frame::from_bytes(EniId(0), &bytes);
                if partial {
                    let tuple = headers.tuple;
                    let len = u32::try_from(bytes.len() - l4).unwrap();
                    let pseudo = pseudo_header(tuple.src, tuple.dst, 6, len);
                    write16(frame.bytes_mut(), l4 + 16, pseudo.folded());
                    frame.offload.checksum = Checksum::Partial {
                        start: headers.l4,
                        offset: 16,
                    };
                }
                assert!(clamp_mss(&mut frame, &headers, 8460));
                assert_eq!(read16(frame.bytes(), l4 + 20 + at), Some(8460));
                complete_partial(&mut frame).unwrap();
                assert!(
                    verify_transport(frame.bytes(), &headers),
                    "v6 {v6} at {at} partial {partial}"
                );
                assert!(
                    !clamp_mss(&mut frame, &headers, 8460),
                    "not above the limit"
                );
            }
        }
    }
}

#[test]
fn only_a_syn_with_the_option_is_clamped() {
    let without = syn(false, &[4, 2, 1, 1]);
    let wrong_len = syn(false, &[2, 3, 9, 1]);
    let mut not_syn = syn(false, &[2, 4, 0x23, 0x01]);
    not_syn[ETHERNET_LEN + 20 + 13] = 0x10;
    for bytes in [without, wrong_len, not_syn] {
        let headers = parse_ip(&bytes, ETHERNET_LEN).unwrap();
        let mut frame = Frame::from_bytes(EniId(0), &bytes);
        assert!(!clamp_mss(&mut frame, &headers, 500));
        assert_eq!(frame.bytes(), bytes);
    }
}

/// A segment with these flags and a payload of three bytes.
fn segment(flags: u8) -> Vec<u8> {
    let eth = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9);
    let mut frame = Vec::new();
    let mut header = etherparse::TcpHeader::new(1000, 443, u32::MAX - 1, 1024);
    header.acknowledgment_number = 777;
    header.syn = flags & tcp_flag::SYN != 0;
    header.ack = flags & tcp_flag::ACK != 0;
    header.fin = flags & tcp_flag::FIN != 0;
    header.rst = flags & tcp_flag::RST != 0;
    eth.tcp_header(header).write(&mut frame, b"abc").unwrap();
    frame
}

#[test]
fn resets_follow_rfc_9293() {
    use tcp_flag::{ACK, FIN, RST, SYN};
    let reset = |seq, ack, flags| Some(TcpReset { seq, ack, flags });
    for (flags, expected) in [
        (ACK, reset(777, 0, RST)),
        (SYN | ACK, reset(777, 0, RST)),
        (FIN | ACK, reset(777, 0, RST)),
        (0, reset(0, 1, RST | ACK)),
        (SYN, reset(0, 2, RST | ACK)),
        (SYN | FIN, reset(0, 3, RST | ACK)),
        (RST, None),
        (RST | ACK, None),
    ] {
        let bytes = segment(flags);
        let headers = parse_ip(&bytes, ETHERNET_LEN).unwrap();
        assert_eq!(
            TcpReset::answering(&bytes, &headers),
            expected,
            "flags {flags:#x}"
        );
    }
}

#[test]
fn a_written_reset_reads_the_same_in_etherparse() {
    for v6 in [false, true] {
        let bytes = syn(v6, &[]);
        let headers = parse_ip(&bytes, ETHERNET_LEN).unwrap();
        let tuple = headers.tuple.reversed();
        let ends = Endpoints {
            src_mac: Mac([4; 6]),
            dst_mac: Mac([2; 6]),
            src: tuple.src,
            dst: tuple.dst,
        };
        let mut out = Frame::with_capacity(64);
        let reset = TcpReset::answering(&bytes, &headers).unwrap();
        reset.write(&mut out, &ends, tuple.sport, tuple.dport);
        let written = parse_ip(out.bytes(), ETHERNET_LEN).unwrap();
        assert_eq!(written.tuple, tuple);
        assert!(verify_transport(out.bytes(), &written));
        match SlicedPacket::from_ethernet(out.bytes()).unwrap().transport {
            Some(TransportSlice::Tcp(tcp)) => {
                assert!(tcp.rst() && tcp.ack() && !tcp.syn());
                assert_eq!(
                    (tcp.sequence_number(), tcp.acknowledgment_number()),
                    (0, 101)
                );
                assert_eq!((tcp.source_port(), tcp.destination_port()), (443, 1000));
            }
            other => panic!("{other:?}"),
        }
    }
}
