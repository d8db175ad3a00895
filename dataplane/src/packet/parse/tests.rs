use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

use super::super::vectors;
use super::*;

const V4: ([u8; 4], [u8; 4]) = ([10, 0, 1, 10], [203, 0, 113, 80]);
const V6: ([u8; 16], [u8; 16]) = (
    [0x20, 1, 0xd, 0xb8, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x10],
    [0x20, 1, 0xd, 0xb8, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x53],
);

/// Finishes a builder into bytes.
macro_rules! build {
    ($step:expr, $payload:expr) => {{
        let mut bytes = Vec::new();
        $step.write(&mut bytes, $payload).unwrap();
        bytes
    }};
}

fn eth() -> etherparse::PacketBuilderStep<etherparse::Ethernet2Header> {
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}

/// Ordinary packets, with names.
fn ordinary() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "tcp4",
            build!(
                eth().ipv4(V4.0, V4.1, 64).tcp(40000, 443, 7, 1024).syn(),
                b""
            ),
        ),
        (
            "tcp4 data",
            build!(
                eth()
                    .ipv4(V4.0, V4.1, 9)
                    .tcp(1, 2, 0xffff_fffe, 1024)
                    .ack(5)
                    .psh(),
                b"hello"
            ),
        ),
        (
            "udp4",
            build!(eth().ipv4(V4.0, V4.1, 64).udp(53, 4000), b"answer"),
        ),
        (
            "echo4",
            build!(
                eth().ipv4(V4.0, V4.1, 64).icmpv4_echo_request(0x42, 1),
                b"ping"
            ),
        ),
        (
            "echo reply4",
            build!(
                eth().ipv4(V4.0, V4.1, 64).icmpv4_echo_reply(0x42, 1),
                b"ping"
            ),
        ),
        (
            "tcp6",
            build!(
                eth()
                    .ipv6(V6.0, V6.1, 3)
                    .tcp(40000, 443, 9, 1024)
                    .fin()
                    .ack(8),
                b"bye"
            ),
        ),
        (
            "udp6",
            build!(eth().ipv6(V6.0, V6.1, 64).udp(53, 4000), b""),
        ),
        (
            "echo6",
            build!(
                eth().ipv6(V6.0, V6.1, 64).icmpv6_echo_request(0x43, 1),
                b"ping"
            ),
        ),
    ]
}

/// Asserts that our parser and etherparse read the same from `frame`.
fn assert_agrees(name: &str, frame: &[u8]) {
    let theirs = SlicedPacket::from_ethernet(frame).unwrap();
    let ethernet = parse_ethernet(frame).unwrap();
    let ours = parse_ip(frame, ETHERNET_LEN).unwrap();
    assert_eq!(
        Some(etherparse::EtherType(ethernet.ethertype)),
        theirs
            .link
            .as_ref()
            .and_then(|link| link.ether_payload())
            .map(|p| p.ether_type),
        "{name}"
    );
    let (src, dst, ttl, protocol): (IpAddr, IpAddr, u8, u8) = match theirs.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!(ours.ip_len, u32::from(header.total_len()), "{name}");
            assert_eq!(ours.ip_id, u32::from(header.identification()), "{name}");
            assert_eq!(ours.dont_fragment, header.dont_fragment(), "{name}");
            assert_eq!(ours.l4 - ours.l3, u16::from(header.ihl()) * 4, "{name}");
            (
                header.source_addr().into(),
                header.destination_addr().into(),
                header.ttl(),
                ip.payload().ip_number.0,
            )
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            assert_eq!(
                ours.ip_len,
                40 + u32::from(header.payload_length()),
                "{name}"
            );
            let extensions = ip.extensions().slice().len();
            assert_eq!(usize::from(ours.l4 - ours.l3), 40 + extensions, "{name}");
            (
                header.source_addr().into(),
                header.destination_addr().into(),
                header.hop_limit(),
                ip.payload().ip_number.0,
            )
        }
        NetSlice::Arp(_) => unreachable!(),
    };
    let (mut sport, mut dport, mut flags, mut seq, mut kind, mut code) = (0, 0, 0, 0, 0, 0);
    match theirs.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            (sport, dport, seq) = (
                tcp.source_port(),
                tcp.destination_port(),
                tcp.sequence_number(),
            );
            flags = tcp.slice()[13];
        }
        Some(TransportSlice::Udp(udp)) => {
            (sport, dport) = (udp.source_port(), udp.destination_port())
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            (kind, code) = (icmp.type_u8(), icmp.code_u8());
            let identifier = u16::from_be_bytes([icmp.bytes5to8()[0], icmp.bytes5to8()[1]]);
            match kind {
                8 | 0 if identifier == 0 => {
                    (sport, dport) = if kind == 8 { (1, 2) } else { (2, 1) }
                }
                8 => sport = identifier,
                0 => dport = identifier,
                _ => {}
            }
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            (kind, code) = (icmp.type_u8(), icmp.code_u8());
            let identifier = u16::from_be_bytes([icmp.bytes5to8()[0], icmp.bytes5to8()[1]]);
            match kind {
                128 | 129 if identifier == 0 => {
                    (sport, dport) = if kind == 128 { (1, 2) } else { (2, 1) }
                }
                128 => sport = identifier,
                129 => dport = identifier,
                _ => {}
            }
        }
        _ => {}
    }
    assert_eq!(
        ours.tuple,
        FiveTuple {
            src,
            dst,
            protocol,
            sport,
            dport
        },
        "{name}"
    );
    assert_eq!(
        (
            ours.ttl,
            ours.tcp_flags,
            ours.tcp_seq,
            ours.icmp_type,
            ours.icmp_code
        ),
        (ttl, flags, seq, kind, code),
        "{name}"
    );
}

#[test]
fn reads_the_same_as_etherparse() {
    for (name, frame) in ordinary() {
        assert_agrees(name, &frame);
    }
    for name in vectors::GWLB {
        let packet = vectors::gwlb(name);
        for ip in [&packet[..], &packet[68..]] {
            let mut frame = vec![0; 12];
            frame.extend(if ip[0] >> 4 == 4 {
                [8, 0]
            } else {
                [0x86, 0xdd]
            });
            frame.extend(ip);
            assert_agrees(name, &frame);
        }
    }
}

#[test]
fn padding_after_the_packet_is_not_part_of_it() {
    let mut frame = build!(eth().ipv4(V4.0, V4.1, 64).udp(53, 4000), b"x");
    frame.resize(60, 0xee);
    let headers = parse_ip(&frame, ETHERNET_LEN).unwrap();
    assert_eq!(headers.ip_len, 29);
    assert_eq!(udp_payload(&frame, &headers), Some(&b"x"[..]));
}

#[test]
fn every_truncation_of_an_ordinary_packet_is_malformed() {
    for (name, frame) in ordinary() {
        for len in 0..frame.len() {
            let cut = &frame[..len];
            if len < ETHERNET_LEN {
                assert_eq!(
                    parse_ethernet(cut),
                    Err(DropReason::MalformedFrame),
                    "{name} {len}"
                );
            }
            assert_eq!(
                parse_ip(cut, ETHERNET_LEN),
                Err(DropReason::MalformedIp),
                "{name} {len}"
            );
        }
    }
}

/// An IPv4 packet with these 16-bit words replaced (header checksum fixed).
fn ipv4_with(payload: &[u8], protocol: u8, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut packet = vec![
        0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    packet.extend(payload);
    let len = u16::try_from(packet.len()).unwrap();
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    change(&mut packet);
    let ihl = (usize::from(packet[0] & 15) * 4).clamp(20, packet.len());
    checksum::fill_ipv4_header(&mut packet[..ihl]);
    packet
}

fn ipv6_with(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    packet.extend(V6.0);
    packet.extend(V6.1);
    packet.extend(payload);
    let len = u16::try_from(payload.len()).unwrap();
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    packet
}

const TCP_HEADER: [u8; 20] = [
    0, 80, 1, 187, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0,
];
const UDP_HEADER: [u8; 8] = [0, 53, 1, 0, 0, 8, 0, 0];

#[test]
fn invalid_ipv4_headers_are_malformed() {
    type Case = (&'static str, fn(&mut [u8]));
    let cases: [Case; 6] = [
        ("version 5", |p| p[0] = 0x55),
        ("IHL 4", |p| p[0] = 0x44),
        ("IHL beyond the total length", |p| p[0] = 0x4f),
        ("total length less than the header", |p| p[3] = 19),
        ("total length beyond the bytes", |p| p[3] += 1),
        ("fragment ends beyond 65535", |p| {
            p[6..8].copy_from_slice(&[0x1f, 0xff])
        }),
    ];
    for (name, change) in cases {
        let packet = ipv4_with(&TCP_HEADER, 6, change);
        assert_eq!(parse_ip(&packet, 0), Err(DropReason::MalformedIp), "{name}");
    }
    let mut packet = ipv4_with(&TCP_HEADER, 6, |_| {});
    packet[11] ^= 1;
    assert_eq!(
        parse_ip(&packet, 0),
        Err(DropReason::MalformedIp),
        "checksum"
    );
    let odd = ipv4_with(&[0; 13], 17, |p| p[6] = 0x20);
    assert_eq!(
        parse_ip(&odd, 0),
        Err(DropReason::MalformedIp),
        "odd middle fragment"
    );
}

#[test]
fn invalid_transport_headers_are_malformed() {
    let tcp = |doff: u8| {
        let mut header = TCP_HEADER;
        header[12] = doff << 4;
        header
    };
    let udp = |len: u8| {
        let mut header = UDP_HEADER;
        header[5] = len;
        header
    };
    let cases: [(&str, u8, Vec<u8>); 7] = [
        ("TCP cut short", 6, TCP_HEADER[..19].to_vec()),
        ("TCP data offset 4", 6, tcp(4).to_vec()),
        ("TCP data offset beyond the packet", 6, tcp(6).to_vec()),
        ("UDP cut short", 17, UDP_HEADER[..7].to_vec()),
        ("UDP length 7", 17, udp(7).to_vec()),
        ("UDP length beyond the packet", 17, udp(9).to_vec()),
        ("ICMP cut short", 1, vec![8; 7]),
    ];
    for (name, protocol, payload) in cases {
        let v4 = ipv4_with(&payload, protocol, |_| {});
        assert_eq!(
            parse_ip(&v4, 0),
            Err(DropReason::MalformedTransport),
            "{name}"
        );
        let protocol = if protocol == 1 { 58 } else { protocol };
        let v6 = ipv6_with(protocol, &payload);
        assert_eq!(
            parse_ip(&v6, 0),
            Err(DropReason::MalformedTransport),
            "{name} over IPv6"
        );
    }
}

#[test]
fn options_move_the_transport_header() {
    let mut payload = vec![1, 1, 1, 0];
    payload.extend(TCP_HEADER);
    let packet = ipv4_with(&payload, 6, |p| p[0] = 0x46);
    let headers = parse_ip(&packet, 0).unwrap();
    assert_eq!(
        (headers.l4, headers.tuple.sport, headers.tuple.dport),
        (24, 80, 443)
    );
}

#[test]
fn fragments_are_classified() {
    let mut udp = UDP_HEADER.to_vec();
    udp[4..6].copy_from_slice(&2000u16.to_be_bytes());
    let first = parse_ip(&ipv4_with(&udp, 17, |p| p[6] = 0x20), 0).unwrap();
    assert_eq!(
        (first.fragment, first.tuple.sport, first.ip_id),
        (Fragment::First, 53, 0x1234)
    );
    let later = parse_ip(&ipv4_with(&udp, 17, |p| p[7] = 1), 0).unwrap();
    assert_eq!(
        (later.fragment, later.tuple.sport, later.tuple.dport),
        (Fragment::Later, 0, 0)
    );
    let short = parse_ip(&ipv4_with(&udp, 6, |p| p[6] = 0x20), 0);
    assert_eq!(
        short,
        Err(DropReason::MalformedTransport),
        "first fragment of 8 bytes of TCP"
    );

    let v6 = |field: u16, payload: &[u8]| {
        let mut body = vec![17, 0];
        body.extend(field.to_be_bytes());
        body.extend(0xdead_beef_u32.to_be_bytes());
        body.extend(payload);
        parse_ip(&ipv6_with(44, &body), 0)
    };
    let atomic = v6(0, &UDP_HEADER).unwrap();
    assert_eq!(
        (atomic.fragment, atomic.tuple.sport, atomic.l4),
        (Fragment::Whole, 53, 48)
    );
    let first = v6(1, &udp).unwrap();
    assert_eq!(
        (first.fragment, first.tuple.sport, first.ip_id),
        (Fragment::First, 53, 0xdead_beef)
    );
    let later = v6(8, &udp).unwrap();
    assert_eq!(
        (later.fragment, later.tuple.sport, later.tuple.protocol),
        (Fragment::Later, 0, 17)
    );
    assert_eq!(v6(1, &UDP_HEADER[..7]), Err(DropReason::MalformedIp));
}

#[test]
fn ipv6_extension_headers_are_walked() {
    let option = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let mut body = Vec::new();
    for next in [43, 60, 60, 6] {
        body.extend(option(next));
    }
    body.extend(TCP_HEADER);
    let headers = parse_ip(&ipv6_with(0, &body), 0).unwrap();
    assert_eq!(
        (headers.l4, headers.tuple.protocol, headers.tuple.dport),
        (72, 6, 443)
    );

    let mut long = vec![6, 1];
    long.extend([1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    long.extend(TCP_HEADER);
    assert_eq!(parse_ip(&ipv6_with(60, &long), 0).unwrap().l4, 56);

    let none = parse_ip(&ipv6_with(59, b""), 0).unwrap();
    assert_eq!((none.tuple.protocol, none.l4), (59, 40));
}

#[test]
fn hostile_extension_chains_are_malformed() {
    let option = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let chain = |count: usize| {
        let mut body: Vec<u8> = (1..count).flat_map(|_| option(60)).collect();
        body.extend(option(6));
        body.extend(TCP_HEADER);
        ipv6_with(60, &body)
    };
    assert!(parse_ip(&chain(EXTENSIONS_MAX), 0).is_ok());
    let cases = [
        ("too many", chain(EXTENSIONS_MAX + 1)),
        (
            "hop-by-hop not first",
            ipv6_with(60, &[option(0), option(59)].concat()),
        ),
        ("cut short", ipv6_with(60, &option(6)[..7])),
        (
            "length beyond the packet",
            ipv6_with(60, &[6, 1, 0, 0, 0, 0, 0, 0]),
        ),
        ("fragment header cut short", ipv6_with(44, &[6, 0, 0, 1])),
    ];
    for (name, packet) in cases {
        assert_eq!(parse_ip(&packet, 0), Err(DropReason::MalformedIp), "{name}");
    }
}

#[test]
fn icmp_of_the_other_family_is_not_icmp() {
    let error = [3, 1, 0, 0, 0, 0, 0, 0];
    let v6 = parse_ip(&ipv6_with(1, &error), 0).unwrap();
    assert_eq!((v6.icmp_type, v6.is_icmp_error()), (0, false));
    let v4 = parse_ip(&ipv4_with(&error, 58, |_| {}), 0).unwrap();
    assert_eq!((v4.icmp_type, v4.is_icmp_error()), (0, false));
}

#[test]
fn quoted_packets_may_be_cut_after_eight_bytes() {
    for (name, frame) in ordinary() {
        let whole = parse_ip(&frame, ETHERNET_LEN).unwrap();
        let l4 = usize::from(whole.l4);
        for len in l4 + 8..frame.len() {
            let quoted = parse_quoted(&frame[..len], ETHERNET_LEN).unwrap();
            assert_eq!(quoted.tuple, whole.tuple, "{name} {len}");
            assert_eq!(
                (quoted.l3, quoted.l4, quoted.tcp_seq),
                (whole.l3, whole.l4, whole.tcp_seq)
            );
            assert_eq!(quoted.ip_len as usize, len - ETHERNET_LEN);
            let flags = if len > l4 + 13 { whole.tcp_flags } else { 0 };
            assert_eq!(quoted.tcp_flags, flags, "{name} {len}");
        }
        assert_eq!(parse_quoted(&frame[..l4 + 7], ETHERNET_LEN), None, "{name}");
    }
    let mut packet = ipv4_with(&TCP_HEADER, 6, |_| {});
    packet[8] = 1; // a TTL that routers have counted down: the checksum is stale
    assert!(parse_quoted(&packet, 0).is_some());
    assert_eq!(parse_quoted(&[], 0), None);
}
