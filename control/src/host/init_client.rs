//! Asks a lab's init.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::attach::Held;
use super::init::{HostDescriptors, InitReply, InitRequest, InitStatus};
use super::namespace::Namespaces;
use super::plan::CommandPlan;
use super::runtime_dir::RuntimeDir;
use super::{Context, HostError, descriptors, line};
use crate::faults::HostFault;

/// An init that has not heard by then is ended without being asked.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// A conversation with init.
#[derive(Debug)]
pub struct InitClient {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    /// Init's number in the `/proc` of the calling process.
    pid: i32,
}

impl InitClient {
    /// Connects from outside the lab; `None` if no init is there.
    pub fn connect(dir: &RuntimeDir) -> Result<Option<Self>, HostError> {
        let Ok(stream) = UnixStream::connect(dir.init_socket()) else {
            return Ok(None);
        };
        if !line::is_peer_allowed(&stream) {
            return Err(HostError::new(format!(
                "lab `{}` belongs to somebody else",
                dir.name()
            )));
        }
        let pid = line::peer_pid(&stream).context("init")?;
        Self::over(stream, pid).map(Some)
    }

    /// Connects from the daemon, whose parent is init. (The `/proc` of a
    /// restricted container numbers processes differently than the socket.)
    pub fn connect_as_child(dir: &RuntimeDir) -> Result<Self, HostError> {
        let path = dir.init_socket();
        let stream = UnixStream::connect(&path).context(path.display())?;
        let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
        let parent = status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        let pid = parent.ok_or_else(|| HostError::new("/proc/self/status names no parent"))?;
        Self::over(stream, pid)
    }

    fn over(stream: UnixStream, pid: i32) -> Result<Self, HostError> {
        let reader = BufReader::new(stream.try_clone().context("init")?);
        Ok(Self {
            stream,
            reader,
            pid,
        })
    }

    /// Init's process number as seen from here.
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Makes a host's namespaces unless they are there, and opens them.
    pub fn add_host(&mut self, name: &str, resolv_conf: String) -> Result<Namespaces, HostError> {
        let request = InitRequest::AddHost {
            name: name.to_owned(),
            resolv_conf,
        };
        match self.ask(&request)? {
            InitReply::Host(descriptors) => self.open(descriptors),
            other => Err(unexpected(&other)),
        }
    }

    /// Opens the namespaces that init holds.
    pub fn open(&self, descriptors: HostDescriptors) -> Result<Namespaces, HostError> {
        let path = |fd: i32| PathBuf::from(format!("/proc/{}/fd/{fd}", self.pid));
        Namespaces::open(&path(descriptors.net), &path(descriptors.mnt))
    }

    /// Ends what runs in a host, and lets go of it.
    pub fn remove_host(&mut self, name: &str) -> Result<(), HostError> {
        self.done(&InitRequest::RemoveHost {
            name: name.to_owned(),
        })
    }

    /// Ends a program and forgets it.
    pub fn stop(&mut self, key: &str) -> Result<(), HostError> {
        self.done(&InitRequest::Stop {
            key: key.to_owned(),
        })
    }

    /// Ends a host's programs and starts them anew.
    pub fn restart(&mut self, host: &str) -> Result<(), HostError> {
        self.done(&InitRequest::Restart {
            host: host.to_owned(),
        })
    }

    /// Kills or freezes all that runs in a host, or lets it run again.
    pub fn set_fault(&mut self, host: &str, fault: Option<HostFault>) -> Result<(), HostError> {
        self.done(&InitRequest::SetFault {
            host: host.to_owned(),
            fault,
        })
    }

    /// Starts a program in a host unless it runs.
    pub fn run(&mut self, host: &str, command: CommandPlan) -> Result<(), HostError> {
        self.done(&InitRequest::Run {
            host: host.to_owned(),
            command,
        })
    }

    /// Starts the daemon unless it runs.
    pub fn start_daemon(&mut self) -> Result<(), HostError> {
        self.done(&InitRequest::StartDaemon)
    }

    /// Leaves a copy of an attached interface's descriptor with init.
    pub fn keep_port(&mut self, held: &Held) -> Result<(), HostError> {
        self.done(&InitRequest::KeepPort(held.attached.clone()))?;
        descriptors::send(&self.stream, &held.descriptors()).context("init")?;
        match self.reply()? {
            InitReply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Lets init close its copy.
    pub fn release_port(&mut self, eni: &str) -> Result<(), HostError> {
        self.done(&InitRequest::ReleasePort {
            eni: eni.to_owned(),
        })
    }

    /// What init has kept.
    pub fn kept_ports(&mut self) -> Result<Vec<Held>, HostError> {
        let kept = match self.ask(&InitRequest::KeptPorts)? {
            InitReply::Ports(kept) => kept,
            other => return Err(unexpected(&other)),
        };
        if kept.is_empty() {
            return Ok(Vec::new());
        }
        line::send(&self.stream, &InitRequest::SendPorts).context("init")?;
        let received = kept
            .into_iter()
            .map(|attached| Held::receive(attached, &self.stream));
        received.collect::<Result<_, _>>().context("init")
    }

    /// Hosts and programs.
    pub fn status(&mut self) -> Result<InitStatus, HostError> {
        match self.ask(&InitRequest::Status)? {
            InitReply::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends the lab.
    pub fn shutdown(&mut self) -> Result<(), HostError> {
        self.stream
            .set_read_timeout(Some(SHUTDOWN_PATIENCE))
            .context("init")?;
        self.done(&InitRequest::Shutdown)
    }

    fn done(&mut self, request: &InitRequest) -> Result<(), HostError> {
        match self.ask(request)? {
            InitReply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&mut self, request: &InitRequest) -> Result<InitReply, HostError> {
        line::send(&self.stream, request).context("init")?;
        self.reply()
    }

    fn reply(&mut self) -> Result<InitReply, HostError> {
        match line::receive(&mut self.reader).context("init")? {
            Some(InitReply::Failed(message)) => Err(HostError::new(message)),
            Some(reply) => Ok(reply),
            None => Err(HostError::new("the lab's init has ended")),
        }
    }
}

fn unexpected(reply: &InitReply) -> HostError {
    HostError::new(format!("unexpected answer of init: {reply:?}"))
}
