//! VPC peering connections: asked for, accepted or rejected, ended.

use std::sync::Arc;

use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// `CreateVpcPeeringConnection`
#[derive(Clone, Debug, Default)]
pub struct CreateVpcPeeringConnection {
    /// The caller's VPC.
    pub vpc: VpcId,
    /// The VPC at the other end.
    pub peer_vpc: VpcId,
    /// Its account [default: the caller's].
    pub peer_owner: Option<String>,
    /// Its region [default: the caller's].
    pub peer_region: Option<String>,
    /// `Name` tag.
    pub name: Option<String>,
}

impl Action for CreateVpcPeeringConnection {
    type Output = VpcPeeringConnectionId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<VpcPeeringConnectionId, ApiError> {
        let vpc = tx.require(&self.vpc)?;
        let caller = tx.caller().clone();
        let text = |given: Option<String>, own: &Arc<str>| given.map_or(own.clone(), Arc::from);
        let requester = end(vpc.id.clone(), &caller.account, &caller.region);
        let accepter = PeeringEnd {
            owner: text(self.peer_owner, &caller.account),
            region: text(self.peer_region, &caller.region),
            ..end(self.peer_vpc, &caller.account, &caller.region)
        };
        if !accepter.vpc.is_well_formed() {
            return tx
                .require(&accepter.vpc)
                .map(|_| VpcPeeringConnectionId::default());
        }
        if accepter.vpc == vpc.id {
            return Err(ApiError::invalid_value(format!(
                "{} cannot be peered with itself",
                vpc.id
            )));
        }
        forget(tx);
        let now_s = tx.now_s();
        let open = open_of(tx, &vpc.id);
        let mut both = open.iter();
        if let Some(other) = both.find(|held| held.joins(&vpc.id, &accepter.vpc)) {
            return Err(ApiError::new(
                "VpcPeeringConnectionAlreadyExists",
                format!(
                    "{} and {} have the peering connection {} already ({}); two VPCs have one",
                    vpc.id,
                    accepter.vpc,
                    other.id,
                    other.state_at(now_s).name()
                ),
            ));
        }
        let pending = PeeringState::PendingAcceptance;
        let asked = open
            .iter()
            .filter(|held| held.state_at(now_s) == pending && held.requester.vpc == vpc.id);
        let have = asked.count() as u64;
        let code = "OutstandingVpcPeeringConnectionLimitExceeded";
        tx.check_quota(Quota::OutstandingPeeringRequests, have, 1, code)?;
        let state = match fails(tx, &vpc, &accepter)? {
            true => PeeringState::Failed,
            false => pending,
        };
        let id: VpcPeeringConnectionId = tx.mint();
        tx.put(VpcPeeringConnection {
            id: id.clone(),
            meta: tx.meta(self.name.as_deref()),
            requester,
            accepter,
            state,
            ended_s: if state.is_open() { 0 } else { now_s },
        });
        Ok(id)
    }
}

fn end(vpc: VpcId, owner: &Arc<str>, region: &Arc<str>) -> PeeringEnd {
    PeeringEnd {
        vpc,
        owner: owner.clone(),
        region: region.clone(),
        dns_resolution: false,
    }
}

/// Whether the request fails for what it asks: AWS makes the connection all the
/// same, in state `failed` (E:CreateVpcPeeringConnection).
fn fails(tx: &Transaction<'_>, vpc: &Vpc, accepter: &PeeringEnd) -> Result<bool, ApiError> {
    let found = tx.model().get(&accepter.vpc);
    let peer = found.filter(|peer| {
        !peer.is_outside()
            && peer.meta.owner == accepter.owner
            && peer.meta.region == accepter.region
    });
    let Some(peer) = peer else {
        // Of one's own VPCs one may learn that there is none.
        let caller = tx.caller();
        if accepter.owner == caller.account && accepter.region == caller.region {
            tx.require(&accepter.vpc)?;
        }
        return Ok(true);
    };
    let overlap = |block| peer.blocks().any(|other| other.overlaps(block));
    Ok(vpc.blocks().any(overlap))
}

/// The connections of a VPC that stand or may come to.
fn open_of(tx: &Transaction<'_>, vpc: &VpcId) -> Vec<Arc<VpcPeeringConnection>> {
    let mut all = tx.referrers::<VpcPeeringConnection>(vpc);
    all.retain(|held| held.state_at(tx.now_s()).is_open());
    all
}

/// Takes away what has ended so long ago that AWS shows it no more.
fn forget(tx: &mut Transaction<'_>) {
    let now_s = tx.now_s();
    let all = tx.model().vpc_peering_connections().iter();
    let past: Vec<_> = all
        .filter(|held| !held.is_shown_at(now_s))
        .map(|held| held.id.clone())
        .collect();
    for id in past {
        tx.remove(&id);
    }
}

/// The connection as its owners see it, if the caller owns one end of it that
/// `mine` picks.
fn require(
    tx: &Transaction<'_>,
    id: &VpcPeeringConnectionId,
    mine: fn(&VpcPeeringConnection) -> Vec<&PeeringEnd>,
) -> Result<Arc<VpcPeeringConnection>, ApiError> {
    let found = tx.require_any_owner(id)?;
    let caller = tx.caller();
    let is_own = |end: &&PeeringEnd| end.owner == caller.account && end.region == caller.region;
    let shown = found.is_shown_at(tx.now_s());
    if shown && mine(&found).iter().any(is_own) {
        return Ok(found);
    }
    if shown && found.ends().iter().any(is_own) {
        return Err(ApiError::new(
            "OperationNotPermitted",
            format!(
                "Only the owner of the accepter VPC {} ({} in {}) can do this to {id}",
                found.accepter.vpc, found.accepter.owner, found.accepter.region
            ),
        ));
    }
    Err(ApiError::new(
        VpcPeeringConnectionId::NOT_FOUND,
        format!("The vpcPeeringConnection ID '{id}' does not exist"),
    ))
}

fn accepter(held: &VpcPeeringConnection) -> Vec<&PeeringEnd> {
    vec![&held.accepter]
}

fn either(held: &VpcPeeringConnection) -> Vec<&PeeringEnd> {
    held.ends().to_vec()
}

fn wrong_state(held: &VpcPeeringConnection, state: PeeringState, what: &str) -> ApiError {
    ApiError::new(
        "InvalidStateTransition",
        format!(
            "Invalid state transition for {}, attempted to transition from {} to {what}",
            held.id,
            state.name()
        ),
    )
}

/// `AcceptVpcPeeringConnection`
#[derive(Clone, Debug, Default)]
pub struct AcceptVpcPeeringConnection {
    /// A connection that waits for it.
    pub peering: VpcPeeringConnectionId,
}

impl Action for AcceptVpcPeeringConnection {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let held = require(tx, &self.peering, accepter)?;
        let state = held.state_at(tx.now_s());
        if state != PeeringState::PendingAcceptance {
            return Err(wrong_state(&held, state, "active"));
        }
        for end in held.ends() {
            let open = open_of(tx, &end.vpc);
            let active = open.iter().filter(|it| it.state == PeeringState::Active);
            let have = active.count() as u64;
            let code = "VpcPeeringConnectionsPerVpcLimitExceeded";
            tx.check_quota(Quota::PeeringsPerVpc, have, 1, code)?;
        }
        tx.update(&held.id, |held| held.state = PeeringState::Active);
        Ok(())
    }
}

/// `RejectVpcPeeringConnection`
#[derive(Clone, Debug, Default)]
pub struct RejectVpcPeeringConnection {
    /// A connection that waits to be accepted.
    pub peering: VpcPeeringConnectionId,
}

impl Action for RejectVpcPeeringConnection {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let held = require(tx, &self.peering, accepter)?;
        let state = held.state_at(tx.now_s());
        if state != PeeringState::PendingAcceptance {
            return Err(wrong_state(&held, state, "rejected"));
        }
        finish(tx, &held.id, PeeringState::Rejected);
        Ok(())
    }
}

/// `DeleteVpcPeeringConnection`, by either owner: routes to it become blackholes.
#[derive(Clone, Debug, Default)]
pub struct DeleteVpcPeeringConnection {
    /// The connection.
    pub peering: VpcPeeringConnectionId,
}

impl Action for DeleteVpcPeeringConnection {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let held = require(tx, &self.peering, either)?;
        let state = held.state_at(tx.now_s());
        if !state.is_open() {
            return Err(wrong_state(&held, state, "deleted"));
        }
        finish(tx, &held.id, PeeringState::Deleted);
        Ok(())
    }
}

fn finish(tx: &mut Transaction<'_>, id: &VpcPeeringConnectionId, state: PeeringState) {
    let now_s = tx.now_s();
    tx.update(id, |held| {
        held.state = state;
        held.ended_s = now_s;
    });
}

/// `ModifyVpcPeeringConnectionOptions`: each owner changes the options of its end.
#[derive(Clone, Debug, Default)]
pub struct ModifyVpcPeeringConnectionOptions {
    /// An active connection.
    pub peering: VpcPeeringConnectionId,
    /// The requester's `AllowDnsResolutionFromRemoteVpc`.
    pub requester_dns_resolution: Option<bool>,
    /// The accepter's.
    pub accepter_dns_resolution: Option<bool>,
}

impl Action for ModifyVpcPeeringConnectionOptions {
    type Output = Arc<VpcPeeringConnection>;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Self::Output, ApiError> {
        let held = require(tx, &self.peering, either)?;
        let state = held.state_at(tx.now_s());
        if state != PeeringState::Active {
            return Err(ApiError::new(
                "OperationNotPermitted",
                format!(
                    "Peering {} is {}; options can be set for an active one",
                    held.id,
                    state.name()
                ),
            ));
        }
        let caller = tx.caller().clone();
        let ends = [
            ("requester", &held.requester, self.requester_dns_resolution),
            ("accepter", &held.accepter, self.accepter_dns_resolution),
        ];
        for (side, end, wanted) in ends {
            let Some(wanted) = wanted else { continue };
            if end.owner != caller.account || end.region != caller.region {
                return Err(ApiError::new(
                    "OperationNotPermitted",
                    format!(
                        "User {} cannot modify the {side}'s options of {}; {} in {} can",
                        caller.account, held.id, end.owner, end.region
                    ),
                ));
            }
            // PE:vpc-peering-dns
            let vpc = tx.model().get(&end.vpc);
            if wanted && vpc.is_some_and(|vpc| !(vpc.dns_hostnames && vpc.dns_support)) {
                return Err(ApiError::new(
                    "InvalidVpcPeeringConnectionState.DnsHostnamesDisabled",
                    format!(
                        "{} needs enableDnsSupport and enableDnsHostnames for names to resolve \
                         across {}",
                        end.vpc, held.id
                    ),
                ));
            }
        }
        tx.update(&held.id, |held| {
            let set = |end: &mut PeeringEnd, wanted: Option<bool>| {
                end.dns_resolution = wanted.unwrap_or(end.dns_resolution);
            };
            set(&mut held.requester, self.requester_dns_resolution);
            set(&mut held.accepter, self.accepter_dns_resolution);
        });
        require(tx, &held.id, either)
    }
}

/// Ends the requests of a VPC that goes.
///
/// # Errors
/// `DependencyViolation`: a connection is active, or somebody asks for one.
pub(super) fn leave(tx: &mut Transaction<'_>, vpc: &VpcId) -> Result<(), ApiError> {
    for held in open_of(tx, vpc) {
        let asked = held.state == PeeringState::PendingAcceptance && held.requester.vpc == *vpc;
        if !asked {
            return Err(ApiError::dependency(vpc, &held.id));
        }
        finish(tx, &held.id, PeeringState::Deleted);
    }
    Ok(())
}

/// Refuses a further block of a VPC that one of its peers has (PE:vpc-peering-basics).
pub(super) fn refuse_overlap(
    tx: &Transaction<'_>,
    vpc: &VpcId,
    block: vpclab_dataplane::addr::Prefix,
) -> Result<(), ApiError> {
    for held in open_of(tx, vpc) {
        let peers = held.ends().into_iter().filter(|end| end.vpc != *vpc);
        let mut peers = peers.filter_map(|end| tx.model().get(&end.vpc));
        if let Some(peer) = peers.find(|peer| peer.blocks().any(|own| own.overlaps(block))) {
            return Err(ApiError::new(
                "InvalidVpc.Range",
                format!(
                    "The CIDR '{block}' overlaps a block of {}, which is peered by {}",
                    peer.id, held.id
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "peering_tests.rs"]
mod tests;
