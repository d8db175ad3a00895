//! The topology file as types. Keys are short lower_snake names; the names of
//! CloudFormation's resource properties (`CidrBlock`) are accepted as well.
//!
//! Everything is referred to by name. Names of subnets, route tables, groups
//! and ACLs belong to their VPC: elsewhere they are written `vpc/name`, or
//! just `name` where only one VPC has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::Deserialize;

mod expect;
mod faults;
mod hosts;
mod network;
mod services;
mod settings;

pub use expect::Expectation;
pub use faults::{Faults, Link, Programs};
pub use hosts::{Eni, Host, Internet, InternetHost, OnPrem};
pub use network::{
    DhcpOptions, EgressRule, IngressRule, NetworkAcl, NetworkAclRule, Peering, Route, RouteTable,
    RuleAction, SecurityGroup, Subnet, Vpc,
};
pub use services::{
    Dns, DnsZone, Endpoint, EndpointService, EndpointType, Failover, HealthCheck, HealthProtocol,
    Listener, LoadBalancer, LoadBalancerType, NatGateway, NatGatewayType, Stickiness, TargetGroup,
    TargetProtocol,
};

pub use settings::{Settings, WORKERS_MAX, Waiting};

use super::located::{Item, Many, Named, Value};
use super::values::{CidrOrName, Publish, ServiceUpstream, TimeScale};

/// The gateway's addresses where the file names none: for documentation (RFC 5737,
/// RFC 9637), so that no other of the lab is likely to be the same.
const GATEWAY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 1)),
];

/// A lab: networks, hosts and services that `vpclab up` builds.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "vpclab topology")]
pub struct Topology {
    /// The file, for errors.
    #[serde(skip)]
    pub file: String,
    /// Name of the lab: letters, digits and dashes.
    pub name: Value<String>,
    /// What this lab shows, for people.
    #[serde(default, alias = "Description")]
    pub description: Option<String>,
    /// Seed of every choice vpclab makes (ids, MAC addresses, hashing) [default: 1].
    #[serde(default)]
    pub seed: Option<u64>,
    /// Region [default: us-east-1].
    #[serde(default, alias = "Region")]
    pub region: Option<String>,
    /// Port of 127.0.0.1 that serves the lab's metrics [default: 4566, or the next
    /// that is free].
    #[serde(default)]
    pub http: Option<u16>,
    /// VPCs by name.
    #[serde(default)]
    pub vpcs: Named<Vpc>,
    /// Peering connections between VPCs by name.
    #[serde(default)]
    pub peerings: Named<Peering>,
    /// Customer-managed prefix lists by name: blocks, or names of other lists.
    #[serde(default)]
    pub prefix_lists: Named<Many<CidrOrName>>,
    /// Instances by name. Each is a host with one ENI or more.
    #[serde(default)]
    pub hosts: Named<Host>,
    /// What lies beyond the internet gateways.
    #[serde(default)]
    pub internet: Internet,
    /// NAT gateways by name: targets of routes.
    #[serde(default)]
    pub nat_gateways: Named<NatGateway>,
    /// Networks on premises by name.
    #[serde(default)]
    pub on_prem: Named<OnPrem>,
    /// Network and gateway load balancers by name.
    #[serde(default)]
    pub load_balancers: Named<LoadBalancer>,
    /// Target groups by name.
    #[serde(default)]
    pub target_groups: Named<TargetGroup>,
    /// PrivateLink endpoint services by name.
    #[serde(default)]
    pub endpoint_services: Named<EndpointService>,
    /// VPC endpoints by name.
    #[serde(default)]
    pub endpoints: Named<Endpoint>,
    /// AWS's services that the lab has, and what answers for each: `echo`, or an HTTP
    /// server of yours (LocalStack, moto, MinIO) as `http://HOST:PORT`. By AWS's name,
    /// `com.amazonaws.us-east-1.sqs`, or `sqs`. Plain HTTP at port 80.
    #[serde(default)]
    pub services: Named<Value<ServiceUpstream>>,
    /// The way out for names that the lab does not know.
    #[serde(default)]
    pub dns: Dns,
    /// Zones of DNS names by domain.
    #[serde(default)]
    pub zones: Named<DnsZone>,
    /// Faults of the lab from its start; those of links stand with their hosts.
    #[serde(default)]
    pub faults: Faults,
    /// How many times as fast as ours the lab's clock runs, 1 to 1000: with 50,
    /// an idle timeout of 350 s takes 7 s. Concerns every timeout and interval
    /// of AWS's, not links [default: 1].
    #[serde(default)]
    pub time_scale: Option<Value<TimeScale>>,
    /// Ports of this machine that lead to hosts with a public address:
    /// `127.0.0.1:8080:web:80`, `5353:dns:53/udp`. Entered as by a client on the
    /// internet: ACLs and groups judge.
    #[serde(default)]
    pub publish: Many<Publish>,
    /// What `vpclab test` asserts.
    #[serde(default)]
    pub expect: Vec<Item<Expectation>>,
    /// AWS quotas to change, by AWS's name: `vpcs-per-region: 20`.
    #[serde(default)]
    pub quotas: Named<Value<u32>>,
    /// How the data plane runs.
    #[serde(default)]
    pub settings: Settings,
}

impl Topology {
    /// The region, or its default.
    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or("us-east-1")
    }

    /// How fast the lab's clock runs, or its default.
    pub fn time_scale(&self) -> u32 {
        self.time_scale.as_ref().map_or(1, |scale| scale.value.0)
    }

    /// Hosts outside of AWS: of the internet, and on premises.
    pub fn outside_hosts(&self) -> impl Iterator<Item = (&Value<String>, &InternetHost)> {
        let on_prem = self.on_prem.iter();
        let on_prem = on_prem.flat_map(|(_, network)| network.hosts.iter());
        self.internet.hosts.iter().chain(on_prem)
    }

    /// Whether the lab has a way to or from the machine's real network.
    pub fn has_gateway(&self) -> bool {
        self.internet.uplink || !self.publish.is_empty()
    }

    /// The same lab apart from the real network: where that is not, as in a
    /// simulation, nothing leads to it.
    #[must_use]
    pub fn closed(&self) -> Self {
        let mut closed = self.clone();
        closed.internet.uplink = false;
        closed.publish = Many::default();
        closed.dns = Dns::default();
        closed
    }

    /// The gateway's addresses.
    pub fn gateway_addresses(&self) -> Vec<IpAddr> {
        if !self.internet.gateway.is_empty() {
            return self
                .internet
                .gateway
                .iter()
                .map(|address| address.0)
                .collect();
        }
        GATEWAY.to_vec()
    }

    /// The seed, or its default.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }
}
