//! Frames, parsed views, builders and checksums: everything about bytes.
//!
//! [`parse_ethernet`] and [`parse_ip`] prove lengths once; what comes after
//! works on [`Headers`]. Code that only rare packets need (neighbours, ICMP
//! errors, resets, segmentation) writes into frames that the caller provides.

mod arp;
mod build;
pub mod checksum;
mod field;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod geneve;
mod headers;
mod icmp;
mod join;
mod nd;
mod parse;
mod proxy;
mod resequence;
mod segment;
mod tcp;
mod train;

pub use arp::Arp;
pub use build::{Endpoints, TTL_DEFAULT, put_ethernet, put_ip};
pub use checksum::Delta;
pub use frame::{Checksum, Frame, FramePool, HEADROOM, Offload, Segmentation};
pub(crate) use geneve::{GENEVE_LEN, usual_marks};
pub use geneve::{GENEVE_OUTER_LEN, GENEVE_PORT, GeneveOuter, GeneveTemplate, GeneveView};
pub use headers::{FiveTuple, Fragment, Headers, protocol, tcp_flag};
pub use icmp::{IcmpError, echo_reply, may_cause_error};
pub use join::Joined;
pub use nd::{
    ALL_NODES, ALL_NODES_MAC, NeighborAdvertisement, NeighborSolicitation, RouterAdvertisement,
    RouterSolicitation, nd_type, solicited_node,
};
pub use parse::{
    ETHERNET_LEN, EthernetHeader, IPV4_LEN, IPV6_LEN, echo_identifier, ethertype, parse_ethernet,
    parse_ip, parse_quote_of, parse_quoted, udp_payload,
};
pub use proxy::{PROXY_HEADER_MAX, PROXY_LOCAL, ProxyHeader, ProxySegment};
pub(crate) use resequence::SACK;
pub use resequence::{TcpHints, TcpNumbers, map_quoted, map_sack, strip_fast_open};
pub use segment::{fragment_ipv4, segment};
pub use tcp::{TcpOption, TcpOptions, TcpReset, clamp_mss};
pub use train::Train;

#[cfg(test)]
mod vectors;
