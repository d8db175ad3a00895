//! A frame enters: Ethernet checks, ARP, neighbour discovery.
//!
//! Drops:  MalformedFrame, NoSuchPort, Detached, SpoofedMac, EtherType, NotUnicast,
//!         MalformedNeighbor, NeighborUnknown
//! AWS:    unicast IP only; the mapping service answers ARP, so requests are
//!         never flooded (`aws-behaviour.md` §1.2). ND likewise: ASSUMPTION.

use std::net::{IpAddr, Ipv6Addr};

use super::{Context, Pipeline, Sink};
use crate::addr::{EniId, Mac};
use crate::drop::DropReason;
use crate::packet::checksum;
use crate::packet::{
    ALL_NODES, ALL_NODES_MAC, Arp, ETHERNET_LEN, Endpoints, Frame, Headers, NeighborAdvertisement,
    NeighborSolicitation, RouterAdvertisement, RouterSolicitation, ethertype, nd_type,
    parse_ethernet, parse_ip, protocol,
};
use crate::tables::{EndpointKind, EniKind, EniRow, Snapshot, SubnetRow};
use crate::walk::{Entry, is_dhcp, router_address};

/// Life of the router advertisement in seconds.
const ROUTER_LIFETIME_S: u16 = 1800;

impl Pipeline {
    pub(super) fn ingress<S: Sink>(&mut self, context: &mut Context<'_, S>, frame: Frame) {
        let Some(eni) = context.tables.enis.row(frame.port) else {
            return self.drop_frame(context, frame, DropReason::NoSuchPort);
        };
        if !eni.attached {
            return self.drop_frame(context, frame, DropReason::Detached);
        }
        let ethernet = match parse_ethernet(frame.bytes()) {
            Ok(ethernet) => ethernet,
            Err(reason) => return self.drop_frame(context, frame, reason),
        };
        if ethernet.src != eni.mac {
            return self.drop_frame(context, frame, DropReason::SpoofedMac);
        }
        match ethernet.ethertype {
            ethertype::ARP => self.arp(context, frame),
            ethertype::IPV4 | ethertype::IPV6 => {
                let entry = Entry::Port(frame.port, ethernet.dst);
                self.ip(context, frame, entry);
            }
            _ => self.drop_frame(context, frame, DropReason::EtherType),
        }
    }

    /// An IPv4 or IPv6 packet right after the Ethernet header.
    pub(super) fn ip<S: Sink>(&mut self, context: &mut Context<'_, S>, frame: Frame, entry: Entry) {
        let headers = match parse_ip(frame.bytes(), ETHERNET_LEN) {
            Ok(headers) => headers,
            Err(reason) => return self.drop_frame(context, frame, reason),
        };
        // The host chose where its partial checksum goes: only there, or it
        // could write into what has been judged.
        if !checksum::partial_fits(frame.offload.checksum, &headers) {
            return self.drop_frame(context, frame, DropReason::MalformedTransport);
        }
        if headers.tuple.protocol == protocol::ICMPV6 && (133..=137).contains(&headers.icmp_type) {
            return self.neighbor_discovery(context, frame, &headers);
        }
        if let Entry::Port(_, dst) = entry
            && dst.is_group()
            && !is_dhcp(&headers)
        {
            return self.drop_frame(context, frame, DropReason::NotUnicast);
        }
        self.forward(context, frame, headers, entry);
    }

    fn arp<S: Sink>(&mut self, context: &mut Context<'_, S>, frame: Frame) {
        let arp = match Arp::parse(frame.bytes(), ETHERNET_LEN) {
            Ok(arp) => arp,
            Err(reason) => return self.drop_frame(context, frame, reason),
        };
        // Gratuitous ARP moves nothing: only the API does. ASSUMPTION.
        let answer = if arp.is_request && !arp.is_gratuitous() {
            resolve(context.tables, frame.port, arp.target_ip.into())
        } else {
            None
        };
        let Some(mac) = answer else {
            return self.drop_frame(context, frame, DropReason::NeighborUnknown);
        };
        let mut reply = self.pool.take();
        arp.reply(mac).write(&mut reply, arp.sender_mac);
        self.answer(context, frame, reply);
    }

    fn neighbor_discovery<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        frame: Frame,
        headers: &Headers,
    ) {
        match self.advertise(context.tables, &frame, headers) {
            Ok(reply) => self.answer(context, frame, reply),
            Err(reason) => self.drop_frame(context, frame, reason),
        }
    }

    /// The advertisement that answers a solicitation.
    fn advertise(
        &mut self,
        tables: &Snapshot,
        frame: &Frame,
        headers: &Headers,
    ) -> Result<Frame, DropReason> {
        let eni = tables.enis.row(frame.port).ok_or(DropReason::NoSuchPort)?;
        let subnet = tables
            .subnets
            .row(eni.subnet)
            .ok_or(DropReason::NoSuchPort)?;
        match headers.icmp_type {
            nd_type::NEIGHBOR_SOLICITATION => {
                let asked = NeighborSolicitation::parse(frame.bytes(), headers)?;
                // Duplicate address detection always succeeds. ASSUMPTION.
                let mac = (!asked.is_dad)
                    .then(|| resolve(tables, frame.port, asked.target.into()))
                    .flatten()
                    .ok_or(DropReason::NeighborUnknown)?;
                let router = mac == subnet.router_mac;
                let mut reply = self.pool.take();
                NeighborAdvertisement::answer(&asked, eni.mac, headers, mac, router)
                    .write(&mut reply);
                Ok(reply)
            }
            nd_type::ROUTER_SOLICITATION => {
                RouterSolicitation::parse(frame.bytes(), headers)?;
                let mut reply = self.pool.take();
                router_advertisement(tables, eni, subnet, headers).write(&mut reply);
                Ok(reply)
            }
            _ => Err(DropReason::NotAnswered),
        }
    }

    /// `frame` was served here; `reply` goes back where it came from.
    pub(super) fn answer<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        frame: Frame,
        reply: Frame,
    ) {
        self.counters.consumed += 1;
        self.counters.generated += 1;
        let port = frame.port;
        self.pool.put(frame);
        self.give_back(context, port, reply);
    }

    /// A frame that the data plane made, to the one who caused it: a host, a service
    /// of AWS's at its endpoint, or the local stack of a load balancer's node.
    pub(super) fn give_back<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        port: EniId,
        frame: Frame,
    ) {
        let tables = context.tables;
        let serves = |id| {
            let endpoint = tables.endpoints.row(id);
            endpoint.is_some_and(|row| matches!(row.kind, EndpointKind::Service { .. }))
        };
        let has_port = |eni: &EniRow| match eni.kind {
            EniKind::Endpoint(id) => serves(id),
            _ => eni.is_host(),
        };
        if tables.enis.row(port).is_some_and(has_port) {
            self.transmit(context, port, frame);
        } else {
            self.let_go(context);
            self.counters.local += 1;
            context.sink.local(port, frame);
        }
    }
}

/// The MAC address that answers for `address` in the subnet of `port`: its
/// owner's within the subnet, else the router's; `None` where nobody answers.
fn resolve(tables: &Snapshot, port: EniId, address: IpAddr) -> Option<Mac> {
    let eni = tables.enis.row(port)?;
    let subnet = tables.subnets.row(eni.subnet)?;
    if eni.owns(address) || address.is_unspecified() {
        return None;
    }
    if tables.vpcs.row(eni.vpc)?.is_outside() {
        return Some(subnet.router_mac);
    }
    if let IpAddr::V6(v6) = address
        && v6.is_unicast_link_local()
    {
        return link_local(tables, eni, subnet, v6);
    }
    let inside = subnet.cidrs.iter().find(|cidr| cidr.contains(address));
    let vpc = tables.vpcs.row(eni.vpc)?;
    let router =
        inside.is_some_and(|cidr| cidr.nth(1) == Some(address)) || vpc.resolver() == Some(address);
    if inside.is_none() || router {
        return Some(subnet.router_mac);
    }
    let owner = tables.enis.row(tables.owner(eni.vpc, address)?)?;
    (owner.subnet == eni.subnet).then_some(owner.mac)
}

fn link_local(
    tables: &Snapshot,
    eni: &EniRow,
    subnet: &SubnetRow,
    address: Ipv6Addr,
) -> Option<Mac> {
    if address == subnet.router_mac.link_local()
        || IpAddr::V6(address) == router_address(tables, eni.subnet, false)
    {
        return Some(subnet.router_mac);
    }
    let mac = crate::walk::mac_of_link_local(address)?;
    let owner = tables.enis.row(tables.eni_by_mac(eni.vpc, mac)?)?;
    (owner.subnet == eni.subnet).then_some(owner.mac)
}

/// M set, no autonomous prefix, so that hosts learn the default route and
/// nothing else. ASSUMPTION.
fn router_advertisement(
    tables: &Snapshot,
    eni: &EniRow,
    subnet: &SubnetRow,
    headers: &Headers,
) -> RouterAdvertisement {
    let (dst_mac, dst) = if headers.tuple.src.is_unspecified() {
        (ALL_NODES_MAC, IpAddr::V6(ALL_NODES))
    } else {
        (eni.mac, headers.tuple.src)
    };
    RouterAdvertisement {
        ends: Endpoints {
            src_mac: subnet.router_mac,
            dst_mac,
            src: router_address(tables, eni.subnet, false),
            dst,
        },
        lifetime_s: ROUTER_LIFETIME_S,
        mtu: eni.mtu,
        on_link: subnet.cidrs.iter().copied().find(|cidr| !cidr.is_ipv4()),
    }
}
