//! Virtual private gateways, and the propagation of what they know.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shape::{DONE, Done};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, each, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{RouteTableId, VpcId, VpnGateway, VpnGatewayId};

calls! {
    Read: DescribeVpnGateways;
    Write: CreateVpnGateway AttachVpnGateway DetachVpnGateway DeleteVpnGateway
        EnableVgwRoutePropagation DisableVgwRoutePropagation;
}

/// The only type of connection that there is.
pub(super) const IPSEC: &str = "ipsec.1";

/// Refuses another type.
pub(super) fn check_type(given: &str) -> Result<(), ApiError> {
    if given == IPSEC {
        return Ok(());
    }
    Err(ApiError::invalid_value(format!(
        "Value ({given}) for parameter type is invalid; it is {IPSEC}"
    )))
}

/// `CreateVpnGateway`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateVpnGateway {
    r#type: String,
    amazon_side_asn: Option<u64>,
    /// Kept nowhere: a gateway has no zone any more.
    #[serde(rename = "AvailabilityZone")]
    _zone: Option<String>,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// A gateway, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneGateway {
    vpn_gateway: GatewayItem,
}

impl Call for CreateVpnGateway {
    type Answer = OneGateway;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneGateway, ApiError> {
        check_type(&self.r#type)?;
        let tags = tags::specified(&self.tag_specification, "vpn-gateway")?;
        let id = at.run(api::CreateVpnGateway {
            asn: self.amazon_side_asn,
            name: None,
        })?;
        tags::put(at, &id, tags);
        let gateway = at.tx.require(&id)?;
        Ok(OneGateway {
            vpn_gateway: GatewayItem::new(&gateway),
        })
    }
}

/// `AttachVpnGateway`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachVpnGateway {
    vpn_gateway_id: VpnGatewayId,
    vpc_id: VpcId,
}

/// Its attachment.
#[derive(Debug, Serialize)]
pub struct Attached {
    attachment: Attachment,
}

impl Call for AttachVpnGateway {
    type Answer = Attached;

    fn call(self, at: &mut At<'_, '_>) -> Result<Attached, ApiError> {
        at.run(api::AttachVpnGateway {
            vpn_gateway: self.vpn_gateway_id,
            vpc: self.vpc_id.clone(),
        })?;
        Ok(Attached {
            attachment: Attachment {
                vpc_id: self.vpc_id,
                state: "attached",
            },
        })
    }
}

/// `DetachVpnGateway`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DetachVpnGateway {
    vpn_gateway_id: VpnGatewayId,
    vpc_id: VpcId,
}

impl Call for DetachVpnGateway {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DetachVpnGateway {
            vpn_gateway: self.vpn_gateway_id,
            vpc: self.vpc_id,
        })?;
        Ok(DONE)
    }
}

/// `DeleteVpnGateway`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteVpnGateway {
    vpn_gateway_id: VpnGatewayId,
}

impl Call for DeleteVpnGateway {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DeleteVpnGateway {
            vpn_gateway: self.vpn_gateway_id,
        })?;
        Ok(DONE)
    }
}

/// `EnableVgwRoutePropagation`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EnableVgwRoutePropagation {
    gateway_id: VpnGatewayId,
    route_table_id: RouteTableId,
}

impl Call for EnableVgwRoutePropagation {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::SetVgwRoutePropagation {
            route_table: self.route_table_id,
            vpn_gateway: self.gateway_id,
            enabled: true,
        })?;
        Ok(DONE)
    }
}

/// `DisableVgwRoutePropagation`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DisableVgwRoutePropagation {
    gateway_id: VpnGatewayId,
    route_table_id: RouteTableId,
}

impl Call for DisableVgwRoutePropagation {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::SetVgwRoutePropagation {
            route_table: self.route_table_id,
            vpn_gateway: self.gateway_id,
            enabled: false,
        })?;
        Ok(DONE)
    }
}

describe! {
    /// `DescribeVpnGateways`
    DescribeVpnGateways { vpn_gateway_id: VpnGatewayId }
}

/// `DescribeVpnGateways`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateways {
    vpn_gateway_set: Vec<GatewayItem>,
}

impl Call for DescribeVpnGateways {
    type Answer = Gateways;

    fn call(self, at: &mut At<'_, '_>) -> Result<Gateways, ApiError> {
        let page = self.wanted().select(at, FILTERS)?;
        Ok(Gateways {
            vpn_gateway_set: page.items.iter().map(GatewayItem::new).collect(),
        })
    }
}

const FILTERS: &[Known<VpnGateway>] = &[
    ("vpn-gateway-id", |gateway, _| one(&gateway.id)),
    ("amazon-side-asn", |gateway, _| one(gateway.asn)),
    ("attachment.vpc-id", |gateway, _| each(&gateway.vpc)),
    ("attachment.state", |gateway, _| {
        each(gateway.vpc.as_ref().map(|_| "attached"))
    }),
    ("state", |_, _| one("available")),
    ("type", |_, _| one(IPSEC)),
];

/// A gateway in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayItem {
    vpn_gateway_id: VpnGatewayId,
    state: &'static str,
    r#type: &'static str,
    amazon_side_asn: u64,
    attachments: Vec<Attachment>,
    tag_set: Vec<TagItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    vpc_id: VpcId,
    state: &'static str,
}

impl GatewayItem {
    fn new(gateway: &Arc<VpnGateway>) -> Self {
        let attachment = gateway.vpc.clone().map(|vpc_id| Attachment {
            vpc_id,
            state: "attached",
        });
        Self {
            vpn_gateway_id: gateway.id.clone(),
            state: "available",
            r#type: IPSEC,
            amazon_side_asn: gateway.asn,
            attachments: attachment.into_iter().collect(),
            tag_set: tags::items(&gateway.meta.all_tags()),
        }
    }
}
