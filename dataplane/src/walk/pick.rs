//! How a load balancer's choice of a target depends on the connection.
//!
//! Reads:  the target group, the connection's tuple and sequence number
//! Drops:  nothing; no target is `NoTarget` in `privatelink`
//! AWS:    NLB guide, "Routing algorithm", "Target groups"

use crate::addr::{AzId, TargetGroupId};
use crate::flow::Seed;
use crate::gwlb::{Target, choose};
use crate::packet::{FiveTuple, protocol};
use crate::tables::Snapshot;

/// All that a node's choice rests on, but for the connection itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pick {
    /// The target group of the listener.
    pub group: TargetGroupId,
    /// The node's zone.
    pub az: AzId,
    /// Whether the targets of all zones are used.
    pub cross_zone: bool,
}

impl Pick {
    /// What a node hashes: the client's tuple and, of TCP, the sequence number
    /// (NLB guide, "Routing algorithm").
    #[inline]
    pub fn hash(seed: Seed, client: &FiveTuple, tcp_seq: u32) -> u64 {
        let is_tcp = client.protocol == protocol::TCP;
        let sequence = if is_tcp { tcp_seq } else { 0 };
        seed.words(&[seed.tuple(client), u64::from(sequence)])
    }

    /// The target for a connection with this hash, and its place in the group.
    #[inline]
    pub fn target<'a>(
        &self,
        tables: &'a Snapshot,
        seed: Seed,
        hash: u64,
        ipv4: bool,
    ) -> Option<(u32, &'a Target)> {
        let targets = &tables.target_groups.row(self.group)?.targets;
        let index = choose(targets, self.az, self.cross_zone, seed, hash)?;
        // Translation keeps the family (ASSUMPTION: no NAT64 in a load balancer):
        // a target of the other cannot be reached.
        let target = targets.get(index);
        let target = target.filter(|target| target.address.is_ipv4() == ipv4)?;
        Some((index as u32, target))
    }
}
