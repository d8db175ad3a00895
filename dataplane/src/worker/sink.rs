//! Collects what a batch sends; the ports take it when the batch is done.

use std::sync::mpsc::SyncSender;

use super::capture::Captures;
use super::drop_log::DropLog;
use crate::addr::EniId;
use crate::drop::DropReason;
use crate::packet::Frame;
use crate::pipeline::Sink;

#[derive(Debug)]
pub(super) struct BatchSink {
    pub(super) transmit: Vec<(EniId, Frame)>,
    pub(super) capture: Captures,
    pub(super) drops: DropLog,
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

    fn dropped(&mut self, port: EniId, reason: DropReason, bytes: &[u8]) {
        self.drops.note(port, reason, bytes);
        self.capture.dropped(port, reason, bytes);
    }
}
