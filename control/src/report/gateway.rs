//! Published ports and the uplink, as `ps` and `inspect` show them.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The way to and from the real network of this machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayReport {
    /// Whether public addresses that nobody in the lab has are reached on the
    /// real network.
    pub uplink: bool,
    /// Ports of this machine that lead to hosts.
    pub published: Vec<PublishedReport>,
    /// TCP connections under way.
    pub tcp: u64,
    /// UDP and echo conversations under way.
    pub datagrams: u64,
    /// Connections and conversations that were refused, or forgotten to make
    /// room, because there were too many.
    pub no_room: u64,
    /// Packets that were not let out: to an address of this machine itself, or
    /// of a kind that the gateway does not carry.
    pub not_carried: u64,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedReport {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Where this machine listens.
    pub listen: SocketAddr,
    /// Host that it leads to.
    pub host: String,
    /// Port there.
    pub port: u16,
    /// The host's public address and the port; `null` while it has none.
    pub target: Option<SocketAddr>,
}
