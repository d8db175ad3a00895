//! Proxy protocol version 2, as AWS's network load balancers write it.
//!
//! ```text
//! 12 bytes   signature
//!  1         0x21: version 2, PROXY
//!  1         0x11 TCP over IPv4, 0x21 TCP over IPv6
//!  2         length of what follows
//! 12 or 36   source and destination address, source and destination port
//!  7         TLV 0x03: CRC32C of the whole header, this field taken as zero
//! 26         TLV 0xEA: subtype 1 and the endpoint's id, for clients of an endpoint
//! rest       TLV 0x04: zeros, so that the TLVs are 72 bytes long with and
//!            without an endpoint
//! ```
//!
//! Format: HAProxy, `proxy-protocol.txt` §2.2. AWS's own TLV: NLB guide, "Proxy
//! protocol"; the order and the padding: the test vector of AWS's
//! `proprot` library (`aws-behaviour.md` §6.2). ASSUMPTION: padded alike for IPv6.

use std::net::IpAddr;

use super::build::{Endpoints, TTL_DEFAULT, finish, put_ip};
use super::field::{write, write16};
use super::frame::Frame;
use super::headers::{FiveTuple, protocol, tcp_flag};

/// The longest header: TCP over IPv6.
pub const PROXY_HEADER_MAX: usize = FIXED + 36 + TLVS;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// All TLVs together.
const TLVS: usize = 72;
const TLV_CRC32C: u8 = 0x03;
const TLV_NOOP: u8 = 0x04;
const TLV_AWS: u8 = 0xea;
const SUBTYPE_VPCE_ID: u8 = 0x01;

/// The header of a connection that the load balancer opens itself, a health
/// check: version 2, LOCAL, nothing about a client (NLB guide: "the client
/// connection information is not sent"). ASSUMPTION: no TLVs.
pub const PROXY_LOCAL: [u8; FIXED] = *b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// What a header tells a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProxyHeader {
    /// The client, and the address and port that it called.
    pub client: FiveTuple,
    /// The low 64 bits of the id of the endpoint that it called.
    pub vpce: Option<u64>,
}

impl ProxyHeader {
    /// Bytes of a header about a client of this family.
    pub const fn len(ipv4: bool) -> usize {
        if ipv4 {
            FIXED + 12 + TLVS
        } else {
            PROXY_HEADER_MAX
        }
    }

    /// Writes the header to the front of `out`, and says how long it is.
    pub fn encode(&self, out: &mut [u8; PROXY_HEADER_MAX]) -> usize {
        let FiveTuple {
            src,
            dst,
            sport,
            dport,
            ..
        } = self.client;
        *out = [0; PROXY_HEADER_MAX];
        write(out, 0, &SIGNATURE);
        let ports = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                write(out, FIXED, &src.octets());
                write(out, FIXED + 4, &dst.octets());
                FIXED + 8
            }
            (src, dst) => {
                write(out, FIXED, &v6(src));
                write(out, FIXED + 16, &v6(dst));
                FIXED + 32
            }
        };
        let len = Self::len(src.is_ipv4());
        write(out, 12, &[0x21, if src.is_ipv4() { 0x11 } else { 0x21 }]);
        write16(out, 14, (len - FIXED) as u16);
        write16(out, ports, sport);
        write16(out, ports + 2, dport);
        let mut at = ports + 4;
        write(out, at, &[TLV_CRC32C, 0, 4]);
        let crc_at = at + 3;
        at += 7;
        if let Some(vpce) = self.vpce {
            write(out, at, &[TLV_AWS, 0, 23, SUBTYPE_VPCE_ID]);
            write(out, at + 4, b"vpce-0");
            for nibble in 0..16 {
                let digit = (vpce >> (60 - 4 * nibble)) as usize & 0xf;
                write(out, at + 10 + nibble, &b"0123456789abcdef"[digit..=digit]);
            }
            at += 26;
        }
        write(out, at, &[TLV_NOOP]);
        write16(out, at + 1, (len - at - 3) as u16);
        let crc = crc32c(out.get(..len).unwrap_or_default());
        write(out, crc_at, &crc.to_be_bytes());
        len
    }
}

const fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// A TCP segment that carries a header to the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProxySegment {
    /// What the header says.
    pub header: ProxyHeader,
    /// Addresses and ports of the segment.
    pub tuple: FiveTuple,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window field.
    pub window: u16,
    /// Value and echo reply of the timestamps option, if the connection has it.
    pub timestamps: Option<(u32, u32)>,
}

impl ProxySegment {
    /// Appends the segment as a frame, whose MAC addresses are left zero.
    pub fn write(&self, out: &mut Frame) {
        let ends = Endpoints {
            src_mac: Default::default(),
            dst_mac: Default::default(),
            src: self.tuple.src,
            dst: self.tuple.dst,
        };
        let mut header = [0; PROXY_HEADER_MAX];
        let len = self.header.encode(&mut header);
        let options = if self.timestamps.is_some() { 12 } else { 0 };
        put_ip(out, &ends, protocol::TCP, TTL_DEFAULT, 20 + options + len);
        out.extend(&self.tuple.sport.to_be_bytes());
        out.extend(&self.tuple.dport.to_be_bytes());
        out.extend(&self.seq.to_be_bytes());
        out.extend(&self.ack.to_be_bytes());
        let offset = ((20 + options) as u8 / 4) << 4;
        out.extend(&[offset, tcp_flag::ACK | tcp_flag::PSH]);
        out.extend(&self.window.to_be_bytes());
        out.extend(&[0; 4]);
        if let Some((value, echo)) = self.timestamps {
            out.extend(&[1, 1, 8, 10]);
            out.extend(&value.to_be_bytes());
            out.extend(&echo.to_be_bytes());
        }
        out.extend(header.get(..len).unwrap_or_default());
        finish(out);
    }
}

/// CRC-32C (RFC 3720 §B.4), by a table of bytes: a connection needs it once.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let mut rest = at as u32;
            let mut bit = 0;
            while bit < 8 {
                rest = (rest >> 1) ^ if rest & 1 == 1 { 0x82f6_3b78 } else { 0 };
                bit += 1;
            }
            table[at] = rest;
            at += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc: u32, byte| {
        let index = (crc as u8 ^ byte) as usize;
        (crc >> 8) ^ TABLE.get(index).copied().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(src: &str, sport: u16, dst: &str, dport: u16) -> FiveTuple {
        FiveTuple {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            protocol: protocol::TCP,
            sport,
            dport,
        }
    }

    fn encode(header: ProxyHeader) -> Vec<u8> {
        let mut out = [0xff; PROXY_HEADER_MAX];
        let len = header.encode(&mut out);
        out[..len].to_vec()
    }

    /// The test vector of AWS's `proprot` library.
    #[test]
    fn awss_own_example_is_reproduced_byte_for_byte() {
        let mut aws = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x54\
            \xac\x1f\x07\x71\xac\x1f\x0a\x1f\xc8\xf2\x00\x50\
            \x03\x00\x04\xe8\xd6\x89\x2d\
            \xea\x00\x17\x01vpce-08d2bf15fac5001c9\
            \x04\x00\x24"
            .to_vec();
        aws.resize(100, 0);
        let header = ProxyHeader {
            client: client("172.31.7.113", 51442, "172.31.10.31", 80),
            vpce: Some(0x8d2b_f15f_ac50_01c9),
        };
        assert_eq!(encode(header), aws);
    }

    #[test]
    fn a_header_without_endpoint_is_as_long() {
        let header = ProxyHeader {
            client: client("172.31.7.113", 51442, "172.31.10.31", 80),
            vpce: None,
        };
        let bytes = encode(header);
        assert_eq!(bytes.len(), ProxyHeader::len(true));
        assert_eq!(bytes[35..38], [TLV_NOOP, 0, 62]);
    }

    #[test]
    fn an_ipv6_client_is_told_of_in_full() {
        let header = ProxyHeader {
            client: client("2001:db8::7", 40000, "2001:db8:1::50", 443),
            vpce: Some(1),
        };
        let bytes = encode(header);
        assert_eq!(bytes.len(), 16 + 36 + 72);
        assert_eq!(bytes[12..16], [0x21, 0x21, 0, 108]);
        assert_eq!(bytes[16..32], v6("2001:db8::7".parse().unwrap()));
        assert_eq!(bytes[48..52], [0x9c, 0x40, 0x01, 0xbb]);
    }

    /// The check value of the CRC catalogue, and of RFC 3720.
    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
