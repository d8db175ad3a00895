//! The rows that the control plane pushes: what the data plane knows of each
//! resource. Rows name each other by dense index; `label` is the AWS id, shown
//! by traces and never parsed.

use std::net::IpAddr;
use std::sync::Arc;

use crate::addr::{
    AzId, EndpointId, EniId, LoadBalancerId, Mac, NatGatewayId, NetworkAclId, PeeringId, Prefix,
    PrefixListId, RouteTableId, SecurityGroupId, SubnetId, TargetGroupId, VpcId,
};
use crate::flow::TrackingTimeouts;
use crate::gwlb::{Stickiness, Target};
use crate::time::Duration;

/// A VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcRow {
    /// AWS id.
    pub label: Arc<str>,
    /// IPv4 and IPv6 CIDR blocks.
    pub cidrs: Vec<Prefix>,
    /// The attached internet gateway.
    pub igw: Option<IgwRow>,
    /// The attached virtual private gateway.
    pub vgw: Option<VgwRow>,
    /// Of the pseudo-VPC of an on-premises network: the VPCs that its tunnels
    /// lead to, with their blocks, in the order of choice.
    pub on_prem: Option<Vec<(Prefix, VpcId)>>,
    /// True for the one pseudo-VPC in which internet hosts live: its hosts own
    /// public addresses, and every destination is beyond its router.
    pub internet: bool,
    /// Whether its resolver answers (`enableDnsSupport`).
    pub dns_support: bool,
}

impl VpcRow {
    /// Whether it is a pseudo-VPC outside of AWS: the internet, or on premises. Its
    /// hosts have no services of AWS's, and no neighbours.
    pub const fn is_outside(&self) -> bool {
        self.internet || self.on_prem.is_some()
    }

    /// The resolver's address in the VPC: the base of the primary block plus
    /// two (V:AmazonDNS-concepts).
    pub fn resolver(&self) -> Option<IpAddr> {
        let primary = self.cidrs.first().filter(|cidr| cidr.is_ipv4())?;
        primary.nth(2).filter(|_| !self.is_outside())
    }
}

/// An internet gateway attached to a VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgwRow {
    /// AWS id.
    pub label: Arc<str>,
    /// Edge association: the table that rules traffic entering here.
    pub edge_table: Option<RouteTableId>,
}

/// A virtual private gateway attached to a VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VgwRow {
    /// AWS id.
    pub label: Arc<str>,
    /// Edge association: the table that rules traffic entering here.
    pub edge_table: Option<RouteTableId>,
    /// The prefixes that it knows, in the order of choice among equal ones: static
    /// routes before those learnt; and the on-premises network of each, if its
    /// tunnel is up.
    pub known: Vec<(Prefix, Option<VpcId>)>,
}

/// A peering connection that is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeeringRow {
    /// AWS id.
    pub label: Arc<str>,
    /// Requester and accepter.
    pub vpcs: [VpcId; 2],
    /// Whether they are in different regions.
    pub cross_region: bool,
}

impl PeeringRow {
    /// The VPC at the other end; none if `vpc` is at neither.
    pub fn across(&self, vpc: VpcId) -> Option<VpcId> {
        match self.vpcs {
            [one, other] if one == vpc => Some(other),
            [other, one] if one == vpc => Some(other),
            _ => None,
        }
    }
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetRow {
    /// AWS id.
    pub label: Arc<str>,
    /// Its VPC.
    pub vpc: VpcId,
    /// IPv4 block first, then IPv6 blocks.
    pub cidrs: Vec<Prefix>,
    /// MAC address of the VPC router in this subnet.
    pub router_mac: Mac,
    /// The route table in force: explicit association or the main table.
    pub route_table: RouteTableId,
    /// The network ACL in force.
    pub network_acl: NetworkAclId,
    /// Zone.
    pub az: AzId,
    /// Its zone is down, by a fault that the lab was told to make: nothing
    /// leaves or reaches its interfaces.
    pub down: bool,
}

/// What stands behind an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EniKind {
    /// A host: instance, appliance, internet host. Packets leave by its port.
    Host,
    /// An interface endpoint's requester-managed ENI.
    Endpoint(EndpointId),
    /// A gateway load balancer endpoint's requester-managed ENI.
    GatewayEndpoint(EndpointId),
    /// A node of a network or gateway load balancer.
    LoadBalancer(LoadBalancerId),
    /// A NAT gateway's requester-managed ENI.
    NatGateway(NatGatewayId),
}

/// A public address mapped 1:1 to a private one by the internet gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    /// Private IPv4 address of the interface.
    pub private: IpAddr,
    /// Elastic or auto-assigned public IPv4 address.
    pub public: IpAddr,
}

/// An elastic network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EniRow {
    /// AWS id.
    pub label: Arc<str>,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// MAC address.
    pub mac: Mac,
    /// Every address, the primary IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Delegated prefixes (/28, /80).
    pub prefixes: Vec<Prefix>,
    /// Public addresses of its private IPv4 addresses.
    pub public: Vec<PublicAddress>,
    /// Security groups; none means that no group filters (load-balancer nodes
    /// made without groups, internet hosts).
    pub groups: Vec<SecurityGroupId>,
    /// Source/destination check.
    pub source_dest_check: bool,
    /// What stands behind it.
    pub kind: EniKind,
    /// Whether a running host is attached (always true unless `Host`).
    pub attached: bool,
    /// Refuses all traffic of an internet gateway (endpoint IPv6 interfaces).
    pub deny_all_igw_traffic: bool,
    /// Largest IP packet that the host takes, in bytes (9001; internet 1500).
    pub mtu: u32,
    /// Connection-tracking timeouts.
    pub timeouts: TrackingTimeouts,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteTarget {
    /// Inside the VPC.
    Local,
    /// The VPC's internet gateway.
    InternetGateway,
    /// An interface: a NAT instance, router or appliance.
    Eni(EniId),
    /// A gateway load balancer endpoint.
    GatewayEndpoint(EndpointId),
    /// The VPC at the other end of a peering connection.
    Peering(PeeringId),
    /// A gateway endpoint: the addresses of an AWS service.
    ServiceEndpoint(EndpointId),
    /// The VPC's virtual private gateway.
    VirtualPrivateGateway,
    /// The target is gone; the route stays and drops.
    Blackhole,
}

/// How a route came into a table; decides between equal prefixes:
/// static, then prefix list, then propagated (AWS: route priority).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteOrigin {
    /// A VPC CIDR's own route (`CreateRouteTable`), perhaps re-targeted.
    Local,
    /// `CreateRoute` with a CIDR.
    Static,
    /// An entry of a prefix list named by a route; equal entries of several
    /// lists: the lowest list wins (ASSUMPTION: AWS picks at random).
    PrefixList(PrefixListId),
    /// Propagated by a gateway; never beats an overlapping local route.
    Propagated,
}

/// One route, as configured: equal prefixes may occur with other origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination block.
    pub prefix: Prefix,
    /// Where it leads.
    pub target: RouteTarget,
    /// How it came here.
    pub origin: RouteOrigin,
    /// The target's AWS id ("local", "igw-…"), for traces.
    pub label: Arc<str>,
}

/// A route table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTableRow {
    /// AWS id.
    pub label: Arc<str>,
    /// All routes of both families, in any order.
    pub routes: Vec<Route>,
}

/// Which ports, or which ICMP types, a rule covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PortMatch {
    /// All of them.
    Any,
    /// Destination ports from–to, inclusive (TCP and UDP).
    Range(u16, u16),
    /// ICMP type and, unless `None`, code.
    Icmp(u8, Option<u8>),
}

/// The other side of a security-group rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address block.
    Cidr(Prefix),
    /// Every entry of a prefix list.
    PrefixList(PrefixListId),
    /// The private addresses of the interfaces in a group.
    Group(SecurityGroupId),
}

/// A security-group rule. All rules allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroupRule {
    /// `sgr-…`
    pub label: Arc<str>,
    /// IP protocol; `None` is all.
    pub protocol: Option<u8>,
    /// Ports or ICMP types.
    pub ports: PortMatch,
    /// Source (ingress) or destination (egress).
    pub peer: Peer,
}

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroupRow {
    /// AWS id.
    pub label: Arc<str>,
    /// Inbound rules.
    pub ingress: Vec<SecurityGroupRule>,
    /// Outbound rules.
    pub egress: Vec<SecurityGroupRule>,
}

/// A network ACL entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkAclRule {
    /// Rule number, 1–32766; lowest first.
    pub number: u16,
    /// Allow or deny.
    pub allow: bool,
    /// IP protocol; `None` is all.
    pub protocol: Option<u8>,
    /// Ports or ICMP types.
    pub ports: PortMatch,
    /// Source (ingress) or destination (egress).
    pub cidr: Prefix,
}

/// A network ACL. No match means deny (rule `*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkAclRow {
    /// AWS id.
    pub label: Arc<str>,
    /// Inbound rules, sorted by number.
    pub ingress: Vec<NetworkAclRule>,
    /// Outbound rules, sorted by number.
    pub egress: Vec<NetworkAclRule>,
}

/// A prefix list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixListRow {
    /// AWS id.
    pub label: Arc<str>,
    /// Its blocks.
    pub entries: Vec<Prefix>,
}

/// What an endpoint leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointKind {
    /// PrivateLink interface endpoint to a service of network load balancers.
    /// The ENI of a zone uses one of those that have a node in that zone.
    Interface {
        /// The service's load balancers, in the order of the service.
        load_balancers: Vec<LoadBalancerId>,
        /// The requester-managed interfaces, one per zone.
        enis: Vec<EniId>,
    },
    /// The same to a service in another region: any zone of it serves any interface.
    Remote {
        /// The service's load balancers.
        load_balancers: Vec<LoadBalancerId>,
        /// The requester-managed interfaces, one per zone.
        enis: Vec<EniId>,
    },
    /// Interface endpoint to a service of AWS's: it answers at the interfaces
    /// themselves.
    Service {
        /// The requester-managed interfaces, one per zone.
        enis: Vec<EniId>,
    },
    /// Gateway endpoint: a route to an AWS service's addresses.
    Gateway {
        /// The service, if the lab has it: the host of the internet that has its
        /// addresses, and where it takes what comes through this endpoint.
        service: Option<(EniId, EniId)>,
    },
    /// Gateway load balancer endpoint.
    GatewayLoadBalancer {
        /// The service's load balancers.
        load_balancers: Vec<LoadBalancerId>,
        /// The requester-managed interface in the endpoint's one subnet.
        eni: EniId,
    },
}

/// A VPC endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRow {
    /// `vpce-0` + 16 hex digits.
    pub label: Arc<str>,
    /// The low 64 bits of the id: GENEVE option 1 (`gwlb-geneve.md` §3).
    pub vpce: u64,
    /// The consumer's VPC.
    pub vpc: VpcId,
    /// Whether its state is `available`.
    pub available: bool,
    /// What it leads to.
    pub kind: EndpointKind,
}

/// Which kind of load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum LoadBalancerKind {
    /// Network load balancer.
    Network,
    /// Gateway load balancer.
    Gateway,
}

/// A load balancer's presence in a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancerNode {
    /// Zone.
    pub az: AzId,
    /// Its interface; the addresses are the interface's.
    pub eni: EniId,
}

/// A listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// 6 (TCP), 17 (UDP); 0 for a gateway load balancer's only listener.
    pub protocol: u8,
    /// Port; 0 for a gateway load balancer.
    pub port: u16,
    /// Where connections go.
    pub target_group: Option<TargetGroupId>,
    /// Idle timeout of TCP flows (350 s unless set, 60–6000).
    pub tcp_idle: Duration,
}

/// A network or gateway load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancerRow {
    /// Name, for traces.
    pub label: Arc<str>,
    /// Network or gateway.
    pub kind: LoadBalancerKind,
    /// Its VPC.
    pub vpc: VpcId,
    /// One node per enabled zone.
    pub nodes: Vec<LoadBalancerNode>,
    /// Listeners.
    pub listeners: Vec<Listener>,
    /// Whether a node uses the targets of all zones.
    pub cross_zone: bool,
    /// Whether the nodes' security groups judge PrivateLink traffic.
    pub enforce_privatelink_groups: bool,
}

/// What happens to the flows of a failed target (gateway load balancers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Failover {
    /// They stay on it.
    #[default]
    NoRebalance,
    /// They move to healthy targets.
    Rebalance,
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroupRow {
    /// Name, for traces.
    pub label: Arc<str>,
    /// The targets' VPC.
    pub vpc: VpcId,
    /// Registered targets.
    pub targets: Vec<Target>,
    /// Gateway load balancers: stickiness.
    pub stickiness: Stickiness,
    /// Gateway load balancers: flows of failed targets.
    pub failover: Failover,
    /// The connections of a target that turns unhealthy are reset when a packet
    /// of theirs comes (NLB: `target_health_state.unhealthy.connection_termination
    /// .enabled`; GWLB: `send_tcp_reset.on_unhealthy.enabled`).
    pub reset_on_unhealthy: bool,
    /// The same of a target that is no longer registered, its delay being over (NLB:
    /// `deregistration_delay.connection_termination.enabled`; GWLB:
    /// `send_tcp_reset.on_deregistration.enabled`).
    pub reset_on_deregistration: bool,
    /// Gateway load balancers: late TCP packets of an expired flow are answered
    /// with a reset (`send_tcp_reset.on_idle_timeout.enabled`).
    pub reset_on_idle: bool,
    /// Network load balancers: each TCP connection to a target begins with a proxy
    /// protocol header (`proxy_protocol_v2.enabled`).
    pub proxy_protocol: bool,
    /// Network load balancers: a target sees the client's own address and port, if
    /// the client did not come by PrivateLink (`preserve_client_ip.enabled`).
    pub preserve_client_ip: bool,
}

/// A NAT gateway. Its addresses, and the public ones of these, are those of its
/// interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatGatewayRow {
    /// `nat-…`
    pub label: Arc<str>,
    /// Its requester-managed interface.
    pub eni: EniId,
}

impl TargetGroupRow {
    /// The target with this address and, unless it is 0, this port.
    pub fn target(&self, address: IpAddr, port: u16) -> Option<&Target> {
        let is_it =
            |target: &&Target| target.address == address && (port == 0 || target.port == port);
        self.targets.iter().find(is_it)
    }

    /// Whether flows to this target, which had failed so often when they began,
    /// are over. The walk of a known flow asks.
    pub fn is_over(&self, address: IpAddr, port: u16, failures: u32) -> bool {
        match self.target(address, port) {
            Some(target) => self.reset_on_unhealthy && target.failures != failures,
            None => self.reset_on_deregistration,
        }
    }
}
