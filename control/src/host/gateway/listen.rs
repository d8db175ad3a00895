//! Published ports: what listens for them on this machine.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use vpclab_dataplane::addr::EniId;

use crate::cli::CliError;
use crate::topology::values::Publish;

/// A socket of this machine that listens. It stays while anything holds it.
#[derive(Clone, Debug)]
pub(super) enum Socket {
    Tcp(Arc<TcpListener>),
    Udp(Arc<UdpSocket>),
}

/// A published port, and the interface that it leads to.
#[derive(Clone, Debug)]
pub struct Listener {
    /// As the topology has it.
    pub publish: Publish,
    /// The interface of its host.
    pub target: EniId,
    pub(super) socket: Socket,
}

impl Listener {
    /// Listens where `publish` says.
    ///
    /// # Errors
    /// An address that is in use, or that this machine or user cannot have.
    pub fn open(publish: Publish) -> Result<Self, CliError> {
        let socket =
            Socket::bind(publish.listen, publish.udp).map_err(|error| explain(&publish, &error))?;
        Ok(Self {
            publish,
            target: EniId(0),
            socket,
        })
    }

    /// The same socket, for what may lead elsewhere.
    #[must_use]
    pub fn with(&self, publish: Publish) -> Self {
        Self {
            publish,
            ..self.clone()
        }
    }

    /// Whether it listens where `publish` says.
    pub fn is_at(&self, publish: &Publish) -> bool {
        (self.publish.listen, self.publish.udp) == (publish.listen, publish.udp)
    }
}

impl Socket {
    fn bind(at: SocketAddr, udp: bool) -> io::Result<Self> {
        if udp {
            let socket = UdpSocket::bind(at)?;
            socket.set_nonblocking(true)?;
            return Ok(Self::Udp(Arc::new(socket)));
        }
        let socket = TcpListener::bind(at)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Tcp(Arc::new(socket)))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
        }
    }
}

fn explain(publish: &Publish, error: &io::Error) -> CliError {
    let place = publish.place();
    let port = publish.listen.port();
    let (what, fix) = match error.kind() {
        ErrorKind::AddrInUse => (
            "another program listens there".to_owned(),
            format!("end it (`ss -lnp sport = :{port}` names it), or publish another port"),
        ),
        ErrorKind::PermissionDenied => (
            "this user may not have that port".to_owned(),
            "publish a port above 1023, or let users have lower ones: \
             sysctl net.ipv4.ip_unprivileged_port_start"
                .to_owned(),
        ),
        ErrorKind::AddrNotAvailable => (
            format!("this machine has no address {}", publish.listen.ip()),
            "publish at an address of this machine (`ip address`), or at 127.0.0.1".to_owned(),
        ),
        _ => (error.to_string(), "publish at another address".to_owned()),
    };
    CliError::usage(format!("cannot publish {place}: {what}")).fix(fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;
    use crate::topology::located::Scalar;

    fn publish(text: &str) -> Publish {
        Publish::parse(text).unwrap()
    }

    #[test]
    fn a_port_that_cannot_be_had_is_named_with_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Listener::open(publish(&format!("127.0.0.1:{port}:web:80"))).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        let place = format!("127.0.0.1:{port}/tcp");
        assert!(error.message.contains(&place), "{}", error.message);
        assert!(error.fix.unwrap().contains("publish another port"));
        // UDP ports are others.
        Listener::open(publish(&format!("127.0.0.1:{port}:web:80/udp"))).unwrap();
        let error = Listener::open(publish("192.0.2.77:8080:web:80")).unwrap_err();
        assert!(error.message.contains("no address 192.0.2.77"), "{error}");
    }
}
