//! Plans for the first answers of connections: as `plans`, for the other direction.
//!
//! Whoever answers is let through by connection tracking, so the walk of an
//! answer reads of its packet the addresses, protocol and source port, and of its
//! session who tracks it, the near end and what load balancer flows share; all of
//! that is in the class. Destination ports (the client's, before and after the
//! translation) are compared with ranges by ACLs: the walk notes the range of
//! ports for which every comparison comes out as it did, and the plan is for
//! these. Times: a session seen within the table's `floor` has timed out nowhere.
//!
//! Not planned: an answer that a group's rules judged, or another session than
//! its own let in; and what `plans` does not plan.

use super::Pipeline;
use super::forward::Arrival;
use super::plans::PlainPacket;
use super::short::{Lane, Step};
use crate::flow::{DepsId, Direction, Leaves, Rewrite, SessionId, both_ports};
use crate::packet::{FiveTuple, GENEVE_PORT, protocol};
use crate::tables::{Sabotage, Snapshot};
use crate::time::Instant;
use crate::walk::Path;

/// How the answers of a class go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// Destination port aside. What else becomes of the packet is in the action.
    leaves: Leaves,
    clamp_mss: Option<u16>,
    /// Number of the shared action, of which this holds a use.
    action: u32,
    deps: DepsId,
    /// First and last destination port for which it holds, as the packet comes
    /// and as it leaves.
    ports: [(u16, u16); 2],
}

/// What the walk reads of an answer and its session.
#[inline]
fn class(plain: &PlainPacket, session: &[u64; 5]) -> Option<[u64; 8]> {
    let answers = match plain.protocol {
        protocol::TCP => !plain.is_tcp_open(),
        _ => plain.dport != GENEVE_PORT,
    };
    let [near, ends, lb, first, second] = *session;
    let PlainPacket { port, sport, .. } = *plain;
    answers.then(|| {
        [
            plain.addresses(),
            u64::from(port.0) << 32 | u64::from(plain.protocol) << 16 | u64::from(sport),
            plain.mac,
            near,
            ends,
            lb,
            first,
            second,
        ]
    })
}

impl Pipeline {
    /// Compiles the way of the first answer of the session in a slot as it was for others of
    /// its class, and counts the packet: what is done to it, and the MSS that its segments may
    /// have. `None`, and nothing is done, if it must be walked.
    #[inline]
    pub(super) fn answer_as_others(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        plain: &PlainPacket,
        lane: &Lane,
        slot: u32,
    ) -> Option<(Step, Option<u16>)> {
        let sessions = &mut self.connections.sessions;
        let (words, near_port) = sessions.shared4(slot)?;
        let answer = self.plans.answers.find(&class(plain, &words)?)?;
        let ports = [plain.dport, near_port];
        let mut ranges = ports.iter().zip(&answer.ports);
        let inside = ranges.all(|(port, (first, last))| (first..=last).contains(&port));
        let young = sessions.is_young4((slot, Direction::Reply), now);
        if !young || !inside || !self.connections.deps.hold(answer.deps, tables) {
            return None;
        }
        let hot = sessions.hot_at(answer.action)?;
        if lane.ttl <= hot.ttl_less || lane.ip_len > hot.size_max {
            return None;
        }
        let mut leaves = answer.leaves;
        leaves.ports |= both_ports(0, near_port);
        let at = (now, tables.version);
        let (line, hot) = sessions.go_as(slot, answer.action, &leaves, at)?;
        line.count(lane.ip_len);
        let step = Step::new(line, hot, lane);
        self.counters.flow_misses += 1;
        self.counters.answers_planned += 1;
        Some((step, answer.clamp_mss))
    }

    /// Keeps what a walk found for the next answers of the packet's class.
    pub(super) fn keep_answer(
        &mut self,
        tables: &Snapshot,
        arrival: &Arrival,
        path: &Path,
        rewrite: &Rewrite,
        id: SessionId,
    ) {
        let sessions = &mut self.connections.sessions;
        let Some((words, near_port)) = sessions.shared4(id.slot()) else {
            return;
        };
        let plain = !rewrite.local
            && !rewrite.decapsulate
            && !rewrite.shifted
            && rewrite.tunnel.is_none()
            && path.from_flow.is_none()
            && path.link.is_none()
            && path.picks == 0
            && path.tracks.is_empty()
            && !path.judged
            && tables.settings.sabotage == Sabotage::default()
            && rewrite.tuple.dport == near_port;
        let class = PlainPacket::of(arrival).and_then(|plain| class(&plain, &words));
        let Some(class) = class.filter(|_| plain) else {
            return;
        };
        let portless = FiveTuple {
            dport: 0,
            ..rewrite.tuple
        };
        let Some(leaves) = Leaves::with(&portless) else {
            return;
        };
        let Some((action, deps)) = sessions.use_action(id, Direction::Reply) else {
            return;
        };
        let answer = Answer {
            leaves,
            clamp_mss: rewrite.clamp_mss,
            action,
            deps,
            ports: path.ports,
        };
        let gone = self.plans.answers.put(class, answer);
        if let Some(gone) = gone
            && let Some(deps) = self.connections.sessions.drop_action(gone.action)
        {
            self.connections.deps.release(deps);
        }
    }
}
