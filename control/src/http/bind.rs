//! Which port a lab listens on.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use serde::{Deserialize, Serialize};

/// The port that AWS emulators use: what `AWS_ENDPOINT_URL` names.
pub const DEFAULT_PORT: u16 = 4566;
/// How many ports after the default one are tried.
const TRIES: u16 = 1000;

/// Which port the user wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpChoice {
    /// The default one, or the next that is free.
    #[default]
    Default,
    /// This one and no other; 0 is any.
    Port(u16),
    /// None.
    Off,
}

/// The port that was asked for is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port {port} of 127.0.0.1 {why}")]
pub struct PortInUse {
    /// Which.
    pub port: u16,
    /// What the system said.
    pub why: String,
}

/// Listens on 127.0.0.1. `before` is the port of the lab's former daemon, which
/// is taken again if it is free.
///
/// # Errors
/// The port asked for cannot be had, or none of many can.
pub fn bind(choice: HttpChoice, before: Option<u16>) -> Result<Option<TcpListener>, PortInUse> {
    match choice {
        HttpChoice::Off => Ok(None),
        HttpChoice::Port(port) => listen(port).map(Some),
        HttpChoice::Default => {
            let ports = DEFAULT_PORT..DEFAULT_PORT + TRIES;
            let mut refused = None;
            for port in before.into_iter().chain(ports) {
                match listen(port) {
                    Ok(listener) => return Ok(Some(listener)),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
            Err(refused.unwrap_or(PortInUse {
                port: DEFAULT_PORT,
                why: "cannot be had".to_owned(),
            }))
        }
    }
}

fn listen(port: u16) -> Result<TcpListener, PortInUse> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| PortInUse {
        port,
        why: match error.kind() {
            ErrorKind::AddrInUse => "is in use".to_owned(),
            ErrorKind::PermissionDenied => "may be taken by root only".to_owned(),
            _ => format!("cannot be had: {error}"),
        },
    })
}
