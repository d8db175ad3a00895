//! Expectations: who and what they name.

use std::net::IpAddr;

use super::Findings;
use crate::cli::Destination;
use crate::topology::error::{Mistake, suggest};
use crate::topology::located::Value;
use crate::topology::schema::{Expectation, Topology};

pub(super) fn check(topology: &Topology, found: &mut Findings) {
    for expectation in &topology.expect {
        if let Err(mistake) = one(topology, expectation) {
            found.add(mistake);
        }
    }
}

fn one(topology: &Topology, expectation: &Expectation) -> Result<(), Mistake> {
    let hosts = hosts(topology);
    known(&expectation.from, &expectation.from, "host", &hosts)?;
    let to = &expectation.to;
    let destination: Destination = to
        .value
        .parse()
        .map_err(|e: String| Mistake::new(to.at, e))?;
    if destination.address().is_none() {
        let mut all = hosts;
        all.extend(topology.endpoints.names());
        all.extend(topology.load_balancers.names());
        known(
            to,
            &destination.host,
            "host, endpoint or load balancer",
            &all,
        )?;
    }
    let proto = expectation
        .proto
        .as_ref()
        .map_or("tcp", |proto| proto.as_str());
    match (proto, destination.port) {
        ("tcp" | "udp", None) => {
            let message = format!("{proto} needs a port; write `to: {}:443`", to.value);
            return Err(Mistake::new(to.at, message));
        }
        ("icmp" | "icmpv6", Some(_)) => {
            let message = format!("{proto} has no ports; write `to: {}`", destination.host);
            return Err(Mistake::new(to.at, message));
        }
        ("tcp" | "udp" | "icmp" | "icmpv6", _) => {}
        _ => {
            let at = expectation.proto.as_ref().map_or(to.at, |proto| proto.at);
            let message = format!("'{proto}' is not tested; write tcp, udp, icmp or icmpv6");
            return Err(Mistake::new(at, message));
        }
    }
    if let Some(code) = expectation
        .code
        .as_ref()
        .filter(|_| expectation.reachable == Some(true))
    {
        let message = "what is reachable has no code; remove `code:`, or `reachable:`";
        return Err(Mistake::new(code.at, message));
    }
    if let Some(seen) = &expectation.seen_as
        && seen.value.parse::<IpAddr>().is_err()
    {
        let message = format!("'{}' is no address", seen.value);
        return Err(Mistake::new(seen.at, message));
    }
    Ok(())
}

/// Hosts, and internet hosts.
fn hosts(topology: &Topology) -> Vec<&str> {
    topology
        .hosts
        .names()
        .chain(topology.outside_hosts().map(|(name, _)| name.as_str()))
        .collect()
}

/// A name of the file, `HOST/ethN` included.
fn known(place: &Value<String>, name: &str, kind: &str, all: &[&str]) -> Result<(), Mistake> {
    let host = name.split_once("/eth").map_or(name, |(host, _)| host);
    if all.contains(&host) {
        return Ok(());
    }
    let hint = suggest(host, all.iter().copied());
    Err(Mistake::new(
        place.at,
        format!("no {kind} is called '{host}'{hint}"),
    ))
}
