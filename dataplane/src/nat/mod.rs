//! Port allocation of the source NAT of load balancers and NAT gateways.
//!
//! A port is free when no client's mapping has it toward the same target.
//! Whose session the reply will find does not matter: a router or an appliance
//! may stand between load balancer and target.
//!
//! Ports are bits: one look finds a free one, however few are left.

mod counts;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use crate::addr::EniId;
use crate::flow::{Seed, Seeded};
use crate::packet::FiveTuple;

pub use counts::GatewayCounts;

/// First port that a load balancer uses. AWS says 1024–65535; the first 512 are kept for
/// the health checks that leave from the same addresses.
pub const PORT_FIRST: u16 = 1536;
/// First port that a NAT gateway uses (VPC guide "NAT gateway basics").
const GATEWAY_PORT_FIRST: u16 = 1024;
/// Connections per load balancer address and target (NLB guide, "Port
/// allocation errors"), and per NAT gateway address and destination.
pub const PORTS_MAX: u32 = 55_000;

/// Ports of a chunk of bits.
const CHUNK_BITS: u32 = 12;
const CHUNKS: usize = 1 << (16 - CHUNK_BITS);
/// No chunk: all its ports are free.
const NONE: u32 = u32::MAX;

/// The ports in use by all load balancers and NAT gateways of one pipeline.
#[derive(Debug)]
pub struct Ports {
    pools: Vec<Pool>,
    /// The places of those that are in use.
    by_way: HashMap<Way, u32, Seeded>,
    /// How many pools the map takes with room to spare: only more of them than ever is
    /// a reason to grow, not that they come and go.
    room: usize,
    chunks: Vec<Chunk>,
    free_pools: Vec<u32>,
    free: Vec<u32>,
    /// The pool of the port that was given back last.
    last: PoolHint,
    /// How many have been given back.
    released: u64,
}

/// What shares a range of source ports: a node's interface and a translated tuple without
/// its source port, in words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    V4([u64; 2]),
    V6([u64; 5]),
}

/// Where the pool was that a caller asked for last. It may have moved or gone since, which
/// costs time and nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PoolHint(u32);

/// The port that is given next to who asks for one way with one hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextPort {
    /// The place of its pool.
    pool: u32,
    port: u16,
    /// How many ports had been given back.
    released: u64,
}

impl NextPort {
    #[inline]
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

/// The ports from one load balancer address to one target.
#[derive(Debug)]
struct Pool {
    way: Way,
    used: u32,
    chunks: [u32; CHUNKS],
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    bits: [u64; 1 << (CHUNK_BITS - 6)],
    used: u32,
}

impl Way {
    #[inline]
    fn of(node: EniId, translated: &FiveTuple) -> Self {
        let kind = u64::from(translated.protocol) << 16 | u64::from(translated.dport);
        let end = u64::from(node.0) << 32 | kind;
        match (translated.src, translated.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let addresses = u64::from(src.to_bits()) << 32 | u64::from(dst.to_bits());
                Self::V4([end, addresses])
            }
            (src, dst) => {
                let wide = |address| match address {
                    IpAddr::V4(address) => u128::from(address.to_bits()),
                    IpAddr::V6(address) => address.to_bits(),
                };
                let (src, dst) = (wide(src), wide(dst));
                let halves = |bits: u128| [(bits >> 64) as u64, bits as u64];
                let ([a, b], [c, d]) = (halves(src), halves(dst));
                Self::V6([end, a, b, c, d])
            }
        }
    }
}

impl Hash for Way {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let words: &[u64] = match self {
            Self::V4(words) => words,
            Self::V6(words) => words,
        };
        for &word in words {
            state.write_u64(word);
        }
    }
}

impl Ports {
    /// All free.
    pub fn new(seed: Seed) -> Self {
        Self {
            pools: Vec::new(),
            by_way: HashMap::with_hasher(Seeded(seed)),
            room: 0,
            chunks: Vec::new(),
            free_pools: Vec::new(),
            free: Vec::new(),
            last: PoolHint::default(),
            released: 0,
        }
    }

    /// The pool of a way, if any port of it is in use.
    fn pool(&self, way: &Way) -> Option<&Pool> {
        self.pools.get(*self.by_way.get(way)? as usize)
    }

    /// How many ports are in use from the source of `translated` to its
    /// destination (address, port and protocol).
    pub fn used(&self, node: EniId, translated: &FiveTuple) -> u32 {
        let pool = self.pool(&Way::of(node, translated));
        pool.map_or(0, |pool| pool.used)
    }

    /// A free source port for `translated`; `None` when they are used up. `hash`
    /// spreads where the search begins. Each of the `workers` has its share of the
    /// ports; `owns` says which are those whose replies come to this one.
    pub fn free_port(
        &self,
        node: EniId,
        translated: &FiveTuple,
        hash: u64,
        workers: u32,
        owns: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let pool = self.pool(&Way::of(node, translated));
        self.any_free(pool, hash, workers, &owns)
    }

    /// Takes the port that [`Self::free_port`] would choose; `hint` leads to the pool.
    #[inline]
    pub(crate) fn take_free_port(
        &mut self,
        (node, translated): (EniId, &FiveTuple),
        hint: &mut PoolHint,
        hash: u64,
        workers: u32,
        owns: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let way = Way::of(node, translated);
        let at = self.place_of(&way, *hint);
        let pool = at.and_then(|at| self.pools.get(at as usize));
        let port = self.any_free(pool, hash, workers, &owns)?;
        let at = at.unwrap_or_else(|| self.add_pool(way));
        *hint = PoolHint(at);
        self.take_of(at, u32::from(port));
        Some(port)
    }

    /// The port that [`Self::take_free_port`] takes if it is asked now, or after others are
    /// taken; its bits are fetched thereby. `None` where none of the pool is in use.
    #[inline]
    pub(crate) fn next_port(
        &self,
        (node, translated): (EniId, &FiveTuple),
        hint: &mut PoolHint,
        hash: u64,
        workers: u32,
        owns: impl Fn(u16) -> bool,
    ) -> Option<NextPort> {
        let way = Way::of(node, translated);
        let at = self.place_of(&way, *hint)?;
        *hint = PoolHint(at);
        let pool = self.pools.get(at as usize)?;
        Some(NextPort {
            pool: at,
            port: self.any_free(Some(pool), hash, workers, &owns)?,
            released: self.released,
        })
    }

    /// Takes a port that was to be the next, for the same way. `false`, and nothing is
    /// done, where another may be: it was taken itself, one before it was given back, or
    /// all are used up.
    #[inline]
    pub(crate) fn take_next(&mut self, next: &NextPort, workers: u32) -> bool {
        let port = u32::from(next.port);
        let pool = self.pools.get(next.pool as usize);
        let is_next = next.released == self.released
            && pool.is_some_and(|pool| pool.used * workers < PORTS_MAX)
            && self.word(pool, port) & place(port).1 == 0;
        if is_next {
            self.take_of(next.pool, port);
        }
        is_next
    }

    /// The place of a way's pool, if any port of it is in use: where the hint says, or found.
    #[inline]
    fn place_of(&self, way: &Way, hint: PoolHint) -> Option<u32> {
        self.hinted(way, hint)
            .or_else(|| self.by_way.get(way).copied())
    }

    /// The place that a hint names, if that is the pool's.
    #[inline]
    fn hinted(&self, way: &Way, hint: PoolHint) -> Option<u32> {
        let pool = self.pools.get(hint.0 as usize)?;
        (pool.used > 0 && pool.way == *way).then_some(hint.0)
    }

    #[inline]
    fn any_free(
        &self,
        pool: Option<&Pool>,
        hash: u64,
        workers: u32,
        owns: &impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let first = u32::from(PORT_FIRST);
        let start = first + (hash % u64::from((1 << 16) - first)) as u32;
        if pool.is_some_and(|pool| pool.used * workers >= PORTS_MAX) {
            return None;
        }
        self.first_free(pool, start..1 << 16, owns)
            .or_else(|| self.first_free(pool, first..start, owns))
    }

    /// The source port for `translated` at a NAT gateway: the client's own, which
    /// `translated` has, or the next free one; `None` when they are used up. `owns`
    /// says whether replies to a port come to this worker, which has its share.
    /// ASSUMPTION: AWS does not publish how a port is chosen.
    pub fn free_port_near(
        &self,
        gateway: EniId,
        translated: &FiveTuple,
        workers: u32,
        owns: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let first = u32::from(GATEWAY_PORT_FIRST);
        let start = u32::from(translated.sport).max(first);
        let pool = self.pool(&Way::of(gateway, translated));
        if pool.is_some_and(|pool| pool.used * workers >= PORTS_MAX) {
            return None;
        }
        self.first_free(pool, start..1 << 16, &owns)
            .or_else(|| self.first_free(pool, first..start, &owns))
    }

    fn first_free(
        &self,
        pool: Option<&Pool>,
        range: std::ops::Range<u32>,
        owns: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let mut at = range.start;
        while at < range.end {
            // Bit 0 is the port `at`; there are none beyond the word's last.
            let mut free = !self.word(pool, at) >> (at & 63);
            while free != 0 {
                let port = at + free.trailing_zeros();
                if port >= range.end {
                    return None;
                }
                if owns(port as u16) {
                    return Some(port as u16);
                }
                free &= free - 1;
            }
            at = (at | 63) + 1;
        }
        None
    }

    /// The bits of the 64 ports around `port`, those in use set.
    fn word(&self, pool: Option<&Pool>, port: u32) -> u64 {
        let chunk = pool.and_then(|pool| pool.chunks.get((port >> CHUNK_BITS) as usize));
        let bits = chunk.and_then(|&chunk| self.chunks.get(chunk as usize));
        let word = bits.and_then(|chunk| chunk.bits.get(place(port).0));
        word.copied().unwrap_or(0)
    }

    /// The source port of `translated` is in use from now on.
    pub fn take(&mut self, node: EniId, translated: &FiveTuple) {
        let way = Way::of(node, translated);
        let at = match self.by_way.get(&way) {
            Some(&at) => at,
            None => self.add_pool(way),
        };
        self.take_of(at, u32::from(translated.sport));
    }

    /// The place of a new pool, none of whose ports is in use yet.
    #[cold]
    fn add_pool(&mut self, way: Way) -> u32 {
        let most = self.by_way.len() + 1;
        if most > self.room {
            // A map that is less than half full makes room where it is.
            self.by_way.reserve(4 * most);
            self.room = 2 * most;
        }
        let pool = Pool {
            way,
            used: 0,
            chunks: [NONE; CHUNKS],
        };
        let at = self.free_pools.pop().unwrap_or(self.pools.len() as u32);
        match self.pools.get_mut(at as usize) {
            Some(place) => *place = pool,
            None => self.pools.push(pool),
        }
        self.by_way.insert(way, at);
        at
    }

    /// A port of the pool at `at` is in use from now on.
    #[inline]
    fn take_of(&mut self, at: u32, port: u32) {
        let Some(pool) = self.pools.get_mut(at as usize) else {
            return;
        };
        let Some(chunk) = pool.chunks.get_mut((port >> CHUNK_BITS) as usize) else {
            return;
        };
        if *chunk == NONE {
            *chunk = self.free.pop().unwrap_or(self.chunks.len() as u32);
            if *chunk as usize == self.chunks.len() {
                self.chunks.push(Chunk {
                    bits: [0; 1 << (CHUNK_BITS - 6)],
                    used: 0,
                });
            }
        }
        let (word, bit) = place(port);
        if let Some(chunk) = self.chunks.get_mut(*chunk as usize)
            && let Some(bits) = chunk.bits.get_mut(word)
            && *bits & bit == 0
        {
            *bits |= bit;
            chunk.used += 1;
            pool.used += 1;
        }
    }

    /// The source port of `translated` is free again.
    pub fn release(&mut self, node: EniId, translated: &FiveTuple) {
        let way = Way::of(node, translated);
        let at = self.place_of(&way, self.last);
        let port = u32::from(translated.sport);
        let (word, bit) = place(port);
        let Some((at, pool)) = at.and_then(|at| Some((at, self.pools.get_mut(at as usize)?)))
        else {
            return;
        };
        self.last = PoolHint(at);
        let number = pool.chunks.get_mut((port >> CHUNK_BITS) as usize);
        if let Some(number) = number
            && let Some(chunk) = self.chunks.get_mut(*number as usize)
            && let Some(bits) = chunk.bits.get_mut(word)
            && *bits & bit != 0
        {
            *bits &= !bit;
            self.released += 1;
            chunk.used -= 1;
            pool.used -= 1;
            if chunk.used == 0 {
                self.free.push(std::mem::replace(number, NONE));
            }
        }
        if pool.used == 0 {
            self.by_way.remove(&way);
            self.free_pools.push(at);
        }
    }
}

/// Word and bit of a port in its chunk.
const fn place(port: u32) -> (usize, u64) {
    let word = port as usize >> 6 & ((1 << (CHUNK_BITS - 6)) - 1);
    (word, 1 << (port & 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Shard;

    fn tuple(sport: u16) -> FiveTuple {
        FiveTuple {
            src: "10.0.0.9".parse().unwrap(),
            dst: "10.0.0.2".parse().unwrap(),
            protocol: 6,
            sport,
            dport: 443,
        }
    }

    #[test]
    fn every_port_is_given_once_and_comes_back() {
        let mut ports = Ports::new(Seed(1));
        let all = |_| true;
        let mut given = std::collections::HashSet::new();
        for n in 0..PORTS_MAX {
            let hash = Seed(2).words(&[u64::from(n)]);
            let port = ports.free_port(EniId(1), &tuple(0), hash, 1, all).unwrap();
            assert!(port >= PORT_FIRST && given.insert(port));
            ports.take(EniId(1), &tuple(port));
        }
        assert_eq!(ports.used(EniId(1), &tuple(0)), PORTS_MAX);
        assert_eq!(ports.free_port(EniId(1), &tuple(0), 0, 1, all), None);
        // Another node's are its own.
        assert!(ports.free_port(EniId(2), &tuple(0), 0, 1, all).is_some());
        let back = *given.iter().next().unwrap();
        ports.release(EniId(1), &tuple(back));
        ports.release(EniId(1), &tuple(back));
        assert_eq!(ports.used(EniId(1), &tuple(0)), PORTS_MAX - 1);
        for &port in given.iter().filter(|&&port| port != back) {
            ports.release(EniId(1), &tuple(port));
        }
        assert!(ports.by_way.is_empty());
        assert_eq!(ports.free_pools.len(), ports.pools.len());
        assert_eq!(ports.free.len(), ports.chunks.len());
        assert!(
            ports
                .chunks
                .iter()
                .all(|chunk| chunk.bits.iter().all(|&w| w == 0))
        );
    }

    #[test]
    fn a_worker_gets_ports_that_lead_back_to_it() {
        let shard = Shard::new(1, 3, Seed(5));
        let mut ports = Ports::new(Seed(1));
        for n in 0..1000 {
            let port = ports
                .free_port(EniId(1), &tuple(0), n * 7919, 3, |port| {
                    shard.owns(&tuple(port))
                })
                .unwrap();
            assert!(shard.owns(&tuple(port)));
            ports.take(EniId(1), &tuple(port));
        }
        assert_eq!(ports.used(EniId(1), &tuple(0)), 1000);
    }

    /// Beside a set of what is in use: whatever hint a caller comes with, also one to a pool
    /// that is another's now or nobody's, no port is given twice, and none is lost.
    #[test]
    fn hints_change_nothing_but_the_time() {
        let mut ports = Ports::new(Seed(1));
        let random = |n: u64| Seed(3).words(&[n]);
        // Of both families, some alike but for a part of an address.
        let ways: Vec<(EniId, FiveTuple)> = (0..12u32)
            .map(|n| {
                let dst = match n % 3 {
                    0 => std::net::Ipv4Addr::from(0x0a00_0002 + (n >> 2)).into(),
                    1 => IpAddr::V6((1 << 64 | u128::from(n >> 2)).into()),
                    _ => IpAddr::V6((u128::from(n >> 2) << 64 | 9).into()),
                };
                let src = match dst {
                    IpAddr::V4(_) => tuple(0).src,
                    IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
                };
                (
                    EniId(1 + n % 2),
                    FiveTuple {
                        src,
                        dst,
                        ..tuple(0)
                    },
                )
            })
            .collect();
        let mut taken: Vec<(usize, u16)> = Vec::new();
        let mut hints = [PoolHint::default(); 5];
        let (mut most, mut empty) = (0, 0);
        // What was to be the next port once, and whether it was when it was taken.
        let mut foreseen: Vec<(usize, u64, NextPort)> = Vec::new();
        let mut came = [0; 2];
        for step in 0..9_000u64 {
            let word = random(step);
            let byte = |n: u32| (word >> (8 * n)) as usize & 0xff;
            let way = byte(0) % ways.len();
            let (node, translated) = &ways[way];
            // It fills for a while, then empties.
            let fills = (step / 500).is_multiple_of(3) && byte(1) > 20;
            if fills {
                let mut hint = hints[byte(2) % hints.len()];
                // Few places to begin with, so that the same ports come up.
                let hash = byte(3) as u64 % 7;
                let free = ports.free_port(*node, translated, hash, 1, |_| true);
                let given = ports.take_free_port((*node, translated), &mut hint, hash, 1, |_| true);
                assert_eq!(given, free);
                hints[byte(4) % hints.len()] = hint;
                let new = (way, given.unwrap());
                assert!(!taken.contains(&new), "{new:?} twice");
                taken.push(new);
                // Who has it already, has it once.
                ports.take(
                    *node,
                    &FiveTuple {
                        sport: new.1,
                        ..*translated
                    },
                );
            } else if !taken.is_empty() {
                let (way, sport) = taken.swap_remove(byte(5) % taken.len());
                let (node, translated) = &ways[way];
                ports.release(
                    *node,
                    &FiveTuple {
                        sport,
                        ..*translated
                    },
                );
            }
            for hash in [word % 7, word % 5] {
                let at = &mut hints[byte(6) % 5];
                let next = ports.next_port((*node, translated), at, hash, 1, |_| true);
                let free = ports.free_port(*node, translated, hash, 1, |_| true);
                assert!(next.is_none_or(|next| Some(next.port()) == free));
                foreseen.extend(next.map(|next| (way, hash, next)));
            }
            if fills && foreseen.len() > 6 {
                let (way, hash, next) = foreseen.swap_remove(byte(7) % 7);
                let (node, translated) = &ways[way];
                let free = ports.free_port(*node, translated, hash, 1, |_| true);
                let is_next = ports.take_next(&next, 1);
                came[usize::from(is_next)] += 1;
                if is_next {
                    assert_eq!(Some(next.port()), free, "step {step}");
                    taken.push((way, next.port()));
                }
            }
            for (way, (node, translated)) in ways.iter().enumerate() {
                let held = taken.iter().filter(|held| held.0 == way).count();
                assert_eq!(ports.used(*node, translated), held as u32, "step {step}");
            }
            let pools = ways.len() - ports.free_pools.len();
            assert!(ports.pools.len() <= ways.len() && ports.by_way.len() <= pools);
            most = most.max(taken.len());
            empty += u32::from(taken.is_empty());
        }
        assert!(most > 200 && empty > 20, "{most} {empty}");
        assert!(came.iter().all(|&times| times > 200), "{came:?}");
    }

    /// The last ports of a way, and the search from behind them.
    #[test]
    fn a_search_goes_on_from_the_first_port_and_ends_at_the_most() {
        let mut ports = Ports::new(Seed(1));
        let mut hint = PoolHint::default();
        let (node, way) = (EniId(1), tuple(0));
        let highest = u64::from(u16::MAX - PORT_FIRST);
        let mut take = |ports: &mut Ports, hash| {
            ports.take_free_port((node, &way), &mut hint, hash, 1, |_| true)
        };
        assert_eq!(take(&mut ports, highest), Some(u16::MAX));
        assert_eq!(take(&mut ports, highest), Some(PORT_FIRST));
        for _ in 2..PORTS_MAX {
            assert!(take(&mut ports, highest).is_some());
        }
        assert_eq!(take(&mut ports, highest), None);
        assert_eq!(ports.used(node, &way), PORTS_MAX);
        // What was foreseen while there was one left is not given beyond the last.
        ports.release(node, &tuple(u16::MAX));
        let all = |_| true;
        let next = || ports.next_port((node, &way), &mut PoolHint::default(), highest, 1, all);
        let (one, other) = (
            next().unwrap(),
            NextPort {
                port: 50_000,
                ..next().unwrap()
            },
        );
        assert_eq!(one.port(), u16::MAX);
        assert!(!ports.take_next(&other, 1), "it is taken");
        assert!(ports.take_next(&one, 1) && !ports.take_next(&one, 1));
        let beyond = NextPort {
            port: 60_000,
            ..one
        };
        assert!(!ports.take_next(&beyond, 1), "used up");
        assert_eq!(ports.used(node, &way), PORTS_MAX);
    }
}
