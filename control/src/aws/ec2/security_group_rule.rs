//! Security-group rules one by one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::permission::{block, described, from_to, protocol_and_ports, protocol_name};
use super::shape::{DONE, Done};
use crate::api::{self, ApiError, Permission};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{self, Filter};
use crate::aws::tags::{self, TagItem};
use crate::model::{
    Direction, Id, Model, PrefixListId, RulePeer, SecurityGroup, SecurityGroupId,
    SecurityGroupRule, VpcId,
};

calls! {
    Read: DescribeSecurityGroupRules;
    Write: ModifySecurityGroupRules;
}

/// A rule in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleItem {
    security_group_rule_id: Arc<str>,
    security_group_rule_arn: String,
    group_id: SecurityGroupId,
    group_owner_id: Arc<str>,
    is_egress: bool,
    ip_protocol: String,
    from_port: i32,
    to_port: i32,
    cidr_ipv4: Option<String>,
    cidr_ipv6: Option<String>,
    prefix_list_id: Option<PrefixListId>,
    referenced_group_info: Option<ReferencedGroup>,
    description: Option<Arc<str>>,
    tag_set: Vec<TagItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferencedGroup {
    group_id: SecurityGroupId,
    user_id: Arc<str>,
    vpc_id: Option<VpcId>,
}

impl RuleItem {
    pub(super) fn new(group: &SecurityGroup, rule: &SecurityGroupRule, model: &Model) -> Self {
        let (from, to) = from_to(rule.protocol, rule.ports);
        let meta = &group.meta;
        let block = match &rule.peer {
            RulePeer::Cidr(block) => Some(*block),
            _ => None,
        };
        Self {
            security_group_rule_arn: format!(
                "arn:aws:ec2:{}:{}:security-group-rule/{}",
                meta.region, meta.owner, rule.id
            ),
            security_group_rule_id: rule.id.clone(),
            group_id: group.id.clone(),
            group_owner_id: meta.owner.clone(),
            is_egress: rule.direction == Direction::Egress,
            ip_protocol: protocol_name(rule.protocol),
            from_port: from.unwrap_or(-1),
            to_port: to.unwrap_or(-1),
            cidr_ipv4: block
                .filter(|block| block.is_ipv4())
                .map(|block| block.to_string()),
            cidr_ipv6: block
                .filter(|block| !block.is_ipv4())
                .map(|block| block.to_string()),
            prefix_list_id: match &rule.peer {
                RulePeer::PrefixList(id) => Some(id.clone()),
                _ => None,
            },
            referenced_group_info: match &rule.peer {
                RulePeer::Group(id) => Some(ReferencedGroup {
                    vpc_id: model.get(id).map(|group| group.vpc.clone()),
                    group_id: id.clone(),
                    user_id: meta.owner.clone(),
                }),
                _ => None,
            },
            description: described(rule),
            tag_set: tags::items(&rule.tags),
        }
    }
}

/// `DescribeSecurityGroupRules`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeSecurityGroupRules {
    security_group_rule_id: Vec<Arc<str>>,
    filter: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

/// `DescribeSecurityGroupRules`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleList {
    security_group_rule_set: Vec<RuleItem>,
    next_token: Option<String>,
}

impl Call for DescribeSecurityGroupRules {
    type Answer = RuleList;

    fn call(self, at: &mut At<'_, '_>) -> Result<RuleList, ApiError> {
        select::check(
            &self.filter,
            ["group-id", "security-group-rule-id"].into_iter(),
        )?;
        let model = at.model();
        for id in &self.security_group_rule_id {
            find(at, id)?;
        }
        let caller = at.caller();
        let own = |group: &&Arc<SecurityGroup>| {
            group.meta.owner == caller.account && group.meta.region == caller.region
        };
        let wanted = |id: &Arc<str>| {
            self.security_group_rule_id.is_empty() || self.security_group_rule_id.contains(id)
        };
        let fits = |group: &SecurityGroup, rule: &SecurityGroupRule| {
            self.filter.iter().all(|filter| {
                let one = std::slice::from_ref(filter);
                match filter.name.as_str() {
                    "group-id" => select::all_match(one, |_| Some(group.id.to_string())),
                    "security-group-rule-id" => {
                        select::all_match(one, |_| Some(rule.id.to_string()))
                    }
                    "tag-key" => rule
                        .tags
                        .keys()
                        .any(|key| select::all_match(one, |_| Some(key.to_string()))),
                    "tag-value" => rule
                        .tags
                        .values()
                        .any(|value| select::all_match(one, |_| Some(value.to_string()))),
                    name => {
                        let key = name.strip_prefix("tag:").unwrap_or_default();
                        let value = rule.tags.get(key).map(|value| value.to_string());
                        select::all_match(one, |_| value.clone())
                    }
                }
            })
        };
        let mut rules: Vec<_> = model
            .security_groups()
            .iter()
            .filter(own)
            .flat_map(|group| group.rules.iter().map(move |rule| (group, rule)))
            .filter(|(group, rule)| wanted(&rule.id) && fits(group, rule))
            .collect();
        rules.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
        let page = select::page(
            rules.into_iter(),
            |(_, rule)| rule.id.to_string(),
            self.max_results,
            self.next_token,
        )?;
        let items = page.items.into_iter();
        Ok(RuleList {
            security_group_rule_set: items
                .map(|(group, rule)| RuleItem::new(group, rule, model))
                .collect(),
            next_token: page.next_token,
        })
    }
}

/// The rule with this id, and its group.
fn find(at: &At<'_, '_>, id: &str) -> Result<(Arc<SecurityGroup>, SecurityGroupRule), ApiError> {
    let owner = at.model().indexes().alias(id);
    let group = owner.map(|owner| SecurityGroupId::from_text(owner.text.clone()));
    let group = group.and_then(|group| at.tx.require(&group).ok());
    let rule = group
        .as_ref()
        .and_then(|group| group.rules.iter().find(|rule| *rule.id == *id).cloned());
    group.zip(rule).ok_or_else(|| {
        ApiError::new(
            "InvalidSecurityGroupRuleId.NotFound",
            format!("The security group rule ID '{id}' does not exist"),
        )
    })
}

/// `ModifySecurityGroupRules`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifySecurityGroupRules {
    group_id: SecurityGroupId,
    security_group_rule: Vec<RuleUpdate>,
}

/// What a rule is to become.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RuleUpdate {
    security_group_rule_id: Arc<str>,
    security_group_rule: RuleRequest,
}

/// A rule's content.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RuleRequest {
    ip_protocol: Option<String>,
    from_port: Option<i32>,
    to_port: Option<i32>,
    cidr_ipv4: Option<String>,
    cidr_ipv6: Option<String>,
    prefix_list_id: Option<PrefixListId>,
    referenced_group_id: Option<SecurityGroupId>,
    description: Option<String>,
}

impl Call for ModifySecurityGroupRules {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let mut rules = Vec::new();
        for update in self.security_group_rule {
            let request = update.security_group_rule;
            let protocol = request.ip_protocol.as_deref();
            let protocol = protocol.ok_or_else(|| ApiError::missing("ipProtocol"))?;
            let (protocol, ports) =
                protocol_and_ports(protocol, request.from_port, request.to_port)?;
            let mut peers = Vec::new();
            if let Some(text) = &request.cidr_ipv4 {
                peers.push(RulePeer::Cidr(block(text, true)?));
            }
            if let Some(text) = &request.cidr_ipv6 {
                peers.push(RulePeer::Cidr(block(text, false)?));
            }
            peers.extend(request.prefix_list_id.map(RulePeer::PrefixList));
            peers.extend(request.referenced_group_id.map(RulePeer::Group));
            let (Some(peer), None) = (peers.pop(), peers.pop()) else {
                return Err(ApiError::invalid_combination(
                    "A rule has one peer: CidrIpv4, CidrIpv6, PrefixListId or ReferencedGroupId",
                ));
            };
            let permission = Permission {
                protocol,
                ports,
                peer,
                description: request.description.unwrap_or_default(),
            };
            rules.push((update.security_group_rule_id, permission));
        }
        at.run(api::ModifySecurityGroupRules {
            group: self.group_id,
            rules,
        })?;
        Ok(DONE)
    }
}
