//! Network and gateway load balancers and their listeners.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use vpclab_dataplane::tables::LoadBalancerKind;

use super::{
    ListenerArn, LoadBalancerArn, Meta, NetworkInterfaceId, References, Resource, SecurityGroupId,
    SubnetId, Tags, TargetGroupArn, VpcId, resource_fields,
};

/// A load balancer's presence in a subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The subnet; no other node is in its zone.
    pub subnet: SubnetId,
    /// The requester-managed interface there.
    pub interface: NetworkInterfaceId,
    /// Its address was asked for, not chosen.
    pub designated: bool,
}

/// A network or gateway load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// ARN.
    pub id: LoadBalancerArn,
    /// Owner, region, name tag.
    pub meta: Meta,
    /// Name, unique in the account's part of the region.
    pub name: Arc<str>,
    /// Network or gateway.
    pub kind: LoadBalancerKind,
    /// Its VPC.
    pub vpc: VpcId,
    /// One node per enabled zone.
    pub nodes: Vec<Node>,
    /// Security groups of the nodes. A load balancer made without any can
    /// never have one.
    pub groups: Vec<SecurityGroupId>,
    /// Nodes have an IPv6 address, too.
    pub dualstack: bool,
    /// `load_balancing.cross_zone.enabled`
    pub cross_zone: bool,
    /// `enforce-security-group-inbound-rules-on-private-link-traffic`
    pub enforce_privatelink_groups: bool,
    /// `secondary_ips.auto_assigned.per_subnet`: private IPv4 addresses that each node
    /// has besides its first, as sources of connections to targets.
    #[serde(default)]
    pub secondary_ips: u8,
    /// `deletion_protection.enabled`
    pub deletion_protected: bool,
    /// Attributes that change no packet, as they were set.
    pub kept: Tags,
}

impl Resource for LoadBalancer {
    resource_fields!(LoadBalancerArn);

    fn references(&self, to: &mut References) {
        to.add(&self.vpc);
        to.extend(&self.groups);
        for node in &self.nodes {
            to.add(&node.subnet);
            to.add(&node.interface);
        }
    }

    fn aliases(&self, to: &mut Vec<Arc<str>>) {
        to.push(load_balancer_alias(&self.meta, &self.name));
    }
}

/// What leads to a load balancer by name.
pub(crate) fn load_balancer_alias(meta: &Meta, name: &str) -> Arc<str> {
    Arc::from(format!("{}/loadbalancer/{name}", meta.scope()))
}

/// What a listener or target group speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LbProtocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// Both on one port.
    TcpUdp,
    /// Everything, encapsulated: gateway load balancers.
    Geneve,
}

impl LbProtocol {
    /// AWS's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::TcpUdp => "TCP_UDP",
            Self::Geneve => "GENEVE",
        }
    }

    /// By AWS's name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::TcpUdp, Self::Geneve]
            .into_iter()
            .find(|protocol| protocol.name() == name)
    }

    /// IP protocol numbers of the flows: 6, 17 or both; 0 is all.
    pub const fn ip_protocols(self) -> &'static [u8] {
        match self {
            Self::Tcp => &[6],
            Self::Udp => &[17],
            Self::TcpUdp => &[6, 17],
            Self::Geneve => &[0],
        }
    }
}

impl std::fmt::Display for LbProtocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// ARN.
    pub id: ListenerArn,
    /// Owner, region, name tag.
    pub meta: Meta,
    /// Its load balancer.
    pub load_balancer: LoadBalancerArn,
    /// What it takes; `Geneve` on a gateway load balancer.
    pub protocol: LbProtocol,
    /// Port; 0 on a gateway load balancer.
    pub port: u16,
    /// Where connections go (the one default action: forward).
    pub target_group: TargetGroupArn,
    /// `tcp.idle_timeout.seconds`
    pub tcp_idle_s: u32,
}

impl Resource for Listener {
    resource_fields!(ListenerArn);

    fn references(&self, to: &mut References) {
        to.add(&self.load_balancer);
        to.add(&self.target_group);
    }
}
