//! VPCs and their attributes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shape::{Attribute, Cidr, DONE, Done};
use super::vpc_cidr::{BlockItem, Ipv6BlockItem};
use crate::api::{self, ApiError, Ipv6Block};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::describe;
use crate::aws::select::{Known, each, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{Vpc, VpcId};

calls! {
    Read: DescribeVpcs DescribeVpcAttribute;
    Write: CreateVpc CreateDefaultVpc DeleteVpc ModifyVpcAttribute;
}

/// `CreateVpc`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateVpc {
    cidr_block: Option<Cidr>,
    ipv6_cidr_block: Option<Cidr>,
    amazon_provided_ipv6_cidr_block: bool,
    instance_tenancy: Option<String>,
    tag_specification: Vec<TagSpecification>,
}

/// A VPC, made.
#[derive(Debug, Serialize)]
pub struct OneVpc {
    vpc: VpcItem,
}

impl Call for CreateVpc {
    type Answer = OneVpc;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneVpc, ApiError> {
        let tags = tags::specified(&self.tag_specification, "vpc")?;
        if let Some(tenancy) = self.instance_tenancy.filter(|tenancy| tenancy != "default") {
            return Err(ApiError::new(
                "UnsupportedOperation",
                format!("Tenancy '{tenancy}' is not emulated; it is 'default'"),
            ));
        }
        let ipv6_cidr_block = match (self.ipv6_cidr_block, self.amazon_provided_ipv6_cidr_block) {
            (None, false) => Ipv6Block::None,
            (None, true) => Ipv6Block::AmazonProvided,
            (Some(Cidr(block)), false) => Ipv6Block::Given(block),
            (Some(_), true) => {
                return Err(ApiError::invalid_combination(
                    "Give AmazonProvidedIpv6CidrBlock or Ipv6CidrBlock, not both",
                ));
            }
        };
        let made = at.run(api::CreateVpc {
            cidr_block: self.cidr_block.map(|Cidr(block)| block),
            ipv6_cidr_block,
            name: None,
        })?;
        tags::put(at, &made.vpc, tags);
        let vpc = at.tx.require(&made.vpc)?;
        Ok(OneVpc {
            vpc: VpcItem::new(&vpc),
        })
    }
}

/// `CreateDefaultVpc`
#[derive(Debug, Deserialize)]
pub struct CreateDefaultVpc {}

impl Call for CreateDefaultVpc {
    type Answer = OneVpc;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneVpc, ApiError> {
        let id = at.run(api::CreateDefaultVpc)?;
        let vpc = at.tx.require(&id)?;
        Ok(OneVpc {
            vpc: VpcItem::new(&vpc),
        })
    }
}

/// `DeleteVpc`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteVpc {
    vpc_id: VpcId,
}

impl Call for DeleteVpc {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DeleteVpc { vpc: self.vpc_id })?;
        Ok(DONE)
    }
}

describe! {
    /// `DescribeVpcs`
    DescribeVpcs { vpc_id: VpcId }
}

/// `DescribeVpcs`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vpcs {
    vpc_set: Vec<VpcItem>,
    next_token: Option<String>,
}

impl Call for DescribeVpcs {
    type Answer = Vpcs;

    fn call(self, at: &mut At<'_, '_>) -> Result<Vpcs, ApiError> {
        let page = self.wanted().select(at, FILTERS)?;
        Ok(Vpcs {
            vpc_set: page.items.iter().map(|vpc| VpcItem::new(vpc)).collect(),
            next_token: page.next_token,
        })
    }
}

/// The block that a VPC was made with.
fn primary(vpc: &Vpc) -> Vec<String> {
    each(vpc.cidrs.first().map(|held| held.block))
}

/// The DHCP options that it has, or AWS's word for none.
fn dhcp_options(vpc: &Vpc) -> String {
    let id = vpc.dhcp_options.as_ref();
    id.map_or_else(|| super::dhcp_options::NONE.to_owned(), ToString::to_string)
}

const FILTERS: &[Known<Vpc>] = &[
    ("vpc-id", |vpc, _| one(&vpc.id)),
    ("cidr", |vpc, _| primary(vpc)),
    // Older names, which clients still use.
    ("cidr-block", |vpc, _| primary(vpc)),
    ("cidrBlock", |vpc, _| primary(vpc)),
    ("cidr-block-association.cidr-block", |vpc, _| {
        each(vpc.cidrs.iter().map(|held| held.block))
    }),
    ("cidr-block-association.association-id", |vpc, _| {
        each(vpc.cidrs.iter().map(|held| &held.id))
    }),
    ("cidr-block-association.state", |_, _| one("associated")),
    ("ipv6-cidr-block-association.ipv6-cidr-block", |vpc, _| {
        each(vpc.ipv6_cidrs.iter().map(|held| held.block))
    }),
    ("ipv6-cidr-block-association.association-id", |vpc, _| {
        each(vpc.ipv6_cidrs.iter().map(|held| &held.id))
    }),
    ("ipv6-cidr-block-association.state", |_, _| {
        one("associated")
    }),
    ("dhcp-options-id", |vpc, _| vec![dhcp_options(vpc)]),
    ("is-default", |vpc, _| one(vpc.is_default)),
    ("isDefault", |vpc, _| one(vpc.is_default)),
    ("owner-id", |vpc, _| one(&vpc.meta.owner)),
    ("state", |_, _| one("available")),
];

/// A VPC in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VpcItem {
    vpc_id: VpcId,
    owner_id: Arc<str>,
    state: &'static str,
    cidr_block: Option<String>,
    dhcp_options_id: String,
    instance_tenancy: &'static str,
    is_default: bool,
    cidr_block_association_set: Vec<BlockItem>,
    ipv6_cidr_block_association_set: Vec<Ipv6BlockItem>,
    tag_set: Vec<TagItem>,
}

impl VpcItem {
    fn new(vpc: &Vpc) -> Self {
        Self {
            vpc_id: vpc.id.clone(),
            owner_id: vpc.meta.owner.clone(),
            state: "available",
            cidr_block: vpc.cidrs.first().map(|held| held.block.to_string()),
            dhcp_options_id: dhcp_options(vpc),
            instance_tenancy: "default",
            is_default: vpc.is_default,
            cidr_block_association_set: vpc.cidrs.iter().map(BlockItem::new).collect(),
            ipv6_cidr_block_association_set: vpc
                .ipv6_cidrs
                .iter()
                .map(Ipv6BlockItem::new)
                .collect(),
            tag_set: tags::items(&vpc.meta.all_tags()),
        }
    }
}

/// `ModifyVpcAttribute`: one attribute a call, as at AWS.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyVpcAttribute {
    vpc_id: VpcId,
    enable_dns_support: Option<Attribute<bool>>,
    enable_dns_hostnames: Option<Attribute<bool>>,
    enable_network_address_usage_metrics: Option<Attribute<bool>>,
}

impl Call for ModifyVpcAttribute {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let given = [
            self.enable_dns_support.is_some(),
            self.enable_dns_hostnames.is_some(),
            self.enable_network_address_usage_metrics.is_some(),
        ];
        match given.iter().filter(|given| **given).count() {
            0 => return Err(ApiError::missing("enableDnsSupport")),
            1 => {}
            _ => {
                return Err(ApiError::invalid_combination(
                    "Only one attribute can be modified at a time",
                ));
            }
        }
        at.run(api::ModifyVpcAttribute {
            vpc: self.vpc_id,
            enable_dns_support: self.enable_dns_support.map(|it| it.value),
            enable_dns_hostnames: self.enable_dns_hostnames.map(|it| it.value),
            usage_metrics: self.enable_network_address_usage_metrics.map(|it| it.value),
        })?;
        Ok(DONE)
    }
}

/// `DescribeVpcAttribute`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeVpcAttribute {
    vpc_id: VpcId,
    attribute: VpcAttribute,
}

#[derive(Debug, Default, Deserialize)]
enum VpcAttribute {
    #[default]
    #[serde(rename = "enableDnsSupport")]
    DnsSupport,
    #[serde(rename = "enableDnsHostnames")]
    DnsHostnames,
    #[serde(rename = "enableNetworkAddressUsageMetrics")]
    UsageMetrics,
}

/// The attribute that was asked for.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VpcAttributes {
    vpc_id: VpcId,
    enable_dns_support: Option<Attribute<bool>>,
    enable_dns_hostnames: Option<Attribute<bool>>,
    enable_network_address_usage_metrics: Option<Attribute<bool>>,
}

impl Call for DescribeVpcAttribute {
    type Answer = VpcAttributes;

    fn call(self, at: &mut At<'_, '_>) -> Result<VpcAttributes, ApiError> {
        let vpc = at.tx.require(&self.vpc_id)?;
        let mut answer = VpcAttributes {
            vpc_id: self.vpc_id,
            ..VpcAttributes::default()
        };
        let (value, place) = match self.attribute {
            VpcAttribute::DnsSupport => (vpc.dns_support, &mut answer.enable_dns_support),
            VpcAttribute::DnsHostnames => (vpc.dns_hostnames, &mut answer.enable_dns_hostnames),
            VpcAttribute::UsageMetrics => (
                vpc.usage_metrics,
                &mut answer.enable_network_address_usage_metrics,
            ),
        };
        *place = Some(Attribute::new(value));
        Ok(answer)
    }
}
