//! Tags of any resource.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shape::{DONE, Done};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{self, Filter};
use crate::aws::tags::{self, Tag};
use crate::model::{Kind, Tags};

calls! {
    Read: DescribeTags;
    Write: CreateTags DeleteTags;
}

/// `CreateTags`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateTags {
    resource_id: Vec<String>,
    tag: Vec<Tag>,
}

impl Call for CreateTags {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::CreateTags {
            resources: self.resource_id,
            tags: tags::tags(&self.tag)?,
        })?;
        Ok(DONE)
    }
}

/// `DeleteTags`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteTags {
    resource_id: Vec<String>,
    #[serde(default)]
    tag: Vec<GoneTag>,
}

/// A tag to take away: whatever its value, unless one is given.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GoneTag {
    key: String,
    value: Option<String>,
}

impl Call for DeleteTags {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let tags = self.tag.into_iter().map(|tag| (tag.key, tag.value));
        at.run(api::DeleteTags {
            resources: self.resource_id,
            tags: tags.collect(),
        })?;
        Ok(DONE)
    }
}

/// `DescribeTags`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeTags {
    filter: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

/// `DescribeTags`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TagList {
    tag_set: Vec<Described>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    resource_id: Arc<str>,
    resource_type: &'static str,
    key: Arc<str>,
    value: Arc<str>,
}

impl Call for DescribeTags {
    type Answer = TagList;

    fn call(self, at: &mut At<'_, '_>) -> Result<TagList, ApiError> {
        let names = ["resource-id", "resource-type", "key", "value"];
        select::check(&self.filter, names.into_iter())?;
        let (model, caller) = (at.model(), at.caller());
        let mut all = Vec::new();
        let mut add = |id: &Arc<str>, resource_type: &'static str, tags: Tags| {
            for (key, value) in tags {
                all.push(Described {
                    resource_id: id.clone(),
                    resource_type,
                    key,
                    value,
                });
            }
        };
        for id in model.ids() {
            let meta = model.meta_of(&id);
            let own = meta.filter(|m| m.owner == caller.account && m.region == caller.region);
            if let Some((meta, resource_type)) = own.zip(resource_type(id.kind)) {
                add(&id.text, resource_type, meta.all_tags());
            }
        }
        for group in model.security_groups().iter() {
            if group.meta.owner == caller.account && group.meta.region == caller.region {
                for rule in &group.rules {
                    add(&rule.id, "security-group-rule", rule.tags.clone());
                }
            }
        }
        let value = |tag: &Described, filter: &str| match filter {
            "resource-id" => Some(tag.resource_id.to_string()),
            "resource-type" => Some(tag.resource_type.to_owned()),
            "key" | "tag-key" => Some(tag.key.to_string()),
            "value" | "tag-value" => Some(tag.value.to_string()),
            other => {
                let key = other.strip_prefix("tag:")?;
                (*key == *tag.key).then(|| tag.value.to_string())
            }
        };
        all.retain(|tag| select::all_match(&self.filter, |name| value(tag, name)));
        all.sort_by(|a, b| (&a.resource_id, &a.key).cmp(&(&b.resource_id, &b.key)));
        let page = select::page(
            all.into_iter(),
            |tag| format!("{} {}", tag.resource_id, tag.key),
            self.max_results,
            self.next_token,
        )?;
        Ok(TagList {
            tag_set: page.items,
            next_token: page.next_token,
        })
    }
}

/// EC2's name of a kind of resource that it can tag.
fn resource_type(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Vpc => "vpc",
        Kind::DhcpOptions => "dhcp-options",
        Kind::PrefixList => "prefix-list",
        Kind::SecurityGroup => "security-group",
        Kind::NetworkAcl => "network-acl",
        Kind::RouteTable => "route-table",
        Kind::Subnet => "subnet",
        Kind::InternetGateway => "internet-gateway",
        Kind::VpnGateway => "vpn-gateway",
        Kind::CustomerGateway => "customer-gateway",
        Kind::VpnConnection => "vpn-connection",
        Kind::VpcPeeringConnection => "vpc-peering-connection",
        Kind::NetworkInterface => "network-interface",
        Kind::ElasticIp => "elastic-ip",
        Kind::EndpointService => "vpc-endpoint-service",
        Kind::VpcEndpoint => "vpc-endpoint",
        Kind::NatGateway => "natgateway",
        Kind::Instance => "instance",
        Kind::NetworkInsightsPath => "network-insights-path",
        Kind::NetworkInsightsAnalysis => "network-insights-analysis",
        Kind::Scope
        | Kind::ClientToken
        | Kind::HostedZone
        | Kind::NetworkAclAssociation
        | Kind::RouteTableAssociation
        | Kind::TargetGroup
        | Kind::LoadBalancer
        | Kind::Listener => return None,
    })
}
