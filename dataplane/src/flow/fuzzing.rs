//! What the fuzz target `flow` calls, so that `cargo test` can replay its corpus.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::memory::{CacheLine, LinesPastCaches};
use super::{Direction, Ingress, Key, Seed, Session, SessionId, Table, Tracking};
use crate::addr::EniId;
use crate::packet::{FiveTuple, Headers, tcp_flag};
use crate::time::{Duration, Instant};

/// Sessions that a table of the target holds: few, so that buckets are crowded
/// and it is full at times.
const CAPACITY: usize = 24;

/// What was done: how often each step had an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Sessions added.
    pub added: u32,
    /// Sessions that did not fit.
    pub refused: u32,
    /// Sessions removed.
    pub removed: u32,
    /// Sessions that timed out.
    pub expired: u32,
}

/// Steps of three bytes on a table, compared with a map after each: what, and
/// which session.
pub fn fuzz_flow(data: &[u8]) -> Done {
    let mut model = Model::default();
    let mut table = Table::new(CAPACITY, Seed(0x7663));
    let mut done = Done::default();
    let mut now = Instant::from_secs(1);
    for step in data.as_chunks::<3>().0 {
        let [what, high, low] = *step;
        match what % 8 {
            0..=3 => model.add(&mut table, &mut done, session(high, low, now)),
            4 => model.remove(&mut table, &mut done, high),
            5 => model.touch(&mut table, high, low, now),
            6 => now += Duration::from_secs(u64::from(high)),
            _ => model.sweep(&mut table, &mut done, now),
        }
        model.check(&table, high, low, now);
    }
    appended(data);
    done
}

/// Lines that are handed to another core are the same by both ways of storing them.
fn appended(data: &[u8]) {
    let (mut to, mut scalar) = (LinesPastCaches::default(), Vec::new());
    let first = data.first().copied().unwrap_or_default();
    let (from, together) = (usize::from(first), 1 + usize::from(first % 4));
    let lines = data.get(from..).unwrap_or_default().as_chunks().0;
    for lines in lines.chunks(together) {
        to.push(lines);
        scalar.extend(lines.iter().map(|line| CacheLine(*line)));
    }
    to.settle();
    assert_eq!(to.settled(), scalar);
}

/// A session between two of a few ends.
fn session(high: u8, low: u8, now: Instant) -> Session {
    let address = |n: u8| -> IpAddr {
        match high >> 7 {
            0 => Ipv4Addr::from(0x0a00_0000 | u32::from(n)).into(),
            _ => Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(n)).into(),
        }
    };
    let tuple = FiveTuple {
        src: address(low & 7),
        dst: address(8 | low >> 3 & 3),
        protocol: if high & 0x40 == 0 { 6 } else { 17 },
        sport: u16::from(high & 7),
        dport: 80,
    };
    let near = match high & 0x20 {
        0 => Ingress::Eni(EniId(u32::from(low >> 6))),
        _ => Ingress::Gwlb(u32::from(low >> 6)),
    };
    let far = Ingress::Eni(EniId(u32::from(high >> 3 & 3)));
    let key = |ingress, tuple| Some(Key { ingress, tuple });
    let keys = [key(near, tuple), key(far, tuple.reversed())];
    let headers = Headers {
        tcp_flags: tcp_flag::SYN,
        ..Headers::synthetic(tuple)
    };
    Session::new(keys, Tracking::open(&headers, now), now)
}

/// What must be in the table.
#[derive(Default)]
struct Model {
    live: Vec<(SessionId, [Key; 2])>,
    /// Which session answers for a key, and by which end.
    ends: BTreeMap<String, (SessionId, Direction)>,
}

fn name(key: &Key) -> String {
    format!("{key:?}")
}

impl Model {
    fn add(&mut self, table: &mut Table, done: &mut Done, session: Session) {
        let was_full = table.is_full();
        let [Some(near), Some(far)] = session.keys else {
            return;
        };
        let Some(id) = table.insert(&session) else {
            assert!(was_full, "refused though there is room");
            done.refused += 1;
            return;
        };
        assert!(!was_full && self.live.iter().all(|held| held.0 != id));
        done.added += 1;
        for (key, direction) in [(near, Direction::Forward), (far, Direction::Reply)] {
            self.ends.entry(name(&key)).or_insert((id, direction));
        }
        self.live.push((id, [near, far]));
    }

    fn forget(&mut self, id: SessionId) {
        self.live.retain(|held| held.0 != id);
        self.ends.retain(|_, end| end.0 != id);
    }

    fn remove(&mut self, table: &mut Table, done: &mut Done, pick: u8) {
        let Some(&(id, _)) = self.live.get(usize::from(pick) % self.live.len().max(1)) else {
            return;
        };
        assert!(table.remove(id).is_some());
        assert!(table.remove(id).is_none(), "an id is not used twice");
        self.forget(id);
        done.removed += 1;
    }

    fn touch(&self, table: &mut Table, pick: u8, flags: u8, now: Instant) {
        let picked = self.live.get(usize::from(pick) % self.live.len().max(1));
        let Some(&(id, [near, far])) = picked else {
            return;
        };
        let (direction, key) = match flags & 0x80 {
            0 => (Direction::Forward, near),
            _ => (Direction::Reply, far),
        };
        let headers = Headers {
            tcp_flags: flags & 0x3f,
            ..Headers::synthetic(key.tuple)
        };
        table.touch(id, direction, &headers, now, Some(64));
    }

    fn sweep(&mut self, table: &mut Table, done: &mut Done, now: Instant) {
        let mut steps = 2 * CAPACITY;
        while let Some(id) = table
            .next_closed(now)
            .or_else(|| table.sweep(now, &mut steps))
        {
            assert!(table.dies_at(id.slot) < now, "it lives");
            assert!(table.remove(id).is_some());
            self.forget(id);
            done.expired += 1;
        }
        for (id, _) in &self.live {
            assert!(table.dies_at(id.slot) >= now, "a dead one is left");
        }
    }

    /// Sessions queue by what they are, and closed ones as they die.
    fn check_queues(&self, table: &Table) {
        let of = |is: fn(&Tracking) -> bool| {
            let ids = self.live.iter().map(|(id, _)| id.slot);
            let tracked = ids.filter(|&slot| table.tracking(slot).is_some_and(|it| is(&it)));
            tracked.collect::<BTreeSet<_>>()
        };
        let [half_open, closed] = [&table.half_open, &table.closed].map(|queue| {
            let first = Some(queue.first);
            let next = |&slot: &u32| table.state(slot).map(|state| state.after);
            let queued: Vec<_> = std::iter::successors(first, next).collect();
            queued[..queued.len() - 1].to_vec()
        });
        assert!(closed.is_sorted_by_key(|&slot| table.dies_at(slot)));
        assert_eq!(half_open.len() + closed.len(), {
            of(Tracking::is_half_open).len() + of(Tracking::is_closed).len()
        });
        assert_eq!(BTreeSet::from_iter(half_open), of(Tracking::is_half_open));
        assert_eq!(BTreeSet::from_iter(closed), of(Tracking::is_closed));
    }

    fn check(&self, table: &Table, high: u8, low: u8, now: Instant) {
        assert_eq!(table.len(), self.live.len());
        assert_eq!(table.iter().count(), self.live.len());
        self.check_queues(table);
        let mut keys: Vec<Key> = self.live.iter().flat_map(|held| held.1).collect();
        // And some that are most probably not there.
        for near in [high ^ 0x15, high ^ 0x80] {
            keys.extend(session(near, low, now).keys.into_iter().flatten());
        }
        let expected: Vec<_> = keys
            .iter()
            .map(|key| self.ends.get(&name(key)).copied())
            .collect();
        let mut bulk = vec![None; keys.len()];
        table.find_bulk(&keys, &mut bulk);
        assert_eq!(bulk, expected);
        let single: Vec<_> = keys.iter().map(|key| table.find(key)).collect();
        assert_eq!(single, expected);
        for (id, keys) in &self.live {
            let held = table.get(*id).map(|session| session.keys);
            // An end that another session answers for is not kept.
            let kept = held.is_some_and(|held| {
                let pairs = held.into_iter().zip(keys);
                pairs
                    .into_iter()
                    .all(|(held, key)| held.is_none_or(|held| held == *key))
            });
            assert!(kept, "{held:?} instead of {keys:?}");
        }
    }
}
