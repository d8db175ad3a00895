//! Load balancers.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::tables::LoadBalancerKind;

use super::shape::{Nothing, Wanted, invalid, refusal, tags, unsupported};
use crate::api::{self, ApiError, SubnetMapping};
use crate::aws::call::{At, Call, calls};
use crate::aws::ec2::shape::time;
use crate::aws::tags::{Tag, put};
use crate::model::{LoadBalancer, LoadBalancerArn, Model, Node, SecurityGroupId, SubnetId, VpcId};

calls! {
    Read: DescribeLoadBalancers DescribeCapacityReservation;
    Write: CreateLoadBalancer DeleteLoadBalancer SetSubnets SetSecurityGroups SetIpAddressType;
}

/// `CreateLoadBalancer`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateLoadBalancer {
    name: String,
    r#type: Option<String>,
    scheme: Option<String>,
    ip_address_type: Option<AddressType>,
    #[serde(default)]
    subnets: Vec<SubnetId>,
    #[serde(default)]
    subnet_mappings: Vec<Mapping>,
    #[serde(default)]
    security_groups: Vec<SecurityGroupId>,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// A subnet, and the address that the node there gets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mapping {
    subnet_id: SubnetId,
    #[serde(rename = "PrivateIPv4Address")]
    private_ipv4_address: Option<Ipv4Addr>,
}

/// `IpAddressType` of a load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
enum AddressType {
    #[serde(rename = "ipv4")]
    Ipv4,
    #[serde(rename = "dualstack")]
    Dualstack,
}

impl AddressType {
    fn of(balancer: &LoadBalancer) -> Self {
        match balancer.dualstack {
            true => Self::Dualstack,
            false => Self::Ipv4,
        }
    }
}

/// Load balancers in an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoadBalancers {
    load_balancers: Vec<LoadBalancerItem>,
    next_marker: Option<String>,
}

impl Call for CreateLoadBalancer {
    type Answer = LoadBalancers;

    fn call(self, at: &mut At<'_, '_>) -> Result<LoadBalancers, ApiError> {
        let tags = tags(&self.tags)?;
        let kind = kind(self.r#type.as_deref())?;
        check_scheme(kind, self.scheme.as_deref())?;
        let before = at.model().load_balancers().len();
        let made = at.run(api::CreateLoadBalancer {
            name: self.name,
            kind,
            subnets: mappings(self.subnets, self.subnet_mappings)?,
            security_groups: self.security_groups,
            dualstack: self.ip_address_type == Some(AddressType::Dualstack),
        });
        let arn = made.map_err(refusal)?;
        // The same request again changes nothing.
        if at.model().load_balancers().len() > before {
            put(at, &arn, tags);
        }
        let balancer = at.tx.require(&arn)?;
        Ok(LoadBalancers {
            load_balancers: vec![LoadBalancerItem::new(&balancer, at.model())],
            next_marker: None,
        })
    }
}

fn kind(name: Option<&str>) -> Result<LoadBalancerKind, ApiError> {
    match name {
        Some("network") => Ok(LoadBalancerKind::Network),
        Some("gateway") => Ok(LoadBalancerKind::Gateway),
        // AWS's default.
        None | Some("application") => Err(unsupported(
            "Application load balancers are not emulated; Type is 'network' or 'gateway'",
        )),
        Some(other) => Err(invalid(format!(
            "Type '{other}' is none of application, gateway, network"
        ))),
    }
}

fn check_scheme(kind: LoadBalancerKind, scheme: Option<&str>) -> Result<(), ApiError> {
    match (kind, scheme) {
        (LoadBalancerKind::Network, Some("internal")) | (LoadBalancerKind::Gateway, None) => Ok(()),
        (LoadBalancerKind::Network, None | Some("internet-facing")) => Err(unsupported(
            "Internet-facing load balancers (AWS's default) are not emulated; give Scheme \
             'internal'",
        )),
        (LoadBalancerKind::Gateway, Some("internal" | "internet-facing")) => Err(ApiError::new(
            "InvalidConfigurationRequest",
            "Scheme is not supported for load balancers with type 'gateway'",
        )),
        (_, Some(other)) => Err(ApiError::new(
            "InvalidScheme",
            format!("Scheme '{other}' is neither internal nor internet-facing"),
        )),
    }
}

fn mappings(
    subnets: Vec<SubnetId>,
    mappings: Vec<Mapping>,
) -> Result<Vec<SubnetMapping>, ApiError> {
    if !subnets.is_empty() && !mappings.is_empty() {
        return Err(invalid(
            "Subnets and SubnetMappings cannot be specified at the same time",
        ));
    }
    let mapped = mappings.into_iter().map(|mapping| SubnetMapping {
        subnet: mapping.subnet_id,
        private_ipv4: mapping.private_ipv4_address,
    });
    Ok(subnets.into_iter().map(Into::into).chain(mapped).collect())
}

/// `DescribeLoadBalancers`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeLoadBalancers {
    load_balancer_arns: Vec<LoadBalancerArn>,
    names: Vec<String>,
    marker: Option<String>,
    page_size: Option<u32>,
}

impl Call for DescribeLoadBalancers {
    type Answer = LoadBalancers;

    fn call(self, at: &mut At<'_, '_>) -> Result<LoadBalancers, ApiError> {
        let wanted = Wanted {
            arns: self.load_balancer_arns,
            names: self.names,
            page_size: self.page_size,
            marker: self.marker,
        };
        let page = wanted.select(at, |balancer: &LoadBalancer| &balancer.name, |_| true)?;
        let item = |balancer: &Arc<LoadBalancer>| LoadBalancerItem::new(balancer, at.model());
        Ok(LoadBalancers {
            load_balancers: page.items.iter().map(item).collect(),
            next_marker: page.next_marker,
        })
    }
}

/// `DeleteLoadBalancer`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteLoadBalancer {
    load_balancer_arn: LoadBalancerArn,
}

impl Call for DeleteLoadBalancer {
    type Answer = Nothing;

    fn call(self, at: &mut At<'_, '_>) -> Result<Nothing, ApiError> {
        at.run(api::DeleteLoadBalancer {
            load_balancer_arn: self.load_balancer_arn,
        })?;
        Ok(Nothing {})
    }
}

/// `SetSubnets`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SetSubnets {
    load_balancer_arn: LoadBalancerArn,
    #[serde(default)]
    subnets: Vec<SubnetId>,
    #[serde(default)]
    subnet_mappings: Vec<Mapping>,
    ip_address_type: Option<AddressType>,
}

/// Where a load balancer is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Zones {
    availability_zones: Vec<ZoneItem>,
    ip_address_type: AddressType,
}

impl Call for SetSubnets {
    type Answer = Zones;

    fn call(self, at: &mut At<'_, '_>) -> Result<Zones, ApiError> {
        at.run(api::SetSubnets {
            load_balancer_arn: self.load_balancer_arn.clone(),
            subnets: mappings(self.subnets, self.subnet_mappings)?,
        })
        .map_err(refusal)?;
        if let Some(wanted) = self.ip_address_type {
            set_address_type(at, &self.load_balancer_arn, wanted)?;
        }
        let balancer = at.tx.require(&self.load_balancer_arn)?;
        Ok(Zones {
            availability_zones: ZoneItem::all(&balancer, at.model()),
            ip_address_type: AddressType::of(&balancer),
        })
    }
}

/// `SetIpAddressType`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SetIpAddressType {
    load_balancer_arn: LoadBalancerArn,
    ip_address_type: AddressType,
}

/// What addresses a load balancer has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct OneAddressType {
    ip_address_type: AddressType,
}

impl Call for SetIpAddressType {
    type Answer = OneAddressType;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneAddressType, ApiError> {
        set_address_type(at, &self.load_balancer_arn, self.ip_address_type)?;
        Ok(OneAddressType {
            ip_address_type: self.ip_address_type,
        })
    }
}

fn set_address_type(
    at: &mut At<'_, '_>,
    arn: &LoadBalancerArn,
    wanted: AddressType,
) -> Result<(), ApiError> {
    at.run(api::SetIpAddressType {
        load_balancer_arn: arn.clone(),
        dualstack: wanted == AddressType::Dualstack,
    })
    .map_err(|error| match &*error.code {
        // A subnet without IPv6.
        "InvalidParameterValue" => ApiError::new("InvalidSubnet", error.message),
        _ => refusal(error),
    })
}

/// `SetSecurityGroups`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SetSecurityGroups {
    load_balancer_arn: LoadBalancerArn,
    security_groups: Vec<SecurityGroupId>,
    enforce_security_group_inbound_rules_on_private_link_traffic: Option<OnOff>,
}

/// A switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum OnOff {
    On,
    Off,
}

impl OnOff {
    fn of(balancer: &LoadBalancer) -> Option<Self> {
        let switch = match balancer.enforce_privatelink_groups {
            true => Self::On,
            false => Self::Off,
        };
        Some(switch).filter(|_| !balancer.groups.is_empty())
    }
}

/// A load balancer's security groups.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Groups {
    security_group_ids: Vec<SecurityGroupId>,
    enforce_security_group_inbound_rules_on_private_link_traffic: Option<OnOff>,
}

impl Call for SetSecurityGroups {
    type Answer = Groups;

    fn call(self, at: &mut At<'_, '_>) -> Result<Groups, ApiError> {
        let enforce = self.enforce_security_group_inbound_rules_on_private_link_traffic;
        at.run(api::SetSecurityGroups {
            load_balancer_arn: self.load_balancer_arn.clone(),
            security_groups: self.security_groups,
            enforce_on_privatelink: enforce.map(|switch| switch == OnOff::On),
        })?;
        let balancer = at.tx.require(&self.load_balancer_arn)?;
        Ok(Groups {
            security_group_ids: balancer.groups.clone(),
            enforce_security_group_inbound_rules_on_private_link_traffic: OnOff::of(&balancer),
        })
    }
}

/// `DescribeCapacityReservation`: nobody can reserve any.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeCapacityReservation {
    load_balancer_arn: LoadBalancerArn,
}

/// What is reserved.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Capacity {
    capacity_reservation_state: Vec<String>,
}

impl Call for DescribeCapacityReservation {
    type Answer = Capacity;

    fn call(self, at: &mut At<'_, '_>) -> Result<Capacity, ApiError> {
        at.tx.require(&self.load_balancer_arn)?;
        Ok(Capacity {
            capacity_reservation_state: Vec::new(),
        })
    }
}

/// A load balancer in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LoadBalancerItem {
    load_balancer_arn: LoadBalancerArn,
    load_balancer_name: Arc<str>,
    #[serde(rename = "DNSName")]
    dns_name: Option<String>,
    canonical_hosted_zone_id: Option<&'static str>,
    created_time: String,
    scheme: Option<&'static str>,
    vpc_id: VpcId,
    state: State,
    r#type: &'static str,
    availability_zones: Vec<ZoneItem>,
    security_groups: Option<Vec<SecurityGroupId>>,
    ip_address_type: AddressType,
    enforce_security_group_inbound_rules_on_private_link_traffic: Option<OnOff>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    code: &'static str,
}

/// A zone in which a load balancer has a node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ZoneItem {
    zone_name: Arc<str>,
    subnet_id: SubnetId,
    load_balancer_addresses: Vec<AddressItem>,
}

/// An address that was asked for; AWS does not show those that it chose.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AddressItem {
    #[serde(rename = "PrivateIPv4Address")]
    private_ipv4_address: Option<Ipv4Addr>,
    #[serde(rename = "IPv6Address")]
    ipv6_address: Option<Ipv6Addr>,
}

impl ZoneItem {
    fn all(balancer: &LoadBalancer, model: &Model) -> Vec<Self> {
        balancer
            .nodes
            .iter()
            .map(|node| Self::new(node, model))
            .collect()
    }

    fn new(node: &Node, model: &Model) -> Self {
        let subnet = model.get(&node.subnet);
        let interface = model.get(&node.interface).filter(|_| node.designated);
        Self {
            zone_name: subnet.map(|it| it.zone.clone()).unwrap_or_default(),
            subnet_id: node.subnet.clone(),
            load_balancer_addresses: interface
                .map(|interface| AddressItem {
                    private_ipv4_address: interface.primary(),
                    ipv6_address: interface.ipv6_addresses.first().copied(),
                })
                .into_iter()
                .collect(),
        }
    }
}

impl LoadBalancerItem {
    fn new(balancer: &LoadBalancer, model: &Model) -> Self {
        let network = balancer.kind == LoadBalancerKind::Network;
        let meta = &balancer.meta;
        Self {
            load_balancer_arn: balancer.id.clone(),
            load_balancer_name: balancer.name.clone(),
            dns_name: network.then(|| dns_name(balancer)),
            canonical_hosted_zone_id: hosted_zone(&meta.region).filter(|_| network),
            created_time: time(meta.created_s),
            scheme: network.then_some("internal"),
            vpc_id: balancer.vpc.clone(),
            state: State { code: "active" },
            r#type: if network { "network" } else { "gateway" },
            availability_zones: ZoneItem::all(balancer, model),
            security_groups: Some(balancer.groups.clone()).filter(|groups| !groups.is_empty()),
            ip_address_type: AddressType::of(balancer),
            enforce_security_group_inbound_rules_on_private_link_traffic: OnOff::of(balancer),
        }
    }
}

/// `NAME-ID.elb.REGION.amazonaws.com`
fn dns_name(balancer: &LoadBalancer) -> String {
    let number = balancer.id.as_str().rsplit('/').next().unwrap_or_default();
    let region = &balancer.meta.region;
    format!("{}-{number}.elb.{region}.amazonaws.com", balancer.name)
}

/// The zone in which AWS keeps the names of a region's network load balancers
/// (General Reference, "Elastic Load Balancing endpoints and quotas").
fn hosted_zone(region: &str) -> Option<&'static str> {
    Some(match region {
        "us-east-1" => "Z26RNL4JYFTOTI",
        "us-east-2" => "ZLMOA37VPKANP",
        "us-west-1" => "Z24FKFUX50B4VW",
        "us-west-2" => "Z18D5FSROUN65G",
        "eu-central-1" => "Z3F0SRJ5LGBH90",
        "eu-west-1" => "Z2IFOLAFXWLO4F",
        _ => return None,
    })
}
