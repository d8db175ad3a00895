//! Route lookups beside those of crates, in one binary, on the same tables and
//! keys, in turn: what `benches/peers/run` calls.
//!
//! ```text
//! vpclab-lookups v4|v6 ROUTES|file [--prefixes FILE] [--dump DIR]
//! vpclab-lookups many TABLES ROUTES TRAFFIC
//! ```
//!
//! One table is built once, by all side by side; it says `built` then. A line `keys TRAFFIC`
//! of its input has all answer such keys; it says `ready`, as it does when many tables stand.
//! Each line `own` has it measure a round of ours, each line `crates` one of every other
//! structure, in turn, and answer with one JSON object: of each its name and
//! `{"ns", "updatable", "wrong", "bytes", "routes"}`. Programs of others have their turn
//! between. With `--dump` the table, the keys and their answers are written for
//! programs in other languages: numbers of 32 bits, little endian (IPv6 addresses:
//! 16 bytes as on the wire); it says `routes` when the table is, before it builds anything.
//! With `check` instead of all this it only compares the answers of all, on small tables.

#![allow(
    clippy::expect_used,
    reason = "a measuring program may panic: its caller says what it was measuring"
)]

mod crates;
// Tables and keys are those of the suite `lpm`; the control plane that they live in
// need not be built for them.
#[allow(unreachable_pub, reason = "public in the control plane")]
#[path = "../../../control/src/bench/lpm/family.rs"]
mod family;
mod many;
mod one;
#[allow(unreachable_pub, reason = "public in the control plane")]
#[path = "../../../control/src/bench/lpm/prefixes.rs"]
mod prefixes;
mod rounds;
#[allow(unreachable_pub, reason = "public in the control plane")]
#[path = "../../../control/src/bench/lpm/traffic.rs"]
mod traffic;

use std::fs;
use std::process::ExitCode;

use prefixes::{Prefixes, made_v4, made_v6, with_hops};
use traffic::Traffic;

const SEED: u64 = 1;

/// What was asked for on the command line.
struct Request {
    words: Vec<String>,
    prefixes: Option<Prefixes>,
    dump: Option<String>,
}

fn parse() -> Result<Request, String> {
    let (mut words, mut prefixes, mut dump) = (Vec::new(), None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(word) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--prefixes" => {
                let path = value()?;
                let text = fs::read_to_string(&path).map_err(|why| format!("{path}: {why}"))?;
                prefixes = Some(Prefixes::parse(&text)?);
            }
            "--dump" => dump = Some(value()?),
            _ => words.push(word),
        }
    }
    Ok(Request {
        words,
        prefixes,
        dump,
    })
}

fn traffic_called(name: &str) -> Result<Traffic, String> {
    let found = Traffic::ALL
        .into_iter()
        .find(|traffic| traffic.name() == name);
    found.ok_or_else(|| format!("no traffic is called {name}"))
}

/// Small tables, to see that all agree; returns how many answers differ.
fn check() -> usize {
    const KEYS: usize = 4_096;
    let mut wrong = one::check(&made_v6(500, SEED), KEYS);
    for routes in [50, 2_000] {
        wrong += one::check(&made_v4(routes, SEED), KEYS);
    }
    let many = many::with(16, 50, Traffic::Prefixes, KEYS, |contest| {
        contest.once();
        contest.wrong()
    });
    wrong + many
}

fn run() -> Result<usize, String> {
    let request = parse()?;
    let words: Vec<&str> = request.words.iter().map(String::as_str).collect();
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|_| format!("'{text}' is no number"))
    };
    let file = || {
        request
            .prefixes
            .as_ref()
            .ok_or("'file' needs --prefixes FILE")
    };
    let dump = request.dump.as_deref();
    match words.as_slice() {
        ["check"] => Ok(check()),
        ["v4", "file"] => one::run(&with_hops(&file()?.v4, SEED), dump),
        ["v4", routes] => one::run(&made_v4(number(routes)?, SEED), dump),
        ["v6", "file"] => one::run(&with_hops(&file()?.v6, SEED), dump),
        ["v6", routes] => one::run(&made_v6(number(routes)?, SEED), dump),
        ["many", tables, routes, kind] => many::with(
            number(tables)? as usize,
            number(routes)?,
            traffic_called(kind)?,
            rounds::KEYS,
            |contest| match contest.serve()? {
                Some(line) => Err(format!("'{line}' is nothing to measure")),
                None => Ok(contest.wrong()),
            },
        ),
        _ => Err(String::from(
            "usage: vpclab-lookups v4|v6 ROUTES|file [--prefixes FILE] [--dump DIR], \
             or vpclab-lookups many TABLES ROUTES TRAFFIC; lines of input are rounds",
        )),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("error: {wrong} answers differ from vpclab's");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_structure_gives_the_same_answers() {
        assert_eq!(check(), 0);
    }
}
