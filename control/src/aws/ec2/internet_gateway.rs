//! Internet gateways.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shape::{DONE, Done};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, each, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{InternetGateway, InternetGatewayId, VpcId};

calls! {
    Read: DescribeInternetGateways;
    Write: CreateInternetGateway AttachInternetGateway DetachInternetGateway DeleteInternetGateway;
}

/// `CreateInternetGateway`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateInternetGateway {
    tag_specification: Vec<TagSpecification>,
}

/// A gateway, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneGateway {
    internet_gateway: GatewayItem,
}

impl Call for CreateInternetGateway {
    type Answer = OneGateway;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneGateway, ApiError> {
        let tags = tags::specified(&self.tag_specification, "internet-gateway")?;
        let id = at.run(api::CreateInternetGateway::default())?;
        tags::put(at, &id, tags);
        let gateway = at.tx.require(&id)?;
        Ok(OneGateway {
            internet_gateway: GatewayItem::new(&gateway),
        })
    }
}

/// `AttachInternetGateway`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachInternetGateway {
    internet_gateway_id: InternetGatewayId,
    vpc_id: VpcId,
}

impl Call for AttachInternetGateway {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::AttachInternetGateway {
            internet_gateway: self.internet_gateway_id,
            vpc: self.vpc_id,
        })?;
        Ok(DONE)
    }
}

/// `DetachInternetGateway`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DetachInternetGateway {
    internet_gateway_id: InternetGatewayId,
    vpc_id: VpcId,
}

impl Call for DetachInternetGateway {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DetachInternetGateway {
            internet_gateway: self.internet_gateway_id,
            vpc: self.vpc_id,
        })?;
        Ok(DONE)
    }
}

/// `DeleteInternetGateway`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteInternetGateway {
    internet_gateway_id: InternetGatewayId,
}

impl Call for DeleteInternetGateway {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DeleteInternetGateway {
            internet_gateway: self.internet_gateway_id,
        })?;
        Ok(DONE)
    }
}

describe! {
    /// `DescribeInternetGateways`
    DescribeInternetGateways { internet_gateway_id: InternetGatewayId }
}

/// `DescribeInternetGateways`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateways {
    internet_gateway_set: Vec<GatewayItem>,
    next_token: Option<String>,
}

impl Call for DescribeInternetGateways {
    type Answer = Gateways;

    fn call(self, at: &mut At<'_, '_>) -> Result<Gateways, ApiError> {
        let page = self.wanted().select(at, FILTERS)?;
        Ok(Gateways {
            internet_gateway_set: page.items.iter().map(|it| GatewayItem::new(it)).collect(),
            next_token: page.next_token,
        })
    }
}

const FILTERS: &[Known<InternetGateway>] = &[
    ("internet-gateway-id", |gateway, _| one(&gateway.id)),
    ("attachment.vpc-id", |gateway, _| each(&gateway.vpc)),
    ("attachment.state", |gateway, _| {
        each(gateway.vpc.as_ref().map(|_| "available"))
    }),
    ("owner-id", |gateway, _| one(&gateway.meta.owner)),
];

/// A gateway in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayItem {
    internet_gateway_id: InternetGatewayId,
    owner_id: Arc<str>,
    attachment_set: Vec<GatewayAttachment>,
    tag_set: Vec<TagItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayAttachment {
    vpc_id: VpcId,
    state: &'static str,
}

impl GatewayItem {
    fn new(gateway: &InternetGateway) -> Self {
        let attachment = gateway.vpc.clone().map(|vpc_id| GatewayAttachment {
            vpc_id,
            state: "available",
        });
        Self {
            internet_gateway_id: gateway.id.clone(),
            owner_id: gateway.meta.owner.clone(),
            attachment_set: attachment.into_iter().collect(),
            tag_set: tags::items(&gateway.meta.all_tags()),
        }
    }
}
