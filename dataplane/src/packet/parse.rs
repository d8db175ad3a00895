//! Parsing: from bytes to [`Headers`], every length proved once.
//!
//! `parse_ip` runs for every packet, so the common case (IPv4 without options,
//! TCP or UDP) is straight-line code: no allocation, no loop, and each bound is
//! checked by taking a fixed-size array. IPv6 extension headers, and packets
//! quoted in ICMP errors, are rare and share the code below it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum;
use super::headers::{FiveTuple, Fragment, Headers, protocol};
use crate::addr::Mac;
use crate::drop::DropReason;

/// EtherType values that a VPC carries.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// Length of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = 14;

/// Length of an IPv4 header without options.
pub const IPV4_LEN: usize = 20;

/// Length of the IPv6 base header.
pub const IPV6_LEN: usize = 40;

/// The Ethernet header.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------------------------------------------------------+
/// |                     destination address                       |
/// +                               +-------------------------------+
/// |                               |                               |
/// +-------------------------------+                               +
/// |                        source address                         |
/// +-------------------------------+-------------------------------+
/// |           EtherType           |  payload …
/// +-------------------------------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EthernetHeader {
    /// Destination address.
    pub dst: Mac,
    /// Source address.
    pub src: Mac,
    /// EtherType; a tagged frame shows its tag's (0x8100).
    pub ethertype: u16,
}

/// Parses the Ethernet header at the frame's start.
#[inline]
pub fn parse_ethernet(bytes: &[u8]) -> Result<EthernetHeader, DropReason> {
    let Some(&[a, b, c, d, e, f, g, h, i, j, k, l, m, n]) = bytes.first_chunk::<ETHERNET_LEN>()
    else {
        return Err(DropReason::MalformedFrame);
    };
    Ok(EthernetHeader {
        dst: Mac([a, b, c, d, e, f]),
        src: Mac([g, h, i, j, k, l]),
        ethertype: u16::from_be_bytes([m, n]),
    })
}

/// Parses the IP packet that starts `l3` bytes into `bytes`. Offsets in the
/// result count from the start of `bytes`; bytes after the packet (Ethernet
/// padding) are not part of it.
///
/// Checked: version, header length, total length against the bytes present,
/// the IPv4 header checksum, extension headers, and that the transport header
/// is there and sane. Not checked: the transport checksum.
#[inline]
pub fn parse_ip(bytes: &[u8], l3: usize) -> Result<Headers, DropReason> {
    match bytes.get(l3) {
        Some(first) if first >> 4 == 4 => ipv4::<false>(bytes, l3),
        Some(first) if first >> 4 == 6 => ipv6::<false>(bytes, l3),
        _ => Err(DropReason::MalformedIp),
    }
}

/// Parses the packet quoted in an ICMP error, which starts `l3` bytes into
/// `bytes`. It may be cut short after 8 bytes of its transport header, and its
/// IPv4 header checksum is not verified (routers on its way may have changed
/// fields). `ip_len` is what is present of it, not what its header says;
/// TCP flags are zero when they were cut off.
#[cold]
pub fn parse_quoted(bytes: &[u8], l3: usize) -> Option<Headers> {
    match bytes.get(l3)? >> 4 {
        4 => ipv4::<true>(bytes, l3).ok(),
        6 => ipv6::<true>(bytes, l3).ok(),
        _ => None,
    }
}

/// The packet quoted in the ICMP error with these headers: it ends where the error does,
/// whatever the frame has behind that (padding, or the rest of a tunnelled packet).
#[cold]
pub fn parse_quote_of(bytes: &[u8], error: &Headers) -> Option<Headers> {
    let end = usize::from(error.l3) + usize::try_from(error.ip_len).ok()?;
    let message = bytes.get(..end.min(bytes.len()))?;
    parse_quoted(message, usize::from(error.l4) + 8)
}

/// The bytes of a whole UDP datagram after its header, by its length field.
pub fn udp_payload<'a>(bytes: &'a [u8], headers: &Headers) -> Option<&'a [u8]> {
    if headers.tuple.protocol != protocol::UDP || headers.fragment != Fragment::Whole {
        return None;
    }
    let l4 = usize::from(headers.l4);
    let header = bytes.get(l4..)?.first_chunk::<8>()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    bytes.get(l4 + 8..l4 + length)
}

/// IPv4, RFC 791 §3.1.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------+-------+---------------+-------------------------------+
/// |Version|  IHL  |Type of service|          Total length         |
/// +-------+-------+---------------+-----+-------------------------+
/// |         Identification        |0|D|M|      Fragment offset    |
/// +---------------+---------------+-----+-------------------------+
/// |  Time to live |    Protocol   |        Header checksum        |
/// +---------------+---------------+-------------------------------+
/// |                        Source address                         |
/// +---------------------------------------------------------------+
/// |                      Destination address                      |
/// +---------------------------------------------------------------+
/// |                    Options, padded to 32 bits                 |
/// +---------------------------------------------------------------+
/// ```
#[inline]
fn ipv4<const QUOTED: bool>(bytes: &[u8], l3: usize) -> Result<Headers, DropReason> {
    let packet = bytes.get(l3..).unwrap_or_default();
    let base = packet
        .first_chunk::<IPV4_LEN>()
        .ok_or(DropReason::MalformedIp)?;
    let header_len = usize::from(base[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([base[2], base[3]]));
    let ip_len = if QUOTED {
        total_len.min(packet.len())
    } else {
        total_len
    };
    if header_len < IPV4_LEN || header_len > ip_len {
        return Err(DropReason::MalformedIp);
    }
    let payload = packet
        .get(header_len..ip_len)
        .ok_or(DropReason::MalformedIp)?;
    let sum = if header_len == IPV4_LEN {
        checksum::sum_chunk(base)
    } else {
        checksum::sum(packet.get(..header_len).unwrap_or_default())
    };
    if !QUOTED && sum != 0xffff {
        return Err(DropReason::MalformedIp);
    }

    let flags = u16::from_be_bytes([base[6], base[7]]);
    let fragment = if flags & 0x3fff == 0 {
        Fragment::Whole
    } else {
        fragment::<QUOTED>(flags & 0x2000 != 0, flags & 0x1fff, payload.len())?
    };
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *base;
    let transport = match fragment {
        Fragment::Later => Transport::default(),
        _ => transport::<QUOTED>(payload, base[9], fragment, true)?,
    };
    Ok(Headers {
        tuple: FiveTuple {
            src: IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)),
            dst: IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)),
            protocol: base[9],
            sport: transport.sport,
            dport: transport.dport,
        },
        l3: offset(l3)?,
        l4: offset(l3 + header_len)?,
        ip_len: u32::try_from(ip_len).map_err(|_| DropReason::MalformedIp)?,
        ttl: base[8],
        dont_fragment: flags & 0x4000 != 0,
        fragment,
        ip_id: u32::from(u16::from_be_bytes([base[4], base[5]])),
        tcp_flags: transport.tcp_flags,
        tcp_seq: transport.tcp_seq,
        icmp_type: transport.icmp_type,
        icmp_code: transport.icmp_code,
    })
}

/// IPv6, RFC 8200 §3.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------+---------------+---------------------------------------+
/// |Version| Traffic class |              Flow label               |
/// +-------+---------------+-------+---------------+---------------+
/// |         Payload length        |  Next header  |   Hop limit   |
/// +-------------------------------+---------------+---------------+
/// |                    Source address (16 bytes)                  |
/// +---------------------------------------------------------------+
/// |                 Destination address (16 bytes)                |
/// +---------------------------------------------------------------+
/// ```
fn ipv6<const QUOTED: bool>(bytes: &[u8], l3: usize) -> Result<Headers, DropReason> {
    let packet = bytes.get(l3..).unwrap_or_default();
    let base = packet
        .first_chunk::<IPV6_LEN>()
        .ok_or(DropReason::MalformedIp)?;
    let total_len = IPV6_LEN + usize::from(u16::from_be_bytes([base[4], base[5]]));
    let ip_len = if QUOTED {
        total_len.min(packet.len())
    } else {
        total_len
    };
    let after_base = packet
        .get(IPV6_LEN..ip_len)
        .ok_or(DropReason::MalformedIp)?;
    let chain = extensions::<QUOTED>(base[6], after_base)?;
    let payload = after_base.get(chain.len..).unwrap_or_default();
    let transport = match chain.fragment {
        Fragment::Later => Transport::default(),
        fragment => transport::<QUOTED>(payload, chain.protocol, fragment, false)?,
    };
    let (&[_, _, _, _, _, _, _, ttl], addresses) =
        base.split_first_chunk().unwrap_or((&[0; 8], &[]));
    let (src, rest) = addresses
        .split_first_chunk::<16>()
        .unwrap_or((&[0; 16], &[]));
    let dst = rest.first_chunk::<16>().unwrap_or(&[0; 16]);
    Ok(Headers {
        tuple: FiveTuple {
            src: IpAddr::V6(Ipv6Addr::from(*src)),
            dst: IpAddr::V6(Ipv6Addr::from(*dst)),
            protocol: chain.protocol,
            sport: transport.sport,
            dport: transport.dport,
        },
        l3: offset(l3)?,
        l4: offset(l3 + IPV6_LEN + chain.len)?,
        ip_len: u32::try_from(ip_len).map_err(|_| DropReason::MalformedIp)?,
        ttl,
        dont_fragment: true,
        fragment: chain.fragment,
        ip_id: chain.ip_id,
        tcp_flags: transport.tcp_flags,
        tcp_seq: transport.tcp_seq,
        icmp_type: transport.icmp_type,
        icmp_code: transport.icmp_code,
    })
}

/// Where a walk over IPv6 extension headers ended.
struct Chain {
    protocol: u8,
    /// Bytes of all extension headers.
    len: usize,
    fragment: Fragment,
    ip_id: u32,
}

/// Hop-by-hop options: only as the first extension header (RFC 8200 §4.1).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// Extension headers that one packet may have: RFC 8200 §4.1 recommends at
/// most seven, and a longer chain only costs the parser time.
const EXTENSIONS_MAX: usize = 8;

/// Walks hop-by-hop, routing, destination and fragment headers, RFC 8200 §4.
/// Any other next-header value ends the chain and is the packet's protocol.
///
/// ```text
/// +---------------+---------------+-------------------------------+
/// |  Next header  |  Length in 8  |  options or routing data …    |
/// +---------------+---------------+-------------------------+---+-+
/// |  Next header  |   reserved    |     Fragment offset     | 0 |M|
/// +---------------+---------------+-------------------------+---+-+
/// |                         Identification                        |
/// +---------------------------------------------------------------+
/// ```
fn extensions<const QUOTED: bool>(first: u8, bytes: &[u8]) -> Result<Chain, DropReason> {
    let mut chain = Chain {
        protocol: first,
        len: 0,
        fragment: Fragment::Whole,
        ip_id: 0,
    };
    for position in 0..EXTENSIONS_MAX {
        match chain.protocol {
            HOP_BY_HOP if position > 0 => return Err(DropReason::MalformedIp),
            HOP_BY_HOP | ROUTING | DESTINATION | FRAGMENT => {}
            _ => return Ok(chain),
        }
        let rest = bytes.get(chain.len..).unwrap_or_default();
        let header = rest.first_chunk::<8>().ok_or(DropReason::MalformedIp)?;
        let len = match chain.protocol {
            FRAGMENT => 8,
            _ => 8 + usize::from(header[1]) * 8,
        };
        let after = rest.get(len..).ok_or(DropReason::MalformedIp)?;
        if chain.protocol == FRAGMENT {
            let field = u16::from_be_bytes([header[2], header[3]]);
            chain.ip_id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            // Offset 0 without M is an "atomic fragment" (RFC 6946): a whole packet.
            if field & 0xfff9 != 0 {
                chain.fragment = fragment::<QUOTED>(field & 1 != 0, field >> 3, after.len())?;
            }
        }
        chain.protocol = header[0];
        chain.len += len;
        if chain.fragment == Fragment::Later {
            return Ok(chain);
        }
    }
    match chain.protocol {
        HOP_BY_HOP | ROUTING | DESTINATION | FRAGMENT => Err(DropReason::MalformedIp),
        _ => Ok(chain),
    }
}

/// Classifies a fragment; `offset` is in units of 8 bytes.
#[cold]
fn fragment<const QUOTED: bool>(
    more: bool,
    offset: u16,
    payload_len: usize,
) -> Result<Fragment, DropReason> {
    // Such a datagram could never be put together: longer than 65,535 bytes,
    // or with a hole after a fragment that is not the last (RFC 791 §3.2).
    let end = usize::from(offset) * 8 + payload_len;
    if !QUOTED && (end > 0xffff || (more && !payload_len.is_multiple_of(8))) {
        return Err(DropReason::MalformedIp);
    }
    Ok(if offset == 0 {
        Fragment::First
    } else {
        Fragment::Later
    })
}

/// What is read from a transport header.
#[derive(Default)]
struct Transport {
    sport: u16,
    dport: u16,
    tcp_flags: u8,
    tcp_seq: u32,
    icmp_type: u8,
    icmp_code: u8,
}

/// Reads ports, flags and types. TCP (RFC 9293 §3.1), UDP (RFC 768) and ICMP
/// echo (RFC 792, RFC 4443 §4.1) begin:
///
/// ```text
/// +-------------------------------+-------------------------------+
/// |          Source port          |       Destination port        |  TCP, UDP
/// +-------------------------------+-------------------------------+
/// |                        Sequence number                        |  TCP
/// +-------------------------------+-------------------------------+
/// |             Length            |            Checksum           |  UDP
/// +-------------------------------+-------------------------------+
///
/// +---------------+---------------+-------------------------------+
/// |      Type     |      Code     |            Checksum           |  ICMP
/// +---------------+---------------+-------------------------------+
/// |           Identifier          |        Sequence number        |  echo
/// +-------------------------------+-------------------------------+
/// ```
#[inline]
fn transport<const QUOTED: bool>(
    payload: &[u8],
    protocol: u8,
    fragment: Fragment,
    v4: bool,
) -> Result<Transport, DropReason> {
    let malformed = DropReason::MalformedTransport;
    let mut out = Transport::default();
    match protocol {
        protocol::TCP => {
            let start = payload.first_chunk::<8>().ok_or(malformed)?;
            out.sport = u16::from_be_bytes([start[0], start[1]]);
            out.dport = u16::from_be_bytes([start[2], start[3]]);
            out.tcp_seq = u32::from_be_bytes([start[4], start[5], start[6], start[7]]);
            match payload.first_chunk::<20>() {
                Some(header) => {
                    let header_len = usize::from(header[12] >> 4) * 4;
                    if !QUOTED && (header_len < 20 || header_len > payload.len()) {
                        return Err(malformed);
                    }
                    out.tcp_flags = header[13];
                }
                None if QUOTED => out.tcp_flags = payload.get(13).copied().unwrap_or(0),
                None => return Err(malformed),
            }
        }
        protocol::UDP => {
            let header = payload.first_chunk::<8>().ok_or(malformed)?;
            let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
            if length < 8 || (!QUOTED && fragment == Fragment::Whole && length > payload.len()) {
                return Err(malformed);
            }
            out.sport = u16::from_be_bytes([header[0], header[1]]);
            out.dport = u16::from_be_bytes([header[2], header[3]]);
        }
        // ICMP of the other family is an unknown protocol, never an ICMP message.
        protocol::ICMP if v4 => icmp(payload, [8, 0], &mut out)?,
        protocol::ICMPV6 if !v4 => icmp(payload, [128, 129], &mut out)?,
        _ => {}
    }
    Ok(out)
}

/// Ports of an echo request with identifier zero: no other has two ports.
const ECHO_ZERO: (u16, u16) = (1, 2);

/// The identifier of an echo request or reply, from its ports; of an ICMP message
/// of another type there is none.
pub const fn echo_identifier(tuple: &FiveTuple) -> Option<u16> {
    match (tuple.sport, tuple.dport) {
        (0, 0) => None,
        (1, 2) | (2, 1) => Some(0),
        (identifier, 0) | (0, identifier) => Some(identifier),
        _ => None,
    }
}

/// Reads an ICMP header, given the types of echo request and reply.
fn icmp(payload: &[u8], [request, reply]: [u8; 2], out: &mut Transport) -> Result<(), DropReason> {
    let header = payload
        .first_chunk::<8>()
        .ok_or(DropReason::MalformedTransport)?;
    out.icmp_type = header[0];
    out.icmp_code = header[1];
    // The identifier is the requester's port, so that a reply reverses its
    // request and another's request with the same identifier does not.
    let (asks, answers) = match u16::from_be_bytes([header[4], header[5]]) {
        // Zero would tell neither request from reply nor either from other types.
        0 => ECHO_ZERO,
        identifier => (identifier, 0),
    };
    if header[0] == request {
        (out.sport, out.dport) = (asks, answers);
    } else if header[0] == reply {
        (out.sport, out.dport) = (answers, asks);
    }
    Ok(())
}

/// An offset as `Headers` stores it.
#[inline]
fn offset(at: usize) -> Result<u16, DropReason> {
    u16::try_from(at).map_err(|_| DropReason::MalformedFrame)
}

#[cfg(test)]
mod tests;
