//! Publishing a snapshot to the workers, without a lock on their side.
//!
//! A worker loads the current snapshot once per batch. Replaced snapshots wait
//! in `retired` until no worker holds them, so that freeing one never happens
//! on the packet path.

use super::Snapshot;
use crate::sync::{Arc, ArcSwap, Guard, Mutex, MutexGuard};

/// The current snapshot, shared by the control plane and all workers.
pub type Tables = Published<Snapshot>;

/// A value that one thread replaces and others read.
#[derive(Debug)]
pub struct Published<T> {
    current: ArcSwap<T>,
    retired: Mutex<Vec<Arc<T>>>,
}

impl<T: Default> Default for Published<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Published<T> {
    /// Starts with `value`.
    pub fn new(value: T) -> Self {
        Self {
            current: ArcSwap::from_pointee(value),
            retired: Mutex::new(Vec::new()),
        }
    }

    /// The current value, for one batch. Wait-free.
    pub fn load(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    /// The current value, to keep.
    pub fn snapshot(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Makes `value` the one that every batch from now on sees. Called by
    /// the control plane only; frees what no worker holds any more.
    pub fn publish(&self, value: T) {
        let old = self.current.swap(Arc::new(value));
        let mut retired = self.retired();
        retired.push(old);
        retired.retain(|value| Arc::strong_count(value) > 1);
    }

    fn retired(&self) -> MutexGuard<'_, Vec<Arc<T>>> {
        match self.retired.lock() {
            Ok(guard) => guard,
            // Nothing is half done between two lines above.
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_snapshot_is_freed_by_the_publisher() {
        let tables = Tables::default();
        let held = tables.snapshot();
        let weak = Arc::downgrade(&held);
        tables.publish(Snapshot {
            version: 1,
            ..Snapshot::default()
        });
        drop(held);
        assert!(
            weak.upgrade().is_some(),
            "dropping the reader's handle frees nothing"
        );
        tables.publish(Snapshot {
            version: 2,
            ..Snapshot::default()
        });
        assert!(weak.upgrade().is_none());
        assert_eq!(tables.load().version, 2);
    }
}
