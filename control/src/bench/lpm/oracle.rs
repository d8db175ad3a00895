//! The naive table that answers are compared with: one hash map of prefixes,
//! asked for every length there is, the longest first.

use std::collections::HashMap;

use vpclab_dataplane::lpm::NO_MATCH;

use super::Family;

/// Prefixes by address and length.
pub(super) struct Oracle<K> {
    held: HashMap<(K, u8), u32>,
    /// Longest first.
    lengths: Vec<u8>,
}

impl<K: Family> Oracle<K> {
    pub(super) fn new(routes: &[(K, u8, u32)]) -> Self {
        let held: HashMap<(K, u8), u32> = routes
            .iter()
            .map(|&(address, len, hop)| ((address.first(len), len), hop))
            .collect();
        let mut lengths: Vec<u8> = routes.iter().map(|route| route.1).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        Self { held, lengths }
    }

    pub(super) fn lookup(&self, key: K) -> u32 {
        let mut lengths = self.lengths.iter();
        let found = lengths.find_map(|&len| self.held.get(&(key.first(len), len)));
        found.copied().unwrap_or(NO_MATCH)
    }
}
