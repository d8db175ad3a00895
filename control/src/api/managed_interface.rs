//! Requester-managed interfaces: of load-balancer nodes and endpoints.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::TrackingTimeouts;

use super::{ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// What a requester-managed interface is made from.
pub(crate) struct ManagedInterface<'a> {
    /// Where.
    pub subnet: &'a Subnet,
    /// For what.
    pub kind: InterfaceKind,
    /// As AWS describes such an interface.
    pub description: String,
    /// Security groups, checked by the caller.
    pub groups: Vec<SecurityGroupId>,
    /// A designated address, else the lowest free one.
    pub private_ipv4: Option<Ipv4Addr>,
    /// Whether it gets an IPv6 address, too.
    pub dualstack: bool,
    /// Refuses traffic of an internet gateway.
    pub deny_all_igw_traffic: bool,
}

impl ManagedInterface<'_> {
    /// Makes the interface.
    pub(crate) fn create(self, tx: &mut Transaction<'_>) -> Result<NetworkInterfaceId, ApiError> {
        let have = tx.model().count::<NetworkInterface>(&tx.scope());
        let code = "NetworkInterfaceLimitExceeded";
        tx.check_quota(Quota::NetworkInterfacesPerRegion, have, 1, code)?;
        let private = match self.private_ipv4 {
            Some(address) => designated(tx, self.subnet, address)?,
            None => lowest_free_v4(tx, self.subnet)?,
        };
        let ipv6 = if self.dualstack {
            Some(lowest_free_v6(tx, self.subnet)?)
        } else {
            None
        };
        let id: NetworkInterfaceId = tx.mint();
        let mac = super::interface::new_mac(tx);
        tx.put(NetworkInterface {
            id: id.clone(),
            meta: tx.meta(None),
            description: Arc::from(self.description),
            vpc: self.subnet.vpc.clone(),
            subnet: self.subnet.id.clone(),
            mac,
            private_addresses: vec![private],
            ipv6_addresses: ipv6.into_iter().collect(),
            prefixes: Vec::new(),
            groups: self.groups,
            source_dest_check: false,
            kind: self.kind,
            attachment: None,
            requester_managed: true,
            deny_all_igw_traffic: self.deny_all_igw_traffic,
            mtu: 9001,
            timeouts: TrackingTimeouts::default(),
            auto_public: None,
            internet: false,
        });
        Ok(id)
    }
}

fn designated(
    tx: &Transaction<'_>,
    subnet: &Subnet,
    address: Ipv4Addr,
) -> Result<Ipv4Addr, ApiError> {
    let ip = IpAddr::V4(address);
    if !subnet.cidr.contains(ip) || subnet.is_reserved(ip) {
        return Err(ApiError::invalid_value(format!(
            "Address {address} is not usable in subnet {}: its block is {}, of which the first \
             four addresses and the last are reserved",
            subnet.id, subnet.cidr
        )));
    }
    if let Some(owner) = tx.model().indexes().address_owner(&subnet.id, ip) {
        return Err(ApiError::new(
            "InvalidIPAddress.InUse",
            format!("Address {address} is in use by {owner}"),
        ));
    }
    Ok(address)
}

fn lowest_free_v4(tx: &Transaction<'_>, subnet: &Subnet) -> Result<Ipv4Addr, ApiError> {
    match lowest_free(tx, subnet, subnet.cidr) {
        Some(IpAddr::V4(address)) => Ok(address),
        _ => Err(ApiError::new(
            "InsufficientFreeAddressesInSubnet",
            format!("Insufficient free IPv4 addresses in subnet {}", subnet.id),
        )),
    }
}

fn lowest_free_v6(tx: &Transaction<'_>, subnet: &Subnet) -> Result<Ipv6Addr, ApiError> {
    match subnet
        .ipv6_cidr
        .and_then(|block| lowest_free(tx, subnet, block))
    {
        Some(IpAddr::V6(address)) => Ok(address),
        _ => Err(ApiError::invalid_value(format!(
            "Subnet {} has no IPv6 block, which an address of type dualstack needs",
            subnet.id
        ))),
    }
}

fn lowest_free(tx: &Transaction<'_>, subnet: &Subnet, block: Prefix) -> Option<IpAddr> {
    let indexes = tx.model().indexes();
    (4u128..)
        .map_while(|n| block.nth(n))
        .find(|&ip| !subnet.is_reserved(ip) && indexes.address_owner(&subnet.id, ip).is_none())
}
