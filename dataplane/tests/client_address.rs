//! What a load balancer's target sees: its client, or the node with one of its
//! addresses and a port; and how many of those there are.

#![allow(clippy::unwrap_used, reason = "a test stops where its data is bad")]

mod common;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{FiveTuple, protocol, tcp_flag};
use vpclab_dataplane::pipeline::{Config, Pipeline};
use vpclab_dataplane::tables::{
    EniKind, Listener, LoadBalancerKind, NetworkAclRule, Peer, PortMatch,
};

const SYN: u8 = tcp_flag::SYN;
const SYN_ACK: u8 = SYN | tcp_flag::ACK;
const NODE: &str = "10.0.1.30:443";
const TARGET: &str = "10.0.2.40:8443";

/// The one frame of a journey, at the target.
fn at_target(seen: Seen) -> FiveTuple {
    read(&only(seen.out, 4)).tuple
}

fn dropped(seen: Seen, reason: DropReason) {
    assert!(seen.out.is_empty());
    assert_eq!(
        seen.drops.iter().map(|it| it.1).collect::<Vec<_>>(),
        [reason]
    );
}

/// The target answers what it got.
fn answer(w: &mut World, got: &FiveTuple) -> Seen {
    let frame = w.frame(4, &got.reversed(), SYN_ACK, b"");
    w.send(4, frame)
}

/// All of a class but the first are planned, each with its own port; the answers too.
#[test]
fn connections_that_keep_their_clients_address_are_planned() {
    let mut w = direct(true);
    for n in 0..64 {
        let client = format!("10.0.1.11:{}", 2000 + n);
        let got = at_target(w.tcp(5, &client, NODE, SYN));
        assert_eq!(got, tcp(&client, TARGET));
        let back = read(&only(answer(&mut w, &got).out, 5)).tuple;
        assert_eq!(back, tcp(NODE, &client));
        // None of the node's ports is in use for it.
        let translated = tcp("10.0.1.30:1", TARGET);
        assert_eq!(
            w.pipeline.connections().ports.used(EniId(3), &translated),
            0
        );
        assert_eq!(w.pipeline.connections().ports.used(EniId(3), &got), 0);
    }
    let counters = w.pipeline.counters();
    assert_eq!(counters.flows_created, 64);
    assert!(counters.flows_planned >= 60, "{}", counters.flows_planned);
    assert!(
        counters.answers_planned >= 60,
        "{}",
        counters.answers_planned
    );
    w.wait(400_000);
    for _ in 0..40 {
        w.wait(1);
        w.pipeline.expire(w.now, &w.tables);
    }
    assert!(w.pipeline.connections().sessions.is_empty());
}

/// The same client port to the target itself: the answer cannot say which it is for,
/// and belongs to the connection that was there first (NLB guide, "Troubleshoot": such
/// reuse of a socket fails at AWS, too). Never does it leave the load balancer out.
#[test]
fn a_client_port_that_is_used_twice_toward_a_target_leads_to_the_first() {
    let mut w = direct(true);
    let got = at_target(w.tcp(5, "10.0.1.11:2000", NODE, SYN));
    at_target(w.tcp(5, "10.0.1.11:2000", TARGET, SYN));
    let back = read(&only(answer(&mut w, &got).out, 5)).tuple;
    assert_eq!(back, tcp(NODE, "10.0.1.11:2000"));
}

/// Given one address, then the 55 001st connection to a target is refused and counted;
/// a second address carries as many again; what keeps the client's address needs none.
#[test]
fn the_55_001st_connection_from_an_address_to_a_target_is_refused() {
    let mut w = direct(false);
    w.pipeline = Pipeline::new(Config {
        connections: 120_000,
        seed: 7,
        ..Config::default()
    });
    w.eni_edit(5, |row| {
        let more = (100..=110).map(|n| ip(&format!("10.0.1.{n}")));
        row.addresses.extend(more);
    });
    let send = |w: &mut World, n: u32| {
        let client = format!("10.0.1.{}:{}", 100 + n / 30_000, 2000 + n % 30_000);
        w.tcp(5, &client, NODE, SYN)
    };
    let mut ports = std::collections::HashSet::new();
    for n in 0..55_000 {
        let got = at_target(send(&mut w, n));
        assert!(got.sport >= 1024 && ports.insert(got.sport), "{n}: {got}");
        assert_eq!(got.src, ip("10.0.1.30"));
    }
    for n in 55_000..55_010 {
        dropped(send(&mut w, n), DropReason::PortAllocation);
    }
    let counters = w.pipeline.counters();
    assert_eq!(counters.drops(DropReason::PortAllocation), 10);
    w.eni_edit(3, |row| row.addresses.push(ip("10.0.1.31")));
    let mut got = tcp(NODE, TARGET);
    for n in 55_000..110_000 {
        got = at_target(send(&mut w, n));
        assert_eq!(got.src, ip("10.0.1.31"), "{n}");
    }
    dropped(send(&mut w, 110_000), DropReason::PortAllocation);
    // Answers find their connections behind either address.
    let back = read(&only(answer(&mut w, &got).out, 5)).tuple;
    assert_eq!(back.src, ip("10.0.1.30"));
    // Nobody is served at the second.
    let seen = w.tcp(5, "10.0.1.100:1000", "10.0.1.31:443", SYN);
    assert!(seen.out.is_empty() && seen.drops.len() == 1);

    let row = w
        .tables
        .target_groups
        .row(TargetGroupId(0))
        .unwrap()
        .clone();
    w.edit(|b| {
        let mut row = row;
        row.preserve_client_ip = true;
        b.set_target_group(TargetGroupId(0), Some(row));
    });
    let got = at_target(w.tcp(5, "10.0.1.110:1000", NODE, SYN));
    assert_eq!(got, tcp("10.0.1.110:1000", TARGET));
}

/// A target that calls itself would be answered by itself: nothing arrives, unless the
/// node stands between.
#[test]
fn a_client_that_is_its_own_target_is_dropped_where_its_address_is_kept() {
    let mut w = direct(true);
    let seen = w.tcp(4, "10.0.2.40:1000", NODE, SYN);
    dropped(seen, DropReason::LbHairpin);
    let mut w = direct(false);
    let got = at_target(w.tcp(4, "10.0.2.40:1000", NODE, SYN));
    assert_eq!(got.src, ip("10.0.1.30"));
}

/// The ACL of the target's subnet is asked of an answer, although no route of it is; and
/// so is that of the node's.
#[test]
fn the_acls_between_target_and_node_judge_an_answer() {
    for (subnet, egress) in [(21, true), (20, false)] {
        let mut w = direct(true);
        // In another subnet than the node.
        w.eni(6, 21, &["10.0.2.50"], &[1], EniKind::Host);
        let mut acl = allow_all();
        let deny = NetworkAclRule {
            number: 1,
            allow: false,
            protocol: Some(protocol::TCP),
            ports: PortMatch::Range(2001, 2001),
            cidr: Prefix::ANY_V4,
        };
        match egress {
            true => acl.egress.insert(0, deny),
            false => acl.ingress.insert(0, deny),
        }
        w.edit(|b| b.set_network_acl(NetworkAclId(77), Some(acl)));
        let mut row = w.tables.subnets.row(SubnetId(subnet)).unwrap().clone();
        row.network_acl = NetworkAclId(77);
        w.edit(|b| b.set_subnet(SubnetId(subnet), Some(row)));
        for (from, address) in [(5, "10.0.1.11"), (6, "10.0.2.50")] {
            for port in [2000, 2001, 2002] {
                let client = format!("{address}:{port}");
                let got = at_target(w.tcp(from, &client, NODE, SYN));
                let seen = answer(&mut w, &got);
                if port == 2001 {
                    dropped(seen, DropReason::NetworkAcl);
                } else {
                    assert_eq!(read(&only(seen.out, from)).tuple, tcp(NODE, &client));
                }
            }
        }
    }
}

/// A group that the target's rule names is the node's, never the client's.
#[test]
fn a_group_that_a_targets_rule_names_is_the_nodes() {
    for (client, node, passes) in [(1, 7, true), (7, 1, false), (7, 7, true)] {
        let mut w = direct(true);
        w.group(7, everything(), everything());
        let named = Peer::Group(SecurityGroupId(7));
        w.group(6, vec![rule(None, PortMatch::Any, named)], vec![]);
        for (eni, group) in [(5, client), (3, node), (4, 6)] {
            w.eni_edit(eni, |row| row.groups = vec![SecurityGroupId(group)]);
        }
        let seen = w.tcp(5, "10.0.1.11:2000", NODE, SYN);
        match passes {
            true => assert_eq!(at_target(seen), tcp("10.0.1.11:2000", TARGET)),
            false => dropped(seen, DropReason::SecurityGroup),
        }
    }
}

/// Two of a load balancer's listeners, and a client's port that calls both: the answers are
/// the first connection's as long as it lives, then the other's, though nobody has cleared
/// the first away.
#[test]
fn a_connection_that_outlives_another_to_its_target_has_the_answers() {
    let mut w = direct(true);
    w.edit(|b| {
        let mut row = load_balancer(LoadBalancerKind::Network, 2, 3, (protocol::UDP, 443));
        row.listeners.push(Listener {
            port: 444,
            ..row.listeners[0]
        });
        b.set_load_balancer(LoadBalancerId(0), Some(row));
    });
    let send = |w: &mut World, service| {
        let sent = tuple(protocol::UDP, "10.0.1.11:2000", service);
        let frame = w.frame(5, &sent, 0, b"x");
        at_target(w.send(5, frame))
    };
    let from = |w: &mut World, got: &FiveTuple| {
        let frame = w.frame(4, &got.reversed(), 0, b"x");
        read(&only(w.send(4, frame).out, 5)).tuple.sport
    };
    send(&mut w, NODE);
    let got = send(&mut w, "10.0.1.30:444");
    assert_eq!(from(&mut w, &got), 443);
    w.wait(100);
    send(&mut w, "10.0.1.30:444");
    w.wait(100);
    // What is cached of it is not asked: tables have changed.
    settings(&mut w, |settings| settings.ttl_vpc_router = 1);
    send(&mut w, "10.0.1.30:444");
    assert_eq!(from(&mut w, &got), 444);
}
