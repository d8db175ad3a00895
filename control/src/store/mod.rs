//! Where the control plane keeps its resources: keys with revisions, changed in
//! transactions, watched. The shape is etcd's, whose place it can take.

mod sqlite;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

pub use sqlite::SqliteStore;

/// A number that grows with every commit.
pub type Revision = u64;

/// A key's new value, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `Vpc/vpc-0123…`
    pub key: String,
    /// JSON; none if the key is deleted.
    pub value: Option<String>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `Vpc/vpc-0123…`
    pub key: String,
    /// JSON.
    pub value: String,
    /// The commit that last changed it.
    pub revision: Revision,
}

/// What one commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The commit.
    pub revision: Revision,
    /// Its changes.
    pub changes: Arc<[Change]>,
}

/// Durable keys.
pub trait Store: Send + Debug {
    /// All keys, in their order.
    ///
    /// # Errors
    /// It cannot be read.
    fn load(&mut self) -> Result<Vec<Entry>, StoreError>;

    /// Makes all of these changes, or none. They are on disk when it returns.
    ///
    /// # Errors
    /// It cannot be written; nothing has changed.
    fn commit(&mut self, changes: &[Change]) -> Result<Revision, StoreError>;

    /// Every commit from now on.
    fn watch(&mut self) -> Receiver<Event>;
}

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("state file {file}: {why}")]
pub struct StoreError {
    /// The file.
    pub file: String,
    /// What is wrong, and what to do.
    pub why: String,
}
