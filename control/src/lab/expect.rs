//! Counter expectations such as `rx +3, flow.created +1, drop.network_acl +1..`.

use std::collections::BTreeMap;

use vpclab_dataplane::counters::Counters;

/// Counters by name.
pub(crate) type Named = BTreeMap<String, u64>;

/// The counters of a pipeline by name.
pub(crate) fn named(counters: &Counters) -> Named {
    counters.named().collect()
}

/// What moved between two readings.
pub(crate) fn moved(before: &Named, after: &Named) -> Named {
    let delta = after.iter().map(|(name, &value)| {
        let old = before.get(name).copied().unwrap_or(0);
        (name.clone(), value - old)
    });
    delta.filter(|&(_, by)| by > 0).collect()
}

/// Checks `expected` against what moved. Every drop that moved must be
/// expected; with `strict`, every other counter too.
pub(crate) fn check(expected: &str, moved: &Named, strict: bool) -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut listed = Vec::new();
    for term in expected.split(',').map(str::trim).filter(|t| !t.is_empty()) {
        let (name, range) = parse(term)?;
        let by = moved.get(name).copied().unwrap_or(0);
        if !range.contains(&by) {
            wrong.push(format!("{name}: expected {term}, moved +{by}"));
        }
        listed.push(name);
    }
    for (name, by) in moved {
        let counts = strict || name.starts_with("drop.");
        if counts && !listed.contains(&name.as_str()) {
            wrong.push(format!("{name}: moved +{by}, not expected"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let all: Vec<_> = moved.iter().map(|(n, by)| format!("{n} +{by}")).collect();
    Err(format!(
        "{}\n  all that moved: {}",
        wrong.join("\n  "),
        all.join(", ")
    ))
}

/// `name +N` or `name +N..` (at least N).
fn parse(term: &str) -> Result<(&str, std::ops::RangeInclusive<u64>), String> {
    let parsed = (|| {
        let (name, by) = term.split_once(char::is_whitespace)?;
        let by = by.trim().strip_prefix('+')?;
        let range = match by.strip_suffix("..") {
            Some(least) => least.parse().ok()?..=u64::MAX,
            None => {
                let exact = by.parse().ok()?;
                exact..=exact
            }
        };
        Some((name, range))
    })();
    parsed.ok_or_else(|| format!("'{term}' is not an expectation such as 'flow.created +1'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(list: &[(&str, u64)]) -> Named {
        list.iter()
            .map(|&(name, by)| (name.to_owned(), by))
            .collect()
    }

    #[test]
    fn listed_counters_must_move_by_what_is_said() {
        let moved = moves(&[("rx", 3), ("flow.created", 1)]);
        assert!(check("rx +3, flow.created +1", &moved, true).is_ok());
        assert!(check("rx +2..", &moved, false).is_ok());
        assert!(check("rx +4..", &moved, false).is_err());
        assert!(check("rx +2", &moved, false).is_err());
        assert!(check("tx +1", &moved, false).is_err());
        assert!(check("rx 3", &moved, false).is_err());
    }

    #[test]
    fn drops_that_nobody_expected_fail() {
        let moved = moves(&[("rx", 3), ("drop.security_group", 1)]);
        assert!(check("rx +3", &moved, false).is_err());
        assert!(check("drop.security_group +1", &moved, false).is_ok());
        assert!(check("drop.security_group +1", &moved, true).is_err());
        assert!(check("", &Named::new(), true).is_ok());
    }

    #[test]
    fn moved_is_the_difference() {
        let before = moves(&[("rx", 3), ("tx", 1)]);
        let after = moves(&[("rx", 5), ("tx", 1), ("drop.ttl", 2)]);
        assert_eq!(moved(&before, &after), moves(&[("rx", 2), ("drop.ttl", 2)]));
    }
}
