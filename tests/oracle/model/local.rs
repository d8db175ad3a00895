//! A frame from its first byte to the verdict; ARP and neighbour discovery.

use std::net::IpAddr;

use super::filters::owns;
use super::hops::{ROUTER6, is_dhcp, is_group};
use super::state::{Effect, Place, Seen};
use super::tracking::Way;
use super::{Expected, Oracle, Stop, Tape, Told, Walk, gateway};
use crate::adapter::Observed;
use crate::wire::{self, ICMP6, Packet, Part};
use crate::world::{Eni, Id, Kind, Mac};

fn dropped(classes: super::Classes) -> Expected {
    Expected::Dropped {
        classes,
        told: Told::Nothing,
    }
}

impl Oracle {
    /// What must become of a frame, with these choices.
    pub(super) fn expect(
        &self,
        port: Id,
        frame: &[u8],
        seen: &Observed,
        tape: &mut Tape,
    ) -> (Expected, Vec<Effect>) {
        let plain = |expected| (expected, Vec::new());
        let Some(eni) = self.world.enis.get(&port) else {
            return plain(dropped(&["port.unknown"]));
        };
        if !eni.attached {
            return plain(dropped(&["port.detached"]));
        }
        if frame.len() < 14 {
            return plain(dropped(&["malformed.frame"]));
        }
        let mac = |at: usize| -> Mac { std::array::from_fn(|n| frame[at + n]) };
        if mac(6) != eni.mac {
            return plain(dropped(&["l2.spoofed_mac"]));
        }
        match wire::be16(frame, 12) {
            0x0806 => return plain(self.arp(port, frame)),
            0x0800 | 0x86dd => {}
            _ => return plain(dropped(&["l2.ethertype"])),
        }
        const MALFORMED: &[&str] = &["malformed.ip", "malformed.transport", "malformed.frame"];
        let Some(packet) = Packet::read(&frame[14..], false) else {
            return plain(dropped(MALFORMED));
        };
        if packet.is_icmp() && packet.tuple.proto == ICMP6 && (133..=137).contains(&packet.kind) {
            return plain(Expected::Anything);
        }
        if frame[0] & 1 == 1 && !is_dhcp(&packet) {
            return plain(dropped(&["l2.not_unicast"]));
        }
        let mut walk = Walk {
            oracle: self,
            world: &self.world,
            now: self.now,
            seen,
            tape,
            tuple: packet.tuple,
            inside: packet.tuple,
            ttl: packet.ttl,
            packet,
            quoted: None,
            portless: false,
            port,
            sender: None,
            stands_for: None,
            answers: None,
            sender_mac: None,
            lookups: 0,
            ttl_died: false,
            mss: None,
            limits: Vec::new(),
            effects: Vec::new(),
            tracks: Vec::new(),
            always_tracked: false,
            left: None,
            came_back: None,
            outer: None,
            front: None,
            delivered: None,
        };
        let packet = walk.packet.clone();
        walk.begin(packet, None);
        let end = walk.enter(mac(0));
        walk.conclude(end, frame)
    }

    /// The mapping answers, never a host: a neighbour's own MAC for an address in
    /// use, the router's for its own and for all beyond (§1.2).
    fn arp(&self, port: Id, frame: &[u8]) -> Expected {
        const UNKNOWN: &[&str] = &["l2.neighbor_unknown", "malformed.neighbor"];
        let body = &frame[14..];
        let is_request = body.len() >= 28 && body[..8] == [0, 1, 8, 0, 6, 4, 0, 1];
        if !is_request {
            return dropped(UNKNOWN);
        }
        let asker = IpAddr::from([body[14], body[15], body[16], body[17]]);
        let asked = IpAddr::from([body[24], body[25], body[26], body[27]]);
        let Some(mac) = self.neighbour(port, asked).filter(|_| asker != asked) else {
            return dropped(UNKNOWN);
        };
        let mut reply = frame[6..12].to_vec();
        reply.extend(mac);
        reply.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        reply.extend(mac);
        reply.extend(&body[24..28]);
        reply.extend(&body[8..18]);
        Expected::Answered { frame: reply }
    }

    fn neighbour(&self, port: Id, address: IpAddr) -> Option<Mac> {
        let eni = self.world.enis.get(&port)?;
        let subnet = self.world.subnets.get(&eni.subnet)?;
        if owns(eni, address) || address.is_unspecified() {
            return None;
        }
        if self.world.vpcs.get(&eni.vpc)?.internet {
            return Some(subnet.router_mac);
        }
        let inside = subnet.cidrs.iter().find(|cidr| cidr.contains(address));
        let resolver = self.world.vpcs.get(&eni.vpc)?.cidrs.first();
        if resolver.is_some_and(|first| address.is_ipv4() && first.nth(2) == address) {
            return Some(subnet.router_mac);
        }
        if inside.is_none_or(|cidr| cidr.nth(1) == address) || address == ROUTER6 {
            return Some(subnet.router_mac);
        }
        let mut others = self
            .world
            .enis
            .values()
            .filter(|other| other.subnet == eni.subnet);
        others
            .find(|other| owns(other, address))
            .map(|other| other.mac)
    }
}

impl Walk<'_> {
    /// A packet begins its way: at a port, or out of a tunnel.
    pub(super) fn begin(&mut self, packet: Packet, cookie: Option<u32>) {
        self.tuple = packet.tuple;
        self.ttl = packet.ttl;
        self.ttl_died = false;
        self.quoted = None;
        self.portless = false;
        self.limits.clear();
        self.tracks.clear();
        self.always_tracked = false;
        self.mss = None;
        self.front = None;
        self.sender = None;
        self.stands_for = None;
        self.answers = None;
        self.sender_mac = None;
        self.packet = packet;
        let place = (if cookie.is_some() { 0 } else { self.port }, cookie);
        match self.packet.part {
            Part::Later => match self.oracle.first_fragment(place, &self.packet) {
                Some(first) => {
                    self.tuple = first.tuple;
                    (self.packet.kind, self.packet.code) = first.icmp;
                }
                None => self.portless = true,
            },
            part => {
                if self.packet.is_icmp_error() {
                    let about = self.packet.quoted().map(|quoted| quoted.tuple);
                    self.quoted = about.filter(|about| about.src == self.packet.tuple.dst);
                } else if part == Part::First {
                    self.effects.push(Effect::Fragment(Seen {
                        place,
                        src: self.packet.tuple.src,
                        dst: self.packet.tuple.dst,
                        proto: self.packet.tuple.proto,
                        id: self.packet.id,
                        tuple: self.packet.tuple,
                        icmp: (self.packet.kind, self.packet.code),
                        at: self.now,
                    }));
                }
            }
        }
    }

    /// The verdict, and what it leaves behind.
    pub(super) fn conclude(mut self, end: super::Step, frame: &[u8]) -> (Expected, Vec<Effect>) {
        let expected = match end {
            Err(stop) => self.stopped(stop, frame),
            Ok(()) => self.arrived(frame),
        };
        let passed = match expected {
            Expected::Delivered { .. } | Expected::Pieces { .. } => true,
            Expected::Anything => self.seen.drops.is_empty(),
            _ => false,
        };
        let mut effects = Vec::new();
        if let Some(at) = self.came_back {
            effects.push(Effect::Returned { at });
        }
        if passed {
            let (from, to) = (self.place(), self.end());
            for effect in &mut self.effects {
                match effect {
                    Effect::Map(mapping) => mapping.places = [from, to],
                    Effect::NatOpen(mapping) => mapping.places = [from, to],
                    Effect::NatPassed { to: place, .. } => *place = to,
                    Effect::Mapped {
                        way: Way::Out,
                        places,
                        ..
                    } => *places = Some([from, to]),
                    _ => {}
                }
            }
            effects.append(&mut self.effects);
            let way = [self.leaves_endpoint(), self.enters_endpoint()];
            let tuples = [self.packet.tuple, self.tuple, self.inside];
            effects.push(Effect::Path { way, tuples });
            let answers = self.oracle.entry(self.port, self.packet.tuple);
            let answers = answers.is_some_and(|entry| entry.opened == Way::In);
            for (eni, sent, way, untracked) in std::mem::take(&mut self.tracks) {
                let untracked = untracked && !self.always_tracked;
                let packet = self.packet.clone();
                effects.push(Effect::Track {
                    eni,
                    sent,
                    way,
                    untracked,
                    lost: answers && way == Way::In,
                    packet,
                });
            }
        } else if self.packet.opens() {
            effects.push(Effect::Doubt(self.packet.tuple));
            effects.push(Effect::Doubt(self.tuple));
        }
        (expected, effects)
    }

    /// Where the packet comes from: a port, or the tunnel of a flow.
    pub(super) fn place(&self) -> Place {
        match self.left {
            Some(at) => (0, Some(self.oracle.flows[at].cookie)),
            None => (self.port, None),
        }
    }

    /// Where it goes to.
    fn end(&self) -> Place {
        match &self.outer {
            Some(outer) => (0, Some(outer.cookie)),
            None => (self.delivered.map_or(0, |(port, _)| port), None),
        }
    }

    /// The same by endpoint: a flow may have a successor.
    fn leaves_endpoint(&self) -> Place {
        match self.left {
            Some(at) => (self.oracle.flows[at].key.endpoint, Some(0)),
            None => (self.port, None),
        }
    }

    fn enters_endpoint(&self) -> Place {
        match &self.outer {
            Some(outer) => (outer.number as Id, Some(0)),
            None => self.end(),
        }
    }

    fn stopped(&mut self, stop: Stop, frame: &[u8]) -> Expected {
        match stop {
            Stop::Drop(classes) => dropped(classes),
            Stop::Reset(classes) => Expected::Dropped {
                classes,
                told: Told::Reset,
            },
            Stop::Echo => self.pong(frame),
            Stop::Service => Expected::Served,
        }
    }

    /// The router's answer to a ping.
    fn pong(&self, frame: &[u8]) -> Expected {
        if self.packet.part != Part::Whole || self.packet.code != 0 {
            return dropped(&["local.not_answered"]);
        }
        let mut reply = self.packet.clone();
        reply.tuple = reply.tuple.reversed();
        let ip = reply.translated(reply.tuple, 64, None);
        let Some(mut reply) = Packet::read(&ip, false) else {
            return Expected::Anything;
        };
        let l4 = reply.l4;
        reply.bytes[l4] = if reply.is_v6() { 129 } else { 0 };
        reply.fill_transport();
        let mac = |at: usize| -> Mac { std::array::from_fn(|n| frame[at + n]) };
        Expected::Answered {
            frame: wire::frame(mac(6), mac(0), &reply.bytes),
        }
    }

    /// At a port: does it fit, and what does it look like?
    fn arrived(&mut self, frame: &[u8]) -> Expected {
        let Some((port, macs)) = self.delivered else {
            return Expected::Anything;
        };
        let size = self.packet.size();
        let failing: Vec<_> = self
            .limits
            .iter()
            .filter(|limit| limit.bytes < size)
            .cloned()
            .collect();
        if let Some(expected) = self.too_big(&failing, frame) {
            return expected;
        }
        if self.ttl_died {
            let kind = if self.packet.is_v6() { (3, 0) } else { (11, 0) };
            let mut from: Vec<(IpAddr, u32)> =
                self.limits.iter().map(|limit| (limit.source, 0)).collect();
            if let Some(eni) = self.world.enis.get(&self.port) {
                from.push((self.router(eni.subnet), 0));
            }
            // Its own address may stand for the router on the way to a NAT gateway (E).
            let called = self.packet.tuple.dst;
            let has = |eni: &Eni| owns(eni, called) || eni.elastic.iter().any(|it| it.1 == called);
            let is_nat = |eni: &Eni| matches!(eni.kind, Kind::Nat(_)) && has(eni);
            if self.world.enis.values().any(is_nat) {
                from.push((called, 0));
            }
            return Expected::Dropped {
                classes: &["ttl"],
                told: self.told(kind, from, frame),
            };
        }
        let to = if self.outer.is_some() {
            self.inside
        } else {
            self.tuple
        };
        let mut ip = match self.quoted {
            Some(quoted) => self
                .packet
                .translated_error(to.src, to.dst, quoted, self.ttl),
            None => self.packet.translated(to, self.ttl, self.mss),
        };
        if let Some(outer) = &self.outer {
            ip = gateway::encapsulate(outer, &ip);
        }
        if let Some(limit) = failing.iter().map(|limit| limit.bytes).min() {
            return Expected::Pieces {
                port,
                macs,
                ip,
                mtu: limit,
            };
        }
        Expected::Delivered {
            port,
            frame: wire::frame(macs.0, macs.1, &ip),
        }
    }

    /// What happens to a packet that some hop does not carry; `None` if it fits,
    /// or goes on in pieces.
    fn too_big(&mut self, failing: &[super::Limit], frame: &[u8]) -> Option<Expected> {
        let silent = failing.iter().find_map(|limit| limit.silent);
        let loud: Vec<_> = failing
            .iter()
            .filter(|limit| limit.silent.is_none())
            .collect();
        let first_is_silent = failing.first()?.silent.is_some();
        // Which of several limits is met first may be judged in any order.
        let silently =
            silent.is_some() && (first_is_silent || loud.is_empty() || self.tape.pick(2) == 0);
        if let Some(class) = silent.filter(|_| silently) {
            let classes: super::Classes = if class == "gwlb.mtu" {
                &["gwlb.mtu"]
            } else {
                &["endpoint.mtu"]
            };
            return Some(dropped(classes));
        }
        let cut =
            !self.packet.df && !self.packet.is_v6() && self.outer.is_none() && silent.is_none();
        if cut {
            return if self.packet.part == Part::Whole && !self.ttl_died {
                None
            } else {
                Some(Expected::Anything)
            };
        }
        let v6 = self.packet.is_v6();
        let from = loud
            .iter()
            .map(|limit| (limit.source, limit.bytes as u32))
            .collect();
        let told = self.told(if v6 { (2, 0) } else { (3, 4) }, from, frame);
        Some(Expected::Dropped {
            classes: &["mtu"],
            told,
        })
    }

    /// Errors, later fragments and what comes out of tunnels have nobody (or
    /// somebody elsewhere) to be told.
    fn told(&self, kind: (u8, u8), from: Vec<(IpAddr, u32)>, frame: &[u8]) -> Told {
        if self.left.is_some() {
            return Told::Whatever;
        }
        // Nor has a source that is no one host's (RFC 1812 §4.3.2.7, RFC 4443 §2.4).
        let src = self.packet.tuple.src;
        let of_one = !is_group(src) && !src.is_loopback();
        if self.packet.is_icmp_error() || self.packet.part == Part::Later || !of_one {
            return Told::Nothing;
        }
        Told::Icmp {
            kind,
            from,
            about: frame[14..14 + self.packet.size()].to_vec(),
        }
    }
}
