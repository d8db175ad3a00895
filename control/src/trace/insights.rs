//! A trace as Reachability Analyzer tells it: ids of what is passed, and why it
//! ends.

use std::sync::Arc;

use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::tables::Snapshot;
use vpclab_dataplane::trace::{End, Leg, Trace};
use vpclab_dataplane::walk::{Component, Hop};

use super::{Names, fix, words};
use crate::model::{Explanation, PathComponent};

/// What an analysis found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Whether there is a way there and back.
    pub found: bool,
    /// The way there.
    pub forward: Vec<PathComponent>,
    /// The way back.
    pub back: Vec<PathComponent>,
    /// Why there is none.
    pub explanations: Vec<Explanation>,
}

impl Found {
    pub(super) fn new(tables: &Snapshot, trace: &Trace, names: Names<'_>) -> Self {
        let reply = trace.reply.as_ref();
        let failed = match trace.forward.end {
            End::Dropped { .. } => Some(&trace.forward),
            End::Delivered(..) | End::Answered => reply,
        };
        let last = failed.and_then(|leg| leg.hops.last());
        let explanation = |reason| explanation(tables, reason, last, names);
        Self {
            found: trace.is_reachable(),
            forward: components(tables, &trace.forward, names),
            back: reply
                .map(|leg| components(tables, leg, names))
                .unwrap_or_default(),
            explanations: trace.reason().map(explanation).into_iter().collect(),
        }
    }
}

fn explanation(
    tables: &Snapshot,
    reason: DropReason,
    hop: Option<&Hop>,
    names: Names<'_>,
) -> Explanation {
    let fix = hop.and_then(|hop| fix::fix(tables, reason, hop, names));
    let description = reason.description();
    Explanation {
        // What AWS has no code for says so by ours.
        code: Arc::from(reason.aws_code().unwrap_or(reason.name())),
        component: hop.and_then(|hop| id(tables, hop.component)),
        direction: hop.and_then(|hop| direction(hop.component)).map(Arc::from),
        message: match fix {
            Some(fix) => format!("{description} To change that: {fix}"),
            None => description.to_owned(),
        },
    }
}

fn components(tables: &Snapshot, leg: &Leg, names: Names<'_>) -> Vec<PathComponent> {
    let component = |hop: &Hop| {
        Some(PathComponent {
            id: id(tables, hop.component)?,
            rule: words::rule(tables, hop, names),
        })
    };
    leg.hops.iter().filter_map(component).collect()
}

fn direction(component: Component) -> Option<&'static str> {
    match component {
        Component::SecurityGroups { egress, .. } | Component::NetworkAcl { egress, .. } => {
            Some(if egress { "egress" } else { "ingress" })
        }
        _ => None,
    }
}

/// AWS's id of what is passed; none if it has none.
fn id(tables: &Snapshot, component: Component) -> Option<Arc<str>> {
    let eni = |id| tables.enis.row(id).map(|row| row.label.clone());
    match component {
        Component::Source(id) | Component::Destination(id) => eni(id),
        // The rule says of which group.
        Component::SecurityGroups { eni: id, .. } => eni(id),
        Component::NetworkAcl { acl, .. } => {
            tables.network_acls.row(acl).map(|row| row.label.clone())
        }
        Component::RouteTable(id) => {
            let table = tables.route_tables.row(id);
            table.map(|table| Arc::from(&**table.label()))
        }
        Component::InternetGateway { vpc, .. } => {
            let igw = tables.vpcs.row(vpc).and_then(|row| row.igw.as_ref());
            igw.map(|igw| igw.label.clone())
        }
        Component::Internet | Component::OnPrem(_) => None,
        Component::VirtualPrivateGateway { vpc, .. } => {
            let vgw = tables.vpcs.row(vpc).and_then(|row| row.vgw.as_ref());
            vgw.map(|vgw| vgw.label.clone())
        }
        Component::Peering(id, _) => tables.peerings.row(id).map(|row| row.label.clone()),
        Component::Endpoint(id) | Component::Tunnel { endpoint: id, .. } => {
            tables.endpoints.row(id).map(|row| row.label.clone())
        }
        Component::LoadBalancer(id, _) => {
            tables.load_balancers.row(id).map(|row| row.label.clone())
        }
        Component::NatGateway(id) => tables.nat_gateways.row(id).map(|row| row.label.clone()),
        Component::TargetGroup(id) => tables.target_groups.row(id).map(|row| row.label.clone()),
        Component::Router(id) | Component::Service(id, _) => {
            tables.vpcs.row(id).map(|row| row.label.clone())
        }
    }
}
