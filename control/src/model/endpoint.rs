//! VPC endpoints: a consumer's way to an endpoint service.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{
    EndpointServiceId, Meta, NetworkInterfaceId, References, Resource, RouteTableId,
    SecurityGroupId, SubnetId, VpcEndpointId, VpcId, resource_fields,
};

/// What an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VpcEndpointType {
    /// PrivateLink.
    Interface,
    /// A route target that leads to appliances.
    GatewayLoadBalancer,
    /// A route to the addresses of an AWS service.
    Gateway,
}

impl VpcEndpointType {
    /// AWS's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interface => "Interface",
            Self::GatewayLoadBalancer => "GatewayLoadBalancer",
            Self::Gateway => "Gateway",
        }
    }
}

/// Where an endpoint stands with its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VpcEndpointState {
    /// Waits for the provider.
    PendingAcceptance,
    /// Carries traffic.
    Available,
    /// Refused by the provider, perhaps after having been accepted.
    Rejected,
    /// The service is gone.
    Failed,
}

impl VpcEndpointState {
    /// AWS's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PendingAcceptance => "pendingAcceptance",
            Self::Available => "available",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

/// An endpoint's presence in a subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointInterface {
    /// The subnet; no other interface of the endpoint is in its zone.
    pub subnet: SubnetId,
    /// The requester-managed interface there.
    pub interface: NetworkInterfaceId,
}

/// A VPC endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcEndpoint {
    /// Id.
    pub id: VpcEndpointId,
    /// Owner, region, name.
    pub meta: Meta,
    /// The consumer's VPC.
    pub vpc: VpcId,
    /// Interface or gateway load balancer.
    pub endpoint_type: VpcEndpointType,
    /// The service's name.
    pub service_name: Arc<str>,
    /// The service; none if it is AWS's and the lab has nothing for it.
    pub service: EndpointServiceId,
    /// One interface per zone.
    pub interfaces: Vec<EndpointInterface>,
    /// Security groups of the interfaces.
    pub groups: Vec<SecurityGroupId>,
    /// Interfaces have an IPv6 address, too.
    pub dualstack: bool,
    /// Where it stands.
    pub state: VpcEndpointState,
    /// Its policy, if it was given one; it lets everything through.
    pub policy: Option<Arc<str>>,
    /// Gateway endpoints: the tables that have its route.
    #[serde(default)]
    pub route_tables: Vec<RouteTableId>,
    /// Its VPC finds it by the service's private name, too.
    #[serde(default)]
    pub private_dns: bool,
    /// The service's region, if it is another one.
    #[serde(default)]
    pub service_region: Option<Arc<str>>,
    /// Gateway endpoints: where the service takes what comes through it, if the lab
    /// has the service. Hidden, on the internet.
    #[serde(default)]
    pub service_port: Option<NetworkInterfaceId>,
}

impl VpcEndpoint {
    /// The region of its service.
    pub fn region_of_service(&self) -> &Arc<str> {
        self.service_region.as_ref().unwrap_or(&self.meta.region)
    }

    /// The low 64 bits of the id, which GENEVE option 1 carries.
    pub fn low_bits(&self) -> u64 {
        let digits = self.id.as_str();
        let start = digits.len().saturating_sub(16);
        let low = digits.get(start..).unwrap_or_default();
        u64::from_str_radix(low, 16).unwrap_or(0)
    }
}

impl Resource for VpcEndpoint {
    resource_fields!(VpcEndpointId);

    fn references(&self, to: &mut References) {
        to.add(&self.vpc);
        if self.endpoint_type != VpcEndpointType::Gateway || self.service_port.is_some() {
            to.add(&self.service);
        }
        to.extend(&self.service_port);
        to.extend(&self.groups);
        to.extend(&self.route_tables);
        for place in &self.interfaces {
            to.add(&place.subnet);
            to.add(&place.interface);
        }
    }
}
