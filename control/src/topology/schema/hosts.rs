//! Hosts, their interfaces, and the internet.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Link;
use crate::topology::located::{Item, Many, Named, Value};
use crate::topology::values::{Address, Cidr, ElasticIp, Restart};

/// A host (an EC2 instance). With one ENI, its keys stand here; with several,
/// they stand in `enis`, the primary first.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Subnet of the only ENI.
    #[serde(default, alias = "SubnetId", alias = "Subnet")]
    pub subnet: Option<Value<String>>,
    /// Primary private IPv4 address [default: the next free one].
    #[serde(default, alias = "PrivateIpAddress", alias = "private_ip")]
    pub address: Option<Value<Address>>,
    /// IPv6 addresses [default: one, if the subnet has an IPv6 block].
    #[serde(default, alias = "Ipv6Addresses")]
    pub ipv6: Option<Many<Address>>,
    /// Secondary private IPv4 addresses.
    #[serde(default, alias = "PrivateIpAddresses", alias = "secondary_addresses")]
    pub secondary: Many<Address>,
    /// Delegated prefixes (/28 IPv4, /80 IPv6).
    #[serde(default, alias = "Ipv4Prefixes", alias = "Ipv6Prefixes")]
    pub prefixes: Many<Cidr>,
    /// Security groups [default: the VPC's default group].
    #[serde(
        default,
        alias = "SecurityGroupIds",
        alias = "GroupSet",
        alias = "security_groups"
    )]
    pub groups: Many<String>,
    /// Drop what is neither from nor to this ENI; false for routers, NAT
    /// instances and appliances that forward [default: true].
    #[serde(default, alias = "SourceDestCheck")]
    pub source_dest_check: Option<bool>,
    /// Public IPv4 address, mapped 1:1 by the internet gateway.
    #[serde(default, alias = "elastic_ip", alias = "EIP")]
    pub eip: Option<Value<ElasticIp>>,
    /// Several ENIs instead of the keys above.
    #[serde(default, alias = "NetworkInterfaces", alias = "network_interfaces")]
    pub enis: Option<Vec<Item<Eni>>>,
    /// Make no host: its ENIs wait for `vpclab attach`, which gives them to a
    /// container, pod or virtual machine [default: false].
    #[serde(default)]
    pub attach: bool,
    /// Shell command to start with the host, or a list of them.
    #[serde(default)]
    pub run: Many<String>,
    /// Environment of the commands.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Whether commands that have ended start again: no, on-failure or always
    /// [default: no].
    #[serde(default)]
    pub restart: Option<Value<Restart>>,
    /// What is wrong with the links of its ENIs [default: nothing].
    #[serde(default)]
    pub link: Option<Link>,
}

/// A network interface of a host with several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Eni {
    /// Subnet; all of a host's ENIs are in one VPC and one zone.
    #[serde(alias = "SubnetId", alias = "Subnet")]
    pub subnet: Value<String>,
    /// Primary private IPv4 address [default: the next free one].
    #[serde(default, alias = "PrivateIpAddress", alias = "private_ip")]
    pub address: Option<Value<Address>>,
    /// IPv6 addresses [default: one, if the subnet has an IPv6 block].
    #[serde(default, alias = "Ipv6Addresses")]
    pub ipv6: Option<Many<Address>>,
    /// Secondary private IPv4 addresses.
    #[serde(default, alias = "PrivateIpAddresses", alias = "secondary_addresses")]
    pub secondary: Many<Address>,
    /// Delegated prefixes (/28 IPv4, /80 IPv6).
    #[serde(default, alias = "Ipv4Prefixes", alias = "Ipv6Prefixes")]
    pub prefixes: Many<Cidr>,
    /// Security groups [default: the VPC's default group].
    #[serde(
        default,
        alias = "SecurityGroupIds",
        alias = "GroupSet",
        alias = "security_groups"
    )]
    pub groups: Many<String>,
    /// Drop what is neither from nor to this ENI [default: true].
    #[serde(default, alias = "SourceDestCheck")]
    pub source_dest_check: Option<bool>,
    /// Public IPv4 address.
    #[serde(default, alias = "elastic_ip", alias = "EIP")]
    pub eip: Option<Value<ElasticIp>>,
}

/// The internet beyond every internet gateway.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Internet {
    /// Hosts on the internet by name; any other public address is unreachable,
    /// unless there is an uplink.
    #[serde(default)]
    pub hosts: Named<InternetHost>,
    /// Let TCP, UDP and pings to other public addresses out to this machine's
    /// real network [default: false].
    #[serde(default)]
    pub uplink: bool,
    /// Addresses from which published ports are entered, one of each family
    /// [default: 192.0.2.1 and 3fff::1].
    #[serde(default)]
    pub gateway: Many<Address>,
}

/// A host on the internet, or on premises: MTU 1500, no security group.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InternetHost {
    /// Its addresses: public ones, IPv4 or IPv6; on premises IPv4, of the network.
    #[serde(alias = "address")]
    pub addresses: Many<Address>,
    /// On premises: what it stands for beside its own addresses, as a router does for
    /// machines behind it; a host's own address counts before [default: none].
    #[serde(default)]
    pub prefixes: Many<Cidr>,
    /// Make no host: it waits for `vpclab attach` [default: false].
    #[serde(default)]
    pub attach: bool,
    /// Shell command to start with the host, or a list of them.
    #[serde(default)]
    pub run: Many<String>,
    /// Environment of the commands.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Whether commands that have ended start again: no, on-failure or always
    /// [default: no].
    #[serde(default)]
    pub restart: Option<Value<Restart>>,
    /// What is wrong with its link [default: nothing].
    #[serde(default)]
    pub link: Option<Link>,
}

/// A network on premises, behind a router that makes VPN connections.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnPrem {
    /// Its IPv4 prefixes.
    #[serde(alias = "cidr")]
    pub cidrs: Many<Cidr>,
    /// Its router's address on the internet, as a customer gateway has it
    /// [default: 192.0.2.101, .102, … in the order of the file].
    #[serde(default)]
    pub router: Option<Value<Address>>,
    /// VPCs whose virtual private gateway it has a VPN connection to.
    #[serde(default)]
    pub vpn: Many<String>,
    /// Static routes of the connections: these prefixes [default: all of the
    /// network's, learnt by BGP].
    #[serde(default)]
    pub static_routes: Many<Cidr>,
    /// Its hosts by name: MTU 1500, no security group.
    #[serde(default)]
    pub hosts: Named<InternetHost>,
}
