//! The gateway's place on the lab's internet: a port of the data plane on one
//! side, packets for a small stack on the other.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::mpsc::{SyncSender, TrySendError};

use smoltcp::phy::{self, Checksum, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::io::{Port, PortError, WakeSender};
use vpclab_dataplane::packet::{Endpoints, Frame, FramePool, ethertype, put_ethernet};

/// Largest packet on the internet side.
pub(super) const MTU: usize = 1500;

/// Hands the data plane's frames to the gateway's thread. What comes back is
/// injected, so this side never receives.
#[derive(Clone)]
pub(super) struct QueuePort {
    pub(super) frames: SyncSender<Frame>,
    pub(super) wake: WakeSender,
}

impl Port for QueuePort {
    fn receive(&mut self, _: usize, _: &mut Vec<Frame>, _: &mut FramePool) -> io::Result<usize> {
        Ok(0)
    }

    fn transmit(&mut self, frame: Frame, pool: &mut FramePool) -> Result<(), PortError> {
        let (frame, error) = match self.frames.try_send(frame) {
            Ok(()) => {
                self.wake.wake();
                return Ok(());
            }
            Err(TrySendError::Full(frame)) => (frame, PortError::Full),
            Err(TrySendError::Disconnected(frame)) => {
                (frame, PortError::Io(ErrorKind::BrokenPipe.into()))
            }
        };
        pool.put(frame);
        Err(error)
    }

    fn receives(&self) -> bool {
        false
    }

    fn sender(&self) -> Option<Box<dyn Port>> {
        Some(Box::new(self.clone()))
    }
}

/// Who the gateway is on the lab's internet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) eni: EniId,
    pub(super) mac: Mac,
    pub(super) router_mac: Mac,
}

impl Identity {
    /// A frame for `packet`, from its IP header on.
    pub(super) fn frame(&self, packet: &[u8]) -> Frame {
        let mut frame = self.empty(packet.len());
        let kind = match packet.first().map(|byte| byte >> 4) {
            Some(6) => ethertype::IPV6,
            _ => ethertype::IPV4,
        };
        put_ethernet(&mut frame, self.router_mac, self.mac, kind);
        frame.extend(packet);
        frame
    }

    /// A frame of the gateway's, with room for a packet of so many bytes.
    pub(super) fn empty(&self, len: usize) -> Frame {
        let mut frame = Frame::with_capacity(len + 14);
        frame.port = self.eni;
        frame
    }

    /// The ends of a frame from the gateway's side.
    pub(super) fn endpoints(&self, src: IpAddr, dst: IpAddr) -> Endpoints {
        Endpoints {
            src_mac: self.mac,
            dst_mac: self.router_mac,
            src,
            dst,
        }
    }
}

/// The stack's view: packets in, packets out. TCP super-packets with a partial
/// checksum come in as they are: the data plane is no wire that damages them.
#[derive(Debug, Default)]
pub(super) struct PacketDevice {
    pub(super) rx: VecDeque<Vec<u8>>,
    pub(super) tx: VecDeque<Vec<u8>>,
}

impl Device for PacketDevice {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }

    fn receive(&mut self, _: Instant) -> Option<(RxToken, TxToken<'_>)> {
        let packet = self.rx.pop_front()?;
        Some((RxToken(packet), TxToken(&mut self.tx)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        Some(TxToken(&mut self.tx))
    }
}

/// One received packet.
pub(super) struct RxToken(Vec<u8>);

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for one packet.
pub(super) struct TxToken<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}
