//! Published ports.

use std::net::IpAddr;

use super::Findings;
use crate::topology::error::{Mistake, suggest};
use crate::topology::located::Value;
use crate::topology::schema::Topology;
use crate::topology::values::{ElasticIp, Publish};

pub(super) fn check(topology: &Topology, found: &mut Findings) {
    for (n, publish) in topology.publish.iter().enumerate() {
        if let Err(mistake) = one(topology, publish) {
            found.add(mistake);
        }
        let mut before = topology.publish.iter().take(n);
        if let Some(other) = before.find(|other| same_place(&other.value, &publish.value)) {
            let message = format!(
                "{} is published at line {} already; choose another port",
                other.place(),
                other.at.line
            );
            found.add(Mistake::new(publish.at, message));
        }
    }
}

/// Whether one socket of the two is in the other's place.
fn same_place(one: &Publish, other: &Publish) -> bool {
    let (a, b) = (one.listen.ip(), other.listen.ip());
    // All addresses of IPv6 are those of IPv4 too.
    let all = |all: IpAddr, one: IpAddr| {
        all.is_unspecified() && (all.is_ipv6() || all.is_ipv4() == one.is_ipv4())
    };
    let port = (one.udp, one.listen.port()) == (other.udp, other.listen.port());
    port && (a == b || all(a, b) || all(b, a))
}

/// The host is there, and the internet reaches it.
fn one(topology: &Topology, publish: &Value<Publish>) -> Result<(), Mistake> {
    if topology
        .internet
        .hosts
        .names()
        .any(|name| name == publish.host)
    {
        return Ok(());
    }
    let Some(host) = topology.hosts.find(&publish.host) else {
        let all = topology
            .hosts
            .names()
            .chain(topology.internet.hosts.names());
        let hint = suggest(&publish.host, all);
        let message = format!("no host is called '{}'{hint}", publish.host);
        return Err(Mistake::new(publish.at, message));
    };
    let interfaces = host.interfaces();
    let Some(interface) = interfaces.get(usize::from(publish.device)) else {
        let message = format!("{} has no eth{}", publish.host, publish.device);
        return Err(Mistake::new(publish.at, message));
    };
    let subnet = topology
        .subnet(interface.subnet)
        .ok()
        .map(|found| found.subnet);
    let public = match interface.eip.map(|eip| eip.value) {
        Some(ElasticIp::None) => false,
        Some(_) => true,
        None => subnet.is_some_and(|subnet| subnet.map_public_ip == Some(true)),
    };
    // IPv6 addresses are public by themselves.
    if public || interface.ipv6.is_some() || subnet.is_some_and(|subnet| subnet.ipv6.is_some()) {
        return Ok(());
    }
    let message = format!(
        "host {} has no public address, and a published port is entered from the internet; \
         add `eip: true`",
        publish.host
    );
    Err(Mistake::new(publish.at, message))
}
