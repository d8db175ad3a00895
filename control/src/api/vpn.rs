//! Virtual private gateways, customer gateways, VPN connections, and the networks
//! on premises that they lead to.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::TrackingTimeouts;

use super::{Action, ApiError, Transaction};
use crate::compile::vpn::propagated;
use crate::model::*;
use crate::quotas::Quota;

/// `CreateVpnGateway`
#[derive(Clone, Debug, Default)]
pub struct CreateVpnGateway {
    /// Amazon's autonomous system number [default: 64512].
    pub asn: Option<u64>,
    /// `Name` tag.
    pub name: Option<String>,
}

impl Action for CreateVpnGateway {
    type Output = VpnGatewayId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<VpnGatewayId, ApiError> {
        let have = tx.model().count::<VpnGateway>(&tx.scope());
        let code = "VpnGatewayLimitExceeded";
        tx.check_quota(Quota::VpnGatewaysPerRegion, have, 1, code)?;
        let asn = self.asn.unwrap_or(64_512);
        // E:CreateVpnGateway: private numbers of 16 and of 32 bits.
        if !matches!(asn, 64_512..=65_534 | 4_200_000_000..=4_294_967_294) {
            return Err(ApiError::invalid_value(format!(
                "Amazon side ASN {asn} is not 64512-65534 or 4200000000-4294967294"
            )));
        }
        let id: VpnGatewayId = tx.mint();
        tx.put(VpnGateway {
            id: id.clone(),
            meta: tx.meta(self.name.as_deref()),
            vpc: None,
            asn,
        });
        Ok(id)
    }
}

/// `AttachVpnGateway`
#[derive(Clone, Debug, Default)]
pub struct AttachVpnGateway {
    /// The gateway.
    pub vpn_gateway: VpnGatewayId,
    /// A VPC without one.
    pub vpc: VpcId,
}

impl Action for AttachVpnGateway {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let gateway = tx.require(&self.vpn_gateway)?;
        let vpc = tx.require(&self.vpc)?;
        if let Some(held) = &gateway.vpc {
            return Err(ApiError::new(
                "VpnGatewayAttachmentLimitExceeded",
                format!(
                    "'{}' is attached to {held}; a gateway has one VPC",
                    gateway.id
                ),
            ));
        }
        if let Some(other) = tx.referrers::<VpnGateway>(&vpc.id).first() {
            return Err(ApiError::invalid_value(format!(
                "Network {} already has a virtual private gateway attached: {}",
                vpc.id, other.id
            )));
        }
        tx.update(&gateway.id, |gateway| gateway.vpc = Some(self.vpc));
        check_propagated(tx, &gateway.id)
    }
}

/// `DetachVpnGateway`: routes to it become blackholes, propagated ones go.
#[derive(Clone, Debug, Default)]
pub struct DetachVpnGateway {
    /// The gateway.
    pub vpn_gateway: VpnGatewayId,
    /// Its VPC.
    pub vpc: VpcId,
}

impl Action for DetachVpnGateway {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let gateway = tx.require(&self.vpn_gateway)?;
        let vpc = tx.require(&self.vpc)?;
        if gateway.vpc.as_ref() != Some(&vpc.id) {
            return Err(ApiError::new(
                "InvalidVpnGatewayAttachment.NotFound",
                format!(
                    "The attachment with vpn gateway ID '{}' and vpc ID '{}' does not exist",
                    gateway.id, vpc.id
                ),
            ));
        }
        tx.refuse_if_used::<RouteTableAssociation>(&gateway.id)?;
        for table in tx.referrers::<RouteTable>(&gateway.id) {
            tx.update(&table.id, |table| {
                table.propagating.remove(&gateway.id);
            });
        }
        tx.update(&gateway.id, |gateway| gateway.vpc = None);
        Ok(())
    }
}

/// `DeleteVpnGateway`: a detached one without connections.
#[derive(Clone, Debug, Default)]
pub struct DeleteVpnGateway {
    /// The gateway.
    pub vpn_gateway: VpnGatewayId,
}

impl Action for DeleteVpnGateway {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let gateway = tx.require(&self.vpn_gateway)?;
        let connections = tx.referrers::<VpnConnection>(&gateway.id);
        let user = connections.first().map(|held| held.id.to_string());
        if let Some(user) = user.or(gateway.vpc.as_ref().map(ToString::to_string)) {
            return Err(ApiError::new(
                "IncorrectState",
                format!("The vpnGateway ID '{}' is in use by {user}", gateway.id),
            ));
        }
        tx.remove(&gateway.id);
        Ok(())
    }
}

/// `EnableVgwRoutePropagation`, or `DisableVgwRoutePropagation`
#[derive(Clone, Debug, Default)]
pub struct SetVgwRoutePropagation {
    /// The table.
    pub route_table: RouteTableId,
    /// A gateway attached to the table's VPC.
    pub vpn_gateway: VpnGatewayId,
    /// Whether what the gateway knows becomes routes of the table.
    pub enabled: bool,
}

impl Action for SetVgwRoutePropagation {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let table = tx.require(&self.route_table)?;
        let gateway = tx.require(&self.vpn_gateway)?;
        if !self.enabled {
            if !table.propagating.contains(&gateway.id) {
                return Err(ApiError::invalid_value(format!(
                    "{} does not propagate routes into {}",
                    gateway.id, table.id
                )));
            }
            tx.update(&table.id, |table| {
                table.propagating.remove(&gateway.id);
            });
            return Ok(());
        }
        if gateway.vpc.as_ref() != Some(&table.vpc) {
            return Err(ApiError::new(
                "Gateway.NotAttached",
                format!("'{}' is not attached to network {}", gateway.id, table.vpc),
            ));
        }
        if super::route_table::is_gateway_table(tx.model(), &table.id) {
            // V:gateway-route-tables
            return Err(ApiError::invalid_value(format!(
                "Route table {} is a gateway's; routes cannot be propagated into it",
                table.id
            )));
        }
        tx.update(&table.id, |table| {
            table.propagating.insert(gateway.id.clone());
        });
        check_propagated(tx, &gateway.id)
    }
}

/// No table may have more propagated routes than the quota says.
fn check_propagated(tx: &Transaction<'_>, gateway: &VpnGatewayId) -> Result<(), ApiError> {
    for table in tx.referrers::<RouteTable>(gateway) {
        let count = propagated(tx.model(), &table).len() as u64;
        let quota = Quota::PropagatedRoutesPerRouteTable;
        tx.check_quota(quota, 0, count, "RouteLimitExceeded")?;
    }
    Ok(())
}

/// `CreateCustomerGateway`
#[derive(Clone, Debug)]
pub struct CreateCustomerGateway {
    /// Its address on the internet.
    pub address: Ipv4Addr,
    /// Its autonomous system number.
    pub asn: u64,
    /// `Name` tag.
    pub name: Option<String>,
}

impl Action for CreateCustomerGateway {
    type Output = CustomerGatewayId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<CustomerGatewayId, ApiError> {
        let scope = tx.scope();
        let same = tx.model().customer_gateways().iter().find(|held| {
            held.meta.scope() == scope && (held.address, held.asn) == (self.address, self.asn)
        });
        if let Some(same) = same.map(|held| held.id.clone()) {
            // E:CreateCustomerGateway: the one that exists is answered.
            return Ok(same);
        }
        let have = tx.model().count::<CustomerGateway>(&scope);
        let code = "CustomerGatewayLimitExceeded";
        tx.check_quota(Quota::CustomerGatewaysPerRegion, have, 1, code)?;
        let id: CustomerGatewayId = tx.mint();
        tx.put(CustomerGateway {
            id: id.clone(),
            meta: tx.meta(self.name.as_deref()),
            address: self.address,
            asn: self.asn,
        });
        Ok(id)
    }
}

/// `DeleteCustomerGateway`: one without connections.
#[derive(Clone, Debug, Default)]
pub struct DeleteCustomerGateway {
    /// The gateway.
    pub customer_gateway: CustomerGatewayId,
}

impl Action for DeleteCustomerGateway {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let gateway = tx.require(&self.customer_gateway)?;
        if let Some(user) = tx.referrers::<VpnConnection>(&gateway.id).first() {
            return Err(ApiError::new(
                "IncorrectState",
                format!(
                    "The customer gateway '{}' is in use by {}",
                    gateway.id, user.id
                ),
            ));
        }
        tx.remove(&gateway.id);
        Ok(())
    }
}

/// `CreateVpnConnection`
#[derive(Clone, Debug, Default)]
pub struct CreateVpnConnection {
    /// One end.
    pub customer_gateway: CustomerGatewayId,
    /// The other.
    pub vpn_gateway: VpnGatewayId,
    /// `Options.StaticRoutesOnly`
    pub static_routes_only: bool,
    /// `Name` tag.
    pub name: Option<String>,
}

impl Action for CreateVpnConnection {
    type Output = VpnConnectionId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<VpnConnectionId, ApiError> {
        let customer = tx.require(&self.customer_gateway)?;
        let gateway = tx.require(&self.vpn_gateway)?;
        let others = tx.referrers::<VpnConnection>(&gateway.id);
        let mut others = others.iter();
        if let Some(same) = others.find(|held| held.customer_gateway == customer.id) {
            return Err(ApiError::invalid_value(format!(
                "{} joins {} and {} already",
                same.id, customer.id, gateway.id
            )));
        }
        let id: VpnConnectionId = tx.mint();
        tx.put(VpnConnection {
            id: id.clone(),
            meta: tx.meta(self.name.as_deref()),
            customer_gateway: customer.id.clone(),
            vpn_gateway: gateway.id.clone(),
            static_routes_only: self.static_routes_only,
            routes: BTreeSet::new(),
        });
        check_propagated(tx, &gateway.id)?;
        Ok(id)
    }
}

/// `DeleteVpnConnection`
#[derive(Clone, Debug, Default)]
pub struct DeleteVpnConnection {
    /// The connection.
    pub vpn_connection: VpnConnectionId,
}

impl Action for DeleteVpnConnection {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let held = tx.require(&self.vpn_connection)?;
        tx.remove(&held.id);
        Ok(())
    }
}

/// `CreateVpnConnectionRoute`, or `DeleteVpnConnectionRoute`
#[derive(Clone, Debug)]
pub struct SetVpnConnectionRoute {
    /// A connection with static routes.
    pub vpn_connection: VpnConnectionId,
    /// A prefix of the on-premises network.
    pub destination: Prefix,
    /// Whether it is there.
    pub present: bool,
}

impl Action for SetVpnConnectionRoute {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let held = tx.require(&self.vpn_connection)?;
        if !held.static_routes_only {
            return Err(ApiError::new(
                "UnsupportedOperation",
                format!(
                    "{} learns its routes by BGP and has no static ones",
                    held.id
                ),
            ));
        }
        if !self.destination.is_ipv4() {
            return Err(ApiError::invalid_value(format!(
                "{} is not an IPv4 block",
                self.destination
            )));
        }
        if !self.present && !held.routes.contains(&self.destination) {
            return Err(ApiError::new(
                "InvalidRoute.NotFound",
                format!("{} has no route to {}", held.id, self.destination),
            ));
        }
        tx.update(&held.id, |held| match self.present {
            true => drop(held.routes.insert(self.destination)),
            false => drop(held.routes.remove(&self.destination)),
        });
        check_propagated(tx, &held.vpn_gateway)
    }
}

/// Puts an on-premises network into the lab. No AWS action: it is the world
/// outside.
#[derive(Clone, Debug)]
pub struct CreateOnPremNetwork {
    /// Its name.
    pub name: String,
    /// Its IPv4 prefixes.
    pub cidrs: Vec<Prefix>,
    /// Its router's address on the internet, which a customer gateway has.
    pub address: Ipv4Addr,
}

impl Action for CreateOnPremNetwork {
    type Output = VpcId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<VpcId, ApiError> {
        if let Some(other) = tx.model().indexes().alias(&on_prem_alias(self.address)) {
            return Err(super::address::in_use(IpAddr::V4(self.address), other));
        }
        let id = VpcId::from(format!("vpc-on-prem-{}", self.name));
        if tx.model().get(&id).is_some() {
            return Err(ApiError::invalid_value(format!(
                "There is an on-premises network '{}' already",
                self.name
            )));
        }
        let model = tx.model();
        let made = model.on_prem_network(&self.name, &self.cidrs, self.address);
        // The internet, of which it takes its shape, is always there.
        let made = made.ok_or_else(|| ApiError::new("InternalError", "there is no internet"))?;
        tx.put(made.vpc);
        tx.put(made.acl);
        tx.put(made.table);
        tx.put(made.subnet);
        tx.put(made.table_use);
        tx.put(made.acl_use);
        Ok(id)
    }
}

/// Puts a host into an on-premises network.
#[derive(Clone, Debug, Default)]
pub struct CreateOnPremHost {
    /// The network.
    pub network: VpcId,
    /// Its name.
    pub name: String,
    /// Its addresses, inside the network's prefixes.
    pub addresses: Vec<Ipv4Addr>,
    /// What it stands for beside them: it is a router. Inside the network's prefixes.
    pub prefixes: Vec<Prefix>,
}

impl Action for CreateOnPremHost {
    type Output = NetworkInterfaceId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<NetworkInterfaceId, ApiError> {
        let network = tx.model().get(&self.network).cloned();
        let network = network.filter(|network| network.on_prem.is_some());
        let subnet = tx
            .model()
            .referrers::<Subnet>(&self.network)
            .next()
            .cloned();
        let Some((network, subnet)) = network.zip(subnet) else {
            return Err(ApiError::invalid_value(format!(
                "'{}' is not an on-premises network",
                self.network
            )));
        };
        if self.addresses.is_empty() {
            return Err(ApiError::missing("addresses"));
        }
        for &address in &self.addresses {
            let address = IpAddr::V4(address);
            if !network.blocks().any(|block| block.contains(address)) {
                return Err(ApiError::invalid_value(format!(
                    "{address} is in none of the prefixes of '{}'",
                    network.id
                )));
            }
            if let Some(owner) = tx.model().indexes().address_owner(&subnet.id, address) {
                return Err(super::address::in_use(address, owner));
            }
        }
        let others = tx.model().referrers::<NetworkInterface>(&network.id);
        let others: Vec<Prefix> = others.flat_map(|other| other.prefixes.clone()).collect();
        for (n, &prefix) in self.prefixes.iter().enumerate() {
            if !network.blocks().any(|block| block.covers(prefix)) {
                return Err(ApiError::invalid_value(format!(
                    "{prefix} is in none of the prefixes of '{}'",
                    network.id
                )));
            }
            let mut before = others.iter().chain(self.prefixes.iter().take(n));
            if let Some(other) = before.find(|other| other.overlaps(prefix)) {
                return Err(ApiError::invalid_value(format!(
                    "{prefix} overlaps {other}, for which a host of '{}' stands",
                    network.id
                )));
            }
        }
        let id: NetworkInterfaceId = tx.mint();
        let attachment = tx.mint_text("eni-attach-");
        let mac = super::interface::new_mac(tx);
        tx.put(NetworkInterface {
            id: id.clone(),
            meta: tx.meta(Some(&self.name)),
            description: Arc::from("on-premises host"),
            vpc: network.id.clone(),
            subnet: subnet.id.clone(),
            mac,
            private_addresses: self.addresses,
            attachment: Some(Attachment {
                id: attachment,
                host: Arc::from(self.name),
                device_index: 0,
                plug: Plug::Lab,
                delete_on_termination: false,
                since_s: 0,
            }),
            ipv6_addresses: Vec::new(),
            prefixes: self.prefixes,
            groups: Vec::new(),
            source_dest_check: true,
            kind: InterfaceKind::Host,
            requester_managed: false,
            deny_all_igw_traffic: false,
            mtu: 1500,
            timeouts: TrackingTimeouts::default(),
            auto_public: None,
            internet: false,
            on_prem: true,
        });
        Ok(id)
    }
}

#[cfg(test)]
#[path = "vpn_tests.rs"]
mod tests;
