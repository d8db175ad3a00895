//! Rows of route tables: targets resolved, prefix lists expanded; all of a table,
//! or the routes that differ.

use std::sync::Arc;

use vpclab_dataplane::tables::{self, Builder, RouteTableRow, RouteTarget};

use crate::model::*;

/// All of a table.
pub(super) fn table(model: &Model, text: &Arc<str>) -> Option<RouteTableRow> {
    let table = model.get(&RouteTableId::from_text(text.clone()))?;
    let mut routes = Vec::with_capacity(table.routes.len());
    for (destination, route) in table.routes.iter() {
        routes.extend(rows(model, &table.vpc, destination, route));
    }
    for (prefix, gateway) in super::vpn::propagated(model, table) {
        routes.push(tables::Route {
            prefix,
            target: RouteTarget::VirtualPrivateGateway,
            origin: tables::RouteOrigin::Propagated,
            label: gateway.text().clone(),
        });
    }
    Some(RouteTableRow {
        label: text.clone(),
        routes,
    })
}

/// The routes that differ between two versions of a table, where nothing that
/// they name has changed.
pub(super) fn changes(
    (before, old): (&Model, &RouteTable),
    (after, new): (&Model, &RouteTable),
    builder: &mut Builder,
) {
    let Some(row) = after.row(&new.id) else {
        return;
    };
    let gone = |destination, route| rows(before, &old.vpc, destination, route);
    let come = |destination, route| rows(after, &new.vpc, destination, route);
    let remove = |route: tables::Route, builder: &mut Builder| {
        builder.set_route(row.into(), route.prefix, route.origin, None);
    };
    let put = |route: tables::Route, builder: &mut Builder| {
        builder.set_route(row.into(), route.prefix, route.origin, Some(route));
    };
    for change in old.routes.diff(&new.routes) {
        let (was, is) = match change {
            Difference::Added(to, route) => (Vec::new(), come(to, route)),
            Difference::Removed(to, route) => (gone(to, route), Vec::new()),
            Difference::Changed(to, was, is) => (gone(to, was), come(to, is)),
        };
        for route in was {
            let key = |route: &tables::Route| (route.prefix, route.origin);
            if !is.iter().any(|new| key(new) == key(&route)) {
                remove(route, builder);
            }
        }
        for route in is {
            put(route, builder);
        }
    }
}

/// The rows of one route: one, or one for each entry of a prefix list.
fn rows(
    model: &Model,
    vpc: &VpcId,
    destination: &Destination,
    route: &Route,
) -> Vec<tables::Route> {
    let target = resolve(model, vpc, &route.target);
    let label = route.target.label();
    let row = |prefix, origin| tables::Route {
        prefix,
        target: target.clone(),
        origin,
        label: label.clone(),
    };
    match destination {
        Destination::Cidr(prefix) => {
            let origin = match route.origin {
                RouteOrigin::CreateRouteTable => tables::RouteOrigin::Local,
                RouteOrigin::CreateRoute => tables::RouteOrigin::Static,
                RouteOrigin::Propagated => tables::RouteOrigin::Propagated,
            };
            vec![row(*prefix, origin)]
        }
        Destination::PrefixList(id) => {
            let (Some(list), Some(number)) = (model.get(id), model.row(id)) else {
                return Vec::new();
            };
            let origin = tables::RouteOrigin::PrefixList(number.into());
            list.entries
                .keys()
                .map(|&prefix| row(prefix, origin))
                .collect()
        }
    }
}

/// Where a route of a VPC leads now. A target that is gone, detached from the
/// VPC or without a host makes the route a blackhole (API_Route, `state`).
pub fn resolve(model: &Model, vpc: &VpcId, target: &RouteTargetSpec) -> RouteTarget {
    let resolved = match target {
        RouteTargetSpec::Local => Some(RouteTarget::Local),
        RouteTargetSpec::InternetGateway(id) => model
            .get(id)
            .filter(|gateway| gateway.vpc.as_ref() == Some(vpc))
            .map(|_| RouteTarget::InternetGateway),
        RouteTargetSpec::VpnGateway(id) => model
            .get(id)
            .filter(|gateway| gateway.vpc.as_ref() == Some(vpc))
            .map(|_| RouteTarget::VirtualPrivateGateway),
        RouteTargetSpec::NetworkInterface(id) => model
            .get(id)
            .filter(|interface| interface.is_attached())
            .and_then(|_| model.row(id))
            .map(|row| RouteTarget::Eni(row.into())),
        RouteTargetSpec::NatGateway(id) => model
            .get(id)
            .and_then(|gateway| model.row(gateway.interface.as_ref()?))
            .map(|row| RouteTarget::Eni(row.into())),
        RouteTargetSpec::VpcEndpoint(id) => model.get(id).and_then(|endpoint| {
            let row = model.row(id)?.into();
            Some(match endpoint.endpoint_type {
                VpcEndpointType::Gateway => RouteTarget::ServiceEndpoint(row),
                _ => RouteTarget::GatewayEndpoint(row),
            })
        }),
        RouteTargetSpec::VpcPeeringConnection(id) => model
            .get(id)
            .filter(|held| held.state == PeeringState::Active)
            .filter(|held| held.ends().iter().any(|end| end.vpc == *vpc))
            .and_then(|_| model.row(id))
            .map(|row| RouteTarget::Peering(row.into())),
    };
    resolved.unwrap_or(RouteTarget::Blackhole)
}
