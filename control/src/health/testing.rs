//! A toy target: another stack, joined to the prober in memory.

use std::net::SocketAddr;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, Ipv4Address, Ipv6Address};
use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::time::Instant;

use super::stack::NodeDevice;

/// A server on one port, whose MAC address is `own` to the node with MAC address
/// `node`, that answers every connection with fixed bytes.
pub(super) struct Peer {
    interface: Interface,
    device: NodeDevice,
    sockets: SocketSet<'static>,
    listener: Option<(SocketHandle, SocketAddr)>,
    answer: &'static [u8],
    pub(super) request: Vec<u8>,
}

impl Peer {
    pub(super) fn new(
        own: Mac,
        node: Mac,
        address: &str,
        listens: bool,
        answer: &'static [u8],
    ) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let mut device = NodeDevice::new(EniId(9), own, node);
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut device, StackInstant::ZERO);
        interface.update_ip_addrs(|own| {
            let len = if address.is_ipv4() { 32 } else { 128 };
            own.push(IpCidr::new(IpAddress::from(address.ip()), len))
                .unwrap();
        });
        let routes = interface.routes_mut();
        routes
            .add_default_ipv4_route(Ipv4Address::new(169, 254, 0, 1))
            .unwrap();
        routes
            .add_default_ipv6_route(Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))
            .unwrap();
        let mut peer = Self {
            interface,
            device,
            sockets: SocketSet::new(Vec::new()),
            listener: None,
            answer,
            request: Vec::new(),
        };
        if listens {
            peer.listen(address);
        }
        peer
    }

    fn listen(&mut self, address: SocketAddr) {
        let buffer = || tcp::SocketBuffer::new(vec![0; 1024]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.listen(address.port()).unwrap();
        self.listener = Some((self.sockets.add(socket), address));
    }

    pub(super) fn poll(&mut self, now: Instant, rx: &mut Vec<Frame>, tx: &mut Vec<Frame>) {
        let stack_now = StackInstant::from_micros((now.as_nanos() / 1_000) as i64);
        for frame in rx.drain(..) {
            self.device.receive_frame(frame);
        }
        for _ in 0..3 {
            self.interface
                .poll(stack_now, &mut self.device, &mut self.sockets);
            let Some((handle, address)) = self.listener else {
                continue;
            };
            let socket = self.sockets.get_mut::<tcp::Socket>(handle);
            let ready = self.answer.is_empty() || socket.can_recv();
            if ready && socket.may_send() && socket.state() == tcp::State::Established {
                let _ = socket.recv(|bytes| {
                    self.request = bytes.to_vec();
                    (bytes.len(), ())
                });
                socket.send_slice(self.answer).unwrap();
                if !self.answer.is_empty() {
                    socket.close();
                }
            }
            if socket.state() == tcp::State::CloseWait {
                socket.close();
            }
            if matches!(socket.state(), tcp::State::Closed | tcp::State::TimeWait) {
                self.sockets.remove(handle);
                self.listen(address);
            }
        }
        self.device.transmit_frames(tx);
    }
}
