//! The table of gateway load balancer flows.
//!
//! A flow is found by its key (endpoint and normalised tuple) when a packet
//! enters an endpoint, and by its cookie when the appliance returns one. The
//! cookie's low bits are the flow's slot: an inner header that the appliance
//! rewrote needs no second index.

use std::collections::HashMap;
use std::net::IpAddr;

use super::target::Stickiness;
use crate::addr::{EndpointId, EniId, TargetGroupId};
use crate::flow::{Direction, Seed, Seeded, Shard, Tunnel};
use crate::packet::{FiveTuple, Headers, protocol, tcp_flag};
use crate::time::{Duration, Instant};

/// Idle timeout of everything but TCP; fixed (GWLB guide "Idle timeout").
const OTHER_IDLE: Duration = Duration::from_secs(120);

/// Slots looked at for expired flows when the table is full.
const RECLAIM_STEPS: usize = 256;

/// A target must return something of a new flow within this time (GWLB guide).
/// ASSUMPTION: AWS does not say what follows; the flow is forgotten.
const ANSWER_TIME: Duration = Duration::from_secs(30);

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

/// A live flow.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// What it was created from; a rebalanced flow has another target.
    pub spec: NewFlow,
    /// Opaque to the appliance; the low bits are the slot.
    pub cookie: u32,
    /// Names the flow among all that there were: sessions are found by it, and
    /// one that outlives its flow must not be found by the slot's next tenant.
    pub serial: u32,
    /// Outer UDP source port, the same in both directions.
    pub source_port: u16,
    /// When the last packet passed.
    pub last_seen: Instant,
    /// When it began, until its target returns a packet.
    unanswered_since: Option<Instant>,
    /// FIN seen forward, back.
    fins: u8,
    closed: bool,
    /// The flow that a packet came out of before it entered this one, by direction.
    pub before: [Option<u32>; 2],
}

impl Flow {
    /// Which way a packet with this tuple travels.
    pub fn direction(&self, tuple: &FiveTuple) -> Direction {
        let ports = self.spec.key.low.1 != 0 || self.spec.key.high.1 != 0;
        if tuple.src == self.spec.first.src && (!ports || tuple.sport == self.spec.first.sport) {
            Direction::Forward
        } else {
            Direction::Reply
        }
    }

    /// The tunnel of packets that enter the flow in `slot`; `None` if its legs
    /// are not IPv4, which they always are.
    pub fn tunnel(&self, slot: u32, ttl: u8) -> Option<Tunnel> {
        match (self.spec.node_address, self.spec.target) {
            (IpAddr::V4(node), IpAddr::V4(target)) => Some(Tunnel {
                node,
                target,
                source_port: self.source_port,
                vpce: self.spec.vpce,
                cookie: self.cookie,
                flow: slot,
                ttl,
            }),
            _ => None,
        }
    }

    /// Node's and target's address.
    pub(crate) fn legs(&self) -> Option<(u32, u32)> {
        match (self.spec.node_address, self.spec.target) {
            (IpAddr::V4(node), IpAddr::V4(target)) => Some((node.into(), target.into())),
            _ => None,
        }
    }

    /// Idle timeout; short once both sides have sent FIN.
    pub fn idle_timeout(&self) -> Duration {
        if self.fins == 3 {
            Duration::from_secs(10)
        } else if self.spec.first.protocol == protocol::TCP {
            self.spec.tcp_idle
        } else {
            OTHER_IDLE
        }
    }

    /// Whether the connection was closed by both sides: a SYN opens another flow.
    pub fn is_over(&self) -> bool {
        self.fins == 3
    }

    /// Whether the flow is still known.
    pub fn is_alive(&self, now: Instant) -> bool {
        !self.closed && self.takes_returns(now)
    }

    /// Whether its target may still return packets: also those of a
    /// connection that a reset has just closed.
    pub fn takes_returns(&self, now: Instant) -> bool {
        now.since(self.last_seen) <= self.idle_timeout()
            && self
                .unanswered_since
                .is_none_or(|at| now.since(at) <= ANSWER_TIME)
    }
}

/// All flows of one pipeline.
#[derive(Debug)]
pub struct Flows {
    seed: Seed,
    shard: Shard,
    slots: Vec<Option<Flow>>,
    free: Vec<u32>,
    by_key: HashMap<FlowKey, u32, Seeded>,
    mask: u32,
    created: u32,
    injected: Option<(u32, u16)>,
    hand: usize,
}

impl Flows {
    /// A table for at least `capacity` flows (rounded up to a power of two).
    pub fn new(capacity: usize, seed: Seed) -> Self {
        let size = capacity.clamp(8, 1 << 24).next_power_of_two();
        Self {
            seed,
            shard: Shard::default(),
            slots: vec![None; size],
            // Slot 0 is never used, so that a zero cookie names no flow.
            free: (1..size as u32).rev().collect(),
            by_key: HashMap::with_capacity_and_hasher(size, Seeded(seed)),
            mask: size as u32 - 1,
            created: 0,
            injected: None,
            hand: 0,
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
    pub fn get(&self, slot: u32) -> Option<&Flow> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// Serial number of the flow in a slot; 0, which no flow has, without one.
    pub fn serial(&self, slot: u32) -> u32 {
        self.get(slot).map_or(0, |flow| flow.serial)
    }

    /// The flow that has exactly this cookie.
    pub fn by_cookie(&self, cookie: u32) -> Option<(u32, &Flow)> {
        let slot = cookie & self.mask;
        self.get(slot)
            .filter(|flow| flow.cookie == cookie)
            .map(|flow| (slot, flow))
    }

    /// Whether another flow fits.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Creates a flow, in place of an expired one with the same key. `None`
    /// when the table is full of live flows.
    pub fn create(&mut self, spec: NewFlow, now: Instant) -> Option<u32> {
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
        let flow = Flow {
            spec,
            cookie,
            serial: self.created,
            source_port,
            last_seen: now,
            unanswered_since: Some(now),
            fins: 0,
            closed: false,
            before: [None; 2],
        };
        *self.slots.get_mut(slot as usize)? = Some(flow);
        self.by_key.insert(spec.key, slot);
        Some(slot)
    }

    /// Sends the rest of a flow to another target (failover with rebalance).
    pub fn retarget(&mut self, slot: u32, target: IpAddr) {
        if let Some(Some(flow)) = self.slots.get_mut(slot as usize) {
            flow.spec.target = target;
        }
    }

    /// Notes that packets of this direction enter `slot` out of `before`.
    pub fn chain(&mut self, slot: u32, direction: Direction, before: Option<u32>) {
        if let Some(Some(flow)) = self.slots.get_mut(slot as usize) {
            match direction {
                Direction::Forward => flow.before[0] = before,
                Direction::Reply => flow.before[1] = before,
            }
        }
    }

    /// A packet came back from the appliance.
    pub fn returned(&mut self, slot: u32, now: Instant) {
        if let Some(Some(flow)) = self.slots.get_mut(slot as usize) {
            flow.last_seen = now;
            flow.unanswered_since = None;
        }
    }

    /// Takes a packet that enters the endpoint into account.
    pub fn touch(&mut self, slot: u32, headers: &Headers, now: Instant) {
        let Some(Some(flow)) = self.slots.get_mut(slot as usize) else {
            return;
        };
        flow.last_seen = now;
        // A coarser stickiness holds many connections: one's end is not its end.
        let one_connection = flow.spec.key.low.1 != 0 || flow.spec.key.high.1 != 0;
        if headers.tuple.protocol != protocol::TCP || !one_connection {
            return;
        }
        if headers.tcp_flags & tcp_flag::FIN != 0 {
            flow.fins |= 1 << flow.direction(&headers.tuple).index();
        }
        if headers.tcp_flags & tcp_flag::RST != 0 {
            flow.closed = true;
        }
    }

    /// The same for a plain IPv4 packet of a flow that [`Self::by_cookie`] finds,
    /// with this source and these ports (the source's first).
    #[inline]
    pub(crate) fn touch_short(
        &mut self,
        cookie: u32,
        src: u32,
        ports: u32,
        tcp_flags: u8,
        now: Instant,
    ) {
        let slot = cookie & self.mask;
        if tcp_flags & (tcp_flag::FIN | tcp_flag::RST) != 0 {
            let tuple = FiveTuple {
                src: IpAddr::V4(src.into()),
                // The far end does not tell the direction.
                dst: IpAddr::V4(0.into()),
                protocol: protocol::TCP,
                sport: (ports >> 16) as u16,
                dport: ports as u16,
            };
            let headers = Headers {
                tcp_flags,
                ..Headers::synthetic(tuple)
            };
            self.touch(slot, &headers, now);
        } else if let Some(Some(flow)) = self.slots.get_mut(slot as usize) {
            flow.last_seen = now;
        }
    }

    /// Fetches the memory of the flow that may have this cookie.
    pub(crate) fn prefetch(&self, cookie: u32) {
        crate::flow::prefetch(&self.slots, (cookie & self.mask) as usize);
    }

    /// Removes a flow.
    pub fn remove(&mut self, slot: u32) {
        if let Some(place) = self.slots.get_mut(slot as usize)
            && let Some(flow) = place.take()
        {
            if self.by_key.get(&flow.spec.key) == Some(&slot) {
                self.by_key.remove(&flow.spec.key);
            }
            self.free.push(slot);
        }
    }

    /// Removes expired flows, however little so, until some slots are free.
    #[cold]
    fn reclaim(&mut self, now: Instant) {
        for _ in 0..self.slots.len().min(RECLAIM_STEPS) {
            let slot = self.hand % self.slots.len();
            self.hand = slot + 1;
            if self
                .get(slot as u32)
                .is_some_and(|flow| !flow.is_alive(now))
            {
                self.remove(slot as u32);
            }
        }
    }

    /// Looks at up to `steps` slots and removes the dead flows among them.
    pub fn sweep(&mut self, now: Instant, steps: usize) {
        for _ in 0..steps.min(self.slots.len()) {
            let slot = self.hand % self.slots.len();
            self.hand = slot + 1;
            let dead = |flow: &Flow| {
                // An expired TCP flow is remembered for as long again, to tell
                // a late packet (reset if so configured) from an unknown one.
                now.since(flow.last_seen) > flow.idle_timeout() + flow.idle_timeout()
                    || flow
                        .unanswered_since
                        .is_some_and(|at| now.since(at) > ANSWER_TIME)
            };
            if self
                .slots
                .get(slot)
                .is_some_and(|flow| flow.as_ref().is_some_and(dead))
            {
                self.remove(slot as u32);
            }
        }
    }

    /// All flows, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Flow)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(slot, flow)| Some((slot as u32, flow.as_ref()?)))
    }
}
