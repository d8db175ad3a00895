//! All connection state of one pipeline, and the bookkeeping around it.

use std::collections::{HashMap, VecDeque};

use crate::accounts::{Account, Accounts};
use crate::addr::EniId;
use crate::drop::DropReason;
use crate::flow::{
    DepSets, Direction, First, FragmentKey, Fragments, Held, Ingress, Key, LbFlow, NatFlow, Nats,
    Pass, ProxiedFlows, Seed, Seeded, SessionId, Shard, Table, TrackingTimeouts, Tunnel,
};
use crate::gwlb::Flows;
use crate::nat::{GatewayCounts, Ports};
use crate::packet::{FiveTuple, Headers, protocol};
use crate::tables::Snapshot;
use crate::time::{Duration, Instant};

/// Sessions, gateway load balancer flows, fragments and interned dependencies.
#[derive(Debug)]
pub struct Connections {
    /// Seed of every choice.
    pub seed: Seed,
    /// Which worker's they are.
    pub shard: Shard,
    /// Sessions.
    pub sessions: Table,
    /// Gateway load balancer flows.
    pub gwlb: Flows,
    /// First fragments.
    pub fragments: Fragments,
    /// What cached passes were decided from.
    pub deps: DepSets,
    /// Source ports in use by load balancers and NAT gateways.
    pub ports: Ports,
    /// Connections that begin with a proxy protocol header.
    pub proxied: ProxiedFlows,
    /// What each NAT gateway has counted of connections that are over, by its
    /// interface.
    nat_counts: HashMap<EniId, GatewayCounts, Seeded>,
    /// What network load balancers and their endpoints have counted of connections
    /// that are over, and what was dropped at any load balancer or endpoint.
    accounts: Accounts,
    /// Ports of TCP connections that are over, and until when they rest: the server
    /// must not take another's SYN for the end of what it remembers.
    resting: VecDeque<(Instant, NatFlow)>,
}

/// How long a NAT gateway's port rests after the last packet of its connection.
const REST: Duration = Duration::from_secs(10);

/// A session as the walk sees it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Which way the packet in question travels.
    pub direction: Direction,
    /// The session.
    pub session: Held<'a>,
}

impl Connections {
    /// Empty tables of these capacities.
    pub fn new(sessions: usize, gwlb_flows: usize, fragments: usize, seed: u64) -> Self {
        let seed = Seed(seed);
        Self {
            seed,
            shard: Shard::default(),
            sessions: Table::new(sessions, seed),
            gwlb: Flows::new(gwlb_flows, seed),
            fragments: Fragments::new(fragments),
            deps: DepSets::new(seed),
            ports: Ports::new(seed),
            proxied: ProxiedFlows::new(sessions),
            nat_counts: HashMap::with_hasher(Seeded(seed)),
            accounts: Accounts::new(seed),
            resting: VecDeque::new(),
        }
    }

    /// Makes them those of one worker among several.
    pub fn set_shard(&mut self, shard: Shard) {
        self.shard = shard;
        self.gwlb.set_shard(shard);
    }

    /// The session of packets with `tuple` that enter by `ingress`.
    pub fn find(&self, ingress: Ingress, tuple: FiveTuple) -> Option<Known<'_>> {
        let (session, direction) = self.sessions.find_held(&Key { ingress, tuple })?;
        Some(Known { direction, session })
    }

    /// The session, if interface `eni` tracks it and has not forgotten it,
    /// whose packets leave `eni` with the tuple `sent`.
    pub fn tracked(
        &self,
        eni: EniId,
        timeouts: &TrackingTimeouts,
        sent: FiveTuple,
        now: Instant,
    ) -> Option<Known<'_>> {
        self.find(Ingress::Eni(eni), sent)
            .filter(|known| known.session.tracked_by(eni, timeouts, now))
    }

    /// What the first fragment of a later one's datagram was.
    pub fn fragment_tuple(
        &self,
        ingress: Ingress,
        headers: &Headers,
        now: Instant,
    ) -> Option<First> {
        self.fragments.find(&fragment_key(ingress, headers), now)
    }

    /// Remembers a first fragment.
    pub fn learn_fragment(&mut self, ingress: Ingress, headers: &Headers, now: Instant) {
        self.fragments
            .learn(fragment_key(ingress, headers), First::of(headers), now);
    }

    /// Stores the compiled pass of one direction, replacing an older one.
    pub fn set_pass(&mut self, id: SessionId, direction: Direction, pass: &Pass, version: u64) {
        let unused = self.sessions.set_pass(id, direction, pass, version);
        for deps in unused.into_iter().flatten() {
            self.deps.release(deps);
        }
    }

    /// The compiled pass of one direction; `None` also when the tunnel that it
    /// enters is gone.
    pub fn pass(&self, id: SessionId, direction: Direction) -> Option<Pass> {
        let (mut pass, tunnel) = self.sessions.pass(id, direction)?;
        if let Some((cookie, ttl)) = tunnel {
            let (slot, flow) = self.gwlb.by_cookie(cookie)?;
            pass.rewrite.tunnel = Some(flow.leg.tunnel(slot, ttl));
        }
        Some(pass)
    }

    /// Gives a session its load balancer flow, and takes its port.
    pub fn set_lb(&mut self, id: SessionId, flow: LbFlow) {
        if self.sessions.held(id).is_none() {
            return;
        }
        // The old one first: a flow may keep its port.
        if let Some(old) = self.sessions.set_lb(id, flow) {
            self.release_port(&old);
            // Its bytes stay with the session.
            self.accounts.of(account(&old)).created += 1;
        }
        self.take_port(&flow);
    }

    /// The port that a load balancer's flow has at its node is in use.
    pub(crate) fn take_port(&mut self, flow: &LbFlow) {
        if !flow.preserved {
            self.ports.take(flow.node, &flow.translated);
        }
    }

    fn release_port(&mut self, flow: &LbFlow) {
        if !flow.preserved {
            self.ports.release(flow.node, &flow.translated);
        }
    }

    /// Makes these the NAT mappings of a session: takes the ports of new ones, and
    /// lets go of those that it no longer has.
    pub fn set_nats(&mut self, id: SessionId, nats: Nats) {
        let Some(held) = self.sessions.held(id) else {
            return;
        };
        let seen = held.tracking().last_seen();
        let old = self.sessions.set_nats(id, nats);
        // The old ones first: a mapping may keep its port.
        for gone in old
            .iter()
            .flatten()
            .filter(|old| !nats.contains(&Some(**old)))
        {
            self.let_go(seen, gone);
        }
        for new in nats
            .iter()
            .flatten()
            .filter(|new| !old.contains(&Some(**new)))
        {
            self.ports.take(new.gateway, &new.translated);
            self.nat_counts.entry(new.gateway).or_default().attempts += 1;
        }
    }

    /// Puts back what [`Self::take_nats`] took, at another session.
    pub fn put_nats(&mut self, id: SessionId, nats: Nats) {
        self.sessions.set_nats(id, nats);
    }

    /// Takes the NAT mappings from a session, ports and all.
    pub fn take_nats(&mut self, id: SessionId) -> Nats {
        self.sessions.set_nats(id, Nats::default())
    }

    /// A packet was dropped at a NAT gateway.
    pub(crate) fn nat_dropped(&mut self, gateway: EniId, reason: DropReason) {
        let counts = self.nat_counts.entry(gateway).or_default();
        counts.dropped += 1;
        counts.port_allocation_errors += u64::from(reason == DropReason::NatPortAllocation);
    }

    /// What each NAT gateway has counted, by its interface. Looks at every session.
    pub fn nat_counts(&self) -> HashMap<EniId, GatewayCounts, Seeded> {
        let mut all = self.nat_counts.clone();
        for (id, session) in self.sessions.iter() {
            let nats = self.sessions.held(id).map(|held| held.nats());
            for flow in nats.unwrap_or_default().iter().flatten() {
                let counts = all.entry(flow.gateway).or_default();
                counts.active += 1;
                counts.carried(&session);
            }
        }
        all
    }

    /// A mapping is over whose last packet passed at `seen`.
    fn let_go(&mut self, seen: Instant, flow: &NatFlow) {
        match flow.translated.protocol {
            protocol::TCP => self.rest(seen + REST, *flow),
            _ => self.ports.release(flow.gateway, &flow.translated),
        }
    }

    /// A port rests. As many do as there can be sessions; then the one that has rested
    /// longest is free at once.
    fn rest(&mut self, until: Instant, flow: NatFlow) {
        let most = self.sessions.capacity();
        if self.resting.capacity() == 0 {
            self.resting.reserve_exact(most);
        }
        if self.resting.len() >= most
            && let Some((_, oldest)) = self.resting.pop_front()
        {
            self.ports.release(oldest.gateway, &oldest.translated);
        }
        self.resting.push_back((until, flow));
    }

    /// Ports that have rested for long enough are free.
    pub(crate) fn free_rested(&mut self, now: Instant) {
        while let Some(&(until, flow)) = self.resting.front()
            && until < now
        {
            self.ports.release(flow.gateway, &flow.translated);
            self.resting.pop_front();
        }
    }

    fn end_nat(&mut self, id: SessionId, flow: &NatFlow) {
        if let Some(session) = self.sessions.get(id) {
            self.let_go(session.tracking.last_seen(), flow);
            let counts = self.nat_counts.entry(flow.gateway).or_default();
            counts.carried(&session);
            let tracking = &session.tracking;
            counts.idle_timeouts += u64::from(!tracking.is_closed() && !tracking.is_half_open());
        }
    }

    /// A packet was dropped at a load balancer or an endpoint.
    pub(crate) fn balancer_dropped(&mut self, at: Account, reason: DropReason, is_tcp: bool) {
        self.accounts.of(at).drop(reason, is_tcp);
    }

    /// Where packets of this session are counted: by the tunnel that they enter, or
    /// by the load balancer that carries them.
    pub(crate) fn account_of(&self, id: SessionId, tunnel: Option<&Tunnel>) -> Account {
        let flow = tunnel.and_then(|tunnel| self.gwlb.get(tunnel.flow));
        if let Some(flow) = flow {
            return flow.account();
        }
        let lb = self.sessions.held(id).and_then(|held| held.lb());
        lb.map_or(Account::default(), |flow| account(&flow))
    }

    /// A target has reset this connection.
    #[cold]
    pub(crate) fn reset_from_target(&mut self, id: SessionId) {
        if let Some(flow) = self.sessions.held(id).and_then(|held| held.lb()) {
            self.accounts.of(account(&flow)).resets += 1;
        }
    }

    /// What load balancers and endpoints have counted. Looks at every session.
    pub fn accounts(&self, now: Instant) -> Accounts {
        let mut all = self.gwlb.accounts(now);
        all.add(&self.accounts);
        for (id, session) in self.sessions.iter() {
            if let Some(flow) = session.lb {
                let counts = all.of(account(&flow));
                let held = self.sessions.held(id);
                let alive = held.is_some_and(|held| held.lb_alive(now));
                counts.active += u64::from(alive && !session.tracking.is_closed());
                counts.created += 1;
                counts.bytes += session.bytes.iter().sum::<u64>();
            }
        }
        all
    }

    /// Ends a session.
    pub fn end(&mut self, id: SessionId) {
        let nats = self.sessions.held(id).map(|held| held.nats());
        for flow in nats.unwrap_or_default().iter().flatten() {
            self.end_nat(id, flow);
        }
        let bytes = self.sessions.carried(id);
        if let Some(flow) = self.remove(id) {
            let counts = self.accounts.of(account(&flow));
            counts.created += 1;
            counts.bytes += bytes;
        }
    }

    /// Forgets a session; its load balancer's connection, which may go on as another.
    pub(crate) fn remove(&mut self, id: SessionId) -> Option<LbFlow> {
        let (lb, unused) = self.sessions.remove(id)?;
        if let Some(flow) = lb {
            self.release_port(&flow);
            if flow.proxied {
                self.proxied.remove(id);
            }
        }
        for deps in unused.into_iter().flatten() {
            self.deps.release(deps);
        }
        lb
    }

    /// Whether a cached pass still stands on the tables it was decided from.
    pub fn is_current(&mut self, pass: &Pass, tables: &Snapshot) -> bool {
        self.deps.hold(pass.deps, tables)
    }
}

const fn account(flow: &LbFlow) -> Account {
    Account {
        node: Some(flow.node),
        endpoint: flow.endpoint,
    }
}

const fn fragment_key(ingress: Ingress, headers: &Headers) -> FragmentKey {
    FragmentKey {
        ingress,
        src: headers.tuple.src,
        dst: headers.tuple.dst,
        protocol: headers.tuple.protocol,
        id: headers.ip_id,
    }
}
