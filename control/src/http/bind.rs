//! Where a lab listens.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use serde::{Deserialize, Serialize};

/// The port that AWS emulators use: what `AWS_ENDPOINT_URL` names.
pub const DEFAULT_PORT: u16 = 4566;
/// How many ports after the default one are tried.
const TRIES: u16 = 1000;

/// Where the user wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpChoice {
    /// The default one, or the next that is free.
    #[default]
    Default,
    /// This port of 127.0.0.1 and no other; 0 is any.
    Port(u16),
    /// At this address of the machine, which others may reach.
    At(SocketAddr),
    /// None.
    Off,
}

impl HttpChoice {
    /// What `--http` says: `PORT` or `ADDRESS:PORT`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse() {
            return Ok(Self::Port(port));
        }
        match text.parse::<SocketAddr>() {
            Ok(at) if at.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) => Ok(Self::Port(at.port())),
            Ok(at) => Ok(Self::At(at)),
            Err(_) => Err(
                "write a port (4566), or an address and a port (0.0.0.0:4566, [::]:4566)"
                    .to_owned(),
            ),
        }
    }

    /// Whether anybody but this machine can reach it.
    pub fn is_public(self) -> bool {
        matches!(self, Self::At(at) if !at.ip().is_loopback())
    }
}

/// The port that was asked for is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port {} of {} {why}", at.port(), at.ip())]
pub struct PortInUse {
    /// Which.
    pub at: SocketAddr,
    /// What the system said.
    pub why: String,
}

/// Listens, on 127.0.0.1 unless told otherwise. `before` is the port of the lab's former daemon, which
/// is taken again if it is free.
///
/// # Errors
/// The port asked for cannot be had, or none of many can.
pub fn bind(choice: HttpChoice, before: Option<u16>) -> Result<Option<TcpListener>, PortInUse> {
    match choice {
        HttpChoice::Off => Ok(None),
        HttpChoice::Port(port) => listen(local(port)).map(Some),
        HttpChoice::At(at) => listen(at).map(Some),
        HttpChoice::Default => {
            let ports = DEFAULT_PORT..DEFAULT_PORT + TRIES;
            let mut refused = None;
            for port in before.into_iter().chain(ports) {
                match listen(local(port)) {
                    Ok(listener) => return Ok(Some(listener)),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
            Err(refused.unwrap_or(PortInUse {
                at: local(DEFAULT_PORT),
                why: "cannot be had".to_owned(),
            }))
        }
    }
}

/// A port of 127.0.0.1.
pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn listen(at: SocketAddr) -> Result<TcpListener, PortInUse> {
    TcpListener::bind(at).map_err(|error| PortInUse {
        at,
        why: match error.kind() {
            ErrorKind::AddrInUse => "is in use".to_owned(),
            ErrorKind::AddrNotAvailable => {
                "is not to be had: this machine has no such address".to_owned()
            }
            ErrorKind::PermissionDenied => "may be taken by root only".to_owned(),
            _ => format!("cannot be had: {error}"),
        },
    })
}
