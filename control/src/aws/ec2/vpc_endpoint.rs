//! VPC endpoints of types Interface, GatewayLoadBalancer and Gateway.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::endpoint_policy;
use super::interface::GroupItem;
use super::region::check_region;
use super::shape::{DONE, Done, Refused, time};
use crate::api::{self, ApiError, EndpointSubnet};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, each, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{
    EndpointName, Model, NetworkInterfaceId, RouteTableId, SecurityGroupId, SubnetId, VpcEndpoint,
    VpcEndpointId, VpcEndpointType, VpcId,
};

calls! {
    Read: DescribeVpcEndpoints;
    Hosts: CreateVpcEndpoint ModifyVpcEndpoint DeleteVpcEndpoints;
}

/// `CreateVpcEndpoint`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateVpcEndpoint {
    vpc_endpoint_type: Option<String>,
    vpc_id: VpcId,
    service_name: Option<String>,
    service_region: Option<String>,
    policy_document: Option<String>,
    ip_address_type: Option<String>,
    private_dns_enabled: Option<bool>,
    #[serde(default)]
    route_table_id: Vec<RouteTableId>,
    #[serde(default)]
    subnet_id: Vec<SubnetId>,
    #[serde(default)]
    subnet_configuration: Vec<SubnetConfiguration>,
    #[serde(default)]
    security_group_id: Vec<SecurityGroupId>,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// The address that an endpoint gets in a subnet.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SubnetConfiguration {
    subnet_id: SubnetId,
    ipv4: Option<Ipv4Addr>,
}

/// An endpoint, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneEndpoint {
    vpc_endpoint: EndpointItem,
}

impl Call for CreateVpcEndpoint {
    type Answer = OneEndpoint;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneEndpoint, ApiError> {
        let tags = tags::specified(&self.tag_specification, "vpc-endpoint")?;
        let endpoint_type = endpoint_type(self.vpc_endpoint_type.as_deref())?;
        let service_name = self
            .service_name
            .ok_or_else(|| ApiError::missing("ServiceName"))?;
        if let Some(region) = &self.service_region {
            check_region(region)?;
        }
        let policy = policy(self.policy_document)?;
        if policy.is_some() && endpoint_type == VpcEndpointType::GatewayLoadBalancer {
            return Err(invalid(
                "Endpoint policies are not supported on endpoints of type GatewayLoadBalancer"
                    .to_owned(),
            ));
        }
        // AWS's default is true, and its services are the ones that have such names.
        let of_aws = endpoint_type == VpcEndpointType::Interface
            && service_name.starts_with("com.amazonaws.")
            && !service_name.starts_with("com.amazonaws.vpce.");
        let id = at.run(api::CreateVpcEndpoint {
            endpoint_type,
            vpc: self.vpc_id,
            service_name,
            service_region: self.service_region,
            subnets: places(self.subnet_id, &self.subnet_configuration)?,
            route_tables: self.route_table_id,
            security_groups: self.security_group_id,
            dualstack: is_dualstack(self.ip_address_type.as_deref())?.unwrap_or(false),
            private_dns: self.private_dns_enabled.unwrap_or(of_aws),
            name: None,
        })?;
        at.tx.update(&id, |endpoint| endpoint.policy = policy);
        tags::put(at, &id, tags);
        let endpoint = at.tx.require(&id)?;
        Ok(OneEndpoint {
            vpc_endpoint: EndpointItem::new(&endpoint, at.model()),
        })
    }
}

fn endpoint_type(name: Option<&str>) -> Result<VpcEndpointType, ApiError> {
    match name {
        Some("Interface") => Ok(VpcEndpointType::Interface),
        Some("GatewayLoadBalancer") => Ok(VpcEndpointType::GatewayLoadBalancer),
        // AWS's default.
        None | Some("Gateway") => Ok(VpcEndpointType::Gateway),
        Some(other @ ("Resource" | "ServiceNetwork")) => Err(unsupported(format!(
            "Endpoints of type {other} are not emulated; VpcEndpointType is Interface, Gateway or \
             GatewayLoadBalancer"
        ))),
        Some(other) => Err(ApiError::invalid_value(format!(
            "Value ({other}) for parameter VpcEndpointType is invalid: Interface, Gateway, \
             GatewayLoadBalancer, Resource or ServiceNetwork"
        ))),
    }
}

/// A policy that lets everything through, which is kept; nothing for the default
/// one.
fn policy(document: Option<String>) -> Result<Option<Arc<str>>, ApiError> {
    let document = document.filter(|document| !document.is_empty());
    if let Some(document) = &document {
        endpoint_policy::check(document)?;
    }
    Ok(document.map(Arc::from))
}

fn is_dualstack(address_type: Option<&str>) -> Result<Option<bool>, ApiError> {
    match address_type {
        None => Ok(None),
        Some("ipv4") => Ok(Some(false)),
        Some("dualstack") => Ok(Some(true)),
        Some("ipv6") => Err(unsupported(
            "Endpoints with IPv6 addresses only are not emulated; IpAddressType is ipv4 or \
             dualstack",
        )),
        Some(other) => Err(ApiError::invalid_value(format!(
            "Value ({other}) for parameter IpAddressType is invalid: ipv4, dualstack or ipv6"
        ))),
    }
}

/// Subnets, each with the address that the configuration says.
fn places(
    subnets: Vec<SubnetId>,
    configuration: &[SubnetConfiguration],
) -> Result<Vec<EndpointSubnet>, ApiError> {
    let mut subnets = subnets;
    if subnets.is_empty() {
        subnets.extend(configuration.iter().map(|it| it.subnet_id.clone()));
    }
    let stray = configuration
        .iter()
        .find(|it| !subnets.contains(&it.subnet_id));
    if let Some(stray) = stray {
        return Err(invalid(format!(
            "SubnetConfiguration names {}, which is not among the subnets of the request",
            stray.subnet_id
        )));
    }
    let place = |subnet: SubnetId| {
        let given = configuration.iter().find(|it| it.subnet_id == subnet);
        EndpointSubnet {
            ipv4: given.and_then(|it| it.ipv4),
            subnet,
        }
    };
    Ok(subnets.into_iter().map(place).collect())
}

pub(super) fn invalid(message: String) -> ApiError {
    ApiError::new("InvalidParameter", message)
}

pub(super) fn unsupported(message: impl Into<String>) -> ApiError {
    ApiError::new("UnsupportedOperation", message)
}

/// `ModifyVpcEndpoint`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyVpcEndpoint {
    vpc_endpoint_id: VpcEndpointId,
    #[serde(default)]
    reset_policy: bool,
    policy_document: Option<String>,
    ip_address_type: Option<String>,
    private_dns_enabled: Option<bool>,
    #[serde(default)]
    add_subnet_id: Vec<SubnetId>,
    #[serde(default)]
    remove_subnet_id: Vec<SubnetId>,
    #[serde(default)]
    subnet_configuration: Vec<SubnetConfiguration>,
    #[serde(default)]
    add_security_group_id: Vec<SecurityGroupId>,
    #[serde(default)]
    remove_security_group_id: Vec<SecurityGroupId>,
    #[serde(default)]
    add_route_table_id: Vec<RouteTableId>,
    #[serde(default)]
    remove_route_table_id: Vec<RouteTableId>,
}

impl Call for ModifyVpcEndpoint {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let endpoint = at.tx.require(&self.vpc_endpoint_id)?;
        let dualstack = is_dualstack(self.ip_address_type.as_deref())?;
        if dualstack.is_some_and(|dualstack| dualstack != endpoint.dualstack) {
            return Err(unsupported(format!(
                "The IpAddressType of '{}' cannot be changed: that is not emulated",
                endpoint.id
            )));
        }
        if self.reset_policy && self.policy_document.is_some() {
            return Err(ApiError::invalid_combination(
                "Give PolicyDocument or ResetPolicy, not both",
            ));
        }
        let policy = policy(self.policy_document)?;
        at.run(api::ModifyVpcEndpoint {
            vpc_endpoint: self.vpc_endpoint_id,
            add_subnets: places(self.add_subnet_id, &self.subnet_configuration)?,
            remove_subnets: self.remove_subnet_id,
            add_security_groups: self.add_security_group_id,
            remove_security_groups: self.remove_security_group_id,
            add_route_tables: self.add_route_table_id,
            remove_route_tables: self.remove_route_table_id,
            private_dns: self.private_dns_enabled,
        })?;
        if self.reset_policy || policy.is_some() {
            at.tx
                .update(&endpoint.id, |endpoint| endpoint.policy = policy);
        }
        Ok(DONE)
    }
}

/// `DeleteVpcEndpoints`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteVpcEndpoints {
    vpc_endpoint_id: Vec<VpcEndpointId>,
}

impl Call for DeleteVpcEndpoints {
    type Answer = Refused;

    fn call(self, at: &mut At<'_, '_>) -> Result<Refused, ApiError> {
        let refused = at.run(api::DeleteVpcEndpoints {
            vpc_endpoints: self.vpc_endpoint_id,
        })?;
        Ok(Refused::new(refused))
    }
}

describe! {
    /// `DescribeVpcEndpoints`
    DescribeVpcEndpoints { vpc_endpoint_id: VpcEndpointId }
}

/// `DescribeVpcEndpoints`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    vpc_endpoint_set: Vec<EndpointItem>,
    next_token: Option<String>,
}

impl Call for DescribeVpcEndpoints {
    type Answer = Endpoints;

    fn call(self, at: &mut At<'_, '_>) -> Result<Endpoints, ApiError> {
        let page = self.wanted().select(at, FILTERS)?;
        let item = |endpoint: &Arc<VpcEndpoint>| EndpointItem::new(endpoint, at.model());
        Ok(Endpoints {
            vpc_endpoint_set: page.items.iter().map(item).collect(),
            next_token: page.next_token,
        })
    }
}

const FILTERS: &[Known<VpcEndpoint>] = &[
    ("vpc-endpoint-id", |it, _| one(&it.id)),
    ("vpc-endpoint-state", |it, _| one(it.state.name())),
    ("vpc-endpoint-type", |it, _| one(it.endpoint_type.name())),
    ("vpc-id", |it, _| one(&it.vpc)),
    ("service-name", |it, _| one(&it.service_name)),
    ("service-region", |it, _| one(it.region_of_service())),
    ("ip-address-type", |it, _| one(address_type(it))),
    ("owner-id", |it, _| one(&it.meta.owner)),
    ("subnet-id", |it, _| {
        each(it.interfaces.iter().map(|place| &place.subnet))
    }),
    ("group-id", |it, _| each(&it.groups)),
];

/// AWS's name of the addresses that an endpoint has.
pub(super) fn address_type(endpoint: &VpcEndpoint) -> &'static str {
    match endpoint.dualstack {
        true => "dualstack",
        false => "ipv4",
    }
}

/// An endpoint in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointItem {
    vpc_endpoint_id: VpcEndpointId,
    vpc_endpoint_type: &'static str,
    vpc_id: VpcId,
    service_name: Arc<str>,
    service_region: Arc<str>,
    state: &'static str,
    policy_document: Option<Arc<str>>,
    route_table_id_set: Vec<RouteTableId>,
    subnet_id_set: Vec<SubnetId>,
    group_set: Vec<GroupItem>,
    ip_address_type: &'static str,
    dns_options: Option<DnsOptions>,
    private_dns_enabled: bool,
    requester_managed: bool,
    network_interface_id_set: Vec<NetworkInterfaceId>,
    dns_entry_set: Vec<DnsEntry>,
    creation_timestamp: String,
    owner_id: Arc<str>,
    tag_set: Vec<TagItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DnsOptions {
    dns_record_ip_type: &'static str,
}

/// A name under which the VPC resolver finds an endpoint.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DnsEntry {
    dns_name: String,
    hosted_zone_id: Option<&'static str>,
}

impl DnsEntry {
    /// The regional name, and one for each zone.
    pub(super) fn all(endpoint: &VpcEndpoint, model: &Model) -> Vec<Self> {
        let region = &endpoint.meta.region;
        let entry = |name: EndpointName| Self {
            dns_name: name.name,
            hosted_zone_id: (**region == *"us-east-1").then_some("Z7HUB22UULQXV"),
        };
        let mut all: Vec<Self> = endpoint.dns_names(model).into_iter().map(entry).collect();
        if endpoint.private_dns {
            let service = model.get(&endpoint.service);
            let name = service.and_then(|service| service.usable_private_dns());
            all.extend(name.map(|name| Self {
                dns_name: name.to_string(),
                hosted_zone_id: None,
            }));
        }
        all
    }
}

impl EndpointItem {
    fn new(endpoint: &VpcEndpoint, model: &Model) -> Self {
        let interface = endpoint.endpoint_type == VpcEndpointType::Interface;
        let has_policy = endpoint.endpoint_type != VpcEndpointType::GatewayLoadBalancer;
        let meta = &endpoint.meta;
        let policy = || Arc::from(endpoint_policy::FULL_ACCESS);
        Self {
            vpc_endpoint_id: endpoint.id.clone(),
            vpc_endpoint_type: endpoint.endpoint_type.name(),
            vpc_id: endpoint.vpc.clone(),
            service_name: endpoint.service_name.clone(),
            service_region: endpoint.region_of_service().clone(),
            state: endpoint.state.name(),
            policy_document: has_policy.then(|| endpoint.policy.clone().unwrap_or_else(policy)),
            route_table_id_set: endpoint.route_tables.clone(),
            subnet_id_set: endpoint
                .interfaces
                .iter()
                .map(|place| place.subnet.clone())
                .collect(),
            group_set: GroupItem::of(&endpoint.groups, model),
            ip_address_type: address_type(endpoint),
            dns_options: interface.then(|| DnsOptions {
                dns_record_ip_type: address_type(endpoint),
            }),
            private_dns_enabled: endpoint.private_dns,
            requester_managed: false,
            network_interface_id_set: endpoint
                .interfaces
                .iter()
                .map(|place| place.interface.clone())
                .collect(),
            dns_entry_set: DnsEntry::all(endpoint, model),
            creation_timestamp: time(meta.created_s),
            owner_id: meta.owner.clone(),
            tag_set: tags::items(&meta.all_tags()),
        }
    }
}
