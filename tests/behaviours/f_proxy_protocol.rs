//! F. Proxy protocol v2: the header that a target is sent before the client's data.

use vpclab::api::*;
use vpclab::lab::Conn;
use vpclab_dataplane::packet::tcp_flag;
use vpclab_dataplane::time::Duration;
use vpclab_tests::{Packet, Seen, World, seconds};

use crate::fixtures::PRIVATELINK;

/// Length of a header about an IPv4 client.
const HEADER: usize = 100;

/// The lab, with the attribute on.
fn proxied() -> World {
    let on = PRIVATELINK.replace(
        "servers: {protocol: tcp, port: 80, ",
        "servers: {protocol: tcp, port: 80, proxy_protocol: true, ",
    );
    assert_ne!(on, PRIVATELINK);
    let mut w = World::new(&on);
    w.host("server").tcp_listen(80);
    w.healthy();
    w.take("server");
    w
}

/// A connection to the endpoint that stands at both ends; what the target has of it.
fn connect(w: &mut World) -> (Conn, Conn) {
    let client = w.host("client").tcp_connect("10.0.1.100", 80);
    let server = w.host("server");
    w.run_until(|_| {
        server
            .accepted_from(&client)
            .is_some_and(|conn| conn.is_established())
    })
    .unwrap();
    let accepted = server.accepted_from(&client).unwrap();
    (client, accepted)
}

/// The data of a TCP segment, whatever its options.
fn data(seen: &Seen) -> &[u8] {
    let l4 = usize::from(seen.headers.l4);
    let start = l4 + usize::from(seen.bytes[l4 + 12] >> 4) * 4;
    &seen.bytes[start..usize::from(seen.headers.l3) + seen.headers.ip_len as usize]
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    !crc
}

/// The TLVs of a header; asserts that the CRC is right.
fn tlvs(header: &[u8]) -> Vec<(u8, Vec<u8>)> {
    assert_eq!(&header[..12], b"\r\n\r\n\0\r\nQUIT\n");
    let mut at = 28;
    let mut found = Vec::new();
    let mut zeroed = header.to_vec();
    while at < header.len() {
        let len = usize::from(u16::from_be_bytes([header[at + 1], header[at + 2]]));
        let value = header[at + 3..at + 3 + len].to_vec();
        if header[at] == 3 {
            zeroed[at + 3..at + 7].fill(0);
        }
        found.push((header[at], value));
        at += 3 + len;
    }
    let (kind, crc) = &found[0];
    assert_eq!((*kind, &crc[..]), (3, &crc32c(&zeroed).to_be_bytes()[..]));
    found
}

/// Given PPv2 on, when a client connects, then the first bytes are a v2 header
/// with the client's and the endpoint's address, and a TLV 0xEA of subtype 1 with
/// the endpoint's id: as a segment of its own. What follows is the client's.
#[test]
fn b080_the_target_is_first_told_who_the_client_is() {
    let mut w = proxied();
    let (client, server) = connect(&mut w);
    client.send("hello");
    w.run_until(|_| server.data().ends_with(b"hello")).unwrap();
    let bytes = server.data();
    assert_eq!(bytes.len(), HEADER + 5);
    let header = &bytes[..HEADER];
    assert_eq!(header[12..16], [0x21, 0x11, 0, 84]);
    assert_eq!(header[16..24], [10, 0, 1, 10, 10, 0, 1, 100]);
    assert_eq!(header[24..26], client.local().port().to_be_bytes());
    assert_eq!(header[26..28], 80u16.to_be_bytes());
    let vpce = w.vpce("service").to_string();
    let tlvs = tlvs(header);
    assert_eq!(tlvs[1], (0xea, [&[1], vpce.as_bytes()].concat()));
    assert_eq!(tlvs[2], (4, vec![0; 36]));
    let segments = w.take("server");
    let with_data: Vec<_> = segments
        .iter()
        .filter(|seen| !data(seen).is_empty())
        .collect();
    assert_eq!(data(with_data[0]), header, "a segment of its own");
    assert_eq!(with_data.len(), 2);
    // And back, with numbers that the client knows.
    server.send("welcome");
    w.run_until(|_| client.received("welcome")).unwrap();
    client.close();
    server.close();
    w.run_for(seconds(1));
    assert!(server.peer_closed() && client.peer_closed() && !client.was_reset());
    w.expect_counters("lb.proxy_headers +1, flow.created +1..");
}

/// A server that speaks first is understood, and has the header though the client
/// says nothing.
#[test]
fn b080_a_server_may_speak_first() {
    let mut w = proxied();
    let (client, server) = connect(&mut w);
    server.send("220 ready");
    w.run_until(|_| client.received("220 ready") && server.received_len() == HEADER as u64)
        .unwrap();
    client.send("QUIT");
    w.run_until(|_| server.data().ends_with(b"QUIT")).unwrap();
    assert_eq!(server.received_len() as usize, HEADER + 4);
}

/// A direct client of the load balancer has no endpoint: no TLV 0xEA, but a header
/// as long.
#[test]
fn b080_a_direct_client_has_no_endpoint() {
    let mut w = proxied();
    let client = w.host("twin").tcp_connect("10.0.2.50", 80);
    client.send("direct");
    let server = w.host("server");
    let came = |conn: &Conn| conn.data().ends_with(b"direct");
    w.run_until(|_| {
        server
            .accepted_from(&client)
            .is_some_and(|conn| came(&conn))
    })
    .unwrap();
    let bytes = server.accepted_from(&client).unwrap().data();
    assert_eq!(bytes[16..24], [10, 0, 1, 10, 10, 0, 2, 50]);
    let tlvs = tlvs(&bytes[..HEADER]);
    assert_eq!(tlvs[1], (4, vec![0; 62]));
}

/// A lost header is sent again until it is acknowledged; the client's data, which
/// was there before it, is put behind it.
#[test]
fn b080_a_lost_header_is_sent_again() {
    let mut w = proxied();
    let client = w.host("client").tcp_connect("10.0.1.100", 80);
    w.run_until(|_| client.is_established()).unwrap();
    // The client's acknowledgement is under way; the header and it are lost.
    w.link("server").downstream().cut();
    client.send("early");
    w.run_for(Duration::from_millis(150));
    w.link("server").heal();
    let server = w.host("server");
    let expected = HEADER + 5;
    w.run_until(|_| {
        let conn = server.accepted_from(&client);
        conn.is_some_and(|conn| conn.data().len() == expected)
    })
    .unwrap();
    assert!(
        server
            .accepted_from(&client)
            .unwrap()
            .data()
            .ends_with(b"early")
    );
    w.run_for(seconds(5));
    assert!((2..=8).contains(&w.counters().proxy_headers));
    w.reset_counters();
    // Acknowledged, it is sent no more.
    w.run_for(seconds(120));
    w.expect_counters("lb.proxy_headers +0");
}

/// A target that never acknowledges is not sent headers for ever, and a session
/// that is over sends none.
#[test]
fn b080_a_dead_target_is_not_asked_for_ever() {
    let mut w = proxied();
    let client = w.host("client").tcp_connect("10.0.1.100", 80);
    w.run_until(|_| client.is_established()).unwrap();
    w.link("server").cut();
    w.run_for(seconds(400));
    let sent = w.counters().proxy_headers;
    assert!((2..=15).contains(&sent), "{sent}");
    w.run_for(seconds(3600));
    assert_eq!(w.counters().proxy_headers, sent);
    assert!(!client.was_reset());
}

/// A SYN with a fast-open cookie and data: the target sees neither.
#[test]
fn b080_fast_open_is_taken_out_of_a_syn() {
    let mut w = proxied();
    w.mute(&["client", "server"]);
    w.take("server");
    let syn = Packet::syn("10.0.1.10:1000", "10.0.1.100:80").sequence(77);
    w.send("client", &syn.payload(b"too early"));
    let seen = w.take("server");
    assert!(seen[0].has(tcp_flag::SYN));
    assert_eq!(data(&seen[0]), b"");
    assert_eq!(seen[0].headers.tcp_seq, 77);
}

/// A header's numbers: the client's data comes behind it, acknowledgements within
/// it are the beginning, the window leaves room for it.
#[test]
fn b080_the_two_sides_count_differently() {
    let mut w = proxied();
    w.mute(&["client", "server"]);
    w.take("server");
    let client = "10.0.1.10:1000";
    let first = u32::MAX - 3;
    w.send(
        "client",
        &Packet::syn(client, "10.0.1.100:80").sequence(first),
    );
    let node = w.take("server")[0].from();
    let number = |seen: &Seen, at: usize| {
        let l4 = usize::from(seen.headers.l4) + at;
        u32::from_be_bytes(seen.bytes[l4..l4 + 4].try_into().unwrap())
    };
    let window = |seen: &Seen| (number(seen, 12) & 0xffff) as usize;
    let base = first.wrapping_add(1);
    let answer = |ack| Packet::ack("10.0.3.10:80", &node).acknowledges(ack);
    let both = tcp_flag::SYN | tcp_flag::ACK;
    w.send("server", &answer(base).flags(both).sequence(500));
    let seen = w.take("client");
    assert_eq!(number(&seen[0], 8), base);
    assert_eq!(window(&seen[0]), 0xffff - HEADER);
    let says = |at: u32| {
        let packet = Packet::ack(client, "10.0.1.100:80").acknowledges(501);
        packet.sequence(base.wrapping_add(at))
    };
    w.send("client", &says(0).payload(b"data"));
    let seen = w.take("server");
    assert_eq!(seen.len(), 2);
    assert_eq!((number(&seen[0], 4), data(&seen[0]).len()), (base, HEADER));
    assert_eq!(number(&seen[0], 8), 501);
    assert_eq!(number(&seen[1], 4), base.wrapping_add(HEADER as u32));
    assert_eq!(data(&seen[1]), b"data");
    // Bytes acknowledged by the target, bytes told to the client, room taken away.
    for (acked, told, less) in [(0, 0, 100), (40, 0, 60), (100, 0, 0), (104, 4, 0)] {
        w.send("server", &answer(base.wrapping_add(acked)).sequence(501));
        let seen = w.take("client");
        assert_eq!(number(&seen[0], 8), base.wrapping_add(told), "{acked}");
        assert_eq!(window(&seen[0]), 0xffff - less, "{acked}");
        assert_eq!(number(&seen[0], 4), 501);
    }
}

/// A health check of such a group begins with a header of its own: LOCAL, about
/// no client.
#[test]
fn b080_health_checks_carry_a_header_too() {
    let mut w = proxied();
    w.run_for(seconds(31));
    let seen = w.take("server");
    let checks: Vec<_> = seen
        .iter()
        .map(data)
        .filter(|data| !data.is_empty())
        .collect();
    assert_eq!(checks, [b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"]);
}

/// The attribute acts on connections that begin after it was changed.
#[test]
fn b080_the_attribute_may_be_changed_while_connections_stand() {
    let mut w = proxied();
    let (client, server) = connect(&mut w);
    let target_group_arn = w.target_group("servers");
    let proxy_protocol = Some(false);
    w.apply(ModifyTargetGroupAttributes {
        target_group_arn,
        proxy_protocol,
        ..Default::default()
    });
    client.send("old");
    w.run_until(|_| server.received_len() as usize == HEADER + 3)
        .unwrap();
    server.send("back");
    w.run_until(|_| client.received("back")).unwrap();
    let (client, server) = connect(&mut w);
    client.send("new");
    w.run_until(|_| server.data() == b"new").unwrap();
}

/// Bytes that tell each place of a transfer from all others.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Which end speaks first, and what is lost.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Case {
    ClientFirst,
    ServerFirst,
    FirstDataLost,
}

/// Both ways at once over links that lose and reorder: every byte arrives.
fn transfer(case: Case, len: usize) {
    let mut w = proxied();
    for host in ["client", "server"] {
        w.host(host).set_tcp_buffer(1 << 20);
        w.host(host).set_record(false);
    }
    w.set_limit(seconds(100_000));
    let (up, down) = (pattern(len, 1), pattern(len, 2));
    let (client, server) = if case == Case::FirstDataLost {
        let client = w.host("client").tcp_connect("10.0.1.100", 80);
        w.run_until(|_| client.is_established()).unwrap();
        w.link("server").downstream().cut();
        client.send(&up);
        w.run_for(Duration::from_millis(50));
        w.link("server").heal();
        let server = w.host("server");
        w.run_until(|_| server.accepted_from(&client).is_some())
            .unwrap();
        let accepted = server.accepted_from(&client).unwrap();
        (client, accepted)
    } else {
        connect(&mut w)
    };
    for host in ["client", "server"] {
        w.link(host).loss(0.01).reorder(0.01);
    }
    match case {
        Case::ClientFirst => {
            client.send(&up);
            w.run_until(|_| server.received_len() > HEADER as u64)
                .unwrap();
            server.send(&down);
        }
        Case::ServerFirst => {
            server.send(&down);
            w.run_until(|_| client.received_len() > 0).unwrap();
            client.send(&up);
        }
        Case::FirstDataLost => {
            server.send(&down);
        }
    }
    let (there, back) = ((len + HEADER) as u64, len as u64);
    w.run_until(|_| server.received_len() == there && client.received_len() == back)
        .unwrap();
    assert!(server.data()[HEADER..] == up, "{case:?}: client to server");
    assert!(client.data() == down, "{case:?}: server to client");
    assert!(w.counters().proxy_headers >= 1);
    for host in ["client", "server"] {
        let (up, down) = w.link(host).counters();
        let lost = up.lost + down.lost;
        assert!(lost > 50, "{host}'s link lost {lost}");
    }
}

/// Bytes, each way.
const TRANSFER: usize = 100_000_000;

#[test]
fn b080_a_long_transfer_is_intact_when_the_client_speaks_first() {
    transfer(Case::ClientFirst, TRANSFER);
}

#[test]
fn b080_a_long_transfer_is_intact_when_the_server_speaks_first() {
    transfer(Case::ServerFirst, TRANSFER);
}

#[test]
fn b080_a_long_transfer_is_intact_when_the_first_data_is_lost() {
    transfer(Case::FirstDataLost, TRANSFER);
}
