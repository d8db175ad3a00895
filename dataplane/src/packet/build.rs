//! Building packets from nothing: the headers that every generated packet has.
//!
//! Generated packets are rare (ARP, ND, ICMP errors, resets), so this code is
//! plain. Functions append to a frame that the caller took empty from its pool.

use std::net::IpAddr;

use super::checksum;
use super::field::{write, write16};
use super::frame::{Checksum, Frame};
use super::parse::{ETHERNET_LEN, IPV4_LEN, IPV6_LEN, ethertype, parse_ip};
use crate::addr::Mac;

/// TTL or hop limit of generated packets, unless a protocol demands another.
pub const TTL_DEFAULT: u8 = 64;

/// Source and destination of a generated frame, at both layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoints {
    /// Source MAC address.
    pub src_mac: Mac,
    /// Destination MAC address.
    pub dst_mac: Mac,
    /// Source address.
    pub src: IpAddr,
    /// Destination address; the same family as `src`.
    pub dst: IpAddr,
}

/// Appends an Ethernet header.
pub fn put_ethernet(out: &mut Frame, dst: Mac, src: Mac, ethertype: u16) {
    out.extend(&dst.0);
    out.extend(&src.0);
    out.extend(&ethertype.to_be_bytes());
}

/// Appends Ethernet and IP headers for `payload_len` bytes of `protocol`.
/// IPv4 has DF set and identification zero (an atomic datagram, RFC 6864).
/// Appends nothing when the families differ or the length does not fit.
pub fn put_ip(out: &mut Frame, ends: &Endpoints, protocol: u8, ttl: u8, payload_len: usize) {
    match (ends.src, ends.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let Ok(total_len) = u16::try_from(IPV4_LEN + payload_len) else {
                return;
            };
            let mut header = [0; IPV4_LEN];
            write(&mut header, 0, &[0x45]);
            write16(&mut header, 2, total_len);
            write(&mut header, 6, &[0x40, 0, ttl, protocol]);
            write(&mut header, 12, &src.octets());
            write(&mut header, 16, &dst.octets());
            checksum::fill_ipv4_header(&mut header);
            put_ethernet(out, ends.dst_mac, ends.src_mac, ethertype::IPV4);
            out.extend(&header);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let Ok(payload_len) = u16::try_from(payload_len) else {
                return;
            };
            let mut header = [0; IPV6_LEN];
            write(&mut header, 0, &[0x60]);
            write16(&mut header, 4, payload_len);
            write(&mut header, 6, &[protocol, ttl]);
            write(&mut header, 8, &src.octets());
            write(&mut header, 24, &dst.octets());
            put_ethernet(out, ends.dst_mac, ends.src_mac, ethertype::IPV6);
            out.extend(&header);
        }
        _ => {}
    }
}

/// Fills in the transport checksum of a frame that is complete but for it.
pub(super) fn finish(out: &mut Frame) {
    if let Ok(headers) = parse_ip(out.bytes(), ETHERNET_LEN) {
        checksum::fill_transport(out.bytes_mut(), &headers);
        out.offload.checksum = Checksum::Verified;
    }
}
