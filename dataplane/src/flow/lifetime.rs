//! How long sessions live: their timeouts, the queues of those that are half open and of
//! those that are closed, and the sweep that finds the others that are dead.

use super::entry::{Entry, NONE, State, state_flag};
use super::table::{SessionId, Table};
use super::{Tracking, TrackingTimeouts, memory, nat};
use crate::time::Instant;

/// The sweep fetches the state of the slot so many steps on.
const SWEEP_AHEAD: usize = 8;

impl Table {
    /// Shortest and longest timeouts of the interfaces that track a session.
    pub(super) fn timeouts_of(&self, state: &State) -> (TrackingTimeouts, TrackingTimeouts) {
        self.timeouts
            .get(state.timeouts)
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn set_timeouts(&mut self, slot: u32, pair: (TrackingTimeouts, TrackingTimeouts)) {
        let (number, _) = self.timeouts.intern(pair);
        if let Some(state) = self.state_mut(slot) {
            let old = std::mem::replace(&mut state.timeouts, number);
            self.timeouts.release(old);
        }
    }

    pub(super) fn lower_floor(&mut self, shortest: &TrackingTimeouts) {
        let least = shortest
            .tcp_established
            .min(shortest.udp)
            .min(shortest.udp_stream);
        self.floor = self.floor.min(least);
    }

    /// Connection state of the session in a slot.
    pub(super) fn tracking(&self, slot: u32) -> Option<Tracking> {
        match slot & 1 {
            0 => self.v4.entry(slot).map(Entry::tracking),
            _ => self.v6.entry(slot).map(Entry::tracking),
        }
    }

    /// When nothing of the session in a slot is alive any more.
    pub(super) fn dies_at(&self, slot: u32) -> Instant {
        match (self.state(slot), self.tracking(slot)) {
            (Some(state), Some(tracking)) => self.ends_at(state, &tracking),
            _ => Instant::ZERO,
        }
    }

    fn ends_at(&self, state: &State, tracking: &Tracking) -> Instant {
        let (_, longest) = self.timeouts_of(state);
        let mut idle = tracking.idle_timeout(&longest);
        if state.has(state_flag::NAT) {
            // Without its mapping a session is good for nothing, and its port
            // must become free.
            idle = idle.min(nat::idle(tracking.protocol()));
        }
        tracking.last_seen() + idle
    }

    /// Looks at up to `steps` slots, counting them down, and returns the next dead session
    /// that is not closed ([`Self::next_closed`]), if any; call again until `None`. The hand
    /// moves on between calls.
    pub fn sweep(&mut self, now: Instant, steps: &mut usize) -> Option<SessionId> {
        let (v4, v6) = (self.v4.entries.len(), self.v6.entries.len());
        while *steps > 0 && v4 + v6 > 0 {
            *steps -= 1;
            let at = self.hand % (v4 + v6);
            self.hand = at + 1;
            let slot = match at.checked_sub(v4) {
                None => {
                    memory::prefetch(&self.v4.entries, at + SWEEP_AHEAD);
                    (at as u32) << 1
                }
                Some(at) => {
                    memory::prefetch(&self.v6.entries, at + SWEEP_AHEAD);
                    (at as u32) << 1 | 1
                }
            };
            if let Some(state) = self.state(slot)
                && state.flags & (state_flag::LIVE | state_flag::CLOSED) == state_flag::LIVE
                // The lines are read only where the state says that it is over.
                && self.ends_at(state, &state.tracking) < now
                && self.dies_at(slot) < now
            {
                return Some(state.id(slot));
            }
        }
        None
    }

    /// The closed session that dies first, and when.
    pub fn first_closed(&self) -> Option<(SessionId, Instant)> {
        let slot = self.closed.first;
        let state = self.state(slot)?;
        // Its state has seen all of its packets.
        Some((state.id(slot), self.ends_at(state, &state.tracking)))
    }

    /// The same if it is dead; it is in no queue any more, and the one after it is fetched.
    pub fn next_closed(&mut self, now: Instant) -> Option<SessionId> {
        let (id, dies_at) = self.first_closed()?;
        if dies_at >= now {
            return None;
        }
        self.unqueue(id.slot);
        self.prefetch_slot(self.closed.first);
        Some(id)
    }

    /// Slots that the sweep goes round.
    pub fn slots_used(&self) -> usize {
        self.v4.entries.len() + self.v6.entries.len()
    }

    /// The half-open session that began first.
    pub fn oldest_half_open(&self) -> Option<SessionId> {
        let slot = self.half_open.first;
        Some(self.state(slot)?.id(slot))
    }

    /// Puts a session where it belongs now: at the end of its queue, or in none.
    pub(super) fn queue(&mut self, slot: u32) {
        self.unqueue(slot);
        let tracking = self.state(slot).map(|state| state.tracking);
        if tracking.is_some_and(|tracking| tracking.is_half_open()) {
            self.enqueue(slot, state_flag::HALF_OPEN);
        } else if tracking.is_some_and(|tracking| tracking.is_closed()) {
            match slot & 1 {
                0 => self.v4.entry_mut(slot).map(Entry::unsettle),
                _ => self.v6.entry_mut(slot).map(Entry::unsettle),
            };
            self.enqueue(slot, state_flag::CLOSED);
        }
    }

    /// Puts a session that is in no queue at the end of one.
    pub(super) fn enqueue(&mut self, slot: u32, queue: u8) {
        let last = std::mem::replace(&mut self.queue_of(queue).last, slot);
        if let Some(state) = self.state_mut(slot) {
            state.flags |= queue;
            (state.before, state.after) = (last, NONE);
        }
        match self.state_mut(last) {
            Some(state) => state.after = slot,
            None => self.queue_of(queue).first = slot,
        }
    }

    /// Takes a session out of the queue that it is in, if any.
    pub(super) fn unqueue(&mut self, slot: u32) {
        let Some(state) = self.state_mut(slot) else {
            return;
        };
        let queue = state.flags & state_flag::QUEUED;
        if queue == 0 {
            return;
        }
        state.flags &= !state_flag::QUEUED;
        let (before, after) = (state.before, state.after);
        match self.state_mut(before) {
            Some(state) => state.after = after,
            None => self.queue_of(queue).first = after,
        }
        match self.state_mut(after) {
            Some(state) => state.before = before,
            None => self.queue_of(queue).last = before,
        }
    }

    fn queue_of(&mut self, flag: u8) -> &mut Queue {
        match flag {
            state_flag::CLOSED => &mut self.closed,
            _ => &mut self.half_open,
        }
    }
}

/// Both ends of a queue of sessions, which are linked through their state: slots.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) first: u32,
    last: u32,
}

impl Queue {
    pub(super) const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };
}
