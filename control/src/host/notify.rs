//! Telling systemd that a lab is ready (`Type=notify`; sd_notify(3)).

use std::env;
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Names the socket, if somebody wants to know.
pub const SOCKET: &str = "NOTIFY_SOCKET";

/// Says that the lab is ready. Who asked and does not listen misses it.
pub fn ready() {
    if let Some(socket) = env::var_os(SOCKET) {
        let _ = tell(&socket, b"READY=1");
    }
}

fn tell(socket: &OsStr, message: &[u8]) -> std::io::Result<usize> {
    let address = match socket.as_bytes() {
        // Without a file: Linux writes a zero byte, sd_notify an `@`.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_with_or_without_a_file_is_told() {
        let number = std::process::id();
        let file = env::temp_dir().join(format!("vpclab-notify-{number}"));
        let _ = std::fs::remove_file(&file);
        let listener = UnixDatagram::bind(&file).expect("a socket");
        tell(file.as_os_str(), b"READY=1").expect("sent");
        let mut buffer = [0; 16];
        assert_eq!(listener.recv(&mut buffer).expect("received"), 7);
        std::fs::remove_file(&file).expect("the file");

        let name = format!("vpclab-notify-{number}");
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixDatagram::bind_addr(&address).expect("a socket");
        tell(OsStr::new(&format!("@{name}")), b"READY=1").expect("sent");
        assert_eq!(listener.recv(&mut buffer).expect("received"), 7);
        assert_eq!(&buffer[..7], b"READY=1");
    }
}
