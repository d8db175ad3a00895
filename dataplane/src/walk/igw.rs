//! Internet gateway: static 1:1 NAT between private and public addresses, and
//! the internet beyond.
//!
//! Reads:  the VPC's gateway and edge table, public addresses
//! Writes: source (outward) or destination (inward) address
//! Drops:  Igw*, GatewaySpoofed, IngressRedirection, InternetUnreachable
//! AWS:    VPC User Guide "Internet gateways", "Gateway route tables";
//!         Reachability Analyzer explanation codes IGW_*

use std::net::{IpAddr, Ipv4Addr};

use super::{Component, Rule, Step, Walk};
use crate::addr::{SubnetId, VpcId};
use crate::drop::DropReason;
use crate::flow::{Object, Outcome, SizeLimit};
use crate::tables::{EniRow, RouteTarget};

/// Largest packet on the internet side (EC2 User Guide "Network MTU").
const INTERNET_MTU: u32 = 1500;

impl Walk<'_> {
    /// Out of `vpc` by its internet gateway.
    pub(super) fn igw_out(&mut self, vpc: VpcId, subnet: SubnetId) -> Step {
        let component = Component::InternetGateway { vpc, outward: true };
        self.depend(Object::Vpc, vpc);
        let Some(igw) = self.tables.vpcs.row(vpc).and_then(|row| row.igw.as_ref()) else {
            return Err(self.end(component, Rule::None, DropReason::Blackhole));
        };
        if self.tunnel.is_some() {
            return Err(self.end(component, Rule::None, DropReason::IgwNoPublicAddress));
        }
        let source = self.router_address(subnet);
        self.limit(SizeLimit {
            bytes: INTERNET_MTU,
            outcome: Outcome::TooBig(source),
        });
        self.age(self.tables.settings.ttl_igw);
        let out = (DropReason::IgwRfc1918, DropReason::IgwRfc6598);
        if let Some(reason) = not_public(self.tuple.dst, out) {
            return Err(self.end(component, Rule::None, reason));
        }
        // A reply may not leave directly when the edge table leads the way in
        // through something else (R: INGRESS_RTB_TRAFFIC_REDIRECTION).
        if self.is_reply()
            && self.left.is_none()
            && let Some(edge) = igw.edge_table
            && let Some(route) = self.lookup_address(edge, self.tuple.src)
            && route.target != RouteTarget::Local
            && self.entered.map(RouteTarget::Eni).as_ref() != Some(&route.target)
        {
            return Err(self.end(component, Rule::None, DropReason::IngressRedirection));
        }
        let before = self.tuple;
        let Some(owner) = self.tables.owner(vpc, self.tuple.src) else {
            let reason = if before.src.is_ipv4() {
                DropReason::IgwNoPublicAddress
            } else {
                DropReason::GatewaySpoofed
            };
            return Err(self.end(component, Rule::None, reason));
        };
        let eni = self.eni(owner)?;
        if eni.deny_all_igw_traffic {
            return Err(self.end(component, Rule::None, DropReason::IgwDenied));
        }
        let mut rule = Rule::None;
        if before.src.is_ipv4() {
            let Some(pair) = eni.public.iter().find(|pair| pair.private == before.src) else {
                return Err(self.end(component, Rule::None, DropReason::IgwNoPublicAddress));
            };
            self.tuple.src = pair.public;
            rule = Rule::PublicAddress(pair.public);
        } else if matches!(before.src, IpAddr::V6(src) if src.is_unique_local()) {
            return Err(self.end(component, Rule::None, DropReason::IgwNoPublicAddress));
        }
        self.hop_from(component, rule, before);
        self.cross_internet(DropReason::InternetUnreachable)
    }

    /// From an internet host.
    pub(super) fn enter_from_internet(&mut self, subnet: SubnetId) -> Step {
        if let Some(vpc) = self.answers_gateway_endpoint() {
            return self.gateway_endpoint_back(vpc);
        }
        let source = self.router_address(subnet);
        self.limit(SizeLimit {
            bytes: INTERNET_MTU,
            outcome: Outcome::TooBig(source),
        });
        self.cross_internet(DropReason::IgwNoPrivateAddress)
    }

    /// Across the internet to whoever has the destination address.
    fn cross_internet(&mut self, unknown: DropReason) -> Step {
        let Some(owner) = self.tables.public_owner(self.tuple.dst) else {
            return Err(self.end(Component::Internet, Rule::None, unknown));
        };
        let eni = self.eni(owner)?;
        self.depend(Object::Vpc, eni.vpc);
        self.sender = None;
        self.hop(Component::Internet, Rule::None);
        if self
            .tables
            .vpcs
            .row(eni.vpc)
            .is_some_and(|vpc| vpc.internet)
        {
            self.deliver(owner, eni)
        } else {
            self.igw_in(eni)
        }
    }

    /// Into the VPC of `eni`, which has the destination's public address.
    fn igw_in(&mut self, eni: &EniRow) -> Step {
        let vpc = eni.vpc;
        let component = Component::InternetGateway {
            vpc,
            outward: false,
        };
        let Some(igw) = self.tables.vpcs.row(vpc).and_then(|row| row.igw.as_ref()) else {
            return Err(self.end(component, Rule::None, DropReason::IgwNoPrivateAddress));
        };
        let source = (DropReason::IgwSourceRfc1918, DropReason::IgwSourceRfc6598);
        if let Some(reason) = not_public(self.tuple.src, source) {
            return Err(self.end(component, Rule::None, reason));
        }
        self.age(self.tables.settings.ttl_igw);
        let before = self.tuple;
        let mut rule = Rule::None;
        if before.dst.is_ipv4() {
            let Some(pair) = eni.public.iter().find(|pair| pair.public == before.dst) else {
                return Err(self.end(component, Rule::None, DropReason::IgwNoPrivateAddress));
            };
            self.tuple.dst = pair.private;
            rule = Rule::PublicAddress(pair.public);
        } else if eni.deny_all_igw_traffic {
            return Err(self.end(component, Rule::None, DropReason::IgwDenied));
        }
        self.hop_from(component, rule, before);
        match igw.edge_table {
            Some(table) => self.route_from_gateway(vpc, table),
            None => self.hand_to_owner(vpc, None),
        }
    }
}

/// The reason (for RFC 1918, for RFC 6598) why an address is not public.
fn not_public(address: IpAddr, reasons: (DropReason, DropReason)) -> Option<DropReason> {
    const SHARED: (u32, u32) = (u32::from_be_bytes([100, 64, 0, 0]), 0xffc0_0000);
    let IpAddr::V4(address) = address else {
        return None;
    };
    if Ipv4Addr::is_private(&address) {
        Some(reasons.0)
    } else if u32::from(address) & SHARED.1 == SHARED.0 {
        Some(reasons.1)
    } else {
        None
    }
}
