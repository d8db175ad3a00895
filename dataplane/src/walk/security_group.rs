//! Security groups: stateful allow rules on an interface.
//!
//! Reads:  the ENI's groups, their rules, prefix lists and members; connection tracking
//! Drops:  SecurityGroup
//! AWS:    VPC User Guide "Security groups"; EC2 User Guide "Security group
//!         connection tracking". The union of all rules of all groups counts;
//!         a tracked connection passes whatever the rules now say.

use std::net::IpAddr;

use super::{Component, Rule, Stop, Walk};
use crate::addr::EniId;
use crate::drop::DropReason;
use crate::flow::{Direction, Object};
use crate::packet::protocol;
use crate::tables::{EniKind, EniRow, Peer, PortMatch, SecurityGroupRule, Snapshot};

impl Walk<'_> {
    /// Outbound, at the interface that sends.
    pub(super) fn security_groups_out(&mut self, id: EniId, eni: &EniRow) -> Result<(), Stop> {
        self.security_groups(id, eni, true)
    }

    /// Inbound, at the interface that receives.
    pub(super) fn security_groups_in(&mut self, id: EniId, eni: &EniRow) -> Result<(), Stop> {
        self.security_groups(id, eni, false)
    }

    fn security_groups(&mut self, id: EniId, eni: &EniRow, egress: bool) -> Result<(), Stop> {
        let component = Component::SecurityGroups { eni: id, egress };
        if eni.groups.is_empty() {
            self.hop(component, Rule::NoGroups);
            return Ok(());
        }
        if self.is_tracked(id, eni, egress) {
            self.hop(component, Rule::Tracked);
            return Ok(());
        }
        let remote = if egress {
            self.tuple.dst
        } else {
            self.source()
        };
        let found = eni.groups.iter().find_map(|&group| {
            let row = self.tables.security_groups.row(group)?;
            let rules = if egress { &row.egress } else { &row.ingress };
            let index = rules
                .iter()
                .position(|rule| self.rule_matches(rule, remote, egress))?;
            Some((group, index, rules.get(index)?.peer))
        });
        // Any group's change may bring or take the rule that decides.
        for &group in &eni.groups {
            self.depend(Object::SecurityGroup, group);
        }
        let open = self.open_to_all(eni, egress, remote);
        let Some((group, index, peer)) = found else {
            return Err(self.end(component, Rule::None, DropReason::SecurityGroup));
        };
        match peer {
            Peer::Group(members) => self.path.reads.members(members),
            Peer::PrefixList(list) => self.depend(Object::PrefixList, list),
            Peer::Cidr(_) => {}
        }
        self.hop(component, Rule::Group { group, index });
        if (open && self.is_untracked(eni, egress)) || self.answers_untracked(id) {
            self.untracked = Some(id);
            // An entry that has timed out must not live again by this packet.
            let has_expired = self.own.is_some_and(|own| {
                own.session.tracks(id) && !own.session.tracked_by(id, &eni.timeouts, self.now)
            });
            if has_expired {
                self.path.forgets.push(id);
            }
        } else if self.tunnel.is_none() {
            // ASSUMPTION: the tunnel legs are judged by the rules each time
            // and leave no tracking entry.
            self.path.tracks.push(id);
        }
        Ok(())
    }

    /// Whether connection tracking lets the packet pass at this interface.
    fn is_tracked(&mut self, id: EniId, eni: &EniRow, egress: bool) -> bool {
        // A tunnel's leg is not the connection that it carries.
        if self.tunnel.is_some() {
            return false;
        }
        // What comes back to its sender arrives there as any other packet does.
        let hairpin = !egress && self.entered == Some(id) && self.left.is_none();
        let sent = if egress {
            self.tuple
        } else {
            self.tuple.reversed()
        };
        if let Some(own) = self.own
            && !hairpin
            && own.session.tracked_by(id, &eni.timeouts, self.now)
            && own.session.is_sent_by(id, &sent)
        {
            return true;
        }
        self.path.judged = true;
        if eni.kind != EniKind::Host || self.packet.is_stateless() {
            return false;
        }
        let known = self.connections.tracked(id, &eni.timeouts, sent, self.now);
        // A SYN to a closed connection begins another.
        let opens = self.packet.headers.is_tcp_open();
        match known.filter(|known| !(opens && known.session.tracking().is_closed())) {
            Some(known) => {
                // Found by what this interface sends: a packet that arrives
                // here travels the other way.
                let direction = match (egress, known.direction) {
                    (true, direction) => direction,
                    (false, Direction::Forward) => Direction::Reply,
                    (false, Direction::Reply) => Direction::Forward,
                };
                if self
                    .own
                    .is_none_or(|own| own.session.id() != known.session.id())
                {
                    self.path.link = Some((known.session.id(), direction));
                }
                true
            }
            None => false,
        }
    }

    fn rule_matches(&self, rule: &SecurityGroupRule, remote: IpAddr, egress: bool) -> bool {
        let (ip_protocol, kind, code) = self.packet.judged_as(self.tuple.protocol);
        rule.protocol.is_none_or(|protocol| protocol == ip_protocol)
            && self.ports_match(rule.ports, ip_protocol, (kind, code))
            && match (self.stands_for(egress), rule.peer) {
                (Some(node), Peer::Group(group)) => node.groups.contains(&group),
                (_, peer) => {
                    peer_matches(self.tables, peer, remote)
                        && (egress || self.is_from(peer, remote))
                }
            }
    }

    /// The load balancer's node in whose place its client's address stands: a group
    /// that a target's rule names is the node's, and never the client's (NLB guide
    /// "Security groups": it works with client IP preservation).
    fn stands_for(&self, egress: bool) -> Option<&EniRow> {
        let node = self.stands_for.filter(|_| !egress)?;
        self.tables
            .enis
            .row(node)
            .filter(|_| self.sender == Some(node))
    }

    /// Whether a rule's ports cover the packet; and for which other destination
    /// ports the answer is the same.
    pub(super) fn ports_match(&self, ports: PortMatch, ip_protocol: u8, icmp: (u8, u8)) -> bool {
        let dport = self.tuple.dport;
        if let PortMatch::Range(from, to) = ports {
            let (mut first, mut last) = self.ports.get();
            if dport < from {
                last = last.min(from - 1);
            } else if dport > to {
                first = first.max(to.saturating_add(1));
            } else {
                (first, last) = (first.max(from), last.min(to));
            }
            self.ports.set((first, last));
        }
        ports_match(ports, ip_protocol, dport, icmp, self.packet.portless)
    }

    /// Whether a member of the group sent the packet itself. A reference does
    /// not reach across a middlebox (VPC "Middlebox routing": the source must be
    /// an address), nor into another VPC that has the same addresses.
    fn is_from(&self, peer: Peer, remote: IpAddr) -> bool {
        let Peer::Group(group) = peer else {
            return true;
        };
        let sender = self.sender.and_then(|sender| self.tables.enis.row(sender));
        sender.is_some_and(|sender| sender.groups.contains(&group) && sender.owns(remote))
    }

    /// Whether this packet answers a connection that passed this interface
    /// untracked: its other direction's rules must not make it tracked.
    fn answers_untracked(&self, id: EniId) -> bool {
        self.own.is_some_and(|own| {
            own.direction == Direction::Reply
                && !own.session.tracks(id)
                && self.now <= own.session.dies_at()
        })
    }

    /// Untracked: TCP or UDP allowed from (to) everywhere, where the other
    /// direction allows all ports to (from) everywhere.
    fn is_untracked(&self, eni: &EniRow, egress: bool) -> bool {
        let transport = matches!(self.tuple.protocol, protocol::TCP | protocol::UDP);
        if self.always_tracked || !transport || eni.kind != EniKind::Host {
            return false;
        }
        eni.groups
            .iter()
            .filter_map(|&group| self.tables.security_groups.row(group))
            .any(|row| {
                let back = if egress { &row.ingress } else { &row.egress };
                back.iter().any(|rule| {
                    rule.protocol.is_none_or(|p| p == self.tuple.protocol)
                        && matches!(rule.ports, PortMatch::Any | PortMatch::Range(0, u16::MAX))
                        && self.is_everywhere(rule.peer)
                })
            })
    }

    /// Whether a rule that covers the packet is open to all; the order of rules
    /// and groups says nothing.
    fn open_to_all(&self, eni: &EniRow, egress: bool, remote: IpAddr) -> bool {
        let rows = eni.groups.iter();
        rows.filter_map(|&group| self.tables.security_groups.row(group))
            .any(|row| {
                let rules = if egress { &row.egress } else { &row.ingress };
                rules.iter().any(|rule| {
                    self.is_everywhere(rule.peer) && self.rule_matches(rule, remote, egress)
                })
            })
    }

    fn is_everywhere(&self, peer: Peer) -> bool {
        match peer {
            Peer::Cidr(prefix) => prefix.len() == 0 && prefix.is_ipv4() == self.tuple.src.is_ipv4(),
            Peer::PrefixList(_) | Peer::Group(_) => false,
        }
    }
}

/// Whether a rule's ports (or ICMP types) cover a packet.
fn ports_match(
    ports: PortMatch,
    ip_protocol: u8,
    dport: u16,
    icmp: (u8, u8),
    portless: bool,
) -> bool {
    match ports {
        PortMatch::Any => true,
        PortMatch::Range(from, to) => {
            matches!(ip_protocol, protocol::TCP | protocol::UDP)
                && !portless
                && (from..=to).contains(&dport)
        }
        PortMatch::Icmp(kind, code) => {
            matches!(ip_protocol, protocol::ICMP | protocol::ICMPV6)
                && !portless
                && kind == icmp.0
                && code.is_none_or(|code| code == icmp.1)
        }
    }
}

/// Whether an address is on the other side of a rule.
fn peer_matches(tables: &Snapshot, peer: Peer, address: IpAddr) -> bool {
    match peer {
        Peer::Cidr(prefix) => prefix.contains(address),
        Peer::PrefixList(list) => tables
            .prefix_lists
            .row(list)
            .is_some_and(|list| list.entries.iter().any(|entry| entry.contains(address))),
        Peer::Group(group) => tables.is_group_member(group, address),
    }
}
