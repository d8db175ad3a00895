//! The impure shell around a pipeline: ports, the clock, commands.
//!
//! A worker owns its ports, its pipeline (flow shard and counters) and nothing
//! else; several workers share only the published tables. One turn: wait,
//! obey commands, read a batch from every ready port, load the tables once,
//! process, send. Everything a worker is asked comes through a [`Handle`].

mod capture;
mod clock;
mod handle;
mod sink;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

pub use capture::{CaptureEvent, CaptureFilter, Direction};
pub use clock::Clock;
pub use handle::{Handle, PortCounters, WorkerCounters, WorkerGone};

use crate::addr::EniId;
use crate::drop::DropReason;
use crate::io::{Links, Poller, Port, PortError, WakeReceiver, wake_pair};
use crate::packet::Frame;
use crate::pipeline::{Pipeline, Sink};
use crate::tables::Tables;
use crate::time::{Duration, Instant};
use handle::Command;
use sink::BatchSink;

/// Frames that one port may add to a batch: the least and the most. A port that
/// fills its share gets twice as much at its next turn.
const BATCH_MIN: usize = 8;
const BATCH_MAX: usize = 64;
/// Commands waiting; a sender beyond that blocks.
const COMMANDS: usize = 256;
/// A port without descriptor is asked this often.
const ASK_INTERVAL: Duration = Duration::from_millis(1);

/// A port and its accounts.
struct Slot {
    eni: EniId,
    port: Box<dyn Port>,
    share: usize,
    /// Place in the poller's list; `None` has to be asked.
    place: Option<usize>,
    /// Its last read failed: it is asked no more.
    broken: bool,
    counters: PortCounters,
}

/// Owns a pipeline and its ports; runs on one thread.
pub struct Worker {
    pipeline: Pipeline,
    tables: Arc<Tables>,
    clock: Clock,
    slots: Vec<Slot>,
    /// Slot by interface index.
    slot_of: Vec<Option<usize>>,
    poller: Poller,
    wake: WakeReceiver,
    commands: Receiver<Command>,
    batch: Vec<Frame>,
    sink: BatchSink,
    links: Links,
    refused: u64,
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
        local: SyncSender<(EniId, Frame)>,
    ) -> io::Result<(Self, Handle)> {
        let (wake_sender, wake) = wake_pair()?;
        let (sender, commands) = sync_channel(COMMANDS);
        let mut worker = Self {
            links: Links::new(pipeline.connections().seed.0),
            pipeline,
            tables,
            clock,
            slots: Vec::new(),
            slot_of: Vec::new(),
            poller: Poller::default(),
            wake,
            commands,
            batch: Vec::with_capacity(BATCH_MAX),
            sink: BatchSink::new(local),
            refused: 0,
            stopping: false,
        };
        worker.list_descriptors();
        Ok((worker, Handle::new(sender, wake_sender, clock)))
    }

    /// Runs until told to stop, or until no handle is left.
    pub fn run(mut self) -> io::Result<()> {
        let mut timeout = Some(Duration::ZERO);
        while !self.stopping {
            self.poller.wait(timeout)?;
            let moved = self.turn(self.clock.now());
            timeout = if moved > 0 {
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
        if self.poller.is_ready(WAKE_PLACE) && self.wake.take().is_err() {
            self.stopping = true;
        }
        self.obey(now);
        self.receive();
        self.cross_links(now);
        let moved = self.batch.len();
        let tables = self.tables.load();
        if moved > 0 {
            self.sink.capture.received(now, &self.batch);
            self.pipeline
                .process(now, &tables, &mut self.batch, &mut self.sink);
        }
        if self
            .pipeline
            .next_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.pipeline.expire(now, &tables);
        }
        drop(tables);
        self.send(now);
        moved
    }

    fn receive(&mut self) {
        let mut broken = false;
        for slot in &mut self.slots {
            if slot.broken || slot.place.is_some_and(|place| !self.poller.is_ready(place)) {
                continue;
            }
            let from = self.batch.len();
            let result = slot
                .port
                .receive(slot.share, &mut self.batch, self.pipeline.pool());
            match result {
                Ok(count) if count == slot.share => slot.share = (slot.share * 2).min(BATCH_MAX),
                Ok(_) => slot.share = (slot.share / 2).max(BATCH_MIN),
                Err(_) => {
                    slot.counters.errors += 1;
                    slot.broken = true;
                    broken = true;
                }
            }
            for frame in self.batch.iter_mut().skip(from) {
                frame.port = slot.eni;
                slot.counters.received += 1;
                slot.counters.received_bytes += frame.len() as u64;
            }
        }
        if broken {
            self.list_descriptors();
        }
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
        for (eni, frame) in std::mem::take(&mut self.sink.transmit) {
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
            let slot = self
                .slot_of
                .get(eni.0 as usize)
                .copied()
                .flatten()
                .and_then(|index| self.slots.get_mut(index));
            let Some(slot) = slot else {
                self.refused += 1;
                self.sink
                    .capture
                    .dropped(eni, DropReason::PortFull, frame.bytes());
                self.pipeline.pool().put(frame);
                continue;
            };
            let len = frame.len() as u64;
            match slot.port.transmit(frame, self.pipeline.pool()) {
                Ok(()) => {
                    slot.counters.transmitted += 1;
                    slot.counters.transmitted_bytes += len;
                }
                Err(error) => {
                    self.refused += 1;
                    slot.counters.refused += 1;
                    slot.counters.errors += u64::from(!matches!(error, PortError::Full));
                }
            }
        }
        self.sink.capture.flush();
    }

    /// How long nothing will happen by itself.
    fn idle_time(&self) -> Option<Duration> {
        let asked = self
            .slots
            .iter()
            .any(|slot| slot.place.is_none() && !slot.broken);
        let ask = asked.then_some(ASK_INTERVAL);
        let deadline = self
            .pipeline
            .next_deadline()
            .map(|deadline| deadline.since(self.clock.now()));
        let link = self
            .links
            .next_deadline()
            .map(|deadline| deadline.since(self.clock.now()));
        let due = [deadline, link].into_iter().flatten().min();
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
            Command::AddPort(eni, port) => {
                self.slots.retain(|slot| slot.eni != eni);
                self.slots.push(Slot {
                    eni,
                    port,
                    share: BATCH_MIN,
                    place: None,
                    broken: false,
                    counters: PortCounters::default(),
                });
                self.index_slots();
                self.list_descriptors();
            }
            Command::RemovePort(eni) => {
                self.slots.retain(|slot| slot.eni != eni);
                self.index_slots();
                self.list_descriptors();
            }
            Command::Counters(reply) => {
                // A reader that gave up waiting is no concern of ours.
                let _ = reply.send(self.counters());
            }
            Command::Inject(frames) => self.batch.extend(frames),
            Command::StartCapture(filter, sender) => self.sink.capture.start(filter, sender),
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
            Command::Stop => self.stopping = true,
        }
    }

    fn counters(&self) -> WorkerCounters {
        let mut pipeline = self.pipeline.counters().clone();
        // The pipeline gave these away; their ports did not take them.
        pipeline.transmitted = pipeline.transmitted.saturating_sub(self.refused);
        pipeline.drop_many(DropReason::PortFull, self.refused);
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
        WorkerCounters {
            pipeline,
            ports: self
                .slots
                .iter()
                .map(|slot| (slot.eni, slot.counters))
                .collect(),
            capture_lost: self.sink.capture.lost(),
        }
    }

    fn index_slots(&mut self) {
        self.slot_of.fill(None);
        for (index, slot) in self.slots.iter().enumerate() {
            let eni = slot.eni.0 as usize;
            if self.slot_of.len() <= eni {
                self.slot_of.resize(eni + 1, None);
            }
            if let Some(entry) = self.slot_of.get_mut(eni) {
                *entry = Some(index);
            }
        }
    }

    fn list_descriptors(&mut self) {
        self.poller.clear();
        self.poller.add(self.wake.descriptor());
        for slot in self.slots.iter_mut().filter(|slot| !slot.broken) {
            slot.place = slot.port.readable().map(|fd| self.poller.add(fd));
        }
    }
}

/// The wake-up is first in the poller's list.
const WAKE_PLACE: usize = 0;

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("pipeline", &self.pipeline)
            .field("ports", &self.slots.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Faults, memory_pair};
    use crate::packet::FramePool;
    use crate::pipeline::Config;

    fn worker() -> (Worker, Handle) {
        let (local, _) = sync_channel(1);
        let pipeline = Pipeline::new(Config::default());
        Worker::new(pipeline, Arc::default(), Clock::start(), local).unwrap()
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
        let events = handle.capture(CaptureFilter::All, 8).unwrap();
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
