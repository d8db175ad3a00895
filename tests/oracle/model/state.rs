//! What the model remembers, and what a packet that passed adds to it.

use std::net::IpAddr;

use super::tracking::{Entry, Life, Way};
use super::{NatMapping, Oracle};
use crate::wire::{FIN, Packet, RST, TCP, Tuple, UDP};
use crate::world::{Id, Seconds, Sticky};

/// A network load balancer's connection.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The endpoint that the client called, if any.
    pub endpoint: Option<Id>,
    /// The interface that the client called.
    pub front: Id,
    pub client: Tuple,
    pub balancer: Id,
    pub node: Id,
    pub translated: Tuple,
    /// The target sees the client's address.
    pub kept: bool,
    pub tcp_idle: Seconds,
    /// `Out` is from the client to the target.
    pub entry: Entry,
    /// Where its packets last came from, and went to.
    pub places: [Place; 2],
}

/// A port, or the cookie of the flow whose tunnel a packet leaves or enters.
pub type Place = (Id, Option<u32>);

/// Where packets went, and between which addresses.
pub type Taken = (Place, IpAddr, IpAddr);

/// What makes packets one gateway load balancer flow.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowKey {
    pub endpoint: Id,
    pub ends: [(IpAddr, u32); 2],
    pub proto: Option<u8>,
}

impl FlowKey {
    pub fn new(endpoint: Id, tuple: &Tuple, sticky: Sticky, fragment: bool) -> Self {
        let ports = sticky == Sticky::Five && !fragment && [6, 17].contains(&tuple.proto);
        let port = |port| if ports { port } else { 0 };
        let mut ends = [
            (tuple.src, port(tuple.sport)),
            (tuple.dst, port(tuple.dport)),
        ];
        ends.sort();
        let proto = (sticky != Sticky::Two).then_some(tuple.proto);
        Self {
            endpoint,
            ends,
            proto,
        }
    }

    fn has_ports(&self) -> bool {
        self.ends.iter().any(|end| end.1 != 0)
    }
}

/// A gateway load balancer's flow.
#[derive(Clone, Debug)]
pub struct Flow {
    pub key: FlowKey,
    pub first: Tuple,
    pub number: u64,
    pub target: IpAddr,
    pub node_address: IpAddr,
    pub cookie: u32,
    pub sport: u16,
    pub tcp_idle: Seconds,
    pub last: Seconds,
    pub unanswered: Option<Seconds>,
    pub fins: [bool; 2],
    pub reset: bool,
    /// Endpoints crossed before this one, by direction.
    pub before: [Vec<Id>; 2],
}

impl Flow {
    pub fn way(&self, tuple: &Tuple) -> usize {
        let forward = tuple.src == self.first.src
            && (!self.key.has_ports() || tuple.sport == self.first.sport);
        usize::from(!forward)
    }

    fn idle_limit(&self) -> Seconds {
        if self.is_over() {
            10
        } else if self.first.proto == TCP {
            self.tcp_idle
        } else {
            120
        }
    }

    /// Closed by both sides.
    pub fn is_over(&self) -> bool {
        self.fins == [true; 2]
    }

    pub fn takes_returns(&self, now: Seconds) -> bool {
        now - self.last <= self.idle_limit() && self.unanswered.is_none_or(|at| now - at <= 30)
    }

    pub fn is_alive(&self, now: Seconds) -> bool {
        !self.reset && self.takes_returns(now)
    }

    /// Expired so long ago that it may be forgotten.
    pub fn may_be_forgotten(&self, now: Seconds) -> bool {
        now - self.last > 2 * self.idle_limit() || self.unanswered.is_some_and(|at| now - at > 30)
    }
}

/// The first fragment of a datagram.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Port, or the cookie of the flow whose tunnel it left.
    pub place: Place,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub proto: u8,
    pub id: u32,
    pub tuple: Tuple,
    pub icmp: (u8, u8),
    pub at: Seconds,
}

/// What a packet that passed leaves behind.
pub enum Effect {
    Track {
        eni: Id,
        sent: Tuple,
        way: Way,
        untracked: bool,
        lost: bool,
        packet: Packet,
    },
    Map(Mapping),
    Mapped {
        at: usize,
        way: Way,
        packet: Packet,
        places: Option<[Place; 2]>,
    },
    NatOpen(NatMapping),
    /// A packet (an error: none) passes a NAT gateway by a known mapping.
    NatPassed {
        at: usize,
        gateway: Id,
        way: Way,
        packet: Option<Packet>,
        from: Place,
        to: Place,
    },
    Favour {
        front: Id,
        among: Vec<Id>,
        chosen: Id,
    },
    Open(Flow),
    /// A packet enters the tunnel of a flow.
    Enter {
        at: usize,
        tuple: Tuple,
        flags: u8,
        before: Vec<Id>,
    },
    Retarget {
        at: usize,
        target: IpAddr,
    },
    /// A packet came back from the appliance.
    Returned {
        at: usize,
    },
    Fragment(Seen),
    /// The way that a packet took.
    Path {
        way: [Place; 2],
        tuples: [Tuple; 3],
    },
    /// A SYN to a closed connection was dropped on its way.
    Doubt(Tuple),
}

impl Oracle {
    pub(super) fn keep(&mut self, effects: Vec<Effect>) {
        let through = |effect: &Effect| match effect {
            Effect::NatOpen(mapping) => Some(mapping.client),
            Effect::NatPassed { at, .. } => Some(self.nats[*at].client),
            _ => None,
        };
        let through: Vec<Tuple> = effects.iter().filter_map(through).collect();
        let mut effects = effects;
        if !through.is_empty() {
            // Behind a translation nobody sees which load balancer it was.
            effects.retain(|effect| !matches!(effect, Effect::Favour { .. }));
        }
        for effect in &effects {
            let Effect::Path { way, tuples } = effect else {
                continue;
            };
            // Until now it has gone without a gateway that it goes through from here on.
            let opened = |effect: &Effect| match effect {
                Effect::NatOpen(new) => self.nats.iter().all(|held| held.client != new.client),
                _ => false,
            };
            if self.paths.contains_key(&(way[0], tuples[0])) && effects.iter().any(opened) {
                self.stray(self.forms(tuples[0]));
            }
            // Gone past the gateway that it, or what it answers, went through before:
            // unsupported (§2.3).
            let about = self.forms(tuples[0]);
            let past = |held: &&mut NatMapping| {
                tuples.contains(&held.client) || about.contains(&held.translated)
            };
            let mut hidden = Vec::new();
            for held in self.nats.iter_mut().filter(past) {
                if !through.contains(&held.client) {
                    held.entry.doubtful = true;
                    held.entry.vague = true;
                    hidden.push(held.translated);
                }
            }
            // Nor does anybody say who remembers what a load balancer made of it behind
            // the gateway.
            for held in &mut self.mappings {
                if hidden.contains(&held.client) {
                    held.entry.doubtful = true;
                    let legs = [held.translated, held.translated.reversed()];
                    for ((_, sent), entry) in &mut self.tracking {
                        entry.lost |= legs.contains(sent);
                    }
                }
            }
        }
        // A gateway is new behind a load balancer: what comes back past it?
        let known = |effect: &Effect| match effect {
            Effect::Mapped { at, .. } => Some(*at),
            _ => None,
        };
        for effect in &effects {
            if let Effect::Path { tuples, .. } = effect {
                self.strays_on(tuples);
            }
        }
        let is_new = |effect: &Effect| matches!(effect, Effect::NatOpen(_));
        let astray = effects.iter().find_map(known);
        let astray = astray.filter(|_| effects.iter().any(is_new));
        for effect in effects {
            self.keep_one(effect);
        }
        if let Some(held) = astray.and_then(|at| self.mappings.get_mut(at)) {
            held.entry.doubtful = true;
        }
    }

    fn keep_one(&mut self, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Track {
                eni,
                sent,
                way,
                untracked,
                lost,
                packet,
            } => {
                let is_new = self.track(eni, sent, way, untracked, &packet);
                if let Some(entry) = self.tracking.get_mut(&(eni, sent)) {
                    entry.lost |= lost && is_new;
                }
            }
            Effect::Map(mapping) => {
                let same =
                    |held: &Mapping| held.front == mapping.front && held.client == mapping.client;
                // Who tracked the old one's legs need not forget them.
                for held in self.mappings.iter().filter(|held| same(held)) {
                    let mut old = vec![held.translated, held.translated.reversed()];
                    // Nor need a gateway behind it.
                    let behind = |nat: &&mut NatMapping| nat.client == held.translated;
                    let mut beyond = Vec::new();
                    for nat in self.nats.iter_mut().filter(behind) {
                        nat.entry.doubtful = true;
                        beyond.push(nat.translated);
                    }
                    old.extend(beyond.into_iter().flat_map(|tuple| self.forms(tuple)));
                    for ((_, sent), entry) in &mut self.tracking {
                        entry.lost |= old.contains(sent);
                    }
                }
                // What its legs' trackers take over of the old one, nobody says.
                let old = self.mappings.iter().filter(|held| same(held));
                let last = old.map(|held| held.entry.last).max();
                self.remap(mapping.translated, last);
                // One whose packets suddenly came another way may live on beside it (§2.3).
                let astray = |held: &Mapping| {
                    held.places[0] != mapping.places[0]
                        && held.entry.balancer_life(held.tcp_idle, now) != Life::Dead
                };
                self.mappings.retain(|held| !same(held) || astray(held));
                for held in self.mappings.iter_mut().filter(|held| same(held)) {
                    held.entry.doubtful = true;
                }
                self.mappings.push(mapping);
            }
            Effect::Mapped {
                at,
                way,
                packet,
                places,
            } => {
                let held = &mut self.mappings[at];
                let life = held.entry.balancer_life(held.tcp_idle, now);
                // The same again, or another that began and looks like it?
                let astray = places.is_some_and(|places| places[0] != held.places[0]);
                held.entry.vague |= way == Way::Out && (life != Life::Alive || astray);
                held.entry.touch(&packet, way, now);
                if let Some(places) = places {
                    held.places = places;
                }
            }
            Effect::NatOpen(mapping) => {
                let same = |held: &NatMapping| {
                    held.gateway == mapping.gateway && held.client == mapping.client
                };
                let mut last = None;
                let mut about = Vec::new();
                for held in self.nats.iter_mut().filter(|held| same(held)) {
                    // Whether the old one still takes answers, nobody says.
                    held.entry.doubtful = true;
                    last = last.max(Some(held.entry.last));
                    about.push(held.client);
                }
                // Nor what its client's interface takes over of it.
                let about: Vec<Tuple> = about
                    .into_iter()
                    .flat_map(|tuple| self.forms(tuple))
                    .collect();
                for ((_, sent), entry) in &mut self.tracking {
                    entry.vague |= about.contains(sent) && !entry.is_closed();
                }
                self.remap(mapping.translated, last);
                self.nats.push(mapping);
            }
            Effect::NatPassed {
                at,
                way,
                packet,
                from,
                to,
                ..
            } => {
                let held = &mut self.nats[at];
                let Some(packet) = packet else { return };
                let sure = held.life(now) == Life::Alive;
                if way == Way::Out {
                    held.entry.vague |= !sure || held.places[0] != from;
                    held.places = [from, to];
                }
                held.entry.touch(&packet, way, now);
            }
            Effect::Favour {
                front,
                among,
                chosen,
            } => _ = self.favourites.insert(front, (among, chosen)),
            Effect::Open(flow) => {
                self.cookies.insert(flow.cookie);
                if let Some(held) = self.flows.iter_mut().find(|held| held.key == flow.key) {
                    *held = flow;
                } else {
                    self.flows.push(flow);
                }
            }
            Effect::Enter {
                at,
                tuple,
                flags,
                before,
            } => {
                let flow = &mut self.flows[at];
                let way = flow.way(&tuple);
                flow.last = now;
                flow.before[way] = before;
                if tuple.proto == TCP && flow.key.has_ports() {
                    flow.fins[way] |= flags & FIN != 0;
                    flow.reset |= flags & RST != 0;
                }
            }
            Effect::Retarget { at, target } => self.flows[at].target = target,
            Effect::Returned { at } => {
                self.flows[at].last = now;
                self.flows[at].unanswered = None;
            }
            Effect::Fragment(seen) => {
                let same = |held: &Seen| {
                    (held.place, held.src, held.dst, held.proto, held.id)
                        == (seen.place, seen.src, seen.dst, seen.proto, seen.id)
                };
                self.fragments.retain(|held| !same(held));
                self.fragments.push(seen);
            }
            Effect::Path { way, tuples } => {
                // Another end of a known beginning (or the same, as another), or another
                // beginning of it.
                let last = tuples[if way[1].1.is_some() { 2 } else { 1 }];
                let there = (way[1], last.src, last.dst);
                let back = (way[0], tuples[0].src, tuples[0].dst);
                let strays = |before: Option<Taken>, now| before.is_some_and(|it| it != now);
                let there = strays(self.paths.insert((way[0], tuples[0]), there), there);
                let back = strays(self.paths.insert((way[1], last.reversed()), back), back);
                if there || back {
                    let mut about: Vec<Tuple> =
                        tuples.iter().flat_map(|tuple| self.forms(*tuple)).collect();
                    for held in &mut self.mappings {
                        if about.contains(&held.client) && held.places[1] != way[1] {
                            held.entry.doubtful = true;
                            about.extend([held.translated, held.translated.reversed()]);
                        }
                    }
                    self.stray(about);
                }
            }
            Effect::Doubt(tuple) => {
                let mut about = self.forms(tuple);
                for held in &mut self.nats {
                    if about.contains(&held.client) || about.contains(&held.translated) {
                        held.entry.doubtful |= held.entry.is_closed();
                    }
                }
                // Or its client has reset another that looks like it to the target.
                let reset = self
                    .mappings
                    .iter()
                    .map(|held| held.kept && self.is_closed(held.translated.reversed()));
                let reset: Vec<bool> = reset.collect();
                for (held, reset) in self.mappings.iter_mut().zip(reset) {
                    if about.contains(&held.client) || about.contains(&held.translated) {
                        held.entry.doubtful |= held.entry.is_closed() || reset;
                        about.extend([held.client, held.client.reversed()]);
                        about.extend([held.translated, held.translated.reversed()]);
                    }
                }
                for ((_, sent), entry) in &mut self.tracking {
                    if about.contains(sent) && entry.is_closed() {
                        entry.vague = true;
                        entry.doubtful = true;
                    }
                }
            }
        }
    }

    /// How long anybody remembers a connection.
    fn memory(&self, proto: u8) -> Seconds {
        let enis = self.world.enis.values();
        match proto {
            TCP => enis.map(|eni| eni.timeouts.tcp).max().unwrap_or(0).max(350),
            UDP => 350,
            _ => 600,
        }
    }

    fn stray(&mut self, tuples: Vec<Tuple>) {
        let now = self.now;
        self.strayed
            .extend(tuples.into_iter().map(|tuple| (tuple, now)));
    }

    /// Packets of what strayed once pass, whichever way.
    fn strays_on(&mut self, tuples: &[Tuple]) {
        if self.strayed.is_empty() {
            return;
        }
        let known = tuples.iter().flat_map(|tuple| self.forms(*tuple));
        let known: Vec<Tuple> = known.filter(|tuple| self.strays(tuple)).collect();
        self.stray(known);
    }

    /// Whether packets of the connection took another way than those before.
    pub(super) fn strays(&self, tuple: &Tuple) -> bool {
        let last = self.strayed.get(tuple);
        last.is_some_and(|last| self.now - last <= self.memory(tuple.proto))
    }

    /// A translation begins, after one of the same client whose last packet passed then.
    fn remap(&mut self, new: Tuple, last: Option<Seconds>) {
        for sent in [new, new.reversed()] {
            match last.filter(|last| self.now - last <= self.memory(new.proto)) {
                Some(_) => self.remapped.insert(sent, self.now),
                None => self.remapped.remove(&sent),
            };
        }
    }

    fn is_remapped(&self, sent: &Tuple) -> bool {
        let then = self.remapped.get(sent);
        then.is_some_and(|then| self.now - then <= self.memory(sent.proto))
    }

    /// A tuple both ways, with public addresses and with private ones.
    pub(super) fn forms(&self, tuple: Tuple) -> Vec<Tuple> {
        let pairs: Vec<_> = self
            .world
            .enis
            .values()
            .flat_map(|eni| &eni.elastic)
            .collect();
        let names = |address: IpAddr| {
            let other = move |pair: &&(IpAddr, IpAddr)| match **pair {
                (inside, outside) if inside == address => Some(outside),
                (inside, outside) if outside == address => Some(inside),
                _ => None,
            };
            let others: Vec<_> = pairs.iter().filter_map(other).collect();
            std::iter::once(address).chain(others)
        };
        let mut all = Vec::new();
        for src in names(tuple.src) {
            for dst in names(tuple.dst) {
                let form = Tuple { src, dst, ..tuple };
                all.extend([form, form.reversed()]);
            }
        }
        all
    }

    fn track(&mut self, eni: Id, sent: Tuple, way: Way, untracked: bool, packet: &Packet) -> bool {
        let now = self.now;
        let Some(timeouts) = self.world.enis.get(&eni).map(|eni| eni.timeouts) else {
            return false;
        };
        let held = self.tracking.get(&(eni, sent)).copied();
        let restarts = |entry: &Entry| entry.is_closed() && packet.opens();
        let mut is_new = true;
        let entry = match held {
            Some(mut entry)
                if !restarts(&entry)
                    && entry.life(&timeouts, now) != super::tracking::Life::Dead
                    && !((entry.vague || entry.lost) && packet.opens()) =>
            {
                is_new = false;
                entry.lost |= entry.life(&timeouts, now) == super::tracking::Life::Unknown;
                entry.touch(packet, way, now);
                // A rule change turned it.
                entry.vague |= entry.untracked != untracked;
                entry.untracked = untracked;
                entry
            }
            Some(old) if !restarts(&old) => {
                // What is left of the expired one, nobody says.
                let mut entry = Entry::open(packet, way, untracked, now);
                let outlives = old.outlives_others(now);
                let is_dead = old.life(&timeouts, now) == super::tracking::Life::Dead;
                entry.vague = (old.vague && !is_dead) || outlives;
                entry.lost = (old.lost && (outlives || !is_dead))
                    || (old.vague && !is_dead && packet.opens())
                    || (outlives && untracked);
                entry
            }
            _ => {
                let mut entry = Entry::open(packet, way, untracked, now);
                let vague = held.is_some_and(|held| held.vague && !held.is_reset());
                entry.vague = vague;
                entry.lost = vague || held.is_some_and(|held| held.lost);
                entry
            }
        };
        let mut entry = entry;
        entry.vague |= is_new && self.is_remapped(&sent);
        self.tracking.insert((eni, sent), entry);
        is_new
    }

    pub(super) fn entry(&self, eni: Id, sent: Tuple) -> Option<&Entry> {
        self.tracking.get(&(eni, sent))
    }

    /// Whether an interface has seen the end of a connection in which it sends this.
    pub(super) fn is_closed(&self, sent: Tuple) -> bool {
        let mut known = self.tracking.iter().filter(|((_, it), _)| *it == sent);
        known.any(|(_, entry)| entry.is_closed())
    }

    pub(super) fn first_fragment(&self, place: Place, packet: &Packet) -> Option<&Seen> {
        self.fragments.iter().find(|seen| {
            (seen.place, seen.src, seen.dst, seen.proto, seen.id)
                == (
                    place,
                    packet.tuple.src,
                    packet.tuple.dst,
                    packet.tuple.proto,
                    packet.id,
                )
                && self.now - seen.at <= 30
        })
    }
}
