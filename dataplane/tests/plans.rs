//! Connections that a plan opens go the way that a walk of their own gives them,
//! on random worlds, whatever changes between them.

#![allow(clippy::unwrap_used, reason = "a test stops where its data is bad")]

mod common;

use common::journey::*;
use common::random::Topology;
use common::tape::Tape;
use common::worlds::privatelink;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{FiveTuple, checksum, protocol, tcp_flag};
use vpclab_dataplane::pipeline::{Config, Pipeline};
use vpclab_dataplane::tables::{
    EniKind, Listener, LoadBalancerKind, NetworkAclRule, PortMatch, TargetHealth,
};
use vpclab_dataplane::time::Duration;
use vpclab_dataplane::walk::Connections;

/// An endless stream of numbers that look random.
fn numbers(stream: &mut u64, count: usize) -> Vec<u16> {
    let mut next = || {
        *stream = stream
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (*stream >> 40) as u16
    };
    (0..count).map(|_| next()).collect()
}

/// A few clients open connection after connection, each from another port;
/// servers answer and open themselves; tables change, time passes. `travel`
/// compares every crossing with a fresh walk. How many were opened by plan, and
/// how many answers sent by one.
fn life(world: &[u16], steps: &[u16]) -> (u64, u64) {
    let mut t = Topology::new(&mut Tape::new(world));
    t.world.pipeline = Pipeline::new(Config {
        connections: 64,
        gwlb_flows: 64,
        fragments: 4,
        seed: 7,
        ..Config::default()
    });
    let mut tape = Tape::new(steps);
    let mut clients: Vec<(u32, FiveTuple)> = (0..6).map(|_| probe(&t, &mut tape)).collect();
    for _ in 0..80 {
        let (from, mut tuple) = tape.of(&clients);
        match tape.below(16) {
            0 => drop(t.change(&mut tape)),
            1 => t.world.wait(tape.of(&[1, 11, 31, 121, 351])),
            2 => {
                let at = tape.below(clients.len());
                clients[at] = probe(&t, &mut tape);
            }
            what if t.world.tables.enis.row(EniId(from)).is_some() => {
                if matches!(tuple.protocol, protocol::TCP | protocol::UDP) {
                    tuple.sport = 1000 + tape.below(40) as u16;
                }
                let frame = packet(&t.world, from, &tuple, tcp_flag::SYN);
                let end = travel(&mut t, frame);
                if what < 8
                    && let Ended::Delivered(at, tuple, _) = end
                {
                    let flags = tcp_flag::ACK | if what < 6 { tcp_flag::SYN } else { 0 };
                    let answer = packet(&t.world, at.0, &tuple.reversed(), flags);
                    drop(travel(&mut t, answer));
                }
            }
            _ => {}
        }
    }
    let counters = t.world.pipeline.counters();
    (counters.flows_planned, counters.answers_planned)
}

#[test]
fn connections_opened_by_plan_go_the_way_of_a_walk() {
    let mut stream = 5;
    let (mut planned, mut answered) = (0, 0);
    for _ in 0..600 {
        let (opened, sent) = life(&numbers(&mut stream, 700), &numbers(&mut stream, 900));
        planned += opened;
        answered += sent;
    }
    println!("{planned} opened by plan, {answered} answered");
    assert!(planned > 2_000 && answered > 500, "{planned}, {answered}");
}

/// Only the first of many connections to an endpoint is walked; each has a port
/// of its own, and every target its share.
#[test]
fn connections_of_a_class_share_a_plan_and_nothing_else() {
    let mut w = privatelink();
    for n in 0..4 {
        let address = format!("10.0.2.{}", 100 + n);
        w.eni(100 + n, 21, &[&address], &[1], EniKind::Host);
    }
    w.edit(|b| {
        let targets = (0..4).map(|n| {
            let address = format!("10.0.2.{}", 100 + n);
            worlds::target(&address, 8443, TargetHealth::Healthy)
        });
        let group = worlds::target_group(2, targets.collect());
        b.set_target_group(TargetGroupId(0), Some(group));
    });
    let mut seen = std::collections::HashMap::new();
    for n in 0..200u16 {
        let client = format!("10.0.1.10:{}", 2000 + n);
        let out = w.tcp(1, &client, "10.0.2.20:443", tcp_flag::SYN).out;
        let (at, frame) = &out[0];
        let tuple = read(frame).tuple;
        assert!(
            seen.insert((tuple.dst, tuple.sport), at.0).is_none(),
            "a port of its own"
        );
        // The answer comes back to its client.
        let (back, flags) = (tuple.reversed(), tcp_flag::SYN | tcp_flag::ACK);
        let answer = w.frame(at.0, &back, flags, b"");
        let out = w.send(at.0, answer).out;
        assert_eq!(out[0].0, EniId(1));
        assert_eq!(
            read(&out[0].1).tuple,
            tcp(&client, "10.0.2.20:443").reversed()
        );
    }
    let counters = w.pipeline.counters();
    assert_eq!(counters.flows_created, 200);
    assert_eq!(counters.flow_hits + counters.flow_misses, 2 * 200);
    assert_eq!(counters.flows_planned, 200 - 4, "one walk a target");
    assert_eq!(counters.answers_planned, 200 - 4, "the same back");
    for n in 100..104 {
        assert!(seen.values().filter(|&&at| at == n).count() > 20);
    }
    // A rule goes: the plans hold no more, and nobody comes through.
    w.group(1, vec![], vec![]);
    let seen = w.tcp(1, "10.0.1.10:999", "10.0.2.20:443", tcp_flag::SYN);
    assert!(seen.out.is_empty());
    assert_eq!(w.pipeline.counters().flows_planned, 200 - 4);
}

/// A port that is used again while its last connection is remembered: as long as that one
/// lives its session stays, and when it is over a plan opens the next.
#[test]
fn a_port_is_used_again_by_plan() {
    let mut w = privatelink();
    for port in [1000, 1001] {
        w.tcp(
            1,
            &format!("10.0.1.10:{port}"),
            "10.0.2.20:443",
            tcp_flag::SYN,
        );
    }
    let made = |w: &World| {
        let counters = w.pipeline.counters();
        (counters.flows_created, counters.flows_planned)
    };
    assert_eq!(made(&w), (2, 1));
    let again = |w: &mut World, flags: u8| {
        let seen = w.tcp(1, "10.0.1.10:1001", "10.0.2.20:443", flags);
        assert_eq!(seen.out[0].0, EniId(4));
    };
    again(&mut w, tcp_flag::SYN);
    assert_eq!(made(&w), (2, 1), "the SYN is sent again");
    again(&mut w, tcp_flag::RST);
    again(&mut w, tcp_flag::SYN);
    assert_eq!(made(&w), (3, 2));
    assert_eq!(w.pipeline.connections().sessions.len(), 2);
}

/// A connection is the same one to its last moment.
#[test]
fn a_connection_that_a_plan_opened_ends_to_the_moment() {
    let mut w = worlds::east_west();
    let half_open = Duration::from_secs(30);
    let syn = |w: &mut World, port: u16| {
        let src = format!("10.0.1.10:{port}");
        assert_eq!(w.tcp(1, &src, "10.0.2.10:80", tcp_flag::SYN).out.len(), 1);
        let counters = w.pipeline.counters();
        (counters.flows_created, counters.flows_planned)
    };
    assert_eq!((syn(&mut w, 1), syn(&mut w, 2)), ((1, 0), (2, 1)));
    w.now += half_open;
    assert_eq!(syn(&mut w, 2), (2, 1), "it lives");
    w.now += half_open + Duration::from_nanos(1);
    assert_eq!(syn(&mut w, 2), (3, 2), "it is over");
}

/// Both ends and the interfaces that track it know as much of a connection that was opened
/// and answered by plan: it is established, and each of its packets is counted.
#[test]
fn a_planned_connection_is_tracked_as_any_other() {
    let mut w = worlds::east_west();
    let within = || vec![rule(None, PortMatch::Any, worlds::any("10.0.0.0/16"))];
    w.group(2, within(), vec![]);
    w.eni_edit(2, |eni| eni.groups = vec![SecurityGroupId(2)]);
    let (syn, ack) = (tcp_flag::SYN, tcp_flag::ACK);
    for port in [1, 2, 3] {
        let tuple = tcp(&format!("10.0.1.10:{port}"), "10.0.2.10:80");
        for (from, flags) in [(1, syn), (2, syn | ack), (1, ack)] {
            let tuple = if from == 1 { tuple } else { tuple.reversed() };
            let frame = w.frame(from, &tuple, flags, b"");
            assert_eq!(w.send(from, frame).out.len(), 1);
        }
    }
    let counters = w.pipeline.counters();
    assert_eq!((counters.flows_planned, counters.answers_planned), (2, 2));
    for (_, session) in w.pipeline.connections().sessions.iter() {
        assert_eq!((session.packets, session.bytes), ([2, 1], [80, 40]));
    }
    // Longer than any connection lives that is not established.
    w.wait(100);
    for port in [1, 2, 3] {
        let back = tcp("10.0.2.10:80", &format!("10.0.1.10:{port}"));
        let frame = w.frame(2, &back, ack, b"late");
        assert_eq!(w.send(2, frame).drops, [], "port {port}");
    }
}

/// What is too large for the way goes it by no plan.
#[test]
fn a_packet_that_is_too_large_is_not_planned() {
    let mut w = privatelink();
    let large = [7; 8_600];
    for (port, payload) in [(1, &b""[..]), (2, b""), (3, &large), (4, b"")] {
        let tuple = tcp(&format!("10.0.1.10:{port}"), "10.0.2.20:443");
        let frame = w.frame(1, &tuple, tcp_flag::SYN, payload);
        let out = w.send(1, frame).out;
        let [(_, frame)] = &out[..] else {
            assert!(out.is_empty() && port == 3, "port {port}");
            continue;
        };
        let back = read(frame).tuple.reversed();
        for payload in [&large[..], b""] {
            let answer = w.frame(4, &back, tcp_flag::SYN | tcp_flag::ACK, payload);
            let passes = w.send(4, answer).out.iter().any(|(at, _)| *at == EniId(1));
            assert_eq!(passes, payload.is_empty(), "port {port}");
        }
    }
    let counters = w.pipeline.counters();
    assert_eq!((counters.flows_planned, counters.answers_planned), (2, 2));
}

/// A flood of SYNs that a plan opens makes room for others, the oldest first.
#[test]
fn half_open_connections_of_a_plan_make_room() {
    let mut w = worlds::east_west();
    w.pipeline = Pipeline::new(Config {
        connections: 16,
        seed: 7,
        ..Config::default()
    });
    for port in 1..=200 {
        let src = format!("10.0.1.10:{port}");
        let seen = w.tcp(1, &src, "10.0.2.10:80", tcp_flag::SYN);
        assert_eq!(seen.drops, [], "port {port}");
    }
    let counters = w.pipeline.counters();
    let sessions = &w.pipeline.connections().sessions;
    let live = sessions.len() as u64;
    assert!(counters.flows_planned >= 10 && live >= 16);
    assert_eq!(counters.flows_evicted, 200 - live);
    let ports = sessions.iter().flat_map(|(_, session)| session.keys[0]);
    let oldest = ports.map(|key| u64::from(key.tuple.sport)).min();
    assert_eq!(oldest, Some(201 - live));
}

/// A plan that another takes the place of gives back what it holds.
#[test]
fn plans_that_go_leave_nothing_behind() {
    let mut w = privatelink();
    let mut sizes = Vec::new();
    for round in 0..40u16 {
        // Nothing that was decided holds any more.
        w.eni_edit(1, |eni| eni.label = label(&format!("eni-{round}")));
        for port in [1000, 1001] {
            let client = format!("10.0.1.10:{port}");
            let out = w.tcp(1, &client, "10.0.2.20:443", tcp_flag::SYN).out;
            let back = read(&out[0].1).tuple.reversed();
            let answer = w.frame(4, &back, tcp_flag::SYN | tcp_flag::ACK, b"");
            assert_eq!(w.send(4, answer).out[0].0, EniId(1));
        }
        w.wait(4_000);
        while !w.pipeline.connections().sessions.is_empty() {
            w.pipeline.expire(w.now, &w.tables);
            w.wait(1);
        }
        let Connections { sessions, deps, .. } = w.pipeline.connections();
        sizes.push((sessions.memory(), deps.len()));
    }
    let counters = w.pipeline.counters();
    assert_eq!((counters.flows_planned, counters.answers_planned), (40, 40));
    assert_eq!(sizes[4], sizes[39], "{sizes:?}");
}

/// A port that a plan took, and whose far end somebody has, is free again: the walk chooses
/// for itself. (A target that calls the node itself has the ends of its calls.)
#[test]
fn a_plan_that_opens_nothing_keeps_no_port() {
    let mut w = privatelink();
    w.pipeline = Pipeline::new(Config {
        connections: 2_048,
        seed: 7,
        ..Config::default()
    });
    w.eni(5, 21, &["10.0.2.41"], &[1], EniKind::Host);
    let calls = 2_000..3_000;
    w.edit(|b| {
        let target = worlds::target("10.0.2.41", 8443, TargetHealth::Healthy);
        let group = worlds::target_group(2, vec![target]);
        b.set_target_group(TargetGroupId(1), Some(group));
        let mut row = worlds::load_balancer(LoadBalancerKind::Network, 2, 3, (6, 443));
        let first = row.listeners[0];
        row.listeners.extend(calls.clone().map(|port| Listener {
            port,
            target_group: Some(TargetGroupId(1)),
            ..first
        }));
        b.set_load_balancer(LoadBalancerId(0), Some(row));
    });
    for port in calls {
        let node = format!("10.0.1.30:{port}");
        let out = w.tcp(4, "10.0.2.40:8443", &node, tcp_flag::SYN).out;
        assert_eq!(out[0].0, EniId(5));
    }
    let (mut walked, mut opened) = (0, 0);
    for port in 0..500u16 {
        let planned = w.pipeline.counters().flows_planned;
        let client = format!("10.0.1.10:{}", 5_000 + port);
        let out = w.tcp(1, &client, "10.0.2.20:443", tcp_flag::SYN).out;
        assert_eq!(out[0].0, EniId(4));
        opened += 1;
        walked += u64::from(w.pipeline.counters().flows_planned == planned);
        let way = read(&out[0].1).tuple;
        let used = w.pipeline.connections().ports.used(EniId(3), &way);
        assert_eq!(used, opened, "connection {port}");
    }
    assert!((3..20).contains(&walked), "{walked} walked");
}

/// Whose end another session answers for is walked: it is linked to that one.
#[test]
fn an_end_that_is_taken_is_not_planned_for() {
    let mut w = worlds::east_west();
    w.eni(9, 1, &["10.0.1.99"], &[1], EniKind::Host);
    w.eni_edit(9, |eni| eni.source_dest_check = false);
    let syn = |w: &mut World, from: u32, port: u16| {
        let out = w
            .tcp(
                from,
                &format!("10.0.1.10:{port}"),
                "10.0.2.10:80",
                tcp_flag::SYN,
            )
            .out;
        assert_eq!(out[0].0, EniId(2));
        w.pipeline.counters().flows_planned
    };
    // ENI 9 sends what ENI 1 would: first a walk, then a plan.
    assert_eq!((syn(&mut w, 9, 1), syn(&mut w, 9, 2)), (0, 1));
    assert_eq!((syn(&mut w, 1, 3), syn(&mut w, 1, 4)), (1, 2));
    assert_eq!(syn(&mut w, 9, 4), 2, "the server's end is ENI 1's already");
    assert_eq!(syn(&mut w, 9, 5), 3);
}

/// The answers' plan is for the ports that the ACLs' ranges do not tell apart.
#[test]
fn answers_are_planned_for_within_the_ranges_of_the_acls() {
    let mut w = privatelink();
    let mut acl = allow_all();
    acl.ingress[0].protocol = Some(protocol::TCP);
    acl.ingress[0].ports = PortMatch::Range(2000, 2099);
    // What denies another's packets tells no ports of these apart.
    let others = NetworkAclRule {
        number: 1,
        allow: false,
        cidr: "198.51.100.0/24".parse().unwrap(),
        ports: PortMatch::Range(2040, 2059),
        ..acl.ingress[0]
    };
    acl.ingress.insert(0, others);
    w.edit(|b| b.set_network_acl(NetworkAclId(77), Some(acl)));
    let mut row = w.tables.subnets.row(SubnetId(10)).unwrap().clone();
    row.network_acl = NetworkAclId(77);
    w.edit(|b| b.set_subnet(SubnetId(10), Some(row)));
    let mut answered = 0;
    for port in [2000, 2001, 2150, 2050, 1999, 2099, 2100, 2002] {
        let client = format!("10.0.1.10:{port}");
        let out = w.tcp(1, &client, "10.0.2.20:443", tcp_flag::SYN).out;
        let back = read(&out[0].1).tuple.reversed();
        let answer = w.frame(4, &back, tcp_flag::SYN | tcp_flag::ACK, b"");
        let seen = w.send(4, answer);
        let passes = (2000..=2099).contains(&port);
        assert_eq!(
            seen.out.len(),
            usize::from(passes),
            "port {port}: {:?}",
            seen.drops
        );
        answered += u64::from(passes);
    }
    assert_eq!(w.pipeline.counters().answers_planned, answered - 1);
}

/// An answer with too few hops left goes by no plan.
#[test]
fn an_answer_whose_ttl_runs_out_is_not_planned() {
    let mut w = worlds::east_west();
    let mut settings = w.tables.settings;
    settings.ttl_vpc_router = 1;
    w.edit(|b| b.set_settings(settings));
    for (port, ttl) in [(1, 64), (2, 2), (3, 1), (4, 2)] {
        let tuple = tcp(&format!("10.0.1.10:{port}"), "10.0.2.10:80");
        let syn = w.frame(1, &tuple, tcp_flag::SYN, b"");
        assert_eq!(w.send(1, syn).out.len(), 1);
        let flags = tcp_flag::SYN | tcp_flag::ACK;
        let mut answer = w.frame(2, &tuple.reversed(), flags, b"");
        answer.bytes_mut()[22] = ttl;
        checksum::fill_ipv4_header(&mut answer.bytes_mut()[14..34]);
        let seen = w.send(2, answer);
        match ttl {
            1 => assert_eq!(seen.drops, [(EniId(2), DropReason::TtlExpired)]),
            _ => assert_eq!(seen.out[0].1.bytes()[22], ttl - 1, "port {port}"),
        }
    }
    assert_eq!(w.pipeline.counters().answers_planned, 2);
}
