//! Hosted zones: names that the lab's owner gives, public ones or a VPC's own.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{HostedZoneId, Meta, Model, References, Resource, VpcId, resource_fields};

/// What a name has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordValue {
    /// An A or AAAA record.
    Address(IpAddr),
    /// A CNAME record: another name, without a dot at its end.
    Alias(Arc<str>),
    /// A TXT record.
    Text(Arc<str>),
}

impl fmt::Display for RecordValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Alias(name) => write!(f, "cname {name}"),
            Self::Text(text) => write!(f, "txt {text}"),
        }
    }
}

/// A zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostedZone {
    /// Id.
    pub id: HostedZoneId,
    /// Owner, region, name.
    pub meta: Meta,
    /// Its domain, in lower case, without a dot at its end.
    pub domain: Arc<str>,
    /// Private: the VPCs that see it. Public: none, and all do.
    pub vpcs: Vec<VpcId>,
    /// Records by full name, in lower case, without a dot at its end.
    pub records: BTreeMap<Arc<str>, Vec<RecordValue>>,
}

impl HostedZone {
    /// Whether a name lies in it.
    pub fn holds(&self, name: &str) -> bool {
        match name.strip_suffix(&*self.domain) {
            Some(rest) => rest.is_empty() || rest.ends_with('.'),
            None => false,
        }
    }

    /// What a name has: its own, or what a `*` one label up has. `None` where
    /// the zone has no such name.
    pub fn find(&self, name: &str) -> Option<Vec<RecordValue>> {
        if let Some(own) = self.records.get(name) {
            return Some(own.clone());
        }
        let below = |own: &str| own.strip_suffix(name).is_some_and(|it| it.ends_with('.'));
        if name == &*self.domain || self.records.keys().any(|own| below(own)) {
            return Some(Vec::new());
        }
        let (_, parent) = name.split_once('.')?;
        self.records.get(&*format!("*.{parent}")).cloned()
    }
}

impl Resource for HostedZone {
    resource_fields!(HostedZoneId);

    fn references(&self, to: &mut References) {
        to.extend(&self.vpcs);
    }
}

impl Model {
    /// Whether a public zone has this text at a name.
    pub fn has_public_text(&self, name: &str, text: &str) -> bool {
        let public = self.hosted_zones().iter().filter(|it| it.vpcs.is_empty());
        let mut held = public.filter_map(|zone| zone.records.get(name));
        held.any(|values| {
            let mut values = values.iter();
            values.any(|value| matches!(value, RecordValue::Text(own) if **own == *text))
        })
    }
}
