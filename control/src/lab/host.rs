//! Handles to simulated hosts, their connections and sockets.
//!
//! A handle is a cheap clone; what it names lives in the lab. Calls take effect
//! when the lab runs next.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use smoltcp::socket::tcp::State;
use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::time::Duration;

use super::node::Node;
use super::record::{Direction, Recorded};
use super::stack::Stack;
use super::tcp::{Behaviour, TcpConn};

/// An address, or a text that is one. For tests, which know what they write.
pub trait IntoAddress {
    /// The address.
    ///
    /// # Panics
    /// If the text is not an address.
    fn into_address(self) -> IpAddr;
}

impl IntoAddress for IpAddr {
    fn into_address(self) -> IpAddr {
        self
    }
}

impl IntoAddress for Ipv4Addr {
    fn into_address(self) -> IpAddr {
        self.into()
    }
}

impl IntoAddress for Ipv6Addr {
    fn into_address(self) -> IpAddr {
        self.into()
    }
}

impl IntoAddress for &str {
    fn into_address(self) -> IpAddr {
        match self.parse() {
            Ok(address) => address,
            Err(error) => panic!("'{self}' is no IP address: {error}"),
        }
    }
}

/// A simulated host (one interface of it).
#[derive(Clone, Debug)]
pub struct Host {
    stack: Rc<RefCell<Stack>>,
}

impl Host {
    pub(crate) fn new(stack: Rc<RefCell<Stack>>) -> Self {
        Self { stack }
    }

    /// Its name in the lab.
    pub fn name(&self) -> String {
        self.stack.borrow().name.clone()
    }

    /// Its interface.
    pub fn eni(&self) -> EniId {
        self.stack.borrow().eni
    }

    /// Its interface's MAC address.
    pub fn mac(&self) -> Mac {
        self.stack.borrow().wiring.mac
    }

    /// Its primary address.
    ///
    /// # Panics
    /// If the interface has none.
    pub fn address(&self) -> IpAddr {
        match self.addresses().first() {
            Some(&address) => address,
            None => panic!("host {} has no address", self.name()),
        }
    }

    /// Its first IPv6 address, if it has one.
    pub fn address_v6(&self) -> Option<IpAddr> {
        self.addresses().into_iter().find(IpAddr::is_ipv6)
    }

    /// All its addresses.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let stack = self.stack.borrow();
        stack.wiring.addresses.iter().map(|&(a, _)| a).collect()
    }

    /// Changes the largest IP packet it sends: a real host has this set by its
    /// owner, or finds the path's limit.
    pub fn set_mtu(&self, mtu: usize) {
        let mut stack = self.stack.borrow_mut();
        let wiring = super::Wiring {
            mtu,
            ..stack.wiring.clone()
        };
        stack.rewire(wiring);
    }

    /// Bytes that each new TCP socket buffers, each way (64 KiB unless set).
    pub fn set_tcp_buffer(&self, bytes: usize) {
        self.stack.borrow_mut().tcp.buffer = bytes;
    }

    /// Accepts TCP connections on `port`. What they receive is kept; see
    /// [`Listener`] for other behaviours.
    ///
    /// # Panics
    /// If `port` is 0.
    pub fn tcp_listen(&self, port: u16) -> Listener {
        let listener = Listener {
            stack: self.stack.clone(),
            port,
        };
        listener.behave(Behaviour::Collect)
    }

    /// Opens a TCP connection from an ephemeral port.
    ///
    /// # Panics
    /// If the host has no address of that family, or `port` is 0.
    pub fn tcp_connect(&self, address: impl IntoAddress, port: u16) -> Conn {
        self.connect(None, SocketAddr::new(address.into_address(), port))
    }

    /// Opens a TCP connection from the given port.
    ///
    /// # Panics
    /// As [`Host::tcp_connect`].
    pub fn tcp_connect_from(&self, from: u16, address: impl IntoAddress, port: u16) -> Conn {
        self.connect(Some(from), SocketAddr::new(address.into_address(), port))
    }

    fn connect(&self, from: Option<u16>, to: SocketAddr) -> Conn {
        let index = self.stack.borrow_mut().connect(from, to);
        match index {
            Ok(index) => Conn {
                stack: self.stack.clone(),
                index,
            },
            Err(error) => panic!("host {}: {error}", self.name()),
        }
    }

    /// Connections that listeners of this host accepted, oldest first.
    pub fn accepted(&self) -> Vec<Conn> {
        let stack = self.stack.borrow();
        let accepted = stack.tcp.conns().iter().enumerate();
        accepted
            .filter(|(_, conn)| conn.accepted)
            .map(|(index, _)| Conn {
                stack: self.stack.clone(),
                index,
            })
            .collect()
    }

    /// This host's end of a connection that another host opened, whatever NAT
    /// lies between: both have the same first sequence number.
    pub fn accepted_from(&self, opened: &Conn) -> Option<Conn> {
        let isn = opened.read(|conn| conn.isn)?;
        self.accepted()
            .into_iter()
            .rev()
            .find(|conn| conn.read(|c| c.isn) == Some(isn))
    }

    /// The address from which this host sees a connection that another host opened.
    ///
    /// # Panics
    /// If this host has not accepted the connection.
    pub fn peer_of(&self, opened: &Conn) -> IpAddr {
        match self.accepted_from(opened) {
            Some(conn) => conn.peer().ip(),
            None => panic!(
                "host {} has accepted no connection from {}",
                self.name(),
                opened.local()
            ),
        }
    }

    /// Binds a UDP port, or finds it bound.
    ///
    /// # Panics
    /// If `port` is 0.
    pub fn udp_bind(&self, port: u16) -> Udp {
        let mut stack = self.stack.borrow_mut();
        let Stack { udp, sockets, .. } = &mut *stack;
        match udp.bind(sockets, port) {
            Some(index) => Udp {
                stack: self.stack.clone(),
                index,
            },
            None => panic!("UDP port 0 cannot be bound"),
        }
    }

    /// Sends one datagram from `from`.
    pub fn udp_send(&self, from: u16, address: impl IntoAddress, port: u16, bytes: &[u8]) {
        self.udp_bind(from).send(address, port, bytes);
    }

    /// Every datagram received on any bound port, with its sender.
    pub fn udp_received(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.stack.borrow().udp.received().cloned().collect()
    }

    /// Sends one ICMP echo request.
    pub fn ping(&self, address: impl IntoAddress) -> Ping {
        self.ping_with(address, b"vpclab ping payload 0123456789")
    }

    /// Sends one ICMP echo request with this payload.
    pub fn ping_with(&self, address: impl IntoAddress, payload: &[u8]) -> Ping {
        let mut stack = self.stack.borrow_mut();
        stack.dirty = true;
        let Stack { pings, sockets, .. } = &mut *stack;
        let index = pings.start(sockets, address.into_address(), payload.to_vec());
        Ping {
            stack: self.stack.clone(),
            index,
        }
    }

    /// Sends a hand-made frame, from its Ethernet header on.
    pub fn send_raw(&self, bytes: &[u8]) {
        let mut stack = self.stack.borrow_mut();
        let frame = Frame::from_bytes(stack.eni, bytes);
        stack.send_frame(frame);
    }

    /// Sends a hand-made frame with offload metadata (a super-packet).
    pub fn send_frame(&self, frame: Frame) {
        self.stack.borrow_mut().send_frame(frame);
    }

    /// Switches the TCP/IP stack off: frames are only recorded, and sent by
    /// [`Host::send_raw`] or an installed [`Node`].
    pub fn set_raw(&self, raw: bool) {
        let mut stack = self.stack.borrow_mut();
        stack.raw = raw;
        stack.dirty = true;
    }

    /// Puts a program below the host's stack; the first installed sees a frame first.
    pub fn install(&self, node: impl Node + 'static) {
        self.stack.borrow_mut().install(Box::new(node));
    }

    /// The frames this host received, oldest first.
    pub fn frames(&self) -> Vec<Recorded> {
        self.frames_that(Direction::Received)
    }

    /// The frames this host sent, oldest first.
    pub fn sent_frames(&self) -> Vec<Recorded> {
        self.frames_that(Direction::Sent)
    }

    fn frames_that(&self, direction: Direction) -> Vec<Recorded> {
        let stack = self.stack.borrow();
        let frames = stack.record.frames();
        frames
            .filter(|frame| frame.direction == direction)
            .cloned()
            .collect()
    }

    /// Frames both ways.
    pub(crate) fn all_frames(&self) -> Vec<Recorded> {
        self.stack.borrow().record.frames().cloned().collect()
    }

    /// Forgets the frames so far.
    pub fn clear_frames(&self) {
        self.stack.borrow_mut().record.clear();
    }

    /// Switches the record of frames off or on (it is on at first).
    pub fn set_record(&self, on: bool) {
        self.stack.borrow_mut().record.set_off(!on);
    }

    /// ICMP and ICMPv6 errors this host received, oldest first.
    pub fn icmp_errors(&self) -> Vec<IcmpError> {
        let received = self.frames();
        received
            .iter()
            .filter_map(|frame| IcmpError::parse(&frame.bytes))
            .collect()
    }
}

/// An ICMP or ICMPv6 error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Who sent it.
    pub from: IpAddr,
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// Second word of the header: the next hop's MTU of "too big" messages.
    pub word: u32,
    /// The quoted packet, from its IP header on.
    pub quoted: Vec<u8>,
}

impl IcmpError {
    fn parse(frame: &[u8]) -> Option<Self> {
        let (from, icmp): (IpAddr, &[u8]) = match frame.get(12..14)? {
            [0x08, 0x00] if frame.get(23) == Some(&1) => {
                let header_len = usize::from(frame.get(14)? & 0xf) * 4;
                let from = <[u8; 4]>::try_from(frame.get(26..30)?).ok()?;
                (from.into(), frame.get(14 + header_len..)?)
            }
            [0x86, 0xdd] if frame.get(20) == Some(&58) => {
                let from = <[u8; 16]>::try_from(frame.get(22..38)?).ok()?;
                (from.into(), frame.get(54..)?)
            }
            _ => return None,
        };
        let (icmp_type, code) = (*icmp.first()?, *icmp.get(1)?);
        let is_error = match from {
            IpAddr::V4(_) => matches!(icmp_type, 3 | 4 | 5 | 11 | 12),
            IpAddr::V6(_) => matches!(icmp_type, 1..=4),
        };
        is_error.then_some(())?;
        Some(Self {
            from,
            icmp_type,
            code,
            word: u32::from_be_bytes(<[u8; 4]>::try_from(icmp.get(4..8)?).ok()?),
            quoted: icmp.get(8..)?.to_vec(),
        })
    }
}

/// A listening TCP port. Its connections collect what they receive, unless
/// told otherwise.
#[derive(Clone, Debug)]
pub struct Listener {
    stack: Rc<RefCell<Stack>>,
    port: u16,
}

impl Listener {
    fn behave(self, behaviour: Behaviour) -> Self {
        {
            let mut stack = self.stack.borrow_mut();
            stack.dirty = true;
            let Stack { tcp, sockets, .. } = &mut *stack;
            assert!(
                tcp.listen(sockets, self.port, behaviour),
                "TCP port 0 cannot be listened on"
            );
        }
        self
    }

    /// New connections send back what they receive, and close when the peer does.
    pub fn echo(self) -> Self {
        self.behave(Behaviour::Echo)
    }

    /// New connections answer the first bytes they receive with `answer`, then close.
    pub fn serve(self, answer: impl Into<Vec<u8>>) -> Self {
        self.behave(Behaviour::Serve(answer.into()))
    }

    /// New connections count what they receive and forget it.
    pub fn discard(self) -> Self {
        self.behave(Behaviour::Discard)
    }

    /// Stops listening: new connections are refused with a reset.
    pub fn close(self) {
        let mut stack = self.stack.borrow_mut();
        let Stack { tcp, sockets, .. } = &mut *stack;
        tcp.unlisten(sockets, self.port);
    }
}

/// One end of a TCP connection.
#[derive(Clone, Debug)]
pub struct Conn {
    stack: Rc<RefCell<Stack>>,
    index: usize,
}

impl Conn {
    fn read<R>(&self, look: impl FnOnce(&TcpConn) -> R) -> R {
        let stack = self.stack.borrow();
        match stack.tcp.conn(self.index) {
            Some(conn) => look(conn),
            // Handles come from the stack they name, which forgets no connection.
            None => panic!("connection {} is unknown", self.index),
        }
    }

    fn write(&self, change: impl FnOnce(&mut TcpConn)) {
        let mut stack = self.stack.borrow_mut();
        stack.dirty = true;
        if let Some(conn) = stack.tcp.conn_mut(self.index) {
            change(conn);
        }
    }

    /// Sends bytes, as soon as the connection stands and the window allows.
    pub fn send(&self, bytes: impl AsRef<[u8]>) -> &Self {
        self.write(|conn| conn.send(bytes.as_ref()));
        self
    }

    /// Closes this direction once everything is sent.
    pub fn close(&self) {
        self.write(TcpConn::close);
    }

    /// Resets the connection.
    pub fn abort(&self) {
        self.write(TcpConn::abort);
    }

    /// Whether what was received so far begins with `bytes`; stays true once it is.
    pub fn received(&self, bytes: impl AsRef<[u8]>) -> bool {
        self.read(|conn| conn.rx.starts_with(bytes.as_ref()))
    }

    /// Everything received so far.
    pub fn data(&self) -> Vec<u8> {
        self.read(|conn| conn.rx.clone())
    }

    /// How many bytes were received so far.
    pub fn received_len(&self) -> u64 {
        self.read(|conn| conn.rx_total)
    }

    /// State of RFC 9293's machine.
    pub fn state(&self) -> State {
        self.read(|conn| conn.state)
    }

    /// The peer's socket address, as this host sees it.
    pub fn peer(&self) -> SocketAddr {
        self.read(|conn| conn.peer)
    }

    /// This end's socket address.
    pub fn local(&self) -> SocketAddr {
        self.read(|conn| conn.local)
    }

    /// Whether the connection stands now.
    pub fn is_established(&self) -> bool {
        self.state() == State::Established
    }

    /// Whether the connection stood at some time.
    pub fn was_established(&self) -> bool {
        self.read(|conn| conn.was_established)
    }

    /// Whether the peer (or something on the way) reset or refused it.
    pub fn was_reset(&self) -> bool {
        self.read(|conn| conn.was_reset)
    }

    /// Whether the peer has closed its direction.
    pub fn peer_closed(&self) -> bool {
        self.read(|conn| conn.peer_closed)
    }

    /// Whether it is over, one way or another.
    pub fn is_closed(&self) -> bool {
        self.state() == State::Closed
    }
}

/// A bound UDP port.
#[derive(Clone, Debug)]
pub struct Udp {
    stack: Rc<RefCell<Stack>>,
    index: usize,
}

impl Udp {
    /// Sends one datagram.
    pub fn send(&self, address: impl IntoAddress, port: u16, bytes: &[u8]) -> &Self {
        let mut stack = self.stack.borrow_mut();
        stack.dirty = true;
        if let Some(udp) = stack.udp.port_mut(self.index) {
            udp.send(SocketAddr::new(address.into_address(), port), bytes);
        }
        self
    }

    /// Sends each datagram back to where it came from.
    pub fn echo(self) -> Self {
        if let Some(udp) = self.stack.borrow_mut().udp.port_mut(self.index) {
            udp.echo = true;
        }
        self
    }

    /// The datagrams received so far, with their senders.
    pub fn received(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let stack = self.stack.borrow();
        let port = stack.udp.port(self.index);
        port.map(|udp| udp.received.clone()).unwrap_or_default()
    }
}

/// One echo request.
#[derive(Clone, Debug)]
pub struct Ping {
    stack: Rc<RefCell<Stack>>,
    index: usize,
}

impl Ping {
    fn reply(&self) -> Option<(IpAddr, Duration)> {
        self.stack.borrow().pings.ping(self.index)?.reply
    }

    /// Whether the reply has come, unchanged.
    pub fn is_answered(&self) -> bool {
        self.reply().is_some()
    }

    /// Who answered.
    pub fn reply_from(&self) -> Option<IpAddr> {
        self.reply().map(|(from, _)| from)
    }

    /// How long the answer took.
    pub fn rtt(&self) -> Option<Duration> {
        self.reply().map(|(_, rtt)| rtt)
    }
}
