//! Thousands of tables, another one for each key.

use std::hint::black_box;
use std::thread;

use ip_network_table::IpNetworkTable;
use iptrie::Ipv4Prefix;
use iptrie::map::{LCTrieMap, RTrieMap};
use poptrie::Poptrie;
use prefix_trie::PrefixMap;
use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::lpm::Lpm;
use vpclab_dataplane::worker::Clock;

use crate::SEED;
use crate::crates::{Route, Structure};
use crate::prefixes::made_v4;
use crate::rounds::{BULK, Contest, Entrant, OWN, Window, ns_per};
use crate::traffic::{Traffic, keys};

/// Keys that are fetched at once before they are looked up, each with its table: while a
/// table is somewhere else for each key, no machine reads a list of keys ahead by itself.
const BLOCK: usize = 1_024;

/// Keys, each with the table that it is looked up in.
type Asked = (u32, u32);

/// Looks a bulk up: the tables of the keys, the keys, and where their next hops go.
trait LookUp: FnMut(&[u32; BULK], &[u32; BULK], &mut [u32; BULK]) {}

impl<F: FnMut(&[u32; BULK], &[u32; BULK], &mut [u32; BULK])> LookUp for F {}

fn answers(asked: &[Asked], look_up: &mut impl LookUp) -> Vec<u32> {
    let mut answers = vec![0; asked.len()];
    let bulks = asked.as_chunks::<BULK>().0.iter();
    for (bulk, out) in bulks.zip(answers.as_chunks_mut().0) {
        look_up(
            &bulk.map(|(table, _)| table),
            &bulk.map(|(_, key)| key),
            out,
        );
    }
    answers
}

/// Nanoseconds a lookup: without the fetching of the keys, for a packet's addresses are in
/// the cache when its route is looked up.
fn timed(asked: &[Asked], clock: Clock, look_up: &mut impl LookUp) -> f64 {
    let (mut tables, mut keys) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
    let mut spent = 0.0;
    for block in asked.chunks(BLOCK) {
        tables.clear();
        tables.extend(black_box(block).iter().map(|(table, _)| *table));
        keys.clear();
        keys.extend(black_box(block).iter().map(|(_, key)| *key));
        spent += ns_per(clock, 1, || {
            let mut out = [0; BULK];
            for (tables, keys) in tables.as_chunks().0.iter().zip(keys.as_chunks().0) {
                look_up(tables, black_box(keys), &mut out);
                black_box(&mut out);
            }
        });
    }
    spent / (asked.len() / BULK * BULK) as f64
}

fn round<'a>(
    asked: &'a [Asked],
    mut look_up: impl LookUp + 'a,
) -> Box<dyn FnMut(usize) -> f64 + 'a> {
    let clock = Clock::start();
    Box::new(move |nth| {
        let (warm, counted) = Window::MANY.of(asked, nth);
        timed(warm, clock, &mut look_up);
        timed(counted, clock, &mut look_up)
    })
}

/// A crate's tables of one kind, built and compared with our answers, before it is measured.
struct Built<S> {
    tables: Vec<S>,
    wrong: usize,
}

impl<S: Structure<u32>> Built<S> {
    fn new(tables: &[Vec<Route<u32>>], asked: &[Asked], expected: &[u32]) -> Self {
        let mut built = Self {
            tables: tables.iter().map(|routes| S::build(routes)).collect(),
            wrong: 0,
        };
        let found = answers(asked, &mut built.look_up());
        built.wrong = found.iter().zip(expected).filter(|(a, b)| a != b).count();
        built
    }

    fn look_up(&self) -> impl LookUp {
        |order: &[u32; BULK], keys: &[u32; BULK], out: &mut [u32; BULK]| {
            for ((table, key), out) in order.iter().zip(keys).zip(out) {
                *out = self.tables[*table as usize].lookup(black_box(*key));
            }
        }
    }

    fn entrant<'a>(&'a self, asked: &'a [Asked]) -> Entrant<'a> {
        Entrant {
            who: S::NAME,
            updatable: S::UPDATABLE,
            bytes: None,
            wrong: self.wrong,
            round: round(asked, self.look_up()),
        }
    }
}

/// Builds everything, and has `then` done with the contest.
pub(crate) fn with<T>(
    count: usize,
    routes: u64,
    traffic: Traffic,
    keys_in_all: usize,
    then: impl FnOnce(&mut Contest<'_>) -> T,
) -> T {
    let seed = |table: u64| Seed(SEED).words(&[table]);
    let tables: Vec<Vec<Route<u32>>> = (0..count as u64)
        .map(|table| made_v4(routes, seed(table)))
        .collect();
    let each = keys_in_all.div_ceil(count);
    let mut asked: Vec<Asked> = Vec::new();
    for (table, routes) in tables.iter().enumerate() {
        let keys = keys(routes, traffic, each, seed(table as u64));
        asked.extend(keys.into_iter().map(|key| (table as u32, key)));
    }
    asked.sort_by_cached_key(|&(table, key)| Seed(SEED).words(&[table.into(), key.into()]));
    asked.truncate(asked.len() / BULK * BULK);
    // Ours in bulks, each key with its table.
    let own = tables
        .iter()
        .map(|routes| Lpm::build(routes.iter().copied()));
    let own: Vec<Lpm<u32>> = own.collect();
    let mut look_up = |order: &[u32; BULK], keys: &[u32; BULK], out: &mut [u32; BULK]| {
        let tables = order.map(|table| &own[table as usize]);
        Lpm::lookup_each(&tables, keys, out);
    };
    let expected = answers(&asked, &mut look_up);

    // Side by side: nothing is measured meanwhile.
    macro_rules! built {
        ($crates:ident: $($name:ident: $kind:ty),*) => {
            let ($($name),*) = thread::scope(|scope| {
                let (tables, asked, expected) = (&tables, &asked, &expected);
                $(let $name = scope.spawn(move || Built::<$kind>::new(tables, asked, expected));)*
                ($($name.join().expect("it was built")),*)
            });
            let $crates = vec![$($name.entrant(&asked)),*];
        };
    }
    built!(crates:
        map: PrefixMap<(u32, u8), u32>,
        network: IpNetworkTable<u32>,
        patricia: RTrieMap<Ipv4Prefix, u32>,
        compressed: LCTrieMap<Ipv4Prefix, u32>,
        poptrie: Poptrie<(u32, u8), u32>
    );
    let mut entrants = vec![Entrant {
        who: OWN,
        updatable: true,
        bytes: Some(own.iter().map(Lpm::memory).sum()),
        wrong: 0,
        round: round(&asked, look_up),
    }];
    entrants.extend(crates);
    then(&mut Contest {
        entrants,
        routes: count * routes as usize,
    })
}
