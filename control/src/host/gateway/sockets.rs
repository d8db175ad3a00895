//! Sockets in the real network that std does not make.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto};

/// A connection that is being made: writable when it is, or was refused.
pub(super) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = rustix::net::socket_with(family(to), SocketType::STREAM, FLAGS, None)?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// Ends a connection by a reset, as the other end did.
pub(super) fn reset(stream: impl Into<Stream>) {
    if let Stream::Network(stream) = stream.into() {
        // Without it the end would look like an ordinary one: nothing worse.
        let _ = set_socket_linger(&stream, Some(std::time::Duration::ZERO));
    }
}

/// The other end of a lab's connection.
#[derive(Debug)]
pub(super) enum Stream {
    /// In the real network.
    Network(TcpStream),
    /// In this process.
    Process(UnixStream),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Network(stream)
    }
}

impl Stream {
    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Network(stream) => stream.take_error(),
            Self::Process(stream) => stream.take_error(),
        }
    }

    /// Whether the other end has accepted.
    pub(super) fn is_connected(&self) -> bool {
        match self {
            Self::Network(stream) => stream.peer_addr().is_ok(),
            Self::Process(_) => true,
        }
    }

    /// What waits to be sent is sent at once, as the lab's side sent it.
    pub(super) fn hurry(&self) {
        if let Self::Network(stream) = self {
            let _ = stream.set_nodelay(true);
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Network(stream) => stream.shutdown(how),
            Self::Process(stream) => stream.shutdown(how),
        }
    }

    pub(super) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Network(stream) => stream.read(room),
            Self::Process(stream) => stream.read(room),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Network(stream) => stream.write(bytes),
            Self::Process(stream) => stream.write(bytes),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Network(stream) => stream.as_fd(),
            Self::Process(stream) => stream.as_fd(),
        }
    }
}

/// A socket for echo requests to one address, which needs no rights where the
/// system allows it (`net.ipv4.ping_group_range`). The kernel chooses the
/// identifier.
pub(super) fn ping(to: SocketAddr) -> io::Result<UdpSocket> {
    let protocol: Protocol = if to.is_ipv4() {
        ipproto::ICMP
    } else {
        ipproto::ICMPV6
    };
    let socket = rustix::net::socket_with(family(to), SocketType::DGRAM, FLAGS, Some(protocol))?;
    rustix::net::connect(&socket, &to)?;
    Ok(UdpSocket::from(socket))
}

/// A UDP socket for one other end.
pub(super) fn datagrams(to: SocketAddr) -> io::Result<UdpSocket> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    }
}

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
