//! The short way of first packets: connections opened, and answered, by plan.
//!
//! What `plans` and `answers` need of a packet is what the look at the batch has
//! found already, so a plain packet needs no second parsing and no general rewrite.
//! Whatever they do not know takes the long way, which asks them again.

use super::Pipeline;
use super::plans::PlainPacket;
use super::rewrite::Fit;
use super::short::{L4, Lane, Step, Way};
use crate::addr::EniId;
use crate::flow::{Direction, Rewrite};
use crate::packet::{Checksum, ETHERNET_LEN, Frame, clamp_mss, parse_ip, protocol, tcp_flag};
use crate::tables::Snapshot;
use crate::time::Instant;

impl Pipeline {
    /// Opens the connection of a packet whose key no session has; makes the packet
    /// what it is where it leaves, and says by which port.
    #[inline(never)]
    pub(super) fn open_shortly(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        frame: &mut Frame,
        lane: &Lane,
    ) -> Option<EniId> {
        let plain = read(tables, frame, lane)?;
        let fits = |rewrite: &Rewrite| fits(rewrite, lane);
        let (rewrite, _) = self.open_as_others(tables, now, &plain, fits)?;
        Some(finish(frame, lane, &rewrite))
    }

    /// The same for the first packet of a direction that has no action: an answer.
    #[inline(never)]
    pub(super) fn answer_shortly(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        frame: &mut Frame,
        lane: &Lane,
        of: (u32, Direction),
    ) -> Option<EniId> {
        if of.1 == Direction::Forward {
            return None;
        }
        let id = self.connections.sessions.id4(of.0)?;
        let plain = read(tables, frame, lane)?;
        let fits = |rewrite: &Rewrite| fits(rewrite, lane);
        let (rewrite, _) = self.answer_as_others(tables, now, &plain, id, fits)?;
        if let Some((line, _)) = self.connections.sessions.way4_mut(of) {
            line.count(lane.ip_len);
        }
        self.tell(of, lane, now);
        Some(finish(frame, lane, &rewrite))
    }
}

/// The packet of a lane, if its frame may enter by its port at all (`ingress`).
fn read(tables: &Snapshot, frame: &Frame, lane: &Lane) -> Option<PlainPacket> {
    if !matches!(lane.way, Way::Plain | Way::Opens) {
        return None;
    }
    let header = frame.bytes().first_chunk::<{ L4 + 8 }>()?;
    let [m0, m1, m2, m3, m4, m5, s0, s1, s2, s3, s4, s5, ..] = *header;
    let eni = tables.enis.row(frame.port)?;
    let own = eni.attached && eni.mac.0 == [s0, s1, s2, s3, s4, s5];
    let is_group = m0 & 1 != 0;
    let sequence = header
        .last_chunk::<4>()
        .map(|bytes| u32::from_be_bytes(*bytes))?;
    let key = &lane.key;
    (own && !is_group).then(|| PlainPacket {
        port: frame.port,
        mac: u64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]),
        src: key.src,
        dst: key.dst,
        sport: (key.ports >> 16) as u16,
        dport: key.ports as u16,
        protocol: key.protocol,
        tcp_flags: lane.tcp_flags,
        tcp_seq: if key.protocol == protocol::TCP {
            sequence
        } else {
            0
        },
        ip_len: lane.ip_len,
    })
}

/// Whether the packet passes as a whole, and needs nothing but a [`Step`].
fn fits(rewrite: &Rewrite, lane: &Lane) -> Fit {
    if lane.ttl <= rewrite.ttl_less || !rewrite.limits.allow(lane.ip_len) {
        Fit::Not
    } else {
        Fit::Whole
    }
}

fn finish(frame: &mut Frame, lane: &Lane, rewrite: &Rewrite) -> EniId {
    let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
    if let Some(step) = Step::of(rewrite, lane) {
        step.write(frame.bytes_mut(), lane, partial);
    }
    if let Some(limit) = rewrite.clamp_mss
        && lane.tcp_flags & tcp_flag::SYN != 0
        && frame
            .bytes()
            .get(L4 + 12)
            .is_some_and(|offset| offset >> 4 > 5)
        && let Ok(headers) = parse_ip(frame.bytes(), ETHERNET_LEN)
    {
        clamp_mss(frame, &headers, limit);
    }
    rewrite.out
}
