//! Hosted zones and their records.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Action, ApiError, Transaction};
use crate::model::*;

/// Bytes of a name and of one of its labels (RFC 1035 §2.3.4).
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// `CreateHostedZone`, with its first records.
#[derive(Clone, Debug, Default)]
pub struct CreateHostedZone {
    /// The domain.
    pub name: String,
    /// Private: the VPCs that see it. None makes a public zone.
    pub vpcs: Vec<VpcId>,
    /// Records by name, full or inside the zone (`www`, `@` for the zone itself).
    pub records: BTreeMap<String, Vec<RecordValue>>,
}

impl Action for CreateHostedZone {
    type Output = HostedZoneId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<HostedZoneId, ApiError> {
        let domain = checked_name(&self.name)?;
        for vpc in &self.vpcs {
            tx.require(vpc)?;
        }
        if let Some(other) = conflicting(tx, &domain, &self.vpcs) {
            return Err(ApiError::new(
                "ConflictingDomainExists",
                format!("The domain {domain} is that of {other} already"),
            ));
        }
        let mut zone = HostedZone {
            id: tx.mint(),
            meta: tx.meta(Some(&*domain)),
            domain: Arc::from(domain),
            vpcs: self.vpcs,
            records: BTreeMap::new(),
        };
        set(&mut zone, self.records)?;
        let id = zone.id.clone();
        tx.put(zone);
        Ok(id)
    }
}

/// A zone of this domain that somebody who would see a new one sees already.
fn conflicting(tx: &Transaction<'_>, domain: &str, vpcs: &[VpcId]) -> Option<HostedZoneId> {
    let mut others = tx.model().hosted_zones().iter();
    let same = others.find(|other| {
        let both_public = other.vpcs.is_empty() && vpcs.is_empty();
        let seen = other.vpcs.iter().any(|vpc| vpcs.contains(vpc));
        *other.domain == *domain && (both_public || seen)
    });
    same.map(|other| other.id.clone())
}

/// `ChangeResourceRecordSets`
#[derive(Clone, Debug, Default)]
pub struct ChangeResourceRecordSets {
    /// The zone.
    pub hosted_zone: HostedZoneId,
    /// What these names have from now on; nothing takes a name away.
    pub records: BTreeMap<String, Vec<RecordValue>>,
}

impl Action for ChangeResourceRecordSets {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let mut zone = (*tx.require(&self.hosted_zone)?).clone();
        set(&mut zone, self.records)?;
        tx.put(zone);
        Ok(())
    }
}

fn set(zone: &mut HostedZone, records: BTreeMap<String, Vec<RecordValue>>) -> Result<(), ApiError> {
    for (name, values) in records {
        let full = match name.trim_end_matches('.') {
            "@" | "" => zone.domain.to_string(),
            full if zone.holds(&full.to_ascii_lowercase()) => full.to_owned(),
            inside => format!("{inside}.{}", zone.domain),
        };
        let full: Arc<str> = Arc::from(checked_name(&full)?);
        let alias = |value: &RecordValue| matches!(value, RecordValue::Alias(_));
        if values.len() > 1 && values.iter().any(alias) {
            return Err(invalid(format!(
                "{full} is an alias, so it can have nothing else"
            )));
        }
        for value in &values {
            if let RecordValue::Alias(to) = value {
                checked_name(to)?;
            }
        }
        match values.is_empty() {
            true => zone.records.remove(&full),
            false => zone.records.insert(full, values),
        };
    }
    Ok(())
}

/// A name in lower case and without a dot at its end.
pub(super) fn checked_name(name: &str) -> Result<String, ApiError> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*');
        (1..=LABEL_MAX).contains(&label.len()) && label.bytes().all(plain)
    };
    match name.len() <= NAME_MAX && name.split('.').all(label) {
        true => Ok(name),
        false => Err(invalid(format!(
            "'{name}' is no domain name; write labels of letters, digits, - and _ with dots between"
        ))),
    }
}

fn invalid(message: String) -> ApiError {
    ApiError::new("InvalidInput", message)
}
