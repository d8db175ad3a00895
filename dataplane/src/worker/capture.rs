//! Copies of frames for whoever watches a port.

use std::sync::mpsc::{SyncSender, TrySendError};

use crate::addr::EniId;
use crate::drop::DropReason;
use crate::packet::{Frame, Offload};
use crate::time::Instant;

/// Which way a captured frame went, seen from the data plane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The host sent it.
    Received,
    /// The host gets it.
    Transmitted,
}

/// A captured frame.
#[derive(Clone, Debug)]
pub struct CaptureEvent {
    /// When, by the worker's clock.
    pub at: Instant,
    /// At which interface.
    pub eni: EniId,
    /// Which way.
    pub direction: Direction,
    /// Why it went no further, if it did not.
    pub dropped: Option<DropReason>,
    /// Its offload metadata: a partial checksum is finished by the reader.
    pub offload: Offload,
    /// The whole frame.
    pub bytes: Vec<u8>,
}

/// Which interfaces to watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CaptureFilter {
    /// All of them.
    All,
    /// These.
    Enis(Vec<EniId>),
}

impl CaptureFilter {
    fn covers(&self, eni: EniId) -> bool {
        match self {
            Self::All => true,
            Self::Enis(enis) => enis.contains(&eni),
        }
    }
}

/// The running captures, and the events of the batch under way. These wait
/// until the batch is done, so that a drop finds the frame it belongs to.
#[derive(Debug, Default)]
pub(super) struct Captures {
    watchers: Vec<(CaptureFilter, SyncSender<CaptureEvent>)>,
    events: Vec<CaptureEvent>,
    lost: u64,
}

impl Captures {
    pub(super) fn start(&mut self, filter: CaptureFilter, sender: SyncSender<CaptureEvent>) {
        self.watchers.push((filter, sender));
    }

    /// Events that a slow watcher did not take.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn received(&mut self, at: Instant, batch: &[Frame]) {
        for frame in batch {
            self.note(
                at,
                frame.port,
                Direction::Received,
                frame.offload,
                frame.bytes(),
            );
        }
    }

    pub(super) fn transmitted(&mut self, at: Instant, eni: EniId, frame: &Frame) {
        self.note(
            at,
            eni,
            Direction::Transmitted,
            frame.offload,
            frame.bytes(),
        );
    }

    /// Marks the frame as dropped. One that was changed since it came in is
    /// an event of its own.
    pub(super) fn dropped(&mut self, eni: EniId, reason: DropReason, bytes: &[u8]) {
        if !self.is_watched(eni) {
            return;
        }
        let same = self
            .events
            .iter_mut()
            .find(|event| event.eni == eni && event.dropped.is_none() && event.bytes == bytes);
        if let Some(event) = same {
            event.dropped = Some(reason);
            return;
        }
        let at = self.events.last().map_or(Instant::ZERO, |event| event.at);
        self.events.push(CaptureEvent {
            at,
            eni,
            direction: Direction::Received,
            dropped: Some(reason),
            offload: Offload::default(),
            bytes: bytes.to_vec(),
        });
    }

    /// Hands the batch's events out; forgets watchers that are gone.
    pub(super) fn flush(&mut self) {
        for event in self.events.drain(..) {
            let lost = &mut self.lost;
            self.watchers.retain(|(filter, sender)| {
                if !filter.covers(event.eni) {
                    return true;
                }
                match sender.try_send(event.clone()) {
                    Ok(()) => true,
                    Err(TrySendError::Full(_)) => {
                        *lost += 1;
                        true
                    }
                    Err(TrySendError::Disconnected(_)) => false,
                }
            });
        }
    }

    fn note(
        &mut self,
        at: Instant,
        eni: EniId,
        direction: Direction,
        offload: Offload,
        bytes: &[u8],
    ) {
        if self.is_watched(eni) {
            self.events.push(CaptureEvent {
                at,
                eni,
                direction,
                dropped: None,
                offload,
                bytes: bytes.to_vec(),
            });
        }
    }

    fn is_watched(&self, eni: EniId) -> bool {
        self.watchers.iter().any(|(filter, _)| filter.covers(eni))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_drop_marks_its_frame_and_a_slow_watcher_loses_counted() {
        let mut captures = Captures::default();
        let (sender, receiver) = sync_channel(2);
        captures.start(CaptureFilter::Enis(vec![EniId(1)]), sender);
        let batch = [
            Frame::from_bytes(EniId(1), b"one"),
            Frame::from_bytes(EniId(2), b"unwatched"),
            Frame::from_bytes(EniId(1), b"two"),
        ];
        captures.received(Instant::from_secs(1), &batch);
        captures.dropped(EniId(1), DropReason::NoRoute, b"two");
        captures.dropped(EniId(1), DropReason::Mtu, b"rewritten");
        captures.flush();
        let events: Vec<_> = receiver.try_iter().map(|e| (e.bytes, e.dropped)).collect();
        assert_eq!(
            events,
            [
                (b"one".to_vec(), None),
                (b"two".to_vec(), Some(DropReason::NoRoute))
            ]
        );
        assert_eq!(captures.lost(), 1, "the third did not fit");

        drop(receiver);
        captures.received(Instant::from_secs(2), &batch);
        captures.flush();
        assert!(captures.watchers.is_empty());
    }
}
