//! PID 1 of a lab: holds the hosts' namespaces, reaps, runs their commands.
//!
//! It outlives the daemon, so that a new daemon finds the hosts as they were,
//! and the kernel ends everything in the lab with it.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
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
use vpclab_dataplane::worker::Clock;

use super::attach::{Attached, Held};
use super::log_file::SharedLog;
use super::namespace::Namespaces;
use super::plan::CommandPlan;
use super::runtime_dir::RuntimeDir;
use super::signals::Signals;
use super::supervise::{Ended, Program, Supervisor};
use super::{Context, HostError, descriptors, line};
use crate::faults::HostFault;

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
    /// End what runs in a host and let go of its namespaces.
    RemoveHost {
        /// Its name.
        name: String,
    },
    /// Look after a program in a host: it is started unless it runs. One with
    /// the same key and another plan is ended first.
    Run {
        /// Where.
        host: String,
        /// What.
        command: CommandPlan,
    },
    /// End a program and forget it.
    Stop {
        /// Its key.
        key: String,
    },
    /// End a host's programs and start them anew.
    Restart {
        /// The host.
        host: String,
    },
    /// Kill or freeze all that runs in a host, or let it run again.
    SetFault {
        /// The host.
        host: String,
        /// What; none brings it back.
        fault: Option<HostFault>,
    },
    /// Start the daemon, unless it runs.
    StartDaemon,
    /// Keep a copy of an attached interface's descriptor, which is sent after
    /// the first reply.
    KeepPort(Attached),
    /// Close an attached interface's descriptor.
    ReleasePort {
        /// AWS id of the ENI.
        eni: String,
    },
    /// Which descriptors are kept.
    KeptPorts,
    /// Copies of those descriptors, in the order of the last reply: no reply.
    SendPorts,
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
    /// Kept descriptors.
    Ports(Vec<Attached>),
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
    /// Hosts that were killed or frozen.
    #[serde(default)]
    pub faults: BTreeMap<String, HostFault>,
}

/// A program that init started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramStatus {
    /// Its number in the lab's PID namespace.
    pub pid: i32,
    /// How it ended; `None` while it runs.
    pub ended: Option<String>,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
    /// Whether it will be started again by itself.
    #[serde(default)]
    pub restarting: bool,
}

/// The daemon's key among the programs.
pub const DAEMON_KEY: &str = "daemon";

/// How long programs have to end on SIGTERM.
const GRACE_MS: u16 = 300;

#[derive(Debug)]
pub(super) struct Init {
    pub(super) dir: RuntimeDir,
    pub(super) clock: Clock,
    /// Held while a program is started too: std waits for a child whose
    /// program cannot be run, so nobody else may reap it then.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) hosts: BTreeMap<String, Namespaces>,
    pub(super) programs: Supervisor,
    pub(super) faults: BTreeMap<String, HostFault>,
    /// By the file.
    pub(super) logs: BTreeMap<PathBuf, SharedLog>,
    pub(super) ports: BTreeMap<String, Held>,
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
    if is_pid_1() {
        mount_proc()?;
    }
    let socket = dir.init_socket();
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).context(socket.display())?;
    let init = Arc::new(Init {
        dir,
        clock: Clock::start(),
        state: Mutex::default(),
    });
    let serving = Arc::clone(&init);
    thread::Builder::new()
        .name("serve".to_owned())
        .spawn(move || serving.serve(&listener))
        .context("thread")?;
    loop {
        if wait_for_any(&signals, init.time_to_restart())? {
            // The launcher was killed: nobody would clean up after the lab.
            return end_everything(&signals, &init);
        }
        init.restart_due();
        while let Some(arrived) = signals.take() {
            if arrived.signal == Signal::SIGCHLD {
                init.reap();
            } else {
                return end_everything(&signals, &init);
            }
        }
    }
}

/// Whether the lab has a PID namespace, which this process is the first of.
fn is_pid_1() -> bool {
    Pid::this().as_raw() == 1
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
    if is_pid_1() {
        // Everyone but init itself.
        let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
    } else {
        // Without a namespace that would be all that this user runs.
        init.kill_programs(Signal::SIGTERM);
    }
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
    if !is_pid_1() {
        init.kill_programs(Signal::SIGKILL);
    }
    init.let_go();
    // The kernel kills what is left when init is gone.
    Ok(())
}

/// Namespaces are let go of by this many threads: the end of a mount namespace
/// waits for all processors (RCU), and who waits together waits once.
const CLOSERS: usize = 32;

fn wait_for(signals: &Signals, timeout: PollTimeout) -> Result<(), HostError> {
    let mut descriptors = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    match poll(&mut descriptors, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("poll"),
    }
}

/// Waits for a signal, or for the launcher's end: its pipe is our stdin. True
/// if the launcher is gone.
fn wait_for_any(signals: &Signals, timeout: PollTimeout) -> Result<bool, HostError> {
    let stdin = std::io::stdin();
    let mut descriptors = [
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        PollFd::new(stdin.as_fd(), PollFlags::empty()),
    ];
    match poll(&mut descriptors, timeout) {
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(false),
        Err(error) => return Err(error).context("poll"),
    }
    let launcher = descriptors.last().and_then(PollFd::revents);
    Ok(launcher.is_some_and(|events| events.contains(PollFlags::POLLHUP)))
}

impl Init {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signals every program that has not ended: the daemon, where there are no
    /// namespaces.
    fn kill_programs(&self, signal: Signal) {
        let state = self.state();
        for (_, program) in state.programs.programs() {
            if program.ended.is_none() {
                let _ = kill(Pid::from_raw(program.pid), signal);
            }
        }
    }

    /// Drops all hosts' namespaces, quicker than the end of the process would.
    fn let_go(&self) {
        let hosts = std::mem::take(&mut self.state().hosts);
        let mut shares: Vec<Vec<Namespaces>> = Vec::new();
        for (number, host) in hosts.into_values().enumerate() {
            match shares.get_mut(number % CLOSERS) {
                Some(share) => share.push(host),
                None => shares.push(vec![host]),
            }
        }
        thread::scope(|scope| {
            for share in shares {
                // Without a thread they are dropped here.
                let _ = thread::Builder::new().spawn_scoped(scope, move || drop(share));
            }
        });
    }

    fn reap(&self) {
        let mut state = self.state();
        loop {
            let (pid, how, success) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, format!("exit code {code}"), code == 0),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, format!("killed by {signal}"), false)
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            let ended = Ended { how, success };
            state.programs.ended(self.clock.now(), pid.as_raw(), ended);
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
            let result = match request {
                InitRequest::SendPorts => match self.send_ports(&stream) {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
                InitRequest::KeepPort(attached) => self.keep_port(attached, &stream),
                other => self.answer(other),
            };
            let reply = result.unwrap_or_else(|error| InitReply::Failed(error.to_string()));
            if line::send(&stream, &reply).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: InitRequest) -> Result<InitReply, HostError> {
        match request {
            InitRequest::AddHost { name, resolv_conf } => self.add_host(&name, &resolv_conf),
            InitRequest::RemoveHost { name } => {
                self.end_host(&name);
                let _ = std::fs::remove_file(self.dir.resolv_conf(&name));
                Ok(InitReply::Done)
            }
            InitRequest::Run { host, command } => self.run(host, command),
            InitRequest::Stop { key } => {
                self.stop(&key);
                Ok(InitReply::Done)
            }
            InitRequest::Restart { host } => self.restart(&host),
            InitRequest::SetFault { host, fault } => self.set_fault(&host, fault),
            InitRequest::StartDaemon => {
                let mut state = self.state();
                if !state.programs.is_running(DAEMON_KEY) {
                    let pid = self.start_daemon()?;
                    let key = DAEMON_KEY.to_owned();
                    let now = self.clock.now();
                    state.programs.started(now, key, None, None, pid);
                }
                Ok(InitReply::Done)
            }
            InitRequest::KeptPorts => {
                let state = self.state();
                let kept = state.ports.values();
                Ok(InitReply::Ports(
                    kept.map(|held| held.attached.clone()).collect(),
                ))
            }
            InitRequest::ReleasePort { eni } => {
                self.state().ports.remove(&eni);
                Ok(InitReply::Done)
            }
            InitRequest::KeepPort(_) | InitRequest::SendPorts => {
                Err(HostError::new("this request is more than a question"))
            }
            InitRequest::Status => Ok(InitReply::Status(self.state().status())),
            InitRequest::Shutdown => {
                // The main thread does it, so that the socket is answered first.
                kill(Pid::this(), Signal::SIGTERM).context("end")?;
                Ok(InitReply::Done)
            }
        }
    }

    fn keep_port(&self, attached: Attached, stream: &UnixStream) -> Result<InitReply, HostError> {
        line::send(stream, &InitReply::Done).context("interface")?;
        let held = Held::receive(attached, stream).context("interface")?;
        let label = held.attached.eni.clone();
        self.state().ports.insert(label, held);
        Ok(InitReply::Done)
    }

    fn send_ports(&self, stream: &UnixStream) -> Result<(), HostError> {
        let state = self.state();
        for held in state.ports.values() {
            descriptors::send(stream, &held.descriptors()).context("interfaces")?;
        }
        Ok(())
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
        let namespaces = state.hosts.get(name);
        namespaces
            .map(|namespaces| InitReply::Host(namespaces.descriptors()))
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

impl Namespaces {
    fn descriptors(&self) -> HostDescriptors {
        HostDescriptors {
            net: self.net.as_raw_fd(),
            mnt: self.mnt.as_raw_fd(),
        }
    }
}

impl State {
    fn status(&self) -> InitStatus {
        InitStatus {
            hosts: self
                .hosts
                .iter()
                .map(|(name, namespaces)| (name.clone(), namespaces.descriptors()))
                .collect(),
            programs: self
                .programs
                .programs()
                .map(|(key, program)| (key.clone(), program_status(program)))
                .collect(),
            faults: self.faults.clone(),
        }
    }
}

fn program_status(program: &Program) -> ProgramStatus {
    ProgramStatus {
        pid: program.pid,
        ended: program.ended.as_ref().map(|ended| ended.how.clone()),
        restarts: program.restarts,
        restarting: program.due().is_some(),
    }
}

pub(super) fn pid_of(child: &std::process::Child) -> Result<i32, HostError> {
    i32::try_from(child.id()).context("process number")
}
