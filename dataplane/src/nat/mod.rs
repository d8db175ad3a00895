//! Port allocation of the load balancers' source NAT.
//!
//! There is no second table of ports: a port is free when the reply it would
//! bring back is nobody's yet, that is, when the session index has no session
//! at the target's end with that tuple.

use crate::addr::EniId;
use crate::flow::{Ingress, Key, Table};
use crate::packet::FiveTuple;

/// First port that NAT uses. AWS says 1024–65535; the first 512 are kept for
/// the health checks that leave from the same addresses.
pub const PORT_FIRST: u16 = 1536;
/// Connections per load balancer address and target (NLB guide, "Port
/// allocation errors").
pub const PORTS_MAX: u32 = 55_000;

/// A free source port for `translated` (whose own source port is ignored)
/// toward a target behind `receiver`; `None` when they are used up: `used` says
/// how many are. `hash` spreads where the search begins.
pub fn free_port(
    sessions: &Table,
    used: u32,
    receiver: Option<EniId>,
    translated: FiveTuple,
    hash: u64,
) -> Option<u16> {
    if used >= PORTS_MAX {
        return None;
    }
    let count = u32::from(u16::MAX - PORT_FIRST) + 1;
    let start = (hash % u64::from(count)) as u32;
    // A target without an interface gets no packet, so any port will do.
    let Some(receiver) = receiver else {
        return Some(PORT_FIRST + start as u16);
    };
    (0..count)
        .map(|step| PORT_FIRST + ((start + step) % count) as u16)
        .find(|&sport| {
            let tuple = FiveTuple {
                sport,
                ..translated
            }
            .reversed();
            sessions
                .find(&Key {
                    ingress: Ingress::Eni(receiver),
                    tuple,
                })
                .is_none()
        })
}
