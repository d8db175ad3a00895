//! An appliance that sends every GENEVE packet back as it is: what a firewall does
//! that lets everything pass, for the least that it can cost.
//!
//! One that knows trains reads many packets of a flow in one call (`UDP_GRO`), and
//! sends them in one (`UDP_SEGMENT`); the kernel cuts them for one that does not.

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt,
};

use super::bed::spawn;
use crate::host::namespace::Namespaces;
use crate::host::{Context, HostError};

const GENEVE_PORT: u16 = 6081;
/// A metric: packets that the appliance got with one call, on average.
const PACKETS_A_READ: &str = "packets_a_read";
/// How often it looks whether it is to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How an appliance takes and sends packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sends {
    OneByOne,
    Trains,
}

#[derive(Debug, Default)]
struct Counts {
    reads: AtomicU64,
    packets: AtomicU64,
}

/// A running appliance. Ends when dropped.
pub(super) struct Appliance {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Appliance {
    /// Starts it in a host.
    pub(super) fn start(host: &Namespaces, sends: Sends) -> Result<Self, HostError> {
        let socket = host.in_network(|| bind(GENEVE_PORT).context("GENEVE socket"))?;
        socket
            .set_read_timeout(Some(LOOK_INTERVAL))
            .context("GENEVE socket")?;
        if sends == Sends::Trains {
            setsockopt(&socket, sockopt::UdpGroSegment, &true)
                .context("UDP_GRO: this kernel knows no trains")?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::<Counts>::default();
        let net = host.net.try_clone().context("network namespace")?;
        let (told, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let thread = spawn("appliance", move || {
            nix::sched::setns(net.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET)?;
            reflect(&socket, &told, &counted)
        })?;
        Ok(Self {
            stop,
            counts,
            thread: Some(thread),
        })
    }

    /// An error if it has ended, and why: nothing comes through any more.
    pub(super) fn check(&mut self) -> Result<(), HostError> {
        match self.thread.take_if(|thread| thread.is_finished()) {
            None => Ok(()),
            Some(thread) => match thread.join() {
                Ok(Ok(())) => Err(HostError::new("the appliance ended")),
                Ok(Err(error)) => Err(HostError::new(format!("appliance: {error}"))),
                Err(_) => Err(HostError::new("the appliance panicked")),
            },
        }
    }

    /// What it saw, in figures.
    pub(super) fn settings(&self) -> Vec<(&'static str, f64)> {
        let reads = self.counts.reads.load(Ordering::Relaxed).max(1) as f64;
        let packets = self.counts.packets.load(Ordering::Relaxed) as f64;
        vec![(PACKETS_A_READ, packets / reads)]
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bind(port: u16) -> std::io::Result<UdpSocket> {
    UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))
}

/// Sends back what comes until told to stop. What cannot be sent is lost, as in any
/// appliance.
fn reflect(socket: &UdpSocket, stop: &AtomicBool, counts: &Counts) -> std::io::Result<()> {
    // The port of the sender is the flow's, and has to come back.
    let mut senders: BTreeMap<u16, UdpSocket> = BTreeMap::new();
    let mut buffer = vec![0; 65_536];
    let mut control = nix::cmsg_space!(i32);
    while !stop.load(Ordering::Relaxed) {
        let mut room = [IoSliceMut::new(&mut buffer)];
        let fd = socket.as_raw_fd();
        let got = recvmsg::<SockaddrIn>(fd, &mut room, Some(&mut control), MsgFlags::empty());
        let message = match got {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let size = message.cmsgs()?.find_map(|one| match one {
            ControlMessageOwned::UdpGroSegments(size) => u16::try_from(size).ok(),
            _ => None,
        });
        let (len, from) = (message.bytes, message.address);
        let Some(from) = from else { continue };
        let packets = size.map_or(1, |size| len.div_ceil(usize::from(size).max(1)));
        counts.reads.fetch_add(1, Ordering::Relaxed);
        counts.packets.fetch_add(packets as u64, Ordering::Relaxed);
        let sender = match senders.entry(from.port()) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(bind(from.port())?),
        };
        let to = SockaddrIn::from(SocketAddrV4::new(from.ip(), GENEVE_PORT));
        let bytes = [IoSlice::new(buffer.get(..len).unwrap_or_default())];
        let train = size.filter(|_| packets > 1);
        let train = train.as_ref().map(ControlMessage::UdpGsoSegments);
        let control = train.as_slice();
        let fd = sender.as_raw_fd();
        let _lost = sendmsg(fd, &bytes, control, MsgFlags::empty(), Some(&to));
    }
    Ok(())
}
