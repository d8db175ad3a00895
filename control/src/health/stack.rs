//! The network device of a node's stack: bare IP inside, Ethernet frames outside.
//!
//! The stack runs without ARP or ND: the control plane knows every MAC address
//! there is, so this layer writes the Ethernet header itself. Neighbours of the
//! node's own subnet get their own MAC, all others the router's.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::packet::{Checksum, Frame};

const ETHERNET_LEN: usize = 14;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// A probe needs no more; every path in a VPC carries this.
const MTU: usize = 1500;

/// Queues between the stack and the data plane.
#[derive(Debug)]
pub(crate) struct NodeDevice {
    port: EniId,
    mac: Mac,
    router_mac: Mac,
    neighbours: BTreeMap<IpAddr, Mac>,
    rx: VecDeque<Vec<u8>>,
    tx: VecDeque<Vec<u8>>,
}

impl NodeDevice {
    pub(crate) fn new(port: EniId, mac: Mac, router_mac: Mac) -> Self {
        Self {
            port,
            mac,
            router_mac,
            neighbours: BTreeMap::new(),
            rx: VecDeque::new(),
            tx: VecDeque::new(),
        }
    }

    /// Replaces the addresses that are reached without the router.
    pub(crate) fn set_neighbours(&mut self, neighbours: BTreeMap<IpAddr, Mac>) {
        self.neighbours = neighbours;
    }

    /// Takes a frame of the data plane; anything but IP for this node is ignored.
    pub(crate) fn receive_frame(&mut self, mut frame: Frame) {
        complete_checksum(&mut frame);
        let Some((header, packet)) = frame.bytes().split_at_checked(ETHERNET_LEN) else {
            return;
        };
        let for_us = header.starts_with(&self.mac.0);
        let is_ip = header.ends_with(&ETHERTYPE_IPV4) || header.ends_with(&ETHERTYPE_IPV6);
        if for_us && is_ip {
            self.rx.push_back(packet.to_vec());
        }
    }

    /// Moves what the stack sent to `out`, as frames entering by the node.
    pub(crate) fn transmit_frames(&mut self, out: &mut Vec<Frame>) {
        while let Some(packet) = self.tx.pop_front() {
            let Some((destination, ethertype)) = destination(&packet) else {
                continue;
            };
            let next_hop = self
                .neighbours
                .get(&destination)
                .unwrap_or(&self.router_mac);
            let mut frame = Frame::with_capacity(ETHERNET_LEN + packet.len());
            frame.port = self.port;
            frame.extend(&next_hop.0);
            frame.extend(&self.mac.0);
            frame.extend(&ethertype);
            frame.extend(&packet);
            out.push(frame);
        }
    }
}

fn destination(packet: &[u8]) -> Option<(IpAddr, [u8; 2])> {
    match packet.first()? >> 4 {
        4 => {
            let bytes: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            Some((IpAddr::V4(Ipv4Addr::from(bytes)), ETHERTYPE_IPV4))
        }
        6 => {
            let bytes: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some((IpAddr::V6(Ipv6Addr::from(bytes)), ETHERTYPE_IPV6))
        }
        _ => None,
    }
}

/// Finishes a partial checksum: the stack verifies every packet, and one from
/// a TAP may have left that to the card.
fn complete_checksum(frame: &mut Frame) {
    let Checksum::Partial { start, offset } = frame.offload.checksum else {
        return;
    };
    let (start, field) = (usize::from(start), usize::from(start) + usize::from(offset));
    let Some(bytes) = frame.bytes().get(start..) else {
        return;
    };
    let mut sum: u64 = bytes
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u64::from(high) << 8 | u64::from(low),
            [high] => u64::from(high) << 8,
            _ => 0,
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !(sum as u16);
    if let Some(slot) = frame.bytes_mut().get_mut(field..field + 2) {
        slot.copy_from_slice(&checksum.to_be_bytes());
        frame.offload.checksum = Checksum::Verified;
    }
}

impl Device for NodeDevice {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(RxToken, TxToken<'_>)> {
        let packet = self.rx.pop_front()?;
        Some((RxToken(packet), TxToken(&mut self.tx)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<TxToken<'_>> {
        Some(TxToken(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

/// One received packet.
pub(crate) struct RxToken(Vec<u8>);

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for one packet to send.
pub(crate) struct TxToken<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}
