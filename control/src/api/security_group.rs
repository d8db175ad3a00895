//! Security groups and their rules.

use std::sync::Arc;

use vpclab_dataplane::tables::PortMatch;

use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// `CreateSecurityGroup`: no inbound rule, all outbound allowed.
#[derive(Clone, Debug, Default)]
pub struct CreateSecurityGroup {
    /// Unique in the VPC.
    pub group_name: String,
    /// Free text.
    pub description: String,
    /// Its VPC.
    pub vpc: VpcId,
    /// `Name` tag.
    pub name: Option<String>,
}

impl Action for CreateSecurityGroup {
    type Output = SecurityGroupId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<SecurityGroupId, ApiError> {
        let vpc = tx.require(&self.vpc)?;
        let name = &self.group_name;
        if name.is_empty() {
            return Err(ApiError::missing("groupName"));
        }
        if name == "default" || name.starts_with("sg-") || name.len() > 255 {
            return Err(ApiError::invalid_value(format!(
                "Cannot use '{name}' as security group name: 'default' and names that start with \
                 'sg-' are reserved, and 255 characters are the most"
            )));
        }
        let groups = tx.referrers::<SecurityGroup>(&vpc.id);
        if groups.iter().any(|group| *group.group_name == **name) {
            return Err(ApiError::new(
                "InvalidGroup.Duplicate",
                format!(
                    "The security group '{name}' already exists for VPC '{}'",
                    vpc.id
                ),
            ));
        }
        let have = tx.model().count::<SecurityGroup>(&tx.scope());
        let quota = Quota::SecurityGroupsPerRegion;
        tx.check_quota(quota, have, 1, "SecurityGroupLimitExceeded")?;
        let id: SecurityGroupId = tx.mint();
        let rules = allow_all_egress(tx, !vpc.ipv6_cidrs.is_empty());
        tx.put(SecurityGroup {
            id: id.clone(),
            meta: tx.meta(self.name.as_deref()),
            group_name: Arc::from(self.group_name),
            description: Arc::from(self.description),
            vpc: vpc.id.clone(),
            is_default: false,
            rules,
        });
        Ok(id)
    }
}

/// The outbound rules of a new group.
pub(super) fn allow_all_egress(tx: &mut Transaction<'_>, ipv6: bool) -> Vec<SecurityGroupRule> {
    use vpclab_dataplane::addr::Prefix;
    let blocks = [Some(Prefix::ANY_V4), ipv6.then_some(Prefix::ANY_V6)];
    let rule = |block| {
        let id = tx.mint_text("sgr-");
        SecurityGroupRule::all(id, Direction::Egress, RulePeer::Cidr(block))
    };
    blocks.into_iter().flatten().map(rule).collect()
}

/// `DeleteSecurityGroup`: one that no interface and no rule of another group
/// names, and not the default one.
#[derive(Clone, Debug, Default)]
pub struct DeleteSecurityGroup {
    /// The group.
    pub group: SecurityGroupId,
}

impl Action for DeleteSecurityGroup {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let group = tx.require(&self.group)?;
        if group.is_default {
            return Err(ApiError::new(
                "CannotDelete",
                format!(
                    "the specified group: \"{}\" name: \"default\" cannot be deleted by a user",
                    group.id
                ),
            ));
        }
        tx.refuse_if_used::<NetworkInterface>(&group.id)?;
        // A peer's rule does not hold it: it becomes stale (PE:vpc-peering-security-groups).
        let users = tx.referrers::<SecurityGroup>(&group.id);
        if let Some(user) = users.iter().find(|user| user.vpc == group.vpc) {
            return Err(ApiError::dependency(&group.id, &user.id));
        }
        tx.refuse_if_used::<LoadBalancer>(&group.id)?;
        tx.refuse_if_used::<VpcEndpoint>(&group.id)?;
        tx.remove(&group.id);
        Ok(())
    }
}

/// What a rule allows, in requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// IP protocol; `None` is all.
    pub protocol: Option<u8>,
    /// Ports or ICMP types.
    pub ports: PortMatch,
    /// Source or destination.
    pub peer: RulePeer,
    /// Free text.
    pub description: String,
}

impl Permission {
    /// Every protocol and port.
    pub fn all(peer: RulePeer) -> Self {
        Self {
            protocol: None,
            ports: PortMatch::Any,
            peer,
            description: String::new(),
        }
    }

    /// One TCP port.
    pub fn tcp(port: u16, peer: RulePeer) -> Self {
        Self {
            protocol: Some(6),
            ports: PortMatch::Range(port, port),
            ..Self::all(peer)
        }
    }

    /// One UDP port.
    pub fn udp(port: u16, peer: RulePeer) -> Self {
        Self {
            protocol: Some(17),
            ports: PortMatch::Range(port, port),
            ..Self::all(peer)
        }
    }

    fn into_rule(self, id: Arc<str>, direction: Direction) -> SecurityGroupRule {
        SecurityGroupRule {
            id,
            direction,
            protocol: self.protocol,
            ports: self.ports,
            peer: self.peer,
            description: Arc::from(self.description),
            tags: Tags::new(),
        }
    }
}

/// `AuthorizeSecurityGroupIngress` and `…Egress`
#[derive(Clone, Debug, Default)]
pub struct AuthorizeSecurityGroup {
    /// The group.
    pub group: SecurityGroupId,
    /// Which way.
    pub direction: Direction,
    /// What to allow.
    pub permissions: Vec<Permission>,
}

impl Action for AuthorizeSecurityGroup {
    /// The new rules' ids, in the order of the request.
    type Output = Vec<Arc<str>>;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Vec<Arc<str>>, ApiError> {
        let group = tx.require(&self.group)?;
        if self.permissions.is_empty() {
            return Err(ApiError::missing("ipPermissions"));
        }
        let mut changed = SecurityGroup::clone(&group);
        let mut ids = Vec::new();
        for permission in self.permissions {
            check_ports(permission.protocol, permission.ports)?;
            if let RulePeer::PrefixList(id) = &permission.peer {
                super::gateway_endpoint::ensure_named(tx, id);
            }
            check_peer(tx, &group, &permission.peer)?;
            let rule = permission.into_rule(tx.mint_text("sgr-"), self.direction);
            if let Some(same) = changed.rules.iter().find(|held| held.is_same(&rule)) {
                return Err(duplicate(&rule, same));
            }
            ids.push(rule.id.clone());
            changed.rules.push(rule);
        }
        check_rule_quota(tx, &changed)?;
        tx.put(changed);
        Ok(ids)
    }
}

/// `RevokeSecurityGroupIngress` and `…Egress`: by content, by id, or both.
#[derive(Clone, Debug, Default)]
pub struct RevokeSecurityGroup {
    /// The group.
    pub group: SecurityGroupId,
    /// Which way.
    pub direction: Direction,
    /// Rules that allow exactly this.
    pub permissions: Vec<Permission>,
    /// Rules by id.
    pub rule_ids: Vec<Arc<str>>,
}

impl Action for RevokeSecurityGroup {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let group = tx.require(&self.group)?;
        let mut changed = SecurityGroup::clone(&group);
        for id in &self.rule_ids {
            let before = changed.rules.len();
            changed
                .rules
                .retain(|rule| rule.id != *id || rule.direction != self.direction);
            if changed.rules.len() == before {
                return Err(ApiError::new(
                    "InvalidSecurityGroupRuleId.NotFound",
                    format!(
                        "The security group rule ID '{id}' does not exist in {}",
                        group.id
                    ),
                ));
            }
        }
        for permission in self.permissions {
            let wanted = permission.into_rule(Arc::default(), self.direction);
            let before = changed.rules.len();
            changed.rules.retain(|rule| !rule.is_same(&wanted));
            if changed.rules.len() == before {
                return Err(no_such_rule(&wanted, &group));
            }
        }
        tx.put(changed);
        Ok(())
    }
}

/// `ModifySecurityGroupRules`: other content for rules that exist.
#[derive(Clone, Debug, Default)]
pub struct ModifySecurityGroupRules {
    /// The group.
    pub group: SecurityGroupId,
    /// Rules by id, and what they allow from now on.
    pub rules: Vec<(Arc<str>, Permission)>,
}

impl Action for ModifySecurityGroupRules {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let group = tx.require(&self.group)?;
        let mut changed = SecurityGroup::clone(&group);
        for (id, permission) in self.rules {
            check_ports(permission.protocol, permission.ports)?;
            check_peer(tx, &group, &permission.peer)?;
            let at = rule_position(&changed, &id)?;
            let old = &changed.rules[at];
            let mut rule = permission.into_rule(id, old.direction);
            rule.tags = old.tags.clone();
            let mut others = changed.rules.iter().filter(|held| held.id != rule.id);
            if let Some(same) = others.find(|held| held.is_same(&rule)) {
                return Err(duplicate(&rule, same));
            }
            changed.rules[at] = rule;
        }
        check_rule_quota(tx, &changed)?;
        tx.put(changed);
        Ok(())
    }
}

/// `UpdateSecurityGroupRuleDescriptionsIngress` and `…Egress`
#[derive(Clone, Debug, Default)]
pub struct DescribeRules {
    /// The group.
    pub group: SecurityGroupId,
    /// Which way.
    pub direction: Direction,
    /// Rules by content, with their new description.
    pub permissions: Vec<Permission>,
    /// Rules by id, with theirs.
    pub by_id: Vec<(Arc<str>, String)>,
}

impl Action for DescribeRules {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let group = tx.require(&self.group)?;
        let mut changed = SecurityGroup::clone(&group);
        for (id, description) in self.by_id {
            let at = rule_position(&changed, &id)?;
            changed.rules[at].description = Arc::from(description);
        }
        for permission in self.permissions {
            let wanted = permission.into_rule(Arc::default(), self.direction);
            let Some(held) = changed.rules.iter_mut().find(|rule| rule.is_same(&wanted)) else {
                return Err(no_such_rule(&wanted, &group));
            };
            held.description = wanted.description;
        }
        tx.put(changed);
        Ok(())
    }
}

fn rule_position(group: &SecurityGroup, id: &str) -> Result<usize, ApiError> {
    let found = group.rules.iter().position(|rule| *rule.id == *id);
    found.ok_or_else(|| {
        ApiError::new(
            "InvalidSecurityGroupRuleId.NotFound",
            format!(
                "The security group rule ID '{id}' does not exist in {}",
                group.id
            ),
        )
    })
}

fn duplicate(rule: &SecurityGroupRule, same: &SecurityGroupRule) -> ApiError {
    ApiError::new(
        "InvalidPermission.Duplicate",
        format!(
            "the specified rule \"{}\" already exists: {}",
            shown(rule),
            same.id
        ),
    )
}

fn no_such_rule(wanted: &SecurityGroupRule, group: &SecurityGroup) -> ApiError {
    ApiError::new(
        "InvalidPermission.NotFound",
        format!(
            "The specified rule \"{}\" does not exist in {}",
            shown(wanted),
            group.id
        ),
    )
}

/// Whether the ports make sense for the protocol.
pub(super) fn check_ports(protocol: Option<u8>, ports: PortMatch) -> Result<(), ApiError> {
    const ICMP: u8 = 1;
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const ICMPV6: u8 = 58;
    let fits = match ports {
        PortMatch::Any => true,
        PortMatch::Range(from, to) => {
            if from > to {
                return Err(ApiError::invalid_value(format!(
                    "Invalid port range ({from}-{to}): the first port is above the last"
                )));
            }
            matches!(protocol, Some(TCP | UDP))
        }
        PortMatch::Icmp(..) => matches!(protocol, Some(ICMP | ICMPV6)),
    };
    if fits {
        return Ok(());
    }
    let protocol = protocol.map_or_else(|| "all".to_owned(), |number| number.to_string());
    Err(ApiError::invalid_combination(format!(
        "{ports:?} cannot be given with protocol {protocol}: ports are for 6 (TCP) and 17 (UDP), \
         types for 1 (ICMP) and 58 (ICMPv6)"
    )))
}

fn check_peer(
    tx: &Transaction<'_>,
    group: &SecurityGroup,
    peer: &RulePeer,
) -> Result<(), ApiError> {
    match peer {
        RulePeer::Cidr(_) => Ok(()),
        RulePeer::PrefixList(id) => super::gateway_endpoint::require_list(tx, id).map(drop),
        RulePeer::Group(id) => {
            let other = tx.require_any_owner(id)?;
            if other.vpc == group.vpc || is_peers(tx, group, &other) {
                return Ok(());
            }
            tx.require(id)?;
            Err(ApiError::new(
                "InvalidGroup.NotFound",
                format!(
                    "You have specified two resources that belong to different networks: {} ({}) \
                     and {id} ({})",
                    group.id, group.vpc, other.vpc
                ),
            ))
        }
    }
}

/// Whether the other group is one of a peer in the same region
/// (PE:vpc-peering-security-groups).
fn is_peers(tx: &Transaction<'_>, group: &SecurityGroup, other: &SecurityGroup) -> bool {
    let mut all = tx.model().referrers::<VpcPeeringConnection>(&group.vpc);
    all.any(|held| {
        let active = held.state == PeeringState::Active && !held.is_cross_region();
        active && held.joins(&group.vpc, &other.vpc)
    })
}

/// Rules count per direction and family; a prefix list by its maximum, a group
/// in both families.
pub(super) fn check_rule_quota(
    tx: &Transaction<'_>,
    group: &SecurityGroup,
) -> Result<(), ApiError> {
    for direction in [Direction::Ingress, Direction::Egress] {
        for ipv4 in [true, false] {
            let rules = group
                .rules
                .iter()
                .filter(|rule| rule.direction == direction);
            let count: u64 = rules.map(|rule| weight(tx.model(), rule, ipv4)).sum();
            let code = "RulesPerSecurityGroupLimitExceeded";
            tx.check_quota(Quota::RulesPerSecurityGroup, 0, count, code)?;
        }
    }
    Ok(())
}

fn weight(model: &Model, rule: &SecurityGroupRule, ipv4: bool) -> u64 {
    match &rule.peer {
        RulePeer::Cidr(block) => u64::from(block.is_ipv4() == ipv4),
        RulePeer::Group(_) => 1,
        RulePeer::PrefixList(id) => model
            .get(id)
            .filter(|list| (list.family == AddressFamily::Ipv4) == ipv4)
            .map_or(0, |list| u64::from(list.max_entries)),
    }
}

fn shown(rule: &SecurityGroupRule) -> String {
    let peer = match &rule.peer {
        RulePeer::Cidr(block) => block.to_string(),
        RulePeer::PrefixList(id) => id.to_string(),
        RulePeer::Group(id) => id.to_string(),
    };
    let protocol = rule
        .protocol
        .map_or_else(|| "all".to_owned(), |number| number.to_string());
    format!(
        "peer: {peer}, protocol: {protocol}, {:?}, ALLOW",
        rule.ports
    )
}

#[cfg(test)]
#[path = "security_group_tests.rs"]
mod tests;
