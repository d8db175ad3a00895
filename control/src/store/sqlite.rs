//! Keys in an SQLite file (WAL, synchronous=FULL: a commit is on disk before it is
//! acknowledged).

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rusqlite::{Connection, ErrorCode, params};

use super::{Change, Entry, Event, Revision, Store, StoreError};

/// What makes each version of the file's schema out of the one before.
const MIGRATIONS: &[&str] = &[
    "CREATE TABLE entry (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) \
     WITHOUT ROWID;
     CREATE TABLE head (revision INTEGER NOT NULL);
     INSERT INTO head VALUES (0);",
];

const READ_ONLY: &str = "it is read-only; allow writing, and start again";

/// A store in one file, for one process at a time.
#[derive(Debug)]
pub struct SqliteStore {
    file: PathBuf,
    connection: Connection,
    /// The connection is to a copy, which nobody will find again.
    read_only: bool,
    watchers: Vec<Sender<Event>>,
}

impl SqliteStore {
    /// Opens a file, makes it if it does not exist, and brings it to this
    /// version's schema. One that cannot be written can still be read.
    ///
    /// # Errors
    /// It is no such file, a newer vpclab made it, or another process has it.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        let connection = match Connection::open(file) {
            Ok(connection) if is_readonly(&connection) => return Self::open_copy(file),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
                return match file.exists() {
                    true => Self::open_copy(file),
                    false => Err(explain(file, &error)),
                };
            }
            other => other.map_err(|error| explain(file, &error))?,
        };
        Self::with(file, connection, false)
    }

    /// Opens a copy of a file that cannot be written: even reading it may need to
    /// write first, after a crash.
    fn open_copy(file: &Path) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError {
            file: file.display().to_string(),
            why: format!("it is read-only, and cannot be copied: {error}"),
        };
        let directory = std::env::temp_dir().join(format!("vpclab-state-{}", std::process::id()));
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(failed)?;
        let copy = directory.join("state.db");
        let opened = std::fs::copy(file, &copy).map_err(failed).and_then(|_| {
            let mut wal = file.as_os_str().to_owned();
            wal.push("-wal");
            if Path::new(&wal).exists() {
                std::fs::copy(&wal, directory.join("state.db-wal")).map_err(failed)?;
            }
            let connection = Connection::open(&copy).map_err(|error| explain(file, &error))?;
            Self::with(file, connection, true)
        });
        // What is open stays readable without its name.
        let _ = std::fs::remove_dir_all(&directory);
        opened
    }

    fn with(file: &Path, mut connection: Connection, read_only: bool) -> Result<Self, StoreError> {
        // One process: no shared memory beside the file, and a clear refusal of
        // a second one.
        let prepare = |connection: &Connection| {
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            let mode = "journal_mode";
            connection.pragma_update_and_check(None, mode, "WAL", |row| row.get::<_, String>(0))
        };
        prepare(&connection).map_err(|error| explain(file, &error))?;
        migrate(file, &mut connection)?;
        Ok(Self {
            file: file.to_owned(),
            connection,
            read_only,
            watchers: Vec::new(),
        })
    }
}

fn is_readonly(connection: &Connection) -> bool {
    connection.is_readonly("main").unwrap_or(false)
}

fn migrate(file: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    let version: rusqlite::Result<usize> =
        connection.pragma_query_value(None, "user_version", |row| row.get(0));
    let version = version.map_err(|error| explain(file, &error))?;
    let missing = MIGRATIONS.get(version..).ok_or_else(|| StoreError {
        file: file.display().to_string(),
        why: format!(
            "a newer vpclab made it: its schema has version {version}, this one knows {}",
            MIGRATIONS.len()
        ),
    })?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut run = || {
        let tx = connection.transaction()?;
        for step in missing {
            tx.execute_batch(step)?;
        }
        tx.pragma_update(None, "user_version", MIGRATIONS.len())?;
        tx.commit()
    };
    run().map_err(|error: rusqlite::Error| explain(file, &error))
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Vec<Entry>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Entry>> {
            let mut query = self
                .connection
                .prepare("SELECT key, value, revision FROM entry ORDER BY key")?;
            let rows = query.query_map([], |row| {
                Ok(Entry {
                    key: row.get(0)?,
                    value: row.get(1)?,
                    revision: row.get(2)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|error| explain(&self.file, &error))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Revision, StoreError> {
        if self.read_only {
            return Err(StoreError {
                file: self.file.display().to_string(),
                why: READ_ONLY.to_owned(),
            });
        }
        let mut write = || {
            let tx = self.connection.transaction()?;
            let revision: Revision = tx
                .prepare_cached("UPDATE head SET revision = revision + 1 RETURNING revision")?
                .query_row([], |row| row.get(0))?;
            for change in changes {
                match &change.value {
                    Some(value) => tx
                        .prepare_cached("INSERT OR REPLACE INTO entry VALUES (?1, ?2, ?3)")?
                        .execute(params![change.key, value, revision])?,
                    None => tx
                        .prepare_cached("DELETE FROM entry WHERE key = ?1")?
                        .execute(params![change.key])?,
                };
            }
            tx.commit()?;
            Ok(revision)
        };
        let revision = write().map_err(|error: rusqlite::Error| explain(&self.file, &error))?;
        if !self.watchers.is_empty() {
            let event = Event {
                revision,
                changes: Arc::from(changes),
            };
            self.watchers
                .retain(|watcher| watcher.send(event.clone()).is_ok());
        }
        Ok(revision)
    }

    fn watch(&mut self) -> Receiver<Event> {
        let (sender, receiver) = channel();
        self.watchers.push(sender);
        receiver
    }
}

/// An error of SQLite's with what to do about it.
fn explain(file: &Path, error: &rusqlite::Error) -> StoreError {
    let why = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full; free space and try again".to_owned(),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => READ_ONLY.to_owned(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another vpclab has it open; end that one, or give another file".to_owned()
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "it is no state file of vpclab's, or is damaged; give another".to_owned()
        }
        Some(ErrorCode::CannotOpen) => {
            "it cannot be opened; is its directory there, and may you write to it?".to_owned()
        }
        _ => error.to_string(),
    };
    StoreError {
        file: file.display().to_string(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("vpclab-store-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("state.db")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn put(key: &str, value: &str) -> Change {
        Change {
            key: key.into(),
            value: Some(value.into()),
        }
    }

    #[test]
    fn what_was_committed_is_there_again_with_its_revision() {
        let scratch = Scratch::new("again");
        let mut store = SqliteStore::open(&scratch.file()).unwrap();
        assert_eq!(store.load().unwrap(), []);
        let events = store.watch();
        assert_eq!(store.commit(&[put("b", "1"), put("a", "2")]).unwrap(), 1);
        let delete = Change {
            key: "b".into(),
            value: None,
        };
        assert_eq!(store.commit(&[put("c", "3"), delete]).unwrap(), 2);
        let seen: Vec<_> = events
            .try_iter()
            .map(|event| (event.revision, event.changes.len()))
            .collect();
        assert_eq!(seen, [(1, 2), (2, 2)]);
        drop(store);
        let mut store = SqliteStore::open(&scratch.file()).unwrap();
        let keys = |entries: Vec<Entry>| -> Vec<_> {
            entries
                .into_iter()
                .map(|e| (e.key, e.value, e.revision))
                .collect()
        };
        let expected = [("a".into(), "2".into(), 1), ("c".into(), "3".into(), 2)];
        assert_eq!(keys(store.load().unwrap()), expected);
        assert_eq!(store.commit(&[put("a", "4")]).unwrap(), 3);
    }

    #[test]
    fn files_that_cannot_be_used_say_why() {
        let scratch = Scratch::new("why");
        let why = |file: &Path| SqliteStore::open(file).unwrap_err().to_string();
        let held = SqliteStore::open(&scratch.file()).unwrap();
        assert!(
            why(&scratch.file()).contains("another vpclab"),
            "{}",
            why(&scratch.file())
        );
        drop(held);
        let other = scratch.0.join("other");
        std::fs::write(
            &other,
            "no database at all, but long enough to look at".repeat(100),
        )
        .unwrap();
        assert!(why(&other).contains("no state file"));
        assert!(why(&scratch.0.join("none/state.db")).contains("directory"));
        let newer = Connection::open(scratch.file()).unwrap();
        newer.pragma_update(None, "user_version", 99).unwrap();
        drop(newer);
        assert!(why(&scratch.file()).contains("newer vpclab"));
    }
}
