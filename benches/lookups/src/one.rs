//! One table: everybody's structure of it, looked up with each kind of traffic.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::thread;

use ip_network_table::IpNetworkTable;
use iptrie::map::{LCTrieMap, RTrieMap};
use iptrie::{Ipv4Prefix, Ipv6Prefix};
use poptrie::Poptrie;
use prefix_trie::PrefixMap;
use vpclab_dataplane::lpm::Lpm;
use vpclab_dataplane::worker::Clock;

use crate::crates::{Route, Structure};
use crate::family::Family;
use crate::rounds::{BULK, CRATE_KEYS, Contest, Entrant, KEYS, Window, heard, ns_per, say};
use crate::traffic::{Traffic, keys};
use crate::{SEED, traffic_called};

/// A structure that is measured, whatever it is.
trait Measured<K>: Send {
    fn name(&self) -> &'static str;
    fn updatable(&self) -> bool;
    fn memory(&self) -> Option<usize>;
    /// Looks all keys up, in bulks.
    fn all(&self, keys: &[K]) -> Vec<u32>;
    /// The same, measured: answers go to the same few bytes over and over, as fib.c has it.
    fn timed(&self, keys: &[K]);
}

struct One<S>(S);

impl<K: Copy, S: Structure<K> + Send> Measured<K> for One<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }
    fn updatable(&self) -> bool {
        S::UPDATABLE
    }
    fn memory(&self) -> Option<usize> {
        self.0.memory()
    }
    fn all(&self, keys: &[K]) -> Vec<u32> {
        let mut answers = vec![0; keys.len()];
        for (keys, out) in keys.chunks(BULK).zip(answers.chunks_mut(BULK)) {
            self.0.lookup_bulk(keys, out);
        }
        answers
    }
    fn timed(&self, keys: &[K]) {
        let mut out = [0; BULK];
        for keys in keys.as_chunks::<BULK>().0 {
            self.0.lookup_bulk(keys, &mut out);
            black_box(&mut out);
        }
    }
}

type Boxed<K> = Box<dyn Measured<K>>;
type Build<K> = fn(&[Route<K>]) -> Boxed<K>;

fn boxed<K: Copy + 'static, S: Structure<K> + Send + 'static>(routes: &[Route<K>]) -> Boxed<K> {
    Box::new(One(S::build(routes)))
}

/// Those of a family, ours first, and how its addresses are written for others.
pub(crate) trait Compared: Family + Send + Sync + 'static {
    const BUILD: [BuildOf<Self>; 6];

    fn bytes(self) -> Vec<u8>;
}

/// How one is built.
#[derive(Clone, Copy)]
pub(crate) struct BuildOf<K: 'static>(Build<K>);

impl Compared for u32 {
    const BUILD: [BuildOf<Self>; 6] = [
        BuildOf(boxed::<Self, Lpm<Self>>),
        BuildOf(boxed::<Self, PrefixMap<(Self, u8), u32>>),
        BuildOf(boxed::<Self, IpNetworkTable<u32>>),
        BuildOf(boxed::<Self, RTrieMap<Ipv4Prefix, u32>>),
        BuildOf(boxed::<Self, LCTrieMap<Ipv4Prefix, u32>>),
        BuildOf(boxed::<Self, Poptrie<(Self, u8), u32>>),
    ];

    fn bytes(self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }
}

impl Compared for u128 {
    const BUILD: [BuildOf<Self>; 6] = [
        BuildOf(boxed::<Self, Lpm<Self>>),
        BuildOf(boxed::<Self, PrefixMap<(Self, u8), u32>>),
        BuildOf(boxed::<Self, IpNetworkTable<u32>>),
        BuildOf(boxed::<Self, RTrieMap<Ipv6Prefix, u32>>),
        BuildOf(boxed::<Self, LCTrieMap<Ipv6Prefix, u32>>),
        BuildOf(boxed::<Self, Poptrie<(Self, u8), u32>>),
    ];

    fn bytes(self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }
}

/// The structures of all, built side by side: nothing is measured meanwhile.
fn build<K: Compared>(routes: &[Route<K>]) -> Vec<Boxed<K>> {
    thread::scope(|scope| {
        let builds = K::BUILD.map(|build| scope.spawn(move || (build.0)(routes)));
        let built = builds.map(|built| built.join().expect("it was built"));
        built.into_iter().collect()
    })
}

/// The contest with these keys, and our answers. The crates have answered the first
/// [`CRATE_KEYS`], side by side.
fn contest<'a, K: Compared>(
    routes: &[Route<K>],
    structures: &'a mut [Boxed<K>],
    keys: &'a [K],
) -> (Contest<'a>, Vec<u32>) {
    let (own, crates) = structures.split_first_mut().expect("ours is the first");
    let answers = own.all(keys);
    let (few, _) = keys.split_at(keys.len().min(CRATE_KEYS));
    let wrong: Vec<usize> = thread::scope(|scope| {
        let checks = crates.iter_mut().map(|structure| {
            let answers = &answers;
            scope.spawn(move || differ(&structure.all(few), answers))
        });
        let checks: Vec<_> = checks.collect();
        let found = checks.into_iter().map(|check| check.join());
        found.map(|wrong| wrong.expect("it answered")).collect()
    });
    let (own, crates) = (&*own, &*crates);
    let clock = Clock::start();
    let entrant = |structure: &'a Boxed<K>, wrong, keys: &'a [K], window: Window| Entrant {
        who: structure.name(),
        updatable: structure.updatable(),
        bytes: structure.memory(),
        wrong,
        round: Box::new(move |nth| {
            let (warm, counted) = window.of(keys, nth);
            structure.timed(warm);
            let lookups = counted.len() / BULK * BULK;
            ns_per(clock, lookups, || structure.timed(counted))
        }),
    };
    let mut entrants = vec![entrant(own, 0, keys, Window::OWN)];
    for (structure, wrong) in crates.iter().zip(wrong) {
        entrants.push(entrant(structure, wrong, few, Window::CRATE));
    }
    let contest = Contest {
        entrants,
        routes: routes.len(),
    };
    (contest, answers)
}

/// Answers that differ.
fn differ(answers: &[u32], expected: &[u32]) -> usize {
    answers.iter().zip(expected).filter(|(a, b)| a != b).count()
}

/// Builds everything and measures what the input asks for; returns how many answers differed.
pub(crate) fn run<K: Compared>(routes: &[Route<K>], dump: Option<&str>) -> Result<usize, String> {
    let write = |name: &str, bytes: Vec<u8>| match dump {
        Some(directory) => fs::write(Path::new(directory).join(name), bytes)
            .map_err(|why| format!("{directory}/{name}: {why}")),
        None => Ok(()),
    };
    let mut table = Vec::new();
    for &(address, len, hop) in routes {
        table.extend(address.bytes());
        table.extend(u32::from(len).to_le_bytes());
        table.extend(hop.to_le_bytes());
    }
    write("routes", table)?;
    say("routes")?;
    let (mut structures, traffics) = thread::scope(|scope| {
        let drawn = Traffic::ALL.map(|kind| scope.spawn(move || keys(routes, kind, KEYS, SEED)));
        let structures = build(routes);
        let drawn = drawn.map(|keys| keys.join().expect("keys were drawn"));
        (structures, drawn)
    });
    say("built")?;
    let (mut wrong, mut line) = (0, heard()?);
    while let Some(asked) = line {
        let kind = traffic_called(asked.strip_prefix("keys ").unwrap_or(&asked))?;
        let mut named = Traffic::ALL.iter().zip(&traffics);
        let found = named.find(|(traffic, _)| **traffic == kind);
        let (_, keys) = found.ok_or("no such keys were drawn")?;
        let (mut contest, answers) = contest(routes, &mut structures, keys);
        let bytes = keys.iter().flat_map(|key| key.bytes()).collect();
        write("keys", bytes)?;
        let bytes = answers.iter().flat_map(|hop| hop.to_le_bytes()).collect();
        write("answers", bytes)?;
        wrong += contest.wrong();
        line = contest.serve()?;
    }
    Ok(wrong)
}

/// One round of all with a few keys; returns how many answers differ.
pub(crate) fn check<K: Compared>(routes: &[Route<K>], count: usize) -> usize {
    let keys = keys(routes, Traffic::Prefixes, count, SEED);
    let mut structures = build(routes);
    let (mut contest, _) = contest(routes, &mut structures, &keys);
    contest.once();
    contest.wrong()
}
