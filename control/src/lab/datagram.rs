//! UDP sockets and pings of a simulated host.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{icmp, udp};
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress, IpEndpoint, Ipv6Address,
};
use vpclab_dataplane::time::{Duration, Instant};

use super::device::{ip_addr, socket_addr};

/// One bound UDP port.
#[derive(Debug)]
pub(crate) struct UdpPort {
    socket: SocketHandle,
    port: u16,
    pub(crate) received: Vec<(SocketAddr, Vec<u8>)>,
    outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(crate) echo: bool,
}

/// All UDP of one host.
#[derive(Debug, Default)]
pub(crate) struct UdpSockets {
    ports: Vec<UdpPort>,
}

impl UdpSockets {
    /// Binds a port, or finds it bound; `None` for port 0.
    pub(crate) fn bind(&mut self, sockets: &mut SocketSet<'static>, port: u16) -> Option<usize> {
        if let Some(at) = self.ports.iter().position(|udp| udp.port == port) {
            return Some(at);
        }
        let buffer =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 256], vec![0; 256 * 1024]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).ok()?;
        self.ports.push(UdpPort {
            socket: sockets.add(socket),
            port,
            received: Vec::new(),
            outgoing: VecDeque::new(),
            echo: false,
        });
        Some(self.ports.len() - 1)
    }

    pub(crate) fn port(&self, at: usize) -> Option<&UdpPort> {
        self.ports.get(at)
    }

    pub(crate) fn port_mut(&mut self, at: usize) -> Option<&mut UdpPort> {
        self.ports.get_mut(at)
    }

    pub(crate) fn received(&self) -> impl Iterator<Item = &(SocketAddr, Vec<u8>)> {
        self.ports.iter().flat_map(|udp| &udp.received)
    }

    pub(crate) fn pump(&mut self, sockets: &mut SocketSet<'static>) -> bool {
        let mut moved = false;
        for udp in &mut self.ports {
            let socket = sockets.get_mut::<udp::Socket<'_>>(udp.socket);
            while let Ok((bytes, meta)) = socket.recv() {
                let from = socket_addr(meta.endpoint);
                if udp.echo {
                    udp.outgoing.push_back((from, bytes.to_vec()));
                }
                udp.received.push((from, bytes.to_vec()));
                moved = true;
            }
            while let Some((to, bytes)) = udp.outgoing.front() {
                let endpoint = IpEndpoint::new(to.ip().into(), to.port());
                match socket.send_slice(bytes, endpoint) {
                    Err(udp::SendError::BufferFull) if socket.send_queue() > 0 => break,
                    // A datagram that can never go is gone, as with a real socket.
                    _ => {}
                }
                udp.outgoing.pop_front();
                moved = true;
            }
        }
        moved
    }
}

impl UdpPort {
    pub(crate) fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.outgoing.push_back((to, bytes.to_vec()));
    }
}

/// One echo request and its answer.
#[derive(Debug)]
pub(crate) struct PingState {
    socket: SocketHandle,
    ident: u16,
    to: IpAddr,
    payload: Vec<u8>,
    sent: Option<Instant>,
    pub(crate) reply: Option<(IpAddr, Duration)>,
}

/// All pings of one host.
#[derive(Debug, Default)]
pub(crate) struct Pings {
    pings: Vec<PingState>,
}

const FIRST_IDENT: u16 = 0x4000;

impl Pings {
    /// Puts down an echo request to be sent.
    pub(crate) fn start(
        &mut self,
        sockets: &mut SocketSet<'static>,
        to: IpAddr,
        payload: Vec<u8>,
    ) -> usize {
        let buffer = || {
            let bytes = payload.len() + 64;
            icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 4 * bytes])
        };
        let mut socket = icmp::Socket::new(buffer(), buffer());
        let ident = FIRST_IDENT.wrapping_add(self.pings.len() as u16);
        // Fails only for an endpoint that names nothing; an ident names something.
        let bound = socket.bind(icmp::Endpoint::Ident(ident)).is_ok();
        debug_assert!(bound);
        self.pings.push(PingState {
            socket: sockets.add(socket),
            ident,
            to,
            payload,
            sent: None,
            reply: None,
        });
        self.pings.len() - 1
    }

    pub(crate) fn ping(&self, at: usize) -> Option<&PingState> {
        self.pings.get(at)
    }

    pub(crate) fn pending(&self) -> impl Iterator<Item = IpAddr> {
        let unanswered = self.pings.iter().filter(|ping| ping.reply.is_none());
        unanswered.map(|ping| ping.to)
    }

    pub(crate) fn pump(&mut self, now: Instant, sockets: &mut SocketSet<'static>) -> bool {
        let mut moved = false;
        for ping in &mut self.pings {
            let socket = sockets.get_mut::<icmp::Socket<'_>>(ping.socket);
            if ping.sent.is_none() {
                ping.sent = Some(now);
                let request = ping.request();
                moved |= socket.send_slice(&request, ping.to.into()).is_ok();
            }
            while let Ok((bytes, from)) = socket.recv() {
                moved = true;
                if ping.reply.is_none() && ping.is_reply(bytes, from) {
                    let sent = ping.sent.unwrap_or(now);
                    ping.reply = Some((ip_addr(from), now.since(sent)));
                }
            }
        }
        moved
    }
}

impl PingState {
    fn request(&self) -> Vec<u8> {
        let (ident, seq_no, data) = (self.ident, 1, self.payload.as_slice());
        if self.to.is_ipv4() {
            let repr = Icmpv4Repr::EchoRequest {
                ident,
                seq_no,
                data,
            };
            let mut bytes = vec![0; repr.buffer_len()];
            let mut packet = Icmpv4Packet::new_unchecked(&mut bytes);
            repr.emit(&mut packet, &ChecksumCapabilities::default());
            return bytes;
        }
        let repr = Icmpv6Repr::EchoRequest {
            ident,
            seq_no,
            data,
        };
        let mut bytes = vec![0; repr.buffer_len()];
        let mut packet = Icmpv6Packet::new_unchecked(&mut bytes);
        // The stack knows the source and fills the checksum in.
        let unset = Ipv6Address::UNSPECIFIED;
        repr.emit(
            &unset,
            &unset,
            &mut packet,
            &ChecksumCapabilities::ignored(),
        );
        bytes
    }

    fn is_reply(&self, bytes: &[u8], from: IpAddress) -> bool {
        let echo_reply = match from {
            IpAddress::Ipv4(_) => 0,
            IpAddress::Ipv6(_) => 129,
        };
        bytes.first() == Some(&echo_reply)
            && bytes.get(4..6) == Some(&self.ident.to_be_bytes())
            && bytes.get(8..) == Some(&self.payload)
    }
}
