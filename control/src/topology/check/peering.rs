//! Peering connections.

use super::{Findings, plain};
use crate::topology::error::Mistake;
use crate::topology::resolve::addressable;
use crate::topology::schema::Topology;

pub(super) fn check(topology: &Topology, found: &mut Findings) {
    let mut earlier: Vec<([&str; 2], &str)> = Vec::new();
    for (name, peering) in topology.peerings.iter() {
        found.note(plain("a peering connection", name));
        // Routes name both by the same word.
        let mut others = addressable(topology);
        if let Some((what, other)) = others.find(|(_, other)| other.value == name.value) {
            let message = format!(
                "'{}' is also {} {what} (line {}); rename one",
                name.value,
                if what.starts_with(['a', 'e', 'i']) {
                    "an"
                } else {
                    "a"
                },
                other.at.line
            );
            found.add(Mistake::new(name.at, message));
        }
        if peering.vpcs.len() != 2 {
            let at = peering.vpcs.first().map_or(name.at, |first| first.at);
            let message = format!(
                "a peering connection joins two VPCs, not {}; write `vpcs: [one, other]`",
                peering.vpcs.len()
            );
            found.add(Mistake::new(at, message));
            continue;
        }
        for vpc in peering.vpcs.iter() {
            found.note(topology.vpc(vpc));
        }
        let Some([(one, body), (other, peer)]) = topology.peered(peering) else {
            continue;
        };
        let at = peering.vpcs[1].at;
        if one == other {
            let message = format!("VPC {one} cannot be peered with itself");
            found.add(Mistake::new(at, message));
            continue;
        }
        let mut pair = [one, other];
        pair.sort_unstable();
        if let Some((_, first)) = earlier.iter().find(|(held, _)| *held == pair) {
            let message = format!(
                "VPCs {one} and {other} are joined by {first} already; two VPCs have one peering \
                 connection"
            );
            found.add(Mistake::new(at, message));
        }
        earlier.push((pair, name));
        let blocks = || body.cidr.iter().map(|cidr| cidr.value.0);
        let theirs = || peer.cidr.iter().map(|cidr| cidr.value.0);
        let clash = blocks().find_map(|own| Some((own, theirs().find(|it| it.overlaps(own))?)));
        if let Some((own, block)) = clash {
            let message = format!(
                "{own} of VPC {one} overlaps {block} of VPC {other}, so they cannot be peered; \
                 choose blocks that are apart, or PrivateLink"
            );
            found.add(Mistake::new(at, message));
        }
    }
}
