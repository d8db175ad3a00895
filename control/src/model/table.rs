//! One kind of resource: by id, with a dense row for the data plane.

use std::sync::Arc;

use imbl::OrdMap;

use super::{Id, Resource};

/// All resources of one kind. Cloning is cheap and shares structure.
#[derive(Clone, Debug)]
pub struct Table<R: Resource> {
    entries: OrdMap<R::Id, Entry<R>>,
    /// Rows given out so far. None is given out twice: connections in the data
    /// plane name interfaces by row, and must not pass to a newcomer.
    rows: u32,
}

#[derive(Debug)]
struct Entry<R> {
    row: u32,
    resource: Arc<R>,
}

impl<R> Clone for Entry<R> {
    fn clone(&self) -> Self {
        Self {
            row: self.row,
            resource: self.resource.clone(),
        }
    }
}

impl<R: Resource> Default for Table<R> {
    fn default() -> Self {
        Self {
            entries: OrdMap::new(),
            rows: 0,
        }
    }
}

impl<R: Resource> Table<R> {
    /// The resource with this id.
    pub fn get(&self, id: &R::Id) -> Option<&Arc<R>> {
        self.entries.get(id).map(|entry| &entry.resource)
    }

    /// Its row in the data plane.
    pub fn row(&self, id: &R::Id) -> Option<u32> {
        self.entries.get(id).map(|entry| entry.row)
    }

    /// All resources by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<R>> {
        self.entries.values().map(|entry| &entry.resource)
    }

    /// Number of resources.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts a resource; a new one gets the next row.
    pub(super) fn put(&mut self, resource: Arc<R>) {
        let id = resource.id().clone();
        let row = self.row(&id).unwrap_or_else(|| {
            self.rows += 1;
            self.rows - 1
        });
        self.entries.insert(id, Entry { row, resource });
    }

    pub(super) fn remove(&mut self, id: &R::Id) -> Option<Arc<R>> {
        Some(self.entries.remove(id)?.resource)
    }

    pub(super) fn row_of_text(&self, text: &Arc<str>) -> Option<u32> {
        self.row(&R::Id::from_text(text.clone()))
    }
}
