//! Bulk lookup with another table for each key.

use super::level::Usable;
use super::{Key, Level, Lpm};

impl<K: Key> Lpm<K> {
    /// Looks up `keys[i]` in `tables[i]`; `out[i]` is the answer. What one of
    /// the three has more than the others is left alone.
    pub fn lookup_each(tables: &[&Self], keys: &[K], out: &mut [u32]) {
        Self::each_with(Usable::in_use(), tables, keys, out);
    }

    /// The same with no more than the instructions of `level`.
    pub fn lookup_each_at(level: Level, tables: &[&Self], keys: &[K], out: &mut [u32]) {
        Self::each_with(Usable::at_most(level), tables, keys, out);
    }

    fn each_with(level: Usable, tables: &[&Self], keys: &[K], out: &mut [u32]) {
        let count = tables.len().min(keys.len()).min(out.len());
        let (tables, keys) = (&tables[..count], &keys[..count]);
        let out = &mut out[..count];
        #[cfg(target_arch = "x86_64")]
        if super::simd::each(level, tables, keys, out) {
            return;
        }
        let _ = level;
        for ((table, key), out) in tables.iter().zip(keys).zip(out) {
            *out = table.lookup(*key);
        }
    }
}
