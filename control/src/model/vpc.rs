//! VPCs and their internet gateways.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;

use super::{
    DhcpOptionsId, Indexes, InternetGatewayId, Meta, NetworkAclId, References, Resource,
    SecurityGroupId, VpcId, resource_fields,
};

/// A CIDR block of a VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CidrAssociation {
    /// `vpc-cidr-assoc-…`
    pub id: Arc<str>,
    /// The block.
    pub block: Prefix,
}

/// A VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// Id.
    pub id: VpcId,
    /// Owner, region, name.
    pub meta: Meta,
    /// IPv4 blocks, the primary one first.
    pub cidrs: Vec<CidrAssociation>,
    /// IPv6 blocks.
    pub ipv6_cidrs: Vec<CidrAssociation>,
    /// `enableDnsSupport`
    pub dns_support: bool,
    /// `enableDnsHostnames`
    pub dns_hostnames: bool,
    /// `enableNetworkAddressUsageMetrics`: kept, nothing else.
    pub usage_metrics: bool,
    /// Its DHCP options; none if it is to have none.
    #[serde(default)]
    pub dhcp_options: Option<DhcpOptionsId>,
    /// The group of interfaces that name none.
    pub default_security_group: SecurityGroupId,
    /// The ACL of subnets that name none.
    pub default_network_acl: NetworkAclId,
    /// Where instances go that name no subnet.
    #[serde(default)]
    pub is_default: bool,
    /// The pseudo-VPC of internet hosts.
    pub internet: bool,
    /// The pseudo-VPC of an on-premises network: its router's address on the
    /// internet.
    #[serde(default)]
    pub on_prem: Option<Ipv4Addr>,
}

/// The name under which an on-premises network is found by its router's address.
pub(crate) fn on_prem_alias(address: Ipv4Addr) -> Arc<str> {
    Arc::from(format!("on-prem/{address}"))
}

impl Vpc {
    /// Whether it is no VPC of AWS's: the internet, or a network on premises.
    pub fn is_outside(&self) -> bool {
        self.internet || self.on_prem.is_some()
    }

    /// All blocks, IPv4 first.
    pub fn blocks(&self) -> impl Iterator<Item = Prefix> {
        let all = self.cidrs.iter().chain(&self.ipv6_cidrs);
        all.map(|association| association.block)
    }
}

impl Resource for Vpc {
    resource_fields!(VpcId);

    fn references(&self, to: &mut References) {
        to.extend(&self.dhcp_options);
    }

    fn aliases(&self, to: &mut Vec<Arc<str>>) {
        let all = self.cidrs.iter().chain(&self.ipv6_cidrs);
        to.extend(all.map(|association| association.id.clone()));
        to.extend(self.on_prem.map(on_prem_alias));
    }

    fn reindex(old: Option<&Self>, new: Option<&Self>, indexes: &mut Indexes) {
        for gone in old.iter().flat_map(|vpc| &vpc.ipv6_cidrs) {
            indexes.drop_ipv6_block(gone.block);
        }
        if let Some(vpc) = new.filter(|vpc| !vpc.is_outside()) {
            for block in &vpc.ipv6_cidrs {
                indexes.add_ipv6_block(block.block, &vpc.id);
            }
        }
    }
}

/// An internet gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetGateway {
    /// Id.
    pub id: InternetGatewayId,
    /// Owner, region, name.
    pub meta: Meta,
    /// The VPC it is attached to.
    pub vpc: Option<VpcId>,
}

impl Resource for InternetGateway {
    resource_fields!(InternetGatewayId);

    fn references(&self, to: &mut References) {
        to.extend(&self.vpc);
    }
}
