//! Looking ahead at packets that open connections: by which plans, and with which ports.
//!
//! Such a packet reads one far place after the other: its class's plan, the ports in use,
//! the bucket of the far end, whose address the port is part of. Waited for one by one they
//! are much of its time. So what leads from one to the next is found for all of a batch, step
//! by step, and fetched before the first one's turn.
//!
//! Nothing is decided here, and nothing taken. Foreseen is only what goes by a plan that
//! stands: what does not may be another's when its turn comes, for a walk before it keeps
//! what it found. When the turn comes the plan's class is compared, and that no port was
//! given back and this one is free still; what has become otherwise is found anew.

use super::Pipeline;
use super::openings::read;
use super::planned::Planned;
use super::plans::{Choice, PlainPacket};
use super::short::{Lane, Way};
use crate::addr::EniId;
use crate::packet::Frame;
use crate::tables::Snapshot;

/// Which of the batch's foreseen packets a lane's is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen(Option<u8>);

/// What is known of a packet that opens a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreseen<A: Planned> {
    pub(super) plain: PlainPacket<A>,
    pub(super) choice: Choice<A>,
}

impl Pipeline {
    /// Foresees what packets of a batch that was looked at will need to open connections, and
    /// fetches it.
    #[inline(never)]
    pub(super) fn foresee(&mut self, tables: &Snapshot, frames: &[Frame], lanes: &mut [Lane]) {
        self.plans.of_four.foreseen.clear();
        self.plans.of_six.foreseen.clear();
        for (frame, lane) in frames.iter().zip(lanes) {
            if lane.may_open() {
                lane.foreseen = match lane.way {
                    Way::Six | Way::SixOpens => self.foresee_plan::<u128>(tables, frame, lane),
                    _ => self.foresee_plan::<u32>(tables, frame, lane),
                };
            }
        }
        self.foresee_ports::<u32>(tables);
        self.foresee_ports::<u128>(tables);
    }

    #[inline(always)]
    fn foresee_plan<A: Planned>(&mut self, tables: &Snapshot, frame: &Frame, lane: &Lane) -> Seen {
        // Not by `find_plan`, whose result would be copied.
        let Some(key) = A::key_of(frame.bytes(), lane) else {
            return Seen(None);
        };
        let Some(plain) = read::<A>(tables, frame, lane, &key) else {
            return Seen(None);
        };
        let Some(choice) = self.choose_plan(tables, &plain) else {
            return Seen(None);
        };
        let plans = A::plans(&mut self.plans);
        let count = plans.foreseen.len();
        plans.openings.prefetch(choice.place);
        plans.foreseen.push(Foreseen { plain, choice });
        self.connections.sessions.prefetch_next::<A>(count);
        Seen(Some(count as u8))
    }

    #[inline(always)]
    fn foresee_ports<A: Planned>(&mut self, tables: &Snapshot) {
        let standing = self.connections.deps.look(tables);
        let mut all = std::mem::take(&mut A::plans(&mut self.plans).foreseen);
        for Foreseen { plain, choice } in &mut all {
            let _ = self.choose_port(tables, standing, plain, choice);
        }
        A::plans(&mut self.plans).foreseen = all;
    }

    /// Goes on with what is known of the packet of a lane, foreseen or found now. `None` if
    /// it may not enter, or has no plan.
    #[inline(always)]
    pub(super) fn with_foreseen<A: Planned>(
        &mut self,
        tables: &Snapshot,
        frame: &mut Frame,
        lane: &Lane,
        key: &A::Key,
        go: impl FnOnce(&mut Self, &mut Frame, &Foreseen<A>) -> Option<EniId>,
    ) -> Option<EniId> {
        let all = std::mem::take(&mut A::plans(&mut self.plans).foreseen);
        // A lane that may not open one has what an earlier batch left there.
        let at = lane.foreseen.0.filter(|_| lane.may_open());
        let foreseen = at.and_then(|at| all.get(usize::from(at)));
        let foreseen = foreseen.filter(|seen| seen.choice.stands());
        debug_assert!(foreseen.is_none_or(|seen| seen.plain.is_of(lane, &A::end(key))));
        let found = match foreseen {
            Some(_) => None,
            None => self.find_plan(tables, frame, lane, key),
        };
        let gone = match foreseen.or(found.as_ref()) {
            Some(foreseen) => go(self, frame, foreseen),
            None => None,
        };
        A::plans(&mut self.plans).foreseen = all;
        gone
    }

    /// The plan that a packet probably goes by.
    #[inline(never)]
    fn find_plan<A: Planned>(
        &mut self,
        tables: &Snapshot,
        frame: &Frame,
        lane: &Lane,
        key: &A::Key,
    ) -> Option<Foreseen<A>> {
        let plain = read::<A>(tables, frame, lane, key)?;
        let choice = self.choose_plan(tables, &plain)?;
        Some(Foreseen { plain, choice })
    }
}
