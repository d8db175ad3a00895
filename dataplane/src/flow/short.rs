//! What the short way of cached packets (`pipeline/short.rs`) asks the table: of
//! IPv4, and without judging anything.

use super::action::Hot;
use super::entry::{Entry, Line, line_flag, state_flag};
use super::family::Family;
use super::shift::Settled;
use super::table::{REPLY, SessionId, Table, split};
use super::{Direction, memory};
use crate::time::{Duration, Instant};

/// An IPv4 key, in the form in which entries hold it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Key4 {
    /// Source and destination address, as they lie in the packet. (One number, as `kind`:
    /// it is written whole, and read whole at once.)
    pub(crate) ends: u64,
    pub(crate) ports: u32,
    pub(crate) ingress: u32,
    /// Protocol, and [`Key4::ENI`] or [`Key4::GWLB`], by what the end is. (One number:
    /// what is written in halves cannot be read as a whole at once.)
    pub(crate) kind: u16,
}

/// An IPv6 key of an interface's packets, in the form in which entries hold it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key6 {
    pub(crate) src: u128,
    pub(crate) dst: u128,
    pub(crate) ports: u32,
    pub(crate) ingress: u32,
    pub(crate) protocol: u8,
}

impl Key4 {
    /// In a kind: the end is an interface. (As the line's flags have it whose packets
    /// may go the short way.)
    pub(crate) const ENI: u16 = (line_flag::INDEXED as u16 | line_flag::COMPILED as u16) << 8;
    /// The end is a gateway load balancer flow.
    pub(crate) const GWLB: u16 = Self::ENI | (line_flag::GWLB as u16) << 8;

    /// Both addresses in one number.
    #[inline(always)]
    pub(crate) const fn both_ends(src: u32, dst: u32) -> u64 {
        let (src, dst) = (src as u64, dst as u64);
        match cfg!(target_endian = "little") {
            true => dst << 32 | src,
            false => src << 32 | dst,
        }
    }

    /// Source and destination address.
    #[inline(always)]
    pub(crate) const fn addresses(&self) -> (u32, u32) {
        let (low, high) = (self.ends as u32, (self.ends >> 32) as u32);
        match cfg!(target_endian = "little") {
            true => (low, high),
            false => (high, low),
        }
    }

    /// The protocol.
    #[inline(always)]
    pub(crate) const fn protocol(&self) -> u8 {
        self.kind as u8
    }

    /// Whether both are the same end's.
    #[inline]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.ends, self.ports) == (other.ends, other.ports)
            && (self.ingress, self.kind) == (other.ingress, other.kind)
    }
}

impl Line<u32> {
    /// Whether the index finds the session for packets with this key, and, if `READY`,
    /// they have an action. (All at once, with a single branch.)
    #[inline(always)]
    fn is_for4<const READY: bool>(&self, key: &Key4) -> bool {
        let ready = match READY {
            true => line_flag::COMPILED,
            false => 0,
        };
        let own = [0xff, line_flag::INDEXED | line_flag::GWLB | ready];
        let kind = u16::from_le_bytes([self.protocol, self.flags]) ^ key.kind;
        let ends = Key4::both_ends(self.src, self.dst) ^ key.ends;
        let other = (self.ports ^ key.ports)
            | (self.ingress ^ key.ingress)
            | u32::from(kind & u16::from_le_bytes(own));
        ends | u64::from(other) == 0
    }
}

impl Table {
    /// Hash of a key.
    #[inline(always)]
    pub(crate) fn hash4(&self, key: &Key4) -> u64 {
        self.seed.v4(key.ends, key.ports, key.ingress, key.kind)
    }

    /// Fetches the bucket that [`Self::prefetch_entry`] reads.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Fetches the line that answers for a hash, most probably, and says which; with
    /// the session's state for a packet that will change it.
    #[inline(always)]
    pub(crate) fn prefetch_entry(&self, hash: u64, and_state: bool) -> u32 {
        let reference = self.index.guess(hash).unwrap_or(u32::MAX);
        self.prefetch_at(reference, and_state);
        reference
    }

    /// The same for a line that somebody has a reference to.
    #[inline(always)]
    pub(crate) fn prefetch_at(&self, reference: u32, and_state: bool) {
        let Some(entry) = self.v4.entries.get((reference >> 3) as usize) else {
            return;
        };
        if and_state {
            memory::prefetch(std::slice::from_ref(entry), 0);
        }
        memory::prefetch(&entry.lines, (reference & 1) as usize);
    }

    /// Fetches the lines of the session in a slot.
    #[inline]
    pub(super) fn prefetch_slot(&self, slot: u32) {
        let at = (slot >> 1) as usize;
        match slot & 1 {
            0 => (0..3).for_each(|line| memory::prefetch_line(&self.v4.entries, at, line)),
            _ => (0..5).for_each(|line| memory::prefetch_line(&self.v6.entries, at, line)),
        }
    }

    /// Fetches the buckets that a session's ends are in, and what its load balancer shares.
    pub(crate) fn prefetch_ends(&self, id: SessionId) {
        if let Some(state) = self.state(id.slot) {
            self.lbs.prefetch(state.lb);
        }
        for direction in [Direction::Forward, Direction::Reply] {
            if let Some(hash) = self.end_hash(id.slot, direction) {
                self.index.prefetch(hash);
            }
        }
    }

    /// Fetches the lines that the session after the next `ahead` will have.
    #[inline]
    pub(crate) fn prefetch_next<A: Family>(&self, ahead: usize) {
        let store = A::store(&self.v4, &self.v6);
        let at = store.next(ahead);
        for line in 0..size_of::<Entry<A>>() / 64 {
            memory::prefetch_line(&store.entries, at, line);
        }
    }

    /// The slot and direction that answer for a key; `guess` is where they were
    /// when the batch was looked at.
    #[inline(always)]
    pub(crate) fn find4(&self, key: &Key4, hash: u64, guess: u32) -> Option<(u32, Direction)> {
        let is_it = |reference: u32| {
            let (slot, direction) = split(reference);
            reference & 7 <= REPLY
                && self
                    .v4
                    .line(slot, direction)
                    .is_some_and(|line| line.is_for4::<false>(key))
        };
        if is_it(guess) {
            return Some(split(guess));
        }
        self.index.find(hash, is_it).map(split)
    }

    /// The direction that a reference leads to, if it answers for a key and has an action.
    #[inline(always)]
    pub(crate) fn guessed4_mut(
        &mut self,
        key: &Key4,
        guess: u32,
    ) -> Option<(&mut Line<u32>, &Hot)> {
        let entry = self.v4.entries.get_mut((guess >> 3) as usize)?;
        let line = entry.lines.get_mut((guess & 1) as usize)?;
        if guess & 7 > REPLY || !line.is_for4::<true>(key) {
            return None;
        }
        let hot = self.hot.get(line.action as usize)?;
        Some((line, hot))
    }

    /// Whether the direction that a reference leads to answers for a key and has an action.
    pub(crate) fn is_guessed4(&self, key: &Key4, guess: u32) -> bool {
        let line = self.v4.line(guess >> 2, split(guess).1);
        let line = line.filter(|line| guess & 7 <= REPLY && line.is_for4::<false>(key));
        line.is_some_and(|line| self.hot.get(line.action as usize).is_some())
    }

    /// A direction of a session, and what a cached packet needs of its action.
    #[inline(always)]
    pub(crate) fn way<A: Family>(
        &self,
        (slot, direction): (u32, Direction),
    ) -> Option<(&Line<A>, &Hot)> {
        let line = A::store(&self.v4, &self.v6).line(slot, direction)?;
        Some((line, self.hot.get(line.action as usize)?))
    }

    /// The same, to count in.
    #[inline(always)]
    pub(crate) fn way4_mut(
        &mut self,
        (slot, direction): (u32, Direction),
    ) -> Option<(&mut Line<u32>, &Hot)> {
        let line = self.v4.line_mut(slot, direction)?;
        let hot = self.hot.get(line.action as usize)?;
        Some((line, hot))
    }

    /// The session in a slot.
    pub(crate) fn id(&self, slot: u32) -> Option<SessionId> {
        let state = match slot & 1 {
            0 => &self.v4.entry(slot)?.state,
            _ => &self.v6.entry(slot)?.state,
        };
        Some(state.id(slot))
    }

    /// Notes at both directions of a session, where TCP numbers change, what is left to do
    /// to them.
    pub(crate) fn note_shift(&mut self, id: SessionId, settled: Option<Settled>) {
        if self.id(id.slot) != Some(id) {
            return;
        }
        if id.slot & 1 == 0 {
            let entry = self.v4.entry_mut(id.slot);
            entry.map(|entry| entry.lines.each_mut().map(|line| line.note_shift(settled)));
        } else {
            let entry = self.v6.entry_mut(id.slot);
            entry.map(|entry| entry.lines.each_mut().map(|line| line.note_shift(settled)));
        }
    }

    /// Takes a packet into account in the session's state.
    pub(crate) fn pass_told(
        &mut self,
        (slot, direction): (u32, Direction),
        tcp_flags: u8,
        now: Instant,
    ) -> Option<SessionId> {
        let (id, moves) = if slot & 1 == 0 {
            self.v4
                .entry_mut(slot)?
                .told(slot, direction, tcp_flags, now)
        } else {
            self.v6
                .entry_mut(slot)?
                .told(slot, direction, tcp_flags, now)
        };
        if moves {
            self.queue(slot);
        }
        Some(id)
    }

    /// Takes a packet of this direction into account in the other session that tracks
    /// it where it leaves. `None`, and nothing is done, if that session does not live
    /// or something of it may have timed out.
    #[inline(always)]
    pub(crate) fn pass_linked4(
        &mut self,
        (id, direction): (SessionId, Direction),
        tcp_flags: u8,
        now: Instant,
    ) -> Option<()> {
        let entry = self.v4.entry_mut(id.slot).filter(|_| id.slot & 1 == 0)?;
        if entry.state.age != id.age || !entry.state.has(state_flag::LIVE) {
            return None;
        }
        let line = entry.lines.get_mut(direction.index())?;
        if now.since(line.seen) > self.floor {
            return self.pass_quiet4((id.slot, direction), tcp_flags, now);
        }
        if !line.passes(tcp_flags, now) {
            self.pass_told((id.slot, direction), tcp_flags, now);
        }
        Some(())
    }

    /// The same where nothing was seen for long in this direction.
    #[cold]
    fn pass_quiet4(&mut self, of: (u32, Direction), tcp_flags: u8, now: Instant) -> Option<()> {
        if !self.was_seen(of.0, now) {
            return None;
        }
        let line = self.v4.line_mut(of.0, of.1)?;
        if !line.passes(tcp_flags, now) {
            self.pass_told(of, tcp_flags, now);
        }
        Some(())
    }

    /// Whether the session was seen so short a time ago that nothing of it has
    /// timed out.
    #[inline]
    pub(crate) fn is_young<A: Family>(
        &self,
        (slot, direction): (u32, Direction),
        now: Instant,
    ) -> bool {
        let line = A::store(&self.v4, &self.v6).line(slot, direction);
        line.is_some_and(|line| now.since(line.seen) <= self.floor) || self.was_seen(slot, now)
    }

    #[inline(never)]
    fn was_seen(&self, slot: u32, now: Instant) -> bool {
        let tracking = self.tracking(slot);
        tracking.is_some_and(|tracking| now.since(tracking.last_seen()) <= self.floor)
    }

    /// Nothing that was seen so short a time ago has timed out.
    #[inline(always)]
    pub(crate) const fn floor(&self) -> Duration {
        self.floor
    }
}

/// The same for IPv6, where no session leads into a tunnel or out of one.
impl Table {
    /// Hash of a key.
    #[inline(always)]
    pub(crate) fn hash6(&self, key: &Key6) -> u64 {
        let kind = u16::from(key.protocol);
        self.seed.v6(key.src, key.dst, key.ports, key.ingress, kind)
    }

    /// Fetches the lines that answer for a hash, most probably, and says which; with
    /// the session's state for a packet that will change it.
    #[inline(always)]
    pub(crate) fn prefetch_entry6(&self, hash: u64, and_state: bool) -> u32 {
        let reference = self.index.guess(hash).unwrap_or(u32::MAX);
        let at = (reference >> 3) as usize;
        let first = 1 + 2 * (reference & 1) as usize;
        for line in [first, first + 1] {
            memory::prefetch_line(&self.v6.entries, at, line);
        }
        if and_state {
            memory::prefetch(&self.v6.entries, at);
        }
        reference
    }

    /// The slot and direction that answer for a key; `guess` is where they were
    /// when the batch was looked at.
    #[inline(always)]
    pub(crate) fn find6(&self, key: &Key6, hash: u64, guess: u32) -> Option<(u32, Direction)> {
        let is_it = |reference: u32| {
            let (slot, direction) = split(reference);
            let line = match slot & 1 {
                1 => self.v6.line(slot, direction),
                _ => None,
            };
            line.is_some_and(|line| line.is_for6(key))
        };
        if is_it(guess) {
            return Some(split(guess));
        }
        self.index.find(hash, is_it).map(split)
    }

    /// A direction of an IPv6 session, to count in, and what a cached packet needs of its
    /// action.
    #[inline(always)]
    pub(crate) fn way6_mut(
        &mut self,
        (slot, direction): (u32, Direction),
    ) -> Option<(&mut Line<u128>, &Hot)> {
        let line = self.v6.line_mut(slot, direction)?;
        let hot = self.hot.get(line.action as usize)?;
        Some((line, hot))
    }
}

impl Line<u128> {
    /// Whether the index finds the session for packets with this key.
    #[inline(always)]
    fn is_for6(&self, key: &Key6) -> bool {
        let own = line_flag::INDEXED | line_flag::GWLB;
        let addresses = (self.src ^ key.src) | (self.dst ^ key.dst);
        let other = (self.ports ^ key.ports)
            | (self.ingress ^ key.ingress)
            | u32::from(self.protocol ^ key.protocol)
            | u32::from((self.flags & own) ^ line_flag::INDEXED);
        addresses == 0 && other == 0
    }
}

impl<A> Line<A> {
    /// Whether the short way is open to its packets, and they neither enter a tunnel nor are
    /// tracked by another session, too.
    #[inline(always)]
    pub(crate) const fn goes_straight(&self) -> bool {
        let others = line_flag::LINKED | line_flag::TUNNEL;
        self.flags & (others | line_flag::COMPILED) == line_flag::COMPILED
    }

    /// Whether its packets' TCP numbers change.
    #[inline(always)]
    pub(crate) const fn is_shifted(&self) -> bool {
        self.flags & line_flag::SHIFTED != 0
    }
}
