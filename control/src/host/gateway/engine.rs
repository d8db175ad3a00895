//! What the gateway does with packets and sockets, without a thread: frames of
//! the lab go in, frames for it come out, the clock is an argument.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use nix::poll::PollFlags;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::wire::{HardwareAddress, IpCidr};
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::{
    ETHERNET_LEN, FiveTuple, Fragment, Frame, FramePool, Headers, IcmpError, Segmentation,
    TcpReset, parse_ip, protocol, segment, udp_payload,
};
use vpclab_dataplane::time::{Duration, Instant};

use super::datagram::{Datagrams, Sent};
use super::link::{Identity, PacketDevice};
use super::listen::{Listener, Socket};
use super::reach::Reach;
use super::sockets;
use super::tcp::{FLOWS_MAX, News, Opening, TcpFlows};

/// Connections or datagrams of one listener in a row.
const IN_A_ROW: usize = 32;
/// A listener that cannot accept is asked again after this long.
const REST: Duration = Duration::from_millis(100);
/// Largest datagram.
const DATAGRAM_MAX: usize = 65_535;

/// The public address of an interface, as long as it has one.
pub(super) type AddressOf = Box<dyn Fn(EniId) -> Option<IpAddr> + Send>;

/// Takes a connection of the lab into this process; none where nobody listens.
pub(super) type Door = Box<dyn Fn(FiveTuple) -> Option<UnixStream> + Send>;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    /// Connections and conversations refused or forgotten because of too many.
    pub(super) no_room: u64,
    /// Packets that were not let out.
    pub(super) not_carried: u64,
}

/// The gateway but for its thread.
pub(super) struct Engine {
    identity: Identity,
    addresses: Vec<IpAddr>,
    address_of: AddressOf,
    /// Where the lab may go; nowhere without an uplink.
    reach: Option<Reach>,
    /// Whoever takes connections, if not the real network.
    door: Option<Door>,
    /// Published ports, and when each is to be asked; once it says so, if not.
    listeners: Vec<(Listener, Option<Instant>)>,
    iface: Interface,
    device: PacketDevice,
    sockets: SocketSet<'static>,
    tcp: TcpFlows,
    datagrams: Datagrams,
    counts: Counts,
    pool: FramePool,
    out: Vec<Frame>,
    /// Packets of the lab, and the errors that answer them.
    errors: Vec<(Vec<u8>, IcmpError)>,
    buffer: Vec<u8>,
}

impl Engine {
    /// A gateway with these addresses on the lab's internet.
    pub(super) fn new(identity: Identity, addresses: Vec<IpAddr>, address_of: AddressOf) -> Self {
        let mut device = PacketDevice::default();
        let config = Config::new(HardwareAddress::Ip);
        let mut iface = Interface::new(config, &mut device, smoltcp::time::Instant::ZERO);
        // Everything is next door, and whoever is asked for is here.
        iface.set_any_ip(true);
        iface.update_ip_addrs(|all| {
            for &address in &addresses {
                // More than there is room for are not entered from.
                let _ = all.push(IpCidr::new(address.into(), 0));
            }
        });
        Self {
            identity,
            addresses,
            address_of,
            reach: None,
            door: None,
            listeners: Vec::new(),
            iface,
            device,
            sockets: SocketSet::new(Vec::new()),
            tcp: TcpFlows::default(),
            datagrams: Datagrams::default(),
            counts: Counts::default(),
            pool: FramePool::new(64),
            out: Vec::new(),
            errors: Vec::new(),
            buffer: vec![0; DATAGRAM_MAX],
        }
    }

    /// Something that is behind every address that is asked for, in this process.
    pub(super) fn serving(identity: Identity, door: Door) -> Self {
        // From these it would begin connections, and it begins none.
        let nobody = [
            IpAddr::V4(Ipv4Addr::new(169, 254, 0, 1)),
            IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
        ];
        let mut engine = Self::new(identity, nobody.to_vec(), Box::new(|_| None));
        engine.addresses.clear();
        engine.door = Some(door);
        engine
    }

    /// Has these published ports, and this uplink, from now on. Connections
    /// under way stay.
    pub(super) fn configure(&mut self, listeners: Vec<Listener>, reach: Option<Reach>) {
        let listeners = listeners.into_iter();
        self.listeners = listeners.map(|it| (it, Some(Instant::ZERO))).collect();
        self.reach = reach;
    }

    /// TCP connections, and other conversations, under way.
    pub(super) fn under_way(&self) -> (usize, usize) {
        (self.tcp.len(), self.datagrams.len())
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            no_room: self.counts.no_room + self.datagrams.forgotten,
            ..self.counts
        }
    }

    /// A frame of the lab.
    pub(super) fn input(&mut self, now: Instant, frame: Frame) {
        if !matches!(frame.offload.segmentation, Segmentation::Udp(_)) {
            self.packet(now, frame.bytes());
            return self.pool.put(frame);
        }
        let mut pieces = Vec::new();
        let cut = segment(frame, &mut self.pool, &mut |piece| pieces.push(piece));
        self.counts.not_carried += u64::from(cut.is_err());
        for piece in pieces {
            self.packet(now, piece.bytes());
            self.pool.put(piece);
        }
    }

    /// Does what there is to do; frames for the lab.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<Frame> {
        self.accept(now);
        let (out, errors) = (&mut self.out, &mut self.errors);
        let unfit = self.datagrams.receive(now, &self.identity, out, errors);
        self.counts.not_carried += unfit;
        for news in self.tcp.settle(now, &mut self.sockets) {
            match news {
                // The stack sees one opening packet at a time: each finds the
                // socket that was made for it.
                News::Accepted(packet) => {
                    self.poll_stack(now);
                    self.device.rx.push_back(packet);
                    self.poll_stack(now);
                }
                News::Refused(packet) => self.reset(&self.identity.frame(&packet)),
                News::Unreachable(packet) => {
                    let frame = self.identity.frame(&packet);
                    if let Ok(headers) = parse_ip(frame.bytes(), ETHERNET_LEN) {
                        let error = IcmpError::host_unreachable(&headers);
                        self.errors.push((frame.bytes().to_vec(), error));
                    }
                }
            }
        }
        self.poll_stack(now);
        self.tcp.pump(now, &mut self.sockets);
        self.poll_stack(now);
        // What was acknowledged has made room.
        self.tcp.pump(now, &mut self.sockets);
        for (bytes, error) in std::mem::take(&mut self.errors) {
            self.error(&bytes, error);
        }
        let packets = self.device.tx.drain(..);
        let frames = packets.map(|packet| self.identity.frame(&packet));
        self.out.extend(frames);
        std::mem::take(&mut self.out)
    }

    /// When to take a turn at the latest, if nothing happens before.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let stack = self.iface.poll_at(to_stack(now), &self.sockets);
        let stack = stack.map(|at| {
            let micros = u64::try_from(at.total_micros()).unwrap_or(0);
            Instant::from_nanos(micros.saturating_mul(1_000))
        });
        let knocks = self.listeners.iter().filter_map(|(_, ask)| *ask).min();
        let all = [
            stack,
            knocks,
            self.tcp.deadline(),
            self.datagrams.deadline(),
        ];
        all.into_iter().flatten().min()
    }

    /// What to wait for, in the order of [`Self::mark`]; not all need waiting.
    pub(super) fn interests(
        &self,
    ) -> impl Iterator<Item = Option<(BorrowedFd<'_>, PollFlags)>> + use<'_> {
        let listeners = self.listeners.iter().map(|(it, ask)| {
            // One that is asked anyway need not say so.
            ask.is_none()
                .then(|| (it.socket.as_fd(), PollFlags::POLLIN))
        });
        let datagrams = self.datagrams.interests();
        let datagrams = datagrams.map(|fd| fd.map(|fd| (fd, PollFlags::POLLIN)));
        let tcp = self.tcp.interests(&self.sockets);
        listeners.chain(datagrams).chain(tcp)
    }

    /// Takes what was waited for.
    pub(super) fn mark(&mut self, ready: &[bool]) {
        let mut ready = ready.iter().copied();
        let listeners = self.listeners.len();
        let knock = ready.by_ref().take(listeners);
        for ((_, ask), _) in self.listeners.iter_mut().zip(knock).filter(|(_, it)| *it) {
            *ask = Some(Instant::ZERO);
        }
        let datagrams = self.datagrams.len();
        self.datagrams.mark(ready.by_ref().take(datagrams));
        self.tcp.mark(ready);
    }

    fn poll_stack(&mut self, now: Instant) {
        let _ = self
            .iface
            .poll(to_stack(now), &mut self.device, &mut self.sockets);
    }

    fn packet(&mut self, now: Instant, bytes: &[u8]) {
        let Ok(headers) = parse_ip(bytes, ETHERNET_LEN) else {
            return self.not_carried();
        };
        if headers.fragment != Fragment::Whole {
            return self.not_carried();
        }
        let tuple = headers.tuple;
        let own = self.addresses.contains(&tuple.dst);
        if self.door.is_some() {
            return match tuple.protocol {
                protocol::TCP => self.knock(now, bytes, &headers),
                protocol::ICMP if headers.icmp_type == 8 => self.give(bytes),
                protocol::ICMPV6 if headers.icmp_type == 128 => self.give(bytes),
                _ => self.not_carried(),
            };
        }
        match tuple.protocol {
            protocol::TCP => self.segment(now, bytes, &headers, own),
            protocol::UDP if own && !self.datagrams.is_known(tuple) => {
                self.error(bytes, IcmpError::port_unreachable(&headers));
            }
            protocol::UDP => {
                let payload = udp_payload(bytes, &headers).unwrap_or_default();
                self.datagram(now, bytes, &headers, payload);
            }
            protocol::ICMP if headers.icmp_type == 8 => self.echo(now, bytes, &headers, own),
            protocol::ICMPV6 if headers.icmp_type == 128 => self.echo(now, bytes, &headers, own),
            // Errors about what the real network sent: its own sockets find out.
            _ if headers.is_icmp_error() => {}
            _ => self.not_carried(),
        }
    }

    fn segment(&mut self, now: Instant, bytes: &[u8], headers: &Headers, own: bool) {
        if own || !headers.is_tcp_open() {
            return self.give(bytes);
        }
        let packet = bytes.get(ETHERNET_LEN..).unwrap_or_default();
        let tuple = headers.tuple;
        let opening = match self.tcp.known(tuple) {
            Some(opening) => opening,
            None => match self.reach.and_then(|reach| reach(tuple.dst)) {
                Some(address) => self.tcp.open(now, tuple, address, packet),
                None => {
                    self.not_carried();
                    Opening::Unreachable
                }
            },
        };
        match opening {
            Opening::Begun | Opening::Again => {}
            Opening::Open => self.give(bytes),
            Opening::NoRoom => {
                self.counts.no_room += 1;
                self.reset(&self.identity.frame(packet));
            }
            Opening::Unreachable => self.error(bytes, IcmpError::host_unreachable(headers)),
        }
    }

    /// A segment for whoever takes connections here.
    fn knock(&mut self, now: Instant, bytes: &[u8], headers: &Headers) {
        let tuple = headers.tuple;
        if !headers.is_tcp_open() || self.tcp.known(tuple) == Some(Opening::Open) {
            return self.give(bytes);
        }
        if self.tcp.known(tuple).is_some() {
            return;
        }
        let packet = bytes.get(ETHERNET_LEN..).unwrap_or_default();
        let room = self.tcp.len() < FLOWS_MAX;
        self.counts.no_room += u64::from(!room);
        let taken = self
            .door
            .as_ref()
            .filter(|_| room)
            .and_then(|door| door(tuple));
        match taken {
            Some(stream) => self.tcp.take(now, tuple, packet, stream),
            None => self.reset(&self.identity.frame(packet)),
        }
    }

    fn datagram(&mut self, now: Instant, bytes: &[u8], headers: &Headers, payload: &[u8]) {
        let packet = (bytes, headers);
        let sent = self
            .datagrams
            .send(now, packet, payload, self.reach, &mut self.errors);
        match sent {
            Sent::Yes => {}
            Sent::No => self.not_carried(),
            Sent::NotThere => {
                self.not_carried();
                self.error(bytes, IcmpError::host_unreachable(headers));
            }
        }
    }

    fn echo(&mut self, now: Instant, bytes: &[u8], headers: &Headers, own: bool) {
        if own {
            return self.give(bytes);
        }
        let end = ETHERNET_LEN + usize::try_from(headers.ip_len).unwrap_or(0);
        let message = bytes.get(usize::from(headers.l4)..end).unwrap_or_default();
        self.datagram(now, bytes, headers, message);
    }

    fn give(&mut self, bytes: &[u8]) {
        // A frame may be longer than its packet.
        let packet = bytes.get(ETHERNET_LEN..).unwrap_or_default();
        self.device.rx.push_back(packet.to_vec());
    }

    /// Tells the lab that a connection was refused.
    fn reset(&mut self, frame: &Frame) {
        let Ok(headers) = parse_ip(frame.bytes(), ETHERNET_LEN) else {
            return;
        };
        if let Some(reset) = TcpReset::answering(frame.bytes(), &headers) {
            let tuple = headers.tuple;
            let mut answer = self.identity.empty(128);
            let ends = self.identity.endpoints(tuple.dst, tuple.src);
            reset.write(&mut answer, &ends, tuple.dport, tuple.sport);
            self.out.push(answer);
        }
    }

    /// Tells the lab what became of a packet, from where it was to go.
    fn error(&mut self, bytes: &[u8], error: IcmpError) {
        if let Ok(headers) = parse_ip(bytes, ETHERNET_LEN) {
            let tuple = headers.tuple;
            let mut answer = self.identity.empty(bytes.len() + 128);
            let ends = self.identity.endpoints(tuple.dst, tuple.src);
            error.write(&mut answer, &ends, bytes, &headers);
            self.out.push(answer);
        }
    }

    /// Takes what knocks at published ports into the lab.
    fn accept(&mut self, now: Instant) {
        let mut listeners = std::mem::take(&mut self.listeners);
        for (listener, ask) in &mut listeners {
            if ask.is_none_or(|at| at > now) {
                continue;
            }
            *ask = Some(now);
            for _ in 0..IN_A_ROW {
                match self.accept_one(now, listener) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        *ask = None;
                        break;
                    }
                    // Out of descriptors, most likely: what knocks goes on knocking.
                    Err(_) => {
                        self.counts.no_room += 1;
                        *ask = Some(now + REST);
                        break;
                    }
                }
            }
        }
        self.listeners = listeners;
    }

    fn accept_one(&mut self, now: Instant, listener: &Listener) -> io::Result<()> {
        match &listener.socket {
            Socket::Tcp(socket) => {
                let (stream, _) = socket.accept()?;
                self.enter(now, listener, stream);
            }
            Socket::Udp(socket) => {
                let (len, peer) = socket.recv_from(&mut self.buffer)?;
                self.enter_datagram(now, listener, (socket, peer), len);
            }
        }
        Ok(())
    }

    fn enter(&mut self, now: Instant, listener: &Listener, stream: TcpStream) {
        let Some(ends) = self.ends(listener) else {
            self.counts.not_carried += 1;
            return sockets::reset(stream);
        };
        let (iface, sockets) = (&mut self.iface, &mut self.sockets);
        let entered = self.tcp.publish(now, iface, sockets, stream, ends);
        self.counts.no_room += u64::from(!entered);
    }

    fn enter_datagram(
        &mut self,
        now: Instant,
        listener: &Listener,
        from: (&Arc<UdpSocket>, SocketAddr),
        len: usize,
    ) {
        let entered = self.ends(listener).is_some_and(|ends| {
            let payload = self.buffer.get(..len).unwrap_or_default();
            let into = (&self.identity, &mut self.out);
            self.datagrams.publish(now, from, ends, payload, into)
        });
        self.counts.not_carried += u64::from(!entered);
    }

    /// From which address a published port is entered, and where it leads.
    fn ends(&self, listener: &Listener) -> Option<(IpAddr, SocketAddr)> {
        let to = (self.address_of)(listener.target)?;
        let mut own = self.addresses.iter().copied();
        let from = own.find(|from| from.is_ipv4() == to.is_ipv4())?;
        Some((from, SocketAddr::new(to, listener.publish.port)))
    }

    fn not_carried(&mut self) {
        self.counts.not_carried += 1;
    }
}

/// The stack counts microseconds.
fn to_stack(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.as_nanos() / 1_000).unwrap_or(i64::MAX))
}
