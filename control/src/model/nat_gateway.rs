//! NAT gateways.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Meta, NatGatewayId, NetworkInterfaceId, References, Resource, SubnetId, VpcId, resource_fields,
};

/// Whether a NAT gateway has public addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Connectivity {
    /// Each of its private addresses has an Elastic IP, for an internet gateway to map.
    #[default]
    Public,
    /// None has: it leads to other private networks.
    Private,
}

impl Connectivity {
    /// AWS's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// Why a NAT gateway could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatFailure {
    /// AWS's code.
    pub code: Arc<str>,
    /// In words.
    pub message: Arc<str>,
}

/// A NAT gateway. Its addresses are those of its interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// Id.
    pub id: NatGatewayId,
    /// Owner, region, name.
    pub meta: Meta,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Whether it has public addresses.
    pub connectivity: Connectivity,
    /// Its requester-managed interface; a failed one has none.
    pub interface: Option<NetworkInterfaceId>,
    /// Why it failed.
    pub failure: Option<NatFailure>,
}

impl NatGateway {
    /// AWS's name of its state.
    pub const fn state(&self) -> &'static str {
        match self.failure {
            Some(_) => "failed",
            None => "available",
        }
    }
}

impl Resource for NatGateway {
    resource_fields!(NatGatewayId);

    fn references(&self, to: &mut References) {
        // A failed one keeps nothing in being.
        if let Some(interface) = &self.interface {
            to.add(&self.vpc);
            to.add(&self.subnet);
            to.add(interface);
        }
    }
}
