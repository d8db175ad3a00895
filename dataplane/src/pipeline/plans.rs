//! Plans: the first packets of connections that differ in their client's port only.
//!
//! Everything that a walk reads of a plain packet that opens a connection is in
//! its *class* (port of entry, addresses, protocol, destination port, the
//! frame's MAC address), but for the source port and TCP's sequence number.
//! These two reach three places only: the load balancer's choice of a target,
//! its choice of a source port, and the search for sessions of either end. (No
//! rule of a group, ACL or route table reads a source port.) So two packets of a
//! class for which the same target is chosen, and at whose ends no session
//! stands, are walked alike. The first is walked; what came of it is kept, with
//! the dependencies of the walk, as a plan. For the others the three are done by
//! the code that the walk does them with, the plan's dependencies are asked
//! whether they hold (one comparison while the tables stay), and the rest is as
//! the walk found it.
//!
//! A plan holds exactly as long as a cached pass with its dependencies. A pick
//! is younger than all plans of its class: each walk of the class writes it, and
//! plans of before a change that moved it do not hold.
//!
//! Either family has plans of its own. Not planned: tunnels, what another session
//! tracks, fragments, ICMP, and what has extension headers.

use super::Pipeline;
use super::answers::Answer;
use super::forward::Arrival;
use super::planned::Planned;
use super::short::Lane;
use crate::addr::EniId;
use crate::flow::{
    Begin, Common, End, Family, Leaves, PairSeed, Rewrite, Seed, SessionId, Tracking, both_ports,
};
use crate::nat::PoolHint;
use crate::packet::{FiveTuple, Fragment, GENEVE_PORT, protocol, tcp_flag};
use crate::tables::{Sabotage, Snapshot};
use crate::time::Instant;
use crate::walk::{Connections, Entry, Path, Pick, View};

/// Plans and picks kept, at most.
const PLANS_MAX: usize = 1 << 13;
/// Places in which one may be.
const WAYS: usize = 4;

/// A packet of TCP or UDP that is whole and in no tunnel, as far as plans read it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlainPacket<A> {
    /// By which it entered.
    pub(super) port: EniId,
    /// Destination MAC address of its frame.
    pub(super) mac: u64,
    /// Addresses, as they are sent.
    pub(super) src: A,
    pub(super) dst: A,
    pub(super) sport: u16,
    pub(super) dport: u16,
    pub(super) protocol: u8,
    pub(super) tcp_flags: u8,
    pub(super) tcp_seq: u32,
}

impl<A: Family> PlainPacket<A> {
    /// `None` for others.
    #[inline]
    pub(super) fn of(arrival: &Arrival) -> Option<Self> {
        let (Entry::Port(port, mac), None) = (arrival.entry, arrival.packet.geneve) else {
            return None;
        };
        let View { headers, error, .. } = &arrival.packet.outer;
        let tuple = &headers.tuple;
        let (src, dst) = (A::of(tuple.src)?, A::of(tuple.dst)?);
        let whole = headers.fragment == Fragment::Whole && error.is_none();
        let [m0, m1, m2, m3, m4, m5] = mac.0;
        (whole && matches!(tuple.protocol, protocol::TCP | protocol::UDP)).then(|| Self {
            port,
            mac: u64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]),
            src,
            dst,
            sport: tuple.sport,
            dport: tuple.dport,
            protocol: tuple.protocol,
            tcp_flags: headers.tcp_flags,
            tcp_seq: headers.tcp_seq,
        })
    }

    pub(super) fn tuple(&self) -> FiveTuple {
        FiveTuple {
            src: self.src.ip(),
            dst: self.dst.ip(),
            protocol: self.protocol,
            sport: self.sport,
            dport: self.dport,
        }
    }

    /// Whether it opens a connection of TCP.
    pub(super) const fn is_tcp_open(&self) -> bool {
        self.protocol == protocol::TCP
            && self.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN
    }

    /// Port of entry, protocol and destination port in a word.
    pub(super) fn way(&self) -> u64 {
        u64::from(self.port.0) << 32 | u64::from(self.protocol) << 16 | u64::from(self.dport)
    }

    /// Port of entry, protocol and source port in a word.
    pub(super) fn way_back(&self) -> u64 {
        u64::from(self.port.0) << 32 | u64::from(self.protocol) << 16 | u64::from(self.sport)
    }
}

/// In place of a target: the class as such.
pub(super) const ANY: u64 = u32::MAX as u64;

/// What the walk reads of a packet; `None` for packets that are not planned.
#[inline]
fn class<A: Planned>(plain: &PlainPacket<A>) -> Option<A::Opening> {
    let udp = plain.protocol == protocol::UDP && plain.dport != GENEVE_PORT;
    (plain.is_tcp_open() || udp).then(|| A::opening(plain))
}

/// A few words by which something is found.
pub(super) trait Words: Copy + std::fmt::Debug {
    /// Secrets for their hash.
    type Secrets: Copy + std::fmt::Debug;
    fn secrets(seed: Seed) -> Self::Secrets;
    fn hash(&self, secrets: &Self::Secrets) -> u64;
    /// Whether two are equal: without a branch at each word, or a call.
    fn is_same(&self, other: &Self) -> bool;
    /// The same with another last word.
    fn with(self, last: u32) -> Self;
}

impl<const N: usize> Words for [u64; N] {
    type Secrets = PairSeed<N>;

    fn secrets(seed: Seed) -> PairSeed<N> {
        const { assert!(N.is_multiple_of(2), "hashes take words by pairs") };
        PairSeed::new(seed)
    }

    #[inline(always)]
    fn hash(&self, secrets: &PairSeed<N>) -> u64 {
        secrets.hash(self)
    }

    #[inline(always)]
    fn is_same(&self, other: &Self) -> bool {
        self.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }

    #[inline(always)]
    fn with(mut self, last: u32) -> Self {
        if let Some(place) = self.last_mut() {
            *place = u64::from(last);
        }
        self
    }
}

/// What is known of a class.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known<A> {
    /// A load balancer chooses.
    Pick(Pick),
    /// All of them go this way.
    Plan(Plan<A>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<A> {
    /// Source port aside. What else becomes of the packet is in the action.
    leaves: Leaves<A>,
    out: EniId,
    clamp_mss: Option<u16>,
    nat: Option<Nat>,
    common: Common,
}

/// Of a connection whose client's port is translated.
#[derive(Clone, Copy, Debug)]
struct Nat {
    /// The load balancer's node.
    node: EniId,
    /// What leaves it, source port aside.
    translated: FiveTuple,
    pool: PoolHint,
}

/// All plans of a pipeline.
#[derive(Debug)]
pub(super) struct Plans {
    pub(super) openings4: Places<<u32 as Planned>::Opening, Known<u32>>,
    pub(super) answers4: Places<<u32 as Planned>::Answering, Answer<u32>>,
    pub(super) openings6: Places<<u128 as Planned>::Opening, Known<u128>>,
    pub(super) answers6: Places<<u128 as Planned>::Answering, Answer<u128>>,
}

impl Plans {
    pub(super) fn new(connections: usize, seed: Seed) -> Self {
        Self {
            openings4: Places::new(connections, seed),
            answers4: Places::new(connections, seed),
            openings6: Places::new(connections, seed),
            answers6: Places::new(connections, seed),
        }
    }
}

/// A fixed number of values by key; one that comes may drive another out.
#[derive(Debug)]
pub(super) struct Places<K: Words, T> {
    secrets: K::Secrets,
    /// Empty until the first value comes.
    places: Vec<Option<(K, T)>>,
    size: usize,
    next: usize,
}

impl<K: Words, T: Copy> Places<K, T> {
    fn new(connections: usize, seed: Seed) -> Self {
        Self {
            secrets: K::secrets(seed),
            places: Vec::new(),
            size: connections.clamp(WAYS, PLANS_MAX).next_power_of_two(),
            next: 0,
        }
    }

    /// The places of a key.
    #[inline]
    fn home(&self, key: &K) -> usize {
        key.hash(&self.secrets) as usize & (self.size - 1) & !(WAYS - 1)
    }

    #[inline]
    pub(super) fn find(&mut self, key: &K) -> Option<&mut T> {
        let home = self.home(key);
        let places = self.places.get_mut(home..home + WAYS)?;
        let mut held = places.iter_mut().flatten();
        held.find(|(of, _)| of.is_same(key)).map(|(_, value)| value)
    }

    /// Keeps a value; returns what had to go for it.
    pub(super) fn put(&mut self, key: K, value: T) -> Option<T> {
        if self.places.is_empty() {
            self.places.resize(self.size, None);
        }
        let home = self.home(&key);
        let places = self.places.get_mut(home..home + WAYS)?;
        let same = |place: &Option<(K, T)>| place.as_ref().is_some_and(|(of, _)| of.is_same(&key));
        let way = places
            .iter()
            .position(same)
            .or_else(|| places.iter().position(Option::is_none))
            .unwrap_or(self.next % WAYS);
        self.next = self.next.wrapping_add(1);
        let old = places.get_mut(way)?.replace((key, value));
        old.map(|(_, value)| value)
    }
}

impl Pipeline {
    /// Opens a connection as others of its class were: its slot, and the MSS that its
    /// segments may have. `None`, and nothing is done, if the packet must be walked. At its
    /// near end no session may stand.
    #[inline]
    pub(super) fn open_as_others<A: Planned>(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        plain: &PlainPacket<A>,
        lane: &Lane,
        near: &A::Key,
    ) -> Option<(u32, Option<u16>)> {
        let class = class(plain)?;
        let seed = self.connections.seed;
        let openings = A::openings(&mut self.plans);
        let mut hash = 0;
        let picked = match openings.find(&class)? {
            Known::Plan(_) => class,
            Known::Pick(pick) => {
                hash = Pick::hash(seed, &plain.tuple(), plain.tcp_seq);
                class.with(pick.target(tables, seed, hash, A::IS_V4)?.0)
            }
        };
        let Known::Plan(plan) = openings.find(&picked)? else {
            return None;
        };
        let Connections {
            sessions,
            deps,
            ports,
            shard,
            ..
        } = &mut self.connections;
        if !deps.hold(plan.common.deps, tables) {
            return None;
        }
        let hot = sessions.hot_of(&plan.common)?;
        if sessions.is_full() || lane.ttl <= hot.ttl_less || lane.ip_len > hot.size_max {
            return None;
        }
        let mut leaves = plan.leaves;
        let mut sport = plain.sport;
        if let Some(nat) = &mut plan.nat {
            let translated = nat.translated;
            let owns = |sport| {
                tables.leads_to(
                    shard,
                    &FiveTuple {
                        sport,
                        ..translated
                    },
                )
            };
            let way = (nat.node, &translated);
            sport = ports.take_free_port(way, &mut nat.pool, hash, shard.count(), owns)?;
        }
        leaves.ports |= both_ports(sport, 0);
        let far = A::key(&End {
            src: leaves.dst,
            dst: leaves.src,
            ports: leaves.ports.rotate_left(16),
            ingress: plan.out.0,
            protocol: plain.protocol,
        });
        let hashes = [lane.hash, A::hash(sessions, &far)];
        let is_taken = A::is_same(near, &far) || A::find(sessions, &far, hashes[1]).is_some();
        let begin = Begin {
            ends: [near, &far],
            hashes,
            leaves,
            tracking: Tracking::begin(plain.protocol, plain.tcp_flags, now),
            bytes: lane.ip_len,
            now,
            version: tables.version,
        };
        let slot = match is_taken {
            true => None,
            false => sessions.begin(&plan.common, &begin),
        };
        let Some(slot) = slot else {
            // The walk chooses for itself.
            if let Some(Nat {
                node, translated, ..
            }) = plan.nat
            {
                ports.release(
                    node,
                    &FiveTuple {
                        sport,
                        ..translated
                    },
                );
            }
            return None;
        };
        self.counters.flow_misses += 1;
        self.counters.flows_created += 1;
        self.counters.flows_planned += 1;
        Some((slot, plan.clamp_mss))
    }

    /// Keeps what a walk found for the next connections of the packet's class.
    pub(super) fn keep_plan<A: Planned>(
        &mut self,
        tables: &Snapshot,
        arrival: &Arrival,
        (path, rewrite, id): (&Path, &Rewrite, SessionId),
    ) {
        let plain = !rewrite.local
            && !rewrite.decapsulate
            && !rewrite.shifted
            && rewrite.tunnel.is_none()
            && path.from_flow.is_none()
            && path.link.is_none()
            // Tracked by a session that was, perhaps, and judged by no rule.
            && path.own.is_none()
            && path.picks <= 1
            && !path.opens_nat
            && path.pick.is_some() == path.opens_lb.is_some()
            && tables.settings.sabotage == Sabotage::default();
        let class = PlainPacket::<A>::of(arrival).and_then(|plain| class(&plain));
        let Some(class) = class.filter(|_| plain) else {
            return;
        };
        let Some(common) = self.connections.sessions.common::<A>(id) else {
            return;
        };
        let portless = FiveTuple {
            sport: 0,
            ..rewrite.tuple
        };
        let Some(leaves) = Leaves::with(&portless) else {
            return;
        };
        let nat = path.opens_lb.filter(|flow| !flow.preserved);
        let plan = Known::Plan(Plan {
            leaves,
            out: rewrite.out,
            clamp_mss: rewrite.clamp_mss,
            nat: nat.map(|flow| Nat {
                node: flow.node,
                translated: flow.translated,
                pool: PoolHint::default(),
            }),
            common,
        });
        let openings = A::openings(&mut self.plans);
        let gone = match path.pick {
            None => [openings.put(class, plan), None],
            Some((pick, target)) => [
                openings.put(class, Known::Pick(pick)),
                openings.put(class.with(target), plan),
            ],
        };
        for known in gone.into_iter().flatten() {
            if let Known::Plan(plan) = known
                && let Some(deps) = self.connections.sessions.drop_common(&plan.common)
            {
                self.connections.deps.release(deps);
            }
        }
    }
}
