//! Gateway endpoints: routes to S3 and DynamoDB that only the endpoint adds and
//! removes (aws-behaviour.md §5.1).

use std::sync::Arc;

use super::endpoint_service::invalid;
use super::route_table::is_gateway_table;
use super::{ApiError, CreateVpcEndpoint, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// What `com.amazonaws.REGION.SERVICE` stands for.
pub(super) fn service(region: &str, name: &str) -> Option<&'static AwsList> {
    AwsList::in_region(region).find(|list| list.name() == name)
}

pub(super) fn create(
    tx: &mut Transaction<'_>,
    request: CreateVpcEndpoint,
    list: &'static AwsList,
) -> Result<VpcEndpointId, ApiError> {
    let vpc = tx.require(&request.vpc)?;
    if let Some(place) = request.subnets.first() {
        return Err(invalid(format!(
            "Subnets are not supported on endpoints of type Gateway: {}; name route tables",
            place.subnet
        )));
    }
    if let Some(group) = request.security_groups.first() {
        return Err(invalid(format!(
            "Security groups are not supported on endpoints of type Gateway: {group}"
        )));
    }
    if request.private_dns {
        return Err(invalid(
            "Private DNS is not supported on endpoints of type Gateway".to_owned(),
        ));
    }
    let all = tx.model().vpc_endpoints().iter();
    let have = all
        .filter(|other| other.endpoint_type == VpcEndpointType::Gateway)
        .filter(|other| other.meta.scope() == tx.scope())
        .count() as u64;
    let (quota, code) = (Quota::GatewayEndpointsPerRegion, "VpcEndpointLimitExceeded");
    tx.check_quota(quota, have, 1, code)?;
    let mut endpoint = VpcEndpoint {
        id: tx.mint(),
        meta: tx.meta(request.name.as_deref()),
        vpc: vpc.id.clone(),
        endpoint_type: VpcEndpointType::Gateway,
        service_name: Arc::from(request.service_name),
        service: EndpointServiceId::default(),
        interfaces: Vec::new(),
        groups: Vec::new(),
        dualstack: false,
        state: VpcEndpointState::Available,
        policy: None,
        route_tables: Vec::new(),
        private_dns: false,
        service_region: None,
        service_port: None,
    };
    // What of the lab's answers for the service, if something does.
    if let Ok(service) = super::endpoint::find_service(tx, &list.name(), list.region) {
        endpoint.service_port = Some(super::aws_service::port(tx, &endpoint.id, &service));
        endpoint.service = service.id.clone();
    }
    ensure(tx, list);
    tx.put(endpoint.clone());
    add_tables(tx, &mut endpoint, list, request.route_tables)?;
    let id = endpoint.id.clone();
    tx.put(endpoint);
    Ok(id)
}

/// Adds and removes route tables, and nothing else.
pub(super) fn modify(
    tx: &mut Transaction<'_>,
    mut endpoint: VpcEndpoint,
    add: Vec<RouteTableId>,
    remove: &[RouteTableId],
) -> Result<(), ApiError> {
    let name = &endpoint.service_name;
    let Some(list) = service(&endpoint.meta.region, name) else {
        return Err(invalid(format!("'{name}' has no prefix list")));
    };
    for table in remove {
        if !endpoint.route_tables.contains(table) {
            return Err(invalid(format!(
                "{table} is not associated with {}",
                endpoint.id
            )));
        }
        drop_route(tx, table, list);
    }
    endpoint
        .route_tables
        .retain(|table| !remove.contains(table));
    add_tables(tx, &mut endpoint, list, add)?;
    tx.put(endpoint);
    Ok(())
}

/// Takes the endpoint's routes away.
pub(super) fn delete(tx: &mut Transaction<'_>, endpoint: &VpcEndpoint) {
    if let Some(list) = service(&endpoint.meta.region, &endpoint.service_name) {
        for table in &endpoint.route_tables {
            drop_route(tx, table, list);
        }
    }
}

fn add_tables(
    tx: &mut Transaction<'_>,
    endpoint: &mut VpcEndpoint,
    list: &'static AwsList,
    tables: Vec<RouteTableId>,
) -> Result<(), ApiError> {
    let destination = destination(list);
    for id in tables {
        let table = tx.require(&id)?;
        if table.vpc != endpoint.vpc {
            return Err(invalid(format!(
                "The route table '{id}' is of {}, the endpoint of {}",
                table.vpc, endpoint.vpc
            )));
        }
        if is_gateway_table(tx.model(), &id) {
            return Err(invalid(format!(
                "The route table '{id}' is a gateway's: it leads to no endpoint of type Gateway"
            )));
        }
        if table.routes.contains_key(&destination) {
            return Err(ApiError::new(
                "RouteAlreadyExists",
                format!(
                    "route table {id} already has a route with destination-prefix-list-id {}",
                    list.id
                ),
            ));
        }
        super::route::check_route_quota(tx, &table, &destination)?;
        let route = Route {
            target: RouteTargetSpec::VpcEndpoint(endpoint.id.clone()),
            origin: RouteOrigin::CreateRoute,
        };
        tx.update(&id, |table| table.routes.insert(destination.clone(), route));
        endpoint.route_tables.push(id);
    }
    Ok(())
}

fn drop_route(tx: &mut Transaction<'_>, table: &RouteTableId, list: &'static AwsList) {
    tx.update(table, |table| table.routes.remove(&destination(list)));
}

fn destination(list: &AwsList) -> Destination {
    Destination::PrefixList(PrefixListId::from(list.id))
}

/// Whether a route is a gateway endpoint's: nobody else may touch it.
pub(super) fn is_endpoints_route(tx: &Transaction<'_>, target: &RouteTargetSpec) -> bool {
    let RouteTargetSpec::VpcEndpoint(id) = target else {
        return false;
    };
    let endpoint = tx.model().get(id);
    endpoint.is_some_and(|endpoint| endpoint.endpoint_type == VpcEndpointType::Gateway)
}

/// One of AWS's lists is in the model from now on.
fn ensure(tx: &mut Transaction<'_>, list: &'static AwsList) {
    let resource = list.resource();
    if tx.model().get(&resource.id).is_none() {
        tx.put(resource);
    }
}

/// The list of AWS's with this id, if the region has it, is in the model from now on.
pub(crate) fn ensure_named(tx: &mut Transaction<'_>, id: &PrefixListId) {
    let list = AwsList::by_id(id.as_str());
    if let Some(list) = list.filter(|list| *list.region == *tx.caller().region) {
        ensure(tx, list);
    }
}

/// A list that the caller may name: an own one, or one of AWS's.
pub(crate) fn require_list(
    tx: &Transaction<'_>,
    id: &PrefixListId,
) -> Result<Arc<PrefixList>, ApiError> {
    let found = tx.model().get(id);
    let aws = found
        .filter(|list| *list.meta.owner == *AWS_OWNER && list.meta.region == tx.caller().region);
    match aws {
        Some(list) => Ok(list.clone()),
        None => tx.require(id),
    }
}

#[cfg(test)]
#[path = "gateway_endpoint_tests.rs"]
mod tests;
