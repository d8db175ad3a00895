//! Workers with ports in memory: one, two, two with nothing in common, and two of
//! which each gets the other's packets. Beside them, what the machine gives two
//! threads at most.
//!
//! A round makes its workers, which look for frames without end, and ends them,
//! so that they leave the cores to the next.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::counters::Counters;
use vpclab_dataplane::flow::{Seed, Shard};
use vpclab_dataplane::io::Port;
use vpclab_dataplane::packet::{FiveTuple, Frame, protocol};
use vpclab_dataplane::pipeline::Config;
use vpclab_dataplane::tables::Tables;
use vpclab_dataplane::worker::{Clock, Handle, Options as WorkerOptions, Waiting, team};

use super::Span;
use super::contest::{self, Beside, Entry, Measured, Shown, Way};
use super::floor::Floor;
use super::script::{Count, ScriptPort, WINDOW};
use crate::bench::topology::World;
use crate::bench::{BenchError, Case, Done, FrameStore, Kind, Options, Segment, Unit};

/// Flows in all.
const FLOWS: u32 = 2_000;
/// How often a round looks whether every flow has been served once.
const LOOKS_MAX: u32 = 2_000;
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Who works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crew {
    One,
    Two,
    /// Two data planes of one worker each.
    Apart,
    HandedOver,
}

impl Crew {
    const ALL: [Self; 4] = [Self::One, Self::Two, Self::Apart, Self::HandedOver];

    const fn name(self) -> &'static str {
        match self {
            Self::One => "workers=1",
            Self::Two => "workers=2",
            Self::Apart => "workers=2/apart",
            Self::HandedOver => "workers=2/handed-over",
        }
    }

    const fn workers(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two | Self::Apart | Self::HandedOver => 2,
        }
    }

    /// Data planes; the workers of one share its tables and its flows.
    const fn teams(self) -> usize {
        match self {
            Self::Apart => 2,
            Self::One | Self::Two | Self::HandedOver => 1,
        }
    }

    const fn beside(self) -> &'static [Beside] {
        match self {
            Self::One => &[],
            Self::Two | Self::Apart => TIMES,
            Self::HandedOver => COST,
        }
    }
}

const TIMES: &[Beside] = &[Beside {
    names: [
        "times_one_worker",
        "times_one_worker_min",
        "times_one_worker_max",
    ],
    way: Crew::One.name(),
    inverse: false,
}];
/// What a packet costs: the rates the other way round.
const COST: &[Beside] = &[Beside {
    names: ["cost_of_own", "cost_of_own_min", "cost_of_own_max"],
    way: Crew::Two.name(),
    inverse: true,
}];

/// What two threads that share nothing do beside one.
const FLOOR: &[Beside] = &[Beside {
    names: [
        "times_one_thread",
        "times_one_thread_min",
        "times_one_thread_max",
    ],
    way: "floor=1",
    inverse: false,
}];
const FLOORS: [(&str, usize, &[Beside]); 2] = [("floor=1", 1, &[]), ("floor=2", 2, FLOOR)];

/// A case for each crew, and the floors.
pub(super) fn cases(options: &Options) -> Vec<Case> {
    let span = Span::of(options.depth);
    let floors = FLOORS.into_iter().map(|(name, threads, beside)| Entry {
        name,
        unit: Unit::Step,
        shown: Shown {
            figure: ["gsteps_per_s", "gsteps_per_s_min", "gsteps_per_s_max"],
            beside,
        },
        build: Box::new(move || {
            enough_cores(threads)?;
            let clock = Clock::start();
            Ok(Box::new(Floor {
                threads,
                span,
                clock,
            }) as Box<dyn Way>)
        }),
    });
    let crews = Crew::ALL.into_iter().map(|crew| {
        let options = options.clone();
        Entry {
            name: crew.name(),
            unit: Unit::Packet,
            shown: Shown {
                figure: ["mpps", "mpps_min", "mpps_max"],
                beside: crew.beside(),
            },
            build: Box::new(move || Ok(Box::new(Scaling::new(&options, crew)?) as Box<dyn Way>)),
        }
    });
    contest::cases("memory", floors.chain(crews).collect())
}

fn enough_cores(threads: usize) -> Result<(), BenchError> {
    let available = thread::available_parallelism().map_or(1, usize::from);
    match available < threads {
        false => Ok(()),
        true => Err(BenchError::NotHere(format!(
            "two workers need two cores; this machine lends {available}"
        ))),
    }
}

/// What a crew works on.
struct Scaling {
    crew: Crew,
    /// Of each data plane.
    tables: Vec<Arc<Tables>>,
    client: EniId,
    server: EniId,
    /// What each worker reads.
    stores: Vec<Arc<FrameStore>>,
    seed: u64,
    span: Span,
}

impl Scaling {
    fn new(options: &Options, crew: Crew) -> Result<Self, BenchError> {
        enough_cores(crew.workers() as usize)?;
        let world = World::new(YAML)?;
        let snapshot = world.snapshot();
        let mut tables = vec![Arc::new(Tables::new(world.snapshot()))];
        for _ in 1..crew.teams() {
            let other = World::new(YAML)?.snapshot();
            tables.push(Arc::new(Tables::new(other)));
        }
        let (client, server) = (world.eni("client")?, world.eni("server")?);
        let macs = world.macs(&snapshot, client)?;
        let ends = (
            world.address(&snapshot, client, Kind::Tcp4)?,
            world.address(&snapshot, server, Kind::Tcp4)?,
        );
        Ok(Self {
            crew,
            stores: stores(crew, options.seed, client, macs, ends),
            tables,
            client,
            server,
            seed: options.seed,
            span: Span::of(options.depth),
        })
    }

    /// Checks what was done from one account to the next.
    fn check(&self, packets: u64, before: &Counters, after: &Counters) -> Result<Done, BenchError> {
        let done = Done {
            operations: packets,
            hits: after.flow_hits - before.flow_hits,
            misses: after.flow_misses - before.flow_misses,
            elapsed: None,
        };
        let drops = after.drops_total() - before.drops_total();
        let handed = (after.handed_in - before.handed_in) as f64;
        let received = (after.received - before.received) as f64;
        let share = match self.crew {
            Crew::One | Crew::Two | Crew::Apart => 0.0,
            Crew::HandedOver => 1.0,
        };
        let wrong = packets == 0
            || done.misses > u64::from(FLOWS)
            // Both accounts are of moments when some are on their way.
            || (handed - received * share).abs() > received / 50.0 + 2.0 * WINDOW as f64
            || drops > 0;
        match wrong {
            false => Ok(done),
            true => Err(BenchError::wrong(format!(
                "{packets} delivered, {} hits, {} misses, {drops} drops, \
                 {handed} of {received} handed over",
                done.hits, done.misses,
            ))),
        }
    }
}

/// Frames of all flows, with the worker that is to read them.
fn stores(
    crew: Crew,
    seed: u64,
    port: EniId,
    (src_mac, dst_mac): (Mac, Mac),
    (src, dst): (IpAddr, IpAddr),
) -> Vec<Arc<FrameStore>> {
    let count = crew.workers();
    let shard = Shard::new(0, count, Seed(seed));
    let mut stores: Vec<FrameStore> = (0..count)
        .map(|_| FrameStore::with_capacity(FLOWS as usize, 64))
        .collect();
    let mut frame = Frame::with_capacity(64);
    for id in 0..FLOWS {
        let tuple = FiveTuple {
            src,
            dst,
            protocol: protocol::UDP,
            sport: 2_000 + id as u16,
            dport: 443,
        };
        let segment = Segment {
            src_mac,
            dst_mac,
            tuple,
            flags: 0,
            id,
        };
        segment.write(&mut frame, 64);
        let owner = shard.owner(&tuple);
        let reader = match crew {
            Crew::One | Crew::Two | Crew::Apart => owner,
            Crew::HandedOver => 1 - owner,
        };
        if let Some(store) = stores.get_mut(reader as usize) {
            store.push(port, frame.bytes());
        }
    }
    stores.into_iter().map(Arc::new).collect()
}

impl Way for Scaling {
    fn measure(&mut self) -> Result<Measured, BenchError> {
        let running = Running::start(self)?;
        running.open.store(true, Ordering::Relaxed);
        // Every flow is known before it counts. On a busy machine a worker may
        // wait for its core.
        thread::sleep(self.span.warm);
        for _ in 0..LOOKS_MAX {
            if running.delivered_by_each() > u64::from(FLOWS) {
                break;
            }
            thread::sleep(LOOK_INTERVAL);
        }
        let before = running.counters()?;
        let (start, from) = (running.clock.now(), running.delivered());
        thread::sleep(self.span.counted);
        let (end, to) = (running.clock.now(), running.delivered());
        running.open.store(false, Ordering::Relaxed);
        // What is under way ends before the counters are read.
        let mut last = 0;
        while running.delivered() != last {
            last = running.delivered();
            thread::sleep(LOOK_INTERVAL);
        }
        let after = running.counters()?;
        let elapsed = Duration::from_nanos(end.since(start).as_nanos());
        let done = Done {
            elapsed: Some(elapsed),
            ..self.check(to - from, &before, &after)?
        };
        let figure = done.operations as f64 / elapsed.as_secs_f64() / 1e6;
        Ok(Measured { done, figure })
    }
}

/// Running workers.
struct Running {
    clock: Clock,
    /// Of each data plane.
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
    /// Whether there are frames to be read.
    open: Arc<AtomicBool>,
    /// What each worker has sent.
    delivered: Vec<Arc<Count>>,
}

impl Running {
    fn start(work: &Scaling) -> Result<Self, BenchError> {
        let (local, _) = sync_channel(1);
        let config = Config {
            seed: work.seed,
            ..Config::default()
        };
        let clock = Clock::start();
        let count = work.crew.workers() as usize / work.crew.teams();
        let mut running = Self {
            clock,
            handles: Vec::new(),
            threads: Vec::new(),
            open: Arc::default(),
            delivered: Vec::new(),
        };
        for (n, tables) in work.tables.iter().enumerate() {
            let options = WorkerOptions {
                waiting: Waiting::Busy,
                ring: false,
                core: Some(n * count),
            };
            let (workers, handle) = team(count, config, tables, clock, options, &local)?;
            for worker in workers {
                let thread = thread::Builder::new().name("packets".to_owned());
                running.threads.push(thread.spawn(move || worker.run())?);
            }
            running.handles.push(handle);
        }
        running.delivered = work.stores.iter().map(|_| Arc::default()).collect();
        let mut from: Vec<Box<dyn Port>> = Vec::new();
        let mut to: Vec<Box<dyn Port>> = Vec::new();
        // Whoever judges a frame also sends it.
        let mut senders: Vec<_> = running.delivered.clone();
        if work.crew == Crew::HandedOver {
            senders.reverse();
        }
        for ((store, counted), sender) in work.stores.iter().zip(&running.delivered).zip(senders) {
            let (store, open) = (Arc::clone(store), Arc::clone(&running.open));
            from.push(Box::new(ScriptPort::source(store, open, sender)));
            to.push(Box::new(ScriptPort::sink(Arc::clone(counted))));
        }
        let gone = |error| BenchError::wrong(format!("{error}"));
        for handle in &running.handles {
            let queues = from.drain(..count).collect();
            handle.add_queues(work.client, queues).map_err(gone)?;
            let queues = to.drain(..count).collect();
            handle.add_queues(work.server, queues).map_err(gone)?;
        }
        Ok(running)
    }

    fn delivered(&self) -> u64 {
        let counts = self.delivered.iter();
        counts.map(|count| count.get()).sum()
    }

    /// What the slowest has sent.
    fn delivered_by_each(&self) -> u64 {
        let counts = self.delivered.iter();
        let least = counts.map(|count| count.get()).min();
        least.unwrap_or(0)
    }

    fn counters(&self) -> Result<Counters, BenchError> {
        let mut sum = Counters::default();
        for handle in &self.handles {
            let counters = handle.counters();
            let counters = counters.map_err(|error| BenchError::wrong(error.to_string()))?;
            sum.add(&counters.pipeline);
        }
        Ok(sum)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for handle in &self.handles {
            let _ = handle.stop();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

const YAML: &str = "name: bench-io
vpcs:
  main:
    cidr: 10.0.0.0/16
    subnets:
      clients: {cidr: 10.0.0.0/24, az: a}
      servers: {cidr: 10.0.1.0/24, az: a}
    security_groups:
      all:
        ingress: [{proto: udp, ports: 443, from: 10.0.0.0/16}]
hosts:
  client: {subnet: clients, groups: all}
  server: {subnet: servers, groups: all}
";
