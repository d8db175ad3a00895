//! Load balancers, target groups, endpoint services and endpoints.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::topology::located::{Item, Many, Named, Value};
use crate::topology::values::{Accept, Address, ElasticIp, RecordText, TargetText, Upstream};

/// A NAT gateway.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NatGateway {
    /// Its subnet.
    #[serde(alias = "SubnetId")]
    pub subnet: Value<String>,
    /// public or private [default: public].
    #[serde(default, rename = "type", alias = "ConnectivityType")]
    pub kind: NatGatewayType,
    /// Its Elastic IP (public ones): an address, or true for the next free one
    /// [default: true].
    #[serde(default, alias = "EIP")]
    pub eip: Option<Value<ElasticIp>>,
    /// Further Elastic IPs (public ones), each with a private address of its own.
    #[serde(default, alias = "SecondaryEips")]
    pub secondary_eips: Many<Address>,
    /// Its primary private address [default: the next free one].
    #[serde(default, alias = "PrivateIpAddress")]
    pub address: Option<Value<Address>>,
    /// Further private addresses (private ones).
    #[serde(default, alias = "SecondaryPrivateIpAddresses")]
    pub secondary: Many<Address>,
}

/// Kind of NAT gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NatGatewayType {
    /// With Elastic IPs: to the internet.
    #[default]
    Public,
    /// Without: to other private networks.
    Private,
}

/// A network or gateway load balancer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadBalancer {
    /// network or gateway [default: network].
    #[serde(default, rename = "type", alias = "Type")]
    pub kind: LoadBalancerType,
    /// Subnets, one per zone, all in one VPC: each gets a node with an address.
    #[serde(alias = "Subnets", alias = "subnet")]
    pub subnets: Many<String>,
    /// Fixed node addresses by subnet [default: the next free ones].
    #[serde(default, alias = "SubnetMappings")]
    pub addresses: Named<Value<Address>>,
    /// Security groups (network load balancers only) [default: none].
    #[serde(default, alias = "SecurityGroups", alias = "security_groups")]
    pub groups: Many<String>,
    /// Listeners. A gateway load balancer has one, without protocol and port.
    #[serde(default, alias = "Listeners")]
    pub listeners: Vec<Item<Listener>>,
    /// Whether a node uses targets of all zones [default: false].
    #[serde(default, alias = "CrossZone")]
    pub cross_zone: bool,
    /// Whether the groups judge PrivateLink traffic too [default: true].
    #[serde(
        default,
        alias = "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic"
    )]
    pub enforce_privatelink_groups: Option<bool>,
    /// Give nodes an IPv6 address, too [default: false].
    #[serde(default)]
    pub dualstack: bool,
    /// Private IPv4 addresses of each node besides its first, 0 to 7: each carries 55 000
    /// connections to a target (network load balancers only) [default: 0].
    #[serde(default)]
    pub secondary_ips: Option<Value<u8>>,
}

/// Kind of load balancer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LoadBalancerType {
    /// Network load balancer.
    #[default]
    Network,
    /// Gateway load balancer.
    Gateway,
}

/// A listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// tcp, udp or tcp_udp [default: tcp; none on a gateway load balancer].
    #[serde(default, alias = "protocol", alias = "Protocol")]
    pub proto: Option<TargetProtocol>,
    /// Port.
    #[serde(default, alias = "Port")]
    pub port: Option<Value<u16>>,
    /// Where connections go.
    #[serde(alias = "TargetGroupArn", alias = "forward")]
    pub target_group: Value<String>,
    /// Idle timeout of TCP flows in seconds, 60 to 6000 [default: 350].
    #[serde(default, alias = "tcp_idle_timeout")]
    pub idle_timeout: Option<Value<u32>>,
}

/// A target group.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetGroup {
    /// tcp, udp, tcp_udp or geneve.
    #[serde(alias = "proto", alias = "Protocol")]
    pub protocol: TargetProtocol,
    /// Port of the targets [geneve: always 6081].
    #[serde(default, alias = "Port")]
    pub port: Option<Value<u16>>,
    /// VPC [default: that of the load balancer using it, or of its first host].
    #[serde(default, alias = "VpcId")]
    pub vpc: Option<Value<String>>,
    /// Targets: hosts or addresses, with a port (web:8080) or without.
    #[serde(default, alias = "Targets")]
    pub targets: Many<TargetText>,
    /// How targets are checked.
    #[serde(default, alias = "HealthCheck")]
    pub health_check: HealthCheck,
    /// Which packets stay with one target (geneve) [default: five_tuple].
    #[serde(default)]
    pub stickiness: Option<Stickiness>,
    /// What happens to the flows of a failed target (geneve) [default: no_rebalance].
    #[serde(default, alias = "target_failover")]
    pub failover: Option<Failover>,
    /// Seconds that a deregistered target keeps its flows [default: 300].
    #[serde(default)]
    pub deregistration_delay: Option<Value<u32>>,
    /// Reset the TCP flows of a target that turns unhealthy [default: true of tcp,
    /// else false].
    #[serde(default)]
    pub reset_on_unhealthy: Option<bool>,
    /// Reset the TCP flows of a target that was deregistered, its delay being over;
    /// those of UDP begin anew [default: true of udp and tcp_udp, else false].
    #[serde(default)]
    pub reset_on_deregistration: Option<bool>,
    /// Reset TCP flows that come back after the idle timeout (geneve) [default: false].
    #[serde(default)]
    pub reset_on_idle: Option<bool>,
    /// Begin each TCP connection to a target, and each health check, with a proxy
    /// protocol v2 header (not geneve) [default: false].
    #[serde(default, alias = "proxy_protocol_v2")]
    pub proxy_protocol: Option<bool>,
    /// Targets see the address and port of a client that does not come by PrivateLink
    /// (not geneve) [default: true of udp and tcp_udp, where it must be; false of tcp].
    #[serde(default, alias = "client_ip_preservation")]
    pub preserve_client_ip: Option<bool>,
}

/// Protocol of a target group or listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetProtocol {
    /// TCP.
    #[serde(alias = "TCP")]
    Tcp,
    /// UDP.
    #[serde(alias = "UDP")]
    Udp,
    /// TCP and UDP on one port.
    #[serde(alias = "TCP_UDP")]
    TcpUdp,
    /// GENEVE: appliances behind a gateway load balancer.
    #[serde(alias = "GENEVE")]
    Geneve,
}

/// How targets are checked; what is left out has AWS's defaults.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// tcp or http [default: tcp].
    #[serde(default, alias = "proto", alias = "HealthCheckProtocol")]
    pub protocol: Option<HealthProtocol>,
    /// Port [default: the target's own; geneve: 80].
    #[serde(default, alias = "HealthCheckPort")]
    pub port: Option<Value<u16>>,
    /// Path of HTTP checks [default: /].
    #[serde(default, alias = "HealthCheckPath")]
    pub path: Option<String>,
    /// Seconds between checks, 5 to 300 [default: 30; geneve: 10].
    #[serde(default, alias = "HealthCheckIntervalSeconds")]
    pub interval: Option<Value<u32>>,
    /// Seconds until a check fails, 2 to 120 [default: 10, HTTP 6; geneve: 5].
    #[serde(default, alias = "HealthCheckTimeoutSeconds")]
    pub timeout: Option<Value<u32>>,
    /// Good checks in a row that make a target healthy, 2 to 10 [default: 5].
    #[serde(default, alias = "healthy_threshold", alias = "HealthyThresholdCount")]
    pub healthy: Option<Value<u32>>,
    /// Failed checks in a row that make it unhealthy, 2 to 10 [default: 2].
    #[serde(
        default,
        alias = "unhealthy_threshold",
        alias = "UnhealthyThresholdCount"
    )]
    pub unhealthy: Option<Value<u32>>,
    /// HTTP status codes that are good [default: 200-399].
    #[serde(default, alias = "Matcher")]
    pub matcher: Option<String>,
}

/// Protocol of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthProtocol {
    /// A TCP connection that opens.
    #[serde(alias = "TCP")]
    Tcp,
    /// An HTTP status that matches.
    #[serde(alias = "HTTP")]
    Http,
}

/// Which packets stay with one appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stickiness {
    /// Those of one connection.
    FiveTuple,
    /// `source_ip_dest_ip_proto`: those between two addresses, per protocol.
    #[serde(alias = "three_tuple")]
    SourceIpDestIpProto,
    /// `source_ip_dest_ip`: those between two addresses.
    #[serde(alias = "two_tuple")]
    SourceIpDestIp,
}

/// What happens to the flows of a failed appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Failover {
    /// They stay on it.
    NoRebalance,
    /// They move to healthy ones.
    Rebalance,
}

/// A PrivateLink endpoint service.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointService {
    /// The load balancers behind it, all network or all gateway.
    #[serde(
        alias = "load_balancer",
        alias = "NetworkLoadBalancerArns",
        alias = "GatewayLoadBalancerArns"
    )]
    pub load_balancers: Many<String>,
    /// Whether the provider accepts each endpoint [default: true, as in AWS].
    #[serde(default, alias = "AcceptanceRequired")]
    pub acceptance_required: Option<bool>,
    /// A name by which endpoints with `private_dns` are found in their VPCs. The
    /// file's word is its proof: the lab makes the TXT record.
    #[serde(default, alias = "PrivateDnsName")]
    pub private_dns_name: Option<Value<String>>,
    /// Principals of other accounts that may connect: ARNs, or `*`.
    #[serde(default, alias = "AllowedPrincipals")]
    pub allowed_principals: Many<String>,
}

/// The resolvers' way out of the lab.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// A resolver in this machine's network that is asked by UDP for names that
    /// the lab does not know: an address, with a port (127.0.0.1:5353) or without
    /// [default: none, such names do not exist].
    #[serde(default)]
    pub upstream: Option<Value<Upstream>>,
}

/// A zone of DNS names, public or of VPCs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsZone {
    /// VPCs that see it (both DNS attributes must be on) [default: public, all see it].
    #[serde(default, alias = "VPCs", alias = "vpc")]
    pub vpcs: Many<String>,
    /// Records by name inside the zone, `@` for the zone itself, `*` for any: an
    /// address or several, `cname NAME`, or `txt TEXT`.
    #[serde(default)]
    pub records: Named<Many<RecordText>>,
}

/// A VPC endpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// interface, gateway_load_balancer or gateway [default: what the service is].
    #[serde(default, rename = "type", alias = "VpcEndpointType")]
    pub kind: Option<EndpointType>,
    /// The endpoint service, or one of AWS's that is among `services`; of a gateway
    /// endpoint s3 or dynamodb.
    #[serde(alias = "ServiceName")]
    pub service: Value<String>,
    /// VPC [default: that of its subnets or route tables].
    #[serde(default, alias = "VpcId")]
    pub vpc: Option<Value<String>>,
    /// Subnets, one per zone: each gets an ENI. A gateway load balancer
    /// endpoint has exactly one, a gateway endpoint none.
    #[serde(default, alias = "SubnetIds", alias = "subnet")]
    pub subnets: Many<String>,
    /// Route tables that get its route (gateway endpoints): `vpc/table`, or `table`
    /// where only one VPC has it.
    #[serde(default, alias = "RouteTableIds")]
    pub route_tables: Many<String>,
    /// Security groups (interface endpoints) [default: the VPC's default group].
    #[serde(default, alias = "SecurityGroupIds", alias = "security_groups")]
    pub groups: Many<String>,
    /// Address of the only ENI [default: the next free one].
    #[serde(default)]
    pub address: Option<Value<Address>>,
    /// Addresses by subnet, for several.
    #[serde(default, alias = "SubnetConfigurations")]
    pub addresses: Named<Value<Address>>,
    /// Give interfaces an IPv6 address, too [default: false].
    #[serde(default)]
    pub dualstack: bool,
    /// Find it by the service's private DNS name, too [default: false].
    #[serde(default, alias = "PrivateDnsEnabled")]
    pub private_dns: bool,
    /// Whether the provider's side of this lab accepts it [default: auto].
    #[serde(default)]
    pub accept: Option<Value<Accept>>,
}

/// Type of a VPC endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointType {
    /// PrivateLink to network load balancers.
    #[serde(alias = "Interface")]
    Interface,
    /// A route target in front of appliances.
    #[serde(alias = "GatewayLoadBalancer")]
    GatewayLoadBalancer,
    /// A route to the addresses of S3 or DynamoDB.
    #[serde(alias = "Gateway")]
    Gateway,
}
