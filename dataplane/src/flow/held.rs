//! A live session, looked at where it lies: what the walk and the cache ask of it.

use super::entry::{NONE, State};
use super::session::NLB_UDP_IDLE;
use super::table::Table;
use super::{Direction, Ingress, Key, LbFlow, SessionId, Tracking, TrackingTimeouts};
use crate::addr::EniId;
use crate::packet::FiveTuple;
use crate::time::Instant;

/// A session in its table.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    table: &'a Table,
    state: &'a State,
    slot: u32,
}

impl Table {
    /// The session, unless it has ended.
    #[inline]
    pub fn held(&self, id: SessionId) -> Option<Held<'_>> {
        let state = self.alive(id)?;
        Some(Held {
            table: self,
            state,
            slot: id.slot,
        })
    }

    /// Finds a session by one of its ends.
    #[inline]
    pub fn find_held(&self, key: &Key) -> Option<(Held<'_>, Direction)> {
        let (slot, direction) = self.find_slot(key)?;
        let state = self.state(slot)?;
        let held = Held {
            table: self,
            state,
            slot,
        };
        Some((held, direction))
    }
}

impl<'a> Held<'a> {
    pub(super) fn table(&self) -> &'a Table {
        self.table
    }

    pub(super) fn place(&self) -> (&'a State, u32) {
        (self.state, self.slot)
    }

    /// Its name.
    pub fn id(&self) -> SessionId {
        self.state.id(self.slot)
    }

    /// Connection state.
    pub fn tracking(&self) -> Tracking {
        self.table
            .tracking(self.slot)
            .unwrap_or(self.state.tracking)
    }

    /// Network load balancer flow.
    pub fn lb(&self) -> Option<LbFlow> {
        self.table.lb(self.slot)
    }

    /// Whether the network load balancer still knows this flow.
    pub fn lb_alive(&self, now: Instant) -> bool {
        let tracking = self.tracking();
        self.table.lb_tcp_idle(self.state.lb).is_some_and(|idle| {
            !tracking.is_idle(now, tracking.lb_idle_timeout(idle, NLB_UDP_IDLE))
        })
    }

    /// Whether interface `eni` is among those that track it.
    pub fn tracks(&self, eni: EniId) -> bool {
        self.state.tracked.contains(&eni.0)
    }

    /// Whether interface `eni`, with these timeouts, still tracks it.
    pub fn tracked_by(&self, eni: EniId, timeouts: &TrackingTimeouts, now: Instant) -> bool {
        let tracking = self.tracking();
        self.tracks(eni) && !tracking.is_idle(now, tracking.idle_timeout(timeouts))
    }

    /// Whether a cached pass may be used without a closer look.
    pub fn is_fresh(&self, now: Instant) -> bool {
        let tracking = self.tracking();
        let (shortest, _) = self.table.timeouts_of(self.state);
        !tracking.is_idle(now, tracking.idle_timeout(&shortest))
            && (self.state.lb == NONE || self.lb_alive(now))
    }

    /// When nothing of it is alive any more, unless another packet comes.
    pub fn dies_at(&self) -> Instant {
        self.table.dies_at(self.slot)
    }

    /// The end that sends packets of this direction, unless another session
    /// answers for it.
    pub fn end(&self, direction: Direction) -> Option<Key> {
        self.table.end(self.slot, direction)
    }

    /// Whether `tuple` is what interface `eni` sends in this session. Where the
    /// interface is at neither end its load balancer flow may say (the interface that
    /// the client called, and the node); else nobody does.
    ///
    /// Packets of a session may reach its ends as others than before: a changed
    /// route leads past an internet gateway that translated, a load balancer took
    /// another port. What the end tracked says nothing of those.
    pub fn is_sent_by(&self, eni: EniId, tuple: &FiveTuple) -> bool {
        let mut ends = [Direction::Forward, Direction::Reply]
            .into_iter()
            .filter_map(|direction| self.end(direction))
            .filter(|key| key.ingress == Ingress::Eni(eni))
            .peekable();
        if ends.peek().is_some() {
            return ends.any(|key| key.tuple == *tuple);
        }
        let Some(flow) = self.lb() else {
            return true;
        };
        let to_client = *tuple == flow.client.reversed();
        match (flow.front_eni == eni, flow.node == eni) {
            (_, true) => to_client || *tuple == flow.translated,
            (true, false) => to_client,
            (false, false) => true,
        }
    }

    /// By what packets of this direction enter.
    pub fn enters_by(&self, direction: Direction) -> Option<Ingress> {
        self.end(direction).map(|key| key.ingress)
    }
}
