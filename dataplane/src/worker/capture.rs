//! Copies of frames for whoever watches a port.

use std::fmt;
use std::ops::Deref;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};

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

/// Judges an event before it is handed out.
type Accept = Arc<dyn Fn(&CaptureEvent) -> bool + Send + Sync>;

/// Which frames to watch.
#[derive(Clone, Default)]
pub struct CaptureFilter {
    /// At these interfaces; `None` is all.
    pub enis: Option<Vec<EniId>>,
    /// That this lets through; `None` is all. It runs on the workers' threads, on
    /// copies: what it refuses takes no place in the queue.
    pub accept: Option<Accept>,
}

impl CaptureFilter {
    /// Everything at these interfaces.
    pub fn at(enis: Vec<EniId>) -> Self {
        Self {
            enis: Some(enis),
            accept: None,
        }
    }

    fn covers(&self, eni: EniId) -> bool {
        self.enis.as_ref().is_none_or(|enis| enis.contains(&eni))
    }

    fn wants(&self, event: &CaptureEvent) -> bool {
        self.covers(event.eni) && self.accept.as_ref().is_none_or(|accept| accept(event))
    }
}

impl fmt::Debug for CaptureFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureFilter")
            .field("enis", &self.enis)
            .field("accept", &self.accept.is_some())
            .finish()
    }
}

/// A capture's events; it ends when this is dropped.
#[derive(Debug)]
pub struct Capture {
    events: Receiver<CaptureEvent>,
    _watching: Arc<()>,
}

impl Capture {
    /// A capture, and the place where the worker puts its events: at most
    /// `capacity` wait.
    pub(super) fn new(filter: CaptureFilter, capacity: usize) -> (Self, Watcher) {
        let (sender, events) = sync_channel(capacity);
        let watching = Arc::new(());
        let watcher = Watcher {
            filter,
            sender,
            reader: Arc::downgrade(&watching),
        };
        let capture = Self {
            events,
            _watching: watching,
        };
        (capture, watcher)
    }
}

impl Deref for Capture {
    type Target = Receiver<CaptureEvent>;

    fn deref(&self) -> &Self::Target {
        &self.events
    }
}

/// A worker's end of a capture.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    filter: CaptureFilter,
    sender: SyncSender<CaptureEvent>,
    /// Gone with the reader. The channel would tell only when something is sent,
    /// and a filter may want nothing for hours while all is copied for it.
    reader: Weak<()>,
}

/// The running captures, and the events of the batch under way. These wait
/// until the batch is done, so that a drop finds the frame it belongs to.
#[derive(Debug, Default)]
pub(super) struct Captures {
    watchers: Vec<Watcher>,
    events: Vec<CaptureEvent>,
    lost: u64,
}

impl Captures {
    pub(super) fn start(&mut self, watcher: Watcher) {
        self.watchers.push(watcher);
    }

    /// Whether nobody watches.
    pub(super) const fn is_idle(&self) -> bool {
        self.watchers.is_empty()
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
        self.watchers
            .retain(|watcher| watcher.reader.strong_count() > 0);
        for event in self.events.drain(..) {
            for watcher in &self.watchers {
                if watcher.filter.wants(&event)
                    && let Err(TrySendError::Full(_)) = watcher.sender.try_send(event.clone())
                {
                    self.lost += 1;
                }
            }
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
        self.watchers
            .iter()
            .any(|watcher| watcher.filter.covers(eni))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_marks_its_frame_and_a_slow_watcher_loses_counted() {
        let mut captures = Captures::default();
        let (receiver, watcher) = Capture::new(CaptureFilter::at(vec![EniId(1)]), 2);
        captures.start(watcher);
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

        let accept = |event: &CaptureEvent| event.dropped.is_some();
        let filter = CaptureFilter {
            enis: None,
            accept: Some(Arc::new(accept)),
        };
        let (chosen, watcher) = Capture::new(filter, 2);
        captures.start(watcher);
        captures.received(Instant::from_secs(1), &batch);
        captures.dropped(EniId(2), DropReason::NoRoute, b"unwatched");
        captures.flush();
        let events: Vec<_> = chosen.try_iter().map(|e| e.bytes).collect();
        assert_eq!(events, [b"unwatched".to_vec()], "only what is accepted");
        drop(chosen);

        drop(receiver);
        captures.received(Instant::from_secs(2), &batch);
        captures.flush();
        assert!(captures.watchers.is_empty(), "also one that wanted nothing");
    }
}
