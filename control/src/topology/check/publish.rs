//! Published ports, and the addresses from which they are entered.

use std::collections::BTreeMap;

use super::Findings;
use crate::topology::error::{Mistake, suggest};
use crate::topology::located::Value;
use crate::topology::schema::Topology;
use crate::topology::values::{ElasticIp, Publish};

pub(super) fn check(topology: &Topology, found: &mut Findings) {
    let mut taken = BTreeMap::new();
    for publish in topology.publish.iter() {
        if let Err(mistake) = one(topology, publish) {
            found.add(mistake);
        }
        if let Some(line) = taken.insert((publish.listen, publish.udp), publish.at.line) {
            let message = format!("{} is published at line {line} already", publish.listen);
            found.add(Mistake::new(publish.at, message));
        }
    }
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
