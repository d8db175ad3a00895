//! Subnets.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

use vpclab_dataplane::addr::{AzId, Prefix};

use super::{Meta, References, Resource, SubnetId, VpcId, resource_fields};

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Id.
    pub id: SubnetId,
    /// Owner, region, name.
    pub meta: Meta,
    /// Its VPC.
    pub vpc: VpcId,
    /// Zone name (`us-east-1a`).
    pub zone: Arc<str>,
    /// The zone's number in this process.
    pub az: AzId,
    /// IPv4 block.
    pub cidr: Prefix,
    /// IPv6 block.
    pub ipv6_cidr: Option<Prefix>,
    /// Hosts that attach get a public IPv4 address.
    pub map_public_ip_on_launch: bool,
    /// New interfaces get an IPv6 address.
    pub assign_ipv6_address_on_creation: bool,
    /// Its zone's subnet in a default VPC.
    #[serde(default)]
    pub default_for_az: bool,
}

impl Subnet {
    /// The blocks, IPv4 first.
    pub fn blocks(&self) -> impl Iterator<Item = Prefix> {
        std::iter::once(self.cidr).chain(self.ipv6_cidr)
    }

    /// Whether AWS keeps this address for itself: the first four of each block
    /// and the last (V:subnet-sizing).
    pub fn is_reserved(&self, address: IpAddr) -> bool {
        self.blocks().any(|block| {
            let first = (0..4).any(|n| block.nth(n) == Some(address));
            first || block.last() == address
        })
    }
}

impl Resource for Subnet {
    resource_fields!(SubnetId);

    fn references(&self, to: &mut References) {
        to.add(&self.vpc);
    }
}
