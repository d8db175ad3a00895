//! Subnets: create, attributes, IPv6 block, delete.

use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;

use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// `CreateSubnet`
#[derive(Clone, Debug, Default)]
pub struct CreateSubnet {
    /// Its VPC.
    pub vpc: VpcId,
    /// IPv4 block, /16 to /28, inside one of the VPC's.
    pub cidr_block: Option<Prefix>,
    /// IPv6 block, /44 to /64 in steps of 4, inside one of the VPC's.
    pub ipv6_cidr_block: Option<Prefix>,
    /// Zone; the region's first unless given.
    pub availability_zone: Option<String>,
    /// `Name` tag.
    pub name: Option<String>,
}

impl Action for CreateSubnet {
    type Output = SubnetId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<SubnetId, ApiError> {
        let vpc = tx.require(&self.vpc)?;
        let block = self
            .cidr_block
            .ok_or_else(|| ApiError::missing("cidrBlock"))?;
        check_block(tx, &vpc, block)?;
        if let Some(block) = self.ipv6_cidr_block {
            check_block(tx, &vpc, block)?;
        }
        let have = tx.model().count::<Subnet>(&vpc.id.resource());
        tx.check_quota(Quota::SubnetsPerVpc, have, 1, "SubnetLimitExceeded")?;
        let first = format!("{}a", tx.caller().region);
        let zone = self.availability_zone.unwrap_or(first);
        let az = tx.zone(&zone)?;

        let id: SubnetId = tx.mint();
        tx.put(Subnet {
            id: id.clone(),
            meta: tx.meta(self.name.as_deref()),
            vpc: vpc.id.clone(),
            zone: Arc::from(zone),
            az,
            cidr: block,
            ipv6_cidr: self.ipv6_cidr_block,
            map_public_ip_on_launch: false,
            assign_ipv6_address_on_creation: false,
            default_for_az: false,
        });
        let association = tx.mint();
        tx.put(NetworkAclAssociation {
            id: association,
            meta: tx.meta(None),
            network_acl: vpc.default_network_acl.clone(),
            subnet: id.clone(),
        });
        Ok(id)
    }
}

/// `DeleteSubnet`
#[derive(Clone, Debug, Default)]
pub struct DeleteSubnet {
    /// The subnet.
    pub subnet: SubnetId,
}

impl Action for DeleteSubnet {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let subnet = tx.require(&self.subnet)?;
        tx.refuse_if_used::<NetworkInterface>(&subnet.id)?;
        for association in tx.referrers::<RouteTableAssociation>(&subnet.id) {
            tx.remove(&association.id);
        }
        for association in tx.referrers::<NetworkAclAssociation>(&subnet.id) {
            tx.remove(&association.id);
        }
        tx.remove(&subnet.id);
        Ok(())
    }
}

/// `ModifySubnetAttribute`
#[derive(Clone, Debug, Default)]
pub struct ModifySubnetAttribute {
    /// The subnet.
    pub subnet: SubnetId,
    /// Whether hosts that attach get a public IPv4 address.
    pub map_public_ip_on_launch: Option<bool>,
    /// Whether new interfaces get an IPv6 address.
    pub assign_ipv6_address_on_creation: Option<bool>,
}

impl Action for ModifySubnetAttribute {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let subnet = tx.require(&self.subnet)?;
        let ipv6 = self.assign_ipv6_address_on_creation;
        if ipv6 == Some(true) && subnet.ipv6_cidr.is_none() {
            return Err(ApiError::invalid_value(format!(
                "{} has no IPv6 CIDR block to assign addresses from",
                subnet.id
            )));
        }
        tx.update(&subnet.id, |subnet| {
            let map = self.map_public_ip_on_launch;
            subnet.map_public_ip_on_launch = map.unwrap_or(subnet.map_public_ip_on_launch);
            let assign = &mut subnet.assign_ipv6_address_on_creation;
            *assign = ipv6.unwrap_or(*assign);
        });
        Ok(())
    }
}

/// `AssociateSubnetCidrBlock`: an IPv6 block for a subnet without one.
#[derive(Clone, Debug)]
pub struct AssociateSubnetCidrBlock {
    /// The subnet.
    pub subnet: SubnetId,
    /// The block.
    pub ipv6_cidr_block: Prefix,
}

impl Action for AssociateSubnetCidrBlock {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let subnet = tx.require(&self.subnet)?;
        if let Some(held) = subnet.ipv6_cidr {
            return Err(ApiError::invalid_value(format!(
                "{} already has the IPv6 CIDR block {held}",
                subnet.id
            )));
        }
        if self.ipv6_cidr_block.is_ipv4() {
            return Err(ApiError::new(
                "InvalidSubnet.Range",
                format!("{} is not an IPv6 CIDR block", self.ipv6_cidr_block),
            ));
        }
        let vpc = tx.require(&subnet.vpc)?;
        check_block(tx, &vpc, self.ipv6_cidr_block)?;
        tx.update(&subnet.id, |subnet| {
            subnet.ipv6_cidr = Some(self.ipv6_cidr_block);
        });
        Ok(())
    }
}

/// `DisassociateSubnetCidrBlock`: no interface may use an address of it.
#[derive(Clone, Debug, Default)]
pub struct DisassociateSubnetCidrBlock {
    /// The subnet.
    pub subnet: SubnetId,
}

impl Action for DisassociateSubnetCidrBlock {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let subnet = tx.require(&self.subnet)?;
        let Some(block) = subnet.ipv6_cidr else {
            return Err(ApiError::invalid_value(format!(
                "{} has no IPv6 CIDR block",
                subnet.id
            )));
        };
        if tx.model().indexes().is_used(&subnet.id, block) {
            return Err(ApiError::dependency(block, "a network interface"));
        }
        tx.update(&subnet.id, |subnet| {
            subnet.ipv6_cidr = None;
            subnet.assign_ipv6_address_on_creation = false;
        });
        Ok(())
    }
}

fn check_block(tx: &Transaction<'_>, vpc: &Vpc, block: Prefix) -> Result<(), ApiError> {
    let fits = if block.is_ipv4() {
        (16..=28).contains(&block.len())
    } else {
        (44..=64).contains(&block.len()) && block.len().is_multiple_of(4)
    };
    if !fits {
        return Err(ApiError::new(
            "InvalidSubnet.Range",
            format!(
                "The CIDR '{block}' is invalid: IPv4 blocks are /16 to /28, IPv6 blocks /44 to \
                 /64 in steps of 4"
            ),
        ));
    }
    if !vpc.blocks().any(|whole| whole.covers(block)) {
        let blocks: Vec<String> = vpc.blocks().map(|block| block.to_string()).collect();
        return Err(ApiError::new(
            "InvalidSubnet.Range",
            format!(
                "The CIDR '{block}' is invalid: {} has {}",
                vpc.id,
                blocks.join(", ")
            ),
        ));
    }
    for other in tx.model().referrers::<Subnet>(&vpc.id) {
        if let Some(theirs) = other.blocks().find(|theirs| theirs.overlaps(block)) {
            return Err(ApiError::new(
                "InvalidSubnet.Conflict",
                format!(
                    "The CIDR '{block}' conflicts with another subnet: {} has {theirs}",
                    other.id
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    fn request(vpc: &VpcId, block: &str) -> CreateSubnet {
        CreateSubnet {
            vpc: vpc.clone(),
            cidr_block: Some(cidr(block)),
            ..CreateSubnet::default()
        }
    }

    #[test]
    fn a_subnet_uses_the_main_table_and_the_default_acl() {
        let mut control = ControlPlane::default();
        let made = control
            .execute(CreateVpc {
                cidr_block: Some(cidr("10.0.0.0/16")),
                ..CreateVpc::default()
            })
            .unwrap();
        let subnet = subnet(&mut control, &made.vpc, "10.0.1.0/24");
        let (tables, model) = (control.tables().snapshot(), control.model());
        let row = tables.subnets.row(model.row(&subnet).unwrap()).unwrap();
        assert_eq!(Some(row.route_table.0), model.row(&made.main_route_table));
        assert_eq!(
            Some(row.network_acl.0),
            model.row(&made.default_network_acl)
        );
        assert_eq!(row.cidrs, [cidr("10.0.1.0/24")]);
        assert_consistent(&control);
    }

    #[test]
    fn blocks_outside_overlapping_or_of_a_wrong_size_are_refused() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        subnet(&mut control, &vpc, "10.0.1.0/24");
        for bad in ["10.1.0.0/24", "10.0.0.0/29", "10.0.0.0/8", "2001:db8::/64"] {
            refused(&mut control, request(&vpc, bad), "InvalidSubnet.Range", bad);
        }
        for bad in ["10.0.1.128/25", "10.0.0.0/16"] {
            refused(
                &mut control,
                request(&vpc, bad),
                "InvalidSubnet.Conflict",
                bad,
            );
        }
        let zone = CreateSubnet {
            availability_zone: Some("eu-west-1a".into()),
            ..request(&vpc, "10.0.2.0/24")
        };
        refused(&mut control, zone, "InvalidParameterValue", "eu-west-1a");
        let absent = CreateSubnet {
            cidr_block: None,
            ..request(&vpc, "10.0.2.0/24")
        };
        refused(&mut control, absent, "MissingParameter", "cidrBlock");
    }

    #[test]
    fn a_subnet_beyond_the_quota_is_refused() {
        let mut control = ControlPlane::default();
        control.quotas_mut().set(Quota::SubnetsPerVpc, 1);
        let vpc = vpc(&mut control);
        subnet(&mut control, &vpc, "10.0.1.0/24");
        let more = request(&vpc, "10.0.2.0/24");
        refused(&mut control, more, "SubnetLimitExceeded", "Subnets per VPC");
    }

    #[test]
    fn a_subnet_gets_an_ipv6_block_and_its_interfaces_addresses() {
        let mut control = ControlPlane::default();
        let made = control
            .execute(CreateVpc {
                cidr_block: Some(cidr("10.0.0.0/16")),
                ipv6_cidr_block: Ipv6Block::Given(cidr("2001:db8:5::/56")),
                name: None,
            })
            .unwrap();
        let subnet = subnet(&mut control, &made.vpc, "10.0.1.0/24");
        let assign = ModifySubnetAttribute {
            subnet: subnet.clone(),
            assign_ipv6_address_on_creation: Some(true),
            ..ModifySubnetAttribute::default()
        };
        refused(
            &mut control,
            assign.clone(),
            "InvalidParameterValue",
            subnet.as_str(),
        );
        let associate = |block: &str| AssociateSubnetCidrBlock {
            subnet: subnet.clone(),
            ipv6_cidr_block: cidr(block),
        };
        let outside = associate("2001:db8:6::/64");
        refused(
            &mut control,
            outside,
            "InvalidSubnet.Range",
            "2001:db8:6::/64",
        );
        control.execute(associate("2001:db8:5:1::/64")).unwrap();
        control.execute(assign).unwrap();
        let eni = interface(&mut control, &subnet);
        let addresses = &control.model().get(&eni).unwrap().ipv6_addresses;
        assert_eq!(
            addresses[0].to_string(),
            "2001:db8:5:1::4",
            "the first four are kept"
        );
        let end = DisassociateSubnetCidrBlock { subnet };
        refused(
            &mut control,
            end,
            "DependencyViolation",
            "2001:db8:5:1::/64",
        );
        assert_consistent(&control);
    }
}
