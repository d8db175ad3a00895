//! Limits of the operating system on one process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::HostError;
use super::plan::HostPlan;

/// What programs expect: `select` handles no more than 1 024 files, and some
/// programs walk through all that could be open.
const OPEN_FILES_USUAL: u64 = 1024;

/// What a lab's processes have open beside what is a host's: sockets, logs,
/// connections of commands, captures.
const OPEN_FILES_BESIDE: usize = 64;

/// Lets this process and those it starts open as many files as the machine
/// allows: a lab holds two for each host, and one for each interface.
pub fn raise_open_files() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// An error if this process, or init beside it, may not open what these hosts
/// need: said before the first is made, not after the last that fits.
pub fn check_open_files(hosts: &[HostPlan], workers: usize) -> Result<(), HostError> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    let needed = open_files(hosts, workers);
    if u64::try_from(needed).is_ok_and(|needed| needed <= most) {
        return Ok(());
    }
    Err(HostError::new(format!(
        "a lab of {} hosts needs {needed} open files, and this user may have {most}",
        hosts.len()
    ))
    .fix(format!(
        "raise the hard limit: as root `prlimit --nofile={0} --pid $$` in this shell, `nofile` in \
         /etc/security/limits.conf, or a service's LimitNOFILE={0}",
        needed.next_power_of_two()
    )))
}

/// How many files the process of the lab that has most of them has open.
fn open_files(hosts: &[HostPlan], workers: usize) -> usize {
    // The daemon: a queue for each worker.
    let interfaces: usize = hosts.iter().map(|host| host.interfaces.len()).sum();
    // Init: two namespaces a host; a pipe and a log a command.
    let commands: usize = hosts.iter().map(|host| host.commands.len()).sum();
    let init = 2 * (hosts.len() + commands);
    (interfaces * workers).max(init) + OPEN_FILES_BESIDE
}

/// Gives a host's program the usual limit, which it can raise itself.
pub fn usual_open_files() {
    if let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, now.min(OPEN_FILES_USUAL), most);
    }
}
