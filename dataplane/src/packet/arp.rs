//! ARP (RFC 826) over Ethernet and IPv4.

use std::net::Ipv4Addr;

use super::build::put_ethernet;
use super::frame::Frame;
use super::parse::ethertype;
use crate::addr::Mac;
use crate::drop::DropReason;

/// An ARP message.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------------------------------+-------------------------------+
/// |     hardware type = 1         |    protocol type = 0x0800     |
/// +---------------+---------------+-------------------------------+
/// |  hw len = 6   | proto len = 4 |   operation: 1 ask, 2 reply   |
/// +---------------+---------------+-------------------------------+
/// |                    sender hardware address                    |
/// +                               +-------------------------------+
/// |                               |  sender protocol address …    |
/// +-------------------------------+-------------------------------+
/// |  … sender protocol address    |                               |
/// +-------------------------------+                               +
/// |                    target hardware address                    |
/// +---------------------------------------------------------------+
/// |                    target protocol address                    |
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// Whether this is a request; otherwise it is a reply.
    pub is_request: bool,
    /// Sender's MAC address.
    pub sender_mac: Mac,
    /// Sender's address; 0.0.0.0 in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// Target's MAC address; zero in a request.
    pub target_mac: Mac,
    /// The address asked for.
    pub target_ip: Ipv4Addr,
}

/// What precedes the operation: Ethernet and IPv4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

impl Arp {
    /// Parses the message that starts `l3` bytes into `bytes`.
    pub fn parse(bytes: &[u8], l3: usize) -> Result<Self, DropReason> {
        Self::read(bytes.get(l3..).unwrap_or_default()).ok_or(DropReason::MalformedNeighbor)
    }

    fn read(message: &[u8]) -> Option<Self> {
        let rest = message.strip_prefix(&ETHERNET_IPV4)?;
        let (operation, rest) = rest.split_first_chunk::<2>()?;
        let (&sender_mac, rest) = rest.split_first_chunk::<6>()?;
        let (&sender_ip, rest) = rest.split_first_chunk::<4>()?;
        let (&target_mac, rest) = rest.split_first_chunk::<6>()?;
        let &target_ip = rest.first_chunk::<4>()?;
        Some(Self {
            is_request: match u16::from_be_bytes(*operation) {
                1 => true,
                2 => false,
                _ => return None,
            },
            sender_mac: Mac(sender_mac),
            sender_ip: sender_ip.into(),
            target_mac: Mac(target_mac),
            target_ip: target_ip.into(),
        })
    }

    /// Whether the sender announces its own address instead of asking.
    pub fn is_gratuitous(&self) -> bool {
        self.sender_ip == self.target_ip
    }

    /// The reply to this request: `mac` has the address asked for.
    #[must_use]
    pub const fn reply(&self, mac: Mac) -> Self {
        Self {
            is_request: false,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// Appends the message as a frame to `dst`.
    pub fn write(&self, out: &mut Frame, dst: Mac) {
        put_ethernet(out, dst, self.sender_mac, ethertype::ARP);
        out.extend(&ETHERNET_IPV4);
        out.extend(&[0, if self.is_request { 1 } else { 2 }]);
        out.extend(&self.sender_mac.0);
        out.extend(&self.sender_ip.octets());
        out.extend(&self.target_mac.0);
        out.extend(&self.target_ip.octets());
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket};

    use super::super::parse::ETHERNET_LEN;
    use super::*;

    fn request() -> Arp {
        Arp {
            is_request: true,
            sender_mac: Mac([2, 0, 0, 0, 0, 1]),
            sender_ip: Ipv4Addr::new(10, 0, 1, 10),
            target_mac: Mac::default(),
            target_ip: Ipv4Addr::new(10, 0, 1, 20),
        }
    }

    #[test]
    fn request_and_reply_read_the_same_as_etherparse() {
        let answerer = Mac([2, 0, 0, 0, 0, 9]);
        for (arp, operation) in [(request(), 1), (request().reply(answerer), 2)] {
            let mut frame = Frame::with_capacity(64);
            arp.write(&mut frame, Mac([2, 0, 0, 0, 0, 7]));
            assert_eq!(Arp::parse(frame.bytes(), ETHERNET_LEN), Ok(arp));
            let sliced = SlicedPacket::from_ethernet(frame.bytes()).unwrap();
            let Some(NetSlice::Arp(theirs)) = sliced.net else {
                panic!("not ARP: {sliced:?}");
            };
            assert_eq!(theirs.operation().0, operation);
            assert_eq!(theirs.sender_hw_addr(), arp.sender_mac.0);
            assert_eq!(theirs.sender_protocol_addr(), arp.sender_ip.octets());
            assert_eq!(theirs.target_hw_addr(), arp.target_mac.0);
            assert_eq!(theirs.target_protocol_addr(), arp.target_ip.octets());
        }
        let reply = request().reply(answerer);
        assert_eq!(
            (reply.sender_mac, reply.sender_ip, reply.target_mac),
            (answerer, request().target_ip, request().sender_mac)
        );
    }

    #[test]
    fn other_messages_are_malformed() {
        let mut frame = Frame::with_capacity(64);
        request().write(&mut frame, Mac::BROADCAST);
        let good = frame.bytes().to_vec();
        for at in [14, 15, 16, 17, 18, 19, 20, 21] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            let parsed = Arp::parse(&bad, ETHERNET_LEN);
            assert_eq!(parsed, Err(DropReason::MalformedNeighbor), "byte {at}");
        }
        for len in 0..good.len() {
            let parsed = Arp::parse(&good[..len], ETHERNET_LEN);
            assert_eq!(parsed, Err(DropReason::MalformedNeighbor), "length {len}");
        }
    }

    #[test]
    fn announcements_are_gratuitous() {
        let mut arp = request();
        assert!(!arp.is_gratuitous());
        arp.target_ip = arp.sender_ip;
        assert!(arp.is_gratuitous());
    }
}
