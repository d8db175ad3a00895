//! Where a running lab keeps its sockets, state and logs.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, geteuid};
use serde::{Deserialize, Serialize};

use super::{Context, HostError, line};
use crate::http::HttpChoice;
use crate::model::IpRanges;
use crate::topology::Kept;

/// Longest name of a lab.
const NAME_LEN_MAX: usize = 40;
/// Longest path of a socket (`sun_path` without its final zero).
const SOCKET_PATH_LEN_MAX: usize = 107;
/// Where root's labs are.
pub const ROOT_BASE: &str = "/run/vpclab";

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
    /// How fast its clock runs, if `up` was told.
    #[serde(default)]
    pub time_scale: Option<u32>,
    /// What its file leaves open, and was chosen.
    #[serde(default)]
    pub kept: Kept,
    /// Packet workers, where the command line says how many.
    #[serde(default)]
    pub workers: Option<u16>,
    /// Version of vpclab that started it.
    pub version: String,
    /// Where it serves HTTP, if `up` was told.
    #[serde(default)]
    pub http: HttpChoice,
    /// File of those whose requests its AWS API answers; everybody's if there is none.
    #[serde(default)]
    pub credentials: Option<PathBuf>,
    /// File that keeps its resources.
    #[serde(default)]
    pub state_file: Option<PathBuf>,
    /// Whether it begins with a default VPC.
    #[serde(default)]
    pub default_vpc: bool,
    /// Whether the API may empty it.
    #[serde(default)]
    pub allow_reset: bool,
    /// Whether it makes no namespaces: every host waits to be attached.
    #[serde(default)]
    pub attach_only: bool,
    /// Whether instances run their user data.
    #[serde(default)]
    pub run_user_data: bool,
    /// AWS's addresses, if not those that are built in.
    #[serde(default)]
    pub ip_ranges: Option<IpRanges>,
}

/// The directory that holds this user's labs.
pub fn base_dir() -> PathBuf {
    if geteuid().is_root() {
        return PathBuf::from(ROOT_BASE);
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
    labs_in(&base_dir())
}

/// The directory that holds the labs of whoever became root by `sudo`.
pub fn caller_base_dir() -> Option<PathBuf> {
    let caller = line::sudo_caller().filter(|&uid| uid != 0 && geteuid().is_root())?;
    let candidates = [
        PathBuf::from(format!("/run/user/{caller}/vpclab")),
        PathBuf::from(format!("/tmp/vpclab-{caller}")),
    ];
    candidates.into_iter().find(|base| {
        fs::symlink_metadata(base).is_ok_and(|about| about.is_dir() && about.uid() == caller)
    })
}

/// The labs below `base`, by name.
pub fn labs_in(base: &Path) -> Result<Vec<RuntimeDir>, HostError> {
    let entries = match fs::read_dir(base) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context(base.display())?,
    };
    let mut labs: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        // Locks begin with a dot.
        .filter(|name| !name.starts_with('.'))
        .map(|name| RuntimeDir {
            base: base.to_owned(),
            name,
        })
        .collect();
    labs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(labs)
}

/// Removes what an `up` or `down` leaves that was killed before or after there
/// was a lab: its lock, and the empty directory.
pub fn sweep() {
    let base = base_dir();
    for entry in fs::read_dir(&base).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let name = file.to_str().and_then(|name| name.strip_prefix('.'));
        if let Some(name) = name.and_then(|name| name.strip_suffix(".lock")) {
            let lab = RuntimeDir {
                base: base.clone(),
                name: name.to_owned(),
            };
            // Dropped, it is gone; held by somebody else, it is theirs.
            let _ = lab.try_lock();
        }
    }
    let _ = fs::remove_dir(&base);
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
        let lab = Self {
            base: base_dir(),
            name: name.to_owned(),
        };
        if lab.control_socket().as_os_str().len() > SOCKET_PATH_LEN_MAX {
            let base = lab.base.display();
            return Err(HostError::new(format!(
                "{base}/{name} is too long for the address of a socket"
            ))
            .fix("a shorter name, or a shorter XDG_RUNTIME_DIR"));
        }
        Ok(lab)
    }

    /// The lab of the same name below another directory.
    #[must_use]
    pub fn in_base(self, base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            ..self
        }
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

    /// List of the TAPs that have to be deleted.
    pub fn taps(&self) -> PathBuf {
        self.path().join("taps.json")
    }

    /// The port at which the lab's daemon serves HTTP, or did last.
    pub fn http_port(&self) -> Option<u16> {
        fs::read_to_string(self.http_file())
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Notes that port.
    pub fn save_http_port(&self, port: u16) -> Result<(), HostError> {
        let path = self.http_file();
        fs::write(&path, port.to_string()).context(path.display())
    }

    fn http_file(&self) -> PathBuf {
        self.path().join("http.port")
    }

    fn state_file(&self) -> PathBuf {
        self.path().join("state.json")
    }

    /// Why the launcher failed, in words for `up`.
    pub fn failure(&self) -> PathBuf {
        self.path().join("failure.json")
    }

    /// Holds the launcher's process number, outside the lab.
    pub fn launcher_pid(&self) -> PathBuf {
        self.path().join("launcher.pid")
    }

    /// Makes the directory, readable by its owner only.
    pub fn create(&self) -> Result<(), HostError> {
        self.create_base()?;
        make(&self.path())
    }

    /// An error if something else has the directory's place.
    pub fn check_place(&self) -> Result<(), HostError> {
        let path = self.path();
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.is_dir() => Err(HostError::new(format!(
                "{} is in the way: it is no lab's directory",
                path.display()
            ))
            .fix("remove it, or give the lab another name: --lab NAME")),
            _ => Ok(()),
        }
    }

    /// Removes the directory with all in it, and its parent if that is empty.
    pub fn remove(&self) -> Result<(), HostError> {
        let path = self.path();
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context(path.display());
            }
            _ => {}
        }
        // Other labs may live there: then it stays.
        let _ = fs::remove_dir(&self.base);
        Ok(())
    }

    /// What tells this directory from a later one of the same name; `None` if
    /// there is none.
    pub fn identity(&self) -> Option<(u64, u64)> {
        let found = fs::metadata(self.path()).ok()?;
        Some((found.dev(), found.ino()))
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

    /// Keeps other `up` and `down` of this lab away until it is dropped; `None`
    /// if one of them is at work.
    pub fn try_lock(&self) -> Result<Option<LabLock>, HostError> {
        self.create_base()?;
        let path = self.base.join(format!(".{}.lock", self.name));
        let opened = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path);
        let held = match opened {
            // Whoever removed the directory was quicker.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.context(path.display())?,
        };
        match held.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).context(path.display()),
            Ok(()) => {}
        }
        // Whoever had the lock has removed the file.
        let own = held.metadata().context(path.display())?.ino();
        if !fs::metadata(&path).is_ok_and(|now| now.ino() == own) {
            return Ok(None);
        }
        Ok(Some(LabLock {
            path,
            base: self.base.clone(),
            _held: held,
        }))
    }

    /// Opens the log for the lab's own processes. They share a lock on it that
    /// lasts as long as one of them: see [`Self::is_alive`].
    pub fn open_log(&self) -> Result<File, HostError> {
        let path = self.log();
        let mut options = OpenOptions::new();
        let log = options.create(true).append(true).mode(0o600).open(&path);
        let log = log.context(path.display())?;
        log.lock().context(path.display())?;
        Ok(log)
    }

    /// Whether a process of the lab (launcher, init or daemon) is left.
    pub fn is_alive(&self) -> bool {
        let held = File::open(self.log()).map(|log| log.try_lock_shared());
        matches!(held, Ok(Err(TryLockError::WouldBlock)))
    }

    fn create_base(&self) -> Result<(), HostError> {
        make(&self.base)?;
        let owner = match fs::symlink_metadata(&self.base) {
            // Removed again by the end of another lab: made when needed.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.context(self.base.display())?,
        };
        if owner.uid() != geteuid().as_raw() || !owner.is_dir() {
            return Err(HostError::new(format!(
                "{} belongs to somebody else",
                self.base.display()
            ))
            .fix("set XDG_RUNTIME_DIR to a directory of your own"));
        }
        Ok(())
    }
}

/// Makes a directory for its owner only, unless it is there.
fn make(path: &Path) -> Result<(), HostError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).context(path.display())
        }
        _ => Ok(()),
    }
}

/// The right to start or end a lab; see [`RuntimeDir::try_lock`].
#[derive(Debug)]
pub struct LabLock {
    path: PathBuf,
    base: PathBuf,
    _held: File,
}

impl Drop for LabLock {
    fn drop(&mut self) {
        // While it is held: whoever waits for it looks whether it is still there.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_dir(&self.base);
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
