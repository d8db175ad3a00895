//! Whose address a load balancer's target sees: the node's, with a port of its own; or
//! the client's, as it came (client IP preservation).
//!
//! A target that sees its client answers it by the client's address, but never
//! directly: the connection's session leads its packets back to the node, whatever
//! the target's routes say and also where the client is a neighbour on its link.
//!
//! Reads:  the node's addresses, the ports in use; of an answer its session, the
//!         node's interface, and the target's route where the node is in another VPC
//! Drops:  PortAllocation, LbHairpin, NoTarget, NoConnection, NoRoute, Blackhole
//! AWS:    NLB guide "Edit target group attributes", "Troubleshoot"

use std::net::IpAddr;

use super::route::VPC_MTU;
use super::{Component, Rule, Step, Stop, Walk};
use crate::addr::EniId;
use crate::drop::DropReason;
use crate::flow::{LbFlow, Object, Outcome, SizeLimit};
use crate::packet::FiveTuple;
use crate::tables::{EniKind, EniRow, RouteTarget};

impl Walk<'_> {
    /// What the target at `to` is sent: from an address of the node and a free port.
    pub(super) fn sent_by_node(
        &mut self,
        component: Component,
        node: EniId,
        to: (IpAddr, u16),
        hash: u64,
    ) -> Result<FiveTuple, Stop> {
        let row = self.eni(node)?;
        let same_family = |a: &&IpAddr| a.is_ipv4() == to.0.is_ipv4();
        let mut sources = row.addresses.iter().filter(same_family).peekable();
        if sources.peek().is_none() {
            return Err(self.end(component, Rule::None, DropReason::NoTarget));
        }
        let shard = self.connections.shard;
        let ports = &self.connections.ports;
        // ASSUMPTION: the node's first address is used up before its second.
        let translated = sources.find_map(|&src| {
            let wanted = FiveTuple {
                src,
                dst: to.0,
                protocol: self.tuple.protocol,
                sport: 0,
                dport: to.1,
            };
            let owns = |sport| self.tables.leads_to(&shard, &FiveTuple { sport, ..wanted });
            let sport = ports.free_port(node, &wanted, hash, shard.count(), owns)?;
            Some(FiveTuple { sport, ..wanted })
        });
        let Some(mut translated) = translated else {
            return Err(self.end(component, Rule::None, DropReason::PortAllocation));
        };
        if self.tables.settings.sabotage.no_source_nat {
            (translated.src, translated.sport) = (self.tuple.src, self.tuple.sport);
        }
        Ok(translated)
    }

    /// What the target at `to` is sent: from the client itself.
    pub(super) fn sent_by_client(
        &mut self,
        component: Component,
        to: (IpAddr, u16),
    ) -> Result<FiveTuple, Stop> {
        if self.tuple.src == to.0 {
            return Err(self.end(component, Rule::None, DropReason::LbHairpin));
        }
        Ok(FiveTuple {
            dst: to.0,
            dport: to.1,
            ..self.tuple
        })
    }

    /// The flow of which a packet from this port is an answer to a client whose
    /// address was kept.
    pub(super) fn answers_kept(&self) -> Option<LbFlow> {
        let own = self.own.filter(|_| self.is_reply())?;
        own.session.lb().filter(|flow| flow.preserved)
    }

    /// Such an answer goes to the load balancer's node, not where it says. The ACLs
    /// between the two judge it. (ASSUMPTION: no route table does. Targets without a
    /// route to their clients work in AWS, but it does not say how.)
    pub(super) fn back_to_balancer(&mut self, flow: &LbFlow, id: EniId, eni: &EniRow) -> Step {
        self.security_groups_out(id, eni)?;
        let node = self.eni(flow.node)?;
        // A row may be used again.
        if node.kind != EniKind::LoadBalancer(flow.load_balancer) {
            return Err(Stop::Drop(DropReason::NoConnection));
        }
        if node.vpc != eni.vpc {
            self.peered_with(eni, node)?;
        }
        if node.subnet != eni.subnet {
            self.network_acl(eni.subnet, true)?;
        }
        self.limit(SizeLimit {
            bytes: VPC_MTU,
            outcome: Outcome::TooBig(self.router_address(eni.subnet)),
        });
        self.arrive(flow.node, Some(eni.subnet))
    }

    /// A target in another VPC has a peering connection to the node's (NLB guide:
    /// "in the same VPC … or in a peered VPC in the same Region").
    fn peered_with(&mut self, eni: &EniRow, node: &EniRow) -> Result<(), Stop> {
        let subnet = self.tables.subnets.row(eni.subnet);
        let (table, address) = (
            subnet.map(|subnet| subnet.route_table),
            node.addresses.first(),
        );
        let Some((table, &address)) = table.zip(address) else {
            return Err(Stop::Drop(DropReason::NoRoute));
        };
        let route = self.lookup_address(table, address);
        let reason = match route.map(|route| &route.target) {
            Some(&RouteTarget::Peering(peering)) => {
                self.depend(Object::Peering, peering);
                let row = self.tables.peerings.row(peering);
                match row.and_then(|row| row.across(eni.vpc)) {
                    Some(vpc) if vpc == node.vpc => return Ok(()),
                    _ => DropReason::NoRoute,
                }
            }
            Some(RouteTarget::Blackhole) => DropReason::Blackhole,
            _ => DropReason::NoRoute,
        };
        Err(self.end(Component::RouteTable(table), Rule::None, reason))
    }
}
