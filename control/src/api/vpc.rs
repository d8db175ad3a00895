//! VPCs: create, further CIDR blocks, attributes, delete.

use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;

use super::dhcp_options::default_options;
use super::security_group::allow_all_egress;
use super::vpc_cidr::{check_ipv4_block, cidr_association, ipv6_block};
use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// `CreateVpc`: a VPC with its main route table, default security group and
/// default network ACL.
#[derive(Clone, Debug, Default)]
pub struct CreateVpc {
    /// IPv4 block, /16 to /28.
    pub cidr_block: Option<Prefix>,
    /// IPv6 block, if any.
    pub ipv6_cidr_block: Ipv6Block,
    /// `Name` tag.
    pub name: Option<String>,
}

/// How a VPC comes to an IPv6 block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ipv6Block {
    /// It gets none.
    #[default]
    None,
    /// The next free /56 of 2001:db8::/32.
    AmazonProvided,
    /// This one, /44 to /60 in steps of 4.
    Given(Prefix),
}

/// What `CreateVpc` made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateVpcOutput {
    /// The VPC.
    pub vpc: VpcId,
    /// Its main route table.
    pub main_route_table: RouteTableId,
    /// Its default security group.
    pub default_security_group: SecurityGroupId,
    /// Its default network ACL.
    pub default_network_acl: NetworkAclId,
    /// Its IPv6 block, if one was asked for.
    pub ipv6_cidr_block: Option<Prefix>,
}

impl Action for CreateVpc {
    type Output = CreateVpcOutput;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Self::Output, ApiError> {
        let block = self
            .cidr_block
            .ok_or_else(|| ApiError::missing("cidrBlock"))?;
        check_ipv4_block(block)?;
        let have = tx.model().count::<Vpc>(&tx.scope());
        tx.check_quota(Quota::VpcsPerRegion, have, 1, "VpcLimitExceeded")?;
        let ipv6 = ipv6_block(tx, self.ipv6_cidr_block)?;

        let vpc: VpcId = tx.mint();
        let meta = tx.meta(None);
        let route_table: RouteTableId = tx.mint();
        let group: SecurityGroupId = tx.mint();
        let acl: NetworkAclId = tx.mint();
        let dhcp_options = default_options(tx);
        let cidrs = vec![cidr_association(tx, block)];
        let ipv6_cidrs = ipv6.map(|block| cidr_association(tx, block));
        tx.put(Vpc {
            id: vpc.clone(),
            meta: tx.meta(self.name.as_deref()),
            cidrs,
            ipv6_cidrs: ipv6_cidrs.into_iter().collect(),
            dns_support: true,
            dns_hostnames: false,
            usage_metrics: false,
            dhcp_options: Some(dhcp_options),
            default_security_group: group.clone(),
            default_network_acl: acl.clone(),
            is_default: false,
            internet: false,
            on_prem: None,
        });
        tx.put(RouteTable {
            id: route_table.clone(),
            meta: meta.clone(),
            vpc: vpc.clone(),
            routes: local_routes([block].into_iter().chain(ipv6)),
            propagating: std::collections::BTreeSet::new(),
        });
        let association = tx.mint();
        tx.put(RouteTableAssociation {
            id: association,
            meta: meta.clone(),
            route_table: route_table.clone(),
            used_by: RouteTableUse::Main(vpc.clone()),
        });
        let rules = default_group_rules(tx, &group, ipv6.is_some());
        tx.put(SecurityGroup {
            id: group.clone(),
            meta: meta.clone(),
            group_name: Arc::from("default"),
            description: Arc::from("default VPC security group"),
            vpc: vpc.clone(),
            is_default: true,
            rules,
        });
        let entries = NetworkAcl::allow_all(ipv6.is_some());
        tx.put(NetworkAcl {
            id: acl.clone(),
            meta,
            vpc: vpc.clone(),
            is_default: true,
            ingress: entries.clone(),
            egress: entries,
        });
        Ok(CreateVpcOutput {
            vpc,
            main_route_table: route_table,
            default_security_group: group,
            default_network_acl: acl,
            ipv6_cidr_block: ipv6,
        })
    }
}

/// `DeleteVpc`: takes its main table, default group and default ACL with it;
/// anything else in it must be gone.
#[derive(Clone, Debug, Default)]
pub struct DeleteVpc {
    /// The VPC.
    pub vpc: VpcId,
}

impl Action for DeleteVpc {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let vpc = tx.require(&self.vpc)?;
        tx.refuse_if_used::<Subnet>(&vpc.id)?;
        tx.refuse_if_used::<InternetGateway>(&vpc.id)?;
        tx.refuse_if_used::<VpnGateway>(&vpc.id)?;
        tx.refuse_if_used::<NetworkInterface>(&vpc.id)?;
        tx.refuse_if_used::<LoadBalancer>(&vpc.id)?;
        tx.refuse_if_used::<TargetGroup>(&vpc.id)?;
        tx.refuse_if_used::<VpcEndpoint>(&vpc.id)?;
        super::peering::leave(tx, &vpc.id)?;
        let main = main_association(tx.model(), &vpc.id);
        for table in tx.referrers::<RouteTable>(&vpc.id) {
            if Some(&table.id) != main.as_ref().map(|main| &main.route_table) {
                return Err(ApiError::dependency(&vpc.id, &table.id));
            }
            tx.remove(&table.id);
        }
        for group in tx.referrers::<SecurityGroup>(&vpc.id) {
            if !group.is_default {
                return Err(ApiError::dependency(&vpc.id, &group.id));
            }
            tx.remove(&group.id);
        }
        for acl in tx.referrers::<NetworkAcl>(&vpc.id) {
            if !acl.is_default {
                return Err(ApiError::dependency(&vpc.id, &acl.id));
            }
            tx.remove(&acl.id);
        }
        if let Some(main) = main {
            tx.remove(&main.id);
        }
        tx.remove(&vpc.id);
        Ok(())
    }
}

/// `ModifyVpcAttribute`
#[derive(Clone, Debug, Default)]
pub struct ModifyVpcAttribute {
    /// The VPC.
    pub vpc: VpcId,
    /// Whether the VPC's resolver answers.
    pub enable_dns_support: Option<bool>,
    /// Whether hosts have DNS names; with `enable_dns_support` it makes private
    /// names of endpoints work.
    pub enable_dns_hostnames: Option<bool>,
    /// Whether address usage is metered: kept, nothing else.
    pub usage_metrics: Option<bool>,
}

impl Action for ModifyVpcAttribute {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        tx.require(&self.vpc)?;
        tx.update(&self.vpc, |vpc| {
            vpc.dns_support = self.enable_dns_support.unwrap_or(vpc.dns_support);
            vpc.usage_metrics = self.usage_metrics.unwrap_or(vpc.usage_metrics);
            vpc.dns_hostnames = self.enable_dns_hostnames.unwrap_or(vpc.dns_hostnames);
        });
        Ok(())
    }
}

/// The association that names a VPC's main route table.
pub fn main_association(model: &Model, vpc: &VpcId) -> Option<Arc<RouteTableAssociation>> {
    model
        .referrers::<RouteTableAssociation>(vpc)
        .next()
        .cloned()
}

fn local_routes(blocks: impl Iterator<Item = Prefix>) -> Routes {
    blocks
        .map(|block| (Destination::Cidr(block), Route::local()))
        .collect()
}

fn default_group_rules(
    tx: &mut Transaction<'_>,
    group: &SecurityGroupId,
    ipv6: bool,
) -> Vec<SecurityGroupRule> {
    let inbound = SecurityGroupRule::all(
        tx.mint_text("sgr-"),
        Direction::Ingress,
        RulePeer::Group(group.clone()),
    );
    let mut rules = vec![inbound];
    rules.extend(allow_all_egress(tx, ipv6));
    rules
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    #[test]
    fn a_vpc_comes_with_table_group_and_acl() {
        let mut control = ControlPlane::default();
        let request = CreateVpc {
            cidr_block: Some(cidr("10.0.0.0/16")),
            ipv6_cidr_block: Ipv6Block::AmazonProvided,
            name: Some("consumer".into()),
        };
        let made = control.execute(request).unwrap();
        assert_eq!(made.ipv6_cidr_block, Some(cidr("2001:db8::/56")));
        let tables = control.tables().snapshot();
        let model = control.model();
        let row = tables.vpcs.row(model.row(&made.vpc).unwrap()).unwrap();
        assert_eq!(row.cidrs, [cidr("10.0.0.0/16"), cidr("2001:db8::/56")]);
        let table = model.row(&made.main_route_table).unwrap();
        assert_eq!(
            tables.route_tables.row(table).unwrap().row().routes.len(),
            2
        );
        assert!(model.row(&made.default_security_group).is_some());
        assert!(model.row(&made.default_network_acl).is_some());
        assert_consistent(&control);
    }

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let make = || vpc(&mut ControlPlane::default());
        assert_eq!(make(), make());
    }

    #[test]
    fn b003_link_local_and_multicast_blocks_are_refused() {
        let mut control = ControlPlane::default();
        for bad in [
            "169.254.0.0/16",
            "224.0.0.0/8",
            "224.1.0.0/16",
            "127.0.0.0/16",
            "0.1.0.0/16",
        ] {
            let request = CreateVpc {
                cidr_block: Some(cidr(bad)),
                ..CreateVpc::default()
            };
            refused(&mut control, request, "InvalidVpc.Range", bad);
        }
    }

    #[test]
    fn blocks_of_a_wrong_size_are_refused() {
        let mut control = ControlPlane::default();
        for bad in ["10.0.0.0/15", "10.0.0.0/29", "2001:db8::/56"] {
            let request = CreateVpc {
                cidr_block: Some(cidr(bad)),
                ..CreateVpc::default()
            };
            refused(&mut control, request, "InvalidVpc.Range", bad);
        }
        refused(
            &mut control,
            CreateVpc::default(),
            "MissingParameter",
            "cidrBlock",
        );
        let request = CreateVpc {
            cidr_block: Some(cidr("10.0.0.0/16")),
            ipv6_cidr_block: Ipv6Block::Given(cidr("2001:db8::/64")),
            name: None,
        };
        refused(&mut control, request, "InvalidVpc.Range", "2001:db8::/64");
    }

    #[test]
    fn the_sixth_vpc_meets_the_quota_in_its_region_only() {
        let mut control = ControlPlane::default();
        for _ in 0..5 {
            vpc(&mut control);
        }
        let request = CreateVpc {
            cidr_block: Some(cidr("10.0.0.0/16")),
            ..CreateVpc::default()
        };
        refused(
            &mut control,
            request.clone(),
            "VpcLimitExceeded",
            "VPCs per Region",
        );
        let elsewhere = Caller::new(DEFAULT_ACCOUNT, "eu-west-1");
        control.execute_as(&elsewhere, request).unwrap();
    }

    #[test]
    fn a_vpc_in_use_cannot_be_deleted_an_empty_one_goes_with_its_parts() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
        let delete = DeleteVpc { vpc: vpc.clone() };
        refused(
            &mut control,
            delete.clone(),
            "DependencyViolation",
            subnet.as_str(),
        );
        control.execute(DeleteSubnet { subnet }).unwrap();
        control.execute(delete.clone()).unwrap();
        refused(&mut control, delete, "InvalidVpcID.NotFound", vpc.as_str());
        assert_eq!(control.model().vpcs().len(), 1, "the internet's stays");
        assert_eq!(control.model().security_groups().len(), 0);
        assert_consistent(&control);
    }

    #[test]
    fn an_account_does_not_see_anothers_vpc() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let other = Caller::new("210987654321", DEFAULT_REGION);
        let error = control.execute_as(&other, DeleteVpc { vpc }).unwrap_err();
        assert_eq!(error.code, "InvalidVpcID.NotFound");
        refused(
            &mut control,
            DeleteVpc {
                vpc: "vpc-internet".into(),
            },
            "InvalidVpcID.Malformed",
            "vpc-internet",
        );
    }
}
