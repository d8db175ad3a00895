//! VPC peering connections.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{Meta, References, Resource, VpcId, VpcPeeringConnectionId, resource_fields};

/// How long a request waits to be accepted (E:CreateVpcPeeringConnection).
const PENDING_S: u64 = 7 * 24 * 3600;
/// How long one that has ended is shown (PE:vpc-peering-basics, "lifecycle").
const SHOWN_S: u64 = 2 * 3600;

/// Where a peering connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeeringState {
    /// The accepter has not answered yet.
    PendingAcceptance,
    /// Packets pass.
    Active,
    /// It could not be: the blocks overlap, or there is no such VPC.
    Failed,
    /// Nobody answered in time.
    Expired,
    /// The accepter said no.
    Rejected,
    /// One of the owners ended it.
    Deleted,
}

impl PeeringState {
    /// AWS's code.
    pub fn name(self) -> &'static str {
        match self {
            Self::PendingAcceptance => "pending-acceptance",
            Self::Active => "active",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Deleted => "deleted",
        }
    }

    /// Whether it stands, or may still come to stand.
    pub fn is_open(self) -> bool {
        matches!(self, Self::PendingAcceptance | Self::Active)
    }
}

/// One end of a peering connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeeringEnd {
    /// The VPC.
    pub vpc: VpcId,
    /// Its account.
    pub owner: Arc<str>,
    /// Its region.
    pub region: Arc<str>,
    /// `AllowDnsResolutionFromRemoteVpc`: public names of this end's hosts
    /// resolve to private addresses at the other.
    pub dns_resolution: bool,
}

/// A VPC peering connection. It belongs to the requester.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcPeeringConnection {
    /// Id.
    pub id: VpcPeeringConnectionId,
    /// Owner, region, name.
    pub meta: Meta,
    /// Who asked.
    pub requester: PeeringEnd,
    /// Who was asked.
    pub accepter: PeeringEnd,
    /// As of the last change; [`Self::state_at`] knows of time.
    pub state: PeeringState,
    /// When it ended, in seconds since 1970.
    pub ended_s: u64,
}

impl VpcPeeringConnection {
    /// The state at a time, in seconds since 1970.
    pub fn state_at(&self, now_s: u64) -> PeeringState {
        let asked = self.meta.created_s;
        let late = asked > 0 && now_s >= asked.saturating_add(PENDING_S);
        match self.state {
            PeeringState::PendingAcceptance if late => PeeringState::Expired,
            state => state,
        }
    }

    /// Whether it is still shown at a time.
    pub fn is_shown_at(&self, now_s: u64) -> bool {
        let ended = match (self.state, self.state_at(now_s)) {
            (PeeringState::PendingAcceptance, PeeringState::Expired) => {
                self.meta.created_s.saturating_add(PENDING_S)
            }
            (_, state) if state.is_open() => return true,
            _ => self.ended_s,
        };
        now_s < ended.saturating_add(SHOWN_S)
    }

    /// Both ends.
    pub fn ends(&self) -> [&PeeringEnd; 2] {
        [&self.requester, &self.accepter]
    }

    /// Whether it joins these two, in either order.
    pub fn joins(&self, one: &VpcId, other: &VpcId) -> bool {
        let ends = (&self.requester.vpc, &self.accepter.vpc);
        ends == (one, other) || ends == (other, one)
    }

    /// Whether the ends are in different regions.
    pub fn is_cross_region(&self) -> bool {
        self.requester.region != self.accepter.region
    }
}

impl Resource for VpcPeeringConnection {
    resource_fields!(VpcPeeringConnectionId);

    fn references(&self, to: &mut References) {
        // One that has ended holds nobody.
        if self.state.is_open() {
            to.add(&self.requester.vpc);
            to.add(&self.accepter.vpc);
        }
    }
}
