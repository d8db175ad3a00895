//! Internet gateways (reference §4.1) and the internet beyond.

use std::net::IpAddr;

use super::filters::owns;
use super::tracking::{Life, Way};
use super::{Step, Walk, drop};
use crate::world::{Cidr, Eni, Id, Kind, RouteTo};

impl Walk<'_> {
    pub(super) fn igw_out(&mut self, vpc: Id, subnet: Id) -> Step {
        let Some(igw) = self.world.vpcs.get(&vpc).and_then(|vpc| vpc.igw.clone()) else {
            return drop(&["route.blackhole"]);
        };
        if self.outer.is_some() {
            return drop(&["igw.no_public_address"]);
        }
        self.limit(1500, None, self.router(subnet));
        self.age(self.world.settings.ttl_igw);
        if let Some(class) = private(self.tuple.dst, &["igw.rfc1918"], &["igw.rfc6598"]) {
            return drop(class);
        }
        if let Some(edge) = igw.edge_table
            && self.left.is_none()
            && let Some(route) = self.best_route(edge, self.tuple.src)
            && route.target != RouteTo::Local
            && route.target != RouteTo::Eni(self.port)
            && self.is_reply()
        {
            return drop(&["igw.ingress_redirection"]);
        }
        let Some(owner) = self.owner(vpc, self.tuple.src) else {
            return drop(&["igw.no_public_address", "igw.spoofed"]);
        };
        let eni = self.eni(owner)?.clone();
        if eni.deny_igw {
            return drop(&["igw.denied"]);
        }
        let src = self.tuple.src;
        match src {
            IpAddr::V4(_) => {
                let Some((_, public)) = eni.elastic.iter().find(|(private, _)| *private == src)
                else {
                    return drop(&["igw.no_public_address"]);
                };
                self.tuple.src = *public;
                if let Some(quoted) = &mut self.quoted
                    && quoted.dst == src
                {
                    quoted.dst = *public;
                }
            }
            IpAddr::V6(a) if a.octets()[0] & 0xfe == 0xfc => {
                return drop(&["igw.no_public_address"]);
            }
            IpAddr::V6(_) => {}
        }
        self.sender = None;
        self.cross_internet(&["internet.unreachable"])
    }

    /// Whether the packet answers one that its sender received. Without a
    /// certain memory of that, either.
    fn is_reply(&mut self) -> bool {
        // A later fragment of something unseen is of no connection, as at the groups.
        if self.portless {
            return false;
        }
        let sent = self.reversed_quote().unwrap_or(self.tuple);
        // Other packets of the connection go another way now (§2.3): to whoever sees those of
        // one direction only, the other end began, once its own have been silent for long.
        if self.oracle.strays(&sent) {
            return self.tape.pick(2) == 0;
        }
        let Some(entry) = self.oracle.entry(self.port, sent).copied() else {
            return false;
        };
        let Ok(eni) = self.eni(self.port) else {
            return false;
        };
        let life = match entry.life(&eni.timeouts, self.now) {
            Life::Alive if !entry.vague && !entry.untracked => Life::Alive,
            _ => Life::Unknown,
        };
        // Whether the last packet began another connection or not: then who began?
        let opened = entry.opened == Way::In || (entry.lost && self.tape.pick(2) == 1);
        self.decide(life) == Life::Alive && opened
    }

    pub(super) fn arrive_from_internet(&mut self, subnet: Id) -> Step {
        self.limit(1500, None, self.router(subnet));
        self.sender = None;
        self.cross_internet(&["igw.no_private_address"])
    }

    fn cross_internet(&mut self, unknown: super::Classes) -> Step {
        let dst = self.tuple.dst;
        let Some(owner) = self
            .world
            .enis
            .iter()
            .find(|(_, eni)| self.is_reached_by(eni, dst))
            .map(|(id, _)| *id)
        else {
            return drop(unknown);
        };
        let vpc = self.eni(owner)?.vpc;
        if self.world.vpcs.get(&vpc).is_some_and(|vpc| vpc.internet) {
            self.deliver(owner)
        } else {
            self.igw_in(owner)
        }
    }

    /// Whether the internet reaches an interface by this address.
    fn is_reached_by(&self, eni: &Eni, address: IpAddr) -> bool {
        if eni.elastic.iter().any(|(_, public)| *public == address) {
            return true;
        }
        if self
            .world
            .vpcs
            .get(&eni.vpc)
            .is_some_and(|vpc| vpc.internet)
        {
            return eni.addresses.contains(&address);
        }
        let global = matches!(address, IpAddr::V6(a) if a.octets()[0] & 0xfe != 0xfc && a.octets()[0] != 0xfe);
        global && owns(eni, address) && eni.kind == Kind::Host && !eni.deny_igw
    }

    fn igw_in(&mut self, owner: Id) -> Step {
        let eni = self.eni(owner)?.clone();
        let Some(igw) = self
            .world
            .vpcs
            .get(&eni.vpc)
            .and_then(|vpc| vpc.igw.clone())
        else {
            return drop(&["igw.no_private_address"]);
        };
        if let Some(class) = private(
            self.tuple.src,
            &["igw.source_rfc1918"],
            &["igw.source_rfc6598"],
        ) {
            return drop(class);
        }
        self.age(self.world.settings.ttl_igw);
        let dst = self.tuple.dst;
        if let Some((private, public)) = eni.elastic.iter().find(|(_, public)| *public == dst) {
            self.tuple.dst = *private;
            if let Some(quoted) = &mut self.quoted
                && quoted.src == *public
            {
                quoted.src = *private;
            }
        }
        match igw.edge_table {
            Some(table) => self.route_from_gateway(eni.vpc, table),
            None => self.hand_to_owner(eni.vpc, None),
        }
    }
}

/// The class for an address of RFC 1918 or RFC 6598.
fn private(
    address: IpAddr,
    rfc1918: super::Classes,
    rfc6598: super::Classes,
) -> Option<super::Classes> {
    let block = |a: [u8; 4], len| Cidr {
        address: IpAddr::from(a),
        len,
    };
    let of_1918 = [
        block([10, 0, 0, 0], 8),
        block([172, 16, 0, 0], 12),
        block([192, 168, 0, 0], 16),
    ];
    if of_1918.iter().any(|cidr| cidr.contains(address)) {
        return Some(rfc1918);
    }
    block([100, 64, 0, 0], 10)
        .contains(address)
        .then_some(rfc6598)
}
