//! Hosts, their addresses, and the internet's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Findings;
use super::network::usable;
use crate::topology::error::Mistake;
use crate::topology::located::{At, Value};
use crate::topology::resolve::{Interface, SubnetRef};
use crate::topology::schema::{Host, Topology};
use crate::topology::values::{Address, ElasticIp, Gateway, Ipv6Block};

/// Where an address is in use already: in a VPC, or on the internet ("").
type Taken<'a> = BTreeMap<(&'a str, IpAddr), At>;

pub(super) fn check(topology: &Topology, found: &mut Findings) {
    let mut taken = Taken::new();
    for (name, host) in topology.hosts.iter() {
        shape(name, host, found);
        runs_by_itself(name, host.attach, &host.run, found);
        let mut vpcs = Vec::new();
        for interface in host.interfaces() {
            if let Some(subnet) = found.note(topology.subnet(interface.subnet)) {
                one_interface(topology, &interface, subnet, &mut taken, found);
                vpcs.push((subnet.vpc, interface.subnet.at));
            }
        }
        if let Some((vpc, at)) = vpcs.iter().find(|(vpc, _)| *vpc != vpcs[0].0) {
            let message = format!(
                "host {} has ENIs in VPCs {} and {vpc}; all of a host are in one VPC",
                name.value, vpcs[0].0
            );
            found.add(Mistake::new(*at, message));
        }
    }
    for (name, host) in topology.internet.hosts.iter() {
        runs_by_itself(name, host.attach, &host.run, found);
        if host.addresses.is_empty() {
            let message = format!(
                "internet host {} has no address; write `addresses: [203.0.113.80]`",
                name.value
            );
            found.add(Mistake::new(name.at, message));
        }
        if let Some(prefix) = host.prefixes.first() {
            let message = format!(
                "internet host {} has prefixes, which only hosts under `on_prem:` can stand for",
                name.value
            );
            found.add(Mistake::new(prefix.at, message));
        }
        for address in host.addresses.iter() {
            if let Some(why) = not_public(address.0) {
                let message = format!("{} is {why}; an internet host has a public one", address.0);
                found.add(Mistake::new(address.at, message));
            }
            claim(&mut taken, "", address.0, address.at, found);
        }
    }
    gateway(topology, &mut taken, found);
    nodes(topology, &mut taken, found);
}

/// The addresses of the gateway to the real network.
fn gateway(topology: &Topology, taken: &mut Taken<'_>, found: &mut Findings) {
    let named = &topology.internet.gateway;
    for (n, address) in named.iter().enumerate() {
        if let Some(why) = not_public(address.0) {
            let message = format!("{} is {why}; the gateway has a public one", address.0);
            found.add(Mistake::new(address.at, message));
        }
        let family = |other: &Value<Address>| other.0.is_ipv4() == address.0.is_ipv4();
        if named.iter().take(n).any(family) {
            let message = "the gateway has one address of each family; remove this one";
            found.add(Mistake::new(address.at, message));
        }
        claim(taken, "", address.0, address.at, found);
    }
    if !topology.has_gateway() || !named.is_empty() {
        return;
    }
    for address in topology.gateway_addresses() {
        if let Some(&at) = taken.get(&("", address)) {
            let message = format!(
                "{address} is that of the gateway to the real network; choose another, or give \
                 the gateway one: `internet: {{gateway: ADDRESS}}`"
            );
            found.add(Mistake::new(at, message));
        }
    }
}

/// The addresses chosen for load-balancer nodes and endpoints.
fn nodes<'a>(topology: &'a Topology, taken: &mut Taken<'a>, found: &mut Findings) {
    let balancers = topology
        .load_balancers
        .iter()
        .map(|(_, b)| (&b.subnets, &b.addresses));
    let endpoints = topology
        .endpoints
        .iter()
        .map(|(_, e)| (&e.subnets, &e.addresses));
    let mut fixed = Vec::new();
    for (subnets, addresses) in balancers.chain(endpoints) {
        for (key, address) in addresses.iter() {
            if !subnets.iter().any(|subnet| subnet.value == key.value) {
                let message = format!("'{}' is not one of the subnets above", key.value);
                found.add(Mistake::new(key.at, message));
            } else if let Ok(subnet) = topology.subnet(key) {
                fixed.push((subnet, address));
            }
        }
    }
    for (name, endpoint) in topology.endpoints.iter() {
        let Some(address) = &endpoint.address else {
            continue;
        };
        if endpoint.subnets.len() != 1 {
            let message = format!(
                "endpoint {} has {} subnets; write `addresses: {{SUBNET: ADDRESS}}`",
                name.value,
                endpoint.subnets.len()
            );
            found.add(Mistake::new(address.at, message));
        } else if let Ok(subnet) = topology.subnet(&endpoint.subnets[0]) {
            fixed.push((subnet, address));
        }
    }
    for (subnet, address) in fixed {
        match usable(subnet.name, subnet.subnet.cidr.value.0, address.0) {
            Err(message) => found.add(Mistake::new(address.at, message)),
            Ok(()) => claim(taken, subnet.vpc, address.0, address.at, found),
        }
    }
}

/// What is attached runs its own programs.
pub(super) fn runs_by_itself(
    name: &Value<String>,
    attach: bool,
    run: &[Value<String>],
    found: &mut Findings,
) {
    if let Some(command) = run.first().filter(|_| attach) {
        let message = format!(
            "host {} has `attach: true`, so it starts its programs itself; remove `run:`, or `attach:`",
            name.value
        );
        found.add(Mistake::new(command.at, message));
    }
}

/// Either the keys of one ENI, or `enis`.
fn shape(name: &Value<String>, host: &Host, found: &mut Findings) {
    match (&host.enis, &host.subnet) {
        (None, None) => {
            let message = format!("host {} is in no subnet; add `subnet: NAME`", name.value);
            found.add(Mistake::new(name.at, message));
        }
        (Some(enis), _) if enis.is_empty() => {
            let message = format!(
                "host {} has no ENI; list one, or write `subnet:`",
                name.value
            );
            found.add(Mistake::new(name.at, message));
        }
        (Some(_), Some(subnet)) => {
            let message = "a host has `enis:` or `subnet:`, not both; move it into `enis`";
            found.add(Mistake::new(subnet.at, message));
        }
        _ => {}
    }
    if host.enis.is_some() {
        let stray = host.address.as_ref().map(|v| v.at);
        let stray = stray.or(host.eip.as_ref().map(|v| v.at));
        let stray = stray.or(host.groups.first().map(|v| v.at));
        let stray = stray.or(host.secondary.first().map(|v| v.at));
        let stray = stray.or(host.prefixes.first().map(|v| v.at));
        let stray = stray.or(host.ipv6.as_ref().and_then(|v| v.first()).map(|v| v.at));
        let stray = stray.or(host.source_dest_check.map(|_| name.at));
        if let Some(at) = stray {
            let message = format!(
                "host {} lists `enis:`; move this key into one of them",
                name.value
            );
            found.add(Mistake::new(at, message));
        }
    }
}

fn one_interface<'a>(
    topology: &'a Topology,
    interface: &Interface<'_>,
    subnet: SubnetRef<'a>,
    taken: &mut Taken<'a>,
    found: &mut Findings,
) {
    let Some(vpc) = topology.vpcs.find(subnet.vpc) else {
        return;
    };
    for group in interface.groups {
        found.note(vpc.group(subnet.vpc, group));
    }
    if interface.groups.len() > 16 {
        let message = "an ENI has at most 16 security groups";
        found.add(Mistake::new(interface.groups[16].at, message));
    }
    let block = subnet.subnet.cidr.value.0;
    for address in interface.address.into_iter().chain(interface.secondary) {
        if address.0.is_ipv6() {
            let message = format!("{} is IPv6; write it under `ipv6:`", address.0);
            found.add(Mistake::new(address.at, message));
            continue;
        }
        match usable(subnet.name, block, address.0) {
            Err(message) => found.add(Mistake::new(address.at, message)),
            Ok(()) => claim(taken, subnet.vpc, address.0, address.at, found),
        }
    }
    for address in interface.ipv6.iter().flat_map(|many| many.iter()) {
        let of_subnet = subnet
            .subnet
            .ipv6
            .as_ref()
            .map_or(Ipv6Block::None, |ipv6| ipv6.value);
        match of_subnet {
            Ipv6Block::None => {
                let message = format!(
                    "subnet {} has no IPv6 block; add `ipv6:` to it",
                    subnet.name
                );
                found.add(Mistake::new(address.at, message));
            }
            Ipv6Block::Block(block) => match usable(subnet.name, block, address.0) {
                Err(message) => found.add(Mistake::new(address.at, message)),
                Ok(()) => claim(taken, subnet.vpc, address.0, address.at, found),
            },
            // Judged by the API, once the block is known.
            Ipv6Block::Next => {}
        }
    }
    for prefix in interface.prefixes {
        let v6 = prefix.value.0.address().is_ipv6();
        let len = if v6 { 80 } else { 28 };
        if prefix.value.0.len() != len {
            let message = format!(
                "a delegated prefix is /28 (IPv4) or /80 (IPv6), not /{}",
                prefix.value.0.len()
            );
            found.add(Mistake::new(prefix.at, message));
        } else if !v6 && !block.covers(prefix.value.0) {
            let message = format!(
                "{} is not in subnet {} ({block})",
                prefix.value, subnet.name
            );
            found.add(Mistake::new(prefix.at, message));
        }
    }
    if let Some(eip) = interface.eip.filter(|eip| eip.value != ElasticIp::None) {
        if !vpc
            .igw
            .as_ref()
            .is_some_and(|igw| igw.value != Gateway::Off)
        {
            let message = format!(
                "a public address needs an internet gateway; add `igw: true` to VPC {}",
                subnet.vpc
            );
            found.add(Mistake::new(eip.at, message));
        }
        if let ElasticIp::Address(address) = eip.value {
            match not_public(IpAddr::V4(address)) {
                Some(why) => {
                    let message =
                        format!("{address} is {why}; write a public one, or true for any");
                    found.add(Mistake::new(eip.at, message));
                }
                None => claim(taken, "", IpAddr::V4(address), eip.at, found),
            }
        }
    }
}

fn claim<'a>(taken: &mut Taken<'a>, vpc: &'a str, address: IpAddr, at: At, found: &mut Findings) {
    if let Some(other) = taken.insert((vpc, address), at) {
        let (first, second) = (other.min(at), other.max(at));
        let message = format!(
            "{address} is in use at line {} already; choose another",
            first.line
        );
        found.add(Mistake::new(second, message));
    }
}

/// Why an address cannot be reached through an internet gateway.
fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            _ if v4.is_private() => Some("a private address (RFC 1918)"),
            [100, 64..=127, ..] => Some("a shared address (RFC 6598)"),
            _ if v4.is_loopback() || v4.is_link_local() || v4.octets()[0] == 0 => {
                Some("no address of a host on the internet")
            }
            _ if v4.is_multicast() || v4.octets()[0] >= 240 => Some("no unicast address"),
            _ => None,
        },
        IpAddr::V6(v6) => match v6.segments()[0] {
            first if first & 0xffc0 == 0xfe80 => Some("a link-local address"),
            first if first & 0xfe00 == 0xfc00 => Some("a private address (RFC 4193)"),
            first if first & 0xff00 == 0xff00 => Some("no unicast address"),
            _ if v6.is_loopback() || v6.is_unspecified() => {
                Some("no address of a host on the internet")
            }
            _ => None,
        },
    }
}
