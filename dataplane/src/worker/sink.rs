//! Collects what a batch sends; the ports take it when the batch is done.

use std::sync::mpsc::SyncSender;

use super::capture::Captures;
use crate::addr::EniId;
use crate::drop::DropReason;
use crate::packet::Frame;
use crate::pipeline::Sink;

#[derive(Debug)]
pub(super) struct BatchSink {
    pub(super) transmit: Vec<(EniId, Frame)>,
    pub(super) capture: Captures,
    /// Frames for local stacks that their channel did not take.
    pub(super) local_lost: u64,
    local: SyncSender<(EniId, Frame)>,
}

impl BatchSink {
    pub(super) fn new(local: SyncSender<(EniId, Frame)>) -> Self {
        Self {
            transmit: Vec::new(),
            capture: Captures::default(),
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
        self.capture.dropped(port, reason, bytes);
    }
}
