//! Bytes: the oracle's own reading and writing of packets (RFC 791, 8200, 9293,
//! 768, 792, 4443). Checksums are always summed over the whole.

use std::net::IpAddr;

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP6: u8 = 58;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// The "port" that stands for who answers pings: no real port has it.
pub const ECHO: u32 = 1 << 16;

/// Who talks to whom. An echo request goes from port `identifier` to port [`ECHO`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tuple {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub proto: u8,
    pub sport: u32,
    pub dport: u32,
}

impl Tuple {
    pub fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            proto: self.proto,
            sport: self.dport,
            dport: self.sport,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Whole,
    First,
    Later,
}

/// An IP packet, read.
#[derive(Clone, Debug)]
pub struct Packet {
    /// From the IP header to the packet's end.
    pub bytes: Vec<u8>,
    pub tuple: Tuple,
    pub ttl: u8,
    pub df: bool,
    pub part: Part,
    pub id: u32,
    /// Where the transport header begins.
    pub l4: usize,
    pub flags: u8,
    pub seq: u32,
    pub kind: u8,
    pub code: u8,
}

pub const fn be16(bytes: &[u8], at: usize) -> u16 {
    (bytes[at] as u16) << 8 | bytes[at + 1] as u16
}

pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}

pub fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn v4(bytes: &[u8]) -> IpAddr {
    IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn v6(bytes: &[u8]) -> IpAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[..16]);
    IpAddr::from(octets)
}

pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// One's complement sum, folded.
pub fn sum(bytes: &[u8]) -> u32 {
    let mut total = 0u32;
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        total = (total & 0xffff) + (total >> 16);
    }
    total
}

fn fold(mut total: u32) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

impl Packet {
    /// Reads the IP packet at the start of `bytes`; what follows it is padding.
    /// A quoted packet may be cut short.
    pub fn read(bytes: &[u8], quoted: bool) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::read_v4(bytes, quoted),
            6 => Self::read_v6(bytes, quoted),
            _ => None,
        }
    }

    fn read_v4(bytes: &[u8], quoted: bool) -> Option<Self> {
        let header = usize::from(bytes[0] & 15) * 4;
        if bytes.len() < 20 || header < 20 || bytes.len() < header {
            return None;
        }
        let mut total = usize::from(be16(bytes, 2));
        if quoted {
            total = total.min(bytes.len());
        } else if sum(&bytes[..header]) != 0xffff {
            return None;
        }
        if total < header || total > bytes.len() {
            return None;
        }
        let frag = be16(bytes, 6);
        let offset = frag & 0x1fff;
        let more = frag & 0x2000 != 0;
        let length = total - header;
        if !quoted
            && (usize::from(offset) * 8 + length > 65535 || (more && !length.is_multiple_of(8)))
        {
            return None;
        }
        let mut packet = Self {
            bytes: bytes[..total].to_vec(),
            tuple: Tuple {
                src: v4(&bytes[12..]),
                dst: v4(&bytes[16..]),
                proto: bytes[9],
                sport: 0,
                dport: 0,
            },
            ttl: bytes[8],
            df: frag & 0x4000 != 0,
            part: match (more, offset) {
                (false, 0) => Part::Whole,
                (true, 0) => Part::First,
                _ => Part::Later,
            },
            id: u32::from(be16(bytes, 4)),
            l4: header,
            flags: 0,
            seq: 0,
            kind: 0,
            code: 0,
        };
        packet.read_transport(quoted).then_some(packet)
    }

    fn read_v6(bytes: &[u8], quoted: bool) -> Option<Self> {
        if bytes.len() < 40 {
            return None;
        }
        let mut total = 40 + usize::from(be16(bytes, 4));
        if quoted {
            total = total.min(bytes.len());
        }
        if total > bytes.len() {
            return None;
        }
        let mut packet = Self {
            bytes: bytes[..total].to_vec(),
            tuple: Tuple {
                src: v6(&bytes[8..]),
                dst: v6(&bytes[24..]),
                proto: bytes[6],
                sport: 0,
                dport: 0,
            },
            ttl: bytes[7],
            df: true,
            part: Part::Whole,
            id: 0,
            l4: 40,
            flags: 0,
            seq: 0,
            kind: 0,
            code: 0,
        };
        // Hop-by-hop, routing, destination options, fragment.
        while [0, 43, 60, 44].contains(&packet.tuple.proto) && packet.part != Part::Later {
            let at = packet.l4;
            if at + 8 > total {
                return None;
            }
            if packet.tuple.proto == 44 {
                let field = be16(bytes, at + 2);
                packet.id = be32(bytes, at + 4);
                packet.part = match (field & 1 != 0, field >> 3) {
                    (false, 0) => Part::Whole,
                    (true, 0) => Part::First,
                    _ => Part::Later,
                };
                let length = total - at - 8;
                let end = usize::from(field >> 3) * 8 + length;
                if !quoted && (end > 65535 || (field & 1 != 0 && !length.is_multiple_of(8))) {
                    return None;
                }
                packet.l4 += 8;
            } else {
                packet.l4 += 8 + usize::from(bytes[at + 1]) * 8;
            }
            packet.tuple.proto = bytes[at];
            if packet.l4 > total {
                return None;
            }
        }
        packet.read_transport(quoted).then_some(packet)
    }

    fn read_transport(&mut self, quoted: bool) -> bool {
        if self.part == Part::Later {
            return true;
        }
        let v6 = self.is_v6();
        let l4 = &self.bytes[self.l4..];
        let (ports, types) = match self.tuple.proto {
            TCP | UDP => (true, false),
            ICMP => (false, !v6),
            ICMP6 => (false, v6),
            _ => (false, false),
        };
        if (ports || types) && l4.len() < 8 {
            return false;
        }
        if ports {
            self.tuple.sport = u32::from(be16(l4, 0));
            self.tuple.dport = u32::from(be16(l4, 2));
        }
        if self.tuple.proto == TCP {
            self.seq = be32(l4, 4);
            if l4.len() >= 20 {
                let header = usize::from(l4[12] >> 4) * 4;
                if !quoted && (header < 20 || header > l4.len()) {
                    return false;
                }
                self.flags = l4[13];
            } else if !quoted {
                return false;
            }
        }
        if self.tuple.proto == UDP {
            let length = usize::from(be16(l4, 4));
            if length < 8 || (!quoted && self.part == Part::Whole && length > l4.len()) {
                return false;
            }
        }
        if types {
            (self.kind, self.code) = (l4[0], l4[1]);
            let identifier = u32::from(be16(l4, 4));
            match (self.kind, v6) {
                (8, false) | (128, true) => {
                    (self.tuple.sport, self.tuple.dport) = (identifier, ECHO)
                }
                (0, false) | (129, true) => {
                    (self.tuple.sport, self.tuple.dport) = (ECHO, identifier)
                }
                _ => {}
            }
        }
        true
    }

    pub fn is_v6(&self) -> bool {
        self.tuple.src.is_ipv6()
    }

    /// Length of the IP packet.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_icmp(&self) -> bool {
        self.tuple.proto == if self.is_v6() { ICMP6 } else { ICMP }
    }

    pub fn is_icmp_error(&self) -> bool {
        self.is_icmp()
            && self.part != Part::Later
            && if self.is_v6() {
                (1..=4).contains(&self.kind)
            } else {
                [3, 4, 5, 11, 12].contains(&self.kind)
            }
    }

    /// SYN without ACK.
    pub fn opens(&self) -> bool {
        self.tuple.proto == TCP && self.flags & (SYN | ACK) == SYN
    }

    /// The packet that an ICMP error quotes.
    pub fn quoted(&self) -> Option<Packet> {
        Packet::read(self.bytes.get(self.l4 + 8..)?, true)
    }

    fn checksum_at(&self) -> Option<usize> {
        match self.tuple.proto {
            TCP => Some(self.l4 + 16),
            UDP => Some(self.l4 + 6),
            ICMP if !self.is_v6() => Some(self.l4 + 2),
            ICMP6 if self.is_v6() => Some(self.l4 + 2),
            _ => None,
        }
    }

    fn pseudo(&self) -> u32 {
        if self.tuple.proto == ICMP {
            return 0;
        }
        let addresses = if self.is_v6() {
            &self.bytes[8..40]
        } else {
            &self.bytes[12..20]
        };
        sum(addresses) + u32::from(self.tuple.proto) + (self.bytes.len() - self.l4) as u32
    }

    /// Whether the transport checksum is right (or there is none).
    pub fn is_sound(&self) -> bool {
        match self.checksum_at() {
            _ if self.part != Part::Whole => true,
            None => true,
            Some(at) if self.tuple.proto == UDP && be16(&self.bytes, at) == 0 => !self.is_v6(),
            Some(_) => fold(sum(&self.bytes[self.l4..]) + self.pseudo()) == 0xffff,
        }
    }

    /// Sums the transport afresh.
    pub fn fill_transport(&mut self) {
        let Some(at) = self.checksum_at() else { return };
        put16(&mut self.bytes, at, 0);
        let mut value = !fold(sum(&self.bytes[self.l4..]) + self.pseudo());
        if self.tuple.proto == UDP && value == 0 {
            value = 0xffff;
        }
        put16(&mut self.bytes, at, value);
    }

    pub fn fill_ip(&mut self) {
        if !self.is_v6() {
            let header = usize::from(self.bytes[0] & 15) * 4;
            put16(&mut self.bytes, 10, 0);
            let value = !fold(sum(&self.bytes[..header]));
            put16(&mut self.bytes, 10, value);
        }
    }

    /// The packet with other addresses, ports and TTL; every checksum that was
    /// right is right again, and what was wrong is as wrong as before.
    pub fn translated(&self, to: Tuple, ttl: u8, mss: Option<u16>) -> Vec<u8> {
        let mut new = self.clone();
        let sound = self.part == Part::Whole && self.is_sound();
        let before = self.covered();
        new.put_addresses(to.src, to.dst);
        let at = if self.is_v6() { 7 } else { 8 };
        new.bytes[at] = ttl;
        let ports = [TCP, UDP].contains(&self.tuple.proto) && self.part != Part::Later;
        if ports {
            put16(&mut new.bytes, self.l4, to.sport as u16);
            put16(&mut new.bytes, self.l4 + 2, to.dport as u16);
        }
        new.put_identifier(to);
        if let Some(limit) = mss
            && self.flags & SYN != 0
            && self.tuple.proto == TCP
        {
            new.clamp(limit);
        }
        new.fill_ip();
        if let Some(at) = self.checksum_at()
            && self.part != Part::Later
            && self.bytes.len() >= at + 2
            && new.bytes != self.bytes
        {
            let none = self.tuple.proto == UDP && be16(&self.bytes, at) == 0;
            if none {
                // Sent without a checksum: stays so.
            } else if sound {
                new.fill_transport();
            } else {
                new.shift_checksum(at, &before);
            }
        }
        new.bytes
    }

    /// What the transport checksum covers of what a translation changes.
    fn covered(&self) -> Vec<u8> {
        let mut covered = Vec::new();
        if self.tuple.proto != ICMP {
            covered.extend(octets(self.tuple.src));
            covered.extend(octets(self.tuple.dst));
        }
        if [TCP, UDP].contains(&self.tuple.proto) && self.part != Part::Later {
            covered.extend(&self.bytes[self.l4..self.l4 + 4]);
        }
        if let Some(at) = self.identifier_at() {
            covered.extend(&self.bytes[at..at + 2]);
        }
        // Options, of which one may be changed.
        if self.tuple.proto == TCP && self.part != Part::Later && self.bytes.len() > self.l4 + 20 {
            let end = self.l4 + usize::from(self.bytes[self.l4 + 12] >> 4) * 4;
            covered.extend(&self.bytes[self.l4 + 20..end.clamp(self.l4 + 20, self.bytes.len())]);
        }
        covered
    }

    /// Where an echo's identifier is, which takes a port's place in translations.
    fn identifier_at(&self) -> Option<usize> {
        let echo = self.tuple.proto == ICMP && self.part != Part::Later;
        let pings = [self.tuple.sport, self.tuple.dport].contains(&ECHO);
        let held = self.bytes.len() >= self.l4 + 6;
        (echo && pings && held).then_some(self.l4 + 4)
    }

    fn put_identifier(&mut self, to: Tuple) {
        if let Some(at) = self.identifier_at() {
            let identifier = if to.dport == ECHO { to.sport } else { to.dport };
            put16(&mut self.bytes, at, identifier as u16);
        }
    }

    /// RFC 1624: the field follows what it covers.
    fn shift_checksum(&mut self, at: usize, before: &[u8]) {
        let after = {
            let mut read = self.clone();
            let addresses = if self.is_v6() {
                (v6(&self.bytes[8..]), v6(&self.bytes[24..]))
            } else {
                (v4(&self.bytes[12..]), v4(&self.bytes[16..]))
            };
            (read.tuple.src, read.tuple.dst) = addresses;
            read.covered()
        };
        if after == *before {
            // Nobody touches it then; a zero that is wrong stays one, too.
            return;
        }
        let held = u32::from(!be16(&self.bytes, at));
        let inverted: Vec<u8> = before.iter().map(|byte| !byte).collect();
        let mut value = !fold(held + sum(&inverted) + sum(&after));
        if self.tuple.proto == UDP && value == 0 {
            value = 0xffff;
        }
        put16(&mut self.bytes, at, value);
    }

    fn put_addresses(&mut self, src: IpAddr, dst: IpAddr) {
        let (at, len) = if self.is_v6() { (8, 16) } else { (12, 4) };
        self.bytes[at..at + len].copy_from_slice(&octets(src));
        self.bytes[at + len..at + 2 * len].copy_from_slice(&octets(dst));
    }

    /// An ICMP error with other addresses, whose quoted packet is `quoted`, with
    /// its checksums following.
    pub fn translated_error(&self, src: IpAddr, dst: IpAddr, quoted: Tuple, ttl: u8) -> Vec<u8> {
        let mut new = self.clone();
        new.put_addresses(src, dst);
        let at = if self.is_v6() { 7 } else { 8 };
        new.bytes[at] = ttl;
        new.fill_ip();
        if let Some(mut inner) = self.quoted() {
            let before = inner.covered();
            let start = self.l4 + 8;
            let header_was_sound = inner.is_v6() || sum(&inner.bytes[..inner.l4]) == 0xffff;
            let old = inner.clone();
            inner.put_addresses(quoted.src, quoted.dst);
            if [TCP, UDP].contains(&inner.tuple.proto) && inner.part != Part::Later {
                put16(&mut inner.bytes, old.l4, quoted.sport as u16);
                put16(&mut inner.bytes, old.l4 + 2, quoted.dport as u16);
            }
            inner.put_identifier(quoted);
            if header_was_sound {
                inner.fill_ip();
            }
            if let Some(at) = old.checksum_at()
                && inner.bytes.len() >= at + 2
                && old.part != Part::Later
                && old.bytes != inner.bytes
                && !(old.tuple.proto == UDP && be16(&old.bytes, at) == 0)
            {
                inner.shift_checksum(at, &before);
            }
            new.bytes[start..start + inner.bytes.len()].copy_from_slice(&inner.bytes);
        }
        // The message's own checksum covers all of that (and, for IPv6, the addresses).
        if let Some(at) = self.checksum_at() {
            let region = |packet: &Packet| {
                let addresses = if self.is_v6() { 8..40 } else { 12..12 };
                let mut bytes = packet.bytes[addresses].to_vec();
                bytes.extend(&packet.bytes[self.l4 + 4..]);
                bytes
            };
            let (before, after) = (region(self), region(&new));
            let inverted: Vec<u8> = before.iter().map(|byte| !byte).collect();
            // An odd byte at the end counts as the high half of a word.
            let odd = if before.len() % 2 == 1 { 0xff } else { 0 };
            if before != after {
                let held = u32::from(!be16(&self.bytes, at));
                put16(
                    &mut new.bytes,
                    at,
                    !fold(held + sum(&inverted) + odd + sum(&after)),
                );
            }
        }
        new.bytes
    }

    /// Lowers the MSS option of a SYN.
    fn clamp(&mut self, limit: u16) {
        let end = self.l4 + usize::from(self.bytes[self.l4 + 12] >> 4) * 4;
        let mut at = self.l4 + 20;
        while at + 1 < end {
            match self.bytes[at] {
                0 => return,
                1 => at += 1,
                2 if self.bytes[at + 1] == 4 && at + 4 <= end => {
                    if be16(&self.bytes, at + 2) > limit {
                        put16(&mut self.bytes, at + 2, limit);
                    }
                    return;
                }
                _ if self.bytes[at + 1] < 2 => return,
                _ => at += usize::from(self.bytes[at + 1]),
            }
        }
    }
}

/// An Ethernet frame around an IP packet.
pub fn frame(dst: [u8; 6], src: [u8; 6], ip: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + ip.len());
    frame.extend(dst);
    frame.extend(src);
    frame.extend(if ip[0] >> 4 == 4 {
        [8, 0]
    } else {
        [0x86, 0xdd]
    });
    frame.extend(ip);
    frame
}
