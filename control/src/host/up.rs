//! Starting and ending a lab, from outside it.

use std::fs::OpenOptions;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::client::{self, LOOK_INTERVAL};
use super::init::DAEMON_KEY;
use super::init_client::InitClient;
use super::protocol::Request;
use super::runtime_dir::{RuntimeDir, State};
use super::signals::Signals;
use super::{Context, HostError};
use crate::cli::{CliError, Exit};

/// What `up` found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// The lab did not run.
    Fresh,
    /// The lab ran, its daemon did not: hosts and programs are as they were.
    Adopted,
    /// Nothing to do.
    AlreadyRunning,
}

/// How long a step may take before it counts as failed.
const PATIENCE_LOOKS: u32 = 6000;
/// Lines of the log that an error shows.
const LOG_TAIL: usize = 5;
/// How often `up` looks whether a daemon that does not answer is ending.
const END_LOOKS: u32 = 100;

/// Starts `state.lab`, waits until its hosts are wired; an interruption or
/// failure ends what was begun. The process must have one thread.
pub fn up(state: &State, signals: &Signals) -> Result<Started, CliError> {
    let dir = RuntimeDir::new(&state.lab).map_err(|error| {
        let mut error = CliError::from(error);
        error.exit = Exit::Usage;
        error
    })?;
    let lock = dir.lock()?;
    let found = InitClient::connect(&dir)?;
    let started = match found {
        Some(init) => adopt(&dir, init, state, signals),
        None => begin(&dir, state, signals),
    };
    drop(lock);
    started
}

/// Ends a lab, whatever is left of it. False if nothing was.
pub fn down(dir: &RuntimeDir) -> Result<bool, CliError> {
    let lock = dir.lock()?;
    let was_there = dir.path().exists();
    end(dir)?;
    drop(lock);
    Ok(was_there)
}

fn begin(dir: &RuntimeDir, state: &State, signals: &Signals) -> Result<Started, CliError> {
    // Nobody answers: what is there was left behind.
    dir.remove()?;
    dir.create()?;
    let result = dir.save(state).map_err(CliError::from).and_then(|()| {
        let mut launcher = launch(dir)?;
        let mut init = wait_for_init(dir, &mut launcher, signals)?;
        start_daemon(dir, &mut init, signals)
    });
    if let Err(error) = result {
        let error = with_log(dir, error);
        end(dir)?;
        return Err(error);
    }
    Ok(Started::Fresh)
}

fn adopt(
    dir: &RuntimeDir,
    mut init: InitClient,
    state: &State,
    signals: &Signals,
) -> Result<Started, CliError> {
    let runs = dir.state().is_some_and(|old| old.text == state.text);
    if !runs {
        return Err(CliError::usage(format!(
            "lab `{}` runs already, from another topology",
            state.lab
        ))
        .fix(format!(
            "end it first: vpclab down --lab {0}; or give this one another name: --lab NAME",
            state.lab
        )));
    }
    let answer = UnixStream::connect(dir.control_socket())
        .map(|stream| client::exchange(stream, &Request::Ready));
    match answer {
        Ok(Ok(_)) => return Ok(Started::AlreadyRunning),
        // A daemon that was just killed still holds its socket for a moment.
        Ok(Err(error)) if !ends_soon(&mut init)? => return Err(error),
        Ok(Err(_)) => {}
        // Nobody listens; init must have noticed before it starts another.
        Err(_) => {
            ends_soon(&mut init)?;
        }
    }
    start_daemon(dir, &mut init, signals).map_err(|error| with_log(dir, error))?;
    Ok(Started::Adopted)
}

/// Whether init sees the daemon's end within [`END_LOOKS`].
fn ends_soon(init: &mut InitClient) -> Result<bool, CliError> {
    for _ in 0..END_LOOKS {
        let status = init.status()?;
        if !matches!(
            status.programs.get(DAEMON_KEY).map(|p| &p.ended),
            Some(None)
        ) {
            return Ok(true);
        }
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(false)
}

fn launch(dir: &RuntimeDir) -> Result<Child, CliError> {
    let path = dir.log();
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .context(path.display())?;
    let copy = log.try_clone().context(path.display())?;
    let launcher = Command::new("/proc/self/exe")
        .args(["launch", "--directory"])
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(copy)
        .stderr(log)
        .spawn()
        .context("start the lab's launcher")?;
    Ok(launcher)
}

fn wait_for_init(
    dir: &RuntimeDir,
    launcher: &mut Child,
    signals: &Signals,
) -> Result<InitClient, CliError> {
    look(signals, || {
        if let Some(init) = InitClient::connect(dir)? {
            return Ok(Some(init));
        }
        match launcher.try_wait().context("launcher")? {
            Some(_) => Err(CliError::fault("the lab did not start")),
            None => Ok(None),
        }
    })
}

fn start_daemon(
    dir: &RuntimeDir,
    init: &mut InitClient,
    signals: &Signals,
) -> Result<(), CliError> {
    init.start_daemon()?;
    let stream = look(signals, || {
        if let Ok(stream) = UnixStream::connect(dir.control_socket()) {
            return Ok(Some(stream));
        }
        let status = init.status()?;
        match status.programs.get(DAEMON_KEY).map(|p| &p.ended) {
            Some(None) => Ok(None),
            _ => Err(CliError::fault("the lab's daemon did not start")),
        }
    })?;
    // Asked on a thread: an interruption must not wait for the answer.
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(client::exchange(stream, &Request::Ready)));
    look(signals, || match receiver.recv_timeout(LOOK_INTERVAL) {
        Ok(answer) => answer.map(Some),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(CliError::fault("the lab's daemon has ended")),
    })?;
    Ok(())
}

/// Looks again and again, until there is something, an error, or a signal.
fn look<T>(
    signals: &Signals,
    mut once: impl FnMut() -> Result<Option<T>, CliError>,
) -> Result<T, CliError> {
    for _ in 0..PATIENCE_LOOKS {
        if let Some(found) = once()? {
            return Ok(found);
        }
        if let Some(arrived) = signals.take() {
            return Err(CliError {
                exit: Exit::Program(128 + arrived.signal as u8),
                message: "interrupted".to_owned(),
                fix: None,
            });
        }
        thread::sleep(LOOK_INTERVAL);
    }
    Err(CliError::fault("the lab takes too long to start"))
}

/// Ends init, and with it everything; then removes the files.
fn end(dir: &RuntimeDir) -> Result<(), HostError> {
    if let Some(mut init) = InitClient::connect(dir)? {
        let pid = Pid::from_raw(init.pid());
        // An init that cannot answer is ended the hard way below.
        let _ = init.shutdown();
        drop(init);
        for attempt in 0..PATIENCE_LOOKS {
            if has_ended(pid) {
                break;
            }
            if attempt == SHUTDOWN_LOOKS {
                let _ = kill(pid, Signal::SIGKILL);
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }
    dir.remove()
}

/// After this many looks, init is killed.
const SHUTDOWN_LOOKS: u32 = 200;

/// Whether a process is gone, or only waits for its parent to notice.
fn has_ended(pid: Pid) -> bool {
    if kill(pid, None) == Err(Errno::ESRCH) {
        return true;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which stands in parentheses.
    stat.rsplit(") ")
        .next()
        .is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
}

fn with_log(dir: &RuntimeDir, error: CliError) -> CliError {
    if error.exit != Exit::Fault {
        return error;
    }
    let log = std::fs::read_to_string(dir.log()).unwrap_or_default();
    let lines: Vec<_> = log.lines().rev().take(LOG_TAIL).collect();
    // The daemon's own answer: its log only repeats it.
    if lines.iter().any(|line| line.contains(&error.message)) {
        return error;
    }
    let mut error = error;
    for line in lines.into_iter().rev() {
        error.message.push_str("\n  log: ");
        error.message.push_str(line);
    }
    error
}
