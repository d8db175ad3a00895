//! Further addresses and delegated prefixes of interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::shape::{Cidr, DONE, Done};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::model::NetworkInterfaceId;

calls! {
    Hosts: AssignPrivateIpAddresses UnassignPrivateIpAddresses AssignIpv6Addresses
        UnassignIpv6Addresses;
}

/// `AssignPrivateIpAddresses`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssignPrivateIpAddresses {
    network_interface_id: NetworkInterfaceId,
    #[serde(default)]
    private_ip_address: Vec<Ipv4Addr>,
    #[serde(default)]
    secondary_private_ip_address_count: u32,
    #[serde(default)]
    ipv4_prefix: Vec<Cidr>,
    #[serde(default)]
    ipv4_prefix_count: u32,
    #[serde(default)]
    allow_reassignment: bool,
}

/// What was assigned.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedV4 {
    network_interface_id: NetworkInterfaceId,
    assigned_private_ip_addresses_set: Vec<AddressItem>,
    assigned_ipv4_prefix_set: Vec<PrefixItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AddressItem {
    private_ip_address: IpAddr,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrefixItem {
    ipv4_prefix: String,
}

impl Call for AssignPrivateIpAddresses {
    type Answer = AssignedV4;

    fn call(self, at: &mut At<'_, '_>) -> Result<AssignedV4, ApiError> {
        let assigned = at.run(api::AssignPrivateIpAddresses {
            network_interface: self.network_interface_id.clone(),
            private_ip_addresses: self.private_ip_address,
            secondary_private_ip_address_count: self.secondary_private_ip_address_count,
            ipv4_prefixes: self.ipv4_prefix.iter().map(|it| it.0).collect(),
            ipv4_prefix_count: self.ipv4_prefix_count,
            allow_reassignment: self.allow_reassignment,
        })?;
        let addresses = assigned.addresses.into_iter();
        let prefixes = assigned.prefixes.into_iter();
        Ok(AssignedV4 {
            network_interface_id: self.network_interface_id,
            assigned_private_ip_addresses_set: addresses
                .map(|private_ip_address| AddressItem { private_ip_address })
                .collect(),
            assigned_ipv4_prefix_set: prefixes
                .map(|prefix| PrefixItem {
                    ipv4_prefix: prefix.to_string(),
                })
                .collect(),
        })
    }
}

/// `UnassignPrivateIpAddresses`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UnassignPrivateIpAddresses {
    network_interface_id: NetworkInterfaceId,
    #[serde(default)]
    private_ip_address: Vec<Ipv4Addr>,
    #[serde(default)]
    ipv4_prefix: Vec<Cidr>,
}

impl Call for UnassignPrivateIpAddresses {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::UnassignPrivateIpAddresses {
            network_interface: self.network_interface_id,
            private_ip_addresses: self.private_ip_address,
            ipv4_prefixes: self.ipv4_prefix.iter().map(|it| it.0).collect(),
        })?;
        Ok(DONE)
    }
}

/// `AssignIpv6Addresses`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssignIpv6Addresses {
    network_interface_id: NetworkInterfaceId,
    #[serde(default)]
    ipv6_addresses: Vec<Ipv6Addr>,
    #[serde(default)]
    ipv6_address_count: u32,
    #[serde(default)]
    ipv6_prefix: Vec<Cidr>,
    #[serde(default)]
    ipv6_prefix_count: u32,
}

/// What was assigned.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedV6 {
    network_interface_id: NetworkInterfaceId,
    assigned_ipv6_addresses: Vec<IpAddr>,
    assigned_ipv6_prefix_set: Vec<String>,
}

impl Call for AssignIpv6Addresses {
    type Answer = AssignedV6;

    fn call(self, at: &mut At<'_, '_>) -> Result<AssignedV6, ApiError> {
        let assigned = at.run(api::AssignIpv6Addresses {
            network_interface: self.network_interface_id.clone(),
            ipv6_addresses: self.ipv6_addresses,
            ipv6_address_count: self.ipv6_address_count,
            ipv6_prefixes: self.ipv6_prefix.iter().map(|it| it.0).collect(),
            ipv6_prefix_count: self.ipv6_prefix_count,
        })?;
        Ok(AssignedV6 {
            network_interface_id: self.network_interface_id,
            assigned_ipv6_addresses: assigned.addresses,
            assigned_ipv6_prefix_set: assigned.prefixes.iter().map(ToString::to_string).collect(),
        })
    }
}

/// `UnassignIpv6Addresses`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UnassignIpv6Addresses {
    network_interface_id: NetworkInterfaceId,
    #[serde(default)]
    ipv6_addresses: Vec<Ipv6Addr>,
    #[serde(default)]
    ipv6_prefix: Vec<Cidr>,
}

/// What was taken away.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnassignedV6 {
    network_interface_id: NetworkInterfaceId,
    unassigned_ipv6_addresses: Vec<Ipv6Addr>,
    unassigned_ipv6_prefix_set: Vec<String>,
}

impl Call for UnassignIpv6Addresses {
    type Answer = UnassignedV6;

    fn call(self, at: &mut At<'_, '_>) -> Result<UnassignedV6, ApiError> {
        let answer = UnassignedV6 {
            network_interface_id: self.network_interface_id.clone(),
            unassigned_ipv6_addresses: self.ipv6_addresses.clone(),
            unassigned_ipv6_prefix_set: self
                .ipv6_prefix
                .iter()
                .map(|it| it.0.to_string())
                .collect(),
        };
        at.run(api::UnassignIpv6Addresses {
            network_interface: self.network_interface_id,
            ipv6_addresses: self.ipv6_addresses,
            ipv6_prefixes: self.ipv6_prefix.iter().map(|it| it.0).collect(),
        })?;
        Ok(answer)
    }
}
