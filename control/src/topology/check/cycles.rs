//! Things that lead back to themselves.
//!
//! Errors: prefix lists that contain each other, and gateway load balancer
//! endpoints whose subnets route the same destination to each other (a packet
//! would never get out). Not errors: security groups that name each other, or
//! themselves, which AWS allows and people use.

use super::{Findings, must_be};
use crate::topology::error::Mistake;
use crate::topology::located::{At, Many, Value};
use crate::topology::resolve::Via;
use crate::topology::schema::{Route, RouteTable, Topology};
use crate::topology::values::CidrOrName;

pub(super) fn check(topology: &Topology, found: &mut Findings) {
    for (name, entries) in topology.prefix_lists.iter() {
        for entry in entries.iter() {
            if let CidrOrName::Name(other) = &entry.value {
                let reference = Value {
                    value: other.clone(),
                    at: entry.at,
                };
                found.note(must_be(
                    "prefix list",
                    &reference,
                    topology.prefix_lists.names(),
                ));
            }
        }
        let next = |list: &str| prefix_list_names(topology, list);
        if let Some((chain, at)) = cycle(name, &next) {
            let message =
                format!("these prefix lists contain each other: {chain}; break the cycle");
            found.add(Mistake::new(at, message));
        }
    }
    for (name, entries) in topology.prefix_lists.iter() {
        one_family(topology, name, entries, found);
    }
    for (name, endpoint) in topology.endpoints.iter() {
        let Some(table) = endpoint
            .subnets
            .first()
            .and_then(|subnet| table_of(topology, subnet))
        else {
            continue;
        };
        for route in &table.routes {
            let next = |endpoint: &str| routed_to(topology, endpoint, &route.to.value);
            if let Some((chain, at)) = cycle(name, &next) {
                let message = format!(
                    "these endpoints' subnets route the same packets to each other: {chain}; \
                     the endpoint's own subnet leads on, for example `via: igw`"
                );
                found.add(Mistake::new(at, message));
            }
        }
    }
}

/// A list has IPv4 blocks or IPv6 blocks (V:managed-prefix-lists).
fn one_family(
    topology: &Topology,
    name: &Value<String>,
    entries: &Many<CidrOrName>,
    found: &mut Findings,
) {
    let blocks = topology.prefix_list_blocks(name);
    let Some(first) = blocks.first() else {
        if entries.is_empty() {
            let message = format!("prefix list {} is empty; add a block", name.value);
            found.add(Mistake::new(name.at, message));
        }
        return;
    };
    if let Some(other) = blocks
        .iter()
        .find(|b| b.address().is_ipv6() != first.address().is_ipv6())
    {
        let message = format!(
            "prefix list {} has both {first} and {other}; make one for IPv4 and one for IPv6",
            name.value
        );
        found.add(Mistake::new(name.at, message));
    }
}

/// What comes next after a name: the next names and where that is written.
type Step<'a> = Vec<(&'a str, At)>;

/// A way from `start` back to itself, and the place of its first step.
fn cycle<'a>(start: &'a str, next: &dyn Fn(&str) -> Step<'a>) -> Option<(String, At)> {
    let mut seen: Vec<&str> = Vec::new();
    let mut open: Vec<(Vec<&str>, Option<At>)> = vec![(vec![start], None)];
    while let Some((path, first)) = open.pop() {
        let last = path.last().copied().unwrap_or(start);
        for (name, at) in next(last) {
            let first = first.unwrap_or(at);
            if name == start {
                return Some((format!("{} → {start}", path.join(" → ")), first));
            }
            if !seen.contains(&name) {
                seen.push(name);
                open.push(([path.as_slice(), &[name]].concat(), Some(first)));
            }
        }
    }
    None
}

fn prefix_list_names<'a>(topology: &'a Topology, list: &str) -> Step<'a> {
    let entries = topology
        .prefix_lists
        .find(list)
        .into_iter()
        .flat_map(|many| many.iter());
    let names = entries.filter_map(|entry| match &entry.value {
        CidrOrName::Name(name) => Some((name.as_str(), entry.at)),
        CidrOrName::Cidr(_) => None,
    });
    names.collect()
}

/// The endpoints to which the subnet of an endpoint routes that destination.
fn routed_to<'a>(topology: &'a Topology, endpoint: &str, to: &CidrOrName) -> Step<'a> {
    let subnet = topology
        .endpoints
        .find(endpoint)
        .and_then(|endpoint| endpoint.subnets.first());
    let table = subnet.and_then(|subnet| table_of(topology, subnet));
    let routes = table.map_or(&[][..], |table| table.routes.as_slice());
    let leads = |route: &'a Route| match topology.via(&route.via) {
        Ok(Via::Endpoint(next)) => Some((next, route.via.at)),
        _ => None,
    };
    routes
        .iter()
        .filter(|route| route.to.value == *to)
        .filter_map(|r| leads(&r.value))
        .collect()
}

/// The route table of a subnet, when it is one of the file's.
fn table_of<'a>(topology: &'a Topology, subnet: &Value<String>) -> Option<&'a RouteTable> {
    let found = topology.subnet(subnet).ok()?;
    let vpc = topology.vpcs.find(found.vpc)?;
    match &found.subnet.route_table {
        Some(name) => vpc.route_tables.find(name.split('/').next_back()?),
        None => vpc
            .route_tables
            .iter()
            .find(|(_, table)| table.main)
            .map(|(_, table)| table),
    }
}
