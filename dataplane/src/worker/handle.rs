//! What a running worker can be asked.

use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::capture::{CaptureEvent, CaptureFilter};
use super::clock::Clock;
use crate::addr::EniId;
use crate::counters::Counters;
use crate::io::{Faults, LinkCounters, Port, WakeSender};
use crate::packet::Frame;
use crate::pipeline::Pipeline;
use crate::tables::Snapshot;
use crate::time::Instant;

/// What runs on the worker's thread between two batches.
type Visit = Box<dyn FnOnce(&mut Pipeline, &Snapshot, Instant) + Send>;

pub(super) enum Command {
    AddPort(EniId, Box<dyn Port>),
    RemovePort(EniId),
    Counters(SyncSender<WorkerCounters>),
    Inject(Vec<Frame>),
    StartCapture(CaptureFilter, SyncSender<CaptureEvent>),
    Visit(Visit),
    SetLink(EniId, Box<[Faults; 2]>),
    Links(SyncSender<Vec<(EniId, LinkCounters, LinkCounters)>>),
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

/// The accounts of one worker.
#[derive(Clone, Debug, Default)]
pub struct WorkerCounters {
    /// The pipeline's, with frames that a port refused as drops.
    pub pipeline: Counters,
    /// Each port's.
    pub ports: Vec<(EniId, PortCounters)>,
    /// Frames that captures missed because their reader was slow.
    pub capture_lost: u64,
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

/// Talks to a worker from other threads.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: SyncSender<Command>,
    wake: WakeSender,
    clock: Clock,
}

impl Handle {
    pub(super) fn new(commands: SyncSender<Command>, wake: WakeSender, clock: Clock) -> Self {
        Self {
            commands,
            wake,
            clock,
        }
    }

    /// Gives the worker a port; it replaces the interface's former one.
    pub fn add_port(&self, eni: EniId, port: Box<dyn Port>) -> Result<(), WorkerGone> {
        self.send(Command::AddPort(eni, port))
    }

    /// Drops the interface's port; a TAP is gone with it.
    pub fn remove_port(&self, eni: EniId) -> Result<(), WorkerGone> {
        self.send(Command::RemovePort(eni))
    }

    /// Hands frames to the data plane as if they had entered by the interface
    /// each names: how a load balancer's node sends its health checks.
    pub fn inject(&self, frames: Vec<Frame>) -> Result<(), WorkerGone> {
        self.send(Command::Inject(frames))
    }

    /// The counters as of now.
    pub fn counters(&self) -> Result<WorkerCounters, WorkerGone> {
        let (sender, receiver) = sync_channel(1);
        self.send(Command::Counters(sender))?;
        receiver.recv().map_err(|_| WorkerGone)
    }

    /// Copies frames into the channel that is returned until it is dropped.
    /// When `capacity` events wait, more are lost (and counted).
    pub fn capture(
        &self,
        filter: CaptureFilter,
        capacity: usize,
    ) -> Result<Receiver<CaptureEvent>, WorkerGone> {
        let (sender, receiver) = sync_channel(capacity);
        self.send(Command::StartCapture(filter, sender))?;
        Ok(receiver)
    }

    /// Runs `visit` with the pipeline and the current tables between two
    /// batches, and returns its result. No frame moves meanwhile: be brief.
    pub fn visit<R: Send + 'static>(
        &self,
        visit: impl FnOnce(&mut Pipeline, &Snapshot, Instant) -> R + Send + 'static,
    ) -> Result<R, WorkerGone> {
        let (sender, receiver) = sync_channel(1);
        self.send(Command::Visit(Box::new(move |pipeline, tables, now| {
            // A reader that gave up waiting is no concern of the worker.
            let _ = sender.send(visit(pipeline, tables, now));
        })))?;
        receiver.recv().map_err(|_| WorkerGone)
    }

    /// Disturbs the link of an interface: frames from its host, and frames to
    /// it. Two times [`Faults::NONE`] ends that.
    pub fn set_link(&self, eni: EniId, up: Faults, down: Faults) -> Result<(), WorkerGone> {
        self.send(Command::SetLink(eni, Box::new([up, down])))
    }

    /// What the disturbed links have done: frames from the host, and to it.
    pub fn links(&self) -> Result<Vec<(EniId, LinkCounters, LinkCounters)>, WorkerGone> {
        let (sender, receiver) = sync_channel(1);
        self.send(Command::Links(sender))?;
        receiver.recv().map_err(|_| WorkerGone)
    }

    /// Ends the worker after the turn under way.
    pub fn stop(&self) -> Result<(), WorkerGone> {
        self.send(Command::Stop)
    }

    /// The worker's clock.
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    fn send(&self, command: Command) -> Result<(), WorkerGone> {
        // A full queue makes the sender wait, so the worker must be up first.
        self.wake.wake();
        self.commands.send(command).map_err(|_| WorkerGone)?;
        self.wake.wake();
        Ok(())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddPort(..) => "AddPort",
            Self::RemovePort(_) => "RemovePort",
            Self::Counters(_) => "Counters",
            Self::Inject(_) => "Inject",
            Self::StartCapture(..) => "StartCapture",
            Self::Visit(_) => "Visit",
            Self::SetLink(..) => "SetLink",
            Self::Links(_) => "Links",
            Self::Stop => "Stop",
        })
    }
}
