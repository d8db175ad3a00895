//! Attributes of load balancers, target groups and listeners.
//!
//! Three kinds: those that vpclab acts on, those that change no packet (kept and
//! given back), and those that would change packets in a way that is not emulated:
//! these can be set to what vpclab does, and to nothing else.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::tables::{Failover, LoadBalancerKind, Stickiness};

use super::shape::{Pair, invalid, unsupported};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::model::{
    LbProtocol, Listener, ListenerArn, LoadBalancer, LoadBalancerArn, Tags, TargetGroup,
    TargetGroupArn,
};

calls! {
    Read: DescribeLoadBalancerAttributes DescribeTargetGroupAttributes DescribeListenerAttributes;
    Write: ModifyLoadBalancerAttributes ModifyTargetGroupAttributes ModifyListenerAttributes;
}

/// An attribute that vpclab does not act on.
#[derive(Clone, Copy)]
enum Rule {
    /// It changes no packet: its value until it is set, and the values that it
    /// may have (any if there is none).
    Kept(&'static str, &'static [&'static str]),
    /// It would change packets: what vpclab does.
    Fixed(&'static str),
}
use Rule::{Fixed, Kept};

type Rules = &'static [(&'static str, Rule)];

const SWITCH: &[&str] = &["true", "false"];

const DELETION_PROTECTION: &str = "deletion_protection.enabled";
const SECONDARY_IPS: &str = "secondary_ips.auto_assigned.per_subnet";
const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
const NETWORK_LOAD_BALANCER: Rules = &[
    ("access_logs.s3.enabled", Kept("false", SWITCH)),
    ("access_logs.s3.bucket", Kept("", &[])),
    ("access_logs.s3.prefix", Kept("", &[])),
    (
        "dns_record.client_routing_policy",
        Kept(
            "any_availability_zone",
            &[
                "any_availability_zone",
                "availability_zone_affinity",
                "partial_availability_zone_affinity",
            ],
        ),
    ),
    ("ipv6.deny_all_igw_traffic", Fixed("true")),
    ("zonal_shift.config.enabled", Kept("false", SWITCH)),
];

const DEREGISTRATION_DELAY: &str = "deregistration_delay.timeout_seconds";
const RESET_ON_UNHEALTHY: &str = "target_health_state.unhealthy.connection_termination.enabled";
const STICKINESS: &str = "stickiness.enabled";
const STICKINESS_TYPE: &str = "stickiness.type";
const FAILOVER_DEREGISTERED: &str = "target_failover.on_deregistration";
const FAILOVER_UNHEALTHY: &str = "target_failover.on_unhealthy";
const PROXY_PROTOCOL: &str = "proxy_protocol_v2.enabled";
const PRESERVE_CLIENT_IP: &str = "preserve_client_ip.enabled";
const RESET_ON_DEREGISTRATION: &str = "deregistration_delay.connection_termination.enabled";
const GATEWAY_RESET_ON_UNHEALTHY: &str = "send_tcp_reset.on_unhealthy.enabled";
const GATEWAY_RESET_ON_DEREGISTRATION: &str = "send_tcp_reset.on_deregistration.enabled";
const RESET_ON_IDLE: &str = "send_tcp_reset.on_idle_timeout.enabled";
const NETWORK_TARGET_GROUP: Rules = &[
    (CROSS_ZONE, Fixed("use_load_balancer_configuration")),
    (STICKINESS, Fixed("false")),
    (STICKINESS_TYPE, Fixed("source_ip")),
    (
        "target_group_health.dns_failover.minimum_healthy_targets.count",
        Kept("1", &[]),
    ),
    (
        "target_group_health.dns_failover.minimum_healthy_targets.percentage",
        Kept("off", &[]),
    ),
    (
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
        Fixed("1"),
    ),
    (
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        Fixed("off"),
    ),
    (
        "target_health_state.unhealthy.draining_interval_seconds",
        Fixed("0"),
    ),
];
const TWO_TUPLE: &str = "source_ip_dest_ip";
const THREE_TUPLE: &str = "source_ip_dest_ip_proto";
const GATEWAY_TARGET_GROUP: Rules = &[(
    STICKINESS_TYPE,
    Kept(THREE_TUPLE, &[THREE_TUPLE, TWO_TUPLE]),
)];

const TCP_IDLE: &str = "tcp.idle_timeout.seconds";

/// Attributes in an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attributes {
    attributes: Vec<Pair>,
}

impl Attributes {
    /// `own`, and what `rules` and `kept` say.
    fn new(mut own: Vec<Pair>, rules: Rules, kept: &Tags) -> Self {
        own.extend(rules.iter().map(|&(key, rule)| match rule {
            Kept(unset, _) => Pair::new(key, kept.get(key).map_or(unset, |value| value)),
            Fixed(value) => Pair::new(key, value),
        }));
        own.sort_by(|a, b| a.key.cmp(&b.key));
        Self { attributes: own }
    }
}

/// Sets an attribute that vpclab does not act on.
fn keep(pair: &Pair, rules: Rules, kept: &mut Tags) -> Result<(), ApiError> {
    let Pair { key, value } = pair;
    let rule = rules.iter().find(|(known, _)| known == key);
    match rule.map(|(_, rule)| *rule) {
        None => Err(invalid(format!("Attribute key '{key}' is not recognized"))),
        Some(Kept(_, values)) if values.is_empty() || values.contains(&&**value) => {
            kept.insert(Arc::from(&**key), Arc::from(&**value));
            Ok(())
        }
        Some(Kept(_, values)) => Err(invalid(format!(
            "Value '{value}' of attribute '{key}' is none of {}",
            values.join(", ")
        ))),
        Some(Fixed(only)) if only == value => Ok(()),
        Some(Fixed(only)) => Err(unsupported(format!(
            "Attribute '{key}' is not emulated with the value '{value}'; it is '{only}'"
        ))),
    }
}

/// A value of an attribute that vpclab acts on.
fn value<T: std::str::FromStr>(pair: &Pair) -> Result<Option<T>, ApiError> {
    pair.value.parse().map(Some).map_err(|_| {
        invalid(format!(
            "Value '{}' of attribute '{}' is not valid",
            pair.value, pair.key
        ))
    })
}

/// `DescribeLoadBalancerAttributes`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeLoadBalancerAttributes {
    load_balancer_arn: LoadBalancerArn,
}

impl Call for DescribeLoadBalancerAttributes {
    type Answer = Attributes;

    fn call(self, at: &mut At<'_, '_>) -> Result<Attributes, ApiError> {
        Ok(of_load_balancer(&*at.tx.require(&self.load_balancer_arn)?))
    }
}

/// `ModifyLoadBalancerAttributes`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyLoadBalancerAttributes {
    load_balancer_arn: LoadBalancerArn,
    attributes: Vec<Pair>,
}

impl Call for ModifyLoadBalancerAttributes {
    type Answer = Attributes;

    fn call(self, at: &mut At<'_, '_>) -> Result<Attributes, ApiError> {
        let balancer = at.tx.require(&self.load_balancer_arn)?;
        let network = balancer.kind == LoadBalancerKind::Network;
        let mut change = api::ModifyLoadBalancerAttributes {
            load_balancer_arn: self.load_balancer_arn.clone(),
            ..Default::default()
        };
        for pair in &self.attributes {
            match &*pair.key {
                CROSS_ZONE => change.cross_zone = value(pair)?,
                DELETION_PROTECTION => change.deletion_protected = value(pair)?,
                SECONDARY_IPS if network => change.secondary_ips = value(pair)?,
                _ => keep(pair, load_balancer_rules(&balancer), &mut change.kept)?,
            }
        }
        at.run(change)?;
        Ok(of_load_balancer(&*at.tx.require(&self.load_balancer_arn)?))
    }
}

fn load_balancer_rules(balancer: &LoadBalancer) -> Rules {
    match balancer.kind {
        LoadBalancerKind::Network => NETWORK_LOAD_BALANCER,
        LoadBalancerKind::Gateway => &[],
    }
}

fn of_load_balancer(balancer: &LoadBalancer) -> Attributes {
    let mut own = vec![
        Pair::new(CROSS_ZONE, balancer.cross_zone),
        Pair::new(DELETION_PROTECTION, balancer.deletion_protected),
    ];
    if balancer.kind == LoadBalancerKind::Network {
        own.push(Pair::new(SECONDARY_IPS, balancer.secondary_ips));
    }
    Attributes::new(own, load_balancer_rules(balancer), &balancer.kept)
}

/// `DescribeTargetGroupAttributes`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeTargetGroupAttributes {
    target_group_arn: TargetGroupArn,
}

impl Call for DescribeTargetGroupAttributes {
    type Answer = Attributes;

    fn call(self, at: &mut At<'_, '_>) -> Result<Attributes, ApiError> {
        Ok(of_target_group(&*at.tx.require(&self.target_group_arn)?))
    }
}

/// `ModifyTargetGroupAttributes`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyTargetGroupAttributes {
    target_group_arn: TargetGroupArn,
    attributes: Vec<Pair>,
}

impl Call for ModifyTargetGroupAttributes {
    type Answer = Attributes;

    fn call(self, at: &mut At<'_, '_>) -> Result<Attributes, ApiError> {
        let group = at.tx.require(&self.target_group_arn)?;
        let gateway = group.protocol == LbProtocol::Geneve;
        let mut change = api::ModifyTargetGroupAttributes {
            target_group_arn: self.target_group_arn.clone(),
            ..Default::default()
        };
        let old = failover(group.attributes.failover);
        let (mut sticky, mut deregistered, mut unhealthy) = (None, old, old);
        for pair in &self.attributes {
            match &*pair.key {
                DEREGISTRATION_DELAY => change.deregistration_delay_s = value(pair)?,
                RESET_ON_UNHEALTHY if !gateway => change.reset_on_unhealthy = value(pair)?,
                RESET_ON_DEREGISTRATION if !gateway => {
                    change.reset_on_deregistration = value(pair)?;
                }
                GATEWAY_RESET_ON_UNHEALTHY if gateway => change.reset_on_unhealthy = value(pair)?,
                GATEWAY_RESET_ON_DEREGISTRATION if gateway => {
                    change.reset_on_deregistration = value(pair)?;
                }
                PROXY_PROTOCOL if !gateway => change.proxy_protocol = value(pair)?,
                PRESERVE_CLIENT_IP if !gateway => change.preserve_client_ip = value(pair)?,
                RESET_ON_IDLE if gateway => change.reset_on_idle = value(pair)?,
                STICKINESS if gateway => sticky = value(pair)?,
                FAILOVER_DEREGISTERED if gateway => deregistered = &pair.value,
                FAILOVER_UNHEALTHY if gateway => unhealthy = &pair.value,
                _ => keep(pair, target_group_rules(&group), &mut change.kept)?,
            }
        }
        if gateway {
            change.stickiness = stickiness(&group, sticky, &change.kept);
            change.failover = one_failover(&group, deregistered, unhealthy)?;
        }
        at.run(change)?;
        Ok(of_target_group(&*at.tx.require(&self.target_group_arn)?))
    }
}

/// What a change makes of a gateway group's stickiness; nothing if it says nothing
/// about it.
fn stickiness(group: &TargetGroup, sticky: Option<bool>, kept: &Tags) -> Option<Stickiness> {
    let held = || {
        kept.get(STICKINESS_TYPE)
            .or(group.kept.get(STICKINESS_TYPE))
    };
    let was = group.attributes.stickiness != Stickiness::FiveTuple;
    if sticky.is_none() && !kept.contains_key(STICKINESS_TYPE) {
        return None;
    }
    Some(match (sticky.unwrap_or(was), held().map(|it| &**it)) {
        (false, _) => Stickiness::FiveTuple,
        (true, Some(TWO_TUPLE)) => Stickiness::TwoTuple,
        (true, _) => Stickiness::ThreeTuple,
    })
}

fn failover(failover: Failover) -> &'static str {
    match failover {
        Failover::NoRebalance => "no_rebalance",
        Failover::Rebalance => "rebalance",
    }
}

/// The two attributes are always alike; nothing if they stay what they are.
fn one_failover(
    group: &TargetGroup,
    deregistered: &str,
    unhealthy: &str,
) -> Result<Option<Failover>, ApiError> {
    if deregistered != unhealthy {
        return Err(invalid(format!(
            "{FAILOVER_DEREGISTERED} '{deregistered}' and {FAILOVER_UNHEALTHY} '{unhealthy}' must \
             have the same value"
        )));
    }
    let all = [Failover::NoRebalance, Failover::Rebalance];
    let found = all.into_iter().find(|it| failover(*it) == unhealthy);
    let found = found.ok_or_else(|| {
        invalid(format!(
            "Value '{unhealthy}' of attribute '{FAILOVER_UNHEALTHY}' is none of no_rebalance, \
             rebalance"
        ))
    })?;
    Ok(Some(found).filter(|found| *found != group.attributes.failover))
}

fn target_group_rules(group: &TargetGroup) -> Rules {
    match group.protocol {
        LbProtocol::Geneve => GATEWAY_TARGET_GROUP,
        _ => NETWORK_TARGET_GROUP,
    }
}

fn of_target_group(group: &TargetGroup) -> Attributes {
    let held = group.attributes;
    let mut own = vec![Pair::new(DEREGISTRATION_DELAY, held.deregistration_delay_s)];
    if group.protocol == LbProtocol::Geneve {
        let sticky = held.stickiness != Stickiness::FiveTuple;
        own.extend([
            Pair::new(STICKINESS, sticky),
            Pair::new(FAILOVER_DEREGISTERED, failover(held.failover)),
            Pair::new(FAILOVER_UNHEALTHY, failover(held.failover)),
            Pair::new(RESET_ON_IDLE, held.reset_on_idle),
            Pair::new(GATEWAY_RESET_ON_UNHEALTHY, held.reset_on_unhealthy),
            Pair::new(
                GATEWAY_RESET_ON_DEREGISTRATION,
                held.reset_on_deregistration,
            ),
        ]);
    } else {
        own.extend([
            Pair::new(RESET_ON_UNHEALTHY, held.reset_on_unhealthy),
            Pair::new(RESET_ON_DEREGISTRATION, held.reset_on_deregistration),
            Pair::new(PROXY_PROTOCOL, held.proxy_protocol),
            Pair::new(PRESERVE_CLIENT_IP, held.preserve_client_ip),
        ]);
    }
    let mut kept = group.kept.clone();
    // Made by a file, it has its type from there.
    let kind = match held.stickiness {
        Stickiness::FiveTuple => None,
        Stickiness::ThreeTuple => Some(THREE_TUPLE),
        Stickiness::TwoTuple => Some(TWO_TUPLE),
    };
    kept.extend(kind.map(|kind| (Arc::from(STICKINESS_TYPE), Arc::from(kind))));
    Attributes::new(own, target_group_rules(group), &kept)
}

/// `DescribeListenerAttributes`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeListenerAttributes {
    listener_arn: ListenerArn,
}

impl Call for DescribeListenerAttributes {
    type Answer = Attributes;

    fn call(self, at: &mut At<'_, '_>) -> Result<Attributes, ApiError> {
        Ok(of_listener(&*at.tx.require(&self.listener_arn)?))
    }
}

/// `ModifyListenerAttributes`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyListenerAttributes {
    listener_arn: ListenerArn,
    attributes: Vec<Pair>,
}

impl Call for ModifyListenerAttributes {
    type Answer = Attributes;

    fn call(self, at: &mut At<'_, '_>) -> Result<Attributes, ApiError> {
        let mut change = api::ModifyListener {
            listener_arn: self.listener_arn.clone(),
            ..Default::default()
        };
        for pair in &self.attributes {
            match &*pair.key {
                TCP_IDLE => change.tcp_idle_s = value(pair)?,
                _ => keep(pair, &[], &mut Tags::new())?,
            }
        }
        at.run(change)?;
        Ok(of_listener(&*at.tx.require(&self.listener_arn)?))
    }
}

fn of_listener(listener: &Listener) -> Attributes {
    let tcp = listener.protocol != LbProtocol::Udp;
    let own = tcp.then(|| Pair::new(TCP_IDLE, listener.tcp_idle_s));
    Attributes::new(own.into_iter().collect(), &[], &Tags::new())
}
