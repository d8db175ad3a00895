//! Model → rows. Each change compiles only the rows that can differ; the full
//! compile says what must come out, and tests compare the two.

mod acl;
#[cfg(test)]
mod agreement;
#[cfg(test)]
mod agreement_services;
mod depend;
mod endpoint;
mod interface;
mod lb;
mod nat_gateway;
mod peering;
pub mod route;
mod vpc;
pub mod vpn;

use std::collections::BTreeSet;

use vpclab_dataplane::tables::{Builder, Settings, Snapshot};

use crate::model::{Id, Kind, Model, ResourceId, RouteTableId};
pub(crate) use vpc::route_table_in_force;
pub use vpc::router_mac;

/// All rows of a model, from nothing.
pub fn full(model: &Model, settings: Settings) -> Snapshot {
    let mut builder = Builder::new(settings);
    for id in model.ids() {
        set(model, &id, &mut builder);
    }
    builder.finish()
}

/// The rows that can differ between `before` and `after`, where only `touched`
/// resources were put or removed.
pub fn incremental(
    before: &Model,
    after: &Model,
    touched: &BTreeSet<ResourceId>,
    builder: &mut Builder,
) {
    let mut dirty = BTreeSet::new();
    let (tables, others): (Vec<&ResourceId>, Vec<_>) =
        touched.iter().partition(|id| id.kind == Kind::RouteTable);
    for id in others {
        depend::expand(before, id, &mut dirty);
        depend::expand(after, id, &mut dirty);
    }
    // A table of which nothing but routes changed may be large.
    for id in tables
        .into_iter()
        .filter(|id| !dirty.contains(id))
        .collect::<Vec<_>>()
    {
        let table = RouteTableId::from_text(id.text.clone());
        match (before.get(&table), after.get(&table)) {
            (Some(old), Some(new)) if old.propagating == new.propagating => {
                route::changes((before, old), (after, new), builder)
            }
            _ => drop(dirty.insert(id.clone())),
        }
    }
    // A row that changes hands within one transaction is emptied first.
    for id in dirty.iter().rev() {
        if let Some(row) = before.row_of(id).filter(|_| after.row_of(id).is_none()) {
            clear(id.kind, row, builder);
        }
    }
    for id in &dirty {
        set(after, id, builder);
    }
}

/// Sets the row of a resource that exists.
fn set(model: &Model, id: &ResourceId, builder: &mut Builder) {
    let Some(row) = model.row_of(id) else {
        return;
    };
    let text = &id.text;
    match id.kind {
        Kind::Vpc => builder.set_vpc(row.into(), vpc::vpc(model, text)),
        Kind::Subnet => builder.set_subnet(row.into(), vpc::subnet(model, text)),
        Kind::PrefixList => builder.set_prefix_list(row.into(), acl::prefix_list(model, text)),
        Kind::SecurityGroup => {
            builder.set_security_group(row.into(), acl::security_group(model, text));
        }
        Kind::NetworkAcl => builder.set_network_acl(row.into(), acl::network_acl(model, text)),
        Kind::RouteTable => builder.set_route_table(row.into(), route::table(model, text)),
        Kind::NetworkInterface => builder.set_eni(row.into(), interface::interface(model, text)),
        Kind::TargetGroup => builder.set_target_group(row.into(), lb::target_group(model, text)),
        Kind::LoadBalancer => {
            builder.set_load_balancer(row.into(), lb::load_balancer(model, text));
        }
        Kind::VpcEndpoint => builder.set_endpoint(row.into(), endpoint::endpoint(model, text)),
        Kind::VpcPeeringConnection => {
            builder.set_peering(row.into(), peering::peering(model, text));
        }
        Kind::NatGateway => {
            builder.set_nat_gateway(row.into(), nat_gateway::nat_gateway(model, text));
        }
        Kind::Scope
        | Kind::DhcpOptions
        | Kind::HostedZone
        | Kind::NetworkAclAssociation
        | Kind::RouteTableAssociation
        | Kind::InternetGateway
        | Kind::VpnGateway
        | Kind::CustomerGateway
        | Kind::VpnConnection
        | Kind::ElasticIp
        | Kind::Listener
        | Kind::EndpointService
        | Kind::Instance
        | Kind::NetworkInsightsPath
        | Kind::NetworkInsightsAnalysis
        | Kind::ClientToken => {}
    }
}

/// Empties the row of a resource that is gone.
fn clear(kind: Kind, row: u32, builder: &mut Builder) {
    match kind {
        Kind::Vpc => builder.set_vpc(row.into(), None),
        Kind::Subnet => builder.set_subnet(row.into(), None),
        Kind::PrefixList => builder.set_prefix_list(row.into(), None),
        Kind::SecurityGroup => builder.set_security_group(row.into(), None),
        Kind::NetworkAcl => builder.set_network_acl(row.into(), None),
        Kind::RouteTable => builder.set_route_table(row.into(), None),
        Kind::NetworkInterface => builder.set_eni(row.into(), None),
        Kind::TargetGroup => builder.set_target_group(row.into(), None),
        Kind::LoadBalancer => builder.set_load_balancer(row.into(), None),
        Kind::VpcEndpoint => builder.set_endpoint(row.into(), None),
        Kind::VpcPeeringConnection => builder.set_peering(row.into(), None),
        Kind::NatGateway => builder.set_nat_gateway(row.into(), None),
        Kind::Scope
        | Kind::DhcpOptions
        | Kind::HostedZone
        | Kind::NetworkAclAssociation
        | Kind::RouteTableAssociation
        | Kind::InternetGateway
        | Kind::VpnGateway
        | Kind::CustomerGateway
        | Kind::VpnConnection
        | Kind::ElasticIp
        | Kind::Listener
        | Kind::EndpointService
        | Kind::Instance
        | Kind::NetworkInsightsPath
        | Kind::NetworkInsightsAnalysis
        | Kind::ClientToken => {}
    }
}
