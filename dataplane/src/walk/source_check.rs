//! Entering: from the host behind an interface.
//!
//! Reads:  the ENI's addresses and check, its subnet, the frame's MAC address
//! Drops:  NoSuchPort, ZoneDown, SourceDestCheck, NotUnicast, NotAnswered, UnknownMac, NotRoutable,
//!         PrivateLinkOneWay
//! AWS:    EC2 User Guide, "Elastic network interfaces"; route tables act only
//!         on frames sent to the router (VPC "Gateway route tables")

use std::net::IpAddr;

use super::{Component, Rule, Step, Stop, Walk};
use crate::addr::{EniId, Mac};
use crate::drop::DropReason;
use crate::flow::{Ingress, Object};
use crate::packet::protocol;
use crate::tables::{EniKind, EniRow, SubnetRow};

impl Walk<'_> {
    pub(super) fn enter_from_port(&mut self, id: EniId, dst_mac: Mac) -> Step {
        let Some(eni) = self.tables.enis.row(id) else {
            return Err(Stop::Drop(DropReason::NoSuchPort));
        };
        self.depend(Object::Eni, id);
        self.depend(Object::Subnet, eni.subnet);
        self.depend(Object::Vpc, eni.vpc);
        let source = Component::Source(id);
        let Some(subnet) = self.tables.subnets.row(eni.subnet) else {
            return Err(self.end(source, Rule::None, DropReason::NoSuchPort));
        };
        if !eni.attached {
            return Err(self.end(source, Rule::None, DropReason::Detached));
        }
        self.zone_is_up(source, eni.subnet)?;
        self.dhcp(eni, subnet)?;
        self.find_own(Ingress::Eni(id));
        let check = Rule::Check(eni.source_dest_check);
        // An error about a flow must come from where it says, too.
        let src = self.packet.error.map_or(self.tuple.src, |error| error.src);
        if eni.source_dest_check && !(eni.owns(self.tuple.src) && eni.owns(src)) {
            return Err(self.end(source, check, DropReason::SourceDestCheck));
        }
        self.hop(source, check);
        self.unicast(eni, subnet)?;
        let vpc = self.tables.vpcs.row(eni.vpc);
        if vpc.is_some_and(|vpc| vpc.internet) {
            return self.enter_from_internet(eni.subnet);
        }
        if let Some(reached) = vpc.and_then(|vpc| vpc.on_prem.as_ref()) {
            return self.enter_from_on_prem(eni.vpc, reached);
        }
        self.router_or_service(eni, subnet)?;
        if let EniKind::Endpoint(endpoint) = eni.kind {
            self.service_answers(endpoint)?;
        }
        if let Some(flow) = self.answers_kept() {
            return self.back_to_balancer(&flow, id, eni);
        }
        if dst_mac != subnet.router_mac {
            return self.send_to_neighbor(id, eni, dst_mac);
        }
        let link_local = |address| match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        if link_local(self.tuple.src) || link_local(self.tuple.dst) {
            let router = Component::Router(eni.vpc);
            return Err(self.end(router, Rule::None, DropReason::NotRoutable));
        }
        self.security_groups_out(id, eni)?;
        self.route_from_subnet(eni.subnet)
    }

    /// A frame to another interface of the same subnet: no route, no ACL.
    fn send_to_neighbor(&mut self, id: EniId, eni: &EniRow, dst_mac: Mac) -> Step {
        let neighbor = self.tables.eni_by_mac(eni.vpc, dst_mac).filter(|&other| {
            self.tables
                .enis
                .row(other)
                .is_some_and(|other| other.subnet == eni.subnet)
        });
        let Some(neighbor) = neighbor else {
            return Err(self.end(
                Component::Router(eni.vpc),
                Rule::None,
                DropReason::UnknownMac,
            ));
        };
        self.sender_mac = Some(eni.mac);
        self.security_groups_out(id, eni)?;
        self.arrive(neighbor, Some(eni.subnet))
    }

    /// Broadcast and multicast go nowhere (VPC User Guide "Subnet sizing").
    fn unicast(&mut self, eni: &EniRow, subnet: &SubnetRow) -> Result<(), Stop> {
        let group = match self.tuple.dst {
            IpAddr::V4(dst) => {
                dst.is_broadcast()
                    || dst.is_multicast()
                    || dst.is_unspecified()
                    || subnet
                        .cidrs
                        .iter()
                        .any(|c| c.is_ipv4() && c.len() > 0 && c.last() == self.tuple.dst)
            }
            IpAddr::V6(dst) => dst.is_multicast() || dst.is_unspecified(),
        };
        if group {
            let router = Component::Router(eni.vpc);
            return Err(self.end(router, Rule::None, DropReason::NotUnicast));
        }
        Ok(())
    }

    /// The router's own addresses, and link-local services: never routed, and
    /// outside groups and ACLs (VPC "Security groups", what they do not filter).
    fn router_or_service(&mut self, eni: &EniRow, subnet: &SubnetRow) -> Result<(), Stop> {
        let dst = self.tuple.dst;
        let router = subnet.cidrs.iter().any(|cidr| cidr.nth(1) == Some(dst))
            || dst == IpAddr::V6(subnet.router_mac.link_local())
            || dst == super::router_address(self.tables, eni.subnet, false);
        let component = Component::Router(eni.vpc);
        if router {
            let echo = match self.tuple.protocol {
                protocol::ICMP => self.packet.headers.icmp_type == 8,
                protocol::ICMPV6 => self.packet.headers.icmp_type == 128,
                _ => false,
            };
            self.hop(component, Rule::None);
            return Err(if echo {
                Stop::RouterEcho
            } else {
                Stop::Drop(DropReason::NotAnswered)
            });
        }
        self.service(eni)?;
        let reserved = match dst {
            IpAddr::V4(dst) => dst.is_link_local(),
            IpAddr::V6(dst) => {
                dst.segments()[..2] == [0xfd00, 0xec2]
                    || (dst.is_unicast_link_local() && !self.is_neighbor_link_local(eni))
            }
        };
        if reserved {
            return Err(self.end(component, Rule::None, DropReason::NotAnswered));
        }
        Ok(())
    }

    fn is_neighbor_link_local(&self, eni: &EniRow) -> bool {
        let IpAddr::V6(dst) = self.tuple.dst else {
            return false;
        };
        mac_of_link_local(dst)
            .and_then(|mac| self.tables.eni_by_mac(eni.vpc, mac))
            .and_then(|other| self.tables.enis.row(other))
            .is_some_and(|other| other.subnet == eni.subnet)
    }
}

impl EniRow {
    /// Whether the interface owns `address`: itself, by a delegated prefix, or
    /// as the link-local address of its MAC.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
            || self.prefixes.iter().any(|prefix| prefix.contains(address))
            || address == IpAddr::V6(self.mac.link_local())
    }

    /// Whether frames leave the data plane here, to a host.
    pub fn is_host(&self) -> bool {
        self.kind == EniKind::Host
    }
}

/// The MAC address that a link-local address was built from (RFC 4291 appendix A).
pub(crate) fn mac_of_link_local(address: std::net::Ipv6Addr) -> Option<Mac> {
    let o = address.octets();
    if o[..8] != [0xfe, 0x80, 0, 0, 0, 0, 0, 0] || o[11] != 0xff || o[12] != 0xfe {
        return None;
    }
    Some(Mac([o[8] ^ 2, o[9], o[10], o[13], o[14], o[15]]))
}
