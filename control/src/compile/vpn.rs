//! What virtual private gateways know, and whom it concerns.

use std::collections::BTreeSet;

use vpclab_dataplane::addr;
use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::VgwRow;

use crate::model::*;

/// The gateway of a VPC, if one is attached.
pub(super) fn gateway(model: &Model, vpc: &VpcId) -> Option<VgwRow> {
    let gateway = model.referrers::<VpnGateway>(vpc).next()?;
    let network = |held: &VpnConnection| network(model, held).and_then(|vpc| model.row(&vpc.id));
    let known = connections(model, &gateway.id);
    let known = known.iter().flat_map(|held| {
        let network = network(held).map(addr::VpcId::from);
        prefixes(model, held)
            .into_iter()
            .map(move |prefix| (prefix, network))
    });
    Some(VgwRow {
        label: gateway.id.text().clone(),
        edge_table: super::vpc::edge_table(model, &gateway.id),
        known: known.collect(),
    })
}

/// The VPCs that an on-premises network reaches, with their blocks.
pub(super) fn reached(model: &Model, network: &Vpc) -> Option<Vec<(Prefix, addr::VpcId)>> {
    let outside = network.on_prem?;
    let own = model.vpn_connections().iter().filter(|held| {
        let gateway = model.get(&held.customer_gateway);
        gateway.is_some_and(|gateway| gateway.address == outside)
    });
    let vpcs: BTreeSet<&VpcId> = own
        .filter_map(|held| model.get(&held.vpn_gateway)?.vpc.as_ref())
        .collect();
    let blocks = vpcs.into_iter().filter_map(|id| {
        let (vpc, row) = (model.get(id)?, model.row(id)?);
        Some(vpc.blocks().map(move |block| (block, row.into())))
    });
    Some(blocks.flatten().collect())
}

/// The connections of a gateway: those with static routes count before those that
/// learn (VPN:vpn-route-priority), then the oldest.
fn connections<'a>(model: &'a Model, gateway: &VpnGatewayId) -> Vec<&'a VpnConnection> {
    let all = model.referrers::<VpnConnection>(gateway);
    let mut all: Vec<&VpnConnection> = all.map(|held| &**held).collect();
    all.sort_by_key(|held| (!held.static_routes_only, held.meta.created_s));
    all
}

/// The on-premises network at the other end of a connection.
pub fn network<'a>(model: &'a Model, held: &VpnConnection) -> Option<&'a Vpc> {
    let gateway = model.get(&held.customer_gateway)?;
    let alias = on_prem_alias(gateway.address);
    let id = model.indexes().alias(&alias)?;
    let vpc = model.get(&VpcId::from_text(id.text.clone()))?;
    Some(vpc)
}

/// What a gateway knows by a connection.
pub fn prefixes(model: &Model, held: &VpnConnection) -> Vec<Prefix> {
    if held.static_routes_only {
        return held.routes.iter().copied().collect();
    }
    let network = network(model, held);
    network
        .map(|vpc| vpc.blocks().collect())
        .unwrap_or_default()
}

/// Whether the tunnels of a connection are up.
pub fn is_up(model: &Model, held: &VpnConnection) -> bool {
    network(model, held).is_some()
}

/// The routes that gateways propagate into a table, each once.
pub fn propagated(model: &Model, table: &RouteTable) -> Vec<(Prefix, VpnGatewayId)> {
    let mut all: Vec<(Prefix, VpnGatewayId)> = Vec::new();
    for id in &table.propagating {
        let attached = model.get(id).and_then(|gateway| gateway.vpc.as_ref());
        if attached != Some(&table.vpc) {
            continue;
        }
        for held in connections(model, id) {
            for prefix in prefixes(model, held) {
                if !all.iter().any(|(known, _)| *known == prefix) {
                    all.push((prefix, id.clone()));
                }
            }
        }
    }
    all
}

/// Everything that a change to gateways, connections or on-premises networks can
/// concern: few have any of them.
pub(super) fn expand(model: &Model, dirty: &mut BTreeSet<ResourceId>) {
    for gateway in model.vpn_gateways().iter() {
        dirty.extend(gateway.vpc.iter().map(Id::resource));
        let id = gateway.id.resource();
        super::depend::referrers(model, &id, Kind::RouteTable, dirty);
    }
    for held in model.vpn_connections().iter() {
        dirty.extend(network(model, held).map(|vpc| vpc.id.resource()));
    }
}

/// Whether a VPC has to do with any of this.
pub(super) fn concerns(model: &Model, id: &ResourceId) -> bool {
    let vpc = model.get(&VpcId::from_text(id.text.clone()));
    vpc.is_some_and(|vpc| vpc.on_prem.is_some() || model.count::<VpnGateway>(id) > 0)
}
