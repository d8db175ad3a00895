//! The appliance on real sockets: `vpclab appliance`.
//!
//! GWLB puts the flow's hash into the UDP source port and expects it back, with
//! destination 6081. A UDP socket sends from its own port only, so packets come
//! in by an ordinary socket (which also keeps the kernel from answering "port
//! unreachable") and go out by a raw one, IP header included.

use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn,
    recvmsg, sendto, setsockopt, socket, sockopt,
};
use vpclab_dataplane::time::Instant;

use super::core::Appliance;
use super::wire;

/// How `vpclab appliance` was started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to take GENEVE packets (0.0.0.0:6081).
    pub listen: SocketAddrV4,
    /// TCP port that answers health checks with HTTP 200; `None` for none.
    pub health_port: Option<u16>,
    /// File that gets the report as JSON on SIGUSR1 and at the end; standard
    /// output unless given.
    pub stats: Option<PathBuf>,
    /// Seconds between reports; `None` for reports on demand only.
    pub every: Option<u64>,
}

/// Why the appliance could not run.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct ProgramError {
    what: String,
    source: std::io::Error,
}

impl ProgramError {
    fn new(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self { what, source }
    }

    fn errno(what: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let what = what.into();
        move |errno| Self {
            what,
            source: errno.into(),
        }
    }
}

/// Health-check connections held at once; more are closed unanswered.
const HEALTH_CONNECTIONS_MAX: usize = 64;

const OK_RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// Runs until SIGTERM or SIGINT. Needs CAP_NET_RAW, which a lab's hosts have.
///
/// # Errors
/// If a socket cannot be made, or fails for good.
pub fn run(mut appliance: Appliance, options: &Options) -> Result<(), ProgramError> {
    let sockets = Sockets::open(options.listen)?;
    let mut health = Health::listen(options.health_port)?;
    let signals = signals()?;
    let mut next_report = options.every.map(|every| now_secs() + every);
    loop {
        let wait = next_report.map_or(PollTimeout::NONE, |at| {
            let seconds = at.saturating_sub(now_secs()).min(3_600);
            PollTimeout::try_from(seconds as u32 * 1_000 + 10).unwrap_or(PollTimeout::MAX)
        });
        wait_for(&sockets.udp, &signals, &health, wait)?;
        sockets.receive_all(&mut appliance);
        health.serve();
        match signals
            .read_signal()
            .map_err(ProgramError::errno("signals"))?
        {
            Some(info) if info.ssi_signo == Signal::SIGUSR1 as u32 => report(&appliance, options)?,
            Some(_) => return report(&appliance, options),
            None => {}
        }
        if next_report.is_some_and(|at| at <= now_secs()) {
            report(&appliance, options)?;
            next_report = options.every.map(|every| now_secs() + every);
        }
    }
}

fn signals() -> Result<SignalFd, ProgramError> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGINT] {
        set.add(signal);
    }
    set.thread_block().map_err(ProgramError::errno("signals"))?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    SignalFd::with_flags(&set, flags).map_err(ProgramError::errno("signals"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program's shell; the appliance itself is given the time"
)]
fn now() -> Instant {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Instant::from_nanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}

fn now_secs() -> u64 {
    now().as_nanos() / 1_000_000_000
}

fn wait_for(
    udp: &UdpSocket,
    signals: &SignalFd,
    health: &Health,
    wait: PollTimeout,
) -> Result<(), ProgramError> {
    let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = vec![readable(udp.as_fd()), readable(signals.as_fd())];
    fds.extend(health.listener.iter().map(|l| readable(l.as_fd())));
    fds.extend(health.connections.iter().map(|c| readable(c.as_fd())));
    match poll(&mut fds, wait) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(ProgramError::errno("poll")(errno)),
    }
}

/// The way in and the way out.
struct Sockets {
    udp: UdpSocket,
    raw: OwnedFd,
}

impl Sockets {
    fn open(listen: SocketAddrV4) -> Result<Self, ProgramError> {
        let udp = UdpSocket::bind(listen)
            .map_err(ProgramError::new(format!("listen on udp {listen}")))?;
        udp.set_nonblocking(true)
            .map_err(ProgramError::new("udp socket"))?;
        // A reply's source is the address that the packet was sent to.
        setsockopt(&udp, sockopt::Ipv4PacketInfo, &true)
            .map_err(ProgramError::errno("IP_PKTINFO"))?;
        let raw = socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Raw,
        )
        .map_err(ProgramError::errno(
            "raw socket (run it inside a lab's host, or as root)",
        ))?;
        Ok(Self { udp, raw })
    }

    /// Handles every packet that waits.
    fn receive_all(&self, appliance: &mut Appliance) {
        let mut buffer = vec![0; 65_536];
        while let Some((len, from, to)) = self.receive(&mut buffer) {
            let (Some(from), Some(to), Some(payload)) = (from, to, buffer.get(..len)) else {
                continue;
            };
            let Some(reply) = appliance.handle(now(), payload) else {
                continue;
            };
            let packet = wire::udp_packet(
                SocketAddrV4::new(to, from.port()),
                SocketAddrV4::new(from.ip(), super::GENEVE_PORT),
                &reply,
            );
            // A packet that the interface cannot take is lost, as in any appliance.
            let destination = SockaddrIn::from(SocketAddrV4::new(from.ip(), 0));
            let fd = self.raw.as_raw_fd();
            let _lost = sendto(fd, &packet, &destination, MsgFlags::empty());
        }
    }

    /// Length, sender and destination of the next packet; `None` if none waits.
    fn receive(&self, buffer: &mut [u8]) -> Option<(usize, Option<SockaddrIn>, Option<Ipv4Addr>)> {
        let mut control = nix::cmsg_space!([u8; 64]);
        // An error may be the echo of a packet sent earlier; the next call tells.
        for _ in 0..4 {
            let mut iov = [IoSliceMut::new(buffer)];
            let fd = self.udp.as_raw_fd();
            let flags = MsgFlags::empty();
            match recvmsg::<SockaddrIn>(fd, &mut iov, Some(&mut control), flags) {
                Ok(message) => {
                    let mut all = message.cmsgs().ok()?;
                    let to = all.find_map(|one| match one {
                        ControlMessageOwned::Ipv4PacketInfo(info) => {
                            Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()))
                        }
                        _ => None,
                    });
                    return Some((message.bytes, message.address, to));
                }
                Err(Errno::EAGAIN) => return None,
                Err(_) => {}
            }
        }
        None
    }
}

fn report(appliance: &Appliance, options: &Options) -> Result<(), ProgramError> {
    let line = format!("{}\n", appliance.report());
    match &options.stats {
        Some(path) => std::fs::write(path, line)
            .map_err(ProgramError::new(format!("write {}", path.display()))),
        None => {
            let mut out = std::io::stdout();
            out.write_all(line.as_bytes())
                .and_then(|()| out.flush())
                .map_err(ProgramError::new("standard output"))
        }
    }
}

/// Answers health checks: a connection is enough for TCP, any request for HTTP.
struct Health {
    listener: Option<TcpListener>,
    connections: Vec<TcpStream>,
}

impl Health {
    fn listen(port: Option<u16>) -> Result<Self, ProgramError> {
        let listener = port
            .map(|port| {
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            })
            .transpose()
            .map_err(ProgramError::new("listen on the health port"))?;
        Ok(Self {
            listener,
            connections: Vec::new(),
        })
    }

    fn serve(&mut self) {
        while let Some(Ok((connection, _))) = self.listener.as_ref().map(TcpListener::accept) {
            if self.connections.len() < HEALTH_CONNECTIONS_MAX
                && connection.set_nonblocking(true).is_ok()
            {
                self.connections.push(connection);
            }
        }
        self.connections.retain_mut(|connection| {
            let mut request = [0; 4096];
            match connection.read(&mut request) {
                Ok(0) => false,
                Ok(_) => {
                    // So short an answer fits the socket's empty buffer.
                    let _closed = connection.write_all(OK_RESPONSE);
                    false
                }
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::core::tests::{PACKET_A, bytes};
    use super::*;
    use std::time::Duration;

    /// A GWLB of sockets: sends from one port, hears on 6081. Needs CAP_NET_RAW;
    /// without it (an ordinary user's `cargo test`) there is nothing to see, and
    /// the namespaces' tests cover the program.
    #[test]
    fn replies_keep_the_source_port_and_go_to_6081() {
        let listen = "127.77.0.20:6081".parse().unwrap();
        let sockets = match Sockets::open(listen) {
            Err(error) if error.source.kind() == ErrorKind::PermissionDenied => return,
            other => other.unwrap(),
        };
        let mut appliance = Appliance::new();
        let hears = UdpSocket::bind("127.77.0.10:6081").unwrap();
        let sends = UdpSocket::bind("127.77.0.10:0").unwrap();
        let payload = bytes(PACKET_A);
        sends.send_to(&payload, listen).unwrap();
        sockets.receive_all(&mut appliance);
        hears
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut buffer = [0; 256];
        let (len, from) = hears.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..len], payload);
        assert_eq!(from.ip(), *listen.ip());
        assert_eq!(from.port(), sends.local_addr().unwrap().port());
        assert_eq!(appliance.stats().passed, 1);
    }

    #[test]
    fn health_checks_get_an_answer() {
        let mut health = Health::listen(Some(0)).unwrap();
        let address = health.listener.as_ref().unwrap().local_addr().unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", address.port())).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        // On loopback connection and request are there once the calls return.
        health.serve();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
