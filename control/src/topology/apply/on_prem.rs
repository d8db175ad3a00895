//! Networks on premises, and their VPN connections.

use std::net::{IpAddr, Ipv4Addr};

use super::Applier;
use crate::api::{
    ApiError, CreateCustomerGateway, CreateOnPremHost, CreateOnPremNetwork, CreateVpnConnection,
    SetVpnConnectionRoute,
};
use crate::model::VpcId;
use crate::topology::located::Value;
use crate::topology::schema::{InternetHost, OnPrem};

/// The number of a customer's autonomous system, which nothing depends on.
const ASN: u64 = 65_000;

impl Applier<'_, '_> {
    pub(super) fn on_prem(
        &mut self,
        number: usize,
        name: &Value<String>,
        network: &OnPrem,
    ) -> Result<(), ApiError> {
        let given = network
            .router
            .as_ref()
            .and_then(|router| match router.value.0 {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            });
        let last = u8::try_from(101 + number).unwrap_or(u8::MAX);
        let address = given.unwrap_or(Ipv4Addr::new(192, 0, 2, last));
        let create = CreateOnPremNetwork {
            name: name.value.clone(),
            cidrs: network.cidrs.iter().map(|cidr| cidr.value.0).collect(),
            address,
        };
        let at = network.router.as_ref().map_or(name.at, |router| router.at);
        self.name(format_args!("on-prem/{}/{address}", name.value));
        let id = self.run(at, create)?;
        if let Some(first) = network.vpn.first() {
            let create = CreateCustomerGateway {
                address,
                asn: ASN,
                name: Some(name.value.clone()),
            };
            let customer_gateway = self.run(first.at, create)?;
            for vpc in network.vpn.iter() {
                let Some(vpn_gateway) = self.vpc(vpc)?.vpn_gateway.clone() else {
                    return Err(self.missing(vpc.at, vpc));
                };
                let create = CreateVpnConnection {
                    customer_gateway: customer_gateway.clone(),
                    vpn_gateway,
                    static_routes_only: !network.static_routes.is_empty(),
                    name: Some(format!("{}-{}", name.value, vpc.value)),
                };
                self.name(format_args!(
                    "vpn/{}/{}/{}/{}",
                    name.value, vpc.value, customer_gateway, create.static_routes_only
                ));
                let vpn_connection = self.run(vpc.at, create)?;
                for route in network.static_routes.iter() {
                    let set = SetVpnConnectionRoute {
                        vpn_connection: vpn_connection.clone(),
                        destination: route.value.0,
                        present: true,
                    };
                    self.run(route.at, set)?;
                }
            }
        }
        for (host, body) in network.hosts.iter() {
            self.on_prem_host(&id, host, body)?;
        }
        Ok(())
    }

    fn on_prem_host(
        &mut self,
        network: &VpcId,
        name: &Value<String>,
        host: &InternetHost,
    ) -> Result<(), ApiError> {
        let at = host.addresses.first().map_or(name.at, |address| address.at);
        let addresses = host.addresses.iter().filter_map(|address| match address.0 {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let create = CreateOnPremHost {
            network: network.clone(),
            name: name.value.clone(),
            addresses: addresses.collect(),
            prefixes: host.prefixes.iter().map(|prefix| prefix.value.0).collect(),
        };
        self.name(format_args!(
            "{network}/{}/{:?}",
            name.value, create.addresses
        ));
        let id = self.run(at, create)?;
        if host.attach {
            self.unplug(name, &id)?;
        }
        self.names.internet_hosts.insert(name.value.clone(), id);
        Ok(())
    }
}
