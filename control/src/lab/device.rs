//! smoltcp's view of a memory port: two queues of whole Ethernet frames.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{EthernetFrame, IpAddress, IpEndpoint};
use vpclab_dataplane::time::{Duration, Instant};

/// A port with nothing behind it but memory.
#[derive(Debug)]
pub(crate) struct MemoryDevice {
    mtu: usize,
    /// Frames for the stack.
    pub(crate) rx: VecDeque<Vec<u8>>,
    /// Frames from the stack.
    pub(crate) tx: VecDeque<Vec<u8>>,
}

impl MemoryDevice {
    /// A device that carries IP packets of up to `mtu` bytes.
    pub(crate) fn new(mtu: usize) -> Self {
        Self {
            mtu,
            rx: VecDeque::new(),
            tx: VecDeque::new(),
        }
    }
}

impl Device for MemoryDevice {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + EthernetFrame::<&[u8]>::header_len();
        capabilities
    }

    fn receive(&mut self, _: SmolInstant) -> Option<(RxToken, TxToken<'_>)> {
        let frame = self.rx.pop_front()?;
        Some((RxToken(frame), TxToken(&mut self.tx)))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<TxToken<'_>> {
        Some(TxToken(&mut self.tx))
    }
}

/// One received frame.
pub(crate) struct RxToken(Vec<u8>);

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for one frame.
pub(crate) struct TxToken<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

/// smoltcp counts microseconds.
pub(crate) fn to_smol(now: Instant) -> SmolInstant {
    SmolInstant::from_micros(i64::try_from(now.as_nanos() / 1_000).unwrap_or(i64::MAX))
}

/// The deadline that smoltcp names, but always after `now`: a stack that has
/// just been polled gains nothing from being polled again at once.
pub(crate) fn deadline(now: Instant, due: SmolInstant) -> Instant {
    let due = u64::try_from(due.total_micros()).unwrap_or(0);
    let earliest = now + Duration::from_micros(1);
    earliest.max(Instant::from_nanos(due.saturating_mul(1_000)))
}

/// A smoltcp endpoint as the standard library writes it.
pub(crate) fn socket_addr(endpoint: IpEndpoint) -> SocketAddr {
    SocketAddr::new(ip_addr(endpoint.addr), endpoint.port)
}

/// A smoltcp address as the standard library writes it.
pub(crate) fn ip_addr(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4(a) => IpAddr::V4(a),
        IpAddress::Ipv6(a) => IpAddr::V6(a),
    }
}
