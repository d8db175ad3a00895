//! Target groups and their targets.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

use vpclab_dataplane::addr::AzId;
use vpclab_dataplane::tables::{Failover, Stickiness, TargetHealth};
use vpclab_dataplane::time::Instant;

use super::{
    AddressFamily, HealthCheck, LbProtocol, Meta, Model, NetworkInterfaceId, ProbeFailure,
    References, Resource, Subnet, Tags, TargetGroupArn, VpcId, resource_fields,
};

/// What names a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TargetId {
    /// A private address.
    Address(IpAddr),
    /// A host by its primary interface: the primary address counts.
    Interface(NetworkInterfaceId),
}

impl std::fmt::Display for TargetId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Interface(id) => id.fmt(f),
        }
    }
}

/// What kind of targets a group takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetType {
    /// Addresses.
    Ip,
    /// Hosts.
    Instance,
}

/// A registered target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What names it.
    pub id: TargetId,
    /// Port.
    pub port: u16,
    /// Registered for all zones (addresses outside the VPC only).
    pub all_zones: bool,
    /// Health.
    #[serde(skip, default = "unknown")]
    pub health: TargetHealth,
    /// Why it is unhealthy.
    #[serde(skip)]
    pub failure: Option<ProbeFailure>,
    /// How often it has turned unhealthy.
    #[serde(skip)]
    pub failures: u32,
    /// While draining: when it is gone.
    #[serde(skip)]
    pub draining_until: Option<Instant>,
}

/// Nobody has looked yet.
const fn unknown() -> TargetHealth {
    TargetHealth::Initial
}

impl Target {
    /// Its address; `None` when its interface is gone.
    pub fn address(&self, model: &Model) -> Option<IpAddr> {
        match &self.id {
            TargetId::Address(address) => Some(*address),
            TargetId::Interface(id) => model.get(id)?.addresses().next(),
        }
    }

    /// Its zone: that of the subnet which holds its address. `None` (all
    /// zones) when it was registered so, or lies outside the VPC.
    pub fn zone(&self, group: &TargetGroup, model: &Model) -> Option<AzId> {
        if self.all_zones {
            return None;
        }
        let address = self.address(model)?;
        model
            .referrers::<Subnet>(&group.vpc)
            .find(|subnet| subnet.blocks().any(|block| block.contains(address)))
            .map(|subnet| subnet.az)
    }
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// ARN.
    pub id: TargetGroupArn,
    /// Owner, region, name tag.
    pub meta: Meta,
    /// Name, unique in the account's part of the region.
    pub name: Arc<str>,
    /// What the targets are spoken to with.
    pub protocol: LbProtocol,
    /// Port unless a target names its own.
    pub port: u16,
    /// The targets' VPC.
    pub vpc: VpcId,
    /// What kind of targets it takes.
    pub target_type: TargetType,
    /// `IpAddressType`: a group that an API client made takes one family only.
    pub family: Option<AddressFamily>,
    /// How health is checked.
    pub health_check: HealthCheck,
    /// Registered targets, in the order of registration.
    pub targets: Vec<Target>,
    /// Behaviour switches.
    pub attributes: TargetGroupAttributes,
    /// Attributes that change no packet, as they were set.
    pub kept: Tags,
}

/// Behaviour switches of a target group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroupAttributes {
    /// `stickiness.enabled` and `stickiness.type` of a GENEVE group.
    pub stickiness: Stickiness,
    /// `target_failover.on_deregistration` and `.on_unhealthy`, always alike.
    pub failover: Failover,
    /// `deregistration_delay.timeout_seconds`
    pub deregistration_delay_s: u32,
    /// `target_health_state.unhealthy.connection_termination.enabled`; of a GENEVE
    /// group `send_tcp_reset.on_unhealthy.enabled`
    pub reset_on_unhealthy: bool,
    /// `deregistration_delay.connection_termination.enabled`; of a GENEVE group
    /// `send_tcp_reset.on_deregistration.enabled`
    #[serde(default)]
    pub reset_on_deregistration: bool,
    /// `send_tcp_reset.on_idle_timeout.enabled`
    pub reset_on_idle: bool,
    /// `proxy_protocol_v2.enabled`
    #[serde(default)]
    pub proxy_protocol: bool,
    /// `preserve_client_ip.enabled`
    #[serde(default)]
    pub preserve_client_ip: bool,
}

impl TargetGroupAttributes {
    /// AWS's defaults for a group of this protocol and these targets.
    pub fn defaults(protocol: LbProtocol, targets: TargetType) -> Self {
        let keeps_address = match protocol {
            LbProtocol::Tcp => targets == TargetType::Instance,
            LbProtocol::Udp | LbProtocol::TcpUdp => true,
            LbProtocol::Geneve => false,
        };
        Self {
            stickiness: Stickiness::FiveTuple,
            failover: Failover::NoRebalance,
            deregistration_delay_s: 300,
            reset_on_unhealthy: matches!(protocol, LbProtocol::Tcp),
            reset_on_deregistration: matches!(protocol, LbProtocol::Udp | LbProtocol::TcpUdp),
            reset_on_idle: false,
            proxy_protocol: false,
            preserve_client_ip: keeps_address,
        }
    }
}

impl Resource for TargetGroup {
    resource_fields!(TargetGroupArn);

    fn references(&self, to: &mut References) {
        to.add(&self.vpc);
        for target in &self.targets {
            if let TargetId::Interface(id) = &target.id {
                to.add(id);
            }
        }
    }

    fn aliases(&self, to: &mut Vec<Arc<str>>) {
        to.push(target_group_alias(&self.meta, &self.name));
    }
}

/// What leads to a target group by name.
pub(crate) fn target_group_alias(meta: &Meta, name: &str) -> Arc<str> {
    Arc::from(format!("{}/targetgroup/{name}", meta.scope()))
}
