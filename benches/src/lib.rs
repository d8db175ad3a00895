//! The works of `vpclab bench` under criterion: `SUITE/CASE`, one element an
//! operation. What a round did is asserted after each.
//!
//! `cargo bench -p vpclab-benches -- eastwest` measures one suite, `cargo test
//! -p vpclab-benches --benches` runs each case once.
//!
//! Not here: suites that measure memory or whole seconds, which a clock around a
//! round says nothing about (`scale`, `updates`, `io`, `steps`).

use std::time::Duration;

use criterion::measurement::{Measurement, WallTime};
use criterion::{BenchmarkGroup, Criterion, Throughput};
use vpclab::bench::{Case, Options, Size, Suite, Work, suite};

const SUITES: [&str; 8] = [
    "lpm",
    "flow",
    "parse",
    "acl",
    "eastwest",
    "privatelink",
    "gwlb",
    "first-packet",
];

/// Small frames, and two numbers of flows: one that caches hold, one that they do not.
fn options() -> Options {
    // As criterion sees it: `cargo bench` says `--bench`, `cargo test` nothing.
    let said = |word| std::env::args().any(|argument| argument == word);
    if said("--test") || !said("--bench") {
        return Options::smoke();
    }
    Options {
        sizes: vec![Size::Bytes(64)],
        flows: vec![1_000, 100_000],
        ..Options::default()
    }
}

/// Measures every case of every suite that is asked for.
///
/// # Panics
/// When a case's work cannot be made, or was not done right.
pub fn suites(criterion: &mut Criterion) {
    let options = options();
    for name in SUITES {
        let suite: &dyn Suite = suite(name).expect("a suite of this name");
        let mut group = criterion.benchmark_group(name);
        for case in suite.cases(&options) {
            measure(&mut group, case);
        }
        group.finish();
    }
}

/// The work of a case is made ready only if the case was asked for.
fn measure(group: &mut BenchmarkGroup<'_, WallTime>, case: Case) {
    let Case { name, prepare, .. } = case;
    let mut prepare = Some(prepare);
    let mut ready: Option<(Box<dyn Work>, u64)> = None;
    group.throughput(Throughput::Elements(1));
    group.bench_function(&name, |bencher| {
        let (work, operations) = ready.get_or_insert_with(|| {
            let prepare = prepare.take().expect("a case is prepared once");
            let mut work = prepare().expect("the case's work can be made");
            let operations = round(&mut *work).0;
            (work, operations)
        });
        bencher.iter_custom(|wanted| {
            let mut took = Duration::ZERO;
            let mut did = 0;
            while did < wanted {
                let (operations, time) = round(&mut **work);
                did += operations;
                took += time;
            }
            // Rounds are whole: more may have been done than was wanted.
            took.mul_f64(wanted as f64 / did.max(1) as f64)
        });
        assert!(*operations > 0, "{name} does something");
    });
}

/// One round, checked: how many operations, in which time.
fn round(work: &mut dyn Work) -> (u64, Duration) {
    work.reset().expect("the work can be done again");
    let start = WallTime.start();
    let done = work.round();
    let took = WallTime.end(start);
    work.verify(&done).expect("the work was done right");
    (done.operations, done.elapsed.unwrap_or(took))
}
