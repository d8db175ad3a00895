//! What filters let through, and what they refuse to read.

use vpclab_dataplane::packet::tcp_flag;

use super::*;

struct Lab;

impl Names for Lab {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        (name == "web").then(|| vec![ip("10.0.0.5")])
    }

    fn interfaces(&self, name: &str) -> Option<Vec<EniId>> {
        (name == "web").then(|| vec![EniId(5)])
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn tcp(src: &str, sport: u16, dst: &str, dport: u16) -> Packet {
    let tuple = FiveTuple {
        src: ip(src),
        dst: ip(dst),
        protocol: protocol::TCP,
        sport,
        dport,
    };
    Packet {
        len: 60,
        tcp_flags: tcp_flag::SYN,
        ..Packet::of_tuple(EniId(5), tuple)
    }
}

#[track_caller]
fn judge(filter: &str, packet: &Packet) -> bool {
    let filter = Filter::parse(filter, &Lab).expect("a filter");
    filter.wants(packet)
}

#[test]
fn properties_are_those_of_the_packet() {
    let packet = tcp("10.0.0.5", 40_000, "10.1.2.3", 80);
    let cases = [
        ("tcp", true),
        ("udp", false),
        ("ip", true),
        ("ip6 or arp", false),
        ("port 80", true),
        ("src port 80", false),
        ("dst port 80", true),
        ("portrange 30000-50000", true),
        ("tcp port 443", false),
        ("udp port 80", false),
        ("tcp and dst port 80 and not host 10.9.9.9", true),
        ("host web", true),
        ("dst host web", false),
        ("net 10.1.0.0/16", true),
        ("src net 10.1.0.0/16", false),
        ("syn && !ack", true),
        ("rst", false),
        ("less 60 and greater 60", true),
        ("less 59", false),
        ("at web", true),
        ("dropped", false),
        ("udp or tcp and port 443", false),
        ("(udp or tcp) and port 80", true),
        ("not (tcp)", false),
        ("inner (tcp)", false),
        ("proto 6", true),
    ];
    for (filter, wanted) in cases {
        assert_eq!(judge(filter, &packet), wanted, "{filter}");
    }
}

#[test]
fn drops_are_told_apart_by_reason() {
    let mut packet = tcp("10.0.0.5", 1, "10.1.2.3", 80);
    packet.dropped = Some(DropReason::NoRoute);
    assert!(judge("dropped", &packet));
    assert!(judge("dropped route.none and tcp", &packet));
    assert!(!judge("dropped network_acl", &packet));
    assert!(judge("dropped and port 80", &packet));
}

#[test]
fn a_tunnel_shows_what_is_in_it() {
    let inside = tcp("10.1.1.10", 50_000, "203.0.113.80", 443);
    let outside = FiveTuple {
        src: ip("10.2.1.4"),
        dst: ip("10.2.1.11"),
        protocol: protocol::UDP,
        sport: 60_000,
        dport: GENEVE_PORT,
    };
    let packet = Packet {
        inner: inside.tuple.map(|tuple| (tuple, tcp_flag::SYN)),
        ..Packet::of_tuple(EniId(5), outside)
    };
    assert!(judge("geneve", &packet) && judge("udp", &packet));
    assert!(!judge("port 443", &packet));
    assert!(judge("inner (tcp and port 443 and syn)", &packet));
    assert!(!judge("inner (udp)", &packet) && !judge("inner (geneve)", &packet));
}

#[test]
fn ports_are_those_of_tcp_and_udp() {
    let mut packet = tcp("10.0.0.5", 80, "10.1.2.3", 80);
    packet.has_ports = false;
    assert!(!judge("port 80", &packet), "a later fragment has none");
    packet.has_ports = true;
    packet.tuple = packet.tuple.map(|tuple| FiveTuple {
        protocol: protocol::ICMP,
        ..tuple
    });
    assert!(
        !judge("port 80", &packet),
        "an echo's identifier is no port"
    );
}

#[test]
fn what_is_not_understood_is_named_with_what_to_write() {
    let cases = [
        ("", "ends where a property"),
        ("tcp and", "ends where a property"),
        ("tcp udp", "`udp` is not expected"),
        ("tcpp", "`tcpp` is not a property"),
        ("port http", "`http` is no port"),
        ("port 70000", "`70000` is no port"),
        ("port 90-80", "`90-80` is no port"),
        ("src", "`src` needs port N"),
        ("src web", "`web` is not expected there"),
        ("host nobody", "no host, endpoint"),
        ("net 10.0.0.0/40", "`10.0.0.0/40` is no block"),
        ("(tcp", "a `)` is missing"),
        ("tcp)", "a `)` without a `(`"),
        ("inner tcp", "`inner` needs ( )"),
        ("less many", "`many` is not a number of bytes"),
    ];
    for (text, message) in cases {
        let error = Filter::parse(text, &Lab).expect_err(text);
        assert!(error.message.contains(message), "{text}: {error}");
        assert!(!error.fix.is_empty(), "{text}");
    }
    let deep = "(".repeat(10_000) + "tcp";
    assert!(Filter::parse(&deep, &Lab).is_err());
}

#[test]
fn bytes_that_are_no_packet_are_only_bytes() {
    for len in 0..40 {
        let packet = Packet::of_frame(EniId(5), &vec![0x45; len], None);
        assert!(!judge("tcp or udp or ip", &packet), "{len}");
        assert!(judge("less 40 and at web", &packet), "{len}");
    }
}
