//! Route lookups beside those of crates, in one binary, on the same tables and
//! keys, in turn: what `benches/peers/run` calls.
//!
//! ```text
//! vpclab-lookups v4|v6 ROUTES|file TRAFFIC ROUNDS [--prefixes FILE] [--dump DIR]
//! vpclab-lookups many TABLES ROUTES TRAFFIC ROUNDS
//! ```
//!
//! One JSON object a line: `{"who", "updatable", "ns": [of each round], "bytes",
//! "routes"}`. With `--dump` the table, the keys and their answers are written for
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
use std::io::Write;
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
const SEED: u64 = 1;

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

/// What was found of one structure.
struct Found {
    who: &'static str,
    updatable: bool,
    ns: Vec<f64>,
    /// Answers that differ from ours.
    wrong: usize,
}

fn ns_per(clock: Clock, operations: usize, work: impl FnOnce()) -> f64 {
    let start = clock.now();
    work();
    clock.now().since(start).as_nanos() as f64 / operations as f64
}

/// Measures each structure once a round, in turn.
fn measure<K: Family>(
    structures: &[Box<dyn Measured<K>>],
    keys: &[K],
    rounds: usize,
) -> (Vec<Found>, Vec<u32>) {
    let clock = Clock::start();
    let mut expected = vec![0; keys.len()];
    let mut out = vec![0; keys.len()];
    let mut found: Vec<Found> = Vec::new();
    for structure in structures {
        // Warms up, too.
        structure.all(keys, &mut out);
        if found.is_empty() {
            expected.clone_from(&out);
        }
        found.push(Found {
            who: structure.name(),
            updatable: structure.updatable(),
            ns: Vec::new(),
            wrong: out.iter().zip(&expected).filter(|(a, b)| a != b).count(),
        });
    }
    for _ in 0..rounds {
        for (structure, found) in structures.iter().zip(&mut found) {
            let ns = ns_per(clock, keys.len() / BULK * BULK, || structure.timed(keys));
            found.ns.push(ns);
        }
    }
    (found, expected)
}

fn print(found: &[Found], routes: usize, own_bytes: usize) {
    let mut out = std::io::stdout().lock();
    for Found {
        who,
        updatable,
        ns,
        wrong,
    } in found
    {
        let bytes = if *who == "vpclab" {
            own_bytes.to_string()
        } else {
            String::from("null")
        };
        writeln!(
            out,
            "{{\"who\": \"{who}\", \"updatable\": {updatable}, \"ns\": {ns:?}, \"wrong\": {wrong}, \
             \"bytes\": {bytes}, \"routes\": {routes}}}"
        )
        .expect("standard output is open");
    }
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

/// The tables' answers, and the nanoseconds a lookup of each round: without the fetching of
/// the keys, for a packet's addresses are in the cache when its route is looked up.
fn rounds_of(
    asked: &[(u32, u32)],
    rounds: usize,
    mut look_up: impl FnMut(&[u32; BULK], &[u32; BULK], &mut [u32; BULK]),
) -> (Vec<f64>, Vec<u32>) {
    let mut answers = vec![0; asked.len()];
    let (order, keys): (Vec<u32>, Vec<u32>) = asked.iter().copied().unzip();
    let bulks = order.as_chunks().0.iter().zip(keys.as_chunks().0);
    for ((order, keys), out) in bulks.zip(answers.as_chunks_mut().0) {
        look_up(order, keys, out);
    }
    let clock = Clock::start();
    let (mut tables, mut asked) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
    let one_round = |_| {
        let mut spent = 0.0;
        for (order, keys) in order.chunks(BLOCK).zip(keys.chunks(BLOCK)) {
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
        spent / (keys.len() / BULK * BULK) as f64
    };
    ((0..rounds).map(one_round).collect(), answers)
}

/// Thousands of tables of one kind, another one for each key.
fn many<S: Structure<u32>>(
    tables: &[Vec<Route<u32>>],
    asked: &[(u32, u32)],
    rounds: usize,
) -> (Found, Vec<u32>) {
    let built: Vec<S> = tables.iter().map(|routes| S::build(routes)).collect();
    let (ns, out) = rounds_of(asked, rounds, |order, keys, out| {
        for ((table, key), out) in order.iter().zip(keys).zip(out) {
            *out = built[*table as usize].lookup(black_box(*key));
        }
    });
    let found = Found {
        who: S::NAME,
        updatable: S::UPDATABLE,
        ns,
        wrong: 0,
    };
    (found, out)
}

/// Ours in bulks, each key with its table.
fn many_of_ours(
    tables: &[Vec<Route<u32>>],
    asked: &[(u32, u32)],
    rounds: usize,
) -> (Found, Vec<u32>, usize) {
    let built: Vec<Lpm<u32>> = tables
        .iter()
        .map(|routes| Lpm::build(routes.iter().copied()))
        .collect();
    let (ns, out) = rounds_of(asked, rounds, |order, keys, out| {
        let tables = order.map(|table| &built[table as usize]);
        Lpm::lookup_each(&tables, keys, out);
    });
    let found = Found {
        who: "vpclab",
        updatable: true,
        ns,
        wrong: 0,
    };
    let bytes = built.iter().map(Lpm::memory).sum();
    (found, out, bytes)
}

fn run_many(
    count: usize,
    routes: u64,
    traffic: Traffic,
    rounds: usize,
    keys_in_all: usize,
) -> usize {
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
    let (ours, expected, bytes) = many_of_ours(&tables, &asked, rounds);
    let mut found = vec![ours];
    let mut add = |(mut other, out): (Found, Vec<u32>)| {
        other.wrong = out.iter().zip(&expected).filter(|(a, b)| a != b).count();
        found.push(other);
    };
    add(many::<PrefixMap<(u32, u8), u32>>(&tables, &asked, rounds));
    add(many::<IpNetworkTable<u32>>(&tables, &asked, rounds));
    add(many::<RTrieMap<Ipv4Prefix, u32>>(&tables, &asked, rounds));
    add(many::<LCTrieMap<Ipv4Prefix, u32>>(&tables, &asked, rounds));
    add(many::<Poptrie<(u32, u8), u32>>(&tables, &asked, rounds));
    print(&found, count * routes as usize, bytes);
    found.iter().map(|found| found.wrong).sum()
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
    (traffic, rounds, count): (Traffic, usize, usize),
    bytes: impl Fn(K) -> Vec<u8>,
) -> Result<usize, String> {
    let keys = keys(routes, traffic, count, SEED);
    let (found, answers) = measure(structures, &keys, rounds);
    print(
        &found,
        routes.len(),
        Lpm::build(routes.iter().copied()).memory(),
    );
    if let Some(directory) = &request.dump {
        dump(Path::new(directory), routes, &keys, &answers, bytes)
            .map_err(|why| format!("{directory}: {why}"))?;
    }
    Ok(found.iter().map(|found| found.wrong).sum())
}

/// Small tables, to see that all agree.
fn check(request: &Request) -> Result<usize, String> {
    let how = (Traffic::Prefixes, 1, 4_096);
    let mut wrong = 0;
    for routes in [made_v4(50, SEED), made_v4(2_000, SEED)] {
        wrong += run_one(request, &routes, &all_v4(&routes), how, bytes_v4)?;
    }
    let routes = made_v6(500, SEED);
    wrong += run_one(request, &routes, &all_v6(&routes), how, bytes_v6)?;
    Ok(wrong + run_many(16, 50, Traffic::Prefixes, 1, 4_096))
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
        ["v4", routes, kind, rounds] => {
            let routes = match *routes {
                "file" => with_hops(&file()?.v4, SEED),
                count => made_v4(number(count)?, SEED),
            };
            let how = (traffic_called(kind)?, number(rounds)? as usize, KEYS);
            run_one(&request, &routes, &all_v4(&routes), how, bytes_v4)
        }
        ["v6", routes, kind, rounds] => {
            let routes = match *routes {
                "file" => with_hops(&file()?.v6, SEED),
                count => made_v6(number(count)?, SEED),
            };
            let how = (traffic_called(kind)?, number(rounds)? as usize, KEYS);
            run_one(&request, &routes, &all_v6(&routes), how, bytes_v6)
        }
        ["many", tables, routes, kind, rounds] => Ok(run_many(
            number(tables)? as usize,
            number(routes)?,
            traffic_called(kind)?,
            number(rounds)? as usize,
            KEYS,
        )),
        _ => Err(String::from(
            "usage: vpclab-lookups v4|v6 ROUTES|file TRAFFIC ROUNDS [--prefixes FILE] [--dump DIR], \
             or vpclab-lookups many TABLES ROUTES TRAFFIC ROUNDS",
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
