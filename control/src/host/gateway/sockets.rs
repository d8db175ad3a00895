//! Sockets in the real network that std does not make.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};

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
pub(super) fn reset(stream: TcpStream) {
    // Without it the end would look like an ordinary one: nothing worse.
    let _ = set_socket_linger(&stream, Some(std::time::Duration::ZERO));
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
