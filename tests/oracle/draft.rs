//! Packets as a host makes them.

use std::net::IpAddr;

use crate::wire::{ECHO, ICMP, ICMP6, Packet, TCP, Tuple, UDP, octets, put16};

/// A packet to be made.
#[derive(Clone, Debug)]
pub struct Draft {
    pub tuple: Tuple,
    pub flags: u8,
    pub seq: u32,
    pub ttl: u8,
    pub df: bool,
    pub id: u16,
    pub tos: u8,
    /// MSS option of a TCP packet, after this many no-operations.
    pub mss: Option<(u16, usize)>,
    /// Type and code, of ICMP that is no echo.
    pub icmp: Option<(u8, u8)>,
    pub payload: Vec<u8>,
    /// IPv4 options, or an IPv6 destination-options header.
    pub options: bool,
    /// UDP without a checksum.
    pub no_checksum: bool,
}

impl Draft {
    pub fn new(tuple: Tuple) -> Self {
        Self {
            tuple,
            flags: 0,
            seq: 9,
            ttl: 64,
            df: true,
            id: 0,
            tos: 0,
            mss: None,
            icmp: None,
            payload: Vec::new(),
            options: false,
            no_checksum: false,
        }
    }

    fn transport(&self) -> Vec<u8> {
        let (sport, dport) = (
            (self.tuple.sport as u16).to_be_bytes(),
            (self.tuple.dport as u16).to_be_bytes(),
        );
        let mut out = Vec::new();
        match self.tuple.proto {
            TCP => {
                let mut options = Vec::new();
                if let Some((mss, nops)) = self.mss {
                    options.extend(std::iter::repeat_n(1, nops));
                    options.extend([2, 4]);
                    options.extend(mss.to_be_bytes());
                    while !options.len().is_multiple_of(4) {
                        options.push(0);
                    }
                }
                out.extend(sport);
                out.extend(dport);
                out.extend(self.seq.to_be_bytes());
                out.extend(if self.flags & 16 != 0 {
                    [0, 0, 1, 7]
                } else {
                    [0; 4]
                });
                out.extend([
                    (((20 + options.len()) / 4) << 4) as u8,
                    self.flags,
                    0xff,
                    0xff,
                    0,
                    0,
                    0,
                    0,
                ]);
                out.extend(options);
            }
            UDP => {
                out.extend(sport);
                out.extend(dport);
                out.extend((8 + self.payload.len() as u16).to_be_bytes());
                out.extend([0, 0]);
            }
            ICMP | ICMP6 => {
                let v6 = self.tuple.proto == ICMP6;
                let (kind, code, identifier) = match self.icmp {
                    Some((kind, code)) => (kind, code, 0),
                    None if self.tuple.dport == ECHO => {
                        (if v6 { 128 } else { 8 }, 0, self.tuple.sport)
                    }
                    None => (if v6 { 129 } else { 0 }, 0, self.tuple.dport),
                };
                out.extend([kind, code, 0, 0]);
                out.extend((identifier as u16).to_be_bytes());
                out.extend([0, 1]);
            }
            _ => {}
        }
        out.extend(&self.payload);
        out
    }

    /// The IP packet, with every checksum right.
    pub fn ip(&self) -> Vec<u8> {
        self.seal(self.transport())
    }

    fn seal(&self, transport: Vec<u8>) -> Vec<u8> {
        let mut bytes = Vec::new();
        match (self.tuple.src, self.tuple.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let options: &[u8] = if self.options { &[1, 1, 1, 0] } else { &[] };
                let header = 20 + options.len();
                bytes.extend([0x40 | (header / 4) as u8, self.tos]);
                bytes.extend(((header + transport.len()) as u16).to_be_bytes());
                bytes.extend(self.id.to_be_bytes());
                bytes.extend([
                    if self.df { 0x40 } else { 0 },
                    0,
                    self.ttl,
                    self.tuple.proto,
                    0,
                    0,
                ]);
                bytes.extend(src.octets());
                bytes.extend(dst.octets());
                bytes.extend(options);
            }
            (src, dst) => {
                let options: &[u8] = if self.options {
                    &[self.tuple.proto, 0, 1, 4, 0, 0, 0, 0]
                } else {
                    &[]
                };
                bytes.extend([0x60, 0, 0, 0]);
                bytes.extend(((options.len() + transport.len()) as u16).to_be_bytes());
                bytes.extend([if self.options { 60 } else { self.tuple.proto }, self.ttl]);
                bytes.extend(octets(src));
                bytes.extend(octets(dst));
                bytes.extend(options);
            }
        }
        bytes.extend(&transport);
        let l4 = bytes.len() - transport.len();
        let mut packet = Packet {
            bytes,
            tuple: self.tuple,
            ttl: self.ttl,
            df: self.df,
            part: crate::wire::Part::Whole,
            id: u32::from(self.id),
            l4,
            flags: self.flags,
            seq: self.seq,
            kind: 0,
            code: 0,
        };
        packet.fill_ip();
        if !(self.no_checksum && self.tuple.proto == UDP && !packet.is_v6()) {
            packet.fill_transport();
        }
        packet.bytes
    }

    /// An ICMP error about `about`, quoting `quote` bytes of it.
    pub fn error(
        src: IpAddr,
        dst: IpAddr,
        (kind, code): (u8, u8),
        rest: u32,
        about: &[u8],
        quote: usize,
    ) -> Vec<u8> {
        let proto = if src.is_ipv4() { ICMP } else { ICMP6 };
        let tuple = Tuple {
            src,
            dst,
            proto,
            sport: 0,
            dport: 0,
        };
        let mut transport = vec![kind, code, 0, 0];
        transport.extend(rest.to_be_bytes());
        transport.extend(&about[..about.len().min(quote)]);
        Draft::new(tuple).seal(transport)
    }
}

/// Cuts an IPv4 packet into fragments of at most `mtu` bytes.
pub fn fragments(ip: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let header = usize::from(ip[0] & 15) * 4;
    let room = (mtu - header) / 8 * 8;
    let payload = &ip[header..];
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < payload.len() {
        let end = (at + room).min(payload.len());
        let mut piece = ip[..header].to_vec();
        piece.extend(&payload[at..end]);
        let more = if end < payload.len() { 0x2000 } else { 0 };
        let len = piece.len() as u16;
        put16(&mut piece, 2, len);
        put16(&mut piece, 6, more | (at / 8) as u16);
        put16(&mut piece, 10, 0);
        let value = !(crate::wire::sum(&piece[..header]) as u16);
        put16(&mut piece, 10, value);
        pieces.push(piece);
        at = end;
    }
    pieces
}
