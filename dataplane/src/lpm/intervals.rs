//! Prefixes → sorted elementary intervals: where each begins, and the value that
//! holds from there to the next one's start. Every structure is built from them.

use super::{Key, NO_MATCH};

/// A whole address space (or a stretch of it) cut into elementary intervals;
/// neighbours differ in value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intervals<K> {
    /// (start, value), ascending; never empty.
    cells: Vec<(K, u32)>,
}

impl<K: Key> Intervals<K> {
    /// From (address, length, value), the whole space. Of equal prefixes the last
    /// counts; values must not be [`NO_MATCH`].
    pub fn build(routes: impl IntoIterator<Item = (K, u8, u32)>) -> Self {
        let mut routes: Vec<(K, u8, u32)> = routes
            .into_iter()
            .map(|(address, len, value)| (address.first(len), len.min(K::BITS), value))
            .collect();
        // Stable, so that the last of equal prefixes stays last.
        if !routes.is_sorted_by_key(|&(address, len, _)| (address, len)) {
            routes.sort_by_key(|&(address, len, _)| (address, len));
        }
        Self::stretch((K::MIN, K::MAX), NO_MATCH, routes)
    }

    /// The stretch from `span.0` to `span.1`, where `background` holds unless one
    /// of `routes` covers. These lie within the span, sorted by address and length.
    pub fn stretch(
        span: (K, K),
        background: u32,
        routes: impl IntoIterator<Item = (K, u8, u32)>,
    ) -> Self {
        let mut built = Self {
            cells: vec![(span.0, background)],
        };
        // Prefixes that cover the point reached, outermost first.
        let mut open: Vec<(K, u32)> = Vec::new();
        for (address, len, value) in routes {
            built.close_before(&mut open, background, Some(address), span.1);
            let last = address.last(len);
            match open.last_mut() {
                // An equal prefix again.
                Some(innermost) if innermost.0 == last && built.starts_at(address) => {
                    innermost.1 = value;
                }
                _ => open.push((last, value)),
            }
            built.put(address, value);
        }
        built.close_before(&mut open, background, None, span.1);
        built
    }

    /// Ends every open prefix whose last address lies before `limit`.
    fn close_before(&mut self, open: &mut Vec<(K, u32)>, ground: u32, limit: Option<K>, end: K) {
        while let Some(&(last, _)) = open.last() {
            if limit.is_some_and(|limit| last >= limit) {
                break;
            }
            open.pop();
            if let Some(next) = last.next().filter(|next| *next <= end) {
                self.put(next, open.last().map_or(ground, |&(_, value)| value));
            }
        }
    }

    fn starts_at(&self, address: K) -> bool {
        self.cells
            .last()
            .is_some_and(|&(start, _)| start == address)
    }

    /// `value` holds from `start` on.
    fn put(&mut self, start: K, value: u32) {
        if self.starts_at(start) {
            self.cells.pop();
        }
        if self.cells.last().is_none_or(|&(_, held)| held != value) {
            self.cells.push((start, value));
        }
    }

    /// (start, value), ascending.
    pub fn cells(&self) -> &[(K, u32)] {
        &self.cells
    }

    /// Number of intervals.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether one value holds everywhere.
    pub fn is_empty(&self) -> bool {
        self.cells.len() <= 1
    }

    /// The largest value, [`NO_MATCH`] aside.
    pub fn value_max(&self) -> u32 {
        let values = self.cells.iter().map(|&(_, value)| value);
        values.filter(|&value| value != NO_MATCH).max().unwrap_or(0)
    }

    /// The interval around `key`: first and last address, and the value.
    pub fn around(&self, key: K) -> (K, K, u32) {
        let after = self.cells.partition_point(|&(start, _)| start <= key);
        let (first, value) = match after.checked_sub(1).and_then(|at| self.cells.get(at)) {
            Some(&cell) => cell,
            None => (K::MIN, NO_MATCH),
        };
        let last = self
            .cells
            .get(after)
            .map_or(K::MAX, |&(next, _)| next.prev());
        (first, last, value)
    }
}
