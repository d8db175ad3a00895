//! The route table of a subnet, and what its targets mean.
//!
//! Reads:  the subnet's route table
//! Drops:  NoRoute, Blackhole, AddressUnassigned, Loop
//! AWS:    VPC User Guide, "Route priority": longest prefix first, local routes
//!         included. A route whose target is gone still wins and drops.

use std::net::IpAddr;

use super::{Component, Rule, Step, Stop, Walk};
use crate::addr::{EniId, RouteTableId, SubnetId, VpcId};
use crate::drop::DropReason;
use crate::flow::{Object, Outcome, SizeLimit};
use crate::tables::{Route, RouteTarget};

/// Largest packet inside a VPC (EC2 User Guide "Network MTU").
pub(super) const VPC_MTU: u32 = 9001;

impl<'a> Walk<'a> {
    /// Routes a packet that stands in `subnet`: ACL out when it leaves the
    /// subnet, then the route's target.
    pub(super) fn route_from_subnet(&mut self, subnet: SubnetId) -> Step {
        self.depend(Object::Subnet, subnet);
        // Whoever framed it last, a routed packet comes from the router.
        self.sender_mac = None;
        let Some(row) = self.tables.subnets.row(subnet) else {
            return Err(Stop::Drop(DropReason::NoRoute));
        };
        let (table, vpc) = (row.route_table, row.vpc);
        self.limit(SizeLimit {
            bytes: VPC_MTU,
            outcome: Outcome::TooBig(self.router_address(subnet)),
        });
        let route = self.lookup(table)?;
        // Judged only when the packet leaves the subnet; a packet to an
        // endpoint of the same subnet does (PrivateLink guide, GWLB endpoints).
        let stays = match route.map(|route| &route.target) {
            Some(RouteTarget::Local) => {
                row.cidrs.iter().any(|cidr| cidr.contains(self.tuple.dst))
                    && self.tables.owner(vpc, self.tuple.dst).is_none_or(|owner| {
                        self.tables
                            .enis
                            .row(owner)
                            .is_some_and(|eni| eni.subnet == subnet)
                    })
            }
            Some(RouteTarget::Eni(eni)) => self
                .tables
                .enis
                .row(*eni)
                .is_some_and(|eni| eni.subnet == subnet),
            _ => false,
        };
        if !stays {
            self.network_acl(subnet, true)?;
        }
        let component = Component::RouteTable(table);
        let Some(route) = route else {
            return Err(self.end(component, Rule::None, DropReason::NoRoute));
        };
        self.hop(component, Rule::Route(route.prefix));
        self.age(self.tables.settings.ttl_vpc_router);
        match route.target {
            RouteTarget::Local => self.hand_to_owner(vpc, Some(subnet)),
            RouteTarget::Eni(eni) => self.arrive(eni, Some(subnet)),
            RouteTarget::InternetGateway => self.igw_out(vpc, subnet),
            RouteTarget::GatewayEndpoint(endpoint) => self.gwlb_enter(endpoint, Some(subnet)),
            RouteTarget::Peering(peering) => self.peering(peering, vpc, subnet),
            RouteTarget::ServiceEndpoint(endpoint) => self.gateway_endpoint(endpoint, vpc),
            RouteTarget::VirtualPrivateGateway => self.vgw_out(vpc),
            RouteTarget::Blackhole => Err(Stop::Drop(DropReason::Blackhole)),
        }
    }

    /// Routes a packet that enters `vpc` by a gateway with an edge table.
    pub(super) fn route_from_gateway(&mut self, vpc: VpcId, table: RouteTableId) -> Step {
        let component = Component::RouteTable(table);
        let Some(route) = self.lookup(table)? else {
            return Err(self.end(component, Rule::None, DropReason::NoRoute));
        };
        self.hop(component, Rule::Route(route.prefix));
        match route.target {
            RouteTarget::Local => self.hand_to_owner(vpc, None),
            RouteTarget::Eni(eni) => self.arrive(eni, None),
            RouteTarget::GatewayEndpoint(endpoint) => self.gwlb_enter(endpoint, None),
            RouteTarget::Blackhole => Err(Stop::Drop(DropReason::Blackhole)),
            RouteTarget::InternetGateway
            | RouteTarget::Peering(_)
            | RouteTarget::ServiceEndpoint(_)
            | RouteTarget::VirtualPrivateGateway => Err(Stop::Drop(DropReason::NotRoutable)),
        }
    }

    /// Delivers to whoever owns the destination address in `vpc`.
    pub(super) fn hand_to_owner(&mut self, vpc: VpcId, from: Option<SubnetId>) -> Step {
        let owner = self
            .tables
            .owner(vpc, self.tuple.dst)
            .or_else(|| self.by_link_local(vpc));
        match owner {
            Some(eni) => self.arrive(eni, from),
            None => {
                let router = Component::Router(vpc);
                Err(self.end(router, Rule::None, DropReason::AddressUnassigned))
            }
        }
    }

    fn by_link_local(&self, vpc: VpcId) -> Option<EniId> {
        let std::net::IpAddr::V6(dst) = self.tuple.dst else {
            return None;
        };
        self.tables
            .eni_by_mac(vpc, super::source_check::mac_of_link_local(dst)?)
    }

    /// The route that decides, and a dependency on it; `Err` past the budget.
    fn lookup(&mut self, table: RouteTableId) -> Result<Option<&'a Route>, Stop> {
        self.lookups += 1;
        if self.lookups > super::LOOKUPS_MAX {
            let component = Component::RouteTable(table);
            return Err(self.end(component, Rule::None, DropReason::Loop));
        }
        Ok(self.lookup_address(table, self.tuple.dst))
    }

    /// The same for any address, and outside the budget.
    pub(super) fn lookup_address(
        &mut self,
        table: RouteTableId,
        address: IpAddr,
    ) -> Option<&'a Route> {
        let hit = self.tables.route_tables.row(table)?.lookup(address)?;
        self.path.reads.route(table, hit.cell.0);
        Some(hit.route)
    }
}
