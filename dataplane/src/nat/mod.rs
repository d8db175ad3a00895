//! Port allocation of the load balancers' source NAT.
//!
//! A port is free when no client's mapping has it toward the same target.
//! Whose session the reply will find does not matter: a router or an appliance
//! may stand between load balancer and target.

/// First port that NAT uses. AWS says 1024–65535; the first 512 are kept for
/// the health checks that leave from the same addresses.
pub const PORT_FIRST: u16 = 1536;
/// Connections per load balancer address and target (NLB guide, "Port
/// allocation errors").
pub const PORTS_MAX: u32 = 55_000;

/// A source port that is not `taken` toward one target; `None` when they are
/// used up: `used` says how many are. `hash` spreads where the search begins.
pub fn free_port(used: u32, hash: u64, taken: impl Fn(u16) -> bool) -> Option<u16> {
    if used >= PORTS_MAX {
        return None;
    }
    let count = u32::from(u16::MAX - PORT_FIRST) + 1;
    let start = (hash % u64::from(count)) as u32;
    (0..count)
        .map(|step| PORT_FIRST + ((start + step) % count) as u16)
        .find(|&port| !taken(port))
}
