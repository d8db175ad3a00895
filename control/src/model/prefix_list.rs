//! Managed prefix lists.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;

use super::{Meta, PrefixListId, References, Resource, resource_fields};

/// The family of a prefix list's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AddressFamily {
    /// IPv4
    #[default]
    Ipv4,
    /// IPv6
    Ipv6,
}

impl AddressFamily {
    /// AWS's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }
}

/// A managed prefix list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixList {
    /// Id.
    pub id: PrefixListId,
    /// Owner, region, name tag.
    pub meta: Meta,
    /// Its own name, not the tag.
    pub list_name: Arc<str>,
    /// Family of all entries.
    pub family: AddressFamily,
    /// What it counts as in the quotas of those that name it.
    pub max_entries: u32,
    /// Grows with each change.
    pub version: u64,
    /// Blocks with their descriptions.
    pub entries: BTreeMap<Prefix, Arc<str>>,
}

impl Resource for PrefixList {
    resource_fields!(PrefixListId);

    fn references(&self, _to: &mut References) {}
}
