//! TCP between the lab and the real network: a connection ends here on both
//! sides, and its bytes are carried from one to the other.

use std::io::ErrorKind;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::poll::PollFlags;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::{IpEndpoint, IpListenEndpoint};
use vpclab_dataplane::packet::FiveTuple;
use vpclab_dataplane::time::{Duration, Instant};

use super::sockets::{self, Stream};

/// Most connections at once; more are refused.
pub(super) const FLOWS_MAX: usize = 512;
/// Bytes that wait in the lab's stack, each way: the rest waits in the sender.
pub(super) const BUFFER: usize = 64 * 1024;
/// A connection without a byte for this long ends.
pub(super) const IDLE: Duration = Duration::from_secs(3600);
/// How long the other side may take to accept.
pub(super) const CONNECT: Duration = Duration::from_secs(30);
/// Ports from which published connections enter the lab.
const FIRST_PORT: u16 = 32_768;

/// What to do about a packet that opens a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opening {
    /// Its connection is being made: the packet is kept.
    Begun,
    /// The stack has its connection.
    Open,
    /// The same packet again, while its connection is being made.
    Again,
    /// There are too many.
    NoRoom,
    /// The real network has no way there.
    Unreachable,
}

/// What became of a connection that a packet had asked for.
#[derive(Debug)]
pub(super) enum News {
    /// The other side accepted: here is the packet, for the stack.
    Accepted(Vec<u8>),
    /// It said no: here is the packet, to be answered by a reset.
    Refused(Vec<u8>),
    /// There is no way to it.
    Unreachable(Vec<u8>),
}

struct Flow {
    /// From the lab's side; `None` for a published port's.
    tuple: Option<FiveTuple>,
    /// From which port of the gateway a published one entered.
    port: u16,
    stream: Stream,
    socket: Option<SocketHandle>,
    /// The packet that asked, until the other side has accepted.
    opening: Option<Vec<u8>>,
    /// The real side may have something to read.
    readable: bool,
    /// It has no room at the moment.
    blocked: bool,
    lab_closed: bool,
    remote_closed: bool,
    /// Both sides have agreed to it.
    established: bool,
    /// It ends by resets.
    aborted: bool,
    deadline: Instant,
}

/// All connections.
#[derive(Default)]
pub(super) struct TcpFlows {
    flows: Vec<Flow>,
    next_port: u16,
}

impl TcpFlows {
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// The connection of a packet that opens one, if there is one.
    pub(super) fn known(&self, tuple: FiveTuple) -> Option<Opening> {
        let mut flows = self.flows.iter();
        let flow = flows.find(|flow| flow.tuple == Some(tuple))?;
        Some(match flow.socket {
            Some(_) => Opening::Open,
            None => Opening::Again,
        })
    }

    /// A packet of the lab opens a connection to `address` of the real network.
    pub(super) fn open(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        address: IpAddr,
        packet: &[u8],
    ) -> Opening {
        if self.flows.len() >= FLOWS_MAX {
            return Opening::NoRoom;
        }
        let stream = match sockets::connect(SocketAddr::new(address, tuple.dport)) {
            Ok(stream) => stream,
            // No more descriptors, for one.
            Err(error) if error.raw_os_error() == Some(nix::libc::EMFILE) => {
                return Opening::NoRoom;
            }
            Err(_) => return Opening::Unreachable,
        };
        self.flows.push(Flow {
            tuple: Some(tuple),
            opening: Some(packet.to_vec()),
            blocked: true,
            ..Flow::new(stream, now)
        });
        Opening::Begun
    }

    /// A packet of the lab opens a connection that something in this process takes.
    pub(super) fn take(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        packet: &[u8],
        stream: UnixStream,
    ) {
        self.flows.push(Flow {
            tuple: Some(tuple),
            opening: Some(packet.to_vec()),
            ..Flow::new(Stream::Process(stream), now)
        });
    }

    /// A connection came to a published port: continues it in the lab, from
    /// address to address and port. False without room.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        iface: &mut Interface,
        sockets: &mut SocketSet<'static>,
        stream: TcpStream,
        (from, to): (IpAddr, SocketAddr),
    ) -> bool {
        if self.flows.len() >= FLOWS_MAX || stream.set_nonblocking(true).is_err() {
            sockets::reset(stream);
            return false;
        }
        // What waits to be sent is sent at once, as the lab's side sent it.
        let _ = stream.set_nodelay(true);
        let port = self.free_port();
        let mut socket = new_socket();
        let (remote, local) = (IpEndpoint::from(to), IpEndpoint::new(from.into(), port));
        if socket.connect(iface.context(), remote, local).is_err() {
            sockets::reset(stream);
            return false;
        }
        self.flows.push(Flow {
            port,
            socket: Some(sockets.add(socket)),
            ..Flow::new(stream, now)
        });
        true
    }

    /// A port that no published connection has: there are more of them.
    fn free_port(&mut self) -> u16 {
        loop {
            let port = FIRST_PORT + self.next_port % (u16::MAX - FIRST_PORT);
            self.next_port = self.next_port.wrapping_add(1);
            if !self.flows.iter().any(|flow| flow.port == port) {
                return port;
            }
        }
    }

    /// Looks which connections the other side has accepted or refused.
    pub(super) fn settle(&mut self, now: Instant, sockets: &mut SocketSet<'static>) -> Vec<News> {
        let mut news = Vec::new();
        self.flows.retain_mut(|flow| {
            let Some(tuple) = flow.tuple.filter(|_| flow.opening.is_some()) else {
                return true;
            };
            if flow.blocked {
                return flow.deadline > now;
            }
            flow.blocked = true;
            match flow.stream.take_error() {
                Ok(None) if flow.stream.is_connected() => {}
                Ok(None) => return flow.deadline > now,
                Ok(Some(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                    news.extend(flow.opening.take().map(News::Refused));
                    return false;
                }
                _ => {
                    news.extend(flow.opening.take().map(News::Unreachable));
                    return false;
                }
            }
            let mut socket = new_socket();
            let place = IpListenEndpoint {
                addr: Some(tuple.dst.into()),
                port: tuple.dport,
            };
            if socket.listen(place).is_err() {
                return false;
            }
            flow.stream.hurry();
            flow.socket = Some(sockets.add(socket));
            flow.blocked = false;
            flow.deadline = now + CONNECT;
            news.extend(flow.opening.take().map(News::Accepted));
            true
        });
        news
    }

    /// Carries what waits on either side; ends what is over.
    pub(super) fn pump(&mut self, now: Instant, sockets: &mut SocketSet<'static>) {
        let mut at = 0;
        while let Some(flow) = self.flows.get_mut(at) {
            let Some(handle) = flow.socket else {
                at += 1;
                continue;
            };
            let socket = sockets.get_mut::<Socket<'_>>(handle);
            if flow.pump(socket) {
                flow.deadline = now + IDLE;
            }
            if flow.deadline <= now && !flow.aborted {
                flow.aborted = true;
                socket.abort();
            }
            if !flow.is_over(socket) {
                at += 1;
                continue;
            }
            sockets.remove(handle);
            let flow = self.flows.swap_remove(at);
            if flow.aborted {
                sockets::reset(flow.stream);
            }
        }
    }

    /// When something is to be done at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.flows.iter().map(|flow| flow.deadline).min()
    }

    /// What tells that something can be done, in the order of [`Self::mark`].
    pub(super) fn interests(
        &self,
        sockets: &SocketSet<'static>,
    ) -> impl Iterator<Item = Option<(BorrowedFd<'_>, PollFlags)>> {
        self.flows.iter().map(|flow| {
            let room = flow
                .socket
                .is_some_and(|handle| sockets.get::<Socket<'_>>(handle).can_send());
            let mut events = PollFlags::empty();
            let reads = room && !flow.readable && !flow.remote_closed;
            events.set(PollFlags::POLLIN, reads);
            events.set(PollFlags::POLLOUT, flow.blocked);
            (!events.is_empty()).then(|| (flow.stream.as_fd(), events))
        })
    }

    /// Takes what was waited for.
    pub(super) fn mark(&mut self, ready: impl Iterator<Item = bool>) {
        for (flow, _) in self.flows.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            flow.readable = true;
            flow.blocked = false;
        }
    }
}

impl Flow {
    fn new(stream: impl Into<Stream>, now: Instant) -> Self {
        Self {
            tuple: None,
            port: 0,
            stream: stream.into(),
            socket: None,
            opening: None,
            readable: false,
            blocked: false,
            lab_closed: false,
            remote_closed: false,
            established: false,
            aborted: false,
            deadline: now + CONNECT,
        }
    }

    /// True if a byte moved, or the connection began or ended on one side.
    fn pump(&mut self, socket: &mut Socket<'static>) -> bool {
        let begins = !self.established && socket.state() == State::Established;
        self.established |= begins;
        let up = self.carry_out(socket);
        let down = self.carry_in(socket);
        if socket.state() == State::Closed && !(self.lab_closed && self.remote_closed) {
            // Whoever ended it did so at once, for both.
            self.aborted = true;
        }
        begins | up | down
    }

    /// From the lab to the real network.
    fn carry_out(&mut self, socket: &mut Socket<'static>) -> bool {
        let mut moved = false;
        while socket.can_recv() && !self.blocked {
            let stream = &mut self.stream;
            match socket.recv(|bytes| taken(stream.write(bytes))) {
                Ok(Ok(n)) if n > 0 => moved = true,
                Ok(Err(ErrorKind::WouldBlock)) => self.blocked = true,
                _ => {
                    socket.abort();
                    return true;
                }
            }
        }
        let ended = !socket.may_recv() && !socket.can_recv() && has_ended(socket.state());
        if ended && !self.lab_closed {
            self.lab_closed = true;
            moved = true;
            // One that is gone already needs no end.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        moved
    }

    /// From the real network to the lab.
    fn carry_in(&mut self, socket: &mut Socket<'static>) -> bool {
        let mut moved = false;
        while socket.can_send() && self.readable && !self.remote_closed {
            let stream = &mut self.stream;
            match socket.send(|room| taken(stream.read(room))) {
                Ok(Ok(0)) => {
                    self.remote_closed = true;
                    moved = true;
                    socket.close();
                }
                Ok(Ok(_)) => moved = true,
                Ok(Err(ErrorKind::WouldBlock)) => self.readable = false,
                _ => {
                    socket.abort();
                    return true;
                }
            }
        }
        moved
    }

    fn is_over(&self, socket: &Socket<'static>) -> bool {
        match socket.state() {
            // A reset that is still to be sent has a remote end.
            State::Closed => socket.remote_endpoint().is_none(),
            // All that came has been written: nobody waits for a late packet.
            State::TimeWait => self.lab_closed,
            _ => false,
        }
    }
}

/// Whether the lab's side has said, in order, that it sends no more.
fn has_ended(state: State) -> bool {
    matches!(
        state,
        State::CloseWait | State::LastAck | State::Closing | State::TimeWait
    )
}

/// How many bytes the stack may forget, and what the real socket said.
fn taken(result: std::io::Result<usize>) -> (usize, Result<usize, ErrorKind>) {
    match result {
        Ok(n) => (n, Ok(n)),
        Err(error) if error.kind() == ErrorKind::Interrupted => (0, Err(ErrorKind::WouldBlock)),
        Err(error) => (0, Err(error.kind())),
    }
}

fn new_socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket.set_ack_delay(None);
    socket
}
