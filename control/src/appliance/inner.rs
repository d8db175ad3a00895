//! The inner packet, as far as an appliance's rules look at it.

use std::net::{IpAddr, SocketAddr};

use super::wire;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// Addresses, protocol and ports of an inner packet, with the place of its
/// transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: u8,
    /// Zero for protocols without ports and for later fragments.
    pub(crate) sport: u16,
    pub(crate) dport: u16,
    /// Offset of the transport header; `None` for later fragments.
    pub(crate) l4: Option<usize>,
}

impl Inner {
    /// Reads a packet whose family GENEVE's protocol field names; `None` if it
    /// is cut short or of another family.
    pub(crate) fn parse(ethertype: u16, packet: &[u8]) -> Option<Self> {
        match ethertype {
            0x0800 => Self::parse_v4(packet),
            0x86dd => Self::parse_v6(packet),
            _ => None,
        }
    }

    fn parse_v4(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<20>()?;
        let header_len = usize::from(header[0] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || header_len < 20 || total < header_len || packet.len() < total {
            return None;
        }
        let offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
        let address = |at: usize| -> Option<IpAddr> {
            Some(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?.into())
        };
        Self {
            src: address(12)?,
            dst: address(16)?,
            protocol: header[9],
            sport: 0,
            dport: 0,
            l4: (offset == 0).then_some(header_len),
        }
        .with_ports(packet)
    }

    fn parse_v6(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<40>()?;
        let total = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 || packet.len() < total {
            return None;
        }
        let address = |at: usize| -> Option<IpAddr> {
            Some(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?.into())
        };
        let (mut next, mut at) = (header[6], 40);
        let mut l4 = None;
        // A chain longer than the packet ends the loop by running out of bytes.
        loop {
            match next {
                // Hop-by-hop, routing, destination options: length in 8 bytes.
                0 | 43 | 60 => {
                    let [following, len] = *packet.get(at..)?.first_chunk::<2>()?;
                    next = following;
                    at += 8 + usize::from(len) * 8;
                }
                44 => {
                    let fragment = packet.get(at..)?.first_chunk::<8>()?;
                    next = fragment[0];
                    at += 8;
                    if u16::from_be_bytes([fragment[2], fragment[3]]) & 0xfff8 != 0 {
                        break;
                    }
                }
                _ => {
                    l4 = Some(at);
                    break;
                }
            }
        }
        Self {
            src: address(8)?,
            dst: address(24)?,
            protocol: next,
            sport: 0,
            dport: 0,
            l4,
        }
        .with_ports(packet)
    }

    fn with_ports(mut self, packet: &[u8]) -> Option<Self> {
        if let Some(l4) = self.l4
            && matches!(self.protocol, TCP | UDP)
        {
            let ports = packet.get(l4..)?.first_chunk::<4>()?;
            self.sport = u16::from_be_bytes([ports[0], ports[1]]);
            self.dport = u16::from_be_bytes([ports[2], ports[3]]);
        }
        Some(self)
    }

    /// Names the flow, the same for both directions.
    pub(crate) fn flow(&self) -> (u8, SocketAddr, SocketAddr) {
        let src = SocketAddr::new(self.src, self.sport);
        let dst = SocketAddr::new(self.dst, self.dport);
        (self.protocol, src.min(dst), src.max(dst))
    }

    /// Writes a port at `offset` (0 source, 2 destination) of the transport
    /// header, and brings the checksum up to date (RFC 1624, equation 3).
    pub(crate) fn set_port(&self, packet: &mut [u8], offset: usize, port: u16) {
        let Some(l4) = self.l4 else { return };
        let checksum_at = l4 + if self.protocol == TCP { 16 } else { 6 };
        let Some(old) = replace_u16(packet, l4 + offset, port) else {
            return;
        };
        let Some(&[high, low]) = packet.get(checksum_at..).and_then(|b| b.first_chunk()) else {
            return;
        };
        let checksum = u16::from_be_bytes([high, low]);
        // UDP over IPv4 without a checksum stays without.
        if self.protocol == UDP && checksum == 0 {
            return;
        }
        let sum = u32::from(!checksum) + u32::from(!old) + u32::from(port);
        let updated = match !wire::sum(&[], sum) {
            0 if self.protocol == UDP => 0xffff,
            other => other,
        };
        replace_u16(packet, checksum_at, updated);
    }
}

/// Writes two bytes; returns what was there.
fn replace_u16(bytes: &mut [u8], at: usize, value: u16) -> Option<u16> {
    let field: &mut [u8; 2] = bytes.get_mut(at..)?.first_chunk_mut()?;
    let old = u16::from_be_bytes(*field);
    *field = value.to_be_bytes();
    Some(old)
}

/// A protocol's name, as rules and reports write it.
pub(crate) fn protocol_name(protocol: u8) -> String {
    match protocol {
        ICMP => "icmp".to_owned(),
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        ICMPV6 => "icmpv6".to_owned(),
        other => format!("proto-{other}"),
    }
}
