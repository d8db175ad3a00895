//! PrivateLink and the network load balancer behind it: one-way NAT.
//!
//! endpoint ENI (consumer) → NLB node → target (provider); source and
//! destination translated. The way back exists only within a flow that the
//! consumer started.
//!
//! Reads:  endpoint, load balancer, listener, target group; the flow if known
//! Writes: the whole tuple, TTL, MSS
//! Drops:  Endpoint*, NoListener, ListenerNoTargetGroup, NoTarget, PortAllocation,
//!         NoConnection, LbFragment, LbHairpin, Fragment, IcmpUnrelated, PrivateLinkOneWay,
//!         LbNotForNode
//! AWS:    PrivateLink guide "Concepts", "Endpoint services"; NLB guide

use std::net::IpAddr;

use super::{Component, Pick, Rule, Step, Stop, Walk};
use crate::accounts::Account;
use crate::addr::{EndpointId, EniId, LoadBalancerId};
use crate::drop::DropReason;
use crate::flow::{Direction, Ingress, LbFlow, Object, Outcome, SizeLimit};
use crate::packet::{FiveTuple, Fragment, protocol};
use crate::tables::{EndpointKind, EniKind, EniRow, LoadBalancerKind, LoadBalancerRow};

/// Largest packet through an interface endpoint (PrivateLink guide "Quotas").
const ENDPOINT_MTU: u32 = 8500;

impl Walk<'_> {
    /// A client's packet reaches an interface endpoint.
    pub(super) fn privatelink_enter(&mut self, id: EndpointId, front: EniId, eni: &EniRow) -> Step {
        let component = Component::Endpoint(id);
        self.depend(Object::Endpoint, id);
        self.path.account = Account {
            node: None,
            endpoint: Some(id),
        };
        let Some(endpoint) = self.tables.endpoints.row(id) else {
            return Err(self.end(component, Rule::None, DropReason::EndpointUnavailable));
        };
        let (load_balancers, protocols) = match &endpoint.kind {
            EndpointKind::Interface { load_balancers, .. }
            | EndpointKind::Remote { load_balancers, .. } => (
                load_balancers.as_slice(),
                &[protocol::TCP, protocol::UDP][..],
            ),
            EndpointKind::Service { .. } => (&[][..], &[protocol::TCP][..]),
            EndpointKind::Gateway { .. } | EndpointKind::GatewayLoadBalancer { .. } => {
                return Err(self.end(component, Rule::None, DropReason::EndpointUnavailable));
            }
        };
        self.track_always();
        self.security_groups_in(front, eni)?;
        if !protocols.contains(&self.tuple.protocol) || self.tunnel.is_some() {
            return Err(self.end(component, Rule::None, DropReason::EndpointProtocol));
        }
        let known = self.known_flow(front);
        // A rejected connection's flows live on; it takes no new ones.
        if !endpoint.available && known.is_none() {
            return Err(self.end(component, Rule::None, DropReason::EndpointUnavailable));
        }
        self.endpoint_size();
        if matches!(endpoint.kind, EndpointKind::Service { .. }) {
            self.hop(component, Rule::None);
            return self.deliver_judged(front, eni);
        }
        let remote = matches!(endpoint.kind, EndpointKind::Remote { .. });
        // P:privatelink-share-your-services: no fragmented UDP between regions.
        if remote && self.packet.headers.fragment != Fragment::Whole {
            return Err(self.end(component, Rule::None, DropReason::LbFragment));
        }
        // One load balancer of the zone, always the same for this interface.
        self.depend(Object::Subnet, eni.subnet);
        let az = self.tables.subnets.row(eni.subnet).map(|subnet| subnet.az);
        let seed = self.connections.seed;
        let in_zone = |id: LoadBalancerId| {
            let row = self.tables.load_balancers.row(id)?;
            let node = if remote {
                let turn = seed.words(&[u64::from(front.0), u64::from(id.0)]);
                row.nodes
                    .get((turn % row.nodes.len().max(1) as u64) as usize)?
            } else {
                row.nodes.iter().find(|node| Some(node.az) == az)?
            };
            Some((id, node.eni))
        };
        let count = load_balancers
            .iter()
            .filter(|&&id| in_zone(id).is_some())
            .count() as u64;
        let choice = match known {
            Some(flow) => Some((flow.load_balancer, flow.node)),
            None if count == 0 => None,
            None => {
                let pick = self.connections.seed.words(&[u64::from(front.0)]) % count;
                load_balancers
                    .iter()
                    .filter_map(|&id| in_zone(id))
                    .nth(pick as usize)
            }
        };
        let Some((balancer, node)) = choice else {
            return Err(self.end(component, Rule::None, DropReason::EndpointNotInAz));
        };
        self.path.account.node = Some(node);
        self.hop(component, Rule::None);
        self.depend(Object::LoadBalancer, balancer);
        let Some(row) = self.tables.load_balancers.row(balancer) else {
            return Err(self.end(component, Rule::None, DropReason::EndpointNotInAz));
        };
        if row.enforce_privatelink_groups {
            let node_eni = self.eni(node)?;
            self.security_groups_in(node, node_eni)?;
        }
        self.balance(Some(id), front, balancer, row, node)
    }

    /// Any packet addressed to a load balancer's node.
    pub(super) fn at_load_balancer(
        &mut self,
        id: LoadBalancerId,
        node: EniId,
        eni: &EniRow,
    ) -> Step {
        self.depend(Object::LoadBalancer, id);
        let component = Component::LoadBalancer(id, node);
        self.path.account = Account {
            node: Some(node),
            endpoint: None,
        };
        let Some(row) = self.tables.load_balancers.row(id) else {
            return Err(self.end(component, Rule::None, DropReason::LbNotForNode));
        };
        if let Some(own) = self.own
            && self.is_reply()
        {
            if let Some(flow) = own.session.lb().filter(|flow| flow.node == node) {
                return self.balanced_reply(&flow, id, node);
            }
            if own.session.enters_by(Direction::Forward) == Some(Ingress::Eni(node)) {
                return self.deliver_local(node, eni);
            }
        }
        if row.kind == LoadBalancerKind::Gateway {
            return self.gwlb_leave(id, node, eni);
        }
        let listened = row.listeners.iter().any(|listener| {
            listener.protocol == self.tuple.protocol && listener.port == self.tuple.dport
        });
        // ASSUMPTION: a node's further addresses are sources only.
        let same_family = |a: &&IpAddr| a.is_ipv4() == self.tuple.dst.is_ipv4();
        let listened = listened && eni.addresses.iter().find(same_family) == Some(&self.tuple.dst);
        if !listened {
            if self.tables.settings.sabotage.two_way
                && let Some(flow) = self.mapping_at_port()
            {
                self.own = None;
                return self.answer_client(&flow, id, node, DropReason::PrivateLinkOneWay);
            }
            // Ports that NAT uses lead back to clients; nobody else may.
            let transport = matches!(self.tuple.protocol, protocol::TCP | protocol::UDP);
            let reason = if transport && self.tuple.dport >= crate::nat::PORT_FIRST {
                DropReason::PrivateLinkOneWay
            } else if transport {
                DropReason::NoListener
            } else {
                DropReason::LbNotForNode
            };
            return Err(self.end(component, Rule::None, reason));
        }
        self.security_groups_in(node, eni)?;
        self.track_always();
        self.balance(None, node, id, row, node)
    }

    /// The load balancer's flow that this packet belongs to, if still known; not
    /// when a frame came to another interface than the one it called, or from
    /// another client (a changed route leads past the NAT that it went through).
    fn known_flow(&self, front: EniId) -> Option<LbFlow> {
        let own = self.own?;
        if self.is_reply() || !own.session.lb_alive(self.now) {
            return None;
        }
        let flow = own.session.lb()?;
        (flow.front_eni == front && flow.client == self.tuple).then_some(flow)
    }

    /// Whether a known flow's target has failed or gone since, and its group says
    /// that this ends its flows.
    fn is_over(&mut self, flow: &LbFlow) -> bool {
        self.depend(Object::TargetGroup, flow.target_group);
        let FiveTuple { dst, dport, .. } = flow.translated;
        let group = self.tables.target_groups.row(flow.target_group);
        group.is_some_and(|group| group.is_over(dst, dport, flow.failures))
    }

    /// Listener, target and translation; then on from the node.
    fn balance(
        &mut self,
        endpoint: Option<EndpointId>,
        front: EniId,
        id: LoadBalancerId,
        row: &LoadBalancerRow,
        node: EniId,
    ) -> Step {
        let component = Component::LoadBalancer(id, node);
        self.passes_balancer(component)?;
        let known = match self.known_flow(front) {
            Some(flow) if self.is_over(&flow) => {
                let opens = self.packet.headers.is_tcp_open() && self.packet.error.is_none();
                if self.is_tcp() && !opens {
                    self.hop(component, Rule::KnownFlow);
                    return Err(Stop::Reset(DropReason::NoConnection));
                }
                None
            }
            known => known,
        };
        let (flow, rule) = match known {
            Some(flow) => (flow, Rule::KnownFlow),
            None => {
                let opened = self.open_flow(endpoint, front, id, row, node)?;
                // What tracked an earlier mapping's legs says nothing of these.
                self.own = None;
                opened
            }
        };
        let before = self.tuple;
        self.front = Some(before.dst);
        self.tuple = flow.translated;
        self.shifted = flow.proxied;
        self.stands_for = flow.preserved.then_some(node);
        self.hop_from(component, rule, before);
        self.ttl_set = Some(self.tables.settings.ttl_load_balancer);
        let node_eni = self.eni(node)?;
        self.sender = Some(node);
        self.security_groups_out(node, node_eni)?;
        self.route_from_subnet(node_eni.subnet)
    }

    /// What a load balancer passes at all, of a known flow too (NLB guide,
    /// "Target groups", "Troubleshooting").
    fn passes_balancer(&mut self, component: Component) -> Result<(), Stop> {
        if self.is_tcp() && self.packet.headers.fragment != Fragment::Whole {
            return Err(self.end(component, Rule::None, DropReason::LbFragment));
        }
        // Without ports there is no flow to belong to.
        if self.packet.portless {
            return Err(self.end(component, Rule::None, DropReason::Fragment));
        }
        match self.packet.error.map(|error| (error.protocol, error.kind)) {
            // ICMP of type 3 only. ASSUMPTION: for IPv6 the errors that say the same.
            Some((protocol::ICMP, kind)) if kind != 3 => {
                Err(self.end(component, Rule::None, DropReason::IcmpUnrelated))
            }
            Some((protocol::ICMPV6, kind)) if !matches!(kind, 1 | 2) => {
                Err(self.end(component, Rule::None, DropReason::IcmpUnrelated))
            }
            _ => Ok(()),
        }
    }

    fn open_flow(
        &mut self,
        endpoint: Option<EndpointId>,
        front: EniId,
        id: LoadBalancerId,
        row: &LoadBalancerRow,
        node: EniId,
    ) -> Result<(LbFlow, Rule), Stop> {
        let component = Component::LoadBalancer(id, node);
        let headers = self.packet.headers;
        let listener = row.listeners.iter().find(|listener| {
            listener.protocol == self.tuple.protocol && listener.port == self.tuple.dport
        });
        let Some(listener) = listener else {
            return Err(self.end(component, Rule::None, DropReason::NoListener));
        };
        if self.packet.error.is_some() || (self.is_tcp() && !headers.is_tcp_open()) {
            // NLB guide "Troubleshooting": a packet of no known connection
            // is answered with a reset.
            self.hop(component, Rule::Listener(listener.port));
            return Err(Stop::Reset(DropReason::NoConnection));
        }
        self.hop(component, Rule::Listener(listener.port));
        let Some(group) = listener.target_group else {
            return Err(self.end(component, Rule::None, DropReason::ListenerNoTargetGroup));
        };
        self.depend(Object::TargetGroup, group);
        let group_component = Component::TargetGroup(group);
        let Some(group_row) = self.tables.target_groups.row(group) else {
            return Err(self.end(
                group_component,
                Rule::None,
                DropReason::ListenerNoTargetGroup,
            ));
        };
        let own = row.nodes.iter().find(|n| n.eni == node);
        let pick = Pick {
            group,
            az: own.map(|n| n.az).unwrap_or_default(),
            cross_zone: row.cross_zone,
        };
        let seed = self.connections.seed;
        let hash = Pick::hash(seed, &self.tuple, headers.tcp_seq);
        let chosen = pick.target(self.tables, seed, hash, self.tuple.src.is_ipv4());
        let Some((index, target)) = chosen else {
            return Err(self.end(group_component, Rule::None, DropReason::NoTarget));
        };
        self.path.pick = Some((pick, index));
        self.path.picks = self.path.picks.saturating_add(1);
        self.hop(group_component, Rule::Target(target.address, target.port));
        let to = (target.address, target.port);
        let preserved = endpoint.is_none() && group_row.preserve_client_ip;
        let translated = match preserved {
            true => self.sent_by_client(component, to)?,
            false => self.sent_by_node(component, node, to, hash)?,
        };
        let flow = LbFlow {
            endpoint,
            front_eni: front,
            client: self.tuple,
            load_balancer: id,
            node,
            translated,
            target_group: group,
            failures: target.failures,
            tcp_idle: listener.tcp_idle,
            proxied: group_row.proxy_protocol && self.is_tcp(),
            preserved,
        };
        self.path.opens_lb = Some(flow);
        Ok((flow, Rule::Target(target.address, target.port)))
    }

    /// A target's packet of a known flow, at the node, on its way back.
    fn balanced_reply(&mut self, flow: &LbFlow, id: LoadBalancerId, node: EniId) -> Step {
        let component = Component::LoadBalancer(id, node);
        // A target may answer a connection, never open one: not even with the
        // addresses and ports of one that exists.
        let opens = self.packet.headers.is_tcp_open() && self.packet.error.is_none();
        if opens && !self.tables.settings.sabotage.two_way {
            return Err(self.end(component, Rule::KnownFlow, DropReason::PrivateLinkOneWay));
        }
        if !self.own.is_some_and(|own| own.session.lb_alive(self.now)) {
            // NLB guide "Network Load Balancers": a target that sends after the idle
            // timeout is reset, as a client is.
            let stop = self.end(component, Rule::None, DropReason::NoConnection);
            return Err(match self.is_tcp() && self.packet.error.is_none() {
                true => Stop::Reset(DropReason::NoConnection),
                false => stop,
            });
        }
        if self.is_over(flow) {
            self.hop(component, Rule::KnownFlow);
            return Err(Stop::Reset(DropReason::NoConnection));
        }
        self.answer_client(flow, id, node, DropReason::NoConnection)
    }

    /// Translates back and goes on from the interface that the client called.
    fn answer_client(
        &mut self,
        flow: &LbFlow,
        id: LoadBalancerId,
        node: EniId,
        gone: DropReason,
    ) -> Step {
        self.passes_balancer(Component::LoadBalancer(id, node))?;
        let before = self.tuple;
        self.front = Some(before.dst);
        self.path.ports[0] = self.ports.replace((0, u16::MAX));
        // A second time is not for the plans.
        self.path.judged |= self.path.answered;
        self.path.answered = true;
        self.tuple = flow.client.reversed();
        self.shifted = flow.proxied;
        self.hop_from(Component::LoadBalancer(id, node), Rule::KnownFlow, before);
        self.ttl_set = Some(self.tables.settings.ttl_load_balancer);
        self.track_always();
        // Still the interface that the client called: a row may be used again.
        let called = flow
            .endpoint
            .map_or(EniKind::LoadBalancer(id), EniKind::Endpoint);
        let front = self.tables.enis.row(flow.front_eni);
        let Some(front) = front.filter(|front| front.kind == called) else {
            return Err(Stop::Drop(gone));
        };
        self.depend(Object::Eni, flow.front_eni);
        self.sender = Some(flow.front_eni);
        if let Some(endpoint) = flow.endpoint {
            self.depend(Object::Endpoint, endpoint);
            self.hop(Component::Endpoint(endpoint), Rule::KnownFlow);
            self.endpoint_size();
            if !self.tables.settings.sabotage.two_way {
                self.security_groups_out(flow.front_eni, front)?;
            }
        }
        self.route_from_subnet(front.subnet)
    }

    /// Only for the sabotage of the one-way rule: whoever's mapping has this port.
    fn mapping_at_port(&self) -> Option<LbFlow> {
        self.connections
            .sessions
            .iter()
            .filter_map(|(_, session)| session.lb)
            .find(|flow| {
                flow.translated.src == self.tuple.dst && flow.translated.sport == self.tuple.dport
            })
    }

    /// What a service of AWS's sends from its interface in a consumer's VPC: it
    /// answers, and never begins.
    pub(super) fn service_answers(&mut self, id: EndpointId) -> Result<(), Stop> {
        self.depend(Object::Endpoint, id);
        if !self.is_reply() {
            let component = Component::Endpoint(id);
            return Err(self.end(component, Rule::None, DropReason::PrivateLinkOneWay));
        }
        self.track_always();
        self.endpoint_size();
        Ok(())
    }

    fn endpoint_size(&mut self) {
        self.limit(SizeLimit {
            bytes: ENDPOINT_MTU,
            outcome: Outcome::Silent(DropReason::EndpointMtu),
        });
        self.clamp();
    }

    /// ASSUMPTION: MSS is clamped to MTU − 40 (IPv4), MTU − 60 (IPv6).
    fn clamp(&mut self) {
        let headers = if self.tuple.src.is_ipv4() { 40 } else { 60 };
        self.clamp_mss_to((ENDPOINT_MTU - headers) as u16);
    }

    /// No segment larger than this; the least of all hops counts.
    pub(super) fn clamp_mss_to(&mut self, most: u16) {
        self.clamp_mss = Some(self.clamp_mss.map_or(most, |held| held.min(most)));
    }
}
