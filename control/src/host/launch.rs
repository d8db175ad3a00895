//! The launcher: makes the lab's namespaces, starts init in them, and removes
//! the lab's directory when init has ended, however it ended.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid, setsid};

use super::runtime_dir::RuntimeDir;
use super::{Context, HostError, namespace};

/// Runs until the lab has ended. The process must have one thread.
pub fn run(dir: &Path) -> Result<(), HostError> {
    let lab = RuntimeDir::at(dir)?;
    // Away from the terminal of `up`: its Ctrl-C is not for the lab.
    setsid().context("setsid")?;
    enter_lab()?;
    std::env::set_current_dir("/").context("/")?;
    let mut init = Command::new("/proc/self/exe")
        .args(["init", "--directory"])
        .arg(lab.path())
        .stdin(Stdio::null())
        .spawn()
        .context("start init")?;
    init.wait().context("init")?;
    lab.remove()
}

/// User namespace (unless root), mounts, and processes for the children.
fn enter_lab() -> Result<(), HostError> {
    let lab = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    if geteuid().is_root() {
        unshare(lab).context("unshare")?;
    } else {
        let (uid, gid) = (geteuid(), getegid());
        unshare(lab | CloneFlags::CLONE_NEWUSER).map_err(|error| {
            HostError::new(format!("cannot make a user namespace: {error}"))
                .fix("allow it (kernel.apparmor_restrict_unprivileged_userns=0), or run as root")
        })?;
        // One id each needs no helper: the user is root inside, others do not exist.
        let write = |path: &str, text: String| fs::write(path, text).context(path);
        write("/proc/self/setgroups", "deny".to_owned())?;
        write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    namespace::make_mounts_private()
}
