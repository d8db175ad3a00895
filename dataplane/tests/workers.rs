//! Several workers do what one does: whatever queue a frame comes by, it is
//! judged where its flow is, and every frame is accounted for.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use common::worlds::{bounce, direct, east_west, everything, privatelink, worked};
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::counters::Counters;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::io::{MemoryPort, Port, memory_pair};
use vpclab_dataplane::packet::*;
use vpclab_dataplane::pipeline::{Config, Sink};
use vpclab_dataplane::tables::{Builder, Snapshot, Tables, TargetGroupRow};
use vpclab_dataplane::time::Instant;
use vpclab_dataplane::worker::{Clock, Options, Worker, team};

const SYN: u8 = tcp_flag::SYN;
const SYN_ACK: u8 = tcp_flag::SYN | tcp_flag::ACK;
const ACK: u8 = tcp_flag::ACK;

/// A world, workers that are stepped by hand, and a queue of each host to each.
struct Crew {
    world: World,
    tables: Arc<Tables>,
    workers: Vec<Worker>,
    /// By interface, the host's ends of its queues.
    queues: Vec<(u32, Vec<MemoryPort>)>,
    pool: FramePool,
    turn: usize,
}

impl Crew {
    fn new(count: usize, world: World, hosts: &[u32]) -> Self {
        let tables = Arc::new(Tables::new(world.tables.clone()));
        let config = Config {
            seed: 7,
            ..Config::default()
        };
        let (local, _) = sync_channel(1);
        let options = Options::default();
        let (workers, handle) =
            team(count, config, &tables, Clock::start(), options, &local).unwrap();
        let mut queues = Vec::new();
        for &host in hosts {
            let (ends, ports): (Vec<_>, Vec<_>) = (0..count).map(|_| memory_pair(1024)).unzip();
            let ports = ports.into_iter();
            let ports = ports.map(|port| Box::new(port) as Box<dyn Port>).collect();
            handle.add_queues(EniId(host), ports).unwrap();
            queues.push((host, ends));
        }
        // Without a handle a worker ends; this one obeys until then.
        std::mem::forget(handle);
        let mut crew = Self {
            world,
            tables,
            workers,
            queues,
            pool: FramePool::new(0),
            turn: 0,
        };
        crew.run();
        crew
    }

    /// A host sends by a queue of the test's choice: the next one each time.
    fn send(&mut self, host: u32, frame: Frame) {
        self.turn += 1;
        let queue = self.turn % self.workers.len();
        let ends = &mut self
            .queues
            .iter_mut()
            .find(|(eni, _)| *eni == host)
            .unwrap()
            .1;
        ends[queue].transmit(frame, &mut self.pool).unwrap();
    }

    /// Changes the tables under them.
    fn edit(&mut self, change: impl FnOnce(&mut Builder)) {
        self.world.edit(change);
        self.tables.publish(self.world.tables.clone());
    }

    /// Steps all workers until nothing moves.
    fn run(&mut self) {
        let now = self.world.now;
        while self
            .workers
            .iter_mut()
            .map(|worker| worker.turn(now))
            .sum::<usize>()
            > 0
        {}
    }

    /// What a host got since it was last asked.
    fn got(&mut self, host: u32) -> Vec<Frame> {
        self.run();
        let mut frames = Vec::new();
        let ends = &mut self
            .queues
            .iter_mut()
            .find(|(eni, _)| *eni == host)
            .unwrap()
            .1;
        for end in ends {
            end.receive(1024, &mut frames, &mut self.pool).unwrap();
        }
        frames
    }

    /// How many frames wait at a host; they are taken away. Nobody has a turn.
    fn drained(&mut self, host: u32) -> u64 {
        let mut frames = Vec::new();
        for (_, ends) in self.queues.iter_mut().filter(|(eni, _)| *eni == host) {
            for end in ends {
                end.receive(1024, &mut frames, &mut self.pool).unwrap();
            }
        }
        frames.len() as u64
    }

    fn one(&mut self, host: u32) -> Frame {
        let mut frames = self.got(host);
        assert_eq!(frames.len(), 1, "frames at host {host}");
        frames.remove(0)
    }

    fn counters(&self) -> Vec<Counters> {
        let workers = self.workers.iter();
        workers.map(|worker| worker.counters().pipeline).collect()
    }

    /// Each worker's accounts balance, and what one handed out another got.
    fn sum(&self) -> Counters {
        let mut sum = Counters::default();
        for (index, counters) in self.counters().iter().enumerate() {
            let (left, right) = counters.balance();
            assert_eq!(left, right, "worker {index}: {counters:?}");
            sum.add(counters);
        }
        assert_eq!(sum.handed_in, sum.handed_out);
        sum
    }
}

/// A host's answer to `frame`: a TCP packet back to where it came from.
fn answer(frame: &Frame, flags: u8) -> Frame {
    let headers = read(frame);
    let ethernet = parse_ethernet(frame.bytes()).unwrap();
    build(
        ethernet.dst,
        ethernet.src,
        &headers.tuple.reversed(),
        flags,
        b"",
    )
}

#[test]
fn privatelink_flows_meet_their_worker_both_ways() {
    for count in [2, 3] {
        let mut crew = Crew::new(count, privatelink(), &[1, 4]);
        for n in 0..60 {
            let tuple = tcp(&format!("10.0.1.10:{}", 40_000 + n), "10.0.2.20:443");
            let frame = crew.world.frame(1, &tuple, SYN, b"");
            crew.send(1, frame);
            let syn = crew.one(4);
            assert_eq!(read(&syn).tuple.src, ip("10.0.1.30"), "the node's address");
            crew.send(4, answer(&syn, SYN_ACK));
            let back = crew.one(1);
            assert_eq!(read(&back).tuple, tuple.reversed());
            let frame = crew.world.frame(1, &tuple, ACK, b"data");
            crew.send(1, frame);
            assert_eq!(read(&crew.one(4)).tuple, read(&syn).tuple);
        }
        let sum = crew.sum();
        assert_eq!((sum.received, sum.transmitted), (180, 180));
        assert_eq!((sum.flows_created, sum.drops_total()), (60, 0));
        assert!(sum.handed_out > 60, "{} were handed over", sum.handed_out);
        for counters in crew.counters() {
            assert!(
                counters.flows_created > 60 / count as u64 / 3,
                "{counters:?}"
            );
        }
    }
}

/// Where a load balancer keeps its clients' addresses, no port can be chosen so that
/// answers lead back; those of its other flows, by PrivateLink, still are.
#[test]
fn flows_that_keep_their_clients_address_meet_their_worker_both_ways() {
    for count in [2, 3] {
        let mut crew = Crew::new(count, direct(true), &[1, 4, 5]);
        for n in 0..60 {
            let client = [5, 1][n % 2];
            let (from, called) = match client {
                5 => ("10.0.1.11", "10.0.1.30:443"),
                _ => ("10.0.1.10", "10.0.2.20:443"),
            };
            let tuple = tcp(&format!("{from}:{}", 40_000 + n), called);
            let frame = crew.world.frame(client, &tuple, SYN, b"");
            crew.send(client, frame);
            let syn = crew.one(4);
            let seen = read(&syn).tuple;
            let kept = (seen.src, seen.sport) == (tuple.src, tuple.sport);
            assert_eq!(kept, client == 5, "{seen}");
            crew.send(4, answer(&syn, SYN_ACK));
            assert_eq!(read(&crew.one(client)).tuple, tuple.reversed());
            let frame = crew.world.frame(client, &tuple, ACK, b"data");
            crew.send(client, frame);
            assert_eq!(read(&crew.one(4)).tuple, seen);
        }
        let sum = crew.sum();
        assert_eq!((sum.received, sum.transmitted), (180, 180));
        assert_eq!((sum.flows_created, sum.drops_total()), (60, 0));
        let spread = crew.counters();
        assert!(
            spread
                .iter()
                .all(|it| it.flows_created > 60 / count as u64 / 3)
        );
    }
}

/// A target is registered where its clients' addresses are kept, under flows that reach
/// it directly: their packets meet at another worker from then on, perhaps. Who has the
/// session still must not keep one half of them.
#[test]
fn a_flow_goes_on_where_its_packets_meet_now() {
    let mut world = direct(false);
    world.group(7, Vec::new(), everything());
    world.eni_edit(5, |eni| eni.groups = vec![SecurityGroupId(7)]);
    let mut crew = Crew::new(2, world, &[4, 5]);
    let flows: Vec<_> = (0..40)
        .map(|n| {
            let client = format!("10.0.1.11:{}", 40_000 + n);
            tuple(protocol::UDP, &client, "10.0.2.40:8443")
        })
        .collect();
    let exchange = |crew: &mut Crew| {
        for flow in &flows {
            // What the client sends always comes by one queue, the answers by the other.
            let there = crew.world.frame(5, flow, 0, b"there");
            crew.send(5, there);
            assert_eq!(read(&crew.one(4)).tuple, *flow);
            let back = crew.world.frame(4, &flow.reversed(), 0, b"back");
            crew.send(4, back);
            assert_eq!(read(&crew.one(5)).tuple, flow.reversed());
        }
    };
    exchange(&mut crew);
    exchange(&mut crew);
    let created = crew.sum().flows_created;
    assert_eq!(created, 40);
    let row = crew.world.tables.target_groups.row(TargetGroupId(0));
    let row = TargetGroupRow {
        preserve_client_ip: true,
        ..row.unwrap().clone()
    };
    crew.edit(|b| b.set_target_group(TargetGroupId(0), Some(row)));
    exchange(&mut crew);
    exchange(&mut crew);
    let moved = crew.sum().flows_created - created;
    assert!((5..35).contains(&moved), "{moved} of 40 are elsewhere");
}

/// Who shares flows with a pipeline: is asked of frames, and may take them.
#[derive(Default)]
struct Other {
    takes: bool,
    asked: usize,
    sent: usize,
}

impl Sink for Other {
    fn transmit(&mut self, _: EniId, _: Frame) {
        self.sent += 1;
    }
    fn local(&mut self, _: EniId, _: Frame) {}
    fn steer(
        &mut self,
        _: Instant,
        _: &Snapshot,
        frame: Frame,
        _: &mut FramePool,
    ) -> Option<Frame> {
        self.asked += 1;
        (!self.takes).then_some(frame)
    }
}

#[test]
fn only_what_no_session_knows_is_steered_and_nothing_is_done_before() {
    let mut world = east_west();
    let other = &mut Other::default();
    let flow = tcp("10.0.1.10:40000", "10.0.2.10:443");
    // One that may be another's, and the same once more that is not.
    let judge = |world: &mut World, other: &mut Other, from, flags, unsteered| {
        let tuple = if from == 1 { flow } else { flow.reversed() };
        let mut frame = world.frame(from, &tuple, flags, b"");
        frame.port = EniId(from);
        let (now, tables) = (world.now, world.tables.clone());
        let batch = &mut vec![frame];
        world
            .pipeline
            .process_shared(now, &tables, batch, unsteered, other);
        assert!(batch.is_empty());
        let counters = world.pipeline.counters();
        let (left, right) = counters.balance();
        assert_eq!(left, right);
        let done = (other.asked, other.sent, counters.flows_created);
        (done, counters.received)
    };
    other.takes = true;
    assert_eq!(judge(&mut world, other, 1, SYN, 1), ((1, 0, 0), 0));
    other.takes = false;
    assert_eq!(judge(&mut world, other, 1, SYN, 1), ((2, 1, 1), 1));
    assert_eq!(judge(&mut world, other, 2, SYN_ACK, 1), ((3, 2, 1), 2));
    // Both directions are known by now.
    assert_eq!(judge(&mut world, other, 1, ACK, 1), ((3, 3, 1), 3));
    assert_eq!(judge(&mut world, other, 2, ACK, 1), ((3, 4, 1), 4));
    // Decided from what has changed: whose it is, is asked anew.
    world.group(1, everything(), everything());
    assert_eq!(judge(&mut world, other, 1, ACK, 1), ((4, 5, 1), 5));
    assert_eq!(judge(&mut world, other, 1, ACK, 1), ((4, 6, 1), 6));
    // Nobody asks of those that were handed over.
    assert_eq!(judge(&mut world, other, 1, SYN, 0), ((4, 7, 1), 7));
    // Fragments and the like have no short way.
    other.takes = true;
    assert_eq!(judge(&mut world, other, 1, SYN, 1), ((5, 7, 1), 7));
}

#[test]
fn tunnels_and_public_addresses_lead_back_to_the_worker() {
    let mut crew = Crew::new(3, worked(), &[1, 4, 5]);
    let mut cookies = std::collections::BTreeSet::new();
    for n in 0..40 {
        let tuple = tcp(&format!("10.0.1.10:{}", 40_000 + n), "203.0.113.80:443");
        let frame = crew.world.frame(1, &tuple, SYN, b"");
        crew.send(1, frame);
        let tunnelled = crew.one(4);
        let headers = parse_ip(tunnelled.bytes(), ETHERNET_LEN).unwrap();
        let payload = udp_payload(tunnelled.bytes(), &headers).unwrap();
        cookies.insert(GeneveView::parse(payload).unwrap().cookie.unwrap() >> 30);
        crew.send(4, bounce(tunnelled));
        let syn = crew.one(5);
        assert_eq!(read(&syn).tuple.src, ip("198.51.100.1"));
        crew.send(5, answer(&syn, SYN_ACK));
        let tunnelled = crew.one(4);
        crew.send(4, bounce(tunnelled));
        assert_eq!(read(&crew.one(1)).tuple, tuple.reversed());
    }
    assert_eq!(cookies.len(), 3, "every worker opened flows");
    let sum = crew.sum();
    assert_eq!((sum.gwlb_flows_created, sum.drops_total()), (40, 0));
}

#[test]
fn fragments_and_errors_follow_their_flow() {
    let mut crew = Crew::new(3, east_west(), &[1, 2]);
    for n in 0..30u16 {
        let tuple = tuple(
            protocol::UDP,
            &format!("10.0.1.10:{}", 2000 + n),
            "10.0.2.10:53",
        );
        let mut whole = crew.world.frame(1, &tuple, 0, &[7; 2000]);
        // Another identification for each datagram, and no DF.
        whole.bytes_mut()[18..22].copy_from_slice(&[1, n as u8, 0, 0]);
        let header = whole.bytes_mut()[14..34].first_chunk_mut::<20>().unwrap();
        checksum::fill_ipv4_header(header);
        let mut pieces = Vec::new();
        let pool = &mut FramePool::new(0);
        fragment_ipv4(whole, 1000, pool, &mut |piece| pieces.push(piece)).unwrap();
        assert_eq!(pieces.len(), 3);
        for piece in pieces {
            crew.send(1, piece);
            crew.one(2);
        }
        // The far end's port is closed: its error goes to the sender, tracked.
        let frame = crew.world.frame(1, &tuple, 0, b"small");
        crew.send(1, frame);
        let got = crew.one(2);
        let eni = crew.world.tables.enis.row(EniId(2)).unwrap().mac;
        let ethernet = parse_ethernet(got.bytes()).unwrap();
        let ends = Endpoints {
            src_mac: eni,
            dst_mac: ethernet.src,
            src: tuple.dst,
            dst: tuple.src,
        };
        let mut error = Frame::with_capacity(600);
        put_ip(&mut error, &ends, protocol::ICMP, 64, 8 + 28);
        error.extend(&[3, 3, 0, 0, 0, 0, 0, 0]);
        error.extend(&got.bytes()[14..42]);
        let headers = parse_ip(error.bytes(), ETHERNET_LEN).unwrap();
        checksum::fill_transport(error.bytes_mut(), &headers);
        crew.send(2, error);
        crew.one(1);
    }
    let sum = crew.sum();
    assert_eq!(sum.drops_total(), 0, "{sum:?}");
    assert_eq!(sum.flows_created, 30, "one flow each, fragments included");
}

#[test]
fn a_full_ring_is_a_counted_drop() {
    let mut crew = Crew::new(2, privatelink(), &[1, 4]);
    let now = crew.world.now;
    // Worker 1 never has a turn: its ring fills up.
    let (mut sent, mut delivered) = (0, 0);
    while crew.counters()[0].drops(DropReason::HandoverFull) == 0 {
        let source = format!("10.0.1.10:{}", 10_000 + sent);
        let frame = crew
            .world
            .frame(1, &tcp(&source, "10.0.2.20:443"), SYN, b"");
        let ends = &mut crew.queues[0].1;
        ends[0].transmit(frame, &mut crew.pool).unwrap();
        crew.workers[0].turn(now);
        delivered += crew.drained(4);
        sent += 1;
        assert!(sent < 5000, "what waits is bounded");
    }
    assert!(sent > 1024);
    while crew.workers[1].turn(now) > 0 {
        delivered += crew.drained(4);
    }
    crew.run();
    delivered += crew.drained(4);
    assert_eq!(delivered + 1, sent);
    let sum = crew.sum();
    assert_eq!(sum.received, sent);
    assert_eq!(sum.transmitted + 1, sent);
}
