//! Virtual private gateways, and VPN connections by which on-premises networks
//! reach them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::Prefix;

use super::{
    CustomerGatewayId, Meta, References, Resource, VpcId, VpnConnectionId, VpnGatewayId,
    resource_fields,
};

/// A virtual private gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpnGateway {
    /// Id.
    pub id: VpnGatewayId,
    /// Owner, region, name.
    pub meta: Meta,
    /// The VPC it is attached to.
    pub vpc: Option<VpcId>,
    /// Amazon's autonomous system number at this gateway: kept, nothing else.
    pub asn: u64,
}

impl Resource for VpnGateway {
    resource_fields!(VpnGatewayId);

    fn references(&self, to: &mut References) {
        to.extend(&self.vpc);
    }
}

/// The router of an on-premises network, as AWS knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerGateway {
    /// Id.
    pub id: CustomerGatewayId,
    /// Owner, region, name.
    pub meta: Meta,
    /// Its address on the internet; that of an on-premises network of the lab.
    pub address: Ipv4Addr,
    /// Its autonomous system number: kept, nothing else.
    pub asn: u64,
}

impl Resource for CustomerGateway {
    resource_fields!(CustomerGatewayId);

    fn references(&self, _to: &mut References) {}
}

/// A VPN connection: the tunnels between a customer gateway and a virtual private
/// gateway. They are up if the customer gateway's address is an on-premises
/// network's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpnConnection {
    /// Id.
    pub id: VpnConnectionId,
    /// Owner, region, name.
    pub meta: Meta,
    /// One end.
    pub customer_gateway: CustomerGatewayId,
    /// The other.
    pub vpn_gateway: VpnGatewayId,
    /// Whether routes are static; else the network's prefixes are learnt by BGP.
    pub static_routes_only: bool,
    /// Static routes: prefixes of the on-premises network.
    pub routes: BTreeSet<Prefix>,
}

impl Resource for VpnConnection {
    resource_fields!(VpnConnectionId);

    fn references(&self, to: &mut References) {
        to.add(&self.customer_gateway);
        to.add(&self.vpn_gateway);
    }
}
