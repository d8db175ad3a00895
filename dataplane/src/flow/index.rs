//! From the hash of a key to a few references: buckets of one cache line.
//!
//! A bucket holds seven tags and seven references, and how many entries that
//! belong here or before went past it because it was full. A look stops at the
//! first bucket that nobody went past: nearly always the first. Removing needs
//! no tombstone.

use super::memory;

/// Entries in a bucket.
const WAYS: usize = 7;

#[repr(C, align(64))]
#[derive(Clone, Copy, Default, Debug)]
struct Bucket {
    /// Part of each entry's hash, 0 where there is none; in the last place, how
    /// many entries went past this bucket.
    tags: [u32; WAYS + 1],
    references: [u32; WAYS],
}

/// The index. References are the owner's; so are the keys.
#[derive(Debug)]
pub(super) struct Index {
    buckets: Vec<Bucket>,
}

impl Index {
    /// An index that serves `entries` entries at no more than 0.6 of its places.
    pub(super) fn new(entries: usize) -> Self {
        let count = (entries * 5 / 3).div_ceil(WAYS).max(2);
        let mut buckets = Vec::with_capacity(count);
        memory::prefer_huge_pages(&mut buckets);
        buckets.resize(count, Bucket::default());
        Self { buckets }
    }

    /// The first reference under `hash` that `is_it` accepts.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        let mut at = self.home(hash);
        // Bounded by the table; in practice one turn.
        for _ in 0..self.buckets.len() {
            let bucket = self.buckets.get(at)?;
            let mut hits = bucket.hits(tag);
            while hits != 0 {
                let way = hits.trailing_zeros() as usize;
                let reference = *bucket.references.get(way)?;
                if is_it(reference) {
                    return Some(reference);
                }
                hits &= hits - 1;
            }
            if bucket.passed() == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// A reference that is probably the one under `hash`: to fetch its memory
    /// before it is needed.
    #[inline(always)]
    pub(super) fn guess(&self, hash: u64) -> Option<u32> {
        let bucket = self.buckets.get(self.home(hash))?;
        let hits = bucket.hits(tag(hash));
        let way = hits.trailing_zeros() as usize;
        bucket.references.get(way).copied()
    }

    /// Fetches the bucket of `hash`.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) {
        memory::prefetch(&self.buckets, self.home(hash));
    }

    /// Adds an entry. There must be room: the owner counts.
    pub(super) fn insert(&mut self, hash: u64, reference: u32) {
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let Some(bucket) = self.buckets.get_mut(at) else {
                return;
            };
            let free = bucket.hits(0);
            let way = free.trailing_zeros() as usize;
            if let (Some(place), Some(held)) =
                (bucket.tags.get_mut(way), bucket.references.get_mut(way))
            {
                *place = tag(hash);
                *held = reference;
                return;
            }
            *bucket.passed_mut() += 1;
            at = self.after(at);
        }
    }

    /// Removes an entry that is there.
    pub(super) fn remove(&mut self, hash: u64, reference: u32) {
        let home = self.home(hash);
        let mut at = home;
        for _ in 0..self.buckets.len() {
            let Some(bucket) = self.buckets.get_mut(at) else {
                return;
            };
            let mut hits = bucket.hits(tag(hash));
            while hits != 0 {
                let way = hits.trailing_zeros() as usize;
                if bucket.references.get(way) == Some(&reference) {
                    if let Some(place) = bucket.tags.get_mut(way) {
                        *place = 0;
                    }
                    self.nobody_passes(home, at);
                    return;
                }
                hits &= hits - 1;
            }
            if bucket.passed() == 0 {
                return;
            }
            at = self.after(at);
        }
    }

    /// Heap bytes in use.
    pub(super) fn memory(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    fn nobody_passes(&mut self, home: usize, end: usize) {
        let mut at = home;
        while at != end {
            if let Some(bucket) = self.buckets.get_mut(at) {
                *bucket.passed_mut() -= 1;
            }
            at = self.after(at);
        }
    }

    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline(always)]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() {
            0
        } else {
            at + 1
        }
    }
}

impl Bucket {
    /// A bit for each place that holds `tag`.
    #[inline(always)]
    fn hits(&self, tag: u32) -> u32 {
        // The last is no tag.
        memory::equal(&self.tags, tag) & ((1 << WAYS) - 1)
    }

    #[inline(always)]
    const fn passed(&self) -> u32 {
        self.tags[WAYS]
    }

    const fn passed_mut(&mut self) -> &mut u32 {
        &mut self.tags[WAYS]
    }
}

#[inline(always)]
fn tag(hash: u64) -> u32 {
    (hash as u32).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list, with hashes that crowd into few buckets.
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec((0u64..6, 0u32..3, 0u32..60, any::<bool>()), 1..400)) {
            let mut index = Index::new(40);
            let mut list: Vec<(u64, u32)> = Vec::new();
            for (home, tag, reference, adds) in steps {
                let hash = home << 61 | u64::from(tag);
                if adds && list.len() < 40 && !list.contains(&(hash, reference)) {
                    index.insert(hash, reference);
                    list.push((hash, reference));
                } else if let Some(at) = list.iter().position(|held| *held == (hash, reference)) {
                    index.remove(hash, reference);
                    list.swap_remove(at);
                }
                for home in 0..6u64 {
                    for low in 0..3u64 {
                        let hash = home << 61 | low;
                        // Tags 0 and 1 are one tag: the owner's comparison tells.
                        let mut found = Vec::new();
                        index.find(hash, |reference| { found.push(reference); false });
                        for &(_, reference) in list.iter().filter(|held| held.0 == hash) {
                            prop_assert!(found.contains(&reference));
                        }
                    }
                }
            }
            for (hash, reference) in std::mem::take(&mut list) {
                index.remove(hash, reference);
            }
            prop_assert!(index.buckets.iter().all(|b| b.tags == [0; WAYS + 1]));
        }
    }
}
