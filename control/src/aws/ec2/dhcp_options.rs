//! DHCP options.

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shape::{DONE, Done};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{DhcpOptions, DhcpOptionsId, DhcpValues, NameServer, VpcId};

calls! {
    Read: DescribeDhcpOptions;
    Write: CreateDhcpOptions DeleteDhcpOptions AssociateDhcpOptions;
}

/// What a VPC without options names.
pub(super) const NONE: &str = "default";

/// `CreateDhcpOptions`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateDhcpOptions {
    dhcp_configuration: Vec<Configuration>,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// A DHCP option: its key and values, which may have commas between.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    key: String,
    #[serde(default)]
    value: Vec<String>,
}

/// A set, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneSet {
    dhcp_options: SetItem,
}

impl Call for CreateDhcpOptions {
    type Answer = OneSet;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneSet, ApiError> {
        let tags = tags::specified(&self.tag_specification, "dhcp-options")?;
        let mut values = DhcpValues::default();
        for (n, one) in self.dhcp_configuration.iter().enumerate() {
            if self
                .dhcp_configuration
                .iter()
                .take(n)
                .any(|it| it.key == one.key)
            {
                let message = format!("The DHCP option {} is given twice", one.key);
                return Err(ApiError::invalid_value(message));
            }
            one.put(&mut values)?;
        }
        let id = at.run(api::CreateDhcpOptions { values, name: None })?;
        tags::put(at, &id, tags);
        let options = at.tx.require(&id)?;
        Ok(OneSet {
            dhcp_options: SetItem::new(&options),
        })
    }
}

impl Configuration {
    fn put(&self, to: &mut DhcpValues) -> Result<(), ApiError> {
        match self.key.as_str() {
            "domain-name" => to.domain_name = Some(Arc::from(self.single()?)),
            "domain-name-servers" => {
                to.domain_name_servers = self.all(|text| match text {
                    NameServer::AMAZON => Some(NameServer::Amazon),
                    other => other.parse().ok().map(NameServer::At),
                })?
            }
            "ntp-servers" => to.ntp_servers = self.all(parsed)?,
            "netbios-name-servers" => to.netbios_name_servers = self.all(parsed)?,
            "netbios-node-type" => to.netbios_node_type = Some(self.number()?),
            "ipv6-address-preferred-lease-time" => {
                to.ipv6_preferred_lease_s = Some(self.number()?);
            }
            other => {
                return Err(ApiError::invalid_value(format!(
                    "Value ({other}) for parameter key is invalid. Unknown DHCP option"
                )));
            }
        }
        Ok(())
    }

    fn refused(&self, value: &str) -> ApiError {
        let key = &self.key;
        ApiError::invalid_value(format!(
            "Value ({value}) for parameter value is invalid. Invalid value for DHCP option {key}"
        ))
    }

    fn single(&self) -> Result<&str, ApiError> {
        match self.value.as_slice() {
            [value] => Ok(value),
            other => Err(self.refused(&other.join(","))),
        }
    }

    fn number<T: FromStr>(&self) -> Result<T, ApiError> {
        let value = self.single()?;
        parsed(value).ok_or_else(|| self.refused(value))
    }

    fn all<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, ApiError> {
        let values = self.value.iter().flat_map(|value| value.split(','));
        let read = |value: &str| read(value.trim()).ok_or_else(|| self.refused(value));
        let all: Vec<T> = values.map(read).collect::<Result<_, _>>()?;
        match all.is_empty() {
            true => Err(self.refused("")),
            false => Ok(all),
        }
    }
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// `DeleteDhcpOptions`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteDhcpOptions {
    dhcp_options_id: DhcpOptionsId,
}

impl Call for DeleteDhcpOptions {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DeleteDhcpOptions {
            dhcp_options: self.dhcp_options_id,
        })?;
        Ok(DONE)
    }
}

/// `AssociateDhcpOptions`: `default` means no options.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssociateDhcpOptions {
    dhcp_options_id: DhcpOptionsId,
    vpc_id: VpcId,
}

impl Call for AssociateDhcpOptions {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let id = self.dhcp_options_id;
        at.run(api::AssociateDhcpOptions {
            dhcp_options: Some(id).filter(|id| id.as_str() != NONE),
            vpc: self.vpc_id,
        })?;
        Ok(DONE)
    }
}

describe! {
    /// `DescribeDhcpOptions`
    DescribeDhcpOptions { dhcp_options_id: DhcpOptionsId }
}

/// `DescribeDhcpOptions`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sets {
    dhcp_options_set: Vec<SetItem>,
    next_token: Option<String>,
}

impl Call for DescribeDhcpOptions {
    type Answer = Sets;

    fn call(self, at: &mut At<'_, '_>) -> Result<Sets, ApiError> {
        let page = self.wanted().select(at, FILTERS)?;
        Ok(Sets {
            dhcp_options_set: page.items.iter().map(|it| SetItem::new(it)).collect(),
            next_token: page.next_token,
        })
    }
}

const FILTERS: &[Known<DhcpOptions>] = &[
    ("dhcp-options-id", |options, _| one(&options.id)),
    ("key", |options, _| {
        let all = options.values.listed().into_iter();
        all.map(|(key, _)| key.to_owned()).collect()
    }),
    ("value", |options, _| {
        let all = options.values.listed().into_iter();
        all.flat_map(|(_, values)| values).collect()
    }),
    ("owner-id", |options, _| one(&options.meta.owner)),
];

/// A set in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetItem {
    dhcp_options_id: DhcpOptionsId,
    owner_id: Arc<str>,
    dhcp_configuration_set: Vec<ConfigurationItem>,
    tag_set: Vec<TagItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigurationItem {
    key: &'static str,
    value_set: Vec<ValueItem>,
}

#[derive(Debug, Serialize)]
struct ValueItem {
    value: String,
}

impl SetItem {
    fn new(options: &DhcpOptions) -> Self {
        let item = |(key, values): (&'static str, Vec<String>)| ConfigurationItem {
            key,
            value_set: values
                .into_iter()
                .map(|value| ValueItem { value })
                .collect(),
        };
        Self {
            dhcp_options_id: options.id.clone(),
            owner_id: options.meta.owner.clone(),
            dhcp_configuration_set: options.values.listed().into_iter().map(item).collect(),
            tag_set: tags::items(&options.meta.all_tags()),
        }
    }
}
