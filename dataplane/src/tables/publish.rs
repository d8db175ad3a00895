//! Publishing a snapshot to the workers, without a lock on their side.
//!
//! A worker loads the current snapshot once per batch. Replaced snapshots wait
//! in `retired` until no worker holds them, so that freeing one never happens
//! on the packet path.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::Snapshot;

/// The current snapshot, shared by the control plane and all workers.
#[derive(Debug, Default)]
pub struct Tables {
    current: ArcSwap<Snapshot>,
    retired: Mutex<Vec<Arc<Snapshot>>>,
}

impl Tables {
    /// Starts with `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        Self {
            current: ArcSwap::from_pointee(snapshot),
            retired: Mutex::default(),
        }
    }

    /// The current snapshot, for one batch. Wait-free.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The current snapshot, to keep.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Makes `snapshot` the one that every batch from now on sees. Called by
    /// the control plane only; frees what no worker holds any more.
    pub fn publish(&self, snapshot: Snapshot) {
        let old = self.current.swap(Arc::new(snapshot));
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.push(old);
        retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
    }
}

#[cfg(test)]
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
