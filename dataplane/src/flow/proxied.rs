//! Connections whose target is sent a proxy protocol header first: what is known
//! of each, and which headers are to be sent again when.
//!
//! Times follow RFC 6298: the first timeout is three times the handshake's round
//! trip, each further one is doubled.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::beside::Beside;
use super::shift::{Settled, Shift};
use super::table::SessionId;
use crate::packet::TcpNumbers;
use crate::time::{Duration, Instant};

/// Shortest and longest wait before a header is sent again.
const TIMEOUT_MIN: Duration = Duration::from_millis(200);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// How often a header is sent at most; after that it is the ends' to give up.
const SENDS_MAX: u8 = 15;
/// A header that others have overtaken is sent again no sooner.
const EARLY_MIN: Duration = Duration::from_millis(1);

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The target has not answered the SYN.
    Opening,
    /// It has; the client has not acknowledged that.
    Answered,
    /// The header is under way.
    Sent,
    /// The target has it.
    Done,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub struct Proxied {
    /// How far it has come.
    pub phase: Phase,
    /// How its numbers differ; means nothing while it is opening.
    pub shift: Shift,
    /// What the client acknowledged last, its window and its timestamps: those of
    /// a header that is sent now.
    pub heard: TcpNumbers,
    /// Timestamps of the client's last segment.
    pub timestamps: Option<(u32, u32)>,
    /// Shift of the target's window field.
    pub scale: u8,
    /// Sequence number of the client's last SYN, and when that was.
    syn: u32,
    syn_at: Instant,
    offers_scale: bool,
    round_trip: Duration,
    sent_at: Instant,
    timeout: Duration,
    due: Instant,
    sends: u8,
    /// Whether the queue has it.
    queued: bool,
}

impl Proxied {
    /// After a client's SYN.
    fn new(syn: &TcpNumbers) -> Self {
        Self {
            phase: Phase::Opening,
            shift: Shift::new(syn.seq.wrapping_add(1), 0),
            heard: *syn,
            timestamps: None,
            scale: 0,
            syn: syn.seq,
            syn_at: Instant::ZERO,
            offers_scale: false,
            round_trip: Duration::ZERO,
            sent_at: Instant::ZERO,
            timeout: TIMEOUT_MIN,
            due: Instant::ZERO,
            sends: 0,
            queued: false,
        }
    }

    /// The client's SYN passes, the first or another.
    pub fn opens(&mut self, syn: &TcpNumbers, scale: Option<u8>, now: Instant) {
        self.syn = syn.seq;
        self.syn_at = now;
        self.offers_scale = scale.is_some();
    }

    /// The target's SYN-ACK passes: its stream will begin with `len` bytes of header.
    pub fn answers(&mut self, answer: &TcpNumbers, scale: Option<u8>, len: u32, now: Instant) {
        let base = self.syn.wrapping_add(1);
        let is_known = self.phase != Phase::Opening && self.shift.base() == base;
        if answer.ack != base || is_known {
            return;
        }
        self.phase = Phase::Answered;
        self.shift = Shift::new(base, len);
        self.scale = scale.filter(|_| self.offers_scale).unwrap_or(0);
        self.round_trip = now.since(self.syn_at);
        let three = Duration::from_nanos(self.round_trip.as_nanos().saturating_mul(3));
        self.timeout = three.clamp(TIMEOUT_MIN, TIMEOUT_MAX);
        self.sends = 0;
    }

    /// What is left to do to its numbers around this one (as the target counts) once the
    /// target has the header; `None` before that.
    pub(crate) fn settled(&self, number: u32) -> Option<Settled> {
        match self.phase {
            Phase::Done => self.shift.settled(number),
            Phase::Opening | Phase::Answered | Phase::Sent => None,
        }
    }

    /// A header that data has overtaken is lost, most probably: whether it is to
    /// be sent again at once.
    pub fn is_overtaken(&self, now: Instant) -> bool {
        let wait = self.round_trip.max(EARLY_MIN);
        self.phase == Phase::Sent && self.sends < SENDS_MAX && now.since(self.sent_at) >= wait
    }
}

/// All of them.
#[derive(Debug)]
pub struct ProxiedFlows {
    held: Beside<(SessionId, Proxied)>,
    /// When to look whether a header is to be sent again. Of those that need it no
    /// more, an entry stays until its time, or until there is no room.
    queue: BinaryHeap<Reverse<(Instant, SessionId)>>,
    /// Most entries of the queue: twice as many as there can be connections.
    queue_max: usize,
}

impl ProxiedFlows {
    /// None, of at most this many sessions.
    pub fn new(capacity: usize) -> Self {
        Self {
            held: Beside::new(capacity),
            queue: BinaryHeap::new(),
            queue_max: capacity.saturating_mul(2),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Proxied> {
        let (of, flow) = self.held.get_mut(id.slot)?;
        (*of == id).then_some(flow)
    }

    /// The same; it is new if the session has none. `None` of a session that cannot be.
    pub fn open(&mut self, id: SessionId, syn: &TcpNumbers) -> Option<&mut Proxied> {
        if self.get_mut(id).is_none() {
            self.held.insert(id.slot, (id, Proxied::new(syn)));
        }
        self.get_mut(id)
    }

    /// The session has ended.
    pub fn remove(&mut self, id: SessionId) -> Option<Proxied> {
        self.get_mut(id)?;
        self.held.remove(id.slot).map(|(_, flow)| flow)
    }

    /// The session has another name now.
    pub fn rename(&mut self, was: Option<Proxied>, id: SessionId) {
        if let Some(mut flow) = was {
            flow.queued = false;
            let waits = flow.phase == Phase::Sent;
            self.held.insert(id.slot, (id, flow));
            if waits {
                self.wait(id);
            }
        }
    }

    /// The header leaves now; what it is made of. `None` when it was sent often
    /// enough.
    pub fn send(&mut self, id: SessionId, now: Instant) -> Option<Proxied> {
        let flow = self.get_mut(id)?;
        if flow.sends >= SENDS_MAX {
            return None;
        }
        if flow.sends > 0 {
            let double = Duration::from_nanos(flow.timeout.as_nanos().saturating_mul(2));
            flow.timeout = double.min(TIMEOUT_MAX);
        }
        flow.sends += 1;
        flow.phase = Phase::Sent;
        flow.sent_at = now;
        flow.due = now + flow.timeout;
        let sent = *flow;
        self.wait(id);
        Some(sent)
    }

    /// Sees to it that the queue has a flow.
    fn wait(&mut self, id: SessionId) {
        if let Some(flow) = self.get_mut(id)
            && !flow.queued
        {
            flow.queued = true;
            let entry = Reverse((flow.due, id));
            self.make_room();
            self.queue.push(entry);
        }
    }

    /// Sees to it that the queue takes another: it grows once, and is rid of those that
    /// wait for nothing any more when it is full.
    fn make_room(&mut self) {
        if self.queue.capacity() == 0 {
            self.queue.reserve_exact(self.queue_max);
        }
        if self.queue.len() >= self.queue_max {
            let held = &self.held;
            let waits = |id: &SessionId| {
                let flow = held.get(id.slot).filter(|(of, _)| of == id);
                flow.is_some_and(|(_, flow)| flow.queued)
            };
            self.queue.retain(|Reverse((_, id))| waits(id));
        }
    }

    /// The next flow whose header is to be sent again now.
    pub fn due(&mut self, now: Instant) -> Option<SessionId> {
        while let Some(&Reverse((at, id))) = self.queue.peek() {
            if at > now {
                return None;
            }
            self.queue.pop();
            let Some(flow) = self.get_mut(id) else {
                continue;
            };
            flow.queued = false;
            if flow.phase != Phase::Sent {
                continue;
            }
            if flow.due <= now {
                return Some(id);
            }
            self.wait(id);
        }
        None
    }

    /// When [`Self::due`] next has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }
}
