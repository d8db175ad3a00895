//! What the data plane needs to know of one packet: the result of parsing.

use std::net::IpAddr;

/// IP protocol numbers that the data plane treats specially.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// TCP flag bits.
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// The receiver should not wait for more before it hands the data on.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field counts.
    pub const ACK: u8 = 0x10;
}

/// Addresses, protocol and ports of a packet, as it travels.
///
/// An ICMP echo request carries its identifier as source port, a reply as
/// destination port: so the reply's tuple is the request's reversed, and a
/// request of the other side is no reply. Identifier zero, which would not tell
/// them apart, has two ports that no other has. Other portless packets carry zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FiveTuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address; the same family as `src`.
    pub dst: IpAddr,
    /// IP protocol (the last next-header of IPv6).
    pub protocol: u8,
    /// Source port, host order.
    pub sport: u16,
    /// Destination port, host order.
    pub dport: u16,
}

impl std::hash::Hash for FiveTuple {
    /// Two words of an IPv4 tuple, five of others.
    #[inline]
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                state.write_u64(u64::from(src.to_bits()) << 32 | u64::from(dst.to_bits()));
            }
            (src, dst) => [src, dst].hash(state),
        }
        let ports = u64::from(self.sport) << 16 | u64::from(self.dport);
        state.write_u64(u64::from(self.protocol) << 32 | ports);
    }
}

impl FiveTuple {
    /// The tuple of a packet that answers this one.
    pub const fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            protocol: self.protocol,
            sport: self.dport,
            dport: self.sport,
        }
    }
}

impl std::fmt::Display for FiveTuple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.protocol {
            protocol::TCP | protocol::UDP => {
                let name = if self.protocol == protocol::TCP {
                    "tcp"
                } else {
                    "udp"
                };
                let src = std::net::SocketAddr::new(self.src, self.sport);
                let dst = std::net::SocketAddr::new(self.dst, self.dport);
                write!(f, "{name} {src} > {dst}")
            }
            protocol::ICMP | protocol::ICMPV6 => write!(f, "icmp {} > {}", self.src, self.dst),
            other => write!(f, "proto-{other} {} > {}", self.src, self.dst),
        }
    }
}

/// Where a packet stands in a fragmented datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fragment {
    /// Not fragmented.
    #[default]
    Whole,
    /// The first fragment: it has the transport header (if it is long enough).
    First,
    /// A later fragment: no transport header, ports are zero.
    Later,
}

/// One IP packet within a frame, parsed and bounds-checked once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headers {
    /// Addresses, protocol, ports.
    pub tuple: FiveTuple,
    /// Offset of the IP header from the frame's start.
    pub l3: u16,
    /// Offset of the transport header (or of the payload of a later fragment).
    pub l4: u16,
    /// Length of the IP packet: the IPv4 total length, or 40 + the IPv6 payload
    /// length; at most what the frame holds after `l3`.
    pub ip_len: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv4 don't-fragment bit; always true for IPv6.
    pub dont_fragment: bool,
    /// Place in a fragmented datagram.
    pub fragment: Fragment,
    /// IPv4 identification or the identification of the IPv6 fragment header.
    pub ip_id: u32,
    /// TCP flags; zero for other protocols and later fragments.
    pub tcp_flags: u8,
    /// TCP sequence number; zero for other protocols.
    pub tcp_seq: u32,
    /// ICMP or ICMPv6 type; zero for other protocols.
    pub icmp_type: u8,
    /// ICMP or ICMPv6 code.
    pub icmp_code: u8,
}

impl Headers {
    /// The headers of a packet that was never on a wire: a trace's, a test's.
    pub const fn synthetic(tuple: FiveTuple) -> Self {
        Self {
            tuple,
            l3: 14,
            l4: 34,
            ip_len: 40,
            ttl: 64,
            dont_fragment: true,
            fragment: Fragment::Whole,
            ip_id: 0,
            tcp_flags: 0,
            tcp_seq: 0,
            icmp_type: 0,
            icmp_code: 0,
        }
    }

    /// Whether this is a TCP packet that opens a connection (SYN without ACK).
    pub const fn is_tcp_open(&self) -> bool {
        self.tuple.protocol == protocol::TCP
            && self.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN
    }

    /// Whether this is an ICMP or ICMPv6 error message, which quotes a packet.
    pub const fn is_icmp_error(&self) -> bool {
        match self.tuple.protocol {
            protocol::ICMP => matches!(self.icmp_type, 3 | 4 | 5 | 11 | 12),
            protocol::ICMPV6 => matches!(self.icmp_type, 1..=4),
            _ => false,
        }
    }

    /// Whether the addresses are IPv4.
    pub const fn is_ipv4(&self) -> bool {
        self.tuple.src.is_ipv4()
    }
}
