//! Managed prefix lists.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shape::Cidr;
use crate::api::gateway_endpoint::{ensure_named, require_list};
use crate::api::{self, ApiError, PrefixListEntry};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{self, Filter, Known, describe, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{
    AWS_OWNER, AddressFamily, AwsList, Id, Model, PrefixList, PrefixListId, RouteTable,
    SecurityGroup,
};

calls! {
    Read: DescribeManagedPrefixLists GetManagedPrefixListEntries GetManagedPrefixListAssociations
        DescribePrefixLists;
    Write: CreateManagedPrefixList ModifyManagedPrefixList DeleteManagedPrefixList;
}

/// `CreateManagedPrefixList`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateManagedPrefixList {
    prefix_list_name: String,
    max_entries: u32,
    address_family: Family,
    #[serde(default)]
    entry: Vec<AddEntry>,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum Family {
    #[serde(rename = "IPv4")]
    Ipv4,
    #[serde(rename = "IPv6")]
    Ipv6,
}

/// An entry to add.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AddEntry {
    cidr: Cidr,
    #[serde(default)]
    description: String,
}

impl AddEntry {
    fn all(entries: Vec<Self>) -> Vec<PrefixListEntry> {
        let entry = |entry: Self| PrefixListEntry {
            cidr: entry.cidr.0,
            description: entry.description,
        };
        entries.into_iter().map(entry).collect()
    }
}

/// A list, made or changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneList {
    prefix_list: ListItem,
}

impl Call for CreateManagedPrefixList {
    type Answer = OneList;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneList, ApiError> {
        let tags = tags::specified(&self.tag_specification, "prefix-list")?;
        let id = at.run(api::CreateManagedPrefixList {
            prefix_list_name: self.prefix_list_name,
            address_family: match self.address_family {
                Family::Ipv4 => AddressFamily::Ipv4,
                Family::Ipv6 => AddressFamily::Ipv6,
            },
            max_entries: self.max_entries,
            entries: AddEntry::all(self.entry),
            name: None,
        })?;
        tags::put(at, &id, tags);
        let list = at.tx.require(&id)?;
        Ok(OneList {
            prefix_list: ListItem::new(&list, "create-complete"),
        })
    }
}

/// `ModifyManagedPrefixList`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyManagedPrefixList {
    prefix_list_id: PrefixListId,
    current_version: Option<u64>,
    prefix_list_name: Option<String>,
    max_entries: Option<u32>,
    #[serde(default)]
    add_entry: Vec<AddEntry>,
    #[serde(default)]
    remove_entry: Vec<RemoveEntry>,
}

/// An entry to take away.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RemoveEntry {
    cidr: Cidr,
}

impl Call for ModifyManagedPrefixList {
    type Answer = OneList;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneList, ApiError> {
        at.run(api::ModifyManagedPrefixList {
            prefix_list: self.prefix_list_id.clone(),
            current_version: self.current_version,
            prefix_list_name: self.prefix_list_name,
            max_entries: self.max_entries,
            add_entries: AddEntry::all(self.add_entry),
            remove_entries: self.remove_entry.iter().map(|it| it.cidr.0).collect(),
        })?;
        let list = at.tx.require(&self.prefix_list_id)?;
        Ok(OneList {
            prefix_list: ListItem::new(&list, "modify-complete"),
        })
    }
}

/// `DeleteManagedPrefixList`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteManagedPrefixList {
    prefix_list_id: PrefixListId,
}

impl Call for DeleteManagedPrefixList {
    type Answer = OneList;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneList, ApiError> {
        let list = at.tx.require(&self.prefix_list_id)?;
        at.run(api::DeleteManagedPrefixList {
            prefix_list: self.prefix_list_id,
        })?;
        Ok(OneList {
            prefix_list: ListItem::new(&list, "delete-complete"),
        })
    }
}

describe! {
    /// `DescribeManagedPrefixLists`
    DescribeManagedPrefixLists { prefix_list_id: PrefixListId }
}

/// `DescribeManagedPrefixLists`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lists {
    prefix_list_set: Vec<ListItem>,
    next_token: Option<String>,
}

impl Call for DescribeManagedPrefixLists {
    type Answer = Lists;

    fn call(self, at: &mut At<'_, '_>) -> Result<Lists, ApiError> {
        let mut wanted = self.wanted();
        let filters = wanted.filters.clone();
        // AWS's own lists are nobody's, and everybody's.
        let is_aws = |id: &PrefixListId| AwsList::by_id(id.as_str()).is_some();
        let (aws, own): (Vec<_>, Vec<_>) = wanted.ids.drain(..).partition(is_aws);
        let only_aws = own.is_empty() && !aws.is_empty();
        let all = own.is_empty() && aws.is_empty();
        wanted.ids = own;
        if only_aws {
            select::check(&filters, FILTERS.iter().map(|(name, _)| *name))?;
        }
        let page = match only_aws {
            true => select::Page {
                items: Vec::new(),
                next_token: None,
            },
            false => wanted.select(at, FILTERS)?,
        };
        let items = page.items.iter();
        let mut lists: Vec<_> = items
            .map(|list| ListItem::new(list, "create-complete"))
            .collect();
        if page.next_token.is_none() {
            let fits = |list: &PrefixList| filters.iter().all(|filter| fits(filter, list));
            let found = aws_lists(at, &aws, all)?.into_iter().filter(fits);
            lists.extend(found.map(|list| ListItem::new(&list, "create-complete")));
        }
        Ok(Lists {
            prefix_list_set: lists,
            next_token: page.next_token,
        })
    }
}

/// AWS's lists with these ids, or all of the region's.
fn aws_lists(
    at: &At<'_, '_>,
    ids: &[PrefixListId],
    all: bool,
) -> Result<Vec<PrefixList>, ApiError> {
    let region = &at.caller().region;
    for id in ids {
        let known = AwsList::by_id(id.as_str()).is_some_and(|list| *list.region == **region);
        if !known {
            return Err(ApiError::new(
                PrefixListId::NOT_FOUND,
                format!("The prefix list '{id}' does not exist"),
            ));
        }
    }
    let wanted = |list: &&'static AwsList| all || ids.iter().any(|id| id.as_str() == list.id);
    Ok(AwsList::in_region(region)
        .filter(wanted)
        .map(AwsList::resource)
        .collect())
}

/// Whether a filter wants one of AWS's lists; they have no tags.
fn fits(filter: &Filter, list: &PrefixList) -> bool {
    let value = match &*filter.name {
        "prefix-list-id" => list.id.as_str(),
        "prefix-list-name" => &list.list_name,
        "owner-id" => &list.meta.owner,
        _ => return false,
    };
    filter.fits(value)
}

const FILTERS: &[Known<PrefixList>] = &[
    ("prefix-list-id", |list, _| one(&list.id)),
    ("prefix-list-name", |list, _| one(&list.list_name)),
    ("owner-id", |list, _| one(&list.meta.owner)),
];

/// A list in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListItem {
    prefix_list_id: PrefixListId,
    prefix_list_arn: String,
    prefix_list_name: Arc<str>,
    address_family: Family,
    max_entries: Option<u32>,
    version: Option<u64>,
    state: &'static str,
    owner_id: Arc<str>,
    tag_set: Vec<TagItem>,
}

impl ListItem {
    fn new(list: &PrefixList, state: &'static str) -> Self {
        let meta = &list.meta;
        let aws = *meta.owner == *AWS_OWNER;
        let owner = if aws { "aws" } else { &*meta.owner };
        Self {
            prefix_list_arn: format!(
                "arn:aws:ec2:{}:{owner}:prefix-list/{}",
                meta.region, list.id
            ),
            prefix_list_id: list.id.clone(),
            prefix_list_name: list.list_name.clone(),
            address_family: match list.family {
                AddressFamily::Ipv4 => Family::Ipv4,
                AddressFamily::Ipv6 => Family::Ipv6,
            },
            // AWS's lists have neither.
            max_entries: (!aws).then_some(list.max_entries),
            version: (!aws).then_some(list.version),
            state,
            owner_id: meta.owner.clone(),
            tag_set: tags::items(&meta.all_tags()),
        }
    }
}

/// `GetManagedPrefixListEntries`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetManagedPrefixListEntries {
    prefix_list_id: PrefixListId,
    target_version: Option<u64>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

/// A list's entries.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entries {
    entry_set: Vec<EntryItem>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
struct EntryItem {
    cidr: String,
    description: Option<Arc<str>>,
}

impl Call for GetManagedPrefixListEntries {
    type Answer = Entries;

    fn call(self, at: &mut At<'_, '_>) -> Result<Entries, ApiError> {
        ensure_named(at.tx, &self.prefix_list_id);
        let list = require_list(at.tx, &self.prefix_list_id)?;
        if let Some(version) = self
            .target_version
            .filter(|version| *version != list.version)
        {
            return Err(ApiError::new(
                "UnsupportedOperation",
                format!(
                    "Version {version} of {} is not kept; its version is {}",
                    list.id, list.version
                ),
            ));
        }
        let mut entries: Vec<_> = list
            .entries
            .iter()
            .map(|(cidr, description)| EntryItem {
                cidr: cidr.to_string(),
                description: Some(description.clone()).filter(|text| !text.is_empty()),
            })
            .collect();
        entries.sort_by(|a, b| a.cidr.cmp(&b.cidr));
        let page = select::page(
            entries.into_iter(),
            |entry| entry.cidr.clone(),
            self.max_results,
            self.next_token,
        )?;
        Ok(Entries {
            entry_set: page.items,
            next_token: page.next_token,
        })
    }
}

/// `GetManagedPrefixListAssociations`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetManagedPrefixListAssociations {
    prefix_list_id: PrefixListId,
    max_results: Option<u32>,
    next_token: Option<String>,
}

/// What names a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListAssociations {
    prefix_list_association_set: Vec<ListAssociation>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListAssociation {
    resource_id: String,
    resource_owner: Arc<str>,
}

impl Call for GetManagedPrefixListAssociations {
    type Answer = ListAssociations;

    fn call(self, at: &mut At<'_, '_>) -> Result<ListAssociations, ApiError> {
        ensure_named(at.tx, &self.prefix_list_id);
        let list = require_list(at.tx, &self.prefix_list_id)?;
        let users = users(at.model(), &list);
        let page = select::page(
            users.into_iter(),
            |user| user.resource_id.clone(),
            self.max_results,
            self.next_token,
        )?;
        Ok(ListAssociations {
            prefix_list_association_set: page.items,
            next_token: page.next_token,
        })
    }
}

fn users(model: &Model, list: &PrefixList) -> Vec<ListAssociation> {
    let groups = model
        .referrers::<SecurityGroup>(&list.id)
        .map(|group| (group.id.to_string(), group.meta.owner.clone()));
    let tables = model
        .referrers::<RouteTable>(&list.id)
        .map(|table| (table.id.to_string(), table.meta.owner.clone()));
    let mut all: Vec<_> = groups
        .chain(tables)
        .map(|(resource_id, resource_owner)| ListAssociation {
            resource_id,
            resource_owner,
        })
        .collect();
    all.sort_by(|a, b| a.resource_id.cmp(&b.resource_id));
    all
}

/// `DescribePrefixLists`: AWS's own lists.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribePrefixLists {
    prefix_list_id: Vec<PrefixListId>,
    filter: Vec<Filter>,
    /// Accepted: no page is full.
    max_results: Option<u32>,
    /// Accepted: no page is full.
    next_token: Option<String>,
}

/// `DescribePrefixLists`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AwsLists {
    prefix_list_set: Vec<AwsListItem>,
}

/// One of AWS's lists.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AwsListItem {
    prefix_list_id: PrefixListId,
    prefix_list_name: Arc<str>,
    cidr_set: Vec<String>,
}

impl Call for DescribePrefixLists {
    type Answer = AwsLists;

    fn call(self, at: &mut At<'_, '_>) -> Result<AwsLists, ApiError> {
        select::check(
            &self.filter,
            ["prefix-list-id", "prefix-list-name"].into_iter(),
        )?;
        let unknown = |id: &&PrefixListId| AwsList::by_id(id.as_str()).is_none();
        if let Some(id) = self.prefix_list_id.iter().find(unknown) {
            return Err(ApiError::new(
                "InvalidPrefixListId.NotFound",
                format!("The prefix list '{id}' does not exist"),
            ));
        }
        let all = self.prefix_list_id.is_empty();
        let lists = aws_lists(at, &self.prefix_list_id, all)?.into_iter();
        let wanted = lists.filter(|list| self.filter.iter().all(|filter| fits(filter, list)));
        let item = |list: PrefixList| AwsListItem {
            prefix_list_id: list.id,
            prefix_list_name: list.list_name,
            cidr_set: list.entries.keys().map(ToString::to_string).collect(),
        };
        Ok(AwsLists {
            prefix_list_set: wanted.map(item).collect(),
        })
    }
}
