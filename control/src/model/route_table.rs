//! Route tables, their routes and what uses them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;

use super::{
    InternetGatewayId, Meta, NatGatewayId, NetworkInterfaceId, PrefixListId, References, Resource,
    RouteTableAssociationId, RouteTableId, Routes, SubnetId, VpcEndpointId, VpcId,
    VpcPeeringConnectionId, VpnGatewayId, resource_fields,
};

/// What a route covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Destination {
    /// A block.
    Cidr(Prefix),
    /// Every entry of a prefix list.
    PrefixList(PrefixListId),
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cidr(prefix) => prefix.fmt(f),
            Self::PrefixList(id) => id.fmt(f),
        }
    }
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RouteTargetSpec {
    /// Inside the VPC.
    Local,
    /// An internet gateway.
    InternetGateway(InternetGatewayId),
    /// An interface.
    NetworkInterface(NetworkInterfaceId),
    /// A gateway load balancer endpoint.
    VpcEndpoint(VpcEndpointId),
    /// The VPC at the other end of a peering connection.
    VpcPeeringConnection(VpcPeeringConnectionId),
    /// A NAT gateway.
    NatGateway(NatGatewayId),
    /// A virtual private gateway.
    VpnGateway(VpnGatewayId),
}

impl RouteTargetSpec {
    /// The target as traces and descriptions show it.
    pub fn label(&self) -> Arc<str> {
        use super::Id;
        match self {
            Self::Local => Arc::from("local"),
            Self::InternetGateway(id) => id.text().clone(),
            Self::NetworkInterface(id) => id.text().clone(),
            Self::VpcEndpoint(id) => id.text().clone(),
            Self::VpcPeeringConnection(id) => id.text().clone(),
            Self::NatGateway(id) => id.text().clone(),
            Self::VpnGateway(id) => id.text().clone(),
        }
    }

    /// Whether it may be the target of a route inside the VPC's own blocks, and
    /// of an edge table: local, or a middlebox (V:route-table-options).
    pub fn stays_in_vpc(&self) -> bool {
        match self {
            Self::Local
            | Self::NetworkInterface(_)
            | Self::VpcEndpoint(_)
            | Self::NatGateway(_) => true,
            Self::InternetGateway(_) | Self::VpcPeeringConnection(_) | Self::VpnGateway(_) => false,
        }
    }
}

/// How a route came into its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RouteOrigin {
    /// `CreateRouteTable`: the route of a VPC CIDR, perhaps re-targeted.
    CreateRouteTable,
    /// `CreateRoute`
    CreateRoute,
    /// Propagated by a gateway.
    Propagated,
}

/// A route; its destination is its key in the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads.
    pub target: RouteTargetSpec,
    /// How it came here.
    pub origin: RouteOrigin,
}

/// A route table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Id.
    pub id: RouteTableId,
    /// Owner, region, name.
    pub meta: Meta,
    /// Its VPC.
    pub vpc: VpcId,
    /// Routes, the local ones included.
    pub routes: Routes,
    /// Virtual private gateways whose prefixes become routes.
    #[serde(default)]
    pub propagating: BTreeSet<VpnGatewayId>,
}

impl Resource for RouteTable {
    resource_fields!(RouteTableId);

    fn references(&self, to: &mut References) {
        to.add(&self.vpc);
        to.0.extend(self.routes.named().cloned());
        to.extend(&self.propagating);
    }
}

/// What a route table is used by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTableUse {
    /// All subnets of the VPC that have no association of their own.
    Main(VpcId),
    /// A subnet.
    Subnet(SubnetId),
    /// Traffic that enters by a gateway (edge association).
    InternetGateway(InternetGatewayId),
    /// The same, of a virtual private gateway.
    VpnGateway(VpnGatewayId),
}

/// The use of a route table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTableAssociation {
    /// Id.
    pub id: RouteTableAssociationId,
    /// Owner, region, name.
    pub meta: Meta,
    /// The table.
    pub route_table: RouteTableId,
    /// Its user.
    pub used_by: RouteTableUse,
}

impl Resource for RouteTableAssociation {
    resource_fields!(RouteTableAssociationId);

    fn references(&self, to: &mut References) {
        to.add(&self.route_table);
        match &self.used_by {
            RouteTableUse::Main(id) => to.add(id),
            RouteTableUse::Subnet(id) => to.add(id),
            RouteTableUse::InternetGateway(id) => to.add(id),
            RouteTableUse::VpnGateway(id) => to.add(id),
        }
    }
}

impl Route {
    /// The route of a VPC CIDR.
    pub fn local() -> Self {
        Self {
            target: RouteTargetSpec::Local,
            origin: RouteOrigin::CreateRouteTable,
        }
    }
}
