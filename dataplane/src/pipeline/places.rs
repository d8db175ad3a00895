//! What plans are kept in: a fixed number of values by key, one of which goes when another
//! comes.
//!
//! A look reads a byte for each place where the key may be, all of which lie near one
//! another, and then the one place whose byte is the key's. So who looks for many can find
//! the places of all first, fetch them, and read them afterwards.

use crate::flow::{PairSeed, Seed, prefetch_whole};

/// Values kept, at most.
const PLACES_MAX: usize = 1 << 13;
/// Places in which one may be.
const WAYS: usize = 4;

/// A few words by which something is found.
pub(super) trait Words: Copy + std::fmt::Debug {
    /// Secrets for their hash.
    type Secrets: Copy + std::fmt::Debug;
    fn secrets(seed: Seed) -> Self::Secrets;
    fn hash(&self, secrets: &Self::Secrets) -> u64;
    /// Whether two are equal: without a branch at each word, or a call.
    fn is_same(&self, other: &Self) -> bool;
    /// The same with another last word.
    fn with(self, last: u32) -> Self;
}

impl<const N: usize> Words for [u64; N] {
    type Secrets = PairSeed<N>;

    fn secrets(seed: Seed) -> PairSeed<N> {
        const { assert!(N.is_multiple_of(2), "hashes take words by pairs") };
        PairSeed::new(seed)
    }

    #[inline(always)]
    fn hash(&self, secrets: &PairSeed<N>) -> u64 {
        secrets.hash(self)
    }

    #[inline(always)]
    fn is_same(&self, other: &Self) -> bool {
        self.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }

    #[inline(always)]
    fn with(mut self, last: u32) -> Self {
        if let Some(place) = self.last_mut() {
            *place = u64::from(last);
        }
        self
    }
}

/// A fixed number of values by key; one that comes may drive another out.
#[derive(Debug)]
pub(super) struct Places<K: Words, T> {
    secrets: K::Secrets,
    /// Part of the hash of what is in each of a key's places, 0 where nothing is. Empty
    /// until the first value comes.
    tags: Vec<[u8; WAYS]>,
    places: Vec<Option<(K, T)>>,
    size: usize,
    next: usize,
}

impl<K: Words, T: Copy> Places<K, T> {
    pub(super) fn new(connections: usize, seed: Seed) -> Self {
        Self {
            secrets: K::secrets(seed),
            tags: Vec::new(),
            places: Vec::new(),
            size: connections.clamp(WAYS, PLACES_MAX).next_power_of_two(),
            next: 0,
        }
    }

    /// Where the places of a key are, by fours, and its tag.
    #[inline(always)]
    fn home(&self, key: &K) -> (usize, u8) {
        let hash = key.hash(&self.secrets);
        let home = hash as usize & (self.size / WAYS - 1);
        (home, ((hash >> 56) as u8).max(1))
    }

    /// The place where a key's value probably is, if there is one: only its tag was looked at.
    #[inline]
    pub(super) fn guess(&self, key: &K) -> Option<usize> {
        let (home, tag) = self.home(key);
        let way = self.tags.get(home)?.iter().position(|&held| held == tag)?;
        Some(home * WAYS + way)
    }

    /// Fetches a place.
    #[inline]
    pub(super) fn prefetch(&self, place: usize) {
        prefetch_whole(&self.places, place);
    }

    /// The value in a place, if it is this key's.
    #[inline]
    pub(super) fn at(&mut self, place: usize, key: &K) -> Option<&mut T> {
        let (of, value) = self.places.get_mut(place)?.as_mut()?;
        of.is_same(key).then_some(value)
    }

    /// The value of a key, which is probably in this place.
    #[inline]
    pub(super) fn find_from(&mut self, place: usize, key: &K) -> Option<&mut T> {
        let place = match self.at(place, key) {
            Some(_) => place,
            None => self.find(key)?.0,
        };
        let (_, value) = self.places.get_mut(place)?.as_mut()?;
        Some(value)
    }

    /// The place and value of a key.
    #[inline]
    pub(super) fn find(&mut self, key: &K) -> Option<(usize, &mut T)> {
        let (home, tag) = self.home(key);
        let first = home * WAYS;
        let tags = self.tags.get(home)?;
        let hits = tags.iter().zip(first..).filter(|(held, _)| **held == tag);
        let is_it = |place: &usize| matches!(self.places.get(*place), Some(Some((of, _))) if of.is_same(key));
        let place = hits.map(|(_, place)| place).find(is_it)?;
        let (_, value) = self.places.get_mut(place)?.as_mut()?;
        Some((place, value))
    }

    /// Keeps a value; returns what had to go for it.
    pub(super) fn put(&mut self, key: K, value: T) -> Option<T> {
        if self.places.is_empty() {
            self.places.resize(self.size, None);
            self.tags.resize(self.size / WAYS, [0; WAYS]);
        }
        let (home, tag) = self.home(&key);
        let places = self.places.get_mut(home * WAYS..)?;
        let places = places.get_mut(..WAYS)?;
        let same = |place: &Option<(K, T)>| place.as_ref().is_some_and(|(of, _)| of.is_same(&key));
        let way = places
            .iter()
            .position(same)
            .or_else(|| places.iter().position(Option::is_none))
            .unwrap_or(self.next % WAYS);
        self.next = self.next.wrapping_add(1);
        *self.tags.get_mut(home)?.get_mut(way)? = tag;
        let old = places.get_mut(way)?.replace((key, value));
        old.map(|(_, value)| value)
    }

    /// Takes a key's value away.
    pub(super) fn take(&mut self, key: &K) -> Option<T> {
        let (place, _) = self.find(key)?;
        *self.tags.get_mut(place / WAYS)?.get_mut(place % WAYS)? = 0;
        let old = self.places.get_mut(place)?.take();
        old.map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// What is not driven out is found, and nothing else.
    #[test]
    fn a_key_finds_its_last_value_or_none() {
        let mut places = Places::<[u64; 2], u64>::new(256, Seed(3));
        let mut last = HashMap::new();
        let (mut found, mut gone) = (0, 0);
        for n in 0..40_000u64 {
            let key = [n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55, 7];
            match n % 5 {
                0 => {
                    let held = places.find(&key).map(|(_, value)| *value);
                    assert_eq!(places.take(&key), held);
                    assert!(places.find(&key).is_none());
                    last.remove(&key);
                }
                1 | 2 => {
                    let had = places.find(&key).map(|(_, value)| *value);
                    let old = places.put(key, n);
                    // What goes is its own value, if it had one, or another's.
                    if let Some(had) = had {
                        assert_eq!(old, Some(had));
                    }
                    gone += u64::from(had.is_none() && old.is_some());
                    last.insert(key, n);
                }
                _ => {
                    if let Some((place, &mut mut value)) = places.find(&key) {
                        assert_eq!(last.get(&key).copied(), Some(value));
                        assert_eq!(places.at(place, &key), Some(&mut value));
                        assert_eq!(places.at(place, &[key[0], 8]), None);
                        assert_eq!(places.find_from(place ^ 1, &key), Some(&mut value));
                        found += 1;
                    }
                }
            }
        }
        assert!(found > 5_000 && gone > 1_000, "{found} {gone}");
    }

    /// A tag that others share leads to them at times, but never further.
    #[test]
    fn a_guess_is_where_the_value_is_or_was_nothing() {
        let mut places = Places::<[u64; 2], u64>::new(4096, Seed(9));
        for n in 0..2_000 {
            places.put([n, 0], n);
        }
        let mut right = 0;
        for n in 0..2_000 {
            let found = places.find(&[n, 0]).map(|(place, _)| place);
            let guess = places.guess(&[n, 0]);
            assert!(found.is_none() || guess.is_some());
            right += u64::from(found == guess);
        }
        assert!(right > 1_950, "{right}");
        assert_eq!(
            Places::<[u64; 2], u64>::new(64, Seed(9)).guess(&[1, 0]),
            None
        );
    }
}
