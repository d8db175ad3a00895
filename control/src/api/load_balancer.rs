//! Network and gateway load balancers (ELBv2).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use vpclab_dataplane::tables::LoadBalancerKind;

use super::address::Claims;
use super::target_group::validation;
use super::{Action, ApiError, RequesterManagedInterface, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// A subnet that gets a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubnetMapping {
    /// The subnet.
    pub subnet: SubnetId,
    /// The node's address; the lowest free one unless given.
    pub private_ipv4: Option<Ipv4Addr>,
}

impl From<SubnetId> for SubnetMapping {
    fn from(subnet: SubnetId) -> Self {
        Self {
            subnet,
            private_ipv4: None,
        }
    }
}

/// `CreateLoadBalancer`
#[derive(Clone, Debug)]
pub struct CreateLoadBalancer {
    /// Name, unique per account and region: at most 32 letters, digits, hyphens.
    pub name: String,
    /// `network` or `gateway`.
    pub kind: LoadBalancerKind,
    /// One subnet per zone, all of one VPC.
    pub subnets: Vec<SubnetMapping>,
    /// Network load balancers only, and only now: one made without groups
    /// never has any.
    pub security_groups: Vec<SecurityGroupId>,
    /// `IpAddressType` `dualstack`: nodes have an IPv6 address, too.
    pub dualstack: bool,
}

impl CreateLoadBalancer {
    /// A load balancer with a node in each of `subnets`, without groups.
    pub fn new(
        name: &str,
        kind: LoadBalancerKind,
        subnets: impl IntoIterator<Item = SubnetId>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            subnets: subnets.into_iter().map(Into::into).collect(),
            security_groups: Vec::new(),
            dualstack: false,
        }
    }
}

impl Action for CreateLoadBalancer {
    type Output = LoadBalancerArn;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<LoadBalancerArn, ApiError> {
        check_name(&self.name)?;
        let (vpc, subnets) = check_subnets(tx, &self.subnets)?;
        check_groups(tx, self.kind, &vpc, &self.security_groups)?;
        let meta = tx.meta(None);
        if let Some(known) = tx
            .model()
            .indexes()
            .alias(&load_balancer_alias(&meta, &self.name))
        {
            let known = LoadBalancerArn::from_text(known.text.clone());
            return self.same_again(tx, &known);
        }
        let (quota, kind) = match self.kind {
            LoadBalancerKind::Network => (Quota::NetworkLoadBalancersPerRegion, "net"),
            LoadBalancerKind::Gateway => (Quota::GatewayLoadBalancersPerRegion, "gwy"),
        };
        let all = tx.model().load_balancers().iter();
        let alike = all.filter(|lb| lb.kind == self.kind && lb.meta.scope() == meta.scope());
        let have = alike.count() as u64;
        tx.check_quota(quota, have, 1, "TooManyLoadBalancers")?;

        let path = format!("{kind}/{}/{:016x}", self.name, tx.mint_number());
        let id = LoadBalancerArn::from(format!(
            "arn:aws:elasticloadbalancing:{}:{}:loadbalancer/{path}",
            tx.caller().region,
            tx.caller().account
        ));
        let mut balancer = LoadBalancer {
            id: id.clone(),
            meta,
            name: Arc::from(self.name),
            kind: self.kind,
            vpc,
            nodes: Vec::new(),
            groups: self.security_groups,
            dualstack: self.dualstack,
            cross_zone: false,
            enforce_privatelink_groups: true,
            secondary_ips: 0,
            deletion_protected: false,
            kept: Tags::new(),
        };
        for (subnet, mapping) in subnets.iter().zip(&self.subnets) {
            let node = create_node(tx, &balancer, subnet, mapping)?;
            balancer.nodes.push(node);
        }
        tx.put(balancer);
        Ok(id)
    }
}

impl CreateLoadBalancer {
    /// The same request again answers with what it made the first time.
    fn same_again(
        &self,
        tx: &Transaction<'_>,
        known: &LoadBalancerArn,
    ) -> Result<LoadBalancerArn, ApiError> {
        let known = tx.require(known)?;
        let asked: BTreeSet<&SubnetId> = self.subnets.iter().map(|m| &m.subnet).collect();
        let has: BTreeSet<&SubnetId> = known.nodes.iter().map(|node| &node.subnet).collect();
        if known.kind == self.kind && asked == has && known.groups == self.security_groups {
            return Ok(known.id.clone());
        }
        Err(ApiError::new(
            "DuplicateLoadBalancerName",
            format!(
                "A load balancer with the name '{}' exists, but with different settings",
                self.name
            ),
        ))
    }
}

/// `SetSubnets`: nodes in new subnets are made, in others deleted.
#[derive(Clone, Debug, Default)]
pub struct SetSubnets {
    /// The load balancer.
    pub load_balancer_arn: LoadBalancerArn,
    /// One subnet per zone.
    pub subnets: Vec<SubnetMapping>,
}

impl Action for SetSubnets {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let mut balancer = (*tx.require(&self.load_balancer_arn)?).clone();
        let (vpc, subnets) = check_subnets(tx, &self.subnets)?;
        if vpc != balancer.vpc {
            return Err(invalid_configuration(format!(
                "The subnets are in {vpc}, the load balancer is in {}",
                balancer.vpc
            )));
        }
        let (kept, gone): (Vec<Node>, Vec<Node>) = balancer
            .nodes
            .iter()
            .cloned()
            .partition(|node| subnets.iter().any(|subnet| subnet.id == node.subnet));
        for node in &gone {
            tx.remove(&node.interface);
        }
        let mut nodes = Vec::new();
        for (subnet, mapping) in subnets.iter().zip(&self.subnets) {
            let known = kept.iter().find(|node| node.subnet == subnet.id).cloned();
            nodes.push(match known {
                Some(node) => node,
                None => create_node(tx, &balancer, subnet, mapping)?,
            });
        }
        balancer.nodes = nodes;
        tx.put(balancer);
        Ok(())
    }
}

/// `SetIpAddressType`
#[derive(Clone, Debug, Default)]
pub struct SetIpAddressType {
    /// A network or gateway load balancer.
    pub load_balancer_arn: LoadBalancerArn,
    /// Nodes get an IPv6 address, or lose theirs.
    pub dualstack: bool,
}

impl Action for SetIpAddressType {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let balancer = tx.require(&self.load_balancer_arn)?;
        for node in &balancer.nodes {
            let held = tx.model().get(&node.interface);
            let has = held.is_some_and(|eni| !eni.ipv6_addresses.is_empty());
            let mut addresses = Vec::new();
            if self.dualstack && has {
                continue;
            }
            if self.dualstack {
                let subnet = tx.require(&node.subnet)?;
                addresses.push(Claims::new(&subnet).next_ipv6(tx)?);
            }
            tx.update(&node.interface, |eni| eni.ipv6_addresses = addresses);
        }
        tx.update(&balancer.id, |balancer| balancer.dualstack = self.dualstack);
        Ok(())
    }
}

/// `SetSecurityGroups`
#[derive(Clone, Debug, Default)]
pub struct SetSecurityGroups {
    /// A network load balancer that was made with groups.
    pub load_balancer_arn: LoadBalancerArn,
    /// The groups from now on; at least one.
    pub security_groups: Vec<SecurityGroupId>,
    /// `EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic`
    pub enforce_on_privatelink: Option<bool>,
}

impl Action for SetSecurityGroups {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let mut balancer = (*tx.require(&self.load_balancer_arn)?).clone();
        if balancer.groups.is_empty() {
            return Err(invalid_configuration(format!(
                "You cannot set security groups on '{}': it was created without any",
                balancer.name
            )));
        }
        if self.security_groups.is_empty() {
            return Err(invalid_configuration(
                "At least one security group must be specified".to_owned(),
            ));
        }
        check_groups(tx, balancer.kind, &balancer.vpc, &self.security_groups)?;
        for node in &balancer.nodes {
            tx.update(&node.interface, |eni| {
                eni.groups.clone_from(&self.security_groups);
            });
        }
        balancer.groups = self.security_groups;
        if let Some(enforce) = self.enforce_on_privatelink {
            balancer.enforce_privatelink_groups = enforce;
        }
        tx.put(balancer);
        Ok(())
    }
}

/// `ModifyLoadBalancerAttributes`
#[derive(Clone, Debug, Default)]
pub struct ModifyLoadBalancerAttributes {
    /// The load balancer.
    pub load_balancer_arn: LoadBalancerArn,
    /// `load_balancing.cross_zone.enabled`
    pub cross_zone: Option<bool>,
    /// `secondary_ips.auto_assigned.per_subnet`, 0–7, never less than before (network
    /// load balancers only)
    pub secondary_ips: Option<u8>,
    /// `deletion_protection.enabled`
    pub deletion_protected: Option<bool>,
    /// Attributes that change no packet.
    pub kept: Tags,
}

impl Action for ModifyLoadBalancerAttributes {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let balancer = tx.require(&self.load_balancer_arn)?;
        if let Some(count) = self.secondary_ips {
            check_secondary_ips(&balancer, count)?;
            for node in &balancer.nodes {
                let subnet = tx.require(&node.subnet)?;
                add_secondary_ips(tx, &node.interface, &subnet, count)?;
            }
        }
        tx.update(&balancer.id, |balancer| {
            balancer.secondary_ips = self.secondary_ips.unwrap_or(balancer.secondary_ips);
            balancer.cross_zone = self.cross_zone.unwrap_or(balancer.cross_zone);
            let protected = self.deletion_protected;
            balancer.deletion_protected = protected.unwrap_or(balancer.deletion_protected);
            balancer.kept.extend(self.kept);
        });
        Ok(())
    }
}

/// `DeleteLoadBalancer`: takes its listeners and nodes with it. One that does
/// not exist is a success, as at AWS.
#[derive(Clone, Debug, Default)]
pub struct DeleteLoadBalancer {
    /// The load balancer.
    pub load_balancer_arn: LoadBalancerArn,
}

impl Action for DeleteLoadBalancer {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let balancer = match tx.require(&self.load_balancer_arn) {
            Ok(balancer) => balancer,
            Err(error) if error.code == LoadBalancerArn::NOT_FOUND => return Ok(()),
            Err(error) => return Err(error),
        };
        if balancer.deletion_protected {
            return Err(ApiError::new(
                "OperationNotPermitted",
                format!(
                    "Load balancer '{}' cannot be deleted because deletion protection is enabled",
                    balancer.id
                ),
            ));
        }
        if let Some(service) = tx.model().referrers::<EndpointService>(&balancer.id).next() {
            return Err(ApiError::new(
                "ResourceInUse",
                format!(
                    "Load balancer '{}' cannot be deleted because it is currently associated \
                     with another service: {}",
                    balancer.id, service.id
                ),
            ));
        }
        for listener in tx.referrers::<Listener>(&balancer.id) {
            tx.remove(&listener.id);
        }
        for node in &balancer.nodes {
            tx.remove(&node.interface);
        }
        tx.remove(&balancer.id);
        Ok(())
    }
}

fn create_node(
    tx: &mut Transaction<'_>,
    balancer: &LoadBalancer,
    subnet: &Subnet,
    mapping: &SubnetMapping,
) -> Result<Node, ApiError> {
    if balancer.kind == LoadBalancerKind::Gateway && mapping.private_ipv4.is_some() {
        return Err(invalid_configuration(
            "A private IPv4 address cannot be designated for a gateway load balancer".to_owned(),
        ));
    }
    let path = balancer.id.as_str().split_once("loadbalancer/");
    let interface = RequesterManagedInterface {
        description: format!("ELB {}", path.map_or("", |(_, path)| path)),
        groups: balancer.groups.clone(),
        private_ip_address: mapping.private_ipv4,
        ipv6: balancer.dualstack,
        deny_all_igw_traffic: true,
        ..RequesterManagedInterface::new(
            InterfaceKind::LoadBalancer(balancer.id.clone()),
            subnet.id.clone(),
        )
    };
    let interface = interface.apply(tx)?;
    add_secondary_ips(tx, &interface, subnet, balancer.secondary_ips)?;
    Ok(Node {
        subnet: subnet.id.clone(),
        interface,
        designated: mapping.private_ipv4.is_some(),
    })
}

/// Most private IPv4 addresses that a node has besides its first (NLB guide,
/// "Load balancer attributes").
const SECONDARY_IPS_MAX: u8 = 7;

fn check_secondary_ips(balancer: &LoadBalancer, count: u8) -> Result<(), ApiError> {
    const NAME: &str = "secondary_ips.auto_assigned.per_subnet";
    if balancer.kind != LoadBalancerKind::Network {
        return Err(invalid_configuration(format!(
            "Attribute key '{NAME}' is not recognized for a load balancer with the type gateway"
        )));
    }
    if count > SECONDARY_IPS_MAX {
        return Err(validation(format!(
            "{NAME} '{count}' must be between 0 and {SECONDARY_IPS_MAX}"
        )));
    }
    let has = balancer.secondary_ips;
    if count < has {
        return Err(invalid_configuration(format!(
            "{NAME} of '{}' cannot be decreased from {has} to {count}; make another load balancer",
            balancer.name
        )));
    }
    Ok(())
}

/// Gives a node addresses until it has `count` besides its first.
fn add_secondary_ips(
    tx: &mut Transaction<'_>,
    interface: &NetworkInterfaceId,
    subnet: &Subnet,
    count: u8,
) -> Result<(), ApiError> {
    let mut addresses = tx.require(interface)?.private_addresses.clone();
    let mut claims = Claims::new(subnet);
    while addresses.len() <= usize::from(count) {
        addresses.push(claims.next_ipv4(tx)?);
    }
    tx.update(interface, |eni| eni.private_addresses = addresses);
    Ok(())
}

/// The VPC and the subnets of a request, one per zone.
fn check_subnets(
    tx: &Transaction<'_>,
    mappings: &[SubnetMapping],
) -> Result<(VpcId, Vec<Arc<Subnet>>), ApiError> {
    let mut subnets: Vec<Arc<Subnet>> = Vec::new();
    for mapping in mappings {
        let subnet = tx.require(&mapping.subnet).map_err(|_| {
            ApiError::new(
                "SubnetNotFound",
                format!("The subnet ID '{}' does not exist", mapping.subnet),
            )
        })?;
        if let Some(other) = subnets.iter().find(|other| other.zone == subnet.zone) {
            return Err(invalid_configuration(format!(
                "A load balancer cannot be attached to multiple subnets in the same \
                 Availability Zone: {} and {} are in {}",
                other.id, subnet.id, subnet.zone
            )));
        }
        if let Some(other) = subnets.iter().find(|other| other.vpc != subnet.vpc) {
            return Err(invalid_configuration(format!(
                "All subnets must belong to the same VPC: {} is in {}, {} in {}",
                other.id, other.vpc, subnet.id, subnet.vpc
            )));
        }
        subnets.push(subnet);
    }
    match subnets.first() {
        Some(first) => Ok((first.vpc.clone(), subnets)),
        None => Err(ApiError::new(
            "ValidationError",
            "At least one subnet must be specified",
        )),
    }
}

fn check_groups(
    tx: &Transaction<'_>,
    kind: LoadBalancerKind,
    vpc: &VpcId,
    groups: &[SecurityGroupId],
) -> Result<(), ApiError> {
    if kind == LoadBalancerKind::Gateway && !groups.is_empty() {
        return Err(invalid_configuration(
            "Security groups are not supported for load balancers with type 'gateway'".to_owned(),
        ));
    }
    for id in groups {
        let found = tx.require(id).ok().filter(|group| group.vpc == *vpc);
        if found.is_none() {
            return Err(ApiError::new(
                "InvalidSecurityGroup",
                format!("The security group '{id}' does not exist in {vpc}"),
            ));
        }
    }
    let count = groups.len() as u64;
    tx.check_quota(
        Quota::SecurityGroupsPerInterface,
        0,
        count,
        "InvalidSecurityGroup",
    )
}

/// Load balancer and target group names follow one rule.
pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    let allowed = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let edges = name.starts_with('-') || name.ends_with('-');
    if allowed && !edges && (1..=32).contains(&name.len()) {
        return Ok(());
    }
    Err(ApiError::new(
        "ValidationError",
        format!(
            "The name '{name}' must have 1 to 32 letters, digits or hyphens and must not begin \
             or end with a hyphen"
        ),
    ))
}

pub(super) fn invalid_configuration(message: String) -> ApiError {
    ApiError::new("InvalidConfigurationRequest", message)
}

#[cfg(test)]
#[path = "load_balancer_tests.rs"]
mod tests;
