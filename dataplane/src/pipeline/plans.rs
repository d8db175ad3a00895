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
use super::foreseen::Foreseen;
use super::forward::Arrival;
use super::places::{Places, Words};
use super::planned::Planned;
use super::short::{LANES, Lane, Moment};
use crate::addr::EniId;
use crate::flow::{
    Begin, Common, DepSets, End, Family, Hot, Leaves, Rewrite, Seed, SessionId, Shard, Table,
    Tracking, both_ports,
};
use crate::nat::{NextPort, PoolHint};
use crate::packet::{FiveTuple, Fragment, GENEVE_PORT, protocol, tcp_flag};
use crate::tables::{Sabotage, Snapshot};
use crate::walk::{Connections, Entry, Path, Pick, View};

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

    /// Whether it is the packet of this lane and end.
    pub(super) fn is_of(&self, lane: &Lane, end: &End<A>) -> bool {
        let ports = both_ports(self.sport, self.dport);
        (self.src, self.dst, ports) == (end.src, end.dst, end.ports)
            && (self.protocol, self.port.0) == (end.protocol, end.ingress)
            && self.tcp_flags == lane.tcp_flags
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

/// How the packets of a class go for which one target is chosen.
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
    pub(super) of_four: FamilyPlans<u32>,
    pub(super) of_six: FamilyPlans<u128>,
}

/// Those of a family.
#[derive(Debug)]
pub(super) struct FamilyPlans<A: Planned> {
    /// Classes for which a load balancer chooses.
    pub(super) picks: Places<A::Opening, Pick>,
    pub(super) openings: Places<A::Opening, Plan<A>>,
    pub(super) answers: Places<A::Answering, Answer<A>>,
    /// Of the batch.
    pub(super) foreseen: Vec<Foreseen<A>>,
}

impl<A: Planned> FamilyPlans<A> {
    fn new(connections: usize, seed: Seed) -> Self {
        Self {
            picks: Places::new(connections, seed),
            openings: Places::new(connections, seed),
            answers: Places::new(connections, seed),
            foreseen: Vec::with_capacity(LANES),
        }
    }
}

impl Plans {
    pub(super) fn new(connections: usize, seed: Seed) -> Self {
        Self {
            of_four: FamilyPlans::new(connections, seed),
            of_six: FamilyPlans::new(connections, seed),
        }
    }
}

/// The plan that a packet goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<A: Planned> {
    /// Its class, with the target.
    key: A::Opening,
    /// Where it probably is.
    pub(super) place: usize,
    /// What the load balancer hashed.
    hash: u64,
    /// What else was foreseen.
    ahead: Option<Ahead>,
}

/// What is foreseen of a packet that opens a connection, by a plan that stands.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    /// The port that the client's becomes, if it becomes another.
    next: Option<NextPort>,
    /// Hash of the far end with that port.
    far: u64,
}

impl<A: Planned> Choice<A> {
    /// Whether it was chosen on the tables of the batch: neither a plan nor a pick has changed
    /// since.
    #[inline(always)]
    pub(super) const fn stands(&self) -> bool {
        self.ahead.is_some()
    }
}

/// Whether answers to a port come to this worker.
fn leads_to<'a>(
    tables: &'a Snapshot,
    shard: &'a Shard,
    translated: FiveTuple,
) -> impl Fn(u16) -> bool + 'a {
    move |sport| {
        tables.leads_to(
            shard,
            &FiveTuple {
                sport,
                ..translated
            },
        )
    }
}

impl<A: Planned> Plan<A> {
    /// Its action, if what it was made from is as it was.
    #[inline(always)]
    fn stands<'a>(
        &self,
        sessions: &'a Table,
        deps: &mut DepSets,
        (tables, standing): (&Snapshot, u64),
    ) -> Option<&'a Hot> {
        let hot = sessions.hot_of(&self.common)?;
        // What a cached packet asks: the dependencies themselves need not be fetched.
        let stands = hot.version >= standing || deps.hold(self.common.deps, tables);
        stands.then_some(hot)
    }

    /// The far end of a connection whose client has this source port there.
    #[inline(always)]
    fn far(&self, protocol: u8, sport: u16) -> A::Key {
        let leaves = &self.leaves;
        A::key(&End {
            src: leaves.dst,
            dst: leaves.src,
            ports: (leaves.ports | both_ports(sport, 0)).rotate_left(16),
            ingress: self.out.0,
            protocol,
        })
    }
}

impl Pipeline {
    /// The plan that a packet probably goes by. Reads tags, and the pick of its class.
    #[inline(always)]
    pub(super) fn choose_plan<A: Planned>(
        &mut self,
        tables: &Snapshot,
        plain: &PlainPacket<A>,
    ) -> Option<Choice<A>> {
        let class = class(plain)?;
        let seed = self.connections.seed;
        let FamilyPlans {
            picks, openings, ..
        } = A::plans(&mut self.plans);
        let (mut key, mut hash) = (class, 0);
        if let Some((_, pick)) = picks.find(&class) {
            hash = Pick::hash(seed, &plain.tuple(), plain.tcp_seq);
            key = class.with(pick.target(tables, seed, hash, A::IS_V4)?.0);
        }
        Some(Choice {
            key,
            place: openings.guess(&key)?,
            hash,
            ahead: None,
        })
    }

    /// Foresees the port that the client's will become, if the plan stands, and fetches what
    /// the far end needs. (A pick that moved since is chosen by no more: plans of before do
    /// not stand.)
    #[inline(always)]
    pub(super) fn choose_port<A: Planned>(
        &mut self,
        tables: &Snapshot,
        standing: u64,
        plain: &PlainPacket<A>,
        choice: &mut Choice<A>,
    ) -> Option<()> {
        let openings = &mut A::plans(&mut self.plans).openings;
        let plan = openings.at(choice.place, &choice.key)?;
        let Connections {
            sessions,
            deps,
            ports,
            shard,
            ..
        } = &mut self.connections;
        plan.stands(sessions, deps, (tables, standing))?;
        let next = match &mut plan.nat {
            Some(nat) => {
                let owns = leads_to(tables, shard, nat.translated);
                let way = (nat.node, &nat.translated);
                Some(ports.next_port(way, &mut nat.pool, choice.hash, shard.count(), owns)?)
            }
            None => None,
        };
        let sport = next.map_or(plain.sport, |next| next.port());
        let far = A::hash(sessions, &plan.far(plain.protocol, sport));
        sessions.prefetch(far);
        choice.ahead = Some(Ahead { next, far });
        Some(())
    }

    /// Opens a connection as others of its class were: its slot, and the MSS that its
    /// segments may have. `None`, and nothing is done, if the packet must be walked. At its
    /// near end no session may stand.
    #[inline]
    pub(super) fn open_as_others<A: Planned>(
        &mut self,
        &Moment {
            tables,
            now,
            standing,
            ..
        }: &Moment<'_>,
        plain: &PlainPacket<A>,
        choice: &Choice<A>,
        lane: &Lane,
        near: &A::Key,
    ) -> Option<(u32, Option<u16>)> {
        let openings = &mut A::plans(&mut self.plans).openings;
        let plan = openings.find_from(choice.place, &choice.key)?;
        let Connections {
            sessions,
            deps,
            ports,
            shard,
            ..
        } = &mut self.connections;
        let hot = plan.stands(sessions, deps, (tables, standing))?;
        if sessions.is_full() || lane.ttl <= hot.ttl_less || lane.ip_len > hot.size_max {
            return None;
        }
        let mut leaves = plan.leaves;
        let (mut ahead, mut sport) = (choice.ahead, plain.sport);
        if let Some(nat) = &mut plan.nat {
            let workers = shard.count();
            ahead = ahead.filter(|ahead| {
                ahead
                    .next
                    .is_some_and(|next| ports.take_next(&next, workers))
            });
            sport = match ahead.and_then(|ahead| ahead.next) {
                Some(next) => next.port(),
                None => {
                    let owns = leads_to(tables, shard, nat.translated);
                    let way = (nat.node, &nat.translated);
                    ports.take_free_port(way, &mut nat.pool, choice.hash, workers, owns)?
                }
            };
        }
        leaves.ports |= both_ports(sport, 0);
        let far = plan.far(plain.protocol, sport);
        let hashes = [
            lane.hash,
            ahead.map_or_else(|| A::hash(sessions, &far), |ahead| ahead.far),
        ];
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
        let plan = Plan {
            leaves,
            out: rewrite.out,
            clamp_mss: rewrite.clamp_mss,
            nat: nat.map(|flow| Nat {
                node: flow.node,
                translated: flow.translated,
                pool: PoolHint::default(),
            }),
            common,
        };
        let FamilyPlans {
            picks, openings, ..
        } = A::plans(&mut self.plans);
        let gone = match path.pick {
            None => {
                picks.take(&class);
                openings.put(class, plan)
            }
            Some((pick, target)) => {
                picks.put(class, pick);
                openings.put(class.with(target), plan)
            }
        };
        if let Some(gone) = gone
            && let Some(deps) = self.connections.sessions.drop_common(&gone.common)
        {
            self.connections.deps.release(deps);
        }
    }
}
