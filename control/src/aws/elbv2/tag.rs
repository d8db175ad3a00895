//! Tags of load balancers, target groups and listeners.

use serde::{Deserialize, Serialize};

use super::shape::{Nothing, Pair, invalid, tag_refusal, tags};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::tags::Tag;
use crate::model::{Kind, ResourceId, kind_of};

calls! {
    Read: DescribeTags;
    Write: AddTags RemoveTags;
}

/// `AddTags`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddTags {
    resource_arns: Vec<String>,
    tags: Vec<Tag>,
}

impl Call for AddTags {
    type Answer = Nothing;

    fn call(self, at: &mut At<'_, '_>) -> Result<Nothing, ApiError> {
        check(&self.resource_arns)?;
        let tags = tags(&self.tags)?;
        at.run(api::CreateTags {
            resources: self.resource_arns,
            tags,
        })
        .map_err(tag_refusal)?;
        Ok(Nothing {})
    }
}

/// `RemoveTags`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RemoveTags {
    resource_arns: Vec<String>,
    tag_keys: Vec<String>,
}

impl Call for RemoveTags {
    type Answer = Nothing;

    fn call(self, at: &mut At<'_, '_>) -> Result<Nothing, ApiError> {
        check(&self.resource_arns)?;
        if self.tag_keys.is_empty() {
            return Err(invalid("At least one tag key must be specified"));
        }
        at.run(api::DeleteTags {
            resources: self.resource_arns,
            tags: self.tag_keys.into_iter().map(|key| (key, None)).collect(),
        })
        .map_err(tag_refusal)?;
        Ok(Nothing {})
    }
}

/// `DescribeTags`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeTags {
    resource_arns: Vec<String>,
}

/// Tags of resources.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Described {
    tag_descriptions: Vec<Tagged>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tagged {
    resource_arn: String,
    tags: Vec<Pair>,
}

impl Call for DescribeTags {
    type Answer = Described;

    fn call(self, at: &mut At<'_, '_>) -> Result<Described, ApiError> {
        let mut tag_descriptions = Vec::new();
        for resource_arn in self.resource_arns {
            let id = ResourceId {
                kind: kind(&resource_arn)?,
                text: resource_arn.as_str().into(),
            };
            let caller = at.caller();
            let meta = at.model().meta_of(&id);
            let own = meta.filter(|m| m.owner == caller.account && m.region == caller.region);
            let Some(meta) = own else {
                return Err(ApiError::new(
                    id.kind.not_found(),
                    format!("The resource '{resource_arn}' does not exist"),
                ));
            };
            let tags = meta.all_tags();
            tag_descriptions.push(Tagged {
                resource_arn,
                tags: tags
                    .iter()
                    .map(|(key, value)| Pair::new(&**key, value))
                    .collect(),
            });
        }
        Ok(Described { tag_descriptions })
    }
}

fn check(arns: &[String]) -> Result<(), ApiError> {
    arns.iter().try_for_each(|arn| kind(arn).map(drop))
}

/// The kind of resource that an ARN names, if ELBv2 tags it.
fn kind(arn: &str) -> Result<Kind, ApiError> {
    let kind = kind_of(arn).filter(|kind| {
        matches!(
            kind,
            Kind::LoadBalancer | Kind::TargetGroup | Kind::Listener
        )
    });
    kind.ok_or_else(|| {
        invalid(format!(
            "'{arn}' is not the ARN of a load balancer, a target group or a listener"
        ))
    })
}
