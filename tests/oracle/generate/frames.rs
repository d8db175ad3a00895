//! Frames: new ones, answers to what was received, and odd ones.

use std::net::IpAddr;

use super::Rng;
use super::world::{SERVICE_PORTS, ip};
use crate::draft::{Draft, fragments};
use crate::wire::{
    self, ACK, ECHO, FIN, ICMP, ICMP6, Packet, RST, SYN, TCP, Tuple, UDP, be16, frame, put16,
};
use crate::world::{Eni, Id, Kind, World};

/// Interfaces that have a port.
pub fn ports(world: &World) -> Vec<Id> {
    world
        .enis
        .iter()
        .filter(|(_, eni)| eni.kind == Kind::Host)
        .map(|(id, _)| *id)
        .collect()
}

fn hosts_of(world: &World, vpc: Id) -> Vec<&Eni> {
    world
        .enis
        .values()
        .filter(|eni| eni.vpc == vpc && eni.kind == Kind::Host)
        .collect()
}

/// Somewhere that a host may want to reach.
fn destination(world: &World, rng: &mut Rng, from: &Eni, v4: bool) -> IpAddr {
    let family = |addresses: &[IpAddr]| addresses.iter().copied().find(|a| a.is_ipv4() == v4);
    let all: Vec<&Eni> = world.enis.values().collect();
    let peers: Vec<u32> = world
        .peerings
        .values()
        .filter(|row| row.vpcs.contains(&from.vpc))
        .flat_map(|row| row.vpcs)
        .filter(|vpc| *vpc != from.vpc)
        .collect();
    let beyond = !peers.is_empty() && rng.chance(25);
    let vpc = if beyond { rng.of(&peers) } else { from.vpc };
    let chosen = match rng.below(24) {
        0..7 => {
            let here = hosts_of(world, vpc);
            let eni = here[rng.below(here.len())];
            let mut own: Vec<IpAddr> = eni.addresses.clone();
            own.extend(eni.prefixes.iter().map(|prefix| prefix.nth(3)));
            own.retain(|a| a.is_ipv4() == v4);
            if own.is_empty() {
                None
            } else {
                Some(own[rng.below(own.len())])
            }
        }
        7..11 => {
            let fronts: Vec<&&Eni> = all
                .iter()
                .filter(|eni| matches!(eni.kind, Kind::Endpoint(_)) && eni.vpc == vpc)
                .collect();
            if fronts.is_empty() {
                None
            } else {
                family(&fronts[rng.below(fronts.len())].addresses)
            }
        }
        11..13 => {
            let nodes: Vec<&&Eni> = all
                .iter()
                .filter(|eni| matches!(eni.kind, Kind::Node(_)) && eni.vpc == vpc)
                .collect();
            if nodes.is_empty() {
                None
            } else {
                family(&nodes[rng.below(nodes.len())].addresses)
            }
        }
        13..17 => {
            let far = hosts_of(world, 0);
            family(&far[rng.below(far.len())].addresses)
        }
        17..20 => {
            let eni = all[rng.below(all.len())];
            if v4 {
                eni.elastic.first().map(|pair| pair.1)
            } else {
                family(&eni.addresses)
            }
        }
        20 => Some(if v4 {
            ip("10.0.1.77")
        } else {
            ip("2001:db8:1:1::77")
        }),
        21 => Some(if v4 {
            ip(rng.of(&["8.8.8.8", "192.168.4.4", "100.64.1.1", "172.20.0.1"]))
        } else {
            ip("2001:db8:9::9")
        }),
        22 => world.subnets[&from.subnet]
            .cidrs
            .iter()
            .find(|c| c.address.is_ipv4() == v4)
            .map(|c| c.nth(1)),
        _ => {
            let v4s = [
                "224.0.0.5",
                "255.255.255.255",
                "10.0.1.255",
                "10.1.0.255",
                "169.254.169.254",
                "169.254.169.253",
                "169.254.169.123",
                "10.0.0.2",
                "0.0.0.0",
            ];
            let v6s = [
                "ff02::1",
                "fd00:ec2::253",
                "fd00:ec2::254",
                "fe80::1234",
                "::",
            ];
            Some(ip(if v4 { rng.of(&v4s) } else { rng.of(&v6s) }))
        }
    };
    chosen.unwrap_or_else(|| {
        if v4 {
            ip("203.0.113.80")
        } else {
            ip("2001:db8:f::53")
        }
    })
}

/// The MAC address by which a host reaches `dst`.
fn next_hop(world: &World, rng: &mut Rng, from: &Eni, dst: IpAddr) -> [u8; 6] {
    let router = world.subnets[&from.subnet].router_mac;
    let mut neighbours = world
        .enis
        .values()
        .filter(|eni| eni.subnet == from.subnet && eni.vpc != 0);
    if let Some(eni) = neighbours.find(|eni| eni.addresses.contains(&dst))
        && rng.chance(60)
    {
        return eni.mac;
    }
    match rng.below(200) {
        0 => [2, 0, 0, 0, 9, 9],
        1 => [0xff; 6],
        2 => {
            let all: Vec<&Eni> = world.enis.values().collect();
            all[rng.below(all.len())].mac
        }
        _ => router,
    }
}

fn opening_flags(rng: &mut Rng) -> u8 {
    rng.of(&[SYN, SYN, SYN, SYN, SYN, SYN, SYN | ACK, ACK, ACK | FIN, RST])
}

/// A packet that nobody asked for.
pub fn fresh(world: &World, rng: &mut Rng) -> (Id, Vec<u8>) {
    let all = ports(world);
    let port = rng.of(&all);
    let eni = world.enis[&port].clone();
    let v4 = rng.chance(70);
    let dst = destination(world, rng, &eni, v4);
    let mut own: Vec<IpAddr> = eni
        .addresses
        .iter()
        .copied()
        .filter(|a| a.is_ipv4() == v4)
        .collect();
    own.extend(
        eni.prefixes
            .iter()
            .map(|prefix| prefix.nth(3))
            .filter(|a| a.is_ipv4() == v4),
    );
    let mut src = if own.is_empty() { dst } else { own[0] };
    if rng.chance(20) && !own.is_empty() {
        src = rng.of(&own);
    } else if rng.chance(3) {
        src = ip(if v4 {
            rng.of(&["10.0.1.10", "10.0.2.11", "203.0.113.80"])
        } else {
            "2001:db8:1:1::10"
        });
    }
    let proto = rng.of(&[
        TCP,
        TCP,
        TCP,
        TCP,
        UDP,
        UDP,
        UDP,
        if v4 { ICMP } else { ICMP6 },
        if v4 { ICMP } else { ICMP6 },
        47,
    ]);
    let (sport, dport) = match proto {
        TCP | UDP => (
            rng.of(&[1024u32, 40000, 40001, 40002, 50000]),
            u32::from(rng.of(&SERVICE_PORTS)),
        ),
        ICMP | ICMP6 => (rng.of(&[0, 1, 2, 3, 7]), ECHO),
        _ => (0, 0),
    };
    let mut tuple = Tuple {
        src,
        dst,
        proto,
        sport,
        dport,
    };
    if [ICMP, ICMP6].contains(&proto) && rng.chance(8) {
        // An answer that nobody asked for.
        (tuple.sport, tuple.dport) = (ECHO, sport);
    }
    let mut draft = Draft::new(tuple);
    if proto == TCP {
        draft.flags = opening_flags(rng);
        draft.seq = rng.of(&[9, 9, 1000, 77]);
    }
    if [ICMP, ICMP6].contains(&proto) && rng.chance(6) {
        draft.tuple = Tuple {
            sport: 0,
            dport: 0,
            ..tuple
        };
        draft.icmp = Some(rng.of(&[(13, 0), (14, 0), (15, 0), (140, 0)]));
    }
    dress(rng, &mut draft);
    let mac = next_hop(world, rng, &eni, dst);
    (port, frame(mac, eni.mac, &draft.ip()))
}

/// Sizes, options and the like.
fn dress(rng: &mut Rng, draft: &mut Draft) {
    draft.ttl = rng.of(&[64, 64, 64, 64, 64, 255, 2, 1]);
    draft.df = rng.chance(70);
    draft.id = rng.below(4) as u16;
    draft.tos = rng.of(&[0, 0, 0xb8]);
    draft.options = rng.chance(4);
    draft.no_checksum = rng.chance(5);
    if draft.tuple.proto == TCP && draft.flags & SYN != 0 && rng.chance(60) {
        draft.mss = Some((rng.of(&[536, 1460, 8460, 8461, 8940, 8961]), rng.below(4)));
    }
    let small = [0, 1, 2, 7, 30, 100];
    let len = if rng.chance(12) {
        let header = if draft.tuple.src.is_ipv4() { 20 } else { 40 };
        let transport = match draft.tuple.proto {
            TCP => 20,
            UDP | ICMP | ICMP6 => 8,
            _ => 0,
        };
        let size: usize = rng.of(&[1500, 1501, 1480, 8500, 8501, 9001, 2000, 9002]);
        size.saturating_sub(header + transport)
    } else {
        rng.of(&small)
    };
    draft.payload = (0..len).map(|n| (n * 7) as u8).collect();
    if len > 0 && rng.chance(10) {
        draft.payload[0] = 0xff;
    }
}

/// An answer of the host at `port` to a packet that it received.
pub fn answer(world: &World, rng: &mut Rng, port: Id, received: &[u8]) -> Option<Vec<u8>> {
    let packet = Packet::read(&received[14..], false)?;
    let eni = world.enis.get(&port)?;
    if packet.is_icmp_error() || packet.part == wire::Part::Later {
        return None;
    }
    let mut draft = Draft::new(packet.tuple.reversed());
    if packet.tuple.proto == TCP {
        let (syn, ack) = (packet.flags & SYN != 0, packet.flags & ACK != 0);
        draft.flags = match (syn, ack) {
            (true, false) => rng.of(&[SYN | ACK, SYN | ACK, SYN | ACK, RST | ACK, ACK]),
            (true, true) => rng.of(&[ACK, ACK, ACK, RST]),
            _ => rng.of(&[ACK, ACK, ACK, ACK | FIN, ACK | FIN, RST, SYN]),
        };
        draft.seq = 500;
    }
    if [ICMP, ICMP6].contains(&packet.tuple.proto) && packet.tuple.dport != ECHO {
        // Pinged back, or asked in another way.
        draft.tuple = Tuple {
            sport: packet.tuple.dport.min(9),
            dport: ECHO,
            ..draft.tuple
        };
    }
    dress(rng, &mut draft);
    let mac = next_hop(world, rng, eni, draft.tuple.dst);
    Some(frame(mac, eni.mac, &draft.ip()))
}

/// An ICMP error of the host at `port` about a packet that it received.
pub fn error(world: &World, rng: &mut Rng, port: Id, received: &[u8]) -> Option<Vec<u8>> {
    let packet = Packet::read(&received[14..], false)?;
    let eni = world.enis.get(&port)?;
    let v6 = packet.is_v6();
    let kind = if v6 {
        rng.of(&[(1, 4), (2, 0), (3, 0), (1, 0)])
    } else {
        rng.of(&[(3, 3), (3, 4), (11, 0), (3, 1)])
    };
    let quote = rng.of(&[packet.l4 + 8, packet.l4 + 20, 500, packet.l4 + 9]);
    let mut src = packet.tuple.dst;
    if rng.chance(6) {
        src = *eni.addresses.iter().find(|a| a.is_ipv6() == v6)?;
    }
    let ip = Draft::error(src, packet.tuple.src, kind, 1400, &packet.bytes, quote);
    let mac = next_hop(world, rng, eni, packet.tuple.src);
    Some(frame(mac, eni.mac, &ip))
}

/// A router's way with a packet that is not for it.
pub fn routed(world: &World, port: Id, received: &[u8]) -> Option<Vec<u8>> {
    let eni = world.enis.get(&port)?;
    let router = world.subnets.get(&eni.subnet)?.router_mac;
    Some(frame(router, eni.mac, &received[14..]))
}

/// An appliance's way: the outer addresses swapped. Sometimes wrongly.
pub fn bounced(world: &World, rng: &mut Rng, port: Id, received: &[u8]) -> Option<Vec<u8>> {
    let eni = world.enis.get(&port)?;
    let router = world.subnets.get(&eni.subnet)?.router_mac;
    let mut ip = received[14..].to_vec();
    let swapped: Vec<u8> = [&ip[16..20], &ip[12..16]].concat();
    ip[12..20].copy_from_slice(&swapped);
    if rng.chance(8) {
        match rng.below(8) {
            0 => ip[20 + 8 + 39] ^= 1,
            1 => ip[20 + 8 + 19] ^= 1,
            2 => put16(&mut ip, 22, 6082),
            3 => put16(&mut ip, 20 + 8 + 2, 0x6558),
            4 => ip[20 + 8] = 0x3f,
            5 => ip[20 + 8] = 0x48,
            6 => put16(&mut ip, 26, 0x1234),
            _ => ip[20 + 8 + 11] = 5,
        }
    }
    if rng.chance(5) {
        // With a checksum, as some stacks send.
        if let Some(mut packet) = Packet::read(&ip, false) {
            packet.fill_transport();
            ip = packet.bytes;
        }
    }
    Some(frame(router, eni.mac, &ip))
}

/// Whether a frame is a tunnel's.
pub fn is_tunnel(bytes: &[u8]) -> bool {
    Packet::read(&bytes[14..], false).is_some_and(|p| {
        p.tuple.proto == UDP && p.tuple.dport == 6081 && p.l4 == 20 && p.size() >= 28 + 48
    })
}

/// Something strange made of a good frame.
pub fn spoiled(world: &World, rng: &mut Rng, port: Id, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let eni = &world.enis[&port];
    match rng.below(9) {
        0 => bytes[6 + rng.below(6)] ^= 4,
        1 => bytes.truncate(rng.below(bytes.len())),
        2 => put16(&mut bytes, 12, 0x88cc),
        3 => bytes[14] ^= 0x20,
        4 => {
            let at = 14 + rng.below(bytes.len() - 14);
            bytes[at] ^= 1 << rng.below(8);
        }
        5 => bytes.extend([0; 9]),
        6 => {
            // A broken transport checksum goes through as it is.
            if let Some(packet) = Packet::read(&bytes[14..], false)
                && packet.tuple.proto == TCP
            {
                let at = 14 + packet.l4 + 16;
                let wrong = be16(&bytes, at) ^ 0x0101;
                put16(&mut bytes, at, wrong);
            }
        }
        _ => bytes = arp(world, rng, eni),
    }
    bytes
}

fn arp(world: &World, rng: &mut Rng, eni: &Eni) -> Vec<u8> {
    let own = eni.addresses[0];
    let asked = match rng.below(4) {
        0 => world.subnets[&eni.subnet]
            .cidrs
            .first()
            .map_or(own, |cidr| cidr.nth(1)),
        1 => own,
        2 => ip("10.0.1.10"),
        _ => {
            let all: Vec<&Eni> = world
                .enis
                .values()
                .filter(|other| other.subnet == eni.subnet)
                .collect();
            all[rng.below(all.len())].addresses[0]
        }
    };
    let mut bytes = vec![0xff; 6];
    bytes.extend(eni.mac);
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    bytes.extend(eni.mac);
    bytes.extend(wire::octets(own));
    bytes.extend([0; 6]);
    bytes.extend(wire::octets(asked));
    bytes
}

/// The fragments of a frame's packet, if it can have some.
pub fn cut(rng: &mut Rng, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let packet = Packet::read(&bytes[14..], false)?;
    if packet.is_v6() || packet.part != wire::Part::Whole || packet.size() < 60 {
        return None;
    }
    let mtu = rng.of(&[44, 60, 576]);
    let header = packet.l4;
    let mut pieces: Vec<Vec<u8>> = fragments(&packet.bytes, mtu.max(header + 24))
        .into_iter()
        .take(4)
        .map(|piece| [&bytes[..14], &piece].concat())
        .collect();
    if pieces.len() < 2 {
        return None;
    }
    if rng.chance(15) {
        pieces.rotate_left(1);
    }
    Some(pieces)
}
