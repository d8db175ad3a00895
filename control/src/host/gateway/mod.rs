//! To and from the real network of the machine, for a lab that asks for it:
//! published ports and the uplink.
//!
//! The gateway is a host of the lab's internet with a small TCP/IP stack of its
//! own, and a user of sockets in the network of whoever started the lab: no
//! rights are needed, and no packet of the lab leaves as it is.
//!
//! ```text
//! 127.0.0.1:8080 ─ accept ─► gateway 192.0.2.1 ──► internet gateway ─► ACL, groups ─► web:80
//! real network  ◄─ connect ─ gateway ◄─ any public address that nobody in the lab has
//! ```
//!
//! A published port is entered as by a client on the internet: the host needs a
//! public address, and its route tables, ACLs and groups judge the gateway's
//! address. The uplink connects where a packet says and nowhere else: to public
//! addresses, and to none of this machine itself. It connects first and answers
//! the packet then, so a refusal stays a refusal.
//!
//! ASSUMPTION: AWS has no such thing; clients of a published port share one
//! source address, as clients behind one NAT do.

mod datagram;
mod engine;
mod link;
mod listen;
mod reach;
mod sockets;
mod tcp;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::io::{WakeReceiver, WakeSender, wake_pair};
use vpclab_dataplane::packet::{FiveTuple, Frame};
use vpclab_dataplane::tables::{Snapshot, Tables};
use vpclab_dataplane::time::{Duration, Instant};
use vpclab_dataplane::worker::Handle;

use super::{Context, HostError};
use engine::Engine;
use link::{Identity, QueuePort};
pub use listen::Listener;

/// Frames that may wait for the gateway; more are dropped as by a full port.
const QUEUE: usize = 1024;
/// Frames taken before the sockets have their turn.
const IN_A_ROW: usize = 256;

/// What the gateway is doing, and has done.
#[derive(Debug, Default)]
pub struct Stats {
    /// TCP connections under way.
    pub tcp: AtomicU64,
    /// UDP and echo conversations under way.
    pub datagrams: AtomicU64,
    /// Connections and conversations refused or forgotten because of too many.
    pub no_room: AtomicU64,
    /// Packets that were not let out.
    pub not_carried: AtomicU64,
}

enum Command {
    Configure(Vec<Listener>, bool, SyncSender<()>),
    Stop(SyncSender<()>),
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    identity: Identity,
    addresses: Vec<IpAddr>,
    /// Whether there is an uplink.
    pub uplink: bool,
    /// Published ports.
    pub listeners: Vec<Listener>,
    /// What it does.
    pub stats: Arc<Stats>,
    commands: SyncSender<Command>,
    wake: WakeSender,
}

impl Gateway {
    /// Starts the gateway's thread at its interface `eni`.
    ///
    /// # Errors
    /// The operating system has no thread or pipe for it.
    pub fn start(tables: &Arc<Tables>, worker: &Handle, eni: EniId) -> Result<Self, HostError> {
        let (identity, addresses) = found(tables, eni)?;
        let rows = Arc::clone(tables);
        let address_of = Box::new(move |target| public_address(&rows.load(), target));
        let engine = Engine::new(identity, addresses.clone(), address_of);
        Self::run(engine, identity, addresses, worker)
    }

    /// Starts something that takes connections at the interface `eni`, whatever
    /// address they are for: each is continued in the stream that `door` gives.
    ///
    /// # Errors
    /// The operating system has no thread or pipe for it.
    pub fn serve(
        tables: &Arc<Tables>,
        worker: &Handle,
        eni: EniId,
        door: impl Fn(FiveTuple) -> Option<UnixStream> + Send + 'static,
    ) -> Result<Self, HostError> {
        let (identity, addresses) = found(tables, eni)?;
        let engine = Engine::serving(identity, Box::new(door));
        Self::run(engine, identity, addresses, worker)
    }

    fn run(
        engine: Engine,
        identity: Identity,
        addresses: Vec<IpAddr>,
        worker: &Handle,
    ) -> Result<Self, HostError> {
        let (frames_in, frames) = sync_channel(QUEUE);
        let (commands_in, commands) = sync_channel(1);
        let (wake, woken) = wake_pair().context("gateway")?;
        let stats = Arc::new(Stats::default());
        let running = Running {
            engine,
            worker: worker.clone(),
            frames,
            commands,
            wake: woken,
            stats: Arc::clone(&stats),
        };
        let port = QueuePort {
            frames: frames_in,
            wake: wake.clone(),
        };
        worker
            .add_port(identity.eni, Box::new(port))
            .context("gateway")?;
        thread::Builder::new()
            .name("gateway".to_owned())
            .spawn(move || running.run())
            .context("thread")?;
        Ok(Self {
            identity,
            addresses,
            uplink: false,
            listeners: Vec::new(),
            stats,
            commands: commands_in,
            wake,
        })
    }

    /// Whether it is the gateway that the interface `eni` wants.
    pub fn is_at(&self, tables: &Tables, eni: EniId) -> bool {
        who(&tables.load(), eni) == Some((self.identity, self.addresses.clone()))
    }

    /// Has these published ports and this uplink; returns once it has. Connections
    /// under way stay.
    pub fn configure(&mut self, listeners: Vec<Listener>, uplink: bool) {
        self.listeners.clone_from(&listeners);
        self.uplink = uplink;
        self.ask(|done| Command::Configure(listeners, uplink, done));
    }

    /// Ends it; returns once its sockets are closed.
    pub fn stop(self, worker: &Handle) {
        self.ask(Command::Stop);
        // A data plane that has ended has no port either.
        let _ = worker.remove_port(self.identity.eni);
    }

    fn ask(&self, command: impl FnOnce(SyncSender<()>) -> Command) {
        let (sender, done) = sync_channel(1);
        if self.commands.send(command(sender)).is_ok() {
            self.wake.wake();
            // One that has ended, with the data plane, has nothing open.
            let _ = done.recv();
        }
    }
}

fn found(tables: &Tables, eni: EniId) -> Result<(Identity, Vec<IpAddr>), HostError> {
    let who = who(&tables.load(), eni);
    who.ok_or_else(|| HostError::new("the gateway has no interface"))
}

/// Who the gateway is at the interface `eni`, and its addresses.
fn who(tables: &Snapshot, eni: EniId) -> Option<(Identity, Vec<IpAddr>)> {
    let row = tables.enis.row(eni)?;
    let identity = Identity {
        eni,
        mac: row.mac,
        router_mac: tables.subnets.row(row.subnet)?.router_mac,
    };
    Some((identity, row.addresses.clone()))
}

/// The address by which the internet reaches an interface: an Elastic IP or an
/// auto-assigned one before the interface's own, IPv4 before IPv6.
pub fn public_address(tables: &Snapshot, eni: EniId) -> Option<IpAddr> {
    let row = tables.enis.row(eni)?;
    let pairs = row.public.iter().map(|pair| pair.public);
    let all = pairs.chain(row.addresses.iter().copied());
    let mut all = all.filter(|&address| tables.public_owner(address) == Some(eni));
    all.next()
}

struct Running {
    engine: Engine,
    worker: Handle,
    frames: Receiver<Frame>,
    commands: Receiver<Command>,
    wake: WakeReceiver,
    stats: Arc<Stats>,
}

impl Running {
    /// Until it is told to stop, or the data plane has ended.
    fn run(mut self) {
        loop {
            let stopped = match self.commands.try_recv() {
                Ok(Command::Configure(listeners, uplink, done)) => {
                    let reach = uplink.then_some(reach::others as reach::Reach);
                    self.engine.configure(listeners, reach);
                    let _ = done.send(());
                    None
                }
                Ok(Command::Stop(done)) => Some(done),
                Err(_) => None,
            };
            if let Some(done) = stopped {
                // Its sockets are closed before it says so.
                drop(self);
                let _ = done.send(());
                return;
            }
            let now = self.now();
            let Some(more) = self.take_frames(now) else {
                return;
            };
            let out = self.engine.turn(now);
            if !out.is_empty() && self.worker.inject(out).is_err() {
                return;
            }
            self.count();
            if !self.wait(more) {
                return;
            }
        }
    }

    /// The time of the real network, however fast the lab's clock runs.
    fn now(&self) -> Instant {
        let clock = self.worker.clock();
        Instant::ZERO + clock.real(clock.now().since(Instant::ZERO))
    }

    /// Whether there may be more; `None` when the data plane has gone.
    fn take_frames(&mut self, now: Instant) -> Option<bool> {
        for _ in 0..IN_A_ROW {
            match self.frames.try_recv() {
                Ok(frame) => self.engine.input(now, frame),
                Err(TryRecvError::Empty) => return Some(false),
                Err(TryRecvError::Disconnected) => return None,
            }
        }
        Some(true)
    }

    fn count(&self) {
        let (tcp, datagrams) = self.engine.under_way();
        let counts = self.engine.counts();
        let put = |place: &AtomicU64, value| place.store(value, Ordering::Relaxed);
        put(&self.stats.tcp, tcp as u64);
        put(&self.stats.datagrams, datagrams as u64);
        put(&self.stats.no_room, counts.no_room);
        put(&self.stats.not_carried, counts.not_carried);
    }

    /// Until something may have happened. False when the data plane has gone.
    fn wait(&mut self, more: bool) -> bool {
        let now = self.now();
        let span = match self.engine.deadline(now) {
            _ if more => PollTimeout::ZERO,
            Some(deadline) => timeout(deadline.since(now)),
            None => PollTimeout::NONE,
        };
        let woken = wait_for(&mut self.engine, Some(self.wake.descriptor()), span);
        !woken || self.wake.take().is_ok()
    }
}

/// Waits for the engine's sockets and for `other`; whether that said something.
fn wait_for(engine: &mut Engine, other: Option<BorrowedFd<'_>>, span: PollTimeout) -> bool {
    let mut list: Vec<_> = other
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .into_iter()
        .collect();
    let others = list.len();
    // Which of the engine's each in the list is.
    let mut places = Vec::new();
    let mut count = 0;
    for (place, interest) in engine.interests().enumerate() {
        count = place + 1;
        if let Some((fd, events)) = interest {
            list.push(PollFd::new(fd, events));
            places.push(place);
        }
    }
    // Interrupted or failed, it says nothing: the next turn looks again.
    let _ = poll(&mut list, span);
    let said: Vec<_> = list.iter().map(|it| it.any().unwrap_or(false)).collect();
    drop(list);
    let (other, own) = said.split_at(others);
    let mut ready = vec![false; count];
    for (place, said) in places.into_iter().zip(own) {
        if let Some(ready) = ready.get_mut(place) {
            *ready = *said;
        }
    }
    engine.mark(&ready);
    other.contains(&true)
}

/// In the milliseconds of poll, rounded up.
fn timeout(span: Duration) -> PollTimeout {
    let millis = span.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}
