//! The worked packets of the GENEVE reference through the whole pipeline, byte
//! for byte, and the negative ones at the load balancer's node.

#![allow(clippy::unwrap_used, reason = "a test stops where its data is bad")]

mod common;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::*;

/// Outer IPv4, UDP, GENEVE with AWS's options.
const OUTER: usize = 68;
/// Offset of the inner packet in a frame.
const INNER: usize = ETHERNET_LEN + OUTER;

/// A worked packet's bytes, outer IPv4 header first.
fn worked_packet(name: &str) -> Vec<u8> {
    let text = include_str!("../testdata/gwlb.hex");
    let mut lines = text.lines();
    let hex = lines
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// `packet` in a frame from ENI `from` to its router.
fn framed(w: &World, from: u32, packet: &[u8]) -> Frame {
    let eni = w.tables.enis.row(EniId(from)).unwrap();
    let router = w.tables.subnets.row(eni.subnet).unwrap().router_mac;
    let kind = match packet[0] >> 4 {
        4 => ethertype::IPV4,
        _ => ethertype::IPV6,
    };
    let mut frame = Frame::with_capacity(packet.len());
    put_ethernet(&mut frame, router, eni.mac, kind);
    frame.extend(packet);
    frame
}

/// Sends the inner packet of a worked one from ENI `from`.
fn send_inner(w: &mut World, from: u32, name: &str) -> Seen {
    let frame = framed(w, from, &worked_packet(name)[OUTER..]);
    w.send(from, frame)
}

/// Checksums of every layer, computed from nothing.
fn mend(frame: &mut Frame, l3: usize) {
    let headers = parse_without_checksum(frame.bytes_mut(), l3);
    checksum::fill_transport(frame.bytes_mut(), &headers);
}

fn parse_without_checksum(bytes: &mut [u8], l3: usize) -> Headers {
    if bytes[l3] >> 4 == 4 {
        bytes[l3 + 10..l3 + 12].fill(0);
        checksum::fill_ipv4_header(&mut bytes[l3..l3 + 20]);
    }
    parse_ip(bytes, l3).unwrap()
}

/// At the node, as if the appliance had sent it.
fn at_node(w: &mut World, mut frame: Frame) -> Seen {
    frame.port = EniId(4);
    let mut seen = Seen::default();
    w.pipeline
        .process_at_node(w.now, &w.tables, EniId(3), frame, &mut seen);
    let (left, right) = w.pipeline.counters().balance();
    assert_eq!(left, right, "frames in and out must balance");
    seen
}

#[test]
fn a_b_and_c_are_one_flow_byte_for_byte() {
    let mut w = worked();
    w.pipeline.inject_gwlb_flow(0x5eed_0001, 60033);
    let a = only(send_inner(&mut w, 1, "A").out, 4);
    assert_eq!(a.bytes()[ETHERNET_LEN..], worked_packet("A"));

    let b = bounce(a);
    assert_eq!(b.bytes()[ETHERNET_LEN..], worked_packet("B"));
    let at_internet = only(at_node(&mut w, b.clone()).out, 5);
    let expected = tcp("198.51.100.1:40000", "203.0.113.80:443");
    assert_eq!(read(&at_internet).tuple, expected);
    // The same by the appliance's own port.
    assert_eq!(
        only(w.send(4, b).out, 5).bytes(),
        at_internet.bytes(),
        "B by the port and B at the node"
    );

    // C enters as the internet sees it, addressed to the public address.
    let mut c = framed(&w, 5, &worked_packet("C")[OUTER..]);
    c.bytes_mut()[ETHERNET_LEN + 16..ETHERNET_LEN + 20].copy_from_slice(&[198, 51, 100, 1]);
    mend(&mut c, ETHERNET_LEN);
    let c = only(w.send(5, c).out, 4);
    assert_eq!(c.bytes()[ETHERNET_LEN..], worked_packet("C"));
    let at_app = only(at_node(&mut w, bounce(c)).out, 1);
    assert_eq!(
        at_app.bytes()[ETHERNET_LEN..],
        worked_packet("C")[OUTER..],
        "the inner packet is untouched"
    );
}

#[test]
fn d_and_e_carry_ipv6_byte_for_byte() {
    for (name, cookie, port) in [("D", 0x5eed_0002, 51413), ("E", 0x5eed_0003, 49153)] {
        let mut w = worked();
        w.pipeline.inject_gwlb_flow(cookie, port);
        let out = only(send_inner(&mut w, 1, name).out, 4);
        assert_eq!(out.bytes()[ETHERNET_LEN..], worked_packet(name), "{name}");
        // A second one, cached, is the same.
        let again = only(send_inner(&mut w, 1, name).out, 4);
        assert_eq!(again.bytes(), out.bytes(), "{name}");
        let at_internet = only(at_node(&mut w, bounce(out)).out, 5);
        assert_eq!(
            at_internet.bytes()[ETHERNET_LEN..],
            worked_packet(name)[OUTER..],
            "{name}"
        );
    }
}

/// A change to a frame with packet B, and what becomes of it.
type Negative = (&'static str, fn(&mut Frame), DropReason);

fn negative() -> Vec<Negative> {
    const AT: usize = ETHERNET_LEN;
    vec![
        (
            "another cookie",
            |f| f.bytes_mut()[AT + 0x43] = 0xff,
            DropReason::GwlbCookie,
        ),
        (
            "no endpoint id",
            |f| {
                let mut bytes = f.bytes().to_vec();
                bytes.drain(AT + 0x24..AT + 0x30);
                bytes[AT + 0x1c] = 0x05;
                bytes[AT + 3] -= 12;
                bytes[AT + 0x19] -= 12;
                *f = Frame::from_bytes(f.port, &bytes);
                parse_without_checksum(f.bytes_mut(), AT);
            },
            DropReason::GwlbEndpointId,
        ),
        (
            "another port",
            |f| f.bytes_mut()[AT + 0x16..AT + 0x18].copy_from_slice(&6082u16.to_be_bytes()),
            DropReason::GwlbTunnel,
        ),
        (
            "addresses not swapped",
            |f| *f = bounce(f.clone()),
            DropReason::GwlbTunnel,
        ),
        (
            "inner Ethernet",
            |f| f.bytes_mut()[AT + 0x1e..AT + 0x20].copy_from_slice(&[0x65, 0x58]),
            DropReason::MalformedGeneve,
        ),
        (
            "options beyond the payload",
            |f| f.bytes_mut()[AT + 0x1c] = 0x3f,
            DropReason::MalformedGeneve,
        ),
        (
            "version 1",
            |f| f.bytes_mut()[AT + 0x1c] = 0x48,
            DropReason::MalformedGeneve,
        ),
    ]
}

#[test]
fn every_negative_packet_raises_its_counter() {
    for cached in [false, true] {
        for (what, change, reason) in negative() {
            let mut w = worked();
            w.pipeline.inject_gwlb_flow(0x5eed_0001, 60033);
            let b = bounce(only(send_inner(&mut w, 1, "A").out, 4));
            if cached {
                only(at_node(&mut w, b.clone()).out, 5);
            }
            let mut bad = b.clone();
            change(&mut bad);
            assert_ne!(bad.bytes(), b.bytes());
            let seen = at_node(&mut w, bad);
            assert_eq!(seen.drops, [(EniId(4), reason)], "{what}");
            assert!(seen.out.is_empty() && seen.local.is_empty(), "{what}");
            let counters = w.pipeline.counters();
            assert_eq!(counters.drops(reason), 1, "{what}");
            assert_eq!(counters.drops_total(), 1, "{what}");
            // It harmed nobody: the genuine one still passes.
            only(at_node(&mut w, b).out, 5);
        }
    }
    let names: Vec<_> = negative().iter().map(|(_, _, r)| r.name()).collect();
    let mut expected = vec!["gwlb.invalid_flow_cookie", "gwlb.invalid_endpoint_id"];
    expected.extend(["gwlb.invalid_tunnel"; 2]);
    expected.extend(["malformed.geneve"; 3]);
    assert_eq!(names, expected);
}

#[test]
fn the_same_changes_stop_a_packet_at_the_appliances_port() {
    for (what, change, reason) in negative() {
        let mut w = worked();
        w.pipeline.inject_gwlb_flow(0x5eed_0001, 60033);
        let b = bounce(only(send_inner(&mut w, 1, "A").out, 4));
        only(w.send(4, b.clone()).out, 5);
        let mut bad = b.clone();
        change(&mut bad);
        if what == "addresses not swapped" {
            // Swapped at both layers: the frame itself is still the appliance's.
            for at in 0..6 {
                bad.bytes_mut().swap(at, at + 6);
            }
            let seen = w.send(4, bad);
            assert_eq!(seen.drops, [(EniId(4), DropReason::SourceDestCheck)]);
            continue;
        }
        assert_eq!(w.send(4, bad).drops, [(EniId(4), reason)], "{what}");
        only(w.send(4, b).out, 5);
    }
}

#[test]
fn an_inner_header_that_the_appliance_changed_is_accepted_by_its_cookie() {
    let mut w = worked();
    w.pipeline.inject_gwlb_flow(0x5eed_0001, 60033);
    let mut b = bounce(only(send_inner(&mut w, 1, "A").out, 4));
    b.bytes_mut()[INNER + 20..INNER + 22].copy_from_slice(&40001u16.to_be_bytes());
    mend(&mut b, INNER);
    for _ in 0..2 {
        let out = only(at_node(&mut w, b.clone()).out, 5);
        let expected = tcp("198.51.100.1:40001", "203.0.113.80:443");
        assert_eq!(read(&out).tuple, expected);
    }
}
