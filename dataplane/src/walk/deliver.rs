//! Arriving at an interface: ACL in, then what stands behind it.
//!
//! Reads:  the ENI's kind, groups, addresses, check and MTU
//! Writes: the rewrite
//! Drops:  ZoneDown, SourceDestCheck, Detached
//! AWS:    VPC User Guide "Infrastructure security"; EC2 "Elastic network interfaces"

use super::{Component, Rule, Step, Stop, Walk};
use crate::addr::{EniId, SubnetId};
use crate::drop::DropReason;
use crate::flow::{Object, Outcome, Rewrite, SizeLimit};
use crate::tables::{EniKind, EniRow};

impl Walk<'_> {
    /// The packet reaches interface `id`, coming from `from` (`None`: from
    /// outside the VPC).
    pub(super) fn arrive(&mut self, id: EniId, from: Option<SubnetId>) -> Step {
        let eni = self.eni(id)?;
        self.zone_is_up(Component::Destination(id), eni.subnet)?;
        if from != Some(eni.subnet) {
            self.network_acl(eni.subnet, false)?;
        }
        match eni.kind {
            EniKind::Host => self.deliver(id, eni),
            EniKind::Endpoint(endpoint) => self.privatelink_enter(endpoint, id, eni),
            EniKind::GatewayEndpoint(endpoint) => {
                let endpoint = Component::Endpoint(endpoint);
                Err(self.end(endpoint, Rule::None, DropReason::NotAnswered))
            }
            EniKind::LoadBalancer(balancer) => self.at_load_balancer(balancer, id, eni),
            EniKind::NatGateway(gateway) => self.at_nat_gateway(gateway, id, eni),
        }
    }

    /// A zone that is down, as its outside sees it: nothing gets in or out.
    pub(super) fn zone_is_up(
        &mut self,
        component: Component,
        subnet: SubnetId,
    ) -> Result<(), Stop> {
        self.depend(Object::Subnet, subnet);
        match self.tables.subnets.row(subnet) {
            Some(row) if row.down => Err(self.end(component, Rule::None, DropReason::ZoneDown)),
            _ => Ok(()),
        }
    }

    /// Groups in, destination check, and out by the interface's port.
    pub(super) fn deliver(&mut self, id: EniId, eni: &EniRow) -> Step {
        self.security_groups_in(id, eni)?;
        self.deliver_judged(id, eni)
    }

    /// The same, once its groups have had their say.
    pub(super) fn deliver_judged(&mut self, id: EniId, eni: &EniRow) -> Step {
        let component = Component::Destination(id);
        let check = Rule::Check(eni.source_dest_check);
        if eni.source_dest_check && !eni.owns(self.tuple.dst) {
            return Err(self.end(component, check, DropReason::SourceDestCheck));
        }
        if !eni.attached {
            return Err(self.end(component, check, DropReason::Detached));
        }
        self.hop(component, check);
        let source = self.router_address(eni.subnet);
        self.limit(SizeLimit {
            bytes: eni.mtu,
            outcome: Outcome::TooBig(source),
        });
        Ok(self.rewrite_to(id, eni, false))
    }

    /// The frame goes to the local stack at a load balancer's node.
    pub(super) fn deliver_local(&mut self, id: EniId, eni: &EniRow) -> Step {
        self.hop(Component::Destination(id), Rule::None);
        Ok(self.rewrite_to(id, eni, true))
    }

    fn rewrite_to(&self, id: EniId, eni: &EniRow, local: bool) -> Rewrite {
        let router = self
            .tables
            .subnets
            .row(eni.subnet)
            .map(|subnet| subnet.router_mac);
        // A neighbour's frame keeps its sender; what was routed is the router's.
        let src_mac = self.sender_mac.or(router).unwrap_or_default();
        Rewrite {
            out: id,
            local,
            dst_mac: eni.mac,
            src_mac,
            decapsulate: self.decapsulate,
            tuple: self.path.tunnelled.unwrap_or(self.tuple),
            ttl_set: self.ttl_set,
            ttl_less: self.ttl_less,
            clamp_mss: self.clamp_mss,
            limits: self.limits,
            shifted: self.shifted,
            tunnel: self.tunnel,
        }
    }
}
