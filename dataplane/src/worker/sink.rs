//! Collects what a batch sends; the ports take it when the batch is done.

use std::sync::mpsc::SyncSender;

use super::capture::Captures;
use super::drop_log::DropLog;
use super::peers::Peers;
use crate::addr::EniId;
use crate::drop::DropReason;
use crate::packet::{Frame, FramePool};
use crate::pipeline::Sink;
use crate::tables::Snapshot;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct BatchSink {
    pub(super) transmit: Vec<(EniId, Frame)>,
    pub(super) capture: Captures,
    pub(super) drops: DropLog,
    /// The other workers, where there are any.
    pub(super) peers: Option<Peers>,
    /// Frames for local stacks that their channel did not take.
    pub(super) local_lost: u64,
    local: SyncSender<(EniId, Frame)>,
}

impl BatchSink {
    pub(super) fn new(local: SyncSender<(EniId, Frame)>) -> Self {
        Self {
            transmit: Vec::new(),
            capture: Captures::default(),
            drops: DropLog::new(),
            peers: None,
            local_lost: 0,
            local,
        }
    }
}

impl Sink for BatchSink {
    fn transmit(&mut self, port: EniId, frame: Frame) {
        self.transmit.push((port, frame));
    }

    fn local(&mut self, eni: EniId, frame: Frame) {
        if self.local.try_send((eni, frame)).is_err() {
            self.local_lost += 1;
        }
    }

    fn steer(
        &mut self,
        now: Instant,
        tables: &Snapshot,
        frame: Frame,
        pool: &mut FramePool,
    ) -> Option<Frame> {
        let Some(peers) = &mut self.peers else {
            return Some(frame);
        };
        let capture = &mut self.capture;
        let dropped = &mut |eni, bytes: &[u8]| {
            capture.dropped(eni, DropReason::HandoverFull, bytes);
        };
        peers.steer(tables, now, frame, pool, dropped)
    }

    fn dropped(&mut self, port: EniId, reason: DropReason, bytes: &[u8]) {
        self.drops.note(port, reason, bytes);
        self.capture.dropped(port, reason, bytes);
    }
}
