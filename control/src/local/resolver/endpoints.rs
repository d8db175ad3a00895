//! Names of interface endpoints: regional and zonal ones.
//!
//! AWS: PrivateLink "Access AWS services" (regional and zonal names are public
//! records that give private addresses; the regional name leads to zones that
//! are healthy).

use std::net::IpAddr;
use std::sync::Arc;

use vpclab_dataplane::tables::TargetHealth;

use super::Found;
use super::instances::{address, within};
use crate::local::asker::Asker;
use crate::model::{
    EndpointInterface, EndpointService, Id, Listener, LoadBalancer, Model, Subnet, VpcEndpoint,
    VpcEndpointId, VpcEndpointState,
};

pub(super) fn find(asker: &Asker<'_>, name: &str) -> Found {
    let Some(rest) = within(name, "vpce.amazonaws.com") else {
        return Found::Elsewhere;
    };
    let id = rest.split('.').next().unwrap_or_default();
    let id = id.split('-').take(2).collect::<Vec<_>>().join("-");
    let endpoint = asker.model.get(&VpcEndpointId::from_text(Arc::from(id)));
    let named = endpoint.and_then(|endpoint| {
        let names = endpoint.dns_names(asker.model);
        let found = names.into_iter().find(|it| it.name == name)?;
        Some((endpoint, found))
    });
    match named {
        Some((endpoint, found)) => Found::Here(
            addresses(asker.model, endpoint, found.zone.as_deref())
                .into_iter()
                .map(address)
                .collect(),
        ),
        None => Found::Missing,
    }
}

/// Where a name of an endpoint leads: its interface in one zone, or all whose
/// zones are healthy. With none healthy it leads to all, as Route 53 does.
///
/// ASSUMPTION: a zonal name leads to its zone whatever its health.
pub(super) fn addresses(model: &Model, endpoint: &VpcEndpoint, zone: Option<&str>) -> Vec<IpAddr> {
    let places: Vec<(&EndpointInterface, &Arc<Subnet>)> = endpoint
        .interfaces
        .iter()
        .filter_map(|place| Some((place, model.get(&place.subnet)?)))
        .filter(|(_, subnet)| zone.is_none_or(|zone| *subnet.zone == *zone))
        .collect();
    let is_healthy = |subnet: &Subnet| is_zone_healthy(model, endpoint, subnet);
    let any = places.iter().any(|(_, subnet)| is_healthy(subnet));
    let used = places
        .iter()
        .filter(|(_, subnet)| zone.is_some() || !any || is_healthy(subnet));
    let interfaces = used.filter_map(|(place, _)| model.get(&place.interface));
    interfaces
        .flat_map(|interface| interface.addresses().collect::<Vec<_>>())
        .collect()
}

/// Whether connections that enter an endpoint in a zone would find a target.
fn is_zone_healthy(model: &Model, endpoint: &VpcEndpoint, subnet: &Subnet) -> bool {
    if endpoint.state != VpcEndpointState::Available || model.is_zone_down(&subnet.zone) {
        return false;
    }
    let service: Option<&Arc<EndpointService>> = model.get(&endpoint.service);
    // AWS's own are there wherever the zone is.
    if service.is_some_and(|service| service.aws.is_some()) {
        return true;
    }
    let balancers = service.into_iter().flat_map(|it| &it.load_balancers);
    let mut balancers = balancers.filter_map(|arn| model.get(arn));
    balancers.any(|balancer| has_healthy_target(model, balancer, subnet))
}

fn has_healthy_target(model: &Model, balancer: &LoadBalancer, subnet: &Subnet) -> bool {
    let zone_of = |id| model.get(id).map(|subnet: &Arc<Subnet>| subnet.az);
    let mut nodes = balancer.nodes.iter();
    // Any zone of another region serves.
    let remote = balancer.meta.region != subnet.meta.region;
    if !remote && !nodes.any(|node| zone_of(&node.subnet) == Some(subnet.az)) {
        return false;
    }
    let listeners = model.referrers::<Listener>(&balancer.id);
    let mut groups = listeners.filter_map(|listener| model.get(&listener.target_group));
    groups.any(|group| {
        group.targets.iter().any(|target| {
            let here = target
                .zone(group, model)
                .is_none_or(|zone| remote || balancer.cross_zone || zone == subnet.az);
            here && target.health == TargetHealth::Healthy && target.draining_until.is_none()
        })
    })
}
