//! What a run found, as `--json` prints it and `--compare` reads it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::machine::Machine;

/// Smallest, middle and largest of several rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of these values; zeros if there are none.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        };
        Self {
            min: at(0),
            median,
            max: at(sorted.len().saturating_sub(1)),
        }
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseResult {
    /// Suite and case: `privatelink/tcp4-64B/flows=100000`.
    pub name: String,
    /// Nanoseconds per packet (or per `unit`): the median of the rounds, with
    /// the harness' own work in it.
    pub ns_per_packet: f64,
    /// Millions of packets (or of `unit`s) a second: 1000 / `ns_per_packet`.
    pub mpps: f64,
    /// Allocations per packet; null where this process does not count them.
    pub allocs_per_packet: Option<f64>,
    /// Packets that the flow cache answered (or keys found), all rounds.
    pub hits: u64,
    /// Packets that were walked (or keys not found), all rounds.
    pub misses: u64,
    /// What is counted: packet, lookup, connection, update or byte.
    pub unit: String,
    /// Spread of `ns_per_packet` over the rounds.
    pub ns: Spread,
    /// What the harness alone takes (frames made and taken back); null where there is nothing.
    pub floor_ns: Option<Spread>,
    /// `ns` less `floor_ns`, round by round.
    pub net_ns: Option<Spread>,
    /// Timed rounds.
    pub rounds: u64,
    /// Operations in each.
    pub operations: u64,
    /// Share of all CPUs, in percent, that other programs took meanwhile.
    pub others_percent: f64,
    /// Flows, where the case has them.
    pub flows: Option<u64>,
    /// Routes, where the case has them.
    pub routes: Option<u64>,
    /// Rules, where the case has them.
    #[serde(default)]
    pub rules: Option<u64>,
    /// Further figures by name, units last.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// What each timed round found, in their order: `ns` and, where there is a floor,
    /// `floor_ns`; figures and ratios that `metrics` has the middle of, by their name there.
    #[serde(default)]
    pub by_round: BTreeMap<String, Vec<f64>>,
}

impl CaseResult {
    /// The name without its number of flows, routes or rules: one line on a plot.
    pub fn series(&self) -> String {
        let axes = ["flows=", "routes=", "rules="];
        let counted = |part: &&str| axes.iter().all(|axis| !part.starts_with(axis));
        let parts: Vec<&str> = self.name.split('/').filter(counted).collect();
        parts.join("/")
    }
}

/// A case that could not be measured here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// Suite and case.
    pub name: String,
    /// What it lacks.
    pub reason: String,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The suites that ran, with commas between.
    pub suite: String,
    /// One row a case.
    pub results: Vec<CaseResult>,
    /// Where it ran.
    pub machine: Machine,
    /// What could not be measured here, and why.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_of_sorted_values() {
        let odd = Spread::of(&[3.0, 1.0, 10.0]);
        assert_eq!((odd.min, odd.median, odd.max), (1.0, 3.0, 10.0));
        assert_eq!(Spread::of(&[4.0, 2.0]).median.to_bits(), 3.0_f64.to_bits());
        assert_eq!(Spread::of(&[]), Spread::default());
    }
}
