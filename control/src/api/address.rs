//! Choosing and checking private addresses of a subnet, and public ones.
//!
//! ASSUMPTION: AWS picks free addresses as it likes; the lowest one here, so that
//! a lab built twice has the same addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vpclab_dataplane::addr::Prefix;

use super::{ApiError, Transaction};
use crate::model::{INTERNET_SUBNET, Subnet};

/// Addresses of one subnet that a request takes before it is applied.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    subnet: &'a Subnet,
    taken: Vec<Prefix>,
}

impl<'a> Claims<'a> {
    pub(super) fn new(subnet: &'a Subnet) -> Self {
        Self {
            subnet,
            taken: Vec::new(),
        }
    }

    /// Takes this address.
    pub(super) fn take<A: Into<IpAddr> + Copy>(
        &mut self,
        tx: &Transaction<'_>,
        address: A,
    ) -> Result<A, ApiError> {
        let ip: IpAddr = address.into();
        self.check_place(ip)?;
        let used = tx.model().indexes().address_use(&self.subnet.id, ip);
        if let Some((_, owner)) = used {
            return Err(in_use(ip, owner));
        }
        if self.taken.iter().any(|block| block.contains(ip)) {
            return Err(in_use(ip, "this request"));
        }
        self.taken.push(Prefix::host(ip));
        Ok(address)
    }

    /// Whether the subnet has this address for its users.
    pub(super) fn check_place(&self, ip: IpAddr) -> Result<(), ApiError> {
        let subnet = self.subnet;
        if !subnet.blocks().any(|block| block.contains(ip)) {
            return Err(self.outside(ip));
        }
        if subnet.is_reserved(ip) {
            return Err(ApiError::invalid_value(format!(
                "Address {ip} is in the subnet's reserved address range: the first four \
                 addresses and the last of {} are not for use",
                subnet.id
            )));
        }
        Ok(())
    }

    fn outside(&self, what: impl std::fmt::Display) -> ApiError {
        let blocks: Vec<String> = self.subnet.blocks().map(|b| b.to_string()).collect();
        ApiError::invalid_value(format!(
            "Address {what} does not fall within the subnet's address range: {} has {}",
            self.subnet.id,
            blocks.join(" and ")
        ))
    }

    /// Takes the lowest free IPv4 address.
    pub(super) fn next_ipv4(&mut self, tx: &mut Transaction<'_>) -> Result<Ipv4Addr, ApiError> {
        match self.next_free(tx, self.subnet.cidr)? {
            IpAddr::V4(address) => Ok(address),
            IpAddr::V6(_) => Err(self.full()),
        }
    }

    /// Takes the lowest free IPv6 address.
    pub(super) fn next_ipv6(&mut self, tx: &mut Transaction<'_>) -> Result<Ipv6Addr, ApiError> {
        match self.next_free(tx, self.ipv6_block()?)? {
            IpAddr::V6(address) => Ok(address),
            IpAddr::V4(_) => Err(self.full()),
        }
    }

    fn ipv6_block(&self) -> Result<Prefix, ApiError> {
        self.subnet.ipv6_cidr.ok_or_else(|| {
            ApiError::invalid_value(format!(
                "{} has no IPv6 CIDR block; associate one first",
                self.subnet.id
            ))
        })
    }

    fn next_free(&mut self, tx: &mut Transaction<'_>, block: Prefix) -> Result<IpAddr, ApiError> {
        let indexes = tx.model().indexes();
        let hint = indexes.lowest_free(&self.subnet.id, block.is_ipv4());
        let mut at = hint.or_else(|| block.nth(4));
        while let Some(ip) = at.filter(|&ip| block.contains(ip) && !self.subnet.is_reserved(ip)) {
            let used = indexes.address_use(&self.subnet.id, ip);
            let held = used.map(|(block, _)| block);
            let mine = || self.taken.iter().find(|block| block.contains(ip)).copied();
            let Some(held) = held.or_else(mine) else {
                self.taken.push(Prefix::host(ip));
                tx.note_lowest_free(&self.subnet.id, ip);
                return Ok(ip);
            };
            at = following(held.last());
        }
        Err(self.full())
    }

    fn full(&self) -> ApiError {
        ApiError::new(
            "InsufficientFreeAddressesInSubnet",
            format!(
                "There are not enough free addresses in subnet '{}'",
                self.subnet.id
            ),
        )
    }

    /// Takes this delegated prefix: a /28 or /80 of the subnet.
    pub(super) fn take_prefix(
        &mut self,
        tx: &Transaction<'_>,
        prefix: Prefix,
    ) -> Result<Prefix, ApiError> {
        let len = if prefix.is_ipv4() { 28 } else { 80 };
        if prefix.len() != len {
            return Err(ApiError::invalid_value(format!(
                "Prefix {prefix} is invalid: a /{len} is delegated"
            )));
        }
        if !self.subnet.blocks().any(|block| block.covers(prefix)) {
            return Err(self.outside(prefix));
        }
        if !self.is_free(tx, prefix) {
            return Err(in_use(prefix, "another interface or the subnet itself"));
        }
        self.taken.push(prefix);
        Ok(prefix)
    }

    /// Takes the lowest free prefix of a family.
    pub(super) fn next_prefix(
        &mut self,
        tx: &Transaction<'_>,
        ipv4: bool,
    ) -> Result<Prefix, ApiError> {
        let (block, len) = if ipv4 {
            (self.subnet.cidr, 28)
        } else {
            (self.ipv6_block()?, 80)
        };
        let mut at = Some(block.address());
        while let Some(prefix) = at.and_then(|at| Prefix::new(at, len)) {
            if !block.covers(prefix) {
                break;
            }
            if self.is_free(tx, prefix) {
                self.taken.push(prefix);
                return Ok(prefix);
            }
            at = following(prefix.last());
        }
        Err(ApiError::new(
            "InsufficientCidrBlocks",
            format!("There is no free /{len} in subnet '{}'", self.subnet.id),
        ))
    }

    fn is_free(&self, tx: &Transaction<'_>, prefix: Prefix) -> bool {
        let mut reserved = self.subnet.blocks().flat_map(|block| {
            let first = (0..4).filter_map(move |n| block.nth(n));
            first.chain([block.last()])
        });
        !reserved.any(|ip| prefix.contains(ip))
            && !self.taken.iter().any(|block| block.overlaps(prefix))
            && !tx.model().indexes().is_used(&self.subnet.id, prefix)
    }
}

/// The lowest free public address of the pool, 198.18.0.0/15 (RFC 2544).
pub(super) fn next_public(tx: &mut Transaction<'_>) -> Result<Ipv4Addr, ApiError> {
    const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 1]);
    const LAST: u32 = u32::from_be_bytes([198, 19, 255, 254]);
    let pool = INTERNET_SUBNET.into();
    let indexes = tx.model().indexes();
    let hint = match indexes.lowest_free(&pool, true) {
        Some(IpAddr::V4(hint)) => u32::from(hint).max(FIRST),
        _ => FIRST,
    };
    let free = (hint..=LAST)
        .map(Ipv4Addr::from)
        .find(|&ip| indexes.public_owner(IpAddr::V4(ip)).is_none());
    let Some(free) = free else {
        return Err(ApiError::new(
            "InsufficientAddressCapacity",
            "No address of 198.18.0.0/15 is free; name one with Address",
        ));
    };
    tx.note_lowest_free(&pool, IpAddr::V4(free));
    Ok(free)
}

pub(super) fn in_use(address: impl std::fmt::Display, owner: impl std::fmt::Display) -> ApiError {
    ApiError::new(
        "InvalidIPAddress.InUse",
        format!("Address {address} is in use by {owner}"),
    )
}

fn following(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).checked_add(1).map(|n| IpAddr::V4(n.into())),
        IpAddr::V6(ip) => u128::from(ip).checked_add(1).map(|n| IpAddr::V6(n.into())),
    }
}
