//! PID 1 of a lab: holds the hosts' namespaces, reaps, runs their commands.
//!
//! It outlives the daemon, so that a new daemon finds the hosts as they were,
//! and the kernel ends everything in the lab with it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufReader, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::namespace::Namespaces;
use super::plan::CommandPlan;
use super::runtime_dir::RuntimeDir;
use super::signals::Signals;
use super::{Context, HostError, line};

/// What init is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitRequest {
    /// Make this host's namespaces, unless they are there.
    AddHost {
        /// Its name.
        name: String,
        /// The text of its `/etc/resolv.conf`.
        resolv_conf: String,
    },
    /// Let go of a host's namespaces.
    RemoveHost {
        /// Its name.
        name: String,
    },
    /// Start a program in a host, unless one with this key runs.
    Run {
        /// Where.
        host: String,
        /// What.
        command: CommandPlan,
    },
    /// Start the daemon, unless it runs.
    StartDaemon,
    /// Which hosts there are, and what became of programs.
    Status,
    /// End everything.
    Shutdown,
}

/// What init answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitReply {
    /// Done.
    Done,
    /// A host's namespaces, as descriptors of init.
    Host(HostDescriptors),
    /// How things are.
    Status(InitStatus),
    /// It went wrong.
    Failed(String),
}

/// Descriptors that init holds for one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDescriptors {
    /// Its network namespace.
    pub net: i32,
    /// Its mount namespace.
    pub mnt: i32,
}

/// How the lab is, as init sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitStatus {
    /// Hosts by name.
    pub hosts: BTreeMap<String, HostDescriptors>,
    /// Programs by key; the daemon's is [`DAEMON_KEY`].
    pub programs: BTreeMap<String, ProgramStatus>,
}

/// A program that init started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramStatus {
    /// Its number in the lab's PID namespace.
    pub pid: i32,
    /// How it ended; `None` while it runs.
    pub ended: Option<String>,
}

/// The daemon's key among the programs.
pub const DAEMON_KEY: &str = "daemon";

/// How long programs have to end on SIGTERM.
const GRACE_MS: u16 = 300;

#[derive(Debug)]
struct Init {
    dir: RuntimeDir,
    /// Held while a program is started too: std waits for a child whose
    /// program cannot be run, so nobody else may reap it then.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    hosts: BTreeMap<String, Namespaces>,
    programs: BTreeMap<String, ProgramStatus>,
}

/// Runs as PID 1 until told to end.
pub fn run(dir: &Path) -> Result<(), HostError> {
    let _ = nix::sys::prctl::set_name(c"vpclab-init");
    let signals = Signals::collect(&[
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ])?;
    let dir = RuntimeDir::at(dir)?;
    mount_proc()?;
    let socket = dir.init_socket();
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).context(socket.display())?;
    let init = Arc::new(Init {
        dir,
        state: Mutex::default(),
    });
    let serving = Arc::clone(&init);
    thread::Builder::new()
        .name("serve".to_owned())
        .spawn(move || serving.serve(&listener))
        .context("thread")?;
    loop {
        if wait_for_any(&signals)? {
            // The launcher was killed: nobody would clean up after the lab.
            return end_everything(&signals, &init);
        }
        while let Some(arrived) = signals.take() {
            if arrived.signal == Signal::SIGCHLD {
                init.reap();
            } else {
                return end_everything(&signals, &init);
            }
        }
    }
}

/// `/proc` of this PID namespace: what the hosts' programs see of each other.
fn mount_proc() -> Result<(), HostError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let none: Option<&str> = None;
    match mount(Some("proc"), "/proc", Some("proc"), flags, none) {
        // A container that hides parts of /proc forbids a fresh one to those
        // who are not root; the old one serves, it only numbers differently.
        Err(Errno::EPERM) => Ok(()),
        other => other.context("mount /proc"),
    }
}

fn end_everything(signals: &Signals, init: &Init) -> Result<(), HostError> {
    // Everyone but init itself.
    let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
    for _ in 0..GRACE_MS / 10 {
        init.reap();
        if matches!(
            waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)),
            Err(Errno::ECHILD)
        ) {
            break;
        }
        wait_for(signals, PollTimeout::from(10u8))?;
        while signals.take().is_some() {}
    }
    // The kernel kills what is left when init is gone.
    Ok(())
}

fn wait_for(signals: &Signals, timeout: PollTimeout) -> Result<(), HostError> {
    let mut descriptors = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    match poll(&mut descriptors, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("poll"),
    }
}

/// Waits for a signal, or for the launcher's end: its pipe is our stdin. True
/// if the launcher is gone.
fn wait_for_any(signals: &Signals) -> Result<bool, HostError> {
    let stdin = std::io::stdin();
    let mut descriptors = [
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        PollFd::new(stdin.as_fd(), PollFlags::empty()),
    ];
    match poll(&mut descriptors, PollTimeout::NONE) {
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(false),
        Err(error) => return Err(error).context("poll"),
    }
    let launcher = descriptors.last().and_then(PollFd::revents);
    Ok(launcher.is_some_and(|events| events.contains(PollFlags::POLLHUP)))
}

impl Init {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reap(&self) {
        let mut state = self.state();
        loop {
            let (pid, how) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, format!("exit code {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, format!("killed by {signal}")),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            let program = state
                .programs
                .values_mut()
                .find(|program| program.pid == pid.as_raw() && program.ended.is_none());
            if let Some(program) = program {
                program.ended = Some(how);
            }
        }
    }

    fn serve(self: Arc<Self>, listener: &UnixListener) {
        for stream in listener.incoming().filter_map(Result::ok) {
            if !line::is_peer_allowed(&stream) {
                continue;
            }
            let init = Arc::clone(&self);
            // Without a thread the caller sees the connection closed.
            let _ = thread::Builder::new().spawn(move || init.converse(stream));
        }
    }

    fn converse(&self, stream: UnixStream) {
        let Ok(copy) = stream.try_clone() else { return };
        let mut reader = BufReader::new(copy);
        while let Ok(Some(request)) = line::receive::<InitRequest>(&mut reader) {
            let reply = match self.answer(request) {
                Ok(reply) => reply,
                Err(error) => InitReply::Failed(error.to_string()),
            };
            if line::send(&stream, &reply).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: InitRequest) -> Result<InitReply, HostError> {
        match request {
            InitRequest::AddHost { name, resolv_conf } => self.add_host(&name, &resolv_conf),
            InitRequest::RemoveHost { name } => {
                self.state().hosts.remove(&name);
                let _ = std::fs::remove_file(self.dir.resolv_conf(&name));
                Ok(InitReply::Done)
            }
            InitRequest::Run { host, command } => {
                let mut state = self.state();
                if state.is_running(&command.key) {
                    return Ok(InitReply::Done);
                }
                let namespaces = state
                    .hosts
                    .get(&host)
                    .ok_or_else(|| HostError::new(format!("no host {host}")))?;
                let pid = namespaces.inside(|| start(&command))?;
                state.started(command.key, pid);
                Ok(InitReply::Done)
            }
            InitRequest::StartDaemon => {
                let mut state = self.state();
                if !state.is_running(DAEMON_KEY) {
                    let pid = self.start_daemon()?;
                    state.started(DAEMON_KEY.to_owned(), pid);
                }
                Ok(InitReply::Done)
            }
            InitRequest::Status => Ok(InitReply::Status(self.state().status())),
            InitRequest::Shutdown => {
                // The main thread does it, so that the socket is answered first.
                kill(Pid::this(), Signal::SIGTERM).context("end")?;
                Ok(InitReply::Done)
            }
        }
    }

    fn add_host(&self, name: &str, resolv_conf: &str) -> Result<InitReply, HostError> {
        // The host sees this file by a bind mount: written in place, it changes there.
        let path = self.dir.resolv_conf(name);
        std::fs::write(&path, resolv_conf).context(path.display())?;
        let mut state = self.state();
        if !state.hosts.contains_key(name) {
            let namespaces = Namespaces::create(&path)?;
            state.hosts.insert(name.to_owned(), namespaces);
        }
        let descriptors = state.status().hosts.get(name).copied();
        descriptors
            .map(InitReply::Host)
            .ok_or_else(|| HostError::new(format!("no host {name}")))
    }

    fn start_daemon(&self) -> Result<i32, HostError> {
        let child = Command::new("/proc/self/exe")
            .args(["daemon", "--directory"])
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .spawn()
            .context("start the daemon")?;
        pid_of(&child)
    }
}

impl State {
    fn is_running(&self, key: &str) -> bool {
        self.programs
            .get(key)
            .is_some_and(|program| program.ended.is_none())
    }

    fn started(&mut self, key: String, pid: i32) {
        let program = ProgramStatus { pid, ended: None };
        self.programs.insert(key, program);
    }

    fn status(&self) -> InitStatus {
        let descriptors = |namespaces: &Namespaces| HostDescriptors {
            net: namespaces.net.as_raw_fd(),
            mnt: namespaces.mnt.as_raw_fd(),
        };
        InitStatus {
            hosts: self
                .hosts
                .iter()
                .map(|(name, namespaces)| (name.clone(), descriptors(namespaces)))
                .collect(),
            programs: self.programs.clone(),
        }
    }
}

/// Starts a program in the calling thread's namespaces.
fn start(plan: &CommandPlan) -> Result<i32, HostError> {
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&plan.log)
        .context(plan.log.display())?;
    // By way of `start`, because what init blocks would stay blocked.
    let result = Command::new("/proc/self/exe")
        .args(["start", "--"])
        .args(&plan.argv)
        .envs(&plan.env)
        .current_dir(&plan.directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("log")?)
        .stderr(log.try_clone().context("log")?)
        .spawn();
    match result {
        Ok(child) => pid_of(&child),
        Err(error) => {
            let _ = writeln!(log, "vpclab: cannot start the command: {error}");
            Err(error).context(&plan.key)
        }
    }
}

fn pid_of(child: &std::process::Child) -> Result<i32, HostError> {
    i32::try_from(child.id()).context("process number")
}
