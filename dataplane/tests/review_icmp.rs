//! ICMP: whose errors are believed, and what counts as an answer.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::net::IpAddr;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::*;
use vpclab_dataplane::tables::*;

const SYN: u8 = tcp_flag::SYN;
const ECHO: (u8, u8) = (8, 0);

/// Host `from` reports on `about`, a packet it got, to `dst` from `src`.
fn error_from(
    w: &World,
    from: u32,
    (src, dst): (IpAddr, IpAddr),
    (kind, code): (u8, u8),
    about: &Frame,
) -> Frame {
    let eni = w.tables.enis.row(EniId(from)).unwrap();
    let ends = Endpoints {
        src_mac: eni.mac,
        dst_mac: w.tables.subnets.row(eni.subnet).unwrap().router_mac,
        src,
        dst,
    };
    let error = IcmpError {
        kind,
        code,
        rest: 0,
    };
    let mut frame = Frame::with_capacity(600);
    error.write(&mut frame, &ends, about.bytes(), &read(about));
    frame
}

fn icmp(kind: (u8, u8)) -> PortMatch {
    PortMatch::Icmp(kind.0, Some(kind.1))
}

/// An ICMP message of 8 bytes and a payload.
fn message(
    w: &World,
    from: u32,
    (src, dst): (&str, &str),
    kind: (u8, u8),
    id: u16,
    payload: &[u8],
) -> Frame {
    let tuple = tuple(
        protocol::ICMP,
        &format!("{src}:{id}"),
        &format!("{dst}:{id}"),
    );
    let mut frame = w.frame(from, &tuple, 0, payload);
    frame.bytes_mut()[34..36].copy_from_slice(&[kind.0, kind.1]);
    let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
    checksum::fill_transport(frame.bytes_mut(), &headers);
    frame
}

#[test]
fn an_error_goes_to_whom_it_is_about_or_nowhere() {
    let mut w = east_west();
    w.eni(3, 1, &["10.0.1.11"], &[1], EniKind::Host);
    let got = only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 2);
    // About a packet of host 1, but addressed to host 3.
    let frame = error_from(&w, 2, (ip("10.0.2.10"), ip("10.0.1.11")), (3, 3), &got);
    let seen = w.send(2, frame);
    assert!(
        seen.out.iter().all(|(port, _)| *port == EniId(3)),
        "{:?}",
        seen.out
    );
}

#[test]
fn an_error_does_not_hide_a_foreign_source() {
    let mut w = east_west();
    let got = only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 2);
    let frame = error_from(&w, 2, (ip("10.0.2.99"), ip("10.0.1.10")), (3, 3), &got);
    let seen = w.send(2, frame);
    assert_eq!(seen.drops, [(EniId(2), DropReason::SourceDestCheck)]);
    let frame = error_from(&w, 2, (ip("10.0.2.10"), ip("10.0.1.10")), (3, 3), &got);
    only(w.send(2, frame).out, 1);
}

#[test]
fn an_error_about_an_untracked_flow_needs_a_rule_of_its_own() {
    let mut w = east_west();
    let all = || vec![rule(Some(6), PortMatch::Any, any("0.0.0.0/0"))];
    w.group(2, all(), all());
    w.group(3, everything(), everything());
    w.eni_edit(1, |eni| eni.groups = vec![SecurityGroupId(2)]);
    w.eni_edit(2, |eni| eni.groups = vec![SecurityGroupId(3)]);
    let got = only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 2);
    let ends = (ip("10.0.2.10"), ip("10.0.1.10"));
    let frame = error_from(&w, 2, ends, (3, 3), &got);
    let seen = w.send(2, frame);
    assert_eq!(seen.drops, [(EniId(2), DropReason::SecurityGroup)]);
    let with_icmp = [all(), vec![rule(Some(1), icmp((3, 3)), any("0.0.0.0/0"))]].concat();
    w.group(2, with_icmp, all());
    let frame = error_from(&w, 2, ends, (3, 3), &got);
    only(w.send(2, frame).out, 1);
}

#[test]
fn an_error_about_nothing_known_opens_nothing() {
    let mut w = east_west();
    // Host 1 takes port-unreachable messages, and no others.
    w.group(
        2,
        vec![rule(Some(1), icmp((3, 3)), any("10.0.0.0/16"))],
        vec![],
    );
    w.eni_edit(1, |eni| eni.groups = vec![SecurityGroupId(2)]);
    let about = w.frame(1, &tcp("10.0.1.10:7", "10.0.2.10:8"), SYN, b"");
    let ends = (ip("10.0.2.10"), ip("10.0.1.10"));
    let frame = error_from(&w, 2, ends, (3, 3), &about);
    only(w.send(2, frame).out, 1);
    let redirect = error_from(&w, 2, ends, (5, 1), &about);
    let seen = w.send(2, redirect);
    assert_eq!(seen.drops, [(EniId(2), DropReason::SecurityGroup)]);
}

#[test]
fn a_request_is_no_answer_to_a_ping_with_the_same_identifier() {
    let mut w = east_west();
    let all = || vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))];
    w.group(2, vec![], all());
    w.eni_edit(1, |eni| eni.groups = vec![SecurityGroupId(2)]);
    let (a, b) = ("10.0.1.10", "10.0.2.10");
    for _ in 0..2 {
        let request = message(&w, 1, (a, b), ECHO, 5, b"");
        only(w.send(1, request).out, 2);
        let request = message(&w, 2, (b, a), ECHO, 5, b"");
        let seen = w.send(2, request);
        assert_eq!(seen.drops, [(EniId(2), DropReason::SecurityGroup)]);
        let reply = message(&w, 2, (b, a), (0, 0), 5, b"");
        only(w.send(2, reply).out, 1);
    }
}

#[test]
fn an_acl_judges_replies_apart_from_requests() {
    let mut w = east_west();
    let entry = |number, allow, kind| NetworkAclRule {
        number,
        allow,
        protocol: Some(1),
        ports: icmp(kind),
        cidr: Prefix::ANY_V4,
    };
    let mut acl = allow_all();
    acl.egress.insert(0, entry(10, false, (0, 0)));
    w.edit(|b| b.set_network_acl(NetworkAclId(1), Some(acl)));
    let (a, b) = ("10.0.1.10", "10.0.2.10");
    let request = message(&w, 1, (a, b), ECHO, 5, b"");
    only(w.send(1, request).out, 2);
    let request = message(&w, 2, (b, a), ECHO, 5, b"");
    only(w.send(2, request).out, 1);
    let reply = message(&w, 1, (a, b), (0, 0), 5, b"");
    let seen = w.send(1, reply);
    assert_eq!(seen.drops, [(EniId(1), DropReason::NetworkAcl)]);
}

#[test]
fn later_fragments_of_a_ping_are_judged_as_a_ping() {
    let mut w = east_west();
    let entry = |cidr| NetworkAclRule {
        number: 10,
        allow: true,
        protocol: Some(1),
        ports: icmp(ECHO),
        cidr,
    };
    let acl = NetworkAclRow {
        label: label("acl"),
        ingress: vec![entry(Prefix::ANY_V4)],
        egress: vec![entry(Prefix::ANY_V4)],
    };
    w.edit(|b| b.set_network_acl(NetworkAclId(1), Some(acl)));
    let mut frame = message(&w, 1, ("10.0.1.10", "10.0.2.10"), ECHO, 5, &[1; 3000]);
    frame.bytes_mut()[20] = 0; // DF clear
    checksum::fill_ipv4_header(&mut frame.bytes_mut()[14..34]);
    let mut pieces = Vec::new();
    let cut = fragment_ipv4(frame, 1500, &mut FramePool::new(4), &mut |piece| {
        pieces.push(piece);
    });
    assert_eq!(cut, Ok(3));
    for piece in pieces {
        only(w.send(1, piece).out, 2);
    }
}

#[test]
fn privatelink_passes_unreachable_messages_and_no_other_icmp() {
    let mut w = privatelink();
    let got = only(w.tcp(1, "10.0.1.10:40000", "10.0.2.20:443", SYN).out, 4);
    let ends = (ip("10.0.2.40"), ip("10.0.1.30"));
    let frame = error_from(&w, 4, ends, (11, 0), &got);
    let seen = w.send(4, frame);
    assert_eq!(seen.drops, [(EniId(4), DropReason::IcmpUnrelated)]);
    let frame = error_from(&w, 4, ends, (3, 1), &got);
    let at_client = only(w.send(4, frame).out, 1);
    let headers = read(&at_client);
    assert_eq!(
        (headers.tuple.src, headers.tuple.dst),
        (ip("10.0.2.20"), ip("10.0.1.10"))
    );
    let quoted = parse_quoted(at_client.bytes(), usize::from(headers.l4) + 8).unwrap();
    assert_eq!(quoted.tuple, tcp("10.0.1.10:40000", "10.0.2.20:443"));
    let sum = checksum::sum(&at_client.bytes()[42..62]);
    assert_eq!(sum, 0xffff, "header checksum of the quoted packet");
}

#[test]
fn an_error_with_a_partial_checksum_leaves_with_a_whole_one() {
    let mut w = privatelink();
    let got = only(w.tcp(1, "10.0.1.10:40000", "10.0.2.20:443", SYN).out, 4);
    let ends = (ip("10.0.2.40"), ip("10.0.1.30"));
    let mut frame = error_from(&w, 4, ends, (3, 1), &got);
    frame.bytes_mut()[36..38].copy_from_slice(&[0, 0]);
    frame.offload.checksum = Checksum::Partial {
        start: 34,
        offset: 2,
    };
    let at_client = only(w.send(4, frame).out, 1);
    read(&at_client);
    assert!(!matches!(
        at_client.offload.checksum,
        Checksum::Partial { .. }
    ));
}

/// The error whose IPv4 header is at `l3` ends after so many bytes of its quote; what
/// was behind stays where it is.
fn end_quote(mut frame: Frame, l3: usize, quoted: u16) -> Frame {
    let bytes = frame.bytes_mut();
    bytes[l3 + 2..l3 + 4].copy_from_slice(&(28 + quoted).to_be_bytes());
    checksum::fill_ipv4_header(&mut bytes[l3..l3 + 20]);
    let headers = parse_ip(bytes, l3).unwrap();
    checksum::fill_transport(bytes, &headers);
    frame
}

#[test]
fn a_quote_ends_where_its_message_does() {
    let mut w = east_west();
    let all = vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))];
    w.group(2, vec![], all);
    w.eni_edit(1, |eni| eni.groups = vec![SecurityGroupId(2)]);
    let got = only(w.tcp(1, "10.0.1.10:1", "10.0.2.10:2", SYN).out, 2);
    let ends = (ip("10.0.2.10"), ip("10.0.1.10"));
    let whole = error_from(&w, 2, ends, (3, 3), &got);
    only(w.send(2, whole.clone()).out, 1);
    // Eight bytes of the quoted transport header are enough; fewer name no flow, whatever
    // the frame has behind them.
    only(w.send(2, end_quote(whole.clone(), ETHERNET_LEN, 28)).out, 1);
    let seen = w.send(2, end_quote(whole, ETHERNET_LEN, 27));
    assert_eq!(seen.drops, [(EniId(2), DropReason::SecurityGroup)]);
}

#[test]
fn gwlb_a_quote_ends_where_its_message_does() {
    const INNER: usize = ETHERNET_LEN + 68;
    let mut w = worked();
    w.group(2, vec![], everything());
    w.eni_edit(1, |eni| eni.groups = vec![SecurityGroupId(2)]);
    let out = w.tcp(1, "10.0.1.10:40000", "203.0.113.80:443", SYN).out;
    let got = only(w.send(4, bounce(only(out, 4))).out, 5);
    let ends = (ip("203.0.113.80"), ip("198.51.100.1"));
    let error = error_from(&w, 5, ends, (3, 3), &got);
    let whole = bounce(only(w.send(5, error).out, 4));
    only(w.send(4, whole.clone()).out, 1);
    only(w.send(4, end_quote(whole.clone(), INNER, 28)).out, 1);
    let seen = w.send(4, end_quote(whole, INNER, 27));
    assert_eq!(seen.drops, [(EniId(4), DropReason::SecurityGroup)]);
}
