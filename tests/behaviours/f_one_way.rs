//! F. PrivateLink is one-way: every way in which a provider could start a packet
//! toward a consumer; and what becomes of connections whose target fails or goes.

use vpclab::api::*;
use vpclab_dataplane::packet::{checksum, tcp_flag};
use vpclab_dataplane::tables::TargetHealth;
use vpclab_tests::{Packet, World, seconds};

use crate::fixtures::PRIVATELINK;

fn world(topology: &str) -> World {
    let mut w = World::new(topology);
    w.host("server").tcp_listen(80).echo();
    w.healthy();
    w
}

/// An IPv4 packet in a frame, made a fragment: offset in units of 8 bytes.
fn fragment(mut frame: Vec<u8>, offset: u16, more: bool) -> Vec<u8> {
    let field = u16::from(more) << 13 | offset;
    frame[20..22].copy_from_slice(&field.to_be_bytes());
    checksum::fill_ipv4_header(&mut frame[14..34]);
    frame
}

/// An ICMP error, type 3 code 3, that quotes the packet of a frame.
pub(crate) fn unreachable(from: &str, to: &str, quoted: &[u8]) -> Vec<u8> {
    let mut frame = Packet::ping(from, to)
        .payload(&quoted[14..quoted.len().min(14 + 28)])
        .frame(Default::default(), Default::default());
    frame[34..38].copy_from_slice(&[3, 3, 0, 0]);
    frame[38..42].fill(0);
    let sum = !checksum::sum(&frame[34..]);
    frame[36..38].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// GENEVE with AWS's options around a packet.
fn geneve(from: &str, to: &str, vpce: u64, cookie: u32, inner: &[u8]) -> Packet {
    let mut payload = vec![0x08, 0, 0x08, 0, 0, 0, 0, 0];
    payload.extend([0x01, 0x08, 1, 2]);
    payload.extend(vpce.to_be_bytes());
    payload.extend([0x01, 0x08, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend([0x01, 0x08, 3, 1]);
    payload.extend(cookie.to_be_bytes());
    payload.extend(&inner[14..]);
    Packet::udp(from, to).payload(&payload)
}

/// Every way to start a packet toward a consumer: none arrives, while a TCP and a
/// UDP flow that the consumer started stand, and stand afterwards.
#[test]
fn b076_every_way_in_from_the_provider_is_shut() {
    let mut w = world(PRIVATELINK);
    let _dns = w.host("server").udp_bind(53).echo();
    let conn = w.echo("client", "10.0.1.100", 80);
    let query = w.host("client").udp_bind(5000);
    query.send("10.0.1.100", 53, b"query");
    w.run_until(|_| !query.received().is_empty()).unwrap();
    let nat = w.host("server").accepted_from(&conn).unwrap().peer();
    let asked = w.host("server").udp_received();
    let udp_nat = asked.last().unwrap().0;
    w.run_for(seconds(1));
    w.take("client");
    w.reset_counters();
    let (server, node) = ("10.0.3.10", "10.0.2.50");
    let mac = w.host("server").mac();
    let router = w.router_mac("server");
    let vpce = w.vpce("service");
    let number = u64::from_str_radix(&vpce.as_str()["vpce-0".len()..], 16).unwrap();
    let frame = |packet: Packet| packet.frame(mac, router);
    let at = |port: u16| format!("{server}:{port}");
    let mut ways: Vec<(String, &str, Vec<u8>)> = Vec::new();
    // Whom it could call: the endpoint's interfaces, the consumer's hosts, every
    // kind of port of the node.
    let (tcp_next, udp_next) = (nat.port() ^ 1, udp_nat.port() ^ 1);
    let mut called: Vec<String> = ["10.0.1.100", "10.0.11.100", "10.0.1.10", "10.0.11.10"]
        .iter()
        .flat_map(|address| [80, 443, 53, 5000, 49152].map(|port| format!("{address}:{port}")))
        .collect();
    let node_ports = [
        nat.port(),
        udp_nat.port(),
        tcp_next,
        udp_next,
        1024,
        65535,
        9,
    ];
    called.extend(node_ports.map(|port| format!("{node}:{port}")));
    called.extend(node_ports.map(|port| format!("10.0.12.50:{port}")));
    for to in &called {
        for from in [80, 53, 1000] {
            let syn = Packet::syn(at(from), to);
            ways.push((format!("SYN {from} > {to}"), "server", frame(syn)));
        }
        // All but the flow's own answers.
        let own = *to == nat.to_string();
        for from in [80, 1000] {
            if !own || from != 80 {
                for (what, flags) in [
                    ("SYN-ACK", tcp_flag::SYN | tcp_flag::ACK),
                    ("data", tcp_flag::ACK),
                    ("reset", tcp_flag::RST),
                ] {
                    let packet = Packet::ack(at(from), to).flags(flags).payload(b"x");
                    ways.push((format!("{what} {from} > {to}"), "server", frame(packet)));
                }
            }
        }
        let own = *to == udp_nat.to_string();
        for from in [53, 1000] {
            if !own || from != 53 {
                let packet = Packet::udp(at(from), to).payload(b"x");
                ways.push((format!("UDP {from} > {to}"), "server", frame(packet)));
            }
        }
        let whole = frame(Packet::udp(at(1000), to).payload(&[7; 64]));
        for (what, offset, more) in [("first", 0, true), ("later", 8, true), ("last", 8, false)] {
            let piece = fragment(whole.clone(), offset, more);
            ways.push((format!("{what} fragment > {to}"), "server", piece));
        }
        let inner = Packet::syn("10.0.3.10:80", "10.0.1.10:80").frame(mac, router);
        let host = to.rsplit_once(':').unwrap().0;
        let tunnel = geneve(&at(6081), &format!("{host}:6081"), number, 1, &inner);
        ways.push((format!("GENEVE > {host}"), "server", frame(tunnel)));
    }
    for host in ["10.0.1.100", "10.0.1.10", node] {
        ways.push((
            format!("ping > {host}"),
            "server",
            frame(Packet::ping(server, host)),
        ));
    }
    // Replies with a wrong address: another host's, and a foreign one.
    let twin = (w.host("twin").mac(), w.router_mac("twin"));
    for (from, port, to) in [
        ("10.0.1.10", 80, nat),
        ("10.0.1.10", 53, udp_nat),
        (server, 80, nat),
    ] {
        let source = format!("{from}:{port}");
        let packet = if port == 53 {
            Packet::udp(source, to)
        } else {
            Packet::ack(source, to)
        };
        let made = packet.payload(b"forged").frame(twin.0, twin.1);
        ways.push((
            format!("forged by another host as {from}:{port} > {to}"),
            "twin",
            made,
        ));
    }
    // Errors about packets that never were.
    for (what, quoted) in [
        (
            "another port",
            Packet::ack(format!("{node}:{tcp_next}"), at(80)),
        ),
        ("another target", Packet::ack(nat, "10.0.3.99:80")),
        (
            "the consumer's own",
            Packet::ack("10.0.1.10:49152", "10.0.1.100:80"),
        ),
    ] {
        for to in [node, "10.0.1.100", "10.0.1.10"] {
            let quoted = quoted.clone().payload(b"12345678").frame(mac, router);
            let mut made = unreachable(server, to, &quoted);
            made[..6].copy_from_slice(&router.0);
            made[6..12].copy_from_slice(&mac.0);
            ways.push((format!("error about {what} > {to}"), "server", made));
        }
    }
    let total = ways.len();
    w.mute(&["server", "twin"]);
    for (way, host, frame) in ways {
        w.host(host).send_raw(&frame);
        w.settle();
        let met = w.take("client");
        assert!(met.is_empty(), "{way}: the client met {:?}", met[0].headers);
    }
    println!(
        "{total} ways in, none led to the consumer: {:?}",
        w.counters().drops_total()
    );
    assert!(total > 500, "{total}");
    for host in ["server", "twin"] {
        w.host(host).set_raw(false);
    }
    conn.send(" again");
    w.run_until(|_| conn.received("hello again")).unwrap();
    query.send("10.0.1.100", 53, b"more");
    w.run_until(|_| query.received().len() == 2).unwrap();
}

/// A target that turns unhealthy resets its connections, whichever end speaks
/// next; new ones, should all have failed, stand (fail-open).
#[test]
fn b083_a_target_that_turns_unhealthy_resets_its_connections() {
    let mut w = world(PRIVATELINK);
    let (one, two) = (
        w.echo("client", "10.0.1.100", 80),
        w.echo("client", "10.0.1.100", 80),
    );
    let served = w.host("server").accepted_from(&two).unwrap();
    w.set_health("servers", TargetHealth::Unhealthy);
    w.reset_counters();
    one.send("late");
    served.send("late");
    w.run_for(seconds(1));
    assert!(one.was_reset() && served.was_reset());
    assert_eq!(two.data(), b"hello");
    w.expect_counters("drop.lb.no_connection +2.., generated +2..");
    let three = w.echo("client", "10.0.1.100", 80);
    w.run_for(seconds(1));
    three.send(" again");
    w.run_until(|_| three.received("hello again")).unwrap();
}

/// Where the attribute says so, they stand.
#[test]
fn b083_connections_of_an_unhealthy_target_stand_if_the_group_says_so() {
    let keeping = PRIVATELINK.replace(
        "servers: {protocol: tcp, port: 80, ",
        "servers: {protocol: tcp, port: 80, reset_on_unhealthy: false, ",
    );
    let mut w = world(&keeping);
    let conn = w.echo("client", "10.0.1.100", 80);
    w.set_health("servers", TargetHealth::Unhealthy);
    conn.send(" again");
    w.run_until(|_| conn.received("hello again")).unwrap();
}

/// A deregistered target keeps its connections while it drains, takes no new one,
/// and loses them after the delay only where the attribute says so.
#[test]
fn b083_a_deregistered_target_drains() {
    for resets in [false, true] {
        let topology = PRIVATELINK.replace(
            "servers: {protocol: tcp, port: 80, ",
            &format!(
                "servers: {{protocol: tcp, port: 80, deregistration_delay: 20, \
                 reset_on_deregistration: {resets}, "
            ),
        );
        let mut w = world(&topology);
        let conn = w.echo("client", "10.0.1.100", 80);
        let group = w.target_group("servers");
        let target = w.control().model().get(&group).unwrap().targets[0].clone();
        let now = w.now();
        w.apply(DeregisterTargets {
            target_group_arn: group,
            targets: vec![TargetDescription::new(target.id.to_string())],
            now,
        });
        conn.send(" again");
        w.run_until(|_| conn.received("hello again")).unwrap();
        w.no_connection("client", "10.0.1.100", 80);
        w.run_for(seconds(21));
        conn.send(" late");
        w.run_for(seconds(1));
        assert_eq!(conn.was_reset(), resets);
        assert_eq!(conn.received("hello again late"), !resets);
    }
}
