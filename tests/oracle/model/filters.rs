//! Security groups and network ACLs (reference §3).

use super::tracking::{Entry, Life, Way};
use super::{NatMapping, Step, Walk, drop};
use crate::wire::{ICMP, ICMP6, TCP, Tuple, UDP};
use crate::world::{Eni, GroupRule, Id, Kind, Peer, Ports};
use std::net::IpAddr;

impl Walk<'_> {
    /// Protocol, and ICMP type and code, of the packet itself.
    fn what(&self) -> (u8, u8, u8) {
        let proto = if self.outer.is_some() {
            UDP
        } else {
            self.packet.tuple.proto
        };
        (proto, self.packet.kind, self.packet.code)
    }

    fn ports_match(&self, ports: Ports) -> bool {
        let (proto, kind, code) = self.what();
        // A tunnel's packet is whole, whatever part it carries.
        let portless = self.portless && self.outer.is_none();
        match ports {
            Ports::Any => true,
            Ports::Range(from, to) => {
                let known = [TCP, UDP].contains(&proto) && !portless;
                known && u32::from(from) <= self.tuple.dport && self.tuple.dport <= u32::from(to)
            }
            Ports::Icmp(type_, wanted) => {
                let known = [ICMP, ICMP6].contains(&proto) && !portless;
                known && kind == type_ && wanted.is_none_or(|wanted| wanted == code)
            }
        }
    }

    /// A subnet's ACL: lowest number first, the first match decides, else denied.
    pub(super) fn acl(&mut self, subnet: Id, way: Way) -> Step {
        const DENIED: &[&str] = &["network_acl"];
        let acl = self
            .world
            .subnets
            .get(&subnet)
            .and_then(|subnet| self.world.acls.get(&subnet.acl));
        let Some(acl) = acl else { return drop(DENIED) };
        let (rules, remote) = match way {
            Way::Out => (&acl.egress, self.tuple.dst),
            Way::In => (&acl.ingress, self.tuple.src),
        };
        let proto = self.what().0;
        let matching = rules.iter().filter(|rule| {
            rule.protocol.is_none_or(|wanted| wanted == proto)
                && rule.cidr.contains(remote)
                && self.ports_match(rule.ports)
        });
        match matching.min_by_key(|rule| rule.number) {
            Some(rule) if rule.allow => Ok(()),
            _ => drop(DENIED),
        }
    }

    fn peer_matches(&self, peer: Peer, remote: IpAddr, way: Way) -> bool {
        match peer {
            Peer::Cidr(cidr) => cidr.contains(remote),
            Peer::List(id) => {
                let list = self.world.lists.get(&id);
                list.is_some_and(|list| list.iter().any(|entry| entry.contains(remote)))
            }
            // The private addresses of the group's interfaces; a source only if
            // such an interface sent the packet, nothing between (§2.3).
            // Behind a load balancer that keeps its client's address: its node's.
            Peer::Group(id) if way == Way::In && self.is_in_clients_name() => {
                let node = self.sender.and_then(|node| self.world.enis.get(&node));
                node.is_some_and(|node| node.groups.contains(&id))
            }
            Peer::Group(id) => self.world.enis.iter().any(|(eni_id, eni)| {
                let here = way == Way::Out || self.sender == Some(*eni_id);
                here && eni.groups.contains(&id) && owns(eni, remote)
            }),
        }
    }

    /// Whether a load balancer's node sent it last, with the address of its client.
    fn is_in_clients_name(&self) -> bool {
        self.stands_for.is_some() && self.stands_for == self.sender
    }

    fn rule_matches(&self, rule: &GroupRule, remote: IpAddr, way: Way) -> bool {
        rule.protocol.is_none_or(|wanted| wanted == self.what().0)
            && self.ports_match(rule.ports)
            && self.peer_matches(rule.peer, remote, way)
    }

    /// The groups of an interface: the union of all rules, unless the
    /// connection is tracked.
    pub(super) fn groups(&mut self, id: Id, way: Way) -> Step {
        const DENIED: &[&str] = &["security_group"];
        let Some(eni) = self.world.enis.get(&id) else {
            return drop(&["port.unknown"]);
        };
        let sent = match way {
            Way::Out => self.tuple,
            Way::In => self.tuple.reversed(),
        };
        if eni.groups.is_empty() {
            return Ok(());
        }
        if self.outer.is_some() {
            // The legs of a tunnel are judged each time (reference §3.1 is about
            // connections; what returns is not the reverse of what was sent).
            return if self.allowed(eni, way).is_some() {
                Ok(())
            } else {
                drop(DENIED)
            };
        }
        if self.quoted.is_some() {
            return self.error_groups(id, eni, way);
        }
        if self.portless || self.packet.is_icmp_error() {
            return if self.allowed(eni, way).is_some() {
                Ok(())
            } else {
                drop(DENIED)
            };
        }
        // From an interface to itself (a host would not send that, a router's own packets
        // may come back): what tracks the connection there as a sender's may or may not do
        // so as a receiver's (U).
        let itself = owns(eni, sent.src) && owns(eni, sent.dst);
        let twin = (itself || self.comes_back(id, self.packet.tuple))
            .then(|| self.oracle.entry(id, sent.reversed()))
            .flatten();
        if twin.is_some_and(|twin| !twin.untracked) && self.tape.pick(2) == 1 {
            self.tracks.push((id, sent, way, false));
            return Ok(());
        }
        let mut held = self.oracle.entry(id, sent).copied();
        let unsure =
            held.is_some_and(|entry| self.nat_forgets(sent, &entry) || self.oracle.strays(&sent));
        if let Some(entry) = held
            && self.packet.opens()
        {
            // A SYN to a closed connection begins another.
            let vague = entry.vague && !entry.is_reset();
            let restarts = if vague || entry.lost || unsure {
                self.tape.pick(2) == 0
            } else {
                entry.is_closed()
            };
            held = held.filter(|_| !restarts);
        }
        let mut life = held.map_or(Life::Dead, |entry| entry.life(&eni.timeouts, self.now));
        let mut lost = held.is_some_and(|entry| entry.lost);
        if held.is_some() && unsure {
            (life, lost) = (Life::Unknown, true);
        }
        let life = self.decide(life);
        let tracked = held.filter(|entry| life == Life::Alive && (!entry.untracked || lost));
        if tracked.is_some() {
            self.tracks.push((id, sent, way, false));
            return Ok(());
        }
        let Some(everywhere) = self.allowed(eni, way) else {
            return drop(DENIED);
        };
        let transport = [TCP, UDP].contains(&self.tuple.proto);
        let mut untracked =
            everywhere && transport && eni.kind == Kind::Host && self.all_may_return(eni, way);
        // The answer to an untracked flow is part of it.
        if let Some(entry) = held
            && entry.untracked
            && entry.opened != way
        {
            untracked |= life == Life::Alive;
        }
        self.tracks.push((id, sent, way, untracked));
        Ok(())
    }

    /// Whether packets of this interface last came back to it.
    fn comes_back(&self, id: Id, sent: Tuple) -> bool {
        let place = (id, None);
        let last = self.oracle.paths.get(&(place, sent));
        self.port == id && last.is_some_and(|taken| taken.0 == place)
    }

    /// Whether a NAT gateway that carried the connection may have forgotten it, or may have
    /// in between: with its memory that of the interfaces on either side of it may go (U).
    /// Of a gateway's mappings for a client (and to an address and port of its own) the
    /// newest says so; and only of what is not younger than its last packet.
    fn nat_forgets(&self, sent: Tuple, entry: &Entry) -> bool {
        let gone = |held: &NatMapping| {
            entry.born <= held.entry.last
                && (held.entry.vague || held.life(self.now) != Life::Alive)
        };
        let nats = &self.oracle.nats;
        if !nats.iter().any(gone) {
            return false;
        }
        let about = self.oracle.forms(sent);
        let newest = |tuple: fn(&NatMapping) -> Tuple| {
            let mut seen = Vec::new();
            nats.iter().rev().any(|held| {
                let way = (held.gateway, tuple(held));
                let first = about.contains(&way.1) && !seen.contains(&way);
                seen.push(way);
                first && gone(held)
            })
        };
        newest(|held| held.client) || newest(|held| held.translated)
    }

    /// An unknown life becomes one or the other.
    pub(super) fn decide(&mut self, life: Life) -> Life {
        match life {
            Life::Unknown if self.tape.pick(2) == 0 => Life::Alive,
            Life::Unknown => Life::Dead,
            known => known,
        }
    }

    /// Whether a rule allows the packet, and whether one does from (to) everywhere.
    pub(super) fn allowed(&self, eni: &Eni, way: Way) -> Option<bool> {
        let remote = match way {
            Way::Out => self.tuple.dst,
            Way::In => self.tuple.src,
        };
        let groups = eni.groups.iter().filter_map(|id| self.world.groups.get(id));
        let rules = groups.flat_map(|group| match way {
            Way::Out => &group.egress,
            Way::In => &group.ingress,
        });
        let matching: Vec<_> = rules
            .filter(|rule| self.rule_matches(rule, remote, way))
            .collect();
        if matching.is_empty() {
            return None;
        }
        Some(matching.iter().any(|rule| self.is_everywhere(rule.peer)))
    }

    fn is_everywhere(&self, peer: Peer) -> bool {
        match peer {
            Peer::Cidr(cidr) => {
                cidr.is_everything() && cidr.address.is_ipv4() == self.tuple.src.is_ipv4()
            }
            _ => false,
        }
    }

    /// Whether the other direction allows all ports of the protocol, everywhere.
    fn all_may_return(&self, eni: &Eni, way: Way) -> bool {
        let groups = eni.groups.iter().filter_map(|id| self.world.groups.get(id));
        let mut back = groups.flat_map(|group| match way {
            Way::Out => &group.ingress,
            Way::In => &group.egress,
        });
        back.any(|rule| {
            rule.protocol
                .is_none_or(|wanted| wanted == self.tuple.proto)
                && matches!(rule.ports, Ports::Any | Ports::Range(0, 65535))
                && self.is_everywhere(rule.peer)
        })
    }

    /// ICMP errors: related to a tracked connection, or by rules.
    fn error_groups(&mut self, id: Id, eni: &Eni, way: Way) -> Step {
        const DENIED: &[&str] = &["security_group"];
        let Some(quoted) = self.quoted else {
            return Ok(());
        };
        // The error goes against the packet that it quotes.
        let sent = match way {
            Way::Out => quoted.reversed(),
            Way::In => quoted,
        };
        let held = self.oracle.entry(id, sent).copied();
        let returns = self.comes_back(id, sent);
        let held = held.filter(|entry| !entry.untracked || entry.vague || entry.lost || returns);
        let mut life = held.map_or(Life::Dead, |entry| entry.life(&eni.timeouts, self.now));
        let strays = self.oracle.strays(&sent) || returns;
        if held.is_some_and(|entry| {
            strays || self.nat_forgets(sent, &entry) || (entry.untracked && life == Life::Alive)
        }) {
            life = Life::Unknown;
        }
        // Who is no party to the connection may be believed or not (U).
        if way == Way::In && life == Life::Alive && !self.sender_is_party() {
            life = Life::Unknown;
        }
        if self.decide(life) == Life::Alive || self.allowed(eni, way).is_some() {
            Ok(())
        } else {
            drop(DENIED)
        }
    }

    /// Whether the port by which an error entered has seen the packet it quotes.
    fn sender_is_party(&self) -> bool {
        let Some(first) = self.packet.quoted() else {
            return false;
        };
        let sent = first.tuple.reversed();
        let fresh = |entry: &Entry| self.now - entry.last <= 10 && !entry.untracked;
        self.oracle.entry(self.port, sent).is_some_and(fresh)
    }
}

/// Whether an interface has the address, by itself or by a delegated prefix, or
/// as the link-local address of its MAC.
pub(super) fn owns(eni: &Eni, address: IpAddr) -> bool {
    eni.addresses.contains(&address)
        || eni.prefixes.iter().any(|prefix| prefix.contains(address))
        || address == link_local(eni.mac)
}

/// fe80::/64 and the MAC as modified EUI-64 (RFC 4291 appendix A).
pub(super) fn link_local(mac: [u8; 6]) -> IpAddr {
    let mut octets = [0u8; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..11].copy_from_slice(&mac[..3]);
    octets[8] ^= 2;
    octets[11..13].copy_from_slice(&[0xff, 0xfe]);
    octets[13..].copy_from_slice(&mac[3..]);
    IpAddr::from(octets)
}
