//! Descriptors for interfaces that stand in a namespace of somebody else's:
//! made by a command there, and handed to the process that moves the frames.

use std::ffi::c_int;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::super::vnet::VNET_HEADER_LEN;
use super::check;

/// `NS_GET_USERNS` (linux/nsfs.h): `_IO(0xb7, 0x1)`.
const NS_GET_USERNS: libc::Ioctl = 0xb701;
/// linux/if_packet.h; not in libc yet.
const PACKET_VNET_HDR_SZ: c_int = 24;

/// Makes a TAP interface in the calling thread's network that stays until it is
/// deleted, for a program that opens it without multiple queues (QEMU). Only
/// `owner` and whoever may administer the network can open it.
pub(in crate::io) fn make_persistent_tap(name: &str, owner: u32) -> io::Result<()> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let mut request = super::interface_request(name)?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL;
    // `IFF_TUN_EXCL` is the sign bit of the kernel's short.
    request.ifr_ifru.ifru_flags = flags as i16;
    let fd = device.as_raw_fd();
    // JUSTIFICATION: making a TAP is an ioctl; std has none.
    // SAFETY: `fd` is open for the call; TUNSETIFF reads and writes one `ifreq`,
    // which `request` is, and keeps no pointer to it.
    check(unsafe { libc::ioctl(fd, libc::TUNSETIFF as _, &raw mut request) })?;
    // JUSTIFICATION: as above.
    // SAFETY: TUNSETOWNER takes the user's number by value.
    check(unsafe { libc::ioctl(fd, libc::TUNSETOWNER as _, libc::c_ulong::from(owner)) })?;
    // JUSTIFICATION: as above.
    // SAFETY: TUNSETPERSIST takes a flag by value.
    check(unsafe { libc::ioctl(fd, libc::TUNSETPERSIST as _, 1 as libc::c_ulong) })?;
    Ok(())
}

/// A socket that gets every frame which enters the kernel by this interface and
/// sends frames out of it, each behind the header that TAPs use as well.
pub(in crate::io) fn open_packet_socket(interface: u32) -> io::Result<OwnedFd> {
    let address = link_address(interface)?;
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // Protocol 0 receives nothing before it is bound to the one interface.
    // JUSTIFICATION: std makes no packet sockets.
    // SAFETY: no memory is involved.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // JUSTIFICATION: as above.
    // SAFETY: `fd` is a descriptor that was just made and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let set = |option: c_int, value: c_int| {
        let len = size_of::<c_int>() as libc::socklen_t;
        // JUSTIFICATION: std has no socket options of packet sockets.
        // SAFETY: `value` is one int and `len` its size.
        check(unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                option,
                (&raw const value).cast(),
                len,
            )
        })
    };
    set(PACKET_VNET_HDR_SZ, VNET_HEADER_LEN as c_int)?;
    // What the kernel itself sends out there is not from the other side.
    set(libc::PACKET_IGNORE_OUTGOING, 1)?;
    // Queues begin to send a second after the other side has opened the TAP.
    set(libc::PACKET_QDISC_BYPASS, 1)?;
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // JUSTIFICATION: std has no link-layer addresses.
    // SAFETY: `address` is a sockaddr_ll and `len` its size.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(socket)
}

/// Every protocol at one interface. 0 is refused: to the kernel it is all of them.
pub(in crate::io) fn link_address(interface: u32) -> io::Result<libc::sockaddr_ll> {
    let index = i32::try_from(interface).map_err(io::Error::other)?;
    if index == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    })
}

/// The user namespace that owns a namespace.
pub(in crate::io) fn namespace_owner(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // JUSTIFICATION: the relation is told by an ioctl only.
    // SAFETY: NS_GET_USERNS takes no argument and returns a descriptor.
    let fd = check(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) })?;
    // JUSTIFICATION: as above.
    // SAFETY: `fd` is a descriptor that was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
