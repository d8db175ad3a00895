//! Security groups, and authorizing and revoking by permissions.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::permission::{GroupPeer, IpPermission, IpRange, PermissionItem, from_to, protocol_name};
use super::security_group_rule::RuleItem;
use super::shape::{DONE, Done};
use crate::api::{self, ApiError, Permission};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::Filter;
use crate::aws::select::{Known, Wanted, each, naming, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{Direction, Model, RulePeer, SecurityGroup, SecurityGroupId, VpcId};

calls! {
    Read: DescribeSecurityGroups;
    Write: CreateSecurityGroup DeleteSecurityGroup AuthorizeSecurityGroupIngress
        AuthorizeSecurityGroupEgress RevokeSecurityGroupIngress RevokeSecurityGroupEgress
        UpdateSecurityGroupRuleDescriptionsIngress UpdateSecurityGroupRuleDescriptionsEgress;
}

/// `CreateSecurityGroup`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateSecurityGroup {
    group_name: String,
    group_description: String,
    vpc_id: Option<VpcId>,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// A group, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedGroup {
    group_id: SecurityGroupId,
    security_group_arn: String,
    tag_set: Vec<TagItem>,
}

impl Call for CreateSecurityGroup {
    type Answer = CreatedGroup;

    fn call(self, at: &mut At<'_, '_>) -> Result<CreatedGroup, ApiError> {
        let tags = tags::specified(&self.tag_specification, "security-group")?;
        let vpc = self.vpc_id.or_else(|| api::default_vpc(at.tx));
        let vpc = vpc.ok_or_else(|| {
            let message = "No default VPC for this user: give VpcId";
            ApiError::new("VPCIdNotSpecified", message)
        })?;
        let id = at.run(api::CreateSecurityGroup {
            group_name: self.group_name,
            description: self.group_description,
            vpc,
            name: None,
        })?;
        tags::put(at, &id, tags);
        let group = at.tx.require(&id)?;
        Ok(CreatedGroup {
            security_group_arn: arn(&group),
            group_id: id,
            tag_set: tags::items(&group.meta.all_tags()),
        })
    }
}

/// `DeleteSecurityGroup`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteSecurityGroup {
    group_id: SecurityGroupId,
}

/// What is gone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedGroup {
    #[serde(rename = "return")]
    done: bool,
    group_id: SecurityGroupId,
}

impl Call for DeleteSecurityGroup {
    type Answer = DeletedGroup;

    fn call(self, at: &mut At<'_, '_>) -> Result<DeletedGroup, ApiError> {
        at.run(api::DeleteSecurityGroup {
            group: self.group_id.clone(),
        })?;
        Ok(DeletedGroup {
            done: true,
            group_id: self.group_id,
        })
    }
}

/// `DescribeSecurityGroups`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeSecurityGroups {
    group_id: Vec<SecurityGroupId>,
    group_name: Vec<String>,
    filter: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

/// `DescribeSecurityGroups`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Groups {
    security_group_info: Vec<GroupInfo>,
    next_token: Option<String>,
}

impl Call for DescribeSecurityGroups {
    type Answer = Groups;

    fn call(self, at: &mut At<'_, '_>) -> Result<Groups, ApiError> {
        let mut filters = self.filter;
        if !self.group_name.is_empty() {
            filters.push(Filter {
                name: "group-name".to_owned(),
                value: self.group_name,
            });
        }
        let wanted = Wanted {
            ids: self.group_id,
            filters,
            max_results: self.max_results,
            next_token: self.next_token,
        };
        let page = wanted.select_by(at, FILTERS, find)?;
        Ok(Groups {
            security_group_info: page
                .items
                .iter()
                .map(|group| GroupInfo::new(group, at.model()))
                .collect(),
            next_token: page.next_token,
        })
    }
}

/// Groups by VPC and by id.
fn find(model: &Model, filter: &str, value: &str) -> Option<Vec<SecurityGroupId>> {
    match filter {
        "group-id" => Some(vec![value.into()]),
        "vpc-id" => naming(model, &VpcId::from(value)),
        _ => None,
    }
}

/// The values of a group's rules of one direction.
fn of_rules(
    group: &SecurityGroup,
    direction: Direction,
    value: impl Fn(&crate::model::SecurityGroupRule) -> Option<String>,
) -> Vec<String> {
    let rules = group
        .rules
        .iter()
        .filter(|rule| rule.direction == direction);
    rules.filter_map(value).collect()
}

fn cidr(rule: &crate::model::SecurityGroupRule) -> Option<String> {
    match &rule.peer {
        RulePeer::Cidr(block) if block.is_ipv4() => Some(block.to_string()),
        _ => None,
    }
}

fn ipv6_cidr(rule: &crate::model::SecurityGroupRule) -> Option<String> {
    match &rule.peer {
        RulePeer::Cidr(block) if !block.is_ipv4() => Some(block.to_string()),
        _ => None,
    }
}

fn peer_group(rule: &crate::model::SecurityGroupRule) -> Option<String> {
    match &rule.peer {
        RulePeer::Group(id) => Some(id.to_string()),
        _ => None,
    }
}

fn peer_list(rule: &crate::model::SecurityGroupRule) -> Option<String> {
    match &rule.peer {
        RulePeer::PrefixList(id) => Some(id.to_string()),
        _ => None,
    }
}

const FILTERS: &[Known<SecurityGroup>] = &[
    ("group-id", |group, _| one(&group.id)),
    ("group-name", |group, _| one(&group.group_name)),
    ("description", |group, _| one(&group.description)),
    ("vpc-id", |group, _| one(&group.vpc)),
    ("owner-id", |group, _| one(&group.meta.owner)),
    ("ip-permission.cidr", |group, _| {
        of_rules(group, Direction::Ingress, cidr)
    }),
    ("ip-permission.ipv6-cidr", |group, _| {
        of_rules(group, Direction::Ingress, ipv6_cidr)
    }),
    ("ip-permission.group-id", |group, _| {
        of_rules(group, Direction::Ingress, peer_group)
    }),
    ("ip-permission.prefix-list-id", |group, _| {
        of_rules(group, Direction::Ingress, peer_list)
    }),
    ("ip-permission.protocol", |group, _| {
        of_rules(group, Direction::Ingress, |rule| {
            Some(protocol_name(rule.protocol))
        })
    }),
    ("ip-permission.from-port", |group, _| {
        of_rules(group, Direction::Ingress, |rule| {
            from_to(rule.protocol, rule.ports)
                .0
                .map(|port| port.to_string())
        })
    }),
    ("ip-permission.to-port", |group, _| {
        of_rules(group, Direction::Ingress, |rule| {
            from_to(rule.protocol, rule.ports)
                .1
                .map(|port| port.to_string())
        })
    }),
    ("egress.ip-permission.cidr", |group, _| {
        of_rules(group, Direction::Egress, cidr)
    }),
    ("egress.ip-permission.ipv6-cidr", |group, _| {
        of_rules(group, Direction::Egress, ipv6_cidr)
    }),
    ("egress.ip-permission.group-id", |group, _| {
        of_rules(group, Direction::Egress, peer_group)
    }),
    ("egress.ip-permission.protocol", |group, _| {
        of_rules(group, Direction::Egress, |rule| {
            Some(protocol_name(rule.protocol))
        })
    }),
    ("ip-permission.user-id", |group, _| {
        each(
            group
                .rules
                .iter()
                .filter_map(peer_group)
                .map(|_| &group.meta.owner),
        )
    }),
];

/// A group in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupInfo {
    group_id: SecurityGroupId,
    security_group_arn: String,
    group_name: Arc<str>,
    group_description: Arc<str>,
    vpc_id: VpcId,
    owner_id: Arc<str>,
    ip_permissions: Vec<PermissionItem>,
    ip_permissions_egress: Vec<PermissionItem>,
    tag_set: Vec<TagItem>,
}

impl GroupInfo {
    fn new(group: &SecurityGroup, model: &Model) -> Self {
        Self {
            group_id: group.id.clone(),
            security_group_arn: arn(group),
            group_name: group.group_name.clone(),
            group_description: group.description.clone(),
            vpc_id: group.vpc.clone(),
            owner_id: group.meta.owner.clone(),
            ip_permissions: PermissionItem::all(group, Direction::Ingress, model),
            ip_permissions_egress: PermissionItem::all(group, Direction::Egress, model),
            tag_set: tags::items(&group.meta.all_tags()),
        }
    }
}

fn arn(group: &SecurityGroup) -> String {
    let meta = &group.meta;
    format!(
        "arn:aws:ec2:{}:{}:security-group/{}",
        meta.region, meta.owner, group.id
    )
}

/// Which rules a request means: a list, or one rule in the old flat form.
#[derive(Debug, Default)]
struct Rules {
    ip_permissions: Vec<IpPermission>,
    ip_protocol: Option<String>,
    from_port: Option<i32>,
    to_port: Option<i32>,
    cidr_ip: Option<String>,
    source_group_name: Option<String>,
}

impl Rules {
    fn permissions(
        mut self,
        at: &At<'_, '_>,
        group: &SecurityGroup,
    ) -> Result<Vec<Permission>, ApiError> {
        if self.cidr_ip.is_some() || self.source_group_name.is_some() {
            let range = |cidr_ip| IpRange {
                cidr_ip,
                description: String::new(),
            };
            let peer = |name| GroupPeer {
                group_name: Some(name),
                ..GroupPeer::default()
            };
            let by_group = self.source_group_name.is_some();
            self.ip_permissions.push(IpPermission {
                // With a source group alone everything is allowed.
                ip_protocol: self.ip_protocol.or(by_group.then(|| "-1".to_owned())),
                from_port: self.from_port,
                to_port: self.to_port,
                ip_ranges: self.cidr_ip.map(range).into_iter().collect(),
                groups: self.source_group_name.map(peer).into_iter().collect(),
                ..IpPermission::default()
            });
        }
        let mut all = Vec::new();
        for permission in &self.ip_permissions {
            all.extend(permission.permissions(at, group)?);
        }
        Ok(all)
    }
}

/// Rules, allowed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorized {
    #[serde(rename = "return")]
    done: bool,
    security_group_rule_set: Vec<RuleItem>,
}

fn authorize(
    at: &mut At<'_, '_>,
    group: SecurityGroupId,
    direction: Direction,
    rules: Rules,
    specifications: &[TagSpecification],
) -> Result<Authorized, ApiError> {
    let tags = tags::specified(specifications, "security-group-rule")?;
    let held = at.tx.require(&group)?;
    let permissions = rules.permissions(at, &held)?;
    let ids = at.run(api::AuthorizeSecurityGroup {
        group: group.clone(),
        direction,
        permissions,
    })?;
    if !tags.is_empty() {
        at.run(api::CreateTags {
            resources: ids.iter().map(ToString::to_string).collect(),
            tags,
        })?;
    }
    let group = at.tx.require(&group)?;
    let made = group.rules.iter().filter(|rule| ids.contains(&rule.id));
    Ok(Authorized {
        done: true,
        security_group_rule_set: made
            .map(|rule| RuleItem::new(&group, rule, at.model()))
            .collect(),
    })
}

/// Rules, taken away.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    #[serde(rename = "return")]
    done: bool,
}

fn revoke(
    at: &mut At<'_, '_>,
    group: SecurityGroupId,
    direction: Direction,
    rules: Rules,
    rule_ids: Vec<Arc<str>>,
) -> Result<Revoked, ApiError> {
    let held = at.tx.require(&group)?;
    let permissions = rules.permissions(at, &held)?;
    if permissions.is_empty() && rule_ids.is_empty() {
        return Err(ApiError::missing("ipPermissions"));
    }
    at.run(api::RevokeSecurityGroup {
        group,
        direction,
        permissions,
        rule_ids,
    })?;
    Ok(Revoked { done: true })
}

/// The four calls that differ in direction and verb.
macro_rules! rule_calls {
    ($($authorize:ident $revoke:ident $describe:ident $direction:ident;)*) => {$(
        #[doc = concat!("`", stringify!($authorize), "`")]
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub struct $authorize {
            group_id: SecurityGroupId,
            #[serde(default)]
            ip_permissions: Vec<IpPermission>,
            ip_protocol: Option<String>,
            from_port: Option<i32>,
            to_port: Option<i32>,
            cidr_ip: Option<String>,
            source_security_group_name: Option<String>,
            #[serde(default)]
            tag_specification: Vec<TagSpecification>,
        }

        impl Call for $authorize {
            type Answer = Authorized;

            fn call(self, at: &mut At<'_, '_>) -> Result<Authorized, ApiError> {
                let rules = Rules {
                    ip_permissions: self.ip_permissions,
                    ip_protocol: self.ip_protocol,
                    from_port: self.from_port,
                    to_port: self.to_port,
                    cidr_ip: self.cidr_ip,
                    source_group_name: self.source_security_group_name,
                };
                let tags = &self.tag_specification;
                authorize(at, self.group_id, Direction::$direction, rules, tags)
            }
        }

        #[doc = concat!("`", stringify!($revoke), "`")]
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub struct $revoke {
            group_id: SecurityGroupId,
            #[serde(default)]
            ip_permissions: Vec<IpPermission>,
            #[serde(default)]
            security_group_rule_id: Vec<Arc<str>>,
            ip_protocol: Option<String>,
            from_port: Option<i32>,
            to_port: Option<i32>,
            cidr_ip: Option<String>,
            source_security_group_name: Option<String>,
        }

        impl Call for $revoke {
            type Answer = Revoked;

            fn call(self, at: &mut At<'_, '_>) -> Result<Revoked, ApiError> {
                let rules = Rules {
                    ip_permissions: self.ip_permissions,
                    ip_protocol: self.ip_protocol,
                    from_port: self.from_port,
                    to_port: self.to_port,
                    cidr_ip: self.cidr_ip,
                    source_group_name: self.source_security_group_name,
                };
                let ids = self.security_group_rule_id;
                revoke(at, self.group_id, Direction::$direction, rules, ids)
            }
        }

        #[doc = concat!("`", stringify!($describe), "`")]
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub struct $describe {
            group_id: SecurityGroupId,
            #[serde(default)]
            ip_permissions: Vec<IpPermission>,
            #[serde(default)]
            security_group_rule_description: Vec<RuleDescription>,
        }

        impl Call for $describe {
            type Answer = Done;

            fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
                let group = at.tx.require(&self.group_id)?;
                let rules = Rules {
                    ip_permissions: self.ip_permissions,
                    ..Rules::default()
                };
                let by_id = self.security_group_rule_description;
                let by_id = by_id.into_iter().map(|it| (it.security_group_rule_id, it.description));
                at.run(api::DescribeRules {
                    permissions: rules.permissions(at, &group)?,
                    by_id: by_id.collect(),
                    group: self.group_id,
                    direction: Direction::$direction,
                })?;
                Ok(DONE)
            }
        }
    )*};
}

rule_calls! {
    AuthorizeSecurityGroupIngress RevokeSecurityGroupIngress UpdateSecurityGroupRuleDescriptionsIngress Ingress;
    AuthorizeSecurityGroupEgress RevokeSecurityGroupEgress UpdateSecurityGroupRuleDescriptionsEgress Egress;
}

/// A rule's new description.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RuleDescription {
    security_group_rule_id: Arc<str>,
    #[serde(default)]
    description: String,
}
