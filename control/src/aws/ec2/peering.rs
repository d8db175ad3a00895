//! VPC peering connections.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shape::{DONE, Done, time};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{self, Filter};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{
    Id, Model, PeeringEnd, PeeringState, VpcId, VpcPeeringConnection, VpcPeeringConnectionId,
};

calls! {
    Read: DescribeVpcPeeringConnections;
    Write: CreateVpcPeeringConnection AcceptVpcPeeringConnection RejectVpcPeeringConnection
        DeleteVpcPeeringConnection ModifyVpcPeeringConnectionOptions;
}

/// `CreateVpcPeeringConnection`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateVpcPeeringConnection {
    vpc_id: VpcId,
    peer_vpc_id: VpcId,
    peer_owner_id: Option<String>,
    peer_region: Option<String>,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// A connection, made or accepted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OnePeering {
    vpc_peering_connection: PeeringItem,
}

impl Call for CreateVpcPeeringConnection {
    type Answer = OnePeering;

    fn call(self, at: &mut At<'_, '_>) -> Result<OnePeering, ApiError> {
        let tags = tags::specified(&self.tag_specification, "vpc-peering-connection")?;
        let id = at.run(api::CreateVpcPeeringConnection {
            vpc: self.vpc_id,
            peer_vpc: self.peer_vpc_id,
            peer_owner: self.peer_owner_id,
            peer_region: self.peer_region,
            name: None,
        })?;
        tags::put(at, &id, tags);
        one(at, &id)
    }
}

fn one(at: &At<'_, '_>, id: &VpcPeeringConnectionId) -> Result<OnePeering, ApiError> {
    let held = at.tx.require_any_owner(id)?;
    Ok(OnePeering {
        vpc_peering_connection: PeeringItem::new(&held, at),
    })
}

/// `AcceptVpcPeeringConnection`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AcceptVpcPeeringConnection {
    vpc_peering_connection_id: VpcPeeringConnectionId,
}

impl Call for AcceptVpcPeeringConnection {
    type Answer = OnePeering;

    fn call(self, at: &mut At<'_, '_>) -> Result<OnePeering, ApiError> {
        let id = self.vpc_peering_connection_id;
        at.run(api::AcceptVpcPeeringConnection {
            peering: id.clone(),
        })?;
        one(at, &id)
    }
}

/// `RejectVpcPeeringConnection`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RejectVpcPeeringConnection {
    vpc_peering_connection_id: VpcPeeringConnectionId,
}

impl Call for RejectVpcPeeringConnection {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::RejectVpcPeeringConnection {
            peering: self.vpc_peering_connection_id,
        })?;
        Ok(DONE)
    }
}

/// `DeleteVpcPeeringConnection`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteVpcPeeringConnection {
    vpc_peering_connection_id: VpcPeeringConnectionId,
}

impl Call for DeleteVpcPeeringConnection {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DeleteVpcPeeringConnection {
            peering: self.vpc_peering_connection_id,
        })?;
        Ok(DONE)
    }
}

/// `ModifyVpcPeeringConnectionOptions`. Of its options AWS still has one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyVpcPeeringConnectionOptions {
    vpc_peering_connection_id: VpcPeeringConnectionId,
    requester_peering_connection_options: Option<OptionsGiven>,
    accepter_peering_connection_options: Option<OptionsGiven>,
}

/// Options of one end in a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct OptionsGiven {
    allow_dns_resolution_from_remote_vpc: Option<bool>,
}

/// Options as they are now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    requester_peering_connection_options: OptionsItem,
    accepter_peering_connection_options: OptionsItem,
}

impl Call for ModifyVpcPeeringConnectionOptions {
    type Answer = Options;

    fn call(self, at: &mut At<'_, '_>) -> Result<Options, ApiError> {
        let dns = |given: Option<OptionsGiven>| {
            given.and_then(|given| given.allow_dns_resolution_from_remote_vpc)
        };
        let held = at.run(api::ModifyVpcPeeringConnectionOptions {
            peering: self.vpc_peering_connection_id,
            requester_dns_resolution: dns(self.requester_peering_connection_options),
            accepter_dns_resolution: dns(self.accepter_peering_connection_options),
        })?;
        Ok(Options {
            requester_peering_connection_options: OptionsItem::new(&held.requester),
            accepter_peering_connection_options: OptionsItem::new(&held.accepter),
        })
    }
}

/// `DescribeVpcPeeringConnections`: those that the caller owns an end of.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeVpcPeeringConnections {
    vpc_peering_connection_id: Vec<VpcPeeringConnectionId>,
    filter: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

/// `DescribeVpcPeeringConnections`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peerings {
    vpc_peering_connection_set: Vec<PeeringItem>,
    next_token: Option<String>,
}

const FILTERS: [&str; 9] = [
    "accepter-vpc-info.cidr-block",
    "accepter-vpc-info.owner-id",
    "accepter-vpc-info.vpc-id",
    "requester-vpc-info.cidr-block",
    "requester-vpc-info.owner-id",
    "requester-vpc-info.vpc-id",
    "status-code",
    "status-message",
    "vpc-peering-connection-id",
];

impl Call for DescribeVpcPeeringConnections {
    type Answer = Peerings;

    fn call(self, at: &mut At<'_, '_>) -> Result<Peerings, ApiError> {
        select::check(&self.filter, FILTERS.into_iter())?;
        let now_s = at.tx.now_s();
        let caller = at.caller();
        let is_own = |end: &&PeeringEnd| end.owner == caller.account && end.region == caller.region;
        let shown =
            |held: &VpcPeeringConnection| held.is_shown_at(now_s) && held.ends().iter().any(is_own);
        for id in &self.vpc_peering_connection_id {
            if !shown(&*at.tx.require_any_owner(id)?) {
                return Err(ApiError::new(
                    VpcPeeringConnectionId::NOT_FOUND,
                    format!("The vpcPeeringConnection ID '{id}' does not exist"),
                ));
            }
        }
        let ids = &self.vpc_peering_connection_id;
        let all = at.model().vpc_peering_connections().iter();
        let items = all
            .filter(|held| shown(held) && (ids.is_empty() || ids.contains(&held.id)))
            .map(|held| PeeringItem::new(held, at));
        let wanted = items.filter(|item| self.filter.iter().all(|filter| item.fits(filter)));
        let page = select::page(
            wanted,
            |item| item.vpc_peering_connection_id.to_string(),
            self.max_results,
            self.next_token,
        )?;
        Ok(Peerings {
            vpc_peering_connection_set: page.items,
            next_token: page.next_token,
        })
    }
}

/// A connection in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PeeringItem {
    vpc_peering_connection_id: VpcPeeringConnectionId,
    requester_vpc_info: VpcInfo,
    accepter_vpc_info: VpcInfo,
    status: Status,
    expiration_time: Option<String>,
    tag_set: Vec<TagItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    code: &'static str,
    message: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VpcInfo {
    vpc_id: VpcId,
    owner_id: Arc<str>,
    region: Arc<str>,
    cidr_block: Option<String>,
    cidr_block_set: Vec<CidrItem>,
    ipv6_cidr_block_set: Vec<Ipv6CidrItem>,
    peering_options: OptionsItem,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CidrItem {
    cidr_block: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ipv6CidrItem {
    ipv6_cidr_block: String,
}

/// Options of one end in answers; the two others were for EC2-Classic.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OptionsItem {
    allow_dns_resolution_from_remote_vpc: bool,
    allow_egress_from_local_classic_link_to_remote_vpc: bool,
    allow_egress_from_local_vpc_to_remote_classic_link: bool,
}

impl OptionsItem {
    fn new(end: &PeeringEnd) -> Self {
        Self {
            allow_dns_resolution_from_remote_vpc: end.dns_resolution,
            allow_egress_from_local_classic_link_to_remote_vpc: false,
            allow_egress_from_local_vpc_to_remote_classic_link: false,
        }
    }
}

impl VpcInfo {
    fn new(end: &PeeringEnd, model: &Model) -> Self {
        let vpc = model.get(&end.vpc);
        let cidrs = vpc.map(|vpc| &vpc.cidrs[..]).unwrap_or_default();
        let ipv6 = vpc.map(|vpc| &vpc.ipv6_cidrs[..]).unwrap_or_default();
        let block = |cidr_block: String| CidrItem { cidr_block };
        Self {
            vpc_id: end.vpc.clone(),
            owner_id: end.owner.clone(),
            region: end.region.clone(),
            cidr_block: cidrs.first().map(|held| held.block.to_string()),
            cidr_block_set: cidrs
                .iter()
                .map(|held| block(held.block.to_string()))
                .collect(),
            ipv6_cidr_block_set: ipv6
                .iter()
                .map(|held| Ipv6CidrItem {
                    ipv6_cidr_block: held.block.to_string(),
                })
                .collect(),
            peering_options: OptionsItem::new(end),
        }
    }
}

/// Seconds for which a request waits.
const PENDING_S: u64 = 7 * 24 * 3600;

impl PeeringItem {
    fn new(held: &VpcPeeringConnection, at: &At<'_, '_>) -> Self {
        let state = held.state_at(at.tx.now_s());
        let message = match state {
            PeeringState::PendingAcceptance => {
                format!("Pending Acceptance by {}", held.accepter.owner)
            }
            PeeringState::Active => "Active".to_owned(),
            PeeringState::Failed => {
                "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range".to_owned()
            }
            PeeringState::Expired => "Expired".to_owned(),
            PeeringState::Rejected => "Rejected".to_owned(),
            PeeringState::Deleted => "Deleted".to_owned(),
        };
        let pending = state == PeeringState::PendingAcceptance;
        Self {
            vpc_peering_connection_id: held.id.clone(),
            requester_vpc_info: VpcInfo::new(&held.requester, at.model()),
            accepter_vpc_info: VpcInfo::new(&held.accepter, at.model()),
            status: Status {
                code: state.name(),
                message,
            },
            expiration_time: pending.then(|| time(held.meta.created_s.saturating_add(PENDING_S))),
            tag_set: tags::items(&held.meta.all_tags()),
        }
    }

    fn fits(&self, filter: &Filter) -> bool {
        let blocks = |info: &VpcInfo| {
            let all = info.cidr_block_set.iter();
            all.map(|it| it.cidr_block.clone()).collect()
        };
        let (asked, asking) = (&self.accepter_vpc_info, &self.requester_vpc_info);
        let values = match filter.name.as_str() {
            "accepter-vpc-info.cidr-block" => blocks(asked),
            "accepter-vpc-info.owner-id" => vec![asked.owner_id.to_string()],
            "accepter-vpc-info.vpc-id" => vec![asked.vpc_id.to_string()],
            "requester-vpc-info.cidr-block" => blocks(asking),
            "requester-vpc-info.owner-id" => vec![asking.owner_id.to_string()],
            "requester-vpc-info.vpc-id" => vec![asking.vpc_id.to_string()],
            "status-code" => vec![self.status.code.to_owned()],
            "status-message" => vec![self.status.message.clone()],
            "vpc-peering-connection-id" => vec![self.vpc_peering_connection_id.to_string()],
            name => tags::values(&self.tag_set, name),
        };
        values.iter().any(|value| filter.fits(value))
    }
}
