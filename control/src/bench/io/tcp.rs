//! One TCP stream.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use vpclab_dataplane::io::pin_thread;
use vpclab_dataplane::worker::Clock;

use super::Span;
use super::bed::{Bed, Kind, PATIENCE, TCP_PORT};
use super::contest::{Measured, Way};
use crate::bench::BenchError;
use crate::host::{Context, HostError};

/// Bytes of a write or read, as iperf3 has them.
const CHUNK: usize = 128 << 10;

/// Who decides how fast the sender sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Congestion {
    /// What this machine has for all. BBR paces: its processors are idle at times, and
    /// what lies between costs less than it takes.
    Default,
    /// Linux's own default, which fills whatever lies between.
    Cubic,
}

/// Sender, receiver, and what lies between.
pub(super) struct Tcp {
    bed: Bed,
    congestion: Congestion,
    listener: TcpListener,
    span: Span,
    clock: Clock,
}

impl Tcp {
    pub(super) fn new(kind: Kind, congestion: Congestion, span: Span) -> Result<Self, HostError> {
        let bed = Bed::new(kind)?;
        let any = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), TCP_PORT);
        let listener = bed
            .server
            .in_network(|| TcpListener::bind(any).context("listen"))?;
        Ok(Self {
            bed,
            congestion,
            listener,
            span,
            clock: Clock::start(),
        })
    }

    fn run(&self) -> Result<(u64, Duration), HostError> {
        let target = SocketAddr::new(self.bed.service, TCP_PORT);
        let connect = || TcpStream::connect_timeout(&target, PATIENCE).context("connect");
        let sending = self.bed.client.in_network(connect)?;
        if self.congestion == Congestion::Cubic {
            setsockopt(&sending, sockopt::TcpCongestion, &"cubic".into()).context("TCP cubic")?;
        }
        let (receiving, _) = self.listener.accept().context("accept")?;
        sending.set_write_timeout(Some(PATIENCE)).context("TCP")?;
        receiving.set_read_timeout(Some(PATIENCE)).context("TCP")?;
        let (stop, received) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let receiver = scope.spawn(|| receive(receiving, &received));
            let (core, stop) = (self.bed.cores[0], &stop);
            let sender = scope.spawn(move || send(sending, core, stop));
            thread::sleep(self.span.warm);
            let (start, before) = (self.clock.now(), received.load(Ordering::Relaxed));
            thread::sleep(self.span.counted);
            let (end, after) = (self.clock.now(), received.load(Ordering::Relaxed));
            stop.store(true, Ordering::Relaxed);
            for thread in [sender, receiver] {
                match thread.join() {
                    Ok(result) => result.context("TCP stream")?,
                    Err(_) => return Err(HostError::new("a thread of the TCP stream panicked")),
                }
            }
            let elapsed = Duration::from_nanos(end.since(start).as_nanos());
            Ok((after - before, elapsed))
        })
    }
}

impl Way for Tcp {
    fn measure(&mut self) -> Result<Measured, BenchError> {
        let run = self.run();
        // Why nothing came through, if that is why.
        let run = self.bed.check().and(run);
        let (bytes, elapsed) = run.map_err(|error| BenchError::wrong(error.to_string()))?;
        Ok(Measured::bytes(bytes, elapsed))
    }

    fn settings(&self) -> Vec<(&'static str, f64)> {
        self.bed.settings()
    }
}

/// Sends until told to stop, then ends the stream. From the core where packets are
/// not handled: all ways are faster so, and rounds more alike.
fn send(mut stream: TcpStream, core: usize, stop: &AtomicBool) -> std::io::Result<()> {
    // Where that is not allowed, all share what there is.
    let _ = pin_thread(core);
    let chunk = vec![b'x'; CHUNK];
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&chunk)?;
    }
    Ok(())
}

/// Counts what arrives until the stream ends.
fn receive(mut stream: TcpStream, received: &AtomicU64) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(len) => received.fetch_add(len as u64, Ordering::Relaxed),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
    }
}
