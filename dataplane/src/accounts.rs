//! What load balancers and endpoints count, by the names of their CloudWatch metrics.
//!
//! A connection is told in the account of the node that carries it and of the
//! endpoint that it came by; sums over nodes are a load balancer's metrics, sums
//! over endpoints an endpoint's. Nothing is counted for a packet that its
//! connection does not count anyway: accounts are what connections leave behind
//! when they end, and readers add those that live.

use std::collections::HashMap;

use crate::addr::{EndpointId, EniId};
use crate::drop::DropReason;
use crate::flow::{Seed, Seeded};

/// Whose account.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Account {
    /// The load balancer's node; `None` where none was found.
    pub node: Option<EniId>,
    /// The endpoint; `None` for direct clients, and for what no endpoint is known of.
    pub endpoint: Option<EndpointId>,
}

/// The metrics of one account in one pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BalancerCounts {
    /// `ActiveFlowCount`, `ActiveConnections`.
    pub active: u64,
    /// `NewFlowCount`, `NewConnections`.
    pub created: u64,
    /// `ProcessedBytes`, `BytesProcessed`: IP bytes both ways. ASSUMPTION: of a tunnel
    /// those inside.
    pub bytes: u64,
    /// `RejectedFlowCount`.
    pub rejected: u64,
    /// `RejectedFlowCount_TCP`.
    pub rejected_tcp: u64,
    /// `PacketsDropped` of an endpoint.
    pub dropped: u64,
    /// `RstPacketsReceived` of an endpoint.
    pub resets: u64,
    /// `PacketsDroppedCount_InvalidGeneveTunnel`.
    pub invalid_tunnel: u64,
    /// `PacketsDroppedCount_InvalidGwlbEndpointId`.
    pub invalid_endpoint_id: u64,
    /// `PacketsDroppedCount_InvalidGwlbFlowCookie`.
    pub invalid_cookie: u64,
}

impl BalancerCounts {
    /// Counts a packet that a load balancer or an endpoint dropped.
    pub(crate) fn drop(&mut self, reason: DropReason, is_tcp: bool) {
        self.dropped += 1;
        match reason {
            DropReason::GwlbTunnel | DropReason::MalformedGeneve => self.invalid_tunnel += 1,
            DropReason::GwlbEndpointId => self.invalid_endpoint_id += 1,
            DropReason::GwlbCookie => self.invalid_cookie += 1,
            _ if reason.is_of_new_flow() => {
                self.rejected += 1;
                self.rejected_tcp += u64::from(is_tcp);
            }
            _ => {}
        }
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        let Self {
            active,
            created,
            bytes,
            rejected,
            rejected_tcp,
            dropped,
            resets,
            invalid_tunnel,
            invalid_endpoint_id,
            invalid_cookie,
        } = self;
        *active += other.active;
        *created += other.created;
        *bytes += other.bytes;
        *rejected += other.rejected;
        *rejected_tcp += other.rejected_tcp;
        *dropped += other.dropped;
        *resets += other.resets;
        *invalid_tunnel += other.invalid_tunnel;
        *invalid_endpoint_id += other.invalid_endpoint_id;
        *invalid_cookie += other.invalid_cookie;
    }
}

/// Accounts of one pipeline: as many as there were nodes and endpoints together.
#[derive(Clone, Debug)]
pub struct Accounts(HashMap<Account, BalancerCounts, Seeded>);

impl Accounts {
    /// None yet.
    pub fn new(seed: Seed) -> Self {
        Self(HashMap::with_hasher(Seeded(seed)))
    }

    /// The account's counts, to add to.
    pub fn of(&mut self, account: Account) -> &mut BalancerCounts {
        self.0.entry(account).or_default()
    }

    /// Adds another's accounts.
    pub fn add(&mut self, other: &Self) {
        for (account, counts) in &other.0 {
            self.of(*account).add(counts);
        }
    }

    /// The sum of those accounts that are asked for.
    pub fn sum(&self, wanted: impl Fn(&Account) -> bool) -> BalancerCounts {
        let mut sum = BalancerCounts::default();
        for (_, counts) in self.0.iter().filter(|(account, _)| wanted(account)) {
            sum.add(counts);
        }
        sum
    }
}
