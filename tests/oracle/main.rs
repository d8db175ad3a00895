//! The oracle: a second, slow and obvious model of the whole packet path,
//! compared with the data plane on random worlds. See README.md beside this.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops where something is wrong"
)]

mod adapter;
mod draft;
mod generate;
mod model;
mod run;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use run::{Event, Manner, Tally};

/// Random steps of one case.
const STEPS: usize = 300;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

/// A failed case in words, as short as it can be made.
fn describe(seed: u64, failure: &run::Failure, manner: Manner) -> String {
    let (events, report) = run::shrink(failure, seed);
    let mut text = format!(
        "case {seed}, {} of {} events:\n",
        events.len(),
        failure.events.len()
    );
    let mut world = failure.world.clone();
    let told = run::told(&failure.world, &events, seed);
    for (event, told) in events.iter().zip(told) {
        match event {
            Event::Send(port, bytes, more) => {
                let more = if *more { ", and in the same batch" } else { "" };
                let frame = model::line(bytes);
                text += &format!("  port {port} sends {frame}{more}\n    {told}\n")
            }
            Event::Wait(seconds) => text += &format!("  {seconds} s pass\n"),
            Event::Change(change) => {
                text += &format!("  {change:?}\n");
                world.apply(change.clone());
            }
        }
    }
    if std::env::var("ORACLE_WORLD").is_ok() {
        text += &format!("{world:#?}\n");
    }
    text + &format!(
        "{report}again: ORACLE_SEED={seed} ORACLE_PACKETS=1 {}cargo test -p vpclab-tests --test oracle {}\n",
        manner.batches.map_or(String::new(), |batches| format!(
            "ORACLE_BATCHES={} ",
            u8::from(batches)
        )),
        match (manner.peered, manner.keeps) {
            (_, true) => "of_clients_that_targets_see",
            (true, false) => "of_peers",
            (false, false) => "reference_says",
        }
    )
}

/// Failures that look alike, by what was done and what should have been.
fn kind(report: &str) -> String {
    let word = |line: &str| {
        let words: Vec<&str> = line
            .split_whitespace()
            .take(4)
            .filter(|word| !word.starts_with(|c: char| c.is_ascii_digit()))
            .collect();
        words.join(" ")
    };
    report.lines().map(word).collect::<Vec<_>>().join("; ")
}

/// The comparison is worth something only if much of it arrives, by every kind of
/// way, and is cached; and if the model seldom has no opinion.
fn assert_worth(tally: &Tally) {
    if tally.packets < 100_000 {
        return;
    }
    let share = |part: u64, percent: u64| part * 100 >= tally.packets * percent;
    assert!(share(tally.delivered, 45), "little is delivered");
    assert!(
        share(tally.hits, 30) && share(tally.misses, 30),
        "cached or walked"
    );
    assert!(!share(tally.unsure, 1), "the model has no opinion");
    assert!(tally.tunnelled > 500 && tally.translated > 5000 && tally.pieces > 500);
    assert!(tally.reasons.len() >= 38, "only {:?}", tally.reasons.keys());
}

/// Plays cases from a seed on until so many packets have passed, and compares. Seeds that
/// are asked for begin `apart` later, unless it is one case.
fn compare(first: u64, apart: u64, wanted: u64, manner: Manner) -> Tally {
    let wanted = number("ORACLE_PACKETS", wanted);
    let first = match number("ORACLE_SEED", u64::MAX) {
        u64::MAX => first,
        asked if wanted <= 1 => asked,
        asked => asked + apart,
    };
    // How many different failures are shown before it ends.
    let most = number("ORACLE_FAILURES", 1) as usize;
    let manner = Manner {
        batches: std::env::var("ORACLE_BATCHES").ok().map(|word| word != "0"),
        ..manner
    };
    let next = AtomicU64::new(first);
    let all = Mutex::new((Tally::default(), BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            {
                let (all, failures) = &*all.lock().unwrap();
                if all.packets >= wanted || failures.len() >= most {
                    return;
                }
            }
            let seed = next.fetch_add(1, Ordering::Relaxed);
            match run::play(seed, STEPS, manner) {
                Ok(tally) => all.lock().unwrap().0.add(&tally),
                Err(failure) => {
                    let kind = kind(&failure.report);
                    let is_new = !all.lock().unwrap().1.contains_key(&kind);
                    let text = is_new.then(|| describe(seed, &failure, manner));
                    let (all, failures) = &mut *all.lock().unwrap();
                    if let Some(text) = text {
                        failures.insert(kind, text);
                    }
                    all.packets += 200;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (all, failures) = all.into_inner().unwrap();
    println!("{} cases, {all:#?}", next.into_inner() - first);
    let text: Vec<String> = failures.into_values().collect();
    assert!(text.is_empty(), "{}", text.join("\n"));
    assert_worth(&all);
    all
}

/// Where the cases of each set of instructions begin.
const FIRST: [u64; 3] = [1, 30_000_000, 41_000_000];

/// The same where `ORACLE_SEED` says where the first one's begin.
const APART: u64 = 100_000_000;

/// Packets for each, if `ORACLE_PACKETS` does not say.
const PACKETS: u64 = 1_000_000;

/// Every set of instructions of this machine in turn, each with its own cases.
#[test]
fn the_data_plane_does_what_the_reference_says() {
    let levels = adapter::levels();
    println!(
        "instructions: {levels:?}, {PACKETS} packets each unless ORACLE_PACKETS says otherwise"
    );
    for (n, (first, level)) in FIRST.into_iter().zip(levels).enumerate() {
        println!("{level:?}");
        adapter::limit_to(level);
        compare(first, n as u64 * APART, PACKETS, Manner::default());
    }
}

#[test]
fn the_data_plane_does_what_the_reference_says_of_peers() {
    let manner = Manner {
        peered: true,
        ..Manner::default()
    };
    let seen = compare(1, 0, 150_000, manner);
    let beyond = seen.reasons.get("peering.not_in_vpc").copied();
    assert!(
        beyond.unwrap_or(0) > 50 || seen.packets < 100_000,
        "{beyond:?}"
    );
}

#[test]
fn the_data_plane_does_what_the_reference_says_of_clients_that_targets_see() {
    let manner = Manner {
        keeps: true,
        ..Manner::default()
    };
    let seen = compare(1, 0, 120_000, manner);
    let itself = seen.reasons.get("lb.hairpin").copied();
    assert!(
        itself.unwrap_or(0) > 2 || seen.packets < 100_000,
        "{itself:?}"
    );
}
