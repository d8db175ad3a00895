//! Rows of VPC endpoints.

use std::collections::BTreeSet;
use std::sync::Arc;

use vpclab_dataplane::addr::{EniId, LoadBalancerId};
use vpclab_dataplane::tables::{EndpointKind, EndpointRow};

use crate::model::*;

pub(super) fn endpoint(model: &Model, text: &Arc<str>) -> Option<EndpointRow> {
    let endpoint = model.get(&VpcEndpointId::from_text(text.clone()))?;
    let service = model.get(&endpoint.service);
    let arns = service.map(|service| service.load_balancers.iter());
    let load_balancers: Vec<LoadBalancerId> = arns
        .into_iter()
        .flatten()
        .filter_map(|arn| model.row(arn).map(Into::into))
        .collect();
    let places = endpoint.interfaces.iter();
    let enis: Vec<EniId> = places
        .filter_map(|place| model.row(&place.interface).map(Into::into))
        .collect();
    let aws = service.and_then(|service| service.aws.as_ref());
    let kind = match endpoint.endpoint_type {
        VpcEndpointType::Interface if aws.is_some() => EndpointKind::Service { enis },
        VpcEndpointType::Interface if endpoint.service_region.is_some() => EndpointKind::Remote {
            load_balancers,
            enis,
        },
        VpcEndpointType::Interface => EndpointKind::Interface {
            load_balancers,
            enis,
        },
        VpcEndpointType::Gateway => EndpointKind::Gateway {
            service: aws
                .zip(endpoint.service_port.as_ref())
                .and_then(|(aws, port)| {
                    Some((model.row(&aws.interface)?.into(), model.row(port)?.into()))
                }),
        },
        VpcEndpointType::GatewayLoadBalancer => EndpointKind::GatewayLoadBalancer {
            load_balancers,
            eni: *enis.first()?,
        },
    };
    Some(EndpointRow {
        label: text.clone(),
        vpce: endpoint.low_bits(),
        vpc: model.row(&endpoint.vpc)?.into(),
        available: endpoint.state == VpcEndpointState::Available,
        kind,
    })
}

/// What depends on an endpoint, besides the route tables that lead to it.
pub(super) fn expand_endpoint(model: &Model, id: &ResourceId, dirty: &mut BTreeSet<ResourceId>) {
    super::depend::referrers(model, id, Kind::NetworkInterface, dirty);
}

/// What depends on an endpoint service.
pub(super) fn expand_service(model: &Model, id: &ResourceId, dirty: &mut BTreeSet<ResourceId>) {
    super::depend::referrers(model, id, Kind::VpcEndpoint, dirty);
}
