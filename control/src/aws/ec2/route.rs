//! Routes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::tables::RouteTarget;

use super::shape::{Cidr, DONE, Done};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::compile;
use crate::model::{
    Destination, Id, InternetGatewayId, Model, NatGatewayId, NetworkInterface, NetworkInterfaceId,
    PrefixListId, Route, RouteOrigin, RouteTable, RouteTableId, RouteTargetSpec, VpcEndpointId,
    VpcPeeringConnectionId, VpnGatewayId,
};

calls! {
    Write: CreateRoute ReplaceRoute DeleteRoute;
}

/// Where a route of a request leads; one of them.
#[derive(Debug, Default)]
struct Target {
    gateway_id: Option<String>,
    instance_id: Option<String>,
    network_interface_id: Option<NetworkInterfaceId>,
    vpc_endpoint_id: Option<VpcEndpointId>,
    vpc_peering_connection_id: Option<VpcPeeringConnectionId>,
    nat_gateway_id: Option<NatGatewayId>,
    local: bool,
}

impl Target {
    fn spec(self, at: &At<'_, '_>) -> Result<RouteTargetSpec, ApiError> {
        let mut all = Vec::new();
        if let Some(gateway) = self.gateway_id {
            all.push(match gateway.as_str() {
                "local" => RouteTargetSpec::Local,
                // The API takes an endpoint's id here, too.
                id if id.starts_with(VpcEndpointId::PREFIX) => {
                    RouteTargetSpec::VpcEndpoint(VpcEndpointId::from(id))
                }
                id if id.starts_with(VpnGatewayId::PREFIX) => {
                    RouteTargetSpec::VpnGateway(VpnGatewayId::from(id))
                }
                id => RouteTargetSpec::InternetGateway(InternetGatewayId::from(id)),
            });
        }
        if let Some(instance) = self.instance_id {
            all.push(RouteTargetSpec::NetworkInterface(only_interface(
                at, &instance,
            )?));
        }
        all.extend(
            self.network_interface_id
                .map(RouteTargetSpec::NetworkInterface),
        );
        all.extend(self.vpc_endpoint_id.map(RouteTargetSpec::VpcEndpoint));
        all.extend(
            self.vpc_peering_connection_id
                .map(RouteTargetSpec::VpcPeeringConnection),
        );
        all.extend(self.nat_gateway_id.map(RouteTargetSpec::NatGateway));
        all.extend(self.local.then_some(RouteTargetSpec::Local));
        match (all.pop(), all.pop()) {
            (Some(target), None) => Ok(target),
            (None, _) => Err(ApiError::missing("gatewayId")),
            (Some(one), Some(other)) => Err(ApiError::invalid_combination(format!(
                "A route has one target, not both {} and {}",
                other.label(),
                one.label()
            ))),
        }
    }
}

/// The interface of an instance that has one.
fn only_interface(at: &At<'_, '_>, instance: &str) -> Result<NetworkInterfaceId, ApiError> {
    let mut held = super::instance::interfaces(at.model(), at.caller(), instance);
    match (held.pop(), held.pop()) {
        (Some(interface), None) => Ok(interface.id.clone()),
        (None, _) => Err(ApiError::new(
            "InvalidInstanceID.NotFound",
            format!("The instance ID '{instance}' does not exist"),
        )),
        (Some(_), Some(_)) => Err(ApiError::new(
            "InvalidInstanceID",
            format!(
                "There are multiple interfaces attached to instance '{instance}'. Please specify an interface ID"
            ),
        )),
    }
}

/// What a route covers; one of them.
fn destination(
    v4: Option<Cidr>,
    v6: Option<Cidr>,
    list: Option<PrefixListId>,
) -> Result<Destination, ApiError> {
    let blocks = v4
        .into_iter()
        .chain(v6)
        .map(|Cidr(block)| Destination::Cidr(block));
    let mut all: Vec<_> = blocks.chain(list.map(Destination::PrefixList)).collect();
    match (all.pop(), all.pop()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(ApiError::missing("destinationCidrBlock")),
        (Some(one), Some(other)) => Err(ApiError::invalid_combination(format!(
            "A route has one destination, not both {other} and {one}"
        ))),
    }
}

/// `CreateRoute`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateRoute {
    route_table_id: RouteTableId,
    destination_cidr_block: Option<Cidr>,
    destination_ipv6_cidr_block: Option<Cidr>,
    destination_prefix_list_id: Option<PrefixListId>,
    gateway_id: Option<String>,
    instance_id: Option<String>,
    network_interface_id: Option<NetworkInterfaceId>,
    vpc_endpoint_id: Option<VpcEndpointId>,
    vpc_peering_connection_id: Option<VpcPeeringConnectionId>,
    nat_gateway_id: Option<NatGatewayId>,
}

impl Call for CreateRoute {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let destination = destination(
            self.destination_cidr_block,
            self.destination_ipv6_cidr_block,
            self.destination_prefix_list_id,
        )?;
        let target = Target {
            gateway_id: self.gateway_id,
            instance_id: self.instance_id,
            network_interface_id: self.network_interface_id,
            vpc_endpoint_id: self.vpc_endpoint_id,
            vpc_peering_connection_id: self.vpc_peering_connection_id,
            nat_gateway_id: self.nat_gateway_id,
            local: false,
        };
        let target = target.spec(at)?;
        at.run(api::CreateRoute {
            route_table: self.route_table_id,
            destination,
            target,
        })?;
        Ok(DONE)
    }
}

/// `ReplaceRoute`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReplaceRoute {
    route_table_id: RouteTableId,
    destination_cidr_block: Option<Cidr>,
    destination_ipv6_cidr_block: Option<Cidr>,
    destination_prefix_list_id: Option<PrefixListId>,
    gateway_id: Option<String>,
    instance_id: Option<String>,
    network_interface_id: Option<NetworkInterfaceId>,
    vpc_endpoint_id: Option<VpcEndpointId>,
    vpc_peering_connection_id: Option<VpcPeeringConnectionId>,
    nat_gateway_id: Option<NatGatewayId>,
    #[serde(default)]
    local_target: bool,
}

impl Call for ReplaceRoute {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let destination = destination(
            self.destination_cidr_block,
            self.destination_ipv6_cidr_block,
            self.destination_prefix_list_id,
        )?;
        let target = Target {
            gateway_id: self.gateway_id,
            instance_id: self.instance_id,
            network_interface_id: self.network_interface_id,
            vpc_endpoint_id: self.vpc_endpoint_id,
            vpc_peering_connection_id: self.vpc_peering_connection_id,
            nat_gateway_id: self.nat_gateway_id,
            local: self.local_target,
        };
        let target = target.spec(at)?;
        at.run(api::ReplaceRoute {
            route_table: self.route_table_id,
            destination,
            target,
        })?;
        Ok(DONE)
    }
}

/// `DeleteRoute`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteRoute {
    route_table_id: RouteTableId,
    destination_cidr_block: Option<Cidr>,
    destination_ipv6_cidr_block: Option<Cidr>,
    destination_prefix_list_id: Option<PrefixListId>,
}

impl Call for DeleteRoute {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let destination = destination(
            self.destination_cidr_block,
            self.destination_ipv6_cidr_block,
            self.destination_prefix_list_id,
        )?;
        at.run(api::DeleteRoute {
            route_table: self.route_table_id,
            destination,
        })?;
        Ok(DONE)
    }
}

/// A route in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteItem {
    pub(super) destination_cidr_block: Option<String>,
    pub(super) destination_ipv6_cidr_block: Option<String>,
    pub(super) destination_prefix_list_id: Option<PrefixListId>,
    pub(super) gateway_id: Option<Arc<str>>,
    pub(super) vpc_peering_connection_id: Option<VpcPeeringConnectionId>,
    nat_gateway_id: Option<NatGatewayId>,
    network_interface_id: Option<NetworkInterfaceId>,
    instance_id: Option<Arc<str>>,
    instance_owner_id: Option<Arc<str>>,
    pub(super) origin: &'static str,
    pub(super) state: &'static str,
}

impl RouteItem {
    /// A table's routes.
    pub(super) fn all<'a>(
        table: &'a RouteTable,
        model: &'a Model,
    ) -> impl Iterator<Item = Self> + 'a {
        let propagated = compile::vpn::propagated(model, table).into_iter();
        let propagated = propagated.map(|(prefix, gateway)| {
            let route = Route {
                target: RouteTargetSpec::VpnGateway(gateway),
                origin: RouteOrigin::Propagated,
            };
            Self::new(&Destination::Cidr(prefix), &route, "active", model)
        });
        let own = table.routes.iter().map(|(destination, route)| {
            let state = match compile::route::resolve(model, &table.vpc, &route.target)
                == RouteTarget::Blackhole
            {
                true => "blackhole",
                false => "active",
            };
            Self::new(destination, route, state, model)
        });
        own.chain(propagated)
    }

    fn new(destination: &Destination, route: &Route, state: &'static str, model: &Model) -> Self {
        let block = match destination {
            Destination::Cidr(block) => Some(block),
            Destination::PrefixList(_) => None,
        };
        let interface = match &route.target {
            RouteTargetSpec::NetworkInterface(id) => Some(id.clone()),
            _ => None,
        };
        let held = interface.as_ref().and_then(|id| model.get(id));
        let instance = held.and_then(|held: &Arc<NetworkInterface>| held.attachment.clone());
        let owner = held
            .filter(|_| instance.is_some())
            .map(|held| held.meta.owner.clone());
        Self {
            destination_cidr_block: block.filter(|b| b.is_ipv4()).map(ToString::to_string),
            destination_ipv6_cidr_block: block.filter(|b| !b.is_ipv4()).map(ToString::to_string),
            destination_prefix_list_id: match destination {
                Destination::PrefixList(id) => Some(id.clone()),
                Destination::Cidr(_) => None,
            },
            nat_gateway_id: match &route.target {
                RouteTargetSpec::NatGateway(id) => Some(id.clone()),
                _ => None,
            },
            gateway_id: match &route.target {
                RouteTargetSpec::NetworkInterface(_)
                | RouteTargetSpec::VpcPeeringConnection(_)
                | RouteTargetSpec::NatGateway(_) => None,
                target => Some(target.label()),
            },
            vpc_peering_connection_id: match &route.target {
                RouteTargetSpec::VpcPeeringConnection(id) => Some(id.clone()),
                _ => None,
            },
            network_interface_id: interface,
            instance_id: instance.map(|held| held.host),
            instance_owner_id: owner,
            origin: match route.origin {
                RouteOrigin::CreateRouteTable => "CreateRouteTable",
                RouteOrigin::CreateRoute => "CreateRoute",
                RouteOrigin::Propagated => "EnableVgwRoutePropagation",
            },
            state,
        }
    }
}
