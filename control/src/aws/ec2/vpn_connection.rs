//! Customer gateways and VPN connections: up where the customer gateway's address
//! is that of an on-premises network of the lab.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::shape::{Cidr, DONE, Done};
use super::vpn_gateway::{IPSEC, check_type};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, each, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::compile::vpn::is_up;
use crate::model::{
    CustomerGateway, CustomerGatewayId, Model, VpnConnection, VpnConnectionId, VpnGatewayId,
};

calls! {
    Read: DescribeCustomerGateways DescribeVpnConnections;
    Write: CreateCustomerGateway DeleteCustomerGateway CreateVpnConnection DeleteVpnConnection
        CreateVpnConnectionRoute DeleteVpnConnectionRoute;
}

/// `CreateCustomerGateway`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateCustomerGateway {
    r#type: String,
    bgp_asn: Option<u64>,
    ip_address: Option<Ipv4Addr>,
    /// The older name of the same.
    public_ip: Option<Ipv4Addr>,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// A gateway, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneGateway {
    customer_gateway: GatewayItem,
}

impl Call for CreateCustomerGateway {
    type Answer = OneGateway;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneGateway, ApiError> {
        check_type(&self.r#type)?;
        let tags = tags::specified(&self.tag_specification, "customer-gateway")?;
        let address = self.ip_address.or(self.public_ip);
        let id = at.run(api::CreateCustomerGateway {
            address: address.ok_or_else(|| ApiError::missing("ipAddress"))?,
            asn: self.bgp_asn.unwrap_or(65_000),
            name: None,
        })?;
        tags::put(at, &id, tags);
        let gateway = at.tx.require(&id)?;
        Ok(OneGateway {
            customer_gateway: GatewayItem::new(&gateway),
        })
    }
}

/// `DeleteCustomerGateway`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteCustomerGateway {
    customer_gateway_id: CustomerGatewayId,
}

impl Call for DeleteCustomerGateway {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DeleteCustomerGateway {
            customer_gateway: self.customer_gateway_id,
        })?;
        Ok(DONE)
    }
}

describe! {
    /// `DescribeCustomerGateways`
    DescribeCustomerGateways { customer_gateway_id: CustomerGatewayId }
}

/// `DescribeCustomerGateways`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateways {
    customer_gateway_set: Vec<GatewayItem>,
}

impl Call for DescribeCustomerGateways {
    type Answer = Gateways;

    fn call(self, at: &mut At<'_, '_>) -> Result<Gateways, ApiError> {
        let page = self.wanted().select(at, GATEWAY_FILTERS)?;
        Ok(Gateways {
            customer_gateway_set: page.items.iter().map(|it| GatewayItem::new(it)).collect(),
        })
    }
}

const GATEWAY_FILTERS: &[Known<CustomerGateway>] = &[
    ("customer-gateway-id", |gateway, _| one(&gateway.id)),
    ("bgp-asn", |gateway, _| one(gateway.asn)),
    ("ip-address", |gateway, _| one(gateway.address)),
    ("state", |_, _| one("available")),
    ("type", |_, _| one(IPSEC)),
];

/// A customer gateway in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayItem {
    customer_gateway_id: CustomerGatewayId,
    state: &'static str,
    r#type: &'static str,
    ip_address: String,
    bgp_asn: String,
    tag_set: Vec<TagItem>,
}

impl GatewayItem {
    fn new(gateway: &CustomerGateway) -> Self {
        Self {
            customer_gateway_id: gateway.id.clone(),
            state: "available",
            r#type: IPSEC,
            ip_address: gateway.address.to_string(),
            bgp_asn: gateway.asn.to_string(),
            tag_set: tags::items(&gateway.meta.all_tags()),
        }
    }
}

/// `CreateVpnConnection`, to a virtual private gateway.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateVpnConnection {
    r#type: String,
    customer_gateway_id: CustomerGatewayId,
    vpn_gateway_id: Option<VpnGatewayId>,
    options: Option<OptionsGiven>,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// The options that change where packets go.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct OptionsGiven {
    static_routes_only: Option<bool>,
}

/// A connection, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneConnection {
    vpn_connection: ConnectionItem,
}

impl Call for CreateVpnConnection {
    type Answer = OneConnection;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneConnection, ApiError> {
        check_type(&self.r#type)?;
        let tags = tags::specified(&self.tag_specification, "vpn-connection")?;
        let gateway = self.vpn_gateway_id;
        let static_only = self.options.and_then(|options| options.static_routes_only);
        let id = at.run(api::CreateVpnConnection {
            customer_gateway: self.customer_gateway_id,
            vpn_gateway: gateway.ok_or_else(|| ApiError::missing("vpnGatewayId"))?,
            static_routes_only: static_only.unwrap_or(false),
            name: None,
        })?;
        tags::put(at, &id, tags);
        let held = at.tx.require(&id)?;
        Ok(OneConnection {
            vpn_connection: ConnectionItem::new(&held, at.model()),
        })
    }
}

/// `DeleteVpnConnection`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteVpnConnection {
    vpn_connection_id: VpnConnectionId,
}

impl Call for DeleteVpnConnection {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DeleteVpnConnection {
            vpn_connection: self.vpn_connection_id,
        })?;
        Ok(DONE)
    }
}

/// `CreateVpnConnectionRoute`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateVpnConnectionRoute {
    vpn_connection_id: VpnConnectionId,
    destination_cidr_block: Cidr,
}

impl Call for CreateVpnConnectionRoute {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::SetVpnConnectionRoute {
            vpn_connection: self.vpn_connection_id,
            destination: self.destination_cidr_block.0,
            present: true,
        })?;
        Ok(DONE)
    }
}

/// `DeleteVpnConnectionRoute`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteVpnConnectionRoute {
    vpn_connection_id: VpnConnectionId,
    destination_cidr_block: Cidr,
}

impl Call for DeleteVpnConnectionRoute {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::SetVpnConnectionRoute {
            vpn_connection: self.vpn_connection_id,
            destination: self.destination_cidr_block.0,
            present: false,
        })?;
        Ok(DONE)
    }
}

describe! {
    /// `DescribeVpnConnections`
    DescribeVpnConnections { vpn_connection_id: VpnConnectionId }
}

/// `DescribeVpnConnections`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    vpn_connection_set: Vec<ConnectionItem>,
}

impl Call for DescribeVpnConnections {
    type Answer = Connections;

    fn call(self, at: &mut At<'_, '_>) -> Result<Connections, ApiError> {
        let page = self.wanted().select(at, CONNECTION_FILTERS)?;
        let item = |it| ConnectionItem::new(it, at.model());
        Ok(Connections {
            vpn_connection_set: page.items.iter().map(|it| item(it)).collect(),
        })
    }
}

const CONNECTION_FILTERS: &[Known<VpnConnection>] = &[
    ("vpn-connection-id", |held, _| one(&held.id)),
    ("customer-gateway-id", |held, _| one(&held.customer_gateway)),
    ("vpn-gateway-id", |held, _| one(&held.vpn_gateway)),
    ("route.destination-cidr-block", |held, _| each(&held.routes)),
    ("option.static-routes-only", |held, _| {
        one(held.static_routes_only)
    }),
    ("state", |_, _| one("available")),
    ("type", |_, _| one(IPSEC)),
];

/// A connection in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionItem {
    vpn_connection_id: VpnConnectionId,
    state: &'static str,
    r#type: &'static str,
    category: &'static str,
    customer_gateway_id: CustomerGatewayId,
    vpn_gateway_id: VpnGatewayId,
    options: OptionsItem,
    routes: Vec<RouteItem>,
    vgw_telemetry: Vec<TunnelItem>,
    tag_set: Vec<TagItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OptionsItem {
    static_routes_only: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteItem {
    destination_cidr_block: String,
    source: &'static str,
    state: &'static str,
}

/// A tunnel. It has no addresses: nothing is encrypted, and nothing negotiated.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TunnelItem {
    status: &'static str,
    status_message: &'static str,
    accepted_route_count: usize,
}

impl ConnectionItem {
    fn new(held: &VpnConnection, model: &Model) -> Self {
        let (status, status_message) = match is_up(model, held) {
            true => ("UP", ""),
            false => (
                "DOWN",
                "no on-premises network of the lab has the customer gateway's address",
            ),
        };
        let route = |prefix: &vpclab_dataplane::addr::Prefix| RouteItem {
            destination_cidr_block: prefix.to_string(),
            source: "Static",
            state: "available",
        };
        let tunnel = || TunnelItem {
            status,
            status_message,
            accepted_route_count: held.routes.len(),
        };
        Self {
            vpn_connection_id: held.id.clone(),
            state: "available",
            r#type: IPSEC,
            category: "VPN",
            customer_gateway_id: held.customer_gateway.clone(),
            vpn_gateway_id: held.vpn_gateway.clone(),
            options: OptionsItem {
                static_routes_only: held.static_routes_only,
            },
            routes: held.routes.iter().map(route).collect(),
            vgw_telemetry: vec![tunnel(), tunnel()],
            tag_set: tags::items(&held.meta.all_tags()),
        }
    }
}
