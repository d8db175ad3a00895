//! What a host on Linux consists of, in the terms of the operating system.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// First hop of every IPv6 host: the VPC router's link-local address.
pub const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0x0ec2, 0, 0, 0, 0, 0, 1);
/// First hop of a host whose subnet holds no router address: internet hosts.
/// The router answers for any address there.
pub const ROUTER_LINK_LOCAL_V4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 0, 1);

/// A host: one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPlan {
    /// Its name in the topology.
    pub name: String,
    /// Its interfaces; the first carries the default route.
    pub interfaces: Vec<InterfacePlan>,
    /// What its `/etc/resolv.conf` names.
    pub nameservers: Vec<IpAddr>,
    /// The domain in which short names are looked for.
    #[serde(default)]
    pub search: Option<String>,
    /// What runs in it.
    pub commands: Vec<CommandPlan>,
}

/// An interface of a host: one TAP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfacePlan {
    /// Index of the ENI in the tables.
    pub eni: u32,
    /// AWS id of the ENI.
    pub label: String,
    /// `eth0`, `eth1`, …
    pub device: String,
    /// MAC address.
    pub mac: [u8; 6],
    /// Largest IP packet.
    pub mtu: u32,
    /// Addresses, each with the prefix length of its subnet.
    pub addresses: Vec<(IpAddr, u8)>,
    /// First hops of the default routes.
    pub gateways: Vec<GatewayPlan>,
}

/// A default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayPlan {
    /// First hop.
    pub address: IpAddr,
    /// Whether the first hop is reached without a route to it.
    pub onlink: bool,
}

/// A program that runs in a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandPlan {
    /// Names it within the lab: a running command is not started twice.
    pub key: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the environment.
    pub env: BTreeMap<String, String>,
    /// Directory it starts in.
    pub directory: PathBuf,
    /// File that gets what it prints.
    pub log: PathBuf,
    /// Whether it starts again when it has ended.
    #[serde(default)]
    pub restart: RestartPolicy,
}

/// Whether a program that has ended starts again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It stays as it is.
    #[default]
    No,
    /// It starts again unless it ended by itself, with exit code 0.
    OnFailure,
    /// It starts again, however it ended.
    Always,
}

impl HostPlan {
    /// The text of the host's `/etc/resolv.conf`.
    pub fn resolv_conf(&self) -> String {
        let mut text = String::from("# written by vpclab for this host only\n");
        for address in &self.nameservers {
            text.push_str(&format!("nameserver {address}\n"));
        }
        if let Some(domain) = &self.search {
            text.push_str(&format!("search {domain}\n"));
        }
        text
    }
}
