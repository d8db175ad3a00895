//! The data plane as the core of a simulation.

use std::collections::VecDeque;
use std::sync::Arc;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::counters::Counters;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::pipeline::{Pipeline, Sink};
use vpclab_dataplane::tables::Tables;
use vpclab_dataplane::time::{Duration, Instant};

use super::sim::Core;

/// A frame that the data plane dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// When.
    pub at: Instant,
    /// The interface by which it had entered.
    pub port: EniId,
    /// Why.
    pub reason: DropReason,
    /// The frame as it was when the verdict fell.
    pub bytes: Vec<u8>,
}

/// How many dropped frames are kept to look at.
const DROPPED_MAX: usize = 4_096;

/// Services at interfaces: health checks, with a stack of their own at load
/// balancers' nodes, and what is on the link of hosts.
pub(crate) trait Services {
    /// A frame for the stack at `eni`.
    fn receive(&mut self, now: Instant, eni: EniId, frame: Frame);

    /// Acts; frames to send are appended to `out`, each naming its interface,
    /// answers for the host behind their interface to `answers`.
    fn poll(&mut self, now: Instant, out: &mut Vec<Frame>, answers: &mut Vec<Frame>);

    /// When [`Services::poll`] next has something to do.
    fn next_deadline(&self) -> Option<Instant>;
}

/// Pipeline, tables and services of one lab.
pub(crate) struct Plane<S> {
    pub(crate) tables: Arc<Tables>,
    pub(crate) pipeline: Pipeline,
    pub(crate) services: S,
    pub(crate) dropped: VecDeque<Dropped>,
    expired_at: Option<Instant>,
}

impl<S: Services> Plane<S> {
    pub(crate) fn new(tables: Arc<Tables>, pipeline: Pipeline, services: S) -> Self {
        Self {
            tables,
            pipeline,
            services,
            dropped: VecDeque::new(),
            expired_at: None,
        }
    }

    /// Starts anew with another pipeline.
    pub(crate) fn reset(&mut self, pipeline: Pipeline) {
        self.pipeline = pipeline;
        self.dropped.clear();
        self.expired_at = None;
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.pipeline.counters()
    }
}

struct LabSink<'a> {
    now: Instant,
    out: &'a mut Vec<(EniId, Frame)>,
    local: Vec<(EniId, Frame)>,
    dropped: &'a mut VecDeque<Dropped>,
}

impl Sink for LabSink<'_> {
    fn transmit(&mut self, port: EniId, frame: Frame) {
        self.out.push((port, frame));
    }

    fn local(&mut self, eni: EniId, frame: Frame) {
        self.local.push((eni, frame));
    }

    fn dropped(&mut self, port: EniId, reason: DropReason, bytes: &[u8]) {
        if self.dropped.len() == DROPPED_MAX {
            self.dropped.pop_front();
        }
        self.dropped.push_back(Dropped {
            at: self.now,
            port,
            reason,
            bytes: bytes.to_vec(),
        });
    }
}

impl<S: Services> Core for Plane<S> {
    fn process(&mut self, now: Instant, batch: &mut Vec<Frame>, out: &mut Vec<(EniId, Frame)>) {
        let mut sink = LabSink {
            now,
            out,
            local: Vec::new(),
            dropped: &mut self.dropped,
        };
        let snapshot = self.tables.load();
        self.pipeline.process(now, &snapshot, batch, &mut sink);
        for (eni, frame) in sink.local {
            self.services.receive(now, eni, frame);
        }
        let (taken, given) = self.pipeline.counters().balance();
        assert_eq!(
            taken,
            given,
            "invariant 4: every frame has one verdict; at {now:?}: {:?}",
            self.pipeline.counters()
        );
    }

    fn poll(&mut self, now: Instant, batch: &mut Vec<Frame>, out: &mut Vec<(EniId, Frame)>) {
        if self.pipeline.next_deadline().is_some_and(|at| at <= now) {
            self.pipeline.expire(now, &self.tables.load());
            self.expired_at = Some(now);
        }
        let mut answers = Vec::new();
        self.services.poll(now, batch, &mut answers);
        if !answers.is_empty() {
            let mut sink = LabSink {
                now,
                out,
                local: Vec::new(),
                dropped: &mut self.dropped,
            };
            let snapshot = self.tables.load();
            self.pipeline.serve(now, &snapshot, &mut answers, &mut sink);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        // An expiry that leaves its deadline where it was must not stop time.
        let after = self.expired_at.map(|at| at + Duration::from_millis(1));
        let expiry = self
            .pipeline
            .next_deadline()
            .map(|at| after.map_or(at, |after| at.max(after)));
        expiry
            .into_iter()
            .chain(self.services.next_deadline())
            .min()
    }
}
