//! Up to which table version the decisions of a pipeline stand unasked.
//!
//! A version that changed nothing which any decision here rests on stales none:
//! thousands of route changes a second then cost a packet nothing. What they
//! changed is in the snapshot; on which routes decisions rest is noted here, by
//! table and range of destinations. Wherever that is not known exactly, a version
//! counts as one that may matter, and each decision is asked for once more.

use std::collections::HashMap;

use super::hash::{Seed, Seeded};
use super::{Generations, RouteRange};
use crate::addr::RouteTableId;

/// Ranges noted of a table. One whose routes are used in more places is looked at
/// as a whole.
const RANGES_MAX: usize = 64;

/// The ranges of a table that decisions rest on.
#[derive(Debug, Default)]
struct Ranges {
    /// Each with the number of decisions; what nobody uses any more makes room
    /// for others.
    noted: Vec<(RouteRange, u32)>,
    /// Decisions that rest on a range that is not noted.
    beyond: u32,
}

impl Ranges {
    fn add(&mut self, range: RouteRange) {
        if let Some((_, users)) = self.noted.iter_mut().find(|(held, _)| *held == range) {
            *users += 1;
        } else if let Some(free) = self.noted.iter_mut().find(|(_, users)| *users == 0) {
            *free = (range, 1);
        } else if self.noted.len() < RANGES_MAX {
            self.noted.push((range, 1));
        } else {
            self.beyond += 1;
        }
    }

    fn remove(&mut self, range: RouteRange) {
        let noted = self.noted.iter_mut();
        let mut noted = noted.filter(|(held, users)| *held == range && *users > 0);
        match noted.next() {
            Some((_, users)) => *users -= 1,
            None => self.beyond = self.beyond.saturating_sub(1),
        }
    }

    fn touched_by(&self, (first, last): RouteRange) -> bool {
        let overlaps = |(from, to): RouteRange| from <= last && first <= to;
        let noted = self.noted.iter();
        self.beyond > 0
            || noted
                .filter(|(_, users)| *users > 0)
                .any(|&(range, _)| overlaps(range))
    }
}

/// What the decisions of a pipeline rest on, and since when nothing of it changed.
#[derive(Debug)]
pub(super) struct Standing {
    tables: HashMap<u32, Ranges, Seeded>,
    /// The table version looked at last.
    seen: u64,
    /// What was found to stand at this version or a later one stands.
    floor: u64,
}

impl Standing {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            tables: HashMap::with_hasher(Seeded(seed)),
            seen: 0,
            floor: 0,
        }
    }

    /// A decision rests on a route: that of a range, or on there being none.
    pub(super) fn add(&mut self, table: RouteTableId, range: Option<RouteRange>) {
        let ranges = self.tables.entry(table.0).or_default();
        match range {
            Some(range) => ranges.add(range),
            None => ranges.beyond += 1,
        }
    }

    /// It does no more.
    pub(super) fn remove(&mut self, table: RouteTableId, range: Option<RouteRange>) {
        if let Some(ranges) = self.tables.get_mut(&table.0) {
            match range {
                Some(range) => ranges.remove(range),
                None => ranges.beyond = ranges.beyond.saturating_sub(1),
            }
        }
    }

    /// Takes the tables' version into account. One comparison if it is the last's.
    #[inline]
    pub(super) fn look(&mut self, tables: &impl Generations) -> u64 {
        if self.seen != tables.version() {
            self.look_closer(tables);
        }
        self.floor
    }

    fn look_closer(&mut self, tables: &impl Generations) {
        let (before, now) = (self.seen, tables.version());
        self.seen = now;
        let touches = |table: RouteTableId, range: Option<RouteRange>| {
            let ranges = self.tables.get(&table.0);
            ranges.is_some_and(|ranges| range.is_none_or(|range| ranges.touched_by(range)))
        };
        if now < before {
            // Somebody goes back in time: nothing stands unasked.
            self.floor = u64::MAX;
        } else if self.floor > now || tables.changed_since(before, touches) {
            self.floor = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::Object;
    use super::*;

    /// Tables in which one thing changed with each version.
    struct Log(Vec<(u32, Option<RouteRange>)>);

    impl Generations for Log {
        fn version(&self) -> u64 {
            self.0.len() as u64
        }
        fn row(&self, _: Object, _: u32) -> u64 {
            0
        }
        fn members(&self, _: crate::addr::SecurityGroupId) -> u64 {
            0
        }
        fn route(&self, _: RouteTableId, _: IpAddr) -> Option<(RouteRange, u64)> {
            None
        }
        fn changed_since(
            &self,
            version: u64,
            mut touches: impl FnMut(RouteTableId, Option<RouteRange>) -> bool,
        ) -> bool {
            let changes = self.0.iter().skip(version as usize);
            changes
                .into_iter()
                .any(|&(table, range)| touches(RouteTableId(table), range))
        }
    }

    fn range(first: &str, last: &str) -> RouteRange {
        (first.parse().unwrap(), last.parse().unwrap())
    }

    #[test]
    fn only_a_change_of_what_is_used_moves_the_floor() {
        let mut standing = Standing::new(Seed(1));
        let used = range("10.0.0.0", "10.0.255.255");
        standing.add(RouteTableId(1), Some(used));
        let mut log = Log(vec![(1, None)]);
        assert_eq!(standing.look(&log), 1, "the whole table");
        for (table, changed, floor) in [
            (2, Some(used), 1),
            (1, Some(range("10.1.0.0", "10.1.0.255")), 1),
            (1, Some(range("9.255.255.0", "10.0.0.0")), 4),
            (1, Some(range("0.0.0.0", "255.255.255.255")), 5),
            (1, Some(range("::", "::1")), 5),
            (1, Some(range("10.0.3.0", "10.0.3.0")), 7),
            (2, None, 7),
        ] {
            log.0.push((table, changed));
            assert_eq!(standing.look(&log), floor, "{table} {changed:?}");
        }
        // Several versions at once: one of them matters.
        log.0.extend([(2, None), (1, Some(used)), (2, None)]);
        assert_eq!(standing.look(&log), 11);
        standing.remove(RouteTableId(1), Some(used));
        log.0.push((1, Some(used)));
        assert_eq!(standing.look(&log), 11, "nobody uses it any more");
        log.0.truncate(5);
        assert_eq!(standing.look(&log), u64::MAX, "back in time");
        log.0.push((2, None));
        assert_eq!(standing.look(&log), 6);
    }

    #[test]
    fn more_ranges_than_are_noted_make_every_change_matter() {
        let mut standing = Standing::new(Seed(1));
        let nth = |n: u32| {
            let address = IpAddr::V4((0x0a00_0000 | n << 8).into());
            Some((address, address))
        };
        for n in 0..70 {
            standing.add(RouteTableId(1), nth(n));
        }
        let mut log = Log(vec![(1, Some(range("192.0.2.0", "192.0.2.9")))]);
        assert_eq!(standing.look(&log), 1);
        // Those beyond go first: ranges are noted by who came first.
        for n in (0..70).rev() {
            standing.remove(RouteTableId(1), nth(n));
        }
        log.0.push((1, nth(3)));
        assert_eq!(standing.look(&log), 1, "all are gone");
        standing.add(RouteTableId(1), None);
        log.0.push((1, nth(3)));
        assert_eq!(standing.look(&log), 3, "no route is a decision, too");
    }
}
