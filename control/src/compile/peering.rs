//! Rows of peering connections, and what hangs on them.

use std::collections::BTreeSet;
use std::sync::Arc;

use vpclab_dataplane::tables::PeeringRow;

use crate::model::*;

/// None unless it is active.
pub(super) fn peering(model: &Model, text: &Arc<str>) -> Option<PeeringRow> {
    let peering = model.get(&VpcPeeringConnectionId::from_text(text.clone()))?;
    if peering.state != PeeringState::Active {
        return None;
    }
    let row = |end: &PeeringEnd| model.row(&end.vpc).map(Into::into);
    Some(PeeringRow {
        label: text.clone(),
        vpcs: [row(&peering.requester)?, row(&peering.accepter)?],
        cross_region: peering.is_cross_region(),
    })
}

/// Whether an active connection joins two VPCs.
pub(super) fn are_peered(model: &Model, one: &VpcId, other: &VpcId) -> bool {
    let mut all = model.referrers::<VpcPeeringConnection>(one);
    all.any(|held| held.state == PeeringState::Active && held.joins(one, other))
}

/// Routes to it, and the groups at both ends: their rules may name each other.
pub(super) fn expand(model: &Model, id: &ResourceId, dirty: &mut BTreeSet<ResourceId>) {
    super::depend::referrers(model, id, Kind::RouteTable, dirty);
    let peering = model.get(&VpcPeeringConnectionId::from_text(id.text.clone()));
    for end in peering.iter().flat_map(|held| held.ends()) {
        super::depend::referrers(model, &end.vpc.resource(), Kind::SecurityGroup, dirty);
    }
}
