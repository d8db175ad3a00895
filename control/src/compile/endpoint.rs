//! Rows of VPC endpoints.

use std::collections::BTreeSet;
use std::sync::Arc;

use vpclab_dataplane::tables::EndpointRow;

use crate::model::{Model, ResourceId};

pub(super) fn endpoint(_model: &Model, _text: &Arc<str>) -> Option<EndpointRow> {
    None
}

/// What depends on an endpoint, besides the route tables that lead to it.
pub(super) fn expand_endpoint(_model: &Model, _id: &ResourceId, _dirty: &mut BTreeSet<ResourceId>) {
}

/// What depends on an endpoint service.
pub(super) fn expand_service(_model: &Model, _id: &ResourceId, _dirty: &mut BTreeSet<ResourceId>) {}
