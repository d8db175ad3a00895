//! Listeners.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shape::{Nothing, Wanted, invalid, tags, unsupported};
use super::target_group::protocol;
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::tags::{Tag, put};
use crate::model::{LbProtocol, Listener, ListenerArn, LoadBalancerArn, TargetGroupArn};

calls! {
    Read: DescribeListeners;
    Write: CreateListener ModifyListener DeleteListener;
}

/// `CreateListener`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateListener {
    load_balancer_arn: LoadBalancerArn,
    protocol: Option<String>,
    port: Option<u16>,
    default_actions: Vec<Action>,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// What a listener does with a connection.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Action {
    r#type: String,
    target_group_arn: Option<TargetGroupArn>,
    forward_config: Option<Forward>,
    /// Of several actions; there is one.
    #[serde(rename = "Order")]
    _order: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Forward {
    target_groups: Vec<Weighted>,
    target_group_stickiness_config: Option<Sticky>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weighted {
    target_group_arn: TargetGroupArn,
    weight: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sticky {
    enabled: Option<bool>,
}

impl Action {
    /// The one target group to which a listener forwards.
    fn target_group(actions: Vec<Self>) -> Result<TargetGroupArn, ApiError> {
        let mut actions = actions.into_iter();
        let action = match (actions.next(), actions.next()) {
            (Some(action), None) => action,
            (None, _) => return Err(invalid("A default action must be specified")),
            (Some(_), Some(_)) => {
                return Err(ApiError::new(
                    "TooManyActions",
                    "A listener of a network or gateway load balancer has one default action",
                ));
            }
        };
        if action.r#type != "forward" {
            return Err(ApiError::new(
                "InvalidLoadBalancerAction",
                format!(
                    "Action type '{}' is not supported on network and gateway load balancers; \
                     use 'forward'",
                    action.r#type
                ),
            ));
        }
        let mut groups: Vec<_> = action.target_group_arn.into_iter().collect();
        if let Some(forward) = action.forward_config {
            let sticky = forward.target_group_stickiness_config;
            if sticky.is_some_and(|sticky| sticky.enabled == Some(true)) {
                return Err(unsupported(
                    "TargetGroupStickinessConfig is not emulated: a listener has one target group",
                ));
            }
            for Weighted {
                target_group_arn,
                weight,
            } in forward.target_groups
            {
                if weight == Some(0) {
                    return Err(unsupported(
                        "A target group's Weight of 0 is not emulated; give one target group",
                    ));
                }
                if !groups.contains(&target_group_arn) {
                    groups.push(target_group_arn);
                }
            }
        }
        match groups.len() {
            0 => Err(invalid("The action 'forward' needs a TargetGroupArn")),
            1 => Ok(groups.swap_remove(0)),
            _ => Err(unsupported(
                "Weighted target groups are not emulated; a listener forwards to one",
            )),
        }
    }
}

/// Listeners in an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listeners {
    listeners: Vec<ListenerItem>,
    next_marker: Option<String>,
}

impl Listeners {
    fn one(at: &At<'_, '_>, arn: &ListenerArn) -> Result<Self, ApiError> {
        Ok(Self {
            listeners: vec![ListenerItem::new(&*at.tx.require(arn)?)],
            next_marker: None,
        })
    }
}

impl Call for CreateListener {
    type Answer = Listeners;

    fn call(self, at: &mut At<'_, '_>) -> Result<Listeners, ApiError> {
        let tags = tags(&self.tags)?;
        let arn = at.run(api::CreateListener {
            load_balancer_arn: self.load_balancer_arn,
            protocol: self.protocol.as_deref().map(protocol).transpose()?,
            port: self.port,
            target_group_arn: Action::target_group(self.default_actions)?,
            tcp_idle_s: None,
        })?;
        put(at, &arn, tags);
        Listeners::one(at, &arn)
    }
}

/// `ModifyListener`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyListener {
    listener_arn: ListenerArn,
    protocol: Option<String>,
    port: Option<u16>,
    #[serde(default)]
    default_actions: Vec<Action>,
}

impl Call for ModifyListener {
    type Answer = Listeners;

    fn call(self, at: &mut At<'_, '_>) -> Result<Listeners, ApiError> {
        let actions = Some(self.default_actions).filter(|actions| !actions.is_empty());
        at.run(api::ModifyListener {
            listener_arn: self.listener_arn.clone(),
            protocol: self.protocol.as_deref().map(protocol).transpose()?,
            port: self.port,
            target_group_arn: actions.map(Action::target_group).transpose()?,
            tcp_idle_s: None,
        })?;
        Listeners::one(at, &self.listener_arn)
    }
}

/// `DeleteListener`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteListener {
    listener_arn: ListenerArn,
}

impl Call for DeleteListener {
    type Answer = Nothing;

    fn call(self, at: &mut At<'_, '_>) -> Result<Nothing, ApiError> {
        at.run(api::DeleteListener {
            listener_arn: self.listener_arn,
        })?;
        Ok(Nothing {})
    }
}

/// `DescribeListeners`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeListeners {
    load_balancer_arn: Option<LoadBalancerArn>,
    listener_arns: Vec<ListenerArn>,
    marker: Option<String>,
    page_size: Option<u32>,
}

impl Call for DescribeListeners {
    type Answer = Listeners;

    fn call(self, at: &mut At<'_, '_>) -> Result<Listeners, ApiError> {
        if self.load_balancer_arn.is_some() != self.listener_arns.is_empty() {
            return Err(invalid(
                "You must specify either listener ARNs or a load balancer ARN",
            ));
        }
        if let Some(arn) = &self.load_balancer_arn {
            at.tx.require(arn)?;
        }
        let wanted = Wanted {
            arns: self.listener_arns,
            names: Vec::new(),
            page_size: self.page_size,
            marker: self.marker,
        };
        let only = self.load_balancer_arn;
        let fits = |listener: &Listener| {
            only.as_ref()
                .is_none_or(|arn| listener.load_balancer == *arn)
        };
        let page = wanted.select(at, |listener: &Listener| listener.id.as_str(), fits)?;
        let item = |listener: &Arc<Listener>| ListenerItem::new(listener);
        Ok(Listeners {
            listeners: page.items.iter().map(item).collect(),
            next_marker: page.next_marker,
        })
    }
}

/// A listener in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListenerItem {
    listener_arn: ListenerArn,
    load_balancer_arn: LoadBalancerArn,
    protocol: Option<&'static str>,
    port: Option<u16>,
    default_actions: [ActionItem; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ActionItem {
    r#type: &'static str,
    target_group_arn: TargetGroupArn,
    forward_config: ForwardItem,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ForwardItem {
    target_groups: [GroupItem; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GroupItem {
    target_group_arn: TargetGroupArn,
}

impl ListenerItem {
    fn new(listener: &Listener) -> Self {
        let network = listener.protocol != LbProtocol::Geneve;
        Self {
            listener_arn: listener.id.clone(),
            load_balancer_arn: listener.load_balancer.clone(),
            protocol: network.then(|| listener.protocol.name()),
            port: network.then_some(listener.port),
            default_actions: [ActionItem {
                r#type: "forward",
                target_group_arn: listener.target_group.clone(),
                forward_config: ForwardItem {
                    target_groups: [GroupItem {
                        target_group_arn: listener.target_group.clone(),
                    }],
                },
            }],
        }
    }
}
