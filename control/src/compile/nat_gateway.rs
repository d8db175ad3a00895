//! Rows of NAT gateways.

use std::sync::Arc;

use vpclab_dataplane::tables::NatGatewayRow;

use crate::model::*;

/// The row of one that works.
pub(super) fn nat_gateway(model: &Model, text: &Arc<str>) -> Option<NatGatewayRow> {
    let gateway = model.get(&NatGatewayId::from_text(text.clone()))?;
    Some(NatGatewayRow {
        label: text.clone(),
        eni: model.row(gateway.interface.as_ref()?)?.into(),
    })
}
