//! NAT gateways (reference §4.2).

use std::net::IpAddr;

use super::filters::owns;
use super::state::{Effect, Place};
use super::tracking::{Entry, Life, Tcp, Way};
use super::{Step, Stop, Walk, drop};
use crate::wire::{ECHO, ICMP, Packet, Part, TCP, Tuple, UDP};
use crate::world::{Id, Seconds};

/// Largest packet, and largest MSS.
const MTU: usize = 8500;
const MSS: u16 = 8460;

/// An ICMP error about nothing that it carries.
const UNRELATED: &[&str] = &[
    "icmp.unrelated",
    "nat.unsolicited",
    "nat.no_connection",
    "nat.protocol",
];

/// A connection that the inside began.
#[derive(Clone, Debug)]
pub struct NatMapping {
    /// The gateway's interface.
    pub gateway: Id,
    /// As it comes from the inside, and as it leaves.
    pub client: Tuple,
    pub translated: Tuple,
    /// `Out` is from the inside.
    pub entry: Entry,
    /// Where the inside's packets came from, and where they went.
    pub places: [Place; 2],
}

impl NatMapping {
    /// 350 s (of UDP 120 and of pings 60 s at least, E); of TCP that is half-open
    /// or closed nobody says.
    pub fn life(&self, now: Seconds) -> Life {
        let idle = now - self.entry.last;
        let sure = match (self.client.proto, self.entry.tcp) {
            (TCP, _) if self.entry.vague => 10,
            (TCP, Tcp::Established) if !self.entry.doubtful => 350,
            (TCP, Tcp::HalfOpen | Tcp::Unassured | Tcp::Established) => 30,
            (TCP, Tcp::Closed) => 10,
            (UDP, _) => 120,
            _ => 60,
        };
        match idle {
            _ if idle > 350 => Life::Dead,
            _ if idle <= sure && !self.entry.doubtful => Life::Alive,
            _ => Life::Unknown,
        }
    }
}

impl Walk<'_> {
    /// At a gateway's interface: by a route, or by its address.
    pub(super) fn at_nat(&mut self, nat: Id) -> Step {
        let eni = self.eni(nat)?.clone();
        let proto = self.packet.tuple.proto;
        if ![TCP, UDP, ICMP].contains(&proto) || self.tuple.src.is_ipv6() || self.outer.is_some() {
            return drop(&["nat.protocol"]);
        }
        if self.packet.part != Part::Whole && proto != UDP {
            return drop(&["nat.fragment"]);
        }
        if self.portless {
            return drop(&["fragment"]);
        }
        if self.packet.is_icmp_error() && self.quoted.is_none() {
            return drop(UNRELATED);
        }
        if owns(&eni, self.tuple.dst) {
            self.nat_back(nat)
        } else {
            self.nat_out(nat)
        }
    }

    fn nat_out(&mut self, nat: Id) -> Step {
        let eni = self.eni(nat)?.clone();
        let vpc = self.world.vpcs.get(&eni.vpc);
        let inside = |address: IpAddr| {
            vpc.is_some_and(|vpc| vpc.cidrs.iter().any(|cidr| cidr.contains(address)))
        };
        let client = self.reversed_quote().unwrap_or(self.tuple);
        let passed = self.effects.iter().any(|effect| match effect {
            Effect::NatOpen(held) => held.gateway == nat,
            Effect::NatPassed { gateway, way, .. } => (*gateway, *way) == (nat, Way::Out),
            _ => false,
        });
        if !inside(client.src) && self.quoted.is_some() {
            return drop(&["nat.source_not_in_vpc", "icmp.unrelated", "nat.protocol"]);
        }
        if !inside(client.src) {
            return drop(&["nat.source_not_in_vpc"]);
        }
        if passed {
            return drop(&["route.loop"]);
        }
        self.always_tracked = true;
        let found = |held: &NatMapping| held.gateway == nat && held.client == client;
        let at = self.oracle.nats.iter().rposition(found);
        let translated = match at.filter(|at| self.nat_lives(*at)) {
            Some(at) => {
                self.nat_passes(at, Way::Out);
                self.oracle.nats[at].translated
            }
            None if self.quoted.is_some() => return drop(UNRELATED),
            None => {
                let mapping = self.nat_open(nat, at)?;
                let translated = mapping.translated;
                self.effects.push(Effect::NatOpen(mapping));
                translated
            }
        };
        if self.quoted.is_some() {
            self.tuple.src = translated.src;
            self.quoted = Some(translated.reversed());
        } else {
            self.tuple = translated;
        }
        self.nat_hop(nat, translated.src)
    }

    /// Whether a mapping is still known.
    fn nat_lives(&mut self, at: usize) -> bool {
        let held = &self.oracle.nats[at];
        if held.entry.is_closed() && self.packet.opens() && self.quoted.is_none() {
            return false;
        }
        let mut life = held.life(self.now);
        let strayed = self.oracle.strays(&held.client);
        // A reset has reached who sent it, past the gateway, and it begins again.
        let over = self.packet.opens() && self.quoted.is_none() && self.is_over_for_sender();
        if (strayed || over || held.places[0] != self.place()) && life == Life::Alive {
            // Suddenly by another way: unsupported (§2.3).
            life = Life::Unknown;
        }
        self.decide(life) == Life::Alive
    }

    fn is_over_for_sender(&self) -> bool {
        let entry = self.oracle.entry(self.port, self.packet.tuple);
        entry.is_some_and(super::tracking::Entry::is_closed)
    }

    /// A packet of a known mapping is taken into account.
    fn nat_passes(&mut self, at: usize, way: Way) {
        self.effects.push(Effect::NatPassed {
            at,
            gateway: self.oracle.nats[at].gateway,
            way,
            packet: self.quoted.is_none().then(|| self.packet.clone()),
            from: self.place(),
            to: (0, None),
        });
    }

    /// Who may begin, and from which port it then goes on: its own if that is free
    /// and not below 1024 (E).
    fn nat_open(&mut self, nat: Id, before: Option<usize>) -> Result<NatMapping, Stop> {
        const NONE: &[&str] = &["nat.no_connection"];
        let proto = self.tuple.proto;
        if proto == TCP && !self.packet.opens() {
            // Once idle too long: a reset (§4.2). Of what it never knew, either.
            let known = before.is_some();
            return Err(if known || self.tape.pick(2) == 0 {
                Stop::Reset(NONE)
            } else {
                Stop::Drop(NONE)
            });
        }
        if proto == ICMP && (self.packet.kind != 8 || self.tuple.dport != ECHO) {
            return Err(Stop::Drop(NONE));
        }
        // An answer to somebody who did not come this way (U).
        let answers = self.oracle.entry(self.port, self.packet.tuple);
        let answers = answers
            .is_some_and(|entry| entry.opened == Way::In || entry.lost || entry.last_came_in());
        let strayed = self.oracle.strays(&self.packet.tuple);
        if (answers || strayed || !self.is_sure()) && self.tape.pick(2) == 1 {
            return Err(if proto == TCP {
                Stop::Reset(NONE)
            } else {
                Stop::Drop(NONE)
            });
        }
        let client = self.tuple;
        let eni = self.eni(nat)?.clone();
        let sources: Vec<IpAddr> = eni.addresses.into_iter().filter(IpAddr::is_ipv4).collect();
        if sources.is_empty() {
            return Err(Stop::Drop(&["nat.port_allocation"]));
        }
        let src = sources[self.tape.pick(sources.len())];
        let mut translated = Tuple { src, ..client };
        translated.sport = self.nat_port(&translated).unwrap_or(client.sport);
        let same_end = |held: &&NatMapping| {
            held.gateway == nat
                && Tuple {
                    sport: 0,
                    ..held.translated
                } == Tuple {
                    sport: 0,
                    ..translated
                }
        };
        let others: Vec<NatMapping> = self.oracle.nats.iter().filter(same_end).cloned().collect();
        let now = self.now;
        let taken = |port: u32| {
            let holds = |held: &&NatMapping| held.translated.sport == port;
            others
                .iter()
                .filter(holds)
                .any(|held| held.life(now) == Life::Alive && held.client != client)
        };
        let may_be_taken = |port: u32| others.iter().any(|held| held.translated.sport == port);
        let least = 1024;
        let is_seen = (least..=u32::from(u16::MAX)).contains(&client.sport);
        let keeps = is_seen && !may_be_taken(client.sport);
        let wrong = taken(translated.sport)
            || translated.sport < least
            || (keeps && translated.sport != client.sport);
        // An identifier has no lower limit that anybody names.
        let wrong = if proto == ICMP {
            taken(translated.sport)
        } else {
            wrong
        };
        if wrong {
            // No packet may look like that.
            translated.sport = u32::MAX;
        }
        Ok(NatMapping {
            gateway: nat,
            client,
            translated,
            entry: Entry::open(&self.packet, Way::Out, false, self.now),
            places: [self.place(), (0, None)],
        })
    }

    /// Whether what is remembered of the sender's connections is certain.
    fn is_sure(&self) -> bool {
        let sent = self.packet.tuple;
        let entry = self.oracle.entry(self.port, sent);
        entry.is_none_or(|entry| !entry.vague && !entry.lost)
    }

    /// The source port that the data plane chose.
    fn nat_port(&self, wanted: &Tuple) -> Option<u32> {
        let (_, frame) = self.seen.out.first()?;
        let packet = Packet::read(frame.get(14..)?, false)?;
        let inner = packet
            .bytes
            .get(packet.l4 + 48..)
            .and_then(|bytes| Packet::read(bytes, false));
        let all: Vec<Tuple> = [Some(packet), inner]
            .into_iter()
            .flatten()
            .map(|packet| packet.tuple)
            .filter(|tuple| tuple.proto == wanted.proto && tuple.dport == wanted.dport)
            .collect();
        // A gateway on its way may have changed the destination's address too.
        let seen = all.iter().find(|tuple| tuple.dst == wanted.dst);
        seen.or(all.first()).map(|tuple| tuple.sport)
    }

    /// An answer, or somebody who tries.
    fn nat_back(&mut self, nat: Id) -> Step {
        const NOBODY: &[&str] = &["nat.unsolicited", "icmp.unrelated"];
        let sent = self.quoted.unwrap_or(self.tuple.reversed());
        let found = |held: &NatMapping| held.gateway == nat && held.translated == sent;
        let Some(at) = self.oracle.nats.iter().rposition(found) else {
            return drop(NOBODY);
        };
        let held = self.oracle.nats[at].clone();
        let mut life = held.life(self.now);
        let strayed = self.oracle.strays(&held.client);
        if (strayed || held.places[1] != self.place()) && life == Life::Alive {
            life = Life::Unknown;
        }
        if self.decide(life) != Life::Alive {
            return drop(NOBODY);
        }
        // The far end may not open anything, not even with these ports.
        if self.packet.opens() && self.quoted.is_none() && self.tape.pick(2) == 1 {
            return drop(NOBODY);
        }
        self.nat_passes(at, Way::In);
        self.front = Some(self.packet.tuple.dst);
        self.tuple.dst = held.client.src;
        if self.quoted.is_some() {
            self.quoted = Some(held.client);
        } else {
            self.tuple = held.client.reversed();
        }
        self.always_tracked = true;
        self.nat_hop(nat, held.translated.src)
    }

    /// Size, MSS and TTL; on from its subnet.
    fn nat_hop(&mut self, nat: Id, address: IpAddr) -> Step {
        self.limit(MTU, None, address);
        self.mss = Some(self.mss.map_or(MSS, |held| held.min(MSS)));
        self.age(self.world.settings.ttl_nat);
        self.sender = Some(nat);
        let subnet = self.eni(nat)?.subnet;
        self.route_from(subnet)
    }
}
