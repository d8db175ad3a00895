//! Virtual private gateway: the on-premises networks behind VPN connections.
//!
//! Reads:  the VPC's gateway, what it knows, its edge table; an on-premises network
//! Writes: TTL, MSS
//! Drops:  VgwNotFromVpc, VgwNotForVpc, VgwNoRoute, VgwIpv6, OnPremUnreachable, Blackhole
//! AWS:    Site-to-Site VPN guide "Route priority", "Customer gateway best practices";
//!         Reachability Analyzer explanation codes VGW_*. From on premises nothing of
//!         the VPC's edge is reached: no other gateway, no endpoint of gateway type.

use std::net::{IpAddr, Ipv4Addr};

use super::{Component, Rule, Step, Stop, Walk};
use crate::addr::{Prefix, VpcId};
use crate::drop::DropReason;
use crate::flow::{Object, Outcome, SizeLimit};

/// Largest packet in a tunnel (VPN guide: no jumbo frames, no path MTU discovery).
const VPN_MTU: u32 = 1446;
/// Largest TCP segment in it (the same).
const VPN_MSS: u16 = 1406;

impl Walk<'_> {
    /// Out of `vpc` by its virtual private gateway.
    pub(super) fn vgw_out(&mut self, vpc: VpcId) -> Step {
        let component = Component::VirtualPrivateGateway { vpc, outward: true };
        self.depend(Object::Vpc, vpc);
        let Some(gateway) = self.tables.vpcs.row(vpc).and_then(|row| row.vgw.as_ref()) else {
            return Err(self.end(component, Rule::None, DropReason::Blackhole));
        };
        // Nor does the leg of a GENEVE tunnel go by it (ASSUMPTION).
        let sender = self.tables.owner(vpc, self.tuple.src);
        let Some(sender) = sender.filter(|_| self.tunnel.is_none()) else {
            return Err(self.end(component, Rule::None, DropReason::VgwNotFromVpc));
        };
        self.eni(sender)?;
        self.through_tunnel(component)?;
        let dst = self.tuple.dst;
        let Some((prefix, network)) = longest(&gateway.known, dst) else {
            return Err(self.end(component, Rule::None, DropReason::VgwNoRoute));
        };
        self.hop(component, Rule::Route(prefix));
        match network {
            Some(network) => self.on_prem(network),
            // No tunnel of the connection is up.
            None => Err(Stop::Drop(DropReason::OnPremUnreachable)),
        }
    }

    /// From a host of an on-premises network, which reaches VPCs by its tunnels.
    pub(super) fn enter_from_on_prem(
        &mut self,
        network: VpcId,
        reached: &[(Prefix, VpcId)],
    ) -> Step {
        self.sender = None;
        if self.tables.owner(network, self.tuple.dst).is_some() {
            return self.on_prem(network);
        }
        // What is in no VPC goes to the first, as by a default route.
        let first = reached.first().map(|&(_, vpc)| vpc);
        let Some(vpc) = longest(reached, self.tuple.dst)
            .map(|(_, vpc)| vpc)
            .or(first)
        else {
            let component = Component::OnPrem(network);
            return Err(self.end(component, Rule::None, DropReason::OnPremUnreachable));
        };
        self.hop(Component::OnPrem(network), Rule::None);
        let component = Component::VirtualPrivateGateway {
            vpc,
            outward: false,
        };
        self.depend(Object::Vpc, vpc);
        let Some(gateway) = self.tables.vpcs.row(vpc).and_then(|row| row.vgw.as_ref()) else {
            return Err(self.end(component, Rule::None, DropReason::OnPremUnreachable));
        };
        self.through_tunnel(component)?;
        let Some(owner) = self.tables.owner(vpc, self.tuple.dst) else {
            return Err(self.end(component, Rule::None, DropReason::VgwNotForVpc));
        };
        self.eni(owner)?;
        self.hop(component, Rule::None);
        match gateway.edge_table {
            Some(table) => self.route_from_gateway(vpc, table),
            None => self.hand_to_owner(vpc, None),
        }
    }

    /// To whoever has the destination address in an on-premises network.
    fn on_prem(&mut self, network: VpcId) -> Step {
        let component = Component::OnPrem(network);
        self.depend(Object::Vpc, network);
        let Some(owner) = self.tables.owner(network, self.tuple.dst) else {
            return Err(self.end(component, Rule::None, DropReason::OnPremUnreachable));
        };
        let eni = self.eni(owner)?;
        self.sender = None;
        self.hop(component, Rule::None);
        self.deliver(owner, eni)
    }

    /// What a VPN tunnel does to a packet, either way.
    fn through_tunnel(&mut self, component: Component) -> Result<(), Stop> {
        if !self.tuple.dst.is_ipv4() {
            return Err(self.end(component, Rule::None, DropReason::VgwIpv6));
        }
        // Fragments or vanishes: nobody is told.
        self.limit(SizeLimit {
            bytes: VPN_MTU,
            outcome: Outcome::TooBig(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        });
        self.clamp_mss_to(VPN_MSS);
        self.age(self.tables.settings.ttl_vgw);
        Ok(())
    }
}

/// The longest prefix with the address; of equal ones the first.
fn longest<T: Copy>(all: &[(Prefix, T)], address: IpAddr) -> Option<(Prefix, T)> {
    let with = all.iter().filter(|(prefix, _)| prefix.contains(address));
    with.copied().rev().max_by_key(|(prefix, _)| prefix.len())
}
