//! One simulated host interface: a smoltcp stack, the programs below it and a
//! record of what passed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketSet};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};
use vpclab_dataplane::addr::{EniId, Mac, Prefix};
use vpclab_dataplane::packet::{Checksum, Frame, FramePool, Segmentation, segment};
use vpclab_dataplane::tables::{EniRow, SubnetRow};
use vpclab_dataplane::time::Instant;

use super::datagram::{Pings, UdpSockets};
use super::device::{MemoryDevice, deadline, to_smol};
use super::node::Node;
use super::record::{Direction, Record};
use super::tcp::{Behaviour, Tcp};
use crate::appliance::wire;
use crate::model::Through;
use crate::upstream::PORT;

/// The router's IPv6 address in every subnet.
const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0xec2, 0, 0, 0, 0, 0, 1);

/// What a host needs to know of its interface: what DHCP and router
/// advertisements tell a real one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// MAC address.
    pub mac: Mac,
    /// Addresses, each with its subnet's prefix length; the primary first.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Default gateway; `None` puts every destination on the link.
    pub gateway_v4: Option<Ipv4Addr>,
    /// Default gateway; `None` puts every destination on the link.
    pub gateway_v6: Option<Ipv6Addr>,
    /// Largest IP packet.
    pub mtu: usize,
}

impl Wiring {
    /// What the rows of an interface and its subnet say.
    pub fn of(eni: &EniRow, subnet: &SubnetRow) -> Self {
        let cidr_of = |address: IpAddr| subnet.cidrs.iter().find(|cidr| cidr.contains(address));
        let all = |prefix: &&Prefix| !prefix.is_empty_length();
        let v4 = subnet.cidrs.iter().filter(all).find(|c| c.is_ipv4());
        let v6 = subnet.cidrs.iter().filter(all).find(|c| !c.is_ipv4());
        let gateway_v4 = v4.and_then(|cidr| match cidr.nth(1) {
            Some(IpAddr::V4(router)) => Some(router),
            _ => None,
        });
        let host_len = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
        Self {
            mac: eni.mac,
            addresses: eni
                .addresses
                .iter()
                .map(|&a| (a, cidr_of(a).map_or(host_len(a), |cidr| cidr.len())))
                .collect(),
            gateway_v4,
            gateway_v6: v6.map(|_| ROUTER_V6),
            mtu: eni.mtu as usize,
        }
    }
}

/// The internet's pseudo-subnet is everything.
trait EmptyLength {
    fn is_empty_length(&self) -> bool;
}

impl EmptyLength for Prefix {
    fn is_empty_length(&self) -> bool {
        self.len() == 0
    }
}

/// One interface of a host.
pub(crate) struct Stack {
    pub(crate) name: String,
    pub(crate) eni: EniId,
    pub(crate) wiring: Wiring,
    seed: u64,
    iface: Interface,
    device: MemoryDevice,
    pub(crate) sockets: SocketSet<'static>,
    pub(crate) tcp: Tcp,
    pub(crate) udp: UdpSockets,
    pub(crate) pings: Pings,
    nodes: Vec<Box<dyn Node>>,
    /// No stack: frames are only recorded, and sent by the test.
    pub(crate) raw: bool,
    pub(crate) record: Record,
    outbox: Vec<Frame>,
    pub(crate) dirty: bool,
    deadline: Option<Instant>,
    now: Instant,
}

impl Stack {
    pub(crate) fn new(name: String, eni: EniId, wiring: Wiring, seed: u64) -> Self {
        let mut device = MemoryDevice::new(wiring.mtu);
        let iface = interface(&wiring, seed, &mut device, Instant::ZERO);
        Self {
            name,
            eni,
            wiring,
            seed,
            iface,
            device,
            sockets: SocketSet::new(Vec::new()),
            tcp: Tcp::new(),
            udp: UdpSockets::default(),
            pings: Pings::default(),
            nodes: Vec::new(),
            raw: false,
            record: Record::default(),
            outbox: Vec::new(),
            dirty: true,
            deadline: None,
            now: Instant::ZERO,
        }
    }

    /// Takes new addresses or another MTU; sockets live on.
    pub(crate) fn rewire(&mut self, wiring: Wiring) {
        if self.wiring != wiring {
            self.device = MemoryDevice::new(wiring.mtu);
            self.iface = interface(&wiring, self.seed, &mut self.device, self.now);
            self.wiring = wiring;
            self.dirty = true;
        }
    }

    /// Becomes a service of AWS's: it answers at whatever address it is asked.
    pub(crate) fn serve(&mut self, through: Through) {
        self.iface.set_any_ip(true);
        let behaviour = Behaviour::Service(through);
        self.tcp.listen(&mut self.sockets, PORT, behaviour);
    }

    /// Moves the clock; called before anything that asks for the time.
    pub(crate) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// When [`Stack::poll`] next has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.dirty {
            return Some(self.now);
        }
        let nodes = self.nodes.iter().filter_map(|node| node.next_deadline());
        // A stack that is switched off never gets to what it had planned.
        let own = self.deadline.filter(|_| !self.raw);
        nodes.chain(own).min()
    }

    pub(crate) fn install(&mut self, node: Box<dyn Node>) {
        self.nodes.push(node);
    }

    /// Sends a frame as it is.
    pub(crate) fn send_frame(&mut self, frame: Frame) {
        self.outbox.push(frame);
        self.dirty = true;
    }

    pub(crate) fn connect(&mut self, from: Option<u16>, to: SocketAddr) -> Result<usize, String> {
        self.dirty = true;
        self.tcp
            .connect(&mut self.iface, &mut self.sockets, from, to)
    }

    /// A frame from the data plane.
    pub(crate) fn receive(&mut self, now: Instant, frame: Frame) {
        // A train of datagrams is nothing but datagrams to whom it is for.
        if matches!(frame.offload.segmentation, Segmentation::Udp(_)) {
            let mut pieces = Vec::new();
            let emit = &mut |piece| pieces.push(piece);
            // One that cannot be cut is none.
            let _ = segment(frame, &mut FramePool::new(0), emit);
            for piece in pieces {
                self.receive_whole(now, piece);
            }
            return;
        }
        self.receive_whole(now, frame);
    }

    fn receive_whole(&mut self, now: Instant, mut frame: Frame) {
        self.now = now;
        complete_checksum(&mut frame);
        self.record.push(now, Direction::Received, frame.bytes());
        self.dirty = true;
        let mut out = Vec::new();
        let taken = self
            .nodes
            .iter_mut()
            .any(|node| node.receive(now, frame.bytes(), &mut out));
        self.push_raw(out);
        if !taken && !self.raw {
            self.device.rx.push_back(frame.bytes().to_vec());
        }
    }

    fn push_raw(&mut self, frames: Vec<Vec<u8>>) {
        let port = self.eni;
        let frames = frames.iter().map(|bytes| Frame::from_bytes(port, bytes));
        self.outbox.extend(frames);
    }

    /// Lets the stack act; frames to send are appended to `out`.
    pub(crate) fn poll(&mut self, now: Instant, out: &mut Vec<Frame>) {
        self.now = now;
        self.dirty = false;
        let mut raw = Vec::new();
        for node in &mut self.nodes {
            if node.next_deadline().is_some_and(|at| at <= now) {
                node.poll(now, &mut raw);
            }
        }
        self.push_raw(raw);
        if !self.raw {
            self.run(now);
        }
        let port = self.eni;
        let sent = self.device.tx.drain(..);
        self.outbox
            .extend(sent.map(|bytes| Frame::from_bytes(port, &bytes)));
        for mut frame in self.outbox.drain(..) {
            frame.port = port;
            self.record.push(now, Direction::Sent, frame.bytes());
            if let Some((from, to, segment)) = tcp_segment(frame.bytes()) {
                self.tcp.see_sent(from, to, segment);
            }
            out.push(frame);
        }
    }

    fn run(&mut self, now: Instant) {
        let at = to_smol(now);
        let (iface, device, sockets) = (&mut self.iface, &mut self.device, &mut self.sockets);
        // One packet at a time: between two SYNs the listener must put up the
        // next socket, or the second is refused.
        loop {
            if let Some(frame) = device.rx.front()
                && let Some((from, to, segment)) = tcp_segment(frame)
            {
                self.tcp.see_received(from, to, segment);
            }
            if iface.poll_ingress_single(at, device, sockets) == PollIngressSingleResult::None {
                break;
            }
            self.tcp.after_ingress(sockets);
        }
        loop {
            let mut moved = self.tcp.pump(sockets);
            moved |= self.udp.pump(sockets);
            moved |= self.pings.pump(now, sockets);
            if iface.poll_egress(at, device, sockets) == PollResult::None && !moved {
                break;
            }
        }
        let due = iface.poll_at(at, sockets);
        self.deadline = due.map(|due| deadline(now, due));
    }

    /// What is unfinished, for the report of a run that timed out.
    pub(crate) fn pending(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for conn in self.tcp.conns() {
            if conn.unsent() > 0 || !matches!(conn.state, smoltcp::socket::tcp::State::Closed) {
                lines.push(format!(
                    "{}: tcp {} > {} {:?}, {} bytes received, {} unsent",
                    self.name,
                    conn.local,
                    conn.peer,
                    conn.state,
                    conn.rx_total,
                    conn.unsent()
                ));
            }
        }
        lines.extend(
            self.pings
                .pending()
                .map(|to| format!("{}: ping {to} unanswered", self.name)),
        );
        lines
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack")
            .field("name", &self.name)
            .field("eni", &self.eni)
            .field("wiring", &self.wiring)
            .finish_non_exhaustive()
    }
}

fn interface(wiring: &Wiring, seed: u64, device: &mut MemoryDevice, now: Instant) -> Interface {
    let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(wiring.mac.0)));
    config.random_seed = seed;
    let mut iface = Interface::new(config, device, to_smol(now));
    iface.update_ip_addrs(|list| {
        let link_local = IpAddr::V6(wiring.mac.link_local());
        let all = wiring.addresses.iter().copied();
        for (address, len) in all.chain([(link_local, 64)]) {
            // Beyond smoltcp's capacity further secondary addresses are left out.
            let _full = list.push(IpCidr::new(address.into(), len));
        }
    });
    if let Some(router) = wiring.gateway_v4 {
        let _full = iface.routes_mut().add_default_ipv4_route(router);
    }
    if let Some(router) = wiring.gateway_v6 {
        let _full = iface.routes_mut().add_default_ipv6_route(router);
    }
    iface
}

/// Source, destination and bytes of the TCP segment in a frame.
fn tcp_segment(frame: &[u8]) -> Option<(SocketAddr, SocketAddr, &[u8])> {
    let (from, to, segment): (IpAddr, IpAddr, &[u8]) = match frame.get(12..14)? {
        [0x08, 0x00] if frame.get(23) == Some(&6) => {
            let header_len = usize::from(frame.get(14)? & 0xf) * 4;
            let total = usize::from(u16::from_be_bytes([*frame.get(16)?, *frame.get(17)?]));
            let from = <[u8; 4]>::try_from(frame.get(26..30)?).ok()?;
            let to = <[u8; 4]>::try_from(frame.get(30..34)?).ok()?;
            let segment = frame.get(14 + header_len..14 + total)?;
            (from.into(), to.into(), segment)
        }
        [0x86, 0xdd] if frame.get(20) == Some(&6) => {
            let from = <[u8; 16]>::try_from(frame.get(22..38)?).ok()?;
            let to = <[u8; 16]>::try_from(frame.get(38..54)?).ok()?;
            (from.into(), to.into(), frame.get(54..)?)
        }
        _ => return None,
    };
    let port = |at: usize| {
        Some(u16::from_be_bytes([
            *segment.get(at)?,
            *segment.get(at + 1)?,
        ]))
    };
    Some((
        SocketAddr::new(from, port(0)?),
        SocketAddr::new(to, port(2)?),
        segment,
    ))
}

/// What a network card with checksum offload does last: adds the sum of the
/// packet to the pseudo-header's sum that the field holds.
fn complete_checksum(frame: &mut Frame) {
    let Checksum::Partial { start, offset } = frame.offload.checksum else {
        return;
    };
    let (start, offset) = (usize::from(start), usize::from(offset));
    let bytes = frame.bytes_mut();
    let Some(transport) = bytes.get_mut(start..) else {
        return;
    };
    let checksum = match !wire::sum(transport, 0) {
        // UDP writes a computed zero as all ones (RFC 768).
        0 if offset == 6 => 0xffff,
        other => other,
    };
    if let Some(field) = transport.get_mut(offset..offset + 2) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
    frame.offload.checksum = Checksum::Verified;
}
