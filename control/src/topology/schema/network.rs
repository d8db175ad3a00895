//! VPCs and what filters and routes inside them.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::NameServer;
use crate::topology::located::{Item, Many, Named, Value};
use crate::topology::values::{
    Accept, Address, Cidr, CidrOrName, Gateway, IcmpType, Ipv6Block, Ports, Protocol, Zone,
};

/// A VPC.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vpc {
    /// IPv4 block, or a list of them: the primary first (/16 to /28).
    #[serde(alias = "CidrBlock", alias = "cidr_block", alias = "cidrs")]
    pub cidr: Many<Cidr>,
    /// IPv6 block (/44 to /60), or true.
    #[serde(
        default,
        alias = "Ipv6CidrBlock",
        alias = "AmazonProvidedIpv6CidrBlock"
    )]
    pub ipv6: Option<Value<Ipv6Block>>,
    /// Attach an internet gateway.
    #[serde(default, alias = "InternetGateway", alias = "internet_gateway")]
    pub igw: Option<Value<Gateway>>,
    /// Attach a virtual private gateway, which `on_prem:` networks reach by `vpn:`.
    #[serde(default, alias = "VpnGateway", alias = "vpn_gateway")]
    pub vgw: Option<Value<Gateway>>,
    /// Whether the resolver answers [default: true].
    #[serde(default, alias = "EnableDnsSupport")]
    pub enable_dns_support: Option<bool>,
    /// Whether hosts get DNS names [default: false].
    #[serde(default, alias = "EnableDnsHostnames")]
    pub enable_dns_hostnames: Option<bool>,
    /// What hosts are told by DHCP [default: the region's domain, the VPC's resolver].
    #[serde(default, alias = "DhcpOptions", alias = "DHCPOptions")]
    pub dhcp_options: Option<Item<DhcpOptions>>,
    /// Subnets by name.
    #[serde(default, alias = "Subnets")]
    pub subnets: Named<Subnet>,
    /// Route tables by name. The VPC's own main table holds only the local
    /// routes; `main: true` puts another in its place.
    #[serde(default, alias = "RouteTables")]
    pub route_tables: Named<RouteTable>,
    /// Security groups by name. The VPC's own is called `default`.
    #[serde(default, alias = "SecurityGroups")]
    pub security_groups: Named<SecurityGroup>,
    /// Network ACLs by name. The VPC's own, which allows everything, is called
    /// `default`.
    #[serde(default, alias = "NetworkAcls")]
    pub network_acls: Named<NetworkAcl>,
}

/// What hosts of a VPC are told by DHCP.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DhcpOptions {
    /// Domain of names without one; several with spaces between.
    #[serde(default, alias = "DomainName")]
    pub domain_name: Option<String>,
    /// Resolvers, 4 at most: addresses, or AmazonProvidedDNS.
    #[serde(default, alias = "DomainNameServers")]
    pub domain_name_servers: Many<NameServer>,
    /// Time servers, 4 at most.
    #[serde(default, alias = "NtpServers")]
    pub ntp_servers: Many<Address>,
    /// NetBIOS name servers (IPv4), 4 at most.
    #[serde(default, alias = "NetbiosNameServers")]
    pub netbios_name_servers: Many<Address>,
    /// NetBIOS node type: 1, 2, 4 or 8.
    #[serde(default, alias = "NetbiosNodeType")]
    pub netbios_node_type: Option<Value<u16>>,
    /// Seconds that an IPv6 address is preferred for.
    #[serde(default, alias = "Ipv6AddressPreferredLeaseTime")]
    pub ipv6_address_preferred_lease_time: Option<Value<u32>>,
}

/// A peering connection: the first VPC asks, the second accepts. Each end needs
/// routes to the other's blocks, `via` this one's name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peering {
    /// The two VPCs, the requester first.
    #[serde(alias = "VpcIds", alias = "between")]
    pub vpcs: Many<String>,
    /// Whether the second VPC's owner accepts it [default: auto].
    #[serde(default)]
    pub accept: Option<Value<Accept>>,
}

/// A subnet.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subnet {
    /// IPv4 block inside the VPC's (/16 to /28).
    #[serde(alias = "CidrBlock", alias = "cidr_block")]
    pub cidr: Value<Cidr>,
    /// IPv6 block inside the VPC's (/44 to /64), or true for the next free /64.
    #[serde(default, alias = "Ipv6CidrBlock")]
    pub ipv6: Option<Value<Ipv6Block>>,
    /// Availability zone: a letter (a) or a name (us-east-1a) [default: a].
    #[serde(default, alias = "AvailabilityZone", alias = "availability_zone")]
    pub az: Option<Value<Zone>>,
    /// Route table [default: the VPC's main table].
    #[serde(default, alias = "RouteTable", alias = "RouteTableId")]
    pub route_table: Option<Value<String>>,
    /// Network ACL [default: the VPC's default ACL].
    #[serde(default, alias = "NetworkAcl", alias = "NetworkAclId")]
    pub network_acl: Option<Value<String>>,
    /// Give every ENI made here a public IPv4 address [default: false].
    #[serde(
        default,
        alias = "MapPublicIpOnLaunch",
        alias = "map_public_ip_on_launch"
    )]
    pub map_public_ip: Option<bool>,
}

/// A route table.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// Routes besides the local ones, which every table has.
    #[serde(default, alias = "Routes")]
    pub routes: Vec<Item<Route>>,
    /// Use it for subnets that name no table [default: false].
    #[serde(default, alias = "Main")]
    pub main: bool,
    /// Edge association: `igw` makes this table rule what the internet gateway
    /// brings in, `vgw` what the virtual private gateway does.
    #[serde(default, alias = "GatewayId", alias = "Edge")]
    pub edge: Option<Value<String>>,
    /// Whether what the VPC's virtual private gateway knows becomes routes of this
    /// table [default: false].
    #[serde(default, alias = "PropagateVgwRoutes")]
    pub propagate: bool,
}

/// A route.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Destination: a CIDR block or a prefix list's name.
    #[serde(
        alias = "destination",
        alias = "DestinationCidrBlock",
        alias = "DestinationIpv6CidrBlock",
        alias = "DestinationPrefixListId"
    )]
    pub to: Value<CidrOrName>,
    /// Target: igw, vgw, local, a host (or its ENI, `fw/eth1`), a NAT gateway, a gateway
    /// load balancer endpoint, or a peering connection.
    #[serde(
        alias = "target",
        alias = "GatewayId",
        alias = "NatGatewayId",
        alias = "VpcEndpointId",
        alias = "NetworkInterfaceId",
        alias = "InstanceId",
        alias = "VpcPeeringConnectionId"
    )]
    pub via: Value<String>,
}

/// A security group: rules that allow; replies pass by themselves.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecurityGroup {
    /// For people.
    #[serde(default, alias = "GroupDescription", alias = "Description")]
    pub description: Option<String>,
    /// Inbound rules [default: none, nothing may start a connection inwards].
    #[serde(default, alias = "SecurityGroupIngress", alias = "Ingress")]
    pub ingress: Vec<Item<IngressRule>>,
    /// Outbound rules [default: everything is allowed, as in AWS; `[]` allows nothing].
    #[serde(default, alias = "SecurityGroupEgress", alias = "Egress")]
    pub egress: Option<Vec<Item<EgressRule>>>,
}

/// An inbound rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IngressRule {
    /// Protocol.
    #[serde(alias = "protocol", alias = "IpProtocol")]
    pub proto: Value<Protocol>,
    /// Destination ports [default: all].
    #[serde(default, alias = "port")]
    pub ports: Option<Value<Ports>>,
    /// ICMP type, for icmp and icmpv6 [default: all].
    #[serde(default, alias = "icmp")]
    pub icmp_type: Option<Value<IcmpType>>,
    /// Sources: CIDR blocks, security groups, prefix lists.
    #[serde(
        alias = "CidrIp",
        alias = "CidrIpv6",
        alias = "cidr",
        alias = "SourceSecurityGroupId",
        alias = "SourceSecurityGroupName",
        alias = "SourcePrefixListId"
    )]
    pub from: Many<CidrOrName>,
    /// For people.
    #[serde(default, alias = "Description")]
    pub description: Option<String>,
}

/// An outbound rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressRule {
    /// Protocol.
    #[serde(alias = "protocol", alias = "IpProtocol")]
    pub proto: Value<Protocol>,
    /// Destination ports [default: all].
    #[serde(default, alias = "port")]
    pub ports: Option<Value<Ports>>,
    /// ICMP type, for icmp and icmpv6 [default: all].
    #[serde(default, alias = "icmp")]
    pub icmp_type: Option<Value<IcmpType>>,
    /// Destinations: CIDR blocks, security groups, prefix lists.
    #[serde(
        alias = "CidrIp",
        alias = "CidrIpv6",
        alias = "cidr",
        alias = "DestinationSecurityGroupId",
        alias = "DestinationPrefixListId"
    )]
    pub to: Many<CidrOrName>,
    /// For people.
    #[serde(default, alias = "Description")]
    pub description: Option<String>,
}

/// A network ACL: ordered rules, judged where packets enter or leave a subnet,
/// without memory of connections. What no rule matches is denied.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkAcl {
    /// Inbound rules.
    #[serde(default, alias = "Ingress")]
    pub ingress: Vec<Item<NetworkAclRule>>,
    /// Outbound rules.
    #[serde(default, alias = "Egress")]
    pub egress: Vec<Item<NetworkAclRule>>,
}

/// A network ACL rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkAclRule {
    /// Rule number, 1 to 32766; the lowest that matches decides.
    #[serde(alias = "RuleNumber", alias = "number", alias = "rule_number")]
    pub rule: Value<u16>,
    /// allow or deny.
    #[serde(alias = "RuleAction")]
    pub action: RuleAction,
    /// Protocol [default: all].
    #[serde(default, alias = "protocol", alias = "Protocol")]
    pub proto: Option<Value<Protocol>>,
    /// Destination ports [default: all].
    #[serde(default, alias = "port", alias = "PortRange")]
    pub ports: Option<Value<Ports>>,
    /// ICMP type, for icmp and icmpv6 [default: all].
    #[serde(default, alias = "icmp", alias = "Icmp")]
    pub icmp_type: Option<Value<IcmpType>>,
    /// Source (inbound) or destination (outbound).
    #[serde(
        alias = "CidrBlock",
        alias = "Ipv6CidrBlock",
        alias = "from",
        alias = "to"
    )]
    pub cidr: Value<Cidr>,
}

/// What a network ACL rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// Let it pass.
    Allow,
    /// Drop it.
    Deny,
}
