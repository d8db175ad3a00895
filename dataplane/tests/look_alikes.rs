//! Packets that are like known ones, and are not: what the look at a batch has found is a
//! guess, which each packet's own headers must bear out.

#![allow(clippy::unwrap_used, reason = "a test stops where its data is bad")]

mod common;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::*;
use vpclab_dataplane::pipeline::{Config, Pipeline};
use vpclab_dataplane::tables::*;

const SYN: u8 = tcp_flag::SYN;
const ACK: u8 = tcp_flag::ACK;

/// What the outer packet does not hold is not inside it, whatever the frame has behind it.
#[test]
fn a_packet_that_ends_behind_its_tunnel_does_not_come_out() {
    let mut w = worked();
    let flow = tuple(protocol::UDP, "10.0.1.10:4000", "203.0.113.80:53");
    let mut back = None;
    for _ in 0..3 {
        let frame = w.frame(1, &flow, 0, &[7; 100]);
        let frame = bounce(only(w.send(1, frame).out, 4));
        only(w.send(4, frame.clone()).out, 5);
        back = Some(frame);
    }
    let mut frame = back.unwrap();
    let hits = w.pipeline.counters().flow_hits;
    only(w.send(4, frame.clone()).out, 5);
    assert!(w.pipeline.counters().flow_hits > hits, "known");
    // Lengths of the outer IP and UDP headers: four bytes less.
    for at in [16, 38] {
        let held = u16::from_be_bytes([frame.bytes()[at], frame.bytes()[at + 1]]);
        frame.bytes_mut()[at..at + 2].copy_from_slice(&(held - 4).to_be_bytes());
    }
    checksum::fill_ipv4_header(&mut frame.bytes_mut()[14..34]);
    let seen = w.send(4, frame);
    assert!(seen.out.is_empty());
    assert_eq!(seen.drops, [(EniId(4), DropReason::MalformedIp)]);
}

/// A packet in a tunnel that comes out of a tunnel is not the flow's last one again.
#[test]
fn a_tunnel_that_comes_out_of_a_tunnel_is_read_for_itself() {
    let mut w = worked();
    let flow = tuple(protocol::UDP, "10.0.1.10:4000", "203.0.113.80:53");
    let inner = ETHERNET_LEN + GENEVE_OUTER_LEN;
    let backs: Vec<Frame> = [53, 53, 53, GENEVE_PORT, 53]
        .into_iter()
        .map(|port| {
            let frame = w.frame(1, &flow, 0, &[7; 100]);
            let mut back = bounce(only(w.send(1, frame).out, 4));
            let bytes = back.bytes_mut();
            bytes[inner + 22..inner + 24].copy_from_slice(&port.to_be_bytes());
            // No checksum.
            bytes[inner + 26..inner + 28].fill(0);
            back
        })
        .collect();
    let mut outs = backs.into_iter().map(|back| {
        let seen = w.send(4, back);
        let first = seen.out.first();
        first.map(|(_, frame)| read(frame).tuple.dport)
    });
    assert_eq!(outs.by_ref().take(3).collect::<Vec<_>>(), [Some(53); 3]);
    assert_ne!(outs.next(), Some(Some(53)), "never sent to that port");
    assert_eq!(outs.next(), Some(Some(53)));
}

/// A slot that another connection took within the batch is not the one that was there when
/// the batch was looked at.
#[test]
fn a_session_that_went_within_the_batch_is_not_taken_for_the_next_one() {
    for addresses in [
        ["10.0.1.10", "10.0.2.10"],
        ["[fd00:0:0:1::10]", "[fd00:0:0:2::10]"],
    ] {
        let mut w = east_west();
        w.pipeline = Pipeline::new(Config {
            connections: 16,
            seed: 7,
            ..Config::default()
        });
        let blocks = ["10.0.0.0/16", "fd00::/48"];
        w.vpc(1, &blocks, false, None);
        w.table(1, &blocks.map(|block| (block, RouteTarget::Local)));
        for n in [1, 2] {
            let of = [format!("10.0.{n}.0/24"), format!("fd00:0:0:{n}::/64")];
            w.subnet(n, 1, &[&of[0], &of[1]], 1);
            let more = ip(&format!("fd00:0:0:{n}::10"));
            w.eni_edit(n, |row| row.addresses.push(more));
        }
        let within = || {
            blocks
                .map(|block| rule(None, PortMatch::Any, any(block)))
                .to_vec()
        };
        w.group(1, within(), within());
        let frame = |w: &World, port: u16, flags| {
            let [src, dst] = addresses;
            let tuple = tcp(&format!("{src}:{port}"), &format!("{dst}:80"));
            w.frame(1, &tuple, flags, b"")
        };
        // All are half-open, and the oldest has to go for the next.
        let mut next = 1;
        while w.pipeline.counters().flows_evicted == 0 {
            let syn = frame(&w, next, SYN);
            assert_eq!(w.send(1, syn).out.len(), 1);
            next += 1;
        }
        for n in 0..4 {
            // Port 1 has gone. Of each two that go now one is in the batch that ends it.
            let oldest = 2 + 2 * n;
            let mut batch = vec![frame(&w, next + n, SYN), frame(&w, oldest, ACK)];
            let sent: Vec<_> = batch.iter().map(|frame| read(frame).tuple).collect();
            for frame in &mut batch {
                frame.port = EniId(1);
            }
            let mut seen = Seen::default();
            w.pipeline.process(w.now, &w.tables, &mut batch, &mut seen);
            assert_eq!(seen.drops, []);
            let got: Vec<_> = seen
                .out
                .iter()
                .map(|(_, frame)| read(frame).tuple)
                .collect();
            assert_eq!(got, sent, "each its own");
            let evicted = w.pipeline.counters().flows_evicted;
            assert_eq!(evicted, u64::from(3 + 2 * n), "the oldest two");
        }
    }
}
