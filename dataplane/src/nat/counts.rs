//! What a NAT gateway counts, by the names of its CloudWatch metrics.

use crate::flow::Session;

/// The accounts of one NAT gateway in one pipeline. Packets and bytes are by
/// direction: from the inside, and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatewayCounts {
    /// `ActiveConnectionCount`.
    pub active: u64,
    /// `ConnectionAttemptCount`.
    pub attempts: u64,
    /// `ConnectionEstablishedCount`: those that were answered.
    pub established: u64,
    /// `ErrorPortAllocation`.
    pub port_allocation_errors: u64,
    /// `IdleTimeoutCount`: connections that ended without being closed.
    pub idle_timeouts: u64,
    /// `PacketsDropCount`.
    pub dropped: u64,
    /// `PacketsInFromSource` (all of which go out to the destination), and
    /// `PacketsInFromDestination`.
    pub packets: [u64; 2],
    /// The same in bytes.
    pub bytes: [u64; 2],
}

impl GatewayCounts {
    /// Adds what one connection has done so far.
    pub(crate) fn carried(&mut self, session: &Session) {
        for direction in [0, 1] {
            if let (Some(packets), Some(bytes)) = (
                self.packets.get_mut(direction),
                self.bytes.get_mut(direction),
            ) {
                *packets += session.packets.get(direction).copied().unwrap_or(0);
                *bytes += session.bytes.get(direction).copied().unwrap_or(0);
            }
        }
        self.established += u64::from(session.tracking.is_answered());
    }

    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        let Self {
            active,
            attempts,
            established,
            port_allocation_errors,
            idle_timeouts,
            dropped,
            packets: [out, back],
            bytes: [bytes_out, bytes_back],
        } = self;
        *active += other.active;
        *attempts += other.attempts;
        *established += other.established;
        *port_allocation_errors += other.port_allocation_errors;
        *idle_timeouts += other.idle_timeouts;
        *dropped += other.dropped;
        *out += other.packets[0];
        *back += other.packets[1];
        *bytes_out += other.bytes[0];
        *bytes_back += other.bytes[1];
    }
}
