//! Datagrams in frames of 64 bytes, as many as a thread can send.
//!
//! Frames are made before, with valid checksums, and leave by a packet socket:
//! the cheapest generator that every interface takes alike. In the first round,
//! which is for warming up, they go to a socket that nobody reads: there they are
//! lost and counted, and their checksums verified. Then they end where they enter
//! the server, so that its stack takes no part in what is measured; without
//! nftables they go on as in the first.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, setsockopt, sockopt,
};
use vpclab_dataplane::addr::Mac;
use vpclab_dataplane::io::{VNET_HEADER_LEN, open_packet_socket, pin_thread};
use vpclab_dataplane::packet::{FiveTuple, Frame, protocol};
use vpclab_dataplane::worker::Clock;

use super::Span;
use super::bed::{Bed, DEVICE, Kind, PATIENCE, UDP_PORT};
use super::contest::{Measured, Way};
use super::router::nft;
use crate::bench::{BenchError, Segment};
use crate::host::{Context, HostError};

/// Flows, by source port: a number that near caches hold what is known of, and one that
/// they do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flows {
    Thousand,
    FiftyThousand,
}

impl Flows {
    const fn count(self) -> u16 {
        match self {
            Self::Thousand => 1_000,
            Self::FiftyThousand => 50_000,
        }
    }
}

const FIRST_PORT: u16 = 10_000;
const FRAME_LEN: usize = 64;
/// Frames of one system call.
const BURST: usize = 64;
/// How long the way to the server is tried before it counts as none, and how
/// long an answer is awaited each time.
const TRIES: u32 = 100;
const TRY: Duration = Duration::from_millis(50);

/// Generator, sink, and what lies between.
pub(super) struct Udp {
    bed: Bed,
    /// Takes what arrives.
    _sink: UdpSocket,
    ends: Ends,
    frames: Vec<Vec<u8>>,
    span: Span,
    clock: Clock,
}

/// Where datagrams end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// At the socket.
    Socket,
    /// Where they enter.
    Ingress,
}

pub(super) const INGRESS: &str = "table netdev sink {
  chain ingress {
    type filter hook ingress device eth0 priority 0; policy accept;
    ip protocol udp drop
  }
}
";

impl Udp {
    pub(super) fn new(kind: Kind, flows: Flows, span: Span) -> Result<Self, HostError> {
        let bed = Bed::new(kind)?;
        let sink = bed.server.in_network(|| bind(UDP_PORT))?;
        let target = SocketAddr::new(bed.service, UDP_PORT);
        let client = bed.client.in_network(|| bind(0))?;
        client.connect(target).context("UDP socket")?;
        reach(&client, &sink)?;
        let next_hop = bed.client.in_network(neighbour)?;
        // Nobody will read it: what it holds by then is all it ever will.
        setsockopt(&sink, sockopt::RcvBuf, &1).context("SO_RCVBUF")?;
        let source = client.local_addr().context("UDP socket")?.ip();
        let tuple = |sport| FiveTuple {
            src: source,
            dst: target.ip(),
            protocol: protocol::UDP,
            sport,
            dport: UDP_PORT,
        };
        let frames = (0..flows.count()).map(|n| {
            let segment = Segment {
                src_mac: bed.client_mac,
                dst_mac: next_hop,
                tuple: tuple(FIRST_PORT + n),
                flags: 0,
                id: u32::from(n),
            };
            let mut frame = Frame::with_capacity(FRAME_LEN);
            segment.write(&mut frame, FRAME_LEN);
            // A header that says nothing stands before each.
            [&[0; VNET_HEADER_LEN], frame.bytes()].concat()
        });
        Ok(Self {
            frames: frames.collect(),
            bed,
            _sink: sink,
            ends: Ends::Socket,
            span,
            clock: Clock::start(),
        })
    }

    fn run(&self) -> Result<(u64, Duration), HostError> {
        let socket = self.bed.client.in_network(|| {
            let index = if_nametoindex(DEVICE).context(DEVICE)?;
            open_packet_socket(index).context("packet socket")
        })?;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let sender = scope.spawn(|| flood(&socket, &self.frames, self.bed.cores[0], &stop));
            thread::sleep(self.span.warm);
            let (start, before) = (self.clock.now(), self.arrived()?);
            thread::sleep(self.span.counted);
            let (end, after) = (self.clock.now(), self.arrived()?);
            stop.store(true, Ordering::Relaxed);
            match sender.join() {
                Ok(result) => result?,
                Err(_) => return Err(HostError::new("the sender panicked")),
            }
            let elapsed = Duration::from_nanos(end.since(start).as_nanos());
            Ok((after - before, elapsed))
        })
    }

    /// Datagrams that have arrived so far.
    fn arrived(&self) -> Result<u64, HostError> {
        self.bed.server.in_network(|| match self.ends {
            Ends::Socket => at_socket(),
            Ends::Ingress => ingress().map(|[frames, _]| frames),
        })
    }
}

impl Way for Udp {
    fn measure(&mut self) -> Result<Measured, BenchError> {
        let (packets, elapsed) = self
            .run()
            .map_err(|error| BenchError::wrong(error.to_string()))?;
        if self.ends == Ends::Socket && self.bed.server.in_network(|| nft(INGRESS)).is_ok() {
            self.ends = Ends::Ingress;
        }
        Ok(Measured::packets(packets, elapsed))
    }

    fn settings(&self) -> Vec<(&'static str, f64)> {
        self.bed.settings()
    }
}

pub(super) fn bind(port: u16) -> Result<UdpSocket, HostError> {
    UdpSocket::bind(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), port)).context("UDP socket")
}

/// What is sent to find out whether the server can be reached.
pub(super) const HELLO: &[u8] = b"hello";

/// Sends [`HELLO`] until it arrives; more of them may arrive later.
pub(super) fn reach(client: &UdpSocket, sink: &UdpSocket) -> Result<(), HostError> {
    sink.set_read_timeout(Some(TRY)).context("UDP socket")?;
    for _ in 0..TRIES {
        // Refused, or no neighbour yet: then once more.
        let _ = client.send(HELLO);
        if sink.recv(&mut [0; 16]).is_ok() {
            return Ok(());
        }
    }
    let patience = PATIENCE.as_secs();
    Err(HostError::new(format!(
        "no datagram reached the server in {patience} s"
    )))
}

/// The MAC address of the one neighbour.
fn neighbour() -> Result<Mac, HostError> {
    const PATH: &str = "/proc/thread-self/net/arp";
    let text = std::fs::read_to_string(PATH).context(PATH)?;
    let mut found = text.lines().skip(1).filter_map(|line| {
        let mac = line.split_whitespace().nth(3)?;
        let mut bytes = [0; 6];
        for (byte, text) in bytes.iter_mut().zip(mac.split(':')) {
            *byte = u8::from_str_radix(text, 16).ok()?;
        }
        (bytes != [0; 6]).then_some(Mac(bytes))
    });
    let mac = found.next();
    mac.ok_or_else(|| HostError::new("the client has no neighbour"))
}

/// Sends the frames in turn until told to stop.
fn flood(
    socket: &OwnedFd,
    frames: &[Vec<u8>],
    core: usize,
    stop: &AtomicBool,
) -> Result<(), HostError> {
    // On one core only, or where that is not allowed, all share what there is.
    let _ = pin_thread(core);
    let slices: Vec<[IoSlice<'_>; 1]> = frames.iter().map(|it| [IoSlice::new(it)]).collect();
    let nobody = vec![None::<SockaddrStorage>; BURST];
    let mut headers = MultiHeaders::preallocate(BURST, None);
    let plain: [ControlMessage<'_>; 0] = [];
    for burst in slices.chunks(BURST).cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            burst,
            &nobody,
            plain,
            MsgFlags::empty(),
        );
        match sent.map(|_| ()) {
            // What a full queue refuses is not sent again: it is a flood.
            Ok(()) | Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(HostError::new(format!("packet socket: {error}"))),
        }
    }
    Ok(())
}

/// Datagrams that reached a socket of the calling thread's network.
fn at_socket() -> Result<u64, HostError> {
    const PATH: &str = "/proc/thread-self/net/snmp";
    let text = std::fs::read_to_string(PATH).context(PATH)?;
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next(), lines.next());
    let count = |name: &str| {
        let index = names?.split(' ').position(|it| it == name)?;
        values?.split(' ').nth(index)?.parse::<u64>().ok()
    };
    let (Some(refused), Some(wrong)) = (count("RcvbufErrors"), count("InCsumErrors")) else {
        return Err(HostError::new(format!("{PATH} has no UDP counters")));
    };
    match wrong {
        0 => Ok(refused),
        _ => Err(HostError::new(format!("{wrong} wrong checksums arrived"))),
    }
}

/// Frames, and their bytes, that entered by the interface of the calling thread's
/// network.
pub(super) fn ingress() -> Result<[u64; 2], HostError> {
    const PATH: &str = "/proc/thread-self/net/dev";
    let text = std::fs::read_to_string(PATH).context(PATH)?;
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.trim().strip_prefix(DEVICE)?.strip_prefix(':'));
    let mut columns = line.unwrap_or_default().split_whitespace();
    let mut next = || columns.next()?.parse().ok();
    match (next(), next()) {
        (Some(bytes), Some(frames)) => Ok([frames, bytes]),
        _ => Err(HostError::new(format!("{PATH} has no {DEVICE}"))),
    }
}
