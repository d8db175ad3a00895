//! Limits of the operating system on one process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What programs expect: `select` handles no more than 1 024 files, and some
/// programs walk through all that could be open.
const OPEN_FILES_USUAL: u64 = 1024;

/// Lets this process and those it starts open as many files as the machine
/// allows: a lab holds two for each host, and one for each interface.
pub fn raise_open_files() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// Gives a host's program the usual limit, which it can raise itself.
pub fn usual_open_files() {
    if let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, now.min(OPEN_FILES_USUAL), most);
    }
}
