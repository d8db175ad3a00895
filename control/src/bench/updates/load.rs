//! Packets of established connections while another thread changes a route of
//! the table that they were decided by, thousands of times a second.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use vpclab_dataplane::tables::Tables;
use vpclab_dataplane::time::Duration;
use vpclab_dataplane::worker::Clock;

use crate::api::{ApiError, ReplaceRoute};
use crate::bench::path::CachedPath;
use crate::bench::report::Spread;
use crate::bench::run::other_cpus;
use crate::bench::topology::World;
use crate::bench::{BenchError, Done, Options, Size, Work, eastwest};
use crate::model::{Destination, NetworkInterfaceId, RouteTableId, RouteTargetSpec};

/// East-west packets beside route changes.
#[derive(Debug)]
pub struct UnderLoad {
    path: CachedPath,
    publisher: Mutex<Publisher>,
    /// Packets of one slice.
    packets: u64,
    /// Nanoseconds a packet of each round, without changes and with them.
    quiet_ns: Vec<f64>,
    busy_ns: Vec<f64>,
    /// What a slice with changes lost beside the one before it, in percent: the middle
    /// one of each round.
    lost: Vec<f64>,
    /// Changes a second that were really made in each round.
    rates: Vec<f64>,
    wrong: Option<String>,
}

/// Who changes routes.
#[derive(Debug)]
struct Publisher {
    world: World,
    table: RouteTableId,
    targets: [NetworkInterfaceId; 2],
    interval: Duration,
    made: u64,
    /// Where it runs: the CPUs that do not forward, if there are such.
    cpus: Option<CpuSet>,
}

/// Slices of a round with changes, and as many without: they alternate, so that what the
/// machine does by itself, which comes and goes in tens of milliseconds, is in both.
const SLICES: u64 = 48;

/// Longer than this before the next change, the thread sleeps.
const SPIN: Duration = Duration::from_micros(80);

impl Publisher {
    /// Changes the target of a route that no packet here takes.
    fn once(&mut self) -> Result<(), ApiError> {
        let target = self.targets[self.made as usize % 2].clone();
        let prefix = format!("172.16.{}.0/24", self.made / 2 % 49).parse();
        self.made += 1;
        self.world.control.execute(ReplaceRoute {
            route_table: self.table.clone(),
            destination: Destination::Cidr(prefix.map_err(|_| ApiError::missing("prefix"))?),
            target: RouteTargetSpec::NetworkInterface(target),
        })
    }

    /// Changes routes at its pace while `course` says so, until told to stop.
    fn run(&mut self, course: &Course) -> Result<(), ApiError> {
        if let Some(cpus) = &self.cpus {
            // Where this fails both threads take turns: slower, not wrong.
            let _ = sched_setaffinity(Pid::from_raw(0), cpus);
        }
        let clock = Clock::start();
        let mut next = clock.now();
        while !course.stop.load(Ordering::Relaxed) {
            if !course.changes.load(Ordering::Relaxed) {
                // Whoever says that it goes on wakes it.
                std::thread::park();
                next = clock.now();
                continue;
            }
            let now = clock.now();
            if now < next {
                let left = next.since(now);
                if left > SPIN {
                    std::thread::sleep(std::time::Duration::from_nanos(
                        left.as_nanos() - SPIN.as_nanos(),
                    ));
                } else {
                    std::hint::spin_loop();
                }
                continue;
            }
            self.once()?;
            course.made.fetch_add(1, Ordering::Relaxed);
            next += self.interval;
        }
        Ok(())
    }
}

/// What the two threads say to each other.
#[derive(Debug, Default)]
struct Course {
    changes: AtomicBool,
    stop: AtomicBool,
    made: AtomicU64,
}

/// What the slices of one kind took.
#[derive(Debug, Default)]
struct Total {
    done: Done,
    ns: u64,
}

impl Total {
    /// One more slice; the nanoseconds that it took.
    fn drive(
        &mut self,
        path: &mut CachedPath,
        tables: &Tables,
        packets: u64,
        clock: &Clock,
    ) -> f64 {
        let start = clock.now();
        let done = path.drive_published(tables, packets);
        let ns = clock.now().since(start).as_nanos();
        self.ns += ns;
        self.done.operations += done.operations;
        self.done.hits += done.hits;
        self.done.misses += done.misses;
        ns as f64
    }

    fn ns_per_packet(&self) -> f64 {
        self.ns as f64 / self.done.operations.max(1) as f64
    }
}

/// By how much the rate is lower where the same takes `busy` instead of `quiet`.
fn lost_percent(quiet: f64, busy: f64) -> f64 {
    100.0 * (1.0 - quiet / busy.max(f64::MIN_POSITIVE))
}

impl UnderLoad {
    /// Opens `flows` connections; `per_second` routes will change.
    ///
    /// # Errors
    /// When the lab cannot be made or a connection not opened.
    pub fn new(options: &Options, flows: u64, per_second: u64) -> Result<Self, BenchError> {
        let (world, path) = eastwest::established_in(options, Size::Bytes(64), flows)?;
        let missing = || BenchError::wrong("the benchmark's lab lacks a name");
        let main = world.names.vpcs.get("main").ok_or_else(missing)?;
        let table = main
            .route_tables
            .get("clients")
            .ok_or_else(missing)?
            .clone();
        let target = |host: &str| {
            let host = world.names.hosts.get(host);
            let first = host.and_then(|host| host.enis.first());
            first.cloned().ok_or_else(missing)
        };
        let targets = [target("client0")?, target("server0")?];
        Ok(Self {
            packets: (path.round_len() / 8).max(1),
            path,
            publisher: Mutex::new(Publisher {
                table,
                targets,
                world,
                interval: Duration::from_nanos(1_000_000_000 / per_second.max(1)),
                made: 0,
                cpus: other_cpus(),
            }),
            quiet_ns: Vec::new(),
            busy_ns: Vec::new(),
            lost: Vec::new(),
            rates: Vec::new(),
            wrong: None,
        })
    }
}

impl Work for UnderLoad {
    fn round(&mut self) -> Done {
        let Self {
            path,
            publisher,
            packets,
            ..
        } = self;
        let publisher = match publisher.get_mut() {
            Ok(publisher) => publisher,
            Err(poisoned) => poisoned.into_inner(),
        };
        let tables = publisher.world.control.tables().clone();
        let clock = Clock::start();
        let course = Course::default();
        let (mut quiet, mut busy) = (Total::default(), Total::default());
        let (mut made, mut published) = (0, Ok(Ok(())));
        let mut lost = Vec::with_capacity(SLICES as usize);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| publisher.run(&course));
            for _ in 0..SLICES {
                let quiet_ns = quiet.drive(path, &tables, *packets, &clock);
                course.changes.store(true, Ordering::Relaxed);
                thread.thread().unpark();
                let before = course.made.load(Ordering::Relaxed);
                while course.made.load(Ordering::Relaxed) == before && !thread.is_finished() {
                    std::thread::yield_now();
                }
                let before = course.made.load(Ordering::Relaxed);
                let busy_ns = busy.drive(path, &tables, *packets, &clock);
                lost.push(lost_percent(quiet_ns, busy_ns));
                made += course.made.load(Ordering::Relaxed) - before;
                course.changes.store(false, Ordering::Relaxed);
            }
            course.stop.store(true, Ordering::Relaxed);
            thread.thread().unpark();
            published = thread.join();
        });
        let wrong = match published {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("the API refused: {error}")),
            Err(_) => Some(String::from("the thread that changes routes panicked")),
        };
        self.wrong = self.wrong.take().or(wrong);
        self.quiet_ns.push(quiet.ns_per_packet());
        self.busy_ns.push(busy.ns_per_packet());
        self.lost.push(Spread::of(&lost).median);
        self.rates.push(made as f64 / (busy.ns.max(1) as f64 / 1e9));
        Done {
            elapsed: Some(std::time::Duration::from_nanos(busy.ns)),
            ..busy.done
        }
    }

    fn verify(&mut self, done: &Done) -> Result<(), BenchError> {
        if let Some(wrong) = self.wrong.take() {
            return Err(BenchError::Wrong(wrong));
        }
        let packets = SLICES * self.packets;
        if done.operations != packets || done.misses != 0 || done.hits != packets {
            return Err(BenchError::wrong(format!(
                "of {} packets {} came out and {} were walked: a change to one prefix must not stale the flows of others",
                packets, done.operations, done.misses
            )));
        }
        self.path.inspect()
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        // The first round warmed everything up.
        let timed = |values: &[f64]| values.get(1..).unwrap_or_default().to_vec();
        let (quiet, busy) = (timed(&self.quiet_ns), timed(&self.busy_ns));
        // A slice in which another program or the host took the processor moves a round's
        // sum by as much as the mark allows, but not its middle pair; what changes cost is in
        // every pair, some 40 of them in each.
        let lost = Spread::of(&timed(&self.lost));
        let sums = quiet.iter().zip(&busy);
        let sums: Vec<f64> = sums
            .map(|(&quiet, &busy)| lost_percent(quiet, busy))
            .collect();
        vec![
            ("updates_per_second", Spread::of(&timed(&self.rates)).median),
            ("without_updates_ns", Spread::of(&quiet).median),
            ("throughput_lost_percent", lost.median),
            ("throughput_lost_in_sum_percent", Spread::of(&sums).median),
            ("throughput_lost_min_percent", lost.min),
            ("throughput_lost_max_percent", lost.max),
        ]
    }
}
