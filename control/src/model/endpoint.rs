//! VPC endpoints and endpoint services.

use super::{EndpointServiceId, Meta, References, Resource, VpcEndpointId, VpcId, resource_fields};

/// An endpoint service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointService {
    /// Id.
    pub id: EndpointServiceId,
    /// Owner, region, name.
    pub meta: Meta,
}

impl Resource for EndpointService {
    resource_fields!(EndpointServiceId);

    fn references(&self, _to: &mut References) {}
}

/// What an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VpcEndpointType {
    /// PrivateLink.
    Interface,
    /// A route target that leads to appliances.
    GatewayLoadBalancer,
}

/// A VPC endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcEndpoint {
    /// Id.
    pub id: VpcEndpointId,
    /// Owner, region, name.
    pub meta: Meta,
    /// The consumer's VPC.
    pub vpc: VpcId,
    /// Interface or gateway load balancer.
    pub endpoint_type: VpcEndpointType,
}

impl Resource for VpcEndpoint {
    resource_fields!(VpcEndpointId);

    fn references(&self, to: &mut References) {
        to.add(&self.vpc);
    }
}
