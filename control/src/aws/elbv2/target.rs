//! Targets: register, deregister, health.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::tables::TargetHealth;

use super::shape::{Nothing, invalid};
use crate::api::{self, ApiError, TargetDescription};
use crate::aws::call::{At, Call, calls};
use crate::model::{
    InstanceId, InstanceState, Listener, Model, Subnet, Target, TargetGroup, TargetGroupArn,
    TargetId, TargetType,
};

calls! {
    Read: DescribeTargetHealth;
    Write: RegisterTargets DeregisterTargets;
}

/// A target of a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TargetName {
    id: String,
    port: Option<u16>,
    availability_zone: Option<String>,
}

impl TargetName {
    fn all(list: Vec<Self>) -> Vec<TargetDescription> {
        let description = |target: Self| TargetDescription {
            id: target.id,
            port: target.port,
            all_zones: target.availability_zone.as_deref() == Some("all"),
        };
        list.into_iter().map(description).collect()
    }

    /// Refuses a zone in which the target is not.
    fn check_zone(&self, group: &TargetGroup, model: &Model) -> Result<(), ApiError> {
        let zone = self.availability_zone.as_deref();
        let Some(zone) = zone.filter(|zone| *zone != "all") else {
            return Ok(());
        };
        let address: Option<IpAddr> = self.id.parse().ok();
        let holds = |subnet: &&std::sync::Arc<Subnet>| {
            address.is_some_and(|it| subnet.blocks().any(|block| block.contains(it)))
        };
        let subnet = model.referrers::<Subnet>(&group.vpc).find(holds);
        match subnet {
            Some(subnet) if *subnet.zone == *zone => Ok(()),
            _ => Err(ApiError::new(
                "InvalidTarget",
                format!(
                    "The target '{}' is not in the Availability Zone '{zone}'",
                    self.id
                ),
            )),
        }
    }
}

/// `RegisterTargets`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RegisterTargets {
    target_group_arn: TargetGroupArn,
    targets: Vec<TargetName>,
}

impl Call for RegisterTargets {
    type Answer = Nothing;

    fn call(self, at: &mut At<'_, '_>) -> Result<Nothing, ApiError> {
        let group = at.tx.require(&self.target_group_arn)?;
        for target in &self.targets {
            target.check_zone(&group, at.model())?;
        }
        at.run(api::RegisterTargets {
            target_group_arn: self.target_group_arn,
            targets: TargetName::all(self.targets),
        })?;
        Ok(Nothing {})
    }
}

/// `DeregisterTargets`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeregisterTargets {
    target_group_arn: TargetGroupArn,
    targets: Vec<TargetName>,
}

impl Call for DeregisterTargets {
    type Answer = Nothing;

    fn call(self, at: &mut At<'_, '_>) -> Result<Nothing, ApiError> {
        let now = at.now();
        if self.targets.is_empty() {
            return Err(invalid("At least one target must be specified"));
        }
        at.run(api::DeregisterTargets {
            target_group_arn: self.target_group_arn,
            targets: TargetName::all(self.targets),
            now,
        })?;
        Ok(Nothing {})
    }
}

/// `DescribeTargetHealth`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeTargetHealth {
    target_group_arn: TargetGroupArn,
    #[serde(default)]
    targets: Vec<TargetName>,
}

/// Targets and how they are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    target_health_descriptions: Vec<Described>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    target: TargetItem,
    health_check_port: Option<String>,
    target_health: HealthItem,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TargetItem {
    id: String,
    port: Option<u16>,
    availability_zone: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HealthItem {
    state: &'static str,
    reason: Option<&'static str>,
    description: Option<String>,
}

impl HealthItem {
    fn because(state: &'static str, reason: &'static str, description: impl Into<String>) -> Self {
        Self {
            state,
            reason: Some(reason),
            description: Some(description.into()),
        }
    }
}

impl Call for DescribeTargetHealth {
    type Answer = Health;

    fn call(self, at: &mut At<'_, '_>) -> Result<Health, ApiError> {
        let group = at.tx.require(&self.target_group_arn)?;
        let registered = group
            .targets
            .iter()
            .map(|target| Described::new(target, &group, at.model()));
        let registered: Vec<Described> = registered.collect();
        if self.targets.is_empty() {
            return Ok(Health {
                target_health_descriptions: registered,
            });
        }
        let is_meant = |wanted: &TargetName, it: &Described| {
            let port = wanted.port.is_none_or(|port| it.target.port == Some(port));
            it.target.id == wanted.id && port
        };
        let (mut found, mut rest) = (Vec::new(), registered);
        for wanted in self.targets {
            let (meant, others) = rest.into_iter().partition(|it| is_meant(&wanted, it));
            let meant: Vec<Described> = meant;
            if meant.is_empty() {
                found.push(Described::unknown(wanted, &group));
            }
            found.extend(meant);
            rest = others;
        }
        Ok(Health {
            target_health_descriptions: found,
        })
    }
}

impl Described {
    fn new(target: &Target, group: &TargetGroup, model: &Model) -> Self {
        Self {
            target: TargetItem {
                id: name(target, model),
                port: Some(target.port),
                availability_zone: zone(target, group, model),
            },
            health_check_port: Some(group.health_check.port_for(target.port).to_string()),
            target_health: health(target, group, model),
        }
    }

    /// A target that was asked for and is not there.
    fn unknown(wanted: TargetName, group: &TargetGroup) -> Self {
        Self {
            target: TargetItem {
                id: wanted.id,
                port: Some(wanted.port.unwrap_or(group.port)),
                availability_zone: wanted.availability_zone,
            },
            health_check_port: None,
            target_health: HealthItem::because(
                "unused",
                "Target.NotRegistered",
                "Target is not registered to the target group",
            ),
        }
    }
}

/// The name by which a target was registered: an address, or a host's.
fn name(target: &Target, model: &Model) -> String {
    let TargetId::Interface(id) = &target.id else {
        return target.id.to_string();
    };
    let held = model.get(id).and_then(|eni| eni.attachment.as_ref());
    let primary = held.filter(|held| held.device_index == 0);
    primary.map_or_else(|| id.to_string(), |held| held.host.to_string())
}

/// An address's zone; instances have theirs.
fn zone(target: &Target, group: &TargetGroup, model: &Model) -> Option<String> {
    if group.target_type == TargetType::Instance {
        return None;
    }
    if target.all_zones {
        return Some("all".to_owned());
    }
    let address = target.address(model)?;
    let mut subnets = model.referrers::<Subnet>(&group.vpc);
    let subnet = subnets.find(|it| it.blocks().any(|block| block.contains(address)));
    subnet.map(|subnet| subnet.zone.to_string())
}

fn health(target: &Target, group: &TargetGroup, model: &Model) -> HealthItem {
    let instance = model.get(&InstanceId::from(name(target, model)));
    if instance.is_some_and(|instance| instance.state == InstanceState::Stopped) {
        return HealthItem::because(
            "unused",
            "Target.InvalidState",
            "Target is in the stopped state",
        );
    }
    match target.health {
        TargetHealth::Healthy => HealthItem {
            state: "healthy",
            reason: None,
            description: None,
        },
        TargetHealth::Initial => HealthItem::because(
            "initial",
            "Elb.InitialHealthChecking",
            "Initial health checks in progress",
        ),
        TargetHealth::Unhealthy => HealthItem::because(
            "unhealthy",
            target
                .failure
                .map_or("Target.FailedHealthChecks", |it| it.reason()),
            target
                .failure
                .map_or_else(|| "Health checks failed".to_owned(), |it| it.to_string()),
        ),
        TargetHealth::Draining => HealthItem::because(
            "draining",
            "Target.DeregistrationInProgress",
            "Target deregistration is in progress",
        ),
        TargetHealth::Unused => {
            let used = model.referrers::<Listener>(&group.id).next().is_some();
            let why = match used {
                true => {
                    "Target is in an Availability Zone that is not enabled for the load balancer"
                }
                false => "Target group is not configured to receive traffic from the load balancer",
            };
            HealthItem::because("unused", "Target.NotInUse", why)
        }
    }
}
