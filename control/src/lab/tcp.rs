//! TCP of a simulated host: listeners with a backlog, connections with queues.
//!
//! A smoltcp socket takes one connection, so a listener keeps one socket
//! listening and puts up the next as soon as that one is taken.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::{IpAddress, TcpPacket};

use super::device::socket_addr;
use crate::model::Through;
use crate::upstream::{Client, echo};

/// What a connection does with what it receives.
#[derive(Clone, Debug, Default)]
pub(crate) enum Behaviour {
    /// Keeps it for the test to look at.
    #[default]
    Collect,
    /// Keeps it and sends it back.
    Echo,
    /// Answers the first bytes with these, then closes.
    Serve(Vec<u8>),
    /// Counts it only.
    Discard,
    /// Answers as `echo` does for a service of AWS's, then closes.
    Service(Through),
}

/// One connection, from its first segment on; outlives its socket.
#[derive(Debug)]
pub(crate) struct TcpConn {
    socket: Option<SocketHandle>,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) rx: Vec<u8>,
    pub(crate) rx_total: u64,
    tx: VecDeque<u8>,
    behaviour: Behaviour,
    served: bool,
    closing: bool,
    aborting: bool,
    pub(crate) accepted: bool,
    pub(crate) was_established: bool,
    pub(crate) was_reset: bool,
    pub(crate) peer_closed: bool,
    pub(crate) state: State,
    /// Sequence number of the SYN that opened it. NAT leaves it alone, so it
    /// tells which accepted connection belongs to which started one.
    pub(crate) isn: Option<u32>,
}

#[derive(Debug)]
struct TcpListener {
    port: u16,
    behaviour: Behaviour,
    socket: SocketHandle,
}

/// All TCP of one host.
#[derive(Debug)]
pub(crate) struct Tcp {
    listeners: Vec<TcpListener>,
    conns: Vec<TcpConn>,
    /// Connections that still have a socket.
    open: Vec<usize>,
    /// (from, to) → sequence number of the last SYN seen, either way.
    syns: HashMap<(SocketAddr, SocketAddr), u32>,
    /// The tuple of the reset that the stack is about to see.
    reset: Option<(SocketAddr, SocketAddr)>,
    next_port: u16,
    pub(crate) buffer: usize,
}

/// First ephemeral port, as `trace` assumes.
const FIRST_PORT: u16 = 49_152;

impl Tcp {
    pub(crate) fn new() -> Self {
        Self {
            listeners: Vec::new(),
            conns: Vec::new(),
            open: Vec::new(),
            syns: HashMap::new(),
            reset: None,
            next_port: FIRST_PORT,
            buffer: 64 * 1024,
        }
    }

    fn socket(&self) -> Socket<'static> {
        Socket::new(
            SocketBuffer::new(vec![0; self.buffer]),
            SocketBuffer::new(vec![0; self.buffer]),
        )
    }

    /// Starts (or changes) a listener; false if the port is 0.
    pub(crate) fn listen(
        &mut self,
        sockets: &mut SocketSet<'static>,
        port: u16,
        behaviour: Behaviour,
    ) -> bool {
        if let Some(listener) = self.listeners.iter_mut().find(|l| l.port == port) {
            listener.behaviour = behaviour;
            return true;
        }
        let mut socket = self.socket();
        if socket.listen(port).is_err() {
            return false;
        }
        let socket = sockets.add(socket);
        self.listeners.push(TcpListener {
            port,
            behaviour,
            socket,
        });
        true
    }

    /// Stops a listener; its connections live on.
    pub(crate) fn unlisten(&mut self, sockets: &mut SocketSet<'static>, port: u16) {
        if let Some(at) = self.listeners.iter().position(|l| l.port == port) {
            let listener = self.listeners.remove(at);
            sockets.remove(listener.socket);
        }
    }

    /// Opens a connection; the handle is its index.
    pub(crate) fn connect(
        &mut self,
        iface: &mut Interface,
        sockets: &mut SocketSet<'static>,
        from: Option<u16>,
        to: SocketAddr,
    ) -> Result<usize, String> {
        let port = from.unwrap_or_else(|| {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            port
        });
        let mut socket = self.socket();
        let address = IpAddress::from(to.ip());
        socket
            .connect(iface.context(), (address, to.port()), port)
            .map_err(|error| format!("connect to {to}: {error}"))?;
        let local = socket
            .local_endpoint()
            .map_or(SocketAddr::new(to.ip(), port), socket_addr);
        let socket = sockets.add(socket);
        Ok(self.add(TcpConn {
            socket: Some(socket),
            local,
            peer: to,
            rx: Vec::new(),
            rx_total: 0,
            tx: VecDeque::new(),
            behaviour: Behaviour::Collect,
            served: false,
            closing: false,
            aborting: false,
            accepted: false,
            was_established: false,
            was_reset: false,
            peer_closed: false,
            state: State::SynSent,
            isn: None,
        }))
    }

    fn add(&mut self, conn: TcpConn) -> usize {
        let index = self.conns.len();
        self.conns.push(conn);
        self.open.push(index);
        index
    }

    pub(crate) fn conn(&self, index: usize) -> Option<&TcpConn> {
        self.conns.get(index)
    }

    pub(crate) fn conn_mut(&mut self, index: usize) -> Option<&mut TcpConn> {
        self.conns.get_mut(index)
    }

    pub(crate) fn conns(&self) -> &[TcpConn] {
        &self.conns
    }

    /// Notes what matters of a segment that is about to enter the stack.
    pub(crate) fn see_received(&mut self, from: SocketAddr, to: SocketAddr, segment: &[u8]) {
        self.reset = None;
        if let Ok(tcp) = TcpPacket::new_checked(segment) {
            if tcp.rst() {
                self.reset = Some((from, to));
            }
            self.see_syn(from, to, &tcp);
        }
    }

    /// Notes what matters of a segment that the stack has sent.
    pub(crate) fn see_sent(&mut self, from: SocketAddr, to: SocketAddr, segment: &[u8]) {
        if let Ok(tcp) = TcpPacket::new_checked(segment)
            && self.see_syn(from, to, &tcp)
        {
            let isn = self.syns.get(&(from, to)).copied();
            let newest = self.conns.iter_mut().rev();
            if let Some(conn) = newest
                .filter(|c| !c.accepted)
                .find(|c| c.local == from && c.peer == to)
            {
                conn.isn = isn;
            }
        }
    }

    fn see_syn(&mut self, from: SocketAddr, to: SocketAddr, tcp: &TcpPacket<&[u8]>) -> bool {
        let syn = tcp.syn() && !tcp.ack();
        if syn {
            self.syns.insert((from, to), tcp.seq_number().0 as u32);
        }
        syn
    }

    /// Brings connections up to date after one received segment: takes what a
    /// listener accepted and puts the next socket up, notes resets.
    pub(crate) fn after_ingress(&mut self, sockets: &mut SocketSet<'static>) {
        for at in 0..self.listeners.len() {
            self.accept(sockets, at);
        }
        if let Some((from, to)) = self.reset.take() {
            for &index in &self.open {
                let Some(conn) = self.conns.get_mut(index) else {
                    continue;
                };
                let Some(handle) = conn.socket else { continue };
                let state = sockets.get::<Socket<'_>>(handle).state();
                if conn.peer == from
                    && conn.local == to
                    && matches!(state, State::Closed | State::Listen)
                    && conn.state != State::Closed
                {
                    conn.was_reset = true;
                }
            }
        }
    }

    fn accept(&mut self, sockets: &mut SocketSet<'static>, at: usize) {
        let Some(listener) = self.listeners.get(at) else {
            return;
        };
        let socket = sockets.get::<Socket<'_>>(listener.socket);
        let (Some(local), Some(peer)) = (socket.local_endpoint(), socket.remote_endpoint()) else {
            return;
        };
        let (local, peer) = (socket_addr(local), socket_addr(peer));
        let conn = TcpConn {
            socket: Some(listener.socket),
            local,
            peer,
            rx: Vec::new(),
            rx_total: 0,
            tx: VecDeque::new(),
            behaviour: listener.behaviour.clone(),
            served: false,
            closing: false,
            aborting: false,
            accepted: true,
            was_established: false,
            was_reset: false,
            peer_closed: false,
            state: socket.state(),
            isn: self.syns.get(&(peer, local)).copied(),
        };
        let mut next = self.socket();
        // The port was good for the first socket.
        let listening = next.listen(listener.port).is_ok();
        debug_assert!(listening, "port {} refused", listener.port);
        let next = sockets.add(next);
        if let Some(listener) = self.listeners.get_mut(at) {
            listener.socket = next;
        }
        self.add(conn);
    }

    /// Moves bytes between connections and sockets. True if anything moved.
    pub(crate) fn pump(&mut self, sockets: &mut SocketSet<'static>) -> bool {
        let mut moved = false;
        let conns = &mut self.conns;
        self.open.retain(|&index| {
            let Some(conn) = conns.get_mut(index) else {
                return false;
            };
            let Some(handle) = conn.socket else {
                return false;
            };
            let socket = sockets.get_mut::<Socket<'_>>(handle);
            moved |= conn.pump(socket);
            let over = matches!(conn.state, State::Closed);
            if over {
                // A reset still to be sent needs its socket once more.
                if socket.remote_endpoint().is_some() && conn.aborting {
                    return true;
                }
                sockets.remove(handle);
                conn.socket = None;
            }
            !over
        });
        moved
    }
}

impl TcpConn {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.tx.extend(bytes);
    }

    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    pub(crate) fn abort(&mut self) {
        self.aborting = true;
    }

    /// Bytes that wait for the socket.
    pub(crate) fn unsent(&self) -> usize {
        self.tx.len()
    }

    fn pump(&mut self, socket: &mut Socket<'static>) -> bool {
        let mut moved = false;
        if self.aborting && socket.is_open() {
            socket.abort();
            moved = true;
        }
        while socket.can_recv() {
            let taken = socket.recv(|bytes| {
                self.rx_total += bytes.len() as u64;
                match &self.behaviour {
                    Behaviour::Discard => {}
                    Behaviour::Echo => {
                        self.rx.extend_from_slice(bytes);
                        self.tx.extend(bytes.iter());
                    }
                    Behaviour::Serve(answer) => {
                        self.rx.extend_from_slice(bytes);
                        if !self.served {
                            self.served = true;
                            self.tx.extend(answer);
                            self.closing = true;
                        }
                    }
                    Behaviour::Service(through) => {
                        self.rx.extend_from_slice(bytes);
                        let client = Client {
                            through: through.clone(),
                            address: self.peer.ip(),
                        };
                        let answer = echo::answer(&client, &self.rx).filter(|_| !self.served);
                        if let Some(answer) = answer {
                            self.served = true;
                            self.tx.extend(answer);
                            self.closing = true;
                        }
                    }
                    Behaviour::Collect => self.rx.extend_from_slice(bytes),
                }
                (bytes.len(), bytes.len())
            });
            if !matches!(taken, Ok(n) if n > 0) {
                break;
            }
            moved = true;
        }
        while socket.can_send() && !self.tx.is_empty() {
            let (head, _) = self.tx.as_slices();
            match socket.send_slice(head) {
                Ok(n) if n > 0 => {
                    self.tx.drain(..n);
                    moved = true;
                }
                _ => break,
            }
        }
        let state = socket.state();
        let serving = !matches!(self.behaviour, Behaviour::Collect);
        let answered = serving && self.tx.is_empty() && state == State::CloseWait;
        let done = self.closing && self.tx.is_empty();
        if (done || answered)
            && matches!(
                state,
                State::Established | State::SynReceived | State::CloseWait | State::SynSent
            )
        {
            socket.close();
            moved = true;
        }
        self.state = socket.state();
        self.was_established |= matches!(
            self.state,
            State::Established
                | State::CloseWait
                | State::FinWait1
                | State::FinWait2
                | State::Closing
                | State::LastAck
                | State::TimeWait
        );
        self.peer_closed |= matches!(
            self.state,
            State::CloseWait | State::Closing | State::LastAck | State::TimeWait
        );
        if self.state == State::Listen {
            // A reset put a half-open accepted socket back to listening.
            self.was_reset = true;
            socket.abort();
            self.state = State::Closed;
        }
        moved
    }
}
