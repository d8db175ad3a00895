//! Init's part with programs: starts, ends, freezes them.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io, thread};

use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::fstat;
use nix::unistd::Pid;

use super::init::{Init, InitReply, State, pid_of};
use super::log_file::{LOG_LEN_MAX, LogFile, SharedLog, pipe_into};
use super::plan::CommandPlan;
use super::{Context, HostError};
use crate::faults::HostFault;

/// How long a program that is ended has to obey SIGTERM.
const STOP_LOOKS: u32 = 100;
const STOP_LOOK_INTERVAL: Duration = Duration::from_millis(10);

impl Init {
    /// How long the main thread may sleep.
    pub(super) fn time_to_restart(&self) -> PollTimeout {
        let Some(at) = self.state().programs.next_deadline() else {
            return PollTimeout::NONE;
        };
        // Rounded up: waking too early would be for nothing.
        let millis = at.since(self.clock.now()).as_millis() + 1;
        PollTimeout::try_from(i64::try_from(millis).unwrap_or(i64::MAX)).unwrap_or(PollTimeout::MAX)
    }

    /// Starts what is to start again by now.
    pub(super) fn restart_due(&self) {
        let mut state = self.state();
        for (_, host, plan) in state.programs.due(self.clock.now()) {
            let last = state.programs.get(&plan.key);
            let how = last.and_then(|program| program.ended.as_ref());
            let how = how.map_or_else(String::new, |ended| ended.how.clone());
            let restarts = last.map_or(0, |program| program.restarts);
            note(&mut state, &plan, &format!("{how}; restart {restarts}"));
            // A failure is noted, and tried again later.
            let _ = self.start(&mut state, &host, plan);
        }
    }

    pub(super) fn run(&self, host: String, command: CommandPlan) -> Result<InitReply, HostError> {
        let known = self.state().programs.get(&command.key).map(|program| {
            let same = program.plan.as_ref() == Some(&command);
            (same, program.ended.is_none() || program.due().is_some())
        });
        match known {
            Some((true, true)) => return Ok(InitReply::Done),
            Some((false, _)) => self.stop(&command.key),
            _ => {}
        }
        let mut state = self.state();
        if state.programs.is_off(&host) {
            state.programs.parked(self.clock.now(), host, command);
            return Ok(InitReply::Done);
        }
        self.start(&mut state, &host, command)?;
        Ok(InitReply::Done)
    }

    fn start(&self, state: &mut State, host: &str, plan: CommandPlan) -> Result<(), HostError> {
        let log = shared_log(state, &plan);
        let namespaces = state
            .hosts
            .get(host)
            .ok_or_else(|| HostError::new(format!("no host {host}")))?;
        let started = log.and_then(|log| namespaces.inside(|| spawn(&plan, &log)));
        let now = self.clock.now();
        let key = plan.key.clone();
        match started {
            Ok(pid) => {
                let host = Some(host.to_owned());
                state.programs.started(now, key, host, Some(plan), pid);
                Ok(())
            }
            Err(error) => {
                let why = error.to_string();
                let host = host.to_owned();
                state.programs.not_started(now, key, host, plan, why);
                Err(error)
            }
        }
    }

    /// Ends a program with all it has started, and forgets it.
    pub(super) fn stop(&self, key: &str) {
        // Forgotten first, so that it does not start again.
        let program = self.state().programs.forget(key);
        let running = program.filter(|program| program.ended.is_none());
        if let Some(program) = running {
            end_group(program.pid);
        }
    }

    pub(super) fn restart(&self, host: &str) -> Result<InitReply, HostError> {
        for plan in self.plans(host) {
            self.stop(&plan.key);
            self.run(host.to_owned(), plan)?;
        }
        Ok(InitReply::Done)
    }

    fn plans(&self, host: &str) -> Vec<CommandPlan> {
        let state = self.state();
        let programs = state.programs.of_host(host);
        programs
            .filter_map(|(_, program)| program.plan.clone())
            .collect()
    }

    /// Ends everything in a host, and lets go of it.
    pub(super) fn end_host(&self, name: &str) {
        for plan in self.plans(name) {
            self.stop(&plan.key);
        }
        let mut state = self.state();
        state.programs.set_off(name, false);
        state.faults.remove(name);
        signal_all(&state, name, Signal::SIGKILL);
        state.hosts.remove(name);
    }

    pub(super) fn set_fault(
        &self,
        host: &str,
        fault: Option<HostFault>,
    ) -> Result<InitReply, HostError> {
        let mut state = self.state();
        if !state.hosts.contains_key(host) {
            return Err(HostError::new(format!("no host {host}")));
        }
        let before = match fault {
            Some(fault) => state.faults.insert(host.to_owned(), fault),
            None => state.faults.remove(host),
        };
        state
            .programs
            .set_off(host, fault == Some(HostFault::Killed));
        match fault {
            Some(HostFault::Killed) => signal_all(&state, host, Signal::SIGKILL),
            Some(HostFault::Paused) => signal_all(&state, host, Signal::SIGSTOP),
            None => signal_all(&state, host, Signal::SIGCONT),
        }
        drop(state);
        if before == Some(HostFault::Killed) && fault != Some(HostFault::Killed) {
            for plan in self.plans(host) {
                self.run(host.to_owned(), plan)?;
            }
        }
        Ok(InitReply::Done)
    }
}

/// Writes a line of our own into a program's log.
fn note(state: &mut State, plan: &CommandPlan, text: &str) {
    if let Ok(log) = shared_log(state, plan) {
        let mut log = log.lock().unwrap_or_else(|error| error.into_inner());
        log.write(format!("vpclab: {text}\n").as_bytes());
    }
}

fn shared_log(state: &mut State, plan: &CommandPlan) -> Result<SharedLog, HostError> {
    if let Some(log) = state.logs.get(&plan.log) {
        return Ok(Arc::clone(log));
    }
    let log = LogFile::open(&plan.log, LOG_LEN_MAX).context(plan.log.display())?;
    let log = Arc::new(Mutex::new(log));
    state.logs.insert(plan.log.clone(), Arc::clone(&log));
    Ok(log)
}

/// Starts a program in the calling thread's namespaces, in a process group of
/// its own, so that it is ended with what it starts.
fn spawn(plan: &CommandPlan, log: &SharedLog) -> Result<i32, HostError> {
    let output = pipe_into(Arc::clone(log)).context("log")?;
    // By way of `start`, because what init blocks would stay blocked.
    let result = output.try_clone().and_then(|errors| {
        Command::new("/proc/self/exe")
            .args(["start", "--"])
            .args(&plan.argv)
            .envs(&plan.env)
            .current_dir(&plan.directory)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
    });
    match result {
        Ok(child) => pid_of(&child),
        Err(error) => {
            let mut log = log.lock().unwrap_or_else(|error| error.into_inner());
            log.write(format!("vpclab: cannot start the command: {error}\n").as_bytes());
            Err(error).context(&plan.key)
        }
    }
}

/// Ends a process group: SIGTERM, then SIGKILL.
fn end_group(pid: i32) {
    let group = Pid::from_raw(pid);
    // What is stopped cannot obey.
    let _ = killpg(group, Signal::SIGTERM);
    let _ = killpg(group, Signal::SIGCONT);
    for _ in 0..STOP_LOOKS {
        if killpg(group, None) == Err(Errno::ESRCH) {
            return;
        }
        thread::sleep(STOP_LOOK_INTERVAL);
    }
    let _ = killpg(group, Signal::SIGKILL);
}

/// Sends a signal to every process in a host's network, `exec`'s included.
fn signal_all(state: &State, host: &str, signal: Signal) {
    let groups = state
        .programs
        .of_host(host)
        .filter(|(_, p)| p.ended.is_none());
    for (_, program) in groups {
        let _ = killpg(Pid::from_raw(program.pid), signal);
    }
    let Some(namespaces) = state.hosts.get(host) else {
        return;
    };
    let Ok(network) = fstat(namespaces.net.as_fd()).map(|stat| stat.st_ino) else {
        return;
    };
    for pid in processes().unwrap_or_default() {
        let own = fs::metadata(format!("/proc/{pid}/ns/net")).map(|stat| stat.ino());
        if own.is_ok_and(|own| own == network) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// The processes of this lab by number; none where `/proc` is another's (see
/// `mount_proc`): its numbers would not be ours.
fn processes() -> io::Result<Vec<i32>> {
    if fs::read_link("/proc/self")?.to_str() != Some("1") {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir("/proc")?.filter_map(Result::ok);
    Ok(entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| pid != 1)
        .collect())
}
