//! Starting and ending a lab, from outside it.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;

use super::attach::taps;
use super::client::{self, LOOK_INTERVAL};
use super::daemon::change::ChangeReport;
use super::daemon::load;
use super::init::DAEMON_KEY;
use super::init_client::InitClient;
use super::notify;
use super::protocol::{Failure, Request};
use super::runtime_dir::{LabLock, RuntimeDir, State};
use super::signals::Signals;
use super::{Context, HostError};
use crate::cli::{CliError, Exit};
use crate::http::HttpChoice;
use crate::topology::{Kept, Topology};

/// What `up` found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// The lab did not run.
    Fresh,
    /// The lab ran, its daemon did not: hosts and programs are as they were.
    Adopted,
    /// Nothing to do.
    AlreadyRunning,
    /// The lab ran from another file, and is what this one says now.
    Changed(ChangeReport),
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
    dir.check_place()?;
    let lock = lock(&dir, Some(signals))?;
    let found = InitClient::connect(&dir)?;
    let started = match found {
        Some(init) => adopt(&dir, init, state, signals),
        None => {
            // Else the daemon would find out, and its log would say so.
            load::settings(state)?;
            begin(&dir, state, signals)
        }
    };
    drop(lock);
    started
}

/// Ends a lab, whatever is left of it. False if nothing was.
pub fn down(dir: &RuntimeDir) -> Result<bool, CliError> {
    let lock = lock(dir, None)?;
    let was_there = dir.path().exists();
    end(dir)?;
    drop(lock);
    Ok(was_there)
}

/// Whether something of a lab whose daemon has ended is there, once no `down`
/// is at work.
pub fn is_left(dir: &RuntimeDir) -> Result<bool, CliError> {
    let lock = lock(dir, None)?;
    let left = dir.path().exists();
    drop(lock);
    Ok(left)
}

/// Waits until no other `up` or `down` of this lab is at work.
fn lock(dir: &RuntimeDir, signals: Option<&Signals>) -> Result<LabLock, CliError> {
    for look in 0u64.. {
        if let Some(lock) = dir.try_lock()? {
            return Ok(lock);
        }
        if signals.is_some_and(|signals| signals.take().is_some()) {
            break;
        }
        if look == LOOKS_UNTIL_NOTICE {
            eprintln!(
                "another vpclab starts or ends lab `{}`: waiting",
                dir.name()
            );
        }
        thread::sleep(LOOK_INTERVAL);
    }
    Err(interrupted(Signal::SIGINT))
}

fn begin(dir: &RuntimeDir, state: &State, signals: &Signals) -> Result<Started, CliError> {
    // Nobody answers: what is there was left behind, or is about to begin or end.
    end(dir)?;
    let result = begin_in(dir, state, signals);
    if let Err(error) = result {
        let error = with_log(dir, full_disk(dir, error));
        end(dir)?;
        return Err(error);
    }
    Ok(Started::Fresh)
}

fn begin_in(dir: &RuntimeDir, state: &State, signals: &Signals) -> Result<(), CliError> {
    dir.create()?;
    dir.save(state)?;
    let mut launcher = launch(dir)?;
    let mut init = wait_for_init(dir, &mut launcher, signals)?;
    start_daemon(dir, &mut init, signals)?;
    // The last moment at which an interruption undoes it all.
    signals
        .take()
        .map_or(Ok(()), |arrived| Err(interrupted(arrived.signal)))
}

fn adopt(
    dir: &RuntimeDir,
    mut init: InitClient,
    state: &State,
    signals: &Signals,
) -> Result<Started, CliError> {
    let old = dir.state();
    let same_text = old.as_ref().is_some_and(|old| old.text == state.text);
    let same = same_text && old.as_ref().is_some_and(|old| asks_the_same(old, state));
    let request = match same {
        true => Request::Ready,
        false => Request::Change {
            state: Box::new(state.clone()),
            dry_run: false,
        },
    };
    let answer =
        UnixStream::connect(dir.control_socket()).map(|stream| client::exchange(stream, &request));
    match answer {
        Ok(Ok(_)) if same => return Ok(Started::AlreadyRunning),
        Ok(Ok((report, _))) => {
            let report: ChangeReport = client::understand(report)?;
            return Ok(match same_text && report.changes.is_empty() {
                true => Started::AlreadyRunning,
                false => Started::Changed(report),
            });
        }
        // It refused: it lives.
        Ok(Err(error)) if error.exit != Exit::Fault => return Err(error),
        // A daemon that was just killed still holds its socket for a moment.
        Ok(Err(error)) if !ends_soon(&mut init)? => return Err(error),
        Ok(Err(_)) => {}
        // Nobody listens; init must have noticed before it starts another.
        Err(_) => {
            ends_soon(&mut init)?;
        }
    }
    if let Some(old) = old.filter(|_| !same) {
        // The next daemon makes the new file, as far as it can where the old was.
        dir.save(&State {
            kept: kept(&old)?,
            time_scale: state.time_scale.or(old.time_scale),
            workers: state.workers.or(old.workers),
            credentials: state.credentials.clone().or(old.credentials.clone()),
            state_file: state.state_file.clone().or(old.state_file.clone()),
            default_vpc: state.default_vpc || old.default_vpc,
            allow_reset: state.allow_reset || old.allow_reset,
            run_user_data: state.run_user_data || old.run_user_data,
            attach_only: old.attach_only,
            ip_ranges: state.ip_ranges.clone().or(old.ip_ranges.clone()),
            http: match state.http {
                HttpChoice::Default => old.http,
                asked => asked,
            },
            ..state.clone()
        })?;
    }
    start_daemon(dir, &mut init, signals).map_err(|error| with_log(dir, error))?;
    Ok(Started::Adopted)
}

/// Whether the command line says no more than it did when the lab began.
fn asks_the_same(old: &State, state: &State) -> bool {
    state.workers.is_none_or(|_| state.workers == old.workers)
        && state
            .time_scale
            .is_none_or(|_| state.time_scale == old.time_scale)
        && (state.http == HttpChoice::Default || state.http == old.http)
        && (state.credentials.is_none() || state.credentials == old.credentials)
        && (state.state_file.is_none() || state.state_file == old.state_file)
        && (state.ip_ranges.is_none() || state.ip_ranges == old.ip_ranges)
        && (!state.default_vpc || old.default_vpc)
        && (!state.allow_reset || old.allow_reset)
        && (!state.run_user_data || old.run_user_data)
}

/// What was chosen for a lab whose daemon cannot say it.
fn kept(old: &State) -> Result<Kept, CliError> {
    let topology = Topology::parse(&old.topology.display().to_string(), &old.text)?;
    let (control, names) = topology.control_plane_keeping(&old.kept)?;
    Ok(Kept::of(control.model(), &names))
}

/// What would change if this were the running lab's file; none if it does not run.
pub fn dry_run(state: &State) -> Result<Option<ChangeReport>, CliError> {
    let dir = RuntimeDir::new(&state.lab)?;
    if InitClient::connect(&dir)?.is_none() {
        return Ok(None);
    }
    let request = Request::Change {
        state: Box::new(state.clone()),
        dry_run: true,
    };
    client::understand(client::ask(&dir, &request)?).map(Some)
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
    let log = dir.open_log()?;
    let copy = log.try_clone().context("log")?;
    let launcher = Command::new("/proc/self/exe")
        .args(["launch", "--directory"])
        .arg(dir.path())
        // For this process alone, not for hosts' programs.
        .env_remove(notify::SOCKET)
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
        // It may have ended, or wait for us to remove what is left of the lab.
        let ended = launcher.try_wait().context("launcher")?.is_some();
        if ended || !dir.is_alive() {
            return Err(failure(dir));
        }
        Ok(None)
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
            return Err(interrupted(arrived.signal));
        }
        thread::sleep(LOOK_INTERVAL);
    }
    Err(CliError::fault("the lab takes too long to start"))
}

fn interrupted(signal: Signal) -> CliError {
    CliError {
        exit: Exit::Program(128 + signal as u8),
        message: "interrupted".to_owned(),
        fix: None,
    }
}

/// What the launcher says went wrong.
fn failure(dir: &RuntimeDir) -> CliError {
    let said = std::fs::read(dir.failure()).ok();
    let failure = said.and_then(|text| serde_json::from_slice::<Failure>(&text).ok());
    failure.map_or_else(|| CliError::fault("the lab did not start"), CliError::from)
}

/// Ends init, and with it everything; then removes the files.
fn end(dir: &RuntimeDir) -> Result<(), HostError> {
    let launcher = launcher(dir);
    let mut asked = None;
    for look in 0..PATIENCE_LOOKS {
        if asked.is_none() {
            asked = shut_down(dir)?;
        }
        if !dir.is_alive() && asked.is_none_or(has_ended) {
            break;
        }
        // Neither asked nor ended: a lab whose `up` was killed, and which is
        // about to begin; or one that cannot answer.
        if look == INIT_LOOKS {
            asked.map(|init| kill(init, Signal::SIGKILL));
        }
        if look == LAUNCHER_LOOKS {
            // Init ends when it is gone.
            self::launcher(dir).map(|launcher| kill(launcher, Signal::SIGKILL));
        }
        thread::sleep(LOOK_INTERVAL);
    }
    taps::delete_all(dir);
    dir.remove()?;
    // It sees that there is nothing left to do for it.
    for _ in 0..INIT_LOOKS {
        if launcher.is_none_or(has_ended) {
            break;
        }
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

/// Asks init to end the lab, if there is one that listens; its number.
fn shut_down(dir: &RuntimeDir) -> Result<Option<Pid>, HostError> {
    let Some(mut init) = InitClient::connect(dir)? else {
        return Ok(None);
    };
    let pid = Pid::from_raw(init.pid());
    // An init that cannot answer is ended the hard way.
    let _ = init.shutdown();
    Ok(Some(pid))
}

/// The lab's launcher, as long as it lives. Init ends when it is gone.
fn launcher(dir: &RuntimeDir) -> Option<Pid> {
    let text = std::fs::read_to_string(dir.launcher_pid()).ok()?;
    let pid = Pid::from_raw(text.parse().ok()?);
    is_launcher(pid, dir).then_some(pid)
}

/// Whether this number still is that of the lab's launcher.
fn is_launcher(pid: Pid, dir: &RuntimeDir) -> bool {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let path = dir.path();
    let path = path.as_os_str().as_encoded_bytes();
    let mut words = arguments.split(|&byte| byte == 0);
    words.any(|word| word == b"launch") && words.any(|word| word == path)
}

/// After this many looks, an init that has not ended is killed.
const INIT_LOOKS: u32 = 200;
/// After this many, the launcher too. (The kernel needs its time to free many
/// namespaces: that an init is slow to end does not mean that it hangs.)
const LAUNCHER_LOOKS: u32 = 500;
/// After this many looks, waiting for another `up` or `down` is explained.
const LOOKS_UNTIL_NOTICE: u64 = 100;

/// Whether a process is gone, or only waits for its parent to notice.
fn has_ended(pid: Pid) -> bool {
    if kill(pid, None) == Err(Errno::ESRCH) {
        return true;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which stands in parentheses.
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    // A zombie may have threads that still free what the process held.
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    state.is_none_or(|state| state == 'Z' && threads() <= 1)
}

/// A failure for want of room says so, whatever the step that met it says.
fn full_disk(dir: &RuntimeDir, error: CliError) -> CliError {
    let path = dir.path();
    let is_full = statvfs(&path).is_ok_and(|disk| disk.blocks_available() == 0);
    if !is_full || error.fix.is_some() || error.exit != Exit::Fault {
        return error;
    }
    error.fix(format!("make room in {}: it is full", path.display()))
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
