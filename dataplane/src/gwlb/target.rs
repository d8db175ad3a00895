//! Targets of a load balancer and how flows stick to them.

use std::net::IpAddr;

use crate::addr::AzId;

/// Health of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TargetHealth {
    /// First checks are under way.
    Initial,
    /// Takes new flows.
    Healthy,
    /// Fails its checks.
    Unhealthy,
    /// Deregistering: keeps its flows, gets no new one.
    Draining,
    /// Its load balancer or zone does not use it.
    Unused,
}

/// A registered target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Private address.
    pub address: IpAddr,
    /// Port (6081 in a GENEVE group).
    pub port: u16,
    /// Zone; `None` means all zones.
    pub az: Option<AzId>,
    /// Health.
    pub health: TargetHealth,
    /// How often it has turned unhealthy: flows of before may be over.
    pub failures: u32,
}

/// How flows stick to a gateway load balancer's targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Stickiness {
    /// Addresses, protocol and ports.
    #[default]
    FiveTuple,
    /// `source_ip_dest_ip_proto`
    ThreeTuple,
    /// `source_ip_dest_ip`
    TwoTuple,
}
