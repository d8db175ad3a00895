//! What a command makes in a namespace of somebody else's, for another process
//! to take over: [`TapPort::from_fd`](super::TapPort::from_fd) moves the frames
//! of all of these.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::sys;

/// Makes the TAP interface `name` in the calling thread's network namespace,
/// with header size and offloads set. It is gone when the descriptor and its
/// copies are closed.
pub fn make_tap(name: &str) -> io::Result<OwnedFd> {
    sys::open_tap(name, false)
}

/// Makes a TAP interface that stays when nobody has it open, for a virtual
/// machine monitor that opens it as `owner`. What the machine sends comes out
/// of [`open_packet_socket`].
///
/// # Errors
/// [`io::ErrorKind::ResourceBusy`] if the name is in use; no right to
/// administer the network.
pub fn make_persistent_tap(name: &str, owner: u32) -> io::Result<()> {
    sys::attach::make_persistent_tap(name, owner)
}

/// A socket for the frames that enter the kernel by this interface (its index),
/// and to send out of it.
pub fn open_packet_socket(interface: u32) -> io::Result<OwnedFd> {
    sys::attach::open_packet_socket(interface)
}

/// The user namespace that owns a namespace: to be entered first by who has no
/// right to enter the namespace itself.
pub fn namespace_owner(namespace: impl AsFd) -> io::Result<OwnedFd> {
    sys::attach::namespace_owner(namespace.as_fd())
}
