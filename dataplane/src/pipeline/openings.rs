//! The short way of first packets: connections opened, and answered, by plan.
//!
//! What `plans` and `answers` need of a packet is what the look at the batch has
//! found already, so a plain packet needs no second parsing and no general rewrite.
//! Whatever they do not know takes the long way, and is walked.

use super::Pipeline;
use super::plans::PlainPacket;
use super::short::{L4, Lane, Step, Way};
use crate::addr::EniId;
use crate::flow::{Direction, split_ports};
use crate::packet::{ETHERNET_LEN, Frame, clamp_mss, parse_ip, protocol, tcp_flag};
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
        self.open_plain(tables, now, frame, lane, &plain)
    }

    fn open_plain(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        frame: &mut Frame,
        lane: &Lane,
        plain: &PlainPacket,
    ) -> Option<EniId> {
        let (slot, mss) = self.open_as_others(tables, now, plain, lane)?;
        let sessions = &self.connections.sessions;
        let (line, hot) = sessions.way4((slot, Direction::Forward))?;
        let step = Step::new(line, hot, lane);
        finish(frame, lane, &step, mss);
        Some(step.out)
    }

    /// The same for a SYN whose key a session has that is over.
    #[inline(never)]
    pub(super) fn reopen_shortly(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        frame: &mut Frame,
        lane: &Lane,
        slot: u32,
    ) -> Option<EniId> {
        let is_open = lane.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN;
        let id = self.connections.sessions.id(slot)?;
        let held = self.connections.sessions.held(id)?;
        let is_over = held.tracking().is_closed() || held.dies_at() < now;
        if !is_open || !is_over {
            return None;
        }
        // A frame that may not enter ends nothing.
        let plain = read(tables, frame, lane)?;
        self.end_session(id);
        self.open_plain(tables, now, frame, lane, &plain)
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
        let plain = read(tables, frame, lane)?;
        let (step, mss) = self.answer_as_others(tables, now, &plain, lane, of.0)?;
        self.tell(of, lane, now);
        finish(frame, lane, &step, mss);
        Some(step.out)
    }
}

/// The packet of a lane, if its frame may enter by its port at all (`ingress`).
#[inline]
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
    let (src, dst) = key.addresses();
    let (sport, dport) = split_ports(key.ports);
    (own && !is_group).then(|| PlainPacket {
        port: frame.port,
        mac: u64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]),
        src,
        dst,
        sport,
        dport,
        protocol: key.protocol(),
        tcp_flags: lane.tcp_flags,
        tcp_seq: if key.protocol() == protocol::TCP {
            sequence
        } else {
            0
        },
    })
}

#[inline]
fn finish(frame: &mut Frame, lane: &Lane, step: &Step, mss: Option<u16>) {
    step.write(frame, lane);
    if let Some(limit) = mss
        && lane.tcp_flags & tcp_flag::SYN != 0
        && frame
            .bytes()
            .get(L4 + 12)
            .is_some_and(|offset| offset >> 4 > 5)
        && let Ok(headers) = parse_ip(frame.bytes(), ETHERNET_LEN)
    {
        clamp_mss(frame, &headers, limit);
    }
}
