//! Datagrams that a host sends many at a time (`UDP_SEGMENT`): super-packets, whole
//! on every TAP.
//!
//! One is sent first to a socket that asks for whole ones (`UDP_GRO`), which says
//! whether it arrived and in how many pieces: through vpclab in one, or there is no
//! result. Then they end where they enter the server, as frames of 64 bytes do.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use vpclab_dataplane::io::pin_thread;
use vpclab_dataplane::worker::Clock;

use super::Span;
use super::bed::{Bed, Kind, PATIENCE, UDP_PORT};
use super::contest::{Measured, Way};
use super::udp::{HELLO, INGRESS, bind, ingress, reach};
use crate::bench::BenchError;
use crate::host::{Context, HostError};

/// Payload of a datagram, and datagrams sent at once: as many as an IP packet holds.
const SEGMENT: u16 = 1_448;
const SEGMENTS: usize = 44;
const SUPER: usize = SEGMENT as usize * SEGMENTS;
/// Metrics: pieces in which the first one came, and bytes of a frame that entered
/// the server, on average.
const PIECES: &str = "pieces";
const BYTES_A_FRAME: &str = "bytes_a_frame";

/// Sender, sink, and what lies between.
pub(super) struct Uso {
    bed: Bed,
    client: UdpSocket,
    /// Takes what arrives.
    _sink: UdpSocket,
    /// In how many pieces the first one came, or why that is none of the results.
    pieces: Result<usize, BenchError>,
    /// Bytes and frames of the rounds so far.
    arrived: [u64; 2],
    span: Span,
    clock: Clock,
}

impl Uso {
    pub(super) fn new(kind: Kind, span: Span) -> Result<Self, HostError> {
        let bed = Bed::new(kind)?;
        let (client, sink) = sockets(&bed)?;
        let pieces = judged(kind, pieces(&client, &sink), || {
            let bed = Bed::new(Kind::Mover)?;
            let (client, sink) = sockets(&bed)?;
            self::pieces(&client, &sink)
        });
        // Without nftables they go on as that one did.
        let _ = bed.server.in_network(|| super::router::nft(INGRESS));
        Ok(Self {
            bed,
            client,
            _sink: sink,
            pieces,
            arrived: [0; 2],
            span,
            clock: Clock::start(),
        })
    }

    fn run(&mut self) -> Result<(u64, Duration), HostError> {
        let stop = AtomicBool::new(false);
        let (bed, client, span) = (&self.bed, &self.client, self.span);
        let (from, to, elapsed) = thread::scope(|scope| {
            let sender = scope.spawn(|| flood(client, bed.cores[0], &stop));
            thread::sleep(span.warm);
            let (start, before) = (self.clock.now(), bed.server.in_network(ingress)?);
            thread::sleep(span.counted);
            let (end, after) = (self.clock.now(), bed.server.in_network(ingress)?);
            stop.store(true, Ordering::Relaxed);
            match sender.join() {
                Ok(result) => result.context("UDP socket")?,
                Err(_) => return Err(HostError::new("the sender panicked")),
            }
            let elapsed = Duration::from_nanos(end.since(start).as_nanos());
            Ok((before, after, elapsed))
        })?;
        let [frames, bytes] = std::array::from_fn(|n| to[n] - from[n]);
        self.arrived = [self.arrived[0] + frames, self.arrived[1] + bytes];
        Ok((bytes, elapsed))
    }
}

impl Way for Uso {
    fn measure(&mut self) -> Result<Measured, BenchError> {
        if let Err(error) = &mut self.pieces {
            return Err(std::mem::replace(error, BenchError::wrong("failed")));
        }
        let (bytes, elapsed) = self
            .run()
            .map_err(|error| BenchError::wrong(error.to_string()))?;
        Ok(Measured::bytes(bytes, elapsed))
    }

    fn settings(&self) -> Vec<(&'static str, f64)> {
        let [frames, bytes] = self.arrived;
        let mut settings = self.bed.settings();
        if let Ok(pieces) = self.pieces {
            settings.push((PIECES, pieces as f64));
        }
        settings.push((BYTES_A_FRAME, bytes as f64 / frames.max(1) as f64));
        settings
    }
}

/// Sender and sink, which reach each other.
fn sockets(bed: &Bed) -> Result<(UdpSocket, UdpSocket), HostError> {
    let sink = bed.server.in_network(|| bind(UDP_PORT))?;
    let client = bed.client.in_network(|| bind(0))?;
    let target = SocketAddr::new(bed.service, UDP_PORT);
    client.connect(target).context("UDP socket")?;
    reach(&client, &sink)?;
    setsockopt(&client, sockopt::UdpGsoSegment, &i32::from(SEGMENT)).context("UDP_SEGMENT")?;
    setsockopt(&sink, sockopt::UdpGroSegment, &true).context("UDP_GRO")?;
    Ok((client, sink))
}

/// Judges what became of the first super-packet: through vpclab it must arrive whole and
/// unchanged, unless not even a bare `mover` between two TAPs brings one so (TAPs of a
/// kernel before 6.2 take none).
fn judged(
    kind: Kind,
    pieces: Result<usize, HostError>,
    mover: impl FnOnce() -> Result<usize, HostError>,
) -> Result<usize, BenchError> {
    let what = match pieces {
        Ok(1) => return Ok(1),
        Ok(pieces) if kind != Kind::PrivateLink => return Ok(pieces),
        Ok(pieces) => format!("a super-packet arrived in {pieces} pieces"),
        Err(error) => error.to_string(),
    };
    if kind == Kind::PrivateLink && mover().is_ok_and(|pieces| pieces == 1) {
        return Err(BenchError::Wrong(what));
    }
    Err(BenchError::NotHere(what))
}

/// Sends one super-packet and says in how many pieces it arrives.
fn pieces(client: &UdpSocket, sink: &UdpSocket) -> Result<usize, HostError> {
    let sent: Vec<u8> = (0..SUPER).map(|n| (n % 251) as u8).collect();
    client.send(&sent).context("UDP socket")?;
    sink.set_read_timeout(Some(PATIENCE))
        .context("UDP socket")?;
    let (mut got, mut pieces) = (Vec::new(), 0);
    while got.len() < SUPER {
        let mut buffer = vec![0; 65_536];
        let mut control = nix::cmsg_space!(i32);
        let mut room = [IoSliceMut::new(&mut buffer)];
        let fd = sink.as_raw_fd();
        let message = recvmsg::<SockaddrIn>(fd, &mut room, Some(&mut control), MsgFlags::empty());
        let message = message.context("a super-packet did not arrive")?;
        let size = message
            .cmsgs()
            .context("UDP_GRO")?
            .find_map(|one| match one {
                ControlMessageOwned::UdpGroSegments(size) => Some(size),
                _ => None,
            });
        if size.is_some_and(|size| size != i32::from(SEGMENT)) {
            return Err(HostError::new(format!(
                "datagrams of {size:?} bytes arrived"
            )));
        }
        let len = message.bytes;
        if buffer.get(..len) == Some(HELLO) {
            continue;
        }
        got.extend_from_slice(buffer.get(..len).unwrap_or_default());
        pieces += 1;
    }
    match got == sent {
        true => Ok(pieces),
        false => Err(HostError::new("a super-packet arrived changed")),
    }
}

/// Sends super-packets until told to stop.
fn flood(client: &UdpSocket, core: usize, stop: &AtomicBool) -> std::io::Result<()> {
    // On one core only, or where that is not allowed, all share what there is.
    let _ = pin_thread(core);
    let bytes = vec![b'x'; SUPER];
    while !stop.load(Ordering::Relaxed) {
        match client.send(&bytes) {
            // What a full queue refuses is not sent again: it is a flood.
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                Some(nix::libc::ENOBUFS | nix::libc::ECONNREFUSED) => {}
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of `pieces` through `kind`, where a bare mover brings `mover`.
    fn said(kind: Kind, pieces: Option<usize>, mover: usize) -> String {
        let pieces = pieces.ok_or_else(|| HostError::new("a super-packet arrived changed"));
        match judged(kind, pieces, || Ok(mover)) {
            Ok(pieces) => format!("{pieces} measured"),
            Err(BenchError::Wrong(what)) => format!("wrong: {what}"),
            Err(error) => format!("not here: {error}"),
        }
    }

    #[test]
    fn a_super_packet_that_vpclab_cuts_or_changes_fails_the_case() {
        let own = |pieces, mover| said(Kind::PrivateLink, pieces, mover);
        assert_eq!(own(Some(1), 1), "1 measured");
        assert_eq!(
            own(Some(44), 1),
            "wrong: a super-packet arrived in 44 pieces"
        );
        assert_eq!(own(None, 1), "wrong: a super-packet arrived changed");
        // Where the machine's TAPs take none.
        assert_eq!(
            own(Some(44), 44),
            "not here: a super-packet arrived in 44 pieces"
        );
        assert_eq!(said(Kind::Masquerade, Some(2), 1), "2 measured");
        assert_eq!(
            said(Kind::Mover, None, 1),
            "not here: a super-packet arrived changed"
        );
    }
}
