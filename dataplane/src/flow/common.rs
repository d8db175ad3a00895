//! What the sessions of one plan have in common, kept by number.

use super::action::{Action, Hot};
use super::entry::{Address, Entry, Line, TRACKED_MAX, line_flag, ports, split_ports, state_flag};
use super::family::Family;
use super::table::Table;
use super::{DepsId, Direction, SessionId, Tracking};
use crate::packet::FiveTuple;
use crate::time::Instant;

/// The shared parts of a session in its first direction. Holds a use of each,
/// to be given back by [`Table::drop_common`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    action: u32,
    timeouts: u32,
    lb: u32,
    tracked: [u32; TRACKED_MAX],
    /// What the direction was decided from; the action has a use of it.
    pub(crate) deps: DepsId,
}

/// What is new in a session made from a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin<'a, A: Family> {
    /// What its first packet's end sends, and its other end; no session answers
    /// for either.
    pub(crate) ends: [&'a A::Key; 2],
    /// Hashes of the ends.
    pub(crate) hashes: [u64; 2],
    pub(crate) leaves: Leaves<A>,
    pub(crate) tracking: Tracking,
    /// Length of the packet.
    pub(crate) bytes: u32,
    pub(crate) now: Instant,
    /// Version of the tables on which the plan was found to stand.
    pub(crate) version: u64,
}

/// What becomes of a packet's addresses and ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaves<A> {
    pub(crate) src: A,
    pub(crate) dst: A,
    /// Source port, then destination port, as they are sent.
    pub(crate) ports: u32,
}

/// What the walk of an answer reads of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared<A> {
    /// Addresses of the near end.
    pub(crate) src: A,
    pub(crate) dst: A,
    /// Its interface and destination port, what its load balancer flow shares, and who
    /// tracks it.
    pub(crate) rest: [u64; 4],
}

impl<A: Address> Leaves<A> {
    /// `None` if the tuple is of the other family.
    pub(crate) fn with(tuple: &FiveTuple) -> Option<Self> {
        Some(Self {
            src: A::of(tuple.src)?,
            dst: A::of(tuple.dst)?,
            ports: ports(tuple),
        })
    }
}

impl Table {
    /// What a session that was just made shares with others like it; `None`
    /// where something is its own, or it is of the other family.
    pub(crate) fn common<A: Family>(&mut self, id: SessionId) -> Option<Common> {
        let state = self.alive(id)?;
        let (timeouts, lb, tracked) = (state.timeouts, state.lb, state.tracked);
        let line = A::store(&self.v4, &self.v6).line(id.slot, Direction::Forward)?;
        let own = line_flag::LINKED | line_flag::TUNNEL | line_flag::SHIFTED | line_flag::GWLB;
        let shared = id.slot & 1 == A::PARITY
            && !state.has(state_flag::ODD_LB)
            && !state.has(state_flag::NAT)
            && line.flags & (own | line_flag::COMPILED) == line_flag::COMPILED;
        if !shared {
            return None;
        }
        let action = line.action;
        let deps = self
            .actions
            .get(action)
            .map(|action: &Action| action.deps)?;
        self.actions.again(action);
        self.timeouts.again(timeouts);
        self.lbs.again(lb);
        Some(Common {
            action,
            timeouts,
            lb,
            tracked,
            deps,
        })
    }

    /// Gives back what [`Self::common`] holds; dependencies that nobody uses now.
    pub(crate) fn drop_common(&mut self, common: &Common) -> Option<DepsId> {
        self.timeouts.release(common.timeouts);
        self.lbs.release(common.lb);
        Some(self.actions.release(common.action)?.deps)
    }

    /// What a cached packet needs of the action of a plan.
    #[inline]
    pub(crate) fn hot_of(&self, common: &Common) -> Option<&Hot> {
        self.hot_at(common.action)
    }

    /// What a cached packet needs of an action.
    #[inline]
    pub(crate) fn hot_at(&self, action: u32) -> Option<&Hot> {
        self.hot.get(action as usize)
    }

    /// Adds a session made from a plan; its slot. `None` when the table is full.
    #[inline]
    pub(crate) fn begin<A: Family>(
        &mut self,
        common: &Common,
        begin: &Begin<'_, A>,
    ) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let slot = A::store_mut(&mut self.v4, &mut self.v6).take() << 1 | A::PARITY;
        self.len += 1;
        for (direction, hash) in begin.hashes.into_iter().enumerate() {
            self.index.insert(hash, slot << 2 | direction as u32);
        }
        self.timeouts.again(common.timeouts);
        self.lbs.again(common.lb);
        self.actions.again(common.action);
        if let Some(hot) = self.hot.get_mut(common.action as usize) {
            hot.version = begin.version;
        }
        let store = A::store_mut(&mut self.v4, &mut self.v6);
        let Entry { state, lines } = store.entry_mut(slot)?;
        for (line, end) in lines.iter_mut().zip(begin.ends) {
            line.begin(end);
        }
        let [line, _] = lines;
        line.leave_as(&begin.leaves, common.action);
        line.count(begin.bytes);
        // The next packet need not ask the session's state how old it is.
        line.seen = begin.now;
        state.tracking = begin.tracking;
        state.created = begin.now;
        state.tracked = common.tracked;
        state.timeouts = common.timeouts;
        state.lb = common.lb;
        if begin.tracking.is_half_open() {
            self.enqueue(slot, state_flag::HALF_OPEN);
        }
        Some(slot)
    }
}

impl Table {
    /// The action of a compiled direction of a plain session, in use once
    /// more, and what it was decided from.
    pub(crate) fn use_action<A: Family>(
        &mut self,
        id: SessionId,
        direction: Direction,
    ) -> Option<(u32, DepsId)> {
        let line = A::store(&self.v4, &self.v6)
            .line(id.slot, direction)
            .filter(|_| id.slot & 1 == A::PARITY)?;
        let own = line_flag::LINKED | line_flag::TUNNEL | line_flag::SHIFTED | line_flag::GWLB;
        if line.flags & (own | line_flag::COMPILED) != line_flag::COMPILED {
            return None;
        }
        let number = line.action;
        let deps = self
            .actions
            .get(number)
            .map(|action: &Action| action.deps)?;
        self.actions.again(number);
        Some((number, deps))
    }

    /// Gives up one use of an action; dependencies that nobody uses now.
    pub(crate) fn drop_action(&mut self, number: u32) -> Option<DepsId> {
        Some(self.actions.release(number)?.deps)
    }

    /// Compiles the reply of the session in a slot, of which a packet passes: by this
    /// action, which stands on tables of this version. `None` if it is compiled.
    pub(crate) fn go_as<A: Family>(
        &mut self,
        slot: u32,
        action: u32,
        leaves: &Leaves<A>,
        (now, version): (Instant, u64),
    ) -> Option<(&mut Line<A>, &Hot)> {
        let store = A::store_mut(&mut self.v4, &mut self.v6);
        let line = store.line_mut(slot, Direction::Reply)?;
        if line.flags & line_flag::COMPILED != 0 {
            return None;
        }
        line.leave_as(leaves, action);
        line.seen = now;
        self.actions.again(action);
        let hot = self.hot.get_mut(action as usize)?;
        hot.version = version;
        Some((line, hot))
    }
}

impl Table {
    /// Of the plain session in a slot what the walk of an answer reads, and the near end's
    /// source port, which is no part of that.
    #[inline]
    pub(crate) fn shared<A: Family>(&self, slot: u32) -> Option<(Shared<A>, u16)> {
        let store = A::store(&self.v4, &self.v6);
        let Entry { state, lines } = store.entry(slot).filter(|_| slot & 1 == A::PARITY)?;
        let odd = state_flag::ODD_LB | state_flag::NAT;
        let [near, far] = lines;
        if state.flags & odd != 0 || (near.flags | far.flags) & line_flag::GWLB != 0 {
            return None;
        }
        let [a, b, c, d] = state.tracked.map(u64::from);
        let (sport, dport) = split_ports(near.ports);
        let rest = [
            u64::from(near.ingress) << 32 | u64::from(dport),
            u64::from(near.flags & line_flag::INDEXED) << 32 | u64::from(state.lb),
            a << 32 | b,
            c << 32 | d,
        ];
        let shared = Shared {
            src: near.src,
            dst: near.dst,
            rest,
        };
        Some((shared, sport))
    }
}
