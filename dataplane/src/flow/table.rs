//! The session table: a slab of sessions and an open-addressed index that
//! finds each by either end.
//!
//! Fixed capacity, no allocation after construction. A lookup is one probe
//! sequence in the index (linear, hashes compared first) and one session.

use super::{Direction, Key, Seed, Session};
use crate::time::Instant;

/// Names a session; stays unique when the slot is used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionId {
    slot: u32,
    age: u32,
}

#[derive(Debug)]
struct Slot {
    age: u32,
    session: Option<Session>,
    /// Neighbours in the list of half-open sessions, oldest first.
    before: u32,
    after: u32,
    listed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    hash: u32,
    /// 0: empty; else 1 + slot * 2 + direction.
    reference: u32,
}

const NONE: u32 = u32::MAX;

/// The table.
#[derive(Debug)]
pub struct Table {
    seed: Seed,
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: Vec<Entry>,
    mask: usize,
    half_open_first: u32,
    half_open_last: u32,
    /// Next slot that the sweep looks at.
    hand: usize,
}

impl Table {
    /// A table for `capacity` sessions.
    pub fn new(capacity: usize, seed: Seed) -> Self {
        let capacity = capacity.clamp(1, 1 << 28);
        let size = (capacity * 4).next_power_of_two();
        Self {
            seed,
            slots: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            index: vec![Entry::default(); size],
            mask: size - 1,
            half_open_first: NONE,
            half_open_last: NONE,
            hand: 0,
        }
    }

    /// Live sessions.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether another session fits.
    pub fn is_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() == self.slots.capacity()
    }

    /// Finds a session by one of its ends.
    pub fn find(&self, key: &Key) -> Option<(SessionId, Direction)> {
        let hash = self.seed.key(key);
        let mut at = hash as usize & self.mask;
        loop {
            let entry = self.index.get(at)?;
            if entry.reference == 0 {
                return None;
            }
            if entry.hash == (hash >> 32) as u32 {
                let (slot, direction) = unpack(entry.reference);
                let held = self.slots.get(slot as usize)?;
                let session = held.session.as_ref()?;
                if session.keys.get(direction.index()) == Some(&Some(*key)) {
                    return Some((
                        SessionId {
                            slot,
                            age: held.age,
                        },
                        direction,
                    ));
                }
            }
            at = (at + 1) & self.mask;
        }
    }

    /// The session, unless it has ended.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.age == id.age {
            slot.session.as_ref()
        } else {
            None
        }
    }

    /// The session, to change. Its keys must stay as they are.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.age == id.age {
            slot.session.as_mut()
        } else {
            None
        }
    }

    /// Adds a session. An end that another session already answers for is
    /// left to that session. `None` when the table is full.
    pub fn insert(&mut self, mut session: Session) -> Option<SessionId> {
        if self.is_full() {
            return None;
        }
        for key in &mut session.keys {
            if key.as_ref().is_some_and(|key| self.find(key).is_some()) {
                *key = None;
            }
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot {
                    age: 0,
                    session: None,
                    before: NONE,
                    after: NONE,
                    listed: false,
                });
                self.slots.len() as u32 - 1
            }
        };
        for (direction, key) in session.keys.iter().enumerate() {
            if let Some(key) = key {
                self.put(self.seed.key(key), 1 + slot * 2 + direction as u32);
            }
        }
        let half_open = session.tracking.is_half_open();
        let held = self.slots.get_mut(slot as usize)?;
        held.age = held.age.wrapping_add(1);
        held.session = Some(session);
        let id = SessionId {
            slot,
            age: held.age,
        };
        if half_open {
            self.list(slot);
        }
        Some(id)
    }

    /// Removes a session and returns it.
    pub fn remove(&mut self, id: SessionId) -> Option<Session> {
        let keys = self.get(id)?.keys;
        self.unlist(id.slot);
        // Erasing needs the keys of every indexed session, this one's included.
        for (direction, key) in keys.iter().enumerate() {
            if let Some(key) = key {
                self.erase(self.seed.key(key), 1 + id.slot * 2 + direction as u32);
            }
        }
        let session = self.slots.get_mut(id.slot as usize)?.session.take()?;
        self.free.push(id.slot);
        Some(session)
    }

    /// Must be called when a session's handshake completes or it closes.
    pub fn no_longer_half_open(&mut self, id: SessionId) {
        if self.get(id).is_some() {
            self.unlist(id.slot);
        }
    }

    /// The half-open session that began first.
    pub fn oldest_half_open(&self) -> Option<SessionId> {
        let slot = self.slots.get(self.half_open_first as usize)?;
        Some(SessionId {
            slot: self.half_open_first,
            age: slot.age,
        })
    }

    /// All live sessions, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.slots.iter().enumerate().filter_map(|(slot, held)| {
            Some((
                SessionId {
                    slot: slot as u32,
                    age: held.age,
                },
                held.session.as_ref()?,
            ))
        })
    }

    /// Looks at up to `steps` slots and returns the next dead session, if any;
    /// call again until `None`. The hand moves on between calls.
    pub fn sweep(&mut self, now: Instant, steps: usize) -> Option<SessionId> {
        for _ in 0..steps.min(self.slots.len()) {
            let slot = self.hand % self.slots.len();
            self.hand = slot + 1;
            if let Some(held) = self.slots.get(slot)
                && held
                    .session
                    .as_ref()
                    .is_some_and(|session| session.dies_at() < now)
            {
                return Some(SessionId {
                    slot: slot as u32,
                    age: held.age,
                });
            }
        }
        None
    }

    fn put(&mut self, hash: u64, reference: u32) {
        let mut at = hash as usize & self.mask;
        while let Some(entry) = self.index.get_mut(at) {
            if entry.reference == 0 {
                *entry = Entry {
                    hash: (hash >> 32) as u32,
                    reference,
                };
                return;
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Removes an entry and closes the gap, so that probes need no tombstones.
    fn erase(&mut self, hash: u64, reference: u32) {
        let mut gap = hash as usize & self.mask;
        while self
            .index
            .get(gap)
            .is_some_and(|entry| entry.reference != reference)
        {
            if self
                .index
                .get(gap)
                .is_some_and(|entry| entry.reference == 0)
            {
                return;
            }
            gap = (gap + 1) & self.mask;
        }
        let mut at = gap;
        loop {
            at = (at + 1) & self.mask;
            let Some(entry) = self.index.get(at).copied() else {
                break;
            };
            if entry.reference == 0 {
                break;
            }
            let home = self.home(entry.reference);
            // The entry may move back unless its home lies after the gap.
            if (at.wrapping_sub(home) & self.mask) >= (at.wrapping_sub(gap) & self.mask) {
                if let Some(place) = self.index.get_mut(gap) {
                    *place = entry;
                }
                gap = at;
            }
        }
        if let Some(place) = self.index.get_mut(gap) {
            *place = Entry::default();
        }
    }

    fn home(&self, reference: u32) -> usize {
        let (slot, direction) = unpack(reference);
        self.slots
            .get(slot as usize)
            .and_then(|held| held.session.as_ref()?.keys.get(direction.index())?.as_ref())
            .map_or(0, |key| self.seed.key(key) as usize & self.mask)
    }

    fn list(&mut self, slot: u32) {
        let last = self.half_open_last;
        if let Some(held) = self.slots.get_mut(slot as usize) {
            held.listed = true;
            held.before = last;
            held.after = NONE;
        }
        match self.slots.get_mut(last as usize) {
            Some(held) => held.after = slot,
            None => self.half_open_first = slot,
        }
        self.half_open_last = slot;
    }

    fn unlist(&mut self, slot: u32) {
        let Some(held) = self.slots.get_mut(slot as usize) else {
            return;
        };
        if !held.listed {
            return;
        }
        held.listed = false;
        let (before, after) = (held.before, held.after);
        match self.slots.get_mut(before as usize) {
            Some(held) => held.after = after,
            None => self.half_open_first = after,
        }
        match self.slots.get_mut(after as usize) {
            Some(held) => held.before = before,
            None => self.half_open_last = before,
        }
    }
}

fn unpack(reference: u32) -> (u32, Direction) {
    let packed = reference.wrapping_sub(1);
    let direction = if packed & 1 == 0 {
        Direction::Forward
    } else {
        Direction::Reply
    };
    (packed / 2, direction)
}

#[cfg(test)]
mod tests {
    use super::super::{Ingress, Tracking};
    use super::*;
    use crate::addr::EniId;
    use crate::packet::{FiveTuple, Headers, tcp_flag};

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

    #[test]
    fn both_ends_find_a_session_until_it_is_removed() {
        let mut table = Table::new(200, Seed(3));
        let ids: Vec<_> = (0..200)
            .map(|n| table.insert(session(n)).unwrap())
            .collect();
        assert!(table.is_full() && table.insert(session(999)).is_none());
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
        let again = table.insert(session(0)).unwrap();
        assert!(!ids.contains(&again), "a slot used again has another name");
    }

    #[test]
    fn half_open_sessions_queue_oldest_first() {
        let mut table = Table::new(8, Seed(0));
        let ids: Vec<_> = (0..4).map(|n| table.insert(session(n)).unwrap()).collect();
        assert_eq!(table.oldest_half_open(), Some(ids[0]));
        table.no_longer_half_open(ids[0]);
        table.remove(ids[1]);
        assert_eq!(table.oldest_half_open(), Some(ids[2]));
        table.no_longer_half_open(ids[3]);
        table.no_longer_half_open(ids[2]);
        assert_eq!(table.oldest_half_open(), None);
    }
}
