//! Services on the link: taken at the interface before groups, ACLs and routes.
//!
//! Reads:  the VPC's resolver and whether it is on, the subnet's router address
//! Ends:   with a frame for the service
//! Drops:  NotAnswered, ResolverOff
//! AWS:    VPC "Security groups" and "Network ACLs" (what they do not filter),
//!         "DNS support for your VPC"; EC2 "Instance metadata", "Amazon Time Sync"

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Component, Rule, Stop, Walk};
use crate::addr::EniId;
use crate::drop::DropReason;
use crate::packet::{Fragment, Headers, protocol};
use crate::tables::{EniRow, Snapshot, SubnetRow};

/// The resolver, beside the VPC's base address plus two.
pub const RESOLVER_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
/// The same, IPv6.
pub const RESOLVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253);
/// The instance metadata service.
pub const METADATA_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The same, IPv6.
pub const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
/// The time service.
pub const TIME_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 123);
/// The same, IPv6.
pub const TIME_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x123);

/// What answers on the link of an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Service {
    /// DNS, by UDP and TCP.
    Resolver,
    /// Instance metadata, by HTTP.
    Metadata,
    /// NTP.
    Time,
    /// DHCPv4.
    Dhcp,
}

impl Service {
    /// Whether its packets count for the limit of an interface
    /// (V:AmazonDNS-concepts names DNS, metadata and time).
    pub const fn is_limited(self) -> bool {
        !matches!(self, Self::Dhcp)
    }

    /// The transport and port at which it is asked.
    const fn is_asked_by(self, protocol: u8, port: u16) -> bool {
        match self {
            Self::Resolver => port == 53 && matches!(protocol, protocol::UDP | protocol::TCP),
            Self::Metadata => port == 80 && protocol == protocol::TCP,
            Self::Time => port == 123 && protocol == protocol::UDP,
            Self::Dhcp => port == 67 && protocol == protocol::UDP,
        }
    }
}

/// The service at an address, as seen from a VPC.
fn at(tables: &Snapshot, eni: &EniRow, address: IpAddr) -> Option<Service> {
    match address {
        IpAddr::V4(RESOLVER_V4) | IpAddr::V6(RESOLVER_V6) => Some(Service::Resolver),
        IpAddr::V4(METADATA_V4) | IpAddr::V6(METADATA_V6) => Some(Service::Metadata),
        IpAddr::V4(TIME_V4) | IpAddr::V6(TIME_V6) => Some(Service::Time),
        other => {
            let vpc = tables.vpcs.row(eni.vpc)?;
            (vpc.resolver() == Some(other)).then_some(Service::Resolver)
        }
    }
}

/// Whether a packet looks like a DHCPv4 client's, wherever it goes.
pub(crate) fn is_dhcp(headers: &Headers) -> bool {
    let tuple = &headers.tuple;
    tuple.protocol == protocol::UDP
        && (tuple.sport, tuple.dport) == (68, 67)
        && headers.is_ipv4()
        && headers.fragment == Fragment::Whole
}

/// The service that a packet of this interface is for, if it is for one: what
/// shares the interface's limit must meet the same counter.
pub fn service_for(tables: &Snapshot, eni: EniId, headers: &Headers) -> Option<Service> {
    let row = tables.enis.row(eni)?;
    if tables.vpcs.row(row.vpc)?.is_outside() {
        return None;
    }
    let service = at(tables, row, headers.tuple.dst)?;
    service
        .is_asked_by(headers.tuple.protocol, headers.tuple.dport)
        .then_some(service)
}

impl Walk<'_> {
    /// A host without an address yet asks everybody, one with an address asks
    /// the router: both before the source check, which they could not pass.
    pub(super) fn dhcp(&mut self, eni: &EniRow, subnet: &SubnetRow) -> Result<(), Stop> {
        let src = self.tuple.src;
        let to_server = match self.tuple.dst {
            IpAddr::V4(dst) if dst.is_broadcast() => true,
            dst => subnet.cidrs.iter().any(|cidr| cidr.nth(1) == Some(dst)),
        };
        let from_client = src.is_unspecified() || eni.owns(src);
        let inside = |vpc: &crate::tables::VpcRow| !vpc.is_outside();
        let taken = is_dhcp(&self.packet.headers)
            && to_server
            && from_client
            && eni.is_host()
            && self.tables.vpcs.row(eni.vpc).is_some_and(inside);
        if !taken {
            return Ok(());
        }
        self.hop(Component::Service(eni.vpc, Service::Dhcp), Rule::None);
        Err(Stop::Service(Service::Dhcp))
    }

    /// A packet to a service's address goes there or nowhere.
    pub(super) fn service(&mut self, eni: &EniRow) -> Result<(), Stop> {
        let Some(service) = at(self.tables, eni, self.tuple.dst) else {
            return Ok(());
        };
        let component = Component::Service(eni.vpc, service);
        let vpc = self.tables.vpcs.row(eni.vpc);
        if service == Service::Resolver && !vpc.is_some_and(|vpc| vpc.dns_support) {
            return Err(self.end(component, Rule::None, DropReason::ResolverOff));
        }
        let asked = service.is_asked_by(self.tuple.protocol, self.tuple.dport);
        // A service keeps no fragments, and answers hosts only.
        let whole = self.packet.headers.fragment == Fragment::Whole && self.packet.error.is_none();
        if !asked || !whole || !eni.is_host() {
            return Err(self.end(component, Rule::None, DropReason::NotAnswered));
        }
        self.hop(component, Rule::None);
        Err(Stop::Service(service))
    }
}
