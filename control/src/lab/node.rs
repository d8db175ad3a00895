//! Programs that live on a simulated host below its TCP/IP: appliances, routers.

use vpclab_dataplane::addr::Mac;
use vpclab_dataplane::time::Instant;

/// Something behind an interface that sees frames before the host's own stack:
/// an appliance, a router, a protocol under test.
///
/// Sans-IO: frames out are pushed to `out`, time comes as an argument.
pub trait Node {
    /// A frame arrived. True when the node took it; false leaves it to the
    /// host's stack, which answers ARP, pings and TCP for the node.
    fn receive(&mut self, now: Instant, frame: &[u8], out: &mut Vec<Vec<u8>>) -> bool;

    /// Called when [`Node::next_deadline`] is reached.
    fn poll(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        let _ = (now, out);
    }

    /// When the node next wants to act by itself.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }
}

/// A router appliance: sends every IPv4 or IPv6 packet that is not for its own
/// addresses back to the VPC router, one hop older, like a Linux instance with
/// forwarding on.
#[derive(Debug)]
pub struct Forwarder {
    own: Vec<std::net::IpAddr>,
    mac: Mac,
    /// Packets sent on.
    pub forwarded: u64,
}

impl Forwarder {
    /// A router on an interface with this MAC and these addresses.
    pub fn new(mac: Mac, own: Vec<std::net::IpAddr>) -> Self {
        Self {
            own,
            mac,
            forwarded: 0,
        }
    }
}

impl Node for Forwarder {
    fn receive(&mut self, _: Instant, frame: &[u8], out: &mut Vec<Vec<u8>>) -> bool {
        let Some(destination) = destination(frame) else {
            return false;
        };
        if self.own.contains(&destination)
            || frame.get(..6) != Some(&self.mac.0)
            || is_link_scope(destination)
        {
            return false;
        }
        let mut reply = frame.to_vec();
        if !age(&mut reply) {
            return true;
        }
        // Back to whoever brought it: the VPC router.
        reply.copy_within(6..12, 0);
        if let Some(source) = reply.get_mut(6..12) {
            source.copy_from_slice(&self.mac.0);
        }
        self.forwarded += 1;
        out.push(reply);
        true
    }
}

/// Destination address of the IP packet in an Ethernet frame.
pub(crate) fn destination(frame: &[u8]) -> Option<std::net::IpAddr> {
    match frame.get(12..14)? {
        [0x08, 0x00] => Some(<[u8; 4]>::try_from(frame.get(30..34)?).ok()?.into()),
        [0x86, 0xdd] => Some(<[u8; 16]>::try_from(frame.get(38..54)?).ok()?.into()),
        _ => None,
    }
}

fn is_link_scope(address: std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(a) => a.is_multicast() || a.is_broadcast(),
        std::net::IpAddr::V6(a) => a.is_multicast() || a.is_unicast_link_local(),
    }
}

/// Takes one from the TTL or hop limit; false when none is left.
fn age(frame: &mut [u8]) -> bool {
    let v4 = frame.get(12..14) == Some(&[0x08, 0x00]);
    let at = if v4 { 22 } else { 21 };
    let Some(ttl) = frame.get_mut(at) else {
        return false;
    };
    if *ttl <= 1 {
        return false;
    }
    *ttl -= 1;
    if v4 {
        let header_len = frame.get(14).map_or(20, |b| usize::from(b & 0xf) * 4);
        if let Some(header) = frame.get_mut(14..14 + header_len) {
            crate::appliance::wire::fill_ipv4_checksum(header);
        }
    }
    true
}
