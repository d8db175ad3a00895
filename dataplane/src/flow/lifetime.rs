//! How long sessions live: their timeouts, the queue of those that are half open, and the
//! sweep that finds the dead.

use super::entry::{Entry, NONE, State, state_flag};
use super::table::{SessionId, Table};
use super::{Tracking, TrackingTimeouts, nat};
use crate::time::Instant;

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

    /// Looks at up to `steps` slots, counting them down, and returns the next
    /// dead session, if any; call again until `None`. The hand moves on between
    /// calls.
    pub fn sweep(&mut self, now: Instant, steps: &mut usize) -> Option<SessionId> {
        let (v4, v6) = (self.v4.entries.len(), self.v6.entries.len());
        while *steps > 0 && v4 + v6 > 0 {
            *steps -= 1;
            let at = self.hand % (v4 + v6);
            self.hand = at + 1;
            let slot = match at.checked_sub(v4) {
                None => (at as u32) << 1,
                Some(at) => (at as u32) << 1 | 1,
            };
            if let Some(state) = self.state(slot)
                && state.has(state_flag::LIVE)
                // The lines are read only where the state says that it is over.
                && self.ends_at(state, &state.tracking) < now
                && self.dies_at(slot) < now
            {
                return Some(state.id(slot));
            }
        }
        None
    }

    /// Slots that the sweep goes round.
    pub fn slots_used(&self) -> usize {
        self.v4.entries.len() + self.v6.entries.len()
    }

    /// The half-open session that began first.
    pub fn oldest_half_open(&self) -> Option<SessionId> {
        let slot = self.half_open_first;
        Some(self.state(slot)?.id(slot))
    }

    pub(super) fn list(&mut self, slot: u32) {
        let last = self.half_open_last;
        if let Some(state) = self.state_mut(slot) {
            state.flags |= state_flag::LISTED;
            (state.before, state.after) = (last, NONE);
        }
        match self.state_mut(last) {
            Some(state) => state.after = slot,
            None => self.half_open_first = slot,
        }
        self.half_open_last = slot;
    }

    pub(super) fn unlist(&mut self, slot: u32) {
        let Some(state) = self.state_mut(slot) else {
            return;
        };
        if !state.has(state_flag::LISTED) {
            return;
        }
        state.flags &= !state_flag::LISTED;
        let (before, after) = (state.before, state.after);
        match self.state_mut(before) {
            Some(state) => state.after = after,
            None => self.half_open_first = after,
        }
        match self.state_mut(after) {
            Some(state) => state.before = before,
            None => self.half_open_last = before,
        }
    }
}
