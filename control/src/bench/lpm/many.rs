//! Thousands of tables, and a random one of them for each address: what a
//! machine full of VPCs looks up.

use std::hint::black_box;

use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::lpm::{Lpm, NO_MATCH};
use vpclab_dataplane::worker::Clock;

use super::oracle::Oracle;
use super::prefixes::made_v4;
use super::table::key_count;
use super::traffic::{Traffic, keys};
use super::{BULK, compare};
use crate::bench::{BenchError, Done, Options, Work};

/// Keys that are fetched, untimed, before they are looked up: while a table is somewhere
/// else for each key, no machine reads ahead in a list of keys by itself, and the addresses of
/// a packet are in the cache when its route is looked up.
const BLOCK: usize = 1_024;

/// Many tables, none like another.
#[derive(Debug)]
pub struct Many {
    tables: Vec<Lpm<u32>>,
    /// Which table the n-th key is looked up in.
    order: Vec<u32>,
    keys: Vec<u32>,
    expected: Vec<u32>,
    found: u64,
    passes: u64,
    routes: usize,
    build_ns: f64,
    /// What of `order` and `keys` is looked up next.
    block: (Vec<u32>, Vec<u32>),
}

impl Many {
    /// Builds `count` tables of `routes` routes each.
    ///
    /// # Errors
    /// When one answers differently from the naive one.
    pub fn new(
        options: &Options,
        count: usize,
        routes: usize,
        traffic: Traffic,
    ) -> Result<Self, BenchError> {
        let seed = |table: u64| Seed(options.seed).words(&[table]);
        let made: Vec<_> = (0..count as u64)
            .map(|table| made_v4(routes as u64, seed(table)))
            .collect();
        let clock = Clock::start();
        let start = clock.now();
        let tables: Vec<Lpm<u32>> = made
            .iter()
            .map(|routes| Lpm::build(routes.iter().copied()))
            .collect();
        let build_ns = clock.now().since(start).as_nanos() as f64;
        let keys_each = key_count(options).div_ceil(count).max(1);
        let mut asked = Vec::with_capacity(keys_each * count);
        for (table, routes) in made.iter().enumerate() {
            let oracle = Oracle::new(routes);
            for key in keys(routes, traffic, keys_each, seed(table as u64)) {
                asked.push((table as u32, key, oracle.lookup(key)));
            }
        }
        crate::bench::path::shuffle(&mut asked, options.seed);
        let expected: Vec<u32> = asked.iter().map(|asked| asked.2).collect();
        let this = Self {
            tables,
            order: asked.iter().map(|asked| asked.0).collect(),
            keys: asked.iter().map(|asked| asked.1).collect(),
            found: expected.iter().filter(|&&hop| hop != NO_MATCH).count() as u64,
            passes: (options.operations() * 4).div_ceil(expected.len() as u64),
            expected,
            routes: count * routes,
            build_ns,
            block: (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK)),
        };
        Ok(this)
    }

    /// The tables of the next keys.
    #[inline]
    fn gather(&self, order: &[u32; BULK]) -> Option<[&Lpm<u32>; BULK]> {
        let first = self.tables.first()?;
        Some(order.map(|table| self.tables.get(table as usize).unwrap_or(first)))
    }

    fn looked_up(&self) -> Vec<u32> {
        let mut out = vec![0; self.keys.len()];
        let (order, _) = self.order.as_chunks::<BULK>();
        let (keys, _) = self.keys.as_chunks::<BULK>();
        let (places, _) = out.as_chunks_mut::<BULK>();
        for ((order, keys), out) in order.iter().zip(keys).zip(places) {
            if let Some(tables) = self.gather(order) {
                Lpm::lookup_each(&tables, keys, out);
            }
        }
        out
    }
}

impl Work for Many {
    fn round(&mut self) -> Done {
        let clock = Clock::start();
        let mut out = [0; BULK];
        let mut elapsed = std::time::Duration::ZERO;
        let (mut order, mut keys) = std::mem::take(&mut self.block);
        for _ in 0..self.passes {
            for (tables, asked) in self.order.chunks(BLOCK).zip(self.keys.chunks(BLOCK)) {
                order.clear();
                order.extend_from_slice(tables);
                keys.clear();
                keys.extend_from_slice(asked);
                let start = clock.now();
                for (order, keys) in order.as_chunks().0.iter().zip(keys.as_chunks().0) {
                    if let Some(tables) = self.gather(order) {
                        Lpm::lookup_each(&tables, black_box::<&[u32; BULK]>(keys), &mut out);
                        black_box(&out);
                    }
                }
                elapsed += std::time::Duration::from_nanos(clock.now().since(start).as_nanos());
            }
        }
        self.block = (order, keys);
        let operations = self.passes * (self.order.len() / BULK * BULK) as u64;
        let hits = self.passes * self.found;
        Done {
            operations,
            hits,
            misses: operations - hits,
            elapsed: Some(elapsed),
        }
    }

    fn verify(&mut self, _done: &Done) -> Result<(), BenchError> {
        compare(&self.keys, &self.looked_up(), &self.expected)
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        let bytes: usize = self.tables.iter().map(Lpm::memory).sum();
        vec![
            ("route_bytes", bytes as f64 / self.routes as f64),
            ("table_build_ns", self.build_ns / self.tables.len() as f64),
        ]
    }
}
