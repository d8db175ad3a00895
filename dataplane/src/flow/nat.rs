//! The mappings of NAT gateways, kept by session: few sessions have one, so they
//! are not in its memory but beside it.
//!
//! AWS: VPC User Guide "NAT gateway basics", "NAT gateway troubleshooting".

use super::entry::state_flag;
use super::held::Held;
use super::table::{SessionId, Table};
use crate::addr::EniId;
use crate::packet::{FiveTuple, protocol};
use crate::time::Duration;

/// Idle timeouts of a NAT gateway. AWS names 350 s. ASSUMPTION for UDP and ICMP:
/// 120 and 60 s.
const TCP_IDLE: Duration = Duration::from_secs(350);
const UDP_IDLE: Duration = Duration::from_secs(120);
const ICMP_IDLE: Duration = Duration::from_secs(60);

/// Most NAT gateways on one way, between two port crossings.
pub const NATS_MAX: usize = 2;

/// One mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NatFlow {
    /// The gateway's interface.
    pub gateway: EniId,
    /// The tuple as it comes from the inside.
    pub client: FiveTuple,
    /// The tuple as it leaves: another source address and port (of an echo
    /// request: another identifier).
    pub translated: FiveTuple,
}

/// The mappings of a session, in the order in which its packets pass them.
pub type Nats = [Option<NatFlow>; NATS_MAX];

/// How long a mapping lives that no packet passes.
pub(super) const fn idle(ip_protocol: u8) -> Duration {
    match ip_protocol {
        protocol::TCP => TCP_IDLE,
        protocol::UDP => UDP_IDLE,
        _ => ICMP_IDLE,
    }
}

impl Table {
    /// Makes these the mappings of a session; returns those it had.
    pub fn set_nats(&mut self, id: SessionId, nats: Nats) -> Nats {
        let Some(state) = self.alive(id) else {
            return Nats::default();
        };
        let had = state.has(state_flag::NAT);
        let has = nats.iter().any(Option::is_some);
        let old = match has {
            true => self.nats.insert(id.slot, nats),
            false if had => self.nats.remove(id.slot),
            false => None,
        };
        if let Some(state) = self.state_mut(id.slot) {
            state.flags &= !state_flag::NAT;
            if has {
                state.flags |= state_flag::NAT;
            }
        }
        old.unwrap_or_default()
    }
}

impl Held<'_> {
    /// The mappings of NAT gateways.
    pub fn nats(&self) -> Nats {
        let (state, slot) = self.place();
        match state.has(state_flag::NAT) {
            true => self.table().nats.get(slot).copied().unwrap_or_default(),
            false => Nats::default(),
        }
    }

    /// The mapping of this gateway.
    pub fn nat(&self, gateway: EniId) -> Option<NatFlow> {
        let nats = self.nats();
        nats.into_iter()
            .flatten()
            .find(|flow| flow.gateway == gateway)
    }
}
