//! Rows by dense index, in chunks that snapshots share: a look is two steps
//! without a search, a change copies one chunk and the list of chunks.

use std::sync::Arc;

/// Rows of a chunk.
const CHUNK: usize = 64;

type Chunk<T> = [Option<Arc<Stamped<T>>>; CHUNK];

/// A row with the table version at which it last changed.
#[derive(Clone, Debug)]
pub struct Stamped<T> {
    /// Version of the snapshot in which this row last changed.
    pub generation: u64,
    /// The row.
    pub row: T,
}

/// Rows by dense index. Cloning is cheap and shares structure.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Arc<Vec<Arc<Chunk<T>>>>,
    live: usize,
}

impl<T> Clone for Slab<T> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
            live: self.live,
        }
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            chunks: Arc::default(),
            live: 0,
        }
    }
}

impl<T> Slab<T> {
    /// The row at `index`, if there is one.
    #[inline]
    pub fn row(&self, index: impl Into<u32>) -> Option<&T> {
        self.stamped(index).map(|stamped| &stamped.row)
    }

    /// The row at `index` with its generation.
    #[inline]
    pub fn stamped(&self, index: impl Into<u32>) -> Option<&Stamped<T>> {
        let index = index.into() as usize;
        self.chunks
            .get(index / CHUNK)?
            .get(index % CHUNK)?
            .as_deref()
    }

    /// The generation of the row at `index`; 0 where there is none.
    pub fn generation(&self, index: impl Into<u32>) -> u64 {
        self.stamped(index).map_or(0, |stamped| stamped.generation)
    }

    /// Puts a row, or takes it away.
    pub(super) fn set(&mut self, index: impl Into<u32>, stamped: Option<Stamped<T>>) {
        let index = index.into() as usize;
        let chunks = Arc::make_mut(&mut self.chunks);
        while chunks.len() <= index / CHUNK {
            chunks.push(Arc::new(std::array::from_fn(|_| None)));
        }
        let chunk = chunks.get_mut(index / CHUNK).map(Arc::make_mut);
        let Some(place) = chunk.and_then(|chunk| chunk.get_mut(index % CHUNK)) else {
            return;
        };
        self.live = self.live + usize::from(stamped.is_some()) - usize::from(place.is_some());
        *place = stamped.map(Arc::new);
    }

    /// All rows with their indices, in index order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter())
            .enumerate()
            .filter_map(|(index, slot)| Some((index as u32, &slot.as_ref()?.row)))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_the_snapshot_before_as_it_was() {
        let row = |n| {
            Some(Stamped {
                generation: n,
                row: n,
            })
        };
        let mut now = Slab::default();
        for index in [3u32, 64, 200] {
            now.set(index, row(u64::from(index)));
        }
        let before = now.clone();
        now.set(64u32, None);
        now.set(65u32, row(9));
        let rows = |slab: &Slab<u64>| slab.iter().map(|(i, &n)| (i, n)).collect::<Vec<_>>();
        assert_eq!(rows(&before), [(3, 3), (64, 64), (200, 200)]);
        assert_eq!(rows(&now), [(3, 3), (65, 9), (200, 200)]);
        assert_eq!((before.len(), now.len()), (3, 3));
        assert_eq!((now.row(64u32), now.generation(65u32)), (None, 9));
        assert_eq!((now.row(255u32), now.row(256u32)), (None, None));
    }
}
