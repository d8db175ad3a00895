//! Echo requests, one after the other.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, recv,
    send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use vpclab_dataplane::io::pin_thread;
use vpclab_dataplane::packet::checksum;
use vpclab_dataplane::worker::Clock;

use super::bed::{Bed, Kind, PATIENCE};
use super::contest::{Measured, Way};
use crate::bench::{BenchError, Depth, Done, Spread};
use crate::host::{Context, HostError};

/// Between an answer and the next request: whoever waits for packets sleeps by then.
const PAUSE: Duration = Duration::from_millis(1);
/// Echo request, and its answer.
const REQUEST: u8 = 8;
const ANSWER: u8 = 0;
/// Payload of `ping`.
const PAYLOAD: usize = 56;
const LEN: usize = 8 + PAYLOAD;

/// Where the one who asks runs, whatever lies between. Left to the scheduler, rounds
/// would differ by where it put him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// On the generators' core: each way wakes somebody on another one.
    AnotherCore,
    /// Where packets are handled: a router does it all within the asker's calls, and
    /// wakes nobody.
    SameCore,
}

/// Who asks, who answers, and what lies between.
pub(super) struct Ping {
    bed: Bed,
    from: From,
    socket: OwnedFd,
    requests: u16,
    sequence: u16,
    clock: Clock,
}

impl Ping {
    pub(super) fn new(kind: Kind, from: From, depth: Depth) -> Result<Self, HostError> {
        let bed = Bed::new(kind)?;
        let target = SocketAddr::new(bed.pinged, 0);
        let socket = bed
            .client
            .in_network(|| open(target).context("ICMP socket"))?;
        let patience = TimeVal::seconds(PATIENCE.as_secs() as i64);
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience).context("ICMP socket")?;
        Ok(Self {
            bed,
            from,
            socket,
            requests: match depth {
                Depth::Smoke => 5,
                Depth::Normal => 300,
                Depth::Full => 2_000,
            },
            sequence: 0,
            clock: Clock::start(),
        })
    }

    /// Nanoseconds from a request to its answer.
    fn ask(&mut self) -> Result<f64, HostError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = [b'x'; LEN];
        request[..4].copy_from_slice(&[REQUEST, 0, 0, 0]);
        request[4..6].copy_from_slice(&ID.to_be_bytes());
        request[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        let sum = !checksum::sum(&request);
        request[2..4].copy_from_slice(&sum.to_be_bytes());
        let start = self.clock.now();
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty()).context("ICMP socket")?;
        let mut answer = [0; 128];
        loop {
            let len = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty());
            let len = len.context("no answer to an echo request")?;
            let end = self.clock.now();
            if is_answer(answer.get(..len).unwrap_or_default(), &request) {
                return Ok(end.since(start).as_nanos() as f64);
            }
        }
    }

    fn run(&mut self) -> Result<f64, HostError> {
        let [other, same] = self.bed.cores;
        let core = match self.from {
            From::AnotherCore => other,
            From::SameCore => same,
        };
        thread::scope(|scope| {
            let asking = scope.spawn(move || {
                // Where that is not allowed, all share what there is.
                let _ = pin_thread(core);
                self.ask_all()
            });
            let told = asking.join();
            told.map_err(|_| HostError::new("the thread that pings panicked"))?
        })
    }

    fn ask_all(&mut self) -> Result<f64, HostError> {
        let mut times = Vec::new();
        for _ in 0..self.requests {
            times.push(self.ask()?);
            thread::sleep(PAUSE);
        }
        Ok(Spread::of(&times).median)
    }
}

const ID: u16 = 0x7670;

/// Whether this is the answer, behind its IPv4 header.
fn is_answer(packet: &[u8], request: &[u8; LEN]) -> bool {
    let header = usize::from(packet.first().map_or(0, |first| first & 15)) * 4;
    let message = packet.get(header..).unwrap_or_default();
    message.first() == Some(&ANSWER) && message.get(4..) == request.get(4..)
}

fn open(target: SocketAddr) -> nix::Result<OwnedFd> {
    let protocol = SockProtocol::Icmp;
    let socket = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        protocol,
    )?;
    let IpAddr::V4(_) = target.ip() else {
        return Err(nix::errno::Errno::EAFNOSUPPORT);
    };
    connect(socket.as_raw_fd(), &SockaddrStorage::from(target))?;
    Ok(socket)
}

impl Way for Ping {
    fn measure(&mut self) -> Result<Measured, BenchError> {
        let middle = self
            .run()
            .map_err(|error| BenchError::wrong(error.to_string()))?;
        let done = Done {
            operations: 1,
            elapsed: Some(Duration::from_nanos(middle as u64)),
            ..Done::default()
        };
        Ok(Measured {
            done,
            figure: middle / 1_000.0,
        })
    }

    fn settings(&self) -> Vec<(&'static str, f64)> {
        self.bed.settings()
    }
}
