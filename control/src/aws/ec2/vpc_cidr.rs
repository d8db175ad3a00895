//! CIDR blocks of VPCs and subnets.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shape::{Cidr, State};
use crate::api::{self, ApiError, Ipv6Block};
use crate::aws::call::{At, Call, calls};
use crate::model::{CidrAssociation, Id, Subnet, SubnetId, VpcId};

calls! {
    Write: AssociateVpcCidrBlock DisassociateVpcCidrBlock AssociateSubnetCidrBlock
        DisassociateSubnetCidrBlock;
}

/// An IPv4 block of a VPC.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockItem {
    association_id: Arc<str>,
    cidr_block: String,
    cidr_block_state: State,
}

impl BlockItem {
    pub(super) fn new(held: &CidrAssociation) -> Self {
        Self {
            association_id: held.id.clone(),
            cidr_block: held.block.to_string(),
            cidr_block_state: State::ASSOCIATED,
        }
    }
}

/// An IPv6 block of a VPC or subnet.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ipv6BlockItem {
    association_id: Arc<str>,
    ipv6_cidr_block: String,
    ipv6_cidr_block_state: State,
    network_border_group: Option<String>,
    ipv6_pool: Option<&'static str>,
}

impl Ipv6BlockItem {
    pub(super) fn new(held: &CidrAssociation) -> Self {
        Self {
            association_id: held.id.clone(),
            ipv6_cidr_block: held.block.to_string(),
            ipv6_cidr_block_state: State::ASSOCIATED,
            network_border_group: None,
            ipv6_pool: Some("Amazon"),
        }
    }

    pub(super) fn of_subnet(subnet: &Subnet) -> Option<Self> {
        Some(Self {
            association_id: subnet_association(subnet),
            ipv6_cidr_block: subnet.ipv6_cidr?.to_string(),
            ipv6_cidr_block_state: State::ASSOCIATED,
            network_border_group: None,
            ipv6_pool: None,
        })
    }
}

/// The association of a subnet's one IPv6 block: named after the subnet.
pub(super) fn subnet_association(subnet: &Subnet) -> Arc<str> {
    let digits = subnet.id.as_str().strip_prefix(SubnetId::PREFIX);
    Arc::from(format!("subnet-cidr-assoc-{}", digits.unwrap_or_default()))
}

/// `AssociateVpcCidrBlock`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssociateVpcCidrBlock {
    vpc_id: VpcId,
    cidr_block: Option<Cidr>,
    ipv6_cidr_block: Option<Cidr>,
    #[serde(default)]
    amazon_provided_ipv6_cidr_block: bool,
}

/// A VPC's block, new or gone.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VpcBlock {
    vpc_id: VpcId,
    cidr_block_association: Option<BlockItem>,
    ipv6_cidr_block_association: Option<Ipv6BlockItem>,
}

impl VpcBlock {
    fn new(vpc_id: VpcId, held: &CidrAssociation) -> Self {
        let ipv4 = held.block.is_ipv4();
        Self {
            vpc_id,
            cidr_block_association: ipv4.then(|| BlockItem::new(held)),
            ipv6_cidr_block_association: (!ipv4).then(|| Ipv6BlockItem::new(held)),
        }
    }
}

impl Call for AssociateVpcCidrBlock {
    type Answer = VpcBlock;

    fn call(self, at: &mut At<'_, '_>) -> Result<VpcBlock, ApiError> {
        let made = at.run(api::AssociateVpcCidrBlock {
            vpc: self.vpc_id.clone(),
            cidr_block: self.cidr_block.map(|Cidr(block)| block),
            ipv6_cidr_block: match self.ipv6_cidr_block {
                Some(Cidr(block)) => Ipv6Block::Given(block),
                None if self.amazon_provided_ipv6_cidr_block => Ipv6Block::AmazonProvided,
                None => Ipv6Block::None,
            },
        })?;
        let held = CidrAssociation {
            id: made.association,
            block: made.block,
        };
        Ok(VpcBlock::new(self.vpc_id, &held))
    }
}

/// `DisassociateVpcCidrBlock`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DisassociateVpcCidrBlock {
    association_id: String,
}

impl Call for DisassociateVpcCidrBlock {
    type Answer = VpcBlock;

    fn call(self, at: &mut At<'_, '_>) -> Result<VpcBlock, ApiError> {
        let owner = at.model().indexes().alias(&self.association_id).cloned();
        let vpc = owner.map(|owner| VpcId::from_text(owner.text));
        let held = vpc.as_ref().and_then(|vpc| {
            let vpc = at.model().get(vpc)?;
            let mut all = vpc.cidrs.iter().chain(&vpc.ipv6_cidrs);
            all.find(|held| *held.id == *self.association_id).cloned()
        });
        at.run(api::DisassociateVpcCidrBlock {
            association: self.association_id,
        })?;
        let mut answer = match (vpc, held) {
            (Some(vpc), Some(held)) => VpcBlock::new(vpc, &held),
            _ => VpcBlock::default(),
        };
        if let Some(block) = &mut answer.cidr_block_association {
            block.cidr_block_state = State::DISASSOCIATED;
        }
        if let Some(block) = &mut answer.ipv6_cidr_block_association {
            block.ipv6_cidr_block_state = State::DISASSOCIATED;
        }
        Ok(answer)
    }
}

/// `AssociateSubnetCidrBlock`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssociateSubnetCidrBlock {
    subnet_id: SubnetId,
    ipv6_cidr_block: Cidr,
}

/// A subnet's block, new or gone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubnetBlock {
    subnet_id: SubnetId,
    ipv6_cidr_block_association: Option<Ipv6BlockItem>,
}

impl Call for AssociateSubnetCidrBlock {
    type Answer = SubnetBlock;

    fn call(self, at: &mut At<'_, '_>) -> Result<SubnetBlock, ApiError> {
        at.run(api::AssociateSubnetCidrBlock {
            subnet: self.subnet_id.clone(),
            ipv6_cidr_block: self.ipv6_cidr_block.0,
        })?;
        let subnet = at.tx.require(&self.subnet_id)?;
        Ok(SubnetBlock {
            subnet_id: self.subnet_id,
            ipv6_cidr_block_association: Ipv6BlockItem::of_subnet(&subnet),
        })
    }
}

/// `DisassociateSubnetCidrBlock`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DisassociateSubnetCidrBlock {
    association_id: String,
}

impl Call for DisassociateSubnetCidrBlock {
    type Answer = SubnetBlock;

    fn call(self, at: &mut At<'_, '_>) -> Result<SubnetBlock, ApiError> {
        let digits = self.association_id.strip_prefix("subnet-cidr-assoc-");
        let id = digits.map(|digits| SubnetId::from(format!("{}{digits}", SubnetId::PREFIX)));
        let subnet = id.and_then(|id| at.tx.require(&id).ok());
        let Some(subnet) = subnet.filter(|subnet| subnet.ipv6_cidr.is_some()) else {
            return Err(ApiError::new(
                "InvalidSubnetCidrBlockAssociationID.NotFound",
                format!(
                    "The subnet CIDR block with association ID '{}' does not exist",
                    self.association_id
                ),
            ));
        };
        let mut item = Ipv6BlockItem::of_subnet(&subnet);
        at.run(api::DisassociateSubnetCidrBlock {
            subnet: subnet.id.clone(),
        })?;
        if let Some(item) = &mut item {
            item.ipv6_cidr_block_state = State::DISASSOCIATED;
        }
        Ok(SubnetBlock {
            subnet_id: subnet.id.clone(),
            ipv6_cidr_block_association: item,
        })
    }
}
