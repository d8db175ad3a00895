//! Requester-managed interfaces: of load-balancer nodes and endpoints.

use std::net::Ipv4Addr;

use super::address::Claims;
use super::interface::NewInterface;
use super::{ApiError, Transaction};
use crate::model::*;

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
        let mut claims = Claims::new(self.subnet);
        let private = match self.private_ipv4 {
            Some(address) => claims.take(tx, address)?,
            None => claims.next_ipv4(tx)?,
        };
        let mut ipv6_addresses = Vec::new();
        if self.dualstack {
            ipv6_addresses.push(claims.next_ipv6(tx)?);
        }
        let new = NewInterface {
            private_addresses: vec![private],
            ipv6_addresses,
            groups: self.groups,
            description: &self.description,
            deny_all_igw_traffic: self.deny_all_igw_traffic,
            ..NewInterface::of(self.subnet, self.kind)
        };
        new.put(tx)
    }
}
