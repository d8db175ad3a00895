//! Interface endpoints and network load balancers (reference §6).

use super::filters::owns;
use super::state::{Effect, Mapping};
use super::tracking::{Entry, Life, Way};
use super::{Step, Stop, Walk, drop};
use crate::wire::{Packet, Part, TCP, Tuple, UDP};
use crate::world::{Balancer, EndpointKind, Eni, Health, Id, Kind, Target, TargetGroup};

const MTU: usize = 8500;

/// Ports from here on stand for some that no packet shows.
const UNSEEN: u32 = 70_000;

/// A packet that is for no connection that a load balancer knows.
const NOT_FOR_IT: &[&str] = &[
    "privatelink.one_way",
    "lb.no_listener",
    "lb.not_for_node",
    "fragment",
];

/// An ICMP error about nothing that it knows.
const UNRELATED: &[&str] = &[
    "endpoint.protocol",
    "endpoint.unavailable",
    "icmp.unrelated",
    "lb.no_connection",
    "lb.no_listener",
    "lb.not_for_node",
    "privatelink.one_way",
    "lb.fragment",
    "fragment",
];

impl Walk<'_> {
    /// A client's packet at an interface endpoint.
    pub(super) fn at_endpoint(&mut self, id: Id, front: Id) -> Step {
        const GONE: &[&str] = &["endpoint.unavailable"];
        let Some(endpoint) = self.world.endpoints.get(&id).cloned() else {
            return drop(GONE);
        };
        let EndpointKind::Interface { balancers, .. } = endpoint.kind else {
            return drop(GONE);
        };
        self.always_tracked = true;
        self.groups(front, Way::In)?;
        let known = self.known(front);
        if self.quoted.is_some() && known.is_none() {
            return drop(UNRELATED);
        }
        if self.quoted.is_none()
            && (![TCP, UDP].contains(&self.tuple.proto) || self.outer.is_some())
        {
            return drop(&["endpoint.protocol"]);
        }
        if !endpoint.available && known.is_none() {
            return drop(GONE);
        }
        self.limit(MTU, Some("endpoint.mtu"), self.tuple.dst);
        self.clamp();
        let zone = self.subnet_of(front).map(|subnet| subnet.az);
        let in_zone: Vec<(Id, Id)> = balancers
            .iter()
            .filter_map(|id| {
                let nodes = &self.world.balancers.get(id)?.nodes;
                let (_, eni) = nodes.iter().find(|(az, _)| Some(*az) == zone)?;
                Some((*id, *eni))
            })
            .collect();
        let (balancer, node) = match known {
            Some(at) => (
                self.oracle.mappings[at].balancer,
                self.oracle.mappings[at].node,
            ),
            None if in_zone.is_empty() => return drop(&["endpoint.not_in_az"]),
            None => self.favourite(front, &in_zone),
        };
        let Some(row) = self.world.balancers.get(&balancer).cloned() else {
            return drop(&["endpoint.not_in_az"]);
        };
        if row.enforce {
            self.node_groups(node, Way::In, known)?;
        }
        self.balance(Some(id), front, balancer, &row, node, known)
    }

    /// The groups of a node judge what opens a connection; what follows belongs
    /// to it. A connection idle for longer than a tracking entry may be judged
    /// again (U).
    fn node_groups(&mut self, node: Id, way: Way, known: Option<usize>) -> Step {
        if let Some(at) = known {
            let idle = self.now - self.oracle.mappings[at].entry.last;
            if idle <= 10 || self.tape.pick(2) == 0 {
                return Ok(());
            }
        }
        // What the balancer has forgotten its node may still track.
        let client = self.tuple;
        let over = |held: &Mapping| held.node == node && held.client == client;
        let tracked = way == Way::In && self.oracle.mappings.iter().any(over);
        let eni = self.eni(node)?.clone();
        if eni.groups.is_empty() || self.allowed(&eni, way).is_some() {
            return Ok(());
        }
        if tracked && self.tape.pick(2) == 1 {
            Ok(())
        } else {
            drop(&["security_group"])
        }
    }

    fn subnet_of(&self, eni: Id) -> Option<&crate::world::Subnet> {
        self.subnet(self.world.enis.get(&eni)?.subnet)
    }

    /// One of the zone's load balancers, picked once (§6.2).
    fn favourite(&mut self, front: Id, in_zone: &[(Id, Id)]) -> (Id, Id) {
        let among: Vec<Id> = in_zone.iter().map(|(id, _)| *id).collect();
        if let Some((then, chosen)) = self.oracle.favourites.get(&front)
            && *then == among
            && let Some(found) = in_zone.iter().find(|(id, _)| id == chosen)
        {
            return *found;
        }
        let found = in_zone[self.tape.pick(in_zone.len())];
        self.effects.push(Effect::Favour {
            front,
            among,
            chosen: found.0,
        });
        found
    }

    fn clamp(&mut self) {
        let headers = if self.tuple.src.is_ipv4() { 40 } else { 60 };
        let limit = (MTU - headers) as u16;
        self.mss = Some(self.mss.map_or(limit, |held| held.min(limit)));
    }

    /// The living connection of a client's packet (or of an error about one).
    fn known(&mut self, front: Id) -> Option<usize> {
        let client = self.reversed_quote().unwrap_or(self.tuple);
        let found = |held: &Mapping| held.front == front && held.client == client;
        let at = self.oracle.mappings.iter().rposition(found)?;
        let held = &self.oracle.mappings[at];
        if held.entry.is_closed() && self.packet.opens() {
            return None;
        }
        let mut life = held.entry.balancer_life(held.tcp_idle, self.now);
        if held.places[0] != self.place() && life == Life::Alive {
            // Suddenly by another way: unsupported (§2.3).
            life = Life::Unknown;
        }
        // The client has reset another that looks like it to the target.
        let begins = held.kept && self.packet.opens() && self.quoted.is_none();
        if begins && life == Life::Alive && self.oracle.is_closed(held.translated.reversed()) {
            life = Life::Unknown;
        }
        (self.decide(life) == Life::Alive).then_some(at)
    }

    /// Any packet for a load balancer's node.
    pub(super) fn at_node(&mut self, id: Id, node: Id) -> Step {
        let Some(row) = self.world.balancers.get(&id).cloned() else {
            return drop(&["lb.not_for_node"]);
        };
        if row.gateway {
            return self.leave_tunnel(node);
        }
        if let Some(at) = self.answers.take() {
            return self.answered(at, id);
        }
        let sent = self.quoted.unwrap_or(self.tuple.reversed());
        let found = |held: &Mapping| held.node == node && held.translated == sent && !held.kept;
        if let Some(at) = self.oracle.mappings.iter().rposition(found) {
            return self.answered(at, id);
        }
        // A node is called by its first address; further ones are sources (E).
        let called = self.tuple.dst;
        let first = self.world.enis.get(&node).is_some_and(|eni| {
            let mut addresses = eni.addresses.iter();
            addresses.find(|a| a.is_ipv4() == called.is_ipv4()) == Some(&called)
        });
        let listened = first
            && row
                .listeners
                .iter()
                .any(|l| l.protocol == self.tuple.proto && u32::from(l.port) == self.tuple.dport);
        let known = self.known(node);
        if self.quoted.is_some() {
            if known.is_none() {
                // Which of two reasons comes first, nobody says.
                let step = self.node_groups(node, Way::In, None);
                let first = step.is_err() && self.tape.pick(2) == 1;
                return if first { step } else { drop(UNRELATED) };
            }
        } else if !listened {
            // Whether a connection outlives its listener, nobody says.
            let lives = known.is_some() && self.tape.pick(2) == 1;
            if !lives {
                return drop(NOT_FOR_IT);
            }
        }
        self.node_groups(node, Way::In, known)?;
        self.always_tracked = true;
        self.balance(None, node, id, &row, node, known)
    }

    /// What passes a load balancer at all: TCP whole, no unknown ports, of ICMP
    /// only unreachable and too big.
    fn passes(&mut self) -> Step {
        if self.quoted.is_some() {
            let fine = if self.packet.is_v6() {
                [1, 2].contains(&self.packet.kind)
            } else {
                self.packet.kind == 3
            };
            if !fine {
                return drop(UNRELATED);
            }
            if self.packet.part != Part::Whole && self.tape.pick(2) == 0 {
                return drop(UNRELATED);
            }
            return Ok(());
        }
        if self.tuple.proto == TCP && self.packet.part != Part::Whole {
            return drop(&["lb.fragment"]);
        }
        if self.portless {
            drop(&["fragment"])
        } else {
            Ok(())
        }
    }

    /// Listener, target, translation, and on from the node.
    fn balance(
        &mut self,
        endpoint: Option<Id>,
        front: Id,
        id: Id,
        row: &Balancer,
        node: Id,
        known: Option<usize>,
    ) -> Step {
        self.passes()?;
        let called = self.tuple.dst;
        let (translated, kept) = match known {
            Some(at) => {
                let mapping = &self.oracle.mappings[at];
                if self.quoted.is_none() {
                    self.effects.push(Effect::Mapped {
                        at,
                        way: Way::Out,
                        packet: self.packet.clone(),
                        places: None,
                    });
                }
                (mapping.translated, mapping.kept)
            }
            None => {
                let mapping = self.open(endpoint, front, id, row, node)?;
                let (translated, kept) = (mapping.translated, mapping.kept);
                self.effects.push(Effect::Map(mapping));
                (translated, kept)
            }
        };
        self.front = Some(called);
        self.become_(translated);
        self.sender = Some(node);
        self.stands_for = kept.then_some(node);
        let Some(subnet) = self.world.enis.get(&node).map(|eni| eni.subnet) else {
            return drop(&["port.unknown"]);
        };
        self.node_groups(node, Way::Out, known)?;
        self.route_from(subnet)
    }

    /// A load balancer owns the leg that follows: fresh TTL.
    fn become_(&mut self, tuple: Tuple) {
        if self.quoted.is_some() {
            // Whoever reports shows as he is, where the flow's source stays as it is, too.
            if self
                .reversed_quote()
                .is_none_or(|flow| flow.src != tuple.src)
            {
                self.tuple.src = tuple.src;
            }
            self.tuple.dst = tuple.dst;
            self.quoted = Some(tuple.reversed());
        } else {
            self.tuple = tuple;
        }
        self.ttl = self.world.settings.ttl_balancer;
    }

    fn open(
        &mut self,
        endpoint: Option<Id>,
        front: Id,
        id: Id,
        row: &Balancer,
        node: Id,
    ) -> Result<Mapping, Stop> {
        const NO_TARGET: Stop = Stop::Drop(&["lb.no_target"]);
        let listener = row
            .listeners
            .iter()
            .find(|l| l.protocol == self.tuple.proto && u32::from(l.port) == self.tuple.dport);
        let listener = listener.ok_or(Stop::Drop(&["lb.no_listener"]))?;
        if self.tuple.proto == TCP && !self.packet.opens() {
            return Err(Stop::Reset(&["lb.no_connection"]));
        }
        let group = listener
            .group
            .and_then(|group| self.world.target_groups.get(&group));
        let group = group.ok_or(Stop::Drop(&["lb.no_target_group"]))?;
        let zone = row
            .nodes
            .iter()
            .find(|(_, eni)| *eni == node)
            .map(|(az, _)| *az);
        let candidates = candidates(group, zone, row.cross_zone);
        if candidates.is_empty() {
            return Err(NO_TARGET);
        }
        let target = candidates[self.tape.pick(candidates.len())].clone();
        if target.address.is_ipv4() != self.tuple.src.is_ipv4() {
            return Err(NO_TARGET);
        }
        let kept = endpoint.is_none() && group.keeps;
        let (client, tcp_idle) = (self.tuple, listener.tcp_idle);
        let entry = Entry::open(&self.packet, Way::Out, false, self.now);
        let mapping = move |translated| Mapping {
            endpoint,
            front,
            client,
            balancer: id,
            node,
            translated,
            kept,
            tcp_idle,
            entry,
            places: [(0, None); 2],
        };
        if kept {
            // Nobody is called by itself: the answer would never leave it.
            if self.tuple.src == target.address {
                return Err(Stop::Drop(&["lb.hairpin"]));
            }
            let translated = Tuple {
                dst: target.address,
                dport: u32::from(target.port),
                ..self.tuple
            };
            return Ok(mapping(translated));
        }
        let addresses = self
            .world
            .enis
            .get(&node)
            .map(|eni| eni.addresses.clone())
            .unwrap_or_default();
        let source = addresses
            .iter()
            .find(|a| a.is_ipv4() == target.address.is_ipv4());
        let source = *source.ok_or(NO_TARGET)?;
        let mut translated = Tuple {
            src: source,
            dst: target.address,
            proto: self.tuple.proto,
            sport: 0,
            dport: u32::from(target.port),
        };
        let behind_nat = self.seen_port_behind_nat(&translated);
        translated.sport = self.seen_port(&translated).or(behind_nat).unwrap_or(0);
        // The same packet, which came by a NAT gateway before.
        let moved = |held: &Mapping| {
            let mine = |nat: &super::NatMapping| {
                nat.client == self.packet.tuple && nat.translated == held.client
            };
            self.oracle.nats.iter().any(mine)
        };
        let in_use = |held: &Mapping| {
            let same = (held.front == front && held.client == self.tuple) || moved(held);
            held.node == node
                && held.translated == translated
                && !same
                && held.entry.balancer_life(held.tcp_idle, self.now) == Life::Alive
        };
        let taken = self.oracle.mappings.iter().any(in_use);
        if taken && behind_nat == Some(translated.sport) {
            // The NAT gateway has moved it: nobody sees which it was.
            translated.sport = UNSEEN + self.oracle.mappings.len() as u32;
        } else if taken || (translated.sport != 0 && translated.sport < 1024) {
            // No packet may look like that.
            translated.sport = u32::MAX;
        }
        Ok(mapping(translated))
    }

    /// A target's answer to a client whose address it sees: back to the node, by no route
    /// table (E); only the ACLs between the two are asked. `None` if it is none.
    pub(super) fn back_to_node(&mut self, port: Id, eni: &Eni) -> Option<Step> {
        let sent = self.quoted.unwrap_or(self.tuple.reversed());
        // Between the node and a target that sees its clients may be a NAT gateway: nobody
        // says whether what the target answers to that is led to the node, too.
        let hidden = |held: &Mapping| {
            let mut nats = self.oracle.nats.iter();
            nats.any(|nat| nat.client == held.translated && nat.translated == sent)
        };
        let held = |held: &&Mapping| held.kept && (held.translated == sent || hidden(held));
        let about: Vec<usize> = (0..self.oracle.mappings.len())
            .filter(|at| held(&&self.oracle.mappings[*at]))
            .filter(|at| self.oracle.mappings[*at].places[1] == (port, None))
            .collect();
        let first = *about.first()?;
        // Two connections look alike to the target: the client's own to it, or by another
        // listener. (NLB guide, "Troubleshoot": such a use of a socket fails.)
        let itself = |(_, tuple): &(super::state::Place, Tuple)| *tuple == sent;
        let alike = about.len() > 1
            || self.oracle.paths.keys().any(itself)
            || self.oracle.mappings[first].translated != sent;
        let held = &self.oracle.mappings[first];
        let alive = held.entry.balancer_life(held.tcp_idle, self.now) == Life::Alive;
        // A SYN begins another connection, where that one is over.
        let over = held.entry.is_closed() && self.packet.opens();
        let certain = !alike && alive && !over;
        let choice = match certain {
            true => 0,
            false => self.tape.pick(about.len() + 1),
        };
        let Some(&at) = about.get(choice) else {
            // It begins its own: what is over on either side of the node may be forgotten.
            self.effects.push(Effect::Doubt(self.tuple));
            return None;
        };
        self.answers = Some(at);
        let (node, balancer) = (
            self.oracle.mappings[at].node,
            self.oracle.mappings[at].balancer,
        );
        Some(self.over_to(node, balancer, port, eni))
    }

    fn over_to(&mut self, node: Id, balancer: Id, port: Id, eni: &Eni) -> Step {
        self.groups(port, Way::Out)?;
        let subnet = match self.world.enis.get(&node) {
            Some(row) if row.kind == Kind::Node(balancer) => row.subnet,
            _ => return drop(&["lb.no_connection", "port.unknown"]),
        };
        if subnet != eni.subnet {
            self.acl(eni.subnet, Way::Out)?;
        }
        self.limit(9001, None, self.router(eni.subnet));
        self.arrive(node, Some(eni.subnet))
    }

    /// The source port that the data plane chose, read from what it sent.
    fn seen_port(&self, wanted: &Tuple) -> Option<u32> {
        let (_, frame) = self.seen.out.first()?;
        let packet = Packet::read(frame.get(14..)?, false)?;
        let inner = packet
            .bytes
            .get(packet.l4 + 48..)
            .and_then(|bytes| Packet::read(bytes, false));
        [Some(packet), inner]
            .into_iter()
            .flatten()
            .map(|p| p.tuple)
            .find_map(|tuple| {
                let same = Tuple { sport: 0, ..tuple } == *wanted;
                same.then_some(tuple.sport)
            })
    }

    /// The same where a NAT gateway on the way has put its own address there: it keeps the
    /// port, if that is free (E).
    fn seen_port_behind_nat(&self, wanted: &Tuple) -> Option<u32> {
        let (_, frame) = self.seen.out.first()?;
        let packet = Packet::read(frame.get(14..)?, false)?;
        let seen = packet.tuple;
        let has = |eni: &Eni| {
            let public = eni.elastic.iter().any(|pair| pair.1 == seen.src);
            matches!(eni.kind, Kind::Nat(_)) && (public || owns(eni, seen.src))
        };
        let is_it = (seen.proto, seen.dport) == (wanted.proto, wanted.dport)
            && self.world.enis.values().any(has);
        is_it.then_some(seen.sport)
    }

    /// A target's packet of a known connection, on its way back.
    fn answered(&mut self, at: usize, id: Id) -> Step {
        const OVER: &[&str] = &[
            "lb.no_connection",
            "privatelink.one_way",
            "lb.no_listener",
            "lb.not_for_node",
        ];
        let mapping = self.oracle.mappings[at].clone();
        if self.packet.opens() && self.quoted.is_none() {
            return drop(OVER);
        }
        let mut life = mapping.entry.balancer_life(mapping.tcp_idle, self.now);
        if mapping.places[1] != self.place() && life == Life::Alive {
            // Not by the way that it came: unsupported (§2.3).
            life = Life::Unknown;
        }
        if self.decide(life) != Life::Alive {
            // A target that sends is reset, as long as anything is known of the
            // connection.
            if self.tuple.proto == TCP && self.quoted.is_none() && self.tape.pick(2) == 0 {
                return Err(Stop::Reset(&["lb.no_connection"]));
            }
            return drop(OVER);
        }
        self.passes()?;
        self.front = Some(self.tuple.dst);
        self.become_(mapping.client.reversed());
        self.always_tracked = true;
        let called = mapping.endpoint.map_or(Kind::Node(id), Kind::Endpoint);
        let front = self
            .world
            .enis
            .get(&mapping.front)
            .filter(|eni| eni.kind == called)
            .cloned();
        let Some(front) = front else {
            return drop(OVER);
        };
        self.sender = Some(mapping.front);
        if mapping.endpoint.is_some() {
            self.limit(MTU, Some("endpoint.mtu"), self.tuple.src);
            self.clamp();
            self.groups(mapping.front, Way::Out)?;
        }
        if self.quoted.is_none() {
            self.effects.push(Effect::Mapped {
                at,
                way: Way::In,
                packet: self.packet.clone(),
                places: None,
            });
        }
        self.route_from(front.subnet)
    }
}

/// The targets that may get a new connection: of the zone unless cross-zone,
/// the healthy ones, or all that are in use when none is.
pub(super) fn candidates(group: &TargetGroup, zone: Option<u16>, cross_zone: bool) -> Vec<Target> {
    let usable = |target: &&Target| {
        let in_zone = cross_zone || target.az.is_none_or(|az| Some(az) == zone);
        in_zone && ![Health::Draining, Health::Unused].contains(&target.health)
    };
    let all: Vec<Target> = group.targets.iter().filter(usable).cloned().collect();
    let healthy: Vec<Target> = all
        .iter()
        .filter(|t| t.health == Health::Healthy)
        .cloned()
        .collect();
    if healthy.is_empty() { all } else { healthy }
}
