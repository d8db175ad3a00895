//! Route lookups beside those of crates, in one binary, on the same tables and
//! keys, in turn: what `benches/peers/run` calls.
//!
//! ```text
//! vpclab-lookups v4|v6 ROUTES|file TRAFFIC [--prefixes FILE] [--dump DIR]
//! vpclab-lookups many TABLES ROUTES TRAFFIC
//! ```
//!
//! It says `ready` when the tables stand. Each line of its input has it measure a round
//! of every structure, in turn, and answer with one JSON object: of each its name and
//! `{"ns", "updatable", "wrong", "bytes", "routes"}`. Programs of others have their turn
//! between. With `--dump` the table, the keys and their answers are written for
//! programs in other languages: numbers of 32 bits, little endian (IPv6 addresses:
//! 16 bytes as on the wire). With `check` instead of all this it only
//! compares the answers of all, on small tables.

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
#[allow(unreachable_pub, reason = "public in the control plane")]
#[path = "../../../control/src/bench/lpm/prefixes.rs"]
mod prefixes;
#[allow(unreachable_pub, reason = "public in the control plane")]
#[path = "../../../control/src/bench/lpm/traffic.rs"]
mod traffic;

use std::fs;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;

use crates::{Route, Structure};
use family::Family;
use ip_network_table::IpNetworkTable;
use iptrie::map::{LCTrieMap, RTrieMap};
use iptrie::{Ipv4Prefix, Ipv6Prefix};
use poptrie::Poptrie;
use prefix_trie::PrefixMap;
use prefixes::{Prefixes, made_v4, made_v6, with_hops};
use traffic::{Traffic, keys};
use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::lpm::Lpm;
use vpclab_dataplane::worker::Clock;

/// Keys that are looked up at once.
const BULK: usize = 32;
/// Lookups of a round: so many that neither they nor, in a table larger than the
/// caches, what they lead to is still there when the next round begins.
const KEYS: usize = 1 << 22;
/// A share of the keys goes first and is not counted: the caches hold what another left
/// there. (fib.c does the same.)
const WARM: usize = 8;
const SEED: u64 = 1;
/// What ours is called.
const OWN: &str = "vpclab";

/// A structure that is measured, whatever it is.
trait Measured<K> {
    fn name(&self) -> &'static str;
    fn updatable(&self) -> bool;
    /// Looks all keys up, in bulks.
    fn all(&self, keys: &[K], out: &mut [u32]);
    /// The same, measured: answers go to the same few bytes over and over, as fib.c has it.
    fn timed(&self, keys: &[K]);
}

struct One<S>(S);

impl<K: Copy, S: Structure<K>> Measured<K> for One<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }
    fn updatable(&self) -> bool {
        S::UPDATABLE
    }
    fn all(&self, keys: &[K], out: &mut [u32]) {
        for (keys, out) in keys.chunks(BULK).zip(out.chunks_mut(BULK)) {
            self.0.lookup_bulk(keys, out);
        }
    }
    fn timed(&self, keys: &[K]) {
        let mut out = [0; BULK];
        for keys in keys.as_chunks::<BULK>().0 {
            self.0.lookup_bulk(keys, &mut out);
            black_box(&mut out);
        }
    }
}

fn boxed<K: Copy + 'static, S: Structure<K> + 'static>(
    routes: &[Route<K>],
) -> Box<dyn Measured<K>> {
    Box::new(One(S::build(routes)))
}

fn all_v4(routes: &[Route<u32>]) -> Vec<Box<dyn Measured<u32>>> {
    vec![
        boxed::<u32, Lpm<u32>>(routes),
        boxed::<u32, PrefixMap<(u32, u8), u32>>(routes),
        boxed::<u32, IpNetworkTable<u32>>(routes),
        boxed::<u32, RTrieMap<Ipv4Prefix, u32>>(routes),
        boxed::<u32, LCTrieMap<Ipv4Prefix, u32>>(routes),
        boxed::<u32, Poptrie<(u32, u8), u32>>(routes),
    ]
}

fn all_v6(routes: &[Route<u128>]) -> Vec<Box<dyn Measured<u128>>> {
    vec![
        boxed::<u128, Lpm<u128>>(routes),
        boxed::<u128, PrefixMap<(u128, u8), u32>>(routes),
        boxed::<u128, IpNetworkTable<u32>>(routes),
        boxed::<u128, RTrieMap<Ipv6Prefix, u32>>(routes),
        boxed::<u128, LCTrieMap<Ipv6Prefix, u32>>(routes),
        boxed::<u128, Poptrie<(u128, u8), u32>>(routes),
    ]
}

/// A structure that has answered everything once, and can be measured.
struct Entrant<'a> {
    who: &'static str,
    updatable: bool,
    /// Answers that differ from ours.
    wrong: usize,
    /// Measures a round: nanoseconds a lookup.
    round: Box<dyn FnMut() -> f64 + 'a>,
}

fn ns_per(clock: Clock, operations: usize, work: impl FnOnce()) -> f64 {
    let start = clock.now();
    work();
    clock.now().since(start).as_nanos() as f64 / operations as f64
}

/// The structures, and the answers of the first.
fn entrants<'a, K: Family>(
    structures: &'a [Box<dyn Measured<K>>],
    keys: &'a [K],
) -> (Vec<Entrant<'a>>, Vec<u32>) {
    let clock = Clock::start();
    let mut expected = vec![0; keys.len()];
    let mut out = vec![0; keys.len()];
    let mut found: Vec<Entrant<'_>> = Vec::new();
    for structure in structures {
        structure.all(keys, &mut out);
        if found.is_empty() {
            expected.clone_from(&out);
        }
        found.push(Entrant {
            who: structure.name(),
            updatable: structure.updatable(),
            wrong: out.iter().zip(&expected).filter(|(a, b)| a != b).count(),
            round: Box::new(move || {
                let (warm, _) = keys.split_at(keys.len() / WARM);
                structure.timed(warm);
                ns_per(clock, keys.len() / BULK * BULK, || structure.timed(keys))
            }),
        });
    }
    (found, expected)
}

/// Measures a round of all, in turn, for each line of the input.
fn rounds(entrants: &mut [Entrant<'_>], routes: usize, own_bytes: usize) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready").map_err(told)?;
    for line in std::io::stdin().lock().lines() {
        line.map_err(told)?;
        let rows = entrants.iter_mut().map(|entrant| {
            let ns = (entrant.round)();
            let Entrant {
                who,
                updatable,
                wrong,
                ..
            } = entrant;
            let bytes = match *who == OWN {
                true => own_bytes.to_string(),
                false => String::from("null"),
            };
            format!(
                "\"{who}\": {{\"ns\": {ns:.4}, \"updatable\": {updatable}, \"wrong\": {wrong}, \
                 \"bytes\": {bytes}, \"routes\": {routes}}}"
            )
        });
        let rows: Vec<String> = rows.collect();
        writeln!(out, "{{{}}}", rows.join(", ")).map_err(told)?;
    }
    Ok(())
}

/// Writes what another program needs to look up the same.
fn dump<K: Family>(
    directory: &Path,
    routes: &[Route<K>],
    keys: &[K],
    answers: &[u32],
    bytes: impl Fn(K) -> Vec<u8>,
) -> std::io::Result<()> {
    let mut table = Vec::new();
    for &(address, len, hop) in routes {
        table.extend(bytes(address));
        table.extend(u32::from(len).to_le_bytes());
        table.extend(hop.to_le_bytes());
    }
    fs::write(directory.join("routes"), table)?;
    let keys: Vec<u8> = keys.iter().flat_map(|&key| bytes(key)).collect();
    fs::write(directory.join("keys"), keys)?;
    let answers: Vec<u8> = answers.iter().flat_map(|hop| hop.to_le_bytes()).collect();
    fs::write(directory.join("answers"), answers)
}

/// Keys that are fetched at once before they are looked up, each with its table: while a
/// table is somewhere else for each key, no machine reads a list of keys ahead by itself.
const BLOCK: usize = 1_024;

/// Keys, and the table that each is looked up in.
struct Asked {
    order: Vec<u32>,
    keys: Vec<u32>,
}

impl Asked {
    fn answers(
        &self,
        mut look_up: impl FnMut(&[u32; BULK], &[u32; BULK], &mut [u32; BULK]),
    ) -> Vec<u32> {
        let mut answers = vec![0; self.keys.len()];
        let bulks = self.order.as_chunks().0.iter().zip(self.keys.as_chunks().0);
        for ((order, keys), out) in bulks.zip(answers.as_chunks_mut().0) {
            look_up(order, keys, out);
        }
        answers
    }

    /// Nanoseconds a lookup: without the fetching of the keys, for a packet's addresses
    /// are in the cache when its route is looked up.
    fn round(
        &self,
        clock: Clock,
        mut look_up: impl FnMut(&[u32; BULK], &[u32; BULK], &mut [u32; BULK]),
    ) -> f64 {
        let (mut tables, mut asked) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
        let mut spent = 0.0;
        for (order, keys) in self.order.chunks(BLOCK).zip(self.keys.chunks(BLOCK)) {
            tables.clear();
            tables.extend_from_slice(black_box(order));
            asked.clear();
            asked.extend_from_slice(black_box(keys));
            spent += ns_per(clock, 1, || {
                let mut out = [0; BULK];
                for (order, keys) in tables.as_chunks().0.iter().zip(asked.as_chunks().0) {
                    look_up(order, black_box(keys), &mut out);
                    black_box(&mut out);
                }
            });
        }
        spent / (self.keys.len() / BULK * BULK) as f64
    }

    /// A contender, and its answers.
    fn entrant<'a>(
        &'a self,
        (who, updatable): (&'static str, bool),
        expected: Option<&[u32]>,
        mut look_up: impl FnMut(&[u32; BULK], &[u32; BULK], &mut [u32; BULK]) + 'a,
    ) -> (Entrant<'a>, Vec<u32>) {
        let clock = Clock::start();
        let answers = self.answers(&mut look_up);
        let differ =
            |expected: &[u32]| answers.iter().zip(expected).filter(|(a, b)| a != b).count();
        let entrant = Entrant {
            who,
            updatable,
            wrong: expected.map_or(0, differ),
            round: Box::new(move || self.round(clock, &mut look_up)),
        };
        (entrant, answers)
    }
}

/// Thousands of tables of one kind, another one for each key.
fn many<'a, S: Structure<u32> + 'a>(
    tables: &[Vec<Route<u32>>],
    asked: &'a Asked,
    expected: &[u32],
) -> Entrant<'a> {
    let built: Vec<S> = tables.iter().map(|routes| S::build(routes)).collect();
    let look_up = move |order: &[u32; BULK], keys: &[u32; BULK], out: &mut [u32; BULK]| {
        for ((table, key), out) in order.iter().zip(keys).zip(out) {
            *out = built[*table as usize].lookup(black_box(*key));
        }
    };
    asked
        .entrant((S::NAME, S::UPDATABLE), Some(expected), look_up)
        .0
}

fn run_many(
    count: usize,
    routes: u64,
    traffic: Traffic,
    keys_in_all: usize,
    how: How,
) -> Result<usize, String> {
    let seed = |table: u64| Seed(SEED).words(&[table]);
    let tables: Vec<Vec<Route<u32>>> = (0..count as u64)
        .map(|table| made_v4(routes, seed(table)))
        .collect();
    let each = keys_in_all.div_ceil(count);
    let mut asked: Vec<(u32, u32)> = Vec::new();
    for (table, routes) in tables.iter().enumerate() {
        let keys = keys(routes, traffic, each, seed(table as u64));
        asked.extend(keys.into_iter().map(|key| (table as u32, key)));
    }
    asked.sort_by_key(|&(table, key)| Seed(SEED).words(&[u64::from(table), u64::from(key)]));
    asked.truncate(asked.len() / BULK * BULK);
    let (order, keys) = asked.into_iter().unzip();
    let asked = Asked { order, keys };
    // Ours in bulks, each key with its table.
    let built: Vec<Lpm<u32>> = tables
        .iter()
        .map(|routes| Lpm::build(routes.iter().copied()))
        .collect();
    let bytes = built.iter().map(Lpm::memory).sum();
    let look_up = |order: &[u32; BULK], keys: &[u32; BULK], out: &mut [u32; BULK]| {
        let tables = order.map(|table| &built[table as usize]);
        Lpm::lookup_each(&tables, keys, out);
    };
    let (ours, expected) = asked.entrant((OWN, true), None, look_up);
    let mut all = vec![
        ours,
        many::<PrefixMap<(u32, u8), u32>>(&tables, &asked, &expected),
        many::<IpNetworkTable<u32>>(&tables, &asked, &expected),
        many::<RTrieMap<Ipv4Prefix, u32>>(&tables, &asked, &expected),
        many::<LCTrieMap<Ipv4Prefix, u32>>(&tables, &asked, &expected),
        many::<Poptrie<(u32, u8), u32>>(&tables, &asked, &expected),
    ];
    how.run(&mut all, count * routes as usize, bytes)
}

/// What is done when everything stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Rounds are measured as they are asked for.
    Measured,
    /// One round, of which nobody hears.
    Checked,
}

impl How {
    /// Returns how many answers differ.
    fn run(
        self,
        entrants: &mut [Entrant<'_>],
        routes: usize,
        own_bytes: usize,
    ) -> Result<usize, String> {
        match self {
            Self::Measured => rounds(entrants, routes, own_bytes)?,
            Self::Checked => {
                for entrant in entrants.iter_mut() {
                    (entrant.round)();
                }
            }
        }
        Ok(entrants.iter().map(|entrant| entrant.wrong).sum())
    }
}

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

/// One table; returns how many answers differ.
fn run_one<K: Family>(
    request: &Request,
    routes: &[Route<K>],
    structures: &[Box<dyn Measured<K>>],
    (traffic, count, how): (Traffic, usize, How),
    bytes: impl Fn(K) -> Vec<u8>,
) -> Result<usize, String> {
    let keys = keys(routes, traffic, count, SEED);
    let (mut found, answers) = entrants(structures, &keys);
    if let Some(directory) = &request.dump {
        dump(Path::new(directory), routes, &keys, &answers, bytes)
            .map_err(|why| format!("{directory}: {why}"))?;
    }
    let own_bytes = Lpm::build(routes.iter().copied()).memory();
    how.run(&mut found, routes.len(), own_bytes)
}

/// Small tables, to see that all agree.
fn check(request: &Request) -> Result<usize, String> {
    let how = (Traffic::Prefixes, 4_096, How::Checked);
    let mut wrong = 0;
    for routes in [made_v4(50, SEED), made_v4(2_000, SEED)] {
        wrong += run_one(request, &routes, &all_v4(&routes), how, bytes_v4)?;
    }
    let routes = made_v6(500, SEED);
    wrong += run_one(request, &routes, &all_v6(&routes), how, bytes_v6)?;
    let many = run_many(16, 50, Traffic::Prefixes, 4_096, How::Checked)?;
    Ok(wrong + many)
}

fn bytes_v4(key: u32) -> Vec<u8> {
    key.to_le_bytes().to_vec()
}

fn bytes_v6(key: u128) -> Vec<u8> {
    key.to_be_bytes().to_vec()
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
    match words.as_slice() {
        ["check"] => check(&request),
        ["v4", routes, kind] => {
            let routes = match *routes {
                "file" => with_hops(&file()?.v4, SEED),
                count => made_v4(number(count)?, SEED),
            };
            let how = (traffic_called(kind)?, KEYS, How::Measured);
            run_one(&request, &routes, &all_v4(&routes), how, bytes_v4)
        }
        ["v6", routes, kind] => {
            let routes = match *routes {
                "file" => with_hops(&file()?.v6, SEED),
                count => made_v6(number(count)?, SEED),
            };
            let how = (traffic_called(kind)?, KEYS, How::Measured);
            run_one(&request, &routes, &all_v6(&routes), how, bytes_v6)
        }
        ["many", tables, routes, kind] => run_many(
            number(tables)? as usize,
            number(routes)?,
            traffic_called(kind)?,
            KEYS,
            How::Measured,
        ),
        _ => Err(String::from(
            "usage: vpclab-lookups v4|v6 ROUTES|file TRAFFIC [--prefixes FILE] [--dump DIR], \
             or vpclab-lookups many TABLES ROUTES TRAFFIC; a line of input is a round",
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
        let request = Request {
            words: Vec::new(),
            prefixes: None,
            dump: None,
        };
        assert_eq!(check(&request), Ok(0));
    }
}
