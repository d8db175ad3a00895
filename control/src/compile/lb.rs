//! Rows of load balancers and target groups.

use std::collections::BTreeSet;
use std::sync::Arc;

use vpclab_dataplane::tables::{self, LoadBalancerNode, LoadBalancerRow, TargetGroupRow};
use vpclab_dataplane::time::Duration;

use crate::model::*;

pub(super) fn load_balancer(model: &Model, text: &Arc<str>) -> Option<LoadBalancerRow> {
    let balancer = model.get(&LoadBalancerArn::from_text(text.clone()))?;
    let nodes = balancer.nodes.iter().filter_map(|node| {
        Some(LoadBalancerNode {
            az: model.get(&node.subnet)?.az,
            eni: model.row(&node.interface)?.into(),
        })
    });
    let listeners = model.referrers::<Listener>(&balancer.id);
    Some(LoadBalancerRow {
        label: balancer.name.clone(),
        kind: balancer.kind,
        vpc: model.row(&balancer.vpc)?.into(),
        nodes: nodes.collect(),
        listeners: listeners.flat_map(|held| listener(model, held)).collect(),
        cross_zone: balancer.cross_zone,
        enforce_privatelink_groups: balancer.enforce_privatelink_groups,
    })
}

/// One row per IP protocol: a `TCP_UDP` listener has two.
fn listener(model: &Model, held: &Listener) -> impl Iterator<Item = tables::Listener> + use<> {
    let target_group = model.row(&held.target_group).map(Into::into);
    let port = held.port;
    let tcp_idle = Duration::from_secs(held.tcp_idle_s.into());
    let protocols = held.protocol.ip_protocols().iter();
    protocols.map(move |&protocol| tables::Listener {
        protocol,
        port,
        target_group,
        tcp_idle,
    })
}

pub(super) fn target_group(model: &Model, text: &Arc<str>) -> Option<TargetGroupRow> {
    let group = model.get(&TargetGroupArn::from_text(text.clone()))?;
    let targets = group.targets.iter().filter_map(|target| {
        Some(tables::Target {
            address: target.address(model)?,
            port: target.port,
            az: target.zone(group, model),
            health: target.health,
            failures: target.failures,
        })
    });
    Some(TargetGroupRow {
        label: group.name.clone(),
        vpc: model.row(&group.vpc)?.into(),
        targets: targets.collect(),
        stickiness: group.attributes.stickiness,
        failover: group.attributes.failover,
        reset_on_unhealthy: group.attributes.reset_on_unhealthy,
        reset_on_deregistration: group.attributes.reset_on_deregistration,
        reset_on_idle: group.attributes.reset_on_idle,
        proxy_protocol: group.attributes.proxy_protocol,
        preserve_client_ip: group.attributes.preserve_client_ip,
    })
}

/// What depends on a load balancer, target group or listener.
pub(super) fn expand(model: &Model, id: &ResourceId, dirty: &mut BTreeSet<ResourceId>) {
    let text = id.text.clone();
    match id.kind {
        Kind::LoadBalancer => {
            super::depend::referrers(model, id, Kind::NetworkInterface, dirty);
        }
        Kind::Listener => {
            let listener = model.get(&ListenerArn::from_text(text));
            dirty.extend(listener.map(|held| held.load_balancer.resource()));
        }
        _ => {}
    }
}
