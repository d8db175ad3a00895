//! Managed prefix lists.

use std::collections::BTreeMap;
use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;

use super::route::routes_counted;
use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// A block of a prefix list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixListEntry {
    /// The block.
    pub cidr: Prefix,
    /// Free text.
    pub description: String,
}

impl From<Prefix> for PrefixListEntry {
    fn from(cidr: Prefix) -> Self {
        Self {
            cidr,
            description: String::new(),
        }
    }
}

/// `CreateManagedPrefixList`
#[derive(Clone, Debug, Default)]
pub struct CreateManagedPrefixList {
    /// The list's own name.
    pub prefix_list_name: String,
    /// Family of all entries.
    pub address_family: AddressFamily,
    /// What it counts as in the quotas of those that name it.
    pub max_entries: u32,
    /// Blocks.
    pub entries: Vec<PrefixListEntry>,
    /// `Name` tag.
    pub name: Option<String>,
}

impl Action for CreateManagedPrefixList {
    type Output = PrefixListId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<PrefixListId, ApiError> {
        if self.prefix_list_name.is_empty() {
            return Err(ApiError::missing("prefixListName"));
        }
        if self.prefix_list_name.starts_with("com.amazonaws") {
            return Err(ApiError::invalid_value(format!(
                "The name '{}' is reserved: names cannot start with com.amazonaws",
                self.prefix_list_name
            )));
        }
        if self.max_entries == 0 {
            return Err(ApiError::invalid_value(
                "MaxEntries is 0; a prefix list holds at least 1 entry",
            ));
        }
        let have = tx.model().count::<PrefixList>(&tx.scope());
        tx.check_quota(
            Quota::PrefixListsPerRegion,
            have,
            1,
            "PrefixListLimitExceeded",
        )?;
        let mut list = PrefixList {
            id: tx.mint(),
            meta: tx.meta(self.name.as_deref()),
            list_name: Arc::from(self.prefix_list_name),
            family: self.address_family,
            max_entries: self.max_entries,
            version: 1,
            entries: BTreeMap::new(),
        };
        add(&mut list, self.entries)?;
        check_size(tx, &list)?;
        let id = list.id.clone();
        tx.put(list);
        Ok(id)
    }
}

/// `ModifyManagedPrefixList`: makes the next version.
#[derive(Clone, Debug, Default)]
pub struct ModifyManagedPrefixList {
    /// The list.
    pub prefix_list: PrefixListId,
    /// Refused unless the list is at this version.
    pub current_version: Option<u64>,
    /// New name.
    pub prefix_list_name: Option<String>,
    /// New size.
    pub max_entries: Option<u32>,
    /// Blocks to add, or to describe anew.
    pub add_entries: Vec<PrefixListEntry>,
    /// Blocks to remove.
    pub remove_entries: Vec<Prefix>,
}

impl Action for ModifyManagedPrefixList {
    /// The new version.
    type Output = u64;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<u64, ApiError> {
        let old = tx.require(&self.prefix_list)?;
        if let Some(version) = self.current_version
            && version != old.version
        {
            return Err(ApiError::new(
                "PrefixListVersionMismatch",
                format!(
                    "The prefix list {} is at version {}, not {version}",
                    old.id, old.version
                ),
            ));
        }
        let mut list = PrefixList::clone(&old);
        for block in &self.remove_entries {
            if list.entries.remove(block).is_none() {
                return Err(ApiError::new(
                    "InvalidPrefixListModification",
                    format!("The entry {block} is not in {}", list.id),
                ));
            }
        }
        let changes_entries = !(self.add_entries.is_empty() && self.remove_entries.is_empty());
        add(&mut list, self.add_entries)?;
        if let Some(max) = self.max_entries {
            list.max_entries = max;
        }
        if let Some(name) = self.prefix_list_name {
            list.list_name = Arc::from(name);
        }
        list.version += u64::from(changes_entries);
        check_size(tx, &list)?;
        let (id, version) = (list.id.clone(), list.version);
        let grows = list.max_entries > old.max_entries;
        let ipv4 = list.family == AddressFamily::Ipv4;
        tx.put(list);
        if grows {
            check_users(tx, &id, ipv4)?;
        }
        Ok(version)
    }
}

/// `DeleteManagedPrefixList`: one that nothing names.
#[derive(Clone, Debug, Default)]
pub struct DeleteManagedPrefixList {
    /// The list.
    pub prefix_list: PrefixListId,
}

impl Action for DeleteManagedPrefixList {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let list = tx.require(&self.prefix_list)?;
        tx.refuse_if_used::<RouteTable>(&list.id)?;
        tx.refuse_if_used::<SecurityGroup>(&list.id)?;
        tx.remove(&list.id);
        Ok(())
    }
}

fn add(list: &mut PrefixList, entries: Vec<PrefixListEntry>) -> Result<(), ApiError> {
    for entry in entries {
        if entry.cidr.is_ipv4() != (list.family == AddressFamily::Ipv4) {
            return Err(ApiError::invalid_value(format!(
                "The entry {} is not of the list's family, {:?}",
                entry.cidr, list.family
            )));
        }
        list.entries
            .insert(entry.cidr, Arc::from(entry.description));
    }
    Ok(())
}

fn check_size(tx: &Transaction<'_>, list: &PrefixList) -> Result<(), ApiError> {
    if list.entries.len() > list.max_entries as usize {
        return Err(ApiError::new(
            "PrefixListMaxEntriesExceeded",
            format!(
                "{} entries are more than the list's maximum, {}; raise MaxEntries",
                list.entries.len(),
                list.max_entries
            ),
        ));
    }
    tx.check_quota(
        Quota::EntriesPerPrefixList,
        0,
        u64::from(list.max_entries),
        "PrefixListMaxEntriesExceeded",
    )
}

/// A list that grows counts for more in the tables and groups that name it.
fn check_users(tx: &Transaction<'_>, id: &PrefixListId, ipv4: bool) -> Result<(), ApiError> {
    let model = tx.model();
    for table in model.referrers::<RouteTable>(id) {
        let have = routes_counted(model, table, ipv4);
        let quota = Quota::RoutesPerRouteTable;
        tx.check_quota(quota, have, 0, "RouteLimitExceeded")?;
    }
    for group in model.referrers::<SecurityGroup>(id) {
        super::security_group::check_rule_quota(tx, group)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    #[test]
    fn a_change_makes_a_version_and_reaches_the_row() {
        let mut control = ControlPlane::default();
        let list = prefix_list(&mut control, &["203.0.113.0/24"], 2);
        let change = ModifyManagedPrefixList {
            prefix_list: list.clone(),
            current_version: Some(1),
            add_entries: vec![cidr("198.51.100.0/24").into()],
            remove_entries: vec![cidr("203.0.113.0/24")],
            ..ModifyManagedPrefixList::default()
        };
        assert_eq!(control.execute(change.clone()), Ok(2));
        let tables = control.tables().snapshot();
        let row = control.model().row(&list).unwrap();
        let row = tables.prefix_lists.row(row).unwrap();
        assert_eq!(row.entries, [cidr("198.51.100.0/24")]);
        let named = list.as_str();
        refused(
            &mut control,
            change.clone(),
            "PrefixListVersionMismatch",
            named,
        );
        let stale = ModifyManagedPrefixList {
            current_version: None,
            ..change
        };
        let code = "InvalidPrefixListModification";
        refused(&mut control, stale, code, "203.0.113.0/24");
        let delete = DeleteManagedPrefixList { prefix_list: list };
        control.execute(delete).unwrap();
        assert_consistent(&control);
    }

    #[test]
    fn sizes_and_families_are_checked() {
        let mut control = ControlPlane::default();
        let request = |entries: &[&str], max_entries| CreateManagedPrefixList {
            prefix_list_name: "list".into(),
            entries: entries.iter().map(|e| cidr(e).into()).collect(),
            max_entries,
            ..CreateManagedPrefixList::default()
        };
        let too_many = request(&["10.1.0.0/16", "10.2.0.0/16"], 1);
        let code = "PrefixListMaxEntriesExceeded";
        refused(&mut control, too_many, code, "2 entries");
        refused(
            &mut control,
            request(&[], 1_001),
            code,
            "entries per prefix list",
        );
        let family = request(&["2001:db8::/32"], 1);
        refused(
            &mut control,
            family,
            "InvalidParameterValue",
            "2001:db8::/32",
        );
        refused(&mut control, request(&[], 0), "InvalidParameterValue", "0");
        control.quotas_mut().set(Quota::PrefixListsPerRegion, 0);
        let code = "PrefixListLimitExceeded";
        refused(
            &mut control,
            request(&[], 1),
            code,
            "Prefix lists per Region",
        );
    }
}
