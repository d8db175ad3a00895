//! Runs a program inside a host, from outside the lab.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::init_client::InitClient;
use super::runtime_dir::RuntimeDir;
use super::signals::Signals;
use super::{Context, HostError, ids};
use crate::cli::CliError;

/// Signals that are passed on to the program.
const RELAYED: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];
/// What a shell answers for a program that cannot be run, or is not there.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Enters `host` for good and runs `argv` there with this terminal and working
/// directory. Returns its exit code, or 128 + the signal that ended it. The
/// process must have one thread.
pub fn run(dir: &RuntimeDir, host: &str, argv: &[String]) -> Result<u8, CliError> {
    let mut init = InitClient::connect(dir)?
        .ok_or_else(|| CliError::usage(format!("lab `{}` is not running", dir.name())))?;
    let status = init.status()?;
    let descriptors = status.hosts.get(host).ok_or_else(|| {
        let names: Vec<_> = status.hosts.keys().map(String::as_str).collect();
        let error = CliError::usage(format!("lab `{}` has no host `{host}`", dir.name()));
        error.fix(match names.is_empty() {
            true => "it has none that it made itself; vpclab ps shows those that wait".to_owned(),
            false => format!("one of: {}", names.join(", ")),
        })
    })?;
    let namespaces = init.open(*descriptors)?;
    let user = of_process(init.pid(), "user")?;
    let pid = of_process(init.pid(), "pid")?;
    drop(init);
    let directory = std::env::current_dir();

    if !is_own(&user)? {
        setns(&user, CloneFlags::CLONE_NEWUSER).context("enter user namespace")?;
    }
    // Takes effect for children: they end with the lab.
    setns(&pid, CloneFlags::CLONE_NEWPID).context("enter process namespace")?;
    namespaces.enter()?;
    if let Ok(directory) = directory {
        // Entering mounts moved us to their root. A directory that the lab does
        // not see is no reason to fail.
        let _ = std::env::set_current_dir(directory);
    }

    let Some((program, arguments)) = argv.split_first() else {
        return Err(CliError::usage("no command"));
    };
    match Command::new(program).args(arguments).spawn() {
        Ok(child) => Ok(attend(child)?),
        Err(error) => {
            // A directory of PATH that this user may not enter says "permission
            // denied" of a program that is nowhere.
            let nowhere = !program.contains('/') && ids::find_program(program).is_none();
            if nowhere || error.kind() == std::io::ErrorKind::NotFound {
                eprintln!("vpclab exec: {program}: not found");
                return Ok(NOT_FOUND);
            }
            eprintln!("vpclab exec: {program}: {error}");
            Ok(CANNOT_RUN)
        }
    }
}

/// Relays signals until the program has ended.
fn attend(mut child: Child) -> Result<u8, HostError> {
    // Only now: a program inherits what is blocked.
    let mut collected = RELAYED.to_vec();
    collected.push(Signal::SIGCHLD);
    let signals = Signals::collect(&collected)?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("process number")?);
    loop {
        if let Some(status) = child.try_wait().context("wait")? {
            let code = status.code().or(status.signal().map(|n| 128 + n));
            return Ok(code.and_then(|c| u8::try_from(c).ok()).unwrap_or(255));
        }
        let mut descriptors = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut descriptors, PollTimeout::NONE);
        while let Some(arrived) = signals.take() {
            // What the terminal sends, it sends to the program as well.
            if arrived.signal != Signal::SIGCHLD && !arrived.from_terminal {
                let _ = kill(pid, arrived.signal);
            }
        }
    }
}

fn of_process(pid: i32, kind: &str) -> Result<File, HostError> {
    let path = format!("/proc/{pid}/ns/{kind}");
    File::open(&path).context(path)
}

fn is_own(user: &File) -> Result<bool, HostError> {
    let own = std::fs::metadata("/proc/self/ns/user").context("user namespace")?;
    Ok(own.ino() == user.metadata().context("user namespace")?.ino())
}
