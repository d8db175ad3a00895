//! CIDR blocks of VPCs: which are allowed, and adding further ones.

use std::net::IpAddr;
use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;

use super::vpc::Ipv6Block;
use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// `AssociateVpcCidrBlock`: one further block, with a local route in every table.
#[derive(Clone, Debug, Default)]
pub struct AssociateVpcCidrBlock {
    /// The VPC.
    pub vpc: VpcId,
    /// An IPv4 block, or
    pub cidr_block: Option<Prefix>,
    /// an IPv6 one.
    pub ipv6_cidr_block: Ipv6Block,
}

/// An associated block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssociateVpcCidrBlockOutput {
    /// `vpc-cidr-assoc-…`
    pub association: Arc<str>,
    /// The block.
    pub block: Prefix,
}

impl Action for AssociateVpcCidrBlock {
    type Output = AssociateVpcCidrBlockOutput;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Self::Output, ApiError> {
        let vpc = tx.require(&self.vpc)?;
        let code = "VpcCidrBlockLimitExceeded";
        let block = match (self.cidr_block, self.ipv6_cidr_block) {
            (Some(block), Ipv6Block::None) => {
                check_ipv4_block(block)?;
                let have = vpc.cidrs.len() as u64;
                tx.check_quota(Quota::Ipv4CidrBlocksPerVpc, have, 1, code)?;
                block
            }
            (None, wanted) => {
                let have = vpc.ipv6_cidrs.len() as u64;
                tx.check_quota(Quota::Ipv6CidrBlocksPerVpc, have, 1, code)?;
                ipv6_block(tx, wanted)?.ok_or_else(|| ApiError::missing("cidrBlock"))?
            }
            (Some(block), _) => {
                return Err(ApiError::invalid_combination(format!(
                    "Associate {block} and the IPv6 block one after the other"
                )));
            }
        };
        if let Some(own) = vpc.blocks().find(|own| own.overlaps(block)) {
            return Err(ApiError::new(
                "InvalidVpc.Range",
                format!("The CIDR '{block}' overlaps {own} of {}", vpc.id),
            ));
        }
        super::peering::refuse_overlap(tx, &vpc.id, block)?;
        add_local_routes(tx, &vpc, block)?;
        let association = cidr_association(tx, block);
        let id = association.id.clone();
        let first_ipv6 = !block.is_ipv4() && vpc.ipv6_cidrs.is_empty();
        tx.update(&vpc.id, |vpc| match block.is_ipv4() {
            true => vpc.cidrs.push(association),
            false => vpc.ipv6_cidrs.push(association),
        });
        if first_ipv6 {
            allow_ipv6_by_default(tx, &vpc);
        }
        Ok(AssociateVpcCidrBlockOutput {
            association: id,
            block,
        })
    }
}

/// V:vpc-cidr-blocks: the block must not equal or contain a destination that a
/// table of the VPC already has.
fn add_local_routes(tx: &mut Transaction<'_>, vpc: &Vpc, block: Prefix) -> Result<(), ApiError> {
    let tables = tx.referrers::<RouteTable>(&vpc.id);
    for table in &tables {
        let inside = table.routes.keys().find(|destination| match destination {
            Destination::Cidr(held) => block.covers(*held),
            Destination::PrefixList(_) => false,
        });
        if let Some(inside) = inside {
            return Err(ApiError::invalid_value(format!(
                "The CIDR '{block}' covers the route to {inside} in {}; delete that route first",
                table.id
            )));
        }
    }
    for table in tables {
        tx.update(&table.id, |table| {
            table
                .routes
                .insert(Destination::Cidr(block), Route::local());
        });
    }
    Ok(())
}

/// A VPC that gets its first IPv6 block lets IPv6 through wherever its defaults
/// are as they were made (V:vpc-network-acls, V:security-group-rules).
fn allow_ipv6_by_default(tx: &mut Transaction<'_>, vpc: &Vpc) {
    let untouched = tx.model().get(&vpc.default_network_acl).is_some_and(|acl| {
        let as_made = NetworkAcl::allow_all(false);
        acl.ingress == as_made && acl.egress == as_made
    });
    if untouched {
        tx.update(&vpc.default_network_acl, |acl| {
            acl.ingress = NetworkAcl::allow_all(true);
            acl.egress = NetworkAcl::allow_all(true);
        });
    }
    for group in tx.referrers::<SecurityGroup>(&vpc.id) {
        let everywhere = |block| {
            SecurityGroupRule::all(Arc::default(), Direction::Egress, RulePeer::Cidr(block))
        };
        let egress = group
            .rules
            .iter()
            .filter(|rule| rule.direction == Direction::Egress);
        let rules: Vec<&SecurityGroupRule> = egress.collect();
        if let [only] = rules[..]
            && only.is_same(&everywhere(Prefix::ANY_V4))
        {
            let mut rule = everywhere(Prefix::ANY_V6);
            rule.id = tx.mint_text("sgr-");
            tx.update(&group.id, |group| group.rules.push(rule));
        }
    }
}

/// `DisassociateVpcCidrBlock`: a block that no subnet uses, and not the primary
/// IPv4 one.
#[derive(Clone, Debug, Default)]
pub struct DisassociateVpcCidrBlock {
    /// `vpc-cidr-assoc-…`
    pub association: String,
}

impl Action for DisassociateVpcCidrBlock {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let found = tx.model().indexes().alias(&self.association);
        let vpc = found.map(|id| VpcId::from_text(id.text.clone()));
        let vpc = vpc.and_then(|id| tx.require(&id).ok());
        let held = vpc.as_ref().and_then(|vpc| {
            let mut all = vpc.cidrs.iter().chain(&vpc.ipv6_cidrs);
            all.find(|held| *held.id == *self.association)
        });
        let (Some(vpc), Some(held)) = (&vpc, held) else {
            return Err(ApiError::new(
                "InvalidVpcCidrBlockAssociationID.NotFound",
                format!(
                    "The vpc CIDR block association ID '{}' does not exist",
                    self.association
                ),
            ));
        };
        if vpc
            .cidrs
            .first()
            .is_some_and(|primary| primary.id == held.id)
        {
            return Err(ApiError::new(
                "OperationNotPermitted",
                format!(
                    "The vpc CIDR block with association ID {} may not be disassociated. It is \
                     the primary IPv4 CIDR block of {}",
                    held.id, vpc.id
                ),
            ));
        }
        for subnet in tx.referrers::<Subnet>(&vpc.id) {
            if subnet.blocks().any(|own| held.block.covers(own)) {
                return Err(ApiError::dependency(held.block, &subnet.id));
            }
        }
        for table in tx.referrers::<RouteTable>(&vpc.id) {
            tx.update(&table.id, |table| {
                table.routes.remove(&Destination::Cidr(held.block));
            });
        }
        tx.update(&vpc.id, |vpc| {
            vpc.cidrs.retain(|other| other.id != held.id);
            vpc.ipv6_cidrs.retain(|other| other.id != held.id);
        });
        Ok(())
    }
}

pub(super) fn cidr_association(tx: &mut Transaction<'_>, block: Prefix) -> CidrAssociation {
    CidrAssociation {
        id: tx.mint_text("vpc-cidr-assoc-"),
        block,
    }
}

pub(super) fn check_ipv4_block(block: Prefix) -> Result<(), ApiError> {
    if !block.is_ipv4() || !(16..=28).contains(&block.len()) {
        return Err(ApiError::new(
            "InvalidVpc.Range",
            format!("The CIDR '{block}' is invalid: an IPv4 block of /16 to /28 is needed"),
        ));
    }
    // V:vpc-cidr-blocks
    for (address, len) in [
        ([0, 0, 0, 0], 8),
        ([127, 0, 0, 0], 8),
        ([169, 254, 0, 0], 16),
        ([224, 0, 0, 0], 4),
    ] {
        let barred = Prefix::new(IpAddr::from(address), len);
        if let Some(barred) = barred.filter(|barred| barred.overlaps(block)) {
            return Err(ApiError::new(
                "InvalidVpc.Range",
                format!("The CIDR '{block}' is invalid: it lies in {barred}, which no VPC may use"),
            ));
        }
    }
    Ok(())
}

pub(super) fn ipv6_block(
    tx: &Transaction<'_>,
    wanted: Ipv6Block,
) -> Result<Option<Prefix>, ApiError> {
    match wanted {
        Ipv6Block::None => Ok(None),
        Ipv6Block::AmazonProvided => next_ipv6_block(tx).map(Some),
        Ipv6Block::Given(block) => {
            if block.is_ipv4() || !matches!(block.len(), 44 | 48 | 52 | 56 | 60) {
                return Err(ApiError::new(
                    "InvalidVpc.Range",
                    format!(
                        "The CIDR '{block}' is invalid: an IPv6 block of /44, /48, /52, /56 or /60 is needed"
                    ),
                ));
            }
            // ASSUMPTION: blocks of all VPCs are apart, private ones too, because
            // an IPv6 address is reachable from the internet as it is.
            if let Some((other, vpc)) = tx.model().indexes().ipv6_overlap(block) {
                return Err(ApiError::invalid_value(format!(
                    "The CIDR '{block}' overlaps {other} of {vpc}; choose another"
                )));
            }
            Ok(Some(block))
        }
    }
}

/// The lowest free /56 of the documentation range (RFC 3849).
fn next_ipv6_block(tx: &Transaction<'_>) -> Result<Prefix, ApiError> {
    const RANGE: u128 = 0x2001_0db8 << 96;
    let mut offset: u128 = 0;
    while offset < 1 << 96 {
        let Some(block) = Prefix::new(IpAddr::V6((RANGE + offset).into()), 56) else {
            break;
        };
        match tx.model().indexes().ipv6_overlap(block) {
            None => return Ok(block),
            Some((other, _)) => {
                let size = 1u128 << (128 - u32::from(other.len().min(56)));
                offset = (offset / size + 1) * size;
            }
        }
    }
    Err(ApiError::new(
        "InsufficientFreeAddressesInSubnet",
        "No /56 of 2001:db8::/32 is free; give a block of your own",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    fn further(vpc: &VpcId, block: &str) -> AssociateVpcCidrBlock {
        AssociateVpcCidrBlock {
            vpc: vpc.clone(),
            cidr_block: Some(cidr(block)),
            ..AssociateVpcCidrBlock::default()
        }
    }

    fn local_routes(control: &ControlPlane, vpc: &VpcId) -> usize {
        let main = main_association(control.model(), vpc).unwrap();
        let table = control.model().get(&main.route_table).unwrap();
        table.routes.len()
    }

    #[test]
    fn a_further_block_holds_subnets_and_has_local_routes() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let held = control.execute(further(&vpc, "10.1.0.0/16")).unwrap();
        assert_eq!(local_routes(&control, &vpc), 2);
        let subnet = subnet(&mut control, &vpc, "10.1.1.0/24");
        let end = DisassociateVpcCidrBlock {
            association: held.association.to_string(),
        };
        refused(
            &mut control,
            end.clone(),
            "DependencyViolation",
            subnet.as_str(),
        );
        control.execute(DeleteSubnet { subnet }).unwrap();
        control.execute(end.clone()).unwrap();
        assert_eq!(local_routes(&control, &vpc), 1);
        let code = "InvalidVpcCidrBlockAssociationID.NotFound";
        refused(&mut control, end, code, &held.association);
        let primary = control.model().get(&vpc).unwrap().cidrs[0].id.to_string();
        let end = DisassociateVpcCidrBlock {
            association: primary.clone(),
        };
        refused(&mut control, end, "OperationNotPermitted", &primary);
        assert_consistent(&control);
    }

    #[test]
    fn blocks_that_overlap_or_cover_a_route_are_refused() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let twice = further(&vpc, "10.0.0.0/24");
        refused(&mut control, twice, "InvalidVpc.Range", "10.0.0.0/24");
        let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
        let eni = interface(&mut control, &subnet);
        let main = main_association(control.model(), &vpc).unwrap();
        let route = CreateRoute {
            route_table: main.route_table.clone(),
            destination: Destination::Cidr(cidr("10.1.2.0/24")),
            target: RouteTargetSpec::NetworkInterface(eni),
        };
        control.execute(route).unwrap();
        let covers = further(&vpc, "10.1.0.0/16");
        refused(&mut control, covers, "InvalidParameterValue", "10.1.2.0/24");
        control.quotas_mut().set(Quota::Ipv4CidrBlocksPerVpc, 1);
        let code = "VpcCidrBlockLimitExceeded";
        refused(
            &mut control,
            further(&vpc, "10.2.0.0/16"),
            code,
            "IPv4 CIDR blocks",
        );
    }

    #[test]
    fn the_first_ipv6_block_opens_the_defaults_for_ipv6() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let request = AssociateVpcCidrBlock {
            vpc: vpc.clone(),
            cidr_block: None,
            ipv6_cidr_block: Ipv6Block::AmazonProvided,
        };
        let held = control.execute(request).unwrap();
        let made = control.model().get(&vpc).unwrap();
        let acl = control.model().get(&made.default_network_acl).unwrap();
        assert_eq!(acl.ingress, NetworkAcl::allow_all(true));
        let group = control.model().get(&made.default_security_group).unwrap();
        assert_eq!(group.rules.len(), 3);
        // The next VPC gets the next block, and nobody the same one.
        let other = control
            .execute(CreateVpc {
                cidr_block: Some(cidr("10.0.0.0/16")),
                ipv6_cidr_block: Ipv6Block::AmazonProvided,
                name: None,
            })
            .unwrap();
        assert_eq!(other.ipv6_cidr_block, Some(cidr("2001:db8:0:100::/56")));
        let same = CreateVpc {
            cidr_block: Some(cidr("10.0.0.0/16")),
            ipv6_cidr_block: Ipv6Block::Given(held.block),
            name: None,
        };
        refused(&mut control, same, "InvalidParameterValue", vpc.as_str());
        assert_consistent(&control);
    }
}
