//! What a running worker can be asked.

use std::fmt;
use std::sync::mpsc::{SyncSender, sync_channel};

use super::capture::{Capture, CaptureFilter, Watcher};
use super::clock::Clock;
use super::drop_log::Drops;
use super::ports::Mover;
use crate::addr::EniId;
use crate::counters::Counters;
use crate::io::{Faults, LinkCounters, Port, WakeSender};
use crate::packet::Frame;
use crate::pipeline::Pipeline;
use crate::tables::Snapshot;
use crate::time::Instant;

/// What runs on the worker's thread between two batches.
type Visit = Box<dyn FnOnce(&mut Pipeline, &Snapshot, Instant) + Send>;

/// A disturbed link: frames from its host, and frames to it.
type LinkReport = (EniId, LinkCounters, LinkCounters);

pub(super) enum Command {
    AddPort(EniId, Box<dyn Port>),
    RemovePort(EniId),
    Counters(SyncSender<WorkerCounters>),
    Drops(u64, SyncSender<Drops>),
    Inject(Vec<Frame>),
    Serve(Vec<Frame>),
    StartCapture(Watcher),
    Visit(Visit),
    SetLink(EniId, Box<[Faults; 2]>),
    Links(SyncSender<Vec<LinkReport>>),
    Stop,
}

/// The accounts of one port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortCounters {
    /// Frames the host sent.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames the host got.
    pub transmitted: u64,
    /// Their bytes.
    pub transmitted_bytes: u64,
    /// Frames the port did not take.
    pub refused: u64,
    /// Errors of the operating system, and frames that never fit.
    pub errors: u64,
}

/// The accounts of one worker, or of several together.
#[derive(Clone, Debug, Default)]
pub struct WorkerCounters {
    /// The pipeline's, with frames that a port refused as drops.
    pub pipeline: Counters,
    /// The same by worker.
    pub workers: Vec<Counters>,
    /// Each port's.
    pub ports: Vec<(EniId, PortCounters)>,
    /// Frames that captures missed because their reader was slow.
    pub capture_lost: u64,
    /// How frames are moved.
    pub mover: Mover,
}

/// The worker has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerGone;

impl fmt::Display for WorkerGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the packet worker has ended")
    }
}

impl std::error::Error for WorkerGone {}

/// The way to one worker.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) commands: SyncSender<Command>,
    pub(super) wake: WakeSender,
}

/// Talks to the workers from other threads; to several as if they were one.
#[derive(Clone, Debug)]
pub struct Handle {
    lines: Vec<Line>,
    clock: Clock,
}

impl Handle {
    pub(super) const fn new(lines: Vec<Line>, clock: Clock) -> Self {
        Self { lines, clock }
    }

    pub(super) fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    /// How many workers there are: a port serves them best with a queue for each.
    pub const fn workers(&self) -> usize {
        self.lines.len()
    }

    /// Gives the workers a port with one queue; it replaces the interface's
    /// former one. One of them reads it, the others send by it.
    pub fn add_port(&self, eni: EniId, port: Box<dyn Port>) -> Result<(), WorkerGone> {
        self.add_queues(eni, vec![port])
    }

    /// The same with several queues, one for each worker. Where there are
    /// fewer, the other workers only send.
    pub fn add_queues(&self, eni: EniId, queues: Vec<Box<dyn Port>>) -> Result<(), WorkerGone> {
        let missing = self.lines.len().saturating_sub(queues.len());
        let mut senders = Vec::new();
        if let Some(first) = queues.first() {
            senders.extend((0..missing).filter_map(|_| first.sender()));
        }
        // Single queues are spread over the workers.
        let start = if missing > 0 { eni.0 as usize } else { 0 };
        for (n, port) in queues.into_iter().chain(senders).enumerate() {
            if let Some(line) = self.lines.get((start + n) % self.lines.len()) {
                line.send(Command::AddPort(eni, port))?;
            }
        }
        Ok(())
    }

    /// Drops the interface's port; a TAP is gone with it.
    pub fn remove_port(&self, eni: EniId) -> Result<(), WorkerGone> {
        self.each(|line| line.send(Command::RemovePort(eni)))
    }

    /// Hands frames to the data plane as if they had entered by the interface
    /// each names: how a load balancer's node sends its health checks.
    pub fn inject(&self, frames: Vec<Frame>) -> Result<(), WorkerGone> {
        self.first()?.send(Command::Inject(frames))
    }

    /// Hands over what local services answer, each frame for the host behind
    /// the interface that it names.
    pub fn serve(&self, frames: Vec<Frame>) -> Result<(), WorkerGone> {
        self.first()?.send(Command::Serve(frames))
    }

    /// The counters as of now, of all workers together.
    pub fn counters(&self) -> Result<WorkerCounters, WorkerGone> {
        let mut sum: Option<WorkerCounters> = None;
        for counters in self.ask(Command::Counters)? {
            match &mut sum {
                Some(sum) => sum.add(counters),
                None => sum = Some(counters),
            }
        }
        sum.ok_or(WorkerGone)
    }

    /// The last frames that were dropped, from these numbers on (one a worker;
    /// all that are kept where there is none), in the order of time.
    pub fn drops(&self, from: &[u64]) -> Result<Drops, WorkerGone> {
        let mut all = Drops::default();
        for (n, line) in self.lines.iter().enumerate() {
            let (sender, receiver) = sync_channel(1);
            let from = from.get(n).copied().unwrap_or(0);
            line.send(Command::Drops(from, sender))?;
            let drops = receiver.recv().map_err(|_| WorkerGone)?;
            all.next.extend(drops.next);
            all.missed += drops.missed;
            all.records.extend(drops.records);
        }
        all.records.sort_by_key(|record| record.at);
        Ok(all)
    }

    /// Copies frames into the channel that is returned until it is dropped.
    /// When `capacity` events wait, more are lost (and counted).
    pub fn capture(&self, filter: CaptureFilter, capacity: usize) -> Result<Capture, WorkerGone> {
        let (capture, watcher) = Capture::new(filter, capacity);
        self.each(|line| line.send(Command::StartCapture(watcher.clone())))?;
        Ok(capture)
    }

    /// Runs `visit` with the first worker's pipeline and the current tables
    /// between two batches, and returns its result. No frame of that worker
    /// moves meanwhile: be brief.
    pub fn visit<R: Send + 'static>(
        &self,
        visit: impl FnOnce(&mut Pipeline, &Snapshot, Instant) -> R + Send + 'static,
    ) -> Result<R, WorkerGone> {
        let (sender, receiver) = sync_channel(1);
        self.first()?.send(visit_command(visit, sender))?;
        receiver.recv().map_err(|_| WorkerGone)
    }

    /// The same at every worker, each at a moment of its own.
    pub fn visit_each<R: Send + 'static>(
        &self,
        visit: impl FnOnce(&mut Pipeline, &Snapshot, Instant) -> R + Send + Clone + 'static,
    ) -> Result<Vec<R>, WorkerGone> {
        self.ask(|sender| visit_command(visit.clone(), sender))
    }

    /// Disturbs the link of an interface: frames from its host, and frames to
    /// it. Two times [`Faults::NONE`] ends that. Each worker does so to the
    /// frames that it moves: of a bandwidth it gets its share.
    pub fn set_link(&self, eni: EniId, up: Faults, down: Faults) -> Result<(), WorkerGone> {
        let share = |faults: Faults| Faults {
            bandwidth: match faults.bandwidth {
                0 => 0,
                bandwidth => (bandwidth / self.lines.len() as u64).max(1),
            },
            ..faults
        };
        let both = [share(up), share(down)];
        self.each(|line| line.send(Command::SetLink(eni, Box::new(both))))
    }

    /// What the disturbed links have done: frames from the host, and to it.
    pub fn links(&self) -> Result<Vec<LinkReport>, WorkerGone> {
        let mut all: Vec<LinkReport> = Vec::new();
        for (eni, up, down) in self.ask(Command::Links)?.into_iter().flatten() {
            match all.iter_mut().find(|(own, ..)| *own == eni) {
                Some((_, own_up, own_down)) => {
                    own_up.add(&up);
                    own_down.add(&down);
                }
                None => all.push((eni, up, down)),
            }
        }
        Ok(all)
    }

    /// Ends the workers after the turn under way.
    pub fn stop(&self) -> Result<(), WorkerGone> {
        // One that has ended must not keep the others running.
        let mut result = Ok(());
        for line in &self.lines {
            result = result.and(line.send(Command::Stop));
        }
        result
    }

    /// The workers' clock.
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    fn first(&self) -> Result<&Line, WorkerGone> {
        self.lines.first().ok_or(WorkerGone)
    }

    fn each(&self, send: impl FnMut(&Line) -> Result<(), WorkerGone>) -> Result<(), WorkerGone> {
        self.lines.iter().try_for_each(send)
    }

    /// Asks all workers at once; answers in their order.
    fn ask<R>(&self, command: impl Fn(SyncSender<R>) -> Command) -> Result<Vec<R>, WorkerGone> {
        let mut answers = Vec::new();
        for line in &self.lines {
            let (sender, receiver) = sync_channel(1);
            line.send(command(sender))?;
            answers.push(receiver);
        }
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.recv().map_err(|_| WorkerGone))
            .collect()
    }
}

impl Line {
    fn send(&self, command: Command) -> Result<(), WorkerGone> {
        // A full queue makes the sender wait, so the worker must be up first.
        self.wake.wake();
        self.commands.send(command).map_err(|_| WorkerGone)?;
        self.wake.wake();
        Ok(())
    }
}

fn visit_command<R: Send + 'static>(
    visit: impl FnOnce(&mut Pipeline, &Snapshot, Instant) -> R + Send + 'static,
    sender: SyncSender<R>,
) -> Command {
    Command::Visit(Box::new(move |pipeline, tables, now| {
        // A reader that gave up waiting is no concern of the worker.
        let _ = sender.send(visit(pipeline, tables, now));
    }))
}

impl WorkerCounters {
    fn add(&mut self, other: Self) {
        self.pipeline.add(&other.pipeline);
        self.workers.extend(other.workers);
        for (eni, counters) in other.ports {
            match self.ports.iter_mut().find(|(own, _)| *own == eni) {
                Some((_, own)) => own.add(&counters),
                None => self.ports.push((eni, counters)),
            }
        }
        self.capture_lost += other.capture_lost;
    }
}

impl PortCounters {
    fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.transmitted += other.transmitted;
        self.transmitted_bytes += other.transmitted_bytes;
        self.refused += other.refused;
        self.errors += other.errors;
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddPort(..) => "AddPort",
            Self::RemovePort(_) => "RemovePort",
            Self::Counters(_) => "Counters",
            Self::Drops(..) => "Drops",
            Self::Inject(_) => "Inject",
            Self::Serve(_) => "Serve",
            Self::StartCapture(..) => "StartCapture",
            Self::Visit(_) => "Visit",
            Self::SetLink(..) => "SetLink",
            Self::Links(_) => "Links",
            Self::Stop => "Stop",
        })
    }
}
