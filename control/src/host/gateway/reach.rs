//! Which addresses of the real network the lab may reach.

use std::net::{IpAddr, UdpSocket};

use nix::ifaddrs::getifaddrs;
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
    let assigned = getifaddrs().is_ok_and(|all| {
        let all = all.filter_map(|interface| interface.address);
        let mut all = all.filter_map(|own| {
            let v4 = own.as_sockaddr_in().map(|own| IpAddr::V4(own.ip()));
            v4.or_else(|| own.as_sockaddr_in6().map(|own| IpAddr::V6(own.ip())))
        });
        all.any(|own| own == address)
    });
    assigned || is_routed_here(address)
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
        // By a route alone: 127.0.0.0/8 is local, 127.3.2.1 assigned to nobody.
        assert_eq!(others("127.3.2.1".parse().unwrap()), None);
        assert!(!ours("192.0.2.77"));
    }
}
