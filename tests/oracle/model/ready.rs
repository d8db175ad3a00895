//! Comparing what happened with what must happen, and saying so.

use std::net::IpAddr;

use super::{Expected, Told};
use crate::adapter::Observed;
use crate::wire::{self, Packet, RST, TCP, be16};
use crate::world::Id;

/// Whether the data plane did what was expected.
pub(super) fn agrees(expected: &Expected, port: Id, sent: &[u8], seen: &Observed) -> bool {
    if !seen.local.is_empty() && !matches!(expected, Expected::Served) {
        return false;
    }
    match expected {
        Expected::Anything => true,
        Expected::Delivered { port, frame } => {
            seen.drops.is_empty()
                && seen.out.len() == 1
                && seen.out[0].0 == *port
                && same(&seen.out[0].1, frame, sent)
        }
        Expected::Pieces {
            port,
            macs,
            ip,
            mtu,
        } => {
            let fine = |(at, frame): &(Id, Vec<u8>)| {
                at == port
                    && frame.len() <= 14 + mtu
                    && frame[..6] == macs.0
                    && frame[6..12] == macs.1
            };
            seen.drops.is_empty()
                && seen.out.len() > 1
                && seen.out.iter().all(fine)
                && is_whole(seen, ip)
        }
        Expected::Answered { frame } => {
            seen.drops.is_empty()
                && seen.out.len() == 1
                && seen.out[0].0 == port
                && same(&seen.out[0].1, frame, sent)
        }
        Expected::Served => {
            seen.drops.is_empty()
                && seen.out.is_empty()
                && seen.local.len() == 1
                && seen.local[0] == (port, sent.to_vec())
        }
        Expected::Dropped { classes, told } => {
            seen.drops.len() == 1
                && classes.contains(&seen.drops[0])
                && is_told(told, port, sent, seen)
        }
    }
}

/// Equal but for Ethernet padding that was sent along.
fn same(seen: &[u8], expected: &[u8], sent: &[u8]) -> bool {
    if seen.len() == expected.len() {
        return seen == expected;
    }
    let padded =
        Packet::read(&sent[14..], false).is_some_and(|packet| packet.size() + 14 < sent.len());
    padded && seen.len() > expected.len() && seen[..expected.len()] == *expected
}

/// Whether the pieces, put together, are this packet.
fn is_whole(seen: &Observed, ip: &[u8]) -> bool {
    let header = usize::from(ip[0] & 15) * 4;
    let mut together = vec![None; ip.len() - header];
    let mut last = 0;
    for (_, frame) in &seen.out {
        let Some(packet) = Packet::read(&frame[14..], false) else {
            return false;
        };
        let flags = be16(&packet.bytes, 6);
        let start = usize::from(flags & 0x1fff) * 8;
        last += usize::from(flags & 0x2000 == 0);
        let own = usize::from(packet.bytes[0] & 15) * 4;
        // Type of service, identification, TTL, protocol, addresses.
        let fields = [1..2, 4..6, 8..10, 12..20];
        if fields
            .into_iter()
            .any(|field| packet.bytes[field.clone()] != ip[field])
        {
            return false;
        }
        for (n, byte) in packet.bytes[own..].iter().enumerate() {
            let Some(place) = together.get_mut(start + n) else {
                return false;
            };
            if place.replace(*byte).is_some() {
                return false;
            }
        }
    }
    last == 1
        && together
            .iter()
            .zip(&ip[header..])
            .all(|(got, want)| *got == Some(*want))
}

/// Whether the sender heard what it should.
fn is_told(told: &Told, port: Id, sent: &[u8], seen: &Observed) -> bool {
    let reply = match &seen.out[..] {
        [] => None,
        [(at, frame)] if *at == port || matches!(told, Told::Whatever) => {
            Packet::read(&frame[14..], false).map(|packet| (frame, packet))
        }
        _ => return false,
    };
    let Some((frame, reply)) = reply else {
        // A reset, and a packet that is no whole TCP segment, are not answered.
        return match told {
            Told::Nothing | Told::Whatever => seen.out.is_empty(),
            Told::Reset => {
                let packet = Packet::read(&sent[14..], false);
                seen.out.is_empty()
                    && packet
                        .is_none_or(|packet| packet.tuple.proto != TCP || packet.flags & RST != 0)
            }
            Told::Icmp { .. } => false,
        };
    };
    if !reply.is_sound() || (!matches!(told, Told::Whatever) && (frame[..6] != sent[6..12])) {
        return false;
    }
    match told {
        Told::Nothing => false,
        Told::Whatever => true,
        Told::Reset => is_reset(&reply, sent),
        Told::Icmp { kind, from, about } => is_error(&reply, *kind, from, about),
    }
}

/// RFC 9293 §3.5.2: the reset that answers a segment to no connection.
fn is_reset(reply: &Packet, sent: &[u8]) -> bool {
    let Some(packet) = Packet::read(&sent[14..], false) else {
        return false;
    };
    if reply.tuple != packet.tuple.reversed() || reply.tuple.proto != TCP {
        return false;
    }
    let ack = wire::be32(&packet.bytes, packet.l4 + 8);
    if packet.flags & wire::ACK != 0 {
        return reply.flags == RST && reply.seq == ack;
    }
    let header = usize::from(packet.bytes[packet.l4 + 12] >> 4) * 4;
    let mut len = (packet.size() - packet.l4 - header) as u32;
    len += u32::from(packet.flags & wire::SYN != 0) + u32::from(packet.flags & wire::FIN != 0);
    let acks = wire::be32(&reply.bytes, reply.l4 + 8) == packet.seq.wrapping_add(len);
    reply.flags == RST | wire::ACK && reply.seq == 0 && acks
}

fn is_error(reply: &Packet, kind: (u8, u8), from: &[(IpAddr, u32)], about: &[u8]) -> bool {
    let Some(original) = Packet::read(about, false) else {
        return false;
    };
    let quote = &reply.bytes[reply.l4 + 8..];
    let most = if reply.is_v6() { 1280 } else { 576 };
    let rest = wire::be32(&reply.bytes, reply.l4 + 4);
    reply.is_icmp()
        && (reply.kind, reply.code) == kind
        && reply.tuple.dst == original.tuple.src
        && from.contains(&(reply.tuple.src, rest))
        && reply.size() <= most
        && (quote.len() == about.len() || quote.len() >= original.l4 + 8)
        && about.starts_with(quote)
}

pub(super) fn report(all: &[Expected], seen: &Observed) -> String {
    let mut text = String::new();
    for expected in all.iter().take(6) {
        text += &format!("  must: {}\n", say(expected));
    }
    text += "  did: ";
    for reason in &seen.drops {
        text += &format!("dropped {reason} ");
    }
    for (port, frame) in &seen.out {
        text += &format!("out {port}: {} ", line(frame));
    }
    for (port, frame) in &seen.local {
        text += &format!("local {port}: {} ", line(frame));
    }
    text + "\n"
}

fn say(expected: &Expected) -> String {
    match expected {
        Expected::Delivered { port, frame } => format!("out {port}: {}", line(frame)),
        Expected::Pieces { port, ip, mtu, .. } => {
            format!("out {port} in pieces of {mtu}: {}", describe(ip))
        }
        Expected::Answered { frame } => format!("answer {}", line(frame)),
        Expected::Served => "a service on the link".to_owned(),
        Expected::Dropped {
            classes,
            told: Told::Nothing,
        } => format!("drop {classes:?}"),
        Expected::Dropped {
            classes,
            told: Told::Icmp { kind, from, .. },
        } => format!("drop {classes:?}, tell {kind:?} from {from:?}"),
        Expected::Dropped { classes, told } => format!("drop {classes:?}, tell {told:?}"),
        Expected::Anything => "anything".to_owned(),
    }
}

/// A frame in words and in hex.
pub fn line(frame: &[u8]) -> String {
    if frame.len() < 15 {
        return hex(frame);
    }
    let macs = format!("{}>{}", hex(&frame[6..12]), hex(&frame[..6]));
    format!("{macs} {}", describe(&frame[14..]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn describe(ip: &[u8]) -> String {
    let Some(packet) = Packet::read(ip, true) else {
        return hex(&ip[..ip.len().min(64)]);
    };
    let t = packet.tuple;
    let part = match packet.part {
        wire::Part::Whole => String::new(),
        part => format!(" {part:?} of {}", packet.id),
    };
    let sound = if packet.is_sound() {
        ""
    } else {
        " (checksum wrong)"
    };
    let icmp = if packet.is_icmp() {
        format!(" type {}/{}", packet.kind, packet.code)
    } else {
        String::new()
    };
    let quoted = packet.is_icmp_error().then(|| packet.quoted()).flatten();
    let quoted = quoted.map_or(String::new(), |q| {
        format!(
            " about [{} {}:{}>{}:{}]",
            q.tuple.proto, q.tuple.src, q.tuple.sport, q.tuple.dst, q.tuple.dport
        )
    });
    let inner = packet
        .bytes
        .get(packet.l4 + 48..)
        .filter(|_| t.dport == 6081 && t.proto == 17);
    let inner = inner.map_or(String::new(), |inner| {
        format!(
            " cookie {} {{{}}}",
            hex(&packet.bytes[packet.l4 + 44..packet.l4 + 48]),
            describe(inner)
        )
    });
    format!(
        "proto {} {}:{}>{}:{} flags {:02x} ttl {} len {}{part}{icmp}{quoted}{sound}{inner} [{}]",
        t.proto,
        t.src,
        t.sport,
        t.dst,
        t.dport,
        packet.flags,
        packet.ttl,
        packet.size(),
        hex(&ip[..ip.len().min(44)])
    )
}
