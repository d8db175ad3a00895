//! Which routes changed with the last versions: so that a pipeline can tell whether
//! a version concerns any of its flows.

use imbl::Vector;

use crate::addr::RouteTableId;
use crate::flow::RouteRange;

/// Changes that are kept. A pipeline looks at each version, and seldom misses many.
const KEPT: usize = 256;

/// A change of a route, or of a whole table.
#[derive(Clone, Copy, Debug)]
struct Change {
    version: u64,
    table: RouteTableId,
    range: Option<RouteRange>,
}

/// The last changes of routes, oldest first. Cloning shares structure.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteLog {
    changes: Vector<Change>,
    /// Of versions up to this one changes are missing.
    missing: u64,
}

impl RouteLog {
    /// Notes a change: the destinations that it concerns, or all of the table.
    pub(super) fn add(&mut self, version: u64, table: RouteTableId, range: Option<RouteRange>) {
        if self.changes.len() == KEPT
            && let Some(oldest) = self.changes.pop_front()
        {
            self.missing = oldest.version;
        }
        self.changes.push_back(Change {
            version,
            table,
            range,
        });
    }

    /// Whether `touches` says yes to a change after `version`; yes, too, if one of
    /// them is missing.
    pub(super) fn any_since(
        &self,
        version: u64,
        mut touches: impl FnMut(RouteTableId, Option<RouteRange>) -> bool,
    ) -> bool {
        let since = self.changes.iter().rev();
        let mut since = since.take_while(|change| change.version > version);
        version < self.missing || since.any(|change| touches(change.table, change.range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_found_until_they_are_forgotten() {
        let mut log = RouteLog::default();
        let range = |n: u8| {
            let address = [10, 0, 0, n].into();
            Some((address, address))
        };
        for version in 1..=300u64 {
            log.add(version, RouteTableId(version as u32), range(version as u8));
        }
        let tables = |since: u64| {
            let mut found = Vec::new();
            let missing = log.any_since(since, |table, _| {
                found.push(table.0);
                false
            });
            (found, missing)
        };
        assert_eq!(tables(298), (vec![300, 299], false));
        assert_eq!(tables(300), (vec![], false));
        assert_eq!(tables(44), ((45..=300).rev().collect(), false));
        assert!(tables(43).1, "a change of version 44 is forgotten");
        assert!(log.any_since(250, |table, held| table.0 == 260 && held == range(4)));
    }
}
