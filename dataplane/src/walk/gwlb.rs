//! Gateway load balancer endpoints: into the tunnel, and out of it.
//!
//! Reads:  endpoint, load balancer, target group; the flow if known
//! Writes: the tunnel header; nothing of the inner packet
//! Drops:  Gwlb*, EndpointUnavailable, EndpointNotInAz, Loop, MalformedGeneve
//! AWS:    GWLB guide; `gwlb-geneve.md` §4 (the checks are numbered as there)

use std::net::IpAddr;

use super::{Component, Geneve, Rule, Step, Stop, View, Walk};
use crate::accounts::Account;
use crate::addr::{EndpointId, EniId, LoadBalancerId, SubnetId};
use crate::drop::DropReason;
use crate::flow::{Direction, Ingress, Limits, Object, Outcome, SizeLimit, Tunnel};
use crate::gwlb::{Flow, FlowKey, NewFlow, choose, source_port};
use crate::packet::{FiveTuple, Fragment, protocol};
use crate::tables::{EndpointKind, EniRow, Failover, TargetGroupRow, TargetHealth};

/// UDP port of GENEVE.
const GENEVE_PORT: u16 = 6081;
/// Largest inner packet (GWLB guide, "Maximum transmission unit").
const GWLB_MTU: u32 = 8500;
/// Outer TTL. ASSUMPTION (`gwlb-geneve.md` §3).
const OUTER_TTL: u8 = 64;
/// Longest chain of endpoints followed when looking for a loop.
const CHAIN_MAX: usize = 16;

impl Walk<'_> {
    /// A route leads into an endpoint; `from` is the subnet, `None` a gateway.
    pub(super) fn gwlb_enter(&mut self, id: EndpointId, from: Option<SubnetId>) -> Step {
        let component = Component::Tunnel {
            endpoint: id,
            outward: true,
        };
        self.depend(Object::Endpoint, id);
        self.path.account = Account {
            node: None,
            endpoint: Some(id),
        };
        let row = self.tables.endpoints.row(id);
        let Some((endpoint, load_balancers, eni)) = row.and_then(|row| match &row.kind {
            EndpointKind::GatewayLoadBalancer {
                load_balancers,
                eni,
            } => Some((row, load_balancers, *eni)),
            EndpointKind::Interface { .. }
            | EndpointKind::Remote { .. }
            | EndpointKind::Service { .. }
            | EndpointKind::Gateway { .. } => None,
        }) else {
            return Err(self.end(component, Rule::None, DropReason::EndpointUnavailable));
        };
        let eni = self.eni(eni)?;
        self.zone_is_up(component, eni.subnet)?;
        if from != Some(eni.subnet) {
            self.network_acl(eni.subnet, false)?;
        }
        if !endpoint.available {
            return Err(self.end(component, Rule::None, DropReason::EndpointUnavailable));
        }
        if self.tunnel.is_some() || self.is_loop(id) {
            return Err(self.end(component, Rule::None, DropReason::Loop));
        }
        self.limit(SizeLimit {
            bytes: GWLB_MTU,
            outcome: Outcome::Silent(DropReason::GwlbMtu),
        });
        self.age(self.tables.settings.ttl_gateway_endpoint);
        let az = self.tables.subnets.row(eni.subnet).map(|subnet| subnet.az);
        let found = load_balancers.iter().find_map(|&id| {
            let row = self.tables.load_balancers.row(id)?;
            Some((id, row, row.nodes.iter().find(|node| Some(node.az) == az)?))
        });
        for &balancer in load_balancers {
            self.depend(Object::LoadBalancer, balancer);
        }
        let Some((_, balancer, node)) = found else {
            return Err(self.end(component, Rule::None, DropReason::EndpointNotInAz));
        };
        self.path.account.node = Some(node.eni);
        let listener = balancer.listeners.first();
        let group = listener.and_then(|listener| listener.target_group);
        let Some((group, targets)) =
            group.and_then(|id| Some((id, self.tables.target_groups.row(id)?)))
        else {
            return Err(self.end(component, Rule::None, DropReason::ListenerNoTargetGroup));
        };
        self.depend(Object::TargetGroup, group);
        let fragmented = self.packet.headers.fragment != Fragment::Whole;
        let key = FlowKey::new(id, &self.tuple, targets.stickiness, fragmented);
        let hash = key.hash(self.connections.seed);
        let pick = || {
            let seed = self.connections.seed;
            let index = choose(&targets.targets, node.az, balancer.cross_zone, seed, hash)?;
            targets.targets.get(index)
        };
        let known = self.connections.gwlb.find(&key);
        let node_row = self.eni(node.eni)?;
        let Some(&IpAddr::V4(source)) = node_row.addresses.iter().find(|a| a.is_ipv4()) else {
            return Err(self.end(component, Rule::None, DropReason::GwlbNoTarget));
        };
        let opens = self.packet.headers.is_tcp_open() && self.packet.error.is_none();
        // Its target has failed or gone since, which resets its connections.
        let ends = |flow: &Flow| targets.is_over(flow.spec.target, 0, flow.spec.failures);
        let lives = |flow: &Flow| {
            let anew = opens && (flow.leg.is_over() || ends(flow));
            flow.leg.is_alive(self.now) && !anew
        };
        let (target, tunnel) = match known.filter(|(_, flow)| lives(flow)) {
            Some((_, flow))
                if self.is_tcp() && !must_move(targets, flow.spec.target) && ends(flow) =>
            {
                self.hop(component, Rule::KnownFlow);
                return Err(Stop::Reset(DropReason::GwlbNoFlow));
            }
            Some((slot, flow)) => {
                let mut target = flow.spec.target;
                if must_move(targets, target)
                    && let Some(other) = pick()
                    && other.address != target
                {
                    target = other.address;
                    self.path.retargets = Some((slot, target));
                }
                (target, (flow.leg.source_port(), flow.leg.cookie(), slot))
            }
            None => {
                self.may_open(component, targets, known.map(|(_, flow)| flow))?;
                let Some(target) = pick() else {
                    let group = Component::TargetGroup(group);
                    return Err(self.end(group, Rule::None, DropReason::GwlbNoTarget));
                };
                self.path.opens_gwlb = Some(NewFlow {
                    key,
                    first: self.tuple,
                    endpoint: id,
                    vpce: endpoint.vpce,
                    target_group: group,
                    target: target.address,
                    failures: target.failures,
                    node: node.eni,
                    node_address: IpAddr::V4(source),
                    tcp_idle: listener.map_or(crate::time::Duration::MAX, |l| l.tcp_idle),
                });
                (target.address, (source_port(hash), 0, 0))
            }
        };
        let IpAddr::V4(target_v4) = target else {
            return Err(self.end(component, Rule::None, DropReason::GwlbNoTarget));
        };
        let (source_port, cookie, flow) = tunnel;
        let rule = if self.path.opens_gwlb.is_some() {
            Rule::Target(target, GENEVE_PORT)
        } else {
            Rule::KnownFlow
        };
        self.path.tunnelled = Some(self.tuple);
        let before = self.tuple;
        self.tuple = FiveTuple {
            src: IpAddr::V4(source),
            dst: target,
            protocol: protocol::UDP,
            sport: source_port,
            dport: GENEVE_PORT,
        };
        self.hop_from(component, rule, before);
        self.packet = View {
            portless: false,
            error: None,
            ..self.packet
        };
        self.tunnel = Some(Tunnel {
            node: source,
            target: target_v4,
            source_port,
            vpce: endpoint.vpce,
            cookie,
            flow,
            ttl: OUTER_TTL,
        });
        self.security_groups_out(node.eni, node_row)?;
        self.route_from_subnet(node_row.subnet)
    }

    /// Whether this packet may open a flow that is not known, or no longer.
    fn may_open(
        &mut self,
        component: Component,
        targets: &TargetGroupRow,
        expired: Option<&Flow>,
    ) -> Result<(), Stop> {
        let headers = &self.packet.headers;
        if self.packet.error.is_some() {
            return Err(self.end(component, Rule::None, DropReason::IcmpUnrelated));
        }
        let whole = headers.fragment == Fragment::Whole;
        if self.is_tcp() && whole && !headers.is_tcp_open() {
            // GWLB guide: late packets are dropped; the listener attribute
            // `send_tcp_reset.on_idle_timeout.enabled` answers them.
            let late = expired.is_some() && targets.reset_on_idle;
            let verdict = self.end(component, Rule::None, DropReason::GwlbNoFlow);
            return Err(if late {
                Stop::Reset(DropReason::GwlbNoFlow)
            } else {
                verdict
            });
        }
        Ok(())
    }

    /// A packet that has just left this endpoint, or one before it that led
    /// here, must not enter it again in the same direction.
    fn is_loop(&self, endpoint: EndpointId) -> bool {
        let mut at = self.left.map(|(_, slot)| slot);
        for _ in 0..CHAIN_MAX {
            let Some(flow) = at.and_then(|slot| self.connections.gwlb.get(slot)) else {
                return false;
            };
            if flow.spec.endpoint == endpoint {
                return true;
            }
            at = match flow.direction(&self.tuple) {
                Direction::Forward => flow.before[0],
                Direction::Reply => flow.before[1],
            };
        }
        true
    }

    /// A packet at a gateway load balancer's node: back from an appliance?
    pub(super) fn gwlb_leave(&mut self, id: LoadBalancerId, node: EniId, eni: &EniRow) -> Step {
        let component = Component::LoadBalancer(id, node);
        self.path.account = Account {
            node: Some(node),
            endpoint: None,
        };
        if self.tuple.protocol != protocol::UDP {
            return Err(self.end(component, Rule::None, DropReason::LbNotForNode));
        }
        let (slot, geneve) = match self.validate(eni) {
            Ok(found) => found,
            Err(reason) => return Err(self.end(component, Rule::None, reason)),
        };
        let Some(flow) = self.connections.gwlb.get(slot) else {
            return Err(self.end(component, Rule::None, DropReason::GwlbCookie));
        };
        let endpoint = flow.spec.endpoint;
        self.depend(Object::Endpoint, endpoint);
        let exit = self
            .tables
            .endpoints
            .row(endpoint)
            .and_then(|row| match row.kind {
                EndpointKind::GatewayLoadBalancer { eni, .. } => Some(eni),
                EndpointKind::Interface { .. }
                | EndpointKind::Remote { .. }
                | EndpointKind::Service { .. }
                | EndpointKind::Gateway { .. } => None,
            });
        let Some(exit) = exit else {
            return Err(self.end(component, Rule::None, DropReason::GwlbEndpointId));
        };
        let exit = self.eni(exit)?;
        let before = self.tuple;
        self.packet = geneve.inner;
        // A tunnel's packet inside another is not looked into.
        self.geneve = None;
        self.tuple = geneve.inner.headers.tuple;
        self.hop_from(
            Component::Tunnel {
                endpoint,
                outward: false,
            },
            Rule::KnownFlow,
            before,
        );
        self.decapsulate = true;
        // The outer packet's own leg is over.
        self.limits = Limits::default();
        self.ttl_less = 0;
        self.sender = None;
        self.sender_mac = None;
        self.path.tracks.clear();
        self.path.forgets.clear();
        self.path.link = None;
        self.untracked = None;
        self.path.from_flow = Some(slot);
        self.left = Some((endpoint, slot));
        self.find_own(Ingress::Gwlb(flow.leg.serial));
        self.route_from_subnet(exit.subnet)
    }

    /// The checks of `gwlb-geneve.md` §4.2.
    fn validate(&self, eni: &EniRow) -> Result<(u32, Geneve), DropReason> {
        if self.tuple.dport != GENEVE_PORT {
            return Err(DropReason::GwlbTunnel); // 2
        }
        let geneve = self.geneve.unwrap_or(Err(DropReason::MalformedGeneve))?; // 4
        let checked = self.check(eni, &geneve);
        if checked.is_err() && self.tables.settings.sabotage.no_geneve_checks {
            let inner = geneve.inner.headers.tuple;
            let same =
                |flow: &Flow| flow.spec.first == inner || flow.spec.first == inner.reversed();
            if let Some((slot, _)) = self.connections.gwlb.iter().find(|(_, flow)| same(flow)) {
                return Ok((slot, geneve));
            }
        }
        Ok((checked?, geneve))
    }

    fn check(&self, eni: &EniRow, geneve: &Geneve) -> Result<u32, DropReason> {
        if !eni.owns(self.tuple.dst) {
            return Err(DropReason::GwlbTunnel); // 1, our address
        }
        let vpce = geneve.vpce.ok_or(DropReason::GwlbEndpointId)?; // 5
        let cookie = geneve.cookie.ok_or(DropReason::GwlbCookie)?; // 6
        let (slot, flow) = self
            .connections
            .gwlb
            .by_cookie(cookie)
            .ok_or(DropReason::GwlbCookie)?;
        if flow.spec.vpce != vpce {
            return Err(DropReason::GwlbEndpointId); // 5, another endpoint
        }
        if !flow.leg.takes_returns(self.now) {
            return Err(DropReason::GwlbCookie); // 8
        }
        if self.tuple.src != flow.spec.target || !eni.owns(flow.spec.node_address) {
            return Err(DropReason::GwlbTunnel); // 1, the flow's target
        }
        Ok(slot)
    }

    /// Straight at a node, as if its subnet had just delivered the packet.
    pub(super) fn at_node(&mut self, node: EniId) -> Step {
        let eni = self.eni(node)?;
        match eni.kind {
            crate::tables::EniKind::LoadBalancer(balancer) => {
                self.at_load_balancer(balancer, node, eni)
            }
            _ => Err(Stop::Drop(DropReason::LbNotForNode)),
        }
    }
}

/// Whether failover moves a flow away from this target.
fn must_move(group: &TargetGroupRow, target: IpAddr) -> bool {
    group.failover == Failover::Rebalance
        && group
            .targets
            .iter()
            .find(|t| t.address == target)
            .is_none_or(|t| t.health == TargetHealth::Unhealthy)
}
