//! Rows of what filters: security groups, network ACLs, prefix lists.

use std::collections::BTreeMap;
use std::sync::Arc;

use vpclab_dataplane::tables::{
    self, NetworkAclRow, NetworkAclRule, PrefixListRow, SecurityGroupRow,
};

use crate::model::*;

pub(super) fn prefix_list(model: &Model, text: &Arc<str>) -> Option<PrefixListRow> {
    let list = model.get(&PrefixListId::from_text(text.clone()))?;
    Some(PrefixListRow {
        label: text.clone(),
        entries: list.entries.keys().copied().collect(),
    })
}

pub(super) fn security_group(model: &Model, text: &Arc<str>) -> Option<SecurityGroupRow> {
    let group = model.get(&SecurityGroupId::from_text(text.clone()))?;
    let rules = |direction| {
        let rules = group.rules.iter();
        rules
            .filter(move |rule| rule.direction == direction)
            .filter_map(|rule| group_rule(model, &group.vpc, rule))
            .collect()
    };
    Some(SecurityGroupRow {
        label: text.clone(),
        ingress: rules(Direction::Ingress),
        egress: rules(Direction::Egress),
    })
}

/// A rule whose group or list does not exist allows nothing. The actions keep such
/// rules from arising, but for stale ones: those that name a group of a VPC that
/// was a peer.
fn group_rule(
    model: &Model,
    vpc: &VpcId,
    rule: &SecurityGroupRule,
) -> Option<tables::SecurityGroupRule> {
    let peer = match &rule.peer {
        RulePeer::Cidr(block) => tables::Peer::Cidr(*block),
        RulePeer::PrefixList(id) => tables::Peer::PrefixList(model.row(id)?.into()),
        RulePeer::Group(id) => {
            let other = &model.get(id)?.vpc;
            if other != vpc && !super::peering::are_peered(model, vpc, other) {
                return None;
            }
            tables::Peer::Group(model.row(id)?.into())
        }
    };
    Some(tables::SecurityGroupRule {
        label: rule.id.clone(),
        protocol: rule.protocol,
        ports: rule.ports,
        peer,
    })
}

pub(super) fn network_acl(model: &Model, text: &Arc<str>) -> Option<NetworkAclRow> {
    let acl = model.get(&NetworkAclId::from_text(text.clone()))?;
    Some(NetworkAclRow {
        label: text.clone(),
        ingress: acl_rules(&acl.ingress),
        egress: acl_rules(&acl.egress),
    })
}

fn acl_rules(entries: &BTreeMap<u16, NetworkAclEntry>) -> Vec<NetworkAclRule> {
    let rule = |(&number, entry): (&u16, &NetworkAclEntry)| NetworkAclRule {
        number,
        allow: entry.allow,
        protocol: entry.protocol,
        ports: entry.ports,
        cidr: entry.cidr,
    };
    entries.iter().map(rule).collect()
}
