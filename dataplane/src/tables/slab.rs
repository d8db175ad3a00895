//! A persistent array of rows: a change copies a path, not the array.

use std::sync::Arc;

use imbl::Vector;

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
    slots: Vector<Option<Arc<Stamped<T>>>>,
    live: usize,
}

impl<T> Clone for Slab<T> {
    fn clone(&self) -> Self {
        Self {
            slots: self.slots.clone(),
            live: self.live,
        }
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            slots: Vector::new(),
            live: 0,
        }
    }
}

impl<T> Slab<T> {
    /// The row at `index`, if there is one.
    pub fn row(&self, index: impl Into<u32>) -> Option<&T> {
        self.stamped(index).map(|stamped| &stamped.row)
    }

    /// The row at `index` with its generation.
    pub fn stamped(&self, index: impl Into<u32>) -> Option<&Stamped<T>> {
        self.slots.get(index.into() as usize)?.as_deref()
    }

    /// The generation of the row at `index`; 0 where there is none.
    pub fn generation(&self, index: impl Into<u32>) -> u64 {
        self.stamped(index).map_or(0, |stamped| stamped.generation)
    }

    /// Puts a row, or takes it away.
    pub(super) fn set(&mut self, index: impl Into<u32>, stamped: Option<Stamped<T>>) {
        let index = index.into() as usize;
        while self.slots.len() <= index {
            self.slots.push_back(None);
        }
        let was = self.slots.get(index).is_some_and(Option::is_some);
        self.live = self.live + usize::from(stamped.is_some()) - usize::from(was);
        self.slots.set(index, stamped.map(Arc::new));
    }

    /// All rows with their indices, in index order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.slots
            .iter()
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
