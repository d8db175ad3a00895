//! Every table has a capacity and a counted behaviour at it.

#![allow(clippy::unwrap_used, reason = "a test stops where its data is bad")]

mod common;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::tcp_flag;
use vpclab_dataplane::pipeline::{Config, Pipeline};

const SYN: u8 = tcp_flag::SYN;
const SYN_ACK: u8 = tcp_flag::SYN | tcp_flag::ACK;
const ACK: u8 = tcp_flag::ACK;
const SERVER: &str = "10.0.2.10:80";

fn small(mut w: World) -> World {
    w.pipeline = Pipeline::new(Config {
        connections: 8,
        gwlb_flows: 8,
        fragments: 4,
        seed: 3,
        ..Config::default()
    });
    w
}

fn client(n: u16) -> String {
    format!("10.0.1.10:{}", 1000 + n)
}

fn known(w: &World, n: u16) -> bool {
    let tuple = tcp(&client(n), SERVER);
    let ingress = vpclab_dataplane::flow::Ingress::Eni(EniId(1));
    w.pipeline.connections().find(ingress, tuple).is_some()
}

fn establish(w: &mut World, n: u16) {
    only(w.tcp(1, &client(n), SERVER, SYN).out, 2);
    only(w.tcp(2, SERVER, &client(n), SYN_ACK).out, 1);
    only(w.tcp(1, &client(n), SERVER, ACK).out, 2);
}

#[test]
fn a_full_flow_table_evicts_the_oldest_handshake_and_then_refuses() {
    let mut w = small(east_west());
    // Four connections stand; four handshakes hang, 4 the oldest.
    (0..4).for_each(|n| establish(&mut w, n));
    for n in 4..8 {
        only(w.tcp(1, &client(n), SERVER, SYN).out, 2);
    }
    assert!(w.pipeline.connections().sessions.is_full());
    assert_eq!(w.pipeline.counters().flows_evicted, 0);
    // Each newcomer costs the oldest handshake, never a connection.
    for (evicted, n) in (4..8).zip(8..12) {
        establish(&mut w, n);
        assert_eq!(w.pipeline.counters().flows_evicted, u64::from(evicted) - 3);
        assert!(!known(&w, evicted) && known(&w, n));
        assert!((evicted + 1..8).all(|n| known(&w, n)), "oldest first");
        assert!((0..4).all(|n| known(&w, n)));
    }
    // Only live connections are left: the next is refused, and counted.
    let seen = w.tcp(1, &client(20), SERVER, SYN);
    assert_eq!(seen.drops, [(EniId(1), DropReason::FlowTableFull)]);
    assert!(seen.out.is_empty());
    let counters = w.pipeline.counters();
    assert_eq!(counters.drops(DropReason::FlowTableFull), 1);
    assert_eq!(counters.flows_evicted, 4);
    // Those that stand go on, both ways.
    only(w.tcp(1, &client(0), SERVER, ACK).out, 2);
    only(w.tcp(2, SERVER, &client(0), ACK).out, 1);
    // One ends: its place is free once it has timed out.
    w.tcp(1, &client(0), SERVER, tcp_flag::RST);
    w.wait(11);
    w.pipeline.expire(w.now, &w.tables);
    establish(&mut w, 20);
    assert_eq!(w.pipeline.counters().flows_evicted, 4);
    assert_eq!(w.pipeline.connections().sessions.len(), 8);
}

#[test]
fn a_handshake_flood_never_grows_the_table() {
    let mut w = small(east_west());
    establish(&mut w, 0);
    for n in 1..500 {
        only(w.tcp(1, &client(n), SERVER, SYN).out, 2);
        assert!(w.pipeline.connections().sessions.len() <= 8);
        assert!(known(&w, 0));
    }
    let counters = w.pipeline.counters();
    assert_eq!(counters.flows_evicted, 499 - 7);
    assert_eq!(counters.flows_created, 500);
    // Interned dependencies are of living flows only.
    assert!(w.pipeline.connections().deps.len() <= 16);
}

#[test]
fn a_full_load_balancer_table_refuses_new_flows_and_keeps_the_old() {
    let mut w = small(worked());
    let dst = "203.0.113.80:443";
    let mut refused = 0;
    for n in 0..12 {
        let seen = w.tcp(1, &client(n), dst, SYN);
        match seen.drops.as_slice() {
            [] => drop(only(seen.out, 4)),
            drops => {
                assert_eq!(drops, [(EniId(1), DropReason::FlowTableFull)]);
                refused += 1;
            }
        }
    }
    // Slot 0 is never used.
    assert_eq!(w.pipeline.counters().gwlb_flows_created, 7);
    assert_eq!(refused, 5);
    assert_eq!(w.pipeline.counters().drops(DropReason::FlowTableFull), 5);
    only(w.tcp(1, &client(0), dst, SYN).out, 4);
}

#[test]
fn translations_of_evicted_connections_give_their_ports_back() {
    let mut w = small(privatelink());
    for n in 0..100 {
        only(w.tcp(1, &client(n), "10.0.2.20:443", SYN).out, 4);
    }
    let connections = w.pipeline.connections();
    assert_eq!(connections.sessions.len(), 8);
    let translated = connections.sessions.iter().next().unwrap().1.lb.unwrap();
    assert_eq!(
        connections
            .ports
            .used(translated.node, &translated.translated),
        8
    );
}
