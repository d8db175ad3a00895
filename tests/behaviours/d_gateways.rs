//! D. Internet gateways.

use vpclab_tests::{Packet, World, seconds};

use crate::fixtures::INTERNET;

/// Given ENI 10.0.1.10 with an Elastic IP and 0/0 → IGW, when it sends, then the
/// outside sees that address, the same ports and valid checksums; replies and
/// connections from outside reach the private address.
#[test]
fn b047_an_elastic_ip_is_mapped_one_to_one() {
    let mut w = World::new(INTERNET);
    w.host("peer").tcp_listen(80).echo();
    w.host("web").tcp_listen(443).echo();
    let conn = w.host("web").tcp_connect_from(40_000, "198.51.100.7", 80);
    conn.send("hello");
    w.run_until(|_| conn.received("hello")).unwrap();
    let outside = w.host("peer").accepted_from(&conn).unwrap();
    assert_eq!(outside.peer().to_string(), "203.0.113.10:40000");
    assert_eq!(conn.local().to_string(), "10.0.1.10:40000");
    w.echo("peer", "203.0.113.10", 443);
    w.run_for(seconds(1));
    w.expect_counters("flow.created +2");
    // `take` proves every checksum that arrived.
    assert!(
        w.take("peer")
            .iter()
            .all(|seen| seen.from().starts_with("203.0.113.10:"))
    );
    assert!(
        w.take("web")
            .iter()
            .all(|seen| seen.to().starts_with("10.0.1.10:"))
    );

    w.mute(&["web", "peer"]);
    w.send(
        "web",
        &Packet::udp("10.0.1.10:5", "198.51.100.7:9").payload(b"datagram"),
    );
    let got = w.take("peer");
    assert_eq!(
        (got[0].from(), got[0].payload()),
        ("203.0.113.10:5".into(), &b"datagram"[..])
    );
    w.send(
        "web",
        &Packet::ping("10.0.1.10", "198.51.100.7").payload(b"ping"),
    );
    assert_eq!(
        w.take("peer")[0].headers.tuple.src.to_string(),
        "203.0.113.10"
    );
    w.expect_counters("rx +2, tx +2");
}

/// Given no public address, when an ENI sends to the internet, then dropped.
#[test]
fn b048_without_a_public_address_nothing_leaves_by_the_gateway() {
    let mut w = World::new(INTERNET);
    w.mute(&["inner", "peer"]);
    w.send("inner", &Packet::udp("10.0.1.11:5", "198.51.100.7:9"));
    w.expect_counters("rx +1, drop.igw.no_public_address +1, tx +0");
    assert!(w.take("peer").is_empty());
    // Nor does anything come in to a public address that nobody has.
    w.send("peer", &Packet::udp("198.51.100.7:9", "203.0.113.11:5"));
    w.expect_counters("rx +1, drop.igw.no_private_address +1, tx +0");
}

/// When the destination 192.168.5.5 goes to the gateway, then dropped.
#[test]
fn b049_private_destinations_do_not_leave_by_the_gateway() {
    let mut w = World::new(INTERNET);
    w.mute(&["web"]);
    for (to, reason) in [
        ("192.168.5.5:9", "igw.rfc1918"),
        ("100.64.1.1:9", "igw.rfc6598"),
    ] {
        w.send("web", &Packet::udp("10.0.1.10:5", to));
        w.expect_counters(&format!("rx +1, drop.{reason} +1, tx +0"));
    }
}
