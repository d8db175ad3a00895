//! The daemon of a lab: control plane, packet worker, hosts, control socket.

mod attach;
mod aws;
pub(crate) mod change;
mod drops;
mod faults;
mod fixed;
mod gateway;
mod health;
mod http;
pub(crate) mod load;
mod local;
mod model;
mod server;
mod services;
mod show;
mod top;
mod upstream;
mod wiring;

use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use vpclab_dataplane::pipeline::Config;
use vpclab_dataplane::worker::{Clock, Handle, team};

use super::init_client::InitClient;
use super::protocol::Failure;
use super::runtime_dir::RuntimeDir;
use super::signals::Signals;
use super::{Context, HostError, limits};
use crate::aws::Credentials;
use crate::cli::CliError;
use model::Model;

/// Frames for the services on hosts' links, and for the stacks at load-balancer
/// nodes, that may wait.
const LOCAL_QUEUE: usize = 4096;
/// The daemon looks this often whether its worker still lives.
const WATCH_INTERVAL_MS: u16 = 500;

/// What the connections share.
pub(crate) struct Lab {
    pub(crate) dir: RuntimeDir,
    pub(crate) worker: Handle,
    pub(crate) model: Model,
    attachments: attach::Attachments,
    gateway: gateway::Slot,
    services: services::Slot,
    pub(crate) faults: faults::Faults,
    /// Held by a change until all of it is done.
    changing: Mutex<()>,
    readiness: Mutex<Option<Result<(), Failure>>>,
    ready: Condvar,
    http: OnceLock<SocketAddr>,
    /// Whose requests the AWS API answers, if not everybody's.
    credentials: Option<Credentials>,
    allowed: aws::Allowed,
}

impl Lab {
    /// Waits until the hosts are wired, or were not to be.
    pub(crate) fn wait_ready(&self) -> Result<(), Failure> {
        let guard = self
            .readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let guard = self
            .ready
            .wait_while(guard, |readiness| readiness.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        guard.clone().unwrap_or(Ok(()))
    }

    /// Waits for a change that is under way: whoever asked for it may be gone.
    fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many times as fast as ours the lab's clock runs.
    pub(crate) fn time_scale(&self) -> u32 {
        self.model.time_scale()
    }

    /// Whether the hosts are wired so far; an error if they could not be.
    fn readiness(&self) -> Result<(), Failure> {
        let readiness = self.readiness.lock();
        let readiness = readiness.unwrap_or_else(PoisonError::into_inner);
        readiness.clone().unwrap_or_else(|| {
            let starting = CliError::fault("the lab is starting");
            Err(starting.into())
        })
    }

    /// Where the lab serves HTTP, if it does.
    pub(crate) fn http_at(&self) -> Option<SocketAddr> {
        self.http.get().copied()
    }

    fn set_ready(&self, result: Result<(), Failure>) {
        *self
            .readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.ready.notify_all();
    }
}

/// Runs the lab at `dir` until SIGTERM.
pub fn run(dir: &Path) -> Result<(), CliError> {
    let signals = Signals::collect(&[Signal::SIGTERM, Signal::SIGINT])?;
    let dir = RuntimeDir::at(dir)?;
    let state = dir.state().ok_or_else(load::no_state)?;
    if let Some(ranges) = &state.ip_ranges {
        ranges.install();
    }
    let credentials = load::credentials(&state)?;
    let model = Model::load(&state, &dir)?;

    let seed = random_seed()?;
    let config = Config {
        seed,
        ..Config::default()
    };
    let (local_sender, local) = sync_channel(LOCAL_QUEUE);
    let (workers, options) = load::settings(&state)?;
    let tables = model.tables();
    let (workers, handle) = team(
        usize::from(workers),
        config,
        &tables,
        Clock::start().scaled(model.time_scale()),
        options,
        &local_sender,
    )
    .context("packet workers")?;
    // The workers have copies: when all have ended, so have the health checks.
    drop(local_sender);
    let mut packets = Vec::new();
    for (n, worker) in workers.into_iter().enumerate() {
        let thread = thread::Builder::new().name(format!("packets-{n}"));
        packets.push(thread.spawn(move || worker.run()).context("worker")?);
    }
    let counters = handle.counters().context("packet workers")?;
    let io = counters.mover.to_string();
    tracing::info!(workers = packets.len(), io, "packet workers run");

    let socket = dir.control_socket();
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).context(socket.display())?;
    let lab = Arc::new(Lab {
        dir,
        worker: handle,
        model,
        attachments: attach::Attachments::default(),
        gateway: gateway::Slot::default(),
        services: services::Slot::default(),
        faults: faults::Faults::default(),
        changing: Mutex::default(),
        readiness: Mutex::default(),
        ready: Condvar::new(),
        http: OnceLock::new(),
        credentials,
        allowed: aws::Allowed {
            reset: state.allow_reset,
            user_data: state.run_user_data,
            namespaces: !state.attach_only,
        },
    });
    server::start(Arc::clone(&lab), listener)?;
    let (to_nodes, at_nodes) = sync_channel(LOCAL_QUEUE);
    local::start(Arc::clone(&lab), seed, local, to_nodes)?;
    health::start(Arc::clone(&lab), seed, at_nodes)?;
    // Who changes hosts meanwhile waits until they are there.
    let starting = lab.lock_changes();
    let wired = http::start(&lab, &state).and_then(|at| {
        if state.default_vpc {
            lab.make_default_vpc()?;
        }
        limits::check_open_files(&lab.model.hosts(), lab.worker.workers())?;
        if let Some(at) = at {
            let _ = lab.http.set(at);
        }
        open_gateway(&lab)?;
        open_services(&lab)?;
        wire(&lab)
    });
    drop(starting);
    if let Err(error) = &wired {
        tracing::error!("{error}");
    }
    lab.set_ready(wired.map_err(Failure::from));

    // Where there is a PID namespace, the end of init is the end of all in it.
    let init = getppid();
    let mut failed = false;
    while !packets.iter().any(JoinHandle::is_finished) {
        let mut descriptors = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut descriptors, PollTimeout::from(WATCH_INTERVAL_MS));
        if signals.take().is_some() || getppid() != init {
            // TAPs go with their namespaces.
            let _ = lab.worker.stop();
            break;
        }
        attach::sweep(&lab);
        // What could not be wired, the next daemon wires: `up` starts it. Who
        // asked this one has a look's time to get its answer, others find nobody.
        if failed {
            break;
        }
        failed = lab.readiness().is_err();
        if failed {
            let _ = std::fs::remove_file(lab.dir.control_socket());
        }
    }
    // One that ended by itself takes the others with it.
    let _ = lab.worker.stop();
    let results: Vec<_> = packets.into_iter().map(JoinHandle::join).collect();
    for result in results {
        match result {
            Ok(result) => result.context("packet worker")?,
            Err(_) => return Err(CliError::fault("a packet worker panicked")),
        }
    }
    Ok(())
}

/// Published ports and the uplink.
fn open_gateway(lab: &Lab) -> Result<(), CliError> {
    let topology = lab.model.file().topology.clone();
    let listeners = gateway::prepare(lab, &topology)?;
    gateway::apply(lab, &topology, listeners)
}

/// AWS's services that the lab has.
fn open_services(lab: &Lab) -> Result<(), CliError> {
    let topology = lab.model.file().topology.clone();
    services::configure(lab, &topology);
    let model = lab.model.control().model().clone();
    Ok(services::sync(lab, &model)?)
}

/// Namespaces, interfaces, addresses and commands of every host.
fn wire(lab: &Lab) -> Result<(), CliError> {
    let mut init = InitClient::connect_as_child(&lab.dir)?;
    let model = lab.model.control().model().clone();
    let hosts: Vec<_> = lab.hosts_of(&model).into_values().collect();
    change::end_strangers(&mut init, &hosts)?;
    for host in &hosts {
        wiring::wire_host(&mut init, &lab.worker, host)?;
        tracing::info!(host = host.name, "host is up");
    }
    attach::adopt(lab, &mut init)?;
    let links = lab.model.file().links.clone();
    faults::start(lab, &links)?;
    for host in &hosts {
        for command in &host.commands {
            init.run(&host.name, command.clone())?;
        }
    }
    Ok(())
}

fn random_seed() -> Result<u64, HostError> {
    let mut bytes = [0u8; 8];
    let mut source = std::fs::File::open("/dev/urandom").context("/dev/urandom")?;
    std::io::Read::read_exact(&mut source, &mut bytes).context("/dev/urandom")?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::random_seed;

    /// Else somebody who knows one lab's buckets could aim at another's.
    #[test]
    fn every_daemon_hashes_flows_by_a_seed_of_its_own() {
        let seeds: std::collections::BTreeSet<u64> =
            (0..32).map(|_| random_seed().unwrap()).collect();
        assert_eq!(seeds.len(), 32);
    }
}
