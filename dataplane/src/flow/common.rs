//! What the sessions of one plan have in common, kept by number.

use super::action::Action;
use super::entry::{Entry, TRACKED_MAX, line_flag, ports, state_flag};
use super::held::Held;
use super::table::Table;
use super::{DepsId, Direction, Key, SessionId, Tracking};
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
pub(crate) struct Begin {
    /// What its first packet's end sends, and its other end; no session answers
    /// for either.
    pub(crate) ends: [Key; 2],
    /// What becomes of the packet's tuple.
    pub(crate) rewritten: FiveTuple,
    pub(crate) tracking: Tracking,
    /// Length of the packet.
    pub(crate) bytes: u32,
    pub(crate) now: Instant,
    /// Version of the tables on which the plan was found to stand.
    pub(crate) version: u64,
}

impl Table {
    /// What a session that was just made shares with others like it; `None`
    /// where something is its own.
    pub(crate) fn common(&mut self, id: SessionId) -> Option<Common> {
        let state = self.alive(id)?;
        let (timeouts, lb, tracked) = (state.timeouts, state.lb, state.tracked);
        let line = self.v4.line(id.slot, Direction::Forward)?;
        let own = line_flag::LINKED | line_flag::TUNNEL | line_flag::SHIFTED | line_flag::GWLB;
        let shared = id.slot & 1 == 0
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

    /// Adds an IPv4 session made from a plan. `None` when the table is full.
    pub(crate) fn begin(&mut self, common: &Common, begin: &Begin) -> Option<SessionId> {
        if self.is_full() {
            return None;
        }
        let [near, far] = &begin.ends;
        let slot = self.v4.put([near, far], 0)?;
        self.len += 1;
        for (direction, key) in begin.ends.iter().enumerate() {
            self.index
                .insert(self.key_hash(key), slot << 2 | direction as u32);
        }
        self.timeouts.again(common.timeouts);
        self.lbs.again(common.lb);
        self.actions.again(common.action);
        if let Some(hot) = self.hot.get_mut(common.action as usize) {
            hot.version = begin.version;
        }
        let Entry { state, lines } = self.v4.entry_mut(slot)?;
        for line in lines.iter_mut() {
            line.flags |= line_flag::INDEXED;
        }
        let [line, _] = lines;
        line.leave_as(&begin.rewritten, common.action);
        line.count(begin.bytes);
        state.tracking = begin.tracking;
        state.created = begin.now;
        state.tracked = common.tracked;
        state.timeouts = common.timeouts;
        state.lb = common.lb;
        let id = state.id(slot);
        if begin.tracking.is_half_open() {
            self.list(slot);
        }
        Some(id)
    }
}

impl Table {
    /// The action of a compiled direction of a plain IPv4 session, in use once
    /// more, and what it was decided from.
    pub(crate) fn use_action(
        &mut self,
        id: SessionId,
        direction: Direction,
    ) -> Option<(u32, DepsId)> {
        let line = self
            .v4
            .line(id.slot, direction)
            .filter(|_| id.slot & 1 == 0)?;
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

    /// Compiles the reply of an IPv4 session: by this action, which stands on
    /// tables of this version, to leave with this tuple. `None` if it is compiled.
    pub(crate) fn go_as(
        &mut self,
        id: SessionId,
        action: u32,
        tuple: &FiveTuple,
        version: u64,
    ) -> Option<()> {
        self.alive(id).filter(|_| id.slot & 1 == 0)?;
        let line = self.v4.line_mut(id.slot, Direction::Reply)?;
        if line.flags & line_flag::COMPILED != 0 {
            return None;
        }
        line.leave_as(tuple, action);
        self.actions.again(action);
        if let Some(hot) = self.hot.get_mut(action as usize) {
            hot.version = version;
        }
        Some(())
    }
}

impl Held<'_> {
    /// Of a plain IPv4 session what the walk of an answer reads, in words, and the
    /// near end. The source port is no part of the words.
    pub(crate) fn shared(&self) -> Option<([u64; 5], Key)> {
        let (state, slot) = self.place();
        let odd = state_flag::ODD_LB | state_flag::NAT;
        if slot & 1 != 0 || state.flags & odd != 0 {
            return None;
        }
        let [near, far] = &self.table().v4.entry(slot)?.lines;
        if (near.flags | far.flags) & line_flag::GWLB != 0 {
            return None;
        }
        let [a, b, c, d] = state.tracked.map(u64::from);
        let words = [
            u64::from(near.src) << 32 | u64::from(near.dst),
            u64::from(near.ingress) << 32 | u64::from(near.ports & 0xffff),
            u64::from(near.flags & line_flag::INDEXED) << 32 | u64::from(state.lb),
            a << 32 | b,
            c << 32 | d,
        ];
        Some((words, near.key()))
    }
}

impl super::entry::Line<u32> {
    fn leave_as(&mut self, tuple: &FiveTuple, action: u32) {
        use super::entry::Address;
        if let (Some(src), Some(dst)) = (u32::of(tuple.src), u32::of(tuple.dst)) {
            (self.new_src, self.new_dst) = (src, dst);
            self.new_ports = ports(tuple);
            self.action = action;
            self.flags |= line_flag::COMPILED;
        }
    }
}
