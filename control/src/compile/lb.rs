//! Rows of load balancers and target groups.

use std::collections::BTreeSet;
use std::sync::Arc;

use vpclab_dataplane::tables::{LoadBalancerRow, TargetGroupRow};

use crate::model::{Model, ResourceId};

pub(super) fn load_balancer(_model: &Model, _text: &Arc<str>) -> Option<LoadBalancerRow> {
    None
}

pub(super) fn target_group(_model: &Model, _text: &Arc<str>) -> Option<TargetGroupRow> {
    None
}

/// What depends on a load balancer, target group or listener.
pub(super) fn expand(_model: &Model, _id: &ResourceId, _dirty: &mut BTreeSet<ResourceId>) {}
