//! Where a running lab keeps its sockets, state and logs.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, access, geteuid};
use serde::{Deserialize, Serialize};

use super::{Context, HostError};

/// Longest name of a lab: with the directory it must fit a socket address.
const NAME_LEN_MAX: usize = 40;

/// The directory of one lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeDir {
    base: PathBuf,
    name: String,
}

/// What `state.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Name of the lab.
    pub lab: String,
    /// Topology file it was started from, as an absolute path.
    pub topology: PathBuf,
    /// The text of that file.
    pub text: String,
    /// Version of vpclab that started it.
    pub version: String,
}

/// The directory that holds this user's labs.
pub fn base_dir() -> PathBuf {
    if geteuid().is_root() {
        return PathBuf::from("/run/vpclab");
    }
    let own = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| access(dir, AccessFlags::W_OK).is_ok());
    own.map_or_else(
        || PathBuf::from(format!("/tmp/vpclab-{}", geteuid())),
        |dir| dir.join("vpclab"),
    )
}

/// The labs that have a directory, running or not, by name.
pub fn labs() -> Result<Vec<RuntimeDir>, HostError> {
    let base = base_dir();
    let entries = match fs::read_dir(&base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context(base.display())?,
    };
    let mut labs: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .map(|name| RuntimeDir {
            base: base.clone(),
            name,
        })
        .collect();
    labs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(labs)
}

impl RuntimeDir {
    /// The directory of lab `name`, which need not exist.
    pub fn new(name: &str) -> Result<Self, HostError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > NAME_LEN_MAX || !name.chars().all(fine) {
            return Err(HostError::new(format!("`{name}` cannot name a lab"))
                .fix("letters, digits, `-`, `_` and `.`, at most 40 of them"));
        }
        if name.starts_with('.') {
            return Err(HostError::new(format!("`{name}` cannot name a lab"))
                .fix("begin with a letter or digit"));
        }
        Ok(Self {
            base: base_dir(),
            name: name.to_owned(),
        })
    }

    /// The lab at this path, as the lab's own processes are told.
    pub fn at(path: &Path) -> Result<Self, HostError> {
        match (path.parent(), path.file_name().and_then(|n| n.to_str())) {
            (Some(base), Some(name)) => Ok(Self {
                base: base.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(HostError::new(format!(
                "{} is no lab directory",
                path.display()
            ))),
        }
    }

    /// Name of the lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory.
    pub fn path(&self) -> PathBuf {
        self.base.join(&self.name)
    }

    /// Socket of the lab's init.
    pub fn init_socket(&self) -> PathBuf {
        self.path().join("init.sock")
    }

    /// Socket of the lab's daemon.
    pub fn control_socket(&self) -> PathBuf {
        self.path().join("control.sock")
    }

    /// What the lab's own processes print.
    pub fn log(&self) -> PathBuf {
        self.path().join("lab.log")
    }

    /// What a host's command prints.
    pub fn command_log(&self, key: &str) -> PathBuf {
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        };
        let file: String = key.chars().map(safe).collect();
        self.path().join(format!("run-{file}.log"))
    }

    /// The host's `resolv.conf`.
    pub fn resolv_conf(&self, host: &str) -> PathBuf {
        self.path().join(format!("resolv-{host}.conf"))
    }

    fn state_file(&self) -> PathBuf {
        self.path().join("state.json")
    }

    /// Makes the directory, readable by its owner only.
    pub fn create(&self) -> Result<(), HostError> {
        let make = |path: &Path| match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).context(path.display())
            }
            _ => Ok(()),
        };
        make(&self.base)?;
        let owner = fs::symlink_metadata(&self.base).context(self.base.display())?;
        if owner.uid() != geteuid().as_raw() || !owner.is_dir() {
            return Err(HostError::new(format!(
                "{} belongs to somebody else",
                self.base.display()
            )));
        }
        make(&self.path())
    }

    /// Removes the directory with all in it, and its parent if that is empty.
    pub fn remove(&self) -> Result<(), HostError> {
        let path = self.path();
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context(path.display());
            }
            _ => {}
        }
        // Other labs may live there: then it stays.
        let _ = fs::remove_dir(&self.base);
        Ok(())
    }

    /// Writes what the lab was started from.
    pub fn save(&self, state: &State) -> Result<(), HostError> {
        let text = serde_json::to_string(state).context("state")?;
        let path = self.state_file();
        let next = path.with_extension("next");
        fs::write(&next, text).context(next.display())?;
        fs::rename(&next, &path).context(path.display())
    }

    /// What the lab was started from; `None` if it never got that far.
    pub fn state(&self) -> Option<State> {
        serde_json::from_slice(&fs::read(self.state_file()).ok()?).ok()
    }

    /// Keeps other `up` and `down` of this user away until it is dropped.
    pub fn lock(&self) -> Result<Flock<File>, HostError> {
        loop {
            self.create_base()?;
            let base = File::open(&self.base).context(self.base.display())?;
            let lock = Flock::lock(base, FlockArg::LockExclusive)
                .map_err(|(_, error)| error)
                .context(self.base.display())?;
            // Whoever had the lock may have removed the directory.
            let held = lock.metadata().context("lock")?;
            match fs::metadata(&self.base) {
                Ok(now) if now.ino() == held.ino() => return Ok(lock),
                _ => {}
            }
        }
    }

    fn create_base(&self) -> Result<(), HostError> {
        match DirBuilder::new().mode(0o700).create(&self.base) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).context(self.base.display())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for name in ["", "..", ".hidden", "a/b", "a b", &"x".repeat(41)] {
            assert!(RuntimeDir::new(name).is_err(), "{name}");
        }
        let lab = RuntimeDir::new("privatelink").unwrap();
        assert!(lab.path().ends_with("vpclab/privatelink") || lab.path().starts_with("/tmp"));
        assert_eq!(RuntimeDir::at(&lab.path()).unwrap(), lab);
    }
}
