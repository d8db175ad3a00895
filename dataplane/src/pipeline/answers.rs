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
use super::planned::Planned;
use super::plans::PlainPacket;
use super::short::{Lane, Moment};
use crate::addr::EniId;
use crate::flow::{DepsId, Direction, Leaves, Rewrite, SessionId, Shared, both_ports};
use crate::packet::{FiveTuple, GENEVE_PORT, protocol};
use crate::tables::{Sabotage, Snapshot};
use crate::walk::Path;

/// How the answers of a class go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<A> {
    /// Destination port aside. What else becomes of the packet is in the action.
    leaves: Leaves<A>,
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
fn class<A: Planned>(plain: &PlainPacket<A>, session: &Shared<A>) -> Option<A::Answering> {
    let answers = match plain.protocol {
        protocol::TCP => !plain.is_tcp_open(),
        _ => plain.dport != GENEVE_PORT,
    };
    answers.then(|| A::answering(plain, session))
}

impl Pipeline {
    /// Compiles the way of the first answer of the session in a slot as it was for others of
    /// its class, and counts the packet: what is done to it, the port by which it leaves, and
    /// the MSS that its segments may have. `None`, and nothing is done, if it must be walked.
    #[inline]
    pub(super) fn answer_as_others<A: Planned>(
        &mut self,
        &Moment {
            tables,
            now,
            standing,
            ..
        }: &Moment<'_>,
        plain: &PlainPacket<A>,
        lane: &Lane,
        slot: u32,
    ) -> Option<(A::Step, EniId, Option<u16>)> {
        let sessions = &mut self.connections.sessions;
        let (shared, near_port) = sessions.shared::<A>(slot)?;
        let class = class(plain, &shared)?;
        let answers = &mut A::plans(&mut self.plans).answers;
        let (_, answer) = answers.find(&class)?;
        let ports = [plain.dport, near_port];
        let mut ranges = ports.iter().zip(&answer.ports);
        let inside = ranges.all(|(port, (first, last))| (first..=last).contains(&port));
        let young = sessions.is_young::<A>((slot, Direction::Reply), now);
        let hot = sessions.hot_at(answer.action)?;
        let deps = &mut self.connections.deps;
        // What a cached packet asks: the dependencies themselves need not be fetched.
        let stands = hot.version >= standing || deps.hold(answer.deps, tables);
        if !young || !inside || !stands {
            return None;
        }
        if lane.ttl <= hot.ttl_less || lane.ip_len > hot.size_max {
            return None;
        }
        let mut leaves = answer.leaves;
        leaves.ports |= both_ports(0, near_port);
        let at = (now, tables.version);
        let (line, hot) = sessions.go_as(slot, answer.action, &leaves, at)?;
        line.count(lane.ip_len);
        let (step, out) = (A::step(line, hot, lane), hot.out);
        self.counters.flow_misses += 1;
        self.counters.answers_planned += 1;
        Some((step, out, answer.clamp_mss))
    }

    /// Keeps what a walk found for the next answers of the packet's class.
    pub(super) fn keep_answer<A: Planned>(
        &mut self,
        tables: &Snapshot,
        arrival: &Arrival,
        (path, rewrite, id): (&Path, &Rewrite, SessionId),
    ) {
        let sessions = &mut self.connections.sessions;
        let Some((shared, near_port)) = sessions.shared::<A>(id.slot()) else {
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
        let class = PlainPacket::of(arrival).and_then(|plain| class(&plain, &shared));
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
        let Some((action, deps)) = sessions.use_action::<A>(id, Direction::Reply) else {
            return;
        };
        let answer = Answer {
            leaves,
            clamp_mss: rewrite.clamp_mss,
            action,
            deps,
            ports: path.ports,
        };
        let gone = A::plans(&mut self.plans).answers.put(class, answer);
        if let Some(gone) = gone
            && let Some(deps) = self.connections.sessions.drop_action(gone.action)
        {
            self.connections.deps.release(deps);
        }
    }
}
