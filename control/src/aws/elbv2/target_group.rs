//! Target groups.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shape::{Nothing, Wanted, invalid, tags, unsupported};
use crate::api::{self, ApiError, HealthCheckSettings, ProbeProtocol};
use crate::aws::call::{At, Call, calls};
use crate::aws::tags::{Tag, put};
use crate::model::{
    AddressFamily, CheckPort, CheckProtocol, LbProtocol, Listener, LoadBalancerArn, Model,
    TargetGroup, TargetGroupArn, TargetType, VpcId,
};

calls! {
    Read: DescribeTargetGroups;
    Write: CreateTargetGroup ModifyTargetGroup DeleteTargetGroup;
}

/// `CreateTargetGroup`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateTargetGroup {
    name: String,
    protocol: Option<String>,
    port: Option<u16>,
    vpc_id: Option<VpcId>,
    target_type: Option<String>,
    ip_address_type: Option<AddressType>,
    health_check_protocol: Option<String>,
    health_check_port: Option<String>,
    health_check_enabled: Option<bool>,
    health_check_path: Option<String>,
    health_check_interval_seconds: Option<u32>,
    health_check_timeout_seconds: Option<u32>,
    healthy_threshold_count: Option<u32>,
    unhealthy_threshold_count: Option<u32>,
    matcher: Option<Matcher>,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// `IpAddressType` of a target group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum AddressType {
    Ipv4,
    Ipv6,
}

/// Which answers to a health check are good.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Matcher {
    http_code: String,
}

/// Target groups in an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TargetGroups {
    target_groups: Vec<TargetGroupItem>,
    next_marker: Option<String>,
}

impl TargetGroups {
    fn one(at: &At<'_, '_>, arn: &TargetGroupArn) -> Result<Self, ApiError> {
        let group = at.tx.require(arn)?;
        Ok(Self {
            target_groups: vec![TargetGroupItem::new(&group, at.model())],
            next_marker: None,
        })
    }
}

impl Call for CreateTargetGroup {
    type Answer = TargetGroups;

    fn call(self, at: &mut At<'_, '_>) -> Result<TargetGroups, ApiError> {
        let tags = tags(&self.tags)?;
        let needed = |what: &str| invalid(format!("A {what} must be specified"));
        let target_type = target_type(self.target_type.as_deref())?;
        let name = self.protocol.ok_or_else(|| needed("protocol"))?;
        let protocol = protocol(&name)?;
        if protocol == LbProtocol::Geneve && self.ip_address_type == Some(AddressType::Ipv6) {
            return Err(unsupported(
                "Target groups of IPv6 appliances are not emulated; IpAddressType is 'ipv4'",
            ));
        }
        let family = match self.ip_address_type.unwrap_or(AddressType::Ipv4) {
            AddressType::Ipv4 => AddressFamily::Ipv4,
            AddressType::Ipv6 => AddressFamily::Ipv6,
        };
        if target_type == TargetType::Instance && family == AddressFamily::Ipv6 {
            return Err(unsupported(
                "Instances are reached by IPv4 only; register IPv6 addresses with TargetType 'ip'",
            ));
        }
        let before = at.model().target_groups().len();
        let arn = at.run(api::CreateTargetGroup {
            name: self.name,
            protocol,
            port: self.port.ok_or_else(|| needed("port"))?,
            vpc: self.vpc_id.ok_or_else(|| needed("VPC ID"))?,
            target_type,
            family: (target_type == TargetType::Ip).then_some(family),
            health_check: HealthCheck {
                protocol: self.health_check_protocol,
                port: self.health_check_port,
                enabled: self.health_check_enabled,
                path: self.health_check_path,
                interval_s: self.health_check_interval_seconds,
                timeout_s: self.health_check_timeout_seconds,
                healthy: self.healthy_threshold_count,
                unhealthy: self.unhealthy_threshold_count,
                matcher: self.matcher,
            }
            .settings()?,
        })?;
        // The same request again changes nothing.
        if at.model().target_groups().len() > before {
            put(at, &arn, tags);
        }
        TargetGroups::one(at, &arn)
    }
}

fn target_type(name: Option<&str>) -> Result<TargetType, ApiError> {
    match name {
        None | Some("instance") => Ok(TargetType::Instance),
        Some("ip") => Ok(TargetType::Ip),
        Some(other @ ("lambda" | "alb")) => Err(unsupported(format!(
            "Targets of the type '{other}' are not emulated; TargetType is 'instance' or 'ip'"
        ))),
        Some(other) => Err(invalid(format!(
            "TargetType '{other}' is none of alb, instance, ip, lambda"
        ))),
    }
}

/// A protocol by its name.
pub(super) fn protocol(name: &str) -> Result<LbProtocol, ApiError> {
    LbProtocol::parse(name).ok_or_else(|| match name {
        "HTTP" | "HTTPS" | "TLS" | "QUIC" | "TCP_QUIC" => unsupported(format!(
            "The protocol {name} is not emulated; it is TCP, UDP, TCP_UDP or GENEVE"
        )),
        _ => invalid(format!(
            "Protocol '{name}' is none of GENEVE, HTTP, HTTPS, QUIC, TCP, TCP_QUIC, TCP_UDP, TLS, \
             UDP"
        )),
    })
}

/// What a request says about health checks.
struct HealthCheck {
    protocol: Option<String>,
    port: Option<String>,
    enabled: Option<bool>,
    path: Option<String>,
    interval_s: Option<u32>,
    timeout_s: Option<u32>,
    healthy: Option<u32>,
    unhealthy: Option<u32>,
    matcher: Option<Matcher>,
}

impl HealthCheck {
    fn settings(self) -> Result<HealthCheckSettings, ApiError> {
        if self.enabled == Some(false) {
            return Err(invalid(
                "Health check enabled must be true for target groups with target type 'instance' \
                 or 'ip'",
            ));
        }
        let protocol = self.protocol.as_deref().map(|name| match name {
            "TCP" => Ok(ProbeProtocol::Tcp),
            "HTTP" => Ok(ProbeProtocol::Http),
            "HTTPS" => Err(unsupported(
                "Health checks by HTTPS are not emulated; HealthCheckProtocol is TCP or HTTP",
            )),
            other => Err(invalid(format!(
                "Health check protocol '{other}' must be one of: [HTTP, HTTPS, TCP]"
            ))),
        });
        let port = self.port.as_deref().map(|text| match text {
            "traffic-port" => Ok(CheckPort::Traffic),
            text => text.parse().map(CheckPort::Fixed).map_err(|_| {
                invalid(format!(
                    "Health check port '{text}' must be 'traffic-port' or between 1 and 65535"
                ))
            }),
        });
        Ok(HealthCheckSettings {
            protocol: protocol.transpose()?,
            port: port.transpose()?,
            path: self.path,
            matcher: self.matcher.map(|matcher| matcher.http_code),
            interval_s: self.interval_s,
            timeout_s: self.timeout_s,
            healthy_threshold: self.healthy,
            unhealthy_threshold: self.unhealthy,
        })
    }
}

/// `ModifyTargetGroup`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyTargetGroup {
    target_group_arn: TargetGroupArn,
    health_check_protocol: Option<String>,
    health_check_port: Option<String>,
    health_check_enabled: Option<bool>,
    health_check_path: Option<String>,
    health_check_interval_seconds: Option<u32>,
    health_check_timeout_seconds: Option<u32>,
    healthy_threshold_count: Option<u32>,
    unhealthy_threshold_count: Option<u32>,
    matcher: Option<Matcher>,
}

impl Call for ModifyTargetGroup {
    type Answer = TargetGroups;

    fn call(self, at: &mut At<'_, '_>) -> Result<TargetGroups, ApiError> {
        at.run(api::ModifyTargetGroup {
            target_group_arn: self.target_group_arn.clone(),
            health_check: HealthCheck {
                protocol: self.health_check_protocol,
                port: self.health_check_port,
                enabled: self.health_check_enabled,
                path: self.health_check_path,
                interval_s: self.health_check_interval_seconds,
                timeout_s: self.health_check_timeout_seconds,
                healthy: self.healthy_threshold_count,
                unhealthy: self.unhealthy_threshold_count,
                matcher: self.matcher,
            }
            .settings()?,
        })?;
        TargetGroups::one(at, &self.target_group_arn)
    }
}

/// `DeleteTargetGroup`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteTargetGroup {
    target_group_arn: TargetGroupArn,
}

impl Call for DeleteTargetGroup {
    type Answer = Nothing;

    fn call(self, at: &mut At<'_, '_>) -> Result<Nothing, ApiError> {
        at.run(api::DeleteTargetGroup {
            target_group_arn: self.target_group_arn,
        })?;
        Ok(Nothing {})
    }
}

/// `DescribeTargetGroups`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeTargetGroups {
    load_balancer_arn: Option<LoadBalancerArn>,
    target_group_arns: Vec<TargetGroupArn>,
    names: Vec<String>,
    marker: Option<String>,
    page_size: Option<u32>,
}

impl Call for DescribeTargetGroups {
    type Answer = TargetGroups;

    fn call(self, at: &mut At<'_, '_>) -> Result<TargetGroups, ApiError> {
        if let Some(arn) = &self.load_balancer_arn {
            at.tx.require(arn)?;
        }
        let wanted = Wanted {
            arns: self.target_group_arns,
            names: self.names,
            page_size: self.page_size,
            marker: self.marker,
        };
        let only = self.load_balancer_arn;
        let fits = |group: &TargetGroup| {
            only.as_ref()
                .is_none_or(|arn| load_balancers(group, at.model()).contains(arn))
        };
        let page = wanted.select(at, |group: &TargetGroup| &group.name, fits)?;
        let item = |group: &Arc<TargetGroup>| TargetGroupItem::new(group, at.model());
        Ok(TargetGroups {
            target_groups: page.items.iter().map(item).collect(),
            next_marker: page.next_marker,
        })
    }
}

/// The load balancers whose listeners lead to a group.
fn load_balancers(group: &TargetGroup, model: &Model) -> BTreeSet<LoadBalancerArn> {
    let listeners = model.referrers::<Listener>(&group.id);
    listeners.map(|it| it.load_balancer.clone()).collect()
}

/// A target group in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TargetGroupItem {
    target_group_arn: TargetGroupArn,
    target_group_name: Arc<str>,
    protocol: &'static str,
    port: u16,
    vpc_id: VpcId,
    target_type: &'static str,
    ip_address_type: AddressType,
    load_balancer_arns: BTreeSet<LoadBalancerArn>,
    health_check_enabled: bool,
    health_check_protocol: &'static str,
    health_check_port: String,
    health_check_path: Option<String>,
    health_check_interval_seconds: u32,
    health_check_timeout_seconds: u32,
    healthy_threshold_count: u32,
    unhealthy_threshold_count: u32,
    matcher: Option<Matcher>,
}

impl TargetGroupItem {
    fn new(group: &TargetGroup, model: &Model) -> Self {
        let check = &group.health_check;
        let (health_check_protocol, path, matcher) = match &check.protocol {
            CheckProtocol::Tcp => ("TCP", None, None),
            CheckProtocol::Http { path, matcher } => (
                "HTTP",
                Some(path.clone()),
                Some(Matcher {
                    http_code: matcher.to_string(),
                }),
            ),
        };
        Self {
            target_group_arn: group.id.clone(),
            target_group_name: group.name.clone(),
            protocol: group.protocol.name(),
            port: group.port,
            vpc_id: group.vpc.clone(),
            target_type: match group.target_type {
                TargetType::Ip => "ip",
                TargetType::Instance => "instance",
            },
            ip_address_type: match group.family {
                Some(AddressFamily::Ipv6) => AddressType::Ipv6,
                _ => AddressType::Ipv4,
            },
            load_balancer_arns: load_balancers(group, model),
            health_check_enabled: true,
            health_check_protocol,
            health_check_port: match check.port {
                CheckPort::Traffic => "traffic-port".to_owned(),
                CheckPort::Fixed(port) => port.to_string(),
            },
            health_check_path: path,
            health_check_interval_seconds: check.interval_s,
            health_check_timeout_seconds: check.timeout_s,
            healthy_threshold_count: check.healthy_threshold,
            unhealthy_threshold_count: check.unhealthy_threshold,
            matcher,
        }
    }
}
