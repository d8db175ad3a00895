//! One JSON document per line over a unix socket: how a lab's processes talk.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest line that is read: a request or answer, not a stream of packets.
const LINE_LEN_MAX: u64 = 64 << 20;

/// Sends one value.
pub fn send(mut stream: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Receives one value; `None` at the end of the stream.
pub fn receive<T: DeserializeOwned>(reader: &mut BufReader<UnixStream>) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    reader.take(LINE_LEN_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// The process at the other end, as a number of our own PID namespace; 0 if it
/// is not visible from here.
pub fn peer_pid(stream: &UnixStream) -> io::Result<i32> {
    Ok(getsockopt(stream, sockopt::PeerCredentials)?.pid())
}

/// Whether the other end is whoever became root by `sudo` to run this command.
pub fn is_peer_caller(stream: &UnixStream) -> bool {
    let caller = sudo_caller().filter(|_| geteuid().is_root());
    getsockopt(stream, sockopt::PeerCredentials).is_ok_and(|peer| Some(peer.uid()) == caller)
}

/// The user who called `sudo`.
pub fn sudo_caller() -> Option<u32> {
    std::env::var("SUDO_UID").ok()?.parse().ok()
}

/// Whether the other end is this user or root.
pub fn is_peer_allowed(stream: &UnixStream) -> bool {
    getsockopt(stream, sockopt::PeerCredentials).is_ok_and(|peer| {
        peer.uid() == 0 || peer.uid() == geteuid().as_raw() || is_root_from_outside(peer.uid())
    })
}

/// Whether this is how root looks from inside a lab's user namespace: like every
/// user that is not mapped. Nobody but root and the owner gets through the
/// directory in which a lab's sockets are.
fn is_root_from_outside(uid: u32) -> bool {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let everybody_else = read("/proc/sys/kernel/overflowuid").trim().parse().ok();
    // The first user namespace maps every number to itself.
    let map = read("/proc/self/uid_map");
    let is_first = map.split_whitespace().eq(["0", "0", "4294967295"]);
    !is_first && Some(uid) == everybody_else
}
