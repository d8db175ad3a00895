//! The impure shell around a pipeline: ports, the clock, commands.
//!
//! A worker owns its ports, its pipeline (flow shard and counters) and nothing
//! else; several workers share only the published tables. One turn: wait,
//! obey commands, read a batch from every ready port, load the tables once,
//! process, send. Everything a worker is asked comes through a [`Handle`].

mod capture;
mod clock;
mod drop_log;
mod handle;
mod patience;
mod peers;
mod ports;
mod ring;
mod sink;
mod steer;
mod team;
mod tray;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

pub use capture::{Capture, CaptureEvent, CaptureFilter, Direction};
pub use clock::Clock;
pub use drop_log::{DROPS_KEPT, DropRecord, Drops};
pub use handle::{Handle, PortCounters, WorkerCounters, WorkerGone};
pub use ports::Mover;
#[cfg(all(test, loom))]
pub(crate) use ring::ring;
pub use team::team;

use crate::addr::EniId;
use crate::drop::DropReason;
use crate::io::{Links, pin_thread, wake_pair};
use crate::packet::Frame;
use crate::pipeline::{Pipeline, Sink};
use crate::tables::{Snapshot, Tables};
use crate::time::{Duration, Instant};
use handle::{Command, Line};
use patience::Patience;
use peers::Peers;
use ports::Ports;
use sink::BatchSink;

/// Commands waiting; a sender beyond that blocks.
const COMMANDS: usize = 256;
/// A port without descriptor is asked this often.
const ASK_INTERVAL: Duration = Duration::from_millis(1);

/// What a worker does when no frame waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Waiting {
    /// Sleeps until one comes: no processor time, a wake-up for each burst.
    Event,
    /// Looks again for a moment, where pauses are that short, then sleeps.
    #[default]
    Adaptive,
    /// Never sleeps: the shortest delay, for a whole core.
    Busy,
}

/// How a worker runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// What it does when no frame waits.
    pub waiting: Waiting,
    /// Whether io_uring may be used.
    pub ring: bool,
    /// The core it stays on: worker `n` of several on the `n`th after it.
    pub core: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            waiting: Waiting::default(),
            ring: true,
            core: None,
        }
    }
}

/// Owns a pipeline and its ports; runs on one thread.
pub struct Worker {
    // Its ring must be gone before anything else of the worker.
    ports: Ports,
    pipeline: Pipeline,
    tables: Arc<Tables>,
    clock: Clock,
    options: Options,
    commands: Receiver<Command>,
    batch: Vec<Frame>,
    sink: BatchSink,
    links: Links,
    /// What goes to hosts by disturbed links, kept for its memory.
    crossing: Vec<(EniId, Frame)>,
    stopping: bool,
}

impl Worker {
    /// A worker without ports, and the way to talk to it. Frames for the local
    /// stacks at load-balancer nodes go to `local`; when it is full they are
    /// dropped and counted.
    pub fn new(
        pipeline: Pipeline,
        tables: Arc<Tables>,
        clock: Clock,
        options: Options,
        local: SyncSender<(EniId, Frame)>,
    ) -> io::Result<(Self, Handle)> {
        let (wake, woken) = wake_pair()?;
        let (sender, commands) = sync_channel(COMMANDS);
        let connections = pipeline.connections();
        let links = Links::new(connections.seed.0 ^ u64::from(connections.shard.index()));
        let worker = Self {
            links,
            crossing: Vec::new(),
            ports: Ports::new(woken),
            pipeline,
            tables,
            clock,
            options,
            commands,
            batch: Vec::new(),
            sink: BatchSink::new(local),
            stopping: false,
        };
        let line = Line {
            commands: sender,
            wake,
        };
        Ok((worker, Handle::new(vec![line], clock)))
    }

    /// Runs until told to stop, or until no handle is left.
    pub fn run(mut self) -> io::Result<()> {
        if let Some(core) = self.options.core {
            pin_thread(core)?;
        }
        self.ports.start(self.options.ring);
        let mut timeout = Some(Duration::ZERO);
        let (mut last_moved, mut pauses) = (Instant::ZERO, false);
        let mut patience = Patience::NEW;
        while !self.stopping {
            let peers = self.sink.peers.as_ref();
            self.ports
                .wait(timeout, || peers.is_some_and(Peers::has_work))?;
            let now = self.clock.now();
            let moved = self.turn(now);
            let quiet = self.clock.real(now.since(last_moved));
            if moved > 0 || self.ports.has_pending() {
                if pauses {
                    patience.came_after(quiet);
                }
                (last_moved, pauses) = (now, false);
            } else {
                pauses = true;
            }
            let looks_on = match self.options.waiting {
                Waiting::Event => moved > 0,
                Waiting::Adaptive => !pauses || patience.looks_on(quiet),
                Waiting::Busy => true,
            };
            timeout = if looks_on {
                Some(Duration::ZERO)
            } else {
                self.idle_time()
            };
        }
        Ok(())
    }

    /// One turn at the moment `now`: commands, then frames. Returns how many
    /// frames came in. [`Self::run`] calls it; so may a simulation.
    pub fn turn(&mut self, now: Instant) -> usize {
        self.stopping |= self.ports.take_wake().is_err();
        self.sink.drops.turn(now);
        self.obey(now);
        if let Some(peers) = &self.sink.peers {
            peers.fetch();
        }
        self.ports
            .receive(now, &mut self.batch, self.pipeline.pool());
        self.cross_links(now);
        let tables = self.tables.load();
        let given = self.batch.len();
        let unsteered = self.exchange(&tables, now);
        let moved = self.batch.len();
        if moved > 0 {
            self.sink.capture.received(now, &self.batch);
            let (batch, sink) = (&mut self.batch, &mut self.sink);
            self.pipeline
                .process_shared(now, &tables, batch, unsteered, sink);
        }
        if self
            .pipeline
            .next_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.pipeline
                .process(now, &tables, &mut self.batch, &mut self.sink);
        }
        drop(tables);
        if let Some(peers) = &mut self.sink.peers {
            peers.pass(self.pipeline.pool());
            peers.wake();
        }
        self.send(now);
        given.max(moved)
    }

    /// Takes what other workers handed over and hands over what is theirs; says how
    /// many at the front of the batch are still to be steered.
    fn exchange(&mut self, tables: &Snapshot, now: Instant) -> usize {
        let Some(peers) = &mut self.sink.peers else {
            return 0;
        };
        // Whoever watches sees a frame once: where it is judged.
        let is_watched = !self.sink.capture.is_idle();
        let has_sessions = !self.pipeline.connections().sessions.is_empty();
        let order = peers.order(tables, has_sessions, is_watched);
        let capture = &mut self.sink.capture;
        let dropped = &mut |eni, bytes: &[u8]| {
            capture.dropped(eni, DropReason::HandoverFull, bytes);
        };
        let pool = self.pipeline.pool();
        peers.exchange(order, tables, now, &mut self.batch, pool, dropped)
    }

    /// Disturbed links lose and delay what came in by them, and bring what
    /// they delayed.
    fn cross_links(&mut self, now: Instant) {
        if self.links.is_idle() {
            return;
        }
        let sink = &mut self.sink;
        let lost = |eni, reason, bytes: &[u8]| sink.dropped(eni, reason, bytes);
        self.links
            .receive(now, &mut self.batch, self.pipeline.pool(), lost);
    }

    /// The same for what goes to hosts.
    fn cross_links_down(&mut self, now: Instant) {
        if self.links.is_idle() {
            return;
        }
        std::mem::swap(&mut self.sink.transmit, &mut self.crossing);
        for (eni, frame) in self.crossing.drain(..) {
            let sink = &mut self.sink;
            let lost = |eni, reason, bytes: &[u8]| sink.dropped(eni, reason, bytes);
            let passed = self
                .links
                .transmit(now, eni, frame, self.pipeline.pool(), lost);
            self.sink.transmit.extend(passed.map(|frame| (eni, frame)));
        }
        while let Some(arrived) = self.links.arrived(now) {
            self.sink.transmit.push(arrived);
        }
    }

    fn send(&mut self, now: Instant) {
        self.cross_links_down(now);
        for (eni, frame) in self.sink.transmit.drain(..) {
            self.sink.capture.transmitted(now, eni, &frame);
            let pool = self.pipeline.pool();
            if let Some(frame) = self.ports.transmit(eni, frame, pool) {
                let reason = DropReason::PortFull;
                self.sink.drops.note(eni, reason, frame.bytes());
                self.sink.capture.dropped(eni, reason, frame.bytes());
                pool.put(frame);
            }
        }
        self.sink.capture.flush();
    }

    /// How long nothing will happen by itself.
    fn idle_time(&self) -> Option<Duration> {
        let ask = self.ports.must_ask().then_some(ASK_INTERVAL);
        let deadline = self
            .pipeline
            .next_deadline()
            .map(|deadline| deadline.since(self.clock.now()));
        let link = self
            .links
            .next_deadline()
            .map(|deadline| deadline.since(self.clock.now()));
        let port = self
            .ports
            .next_attempt()
            .map(|attempt| attempt.since(self.clock.now()));
        let due = [deadline, link, port].into_iter().flatten().min();
        let wait = due.map(|span| self.clock.real(span));
        [ask, wait].into_iter().flatten().min()
    }

    fn obey(&mut self, now: Instant) {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.execute(command, now),
                Err(std::sync::mpsc::TryRecvError::Empty) => return,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                    self.stopping = true;
                    return;
                }
            }
        }
    }

    fn execute(&mut self, command: Command, now: Instant) {
        match command {
            Command::AddPort(eni, port) => self.ports.add(eni, port, self.pipeline.pool()),
            Command::RemovePort(eni) => self.ports.remove(eni, self.pipeline.pool()),
            Command::Counters(reply) => {
                // A reader that gave up waiting is no concern of ours.
                let _ = reply.send(self.counters());
            }
            Command::Drops(from, reply) => {
                let _ = reply.send(self.sink.drops.since(from));
            }
            Command::Inject(frames) => self.batch.extend(frames),
            Command::Serve(mut frames) => {
                let tables = self.tables.load();
                self.pipeline
                    .serve(now, &tables, &mut frames, &mut self.sink);
            }
            Command::StartCapture(watcher) => self.sink.capture.start(watcher),
            Command::Visit(visit) => {
                let tables = self.tables.load();
                visit(&mut self.pipeline, &tables, now);
            }
            Command::SetLink(eni, faults) => {
                let [up, down] = *faults;
                self.links.set(eni, up, down);
            }
            Command::Links(reply) => {
                let _ = reply.send(self.links.counters().collect());
            }
            Command::Stop => {
                self.stopping = true;
                self.ports.abandon();
            }
        }
    }

    /// The accounts so far.
    pub fn counters(&self) -> WorkerCounters {
        let mut pipeline = self.pipeline.counters().clone();
        // The pipeline gave these away; their ports did not take them, or have
        // not yet.
        let (refused, pending) = (self.ports.refused(), self.ports.pending());
        pipeline.transmitted = pipeline.transmitted.saturating_sub(refused + pending);
        pipeline.queued += pending;
        pipeline.drop_many(DropReason::PortFull, refused);
        pipeline.local = pipeline.local.saturating_sub(self.sink.local_lost);
        pipeline.drop_many(DropReason::LocalBusy, self.sink.local_lost);
        let links = self.links.accounts();
        pipeline.received += links.up.total();
        pipeline.generated += links.made;
        pipeline.transmitted += links.made;
        pipeline.transmitted -= (links.down.total() + links.held).min(pipeline.transmitted);
        pipeline.queued += links.held;
        for (reason, count) in links.up.by_reason().chain(links.down.by_reason()) {
            pipeline.drop_many(reason, count);
        }
        // The pipeline counts what it judges, whoever read it.
        let handed = self
            .sink
            .peers
            .as_ref()
            .map(Peers::counts)
            .unwrap_or_default();
        pipeline.received += handed.passed + handed.held + handed.full;
        pipeline.queued += handed.held;
        pipeline.received = pipeline.received.saturating_sub(handed.taken);
        pipeline.handed_in = handed.taken;
        pipeline.handed_out = handed.passed;
        pipeline.drop_many(DropReason::HandoverFull, handed.full);
        WorkerCounters {
            workers: vec![pipeline.clone()],
            pipeline,
            ports: self.ports.counters(),
            capture_lost: self.sink.capture.lost(),
            mover: self.ports.mover().clone(),
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("pipeline", &self.pipeline)
            .field("ports", &self.ports.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Faults, Port, memory_pair};
    use crate::packet::FramePool;
    use crate::pipeline::Config;

    fn worker() -> (Worker, Handle) {
        let (local, _) = sync_channel(1);
        let pipeline = Pipeline::new(Config::default());
        Worker::new(
            pipeline,
            Arc::default(),
            Clock::start(),
            Options::default(),
            local,
        )
        .unwrap()
    }

    #[test]
    fn a_turn_reads_every_port_and_captures_what_it_read() {
        let (mut worker, handle) = worker();
        let mut pool = FramePool::new(0);
        let mut hosts = Vec::new();
        for eni in [EniId(4), EniId(9)] {
            let (mut host, port) = memory_pair(64);
            host.transmit(Frame::from_bytes(EniId(0), b"frame"), &mut pool)
                .unwrap();
            handle.add_port(eni, Box::new(port)).unwrap();
            hosts.push(host);
        }
        let events = handle.capture(CaptureFilter::default(), 8).unwrap();
        assert_eq!(worker.turn(Instant::ZERO), 2);
        assert_eq!(worker.turn(Instant::ZERO), 0);
        let seen: Vec<_> = events.try_iter().map(|event| event.eni).collect();
        assert_eq!(seen, [EniId(4), EniId(9)]);
        let counters = worker.counters();
        assert!(
            counters
                .ports
                .iter()
                .all(|(_, port)| (port.received, port.received_bytes) == (1, 5))
        );
    }

    #[test]
    fn a_refused_frame_is_a_counted_drop() {
        let (mut worker, handle) = worker();
        let (_host, port) = memory_pair(0);
        handle.add_port(EniId(1), Box::new(port)).unwrap();
        worker.turn(Instant::ZERO);
        for eni in [EniId(1), EniId(2)] {
            let frame = Frame::from_bytes(eni, b"frame");
            crate::pipeline::Sink::transmit(&mut worker.sink, eni, frame);
        }
        worker.turn(Instant::ZERO);
        let counters = worker.counters();
        assert_eq!(counters.pipeline.drops(DropReason::PortFull), 2);
        // One port is full, and its frame gone; of the other nothing is there.
        let kept = worker.sink.drops.since(0).records;
        let kept: Vec<_> = kept.iter().map(|it| (it.eni, it.head())).collect();
        assert_eq!(kept, [(EniId(2), &b"frame"[..])]);
        let refused: u64 = counters.ports.iter().map(|(_, port)| port.refused).sum();
        assert_eq!(refused, 1);
    }

    #[test]
    fn a_disturbed_link_delays_loses_and_balances() {
        let (mut worker, handle) = worker();
        let mut pool = FramePool::new(0);
        let (mut host, port) = memory_pair(64);
        let eni = EniId(1);
        handle.add_port(eni, Box::new(port)).unwrap();
        let slow = Faults {
            delay: Duration::from_millis(20),
            ..Faults::NONE
        };
        handle.set_link(eni, slow, slow).unwrap();
        worker.turn(Instant::ZERO);
        host.transmit(Frame::from_bytes(eni, b"frame"), &mut pool)
            .unwrap();
        worker
            .sink
            .transmit
            .push((eni, Frame::from_bytes(eni, b"reply")));
        assert_eq!(worker.turn(Instant::ZERO), 0, "the frame is on its way");
        assert_eq!(worker.counters().pipeline.queued, 1, "the reply, too");
        let mut seen = Vec::new();
        host.receive(8, &mut seen, &mut pool).unwrap();
        assert!(seen.is_empty());
        assert_eq!(worker.turn(Instant::from_millis(20)), 1);
        host.receive(8, &mut seen, &mut pool).unwrap();
        assert_eq!(seen.len(), 1);

        let down = Faults {
            down: true,
            ..Faults::NONE
        };
        handle.set_link(eni, down, down).unwrap();
        host.transmit(Frame::from_bytes(eni, b"frame"), &mut pool)
            .unwrap();
        assert_eq!(worker.turn(Instant::from_millis(21)), 0);
        let counters = worker.counters().pipeline;
        assert_eq!(counters.drops(DropReason::LinkDown), 1);
        assert_eq!(counters.received, 2);
    }

    #[test]
    fn a_running_worker_obeys_and_stops() {
        let (worker, handle) = worker();
        let thread = std::thread::spawn(move || worker.run());
        let version = handle.visit(|_, tables, _| tables.version).unwrap();
        assert_eq!(version, 0);
        assert_eq!(handle.counters().unwrap().pipeline.received, 0);
        handle.stop().unwrap();
        thread.join().unwrap().unwrap();
        assert!(handle.counters().is_err());
    }
}
