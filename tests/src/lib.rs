//! What the tests of whole labs share: a lab made from a topology text, with
//! the ids behind its names, and hand-made packets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: what goes wrong here is the test's failure"
)]

pub mod packet;
pub mod world;

pub use packet::{Packet, Seen};
pub use world::World;

use std::net::IpAddr;

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::time::Duration;

/// An address.
///
/// # Panics
/// If it is none.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A block.
///
/// # Panics
/// If it is none.
pub fn cidr(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// So many seconds.
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
