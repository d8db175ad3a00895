//! Shapes and rules that ELBv2's requests and answers share.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api::{ApiError, check_tags};
use crate::aws::call::At;
use crate::aws::select;
use crate::aws::tags::Tag;
use crate::model::{Id, Resource, Tags};

/// An answer without fields.
#[derive(Debug, Serialize)]
pub struct Nothing {}

/// A key and its value: an attribute, or a tag.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Pair {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

impl Pair {
    /// A key and its value.
    pub fn new(key: impl Into<String>, value: impl ToString) -> Self {
        Self {
            key: key.into(),
            value: value.to_string(),
        }
    }
}

/// `ValidationError`: what ELBv2 calls most of what is wrong with a request.
pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", message)
}

/// What vpclab does not have.
pub(super) fn unsupported(message: impl Into<String>) -> ApiError {
    ApiError::new("UnsupportedOperation", message)
}

/// What EC2 refuses, in ELBv2's words.
pub(super) fn refusal(error: ApiError) -> ApiError {
    let code = match &*error.code {
        "InsufficientFreeAddressesInSubnet" => "InvalidSubnet",
        "InvalidIPAddress.InUse" | "InvalidParameterValue" => "InvalidConfigurationRequest",
        _ => return error,
    };
    ApiError::new(code, error.message)
}

/// Tags of a request.
pub(super) fn tags(list: &[Tag]) -> Result<Tags, ApiError> {
    let mut tags = Tags::new();
    for tag in list {
        if tags
            .insert(Arc::from(&*tag.key), Arc::from(&*tag.value))
            .is_some()
        {
            return Err(ApiError::new(
                "DuplicateTagKeys",
                format!("The tag key '{}' is given twice", tag.key),
            ));
        }
    }
    check_tags(&tags).map_err(tag_refusal)?;
    Ok(tags)
}

/// What is wrong with tags, in ELBv2's words.
pub(super) fn tag_refusal(error: ApiError) -> ApiError {
    let code = match &*error.code {
        "TagLimitExceeded" => "TooManyTags",
        "InvalidParameterValue" | "InvalidID" => "ValidationError",
        _ => return error,
    };
    ApiError::new(code, error.message)
}

/// A list's page.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next_marker: Option<String>,
}

/// What a describe call is asked for: ARNs or names, and a page.
#[derive(Debug)]
pub(super) struct Wanted<I> {
    pub(super) arns: Vec<I>,
    pub(super) names: Vec<String>,
    pub(super) page_size: Option<u32>,
    pub(super) marker: Option<String>,
}

impl<I: Id> Wanted<I> {
    /// The caller's resources that are wanted and `fit`, in the order of their
    /// ARNs.
    pub(super) fn select(
        self,
        at: &At<'_, '_>,
        name: impl Fn(&I::Resource) -> &str,
        fits: impl Fn(&I::Resource) -> bool,
    ) -> Result<Page<Arc<I::Resource>>, ApiError> {
        if !self.arns.is_empty() && !self.names.is_empty() {
            return Err(invalid(
                "ARNs and names cannot be specified at the same time",
            ));
        }
        for arn in &self.arns {
            at.tx.require(arn)?;
        }
        let caller = at.caller();
        let own = <I::Resource as crate::model::Stored>::table(at.model())
            .iter()
            .filter(|resource| {
                let meta = resource.meta();
                meta.owner == caller.account && meta.region == caller.region
            });
        let own: Vec<_> = own.cloned().collect();
        let missing = self
            .names
            .iter()
            .find(|wanted| !own.iter().any(|resource| name(resource) == **wanted));
        if let Some(missing) = missing {
            return Err(ApiError::new(
                I::NOT_FOUND,
                format!("One or more of the names do not exist: '{missing}'"),
            ));
        }
        let all = self.arns.is_empty() && self.names.is_empty();
        let found = own.into_iter().filter(|resource| {
            let named = || self.names.iter().any(|wanted| name(resource) == wanted);
            (all || self.arns.contains(resource.id()) || named()) && fits(resource)
        });
        if let Some(size) = self.page_size.filter(|size| !(1..=400).contains(size)) {
            return Err(invalid(format!(
                "PageSize '{size}' must be between 1 and 400"
            )));
        }
        let page = select::page(
            found,
            |resource| resource.id().to_string(),
            self.page_size,
            self.marker,
        )
        .map_err(|error| invalid(error.message))?;
        Ok(Page {
            items: page.items,
            next_marker: page.next_token,
        })
    }
}
