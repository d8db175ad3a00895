//! Subnets.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::region::zone_id;
use super::shape::{Attribute, Cidr, DONE, Done};
use super::vpc_cidr::{Ipv6BlockItem, subnet_association};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, each, naming, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{Id, Model, Subnet, SubnetId, VpcId};

calls! {
    Read: DescribeSubnets;
    Write: CreateSubnet DeleteSubnet ModifySubnetAttribute;
}

/// Addresses of a block that AWS keeps (V:subnet-sizing).
const RESERVED: u64 = 5;

/// `CreateSubnet`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateSubnet {
    vpc_id: VpcId,
    cidr_block: Option<Cidr>,
    ipv6_cidr_block: Option<Cidr>,
    availability_zone: Option<String>,
    availability_zone_id: Option<String>,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// A subnet, made.
#[derive(Debug, Serialize)]
pub struct OneSubnet {
    subnet: SubnetItem,
}

impl Call for CreateSubnet {
    type Answer = OneSubnet;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneSubnet, ApiError> {
        let tags = tags::specified(&self.tag_specification, "subnet")?;
        let by_id = self
            .availability_zone_id
            .map(|id| super::region::zone_of_id(at.caller(), &id));
        let id = at.run(api::CreateSubnet {
            vpc: self.vpc_id,
            cidr_block: self.cidr_block.map(|Cidr(block)| block),
            ipv6_cidr_block: self.ipv6_cidr_block.map(|Cidr(block)| block),
            availability_zone: self.availability_zone.or(by_id.transpose()?),
            name: None,
        })?;
        tags::put(at, &id, tags);
        let subnet = at.tx.require(&id)?;
        Ok(OneSubnet {
            subnet: SubnetItem::new(&subnet, at.model()),
        })
    }
}

/// `DeleteSubnet`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteSubnet {
    subnet_id: SubnetId,
}

impl Call for DeleteSubnet {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DeleteSubnet {
            subnet: self.subnet_id,
        })?;
        Ok(DONE)
    }
}

/// `ModifySubnetAttribute`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifySubnetAttribute {
    subnet_id: SubnetId,
    map_public_ip_on_launch: Option<Attribute<bool>>,
    assign_ipv6_address_on_creation: Option<Attribute<bool>>,
}

impl Call for ModifySubnetAttribute {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        if self.map_public_ip_on_launch.is_some() == self.assign_ipv6_address_on_creation.is_some()
        {
            return Err(ApiError::invalid_combination(
                "One attribute can be modified at a time: MapPublicIpOnLaunch or \
                 AssignIpv6AddressOnCreation",
            ));
        }
        at.run(api::ModifySubnetAttribute {
            subnet: self.subnet_id,
            map_public_ip_on_launch: self.map_public_ip_on_launch.map(|it| it.value),
            assign_ipv6_address_on_creation: self
                .assign_ipv6_address_on_creation
                .map(|it| it.value),
        })?;
        Ok(DONE)
    }
}

describe! {
    /// `DescribeSubnets`
    DescribeSubnets { subnet_id: SubnetId }
}

/// `DescribeSubnets`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subnets {
    subnet_set: Vec<SubnetItem>,
    next_token: Option<String>,
}

impl Call for DescribeSubnets {
    type Answer = Subnets;

    fn call(self, at: &mut At<'_, '_>) -> Result<Subnets, ApiError> {
        let page = self.wanted().select_by(at, FILTERS, find)?;
        let item = |subnet: &Arc<Subnet>| SubnetItem::new(subnet, at.model());
        Ok(Subnets {
            subnet_set: page.items.iter().map(item).collect(),
            next_token: page.next_token,
        })
    }
}

/// Those of a VPC.
fn find(model: &Model, filter: &str, value: &str) -> Option<Vec<SubnetId>> {
    match filter {
        "vpc-id" => naming(model, &VpcId::from(value)),
        _ => None,
    }
}

const FILTERS: &[Known<Subnet>] = &[
    ("subnet-id", |subnet, _| one(&subnet.id)),
    ("vpc-id", |subnet, _| one(&subnet.vpc)),
    ("availability-zone", |subnet, _| one(&subnet.zone)),
    ("availabilityZone", |subnet, _| one(&subnet.zone)),
    ("availability-zone-id", |subnet, _| {
        one(zone_id(&subnet.zone))
    }),
    ("cidr-block", |subnet, _| one(subnet.cidr)),
    ("cidr", |subnet, _| one(subnet.cidr)),
    ("cidrBlock", |subnet, _| one(subnet.cidr)),
    (
        "ipv6-cidr-block-association.ipv6-cidr-block",
        |subnet, _| each(subnet.ipv6_cidr),
    ),
    ("ipv6-cidr-block-association.association-id", |subnet, _| {
        each(subnet.ipv6_cidr.map(|_| subnet_association(subnet)))
    }),
    ("ipv6-cidr-block-association.state", |subnet, _| {
        each(subnet.ipv6_cidr.map(|_| "associated"))
    }),
    ("available-ip-address-count", |subnet, model| {
        one(free(subnet, model))
    }),
    ("default-for-az", |subnet, _| one(subnet.default_for_az)),
    ("defaultForAz", |subnet, _| one(subnet.default_for_az)),
    ("map-public-ip-on-launch", |subnet, _| {
        one(subnet.map_public_ip_on_launch)
    }),
    ("owner-id", |subnet, _| one(&subnet.meta.owner)),
    ("state", |_, _| one("available")),
    ("subnet-arn", |subnet, _| one(arn(subnet))),
];

/// A subnet in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubnetItem {
    subnet_id: SubnetId,
    subnet_arn: String,
    vpc_id: VpcId,
    owner_id: Arc<str>,
    state: &'static str,
    cidr_block: String,
    ipv6_cidr_block_association_set: Vec<Ipv6BlockItem>,
    availability_zone: Arc<str>,
    availability_zone_id: String,
    available_ip_address_count: u64,
    default_for_az: bool,
    map_public_ip_on_launch: bool,
    map_customer_owned_ip_on_launch: bool,
    assign_ipv6_address_on_creation: bool,
    enable_dns64: bool,
    ipv6_native: bool,
    private_dns_name_options_on_launch: NameOptions,
    tag_set: Vec<TagItem>,
}

/// What hosts' names are made of.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NameOptions {
    hostname_type: &'static str,
    enable_resource_name_dns_a_record: bool,
    #[serde(rename = "enableResourceNameDnsAAAARecord")]
    enable_resource_name_dns_aaaa_record: bool,
}

impl SubnetItem {
    fn new(subnet: &Subnet, model: &Model) -> Self {
        Self {
            subnet_id: subnet.id.clone(),
            subnet_arn: arn(subnet),
            vpc_id: subnet.vpc.clone(),
            owner_id: subnet.meta.owner.clone(),
            state: "available",
            cidr_block: subnet.cidr.to_string(),
            ipv6_cidr_block_association_set: Ipv6BlockItem::of_subnet(subnet).into_iter().collect(),
            availability_zone: subnet.zone.clone(),
            availability_zone_id: zone_id(&subnet.zone),
            available_ip_address_count: free(subnet, model),
            default_for_az: subnet.default_for_az,
            map_public_ip_on_launch: subnet.map_public_ip_on_launch,
            map_customer_owned_ip_on_launch: false,
            assign_ipv6_address_on_creation: subnet.assign_ipv6_address_on_creation,
            enable_dns64: false,
            ipv6_native: false,
            private_dns_name_options_on_launch: NameOptions {
                hostname_type: "ip-name",
                enable_resource_name_dns_a_record: false,
                enable_resource_name_dns_aaaa_record: false,
            },
            tag_set: tags::items(&subnet.meta.all_tags()),
        }
    }
}

fn arn(subnet: &Subnet) -> String {
    let meta = &subnet.meta;
    format!(
        "arn:aws:ec2:{}:{}:subnet/{}",
        meta.region,
        meta.owner,
        subnet.id.text()
    )
}

/// IPv4 addresses that nobody has.
fn free(subnet: &Subnet, model: &Model) -> u64 {
    let size = 1u64 << (32 - u32::from(subnet.cidr.len().min(32)));
    let used = model.indexes().used_ipv4(&subnet.id);
    size.saturating_sub(RESERVED + used)
}
