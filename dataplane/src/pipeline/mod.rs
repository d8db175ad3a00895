//! The batch: parse, flow lookup, walk on a miss, rewrite, transmit.
//!
//! - `ingress`: Ethernet, ARP and neighbour discovery; what a packet is
//! - `short`, `short6`, `tunnels`: plain packets whose way is known, a batch at a time
//! - `forward`: the flow cache, and the walk when it misses
//! - `plans`, `answers`: connections that differ in the client's port only;
//!   `places`: what they are kept in; `openings`: the short way of their first
//!   packets; `foreseen`: what these will need; `planned`: what of that differs
//!   between the families
//! - `commit`: what a walk leaves behind: sessions, flows, compiled passes
//! - `proxy`: the proxy protocol header, and the numbers that it shifts
//! - `explain`: the walk of a frame that was dropped, once more
//! - `rewrite`: a compiled pass applied to a frame
//! - `joining`: what leaves while a train is taken apart, together again
//! - `services`: what goes to the services on the link, and their answers
//! - `replies`: what the data plane says itself: ICMP errors, resets, echoes

mod answers;
mod commit;
mod explain;
mod foreseen;
mod forward;
mod ingress;
mod joining;
mod openings;
mod places;
mod planned;
mod plans;
mod proxy;
mod replies;
mod rewrite;
mod services;
mod shifted;
mod short;
mod short6;
mod steps;
mod tunnels;

use crate::addr::EniId;
use crate::counters::Counters;
use crate::drop::DropReason;
use crate::flow::{Seed, SessionId, Shard, Table};
use crate::packet::{Frame, FramePool};
use crate::tables::Snapshot;
use crate::time::{Duration, Instant};
use crate::walk::{Connections, Entry, Path};
use joining::Joining;
use plans::Plans;
use services::Rates;
use short::{LANES, Lane};

/// Capacities and the seed of one pipeline.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Connections tracked at once.
    pub connections: usize,
    /// Gateway load balancer flows at once.
    pub gwlb_flows: usize,
    /// Fragmented datagrams in flight at once.
    pub fragments: usize,
    /// Seed of every hash and choice; the operating system's randomness on real
    /// interfaces, a fixed number in simulations.
    pub seed: u64,
    /// Which worker this is, among how many.
    pub worker: (u32, u32),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections: 1 << 16,
            gwlb_flows: 1 << 14,
            fragments: 1 << 10,
            seed: 0,
            worker: (0, 1),
        }
    }
}

/// Where frames go, and who watches. Methods are called in packet order.
pub trait Sink {
    /// `frame` leaves by the port of interface `port` (to a host). Whoever
    /// takes it may give it back to the pool when done.
    fn transmit(&mut self, port: EniId, frame: Frame);

    /// `frame` is for the local stack at a load balancer's node `eni` (a
    /// health check's reply), or from the host behind `eni` to a service on
    /// its link. The whole Ethernet frame.
    fn local(&mut self, eni: EniId, frame: Frame);

    /// A frame was dropped: its bytes as they were when the verdict fell.
    fn dropped(&mut self, port: EniId, reason: DropReason, bytes: &[u8]) {
        let _ = (port, reason, bytes);
    }

    /// Whose is `frame`, of which no session here knows? It comes back if it is to
    /// be judged here. Asked only where workers share the flows.
    fn steer(
        &mut self,
        now: Instant,
        tables: &Snapshot,
        frame: Frame,
        pool: &mut FramePool,
    ) -> Option<Frame> {
        let _ = (now, tables, pool);
        Some(frame)
    }

    /// Whether it wants to know what enters, and of each packet what it led to before
    /// the next is touched. Packets of nobody who does are changed in one go, and then sent.
    const WATCHES: bool = false;

    /// A frame entered by `port`, before anything else happens to it: told to those who
    /// watch.
    fn received(&mut self, port: EniId, bytes: &[u8]) {
        let _ = (port, bytes);
    }
}

/// Closed sessions that a batch frees at most,
const CLOSED_TOGETHER: usize = 256;
/// and, unless there are more, how long the next ones are left to gather.
const CLOSED_INTERVAL: Duration = Duration::from_millis(50);
/// Slots of the session table looked at in one go for other dead sessions.
const SWEEP_SLOTS: usize = 4096;
/// At most so long between two looks.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Where one of so many slots holds a dead session, looks come as many times as
/// often: flows that come and go fast leave a table that is small, and in
/// the caches.
const SWEEP_HASTE: usize = 8;
/// A table of any size is gone round in about this time: memory of dead
/// sessions is held no longer, and no batch waits for a whole table.
const SWEEP_ROUND: Duration = Duration::from_secs(60);

/// One worker's packet path: tables come in by reference, frames by value.
#[derive(Debug)]
pub struct Pipeline {
    counters: Counters,
    pool: FramePool,
    connections: Connections,
    /// The walk's result, kept for its memory.
    path: Path,
    /// How connections of a class are opened.
    plans: Plans,
    /// How much each interface has asked of services.
    rates: Rates,
    /// What is known of the packets ahead, kept for its memory.
    lanes: Vec<Lane>,
    /// Lists of what frames are cut into, kept for their memory: one for each frame
    /// that is being cut (a train's piece may be cut again).
    lists: Vec<Vec<Frame>>,
    /// What leaves while a train is taken apart.
    joining: Joining,
    next_sweep: Option<Instant>,
    /// When closed sessions are looked at next.
    next_closed: Instant,
}

impl Pipeline {
    /// An idle pipeline.
    pub fn new(config: Config) -> Self {
        let mut connections = Connections::new(
            config.connections,
            config.gwlb_flows,
            config.fragments,
            config.seed,
        );
        let (index, count) = config.worker;
        connections.set_shard(Shard::new(index, count, Seed(config.seed)));
        Self {
            counters: Counters::default(),
            pool: FramePool::new(1024),
            connections,
            path: Path::quiet(),
            plans: Plans::new(config.connections, Seed(config.seed)),
            rates: Rates::default(),
            lanes: vec![Lane::default(); LANES],
            lists: Vec::new(),
            joining: Joining::default(),
            next_sweep: None,
            next_closed: Instant::ZERO,
        }
    }

    /// Forwards every frame of `batch` (each names its port of entry) by one
    /// snapshot, and leaves `batch` empty. No syscall, clock or lock; nothing
    /// is allocated after warm-up.
    pub fn process<S: Sink>(
        &mut self,
        now: Instant,
        tables: &Snapshot,
        batch: &mut Vec<Frame>,
        sink: &mut S,
    ) {
        self.process_shared(now, tables, batch, 0, sink);
    }

    /// The same where the first `unsteered` frames may be another worker's. Sessions
    /// are where their packets meet, so one that a session here knows is its own; any
    /// other is steered ([`Sink::steer`]) before anything is done for it.
    pub fn process_shared<S: Sink>(
        &mut self,
        now: Instant,
        tables: &Snapshot,
        batch: &mut Vec<Frame>,
        mut unsteered: usize,
        sink: &mut S,
    ) {
        let mut lanes = std::mem::take(&mut self.lanes);
        let mut context = Context { now, tables, sink };
        let together = if S::WATCHES { 1 } else { LANES };
        for frames in batch.chunks_mut(LANES) {
            if self.look_ahead(frames, &mut lanes) {
                self.foresee(tables, frames, &mut lanes);
            }
            let mut passed = 0;
            while let (Some(frames), Some(lanes)) =
                (frames.get_mut(passed..), lanes.get_mut(passed..))
                && !frames.is_empty()
            {
                // Those that are to be steered, then those that are not.
                let are_own = unsteered == 0;
                let most = if are_own { frames.len() } else { unsteered };
                let count = most.min(frames.len()).min(together);
                unsteered = unsteered.saturating_sub(count);
                passed += count;
                if let (Some(frames), Some(lanes)) =
                    (frames.get_mut(..count), lanes.get_mut(..count))
                {
                    self.pass_on(&mut context, frames, lanes, are_own);
                }
            }
        }
        // Every frame has been taken: none is looked at again to be freed.
        debug_assert!(batch.iter().all(Frame::is_empty));
        std::mem::forget(batch.drain(..));
        // It is, as std is written; nothing promises that.
        batch.clear();
        self.lanes = lanes;
        self.send_due_headers(&mut context);
        self.expire(now, tables);
    }

    /// Sends frames that were looked at on their ways; those that are perhaps another
    /// worker's are steered where their way is not known.
    #[inline(always)]
    fn pass_on<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut frames: &mut [Frame],
        mut lanes: &mut [Lane],
        are_own: bool,
    ) {
        self.counters.received += frames.len() as u64;
        if S::WATCHES {
            for frame in &*frames {
                context.sink.received(frame.port, frame.bytes());
            }
        }
        loop {
            // Changed where they lie, and moved once, when what was written there has
            // long reached the cache.
            let known = self.short_ways(context.tables, context.now, frames, lanes, are_own);
            let (Some((passed, rest)), Some((ways, others))) = (
                frames.split_at_mut_checked(known),
                lanes.split_at_mut_checked(known),
            ) else {
                return;
            };
            self.counters.transmitted += known as u64;
            for (frame, lane) in passed.iter_mut().zip(ways) {
                context.sink.transmit(lane.out, std::mem::take(frame));
            }
            let (Some((frame, rest)), Some((lane, others))) =
                (rest.split_first_mut(), others.split_first_mut())
            else {
                return;
            };
            match are_own {
                true => self.ingress(context, std::mem::take(frame)),
                false => self.steer(context, std::mem::take(frame), lane),
            }
            (frames, lanes) = (rest, others);
        }
    }

    /// Steers a frame that no session here knows, and judges it if it is to be judged
    /// here.
    #[inline(never)]
    fn steer<S: Sink>(&mut self, context: &mut Context<'_, S>, frame: Frame, lane: &mut Lane) {
        let (now, tables) = (context.now, context.tables);
        let Some(mut frame) = context.sink.steer(now, tables, frame, &mut self.pool) else {
            // Whoever judges it counts it.
            self.counters.received -= 1;
            return;
        };
        let (frames, lanes) = (std::slice::from_mut(&mut frame), std::slice::from_mut(lane));
        if self.short_ways(tables, now, frames, lanes, true) == 0 {
            return self.ingress(context, frame);
        }
        let out = lanes.first().map_or(EniId(0), |lane| lane.out);
        self.transmit(context, out, frame);
    }

    /// Judges a frame as if it had just been delivered to the gateway load
    /// balancer node `node`: for tests of what comes back from appliances.
    pub fn process_at_node<S: Sink>(
        &mut self,
        now: Instant,
        tables: &Snapshot,
        node: EniId,
        frame: Frame,
        sink: &mut S,
    ) {
        self.counters.received += 1;
        let mut context = Context { now, tables, sink };
        self.ip(&mut context, frame, Entry::Node(node));
    }

    /// When [`Self::process`] next has something to do, though no frame came.
    pub fn next_deadline(&self) -> Option<Instant> {
        let sessions = &self.connections.sessions;
        let sweep = self.next_sweep.filter(|_| !sessions.is_empty());
        let closed = sessions.first_closed();
        let closed = closed.map(|(_, dies_at)| self.next_closed.max(dies_at));
        sweep
            .into_iter()
            .chain(closed)
            .chain(self.connections.proxied.next_due())
            .min()
    }

    /// Frees some of what has timed out by `now`. What is still in a table
    /// past its time is never used, so this is about memory only.
    pub fn expire(&mut self, now: Instant, tables: &Snapshot) {
        let _ = tables;
        self.connections.free_rested(now);
        if now >= self.next_closed {
            let mut left = CLOSED_TOGETHER;
            let ended = self.end_each(|sessions| {
                left = left.checked_sub(1)?;
                sessions.next_closed(now)
            });
            if ended < CLOSED_TOGETHER {
                self.next_closed = now + CLOSED_INTERVAL;
            }
        }
        if self.next_sweep.is_some_and(|at| now < at) {
            return;
        }
        let slots = self.connections.sessions.slots_used();
        let looked_at = SWEEP_SLOTS.min(slots);
        let mut steps = looked_at;
        let found = self.end_each(|sessions| sessions.sweep(now, &mut steps));
        self.connections.gwlb.sweep(now, SWEEP_SLOTS);
        let goes = slots.div_ceil(SWEEP_SLOTS) as u64;
        let mut apart = (SWEEP_ROUND.as_nanos() / goes.max(1)).min(SWEEP_INTERVAL.as_nanos());
        if found > 0 && found * SWEEP_HASTE >= looked_at {
            apart /= SWEEP_HASTE as u64;
        }
        self.next_sweep = Some(now + Duration::from_nanos(apart));
    }

    /// The counters so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Recycled frames, for ports that need an empty one.
    pub fn pool(&mut self) -> &mut FramePool {
        &mut self.pool
    }

    /// Live connections and gateway load balancer flows, to look at.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The next gateway load balancer flow gets this cookie and outer source
    /// port, if its slot is free.
    pub fn inject_gwlb_flow(&mut self, cookie: u32, source_port: u16) {
        self.connections.gwlb.inject(cookie, source_port);
    }

    /// Ends each session that `next` names; how many. The memory of one is fetched while
    /// that before it ends.
    fn end_each(&mut self, mut next: impl FnMut(&mut Table) -> Option<SessionId>) -> usize {
        let (mut before, mut ended) = (None, 0);
        loop {
            let id = next(&mut self.connections.sessions);
            if let Some(id) = id {
                self.connections.sessions.prefetch_ends(id);
                ended += 1;
            }
            if let Some(before) = std::mem::replace(&mut before, id) {
                self.end_session(before);
            }
            if id.is_none() {
                return ended;
            }
        }
    }

    fn end_session(&mut self, id: SessionId) {
        self.connections.end(id);
        self.counters.flows_ended += 1;
    }

    fn drop_frame<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        frame: Frame,
        reason: DropReason,
    ) {
        self.let_go(context);
        self.counters.drop(reason);
        context.sink.dropped(frame.port, reason, frame.bytes());
        self.pool.put(frame);
    }

    fn transmit<S: Sink>(&mut self, context: &mut Context<'_, S>, port: EniId, frame: Frame) {
        if self.joining.is_on {
            return self.join(context, port, frame, None);
        }
        self.counters.transmitted += 1;
        context.sink.transmit(port, frame);
    }
}

/// What every step of one frame's way needs.
struct Context<'a, S> {
    now: Instant,
    tables: &'a Snapshot,
    sink: &'a mut S,
}
