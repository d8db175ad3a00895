//! The snapshot answers for the generations of its rows.

use std::net::IpAddr;

use super::Snapshot;
use crate::addr::{RouteTableId, SecurityGroupId};
use crate::flow::{Generations, Object, RouteRange};

impl Generations for Snapshot {
    fn version(&self) -> u64 {
        self.version
    }

    fn row(&self, object: Object, id: u32) -> u64 {
        match object {
            Object::Settings => self.settings_generation,
            Object::Vpc => self.vpcs.generation(id),
            Object::Subnet => self.subnets.generation(id),
            Object::Eni => self.enis.generation(id),
            Object::SecurityGroup => self.security_groups.generation(id),
            Object::NetworkAcl => self.network_acls.generation(id),
            Object::PrefixList => self.prefix_lists.generation(id),
            Object::Endpoint => self.endpoints.generation(id),
            Object::LoadBalancer => self.load_balancers.generation(id),
            Object::TargetGroup => self.target_groups.generation(id),
            Object::Peering => self.peerings.generation(id),
            Object::NatGateway => self.nat_gateways.generation(id),
        }
    }

    fn members(&self, group: SecurityGroupId) -> u64 {
        self.group_generation.get(&group).copied().unwrap_or(0)
    }

    fn route(&self, table: RouteTableId, destination: IpAddr) -> Option<(RouteRange, u64)> {
        let hit = self.route_tables.row(table)?.lookup(destination)?;
        Some((hit.cell, hit.generation))
    }

    fn changed_since(
        &self,
        version: u64,
        touches: impl FnMut(RouteTableId, Option<RouteRange>) -> bool,
    ) -> bool {
        self.others_generation > version || self.route_log.any_since(version, touches)
    }
}
