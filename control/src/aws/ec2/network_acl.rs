//! Network ACLs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::PortMatch;

use super::permission::protocol_and_ports;
use super::shape::{Cidr, DONE, Done};
use crate::api::{self, AclEntry, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, each, naming, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{
    Direction, Model, NetworkAcl, NetworkAclAssociation, NetworkAclAssociationId, NetworkAclEntry,
    NetworkAclId, SubnetId, VpcId,
};

calls! {
    Read: DescribeNetworkAcls;
    Write: CreateNetworkAcl DeleteNetworkAcl CreateNetworkAclEntry ReplaceNetworkAclEntry
        DeleteNetworkAclEntry ReplaceNetworkAclAssociation;
}

/// The number of the entry that denies what no other allows.
const LAST: u32 = 32767;
/// The same of IPv6.
const LAST_IPV6: u32 = 32768;

/// `CreateNetworkAcl`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateNetworkAcl {
    vpc_id: VpcId,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// An ACL, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneAcl {
    network_acl: AclItem,
}

impl Call for CreateNetworkAcl {
    type Answer = OneAcl;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneAcl, ApiError> {
        let tags = tags::specified(&self.tag_specification, "network-acl")?;
        let id = at.run(api::CreateNetworkAcl {
            vpc: self.vpc_id,
            name: None,
        })?;
        tags::put(at, &id, tags);
        let acl = at.tx.require(&id)?;
        Ok(OneAcl {
            network_acl: AclItem::new(&acl, at.model()),
        })
    }
}

/// `DeleteNetworkAcl`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteNetworkAcl {
    network_acl_id: NetworkAclId,
}

impl Call for DeleteNetworkAcl {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DeleteNetworkAcl {
            network_acl: self.network_acl_id,
        })?;
        Ok(DONE)
    }
}

/// An entry of a request.
macro_rules! entry_calls {
    ($($name:ident)*) => {$(
        #[doc = concat!("`", stringify!($name), "`")]
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub struct $name {
            network_acl_id: NetworkAclId,
            egress: bool,
            rule_number: u32,
            protocol: String,
            rule_action: RuleAction,
            cidr_block: Option<Cidr>,
            ipv6_cidr_block: Option<Cidr>,
            port_range: Option<PortRange>,
            icmp: Option<IcmpTypeCode>,
        }

        impl Call for $name {
            type Answer = Done;

            fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
                let (protocol, ports) = protocol(&self.protocol, self.port_range, self.icmp)?;
                let cidr = match (self.cidr_block, self.ipv6_cidr_block) {
                    (Some(Cidr(block)), None) if block.is_ipv4() => block,
                    (None, Some(Cidr(block))) if !block.is_ipv4() => block,
                    (None, None) => return Err(ApiError::missing("cidrBlock")),
                    _ => {
                        return Err(ApiError::invalid_combination(
                            "An entry has one block: CidrBlock (IPv4) or Ipv6CidrBlock",
                        ));
                    }
                };
                at.run(api::$name(AclEntry {
                    network_acl: self.network_acl_id,
                    direction: direction(self.egress),
                    rule_number: number(self.rule_number)?,
                    allow: matches!(self.rule_action, RuleAction::Allow),
                    protocol,
                    ports,
                    cidr,
                }))?;
                Ok(DONE)
            }
        }
    )*};
}

entry_calls! { CreateNetworkAclEntry ReplaceNetworkAclEntry }

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum RuleAction {
    Allow,
    Deny,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct PortRange {
    #[serde(rename(deserialize = "From", serialize = "from"))]
    from: i32,
    #[serde(rename(deserialize = "To", serialize = "to"))]
    to: i32,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct IcmpTypeCode {
    #[serde(rename(deserialize = "Type", serialize = "type"))]
    kind: i32,
    #[serde(rename(deserialize = "Code", serialize = "code"))]
    code: i32,
}

fn direction(egress: bool) -> Direction {
    if egress {
        Direction::Egress
    } else {
        Direction::Ingress
    }
}

fn number(number: u32) -> Result<u16, ApiError> {
    u16::try_from(number).map_err(|_| {
        ApiError::invalid_value(format!("Rule number {number} is invalid: 1 to 32766"))
    })
}

/// Protocol and ports: TCP and UDP must name ports, ICMP its type and code.
fn protocol(
    protocol: &str,
    range: Option<PortRange>,
    icmp: Option<IcmpTypeCode>,
) -> Result<(Option<u8>, PortMatch), ApiError> {
    let (number, _) = protocol_and_ports(protocol, None, None)?;
    let given = match number {
        Some(6 | 17) => {
            let range = range.ok_or_else(|| ApiError::missing("portRange"))?;
            Some((range.from, range.to))
        }
        Some(1 | 58) => {
            let icmp = icmp.ok_or_else(|| ApiError::missing("icmpTypeCode"))?;
            Some((icmp.kind, icmp.code))
        }
        _ => None,
    };
    protocol_and_ports(protocol, given.map(|it| it.0), given.map(|it| it.1))
}

/// `DeleteNetworkAclEntry`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteNetworkAclEntry {
    network_acl_id: NetworkAclId,
    egress: bool,
    rule_number: u32,
}

impl Call for DeleteNetworkAclEntry {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DeleteNetworkAclEntry {
            network_acl: self.network_acl_id,
            direction: direction(self.egress),
            rule_number: number(self.rule_number)?,
        })?;
        Ok(DONE)
    }
}

/// `ReplaceNetworkAclAssociation`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReplaceNetworkAclAssociation {
    association_id: NetworkAclAssociationId,
    network_acl_id: NetworkAclId,
}

/// The association that took its place.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplacedAssociation {
    new_association_id: NetworkAclAssociationId,
}

impl Call for ReplaceNetworkAclAssociation {
    type Answer = ReplacedAssociation;

    fn call(self, at: &mut At<'_, '_>) -> Result<ReplacedAssociation, ApiError> {
        let new_association_id = at.run(api::ReplaceNetworkAclAssociation {
            association: self.association_id,
            network_acl: self.network_acl_id,
        })?;
        Ok(ReplacedAssociation { new_association_id })
    }
}

describe! {
    /// `DescribeNetworkAcls`
    DescribeNetworkAcls { network_acl_id: NetworkAclId }
}

/// `DescribeNetworkAcls`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Acls {
    network_acl_set: Vec<AclItem>,
    next_token: Option<String>,
}

impl Call for DescribeNetworkAcls {
    type Answer = Acls;

    fn call(self, at: &mut At<'_, '_>) -> Result<Acls, ApiError> {
        let page = self.wanted().select_by(at, FILTERS, find)?;
        let item = |acl: &Arc<NetworkAcl>| AclItem::new(acl, at.model());
        Ok(Acls {
            network_acl_set: page.items.iter().map(item).collect(),
            next_token: page.next_token,
        })
    }
}

/// Those of a VPC.
fn find(model: &Model, filter: &str, value: &str) -> Option<Vec<NetworkAclId>> {
    match filter {
        "vpc-id" => naming(model, &VpcId::from(value)),
        _ => None,
    }
}

const FILTERS: &[Known<NetworkAcl>] = &[
    ("network-acl-id", |acl, _| one(&acl.id)),
    ("vpc-id", |acl, _| one(&acl.vpc)),
    ("default", |acl, _| one(acl.is_default)),
    ("owner-id", |acl, _| one(&acl.meta.owner)),
    ("association.association-id", |acl, model| {
        each(
            associations(acl, model)
                .into_iter()
                .map(|it| it.network_acl_association_id),
        )
    }),
    ("association.network-acl-id", |acl, model| {
        each(
            associations(acl, model)
                .into_iter()
                .map(|it| it.network_acl_id),
        )
    }),
    ("association.subnet-id", |acl, model| {
        each(associations(acl, model).into_iter().map(|it| it.subnet_id))
    }),
    ("entry.cidr", |acl, _| {
        each(entries(acl).filter_map(|it| it.cidr_block))
    }),
    ("entry.ipv6-cidr", |acl, _| {
        each(entries(acl).filter_map(|it| it.ipv6_cidr_block))
    }),
    ("entry.rule-number", |acl, _| {
        each(entries(acl).map(|it| it.rule_number))
    }),
    ("entry.rule-action", |acl, _| {
        each(entries(acl).map(|it| it.rule_action))
    }),
    ("entry.protocol", |acl, _| {
        each(entries(acl).map(|it| it.protocol))
    }),
    ("entry.egress", |acl, _| {
        each(entries(acl).map(|it| it.egress))
    }),
];

/// An ACL in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AclItem {
    network_acl_id: NetworkAclId,
    vpc_id: VpcId,
    owner_id: Arc<str>,
    default: bool,
    entry_set: Vec<EntryItem>,
    association_set: Vec<AssociationItem>,
    tag_set: Vec<TagItem>,
}

impl AclItem {
    fn new(acl: &NetworkAcl, model: &Model) -> Self {
        Self {
            network_acl_id: acl.id.clone(),
            vpc_id: acl.vpc.clone(),
            owner_id: acl.meta.owner.clone(),
            default: acl.is_default,
            entry_set: entries(acl).collect(),
            association_set: associations(acl, model),
            tag_set: tags::items(&acl.meta.all_tags()),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AssociationItem {
    network_acl_association_id: NetworkAclAssociationId,
    network_acl_id: NetworkAclId,
    subnet_id: SubnetId,
}

fn associations(acl: &NetworkAcl, model: &Model) -> Vec<AssociationItem> {
    let item = |held: &Arc<NetworkAclAssociation>| AssociationItem {
        network_acl_association_id: held.id.clone(),
        network_acl_id: acl.id.clone(),
        subnet_id: held.subnet.clone(),
    };
    model.referrers(&acl.id).map(item).collect()
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryItem {
    egress: bool,
    rule_number: u32,
    protocol: String,
    rule_action: &'static str,
    cidr_block: Option<String>,
    ipv6_cidr_block: Option<String>,
    port_range: Option<PortRange>,
    icmp_type_code: Option<IcmpTypeCode>,
}

/// Both directions' entries, the last ones included, which nobody can change.
fn entries(acl: &NetworkAcl) -> impl Iterator<Item = EntryItem> {
    let one_way = |held: &BTreeMap<u16, NetworkAclEntry>, egress: bool| {
        let ipv6 = held.values().any(|entry| !entry.cidr.is_ipv4());
        let last = |rule_number, cidr| {
            let entry = NetworkAclEntry {
                allow: false,
                protocol: None,
                ports: PortMatch::Any,
                cidr,
            };
            EntryItem::new(rule_number, &entry, egress)
        };
        let mut items: Vec<EntryItem> = held
            .iter()
            .map(|(number, entry)| EntryItem::new((*number).into(), entry, egress))
            .collect();
        items.push(last(LAST, Prefix::ANY_V4));
        items.extend(ipv6.then(|| last(LAST_IPV6, Prefix::ANY_V6)));
        items
    };
    let mut all = one_way(&acl.egress, true);
    all.extend(one_way(&acl.ingress, false));
    all.into_iter()
}

impl EntryItem {
    fn new(rule_number: u32, entry: &NetworkAclEntry, egress: bool) -> Self {
        let block = entry.cidr.to_string();
        let ipv4 = entry.cidr.is_ipv4();
        let (port_range, icmp_type_code) = match (entry.ports, entry.protocol) {
            (PortMatch::Range(from, to), _) => (
                Some(PortRange {
                    from: from.into(),
                    to: to.into(),
                }),
                None,
            ),
            (PortMatch::Any, Some(6 | 17)) => (Some(PortRange { from: 0, to: 65535 }), None),
            (PortMatch::Icmp(kind, code), _) => (
                None,
                Some(IcmpTypeCode {
                    kind: kind.into(),
                    code: code.map_or(-1, i32::from),
                }),
            ),
            (PortMatch::Any, Some(1 | 58)) => (None, Some(IcmpTypeCode { kind: -1, code: -1 })),
            (PortMatch::Any, _) => (None, None),
        };
        Self {
            egress,
            rule_number,
            // Unlike a group's, an ACL's protocol is always a number.
            protocol: entry
                .protocol
                .map_or_else(|| "-1".to_owned(), |number| number.to_string()),
            rule_action: if entry.allow { "allow" } else { "deny" },
            cidr_block: ipv4.then(|| block.clone()),
            ipv6_cidr_block: (!ipv4).then_some(block),
            port_range,
            icmp_type_code,
        }
    }
}
