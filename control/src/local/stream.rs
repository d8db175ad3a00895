//! TCP of the services: one small stack for each host that speaks it, for as
//! long as a connection is under way.

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{
    HardwareAddress, IpAddress, IpCidr, IpListenEndpoint, Ipv4Address, Ipv6Address,
};
use vpclab_dataplane::packet::{Frame, Headers};
use vpclab_dataplane::time::{Duration, Instant};
use vpclab_dataplane::walk::{METADATA_V4, METADATA_V6, RESOLVER_V4, RESOLVER_V6, Service};

use super::asker::Asker;
use crate::health::NodeDevice;

/// Connections of one host to its services at once; more are refused.
const CONNECTIONS_MAX: usize = 64;
/// A connection on which nothing comes is ended.
const IDLE: Duration = Duration::from_secs(10);
const BUFFER_LEN: usize = 16 * 1024;
/// A client that sends more than this before it is understood is cut off.
const REQUEST_MAX: usize = 16 * 1024;

/// What a service makes of the bytes that came so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// How many of them it has taken.
    pub(super) taken: usize,
    /// What it says.
    pub(super) bytes: Vec<u8>,
    /// Whether that is all on this connection.
    pub(super) close: bool,
    /// The answer is brought by [`Stack::deliver`] under this number.
    pub(super) later: Option<u64>,
    /// How far the answer may travel, if not as usual.
    pub(super) hop_limit: Option<u8>,
}

/// The stack that a host meets at the services' addresses.
pub(super) struct Stack {
    interface: Interface,
    device: NodeDevice,
    sockets: SocketSet<'static>,
    connections: Vec<Connection>,
}

struct Connection {
    socket: SocketHandle,
    service: Service,
    asked: Vec<u8>,
    answer: Vec<u8>,
    closing: bool,
    /// What its answer will be called.
    waits_for: Option<u64>,
    dies_at: Instant,
}

impl Stack {
    pub(super) fn new(asker: &Asker<'_>, seed: u64) -> Option<Self> {
        let subnet = asker.tables.subnets.row(asker.row.subnet)?;
        // Seen from the services, the host is the next hop.
        let mut device = NodeDevice::new(asker.eni, subnet.router_mac, asker.row.mac);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut device, StackInstant::ZERO);
        let v4 = [RESOLVER_V4, METADATA_V4].map(IpAddress::from);
        let v6 = [RESOLVER_V6, METADATA_V6].map(IpAddress::from);
        let vpc = asker.tables.vpcs.row(asker.row.vpc)?;
        let resolver = vpc.resolver().map(IpAddress::from);
        interface.update_ip_addrs(|addresses| {
            for address in v4.into_iter().chain(v6).chain(resolver) {
                let len = match address {
                    IpAddress::Ipv4(_) => 32,
                    IpAddress::Ipv6(_) => 128,
                };
                // There is room for eight.
                let _ = addresses.push(IpCidr::new(address, len));
            }
        });
        // The device writes the MAC addresses: any gateway will do.
        let routes = interface.routes_mut();
        let _ = routes.add_default_ipv4_route(Ipv4Address::new(169, 254, 0, 1));
        let _ = routes.add_default_ipv6_route(Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
        Some(Self {
            interface,
            device,
            sockets: SocketSet::new(Vec::new()),
            connections: Vec::new(),
        })
    }

    /// Takes in a frame of the host.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        service: Service,
        frame: Frame,
        headers: &Headers,
    ) {
        if headers.is_tcp_open() && self.connections.len() < CONNECTIONS_MAX {
            let mut socket = tcp::Socket::new(
                tcp::SocketBuffer::new(vec![0; BUFFER_LEN]),
                tcp::SocketBuffer::new(vec![0; BUFFER_LEN]),
            );
            socket.set_ack_delay(None);
            let at = IpListenEndpoint {
                addr: Some(IpAddress::from(headers.tuple.dst)),
                port: headers.tuple.dport,
            };
            // Only a port of 0 cannot be listened on.
            if socket.listen(at).is_ok() {
                self.connections.push(Connection {
                    socket: self.sockets.add(socket),
                    service,
                    asked: Vec::new(),
                    answer: Vec::new(),
                    closing: false,
                    waits_for: None,
                    dies_at: now + IDLE,
                });
            }
        }
        self.device.receive_frame(frame);
        self.run(now);
        // A repeated SYN met the connection that it had opened before.
        let sockets = &mut self.sockets;
        self.connections.retain(|connection| {
            let socket = sockets.get::<tcp::Socket>(connection.socket);
            let used = socket.state() != tcp::State::Listen;
            if !used {
                sockets.remove(connection.socket);
            }
            used
        });
    }

    /// Lets connections go on, and appends what is sent to `tx`. `answer` says
    /// what a service makes of what came.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        tx: &mut Vec<Frame>,
        mut answer: impl FnMut(Service, &[u8]) -> Reply,
    ) {
        self.run(now);
        for connection in &mut self.connections {
            let socket = self.sockets.get_mut::<tcp::Socket>(connection.socket);
            connection.go_on(now, socket, &mut answer);
        }
        self.run(now);
        self.device.transmit_frames(tx);
        let sockets = &mut self.sockets;
        self.connections.retain(|connection| {
            let socket = sockets.get::<tcp::Socket>(connection.socket);
            let over = matches!(socket.state(), tcp::State::Closed | tcp::State::TimeWait);
            if over {
                sockets.remove(connection.socket);
            }
            !over
        });
    }

    /// The answer that a connection waits for; nobody may any more.
    pub(super) fn deliver(&mut self, now: Instant, number: u64, bytes: Vec<u8>) {
        let mut all = self.connections.iter_mut();
        if let Some(connection) = all.find(|it| it.waits_for == Some(number)) {
            connection.waits_for = None;
            connection.answer.extend(bytes);
            connection.dies_at = now + IDLE;
        }
    }

    /// Whether no connection is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.connections.is_empty()
    }

    /// When [`Self::poll`] next has something to do.
    pub(super) fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let stack = self
            .interface
            .poll_at(stack_time(now), &self.sockets)
            .map(|at| Instant::from_nanos(at.total_micros().max(0) as u64 * 1_000));
        let dying = self.connections.iter().map(|it| it.dies_at).min();
        stack.into_iter().chain(dying).min()
    }

    fn run(&mut self, now: Instant) {
        self.interface
            .poll(stack_time(now), &mut self.device, &mut self.sockets);
    }
}

impl Connection {
    fn go_on(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        answer: &mut impl FnMut(Service, &[u8]) -> Reply,
    ) {
        if self.dies_at <= now {
            socket.abort();
            return;
        }
        let before = self.asked.len();
        while socket.can_recv() && self.asked.len() < REQUEST_MAX {
            let asked = &mut self.asked;
            let taken = socket.recv(|bytes| {
                asked.extend_from_slice(bytes);
                (bytes.len(), ())
            });
            if taken.is_err() {
                break;
            }
        }
        if self.asked.len() > before {
            self.dies_at = now + IDLE;
        }
        while !self.closing && self.waits_for.is_none() && !self.asked.is_empty() {
            let reply = answer(self.service, &self.asked);
            self.waits_for = reply.later;
            if reply.taken == 0 && !reply.close {
                break;
            }
            self.asked.drain(..reply.taken.min(self.asked.len()));
            self.answer.extend(reply.bytes);
            self.closing = reply.close;
            if let Some(hops) = reply.hop_limit {
                socket.set_hop_limit(Some(hops.max(1)));
            }
        }
        let opening = matches!(socket.state(), tcp::State::SynReceived | tcp::State::Listen);
        // Too long to be anything, or the client has said all that it will.
        let said_all = !opening && !socket.may_recv() && self.waits_for.is_none();
        self.closing |= self.asked.len() >= REQUEST_MAX || said_all;
        if !self.answer.is_empty() && socket.can_send() {
            let sent = socket.send_slice(&self.answer).unwrap_or(0);
            self.answer.drain(..sent);
        }
        if self.closing && self.answer.is_empty() && !opening {
            socket.close();
        }
    }
}

/// The stack counts in microseconds; rounding down never makes it late.
fn stack_time(now: Instant) -> StackInstant {
    StackInstant::from_micros(i64::try_from(now.as_nanos() / 1_000).unwrap_or(i64::MAX))
}
