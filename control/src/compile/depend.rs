//! Which rows a touched resource can change. Called with the model before and
//! after, so that both ends of a moved reference are found.

use std::collections::BTreeSet;

use crate::model::*;

/// Adds the resources whose rows depend on `id` to `dirty`.
pub(super) fn expand(model: &Model, id: &ResourceId, dirty: &mut BTreeSet<ResourceId>) {
    dirty.insert(id.clone());
    let text = id.text.clone();
    match id.kind {
        Kind::RouteTableAssociation => {
            table_use(model, &RouteTableAssociationId::from_text(text), dirty)
        }
        Kind::NetworkAclAssociation => {
            let association = model.get(&NetworkAclAssociationId::from_text(text));
            dirty.extend(association.map(|held| held.subnet.resource()));
        }
        Kind::InternetGateway => {
            referrers(model, id, Kind::RouteTable, dirty);
            let gateway = model.get(&InternetGatewayId::from_text(text));
            let vpc = gateway.and_then(|gateway| gateway.vpc.clone());
            dirty.extend(vpc.map(|vpc| vpc.resource()));
        }
        // A route to an interface or endpoint is a blackhole while it is gone.
        Kind::NetworkInterface => {
            referrers(model, id, Kind::RouteTable, dirty);
            referrers(model, id, Kind::TargetGroup, dirty);
        }
        Kind::VpcEndpoint => {
            referrers(model, id, Kind::RouteTable, dirty);
            super::endpoint::expand_endpoint(model, id, dirty);
        }
        Kind::VpcPeeringConnection => super::peering::expand(model, id, dirty),
        Kind::NatGateway => {
            referrers(model, id, Kind::RouteTable, dirty);
            referrers(model, id, Kind::NetworkInterface, dirty);
        }
        Kind::VpnGateway => {
            referrers(model, id, Kind::RouteTable, dirty);
            super::vpn::expand(model, dirty);
        }
        Kind::VpnConnection => super::vpn::expand(model, dirty),
        Kind::Vpc => {
            if super::vpn::concerns(model, id) {
                super::vpn::expand(model, dirty);
            }
        }
        // A peer's rules may name a group that is gone.
        Kind::SecurityGroup => {
            if model.row_of(id).is_none() {
                referrers(model, id, Kind::SecurityGroup, dirty);
            }
        }
        Kind::PrefixList => referrers(model, id, Kind::RouteTable, dirty),
        Kind::ElasticIp => {
            let address = model.get(&AllocationId::from_text(text));
            let held = address.and_then(|address| address.association.as_ref());
            dirty.extend(held.map(|held| held.interface.resource()));
        }
        Kind::EndpointService => super::endpoint::expand_service(model, id, dirty),
        Kind::LoadBalancer | Kind::TargetGroup | Kind::Listener => {
            super::lb::expand(model, id, dirty);
        }
        // A target's zone is that of the subnet that holds its address.
        Kind::Subnet => {
            let subnet = model.get(&SubnetId::from_text(text));
            if let Some(vpc) = subnet.map(|subnet| subnet.vpc.resource()) {
                referrers(model, &vpc, Kind::TargetGroup, dirty);
            }
        }
        Kind::Scope
        | Kind::DhcpOptions
        | Kind::HostedZone
        | Kind::Instance
        | Kind::CustomerGateway
        | Kind::NetworkInsightsPath
        | Kind::NetworkInsightsAnalysis
        | Kind::ClientToken
        | Kind::NetworkAcl
        | Kind::RouteTable => {}
    }
}

/// Adds everything of `kind` that names `id`.
pub(super) fn referrers(
    model: &Model,
    id: &ResourceId,
    kind: Kind,
    dirty: &mut BTreeSet<ResourceId>,
) {
    let texts = model.indexes().referrers(id, kind).cloned();
    dirty.extend(texts.map(|text| ResourceId { kind, text }));
}

fn table_use(model: &Model, id: &RouteTableAssociationId, dirty: &mut BTreeSet<ResourceId>) {
    match model.get(id).map(|association| &association.used_by) {
        Some(RouteTableUse::Subnet(subnet)) => drop(dirty.insert(subnet.resource())),
        Some(RouteTableUse::Main(vpc)) => {
            referrers(model, &vpc.resource(), Kind::Subnet, dirty);
        }
        Some(RouteTableUse::InternetGateway(gateway)) => {
            let vpc = model.get(gateway).and_then(|gateway| gateway.vpc.as_ref());
            dirty.extend(vpc.map(Id::resource));
        }
        Some(RouteTableUse::VpnGateway(gateway)) => {
            let vpc = model.get(gateway).and_then(|gateway| gateway.vpc.as_ref());
            dirty.extend(vpc.map(Id::resource));
        }
        None => {}
    }
}
