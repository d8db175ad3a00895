//! IPv6 neighbour discovery (RFC 4861): solicitations in, advertisements out.

use std::net::{IpAddr, Ipv6Addr};

use super::build::{Endpoints, finish, put_ip};
use super::checksum;
use super::frame::Frame;
use super::headers::{Fragment, Headers, protocol};
use crate::addr::{Mac, Prefix};
use crate::drop::DropReason;

/// ICMPv6 types of neighbour discovery.
pub mod nd_type {
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
}

/// ND messages have this hop limit, so that no router can have passed them on.
const HOP_LIMIT: u8 = 255;

const OPTION_SOURCE_LINK: u8 = 1;
const OPTION_TARGET_LINK: u8 = 2;
const OPTION_PREFIX: u8 = 3;
const OPTION_MTU: u8 = 5;

/// A neighbour solicitation, RFC 4861 §4.3.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------+---------------+-------------------------------+
/// |  type = 135   |   code = 0    |           checksum            |
/// +---------------+---------------+-------------------------------+
/// |                            reserved                           |
/// +---------------------------------------------------------------+
/// |                  target address (16 bytes)                    |
/// +---------------+---------------+-------------------------------+
/// |  option type  | length in 8 B |  source link-layer address …  |
/// +---------------+---------------+-------------------------------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborSolicitation {
    /// The address asked for.
    pub target: Ipv6Addr,
    /// Link-layer address of the sender.
    pub source_mac: Option<Mac>,
    /// Duplicate address detection: the sender has no address yet.
    pub is_dad: bool,
}

impl NeighborSolicitation {
    /// Parses and validates (§7.1.1) a packet whose ICMPv6 type is 135.
    pub fn parse(bytes: &[u8], headers: &Headers) -> Result<Self, DropReason> {
        Self::read(bytes, headers).ok_or(DropReason::MalformedNeighbor)
    }

    fn read(bytes: &[u8], headers: &Headers) -> Option<Self> {
        let message = message(bytes, headers, nd_type::NEIGHBOR_SOLICITATION)?;
        let (target, options) = message.get(8..)?.split_first_chunk::<16>()?;
        let target = Ipv6Addr::from(*target);
        let source_mac = link_option(options, OPTION_SOURCE_LINK)?;
        let is_dad = headers.tuple.src.is_unspecified();
        let to_target_group = headers.tuple.dst == IpAddr::V6(solicited_node(target));
        if target.is_multicast() || (is_dad && (source_mac.is_some() || !to_target_group)) {
            return None;
        }
        Some(Self {
            target,
            source_mac,
            is_dad,
        })
    }
}

/// A neighbour advertisement to write, RFC 4861 §4.4. The source MAC address
/// of `ends` is advertised as the target's link-layer address.
///
/// ```text
/// +---------------+---------------+-------------------------------+
/// |  type = 136   |   code = 0    |           checksum            |
/// +-+-+-+---------+---------------+-------------------------------+
/// |R|S|O|                        reserved                         |
/// +-+-+-+---------------------------------------------------------+
/// |                  target address (16 bytes)                    |
/// +---------------+---------------+-------------------------------+
/// |   type = 2    |    len = 1    |  target link-layer address …  |
/// +---------------+---------------+-------------------------------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborAdvertisement {
    /// Who answers whom.
    pub ends: Endpoints,
    /// The address that was asked for.
    pub target: Ipv6Addr,
    /// The target is a router.
    pub router: bool,
    /// This answers a solicitation from a known address.
    pub solicited: bool,
    /// Replace what the receiver has cached.
    pub replace: bool,
}

impl NeighborAdvertisement {
    /// The answer to a solicitation that came from `asker` in a packet with
    /// `headers`: `mac` has the target address. An asker that has no address
    /// yet is answered through the all-nodes group (§7.2.4).
    pub fn answer(
        request: &NeighborSolicitation,
        asker: Mac,
        headers: &Headers,
        mac: Mac,
        router: bool,
    ) -> Self {
        let (dst_mac, dst) = match request.is_dad {
            true => (ALL_NODES_MAC, IpAddr::V6(ALL_NODES)),
            false => (asker, headers.tuple.src),
        };
        Self {
            ends: Endpoints {
                src_mac: mac,
                dst_mac,
                src: request.target.into(),
                dst,
            },
            target: request.target,
            router,
            solicited: !request.is_dad,
            replace: true,
        }
    }

    /// Appends the message as a frame.
    pub fn write(&self, out: &mut Frame) {
        let flags = u8::from(self.router) << 7
            | u8::from(self.solicited) << 6
            | u8::from(self.replace) << 5;
        put_ip(out, &self.ends, protocol::ICMPV6, HOP_LIMIT, 32);
        out.extend(&[nd_type::NEIGHBOR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
        out.extend(&self.target.octets());
        put_link_option(out, OPTION_TARGET_LINK, self.ends.src_mac);
        finish(out);
    }
}

/// A router solicitation, RFC 4861 §4.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouterSolicitation {
    /// Link-layer address of the sender.
    pub source_mac: Option<Mac>,
}

impl RouterSolicitation {
    /// Parses and validates (§6.1.1) a packet whose ICMPv6 type is 133.
    pub fn parse(bytes: &[u8], headers: &Headers) -> Result<Self, DropReason> {
        Self::read(bytes, headers).ok_or(DropReason::MalformedNeighbor)
    }

    fn read(bytes: &[u8], headers: &Headers) -> Option<Self> {
        let message = message(bytes, headers, nd_type::ROUTER_SOLICITATION)?;
        let source_mac = link_option(message.get(8..)?, OPTION_SOURCE_LINK)?;
        if headers.tuple.src.is_unspecified() && source_mac.is_some() {
            return None;
        }
        Some(Self { source_mac })
    }
}

/// A router advertisement to write, RFC 4861 §4.2: addresses come from DHCPv6
/// (M set), never from the prefix.
///
/// ```text
/// +---------------+---------------+-------------------------------+
/// |  type = 134   |   code = 0    |           checksum            |
/// +---------------+-+-+-----------+-------------------------------+
/// | hop limit 64  |M|O| reserved  |   router lifetime (seconds)   |
/// +---------------+-+-+-----------+-------------------------------+
/// |                reachable time = 0 (unspecified)               |
/// +---------------------------------------------------------------+
/// |                 retrans timer = 0 (unspecified)               |
/// +---------------+---------------+-------------------------------+
/// | options: source link-layer address (1), MTU (5), prefix (3) …
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouterAdvertisement {
    /// The router (a link-local address) and the host, or all nodes.
    pub ends: Endpoints,
    /// How long the sender may serve as default router, in seconds.
    pub lifetime_s: u16,
    /// MTU of the link.
    pub mtu: u32,
    /// Prefix that is on the link; advertised without the autonomous bit, so
    /// no host makes itself an address of it.
    pub on_link: Option<Prefix>,
}

impl RouterAdvertisement {
    /// Appends the message as a frame.
    pub fn write(&self, out: &mut Frame) {
        let prefix = self.on_link.and_then(|prefix| match prefix.address() {
            IpAddr::V6(address) => Some((address, prefix.len())),
            IpAddr::V4(_) => None,
        });
        let len = 16 + 8 + 8 + if prefix.is_some() { 32 } else { 0 };
        put_ip(out, &self.ends, protocol::ICMPV6, HOP_LIMIT, len);
        out.extend(&[nd_type::ROUTER_ADVERTISEMENT, 0, 0, 0, 64, 0x80]);
        out.extend(&self.lifetime_s.to_be_bytes());
        out.extend(&[0; 8]);
        put_link_option(out, OPTION_SOURCE_LINK, self.ends.src_mac);
        out.extend(&[OPTION_MTU, 1, 0, 0]);
        out.extend(&self.mtu.to_be_bytes());
        if let Some((address, prefix_len)) = prefix {
            // L set, A clear; valid and preferred for ever.
            out.extend(&[OPTION_PREFIX, 4, prefix_len, 0x80]);
            out.extend(&[0xff; 8]);
            out.extend(&[0; 4]);
            out.extend(&address.octets());
        }
        finish(out);
    }
}

/// All nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The Ethernet group of [`ALL_NODES`] (RFC 2464 §7).
pub const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// The group that a solicitation for `target` is sent to (RFC 4291 §2.7.1).
pub const fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let (high, low) = (0xff00 | a as u16, (b as u16) << 8 | c as u16);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// The ICMPv6 message of a packet, if it passes the checks that all ND
/// messages share: hop limit, type, code, checksum.
fn message<'a>(bytes: &'a [u8], headers: &Headers, kind: u8) -> Option<&'a [u8]> {
    let valid = headers.tuple.protocol == protocol::ICMPV6
        && headers.fragment == Fragment::Whole
        && headers.ttl == HOP_LIMIT
        && (headers.icmp_type, headers.icmp_code) == (kind, 0)
        && checksum::verify_transport(bytes, headers);
    let end = usize::from(headers.l3) + usize::try_from(headers.ip_len).ok()?;
    let message = bytes.get(usize::from(headers.l4)..end)?;
    valid.then_some(message)
}

/// Finds a link-layer address option; `None` when the options are malformed.
fn link_option(mut options: &[u8], kind: u8) -> Option<Option<Mac>> {
    let mut found = None;
    while let &[option, len, ..] = options {
        let (value, rest) = options.split_at_checked(usize::from(len) * 8)?;
        // Zero length would never end; other lengths are not an Ethernet address.
        let &[_, _, ref body @ ..] = value else {
            return None;
        };
        if option == kind && found.is_none() {
            found = body.try_into().ok().map(Mac);
        }
        options = rest;
    }
    options.is_empty().then_some(found)
}

fn put_link_option(out: &mut Frame, kind: u8, mac: Mac) {
    out.extend(&[kind, 1]);
    out.extend(&mac.0);
}

#[cfg(test)]
mod tests;
