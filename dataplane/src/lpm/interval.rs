//! Sorted elementary intervals: where each begins and the value that holds
//! from there to the next one's start. A lookup is one binary search.

use super::{Key, NO_MATCH};

/// A longest-prefix-match table from addresses to `u32` values. Immutable:
/// a change builds another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lpm<K> {
    /// Ascending; the first is the lowest address.
    starts: Vec<K>,
    /// `values[i]` holds from `starts[i]` on.
    values: Vec<u32>,
}

impl<K: Key> Default for Lpm<K> {
    fn default() -> Self {
        Self {
            starts: vec![K::MIN],
            values: vec![NO_MATCH],
        }
    }
}

impl<K: Key> Lpm<K> {
    /// Builds from (address, length, value). Of equal prefixes the last counts;
    /// values must not be [`NO_MATCH`].
    pub fn build(routes: impl IntoIterator<Item = (K, u8, u32)>) -> Self {
        let mut routes: Vec<(K, u8, u32)> = routes
            .into_iter()
            .map(|(address, len, value)| (address.first(len.min(K::BITS)), len.min(K::BITS), value))
            .collect();
        // Stable, so that the last of equal prefixes stays last.
        routes.sort_by_key(|&(address, len, _)| (address, len));
        let mut table = Self::default();
        // Prefixes that cover the point reached, outermost first.
        let mut open: Vec<(K, u32)> = Vec::new();
        for (address, len, value) in routes {
            table.close_before(&mut open, Some(address));
            if let Some(innermost) = open.last_mut()
                && table.starts.last() == Some(&address)
                && innermost.0 == address.last(len)
            {
                innermost.1 = value; // an equal prefix again
            } else {
                open.push((address.last(len), value));
            }
            table.put(address, value);
        }
        table.close_before(&mut open, None);
        table
    }

    /// Ends every open prefix whose last address lies before `limit`.
    fn close_before(&mut self, open: &mut Vec<(K, u32)>, limit: Option<K>) {
        while let Some(&(last, _)) = open.last() {
            if limit.is_some_and(|limit| last >= limit) {
                break;
            }
            open.pop();
            if let Some(next) = last.next() {
                self.put(next, open.last().map_or(NO_MATCH, |&(_, value)| value));
            }
        }
    }

    /// `value` holds from `start` on.
    fn put(&mut self, start: K, value: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    fn slot(&self, key: K) -> usize {
        self.starts
            .partition_point(|&start| start <= key)
            .saturating_sub(1)
    }

    /// The value of the longest prefix that covers `key`, or [`NO_MATCH`].
    pub fn lookup(&self, key: K) -> u32 {
        self.values.get(self.slot(key)).copied().unwrap_or(NO_MATCH)
    }

    /// Looks up every key; `out[i]` is the answer for `keys[i]`. Surplus places
    /// on either side are left alone.
    pub fn lookup_bulk(&self, keys: &[K], out: &mut [u32]) {
        for (key, out) in keys.iter().zip(out) {
            *out = self.lookup(*key);
        }
    }

    /// The elementary interval around `key`: first and last address with the
    /// same answer, and that answer.
    pub fn interval(&self, key: K) -> (K, K, u32) {
        let slot = self.slot(key);
        let first = self.starts.get(slot).copied().unwrap_or(K::MIN);
        let last = self.starts.get(slot + 1).copied();
        let value = self.values.get(slot).copied().unwrap_or(NO_MATCH);
        (first, last.map_or(K::MAX, K::prev), value)
    }

    /// Number of elementary intervals.
    pub fn intervals(&self) -> usize {
        self.starts.len()
    }

    /// Heap bytes in use.
    pub fn memory(&self) -> usize {
        self.starts.capacity() * size_of::<K>() + self.values.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::linear;
    use super::*;

    fn v4(text: &str, value: u32) -> (u32, u8, u32) {
        let prefix: crate::addr::Prefix = text.parse().unwrap();
        let std::net::IpAddr::V4(address) = prefix.address() else {
            panic!("IPv4 only")
        };
        (u32::from(address), prefix.len(), value)
    }

    #[test]
    fn nested_and_sibling_prefixes() {
        let table = Lpm::build([
            v4("0.0.0.0/0", 0),
            v4("10.0.0.0/8", 1),
            v4("10.0.0.0/16", 2),
            v4("10.0.255.0/24", 3),
            v4("10.1.0.0/16", 4),
            v4("255.255.255.255/32", 5),
        ]);
        for (address, value) in [
            ("9.255.255.255", 0),
            ("10.0.0.0", 2),
            ("10.0.254.255", 2),
            ("10.0.255.0", 3),
            ("10.1.0.0", 4),
            ("10.2.0.0", 1),
            ("11.0.0.0", 0),
            ("255.255.255.254", 0),
            ("255.255.255.255", 5),
        ] {
            let key = u32::from(address.parse::<std::net::Ipv4Addr>().unwrap());
            assert_eq!(table.lookup(key), value, "{address}");
        }
        assert_eq!(table.intervals(), 7);
    }

    /// Prefixes that nest, touch and repeat, in a small corner of the space.
    fn routes<K: Key + From<u8> + std::ops::Shl<u32, Output = K>>()
    -> impl Strategy<Value = Vec<(K, u8, u32)>> {
        let bits = K::BITS;
        prop::collection::vec((any::<u8>(), 0..=8u8, 0..100u32, any::<bool>()), 0..40).prop_map(
            move |raw| {
                raw.into_iter()
                    .map(|(top, len, value, low)| {
                        if low {
                            (K::from(top), bits - 8 + len, value)
                        } else {
                            (K::from(top) << u32::from(bits - 8), len, value)
                        }
                    })
                    .collect()
            },
        )
    }

    fn dedup<K: Key>(routes: &[(K, u8, u32)]) -> Vec<(K, u8, u32)> {
        let mut map = std::collections::BTreeMap::new();
        for &(address, len, value) in routes {
            map.insert((address.first(len), len), value);
        }
        map.into_iter()
            .map(|((address, len), value)| (address, len, value))
            .collect()
    }

    proptest! {
        #[test]
        fn agrees_with_linear_v4(routes in routes::<u32>(), tops in prop::collection::vec(any::<u8>(), 20)) {
            let (table, oracle) = (Lpm::build(routes.clone()), dedup(&routes));
            let edges = routes.iter().flat_map(|&(a, l, _)| [a.first(l), a.last(l), a.first(l).wrapping_sub(1), a.last(l).wrapping_add(1)]);
            for key in edges.chain(tops.iter().flat_map(|&t| [u32::from(t), u32::from(t) << 24])) {
                prop_assert_eq!(table.lookup(key), linear::lookup(&oracle, key));
                let (first, last, value) = table.interval(key);
                prop_assert!(first <= key && key <= last);
                prop_assert_eq!(value, table.lookup(first));
                prop_assert_eq!(value, table.lookup(last));
            }
        }

        #[test]
        fn agrees_with_linear_v6(routes in routes::<u128>()) {
            let (table, oracle) = (Lpm::build(routes.clone()), dedup(&routes));
            for &(a, l, _) in &routes {
                for key in [a.first(l), a.last(l), a.first(l).wrapping_sub(1), a.last(l).wrapping_add(1)] {
                    prop_assert_eq!(table.lookup(key), linear::lookup(&oracle, key));
                }
            }
        }
    }
}
