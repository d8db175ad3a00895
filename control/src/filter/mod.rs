//! Which packets to show: a small language, close to that of tcpdump.
//!
//! `docs/filters.md` says what may be written. A filter judges the headers of one
//! packet; captures, drops and flows use the same.

mod parse;

use std::net::IpAddr;

use vpclab_dataplane::addr::{EniId, Prefix};
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{
    ETHERNET_LEN, FiveTuple, Fragment, GENEVE_PORT, GeneveView, Headers, ethertype, parse_ethernet,
    parse_ip, protocol, udp_payload,
};

pub use parse::FilterError;

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// One of both, or both.
    Or(Box<Filter>, Box<Filter>),
    /// Both.
    And(Box<Filter>, Box<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// The packet within a GENEVE tunnel.
    Inner(Box<Filter>),
    /// One property.
    Test(Test),
}

/// Which end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The source.
    Source,
    /// The destination.
    Destination,
    /// One of both.
    Either,
}

/// A property of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// `ip`, `ip6`, `arp`: the type of frame.
    EtherType(u16),
    /// IP protocols.
    Protocol(Vec<u8>),
    /// GENEVE.
    Geneve,
    /// Ports from–to, inclusive.
    Ports(Side, u16, u16),
    /// Addresses in one of these blocks.
    Net(Side, Vec<Prefix>),
    /// All these TCP flags.
    Flags(u8),
    /// At most so many bytes of frame.
    Less(u32),
    /// At least so many.
    Greater(u32),
    /// Dropped, for this reason or any.
    Dropped(Option<DropReason>),
    /// At one of these interfaces.
    At(Vec<EniId>),
}

/// What names mean in a filter.
pub trait Names {
    /// The addresses of a host, endpoint or load balancer.
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>>;
    /// The interfaces of a host, endpoint or load balancer, or one by its id.
    fn interfaces(&self, name: &str) -> Option<Vec<EniId>>;
}

/// A packet as filters see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet {
    /// At which interface.
    pub eni: EniId,
    /// Bytes of the frame.
    pub len: u32,
    /// Type of the frame.
    pub ethertype: u16,
    /// Addresses and ports; none unless it is IP.
    pub tuple: Option<FiveTuple>,
    /// TCP flags.
    pub tcp_flags: u8,
    /// Whether it begins with ports (later fragments do not).
    pub has_ports: bool,
    /// The packet in the tunnel.
    pub inner: Option<(FiveTuple, u8)>,
    /// Why it was dropped, if it was.
    pub dropped: Option<DropReason>,
}

impl Packet {
    /// A frame at an interface.
    pub fn of_frame(eni: EniId, bytes: &[u8], dropped: Option<DropReason>) -> Self {
        let mut packet = Self {
            eni,
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            dropped,
            ..Self::default()
        };
        let Ok(ethernet) = parse_ethernet(bytes) else {
            return packet;
        };
        packet.ethertype = ethernet.ethertype;
        if !matches!(ethernet.ethertype, ethertype::IPV4 | ethertype::IPV6) {
            return packet;
        }
        if let Ok(headers) = parse_ip(bytes, ETHERNET_LEN) {
            packet.tuple = Some(headers.tuple);
            packet.tcp_flags = headers.tcp_flags;
            packet.has_ports = headers.fragment != Fragment::Later;
            packet.inner = inner(bytes, &headers);
        }
        packet
    }

    /// What one end of a flow sends, without a frame.
    pub fn of_tuple(eni: EniId, tuple: FiveTuple) -> Self {
        Self {
            eni,
            ethertype: if tuple.src.is_ipv4() {
                ethertype::IPV4
            } else {
                ethertype::IPV6
            },
            tuple: Some(tuple),
            has_ports: true,
            ..Self::default()
        }
    }
}

fn inner(bytes: &[u8], headers: &Headers) -> Option<(FiveTuple, u8)> {
    let tuple = &headers.tuple;
    if tuple.protocol != protocol::UDP || tuple.dport != GENEVE_PORT {
        return None;
    }
    let geneve = GeneveView::parse(udp_payload(bytes, headers)?).ok()?;
    let inner = parse_ip(bytes, usize::from(headers.l4) + 8 + geneve.header_len()).ok()?;
    Some((inner.tuple, inner.tcp_flags))
}

impl Filter {
    /// Reads a filter; `names` says what names in it mean.
    ///
    /// # Errors
    /// What is not understood, and what could stand there.
    pub fn parse(text: &str, names: &dyn Names) -> Result<Self, FilterError> {
        parse::parse(text, names)
    }

    /// Whether the packet is wanted.
    pub fn wants(&self, packet: &Packet) -> bool {
        match self {
            Self::Or(a, b) => a.wants(packet) || b.wants(packet),
            Self::And(a, b) => a.wants(packet) && b.wants(packet),
            Self::Not(it) => !it.wants(packet),
            Self::Inner(it) => packet.inner.is_some_and(|(tuple, tcp_flags)| {
                it.wants(&Packet {
                    tcp_flags,
                    inner: None,
                    len: packet.len,
                    dropped: packet.dropped,
                    ..Packet::of_tuple(packet.eni, tuple)
                })
            }),
            Self::Test(test) => test.holds(packet),
        }
    }
}

impl Test {
    fn holds(&self, packet: &Packet) -> bool {
        let tuple = packet.tuple.as_ref();
        match self {
            Self::EtherType(wanted) => packet.ethertype == *wanted,
            Self::Protocol(wanted) => tuple.is_some_and(|it| wanted.contains(&it.protocol)),
            Self::Geneve => {
                tuple.is_some_and(|it| it.protocol == protocol::UDP && it.dport == GENEVE_PORT)
            }
            Self::Ports(side, from, to) => {
                let in_range = |port: u16| (*from..=*to).contains(&port);
                let has_ports =
                    |it: &&FiveTuple| matches!(it.protocol, protocol::TCP | protocol::UDP);
                packet.has_ports
                    && tuple
                        .filter(has_ports)
                        .is_some_and(|it| side.any(it.sport, it.dport, in_range))
            }
            Self::Net(side, blocks) => {
                let inside = |address| blocks.iter().any(|block| block.contains(address));
                tuple.is_some_and(|it| side.any(it.src, it.dst, inside))
            }
            Self::Flags(wanted) => {
                tuple.is_some_and(|it| it.protocol == protocol::TCP)
                    && packet.tcp_flags & wanted == *wanted
            }
            Self::Less(bytes) => packet.len <= *bytes,
            Self::Greater(bytes) => packet.len >= *bytes,
            Self::Dropped(None) => packet.dropped.is_some(),
            Self::Dropped(wanted) => packet.dropped == *wanted,
            Self::At(enis) => enis.contains(&packet.eni),
        }
    }
}

impl Side {
    fn any<T>(self, source: T, destination: T, holds: impl Fn(T) -> bool) -> bool {
        match self {
            Self::Source => holds(source),
            Self::Destination => holds(destination),
            Self::Either => holds(source) || holds(destination),
        }
    }
}

#[cfg(test)]
mod tests;
