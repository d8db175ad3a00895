//! The short way of first packets: connections opened, and answered, by plan.
//!
//! What `plans` and `answers` need of a packet is what the look at the batch has
//! found already, so a plain packet needs no second parsing and no general rewrite.
//! Whatever they do not know takes the long way, and is walked.

use super::Pipeline;
use super::foreseen::Foreseen;
use super::planned::Planned;
use super::plans::PlainPacket;
use super::short::{Lane, Moment};
use crate::addr::EniId;
use crate::flow::{Direction, End, split_ports};
use crate::packet::{ETHERNET_LEN, Frame, clamp_mss, parse_ip, protocol, tcp_flag};
use crate::tables::Snapshot;

impl Pipeline {
    /// Opens the connection of a packet whose key no session has; makes the packet
    /// what it is where it leaves, and says by which port.
    #[inline(never)]
    pub(super) fn open_shortly<A: Planned>(
        &mut self,
        at: &Moment<'_>,
        frame: &mut Frame,
        lane: &Lane,
        key: &A::Key,
    ) -> Option<EniId> {
        self.with_foreseen::<A>(at.tables, frame, lane, key, |this, frame, foreseen| {
            this.open_plain(at, frame, lane, key, foreseen)
        })
    }

    fn open_plain<A: Planned>(
        &mut self,
        at: &Moment<'_>,
        frame: &mut Frame,
        lane: &Lane,
        key: &A::Key,
        Foreseen { plain, choice }: &Foreseen<A>,
    ) -> Option<EniId> {
        let (slot, mss) = self.open_as_others(at, plain, choice, lane, key)?;
        let sessions = &self.connections.sessions;
        let (line, hot) = sessions.way::<A>((slot, Direction::Forward))?;
        let out = hot.out;
        finish::<A>(frame, lane, key, &A::step(line, hot, lane), mss);
        Some(out)
    }

    /// The same for a SYN whose key a session has that is over.
    #[inline(never)]
    pub(super) fn reopen_shortly<A: Planned>(
        &mut self,
        at: &Moment<'_>,
        frame: &mut Frame,
        lane: &Lane,
        key: &A::Key,
        slot: u32,
    ) -> Option<EniId> {
        let is_open = lane.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN;
        let id = self.connections.sessions.id(slot)?;
        let held = self.connections.sessions.held(id)?;
        let is_over = held.tracking().is_closed() || held.dies_at() < at.now;
        if !is_open || !is_over {
            return None;
        }
        // A frame that may not enter ends nothing, nor does one without a plan.
        self.with_foreseen::<A>(at.tables, frame, lane, key, |this, frame, foreseen| {
            this.end_session(id);
            this.open_plain(at, frame, lane, key, foreseen)
        })
    }

    /// The same for the first packet of a direction that has no action: an answer.
    #[inline(never)]
    pub(super) fn answer_shortly<A: Planned>(
        &mut self,
        at: &Moment<'_>,
        frame: &mut Frame,
        lane: &Lane,
        key: &A::Key,
        of: (u32, Direction),
    ) -> Option<EniId> {
        if of.1 == Direction::Forward {
            return None;
        }
        let plain = read::<A>(at.tables, frame, lane, key)?;
        let (step, out, mss) = self.answer_as_others(at, &plain, lane, of.0)?;
        self.tell(of, lane, at.now);
        finish::<A>(frame, lane, key, &step, mss);
        Some(out)
    }
}

/// The packet of a lane, if its frame may enter by its port at all (`ingress`).
#[inline]
pub(super) fn read<A: Planned>(
    tables: &Snapshot,
    frame: &Frame,
    lane: &Lane,
    key: &A::Key,
) -> Option<PlainPacket<A>> {
    if !A::is_plain(lane.way) {
        return None;
    }
    let (macs, sequence) = A::head(frame.bytes())?;
    let [m0, m1, m2, m3, m4, m5, s0, s1, s2, s3, s4, s5] = *macs;
    let eni = tables.enis.row(frame.port)?;
    let own = eni.attached && eni.mac.0 == [s0, s1, s2, s3, s4, s5];
    let is_group = m0 & 1 != 0;
    let End {
        src,
        dst,
        ports,
        protocol,
        ..
    } = A::end(key);
    let (sport, dport) = split_ports(ports);
    (own && !is_group).then(|| PlainPacket {
        port: frame.port,
        mac: u64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]),
        src,
        dst,
        sport,
        dport,
        protocol,
        tcp_flags: lane.tcp_flags,
        tcp_seq: if protocol == protocol::TCP {
            sequence
        } else {
            0
        },
    })
}

#[inline]
fn finish<A: Planned>(
    frame: &mut Frame,
    lane: &Lane,
    key: &A::Key,
    step: &A::Step,
    mss: Option<u16>,
) {
    A::write(step, frame, lane, key);
    if let Some(limit) = mss
        && lane.tcp_flags & tcp_flag::SYN != 0
        && frame
            .bytes()
            .get(A::L4 + 12)
            .is_some_and(|offset| offset >> 4 > 5)
        && let Ok(headers) = parse_ip(frame.bytes(), ETHERNET_LEN)
    {
        clamp_mss(frame, &headers, limit);
    }
}
