//! A map by key that versions of the model share, dense while it is small: most
//! route tables have fifty routes, most subnets a few interfaces, and nodes of a
//! persistent tree are half empty then.

use std::cmp::Ordering;
use std::fmt;
use std::iter::once;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

/// The most entries that lie in one piece, which a change copies.
const FEW: usize = 128;
/// At so few a tree becomes one piece again; well below [`FEW`], so that a map of
/// about that size does not go back and forth.
const FEW_AGAIN: usize = FEW / 2;

/// A map, sorted by key. Cloning is cheap and shares memory.
#[derive(Clone)]
pub struct Sorted<K, V> {
    held: Held<K, V>,
}

#[derive(Clone)]
enum Held<K, V> {
    /// By key.
    Few(Arc<[(K, V)]>),
    Many(OrdMap<K, V>),
}

/// How two maps differ at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference<'a, K, V> {
    /// Only the second has it.
    Added(&'a K, &'a V),
    /// Only the first has it.
    Removed(&'a K, &'a V),
    /// Both have it, with these values.
    Changed(&'a K, &'a V, &'a V),
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self {
            held: Held::Few(Arc::new([])),
        }
    }
}

impl<K: Ord + Clone, V: Clone> Sorted<K, V> {
    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        match &self.held {
            Held::Few(all) => {
                let place = place(all, key).ok()?;
                all.get(place).map(|(_, value)| value)
            }
            Held::Many(all) => all.get(key),
        }
    }

    /// Whether there is such a key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        match &self.held {
            Held::Few(all) => all.len(),
            Held::Many(all) => all.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        // One of the two is empty.
        let (few, many) = match &self.held {
            Held::Few(all) => (Some(all), None),
            Held::Many(all) => (None, Some(all)),
        };
        let few = few.into_iter().flat_map(|all| all.iter());
        let few = few.map(|(key, value)| (key, value));
        few.chain(many.into_iter().flat_map(|all| all.iter()))
    }

    /// All keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values by key.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Puts a value; returns the one that was there. Logarithmic, but for copying
    /// a small map.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let all = match &mut self.held {
            Held::Few(all) => all,
            Held::Many(all) => return all.insert(key, value),
        };
        let place = match place(all, &key) {
            Ok(place) => {
                let held = Arc::make_mut(all).get_mut(place)?;
                return Some(std::mem::replace(&mut held.1, value));
            }
            Err(place) => place,
        };
        let (before, after) = all.split_at(place);
        let (before, after) = (before.iter().cloned(), after.iter().cloned());
        let next = before.chain(once((key, value))).chain(after);
        self.held = match all.len() < FEW {
            true => Held::Few(next.collect()),
            false => Held::Many(next.collect()),
        };
        None
    }

    /// Takes a key away; returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let gone = match &mut self.held {
            Held::Few(all) => {
                let place = place(all, key).ok()?;
                let (before, rest) = all.split_at(place);
                let ((_, gone), after) = rest.split_first()?;
                let gone = gone.clone();
                let kept = before.iter().chain(after).cloned();
                *all = kept.collect();
                return Some(gone);
            }
            Held::Many(all) => all.remove(key)?,
        };
        if self.len() <= FEW_AGAIN {
            let all = self.iter().map(|(key, value)| (key.clone(), value.clone()));
            // Through a list of its own: a tree's entries are not counted beforehand.
            let all: Vec<(K, V)> = all.collect();
            self.held = Held::Few(all.into());
        }
        Some(gone)
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> Sorted<K, V> {
    /// What has to be done to this map to make it `other`, by key. What the two
    /// share is not looked at.
    pub fn diff<'a>(&'a self, other: &'a Self) -> Vec<Difference<'a, K, V>> {
        match (&self.held, &other.held) {
            (Held::Few(one), Held::Few(two)) if Arc::ptr_eq(one, two) => Vec::new(),
            (Held::Many(one), Held::Many(two)) => one.diff(two).map(Into::into).collect(),
            _ => merged(self.iter(), other.iter()),
        }
    }
}

fn place<K: Ord, V>(all: &[(K, V)], key: &K) -> Result<usize, usize> {
    all.binary_search_by(|(held, _)| held.cmp(key))
}

/// The differences of two sequences, each sorted by key.
fn merged<'a, K: Ord, V: PartialEq>(
    one: impl Iterator<Item = (&'a K, &'a V)>,
    two: impl Iterator<Item = (&'a K, &'a V)>,
) -> Vec<Difference<'a, K, V>> {
    let (mut one, mut two) = (one.peekable(), two.peekable());
    let mut found = Vec::new();
    loop {
        let order = match (one.peek(), two.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let old = one.next_if(|_| order.is_le());
        let new = two.next_if(|_| order.is_ge());
        match (old, new) {
            (Some((key, old)), Some((_, new))) if old != new => {
                found.push(Difference::Changed(key, old, new));
            }
            (Some(_), Some(_)) | (None, None) => {}
            (Some((key, old)), None) => found.push(Difference::Removed(key, old)),
            (None, Some((key, new))) => found.push(Difference::Added(key, new)),
        }
    }
}

impl<'a, K, V> From<DiffItem<'a, 'a, K, V>> for Difference<'a, K, V> {
    fn from(item: DiffItem<'a, 'a, K, V>) -> Self {
        match item {
            DiffItem::Add(key, new) => Self::Added(key, new),
            DiffItem::Remove(key, old) => Self::Removed(key, old),
            DiffItem::Update { old, new } => Self::Changed(new.0, old.1, new.1),
        }
    }
}

impl<K: Ord + Clone + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for Sorted<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for Sorted<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.diff(other).is_empty()
    }
}

impl<K: Ord + Clone, V: Clone + Eq> Eq for Sorted<K, V> {}

/// Of equal keys the last counts.
impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for Sorted<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut all: Vec<(K, V)> = entries.into_iter().collect();
        // Stable: so the last of equal ones comes first.
        all.reverse();
        all.sort_by(|one, two| one.0.cmp(&two.0));
        all.dedup_by(|next, held| next.0 == held.0);
        let held = match all.len() <= FEW {
            true => Held::Few(all.into()),
            false => Held::Many(all.into_iter().collect()),
        };
        Self { held }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn entries(map: &Sorted<u16, u8>) -> Vec<(u16, u8)> {
        map.iter().map(|(key, value)| (*key, *value)).collect()
    }

    /// Grows beyond one piece and shrinks again, beside a map of the library's;
    /// versions before are left as they were, and the differences lead from one to
    /// the next.
    #[test]
    fn it_is_a_map_at_every_size() {
        let mut map = Sorted::default();
        let mut model = BTreeMap::new();
        let mut forms = [0, 0];
        let random = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        for step in 0..12_000u64 {
            let word = random(step);
            let key = (word % 400) as u16;
            // It grows for a while, then shrinks.
            let grows = (step / 2_000).is_multiple_of(2);
            let (before, was) = (map.clone(), model.clone());
            if grows || word >> 13 & 15 == 0 {
                let value = (word >> 16) as u8;
                assert_eq!(map.insert(key, value), model.insert(key, value));
            } else {
                assert_eq!(map.remove(&key), model.remove(&key));
            }
            assert_eq!(map.get(&key), model.get(&key));
            assert_eq!(map.len(), model.len());
            forms[usize::from(matches!(map.held, Held::Many(_)))] += 1;
            let expected: Vec<(u16, u8)> = model.iter().map(|(k, v)| (*k, *v)).collect();
            let kept: Vec<(u16, u8)> = was.iter().map(|(k, v)| (*k, *v)).collect();
            assert_eq!((entries(&map), entries(&before)), (expected, kept));
            assert!(map.keys().rev().eq(model.keys().rev()));
            let (old, new) = (was.get(&key), model.get(&key));
            let difference = match (old, new) {
                (None, Some(new)) => Some(Difference::Added(&key, new)),
                (Some(old), None) => Some(Difference::Removed(&key, old)),
                (Some(old), Some(new)) if old != new => Some(Difference::Changed(&key, old, new)),
                _ => None,
            };
            assert_eq!(before.diff(&map), Vec::from_iter(difference));
            assert_eq!(before == map, difference.is_none());
        }
        assert!(forms.iter().all(|times| *times > 500), "{forms:?}");
    }

    /// One is a tree, because it was larger once, the other one piece.
    #[test]
    fn equal_maps_are_equal_however_they_lie() {
        let some: Sorted<u16, u8> = (0..100).map(|key| (key, 1)).collect();
        let mut other: Sorted<u16, u8> = (0..200).map(|key| (key, 1)).collect();
        assert_eq!(some.diff(&other).len(), 100);
        for key in 100..200 {
            other.remove(&key);
        }
        assert!(matches!(some.held, Held::Few(_)) && matches!(other.held, Held::Many(_)));
        assert_eq!(some, other);
        other.insert(7, 2);
        assert_eq!(some.diff(&other), [Difference::Changed(&7, &1, &2)]);
        assert_ne!(some, other);
    }

    #[test]
    fn of_equal_keys_the_last_counts() {
        let map: Sorted<u16, u8> = [(3, 1), (1, 2), (3, 3)].into_iter().collect();
        assert_eq!(entries(&map), [(1, 2), (3, 3)]);
        let many: Sorted<u16, u8> = (0..300).map(|n| (n % 150, (n / 150) as u8)).collect();
        assert!(many.len() == 150 && many.values().all(|value| *value == 1));
    }
}
