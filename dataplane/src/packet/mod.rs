//! Frames, parsed views and checksums.

pub mod checksum;
mod frame;
mod geneve;
mod headers;
mod parse;

pub use checksum::Delta;
pub use frame::{Checksum, Frame, FramePool, HEADROOM, Offload, Segmentation};
pub use geneve::{GENEVE_OUTER_LEN, GENEVE_PORT, GeneveOuter, GeneveView};
pub use headers::{FiveTuple, Fragment, Headers, protocol, tcp_flag};
pub use parse::{
    ETHERNET_LEN, EthernetHeader, IPV4_LEN, IPV6_LEN, ethertype, parse_ethernet, parse_ip,
    parse_quoted, udp_payload,
};
#[cfg(test)]
mod vectors;
