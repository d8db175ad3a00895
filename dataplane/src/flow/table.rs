//! The session table: flat entries, and an index that finds each by either end.
//!
//! Fixed capacity; the entries' memory is reserved at once and used as sessions
//! come. A look costs one bucket of the index and one line of the entry
//! (ARCHITECTURE §8).

use super::action::{Action, Hot};
use super::beside::Beside;
use super::deps::DepsId;
use super::entry::{Address, Line, NONE, State, line_flag, ports, state_flag};
use super::hash::{KeySeed, Seeded};
use super::index::Index;
use super::interned::Interned;
use super::lifetime::Queue;
use super::nat::Nats;
use super::session::fold;
use super::short::Key4;
use super::store::Store;
use super::tracking::SHORTEST;
use super::{Direction, Ingress, Key, LbFlow, Pass, Seed, Session, Tracked, TrackingTimeouts};
use crate::addr::{EndpointId, EniId, LoadBalancerId, TargetGroupId};
use crate::packet::{FiveTuple, Headers};
use crate::time::{Duration, Instant};

/// Names a session; stays unique when the slot is used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId {
    /// Place in its family's store, times two; odd for IPv6.
    pub(super) slot: u32,
    pub(super) age: u32,
}

impl SessionId {
    /// Its place in the table.
    pub(crate) const fn slot(self) -> u32 {
        self.slot
    }
}

/// Most sessions: a reference has 32 bits, of which three say which end it is.
const CAPACITY_MAX: usize = 1 << 28;

/// What the load balancer flows of many sessions share.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct SharedLb {
    endpoint: Option<EndpointId>,
    front_eni: EniId,
    load_balancer: LoadBalancerId,
    node: EniId,
    target_group: TargetGroupId,
    failures: u32,
    tcp_idle: Duration,
    proxied: bool,
    preserved: bool,
}

/// The table.
#[derive(Debug)]
pub struct Table {
    pub(super) seed: KeySeed,
    pub(super) v4: Store<u32>,
    pub(super) v6: Store<u128>,
    pub(super) index: Index,
    capacity: usize,
    pub(super) len: usize,
    pub(super) actions: Interned<Action>,
    /// By action.
    pub(super) hot: Vec<Hot>,
    /// Shortest and longest timeouts of the interfaces that track a session.
    pub(super) timeouts: Interned<(TrackingTimeouts, TrackingTimeouts)>,
    pub(super) lbs: Interned<SharedLb>,
    /// Client's and target's tuple where they are not those of the ends.
    odd_lbs: Beside<(FiveTuple, FiveTuple)>,
    /// The mappings of NAT gateways, by slot.
    pub(super) nats: Beside<Nats>,
    /// No session that was seen so short a time ago has timed out anywhere.
    pub(super) floor: Duration,
    /// Half-open sessions, that which began first before others.
    pub(super) half_open: Queue,
    /// Closed ones, that of which no packet came for longest before others: as they die.
    pub(super) closed: Queue,
    /// Next slot that the sweep looks at.
    pub(super) hand: usize,
}

/// What a reference of the index leads to.
const FORWARD: u32 = 0;
pub(super) const REPLY: u32 = 1;

/// Runs `$body` with the store of the slot's family as `$store`.
macro_rules! store {
    ($table:expr, $slot:expr, $store:ident => $body:expr) => {
        if $slot & 1 == 0 {
            let $store = &$table.v4;
            $body
        } else {
            let $store = &$table.v6;
            $body
        }
    };
}
macro_rules! store_mut {
    ($table:expr, $slot:expr, $store:ident => $body:expr) => {
        if $slot & 1 == 0 {
            let $store = &mut $table.v4;
            $body
        } else {
            let $store = &mut $table.v6;
            $body
        }
    };
}

impl Table {
    /// A table for `capacity` sessions.
    pub fn new(capacity: usize, seed: Seed) -> Self {
        let capacity = capacity.clamp(1, CAPACITY_MAX);
        let seeded = Seeded(seed);
        Self {
            seed: KeySeed::new(seed),
            v4: Store::new(capacity),
            v6: Store::new(capacity),
            index: Index::new(capacity * 2),
            capacity,
            len: 0,
            actions: Interned::new(seeded),
            hot: Vec::new(),
            timeouts: Interned::new(seeded),
            lbs: Interned::new(seeded),
            odd_lbs: Beside::new(capacity),
            nats: Beside::new(capacity),
            floor: SHORTEST,
            half_open: Queue::EMPTY,
            closed: Queue::EMPTY,
            hand: 0,
        }
    }

    /// Live sessions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Most sessions.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether another session fits.
    pub fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    /// Bytes of memory in use: entries that were ever used, index, actions.
    pub fn memory(&self) -> usize {
        self.v4.memory()
            + self.v6.memory()
            + self.index.memory()
            + self.hot.len() * size_of::<Hot>()
    }

    /// Finds a session by one of its ends.
    pub fn find(&self, key: &Key) -> Option<(SessionId, Direction)> {
        let (slot, direction) = self.find_slot(key)?;
        Some((self.state(slot)?.id(slot), direction))
    }

    pub(super) fn find_slot(&self, key: &Key) -> Option<(u32, Direction)> {
        if let Some(key) = Key4::of(key) {
            return self.find4(&key, self.hash4(&key), u32::MAX);
        }
        let found = self.find_line(&self.v6, 1, &Line::<u128>::new(key)?);
        found.map(split)
    }

    /// The session, unless it has ended.
    pub fn get(&self, id: SessionId) -> Option<Session> {
        self.alive(id)?;
        self.session(id.slot)
    }

    /// Adds a session. An end that another session already answers for is
    /// left to that session. `None` when the table is full, or when the ends
    /// are not of one family.
    pub fn insert(&mut self, session: &Session) -> Option<SessionId> {
        let [near, far] = session.keys;
        let (near, far) = (near?, far?);
        let is_free = |key| self.find_slot(key).is_none();
        let indexed = [is_free(&near), near != far && is_free(&far)];
        self.add(session, indexed)
    }

    /// The same, where it is known which ends no other session answers for.
    pub(crate) fn add(&mut self, session: &Session, indexed: [bool; 2]) -> Option<SessionId> {
        if self.is_full() {
            return None;
        }
        let [near, far] = session.keys;
        let keys = [near?, far?];
        let [near, far] = &keys;
        let slot = match near.tuple.src.is_ipv4() {
            true => self.v4.put([near, far], 0)?,
            false => self.v6.put([near, far], 1)?,
        };
        self.len += 1;
        for (direction, (key, indexed)) in keys.iter().zip(indexed).enumerate() {
            if indexed {
                self.index
                    .insert(self.key_hash(key), slot << 2 | direction as u32);
            }
        }
        let (shortest, mut longest) = (session.shortest, session.longest);
        self.lower_floor(&shortest);
        let lb = session.lb.map(|flow| self.share_lb(&flow, &mut longest));
        let (timeouts, _) = self.timeouts.intern((shortest, longest));
        store_mut!(self, slot, store => {
            let entry = store.entry_mut(slot)?;
            let counts = session.packets.into_iter().zip(session.bytes);
            for ((line, indexed), (packets, bytes)) in
                entry.lines.iter_mut().zip(indexed).zip(counts)
            {
                line.set_counts(packets, bytes);
                if indexed {
                    line.flags |= line_flag::INDEXED;
                }
            }
            let state = &mut entry.state;
            state.tracking = session.tracking;
            state.created = session.created;
            state.tracked = session.tracked.rows();
            state.timeouts = timeouts;
            state.lb = lb.unwrap_or(NONE);
        });
        if let Some(flow) = &session.lb {
            self.keep_tuples(slot, flow);
        }
        self.queue(slot);
        Some(self.state(slot)?.id(slot))
    }

    /// Removes a session; returns its load balancer flow, and the dependencies
    /// that nobody uses any more because of it.
    pub fn remove(&mut self, id: SessionId) -> Option<(Option<LbFlow>, [Option<DepsId>; 2])> {
        self.alive(id)?;
        let slot = id.slot;
        self.unqueue(slot);
        let lb = self.clear_lb(slot);
        self.set_nats(id, Nats::default());
        for direction in [Direction::Forward, Direction::Reply] {
            if let Some(hash) = self.end_hash(slot, direction) {
                self.index
                    .remove(hash, slot << 2 | direction.index() as u32);
            }
        }
        let actions = store!(self, slot, store => store.entry(slot)?.lines.each_ref().map(|line| line.action));
        let released = actions.map(|action| Some(self.actions.release(action)?.deps));
        let timeouts = self.state(slot)?.timeouts;
        self.timeouts.release(timeouts);
        store_mut!(self, slot, store => store.take_away(slot));
        self.len -= 1;
        Some((lb, released))
    }

    /// What this end sends belongs to the session no more; it goes on without.
    pub(crate) fn give_up(&mut self, id: SessionId, direction: Direction) {
        if self.alive(id).is_none() {
            return;
        }
        let slot = id.slot;
        if let Some(hash) = self.end_hash(slot, direction) {
            self.index
                .remove(hash, slot << 2 | direction.index() as u32);
        }
        store_mut!(self, slot, store => {
            if let Some(line) = store.line_mut(slot, direction) {
                line.flags &= !line_flag::INDEXED;
            }
        });
    }

    /// Bytes that a session has carried, both ways.
    pub(crate) fn carried(&self, id: SessionId) -> u64 {
        let bytes = |slot| {
            store!(self, slot, store => {
                store.entry(slot).map(|entry| entry.lines.iter().map(|line| line.counts().1).sum())
            })
        };
        self.alive(id).and_then(|_| bytes(id.slot)).unwrap_or(0)
    }

    /// Takes one packet of a session into account; `bytes` are counted if given.
    pub fn touch(
        &mut self,
        id: SessionId,
        direction: Direction,
        headers: &Headers,
        now: Instant,
        bytes: Option<u32>,
    ) {
        if self.alive(id).is_none() {
            return;
        }
        if let Some(bytes) = bytes {
            store_mut!(self, id.slot, store => {
                if let Some(line) = store.line_mut(id.slot, direction) {
                    line.count(bytes);
                }
            });
        }
        let moves = store_mut!(self, id.slot, store => {
            store.entry_mut(id.slot).is_some_and(|entry| {
                entry.state.tracking.touch(headers, direction, now);
                entry.touched()
            })
        });
        if moves {
            self.queue(id.slot);
        }
    }

    /// Interface `eni` tracks this session from now on.
    pub fn track(&mut self, id: SessionId, eni: EniId, timeouts: &TrackingTimeouts) {
        let Some(state) = self.alive(id) else {
            return;
        };
        let mut tracked = Tracked::from_rows(state.tracked);
        tracked.add(eni);
        let before = self.timeouts_of(state);
        let after = fold(before, timeouts);
        self.lower_floor(&after.0);
        if let Some(state) = self.state_mut(id.slot) {
            state.tracked = tracked.rows();
        }
        if before != after {
            self.set_timeouts(id.slot, after);
        }
    }

    /// Interface `eni` tracks this session no more.
    pub fn forget(&mut self, id: SessionId, eni: EniId) {
        if self.alive(id).is_some()
            && let Some(state) = self.state_mut(id.slot)
        {
            let mut tracked = Tracked::from_rows(state.tracked);
            tracked.remove(eni);
            state.tracked = tracked.rows();
        }
    }

    /// Stores the compiled pass of one direction for packets with the
    /// `cookie` of the tunnel that they enter. `version` is that of the tables it was
    /// decided from. Returns dependencies that nobody uses any more.
    pub fn set_pass(
        &mut self,
        id: SessionId,
        direction: Direction,
        pass: &Pass,
        version: u64,
    ) -> [Option<DepsId>; 2] {
        if self.alive(id).is_none() {
            return [Some(pass.deps), None];
        }
        let action = Action::of(pass);
        let (number, is_new) = self.actions.intern(action);
        // An action that is known has its use of the dependencies already.
        let surplus = (!is_new).then_some(pass.deps);
        match self.hot.get_mut(number as usize) {
            Some(hot) if !is_new => hot.version = version,
            Some(place) => *place = action.hot(version),
            None => self.hot.push(action.hot(version)),
        }
        let old = store_mut!(self, id.slot, store => {
            store
                .line_mut(id.slot, direction)
                .and_then(|line| line.compile(pass, number))
        });
        let unused = old.and_then(|old| Some(self.actions.release(old)?.deps));
        [surplus, unused]
    }

    /// The compiled pass of one direction, without its tunnel; and of the
    /// tunnel the cookie and outer TTL, if it enters one.
    pub fn pass(&self, id: SessionId, direction: Direction) -> Option<(Pass, Option<(u32, u8)>)> {
        self.alive(id)?;
        store!(self, id.slot, store => {
            let line = store.line(id.slot, direction)?;
            let compiled = line.flags & line_flag::COMPILED != 0;
            let action = compiled.then(|| self.actions.get(line.action))??;
            let (mut pass, ttl) = action.pass(line.rewritten());
            pass.link = line.link();
            Some((pass, line.tunnel().zip(ttl)))
        })
    }

    /// The pass that [`Self::pass`] returned stands on tables of this version, too.
    pub fn confirm(&mut self, id: SessionId, direction: Direction, version: u64) {
        let line =
            store!(self, id.slot, store => store.line(id.slot, direction).map(|line| line.action));
        if let Some(hot) = line.and_then(|action| self.hot.get_mut(action as usize)) {
            hot.version = version;
        }
    }

    /// Gives a session its load balancer flow; returns the one it had.
    pub fn set_lb(&mut self, id: SessionId, flow: LbFlow) -> Option<LbFlow> {
        let (shortest, longest) = self.timeouts_of(self.alive(id)?);
        let slot = id.slot;
        let old = self.clear_lb(slot);
        let mut longer = longest;
        let number = self.share_lb(&flow, &mut longer);
        self.state_mut(slot)?.lb = number;
        self.keep_tuples(slot, &flow);
        if longer != longest {
            self.set_timeouts(slot, (shortest, longer));
        }
        old
    }

    /// Notes one more user of what load balancer flows share. The mapping lives
    /// as long as the load balancer's timeout says, however short the tracking of
    /// the interfaces is.
    fn share_lb(&mut self, flow: &LbFlow, longest: &mut TrackingTimeouts) -> u32 {
        self.floor = self.floor.min(flow.tcp_idle);
        longest.tcp_established = longest.tcp_established.max(flow.tcp_idle);
        let (number, _) = self.lbs.intern(SharedLb {
            endpoint: flow.endpoint,
            front_eni: flow.front_eni,
            load_balancer: flow.load_balancer,
            node: flow.node,
            target_group: flow.target_group,
            failures: flow.failures,
            tcp_idle: flow.tcp_idle,
            proxied: flow.proxied,
            preserved: flow.preserved,
        });
        number
    }

    /// Keeps the flow's tuples, if they are not those of the session's ends.
    fn keep_tuples(&mut self, slot: u32, flow: &LbFlow) {
        let tuples = (flow.client, flow.translated);
        if self.end_tuples(slot) != Some(tuples) {
            self.odd_lbs.insert(slot, tuples);
            if let Some(state) = self.state_mut(slot) {
                state.flags |= state_flag::ODD_LB;
            }
        }
    }

    /// What the near end sends, and what the far end gets.
    fn end_tuples(&self, slot: u32) -> Option<(FiveTuple, FiveTuple)> {
        store!(self, slot, store => {
            let [near, far] = &store.entry(slot)?.lines;
            Some((near.key().tuple, far.key().tuple.reversed()))
        })
    }

    /// Idle timeout of TCP of a load balancer's flows.
    pub(super) fn lb_tcp_idle(&self, number: u32) -> Option<Duration> {
        self.lbs.get(number).map(|shared| shared.tcp_idle)
    }

    /// The key of an end that the index finds.
    pub(super) fn end(&self, slot: u32, direction: Direction) -> Option<Key> {
        store!(self, slot, store => {
            let line = store.line(slot, direction)?;
            line.is_indexed().then(|| line.key())
        })
    }

    /// All live sessions, in slot order, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, Session)> {
        self.slots().filter_map(|slot| {
            let state = self.state(slot)?;
            Some((state.id(slot), self.session(slot)?))
        })
    }

    fn slots(&self) -> impl Iterator<Item = u32> + use<> {
        let (v4, v6) = (self.v4.entries.len() as u32, self.v6.entries.len() as u32);
        (0..v4)
            .map(|at| at << 1)
            .chain((0..v6).map(|at| at << 1 | 1))
    }

    fn find_line<A: Address>(
        &self,
        store: &Store<A>,
        family: u32,
        wanted: &Line<A>,
    ) -> Option<u32> {
        let hash = self.key_hash(&wanted.key());
        self.index.find(hash, |reference| {
            let (slot, direction) = split(reference);
            slot & 1 == family
                && store
                    .line(slot, direction)
                    .is_some_and(|line| line.is_for(wanted))
        })
    }

    /// Hash of an end that the index finds.
    #[inline]
    pub(super) fn end_hash(&self, slot: u32, direction: Direction) -> Option<u64> {
        if slot & 1 == 0 {
            let line = self.v4.line(slot, direction)?;
            line.is_indexed().then(|| self.hash4(&line.key4()))
        } else {
            let line = self.v6.line(slot, direction)?;
            line.is_indexed().then(|| self.key_hash(&line.key()))
        }
    }

    pub(super) fn key_hash(&self, key: &Key) -> u64 {
        if let Some(key) = Key4::of(key) {
            return self.hash4(&key);
        }
        let (ingress, kind) = match key.ingress {
            Ingress::Eni(eni) => (eni.0, 0),
            Ingress::Gwlb(serial) => (serial, 1 << 8),
        };
        let tuple = &key.tuple;
        let kind = kind | u16::from(tuple.protocol);
        let wide = |address| u128::of(address).unwrap_or_default();
        let (src, dst) = (wide(tuple.src), wide(tuple.dst));
        self.seed.v6(src, dst, ports(tuple), ingress, kind)
    }

    pub(super) fn state(&self, slot: u32) -> Option<&State> {
        store!(self, slot, store => store.entry(slot).map(|entry| &entry.state))
    }

    pub(super) fn state_mut(&mut self, slot: u32) -> Option<&mut State> {
        store_mut!(self, slot, store => store.entry_mut(slot).map(|entry| &mut entry.state))
    }

    #[inline]
    pub(super) fn alive(&self, id: SessionId) -> Option<&State> {
        self.state(id.slot)
            .filter(|state| state.age == id.age && state.has(state_flag::LIVE))
    }

    fn session(&self, slot: u32) -> Option<Session> {
        let state = self.state(slot)?;
        if !state.has(state_flag::LIVE) {
            return None;
        }
        let (shortest, longest) = *self.timeouts.get(state.timeouts)?;
        let (keys, counts) = store!(self, slot, store => {
            let lines = store.entry(slot)?.lines.each_ref();
            (
                lines.map(|line| line.is_indexed().then(|| line.key())),
                lines.map(|line| line.counts()),
            )
        });
        Some(Session {
            keys,
            tracking: self.tracking(slot)?,
            tracked: Tracked::from_rows(state.tracked),
            shortest,
            longest,
            lb: self.lb(slot),
            created: state.created,
            packets: counts.map(|(packets, _)| packets),
            bytes: counts.map(|(_, bytes)| bytes),
        })
    }

    pub(super) fn lb(&self, slot: u32) -> Option<LbFlow> {
        let state = self.state(slot)?;
        let shared = self.lbs.get(state.lb)?;
        let (client, translated) = match state.has(state_flag::ODD_LB) {
            true => *self.odd_lbs.get(slot)?,
            false => self.end_tuples(slot)?,
        };
        Some(LbFlow {
            endpoint: shared.endpoint,
            front_eni: shared.front_eni,
            client,
            load_balancer: shared.load_balancer,
            node: shared.node,
            translated,
            target_group: shared.target_group,
            failures: shared.failures,
            tcp_idle: shared.tcp_idle,
            proxied: shared.proxied,
            preserved: shared.preserved,
        })
    }

    fn clear_lb(&mut self, slot: u32) -> Option<LbFlow> {
        let old = self.lb(slot)?;
        let state = self.state_mut(slot)?;
        let number = std::mem::replace(&mut state.lb, NONE);
        let odd = state.has(state_flag::ODD_LB);
        state.flags &= !state_flag::ODD_LB;
        if odd {
            self.odd_lbs.remove(slot);
        }
        self.lbs.release(number);
        Some(old)
    }
}

/// Slot and direction of a reference.
pub(crate) const fn split(reference: u32) -> (u32, Direction) {
    let direction = match reference & 3 {
        FORWARD => Direction::Forward,
        _ => Direction::Reply,
    };
    (reference >> 2, direction)
}

/// The reference that the index has of a slot and direction.
pub(crate) const fn reference((slot, direction): (u32, Direction)) -> u32 {
    slot << 2 | direction.index() as u32
}

#[cfg(test)]
mod tests {
    use super::super::Tracking;
    use super::*;
    use crate::packet::tcp_flag;

    fn session(n: u32) -> Session {
        let tuple = FiveTuple {
            src: std::net::Ipv4Addr::from(n).into(),
            dst: "10.0.0.2".parse().unwrap(),
            protocol: 6,
            sport: 1000,
            dport: 80,
        };
        let key = |eni, tuple| {
            Some(Key {
                ingress: Ingress::Eni(EniId(eni)),
                tuple,
            })
        };
        let headers = Headers {
            tcp_flags: tcp_flag::SYN,
            ..Headers::synthetic(tuple)
        };
        let keys = [key(1, tuple), key(2, tuple.reversed())];
        Session::new(keys, Tracking::open(&headers, Instant::ZERO), Instant::ZERO)
    }

    /// The handshake will never complete.
    fn reset(table: &mut Table, id: SessionId) {
        let headers = Headers {
            tcp_flags: tcp_flag::RST,
            ..Headers::synthetic(session(0).keys[0].unwrap().tuple)
        };
        table.touch(id, Direction::Reply, &headers, Instant::ZERO, None);
    }

    #[test]
    fn both_ends_find_a_session_until_it_is_removed() {
        let mut table = Table::new(200, Seed(3));
        let ids: Vec<_> = (0..200)
            .map(|n| table.insert(&session(n)).unwrap())
            .collect();
        assert!(table.is_full() && table.insert(&session(999)).is_none());
        // Remove every third, in an order that leaves gaps everywhere.
        for id in ids.iter().step_by(3) {
            assert!(table.remove(*id).is_some());
            assert!(table.remove(*id).is_none(), "an id is good once");
        }
        for (n, id) in ids.iter().enumerate() {
            let [forward, reply] = session(n as u32).keys.map(Option::unwrap);
            let gone = n % 3 == 0;
            assert_eq!(table.find(&forward).is_none(), gone);
            let found = table.find(&reply);
            assert_eq!(found, (!gone).then_some((*id, Direction::Reply)));
        }
        let again = table.insert(&session(0)).unwrap();
        assert!(!ids.contains(&again), "a slot used again has another name");
    }

    #[test]
    fn half_open_sessions_queue_oldest_first() {
        let mut table = Table::new(8, Seed(0));
        let ids: Vec<_> = (0..4).map(|n| table.insert(&session(n)).unwrap()).collect();
        assert_eq!(table.oldest_half_open(), Some(ids[0]));
        reset(&mut table, ids[0]);
        table.remove(ids[1]);
        assert_eq!(table.oldest_half_open(), Some(ids[2]));
        reset(&mut table, ids[3]);
        reset(&mut table, ids[2]);
        assert_eq!(table.oldest_half_open(), None);
    }
}
