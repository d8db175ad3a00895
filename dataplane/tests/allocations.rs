//! After warm-up the packet path allocates nothing: a counting allocator, and
//! batches of cached packets through each kind of way.

#![allow(clippy::unwrap_used, reason = "a test stops where its data is bad")]
#![expect(unsafe_code, reason = "a global allocator cannot be had without")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::{EniId, TargetGroupId};
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{
    ETHERNET_LEN, FiveTuple, Frame, FramePool, Segmentation, Train, parse_ip, segment, tcp_flag,
};
use vpclab_dataplane::pipeline::Sink;
use vpclab_dataplane::tables::{TargetGroupRow, TargetHealth};

const SYN_ACK: u8 = tcp_flag::SYN | tcp_flag::ACK;

thread_local! {
    /// Allocations of this thread.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // Not there any more while the thread ends.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: everything is passed on to the system's allocator as it came; the
// counter is a plain cell of the thread, which itself allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `System` with this layout.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `at` came from `System` with this layout.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Holds what came out, in memory of its own.
struct Out {
    frames: Vec<Frame>,
    drops: u64,
    other: u64,
}

impl Out {
    fn new() -> Self {
        Self {
            frames: Vec::with_capacity(64),
            drops: 0,
            other: 0,
        }
    }
}

impl Sink for Out {
    fn transmit(&mut self, _port: EniId, frame: Frame) {
        self.frames.push(frame);
    }
    fn local(&mut self, _eni: EniId, _frame: Frame) {
        self.other += 1;
    }
    fn dropped(&mut self, _port: EniId, _reason: DropReason, _bytes: &[u8]) {
        self.drops += 1;
    }
}

/// Allocations while `rounds` batches of copies of `frames` pass, all of them
/// delivered and found in the flow cache.
fn allocations(w: &mut World, frames: &[Frame], rounds: u64) -> u64 {
    const COPIES: usize = 8;
    let (mut batch, mut out) = (Vec::with_capacity(64), Out::new());
    let hits = w.pipeline.counters().flow_hits;
    let mut counted = 0;
    // The first round fills the pool.
    for round in 0..=rounds {
        let before = COUNT.get();
        for frame in frames {
            for _ in 0..COPIES {
                let mut copy = w.pipeline.pool().take();
                copy.refill(frame.port, frame.bytes());
                batch.push(copy);
            }
        }
        w.pipeline.process(w.now, &w.tables, &mut batch, &mut out);
        assert_eq!(out.frames.len(), frames.len() * COPIES);
        for frame in out.frames.drain(..) {
            w.pipeline.pool().put(frame);
        }
        // Time goes on, so that the sweeps are counted as well.
        w.wait(1);
        if round > 0 {
            counted += COUNT.get() - before;
        }
    }
    let packets = (rounds + 1) * (frames.len() * COPIES) as u64;
    assert_eq!(
        w.pipeline.counters().flow_hits - hits,
        packets,
        "all cached"
    );
    assert_eq!((out.drops, out.other), (0, 0));
    let (left, right) = w.pipeline.counters().balance();
    assert_eq!(left, right);
    counted
}

/// The frame as ENI `from` sent it, whose journey ended at one port; what came out.
fn warm(w: &mut World, from: u32, tuple: &FiveTuple, flags: u8, to: u32) -> (Frame, Frame) {
    let mut frame = w.frame(from, tuple, flags, b"some bytes");
    frame.port = EniId(from);
    let out = only(w.send(from, frame.clone()).out, to);
    (frame, out)
}

fn at_port(mut frame: Frame, port: u32) -> Frame {
    frame.port = EniId(port);
    frame
}

#[test]
fn the_counter_counts() {
    let before = COUNT.get();
    let memory = std::hint::black_box(vec![0u8; 100]);
    assert_eq!(COUNT.get(), before + 1);
    drop(memory);
}

#[test]
fn a_first_packet_may_allocate_so_the_measure_can_fail() {
    let mut w = east_west();
    let before = COUNT.get();
    w.tcp(1, "10.0.1.10:40000", "10.0.2.10:80", tcp_flag::SYN);
    assert!(COUNT.get() > before);
}

#[test]
fn east_west_allocates_nothing() {
    let mut w = east_west();
    let there = tcp("10.0.1.10:40000", "10.0.2.10:80");
    let mut frames = vec![];
    for _ in 0..2 {
        frames.clear();
        for (from, tuple, flags, to) in [
            (1, there, tcp_flag::ACK, 2),
            (2, there.reversed(), tcp_flag::ACK, 1),
        ] {
            frames.push(warm(&mut w, from, &tuple, flags, to).0);
        }
    }
    assert_eq!(allocations(&mut w, &frames, 20), 0);
}

#[test]
fn privatelink_both_ways_allocates_nothing() {
    let mut w = privatelink();
    let there = tcp("10.0.1.10:40000", "10.0.2.20:443");
    let (_, out) = warm(&mut w, 1, &there, tcp_flag::SYN, 4);
    let back = read(&out).tuple.reversed();
    warm(&mut w, 4, &back, SYN_ACK, 1);
    let (there, _) = warm(&mut w, 1, &there, tcp_flag::ACK, 4);
    let (back, _) = warm(&mut w, 4, &back, tcp_flag::ACK, 1);
    assert_eq!(allocations(&mut w, &[there, back], 20), 0);
}

#[test]
fn gateway_load_balancing_both_ways_allocates_nothing() {
    let mut w = worked();
    let there = tcp("10.0.1.10:40000", "203.0.113.80:443");
    let back = tcp("203.0.113.80:443", "198.51.100.1:40000");
    let mut frames = vec![];
    for (out_flags, in_flags) in [(tcp_flag::SYN, SYN_ACK), (tcp_flag::ACK, tcp_flag::ACK)] {
        frames.clear();
        for (from, tuple, flags, to) in [(1, there, out_flags, 5), (5, back, in_flags, 1)] {
            let (sent, geneve) = warm(&mut w, from, &tuple, flags, 4);
            let returned = at_port(bounce(geneve), 4);
            only(w.send(4, returned.clone()).out, to);
            frames.extend([sent, returned]);
        }
    }
    assert_eq!(allocations(&mut w, &frames, 20), 0);
}

/// Allocations while copies of a frame pass that become `outs` frames, once memory is
/// as large as they need it.
fn allocations_of_cut(w: &mut World, frame: &Frame, outs: usize) -> u64 {
    let mut batch = Vec::with_capacity(64);
    let mut out = Out::new();
    let mut counted = 0;
    for round in 0..60 {
        let before = COUNT.get();
        let mut copy = w.pipeline.pool().take();
        copy.refill(frame.port, frame.bytes());
        copy.offload = frame.offload;
        batch.push(copy);
        w.pipeline.process(w.now, &w.tables, &mut batch, &mut out);
        assert_eq!((out.frames.len(), out.drops, out.other), (outs, 0, 0));
        for frame in out.frames.drain(..) {
            w.pipeline.pool().put(frame);
        }
        w.wait(1);
        if round >= 40 {
            counted += COUNT.get() - before;
        }
    }
    counted
}

#[test]
fn super_packets_and_trains_allocate_nothing() {
    let mut w = worked();
    let flow = tcp("10.0.1.10:40000", "203.0.113.80:443");
    let (_, geneve) = warm(&mut w, 1, &flow, tcp_flag::SYN, 4);
    only(w.send(4, bounce(geneve)).out, 5);
    let mut there = w.frame(1, &flow, tcp_flag::ACK, &[7; 9_500]);
    there.offload.segmentation = Segmentation::Tcp(1_000);
    there.port = EniId(1);
    let train = only(w.send(1, there.clone()).out, 4);
    assert_eq!(allocations_of_cut(&mut w, &there, 1), 0);
    assert_eq!(allocations_of_cut(&mut w, &at_port(bounce(train), 4), 1), 0);
}

#[test]
fn two_super_packets_in_one_train_allocate_nothing() {
    let mut w = worked();
    let cars: Vec<Frame> = ["10.0.1.10:40000", "10.0.1.10:40001"]
        .into_iter()
        .flat_map(|src| {
            let flow = tcp(src, "203.0.113.80:443");
            let (_, geneve) = warm(&mut w, 1, &flow, tcp_flag::SYN, 4);
            only(w.send(4, bounce(geneve)).out, 5);
            let mut there = w.frame(1, &flow, tcp_flag::ACK, &[7; 9_000]);
            there.offload.segmentation = Segmentation::Tcp(1_000);
            let mut cars = Vec::new();
            let train = only(w.send(1, there).out, 4);
            segment(train, &mut FramePool::new(0), &mut |car| cars.push(car)).unwrap();
            cars
        })
        .collect();
    let outer = parse_ip(cars[0].bytes(), ETHERNET_LEN).unwrap().tuple;
    let mut train = Train::new(cars[0].clone());
    assert!(cars[1..].iter().all(|car| train.hang_on(car)));
    let train = at_port(bounce(train.finish(&outer)), 4);
    assert_eq!(allocations_of_cut(&mut w, &train, 2), 0);
}

#[test]
fn trains_to_the_next_appliance_allocate_nothing() {
    let mut w = inspected_twice();
    let flow = tcp("10.0.1.10:40000", "203.0.113.80:443");
    let first = w.frame(1, &flow, tcp_flag::SYN, b"");
    let first = only(w.send(1, first).out, 4);
    let second = only(w.send(4, bounce(first)).out, 4);
    only(w.send(4, bounce(second)).out, 5);
    let mut there = w.frame(1, &flow, tcp_flag::ACK, &[7; 9_500]);
    there.offload.segmentation = Segmentation::Tcp(1_000);
    let train = only(w.send(1, there).out, 4);
    assert_eq!(allocations_of_cut(&mut w, &at_port(bounce(train), 4), 1), 0);
}

#[test]
fn walks_that_drop_allocate_nothing() {
    // Unknown destinations walk each time: with warm memory even they do not.
    let mut w = east_west();
    let frame = w.frame(1, &tcp("10.0.1.10:1", "10.9.9.9:2"), tcp_flag::SYN, b"");
    let mut batch = Vec::with_capacity(64);
    let mut out = Out::new();
    let mut counted = 0;
    for _ in 0..10 {
        let before = COUNT.get();
        for _ in 0..8 {
            let mut copy = w.pipeline.pool().take();
            copy.refill(EniId(1), frame.bytes());
            batch.push(copy);
        }
        w.pipeline.process(w.now, &w.tables, &mut batch, &mut out);
        counted = COUNT.get() - before;
    }
    assert_eq!(out.drops, 80);
    assert_eq!(counted, 0);
}

/// Connections that come, are answered and time out, walked or by plan: from the
/// third generation on nothing is allocated.
#[test]
fn connections_that_come_and_go_allocate_nothing() {
    let six = (CLIENT[1], format!("{}:443", SERVICE[1]));
    let worlds: [(World, &str, &str, u32, bool); 3] = [
        (privatelink(), "10.0.1.10", "10.0.2.20:443", 4, true),
        (east_west(), "10.0.1.10", "10.0.2.10:80", 2, false),
        (privatelink_of(1), six.0, &six.1, 4, true),
    ];
    for (mut w, client, server, to, planned) in worlds {
        let syns: Vec<Frame> = (0..64)
            .map(|n| {
                let there = tcp(&format!("{client}:{}", 2000 + n), server);
                w.frame(1, &there, tcp_flag::SYN, b"")
            })
            .collect();
        let mut out = Out::new();
        let mut batch = Vec::with_capacity(64);
        for round in 0..6 {
            let mut counted = 0;
            let mut process = |w: &mut World, batch: &mut Vec<Frame>, out: &mut Out| {
                let before = COUNT.get();
                w.pipeline.process(w.now, &w.tables, batch, out);
                counted += COUNT.get() - before;
            };
            for syn in &syns {
                let mut copy = syn.clone();
                copy.port = EniId(1);
                batch.push(copy);
            }
            process(&mut w, &mut batch, &mut out);
            assert_eq!(out.frames.len(), 64);
            for syn in out.frames.drain(..) {
                let back = read(&syn).tuple.reversed();
                batch.push(at_port(w.frame(to, &back, SYN_ACK, b""), to));
            }
            process(&mut w, &mut batch, &mut out);
            assert_eq!(out.frames.len(), 64);
            out.frames.clear();
            w.wait(400_000);
            while !w.pipeline.connections().sessions.is_empty() {
                w.wait(2);
                process(&mut w, &mut batch, &mut out);
            }
            assert!(round < 2 || counted == 0, "round {round}: {counted}");
        }
        let counters = w.pipeline.counters();
        assert_eq!(counters.flows_created, 6 * 64);
        assert!(counters.flows_planned >= 5 * 64);
        assert!(!planned || counters.answers_planned >= 5 * 64);
    }
}

/// Batches that are processed with their allocations counted; frames go back to the pool.
struct Counted {
    w: World,
    out: Out,
    batch: Vec<Frame>,
    allocations: u64,
}

impl Counted {
    fn new(w: World) -> Self {
        Self {
            w,
            out: Out {
                frames: Vec::with_capacity(256),
                drops: 0,
                other: 0,
            },
            batch: Vec::with_capacity(256),
            allocations: 0,
        }
    }

    /// Sends these frames by their ports; what came out.
    fn send(&mut self, frames: impl IntoIterator<Item = Frame>) -> Vec<Frame> {
        for frame in frames {
            let mut copy = self.w.pipeline.pool().take();
            copy.refill(frame.port, frame.bytes());
            self.batch.push(copy);
        }
        let before = COUNT.get();
        let World {
            pipeline,
            tables,
            now,
        } = &mut self.w;
        pipeline.process(*now, tables, &mut self.batch, &mut self.out);
        self.allocations += COUNT.get() - before;
        let copies = self.out.frames.iter().map(|frame| {
            let mut copy = Frame::with_capacity(0);
            copy.extend(frame.bytes());
            copy
        });
        let copies = copies.collect();
        for frame in self.out.frames.drain(..) {
            self.w.pipeline.pool().put(frame);
        }
        copies
    }

    /// All connections time out; what was allocated since the last time.
    fn end_round(&mut self) -> u64 {
        self.w.wait(400_000);
        while !self.w.pipeline.connections().sessions.is_empty() {
            self.w.wait(2);
            self.send([]);
        }
        std::mem::take(&mut self.allocations)
    }
}

/// Connections that begin with a proxy protocol header, which is acknowledged or sent
/// again until they time out.
#[test]
fn connections_with_a_proxy_protocol_header_allocate_nothing() {
    const N: u16 = 64;
    let mut w = privatelink();
    w.edit(|b| {
        let targets = vec![target("10.0.2.40", 8443, TargetHealth::Healthy)];
        let row = TargetGroupRow {
            proxy_protocol: true,
            ..target_group(2, targets)
        };
        b.set_target_group(TargetGroupId(0), Some(row));
    });
    let mut it = Counted::new(w);
    for round in 0..10 {
        let client = |n: u16| tcp(&format!("10.0.1.10:{}", 2000 + n), "10.0.2.20:443");
        let of_client = |it: &Counted, n, flags, seq, ack| {
            let frame = it.w.frame(1, &client(n), flags, b"");
            at_port(numbered(frame, seq, ack), 1)
        };
        let syns: Vec<_> = (0..N)
            .map(|n| of_client(&it, n, tcp_flag::SYN, 9, 0))
            .collect();
        let backs: Vec<_> = it
            .send(syns)
            .iter()
            .map(|syn| read(syn).tuple.reversed())
            .collect();
        assert_eq!(backs.len(), usize::from(N));
        let of_target = |it: &Counted, back: &FiveTuple, flags, seq, ack| {
            let frame = it.w.frame(4, back, flags, b"");
            at_port(numbered(frame, seq, ack), 4)
        };
        let answers: Vec<_> = backs
            .iter()
            .map(|back| of_target(&it, back, SYN_ACK, 99, 10))
            .collect();
        assert_eq!(it.send(answers).len(), usize::from(N));
        let acks: Vec<_> = (0..N)
            .map(|n| of_client(&it, n, tcp_flag::ACK, 10, 100))
            .collect();
        let came = it.send(acks);
        assert_eq!(came.len(), 2 * usize::from(N), "a header before each");
        let len = u32::from(read(&came[0]).ip_len as u16) - 40;
        // One in four is never acknowledged.
        let heard: Vec<_> = (backs.iter().enumerate())
            .filter(|(n, _)| n % 4 != 0)
            .map(|(_, back)| of_target(&it, back, tcp_flag::ACK, 100, 10 + len))
            .collect();
        it.send(heard);
        it.w.wait(1);
        let again = it.send([]).len();
        assert_eq!(again, usize::from(N) / 4, "sent again");
        let counted = it.end_round();
        assert!(round < 3 || counted == 0, "round {round}: {counted}");
        assert!(it.w.pipeline.connections().proxied.is_empty());
    }
}

/// Connections through a NAT gateway, each to a port of its own; half of them are
/// reset, and their ports rest.
#[test]
fn connections_through_a_nat_gateway_allocate_nothing() {
    const N: u16 = 64;
    let mut it = Counted::new(nat_gateway());
    for round in 0..10u16 {
        let out = |it: &Counted, n: u16, flags| {
            let there = tcp(
                &format!("10.0.1.10:{}", 2000 + n),
                &format!("198.51.100.7:{}", 1 + round * N + n),
            );
            at_port(it.w.frame(1, &there, flags, b""), 1)
        };
        let syns: Vec<_> = (0..N).map(|n| out(&it, n, tcp_flag::SYN)).collect();
        let seen = it.send(syns);
        assert_eq!(seen.len(), usize::from(N));
        let answers: Vec<_> = seen
            .iter()
            .map(|syn| at_port(it.w.frame(4, &read(syn).tuple.reversed(), SYN_ACK, b""), 4))
            .collect();
        assert_eq!(it.send(answers).len(), usize::from(N));
        let resets: Vec<_> = (0..N / 2).map(|n| out(&it, n, tcp_flag::RST)).collect();
        assert_eq!(it.send(resets).len(), usize::from(N) / 2);
        it.w.wait(30);
        it.send([]);
        let counted = it.end_round();
        assert!(round < 3 || counted == 0, "round {round}: {counted}");
    }
    assert_eq!(it.out.drops, 0);
}
