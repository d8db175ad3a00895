//! Tags in requests and answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::call::At;
use crate::api::{ApiError, check_tags};
use crate::model::{Id, Resource, Tags};

/// A tag.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Tag {
    pub(super) key: String,
    pub(super) value: String,
}

/// A tag in an answer of EC2.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TagItem {
    key: Arc<str>,
    value: Arc<str>,
}

/// `TagSpecification.N`: tags of what a request creates.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TagSpecification {
    pub(super) resource_type: String,
    pub(super) tag: Vec<Tag>,
}

/// Tags as the model has them.
pub(super) fn tags(list: &[Tag]) -> Result<Tags, ApiError> {
    let mut tags = Tags::new();
    for tag in list {
        if tags
            .insert(Arc::from(&*tag.key), Arc::from(&*tag.value))
            .is_some()
        {
            return Err(ApiError::invalid_value(format!(
                "Duplicate tag key '{}' specified",
                tag.key
            )));
        }
    }
    check_tags(&tags)?;
    Ok(tags)
}

/// The tags that a request has for the one type of resource that it creates.
pub(super) fn specified(list: &[TagSpecification], resource_type: &str) -> Result<Tags, ApiError> {
    let wrong = list.iter().find(|spec| spec.resource_type != resource_type);
    if let Some(wrong) = wrong {
        return Err(ApiError::invalid_value(format!(
            "'{}' is not a valid taggable resource type for this operation; it is '{resource_type}'",
            wrong.resource_type
        )));
    }
    let all: Vec<Tag> = list.iter().flat_map(|spec| spec.tag.clone()).collect();
    tags(&all)
}

/// Gives a new resource its tags.
pub(super) fn put<I: Id>(at: &mut At<'_, '_>, id: &I, tags: Tags) {
    if !tags.is_empty() {
        at.tx
            .update(id, |resource| resource.meta_mut().set_tags(tags));
    }
}

/// The values of a filter about tags.
pub(super) fn values(items: &[TagItem], filter: &str) -> Vec<String> {
    let of = |value: fn(&TagItem) -> &Arc<str>| items.iter().map(move |it| value(it).to_string());
    match filter {
        "tag-key" => of(|it| &it.key).collect(),
        "tag-value" => of(|it| &it.value).collect(),
        _ => {
            let key = filter.strip_prefix("tag:");
            let with_key = items.iter().filter(|it| Some(&*it.key) == key);
            with_key.map(|it| it.value.to_string()).collect()
        }
    }
}

/// Tags in an answer.
pub(super) fn items(tags: &Tags) -> Vec<TagItem> {
    let item = |(key, value): (&Arc<str>, &Arc<str>)| TagItem {
        key: key.clone(),
        value: value.clone(),
    };
    tags.iter().map(item).collect()
}
