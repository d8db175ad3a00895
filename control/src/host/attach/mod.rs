//! Giving an ENI to something that the lab did not make: a container, a pod, a
//! virtual machine.
//!
//! ```text
//! vpclab attach ── plan ──────────────► daemon
//!       │ enters the other's network (its user namespace first, if it must)
//!       │ makes the TAP there, addresses, routes
//!       └────────── the TAP, opened ──► daemon ── a copy ──► init
//! ```
//!
//! The command does the work, because it may have rights that the daemon lacks:
//! the daemon needs none to read and write what was opened for it. Init keeps a
//! copy, so that the interface outlives a daemon that is killed. An interface in
//! a process's network goes when that process ends; one in a named network stays
//! until it is detached.

pub mod device;
pub mod place;
pub mod taps;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use super::descriptors;
use super::plan::InterfacePlan;

/// What can be attached under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachPlan {
    /// The host whose place it takes.
    pub host: String,
    /// Its interfaces that wait.
    pub interfaces: Vec<InterfacePlan>,
}

/// An interface with something foreign on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// AWS id of the ENI.
    pub eni: String,
    /// Its interface in that place.
    pub device: String,
    /// Where it is, in words.
    pub place: String,
    /// What has to be deleted when it is let go.
    pub tap: Option<taps::PersistentTap>,
    /// Whether it is let go when a process ends: then there is a second
    /// descriptor, of that process. (An open TAP keeps its network alive.)
    pub with_process: bool,
}

/// An attached interface, opened.
#[derive(Debug)]
pub struct Held {
    /// What it is.
    pub attached: Attached,
    /// Moves its frames.
    pub port: OwnedFd,
    /// The process with which it ends.
    pub process: Option<OwnedFd>,
}

impl Held {
    /// The descriptors, in the order in which they are sent.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let process = self.process.iter();
        [&self.port]
            .into_iter()
            .chain(process)
            .map(AsFd::as_fd)
            .collect()
    }

    /// Receives one.
    pub fn receive(attached: Attached, stream: &UnixStream) -> io::Result<Self> {
        let count = 1 + usize::from(attached.with_process);
        let mut received = descriptors::receive(stream, count)?.into_iter();
        let missing = || io::Error::from(io::ErrorKind::InvalidData);
        Ok(Self {
            attached,
            port: received.next().ok_or_else(missing)?,
            process: received.next(),
        })
    }
}

impl std::fmt::Display for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.device, self.place)
    }
}
