//! Runs cases: rounds by the clock, allocations, and whether the work was done right.

use std::collections::BTreeMap;

use vpclab_dataplane::worker::Clock;

use super::machine::{Busy, Machine};
use super::report::{CaseResult, Report, Skipped, Spread};
use super::{BenchError, Case, Done, Heap, Options, Suite, Work};

/// Who is told how far a run is.
pub trait Watch {
    /// A suite begins, with so many cases.
    fn suite(&mut self, name: &str, about: &str, cases: usize) {
        let _ = (name, about, cases);
    }

    /// A case does something: prepares, warms up, or is in one of its rounds.
    fn doing(&mut self, case: &str, what: &str) {
        let _ = (case, what);
    }

    /// A case has a result.
    fn result(&mut self, result: &CaseResult) {
        let _ = result;
    }

    /// A case cannot be measured here.
    fn skipped(&mut self, skipped: &Skipped) {
        let _ = skipped;
    }
}

/// Nobody.
impl Watch for () {}

/// Runs every case of these suites.
///
/// # Errors
/// The first case whose work was not done right: its speed means nothing. A
/// case that cannot be measured here is listed in the report instead.
pub fn run(
    suites: &[&dyn Suite],
    options: &Options,
    watch: &mut dyn Watch,
) -> Result<Report, BenchError> {
    let names: Vec<&str> = suites.iter().map(|suite| suite.name()).collect();
    let mut report = Report {
        suite: names.join(","),
        results: Vec::new(),
        machine: Machine::here(),
        skipped: Vec::new(),
    };
    for suite in suites {
        let mut cases = suite.cases(options);
        for case in &mut cases {
            case.name = format!("{}/{}", suite.name(), case.name);
        }
        cases.retain(|case| options.wants(&case.name));
        if cases.is_empty() {
            continue;
        }
        watch.suite(suite.name(), suite.about(), cases.len());
        for case in cases {
            let name = case.name.clone();
            match measure(case, options, watch) {
                Ok(result) => {
                    watch.result(&result);
                    report.results.push(result);
                }
                Err(BenchError::NotHere(reason)) => {
                    let skipped = Skipped { name, reason };
                    watch.skipped(&skipped);
                    report.skipped.push(skipped);
                }
                Err(error) => return Err(error.of(&name)),
            }
        }
    }
    Ok(report)
}

/// The times of the rounds of one case.
#[derive(Default)]
struct Rounds {
    gross: Vec<f64>,
    floor: Vec<f64>,
    net: Vec<f64>,
    hits: u64,
    misses: u64,
    operations: u64,
    allocations: u64,
}

/// Measures one case.
///
/// # Errors
/// When its work cannot be prepared or was not done right.
pub fn measure(
    case: Case,
    options: &Options,
    watch: &mut dyn Watch,
) -> Result<CaseResult, BenchError> {
    let clock = Clock::start();
    watch.doing(&case.name, "prepares");
    let mut work = (case.prepare)()?;
    if !case.once {
        watch.doing(&case.name, "warms up");
        work.reset()?;
        let warm = work.round();
        work.verify(&warm)?;
        work.floor();
    }

    let held = case.pinned.then(hold_on_one_cpu).flatten();
    let before = Busy::now();
    let mut rounds = Rounds::default();
    let count = if case.once { 1 } else { options.rounds.max(1) };
    for n in 0..count {
        watch.doing(&case.name, &format!("round {} of {count}", n + 1));
        work.reset()?;
        let done = round(&mut *work, clock, &mut rounds);
        work.verify(&done)?;
    }
    let others_percent = Busy::now().others_percent(before);
    let others_percent = work.others_percent().unwrap_or(others_percent);
    drop(held);

    let counted = Heap::now().is_some();
    if counted && case.allocates_nothing && rounds.allocations > 0 {
        return Err(BenchError::wrong(format!(
            "{} allocations on the cached path, where there must be none",
            rounds.allocations
        )));
    }
    let ns = Spread::of(&rounds.gross);
    let with_floor = !rounds.floor.is_empty();
    let floor = with_floor.then(|| Spread::of(&rounds.floor));
    let net = with_floor.then(|| Spread::of(&rounds.net));
    let timed = rounds.gross.len() as u64;
    let operations = rounds.operations.max(1);
    let own = work.by_round().into_iter();
    let mut by_round: BTreeMap<String, Vec<f64>> = own
        .map(|(name, values)| (name.to_owned(), values))
        .collect();
    if with_floor {
        by_round.insert("floor_ns".to_owned(), rounds.floor);
    }
    by_round.insert("ns".to_owned(), rounds.gross);
    Ok(CaseResult {
        name: case.name,
        ns_per_packet: ns.median,
        mpps: 1_000.0 / ns.median,
        allocs_per_packet: counted.then(|| rounds.allocations as f64 / operations as f64),
        hits: rounds.hits,
        misses: rounds.misses,
        unit: case.unit.name().to_owned(),
        ns,
        floor_ns: floor,
        net_ns: net,
        rounds: timed,
        operations: operations / timed.max(1),
        others_percent,
        flows: case.flows,
        routes: case.routes,
        rules: case.rules,
        metrics: work
            .metrics()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        by_round,
    })
}

/// Times one round, and the harness' own part of it right after.
fn round(work: &mut dyn Work, clock: Clock, rounds: &mut Rounds) -> Done {
    let allocations = |heap: Option<Heap>| heap.map_or(0, |heap| heap.allocations);
    let heap = allocations(Heap::now());
    let start = clock.now();
    let done = work.round();
    let end = clock.now();
    rounds.allocations += allocations(Heap::now()) - heap;
    let elapsed = match done.elapsed {
        Some(elapsed) => elapsed.as_nanos() as f64,
        None => end.since(start).as_nanos() as f64,
    };
    // A clock that did not move would make an infinite speed.
    let gross = elapsed.max(1.0) / done.operations.max(1) as f64;
    rounds.gross.push(gross);
    rounds.hits += done.hits;
    rounds.misses += done.misses;
    rounds.operations += done.operations;

    let start = clock.now();
    if let Some(operations) = work.floor() {
        let floor = clock.now().since(start).as_nanos() as f64 / operations.max(1) as f64;
        rounds.floor.push(floor);
        rounds.net.push(gross - floor);
    }
    done
}

/// Holds this thread on one CPU until dropped: the last of those it may use, since
/// interrupts tend to go to the first.
struct Held(nix::sched::CpuSet);

impl Drop for Held {
    fn drop(&mut self) {
        // If this fails the thread stays where it is, which harms nobody.
        let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &self.0);
    }
}

fn hold_on_one_cpu() -> Option<Held> {
    let this = nix::unistd::Pid::from_raw(0);
    let before = nix::sched::sched_getaffinity(this).ok()?;
    let mut one = nix::sched::CpuSet::new();
    one.set(last_cpu(&before)?).ok()?;
    nix::sched::sched_setaffinity(this, &one).ok()?;
    Some(Held(before))
}

/// The CPUs that this thread may use and will not be held on, if there are any.
pub(super) fn other_cpus() -> Option<nix::sched::CpuSet> {
    let mut cpus = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).ok()?;
    cpus.unset(last_cpu(&cpus)?).ok()?;
    last_cpu(&cpus).is_some().then_some(cpus)
}

fn last_cpu(cpus: &nix::sched::CpuSet) -> Option<usize> {
    (0..nix::sched::CpuSet::count())
        .rev()
        .find(|&cpu| cpus.is_set(cpu).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::SUITES;

    /// Every suite works and finds what it must; the speed does not matter here.
    #[test]
    fn every_suite_runs_once() {
        let report = run(SUITES, &Options::smoke(), &mut ()).unwrap_or_else(|e| panic!("{e}"));
        assert!(report.results.len() >= SUITES.len());
        // Namespaces and `nft` are there where `tests/run` is: nothing is left out.
        let in_ci = std::env::var_os("CI").is_some();
        assert!(!in_ci || report.skipped.is_empty(), "{:?}", report.skipped);
        for result in &report.results {
            assert!(result.ns_per_packet > 0.0, "{}", result.name);
            assert!(result.operations > 0, "{}", result.name);
        }
    }

    struct Wrong;

    impl Work for Wrong {
        fn round(&mut self) -> Done {
            Done {
                operations: 1,
                misses: 1,
                ..Done::default()
            }
        }

        fn verify(&mut self, done: &Done) -> Result<(), BenchError> {
            match done.misses {
                0 => Ok(()),
                _ => Err(BenchError::wrong("missed")),
            }
        }
    }

    #[test]
    fn work_that_was_not_done_right_has_no_result() {
        let case = Case::new("wrong", || Ok(Box::new(Wrong) as Box<dyn Work>));
        let error = measure(case, &Options::smoke(), &mut ()).unwrap_err();
        assert_eq!(error.to_string(), "missed");
    }
}
