//! The appliance without its sockets: one GENEVE payload in, at most one out.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde::Serialize;
use vpclab_dataplane::time::Instant;

use super::inner::{Inner, protocol_name};
use super::rule::{Rewrite, Rule};

/// Flows counted one by one; packets of further ones only in the totals.
pub const FLOWS_MAX: usize = 65_536;

/// What an appliance has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Packets received.
    pub received: u64,
    /// Packets sent back.
    pub passed: u64,
    /// Packets dropped by rule.
    pub dropped: u64,
    /// Packets that are not GENEVE with an IP packet inside.
    pub malformed: u64,
    /// Packets changed on the way.
    pub rewritten: u64,
    /// Flows seen, both directions being one.
    pub flows: u64,
}

/// One flow's counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlowReport {
    /// `tcp`, `udp`, `icmp`…
    pub protocol: String,
    /// The end that sent the first packet seen.
    pub from: SocketAddr,
    /// The other end.
    pub to: SocketAddr,
    /// Packets of the first direction.
    pub forward: u64,
    /// Packets of the other.
    pub backward: u64,
    /// Bytes of inner packets, both directions.
    pub bytes: u64,
}

#[derive(Clone, Debug)]
struct Flow {
    order: u64,
    from: SocketAddr,
    to: SocketAddr,
    forward: u64,
    backward: u64,
    bytes: u64,
    last_seen: Instant,
}

/// A GENEVE appliance, sans-IO.
#[derive(Clone, Debug, Default)]
pub struct Appliance {
    drops: Vec<Rule>,
    rewrites: Vec<Rewrite>,
    stats: Stats,
    flows: HashMap<(u8, SocketAddr, SocketAddr), Flow>,
}

impl Appliance {
    /// An appliance that passes everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Drops packets that match a rule.
    #[must_use]
    pub fn drop(mut self, rule: Rule) -> Self {
        self.drops.push(rule);
        self
    }

    /// Rewrites packets.
    #[must_use]
    pub fn rewrite(mut self, rewrite: Rewrite) -> Self {
        self.rewrites.push(rewrite);
        self
    }

    /// Takes the UDP payload of a packet to port 6081; returns the payload to
    /// send back, with the GENEVE header and its options as they came.
    pub fn handle(&mut self, now: Instant, payload: &[u8]) -> Option<Vec<u8>> {
        self.stats.received += 1;
        let Some((header_len, inner)) = parse(payload) else {
            self.stats.malformed += 1;
            return None;
        };
        self.count(now, &inner, payload.len() - header_len);
        if self.drops.iter().any(|rule| rule.matches(&inner)) {
            self.stats.dropped += 1;
            return None;
        }
        let mut reply = payload.to_vec();
        if let Some(packet) = reply.get_mut(header_len..) {
            let mut changed = false;
            for rewrite in &self.rewrites {
                changed |= rewrite.apply(&inner, packet);
            }
            self.stats.rewritten += u64::from(changed);
        }
        self.stats.passed += 1;
        Some(reply)
    }

    fn count(&mut self, now: Instant, inner: &Inner, bytes: usize) {
        let key = inner.flow();
        if !self.flows.contains_key(&key) {
            if self.flows.len() >= FLOWS_MAX {
                return;
            }
            self.stats.flows += 1;
        }
        let src = SocketAddr::new(inner.src, inner.sport);
        let order = self.stats.flows;
        let flow = self.flows.entry(key).or_insert_with(|| Flow {
            order,
            from: src,
            to: SocketAddr::new(inner.dst, inner.dport),
            forward: 0,
            backward: 0,
            bytes: 0,
            last_seen: now,
        });
        if flow.from == src {
            flow.forward += 1;
        } else {
            flow.backward += 1;
        }
        flow.bytes += bytes as u64;
        flow.last_seen = now;
    }

    /// The totals so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Every flow, in the order in which they began.
    pub fn flows(&self) -> Vec<FlowReport> {
        let mut flows: Vec<_> = self.flows.iter().collect();
        flows.sort_by_key(|(_, flow)| flow.order);
        flows
            .into_iter()
            .map(|((protocol, ..), flow)| FlowReport {
                protocol: protocol_name(*protocol),
                from: flow.from,
                to: flow.to,
                forward: flow.forward,
                backward: flow.backward,
                bytes: flow.bytes,
            })
            .collect()
    }

    /// Totals and flows as one JSON object.
    pub fn report(&self) -> serde_json::Value {
        serde_json::json!({ "stats": self.stats, "flows": self.flows() })
    }
}

/// The length of the GENEVE header with its options, and the packet inside.
fn parse(payload: &[u8]) -> Option<(usize, Inner)> {
    let header = payload.first_chunk::<8>()?;
    if header[0] >> 6 != 0 {
        return None;
    }
    let header_len = 8 + usize::from(header[0] & 0x3f) * 4;
    let ethertype = u16::from_be_bytes([header[2], header[3]]);
    let inner = Inner::parse(ethertype, payload.get(header_len..)?)?;
    Some((header_len, inner))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// UDP payload of worked packet A of the GENEVE reference (TCP SYN).
    pub(crate) const PACKET_A: &str = "0800080000000000010801 02a1b2c3d4e5f60718\
        0108020200000000000000000108030 15eed00014500002c123440004006e13d0a00010acb007150\
        9c4001bb11111111000000006002f5079ba60000020405b4";
    /// Worked packet D (UDP over IPv6).
    const PACKET_D: &str = "080086dd00000000 01080102a1b2c3d4e5f60718 010802020000000000000000\
        010803015eed0002 600000000025114020010db8000100010000000000000010\
        20010db8000f00000000000000000053 c030003500254d1dabcd01000001000000000000\
        076578616d706c6503636f6d00001c0001";

    pub(crate) fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    /// The transport checksum must be right: the sum over pseudo-header and
    /// segment is all ones.
    fn assert_checksum(packet: &[u8]) {
        let (pseudo, segment): (Vec<u8>, &[u8]) = if packet[0] >> 4 == 4 {
            (packet[12..20].to_vec(), &packet[20..])
        } else {
            (packet[8..40].to_vec(), &packet[40..])
        };
        let protocol = if packet[0] >> 4 == 4 {
            packet[9]
        } else {
            packet[6]
        };
        let start = u32::from(super::super::wire::sum(&pseudo, 0))
            + u32::from(protocol)
            + segment.len() as u32;
        assert_eq!(super::super::wire::sum(segment, start), 0xffff);
    }

    #[test]
    fn what_passes_comes_back_as_it_was() {
        let mut appliance = Appliance::new();
        for packet in [PACKET_A, PACKET_D] {
            let packet = bytes(packet);
            assert_eq!(appliance.handle(Instant::ZERO, &packet), Some(packet));
        }
        let flows = appliance.flows();
        assert_eq!(flows[0].protocol, "tcp");
        assert_eq!(flows[0].from.to_string(), "10.0.1.10:40000");
        assert_eq!(flows[1].to.to_string(), "[2001:db8:f::53]:53");
        assert_eq!(appliance.stats().passed, 2);
    }

    #[test]
    fn rules_drop_requests_and_their_answers() {
        let a = bytes(PACKET_A);
        for rule in ["tcp:443", "tcp", "dst=203.0.113.80", "10.0.1.0/24"] {
            let mut appliance = Appliance::new().drop(rule.parse().unwrap());
            assert_eq!(appliance.handle(Instant::ZERO, &a), None, "{rule}");
            assert_eq!(appliance.stats().dropped, 1);
        }
        for rule in ["tcp:80", "udp:443", "icmp", "src=203.0.113.80"] {
            let mut appliance = Appliance::new().drop(rule.parse().unwrap());
            assert!(appliance.handle(Instant::ZERO, &a).is_some(), "{rule}");
        }
    }

    #[test]
    fn rewrites_keep_checksums_right() {
        let rewrite = |text: &str| Appliance::new().rewrite(text.parse().unwrap());
        let a = bytes(PACKET_A);
        let reply = rewrite("ttl=7").handle(Instant::ZERO, &a).unwrap();
        assert_eq!(reply[..40], a[..40], "the GENEVE header is kept");
        assert_eq!(reply[48], 7);
        assert_eq!(super::super::wire::sum(&reply[40..60], 0), 0xffff);

        let reply = rewrite("tcp:443=8443").handle(Instant::ZERO, &a).unwrap();
        assert_eq!(reply[62..64], 8443u16.to_be_bytes());
        assert_checksum(&reply[40..]);
        let reply = rewrite("udp:53=5353")
            .handle(Instant::ZERO, &bytes(PACKET_D))
            .unwrap();
        assert_eq!(reply[82..84], 5353u16.to_be_bytes());
        assert_checksum(&reply[40..]);
    }

    #[test]
    fn broken_packets_are_counted_never_answered() {
        let mut appliance = Appliance::new();
        let a = bytes(PACKET_A);
        for len in 0..a.len() {
            assert_eq!(appliance.handle(Instant::ZERO, &a[..len]), None, "{len}");
        }
        let mut other = a.clone();
        other[0] |= 0x40;
        assert_eq!(appliance.handle(Instant::ZERO, &other), None);
        other = a.clone();
        other[0] = 0x3f;
        assert_eq!(appliance.handle(Instant::ZERO, &other), None);
        assert_eq!(appliance.stats().malformed, a.len() as u64 + 2);
        assert_eq!(appliance.stats().flows, 0);
    }
}
