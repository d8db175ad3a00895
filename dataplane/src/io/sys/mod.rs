//! The platform layer: the only unsafe code of the ports.
#![expect(
    unsafe_code,
    reason = "ioctl, ppoll, epoll and io_uring have no safe form in std"
)]

mod poller;
mod uring;

pub(super) mod attach;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

pub use poller::Poller;
pub use uring::{Ring, Transfer, Way};

use super::vnet::VNET_HEADER_LEN;

/// Offloads the data plane takes: CSUM, TSO4, TSO6, USO4, USO6.
const OFFLOADS: libc::c_ulong = 0x01 | 0x02 | 0x04 | 0x20 | 0x40;
/// Those that Linux before 6.2 knows.
const OFFLOADS_BEFORE_USO: libc::c_ulong = 0x01 | 0x02 | 0x04;
const TAP_FLAGS: libc::c_int = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;

/// Makes a TAP interface in the calling thread's network namespace: one for a
/// single queue, or one that can have many and takes the kernel a hundred times
/// the memory. If it is there, this is another queue of it.
pub(super) fn open_tap(name: &str, many_queues: bool) -> io::Result<OwnedFd> {
    let flags = match many_queues {
        true => TAP_FLAGS | libc::IFF_MULTI_QUEUE,
        false => TAP_FLAGS,
    };
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).unwrap_or_default();
    let fd = device.as_raw_fd();
    // JUSTIFICATION: making a TAP is an ioctl; std has none.
    // SAFETY: `fd` is open for the call; TUNSETIFF reads and writes one `ifreq`,
    // which `request` is, and keeps no pointer to it.
    check(unsafe { libc::ioctl(fd, libc::TUNSETIFF as _, &raw mut request) })?;
    let header_len = VNET_HEADER_LEN as libc::c_int;
    // JUSTIFICATION: as above.
    // SAFETY: TUNSETVNETHDRSZ reads one int, which `header_len` is.
    check(unsafe { libc::ioctl(fd, libc::TUNSETVNETHDRSZ as _, &raw const header_len) })?;
    let set_offloads = |offloads: libc::c_ulong| {
        // JUSTIFICATION: as above.
        // SAFETY: TUNSETOFFLOAD takes its bits by value; no memory is involved.
        check(unsafe { libc::ioctl(fd, libc::TUNSETOFFLOAD as _, offloads) })
    };
    set_offloads(OFFLOADS).or_else(|_| set_offloads(OFFLOADS_BEFORE_USO))?;
    Ok(device.into())
}

/// Whether a TAP interface stays when its last descriptor is closed.
pub(super) fn set_persistent(tap: BorrowedFd<'_>, stays: bool) -> io::Result<()> {
    let stays = libc::c_ulong::from(stays);
    // JUSTIFICATION: as above.
    // SAFETY: TUNSETPERSIST takes its flag by value; no memory is involved.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETPERSIST as _, stays) })?;
    Ok(())
}

/// Keeps the calling thread on one core.
pub fn pin_thread(core: usize) -> io::Result<()> {
    // JUSTIFICATION: libc has no constructor for the set.
    // SAFETY: a `cpu_set_t` is an array of integers: all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // JUSTIFICATION: std cannot pin a thread.
    // SAFETY: `core` is less than the bits of `set`, checked above.
    unsafe { libc::CPU_SET(core, &mut set) };
    // JUSTIFICATION: as above.
    // SAFETY: `set` outlives the call and its size is given; 0 is this thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })?;
    Ok(())
}

/// A request about the interface `name`.
pub(super) fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: std::ptr::null_mut(),
        },
    };
    // One byte stays zero: the name is a C string. One within it would cut it short.
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
