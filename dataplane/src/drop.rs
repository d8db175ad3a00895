//! Every reason for which a packet ends without being delivered.
//!
//! A failure on the packet path is a verdict, not an error: each has one name,
//! one counter, one sentence and, where AWS has one, the Reachability Analyzer
//! code that a user will look up.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal $(, $code:literal)?;)*) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $name,)*
        }

        impl DropReason {
            /// All reasons, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Stable dotted name, as counters and `--json` show it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Reachability Analyzer explanation code; `None` where AWS has none.
            pub const fn aws_code(self) -> Option<&'static str> {
                match self { $(Self::$name => { let _code: Option<&'static str> = None; $(let _code = Some($code);)? _code })* }
            }

            /// What happened, in one sentence.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)* }
            }
        }
    };
}

impl DropReason {
    /// Whether it says that a load balancer or an endpoint lets nothing new in, or
    /// has nothing to send it to (`RejectedFlowCount`).
    pub const fn is_of_new_flow(self) -> bool {
        matches!(
            self,
            Self::GwlbNoFlow
                | Self::GwlbNoTarget
                | Self::NoTarget
                | Self::NoListener
                | Self::ListenerNoTargetGroup
                | Self::PortAllocation
                | Self::FlowTableFull
        )
    }

    /// Whether a load balancer or an endpoint drops for this reason
    /// (`PacketsDropped`).
    pub const fn is_of_balancer(self) -> bool {
        self.is_of_new_flow()
            || matches!(
                self,
                Self::EndpointUnavailable
                    | Self::EndpointNotInAz
                    | Self::EndpointProtocol
                    | Self::EndpointMtu
                    | Self::PrivateLinkOneWay
                    | Self::LbFragment
                    | Self::LbNotForNode
                    | Self::GwlbMtu
                    | Self::GwlbTunnel
                    | Self::GwlbEndpointId
                    | Self::GwlbCookie
                    | Self::MalformedGeneve
            )
    }

    /// Whether a NAT gateway drops for this reason (`PacketsDropCount`).
    pub const fn is_of_nat_gateway(self) -> bool {
        matches!(
            self,
            Self::NatProtocol
                | Self::NatFragment
                | Self::NatSource
                | Self::NatUnsolicited
                | Self::NatPortAllocation
                | Self::NatNoConnection
        )
    }
}

drop_reasons! {
    /// The frame is shorter than the headers it claims.
    MalformedFrame = "malformed.frame";
    /// The IP header is not valid (version, length, checksum).
    MalformedIp = "malformed.ip";
    /// The TCP, UDP or ICMP header is cut short or not valid.
    MalformedTransport = "malformed.transport";
    /// The GENEVE header or its options are not valid.
    MalformedGeneve = "malformed.geneve";
    /// The ARP or neighbour-discovery message is not valid.
    MalformedNeighbor = "malformed.neighbor";
    /// Neither IPv4, IPv6 nor ARP.
    EtherType = "l2.ethertype";
    /// A VPC carries unicast only.
    NotUnicast = "l2.not_unicast";
    /// No interface of this subnet has the destination MAC address.
    UnknownMac = "l2.unknown_mac";
    /// The source MAC address is not the interface's.
    SpoofedMac = "l2.spoofed_mac";
    /// The address is not in use: no reply to the neighbour request.
    NeighborUnknown = "l2.neighbor_unknown";
    /// The port has no interface in the tables.
    NoSuchPort = "port.unknown";
    /// The interface has no host attached.
    Detached = "port.detached", "ENI_ADDRESS_RESTRICTION";
    /// The source or destination address is not the interface's and its source/destination check is on.
    SourceDestCheck = "source_dest_check", "ENI_SOURCE_DEST_CHECK_RESTRICTION";
    /// No rule of the interface's security groups allows the packet.
    SecurityGroup = "security_group", "ENI_SG_RULES_MISMATCH";
    /// The network ACL denies the packet.
    NetworkAcl = "network_acl", "SUBNET_ACL_RESTRICTION";
    /// No route of the subnet's table covers the destination.
    NoRoute = "route.none", "NO_ROUTE_TO_DESTINATION";
    /// The best route's target is gone.
    Blackhole = "route.blackhole", "BAD_STATE_ROUTE";
    /// No interface of the VPC has the destination address.
    AddressUnassigned = "route.address_unassigned", "ENI_ADDRESS_RESTRICTION";
    /// The packet went round without leaving the data plane, or back into the endpoint it left.
    Loop = "route.loop";
    /// Link-local or reserved destinations are not routed.
    NotRoutable = "route.not_routable", "CANNOT_ROUTE";
    /// The sender's address has no public address to leave by the internet gateway.
    IgwNoPublicAddress = "igw.no_public_address", "IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS";
    /// The public address belongs to no interface.
    IgwNoPrivateAddress = "igw.no_private_address", "IGW_PRIVATE_IP_ASSOCIATION_FOR_INGRESS";
    /// Private (RFC 1918) destination at the internet gateway.
    IgwRfc1918 = "igw.rfc1918", "IGW_DESTINATION_ADDRESS_NOT_IN_RFC1918_EGRESS";
    /// Shared (RFC 6598) destination at the internet gateway.
    IgwRfc6598 = "igw.rfc6598", "IGW_DESTINATION_ADDRESS_NOT_IN_RFC6598_EGRESS";
    /// Private (RFC 1918) source entering by the internet gateway.
    IgwSourceRfc1918 = "igw.source_rfc1918", "IGW_SOURCE_ADDRESS_NOT_IN_RFC1918_INGRESS";
    /// Shared (RFC 6598) source entering by the internet gateway.
    IgwSourceRfc6598 = "igw.source_rfc6598", "IGW_SOURCE_ADDRESS_NOT_IN_RFC6598_INGRESS";
    /// The source address may not pass this gateway.
    GatewaySpoofed = "igw.spoofed", "GATEWAY_REJECTS_SPOOFED_TRAFFIC";
    /// The IPv6 interface refuses internet traffic.
    IgwDenied = "igw.denied", "IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS";
    /// An internet gateway's edge table redirects this subnet, so it cannot answer by a direct route.
    IngressRedirection = "igw.ingress_redirection", "INGRESS_RTB_TRAFFIC_REDIRECTION";
    /// A peering connection leads to the addresses of the VPC at its other end only, not beyond it.
    PeeringNotInVpc = "peering.not_in_vpc", "PCX_REQUIRES_ADDRESS_IN_VPC_CIDR";
    /// A virtual private gateway takes only what comes from private addresses of its own VPC.
    VgwNotFromVpc = "vgw.not_from_vpc", "VGW_PRIVATE_IP_ASSOCIATION_FOR_EGRESS";
    /// A virtual private gateway brings packets to private addresses of its own VPC only.
    VgwNotForVpc = "vgw.not_for_vpc", "VGW_PRIVATE_IP_ASSOCIATION_FOR_INGRESS";
    /// The virtual private gateway knows no prefix with the destination address.
    VgwNoRoute = "vgw.no_route", "NO_ROUTE_TO_DESTINATION";
    /// A VPN connection of a virtual private gateway carries IPv4 only.
    VgwIpv6 = "vgw.ipv6";
    /// The VPN connection has no tunnel that is up, or no host behind it has the address.
    OnPremUnreachable = "on_prem.unreachable";
    /// No internet host of the lab has the destination address.
    InternetUnreachable = "internet.unreachable";
    /// Nothing starts a flow toward a consumer through PrivateLink: the endpoint is one-way.
    PrivateLinkOneWay = "privatelink.one_way", "VPCE_INTRA_VPC_TRAFFIC";
    /// A NAT gateway takes TCP, UDP and echo requests over IPv4 only.
    NatProtocol = "nat.protocol";
    /// Fragments pass a NAT gateway only when they are UDP.
    NatFragment = "nat.fragment";
    /// A NAT gateway takes packets only from addresses of its VPC.
    NatSource = "nat.source_not_in_vpc", "NGW_REQUIRES_SOURCE_IN_VPC";
    /// Nothing starts a connection toward a NAT gateway, and it answers no ping: it carries replies only.
    NatUnsolicited = "nat.unsolicited", "NGW_DEST_ADDRESS_PRESERVATION";
    /// All source ports of the NAT gateway toward this destination are in use (ErrorPortAllocation).
    NatPortAllocation = "nat.port_allocation", "REMAP_EPHEMERAL_PORT";
    /// The NAT gateway knows no such connection, or no longer, and the packet does not start one.
    NatNoConnection = "nat.no_connection";
    /// A gateway endpoint takes TCP and echo requests only.
    GatewayEndpointProtocol = "endpoint.gateway_protocol", "VPCE_GATEWAY_PROTOCOL_RESTRICTION";
    /// A gateway endpoint is for what starts in a subnet whose route table has its route.
    GatewayEndpointSource = "endpoint.gateway_source";
    /// Nothing comes back through a gateway endpoint but from the addresses of its prefix list.
    GatewayEndpointAnswer = "endpoint.gateway_answer", "VPCE_GATEWAY_EGRESS_SOURCE_ADDRESS_RESTRICTION";
    /// Another VPC with the same private address has this connection to the service already.
    GatewayEndpointTaken = "endpoint.gateway_taken";
    /// The endpoint is not in state available.
    EndpointUnavailable = "endpoint.unavailable";
    /// The endpoint's service has no load balancer in the endpoint's zone.
    EndpointNotInAz = "endpoint.not_in_az", "VPCE_SERVICE_NOT_INSTALLED_IN_AZ";
    /// The endpoint takes TCP and UDP only.
    EndpointProtocol = "endpoint.protocol";
    /// The packet is larger than the endpoint's 8500-byte MTU.
    EndpointMtu = "endpoint.mtu";
    /// The load balancer has no listener for this protocol and port.
    NoListener = "lb.no_listener", "ELBV2_LISTENERS_MISMATCH";
    /// The listener has no target group.
    ListenerNoTargetGroup = "lb.no_target_group", "ELBV2_LISTENER_HAS_NO_TG";
    /// No registered target in the zone, and cross-zone load balancing is off.
    NoTarget = "lb.no_target", "ELBV2_NO_TARGETS_IN_AZ";
    /// All source ports toward this target are in use (PortAllocationError).
    PortAllocation = "lb.port_allocation", "REMAP_EPHEMERAL_PORT";
    /// The client is its own target, and its address is kept: source and destination would be the same.
    LbHairpin = "lb.hairpin";
    /// Fragments pass a network load balancer only when they are UDP.
    LbFragment = "lb.fragment";
    /// Not the start of a TCP connection, and no such connection is known.
    NoConnection = "lb.no_connection";
    /// The load balancer's address takes no such packet.
    LbNotForNode = "lb.not_for_node";
    /// GENEVE: the outer addresses or ports are not those of the flow (InvalidGeneveTunnel).
    GwlbTunnel = "gwlb.invalid_tunnel", "GWLB_DESTINATION_PORT_RESTRICTION";
    /// GENEVE: option 1 is missing or names another endpoint (InvalidGwlbEndpointId).
    GwlbEndpointId = "gwlb.invalid_endpoint_id";
    /// GENEVE: option 3 is missing or is not the flow's cookie (InvalidGwlbFlowCookie).
    GwlbCookie = "gwlb.invalid_flow_cookie";
    /// The packet is larger than the 8500 bytes that a gateway load balancer carries.
    GwlbMtu = "gwlb.mtu";
    /// A TCP packet without SYN of a flow the gateway load balancer does not know.
    GwlbNoFlow = "gwlb.no_flow";
    /// No target in the zone for the gateway load balancer.
    GwlbNoTarget = "gwlb.no_target", "ELBV2_NO_TARGETS_IN_AZ";
    /// The interface or gateway's MTU is smaller and the packet may not be fragmented.
    Mtu = "mtu";
    /// The time to live ran out.
    TtlExpired = "ttl";
    /// The flow table is full of live connections.
    FlowTableFull = "flow.table_full";
    /// The table of fragments is full, or the first fragment was never seen.
    Fragment = "fragment";
    /// An ICMP error that quotes no known flow.
    IcmpUnrelated = "icmp.unrelated";
    /// The VPC has no resolver: its DNS support is off.
    ResolverOff = "local.resolver_off";
    /// More than 1024 packets in a second from one interface to DNS, instance metadata and time together.
    ServiceRate = "local.rate";
    /// The router, a service or an endpoint answers no such packet.
    NotAnswered = "local.not_answered";
    /// The queue of the service, or of the load balancer's stack, is full.
    LocalBusy = "local.busy";
    /// The ring to the worker that has the packet's flow is full.
    HandoverFull = "worker.ring_full";
    /// The output port could not take the frame.
    PortFull = "port.full";
    /// A fault that the lab was told to make: the link lost the frame.
    LinkLoss = "fault.loss";
    /// A fault that the lab was told to make: the link is slower than its sender, and its queue is full.
    LinkQueue = "fault.queue";
    /// A fault that the lab was told to make: the link is down.
    LinkDown = "fault.link_down";
    /// A fault that the lab was told to make: the availability zone is down.
    ZoneDown = "fault.zone_down";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_described() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
        assert!(
            DropReason::ALL
                .iter()
                .all(|r| r.description().ends_with('.'))
        );
        assert_eq!(
            DropReason::NoRoute.aws_code(),
            Some("NO_ROUTE_TO_DESTINATION")
        );
        assert_eq!(DropReason::Loop.aws_code(), None);
    }
}
