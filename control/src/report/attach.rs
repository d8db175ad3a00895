//! `vpclab attach`: what was made, and where.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

/// What `vpclab attach --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AttachReport {
    /// The host of the topology whose place was taken.
    pub host: String,
    /// Its interfaces that were attached.
    pub interfaces: Vec<AttachedReport>,
}

/// An ENI and the interface that it became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AttachedReport {
    /// AWS id of the ENI.
    pub eni: String,
    /// Name of the interface there.
    pub device: String,
    /// Where it is, in words.
    pub place: String,
    /// Its MAC address.
    pub mac: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses with the length of the subnet's prefix: `10.0.1.20/24`.
    pub addresses: Vec<String>,
    /// First hops of its default routes, one for each family that it has.
    pub gateways: Vec<IpAddr>,
    /// Whether it is a TAP that a virtual machine is to open.
    pub tap: bool,
}
