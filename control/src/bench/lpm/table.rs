//! One table, looked up over and over.

use std::hint::black_box;

use vpclab_dataplane::lpm::{Level, Lpm, NO_MATCH};
use vpclab_dataplane::worker::Clock;

use super::oracle::Oracle;
use super::traffic::{Traffic, keys};
use super::{BULK, Family, compare};
use crate::bench::{BenchError, Depth, Done, Options, Work};

/// A table and what is looked up in it.
#[derive(Debug)]
pub struct Lookups<K> {
    table: Lpm<K>,
    level: Level,
    keys: Vec<K>,
    expected: Vec<u32>,
    found: u64,
    passes: u64,
    routes: usize,
    build_ns: f64,
}

/// Addresses of a pass: streamed, so that only the table is in the caches.
pub(super) fn key_count(options: &Options) -> usize {
    match options.depth {
        Depth::Smoke => 1 << 10,
        Depth::Normal | Depth::Full => 1 << 20,
    }
}

impl<K: Family> Lookups<K> {
    /// Builds the table, the keys, and the answers that must come.
    ///
    /// # Errors
    /// When the table answers differently from the naive one.
    pub fn new(
        options: &Options,
        routes: &[(K, u8, u32)],
        traffic: Traffic,
    ) -> Result<Self, BenchError> {
        let clock = Clock::start();
        let start = clock.now();
        let table = Lpm::build(routes.iter().copied());
        let build_ns = clock.now().since(start).as_nanos() as f64;
        let keys = keys(routes, traffic, key_count(options), options.seed);
        let oracle = Oracle::new(routes);
        let expected: Vec<u32> = keys.iter().map(|&key| oracle.lookup(key)).collect();
        let passes = (options.operations() * 8).div_ceil(keys.len() as u64);
        let this = Self {
            found: expected.iter().filter(|&&hop| hop != NO_MATCH).count() as u64,
            level: Level::detect(),
            table,
            keys,
            expected,
            passes,
            routes: routes.len(),
            build_ns,
        };
        this.check()?;
        Ok(this)
    }

    /// The same with no more than the instructions of `level`.
    #[must_use]
    pub fn at(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// Looks every key up once more and compares.
    fn check(&self) -> Result<(), BenchError> {
        let mut out = vec![0; self.keys.len()];
        for (keys, out) in self.keys.chunks(BULK).zip(out.chunks_mut(BULK)) {
            self.table.lookup_bulk_at(self.level, keys, out);
        }
        compare(&self.keys, &out, &self.expected)
    }
}

impl<K: Family> Work for Lookups<K> {
    fn round(&mut self) -> Done {
        let mut out = [0; BULK];
        for _ in 0..self.passes {
            for keys in self.keys.chunks_exact(BULK) {
                self.table
                    .lookup_bulk_at(self.level, black_box(keys), &mut out);
                black_box(&out);
            }
        }
        let operations = self.passes * self.keys.len() as u64;
        let hits = self.passes * self.found;
        Done {
            operations,
            hits,
            misses: operations - hits,
            elapsed: None,
        }
    }

    fn verify(&mut self, _done: &Done) -> Result<(), BenchError> {
        self.check()
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        let routes = self.routes.max(1) as f64;
        let bytes = self.table.memory() as f64;
        vec![
            ("table_bytes", bytes),
            ("route_bytes", bytes / routes),
            ("route_build_ns", self.build_ns / routes),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::prefixes::made_v4;
    use super::*;

    #[test]
    fn an_answer_that_is_not_the_naive_tables_fails_the_case() {
        let options = Options::smoke();
        let routes = made_v4(100, 1);
        let mut lookups = Lookups::new(&options, &routes, Traffic::Prefixes).unwrap();
        let done = lookups.round();
        assert_eq!((done.hits, done.misses), (done.operations, 0));
        lookups.verify(&done).unwrap();
        lookups.table = Lpm::build(routes.iter().copied().skip(1));
        let error = lookups.verify(&done).unwrap_err().to_string();
        assert!(error.contains("instead of"), "{error}");
    }

    #[test]
    fn every_level_of_instructions_can_be_measured() {
        let options = Options::smoke();
        for level in Level::available() {
            let lookups = Lookups::new(&options, &made_v4(1_000, 1), Traffic::Uniform).unwrap();
            let mut lookups = lookups.at(level);
            let done = lookups.round();
            lookups.verify(&done).unwrap();
            assert!(done.hits > 0 && done.misses > 0, "{done:?}");
        }
    }
}
