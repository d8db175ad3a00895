//! VPC peering: straight to an address of the VPC at the other end, and no further.
//!
//! Reads:  the peering connection, the other VPC's blocks
//! Drops:  PeeringNotInVpc, Blackhole
//! AWS:    VPC Peering guide, "How VPC peering connections work": not transitive,
//!         nothing of the other VPC's edge (gateways, endpoints of gateway type,
//!         VPN) can be used, no reverse path check

use super::{Component, Rule, Step, Walk};
use crate::addr::{PeeringId, SubnetId, VpcId};
use crate::drop::DropReason;
use crate::flow::{Object, Outcome, SizeLimit};

/// Largest packet between regions (EC2 User Guide "Network MTU").
const CROSS_REGION_MTU: u32 = 8500;

impl Walk<'_> {
    /// Out of `vpc` to its peer. What arrives there is not routed by a table: the
    /// sender's route has led to the VPC, and its router knows its own addresses.
    pub(super) fn peering(&mut self, id: PeeringId, vpc: VpcId, subnet: SubnetId) -> Step {
        self.depend(Object::Peering, id);
        let row = self.tables.peerings.row(id);
        let across = row.and_then(|row| Some((row, row.across(vpc)?)));
        let Some((row, peer)) = across else {
            let component = Component::Peering(id, vpc);
            return Err(self.end(component, Rule::None, DropReason::Blackhole));
        };
        let component = Component::Peering(id, peer);
        if row.cross_region {
            let source = self.router_address(subnet);
            self.limit(SizeLimit {
                bytes: CROSS_REGION_MTU,
                outcome: Outcome::TooBig(source),
            });
        }
        self.depend(Object::Vpc, peer);
        let cidrs = self.tables.vpcs.row(peer).map(|row| &row.cidrs[..]);
        let held = cidrs.unwrap_or_default().iter();
        let Some(cidr) = held.copied().find(|cidr| cidr.contains(self.tuple.dst)) else {
            return Err(self.end(component, Rule::None, DropReason::PeeringNotInVpc));
        };
        self.hop(component, Rule::Route(cidr));
        self.hand_to_owner(peer, None)
    }
}
