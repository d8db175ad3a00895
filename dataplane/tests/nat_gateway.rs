//! NAT gateways: mappings, what passes them, exhaustion, and ports used again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::HashMap;

use common::worlds::{any, everything, load_balancer, nat_gateway, target, target_group};
use common::*;
use proptest::prelude::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{FiveTuple, Frame, protocol, tcp_flag};
use vpclab_dataplane::pipeline::{Config, Pipeline};
use vpclab_dataplane::tables::*;

const SYN: u8 = tcp_flag::SYN;
const SYN_ACK: u8 = tcp_flag::SYN | tcp_flag::ACK;
const ACK: u8 = tcp_flag::ACK;
const FIN: u8 = tcp_flag::FIN | tcp_flag::ACK;

const PEER: &str = "198.51.100.7:80";

/// The frame that the internet host got, and what it says.
fn outside(seen: Seen) -> FiveTuple {
    let [(at, frame)] = &seen.out[..] else {
        panic!(
            "one frame expected, not {}: {:?}",
            seen.out.len(),
            seen.drops
        );
    };
    assert_eq!(*at, EniId(4));
    read(frame).tuple
}

fn at(seen: Seen, host: u32) -> (FiveTuple, Frame) {
    let mut seen = seen;
    assert_eq!(seen.out.len(), 1, "{:?}", seen.drops);
    let (port, frame) = seen.out.remove(0);
    assert_eq!(port, EniId(host));
    (read(&frame).tuple, frame)
}

fn dropped(seen: Seen, reason: DropReason) {
    assert!(seen.out.is_empty(), "something left");
    assert_eq!(seen.drops.iter().map(|d| d.1).collect::<Vec<_>>(), [reason]);
}

/// What the host outside answers.
fn answer(w: &mut World, to: &FiveTuple, flags: u8) -> Seen {
    let frame = w.frame(4, &to.reversed(), flags, b"");
    w.send(4, frame)
}

#[test]
fn two_hosts_with_one_port_are_told_apart_and_get_their_own_replies() {
    let mut w = nat_gateway();
    let first = outside(w.tcp(1, "10.0.1.10:40000", PEER, SYN));
    let second = outside(w.tcp(2, "10.0.1.11:40000", PEER, SYN));
    for seen in [&first, &second] {
        assert_eq!(seen.src, ip("203.0.113.5"));
        assert!(seen.sport >= 1024);
    }
    assert_eq!(first.sport, 40_000, "kept where it is free");
    assert_ne!(first.sport, second.sport);
    let (got, frame) = at(answer(&mut w, &first, SYN_ACK), 1);
    assert_eq!(got, tcp(PEER, "10.0.1.10:40000"));
    assert_eq!(read(&frame).ttl, 63, "the gateway is a hop");
    let (got, _) = at(answer(&mut w, &second, SYN_ACK), 2);
    assert_eq!(got, tcp(PEER, "10.0.1.11:40000"));
    // Cached now, both ways.
    for _ in 0..3 {
        assert_eq!(outside(w.tcp(1, "10.0.1.10:40000", PEER, ACK)), first);
        at(answer(&mut w, &second, ACK), 2);
    }
    let counts = w.pipeline.connections().nat_counts()[&EniId(3)];
    assert_eq!(
        (counts.attempts, counts.active, counts.established),
        (2, 2, 2)
    );
    assert_eq!(counts.packets, [5, 5]);
}

#[test]
fn a_low_port_is_moved_and_echoes_get_an_identifier_of_their_own() {
    let mut w = nat_gateway();
    let seen = outside(w.tcp(1, "10.0.1.10:53", PEER, SYN));
    assert_eq!(seen.sport, 1024);
    let mut ids = Vec::new();
    for (host, from) in [
        (1, "10.0.1.10:7000"),
        (2, "10.0.1.11:7000"),
        (1, "10.0.1.10:9"),
    ] {
        let ping = tuple(protocol::ICMP, from, "198.51.100.7:0");
        let frame = w.frame(host, &ping, 0, b"data");
        let (seen, frame) = at(w.send(host, frame), 4);
        assert_eq!(seen.src, ip("203.0.113.5"));
        ids.push(seen.sport);
        // The reply: same bytes, type 0, ends swapped.
        let mut reply = w.frame(
            4,
            &FiveTuple {
                sport: seen.sport,
                dport: 0,
                ..seen.reversed()
            },
            0,
            b"data",
        );
        reply.bytes_mut()[34] = 0;
        let sum = u16::from_be_bytes([reply.bytes()[36], reply.bytes()[37]]);
        let sum = vpclab_dataplane::packet::Delta::default()
            .replace16(0x0800, 0)
            .apply(sum);
        reply.bytes_mut()[36..38].copy_from_slice(&sum.to_be_bytes());
        let (back, _) = at(w.send(4, reply), host);
        assert_eq!(back, ping.reversed());
        drop(frame);
    }
    assert_eq!((ids[0], ids[2]), (7000, 1024));
    assert!(ids[1] != 7000 && ids[1] >= 1024);
}

#[test]
fn nothing_comes_in_that_nobody_inside_started() {
    let mut w = nat_gateway();
    for dst in ["203.0.113.5:80", "203.0.113.5:40000"] {
        dropped(w.tcp(4, PEER, dst, SYN), DropReason::NatUnsolicited);
    }
    let ping = tuple(protocol::ICMP, "198.51.100.7:5", "203.0.113.5:0");
    let frame = w.frame(4, &ping, 0, b"");
    dropped(w.send(4, frame), DropReason::NatUnsolicited);
    // A hole is for the one it was made for.
    let seen = outside(w.tcp(1, "10.0.1.10:40000", PEER, SYN));
    let stranger = FiveTuple {
        dst: ip("198.51.100.8"),
        ..seen
    };
    dropped(
        answer(&mut w, &stranger, SYN_ACK),
        DropReason::NatUnsolicited,
    );
    let other_port = FiveTuple { dport: 81, ..seen };
    dropped(
        answer(&mut w, &other_port, SYN_ACK),
        DropReason::NatUnsolicited,
    );
    // Nor from the inside to its address.
    dropped(
        w.tcp(1, "10.0.1.10:1", "10.0.0.5:80", SYN),
        DropReason::NatUnsolicited,
    );
}

#[test]
fn after_350_s_of_silence_the_inside_is_reset_and_the_port_is_free() {
    let mut w = nat_gateway();
    let seen = outside(w.tcp(1, "10.0.1.10:40000", PEER, SYN));
    at(answer(&mut w, &seen, SYN_ACK), 1);
    assert_eq!(outside(w.tcp(1, "10.0.1.10:40000", PEER, ACK)), seen);
    w.wait(349);
    assert_eq!(outside(w.tcp(1, "10.0.1.10:40000", PEER, ACK)), seen);
    w.wait(351);
    let late = w.tcp(1, "10.0.1.10:40000", PEER, ACK);
    assert_eq!(late.drops[0].1, DropReason::NatNoConnection);
    let (reset, frame) = at(late, 1);
    assert_eq!(reset, tcp(PEER, "10.0.1.10:40000"));
    assert_ne!(read(&frame).tcp_flags & tcp_flag::RST, 0);
    // The server's late packet goes nowhere either.
    dropped(answer(&mut w, &seen, ACK), DropReason::NatUnsolicited);
    let counts = w.pipeline.connections().nat_counts()[&EniId(3)];
    assert_eq!((counts.active, counts.idle_timeouts), (0, 1));
    let node = EniId(3);
    let translated = FiveTuple {
        src: ip("10.0.0.5"),
        ..seen
    };
    assert_eq!(w.pipeline.connections().ports.used(node, &translated), 0);
    // A new connection may begin.
    outside(w.tcp(1, "10.0.1.10:40000", PEER, SYN));
}

#[test]
fn udp_lives_120_s_and_gets_no_reset() {
    let mut w = nat_gateway();
    w.eni_edit(1, |row| {
        row.timeouts.udp = vpclab_dataplane::time::Duration::from_secs(60);
    });
    let flow = tuple(protocol::UDP, "10.0.1.10:5000", PEER);
    let send = |w: &mut World| {
        let frame = w.frame(1, &flow, 0, b"x");
        outside(w.send(1, frame))
    };
    let seen = send(&mut w);
    w.wait(119);
    assert_eq!(send(&mut w), seen);
    w.wait(121);
    dropped(answer(&mut w, &seen, 0), DropReason::NatUnsolicited);
}

#[test]
fn only_tcp_udp_and_echoes_of_the_vpc_pass() {
    let mut w = nat_gateway();
    for ip_protocol in [47, 50, 132] {
        let frame = w.frame(1, &tuple(ip_protocol, "10.0.1.10:0", PEER), 0, b"inside");
        dropped(w.send(1, frame), DropReason::NatProtocol);
    }
    w.eni_edit(1, |row| row.source_dest_check = false);
    dropped(w.tcp(1, "192.168.1.1:5", PEER, SYN), DropReason::NatSource);
    dropped(
        w.tcp(2, "10.0.1.11:5", "10.0.0.5:5", SYN),
        DropReason::NatUnsolicited,
    );
    let counts = w.pipeline.connections().nat_counts()[&EniId(3)];
    assert_eq!(counts.dropped, 5);
}

#[test]
fn a_private_gateway_stops_at_the_internet_gateway_and_the_subnets_acl_is_judged() {
    let mut w = nat_gateway();
    w.eni_edit(3, |row| row.public.clear());
    dropped(
        w.tcp(1, "10.0.1.10:40000", PEER, SYN),
        DropReason::IgwNoPublicAddress,
    );
    let mut w = nat_gateway();
    w.edit(|b| {
        let mut row = b.view().subnets.row(SubnetId(2)).unwrap().clone();
        row.network_acl = NetworkAclId(7);
        b.set_subnet(SubnetId(2), Some(row));
        let closed = NetworkAclRow {
            ingress: vec![],
            ..allow_all()
        };
        b.set_network_acl(NetworkAclId(7), Some(closed));
    });
    dropped(
        w.tcp(1, "10.0.1.10:40000", PEER, SYN),
        DropReason::NetworkAcl,
    );
}

/// The public address of a host of the same VPC, by way of the gateway: it sees
/// the gateway's public address, and its replies come back.
#[test]
fn a_hairpin_by_a_public_address_works() {
    let mut w = nat_gateway();
    let (seen, _) = at(w.tcp(1, "10.0.1.10:40000", "203.0.113.20:80", SYN), 5);
    assert_eq!(seen, tcp("203.0.113.5:40000", "10.0.2.20:80"));
    let (back, _) = at(w.tcp(5, "10.0.2.20:80", "203.0.113.5:40000", SYN_ACK), 1);
    assert_eq!(back, tcp("203.0.113.20:80", "10.0.1.10:40000"));
    // Its own public address leads nowhere.
    dropped(
        w.tcp(1, "10.0.1.10:5", "203.0.113.5:80", SYN),
        DropReason::NatUnsolicited,
    );
}

#[test]
fn a_route_back_into_the_gateway_is_a_loop() {
    let mut w = nat_gateway();
    w.table(
        2,
        &[
            ("10.0.0.0/16", RouteTarget::Local),
            ("0.0.0.0/0", RouteTarget::Eni(EniId(3))),
        ],
    );
    dropped(w.tcp(1, "10.0.1.10:40000", PEER, SYN), DropReason::Loop);
}

/// A route that changes acts on the next packet: the way is another, so the
/// connection is not this gateway's any more.
#[test]
fn a_gateway_taken_off_the_route_carries_no_further_packet() {
    let mut w = nat_gateway();
    let seen = outside(w.tcp(1, "10.0.1.10:40000", PEER, SYN));
    at(answer(&mut w, &seen, SYN_ACK), 1);
    w.table(1, &[("10.0.0.0/16", RouteTarget::Local)]);
    dropped(w.tcp(1, "10.0.1.10:40000", PEER, ACK), DropReason::NoRoute);
    // An address that it no longer has is nobody's source.
    let mut w = nat_gateway();
    let seen = outside(w.tcp(1, "10.0.1.10:40000", PEER, SYN));
    at(answer(&mut w, &seen, SYN_ACK), 1);
    w.eni_edit(3, |row| row.addresses = vec![ip("10.0.0.6")]);
    let late = w.tcp(1, "10.0.1.10:40000", PEER, ACK);
    assert_eq!(late.drops[0].1, DropReason::NatNoConnection);
}

#[test]
fn traceroute_sees_the_gateways_private_address() {
    let mut w = nat_gateway();
    let mut frame = w.frame(1, &tuple(protocol::UDP, "10.0.1.10:5000", PEER), 0, b"x");
    let sum = u16::from_be_bytes([frame.bytes()[24], frame.bytes()[25]]);
    let sum = vpclab_dataplane::packet::Delta::default()
        .replace16(u16::from_be_bytes([frame.bytes()[22], 17]), 0x0111)
        .apply(sum);
    frame.bytes_mut()[22] = 1;
    frame.bytes_mut()[24..26].copy_from_slice(&sum.to_be_bytes());
    let seen = w.send(1, frame);
    assert_eq!(seen.drops[0].1, DropReason::TtlExpired);
    let (told, _) = at(seen, 1);
    assert_eq!((told.src, told.dst), (ip("10.0.0.5"), ip("10.0.1.10")));
}

/// 55 000 connections to one destination; memory does not grow beyond them.
#[test]
fn the_55_001st_flow_to_one_destination_is_refused() {
    let mut w = nat_gateway();
    w.eni_edit(2, |row| row.source_dest_check = false);
    let send = |w: &mut World, n: u32, dst: &str| {
        let src = format!("10.0.1.{}:{}", 11 + n / 30_000, 2000 + n % 30_000);
        w.tcp(2, &src, dst, SYN)
    };
    let mut ports = std::collections::HashSet::new();
    for n in 0..55_000 {
        let seen = outside(send(&mut w, n, PEER));
        assert!(
            seen.sport >= 1024 && ports.insert(seen.sport),
            "{n}: {}",
            seen.sport
        );
    }
    let memory = w.pipeline.connections().sessions.memory();
    for n in 55_000..55_100 {
        dropped(send(&mut w, n, PEER), DropReason::NatPortAllocation);
    }
    assert_eq!(w.pipeline.connections().sessions.memory(), memory);
    let counts = w.pipeline.connections().nat_counts()[&EniId(3)];
    assert_eq!(counts.port_allocation_errors, 100);
    assert_eq!(counts.active, 55_000);
    // Another port, address or protocol works.
    outside(send(&mut w, 55_100, "198.51.100.7:81"));
    outside(send(&mut w, 55_101, "198.51.100.8:80"));
    let datagram = tuple(protocol::UDP, "10.0.1.11:1", PEER);
    let frame = w.frame(2, &datagram, 0, b"x");
    outside(w.send(2, frame));
    // So does a second address of the gateway.
    w.eni_edit(3, |row| {
        let (private, public) = (ip("10.0.0.6"), ip("203.0.113.6"));
        row.addresses.push(private);
        row.public.push(PublicAddress { private, public });
    });
    let seen = outside(send(&mut w, 55_102, PEER));
    assert_eq!(seen.src, ip("203.0.113.6"));
    // And what is over makes room: half an hour later all are.
    w.wait(1800);
    w.tables = Builder::from(&w.tables).finish();
    for _ in 0..40 {
        w.wait(1);
        w.pipeline.expire(w.now, &w.tables);
    }
    outside(send(&mut w, 55_103, PEER));
}

#[derive(Clone, Debug)]
enum Step {
    /// A host (1 or 2) sends from one of a few ports: SYN, data or FIN.
    Out(u32, u16, u8),
    /// The server sends on the n-th of the tuples that it has ever seen.
    Back(usize, u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let flags = || prop_oneof![Just(SYN), Just(ACK), Just(FIN), Just(tcp_flag::RST)];
    prop_oneof![
        6 => (1u32..3, 0u16..6, flags()).prop_map(|(host, port, flags)| Step::Out(host, port, flags)),
        4 => (0usize..24, prop_oneof![Just(SYN_ACK), Just(ACK), Just(FIN)])
            .prop_map(|(n, flags)| Step::Back(n, flags)),
        1 => prop_oneof![1u64..40, 300u64..400].prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A port that is used again never hands a live server another flow's packet,
    /// nor a client another flow's answer: while the gateway knows a conversation,
    /// what comes out with its public port is from its client, and what goes back to
    /// that port reaches this client or nobody.
    #[test]
    fn a_port_used_again_is_one_flows_only(steps in prop::collection::vec(step(), 1..120)) {
        let mut w = nat_gateway();
        // Few ports, so that they are fought for.
        let crowd = |n: u16| 40_000 + n % 3;
        // Public port → whose it is, and when it was last used.
        let mut live: HashMap<u16, (FiveTuple, vpclab_dataplane::time::Instant)> = HashMap::new();
        let mut seen_ever: Vec<FiveTuple> = Vec::new();
        for step in steps {
            match step {
                Step::Wait(seconds) => w.wait(seconds),
                Step::Out(host, port, flags) => {
                    let src = format!("10.0.1.{}:{}", 9 + host, crowd(port));
                    let client = tcp(&src, PEER);
                    let seen = w.tcp(host, &src, PEER, flags);
                    let Some((EniId(4), frame)) = seen.out.first() else { continue };
                    let out = read(frame).tuple;
                    if let Some((owner, last)) = live.get(&out.sport)
                        && *owner != client
                    {
                        // Only after the gateway had forgotten the other: closed,
                        // or silent for as long as a handshake waits.
                        prop_assert!(w.now.since(*last).as_nanos() > 10 * 1_000_000_000, "{out}");
                    }
                    live.insert(out.sport, (client, w.now));
                    if !seen_ever.contains(&out) {
                        seen_ever.push(out);
                    }
                }
                Step::Back(n, flags) => {
                    let Some(out) = seen_ever.get(n % seen_ever.len().max(1)).copied() else { continue };
                    let seen = answer(&mut w, &out, flags);
                    let (owner, _) = live[&out.sport];
                    for (at, frame) in &seen.out {
                        prop_assert_eq!(read(frame).tuple, owner.reversed());
                        let host = if owner.src == ip("10.0.1.10") { 1 } else { 2 };
                        prop_assert_eq!(*at, EniId(host));
                        live.insert(out.sport, (owner, w.now));
                    }
                }
            }
        }
    }
}

#[test]
fn groups_track_what_passes_even_where_all_is_allowed() {
    let mut w = nat_gateway();
    w.group(1, everything(), everything());
    let seen = outside(w.tcp(1, "10.0.1.10:40000", PEER, SYN));
    w.group(
        1,
        vec![],
        vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))],
    );
    at(answer(&mut w, &seen, SYN_ACK), 1);
    assert_eq!(outside(w.tcp(1, "10.0.1.10:40000", PEER, ACK)), seen);
}

#[test]
fn a_fragment_of_tcp_is_dropped() {
    let mut w = nat_gateway();
    let mut frame = w.frame(1, &tcp("10.0.1.10:40000", PEER), ACK, b"123456789012");
    // More fragments follow.
    let bytes = frame.bytes_mut();
    let flags = u16::from_be_bytes([bytes[20], bytes[21]]);
    let delta = vpclab_dataplane::packet::Delta::default().replace16(flags, 0x2000);
    let sum = delta.apply(u16::from_be_bytes([bytes[24], bytes[25]]));
    bytes[20..22].copy_from_slice(&0x2000u16.to_be_bytes());
    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    dropped(w.send(1, frame), DropReason::NatFragment);
}

/// What the outside says of a packet reaches its sender, in the sender's words: of a
/// datagram and of an echo, whose identifier was another outside.
#[test]
fn an_error_about_a_packet_reaches_its_sender_as_he_sent_it() {
    use vpclab_dataplane::packet::{ETHERNET_LEN, Endpoints, IcmpError, parse_ip, parse_quoted};
    for (ip_protocol, port) in [(protocol::UDP, "53"), (protocol::ICMP, "0")] {
        let mut w = nat_gateway();
        let sent = tuple(ip_protocol, "10.0.1.10:7", &format!("198.51.100.7:{port}"));
        let frame = w.frame(1, &sent, 0, b"data");
        let (seen, about) = at(w.send(1, frame), 4);
        assert!(seen.sport >= 1024);
        let eni = w.tables.enis.row(EniId(4)).unwrap();
        let ends = Endpoints {
            src_mac: eni.mac,
            dst_mac: w.tables.subnets.row(eni.subnet).unwrap().router_mac,
            src: seen.dst,
            dst: seen.src,
        };
        let (kind, code, rest) = (3, 3, 0);
        let mut error = Frame::with_capacity(600);
        let what = IcmpError { kind, code, rest };
        what.write(&mut error, &ends, about.bytes(), &read(&about));
        let (told, frame) = at(w.send(4, error), 1);
        assert_eq!((told.src, told.dst), (ip("198.51.100.7"), ip("10.0.1.10")));
        let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
        let quoted = parse_quoted(frame.bytes(), usize::from(headers.l4) + 8).unwrap();
        assert_eq!(quoted.tuple, sent);
    }
}

/// Of several workers each takes source ports whose replies come to it: as the
/// steering sees them, with private addresses for public ones.
#[test]
fn a_worker_takes_ports_whose_replies_come_to_it() {
    for worker in 0..3 {
        let mut w = nat_gateway();
        w.pipeline = Pipeline::new(Config {
            worker: (worker, 3),
            connections: 1024,
            seed: 7,
            ..Config::default()
        });
        for n in 0..64 {
            let src = format!("10.0.1.10:{}", 40_000 + n);
            let far = outside(w.tcp(1, &src, PEER, SYN));
            let (near, _) = at(w.tcp(1, &src, "203.0.113.20:80", SYN), 5);
            for seen in [far, near] {
                let reply = FiveTuple {
                    dst: ip("10.0.0.5"),
                    ..seen.reversed()
                };
                assert!(w.pipeline.connections().shard.owns(&reply), "{reply}");
            }
        }
    }
}

/// To a load balancer, who comes past the NAT gateway is not who came through it: found
/// by the oracle, when the translated client's flow was used for the other one.
#[test]
fn a_client_whom_a_changed_route_leads_past_the_gateway_is_another_client() {
    let mut w = nat_gateway();
    let local = ("10.0.0.0/16", RouteTarget::Local);
    let through = ("10.0.2.0/24", RouteTarget::Eni(EniId(3)));
    w.table(1, &[local.clone(), through]);
    let node = EniKind::LoadBalancer(LoadBalancerId(0));
    w.eni(6, 3, &["10.0.2.30"], &[], node);
    w.eni(7, 3, &["10.0.2.40"], &[2], EniKind::Host);
    w.edit(|b| {
        let targets = vec![target("10.0.2.40", 8443, TargetHealth::Healthy)];
        b.set_target_group(TargetGroupId(0), Some(target_group(1, targets)));
        let balancer = load_balancer(LoadBalancerKind::Network, 1, 6, (6, 443));
        b.set_load_balancer(LoadBalancerId(0), Some(balancer));
    });
    let (client, service) = ("10.0.1.10:40000", "10.0.2.30:443");
    let (first, _) = at(w.tcp(1, client, service, SYN), 7);
    let answer = w.frame(7, &first.reversed(), SYN_ACK, b"");
    let (back, _) = at(w.send(7, answer), 1);
    assert_eq!(back, tcp(service, client));
    let (again, _) = at(w.tcp(1, client, service, ACK), 7);
    assert_eq!(again, first, "the flow goes on while the route is there");
    let counts = w.pipeline.connections().nat_counts()[&EniId(3)];
    assert_eq!(counts.attempts, 1, "by the gateway");

    w.table(1, &[local]);
    let (other, _) = at(w.tcp(1, client, service, SYN), 7);
    assert_eq!((other.src, other.dst), (first.src, first.dst));
    assert_ne!(
        other.sport, first.sport,
        "the port of the translated client"
    );
    let answer = w.frame(7, &other.reversed(), SYN_ACK, b"");
    let (back, _) = at(w.send(7, answer), 1);
    assert_eq!(back, tcp(service, client));
}
