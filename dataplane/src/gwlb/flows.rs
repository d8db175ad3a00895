//! The table of gateway load balancer flows.
//!
//! A flow is found by its key (endpoint and normalised tuple) when a packet
//! enters an endpoint, and by its cookie when the appliance returns one. The
//! cookie's low bits are the flow's slot: an inner header that the appliance
//! rewrote needs no second index.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use super::leg::{Leg, Moment};
use super::target::Stickiness;
use crate::accounts::{Account, Accounts};
use crate::addr::{EndpointId, EniId, TargetGroupId};
use crate::flow::{Direction, Seed, Seeded, Shard, split_ports};
use crate::packet::{FiveTuple, Headers, protocol, tcp_flag};
use crate::time::{Duration, Instant};

/// Slots looked at for expired flows when the table is full.
const RECLAIM_STEPS: usize = 256;

/// For so long a table that was found to be full is taken to be so.
const FULL_TIME: Duration = Duration::from_millis(100);

/// What makes packets one flow: endpoint, and as much of the tuple as the
/// stickiness says, the ends sorted so that both directions agree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowKey {
    endpoint: EndpointId,
    low: (IpAddr, u16),
    high: (IpAddr, u16),
    protocol: Option<u8>,
}

impl FlowKey {
    /// The key of a packet with this tuple. A fragment is keyed by three
    /// values at most, since its later parts have no ports.
    pub fn new(
        endpoint: EndpointId,
        tuple: &FiveTuple,
        stickiness: Stickiness,
        fragmented: bool,
    ) -> Self {
        let ports = stickiness == Stickiness::FiveTuple && !fragmented;
        let (src, dst) = if ports && matches!(tuple.protocol, protocol::TCP | protocol::UDP) {
            ((tuple.src, tuple.sport), (tuple.dst, tuple.dport))
        } else {
            ((tuple.src, 0), (tuple.dst, 0))
        };
        let (low, high) = if src <= dst { (src, dst) } else { (dst, src) };
        let protocol = (stickiness != Stickiness::TwoTuple).then_some(tuple.protocol);
        Self {
            endpoint,
            low,
            high,
            protocol,
        }
    }

    /// Whether it is one connection's: a coarser stickiness holds many.
    const fn has_ports(&self) -> bool {
        self.low.1 != 0 || self.high.1 != 0
    }

    /// A seeded hash.
    pub fn hash(&self, seed: Seed) -> u64 {
        let protocol = self.protocol.map_or(256, u64::from);
        seed.words(&[
            seed.address(self.low.0),
            seed.address(self.high.0),
            u64::from(self.low.1) << 48 | u64::from(self.high.1) << 32 | u64::from(self.endpoint.0),
            protocol,
        ])
    }
}

/// Outer UDP source port of a flow whose key has this hash.
/// ASSUMPTION: 49152 + hash mod 16384 (`gwlb-geneve.md` §3).
pub const fn source_port(hash: u64) -> u16 {
    49152 + (hash % 16384) as u16
}

/// A flow to be created.
#[derive(Clone, Copy, Debug)]
pub struct NewFlow {
    /// Its key.
    pub key: FlowKey,
    /// Tuple of its first packet, as it entered the endpoint.
    pub first: FiveTuple,
    /// Endpoint.
    pub endpoint: EndpointId,
    /// Low 64 bits of the endpoint's id.
    pub vpce: u64,
    /// Target group.
    pub target_group: TargetGroupId,
    /// Target address.
    pub target: IpAddr,
    /// How often the target had failed by then.
    pub failures: u32,
    /// The node that sends to it, and its address.
    pub node: EniId,
    /// Address of the node.
    pub node_address: IpAddr,
    /// Idle timeout of TCP.
    pub tcp_idle: Duration,
}

const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl NewFlow {
    /// What a free slot holds.
    const NONE: Self = Self {
        key: FlowKey {
            endpoint: EndpointId(u32::MAX),
            low: (NOWHERE, 0),
            high: (NOWHERE, 0),
            protocol: None,
        },
        first: FiveTuple {
            src: NOWHERE,
            dst: NOWHERE,
            protocol: 0,
            sport: 0,
            dport: 0,
        },
        endpoint: EndpointId(u32::MAX),
        vpce: 0,
        target_group: TargetGroupId(u32::MAX),
        target: NOWHERE,
        failures: 0,
        node: EniId(u32::MAX),
        node_address: NOWHERE,
        tcp_idle: Duration::ZERO,
    };
}

/// A live flow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// What its packets ask of it.
    pub leg: Leg,
    /// What it was created from; a rebalanced flow has another target.
    pub spec: NewFlow,
    /// The flow that a packet came out of before it entered this one, by direction.
    pub before: [Option<u32>; 2],
    /// Resets among the packets that came back.
    resets: u32,
}

impl Flow {
    /// A slot without one.
    const FREE: Self = Self {
        leg: Leg::FREE,
        spec: NewFlow::NONE,
        before: [None; 2],
        resets: 0,
    };

    /// Whose account it is in.
    pub(crate) const fn account(&self) -> Account {
        Account {
            node: Some(self.spec.node),
            endpoint: Some(self.spec.endpoint),
        }
    }

    /// A packet leaves the flow and goes on. (A reset is to be counted as well.)
    #[inline(always)]
    pub(crate) fn leave(&mut self, ip_len: u32, now: Instant) {
        self.leg.last_seen = now;
        self.leg.carried_back(ip_len);
    }

    /// Which way a packet with this tuple travels.
    pub fn direction(&self, tuple: &FiveTuple) -> Direction {
        let ports = self.spec.key.has_ports();
        if tuple.src == self.spec.first.src && (!ports || tuple.sport == self.spec.first.sport) {
            Direction::Forward
        } else {
            Direction::Reply
        }
    }
}

/// All flows of one pipeline.
#[derive(Debug)]
pub struct Flows {
    seed: Seed,
    shard: Shard,
    slots: Vec<Flow>,
    free: Vec<u32>,
    by_key: HashMap<FlowKey, u32, Seeded>,
    mask: u32,
    created: u32,
    injected: Option<(u32, u16)>,
    hand: usize,
    full_until: Instant,
    /// The shortest idle timeout that there was.
    floor: Duration,
    /// What flows have counted that are over.
    ended: Accounts,
}

impl Flows {
    /// A table for at least `capacity` flows (rounded up to a power of two).
    pub fn new(capacity: usize, seed: Seed) -> Self {
        let size = capacity.clamp(8, 1 << 24).next_power_of_two();
        let mut slots = vec![Flow::FREE; size];
        if let Some(first) = slots.first_mut() {
            // The cookie of free slots is zero, which leads to this one.
            first.leg.name(0, 1, 0);
        }
        Self {
            seed,
            shard: Shard::default(),
            slots,
            // Slot 0 is never used, so that a zero cookie names no flow.
            free: (1..size as u32).rev().collect(),
            by_key: HashMap::with_capacity_and_hasher(size, Seeded(seed)),
            mask: size as u32 - 1,
            created: 0,
            injected: None,
            hand: 0,
            full_until: Instant::ZERO,
            floor: Duration::MAX,
            ended: Accounts::new(seed),
        }
    }

    /// Makes them those of one worker: its number is in every cookie.
    pub fn set_shard(&mut self, shard: Shard) {
        self.shard = shard;
    }

    /// The next flow gets this cookie and source port, if its slot is free:
    /// how worked packets are reproduced byte for byte.
    pub fn inject(&mut self, cookie: u32, source_port: u16) {
        self.injected = Some((cookie, source_port));
    }

    /// The flow of packets with this key, alive or expired.
    pub fn find(&self, key: &FlowKey) -> Option<(u32, &Flow)> {
        let slot = *self.by_key.get(key)?;
        Some((slot, self.get(slot)?))
    }

    /// The flow in a slot.
    #[inline(always)]
    pub fn get(&self, slot: u32) -> Option<&Flow> {
        self.slots
            .get(slot as usize)
            .filter(|flow| flow.leg.is_in_use())
    }

    #[inline(always)]
    fn get_mut(&mut self, slot: u32) -> Option<&mut Flow> {
        self.slots
            .get_mut(slot as usize)
            .filter(|flow| flow.leg.is_in_use())
    }

    /// Serial number of the flow in a slot; 0, which no flow has, without one.
    pub fn serial(&self, slot: u32) -> u32 {
        self.get(slot).map_or(0, |flow| flow.leg.serial)
    }

    /// The flow that has exactly this cookie.
    #[inline(always)]
    pub fn by_cookie(&self, cookie: u32) -> Option<(u32, &Flow)> {
        let slot = cookie & self.mask;
        // A free slot has no cookie that leads to it.
        self.slots
            .get(slot as usize)
            .filter(|flow| flow.leg.cookie() == cookie)
            .map(|flow| (slot, flow))
    }

    /// Whether another flow fits.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Creates a flow, in place of an expired one with the same key. `None`
    /// when the table is full of live flows, or the tunnel's ends are not IPv4.
    pub fn create(&mut self, spec: NewFlow, now: Instant) -> Option<u32> {
        let mut leg = Leg::new(&spec, now)?;
        if let Some(&old) = self.by_key.get(&spec.key) {
            self.remove(old);
        }
        if self.free.is_empty() {
            self.reclaim(now);
        }
        self.created = self.created.wrapping_add(1).max(1);
        let hash = spec.key.hash(self.seed);
        let (slot, cookie, source_port) = match self.injected.take() {
            Some((cookie, port)) if self.free.contains(&(cookie & self.mask)) => {
                let slot = cookie & self.mask;
                self.free.retain(|&free| free != slot);
                (slot, cookie, port)
            }
            _ => {
                let slot = self.free.pop()?;
                let nonce = self.seed.words(&[hash, u64::from(self.created)]) as u32;
                let cookie = self.shard.cookie(nonce & !self.mask | slot);
                (slot, cookie, source_port(hash))
            }
        };
        leg.name(self.created, cookie, source_port);
        self.floor = self.floor.min(leg.shortest_idle());
        let flow = Flow {
            leg,
            spec,
            before: [None; 2],
            resets: 0,
        };
        *self.slots.get_mut(slot as usize)? = flow;
        self.by_key.insert(spec.key, slot);
        Some(slot)
    }

    /// Sends the rest of a flow to another target (failover with rebalance).
    pub fn retarget(&mut self, slot: u32, target: IpAddr) {
        if let Some(flow) = self.get_mut(slot) {
            flow.spec.target = target;
            flow.leg.retarget(target);
        }
    }

    /// Notes that packets of this direction enter `slot` out of `before`.
    pub fn chain(&mut self, slot: u32, direction: Direction, before: Option<u32>) {
        if let Some(flow) = self.get_mut(slot) {
            match direction {
                Direction::Forward => flow.before[0] = before,
                Direction::Reply => flow.before[1] = before,
            }
        }
    }

    /// A packet came back from the appliance.
    #[inline]
    pub fn returned(&mut self, slot: u32, now: Instant) {
        if let Some(flow) = self.get_mut(slot) {
            flow.leg.returned(now);
        }
    }

    /// A packet came back and goes on: what it was.
    #[inline(always)]
    pub(crate) fn carried_back(&mut self, slot: u32, ip_len: u32, tcp_flags: u8) {
        if let Some(flow) = self.get_mut(slot) {
            flow.leg.carried_back(ip_len);
            if tcp_flags & tcp_flag::RST != 0 {
                flow.resets += 1;
            }
        }
    }

    /// Takes a packet that enters the endpoint into account.
    pub fn touch(&mut self, slot: u32, headers: &Headers, now: Instant) {
        let Some(flow) = self.get_mut(slot) else {
            return;
        };
        flow.leg.last_seen = now;
        flow.leg.bytes += u64::from(headers.ip_len);
        if headers.tuple.protocol != protocol::TCP || !flow.spec.key.has_ports() {
            return;
        }
        if headers.tcp_flags & tcp_flag::FIN != 0 {
            flow.leg.fin(flow.direction(&headers.tuple));
        }
        if headers.tcp_flags & tcp_flag::RST != 0 {
            flow.leg.reset();
        }
    }

    /// The moment as flows are looked at by.
    #[inline(always)]
    pub(crate) fn at(&self, now: Instant) -> Moment {
        Moment {
            now,
            young_from: now - self.floor,
        }
    }

    /// The leg of the living flow with this cookie.
    #[inline(always)]
    pub(crate) fn living_leg_mut(&mut self, cookie: u32, at: &Moment) -> Option<&mut Leg> {
        let leg = &mut self.slots.get_mut((cookie & self.mask) as usize)?.leg;
        // That of a free slot is closed.
        (leg.cookie() == cookie && leg.lives(at)).then_some(leg)
    }

    /// The flow in a slot, if it takes returns, for a packet that leaves it: which its
    /// target has thereby answered.
    #[inline(always)]
    pub(crate) fn returning_mut(&mut self, slot: u32, at: &Moment) -> Option<&mut Flow> {
        let flow = self.slots.get_mut(slot as usize)?;
        // A free slot takes none.
        flow.leg.takes(at).then_some(flow)
    }

    /// A reset was among what came back of the flow in a slot, and went on.
    pub(crate) fn carried_reset(&mut self, slot: u32) {
        if let Some(flow) = self.get_mut(slot) {
            flow.resets += 1;
        }
    }

    /// Packets with these addresses that leave the flow in a slot belong to the
    /// session that the index refers to so.
    pub(crate) fn expect(&mut self, slot: u32, (src, dst): (u32, u32), reference: u32) {
        if let Some(flow) = self.get_mut(slot) {
            flow.leg.expect(src, dst, reference);
        }
    }

    /// A plain IPv4 packet with this source and these ports (the source's first), all as
    /// they are sent, enters the flow and ends its connection; its bytes are counted already.
    #[cold]
    pub(crate) fn touch_end(
        &mut self,
        cookie: u32,
        src: u32,
        ports: u32,
        tcp_flags: u8,
        now: Instant,
    ) {
        let (sport, dport) = split_ports(ports);
        let tuple = FiveTuple {
            src: IpAddr::from(src.to_ne_bytes()),
            // The far end does not tell the direction.
            dst: IpAddr::V4(0.into()),
            protocol: protocol::TCP,
            sport,
            dport,
        };
        let headers = Headers {
            tcp_flags,
            // Counted by who calls.
            ip_len: 0,
            ..Headers::synthetic(tuple)
        };
        self.touch(cookie & self.mask, &headers, now);
    }

    /// Fetches the memory of the flow that may have this cookie.
    #[inline(always)]
    pub(crate) fn prefetch(&self, cookie: u32) {
        crate::flow::prefetch(&self.slots, (cookie & self.mask) as usize);
    }

    /// Removes a flow.
    pub fn remove(&mut self, slot: u32) {
        if let Some(place) = self.get_mut(slot) {
            let flow = std::mem::replace(place, Flow::FREE);
            if self.by_key.get(&flow.spec.key) == Some(&slot) {
                self.by_key.remove(&flow.spec.key);
            }
            self.free.push(slot);
            let counts = self.ended.of(flow.account());
            counts.created += 1;
            counts.bytes += flow.leg.bytes;
            counts.resets += u64::from(flow.resets);
        }
    }

    /// What they have counted, those that are over and those that live. Looks at
    /// every flow.
    pub fn accounts(&self, now: Instant) -> Accounts {
        let mut all = self.ended.clone();
        for (_, flow) in self.iter() {
            let counts = all.of(flow.account());
            counts.active += u64::from(flow.leg.is_alive(now) && !flow.leg.is_over());
            counts.created += 1;
            counts.bytes += flow.leg.bytes;
            counts.resets += u64::from(flow.resets);
        }
        all
    }

    /// Removes expired flows, however little so, until some slots are free. Flows
    /// that live lie together, so a few steps may find none: then the whole table
    /// is looked at, but not again for a while.
    #[cold]
    fn reclaim(&mut self, now: Instant) {
        let size = self.slots.len();
        for step in 0..size {
            if step >= RECLAIM_STEPS && (!self.free.is_empty() || now < self.full_until) {
                return;
            }
            let slot = self.hand % size;
            self.hand = slot + 1;
            if self
                .get(slot as u32)
                .is_some_and(|flow| !flow.leg.is_alive(now))
            {
                self.remove(slot as u32);
            }
        }
        if self.free.is_empty() {
            self.full_until = now + FULL_TIME;
        }
    }

    /// Looks at up to `steps` slots and removes the dead flows among them.
    pub fn sweep(&mut self, now: Instant, steps: usize) {
        for _ in 0..steps.min(self.slots.len()) {
            let slot = self.hand % self.slots.len();
            self.hand = slot + 1;
            let dead = |flow: &Flow| flow.leg.is_dead(now);
            if self.get(slot as u32).is_some_and(dead) {
                self.remove(slot as u32);
            }
        }
    }

    /// All flows, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Flow)> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, flow)| flow.leg.is_in_use())
            .map(|(slot, flow)| (slot as u32, flow))
    }
}
