//! Hosts on Linux: a lab of network namespaces, its processes, and the way in.
//!
//! ```text
//! vpclab up ─► launcher (own session; unshare user? + mnt + pid; removes the lab's
//!               │        directory when init ends)
//!               └► init (PID 1 of the lab: holds every host's net + mnt namespace,
//!                  │    reaps, runs hosts' commands; its end is everybody's end)
//!                  ├► daemon (control plane, packet worker, control socket)
//!                  └► hosts' commands
//! ```
//!
//! Every step is a new process image (`/proc/self/exe` with a hidden
//! subcommand): nothing here forks. Namespaces are entered on threads made for
//! that, so the rest of a process never moves. Root and a user without rights
//! take the same road; the second begins with a user namespace.

pub mod attach;
pub mod capture;
pub mod client;
pub mod daemon;
pub mod descriptors;
pub mod doctor;
pub mod error;
pub mod exec;
pub mod from_model;
pub mod gateway;
pub mod ids;
pub mod init;
pub mod init_client;
mod init_programs;
pub mod launch;
pub mod limits;
pub mod line;
pub mod log_file;
pub mod namespace;
pub mod netlink;
pub mod notify;
pub mod plan;
pub mod protocol;
pub mod runtime_dir;
pub mod signals;
pub mod supervise;
pub mod up;
pub mod wiring_errors;

pub use error::{Context, HostError};
