//! Why a frame was dropped: the same walk once more, with nothing kept of it.

use super::Pipeline;
use crate::flow::Ingress;
use crate::packet::{
    ETHERNET_LEN, Frame, GENEVE_PORT, ethertype, parse_ethernet, parse_ip, protocol,
};
use crate::tables::Snapshot;
use crate::time::Instant;
use crate::walk::{Entry, Packet, Path, walk};

impl Pipeline {
    /// The way that `frame` would take now, entering by its port. `None` if it
    /// would not get so far as to be walked: no IP packet, not well formed, no
    /// such port.
    pub fn explain(&self, now: Instant, tables: &Snapshot, frame: &Frame) -> Option<Path> {
        tables.enis.row(frame.port).filter(|eni| eni.attached)?;
        let ethernet = parse_ethernet(frame.bytes()).ok()?;
        if !matches!(ethernet.ethertype, ethertype::IPV4 | ethertype::IPV6) {
            return None;
        }
        let wire = parse_ip(frame.bytes(), ETHERNET_LEN).ok()?;
        let outer = self.view(Ingress::Eni(frame.port), wire, frame, 0, now);
        let tunnel = wire.tuple.protocol == protocol::UDP && wire.tuple.dport == GENEVE_PORT;
        let packet = Packet {
            outer,
            geneve: tunnel.then(|| self.geneve(frame, &wire, now)),
        };
        let entry = Entry::Port(frame.port, ethernet.dst);
        let mut path = Path::default();
        walk(tables, &self.connections, now, entry, &packet, &mut path);
        Some(path)
    }
}
