//! Networks on premises.

use std::net::IpAddr;

use vpclab_dataplane::addr::{Prefix, is_public};

use super::{Findings, plain};
use crate::topology::error::Mistake;
use crate::topology::schema::{OnPrem, Topology};
use crate::topology::values::Gateway;

pub(super) fn check(topology: &Topology, found: &mut Findings) {
    for (name, network) in topology.on_prem.iter() {
        found.note(plain("an on-premises network", name));
        if network.cidrs.is_empty() {
            let message = format!(
                "network {} has no prefix; write `cidrs: [192.168.0.0/16]`",
                name.value
            );
            found.add(Mistake::new(name.at, message));
        }
        for cidr in network.cidrs.iter().chain(network.static_routes.iter()) {
            if !cidr.value.0.is_ipv4() {
                let message = format!(
                    "{} is IPv6, which VPN connections of a virtual private gateway do not carry",
                    cidr.value.0
                );
                found.add(Mistake::new(cidr.at, message));
            }
        }
        if let Some(router) = network.router.as_ref().filter(|it| !is_outside(it.value.0)) {
            let message = format!(
                "{} is not a public IPv4 address, as a router on the internet has",
                router.value.0
            );
            found.add(Mistake::new(router.at, message));
        }
        connections(topology, network, found);
        hosts(network, found);
    }
}

fn is_outside(address: IpAddr) -> bool {
    address.is_ipv4() && is_public(address)
}

fn connections(topology: &Topology, network: &OnPrem, found: &mut Findings) {
    for (n, reference) in network.vpn.iter().enumerate() {
        let Some((vpc, body)) = found.note(topology.vpc(reference)) else {
            continue;
        };
        if body
            .vgw
            .as_ref()
            .is_none_or(|vgw| vgw.value == Gateway::Off)
        {
            let message =
                format!("VPC {vpc} has no virtual private gateway; add `vgw: true` to it");
            found.add(Mistake::new(reference.at, message));
        }
        if network
            .vpn
            .iter()
            .take(n)
            .any(|other| other.value == reference.value)
        {
            let message = format!("VPC {vpc} is listed twice; remove one");
            found.add(Mistake::new(reference.at, message));
        }
    }
}

fn hosts(network: &OnPrem, found: &mut Findings) {
    let blocks: Vec<Prefix> = network.cidrs.iter().map(|cidr| cidr.value.0).collect();
    let mut taken: Vec<(IpAddr, u32)> = Vec::new();
    let mut stood_for: Vec<(Prefix, u32)> = Vec::new();
    for (name, host) in network.hosts.iter() {
        super::hosts::runs_by_itself(name, host.attach, &host.run, found);
        if host.addresses.is_empty() {
            let message = format!("host {} has no address; give it one", name.value);
            found.add(Mistake::new(name.at, message));
        }
        for address in host.addresses.iter() {
            let own = address.value.0;
            if !blocks.iter().any(|block| block.contains(own)) {
                let message = format!("{own} is in none of the network's prefixes");
                found.add(Mistake::new(address.at, message));
            }
            if let Some((_, line)) = taken.iter().find(|(other, _)| *other == own) {
                let message = format!("{own} is in use at line {line} already; choose another");
                found.add(Mistake::new(address.at, message));
            }
            taken.push((own, address.at.line));
        }
        for prefix in host.prefixes.iter() {
            let own = prefix.value.0;
            if !blocks.iter().any(|block| block.covers(own)) {
                let message = format!("{own} is in none of the network's prefixes");
                found.add(Mistake::new(prefix.at, message));
            }
            let other = stood_for.iter().find(|(other, _)| other.overlaps(own));
            if let Some((other, line)) = other {
                let message = format!("{own} overlaps {other} at line {line}; one host has it");
                found.add(Mistake::new(prefix.at, message));
            }
            stood_for.push((own, prefix.at.line));
        }
    }
}
