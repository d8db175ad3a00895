//! What to do when a host's interface cannot be made.

use std::io::{Error, ErrorKind};

use nix::errno::Errno;

use super::HostError;

/// Says what to do about a TAP that cannot be made.
pub fn explain_tun(error: Error) -> HostError {
    let fix = match error.kind() {
        ErrorKind::PermissionDenied => {
            "let everybody open it (chmod 0666 /dev/net/tun), or run as root"
        }
        ErrorKind::NotFound => {
            "load the module (modprobe tun), or give the container the device \
             (--device /dev/net/tun)"
        }
        _ if error.raw_os_error() == Some(Errno::EMFILE as i32) => {
            "raise the hard limit of open files: see `ulimit -Hn`"
        }
        _ => return HostError::new(format!("/dev/net/tun: {error}")),
    };
    HostError::new(format!("/dev/net/tun: {error}")).fix(fix)
}
