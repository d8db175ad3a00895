//! Kinds of packets: family and transport.

use std::fmt;
use std::net::IpAddr;

use vpclab_dataplane::packet::protocol;

use super::Size;

/// A family and a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP over IPv4.
    Tcp4,
    /// UDP over IPv4.
    Udp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over IPv6.
    Udp6,
}

impl Kind {
    /// All of them; the first is measured most thoroughly.
    pub const ALL: [Self; 4] = [Self::Tcp4, Self::Udp4, Self::Tcp6, Self::Udp6];

    /// Whether it is IPv6.
    pub const fn is_v6(self) -> bool {
        matches!(self, Self::Tcp6 | Self::Udp6)
    }

    /// IP protocol number.
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Tcp4 | Self::Tcp6 => protocol::TCP,
            Self::Udp4 | Self::Udp6 => protocol::UDP,
        }
    }

    /// What topology files call the transport.
    pub const fn transport(self) -> &'static str {
        match self {
            Self::Tcp4 | Self::Tcp6 => "tcp",
            Self::Udp4 | Self::Udp6 => "udp",
        }
    }

    /// Whether an address is of its family.
    pub const fn has(self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_v6()
    }

    /// A key of a topology file with an IPv6 block, after others; nothing for IPv4.
    pub(super) fn block(self, block: &str) -> String {
        if self.is_v6() {
            format!(", ipv6: '{block}'")
        } else {
            String::new()
        }
    }

    /// The size, or as much as its headers need: 74 bytes for TCP over IPv6. (UDP's
    /// payload carries the packet's number: four bytes.)
    pub fn at_least(self, size: Size) -> Size {
        let least = match self {
            Self::Tcp6 => 74,
            Self::Udp6 => 66,
            Self::Tcp4 | Self::Udp4 => 64,
        };
        match size {
            Size::Bytes(bytes) => Size::Bytes(bytes.max(least)),
            Size::Imix => Size::Imix,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp4 => "tcp4",
            Self::Udp4 => "udp4",
            Self::Tcp6 => "tcp6",
            Self::Udp6 => "udp6",
        })
    }
}
