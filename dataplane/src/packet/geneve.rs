//! GENEVE as a Gateway Load Balancer speaks it: parse any, write one layout.
//!
//! RFC 8926 §3.4 with three options of class 0x0108 (AWS):
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---+-----------+-+-+-----------+-------------------------------+
//! |V=0| Opt Len=8 |O|C|  reserved |  Protocol 0x0800 or 0x86dd    |
//! +---+-----------+-+-+-----------+---------------+---------------+
//! |                    VNI = 0                    |    reserved   |
//! +-------------------------------+---------------+-----+---------+
//! |      option class 0x0108      |   type 0x01   |0 0 0| len = 2 |
//! +-------------------------------+---------------+-----+---------+
//! |                    endpoint id (64 bits)                      |
//! +-------------------------------+---------------+-----+---------+
//! |      option class 0x0108      |   type 0x02   |0 0 0| len = 2 |
//! +-------------------------------+---------------+-----+---------+
//! |                attachment id (64 bits, zero)                  |
//! +-------------------------------+---------------+-----+---------+
//! |      option class 0x0108      |   type 0x03   |0 0 0| len = 1 |
//! +-------------------------------+---------------+-----+---------+
//! |                         flow cookie                           |
//! +---------------------------------------------------------------+
//! ```
//!
//! There is no inner Ethernet header: the inner IP packet follows at once.

use std::net::Ipv4Addr;

use super::checksum;
use super::parse::ethertype;
use crate::drop::DropReason;

/// UDP destination port of GENEVE.
pub const GENEVE_PORT: u16 = 6081;

/// Bytes that the encapsulation adds: IPv4 20, UDP 8, GENEVE 8 + 32.
pub const GENEVE_OUTER_LEN: usize = 68;

/// Bytes of GENEVE header and options in the layout that AWS uses.
pub(crate) const GENEVE_LEN: usize = 40;

/// Option class registered to AWS.
const CLASS_AWS: u16 = 0x0108;

/// Bit of the option type that forbids to skip an unknown option (§3.5).
const CRITICAL: u8 = 0x80;

/// A parsed GENEVE header and the packet behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GeneveView<'a> {
    /// EtherType of the inner packet: 0x0800 or 0x86dd.
    pub protocol: u16,
    /// Option 1, the endpoint that the packet came in by; `None` if it is
    /// missing or not 8 bytes long.
    pub endpoint_id: Option<u64>,
    /// Option 2, zero today.
    pub attachment_id: Option<u64>,
    /// Option 3, which names the flow.
    pub cookie: Option<u32>,
    /// The GENEVE header with its options, as received.
    pub header: &'a [u8],
    /// The inner IP packet; its version agrees with `protocol`.
    pub inner: &'a [u8],
}

impl<'a> GeneveView<'a> {
    /// Parses a UDP payload. Options may come in any order; unknown ones are
    /// skipped unless they are critical. Of a repeated option the first counts
    /// (ASSUMPTION: AWS does not say).
    pub fn parse(udp_payload: &'a [u8]) -> Result<Self, DropReason> {
        Self::usual(udp_payload)
            .or_else(|| Self::split(udp_payload))
            .ok_or(DropReason::MalformedGeneve)
    }

    /// Length of the GENEVE header with its options.
    pub const fn header_len(&self) -> usize {
        self.header.len()
    }

    /// The layout in which AWS sends, and appliances send back: nearly all.
    #[inline]
    fn usual(bytes: &'a [u8]) -> Option<Self> {
        let (endpoint_id, cookie) = usual_marks(bytes.first_chunk()?)?;
        let (header, inner) = bytes.split_at_checked(GENEVE_LEN)?;
        if inner.first()? >> 4 != 4 {
            return None;
        }
        let [.., a0, a1, a2, a3, a4, a5, a6, a7] = *header.first_chunk::<32>()?;
        Some(Self {
            protocol: ethertype::IPV4,
            endpoint_id: Some(u64::from_be_bytes(endpoint_id)),
            attachment_id: Some(u64::from_be_bytes([a0, a1, a2, a3, a4, a5, a6, a7])),
            cookie: Some(cookie),
            header,
            inner,
        })
    }

    fn split(bytes: &'a [u8]) -> Option<Self> {
        let base = bytes.first_chunk::<8>()?;
        if base[0] >> 6 != 0 {
            return None;
        }
        let header_len = 8 + usize::from(base[0] & 0x3f) * 4;
        let (header, inner) = bytes.split_at_checked(header_len)?;
        let protocol = u16::from_be_bytes([base[2], base[3]]);
        let version = match protocol {
            ethertype::IPV4 => 4,
            ethertype::IPV6 => 6,
            _ => return None,
        };
        if inner.first()? >> 4 != version {
            return None;
        }
        let mut view = Self {
            protocol,
            endpoint_id: None,
            attachment_id: None,
            cookie: None,
            header,
            inner,
        };
        view.walk_options(header.get(8..)?)?;
        Some(view)
    }

    fn walk_options(&mut self, mut options: &[u8]) -> Option<()> {
        while !options.is_empty() {
            let (&[c0, c1, kind, len], rest) = options.split_first_chunk::<4>()?;
            let (value, rest) = rest.split_at_checked(usize::from(len & 0x1f) * 4)?;
            let id = || value.try_into().ok().map(u64::from_be_bytes);
            match (u16::from_be_bytes([c0, c1]), kind) {
                (CLASS_AWS, 1) => self.endpoint_id = self.endpoint_id.or_else(id),
                (CLASS_AWS, 2) => self.attachment_id = self.attachment_id.or_else(id),
                (CLASS_AWS, 3) => {
                    let cookie = || value.try_into().ok().map(u32::from_be_bytes);
                    self.cookie = self.cookie.or_else(cookie);
                }
                (_, kind) if kind & CRITICAL != 0 => return None,
                _ => {}
            }
            options = rest;
        }
        Some(())
    }
}

/// Endpoint id (as it is sent) and cookie of a header that is laid out as AWS does it and
/// says that an IPv4 packet is inside: what appliances send back, nearly always.
#[inline(always)]
pub(crate) fn usual_marks(header: &[u8; GENEVE_LEN]) -> Option<([u8; 8], u32)> {
    let word = |bytes: &[u8], at: usize| match bytes.get(at..).and_then(|b| b.first_chunk()) {
        Some(bytes) => u32::from_ne_bytes(*bytes),
        None => 0,
    };
    let other = |at: usize| word(header, at) ^ word(&LAYOUT, 28 + at);
    let [.., a, b, c, d, e, f, g, h] = *header.first_chunk::<20>()?;
    let cookie = u32::from_be(word(header, 36));
    let is_usual = other(0) | other(8) | other(20) | other(32) == 0;
    is_usual.then_some(([a, b, c, d, e, f, g, h], cookie))
}

/// What differs between the encapsulations of two flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GeneveOuter {
    /// The load balancer node.
    pub src: Ipv4Addr,
    /// The appliance.
    pub dst: Ipv4Addr,
    /// UDP source port, constant for the flow.
    pub source_port: u16,
    /// Number of the endpoint (option 1).
    pub endpoint_id: u64,
    /// Flow cookie (option 3).
    pub cookie: u32,
    /// TTL of the outer header.
    pub ttl: u8,
}

impl GeneveOuter {
    /// Writes the 68 bytes that go before an inner IP packet of `inner_len`
    /// bytes, which is at most 8500.
    ///
    /// ASSUMPTION: DF set, identification and TOS zero (an atomic datagram,
    /// RFC 6864), UDP checksum zero.
    pub fn encode(&self, buf: &mut [u8; GENEVE_OUTER_LEN], inner_len: u16, inner_is_v6: bool) {
        GeneveTemplate::new(self).write(buf, inner_len, self.ttl);
        if inner_is_v6 {
            buf[30..32].copy_from_slice(&ethertype::IPV6.to_be_bytes());
        }
    }
}

/// The outer header of a flow's packets, made once: what tells it from other flows' as
/// it is sent, and the sum that the IPv4 header's checksum begins with. The rest is
/// `LAYOUT`. Two parts instead of 68 ready bytes: those that are a flow's own then lie
/// in the one line that its packets read anyway.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GeneveTemplate {
    /// Source and destination address.
    ends: [[u8; 4]; 2],
    endpoint_id: [u8; 8],
    cookie: u32,
    source_port: [u8; 2],
    /// Folded sum of the IPv4 header's words but length and TTL, as they are read here.
    sum: u16,
}

impl GeneveTemplate {
    /// That of no flow.
    pub const NONE: Self = Self {
        ends: [[0; 4]; 2],
        endpoint_id: [0; 8],
        cookie: 0,
        source_port: [0; 2],
        sum: 0,
    };

    /// That of a flow; the TTL is a packet's.
    pub fn new(outer: &GeneveOuter) -> Self {
        Self {
            endpoint_id: outer.endpoint_id.to_be_bytes(),
            ..Self::NONE
        }
        .between(outer.src, outer.dst)
        .named(outer.cookie, outer.source_port)
    }

    /// The same between other ends.
    #[must_use]
    pub fn between(self, src: Ipv4Addr, dst: Ipv4Addr) -> Self {
        let ends = [src, dst].map(|address| address.octets());
        let [src, dst] = ends.map(|octets| u64::from(u32::from_ne_bytes(octets)));
        Self {
            ends,
            sum: checksum::fold_few(LAYOUT_SUM + src + dst),
            ..self
        }
    }

    /// The same with another cookie and source port.
    #[must_use]
    pub const fn named(self, cookie: u32, source_port: u16) -> Self {
        Self {
            cookie,
            source_port: source_port.to_be_bytes(),
            ..self
        }
    }

    /// Source and destination address.
    #[inline]
    pub fn ends(&self) -> [Ipv4Addr; 2] {
        self.ends.map(Ipv4Addr::from)
    }

    /// Number of the endpoint.
    #[inline]
    pub const fn endpoint_id(&self) -> u64 {
        u64::from_be_bytes(self.endpoint_id)
    }

    /// Flow cookie.
    #[inline(always)]
    pub const fn cookie(&self) -> u32 {
        self.cookie
    }

    /// UDP source port.
    #[inline]
    pub const fn source_port(&self) -> u16 {
        u16::from_be_bytes(self.source_port)
    }

    /// Whether a packet with these addresses (the source's first) and this endpoint id,
    /// all as they were received, answers to this template.
    #[inline(always)]
    pub(crate) fn is_answered(&self, ends: [u8; 8], endpoint_id: [u8; 8]) -> bool {
        let [[a, b, c, d], [e, f, g, h]] = self.ends;
        let sent = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        // The other way round.
        let other = sent.rotate_left(32) ^ u64::from_ne_bytes(ends);
        let number = u64::from_ne_bytes(self.endpoint_id) ^ u64::from_ne_bytes(endpoint_id);
        other | number == 0
    }

    /// Writes the header of an inner IPv4 packet of `inner_len` bytes: a copy, and what
    /// differs.
    #[inline(always)]
    pub(crate) fn write(&self, buf: &mut [u8; GENEVE_OUTER_LEN], inner_len: u16, ttl: u8) {
        *buf = LAYOUT;
        let total_len = inner_len.wrapping_add(GENEVE_OUTER_LEN as u16).to_be();
        let varying = u32::from(total_len) + u32::from(u16::from_ne_bytes([ttl, 0]));
        let sum = !checksum::fold_word(u32::from(self.sum) + varying);
        buf[2..4].copy_from_slice(&total_len.to_ne_bytes());
        buf[8] = ttl;
        buf[10..12].copy_from_slice(&sum.to_ne_bytes());
        buf[12..20].copy_from_slice(self.ends.as_flattened());
        buf[20..22].copy_from_slice(&self.source_port);
        buf[24..26].copy_from_slice(&inner_len.wrapping_add(48).to_be_bytes());
        buf[40..48].copy_from_slice(&self.endpoint_id);
        buf[64..68].copy_from_slice(&self.cookie.to_be_bytes());
    }
}

/// Sum of the words of [`LAYOUT`]'s IPv4 header, as they are read here.
const LAYOUT_SUM: u64 = {
    let (mut sum, mut at) = (0, 0);
    while at < 20 {
        sum += u16::from_ne_bytes([LAYOUT[at], LAYOUT[at + 1]]) as u64;
        at += 2;
    }
    sum
};

/// What is the same in every encapsulation of an IPv4 packet; the rest is zero.
const LAYOUT: [u8; GENEVE_OUTER_LEN] = {
    let mut layout = [0; GENEVE_OUTER_LEN];
    // IPv4: version and header length, DF, UDP.
    layout[0] = 0x45;
    layout[6] = 0x40;
    layout[9] = 17;
    [layout[22], layout[23]] = GENEVE_PORT.to_be_bytes();
    // GENEVE: option length; protocol; three options of AWS's class.
    layout[28] = 8;
    [layout[30], layout[31]] = ethertype::IPV4.to_be_bytes();
    let [class, class_low] = CLASS_AWS.to_be_bytes();
    (layout[36], layout[37], layout[38], layout[39]) = (class, class_low, 1, 2);
    (layout[48], layout[49], layout[50], layout[51]) = (class, class_low, 2, 2);
    (layout[60], layout[61], layout[62], layout[63]) = (class, class_low, 3, 1);
    layout
};

#[cfg(test)]
mod tests;
