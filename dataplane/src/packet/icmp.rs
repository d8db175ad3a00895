//! ICMP (RFC 792, RFC 1812) and ICMPv6 (RFC 4443) messages that routers write.

use super::build::{Endpoints, TTL_DEFAULT, finish, put_ip};
use super::checksum;
use super::field::write;
use super::frame::{Checksum, Frame};
use super::headers::{Fragment, Headers, protocol};
use super::parse::{IPV4_LEN, IPV6_LEN};

/// An ICMP error to send.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------+---------------+-------------------------------+
/// |     type      |     code      |           checksum            |
/// +---------------+---------------+-------------------------------+
/// |   rest: zero; next-hop MTU of "too big" (v4: low 16 bits)     |
/// +---------------------------------------------------------------+
/// |  the packet in error, from its IP header on …
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// Message type, of the family of the packet in error.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Second word.
    pub rest: u32,
}

impl IcmpError {
    /// The packet is too big for the next hop: fragmentation needed (3/4) or
    /// packet too big (2/0).
    pub fn too_big(headers: &Headers, mtu: u32) -> Self {
        if headers.is_ipv4() {
            Self::new(3, 4, mtu.min(0xffff))
        } else {
            Self::new(2, 0, mtu)
        }
    }

    /// The TTL ran out in transit: 11/0 or 3/0.
    pub fn time_exceeded(headers: &Headers) -> Self {
        Self::new(if headers.is_ipv4() { 11 } else { 3 }, 0, 0)
    }

    /// No route to the destination: 3/0 or 1/0.
    pub fn no_route(headers: &Headers) -> Self {
        Self::new(if headers.is_ipv4() { 3 } else { 1 }, 0, 0)
    }

    /// The destination host cannot be reached: 3/1 or 1/3.
    pub fn host_unreachable(headers: &Headers) -> Self {
        match headers.is_ipv4() {
            true => Self::new(3, 1, 0),
            false => Self::new(1, 3, 0),
        }
    }

    /// Nothing listens on the port: 3/3 or 1/4.
    pub fn port_unreachable(headers: &Headers) -> Self {
        match headers.is_ipv4() {
            true => Self::new(3, 3, 0),
            false => Self::new(1, 4, 0),
        }
    }

    const fn new(kind: u8, code: u8, rest: u32) -> Self {
        Self { kind, code, rest }
    }

    /// Appends the error as a frame. It quotes `bytes`, parsed as `headers`:
    /// as much as fits into 576 bytes of IPv4 (RFC 1812 §4.3.2.3) or 1280 of
    /// IPv6 (RFC 4443 §2.4). Partial checksums should be completed before, or
    /// they are quoted as they are.
    pub fn write(&self, out: &mut Frame, ends: &Endpoints, bytes: &[u8], headers: &Headers) {
        let (proto, room) = match headers.is_ipv4() {
            true => (protocol::ICMP, 576 - IPV4_LEN - 8),
            false => (protocol::ICMPV6, 1280 - IPV6_LEN - 8),
        };
        let packet = bytes.get(usize::from(headers.l3)..).unwrap_or_default();
        let len = usize::try_from(headers.ip_len).unwrap_or(usize::MAX);
        let quoted = packet
            .get(..len.min(room).min(packet.len()))
            .unwrap_or_default();
        put_ip(out, ends, proto, TTL_DEFAULT, 8 + quoted.len());
        out.extend(&[self.kind, self.code, 0, 0]);
        out.extend(&self.rest.to_be_bytes());
        out.extend(quoted);
        finish(out);
    }
}

/// Whether a packet may cause an ICMP error at all (RFC 1812 §4.3.2.7,
/// RFC 4443 §2.4 (e)): not an ICMP error, not a later fragment, not to or from
/// a group, and from one sender. "Too big" for IPv6 groups is not made either:
/// a VPC carries unicast only.
pub fn may_cause_error(headers: &Headers) -> bool {
    let tuple = &headers.tuple;
    let broadcast = |address| address == std::net::IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    let of_group = tuple.src.is_multicast() || tuple.dst.is_multicast();
    let to_all = broadcast(tuple.src) || broadcast(tuple.dst);
    let of_nobody = tuple.src.is_unspecified() || tuple.src.is_loopback();
    let is_later = headers.fragment == Fragment::Later;
    !(headers.is_icmp_error() || is_later || of_group || to_all || of_nobody)
}

/// Turns an echo request, in place, into the reply that its destination sends:
/// MAC and IP addresses swapped, TTL fresh. False (and nothing done) if the
/// frame is not a whole echo request.
pub fn echo_reply(frame: &mut Frame, headers: &Headers) -> bool {
    let (request, reply) = match headers.tuple.protocol {
        protocol::ICMP => (8u8, 0u8),
        protocol::ICMPV6 => (128, 129),
        _ => return false,
    };
    if (headers.icmp_type, headers.icmp_code) != (request, 0)
        || headers.fragment != Fragment::Whole
        || usize::from(headers.l3) < 12
    {
        return false;
    }
    let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
    let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
    let bytes = frame.bytes_mut();
    swap(bytes, 0, 6);
    if headers.is_ipv4() {
        swap(bytes, l3 + 12, 4);
        write(bytes, l3 + 8, &[TTL_DEFAULT]);
        if let Some(header) = bytes.get_mut(l3..l4) {
            checksum::fill_ipv4_header(header);
        }
    } else {
        swap(bytes, l3 + 8, 16);
        write(bytes, l3 + 7, &[TTL_DEFAULT]);
    }
    write(bytes, l4, &[reply]);
    // Swapped addresses do not change the pseudo-header's sum, so a partial
    // checksum stays as it is. A full one is computed afresh, not changed
    // incrementally: a message of zeros has a checksum that no delta gives.
    if !partial {
        checksum::fill_transport(bytes, headers);
    }
    true
}

/// Swaps two neighbouring fields of `len` bytes each.
fn swap(bytes: &mut [u8], at: usize, len: usize) {
    if let Some(fields) = bytes.get_mut(at..at + 2 * len) {
        fields.rotate_left(len);
    }
}

#[cfg(test)]
mod tests;
