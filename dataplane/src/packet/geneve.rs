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
        Self::split(udp_payload).ok_or(DropReason::MalformedGeneve)
    }

    /// Length of the GENEVE header with its options.
    pub const fn header_len(&self) -> usize {
        self.header.len()
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
        let udp_len = inner_len.saturating_add(48).to_be_bytes();
        let total_len = inner_len.saturating_add(68).to_be_bytes();
        let protocol = match inner_is_v6 {
            true => ethertype::IPV6.to_be_bytes(),
            false => ethertype::IPV4.to_be_bytes(),
        };
        let class = CLASS_AWS.to_be_bytes();
        let mut writer = Writer(buf);
        writer.put(&[0x45, 0]);
        writer.put(&total_len);
        writer.put(&[0, 0, 0x40, 0, self.ttl, 17, 0, 0]);
        writer.put(&self.src.octets());
        writer.put(&self.dst.octets());
        writer.put(&self.source_port.to_be_bytes());
        writer.put(&GENEVE_PORT.to_be_bytes());
        writer.put(&udp_len);
        writer.put(&[0, 0]);
        writer.put(&[0x08, 0]);
        writer.put(&protocol);
        writer.put(&[0; 4]);
        writer.put(&class);
        writer.put(&[1, 2]);
        writer.put(&self.endpoint_id.to_be_bytes());
        writer.put(&class);
        writer.put(&[2, 2]);
        writer.put(&[0; 8]);
        writer.put(&class);
        writer.put(&[3, 1]);
        writer.put(&self.cookie.to_be_bytes());
        if let Some(header) = buf.get_mut(..20) {
            checksum::fill_ipv4_header(header);
        }
    }
}

/// Fills a buffer from the front.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let buf = std::mem::take(&mut self.0);
        if let Some((to, rest)) = buf.split_at_mut_checked(bytes.len()) {
            to.copy_from_slice(bytes);
            self.0 = rest;
        }
    }
}

#[cfg(test)]
mod tests;
