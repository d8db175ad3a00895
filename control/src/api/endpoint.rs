//! VPC endpoints: of types Interface and GatewayLoadBalancer here, of type Gateway in
//! `gateway_endpoint`.

use std::net::Ipv4Addr;
use std::sync::Arc;

use vpclab_dataplane::addr::AzId;
use vpclab_dataplane::tables::LoadBalancerKind;

use super::endpoint_service::invalid;
use super::{
    Action, ApiError, RequesterManagedInterface, Transaction, Unsuccessful, gateway_endpoint,
    private_dns,
};
use crate::model::*;
use crate::quotas::Quota;

/// A subnet that gets an interface of the endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSubnet {
    /// The subnet.
    pub subnet: SubnetId,
    /// A designated address; the lowest free one unless given.
    pub ipv4: Option<Ipv4Addr>,
}

impl From<SubnetId> for EndpointSubnet {
    fn from(subnet: SubnetId) -> Self {
        Self { subnet, ipv4: None }
    }
}

/// `CreateVpcEndpoint`
#[derive(Clone, Debug)]
pub struct CreateVpcEndpoint {
    /// Interface, gateway load balancer or gateway.
    pub endpoint_type: VpcEndpointType,
    /// The consumer's VPC.
    pub vpc: VpcId,
    /// `com.amazonaws.vpce.<region>.vpce-svc-…`; of gateway endpoints
    /// `com.amazonaws.<region>.s3` or `.dynamodb`.
    pub service_name: String,
    /// `ServiceRegion`: where the service is, if not here (interface endpoints).
    pub service_region: Option<String>,
    /// One subnet per zone; exactly one for a gateway load balancer endpoint.
    pub subnets: Vec<EndpointSubnet>,
    /// Gateway endpoints: the tables that get its route.
    pub route_tables: Vec<RouteTableId>,
    /// Interface endpoints: the VPC's default group unless given.
    pub security_groups: Vec<SecurityGroupId>,
    /// `IpAddressType` `dualstack`: interfaces have an IPv6 address, too.
    pub dualstack: bool,
    /// The VPC finds it by the service's private name, too.
    pub private_dns: bool,
    /// `Name` tag.
    pub name: Option<String>,
}

impl CreateVpcEndpoint {
    /// An endpoint in `subnets` with the default group.
    pub fn new(
        endpoint_type: VpcEndpointType,
        vpc: VpcId,
        service_name: &str,
        subnets: impl IntoIterator<Item = SubnetId>,
    ) -> Self {
        Self {
            endpoint_type,
            vpc,
            service_name: service_name.to_owned(),
            service_region: None,
            subnets: subnets.into_iter().map(Into::into).collect(),
            route_tables: Vec::new(),
            security_groups: Vec::new(),
            dualstack: false,
            private_dns: false,
            name: None,
        }
    }
}

impl Action for CreateVpcEndpoint {
    type Output = VpcEndpointId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<VpcEndpointId, ApiError> {
        let own = tx.caller().region.clone();
        let remote = self
            .service_region
            .clone()
            .filter(|region| **region != *own);
        if let Some(region) = remote
            .as_ref()
            .filter(|_| self.endpoint_type != VpcEndpointType::Interface)
        {
            return Err(invalid(format!(
                "Only endpoints of type Interface reach services of another region: {region}"
            )));
        }
        if self.endpoint_type == VpcEndpointType::Gateway {
            let region = tx.caller().region.clone();
            let list = gateway_endpoint::service(&region, &self.service_name);
            let list = list.ok_or_else(|| no_service(&self.service_name))?;
            return gateway_endpoint::create(tx, self, list);
        }
        if let Some(table) = self.route_tables.first() {
            return Err(invalid(format!(
                "Route tables are for endpoints of type Gateway: {table}"
            )));
        }
        let vpc = tx.require(&self.vpc)?;
        let region = remote.as_deref().unwrap_or(&own);
        let service = find_service(tx, &self.service_name, region)?;
        if !service.serves(&own) {
            let regions: Vec<_> = service.regions().map(|region| &**region).collect();
            return Err(invalid(format!(
                "The VPC endpoint service {} does not support the Region {own}; it supports {}",
                self.service_name,
                regions.join(", ")
            )));
        }
        let gateway = self.endpoint_type == VpcEndpointType::GatewayLoadBalancer;
        if gateway != (service.kind == LoadBalancerKind::Gateway) {
            return Err(invalid(format!(
                "The service '{}' does not support the VPC endpoint type {}",
                self.service_name,
                self.endpoint_type.name()
            )));
        }
        if gateway && self.subnets.len() != 1 {
            return Err(invalid(format!(
                "A Gateway Load Balancer endpoint takes exactly one subnet, not {}",
                self.subnets.len()
            )));
        }
        if gateway && !self.security_groups.is_empty() {
            return Err(invalid(
                "Security groups are not supported on endpoints of type GatewayLoadBalancer"
                    .to_owned(),
            ));
        }
        let kinds = [
            VpcEndpointType::Interface,
            VpcEndpointType::GatewayLoadBalancer,
        ];
        let all = tx.model().referrers::<VpcEndpoint>(&vpc.id);
        let have = all.filter(|other| kinds.contains(&other.endpoint_type));
        let (have, code) = (have.count() as u64, "VpcEndpointLimitExceeded");
        tx.check_quota(Quota::InterfaceEndpointsPerVpc, have, 1, code)?;

        let groups = if gateway {
            Vec::new()
        } else if self.security_groups.is_empty() {
            vec![vpc.default_security_group.clone()]
        } else {
            self.security_groups
        };
        check_groups(tx, &vpc.id, &groups)?;
        let mut endpoint = VpcEndpoint {
            id: tx.mint(),
            meta: tx.meta(self.name.as_deref()),
            vpc: vpc.id.clone(),
            endpoint_type: self.endpoint_type,
            service_name: Arc::from(self.service_name),
            service: service.id.clone(),
            interfaces: Vec::new(),
            groups,
            dualstack: self.dualstack,
            state: if service.acceptance_required {
                VpcEndpointState::PendingAcceptance
            } else {
                VpcEndpointState::Available
            },
            policy: None,
            route_tables: Vec::new(),
            private_dns: self.private_dns,
            service_region: remote.map(Arc::from),
            service_port: None,
        };
        if endpoint.private_dns {
            private_dns::check(tx, &endpoint, &service)?;
        }
        // ASSUMPTION: the interfaces exist, silent, while acceptance is pending.
        for place in &self.subnets {
            add_interface(tx, &mut endpoint, &service, place)?;
        }
        let id = endpoint.id.clone();
        tx.put(endpoint);
        Ok(id)
    }
}

/// `ModifyVpcEndpoint` (interface endpoints)
#[derive(Clone, Debug, Default)]
pub struct ModifyVpcEndpoint {
    /// The endpoint.
    pub vpc_endpoint: VpcEndpointId,
    /// Subnets that get an interface.
    pub add_subnets: Vec<EndpointSubnet>,
    /// Subnets that lose theirs.
    pub remove_subnets: Vec<SubnetId>,
    /// Groups to add.
    pub add_security_groups: Vec<SecurityGroupId>,
    /// Groups to take away; one must stay.
    pub remove_security_groups: Vec<SecurityGroupId>,
    /// Tables that get the route (gateway endpoints).
    pub add_route_tables: Vec<RouteTableId>,
    /// Tables that lose it.
    pub remove_route_tables: Vec<RouteTableId>,
    /// Whether the VPC finds it by the service's private name.
    pub private_dns: Option<bool>,
}

impl Action for ModifyVpcEndpoint {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let mut endpoint = (*tx.require(&self.vpc_endpoint)?).clone();
        let gateway = endpoint.endpoint_type == VpcEndpointType::Gateway;
        let tables = self
            .add_route_tables
            .iter()
            .chain(&self.remove_route_tables);
        let others = !self.add_subnets.is_empty()
            || !self.remove_subnets.is_empty()
            || !self.add_security_groups.is_empty()
            || !self.remove_security_groups.is_empty()
            || self.private_dns == Some(true);
        match (gateway, tables.clone().next()) {
            (true, _) if others => {
                return Err(invalid(format!(
                    "'{}' has no subnets, security groups or private DNS: its type is Gateway",
                    endpoint.id
                )));
            }
            (true, _) => {
                let (add, remove) = (self.add_route_tables, self.remove_route_tables);
                return gateway_endpoint::modify(tx, endpoint, add, &remove);
            }
            (false, Some(table)) => {
                return Err(invalid(format!(
                    "Route tables are for endpoints of type Gateway: {table}"
                )));
            }
            (false, None) => {}
        }
        if endpoint.endpoint_type == VpcEndpointType::GatewayLoadBalancer {
            return Err(invalid(format!(
                "The subnet of '{}' is fixed, and it has no security groups: its type is \
                 GatewayLoadBalancer",
                endpoint.id
            )));
        }
        for subnet in &self.remove_subnets {
            let found = endpoint.interfaces.iter().position(|p| p.subnet == *subnet);
            let Some(position) = found else {
                return Err(invalid(format!("'{}' is not in '{subnet}'", endpoint.id)));
            };
            let gone = endpoint.interfaces.remove(position);
            tx.remove(&gone.interface);
        }
        if let Some(on) = self.private_dns {
            endpoint.private_dns = on;
            let service = tx.model().get(&endpoint.service).cloned();
            if let Some(service) = service.filter(|_| on) {
                private_dns::check(tx, &endpoint, &service)?;
            }
        }
        let mut groups = endpoint.groups.clone();
        groups.retain(|group| !self.remove_security_groups.contains(group));
        for group in self.add_security_groups {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        if groups.is_empty() {
            return Err(invalid(format!(
                "'{}' must keep at least one security group",
                endpoint.id
            )));
        }
        check_groups(tx, &endpoint.vpc, &groups)?;
        for place in &endpoint.interfaces {
            tx.update(&place.interface, |eni| eni.groups.clone_from(&groups));
        }
        endpoint.groups = groups;
        if !self.add_subnets.is_empty() {
            let service = tx.model().get(&endpoint.service).cloned();
            let service = service.ok_or_else(|| no_service(&endpoint.service_name))?;
            for place in &self.add_subnets {
                add_interface(tx, &mut endpoint, &service, place)?;
            }
        }
        tx.put(endpoint);
        Ok(())
    }
}

/// `DeleteVpcEndpoints`
#[derive(Clone, Debug, Default)]
pub struct DeleteVpcEndpoints {
    /// The endpoints; no route may lead to one.
    pub vpc_endpoints: Vec<VpcEndpointId>,
}

impl Action for DeleteVpcEndpoints {
    type Output = Vec<Unsuccessful>;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Vec<Unsuccessful>, ApiError> {
        let mut unsuccessful = Vec::new();
        for id in &self.vpc_endpoints {
            if let Err(error) = delete(tx, id) {
                unsuccessful.push(Unsuccessful::new(id, error));
            }
        }
        Ok(unsuccessful)
    }
}

fn delete(tx: &mut Transaction<'_>, id: &VpcEndpointId) -> Result<(), ApiError> {
    let endpoint = tx.require(id)?;
    gateway_endpoint::delete(tx, &endpoint);
    if let Some(table) = tx.model().referrers::<RouteTable>(id).next() {
        return Err(invalid(format!(
            "Endpoint must be removed from route table before deletion: {} leads to {id}",
            table.id
        )));
    }
    let places = endpoint.interfaces.iter().map(|place| &place.interface);
    for interface in places.chain(&endpoint.service_port) {
        tx.remove(interface);
    }
    tx.remove(id);
    Ok(())
}

/// The service of this name in a region, if there is one that the caller may use. A caller
/// without permission learns no more than if there were none.
pub(super) fn find_service(
    tx: &Transaction<'_>,
    name: &str,
    region: &str,
) -> Result<Arc<EndpointService>, ApiError> {
    let known = tx.model().indexes().alias(name);
    let id = known.filter(|known| known.kind == Kind::EndpointService);
    let service = id.and_then(|id| {
        let id = EndpointServiceId::from_text(id.text.clone());
        tx.model().get(&id).cloned()
    });
    let caller = tx.caller();
    service
        .filter(|service| *service.meta.region == *region && service.allows(&caller.account))
        .ok_or_else(|| no_service(name))
}

fn no_service(name: &str) -> ApiError {
    ApiError::new(
        "InvalidServiceName",
        format!("The Vpc Endpoint Service '{name}' does not exist"),
    )
}

fn add_interface(
    tx: &mut Transaction<'_>,
    endpoint: &mut VpcEndpoint,
    service: &EndpointService,
    place: &EndpointSubnet,
) -> Result<(), ApiError> {
    let subnet = tx.require(&place.subnet)?;
    if subnet.vpc != endpoint.vpc {
        return Err(invalid(format!(
            "The subnet '{}' is in {}, the endpoint in {}",
            subnet.id, subnet.vpc, endpoint.vpc
        )));
    }
    // Any zone of a service in another region serves.
    let anywhere = service.aws.is_some() || endpoint.service_region.is_some();
    if !anywhere && !service_zones(tx, service).any(|az| az == subnet.az) {
        return Err(invalid(format!(
            "The VPC endpoint service {} does not support the availability zone of the subnet: \
             {} ({})",
            endpoint.service_name, subnet.id, subnet.zone
        )));
    }
    let zone_of = |held: &EndpointInterface| tx.model().get(&held.subnet).map(|s| s.az);
    let mut held = endpoint.interfaces.iter();
    if let Some(other) = held.find(|held| zone_of(held) == Some(subnet.az)) {
        return Err(ApiError::new(
            "DuplicateSubnetsInSameZone",
            format!(
                "Found another VPC endpoint subnet in the availability zone of {}: {}",
                subnet.id, other.subnet
            ),
        ));
    }
    let kind = match endpoint.endpoint_type {
        VpcEndpointType::Interface => InterfaceKind::Endpoint(endpoint.id.clone()),
        VpcEndpointType::GatewayLoadBalancer | VpcEndpointType::Gateway => {
            InterfaceKind::GatewayEndpoint(endpoint.id.clone())
        }
    };
    let interface = RequesterManagedInterface {
        description: format!("VPC Endpoint Interface {}", endpoint.id),
        groups: endpoint.groups.clone(),
        private_ip_address: place.ipv4,
        ipv6: endpoint.dualstack,
        deny_all_igw_traffic: endpoint.endpoint_type == VpcEndpointType::Interface,
        ..RequesterManagedInterface::new(kind, subnet.id.clone())
    };
    endpoint.interfaces.push(EndpointInterface {
        subnet: subnet.id.clone(),
        interface: interface.apply(tx)?,
    });
    Ok(())
}

/// The zones in which a load balancer of the service has a node.
pub(super) fn service_zones<'a>(
    tx: &'a Transaction<'_>,
    service: &'a EndpointService,
) -> impl Iterator<Item = AzId> + 'a {
    let balancers = service.load_balancers.iter();
    let nodes = balancers.filter_map(|arn| tx.model().get(arn));
    let subnets = nodes.flat_map(|balancer| balancer.nodes.iter().map(|node| &node.subnet));
    subnets.filter_map(|subnet| tx.model().get(subnet).map(|subnet| subnet.az))
}

fn check_groups(
    tx: &Transaction<'_>,
    vpc: &VpcId,
    groups: &[SecurityGroupId],
) -> Result<(), ApiError> {
    for id in groups {
        let group = tx.require(id)?;
        if group.vpc != *vpc {
            return Err(ApiError::new(
                SecurityGroupId::NOT_FOUND,
                format!("The security group '{id}' does not exist in {vpc}"),
            ));
        }
    }
    let (count, code) = (
        groups.len() as u64,
        "SecurityGroupsPerInterfaceLimitExceeded",
    );
    tx.check_quota(Quota::SecurityGroupsPerInterface, 0, count, code)
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
