//! Which addresses of the real network the lab may reach.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use vpclab_dataplane::addr::is_public;

/// Where on the real network an address is reached; `None` where it may not be.
pub(super) type Reach = fn(IpAddr) -> Option<IpAddr>;

/// Public addresses, but none of this machine itself: what listens here is for
/// others than the programs of a lab.
pub(super) fn others(address: IpAddr) -> Option<IpAddr> {
    (is_public(address) && !is_ours(address)).then_some(address)
}

/// Whether packets to the address would come back to this machine.
fn is_ours(address: IpAddr) -> bool {
    let assigned = getifaddrs().is_ok_and(|mut all| all.any(|own| has(&own, address)));
    assigned || is_routed_here(address)
}

/// Whether an address of an interface is this one. Of a loopback interface the
/// whole IPv4 block is the machine's.
fn has(own: &InterfaceAddress, address: IpAddr) -> bool {
    let Some(assigned) = &own.address else {
        return false;
    };
    if let Some(v6) = assigned.as_sockaddr_in6() {
        return IpAddr::V6(v6.ip()) == address;
    }
    let (Some(v4), IpAddr::V4(address)) = (assigned.as_sockaddr_in(), address) else {
        return false;
    };
    let block = own.netmask.as_ref().and_then(|mask| mask.as_sockaddr_in());
    let mask = match block {
        Some(mask) if own.flags.contains(InterfaceFlags::IFF_LOOPBACK) => mask.ip(),
        _ => Ipv4Addr::BROADCAST,
    };
    v4.ip() & mask == address & mask
}

/// Whether a route makes it an address of this machine, assigned or not: then it
/// is what the kernel would send from. Sends nothing.
fn is_routed_here(address: IpAddr) -> bool {
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let source = UdpSocket::bind(any).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_this_machine_is_known() {
        let ours = |text: &str| is_ours(text.parse().unwrap());
        assert!(ours("127.0.0.1"));
        // Assigned to nobody, but of the loopback interface's block.
        assert!(ours("127.3.2.1"));
        assert!(!ours("192.0.2.77") && !ours("3fff::77"));
        let others = |text: &str| others(text.parse().unwrap());
        assert_eq!(others("169.254.169.254"), None);
        assert_eq!(others("192.0.2.77"), Some("192.0.2.77".parse().unwrap()));
    }
}
