//! Entering the network of something foreign.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use vpclab_dataplane::io::namespace_owner;

use crate::cli::CliError;
use crate::host::{Context, HostError};

/// Where an interface is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The network of the calling process.
    Here,
    /// That of a process, by its number as seen from here.
    Process(i32),
    /// The namespace at a path (`/run/netns/NAME`, `/proc/PID/ns/net`).
    Path(PathBuf),
}

impl Place {
    /// The namespace's file.
    pub fn file(&self) -> PathBuf {
        match self {
            Self::Here => PathBuf::from("/proc/self/ns/net"),
            Self::Process(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
            Self::Path(path) => path.clone(),
        }
    }

    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Self::Here => "this machine's network".to_owned(),
            Self::Process(pid) => {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
                match name {
                    Ok(name) => format!("process {pid} ({})", name.trim_end()),
                    Err(_) => format!("process {pid}"),
                }
            }
            Self::Path(path) => path.display().to_string(),
        }
    }

    /// Moves this process there for good, into the user namespace that owns the
    /// network where that is needed. The process must have one thread.
    pub fn enter(&self) -> Result<(), CliError> {
        if *self == Self::Here {
            return Ok(());
        }
        let network = self.open()?;
        match setns(&network, CloneFlags::CLONE_NEWNET) {
            Err(Errno::EPERM) => {}
            Err(Errno::EINVAL) => {
                let path = self.file();
                return Err(
                    CliError::usage(format!("{} is no network namespace", path.display()))
                        .fix("name one: /proc/PID/ns/net, or /run/netns/NAME"),
                );
            }
            other => return Ok(other.context("enter network namespace")?),
        }
        let owned = |error: &dyn std::fmt::Display| {
            CliError::fault(format!(
                "the network of {} belongs to root or another user: {error}",
                self.describe()
            ))
            .fix("run this command as root (sudo vpclab attach …); the lab may stay as it is")
        };
        let owner = namespace_owner(&network).map_err(|error| owned(&error))?;
        setns(owner, CloneFlags::CLONE_NEWUSER).map_err(|error| owned(&error))?;
        setns(&network, CloneFlags::CLONE_NEWNET).map_err(|error| owned(&error))?;
        Ok(())
    }

    fn open(&self) -> Result<File, CliError> {
        let path = self.file();
        File::open(&path).map_err(|error| {
            let found =
                matches!(self, Self::Process(pid) if !Path::new(&format!("/proc/{pid}")).exists());
            let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
            match self {
                Self::Process(pid) if found => {
                    CliError::usage(format!("no process has the number {pid}")).fix(
                        "take the container's as this machine sees it: \
                              docker inspect -f '{{.State.Pid}}' NAME",
                    )
                }
                _ if denied => CliError::fault(format!("{}: {error}", path.display()))
                    .fix("it belongs to root or another user: run this command as root"),
                _ => CliError::usage(format!("{}: {error}", path.display())),
            }
        })
    }

    /// The process, opened: readable when it has ended.
    pub fn process(&self) -> Result<Option<OwnedFd>, CliError> {
        let Self::Process(pid) = self else {
            return Ok(None);
        };
        self.open()?;
        let opened = Pid::from_raw(*pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        Ok(opened.transpose().context(format!("process {pid}"))?)
    }

    /// The namespace's number.
    pub fn inode(&self) -> Result<u64, HostError> {
        let path = self.file();
        Ok(std::fs::metadata(&path).context(path.display())?.ino())
    }
}
