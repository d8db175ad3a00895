//! UDP and echo requests between the lab and the real network.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use vpclab_dataplane::packet::checksum::{fill_ipv4_header, fill_transport};
use vpclab_dataplane::packet::{
    ETHERNET_LEN, FiveTuple, Frame, FramePool, Headers, IPV4_LEN, IcmpError, TTL_DEFAULT,
    fragment_ipv4, parse_ip, protocol, put_ip,
};
use vpclab_dataplane::time::{Duration, Instant};

use super::link::{Identity, MTU};
use super::reach::Reach;
use super::sockets;

/// Most conversations at once; the one that was quiet longest makes room.
pub(super) const FLOWS_MAX: usize = 1024;
/// A conversation without a packet for this long ends.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// Ports from which published datagrams enter the lab.
const FIRST_PORT: u16 = 20_000;
/// Datagrams of one conversation in a row, so that others have their turn.
const IN_A_ROW: usize = 32;
/// Bytes of a packet that an error about it quotes.
const QUOTED: usize = 128;
/// Largest datagram.
const DATAGRAM_MAX: usize = 65_535;

/// Whose packets come back by a socket.
enum Other {
    /// This one's, connected: datagrams, or echo replies with their identifier.
    Connected(UdpSocket, [u8; 2]),
    /// A peer of a published port.
    Peer(Arc<UdpSocket>, SocketAddr),
}

struct Flow {
    /// As the lab's side sends.
    tuple: FiveTuple,
    other: Other,
    deadline: Instant,
    /// The head of the last packet of the lab.
    last: Vec<u8>,
    /// Something may have come.
    ready: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    Yes,
    /// It may not go there.
    NotThere,
    /// Its network refuses it.
    No,
}

/// All conversations.
pub(super) struct Datagrams {
    flows: Vec<Flow>,
    next_port: u16,
    /// Identification of the last datagram in fragments.
    next_id: u16,
    buffer: Vec<u8>,
    pool: FramePool,
    /// Conversations that were forgotten to make room.
    pub(super) forgotten: u64,
}

impl Default for Datagrams {
    fn default() -> Self {
        Self {
            flows: Vec::new(),
            next_port: 0,
            next_id: 0,
            buffer: vec![0; DATAGRAM_MAX],
            pool: FramePool::new(0),
            forgotten: 0,
        }
    }
}

impl Datagrams {
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether a datagram of the lab answers one of a published port.
    pub(super) fn is_known(&self, tuple: FiveTuple) -> bool {
        self.flows.iter().any(|flow| flow.tuple == tuple)
    }

    /// A datagram or echo request of the lab goes out; `bytes` is its frame.
    pub(super) fn send(
        &mut self,
        now: Instant,
        (bytes, headers): (&[u8], &Headers),
        payload: &[u8],
        reach: Option<Reach>,
        errors: &mut Vec<(Vec<u8>, IcmpError)>,
    ) -> Sent {
        let tuple = headers.tuple;
        let place = match self.flows.iter().position(|flow| flow.tuple == tuple) {
            Some(place) => place,
            None => {
                let Some(address) = reach.and_then(|reach| reach(tuple.dst)) else {
                    return Sent::NotThere;
                };
                let Ok(other) = Other::connect(tuple, address, payload) else {
                    return Sent::No;
                };
                self.add(now, tuple, other)
            }
        };
        let Some(flow) = self.flows.get_mut(place) else {
            return Sent::No;
        };
        flow.deadline = now + IDLE;
        flow.last.clear();
        let head = bytes.get(..bytes.len().min(QUOTED));
        flow.last.extend_from_slice(head.unwrap_or_default());
        match flow.send(payload) {
            // It tells of an earlier one; this one has not been sent.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                errors.push((flow.last.clone(), IcmpError::port_unreachable(headers)));
                let _ = flow.send(payload);
                Sent::Yes
            }
            Err(error) if error.kind() == ErrorKind::InvalidInput => Sent::No,
            // What the network has no room for is lost: so are datagrams.
            _ => Sent::Yes,
        }
    }

    /// A datagram of `peer` for a published port enters the lab.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        (socket, peer): (&Arc<UdpSocket>, SocketAddr),
        (from, to): (IpAddr, SocketAddr),
        payload: &[u8],
        (identity, out): (&Identity, &mut Vec<Frame>),
    ) -> bool {
        let is_it = |flow: &&mut Flow| {
            let Other::Peer(own, other) = &flow.other else {
                return false;
            };
            // The host may have another public address now.
            let same = (flow.tuple.src, flow.tuple.sport) == (to.ip(), to.port());
            same && *other == peer && Arc::ptr_eq(own, socket)
        };
        let port = match self.flows.iter_mut().find(is_it) {
            Some(flow) => {
                flow.deadline = now + IDLE;
                flow.tuple.dport
            }
            None => {
                let dport = self.free_port();
                let tuple = FiveTuple {
                    src: to.ip(),
                    dst: from,
                    protocol: protocol::UDP,
                    sport: to.port(),
                    dport,
                };
                self.add(now, tuple, Other::Peer(Arc::clone(socket), peer));
                dport
            }
        };
        let frame = udp(identity, SocketAddr::new(from, port), to, payload);
        self.put(frame, out)
    }

    /// A port that no published conversation has: there are more of them.
    fn free_port(&mut self) -> u16 {
        loop {
            let port = FIRST_PORT + self.next_port % (u16::MAX - FIRST_PORT);
            self.next_port = self.next_port.wrapping_add(1);
            let used =
                |flow: &Flow| matches!(flow.other, Other::Peer(..)) && flow.tuple.dport == port;
            if !self.flows.iter().any(used) {
                return port;
            }
        }
    }

    fn add(&mut self, now: Instant, tuple: FiveTuple, other: Other) -> usize {
        if self.flows.len() >= FLOWS_MAX {
            let flows = self.flows.iter().enumerate();
            let quiet = flows.min_by_key(|(_, flow)| flow.deadline);
            if let Some((place, _)) = quiet {
                self.flows.swap_remove(place);
                self.forgotten += 1;
            }
        }
        self.flows.push(Flow {
            tuple,
            other,
            deadline: now + IDLE,
            last: Vec::new(),
            ready: false,
        });
        self.flows.len() - 1
    }

    /// What came back from the real network, and what it refused; forgets what
    /// is idle. Datagrams that do not fit the lab's internet are fragmented, and
    /// counted where they cannot be.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        identity: &Identity,
        out: &mut Vec<Frame>,
        errors: &mut Vec<(Vec<u8>, IcmpError)>,
    ) -> u64 {
        let mut unfit = 0;
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut flows = std::mem::take(&mut self.flows);
        for flow in flows.iter_mut().filter(|flow| flow.ready) {
            for _ in 0..IN_A_ROW {
                let Other::Connected(socket, identifier) = &flow.other else {
                    flow.ready = false;
                    break;
                };
                match socket.recv(&mut buffer) {
                    Ok(len) => {
                        flow.deadline = now + IDLE;
                        let payload = buffer.get(..len).unwrap_or_default();
                        let frame = answer(identity, flow.tuple, *identifier, payload);
                        unfit += u64::from(!self.put(frame, out));
                    }
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                        if let Ok(headers) = parse_ip(&flow.last, ETHERNET_LEN) {
                            let error = IcmpError::port_unreachable(&headers);
                            errors.push((flow.last.clone(), error));
                        }
                    }
                    // Nothing more, or an error about a packet: that one is lost.
                    Err(_) => {
                        flow.ready = false;
                        break;
                    }
                }
            }
        }
        flows.retain(|flow| flow.deadline > now);
        self.flows = flows;
        self.buffer = buffer;
        unfit
    }

    /// Appends a frame, in fragments if it must be. False if it cannot be.
    fn put(&mut self, mut frame: Frame, out: &mut Vec<Frame>) -> bool {
        if frame.len() <= MTU + ETHERNET_LEN {
            out.push(frame);
            return true;
        }
        self.next_id = self.next_id.wrapping_add(1);
        allow_fragments(&mut frame, self.next_id);
        let port = frame.port;
        let emit = &mut |mut piece: Frame| {
            piece.port = port;
            out.push(piece);
        };
        fragment_ipv4(frame, MTU, &mut self.pool, emit).is_ok()
    }

    /// When something is to be done at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let all = self.flows.iter();
        all.map(|flow| match flow.ready {
            true => Instant::ZERO,
            false => flow.deadline,
        })
        .min()
    }

    /// What tells that something came, in the order of [`Self::mark`].
    pub(super) fn interests(&self) -> impl Iterator<Item = Option<BorrowedFd<'_>>> {
        self.flows.iter().map(|flow| match &flow.other {
            Other::Connected(socket, _) => Some(socket.as_fd()),
            Other::Peer(..) => None,
        })
    }

    /// Takes what was waited for.
    pub(super) fn mark(&mut self, ready: impl Iterator<Item = bool>) {
        for (flow, ready) in self.flows.iter_mut().zip(ready) {
            flow.ready |= ready;
        }
    }
}

impl Other {
    fn connect(tuple: FiveTuple, address: IpAddr, payload: &[u8]) -> io::Result<Self> {
        let (socket, identifier) = match tuple.protocol {
            protocol::UDP => (
                sockets::datagrams(SocketAddr::new(address, tuple.dport))?,
                [0; 2],
            ),
            _ => (
                sockets::ping(SocketAddr::new(address, 0))?,
                payload
                    .get(4..6)
                    .and_then(|bytes| bytes.try_into().ok())
                    .unwrap_or_default(),
            ),
        };
        Ok(Self::Connected(socket, identifier))
    }
}

impl Flow {
    fn send(&self, payload: &[u8]) -> io::Result<usize> {
        match &self.other {
            Other::Connected(socket, _) => socket.send(payload),
            Other::Peer(socket, peer) => socket.send_to(payload, peer),
        }
    }
}

/// What the real network sent back, as a packet for the lab.
fn answer(identity: &Identity, tuple: FiveTuple, identifier: [u8; 2], payload: &[u8]) -> Frame {
    match tuple.protocol {
        protocol::UDP => {
            let from = SocketAddr::new(tuple.dst, tuple.dport);
            let to = SocketAddr::new(tuple.src, tuple.sport);
            udp(identity, from, to, payload)
        }
        _ => echo(identity, tuple, identifier, payload),
    }
}

pub(super) fn udp(identity: &Identity, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Frame {
    let len = 8 + payload.len();
    let mut frame = identity.empty(len + 40);
    let ends = identity.endpoints(from.ip(), to.ip());
    put_ip(&mut frame, &ends, protocol::UDP, TTL_DEFAULT, len);
    frame.extend(&from.port().to_be_bytes());
    frame.extend(&to.port().to_be_bytes());
    frame.extend(&u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
    // Not zero, which over IPv4 means none.
    frame.extend(&[0xff, 0xff]);
    frame.extend(payload);
    finish(frame)
}

/// An echo reply with the identifier that the lab's side had chosen.
fn echo(identity: &Identity, tuple: FiveTuple, identifier: [u8; 2], message: &[u8]) -> Frame {
    let mut frame = identity.empty(message.len() + 40);
    let ends = identity.endpoints(tuple.dst, tuple.src);
    let len = message.len().max(8);
    put_ip(&mut frame, &ends, tuple.protocol, TTL_DEFAULT, len);
    frame.extend(message.get(..2).unwrap_or(&[0, 0]));
    frame.extend(&[0, 0]);
    frame.extend(&identifier);
    frame.extend(message.get(6..).unwrap_or(&[0, 0]));
    finish(frame)
}

/// Makes an IPv4 packet one that may be fragmented.
fn allow_fragments(frame: &mut Frame, id: u16) {
    let packet = frame.bytes_mut().get_mut(ETHERNET_LEN..);
    let header = packet.and_then(|packet| packet.get_mut(..IPV4_LEN));
    if let Some(header) = header.filter(|header| header.first() == Some(&0x45)) {
        if let Some(fields) = header.get_mut(4..8) {
            let [high, low] = id.to_be_bytes();
            fields.copy_from_slice(&[high, low, 0, 0]);
        }
        fill_ipv4_header(header);
    }
}

fn finish(mut frame: Frame) -> Frame {
    if let Ok(headers) = parse_ip(frame.bytes(), ETHERNET_LEN) {
        fill_transport(frame.bytes_mut(), &headers);
    }
    frame
}
