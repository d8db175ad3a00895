//! Hot paths, each prepared and then run a fixed number of times inside
//! [`counted_by_callgrind`]: what `benches/instructions/run` has counted, by way of gungraun.
//!
//! Where `cargo bench` does not ask for that, every path runs once, without valgrind, and how
//! many operations it has counted is printed beside its name: 0 where the machine lacks the
//! instructions. So `cargo test` runs them. A cached path has as many connections as the
//! environment's `CONNECTIONS` says, in random order: `benches/cost-model` has the cache lines
//! counted that they touch when they do not fit caches.
//!
//! The worlds are those of the data plane's tests, so that nothing but the data
//! plane has to be built.

#![allow(
    clippy::unwrap_used,
    reason = "a measuring program may panic: its caller says what it was measuring"
)]

#[path = "../../../dataplane/tests/common/mod.rs"]
mod common;
mod workers;

use std::hint::black_box;

use common::worlds::{
    CLIENT, SERVICE, bounce, east_west, numbered, privatelink, privatelink_of, target,
    target_group, worked,
};
use common::{World, tcp};
use vpclab_dataplane::addr::{EniId, RouteTableId, TargetGroupId};
use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::lpm::{Level, Lpm};
use vpclab_dataplane::packet::{FiveTuple, Frame, tcp_flag};
use vpclab_dataplane::pipeline::{Config, Pipeline, Sink};
use vpclab_dataplane::tables::{Route, RouteOrigin, RouteTarget, TargetGroupRow, TargetHealth};

/// The paths, and what gungraun makes of them: it runs this program again under valgrind,
/// for one path at a time.
mod counting {
    use gungraun::{Callgrind, EntryPoint, LibraryBenchmarkConfig};
    use gungraun::{library_benchmark, library_benchmark_group, main};

    use super::*;

    /// Names each path, and what runs it and says how many operations were counted: for
    /// gungraun, whose attributes want the names, and for who runs them without it.
    macro_rules! paths {
        ($($name:ident => $run:expr,)*) => {
            pub(crate) const PATHS: &[(&str, fn() -> u64)] = &[$((stringify!($name), $run)),*];

            #[library_benchmark]
            $(#[bench::$name($run)])*
            fn path(run: fn() -> u64) -> u64 {
                run()
            }
        };
    }

    // In the order of the budget file.
    paths! {
        eastwest_cached => cached_east_west,
        eastwest_after_route_change => changed_east_west,
        privatelink_cached => cached_privatelink,
        privatelink_cached6 => cached_privatelink6,
        privatelink_shifted => shifted_privatelink,
        gwlb_encapsulate => || tunnelled(false),
        gwlb_decapsulate => || tunnelled(true),
        first_packet_planned => planned_first_packets,
        first_packet_planned6 => planned_first_packets6,
        first_packet_walked => walked_first_packets,
        connection_whole => whole_connections,
        workers_own => || workers::shared(false, 18),
        workers_handed_over => || workers::shared(true, 18),
        // Frames too long to be copied.
        workers_handed_over_1500 => || workers::shared(true, 1_472),
        lpm_4_routes_scalar => || lookups(Level::Scalar, 4),
        lpm_8_routes_scalar => || lookups(Level::Scalar, 8),
        lpm_50_routes_scalar => || lookups(Level::Scalar, 50),
        lpm_100000_routes_scalar => || lookups(Level::Scalar, 100_000),
        // Wide registers are what valgrind has: AVX2 at most.
        lpm_4_routes_avx2 => || lookups(Level::Avx2, 4),
        lpm_8_routes_avx2 => || lookups(Level::Avx2, 8),
        lpm_50_routes_avx2 => || lookups(Level::Avx2, 50),
        lpm_100000_routes_avx2 => || lookups(Level::Avx2, 100_000),
    }

    library_benchmark_group!(name = hot, benchmarks = path);
    main!(
        config = LibraryBenchmarkConfig::default()
            .pass_through_env("CONNECTIONS")
            .tool(
                Callgrind::default()
                    .entry_point(EntryPoint::Custom("*counted_by_callgrind*".to_owned()))
            ),
        library_benchmark_groups = hot
    );

    pub(crate) fn run() {
        main();
    }
}

/// Connections of the cached paths where nothing else is said: instructions do not depend
/// on their number as time does.
const CONNECTIONS: u16 = 32;
/// Frames of a batch: both ways of these connections.
const BATCH: usize = 2 * CONNECTIONS as usize;
/// Batches that are counted, and those that warm up before.
const BATCHES: u64 = 50;

fn connections() -> u16 {
    let asked = std::env::var("CONNECTIONS");
    asked.map_or(CONNECTIONS, |count| count.parse().unwrap())
}

/// The world, with room for that many.
fn roomy(mut w: World) -> World {
    let connections = usize::from(connections());
    if connections > usize::from(CONNECTIONS) {
        w.pipeline = Pipeline::new(Config {
            connections: 8 * connections,
            gwlb_flows: 4 * connections,
            seed: 7,
            ..Config::default()
        });
    }
    w
}

/// The toggle: instructions are counted in here and nowhere else.
#[inline(never)]
fn counted_by_callgrind(work: &mut dyn FnMut()) {
    work();
    // Or the call above would be the function's end, and a jump.
    black_box(());
}

/// Keeps what leaves, to use its memory again.
#[derive(Default)]
struct Out {
    frames: Vec<Frame>,
    elsewhere: u64,
}

impl Sink for Out {
    fn transmit(&mut self, _port: EniId, frame: Frame) {
        self.frames.push(frame);
    }
    fn local(&mut self, _eni: EniId, _frame: Frame) {
        self.elsewhere += 1;
    }
}

/// Sends one frame and returns what came out of it.
fn pass(w: &mut World, frame: Frame) -> (EniId, Frame) {
    let mut seen = w.send(frame.port.0, frame);
    assert_eq!(seen.out.len(), 1, "one frame in, one out: {:?}", seen.drops);
    seen.out.remove(0)
}

/// A client's frame.
fn sent(w: &World, from: u32, tuple: &FiveTuple, flags: u8) -> Frame {
    let mut frame = w.frame(from, tuple, flags, b"");
    frame.port = EniId(from);
    frame
}

/// Opens a connection; returns an ACK of either end. `via` takes a frame that
/// came out on to where it goes in next, if it is not at a host yet.
fn open(
    w: &mut World,
    from: u32,
    tuple: &FiveTuple,
    via: fn(&mut World, EniId, Frame) -> (EniId, Frame),
) -> [Frame; 2] {
    let cross = |w: &mut World, frame| {
        let (at, frame) = pass(w, frame);
        via(w, at, frame)
    };
    let (server, arrived) = cross(w, sent(w, from, tuple, tcp_flag::SYN));
    let back = common::read(&arrived).tuple.reversed();
    let answer = sent(w, server.0, &back, tcp_flag::SYN | tcp_flag::ACK);
    cross(w, answer);
    let acks = [
        sent(w, from, tuple, tcp_flag::ACK),
        sent(w, server.0, &back, tcp_flag::ACK),
    ];
    for ack in &acks {
        cross(w, ack.clone());
    }
    acks
}

/// Sends the frames over and over, counted; every one must be a hit.
fn established(w: &mut World, frames: &[Frame]) -> u64 {
    established_while(w, frames, |_, _| ())
}

/// The same; `change` is called before each batch, and not counted.
fn established_while(
    w: &mut World,
    frames: &[Frame],
    mut change: impl FnMut(&mut World, u64),
) -> u64 {
    let mut order: Vec<(u64, &Frame)> = (0..).zip(frames).collect();
    if frames.len() > BATCH {
        order.sort_by_key(|&(place, _)| Seed(1).words(&[place]));
    }
    let rounds = (BATCHES * BATCH as u64).div_ceil(BATCH.max(frames.len()) as u64);
    let mut out = Out::default();
    let mut batch = Vec::with_capacity(BATCH);
    let hits = w.pipeline.counters().flow_hits;
    for round in 0..2 * rounds {
        for frames in order.chunks(BATCH) {
            for (_, frame) in frames {
                let spare = out.frames.pop();
                let mut copy = spare.unwrap_or_else(|| Frame::with_capacity(2_048));
                copy.refill(frame.port, frame.bytes());
                batch.push(copy);
            }
            change(w, round);
            let mut process = || w.pipeline.process(w.now, &w.tables, &mut batch, &mut out);
            if round < rounds {
                process();
            } else {
                counted_by_callgrind(&mut process);
            }
        }
    }
    let count = frames.len() as u64;
    let hits = w.pipeline.counters().flow_hits - hits;
    assert_eq!((hits, out.elsewhere), (2 * rounds * count, 0), "all cached");
    assert_eq!(out.frames.len(), frames.len().min(BATCH), "all delivered");
    rounds * count
}

fn open_east_west(w: &mut World, connections: u16) -> Vec<Frame> {
    let ports = 2_000..2_000 + connections;
    ports
        .flat_map(|port| {
            let tuple = tcp(&format!("10.0.1.10:{port}"), "10.0.2.10:80");
            open(w, 1, &tuple, |_, at, frame| (at, frame))
        })
        .collect()
}

fn cached_east_west() -> u64 {
    let mut w = roomy(east_west());
    let frames = open_east_west(&mut w, connections());
    established(&mut w, &frames)
}

/// Each packet is the first of its direction after a route of its table changed: one
/// that leads elsewhere.
fn changed_east_west() -> u64 {
    let mut w = east_west();
    let frames = open_east_west(&mut w, 1);
    established_while(&mut w, &frames, |w, round| {
        let prefix = "172.16.0.0/24".parse().unwrap();
        let route = Route {
            prefix,
            target: RouteTarget::Eni(EniId(1 + round as u32 % 2)),
            origin: RouteOrigin::Static,
            label: common::label("route"),
        };
        w.edit(|b| b.set_route(RouteTableId(1), prefix, RouteOrigin::Static, Some(route)));
    })
}

fn client(port: u16) -> FiveTuple {
    tcp(&format!("10.0.1.10:{port}"), "10.0.2.20:443")
}

fn client6(port: u16) -> FiveTuple {
    tcp(
        &format!("{}:{port}", CLIENT[1]),
        &format!("{}:443", SERVICE[1]),
    )
}

/// Both ways mixed, NAT both ways.
fn cached_privatelink() -> u64 {
    let mut w = roomy(privatelink());
    let frames: Vec<Frame> = (0..connections())
        .flat_map(|n| open(&mut w, 1, &client(2_000 + n), |_, at, frame| (at, frame)))
        .collect();
    established(&mut w, &frames)
}

/// The same in IPv6.
fn cached_privatelink6() -> u64 {
    let mut w = roomy(privatelink_of(1));
    let frames: Vec<Frame> = (0..connections())
        .flat_map(|n| open(&mut w, 1, &client6(2_000 + n), |_, at, frame| (at, frame)))
        .collect();
    established(&mut w, &frames)
}

/// The same where the client's stream begins with a proxy protocol header, which the
/// target has: sequence numbers change too.
fn shifted_privatelink() -> u64 {
    let mut w = roomy(privatelink());
    w.edit(|b| {
        let row = TargetGroupRow {
            proxy_protocol: true,
            ..target_group(2, vec![target("10.0.2.40", 8443, TargetHealth::Healthy)])
        };
        b.set_target_group(TargetGroupId(0), Some(row));
    });
    let frames: Vec<Frame> = (0..connections())
        .flat_map(|n| {
            let tuple = client(2_000 + n);
            let syn = numbered(sent(&w, 1, &tuple, tcp_flag::SYN), 9, 0);
            let (server, arrived) = pass(&mut w, syn);
            let back = common::read(&arrived).tuple.reversed();
            let answer = sent(&w, server.0, &back, tcp_flag::SYN | tcp_flag::ACK);
            pass(&mut w, numbered(answer, 99, 10));
            let ack = numbered(sent(&w, 1, &tuple, tcp_flag::ACK), 10, 100);
            let header = w.send(1, ack.clone()).out.swap_remove(0).1;
            // Behind Ethernet, IPv4 and TCP headers.
            let len = header.len() as u32 - 54;
            let heard = sent(&w, server.0, &back, tcp_flag::ACK);
            let heard = numbered(heard, 100, 10 + len);
            pass(&mut w, heard.clone());
            [ack, heard]
        })
        .collect();
    established(&mut w, &frames)
}

/// Frames out of a host into the tunnel, or out of the tunnel: what the appliance
/// (interface 4) returns.
fn tunnelled(out: bool) -> u64 {
    const APPLIANCE: EniId = EniId(4);
    let mut w = roomy(worked());
    let mut frames = Vec::new();
    for n in 0..connections() {
        let tuple = tcp(&format!("10.0.1.10:{}", 2_000 + n), "203.0.113.80:80");
        let [ack, _] = open(&mut w, 1, &tuple, |w, at, frame| {
            assert_eq!(at, APPLIANCE, "every packet is inspected");
            let mut returned = bounce(frame);
            returned.port = at;
            pass(w, returned)
        });
        if out {
            let (_, frame) = pass(&mut w, ack);
            let mut returned = bounce(frame);
            returned.port = APPLIANCE;
            frames.push(returned);
        } else {
            frames.push(ack);
        }
    }
    established(&mut w, &frames)
}

/// First packets of connections like one that was walked before: NAT included.
fn planned_first_packets() -> u64 {
    let mut w = privatelink();
    for n in 0..64 {
        open(&mut w, 1, &client(2_000 + n), |_, at, frame| (at, frame));
    }
    opening(&mut w, |w, n| sent(w, 1, &client(4_000 + n), tcp_flag::SYN))
}

/// The same in IPv6.
fn planned_first_packets6() -> u64 {
    let mut w = privatelink_of(1);
    for n in 0..64 {
        open(&mut w, 1, &client6(2_000 + n), |_, at, frame| (at, frame));
    }
    opening(&mut w, |w, n| {
        sent(w, 1, &client6(4_000 + n), tcp_flag::SYN)
    })
}

/// Connections from their SYN until they are forgotten: as many come as go.
fn whole_connections() -> u64 {
    const WAVE: u16 = 32;
    const WAVES: u16 = 40;
    let (syn, ack, fin) = (tcp_flag::SYN, tcp_flag::ACK, tcp_flag::FIN | tcp_flag::ACK);
    // After the SYN: whether the client sends, and its flags.
    let rest = [
        (false, syn | ack),
        (true, ack),
        (true, ack),
        (false, ack),
        (false, ack),
        (true, ack),
        (true, ack),
        (false, ack),
        (true, fin),
        (false, fin),
        (true, ack),
    ];
    let mut w = privatelink();
    let [_, answer] = open(&mut w, 1, &client(1_999), |_, at, frame| (at, frame));
    let server = answer.port.0;
    let mut out = Out::default();
    for wave in 0..WAVES {
        let mut send = |w: &mut World, mut frames: Vec<Frame>| {
            let count = frames.len();
            let mut process = || w.pipeline.process(w.now, &w.tables, &mut frames, &mut out);
            if wave < WAVES / 2 {
                process();
            } else {
                counted_by_callgrind(&mut process);
            }
            assert_eq!(out.frames.len(), count, "all delivered");
            std::mem::take(&mut out.frames)
        };
        let clients: Vec<_> = (0..WAVE).map(|n| client(2_000 + wave * WAVE + n)).collect();
        let syns = clients
            .iter()
            .map(|tuple| sent(&w, 1, tuple, syn))
            .collect();
        let arrived = send(&mut w, syns);
        let back: Vec<_> = arrived
            .iter()
            .map(|frame| common::read(frame).tuple.reversed())
            .collect();
        for (from_client, flags) in rest {
            let (from, tuples) = match from_client {
                true => (1, &clients),
                false => (server, &back),
            };
            let frames = tuples.iter().map(|tuple| sent(&w, from, tuple, flags));
            let frames = frames.collect();
            send(&mut w, frames);
        }
        w.wait(1);
    }
    // Those of ten seconds, of the wave between, and that which was opened first.
    let live = w.pipeline.connections().sessions.len();
    assert!(live <= 12 * usize::from(WAVE), "{live} are left");
    u64::from(WAVES / 2 * WAVE)
}

/// First packets that have nothing in common with others but their ends: each
/// goes to another port, and is walked.
fn walked_first_packets() -> u64 {
    let mut w = east_west();
    opening(&mut w, |w, n| {
        let tuple = tcp("10.0.1.10:2000", &format!("10.0.2.10:{}", 4_000 + n));
        sent(w, 1, &tuple, tcp_flag::SYN)
    })
}

/// Sends 512 first packets in batches of 32, the second half of them counted.
fn opening(w: &mut World, frame: impl Fn(&World, u16) -> Frame) -> u64 {
    const BATCH: u16 = 32;
    const COUNT: u16 = 512;
    let mut out = Out::default();
    let created = w.pipeline.counters().flows_created;
    for first in (0..COUNT).step_by(usize::from(BATCH)) {
        let mut batch: Vec<Frame> = (first..first + BATCH).map(|n| frame(w, n)).collect();
        let mut process = || w.pipeline.process(w.now, &w.tables, &mut batch, &mut out);
        if first < COUNT / 2 {
            process();
        } else {
            counted_by_callgrind(&mut process);
        }
    }
    let created = w.pipeline.counters().flows_created - created;
    assert_eq!(created, u64::from(COUNT), "all new");
    assert_eq!(out.frames.len(), usize::from(COUNT), "all delivered");
    u64::from(COUNT / 2)
}

/// Lookups in bulks of 32 with the instructions of a level: in tables that fit registers (nine
/// intervals, and 17), in one of a VPC's size and in one of a hundred thousand routes.
/// None where the machine lacks them.
fn lookups(level: Level, count: u64) -> u64 {
    if !Level::available().any(|here| here == level) {
        return 0;
    }
    let random = |seed: u64, n: u64| Seed(seed).words(&[n]);
    let routes = (0..count).map(|n| {
        let len = 8 + (random(1, n) >> 40) as u8 % 17;
        let address = random(1, n) as u32 & (u32::MAX << (32 - len));
        (address, len, n as u32 % 200)
    });
    let table = Lpm::build(routes);
    let keys: Vec<u32> = (0..4_096).map(|n| random(2, n) as u32).collect();
    let mut out = [0; 32];
    let mut all = || {
        for keys in keys.chunks_exact(32) {
            table.lookup_bulk_at(level, black_box(keys), &mut out);
            black_box(&out);
        }
    };
    all();
    counted_by_callgrind(&mut all);
    keys.len() as u64
}

fn main() {
    let asked = |word: &str| std::env::args().any(|argument| argument == word);
    if asked("--gungraun-run") || (asked("--bench") && !asked("--operations")) {
        return counting::run();
    }
    for (name, run) in counting::PATHS {
        println!("{name} {}", run());
    }
}
