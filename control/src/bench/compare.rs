//! Two reports side by side.

use super::report::{CaseResult, Report};

/// A case that both reports have.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Suite and case.
    pub name: String,
    /// Nanoseconds then and now.
    pub then_ns: f64,
    /// Now.
    pub now_ns: f64,
    /// How much faster it is now: 2 is twice as fast.
    pub speedup: f64,
    /// Whether the spreads of the two do not overlap: then it is no noise.
    pub is_clear: bool,
}

/// What two reports have in common, and why they might not be comparable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Cases of both, in the order of the newer.
    pub changes: Vec<Change>,
    /// Cases of the newer that the older lacks.
    pub new: Vec<String>,
    /// Cases of the older that the newer lacks.
    pub gone: Vec<String>,
    /// In what the machines and builds differ.
    pub machines: Vec<String>,
}

impl Comparison {
    /// Compares `now` with the older report `then`.
    pub fn of(now: &Report, then: &Report) -> Self {
        let mut comparison = Self {
            machines: now.machine.differences(&then.machine),
            ..Self::default()
        };
        for result in &now.results {
            let old = then.results.iter().find(|old| old.name == result.name);
            match old {
                Some(old) => comparison.changes.push(change(result, old)),
                None => comparison.new.push(result.name.clone()),
            }
        }
        let known = |old: &&CaseResult| now.results.iter().all(|result| result.name != old.name);
        let gone = then.results.iter().filter(known);
        comparison.gone = gone.map(|old| old.name.clone()).collect();
        comparison
    }
}

fn change(now: &CaseResult, then: &CaseResult) -> Change {
    Change {
        name: now.name.clone(),
        then_ns: then.ns.median,
        now_ns: now.ns.median,
        speedup: then.ns.median / now.ns.median,
        is_clear: now.ns.max < then.ns.min || then.ns.max < now.ns.min,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Machine, Spread};

    fn report(cases: &[(&str, f64)]) -> Report {
        let result = |&(name, ns): &(&str, f64)| CaseResult {
            name: name.to_owned(),
            ns_per_packet: ns,
            mpps: 1_000.0 / ns,
            allocs_per_packet: None,
            hits: 0,
            misses: 0,
            unit: "packet".to_owned(),
            ns: Spread {
                min: ns - 5.0,
                median: ns,
                max: ns + 5.0,
            },
            floor_ns: None,
            net_ns: None,
            rounds: 1,
            operations: 1,
            others_percent: 0.0,
            flows: None,
            routes: None,
            rules: None,
            metrics: Default::default(),
            by_round: Default::default(),
        };
        Report {
            suite: "x".to_owned(),
            results: cases.iter().map(result).collect(),
            machine: Machine::default(),
            skipped: Vec::new(),
        }
    }

    #[test]
    fn ratios_say_what_became_faster_and_noise_is_no_change() {
        let then = report(&[("x/a", 100.0), ("x/b", 100.0), ("x/gone", 1.0)]);
        let mut now = report(&[("x/a", 50.0), ("x/b", 108.0), ("x/new", 1.0)]);
        now.machine.cpu = "another".to_owned();
        let comparison = Comparison::of(&now, &then);
        let [a, b] = comparison.changes.as_slice() else {
            panic!("{comparison:?}");
        };
        assert!(a.is_clear && (a.speedup - 2.0).abs() < 1e-9);
        assert!(!b.is_clear, "the spreads overlap");
        assert_eq!(comparison.new, ["x/new"]);
        assert_eq!(comparison.gone, ["x/gone"]);
        assert!(comparison.machines.concat().contains("cpu"));
    }

    #[test]
    fn a_report_survives_json() {
        let report = report(&[("x/a", 100.5)]);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
