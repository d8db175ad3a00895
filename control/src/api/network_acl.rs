//! Network ACLs: entries, and which subnets they guard.

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::PortMatch;

use super::security_group::check_ports;
use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// `CreateNetworkAcl`: one that denies all.
#[derive(Clone, Debug, Default)]
pub struct CreateNetworkAcl {
    /// Its VPC.
    pub vpc: VpcId,
    /// `Name` tag.
    pub name: Option<String>,
}

impl Action for CreateNetworkAcl {
    type Output = NetworkAclId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<NetworkAclId, ApiError> {
        let vpc = tx.require(&self.vpc)?;
        let have = tx.model().count::<NetworkAcl>(&vpc.id.resource());
        tx.check_quota(Quota::NetworkAclsPerVpc, have, 1, "NetworkAclLimitExceeded")?;
        let id: NetworkAclId = tx.mint();
        tx.put(NetworkAcl {
            id: id.clone(),
            meta: tx.meta(self.name.as_deref()),
            vpc: vpc.id.clone(),
            is_default: false,
            ingress: Default::default(),
            egress: Default::default(),
        });
        Ok(id)
    }
}

/// `DeleteNetworkAcl`: one that guards no subnet and is not the default.
#[derive(Clone, Debug, Default)]
pub struct DeleteNetworkAcl {
    /// The ACL.
    pub network_acl: NetworkAclId,
}

impl Action for DeleteNetworkAcl {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let acl = tx.require(&self.network_acl)?;
        if acl.is_default {
            return Err(ApiError::invalid_value(format!(
                "cannot delete default network ACL {}",
                acl.id
            )));
        }
        tx.refuse_if_used::<NetworkAclAssociation>(&acl.id)?;
        tx.remove(&acl.id);
        Ok(())
    }
}

/// An entry, in requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// The ACL.
    pub network_acl: NetworkAclId,
    /// Which way.
    pub direction: Direction,
    /// 1–32766; the lowest that matches decides.
    pub rule_number: u16,
    /// Allow or deny.
    pub allow: bool,
    /// IP protocol; `None` is all.
    pub protocol: Option<u8>,
    /// Ports or ICMP types.
    pub ports: PortMatch,
    /// Source (inbound) or destination (outbound).
    pub cidr: Prefix,
}

impl AclEntry {
    fn check(&self) -> Result<NetworkAclEntry, ApiError> {
        if !(1..=32_766).contains(&self.rule_number) {
            return Err(ApiError::invalid_value(format!(
                "Rule number {} is invalid: 1 to 32766",
                self.rule_number
            )));
        }
        check_ports(self.protocol, self.ports)?;
        Ok(NetworkAclEntry {
            allow: self.allow,
            protocol: self.protocol,
            ports: self.ports,
            cidr: self.cidr,
        })
    }
}

/// `CreateNetworkAclEntry`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateNetworkAclEntry(pub AclEntry);

impl Action for CreateNetworkAclEntry {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let acl = tx.require(&self.0.network_acl)?;
        let entry = self.0.check()?;
        let held = entries(&acl, self.0.direction);
        if held.contains_key(&self.0.rule_number) {
            return Err(ApiError::new(
                "NetworkAclEntryAlreadyExists",
                format!(
                    "The network acl entry identified by {} already exists in {}; use \
                     ReplaceNetworkAclEntry",
                    self.0.rule_number, acl.id
                ),
            ));
        }
        let code = "NetworkAclEntryLimitExceeded";
        tx.check_quota(Quota::RulesPerNetworkAcl, held.len() as u64, 1, code)?;
        set_entry(tx, &self.0, Some(entry));
        Ok(())
    }
}

/// `ReplaceNetworkAclEntry`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplaceNetworkAclEntry(pub AclEntry);

impl Action for ReplaceNetworkAclEntry {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let acl = tx.require(&self.0.network_acl)?;
        let entry = self.0.check()?;
        require_entry(&acl, self.0.direction, self.0.rule_number)?;
        set_entry(tx, &self.0, Some(entry));
        Ok(())
    }
}

/// `DeleteNetworkAclEntry`
#[derive(Clone, Debug, Default)]
pub struct DeleteNetworkAclEntry {
    /// The ACL.
    pub network_acl: NetworkAclId,
    /// Which way.
    pub direction: Direction,
    /// Which entry.
    pub rule_number: u16,
}

impl Action for DeleteNetworkAclEntry {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let acl = tx.require(&self.network_acl)?;
        require_entry(&acl, self.direction, self.rule_number)?;
        tx.update(&acl.id, |acl| {
            entries_mut(acl, self.direction).remove(&self.rule_number);
        });
        Ok(())
    }
}

/// `ReplaceNetworkAclAssociation`: another ACL for the same subnet.
#[derive(Clone, Debug, Default)]
pub struct ReplaceNetworkAclAssociation {
    /// The association to end.
    pub association: NetworkAclAssociationId,
    /// The ACL to use instead.
    pub network_acl: NetworkAclId,
}

impl Action for ReplaceNetworkAclAssociation {
    type Output = NetworkAclAssociationId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<NetworkAclAssociationId, ApiError> {
        let old = tx.require(&self.association)?;
        let acl = tx.require(&self.network_acl)?;
        let subnet = tx.require(&old.subnet)?;
        if acl.vpc != subnet.vpc {
            return Err(ApiError::invalid_value(format!(
                "networkAcl {} ({}) and subnet {} ({}) belong to different networks",
                acl.id, acl.vpc, subnet.id, subnet.vpc
            )));
        }
        tx.remove(&old.id);
        let id: NetworkAclAssociationId = tx.mint();
        tx.put(NetworkAclAssociation {
            id: id.clone(),
            meta: tx.meta(None),
            network_acl: acl.id.clone(),
            subnet: old.subnet.clone(),
        });
        Ok(id)
    }
}

/// The association that guards a subnet.
pub fn network_acl_association(
    model: &Model,
    subnet: &SubnetId,
) -> Option<NetworkAclAssociationId> {
    let mut all = model.referrers::<NetworkAclAssociation>(subnet);
    all.next().map(|association| association.id.clone())
}

type Entries = std::collections::BTreeMap<u16, NetworkAclEntry>;

fn entries(acl: &NetworkAcl, direction: Direction) -> &Entries {
    match direction {
        Direction::Ingress => &acl.ingress,
        Direction::Egress => &acl.egress,
    }
}

fn entries_mut(acl: &mut NetworkAcl, direction: Direction) -> &mut Entries {
    match direction {
        Direction::Ingress => &mut acl.ingress,
        Direction::Egress => &mut acl.egress,
    }
}

fn set_entry(tx: &mut Transaction<'_>, request: &AclEntry, entry: Option<NetworkAclEntry>) {
    tx.update(&request.network_acl, |acl| {
        entries_mut(acl, request.direction).extend(entry.map(|e| (request.rule_number, e)));
    });
}

fn require_entry(acl: &NetworkAcl, direction: Direction, number: u16) -> Result<(), ApiError> {
    if entries(acl, direction).contains_key(&number) {
        return Ok(());
    }
    Err(ApiError::new(
        "InvalidNetworkAclEntry.NotFound",
        format!(
            "{} has no {direction:?} entry with rule number {number}",
            acl.id
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    fn entry(acl: &NetworkAclId, rule_number: u16) -> AclEntry {
        AclEntry {
            network_acl: acl.clone(),
            direction: Direction::Ingress,
            rule_number,
            allow: true,
            protocol: Some(6),
            ports: PortMatch::Range(443, 443),
            cidr: Prefix::ANY_V4,
        }
    }

    fn lab() -> (ControlPlane, SubnetId, NetworkAclId) {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
        let acl = control
            .execute(CreateNetworkAcl { vpc, name: None })
            .unwrap();
        (control, subnet, acl)
    }

    fn numbers(control: &ControlPlane, acl: &NetworkAclId) -> Vec<(u16, bool)> {
        let tables = control.tables().snapshot();
        let row = tables.network_acls.row(control.model().row(acl).unwrap());
        let rules = &row.unwrap().ingress;
        rules.iter().map(|rule| (rule.number, rule.allow)).collect()
    }

    #[test]
    fn entries_are_created_replaced_and_deleted_by_number() {
        let (mut control, _, acl) = lab();
        assert_eq!(numbers(&control, &acl), [], "a new ACL denies all");
        for number in [200, 100] {
            control
                .execute(CreateNetworkAclEntry(entry(&acl, number)))
                .unwrap();
        }
        let twice = CreateNetworkAclEntry(entry(&acl, 100));
        refused(&mut control, twice, "NetworkAclEntryAlreadyExists", "100");
        let deny = AclEntry {
            allow: false,
            ..entry(&acl, 100)
        };
        control.execute(ReplaceNetworkAclEntry(deny)).unwrap();
        assert_eq!(numbers(&control, &acl), [(100, false), (200, true)]);
        let absent = ReplaceNetworkAclEntry(entry(&acl, 300));
        refused(
            &mut control,
            absent,
            "InvalidNetworkAclEntry.NotFound",
            "300",
        );
        let delete = DeleteNetworkAclEntry {
            network_acl: acl.clone(),
            direction: Direction::Ingress,
            rule_number: 100,
        };
        control.execute(delete.clone()).unwrap();
        refused(
            &mut control,
            delete,
            "InvalidNetworkAclEntry.NotFound",
            "100",
        );
        assert_eq!(numbers(&control, &acl), [(200, true)]);
        assert_consistent(&control);
    }

    #[test]
    fn numbers_ports_and_counts_have_bounds() {
        let (mut control, _, acl) = lab();
        for number in [0, 32_767] {
            let request = CreateNetworkAclEntry(entry(&acl, number));
            refused(
                &mut control,
                request,
                "InvalidParameterValue",
                &number.to_string(),
            );
        }
        let backwards = AclEntry {
            ports: PortMatch::Range(443, 80),
            ..entry(&acl, 1)
        };
        let request = CreateNetworkAclEntry(backwards);
        refused(&mut control, request, "InvalidParameterValue", "443");
        control.quotas_mut().set(Quota::RulesPerNetworkAcl, 0);
        let request = CreateNetworkAclEntry(entry(&acl, 1));
        let code = "NetworkAclEntryLimitExceeded";
        refused(&mut control, request, code, "Rules per network ACL");
    }

    #[test]
    fn a_subnet_changes_its_acl_and_the_default_one_stays() {
        let (mut control, subnet, acl) = lab();
        let held = network_acl_association(control.model(), &subnet).unwrap();
        let default = control.model().get(&held).unwrap().network_acl.clone();
        let replace = ReplaceNetworkAclAssociation {
            association: held,
            network_acl: acl.clone(),
        };
        control.execute(replace).unwrap();
        let tables = control.tables().snapshot();
        let row = control.model().row(&subnet).unwrap();
        let in_force = tables.subnets.row(row).unwrap().network_acl;
        assert_eq!(control.model().row(&acl), Some(in_force.0));
        let delete = DeleteNetworkAcl { network_acl: acl };
        refused(&mut control, delete, "DependencyViolation", "aclassoc-");
        let delete = DeleteNetworkAcl {
            network_acl: default.clone(),
        };
        refused(
            &mut control,
            delete,
            "InvalidParameterValue",
            default.as_str(),
        );
        assert_consistent(&control);
    }
}
