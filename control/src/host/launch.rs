//! The launcher: makes the lab's namespaces, starts init in them, and removes
//! the lab's directory when init has ended, however it ended.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{Pid, geteuid, setsid};

use super::attach::taps;
use super::client::LOOK_INTERVAL;
use super::protocol::Failure;
use super::runtime_dir::RuntimeDir;
use super::{Context, HostError, ids, limits, namespace};

/// Runs until the lab has ended. The process must have one thread.
pub fn run(dir: &Path) -> Result<(), HostError> {
    let lab = RuntimeDir::at(dir)?;
    let identity = lab.identity();
    let result = launch(&lab);
    match &result {
        Ok(()) => clean(&lab, identity),
        Err(error) => {
            let failure = Failure::from(error.clone());
            let text = serde_json::to_string(&failure).context("failure")?;
            // If this fails too, the log is all there is.
            let _ = fs::write(lab.failure(), text);
        }
    }
    result
}

fn launch(lab: &RuntimeDir) -> Result<(), HostError> {
    let _ = prctl::set_name(c"vpclab-launch");
    // Away from the terminal of `up`: its Ctrl-C is not for the lab.
    setsid().context("setsid")?;
    let pid_file = lab.launcher_pid();
    fs::write(&pid_file, Pid::this().to_string()).context(pid_file.display())?;
    limits::raise_open_files();
    // A lab that makes no namespaces needs none itself, and no right to them.
    if !lab.state().is_some_and(|state| state.attach_only) {
        enter_lab()?;
    }
    std::env::set_current_dir("/").context("/")?;
    let mut init = Command::new("/proc/self/exe")
        .args(["pid1", "--directory"])
        .arg(lab.path())
        .stdin(Stdio::piped())
        .spawn()
        .context("start init")?;
    // Closed when this process is gone: then init ends the lab.
    let alive = init.stdin.take();
    init.wait().context("init")?;
    drop(alive);
    Ok(())
}

/// Removes the directory, unless `up` or `down` does it, or has put a new one
/// in its place.
fn clean(lab: &RuntimeDir, identity: Option<(u64, u64)>) {
    // Our output is the log, whose lock says that the lab lives.
    if let Ok(log) = std::io::stdout().as_fd().try_clone_to_owned() {
        let _ = fs::File::from(log).unlock();
    }
    while identity.is_some() && lab.identity() == identity {
        match lab.try_lock() {
            Ok(Some(_lock)) => {
                // Networks of others cannot be found from here: what is to be
                // deleted there, the next `down` or `up` deletes.
                if lab.identity() == identity && taps::is_empty(lab) {
                    let _ = lab.remove();
                }
                return;
            }
            Ok(None) => thread::sleep(LOOK_INTERVAL),
            Err(_) => return,
        }
    }
}

/// User namespace (unless root), mounts, and processes for the children.
pub(super) fn enter_lab() -> Result<(), HostError> {
    let lab = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    // Root without rights, as in most containers, takes the users' road.
    if geteuid().is_root() && unshare(lab).is_ok() {
        return namespace::make_mounts_private();
    }
    ids::enter_user_namespace()?;
    // Where AppArmor allows user namespaces but no rights in them, this fails.
    unshare(lab)
        .context("unshare")
        .and_then(|()| namespace::make_mounts_private())
        .map_err(|error| ids::explain(error.within("the user namespace has no rights")))
}
