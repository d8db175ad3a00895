use super::super::parse::{ethertype, parse_ip, udp_payload};
use super::super::vectors::gwlb;
use super::*;

const NODE: Ipv4Addr = Ipv4Addr::new(10, 100, 0, 10);
const APPLIANCE: Ipv4Addr = Ipv4Addr::new(10, 100, 0, 20);
const VPCE: u64 = 0xa1b2_c3d4_e5f6_0718;
/// Where GENEVE starts in the worked packets.
const AT: usize = 28;

fn parse(packet: &[u8]) -> Result<GeneveView<'_>, DropReason> {
    GeneveView::parse(packet.get(AT..).unwrap_or_default())
}

#[test]
fn worked_packets_are_produced_byte_for_byte() {
    for (name, source_port, cookie) in [
        ("A", 60033, 0x5eed_0001),
        ("C", 60033, 0x5eed_0001),
        ("D", 51413, 0x5eed_0002),
        ("E", 49153, 0x5eed_0003),
    ] {
        let packet = gwlb(name);
        let outer = GeneveOuter {
            src: NODE,
            dst: APPLIANCE,
            source_port,
            endpoint_id: VPCE,
            cookie,
            ttl: 64,
        };
        let mut buf = [0xee; GENEVE_OUTER_LEN];
        let inner_len = u16::try_from(packet.len() - GENEVE_OUTER_LEN).unwrap();
        outer.encode(&mut buf, inner_len, packet[68] >> 4 == 6);
        assert_eq!(buf[..], packet[..68], "{name}");
    }
}

proptest::proptest! {
    /// However a template came about, what it writes is right: a header of its own parts
    /// whose checksum adds up, and no byte of the buffer's past.
    #[test]
    fn a_template_writes_what_parses_as_it_was_made(
        src: [u8; 4], dst: [u8; 4], other: [u8; 4], port: u16, endpoint_id: u64, cookie: u32,
        ttl: u8, inner_len in 20..8_501u16, six: bool,
    ) {
        let outer = GeneveOuter {
            src: src.into(), dst: dst.into(), source_port: port, endpoint_id, cookie, ttl,
        };
        let mut buf = [0xee; GENEVE_OUTER_LEN];
        outer.encode(&mut buf, inner_len, six);
        let header: &[u8; 20] = buf.first_chunk().unwrap();
        proptest::prop_assert!(checksum::is_right(header));
        let mut packet = buf.to_vec();
        packet.resize(GENEVE_OUTER_LEN + usize::from(inner_len), if six { 0x60 } else { 0x45 });
        let headers = parse_ip(&packet, 0).unwrap();
        let tuple = headers.tuple;
        proptest::prop_assert_eq!((tuple.src, tuple.dst), (outer.src.into(), outer.dst.into()));
        proptest::prop_assert_eq!((tuple.sport, tuple.dport), (port, GENEVE_PORT));
        proptest::prop_assert_eq!(headers.ttl, ttl);
        let view = GeneveView::parse(udp_payload(&packet, &headers).unwrap()).unwrap();
        proptest::prop_assert_eq!(view.endpoint_id, Some(endpoint_id));
        proptest::prop_assert_eq!(view.cookie, Some(cookie));
        proptest::prop_assert_eq!(view.inner.len(), usize::from(inner_len));

        let template = GeneveTemplate::new(&outer);
        let elsewhere = template.between(outer.src, other.into()).named(!cookie, port);
        let direct = GeneveOuter { dst: other.into(), cookie: !cookie, ..outer };
        proptest::prop_assert_eq!(elsewhere, GeneveTemplate::new(&direct));
        proptest::prop_assert_eq!(template.ends(), [outer.src, outer.dst]);
        proptest::prop_assert_eq!((template.endpoint_id(), template.source_port()), (endpoint_id, port));

        let answer = [dst, src].concat().try_into().unwrap();
        let number = endpoint_id.to_be_bytes();
        proptest::prop_assert!(template.is_answered(answer, number));
        let same = [src, dst].concat().try_into().unwrap();
        proptest::prop_assert_eq!(template.is_answered(same, number), src == dst);
        for bit in 0..64 {
            let flipped = (u64::from_ne_bytes(answer) ^ 1 << bit).to_ne_bytes();
            proptest::prop_assert!(!template.is_answered(flipped, number));
            let wrong = (endpoint_id ^ 1 << bit).to_be_bytes();
            proptest::prop_assert!(!template.is_answered(answer, wrong));
        }
    }
}

#[test]
fn worked_packets_parse() {
    for (name, protocol, cookie) in [
        ("A", ethertype::IPV4, 0x5eed_0001),
        ("B", ethertype::IPV4, 0x5eed_0001),
        ("C", ethertype::IPV4, 0x5eed_0001),
        ("D", ethertype::IPV6, 0x5eed_0002),
        ("E", ethertype::IPV6, 0x5eed_0003),
    ] {
        let packet = gwlb(name);
        let outer = parse_ip(&packet, 0).unwrap();
        let view = GeneveView::parse(udp_payload(&packet, &outer).unwrap()).unwrap();
        assert_eq!(
            view,
            GeneveView {
                protocol,
                endpoint_id: Some(VPCE),
                attachment_id: Some(0),
                cookie: Some(cookie),
                header: &packet[28..68],
                inner: &packet[68..],
            },
            "{name}"
        );
        assert_eq!(view.header_len(), 40);
    }
}

#[test]
fn every_truncation_is_malformed() {
    for name in ["B", "D", "E"] {
        let packet = gwlb(name);
        for len in 0..=68 {
            assert_eq!(
                parse(&packet[..len]),
                Err(DropReason::MalformedGeneve),
                "{name} {len}"
            );
        }
    }
}

#[test]
fn negative_vectors_of_this_layer() {
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut packet = gwlb("B");
        change(&mut packet);
        packet
    };
    type Case = (&'static str, fn(&mut Vec<u8>));
    let malformed: [Case; 7] = [
        ("protocol 6558", |p| {
            p[AT + 2..AT + 4].copy_from_slice(&[0x65, 0x58])
        }),
        ("OptLen 3f", |p| p[AT] = 0x3f),
        ("version 1", |p| p[AT] = 0x48),
        ("protocol IPv6, inner IPv4", |p| {
            p[AT + 2..AT + 4].copy_from_slice(&[0x86, 0xdd])
        }),
        ("option longer than the options", |p| p[AT + 35] = 2),
        ("options cut within an option header", |p| {
            p[AT] = 0x09;
            p[AT + 11] = 9;
        }),
        ("unknown critical option", |p| p[AT + 22] = 0x82),
    ];
    for (name, change) in malformed {
        assert_eq!(
            parse(&changed(change)),
            Err(DropReason::MalformedGeneve),
            "{name}"
        );
    }

    let packet = changed(|p| p[67] = 0xff);
    assert_eq!(
        parse(&packet).unwrap().cookie,
        Some(0x5eed_00ff),
        "cookie is the caller's to judge"
    );

    let packet = changed(|p| {
        p[AT] = 0x05;
        p.drain(AT + 8..AT + 20);
    });
    let view = parse(&packet).unwrap();
    assert_eq!(
        (view.endpoint_id, view.cookie, view.header_len()),
        (None, Some(0x5eed_0001), 28)
    );
}

#[test]
fn options_come_in_any_order_and_unknown_ones_are_skipped() {
    let packet = gwlb("B");
    let option = |range: std::ops::Range<usize>| packet[AT + range.start..AT + range.end].to_vec();
    let (one, two, three) = (option(8..20), option(20..32), option(32..40));
    let unknown = vec![0x01, 0x02, 0x01, 0xe1, 9, 9, 9, 9];
    let empty = vec![0x01, 0x08, 0x04, 0x00];
    let wrong_len = vec![0x01, 0x08, 0x03, 0x02, 1, 2, 3, 4, 5, 6, 7, 8];
    let cases = [
        (vec![&three, &two, &one], Some(VPCE), Some(0x5eed_0001)),
        (
            vec![&unknown, &three, &empty, &one],
            Some(VPCE),
            Some(0x5eed_0001),
        ),
        (vec![&one, &wrong_len], Some(VPCE), None),
        (vec![&empty], None, None),
        (vec![], None, None),
    ];
    for (number, (options, endpoint_id, cookie)) in cases.into_iter().enumerate() {
        let options: Vec<u8> = options.into_iter().flatten().copied().collect();
        let mut bytes = packet[AT..AT + 8].to_vec();
        bytes[0] = u8::try_from(options.len() / 4).unwrap();
        bytes.extend(&options);
        bytes.extend(&packet[68..]);
        let view = GeneveView::parse(&bytes).unwrap();
        assert_eq!(
            (view.endpoint_id, view.cookie),
            (endpoint_id, cookie),
            "case {number}"
        );
    }
}
