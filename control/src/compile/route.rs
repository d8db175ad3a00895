//! Rows of route tables: targets resolved, prefix lists expanded.

use std::sync::Arc;

use vpclab_dataplane::tables::{self, RouteTableRow, RouteTarget};

use crate::model::*;

pub(super) fn table(model: &Model, text: &Arc<str>) -> Option<RouteTableRow> {
    let table = model.get(&RouteTableId::from_text(text.clone()))?;
    let mut routes = Vec::with_capacity(table.routes.len());
    for (destination, route) in &table.routes {
        let target = resolve(model, &table.vpc, &route.target);
        let label = route.target.label();
        match destination {
            Destination::Cidr(prefix) => routes.push(tables::Route {
                prefix: *prefix,
                target,
                origin: match route.origin {
                    RouteOrigin::CreateRouteTable => tables::RouteOrigin::Local,
                    RouteOrigin::CreateRoute => tables::RouteOrigin::Static,
                    RouteOrigin::Propagated => tables::RouteOrigin::Propagated,
                },
                label,
            }),
            Destination::PrefixList(id) => {
                let (Some(list), Some(row)) = (model.get(id), model.row(id)) else {
                    continue;
                };
                routes.extend(list.entries.keys().map(|&prefix| tables::Route {
                    prefix,
                    target: target.clone(),
                    origin: tables::RouteOrigin::PrefixList(row.into()),
                    label: label.clone(),
                }));
            }
        }
    }
    Some(RouteTableRow {
        label: text.clone(),
        routes,
    })
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
        RouteTargetSpec::NetworkInterface(id) => model
            .get(id)
            .filter(|interface| interface.is_attached())
            .and_then(|_| model.row(id))
            .map(|row| RouteTarget::Eni(row.into())),
        RouteTargetSpec::VpcEndpoint(id) => model
            .row(id)
            .map(|row| RouteTarget::GatewayEndpoint(row.into())),
    };
    resolved.unwrap_or(RouteTarget::Blackhole)
}
