//! Entering, routing, arriving (reference §1, §2, §3.3).

use std::net::{IpAddr, Ipv6Addr};

use super::filters::{link_local, owns};
use super::tracking::Way;
use super::{Limit, Oracle, Step, Stop, Walk, drop};
use crate::wire::{ICMP, ICMP6, Packet, Part, TCP, Tuple, UDP};
use crate::world::{Eni, Id, Kind, Mac, Origin, Route, RouteTo, Subnet};

/// Most lookups between two ports (§1.5, E).
const LOOKUPS: u32 = 32;

/// fe80:ec2::1, the router in every subnet.
pub(super) const ROUTER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0xec2, 0, 0, 0, 0, 0, 1));

pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.octets()[..2] == [169, 254],
        IpAddr::V6(a) => a.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// Whether it looks like a DHCPv4 client's.
pub(super) fn is_dhcp(packet: &Packet) -> bool {
    let tuple = packet.tuple;
    tuple.proto == UDP
        && (tuple.sport, tuple.dport) == (68, 67)
        && tuple.src.is_ipv4()
        && packet.part == Part::Whole
}

impl Oracle {
    /// Longest prefix; of equal ones static, prefix list (lowest id), propagated;
    /// nothing propagated inside a local route (§2.2).
    pub fn route(&self, table: Id, address: IpAddr) -> Option<Route> {
        let routes = self.world.tables.get(&table)?;
        let is_local = |route: &&Route| route.origin == Origin::Local;
        let rank = |origin: Origin| match origin {
            Origin::Local => (0, 0),
            Origin::Static => (1, 0),
            Origin::List(id) => (2, id),
            Origin::Propagated => (3, 0),
        };
        let mut best: Option<&Route> = None;
        for route in routes {
            let shadowed = route.origin == Origin::Propagated
                && routes
                    .iter()
                    .filter(is_local)
                    .any(|local| local.to.covers(&route.to));
            if shadowed || !route.to.contains(address) {
                continue;
            }
            let wins = best.is_none_or(|held| {
                route.to.len > held.to.len
                    || (route.to.len == held.to.len && rank(route.origin) < rank(held.origin))
            });
            if wins {
                best = Some(route);
            }
        }
        best.cloned()
    }

    /// The addresses at and beside both ends of each route of a table.
    pub fn edges(&self, table: Id) -> Vec<IpAddr> {
        let routes = self.world.tables.get(&table).into_iter().flatten();
        routes
            .flat_map(|route| {
                let (first, last) = (route.to.nth(0), route.to.last());
                [first, last, before(first), after(last), route.to.address]
            })
            .collect()
    }
}

impl Walk<'_> {
    pub(super) fn subnet(&self, id: Id) -> Option<&Subnet> {
        self.world.subnets.get(&id)
    }

    pub(super) fn eni(&self, id: Id) -> Result<&Eni, Stop> {
        self.world
            .enis
            .get(&id)
            .ok_or(Stop::Drop(&["port.unknown"]))
    }

    /// The interface of a VPC that has an address.
    pub(super) fn owner(&self, vpc: Id, address: IpAddr) -> Option<Id> {
        let in_vpc = || self.world.enis.iter().filter(|(_, eni)| eni.vpc == vpc);
        let itself = in_vpc().find(|(_, eni)| eni.addresses.contains(&address));
        let found = itself.or_else(|| in_vpc().find(|(_, eni)| owns(eni, address)));
        found.map(|(id, _)| *id)
    }

    /// The router's address in a subnet, of the packet's family.
    pub(super) fn router(&self, subnet: Id) -> IpAddr {
        if self.tuple.src.is_ipv6() {
            return ROUTER6;
        }
        let cidrs = self
            .subnet(subnet)
            .map(|subnet| &subnet.cidrs[..])
            .unwrap_or_default();
        let v4 = cidrs.iter().find(|cidr| cidr.address.is_ipv4());
        let first = v4.map_or(IpAddr::from([0, 0, 0, 1]), |cidr| cidr.nth(1));
        // The internet has no one router: whoever is called answers.
        if first == IpAddr::from([0, 0, 0, 1]) {
            self.tuple.dst
        } else {
            first
        }
    }

    pub(super) fn limit(&mut self, bytes: usize, silent: Option<&'static str>, source: IpAddr) {
        let (bytes, silent) = match self.outer {
            // Inside a tunnel there is room for that much less, and no answer.
            Some(_) => (bytes - 68, Some("gwlb.mtu")),
            None => (bytes, silent),
        };
        let source = if silent.is_none() {
            self.front.unwrap_or(source)
        } else {
            source
        };
        self.limits.push(Limit {
            bytes,
            silent,
            source,
        });
    }

    /// A hop takes this much of the TTL.
    pub(super) fn age(&mut self, by: u8) {
        if let Some(outer) = &mut self.outer {
            outer.ttl -= by;
        } else if by > 0 {
            self.ttl_died |= self.ttl <= by;
            self.ttl = self.ttl.saturating_sub(by);
        }
    }

    /// From the host behind `port`, in a frame to `mac`.
    pub(super) fn enter(&mut self, mac: Mac) -> Step {
        let port = self.port;
        let eni = self.eni(port)?.clone();
        let Some(subnet) = self.subnet(eni.subnet).cloned() else {
            return drop(&["port.unknown"]);
        };
        self.sender = Some(port);
        self.dhcp(&eni, &subnet)?;
        if eni.check && !owns(&eni, self.packet.tuple.src) {
            return drop(&["source_dest_check"]);
        }
        // Who reports on a packet that was not for it may be disbelieved (U).
        let foreign = self.quoted.is_some_and(|quoted| !owns(&eni, quoted.dst));
        if eni.check && foreign && self.tape.pick(2) == 1 {
            return drop(&["source_dest_check"]);
        }
        let dst = self.tuple.dst;
        if is_group(dst)
            || subnet
                .cidrs
                .iter()
                .any(|cidr| cidr.broadcast() == Some(dst))
        {
            return drop(&["l2.not_unicast"]);
        }
        if self
            .world
            .vpcs
            .get(&eni.vpc)
            .is_some_and(|vpc| vpc.internet)
        {
            return self.arrive_from_internet(eni.subnet);
        }
        self.router_or_service(&eni, &subnet)?;
        if let Some(step) = self.back_to_node(port, &eni) {
            return step;
        }
        if mac != subnet.router_mac {
            let mut neighbours = self.world.enis.iter();
            let found =
                neighbours.find(|(_, other)| other.subnet == eni.subnet && other.mac == mac);
            let Some((&neighbour, _)) = found else {
                return drop(&["l2.unknown_mac"]);
            };
            self.sender_mac = Some(eni.mac);
            self.groups(port, Way::Out)?;
            return self.arrive(neighbour, Some(eni.subnet));
        }
        if is_link_local(self.tuple.src) || is_link_local(dst) {
            return drop(&["route.not_routable"]);
        }
        self.groups(port, Way::Out)?;
        self.route_from(eni.subnet)
    }

    /// The router's addresses and the link-local services: outside groups and ACLs.
    fn router_or_service(&mut self, eni: &Eni, subnet: &Subnet) -> Step {
        let dst = self.tuple.dst;
        let is_router = subnet.cidrs.iter().any(|cidr| cidr.nth(1) == dst)
            || dst == link_local(subnet.router_mac)
            || dst == ROUTER6;
        if is_router {
            let echo = match self.tuple.proto {
                ICMP if dst.is_ipv4() => self.packet.kind == 8,
                ICMP6 if dst.is_ipv6() => self.packet.kind == 128,
                _ => false,
            };
            return Err(if echo {
                Stop::Echo
            } else {
                Stop::Drop(&["local.not_answered"])
            });
        }
        self.on_link(eni)?;
        let neighbour = self
            .world
            .enis
            .values()
            .any(|other| other.subnet == eni.subnet && link_local(other.mac) == dst);
        let service = match dst {
            IpAddr::V4(_) => is_link_local(dst),
            IpAddr::V6(a) => {
                a.segments()[..2] == [0xfd00, 0xec2] || (is_link_local(dst) && !neighbour)
            }
        };
        if service {
            drop(&["local.not_answered"])
        } else {
            Ok(())
        }
    }

    /// DHCP asks everybody or the router, before there is an address (§1.4).
    fn dhcp(&mut self, eni: &Eni, subnet: &Subnet) -> Step {
        let (src, dst) = (self.tuple.src, self.tuple.dst);
        let to = dst == IpAddr::from([255; 4]) || subnet.cidrs.iter().any(|c| c.nth(1) == dst);
        let from = src.is_unspecified() || owns(eni, src);
        let vpc = self.world.vpcs.get(&eni.vpc);
        if is_dhcp(&self.packet)
            && to
            && from
            && eni.kind == Kind::Host
            && vpc.is_some_and(|vpc| !vpc.internet)
        {
            return Err(Stop::Service);
        }
        Ok(())
    }

    /// DNS, metadata and time are handled on the host, never routed (§1.4).
    fn on_link(&mut self, eni: &Eni) -> Step {
        let dst = self.tuple.dst;
        let ec2 = |last| IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, last));
        let at = |last: u8| dst == IpAddr::from([169, 254, 169, last]);
        let first = self
            .world
            .vpcs
            .get(&eni.vpc)
            .and_then(|vpc| vpc.cidrs.first());
        let plus_two = first.is_some_and(|first| dst.is_ipv4() && first.nth(2) == dst);
        let ports: &[(u8, u32)] = if plus_two || at(253) || dst == ec2(0x253) {
            &[(UDP, 53), (TCP, 53)]
        } else if at(254) || dst == ec2(0x254) {
            &[(TCP, 80)]
        } else if at(123) || dst == ec2(0x123) {
            &[(UDP, 123)]
        } else {
            return Ok(());
        };
        let asked = ports.contains(&(self.tuple.proto, self.tuple.dport));
        let whole = self.packet.part == Part::Whole && self.quoted.is_none();
        if asked && whole && eni.kind == Kind::Host {
            return Err(Stop::Service);
        }
        drop(&["local.not_answered"])
    }

    pub(super) fn best_route(&self, table: Id, address: IpAddr) -> Option<Route> {
        self.oracle.route(table, address)
    }

    fn lookup(&mut self, table: Id) -> Result<Option<Route>, Stop> {
        self.lookups += 1;
        if self.lookups > LOOKUPS {
            return Err(Stop::Drop(&["route.loop"]));
        }
        Ok(self.best_route(table, self.tuple.dst))
    }

    /// On from a subnet by its route table.
    pub(super) fn route_from(&mut self, id: Id) -> Step {
        self.sender_mac = None;
        let Some(subnet) = self.subnet(id).cloned() else {
            return drop(&["route.none"]);
        };
        self.limit(9001, None, self.router(id));
        let route = self.lookup(subnet.table)?;
        // The ACL is judged when a packet leaves the subnet, and on the way to
        // an endpoint of the same subnet.
        let here = |eni: Id| {
            self.world
                .enis
                .get(&eni)
                .is_some_and(|eni| eni.subnet == id)
        };
        let stays = match route.as_ref().map(|route| route.target) {
            Some(RouteTo::Local) => match self.owner(subnet.vpc, self.tuple.dst) {
                Some(owner) => here(owner),
                None => subnet
                    .cidrs
                    .iter()
                    .any(|cidr| cidr.contains(self.tuple.dst)),
            },
            Some(RouteTo::Eni(eni)) => here(eni),
            _ => false,
        };
        if !stays {
            self.acl(id, Way::Out)?;
        }
        let Some(route) = route else {
            return drop(&["route.none"]);
        };
        self.age(self.world.settings.ttl_router);
        match route.target {
            RouteTo::Local => self.hand_to_owner(subnet.vpc, Some(id)),
            RouteTo::Eni(eni) => self.arrive(eni, Some(id)),
            RouteTo::Igw => self.igw_out(subnet.vpc, id),
            RouteTo::GatewayEndpoint(endpoint) => self.enter_endpoint(endpoint, Some(id)),
            RouteTo::Peering(peering) => self.cross_peering(peering, subnet.vpc, id),
            RouteTo::Blackhole => drop(&["route.blackhole"]),
        }
    }

    /// Into a VPC by a gateway with an edge table.
    pub(super) fn route_from_gateway(&mut self, vpc: Id, table: Id) -> Step {
        match self.lookup(table)?.map(|route| route.target) {
            None => drop(&["route.none"]),
            Some(RouteTo::Local) => self.hand_to_owner(vpc, None),
            Some(RouteTo::Eni(eni)) => self.arrive(eni, None),
            Some(RouteTo::GatewayEndpoint(endpoint)) => self.enter_endpoint(endpoint, None),
            Some(RouteTo::Blackhole) => drop(&["route.blackhole"]),
            Some(RouteTo::Igw | RouteTo::Peering(_)) => drop(&["route.not_routable"]),
        }
    }

    /// To the VPC at the other end of a peering connection (§4.3): only to an
    /// address in its blocks, whatever its own tables say.
    fn cross_peering(&mut self, id: Id, vpc: Id, subnet: Id) -> Step {
        let peering = self.world.peerings.get(&id).copied();
        let Some(peering) = peering.filter(|peering| peering.vpcs.contains(&vpc)) else {
            return drop(&["route.blackhole"]);
        };
        let [one, other] = peering.vpcs;
        let peer = if one == vpc { other } else { one };
        if peering.far {
            self.limit(8500, None, self.router(subnet));
        }
        let blocks = self.world.vpcs.get(&peer).map(|vpc| &vpc.cidrs[..]);
        let dst = self.tuple.dst;
        if !blocks
            .unwrap_or_default()
            .iter()
            .any(|cidr| cidr.contains(dst))
        {
            return drop(&["peering.not_in_vpc"]);
        }
        self.hand_to_owner(peer, None)
    }

    pub(super) fn hand_to_owner(&mut self, vpc: Id, from: Option<Id>) -> Step {
        match self.owner(vpc, self.tuple.dst) {
            Some(eni) => self.arrive(eni, from),
            None => drop(&["route.address_unassigned"]),
        }
    }

    /// At an interface, from a subnet or from outside the VPC.
    pub(super) fn arrive(&mut self, id: Id, from: Option<Id>) -> Step {
        let eni = self.eni(id)?.clone();
        if from != Some(eni.subnet) {
            self.acl(eni.subnet, Way::In)?;
        }
        match eni.kind {
            Kind::Host => self.deliver(id),
            Kind::Endpoint(endpoint) => self.at_endpoint(endpoint, id),
            Kind::GatewayEndpoint(_) => drop(&["local.not_answered"]),
            Kind::Node(balancer) => self.at_node(balancer, id),
            Kind::Nat(_) => self.at_nat(id),
        }
    }

    /// Groups in, destination check, out by the port.
    pub(super) fn deliver(&mut self, id: Id) -> Step {
        self.groups(id, Way::In)?;
        let eni = self.eni(id)?.clone();
        if eni.check && !owns(&eni, self.tuple.dst) {
            return drop(&["source_dest_check"]);
        }
        if !eni.attached {
            return drop(&["port.detached"]);
        }
        self.limit(eni.mtu as usize, None, self.router(eni.subnet));
        let router = self
            .subnet(eni.subnet)
            .map_or([0; 6], |subnet| subnet.router_mac);
        self.delivered = Some((id, (eni.mac, self.sender_mac.unwrap_or(router))));
        Ok(())
    }

    pub(super) fn reversed_quote(&self) -> Option<Tuple> {
        self.quoted.map(Tuple::reversed)
    }
}

pub(super) fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_broadcast() || a.octets()[0] >> 4 == 14 || a.is_unspecified(),
        IpAddr::V6(a) => a.octets()[0] == 0xff || a.is_unspecified(),
    }
}

/// The address before this one, round the end.
fn before(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(a) => IpAddr::V4(u32::from(a).wrapping_sub(1).into()),
        IpAddr::V6(a) => IpAddr::V6(u128::from(a).wrapping_sub(1).into()),
    }
}

/// The address after this one, round the end.
fn after(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(a) => IpAddr::V4(u32::from(a).wrapping_add(1).into()),
        IpAddr::V6(a) => IpAddr::V6(u128::from(a).wrapping_add(1).into()),
    }
}
