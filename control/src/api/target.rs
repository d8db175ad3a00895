//! Targets of target groups: register, deregister, health.

use std::net::IpAddr;

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::TargetHealth;
use vpclab_dataplane::time::{Duration, Instant};

use super::target_group::check_port;
use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// A target as a request names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetDescription {
    /// An address; or, in a group of hosts, an interface id or a host's name.
    pub id: String,
    /// Port; the group's unless given.
    pub port: Option<u16>,
    /// `AvailabilityZone` `all`: an address outside the VPC.
    pub all_zones: bool,
}

impl TargetDescription {
    /// A target at the group's port.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            ..Self::default()
        }
    }
}

/// `RegisterTargets`
#[derive(Clone, Debug, Default)]
pub struct RegisterTargets {
    /// The group.
    pub target_group_arn: TargetGroupArn,
    /// The targets. One that is registered already stays; one that is draining
    /// starts anew.
    pub targets: Vec<TargetDescription>,
}

impl Action for RegisterTargets {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let group = tx.require(&self.target_group_arn)?;
        if self.targets.is_empty() {
            return Err(invalid_target(
                "At least one target must be specified".into(),
            ));
        }
        let used = tx.model().referrers::<Listener>(&group.id).next().is_some();
        let mut targets = group.targets.clone();
        for description in &self.targets {
            let port = description.port.unwrap_or(group.port);
            check_port(group.protocol, port)?;
            let id = resolve(tx, &group, description)?;
            targets.retain(|t| !(t.id == id && t.port == port && t.draining_until.is_some()));
            if targets.iter().any(|t| t.id == id && t.port == port) {
                continue;
            }
            targets.push(Target {
                id,
                port,
                all_zones: description.all_zones,
                health: if used {
                    TargetHealth::Initial
                } else {
                    TargetHealth::Unused
                },
                failure: None,
                failures: 0,
                draining_until: None,
            });
        }
        check_count(tx, &group, &targets)?;
        tx.update(&group.id, |group| group.targets = targets);
        Ok(())
    }
}

/// `DeregisterTargets`: they drain for the group's delay, then they are gone.
#[derive(Clone, Debug, Default)]
pub struct DeregisterTargets {
    /// The group.
    pub target_group_arn: TargetGroupArn,
    /// The targets; without a port: at every port. One that is not registered
    /// is a success, as at AWS.
    pub targets: Vec<TargetDescription>,
    /// The time.
    pub now: Instant,
}

impl Action for DeregisterTargets {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let group = tx.require(&self.target_group_arn)?;
        let delay = group.attributes.deregistration_delay_s;
        let until = self.now + Duration::from_secs(delay.into());
        let mut targets = group.targets.clone();
        for description in &self.targets {
            let named = |target: &Target| {
                names(tx, target, &description.id)
                    && description.port.is_none_or(|port| port == target.port)
            };
            // A target without flows has nothing to drain.
            targets.retain(|target| {
                !named(target) || (delay > 0 && target.health != TargetHealth::Unused)
            });
            for target in targets.iter_mut().filter(|target| named(target)) {
                if target.draining_until.is_none() {
                    target.health = TargetHealth::Draining;
                    target.failure = None;
                    target.draining_until = Some(until);
                }
            }
        }
        tx.update(&group.id, |group| group.targets = targets);
        Ok(())
    }
}

/// Takes away targets whose deregistration delay is over. Not an AWS action:
/// the health checks call it when time comes.
#[derive(Clone, Debug, Default)]
pub struct FinishDeregistration {
    /// The group.
    pub target_group_arn: TargetGroupArn,
    /// The time.
    pub now: Instant,
}

impl Action for FinishDeregistration {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        tx.update(&self.target_group_arn, |group| {
            let over = |target: &Target| target.draining_until.is_some_and(|at| at <= self.now);
            group.targets.retain(|target| !over(target));
        });
        Ok(())
    }
}

/// Notes what the health checks found. Not an AWS action. A target that has
/// gone or is draining meanwhile is left alone.
#[derive(Clone, Debug)]
pub struct SetTargetHealth {
    /// The group.
    pub target_group_arn: TargetGroupArn,
    /// The target.
    pub target: TargetId,
    /// Its port.
    pub port: u16,
    /// What it is now.
    pub health: TargetHealth,
    /// Why it is unhealthy.
    pub failure: Option<ProbeFailure>,
}

impl Action for SetTargetHealth {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        tx.update(&self.target_group_arn, |group| {
            let found = group.targets.iter_mut().find(|target| {
                target.id == self.target
                    && target.port == self.port
                    && target.draining_until.is_none()
            });
            if let Some(target) = found {
                if self.health == TargetHealth::Unhealthy && target.health != self.health {
                    target.failures = target.failures.wrapping_add(1);
                }
                target.health = self.health;
                target.failure = self.failure;
            }
        });
        Ok(())
    }
}

/// The target that a description names, checked against the group.
fn resolve(
    tx: &Transaction<'_>,
    group: &TargetGroup,
    description: &TargetDescription,
) -> Result<TargetId, ApiError> {
    let id = &description.id;
    if group.target_type == TargetType::Instance {
        if description.all_zones {
            return Err(invalid_target(format!(
                "AvailabilityZone 'all' is for addresses; '{id}' is a host"
            )));
        }
        let interface = host_interface(tx, group, id).ok_or_else(|| {
            invalid_target(format!(
                "The following targets are not in the VPC '{}' or do not exist: '{id}'",
                group.vpc
            ))
        })?;
        let instance = tx.model().get(&InstanceId::from(&**id));
        if instance.is_some_and(|instance| instance.state != InstanceState::Running) {
            return Err(invalid_target(format!(
                "The following targets are not in a running state and cannot be registered: '{id}'"
            )));
        }
        return Ok(TargetId::Interface(interface));
    }
    let address: IpAddr = id
        .parse()
        .map_err(|_| invalid_target(format!("The IP address '{id}' is not a valid IP address")))?;
    let family = match address {
        IpAddr::V4(_) => AddressFamily::Ipv4,
        IpAddr::V6(_) => AddressFamily::Ipv6,
    };
    if let Some(only) = group.family.filter(|only| *only != family) {
        return Err(invalid_target(format!(
            "The IP address '{id}' is not a valid {} address, which '{}' takes",
            only.name(),
            group.name
        )));
    }
    let vpc = tx.model().get(&group.vpc);
    let inside = vpc.is_some_and(|vpc| vpc.blocks().any(|block| block.contains(address)));
    if inside && description.all_zones {
        return Err(invalid_target(format!(
            "AvailabilityZone 'all' is for addresses outside the VPC; '{id}' is in '{}'",
            group.vpc
        )));
    }
    let reachable = inside || (description.all_zones && is_private(address));
    if !reachable {
        return Err(invalid_target(format!(
            "The IP address '{id}' is not within the CIDR blocks of '{}'; an address of a \
             private range outside the VPC needs AvailabilityZone 'all'",
            group.vpc
        )));
    }
    Ok(TargetId::Address(address))
}

/// An interface by its id, or a host's primary interface by the host's name.
fn host_interface(
    tx: &Transaction<'_>,
    group: &TargetGroup,
    name: &str,
) -> Option<NetworkInterfaceId> {
    let model = tx.model();
    if let Some(interface) = model.get(&NetworkInterfaceId::from(name)) {
        return (interface.vpc == group.vpc).then(|| interface.id.clone());
    }
    let mut interfaces = model.referrers::<NetworkInterface>(&group.vpc);
    let primary = interfaces.find(|interface| is_host(interface, name));
    primary.map(|interface| interface.id.clone())
}

fn is_host(interface: &NetworkInterface, name: &str) -> bool {
    let held = interface.attachment.as_ref();
    held.is_some_and(|held| &*held.host == name && held.device_index == 0)
}

/// Whether `name` names a registered target, be it by address, interface or host.
fn names(tx: &Transaction<'_>, target: &Target, name: &str) -> bool {
    match &target.id {
        TargetId::Address(address) => name.parse() == Ok(*address),
        TargetId::Interface(id) => {
            let host = tx.model().get(id).is_some_and(|eni| is_host(eni, name));
            id.as_str() == name || host
        }
    }
}

/// RFC 1918, RFC 6598 (N:target-group-register-targets).
fn is_private(address: IpAddr) -> bool {
    const SHARED: [u8; 4] = [100, 64, 0, 0];
    let shared = Prefix::new(IpAddr::from(SHARED), 10);
    match address {
        IpAddr::V4(a) => a.is_private() || shared.is_some_and(|block| block.contains(address)),
        IpAddr::V6(_) => false,
    }
}

fn check_count(
    tx: &Transaction<'_>,
    group: &TargetGroup,
    targets: &[Target],
) -> Result<(), ApiError> {
    let quota = match group.protocol {
        LbProtocol::Geneve => Quota::TargetsPerGatewayTargetGroup,
        _ => Quota::TargetsPerZonePerNetworkLoadBalancer,
    };
    let have = group.targets.len() as u64;
    let more = (targets.len() as u64).saturating_sub(have);
    tx.check_quota(quota, have, more, "TooManyTargets")
}

fn invalid_target(message: String) -> ApiError {
    ApiError::new("InvalidTarget", message)
}
