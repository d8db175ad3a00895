//! Probes of one load-balancer node: real TCP connections from its address.
//!
//! Sans-IO: frames and time come in, frames and results go out. The frames
//! enter the data plane by the node's interface like any host's, so routes,
//! network ACLs and the targets' security groups judge them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, Ipv4Address, Ipv6Address};
use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::packet::{Frame, PROXY_LOCAL};
use vpclab_dataplane::time::{Duration, Instant};

use super::http;
use super::stack::NodeDevice;
use crate::model::{CheckProtocol, HealthCheck, ProbeFailure};

/// Local ports of probes: the data plane's NAT leaves them free at every node
/// address, so a probe's reply is never taken for a client's.
pub const PROBE_PORTS: std::ops::RangeInclusive<u16> = 1024..=1535;

/// When every local port is in use, a due probe waits this long.
const PORT_RETRY: Duration = Duration::from_millis(10);
/// Room for the request and for what is read at a time.
const BUFFER_LEN: usize = 2048;

/// Where a node sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its interface; frames sent carry it as port of entry.
    pub eni: EniId,
    /// Its MAC address.
    pub mac: Mac,
    /// Its addresses; the first of each family is the source of probes.
    pub addresses: Vec<IpAddr>,
    /// MAC address of the VPC router in its subnet.
    pub router_mac: Mac,
}

/// One thing to probe, again and again. `K` names it in results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeTarget<K> {
    /// Names the target to the caller.
    pub key: K,
    /// Where to connect.
    pub address: SocketAddr,
    /// How.
    pub check: Arc<HealthCheck>,
    /// Whether a connection begins with a proxy protocol header.
    pub proxy_protocol: bool,
    /// The target's MAC address if it lives in the node's subnet, else it is
    /// reached by the router.
    pub neighbour: Option<Mac>,
}

/// The outcome of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeResult<K> {
    /// Which target.
    pub key: K,
    /// How it went.
    pub outcome: Result<(), ProbeFailure>,
}

/// The probes of one node.
pub struct Prober<K> {
    config: NodeConfig,
    interface: Interface,
    device: NodeDevice,
    sockets: SocketSet<'static>,
    checks: BTreeMap<K, Check<K>>,
    /// Connections whose probe is decided, until they are closed.
    closing: Vec<Closing>,
    next_port: u16,
    /// A probe waits at least this long.
    patience: Duration,
}

struct Check<K> {
    target: ProbeTarget<K>,
    next_at: Instant,
    probe: Option<Probe>,
}

/// A probe under way.
struct Probe {
    socket: SocketHandle,
    port: u16,
    deadline: Instant,
    introduced: bool,
    requested: bool,
    response: Vec<u8>,
}

struct Closing {
    socket: SocketHandle,
    port: u16,
    deadline: Instant,
}

impl<K: Ord + Clone> Prober<K> {
    /// Lets every probe wait at least this long, whatever its timeout.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// An idle prober. Equal seeds and inputs give equal frames.
    pub fn new(config: NodeConfig, seed: u64) -> Self {
        let mut device = NodeDevice::new(config.eni, config.mac, config.router_mac);
        let mut stack = Config::new(HardwareAddress::Ip);
        stack.random_seed = seed;
        let mut interface = Interface::new(stack, &mut device, StackInstant::ZERO);
        let own = [
            config.addresses.iter().find(|a| a.is_ipv4()),
            config.addresses.iter().find(|a| a.is_ipv6()),
        ];
        interface.update_ip_addrs(|addresses| {
            for &address in own.into_iter().flatten() {
                let len = if address.is_ipv4() { 32 } else { 128 };
                // Two fit at least, and there is one of each family.
                let _ = addresses.push(IpCidr::new(IpAddress::from(address), len));
            }
        });
        // The device writes the MAC addresses: any gateway will do.
        let routes = interface.routes_mut();
        let _ = routes.add_default_ipv4_route(Ipv4Address::new(169, 254, 0, 1));
        let _ = routes.add_default_ipv6_route(Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
        let span = PROBE_PORTS.end() - PROBE_PORTS.start() + 1;
        Self {
            config,
            interface,
            device,
            sockets: SocketSet::new(Vec::new()),
            checks: BTreeMap::new(),
            closing: Vec::new(),
            patience: Duration::ZERO,
            next_port: PROBE_PORTS.start() + (seed % u64::from(span)) as u16,
        }
    }

    /// Where the node sits.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Replaces the targets. One that stays as it was keeps its schedule and
    /// the probe under way; a new or altered one is probed at once.
    pub fn set_targets(&mut self, now: Instant, targets: Vec<ProbeTarget<K>>) {
        let mut neighbours = BTreeMap::new();
        let mut old = std::mem::take(&mut self.checks);
        for target in targets {
            if let Some(mac) = target.neighbour {
                neighbours.insert(target.address.ip(), mac);
            }
            let kept = old.remove(&target.key).map(|check| {
                if check.target == target {
                    Ok(check)
                } else {
                    Err(check)
                }
            });
            let check = match kept {
                Some(Ok(check)) => check,
                replaced => {
                    if let Some(Err(check)) = replaced {
                        self.abandon(check);
                    }
                    Check {
                        target: target.clone(),
                        next_at: now,
                        probe: None,
                    }
                }
            };
            self.checks.insert(target.key, check);
        }
        for check in old.into_values() {
            self.abandon(check);
        }
        self.device.set_neighbours(neighbours);
    }

    /// Takes in the frames of `rx` (which it empties), sends what is due to
    /// `tx`, and adds probes decided by `now` to `results`.
    pub fn poll(
        &mut self,
        now: Instant,
        rx: &mut Vec<Frame>,
        tx: &mut Vec<Frame>,
        results: &mut Vec<ProbeResult<K>>,
    ) {
        for frame in rx.drain(..) {
            self.device.receive_frame(frame);
        }
        let stack_now = stack_time(now);
        self.start_due(now);
        self.run_stack(stack_now);
        self.advance_probes(now, results);
        self.run_stack(stack_now);
        self.reap(now);
        self.device.transmit_frames(tx);
    }

    /// When [`Self::poll`] next has something to do without a frame coming in.
    pub fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let checks = self.checks.values().map(|check| match &check.probe {
            Some(probe) => probe.deadline,
            None => check.next_at,
        });
        let closing = self.closing.iter().map(|closing| closing.deadline);
        let ours = checks.chain(closing).min();
        let stack = self
            .interface
            .poll_at(stack_time(now), &self.sockets)
            .map(|at| Instant::from_nanos(at.total_micros().max(0) as u64 * 1_000));
        ours.into_iter().chain(stack).min()
    }

    fn run_stack(&mut self, now: StackInstant) {
        self.interface
            .poll(now, &mut self.device, &mut self.sockets);
    }

    fn start_due(&mut self, now: Instant) {
        let due: Vec<K> = self
            .checks
            .iter()
            .filter(|(_, check)| check.probe.is_none() && check.next_at <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            let port = self.free_port();
            let Some(check) = self.checks.get_mut(&key) else {
                continue;
            };
            let Some(port) = port else {
                check.next_at = now + PORT_RETRY;
                continue;
            };
            let settings = &check.target.check;
            check.next_at = now + settings.interval();
            let mut socket = tcp::Socket::new(
                tcp::SocketBuffer::new(vec![0; BUFFER_LEN]),
                tcp::SocketBuffer::new(vec![0; BUFFER_LEN]),
            );
            socket.set_ack_delay(None);
            let remote = (
                IpAddress::from(check.target.address.ip()),
                check.target.address.port(),
            );
            // A node without an address of the target's family cannot connect:
            // the socket stays closed and the probe fails.
            let _ = socket.connect(self.interface.context(), remote, port);
            check.probe = Some(Probe {
                socket: self.sockets.add(socket),
                port,
                deadline: now + settings.timeout().max(self.patience),
                introduced: false,
                requested: false,
                response: Vec::new(),
            });
        }
    }

    /// The next local port that no connection holds.
    fn free_port(&mut self) -> Option<u16> {
        for _ in PROBE_PORTS {
            let port = self.next_port;
            self.next_port = if port >= *PROBE_PORTS.end() {
                *PROBE_PORTS.start()
            } else {
                port + 1
            };
            let probing = self.checks.values().filter_map(|c| c.probe.as_ref());
            let used = probing.map(|p| p.port).any(|p| p == port)
                || self.closing.iter().any(|c| c.port == port);
            if !used {
                return Some(port);
            }
        }
        None
    }

    fn advance_probes(&mut self, now: Instant, results: &mut Vec<ProbeResult<K>>) {
        for check in self.checks.values_mut() {
            let Some(probe) = &mut check.probe else {
                continue;
            };
            let socket = self.sockets.get_mut::<tcp::Socket>(probe.socket);
            let decided = advance(probe, socket, &check.target);
            let timed_out = probe.deadline <= now;
            let outcome = match decided {
                Some(outcome) => outcome,
                None if timed_out => Err(ProbeFailure::Timeout),
                None => continue,
            };
            let key = check.target.key.clone();
            let deadline = now + check.target.check.timeout();
            if let Some(probe) = check.probe.take() {
                close(&mut self.sockets, &mut self.closing, probe, deadline);
            }
            results.push(ProbeResult { key, outcome });
        }
    }

    /// Forgets connections that are closed, or that took too long to close.
    fn reap(&mut self, now: Instant) {
        let sockets = &mut self.sockets;
        self.closing.retain(|closing| {
            let socket = sockets.get_mut::<tcp::Socket>(closing.socket);
            // What the server still sends is of no interest.
            while socket.can_recv() && socket.recv(|bytes| (bytes.len(), ())).is_ok() {}
            let done = matches!(socket.state(), tcp::State::Closed | tcp::State::TimeWait);
            let keep = !done && closing.deadline > now;
            if !keep {
                sockets.remove(closing.socket);
            }
            keep
        });
    }

    fn abandon(&mut self, check: Check<K>) {
        if let Some(probe) = check.probe {
            let deadline = probe.deadline;
            close(&mut self.sockets, &mut self.closing, probe, deadline);
        }
    }
}

/// Ends a probe's connection in an orderly way, as a client's that is done, so
/// that servers log no reset. One that never opened is just forgotten.
fn close(
    sockets: &mut SocketSet<'static>,
    closing: &mut Vec<Closing>,
    probe: Probe,
    deadline: Instant,
) {
    let socket = sockets.get_mut::<tcp::Socket>(probe.socket);
    if matches!(socket.state(), tcp::State::SynSent | tcp::State::Closed) {
        sockets.remove(probe.socket);
        return;
    }
    socket.close();
    closing.push(Closing {
        socket: probe.socket,
        port: probe.port,
        deadline,
    });
}

/// Moves one probe on; says how it went once that is known.
fn advance<K>(
    probe: &mut Probe,
    socket: &mut tcp::Socket<'_>,
    target: &ProbeTarget<K>,
) -> Option<Result<(), ProbeFailure>> {
    if socket.state() == tcp::State::Closed {
        return Some(Err(ProbeFailure::Refused));
    }
    if matches!(
        socket.state(),
        tcp::State::SynSent | tcp::State::SynReceived
    ) {
        return None;
    }
    if target.proxy_protocol && !probe.introduced {
        probe.introduced = socket.send_slice(&PROXY_LOCAL).is_ok();
    }
    let CheckProtocol::Http { path, matcher } = &target.check.protocol else {
        return Some(Ok(()));
    };
    if !probe.requested {
        let request = http::request(path, target.address);
        probe.requested = socket.send_slice(request.as_bytes()).is_ok();
    }
    while socket.can_recv() && probe.response.len() < http::STATUS_LINE_MAX {
        let taken = socket.recv(|bytes| {
            probe.response.extend_from_slice(bytes);
            (bytes.len(), ())
        });
        if taken.is_err() {
            break;
        }
    }
    match http::status(&probe.response) {
        http::Status::Code(code) if matcher.accepts(code) => Some(Ok(())),
        http::Status::Code(code) => Some(Err(ProbeFailure::Status(code))),
        http::Status::Malformed => Some(Err(ProbeFailure::Malformed)),
        http::Status::Incomplete if socket.may_recv() => None,
        http::Status::Incomplete => Some(Err(ProbeFailure::Refused)),
    }
}

/// The stack counts in microseconds; rounding down never makes it late.
fn stack_time(now: Instant) -> StackInstant {
    StackInstant::from_micros(i64::try_from(now.as_nanos() / 1_000).unwrap_or(i64::MAX))
}
