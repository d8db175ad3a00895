//! Routes, and which of them AWS allows (aws-behaviour.md §2.1–§2.4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vpclab_dataplane::addr::Prefix;

use super::gateway_endpoint::{ensure_named, is_endpoints_route, require_list};
use super::route_table::is_gateway_table;
use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// `CreateRoute`
#[derive(Clone, Debug)]
pub struct CreateRoute {
    /// The table.
    pub route_table: RouteTableId,
    /// What it covers; nothing in the table may cover exactly the same.
    pub destination: Destination,
    /// Where it leads.
    pub target: RouteTargetSpec,
}

impl Action for CreateRoute {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        ensure_list(tx, &self.destination);
        let table = tx.require(&self.route_table)?;
        if table.routes.contains_key(&self.destination) {
            return Err(ApiError::new(
                "RouteAlreadyExists",
                format!(
                    "The route identified by {} already exists in {}; use ReplaceRoute",
                    self.destination, table.id
                ),
            ));
        }
        if self.target == RouteTargetSpec::Local {
            return Err(ApiError::invalid_value(format!(
                "The target 'local' is for the VPC's own CIDR blocks, not for {}",
                self.destination
            )));
        }
        check_route(tx, &table, &self.destination, &self.target)?;
        check_route_quota(tx, &table, &self.destination)?;
        let route = Route {
            target: self.target,
            origin: RouteOrigin::CreateRoute,
        };
        tx.update(&table.id, |table| {
            table.routes.insert(self.destination, route);
        });
        Ok(())
    }
}

/// `ReplaceRoute`: another target for an existing route. A local route may be
/// sent to an interface or a gateway load balancer endpoint, and back.
#[derive(Clone, Debug)]
pub struct ReplaceRoute {
    /// The table.
    pub route_table: RouteTableId,
    /// Which route.
    pub destination: Destination,
    /// Where it will lead.
    pub target: RouteTargetSpec,
}

impl Action for ReplaceRoute {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let table = tx.require(&self.route_table)?;
        let Some(old) = table.routes.get(&self.destination) else {
            return Err(ApiError::invalid_value(format!(
                "There is no route defined for '{}' in {}; use CreateRoute instead",
                self.destination, table.id
            )));
        };
        refuse_endpoints(tx, &table, &self.destination, &old.target)?;
        let is_local = old.origin == RouteOrigin::CreateRouteTable;
        match (&self.target, is_local) {
            (RouteTargetSpec::Local, true) => {}
            (RouteTargetSpec::Local, false) => {
                return Err(ApiError::invalid_value(format!(
                    "The target 'local' is for the VPC's own CIDR blocks, not for {}",
                    self.destination
                )));
            }
            (target, true) if !target.stays_in_vpc() => {
                return Err(ApiError::invalid_value(format!(
                    "The local route {} can lead only to an interface, a NAT gateway, a gateway load \
                     balancer endpoint or 'local', not to {}",
                    self.destination,
                    target.label()
                )));
            }
            _ => check_route(tx, &table, &self.destination, &self.target)?,
        }
        let route = Route {
            target: self.target,
            origin: old.origin,
        };
        tx.update(&table.id, |table| {
            table.routes.insert(self.destination, route);
        });
        Ok(())
    }
}

/// `DeleteRoute`
#[derive(Clone, Debug)]
pub struct DeleteRoute {
    /// The table.
    pub route_table: RouteTableId,
    /// Which route.
    pub destination: Destination,
}

impl Action for DeleteRoute {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let table = tx.require(&self.route_table)?;
        let Some(route) = table.routes.get(&self.destination) else {
            return Err(ApiError::new(
                "InvalidRoute.NotFound",
                format!(
                    "no route with destination-cidr-block {} in route table {}",
                    self.destination, table.id
                ),
            ));
        };
        if route.origin == RouteOrigin::CreateRouteTable {
            return Err(ApiError::invalid_value(format!(
                "cannot remove local route {} in route table {}",
                self.destination, table.id
            )));
        }
        refuse_endpoints(tx, &table, &self.destination, &route.target)?;
        tx.update(&table.id, |table| {
            table.routes.remove(&self.destination);
        });
        Ok(())
    }
}

/// One of AWS's prefix lists is there as soon as it is named.
fn ensure_list(tx: &mut Transaction<'_>, destination: &Destination) {
    if let Destination::PrefixList(id) = destination {
        ensure_named(tx, id);
    }
}

/// The route of a gateway endpoint comes and goes with it.
fn refuse_endpoints(
    tx: &Transaction<'_>,
    table: &RouteTable,
    destination: &Destination,
    target: &RouteTargetSpec,
) -> Result<(), ApiError> {
    if !is_endpoints_route(tx, target) {
        return Ok(());
    }
    Err(ApiError::invalid_value(format!(
        "cannot replace or remove VPC endpoint route {destination} in route table {}: it belongs \
         to {}; take the table from the endpoint with ModifyVpcEndpoint",
        table.id,
        target.label()
    )))
}

/// Whether the table may have this route.
fn check_route(
    tx: &Transaction<'_>,
    table: &RouteTable,
    destination: &Destination,
    target: &RouteTargetSpec,
) -> Result<(), ApiError> {
    check_target(tx, table, target)?;
    if let (Destination::PrefixList(list), RouteTargetSpec::VpcEndpoint(endpoint)) =
        (destination, target)
    {
        // V:route-table-options
        return Err(ApiError::invalid_value(format!(
            "Cannot create or replace a prefix list route targeting a VPC Endpoint: {list} to \
             {endpoint}; give CIDR blocks"
        )));
    }
    match destination {
        Destination::PrefixList(list) => drop(require_list(tx, list)?),
        Destination::Cidr(block) => {
            refuse_link_local(*block)?;
            refuse_inside_local(tx, table, *block, target)?;
        }
    }
    if let (Destination::Cidr(block), RouteTargetSpec::NatGateway(gateway)) = (destination, target)
        && !block.is_ipv4()
    {
        return Err(ApiError::invalid_value(format!(
            "The destination {block} cannot lead to {gateway}: a NAT gateway translates IPv4 only, \
             and NAT64 is not emulated"
        )));
    }
    if is_gateway_table(tx.model(), &table.id) {
        check_gateway_route(tx, table, destination, target)?;
    }
    Ok(())
}

fn check_target(
    tx: &Transaction<'_>,
    table: &RouteTable,
    target: &RouteTargetSpec,
) -> Result<(), ApiError> {
    let different = |id: &dyn std::fmt::Display| {
        ApiError::invalid_value(format!(
            "route table {} ({}) and {id} belong to different networks",
            table.id, table.vpc
        ))
    };
    match target {
        RouteTargetSpec::Local => Ok(()),
        RouteTargetSpec::InternetGateway(id) => match &tx.require(id)?.vpc {
            Some(vpc) if *vpc == table.vpc => Ok(()),
            _ => Err(different(id)),
        },
        RouteTargetSpec::VpnGateway(id) => match &tx.require(id)?.vpc {
            Some(vpc) if *vpc == table.vpc => Ok(()),
            _ => Err(different(id)),
        },
        RouteTargetSpec::NetworkInterface(id) => {
            let interface = tx.require(id)?;
            if interface.vpc != table.vpc {
                return Err(different(id));
            }
            if interface.requester_managed {
                return Err(ApiError::invalid_value(format!(
                    "'{id}' is managed by a service and cannot be a route target; name its \
                     endpoint instead"
                )));
            }
            Ok(())
        }
        RouteTargetSpec::VpcPeeringConnection(id) => {
            let peering = tx.require_any_owner(id)?;
            if !peering.ends().iter().any(|end| end.vpc == table.vpc) {
                return Err(different(id));
            }
            // One that waits for acceptance may be named, and is a blackhole till then.
            let state = peering.state_at(tx.now_s());
            if !state.is_open() {
                return Err(ApiError::new(
                    VpcPeeringConnectionId::NOT_FOUND,
                    format!("The peering connection {id} is {}", state.name()),
                ));
            }
            Ok(())
        }
        RouteTargetSpec::NatGateway(id) => {
            let gateway = tx.require(id).map_err(|error| match &*error.code {
                NatGatewayId::NOT_FOUND => {
                    ApiError::new("InvalidNatGatewayID.NotFound", error.message)
                }
                _ => error,
            })?;
            if gateway.vpc != table.vpc {
                return Err(different(id));
            }
            if gateway.interface.is_none() {
                return Err(ApiError::new(
                    "InvalidNatGatewayID.NotFound",
                    format!("The NAT gateway '{id}' is in state {}", gateway.state()),
                ));
            }
            Ok(())
        }
        RouteTargetSpec::VpcEndpoint(id) => {
            let endpoint = tx.require(id)?;
            if endpoint.vpc != table.vpc {
                return Err(different(id));
            }
            if endpoint.endpoint_type != VpcEndpointType::GatewayLoadBalancer {
                return Err(ApiError::invalid_value(format!(
                    "'{id}' is not a gateway load balancer endpoint; others cannot be route \
                     targets"
                )));
            }
            Ok(())
        }
    }
}

/// The ranges of the services on each host (V:subnet-route-tables).
fn refuse_link_local(block: Prefix) -> Result<(), ApiError> {
    let v4 = Prefix::new(IpAddr::V4(Ipv4Addr::new(169, 254, 168, 0)), 22);
    let v6 = Prefix::new(
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0)),
        32,
    );
    let held = v4.into_iter().chain(v6).find(|range| range.covers(block));
    held.map_or(Ok(()), |range| {
        Err(ApiError::invalid_value(format!(
            "The destination {block} lies in {range}, which AWS keeps for services on the host; \
             a wider route is accepted and does not capture it"
        )))
    })
}

/// A route inside a VPC block must be one whole subnet's and lead to a
/// middlebox (V:subnet-route-tables, V:route-table-options).
fn refuse_inside_local(
    tx: &Transaction<'_>,
    table: &RouteTable,
    block: Prefix,
    target: &RouteTargetSpec,
) -> Result<(), ApiError> {
    let Some(vpc) = tx.model().get(&table.vpc) else {
        return Ok(());
    };
    let Some(local) = vpc.blocks().find(|local| local.covers(block)) else {
        return Ok(());
    };
    if !target.stays_in_vpc() {
        return Err(ApiError::invalid_value(format!(
            "The destination CIDR block {block} is equal to or more specific than one of this \
             VPC's CIDR blocks ({local}). This route can target only an interface, a NAT gateway \
             or a gateway load balancer endpoint, not {}",
            target.label()
        )));
    }
    if block != local && !is_subnet_block(tx, &table.vpc, block) {
        return Err(ApiError::invalid_value(format!(
            "The destination CIDR block {block} is more specific than {local} and must be exactly \
             the block of a subnet of {}",
            table.vpc
        )));
    }
    Ok(())
}

fn is_subnet_block(tx: &Transaction<'_>, vpc: &VpcId, block: Prefix) -> bool {
    let mut subnets = tx.model().referrers::<Subnet>(vpc);
    subnets.any(|subnet| subnet.blocks().any(|own| own == block))
}

/// Whether a table of this content may be associated with a gateway.
pub(super) fn check_gateway_routes(
    tx: &Transaction<'_>,
    table: &RouteTable,
) -> Result<(), ApiError> {
    for (destination, route) in table.routes.iter() {
        check_gateway_route(tx, table, destination, &route.target)?;
    }
    Ok(())
}

/// V:gateway-route-tables: whole VPC or subnet blocks, to a middlebox or local.
fn check_gateway_route(
    tx: &Transaction<'_>,
    table: &RouteTable,
    destination: &Destination,
    target: &RouteTargetSpec,
) -> Result<(), ApiError> {
    let refuse = |why: String| {
        Err(ApiError::invalid_value(format!(
            "Route table {} is a gateway's: {why}",
            table.id
        )))
    };
    if !target.stays_in_vpc() || matches!(target, RouteTargetSpec::NatGateway(_)) {
        return refuse(format!(
            "its routes lead to 'local', an interface or a gateway load balancer endpoint, not to \
             {}",
            target.label()
        ));
    }
    match destination {
        Destination::PrefixList(list) => refuse(format!(
            "its destinations are the VPC's and its subnets' CIDR blocks, not the prefix list \
             {list}"
        )),
        Destination::Cidr(block) => {
            let vpc = tx.model().get(&table.vpc);
            let whole = vpc.is_some_and(|vpc| vpc.blocks().any(|own| own == *block));
            if whole || is_subnet_block(tx, &table.vpc, *block) {
                return Ok(());
            }
            refuse(format!(
                "the destination {block} is not the CIDR block of {} or of one of its subnets",
                table.vpc
            ))
        }
    }
}

/// ASSUMPTION: local routes are not counted. A prefix list counts by its maximum.
pub(super) fn check_route_quota(
    tx: &Transaction<'_>,
    table: &RouteTable,
    destination: &Destination,
) -> Result<(), ApiError> {
    let Some((ipv4, more)) = route_weight(tx.model(), destination) else {
        return Ok(());
    };
    let have = routes_counted(tx.model(), table, ipv4);
    let quota = Quota::RoutesPerRouteTable;
    tx.check_quota(quota, have, more, "RouteLimitExceeded")
}

/// How many routes of a family a table has, as the quota counts them.
pub(super) fn routes_counted(model: &Model, table: &RouteTable, ipv4: bool) -> u64 {
    let lists = table
        .routes
        .prefix_lists()
        .cloned()
        .map(Destination::PrefixList);
    let weights = lists.filter_map(|list| route_weight(model, &list));
    let lists = weights.filter(|(family, _)| *family == ipv4);
    table.routes.created(ipv4) + lists.map(|(_, weight)| weight).sum::<u64>()
}

fn route_weight(model: &Model, destination: &Destination) -> Option<(bool, u64)> {
    match destination {
        Destination::Cidr(block) => Some((block.is_ipv4(), 1)),
        Destination::PrefixList(id) => model.get(id).map(|list| {
            let ipv4 = list.family == AddressFamily::Ipv4;
            (ipv4, u64::from(list.max_entries))
        }),
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
