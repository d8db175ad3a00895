//! Frames into a pipeline and out of it, in memory: the harness around what is
//! measured, and its own cost.

use std::hint::black_box;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::pipeline::{Pipeline, Sink};
use vpclab_dataplane::tables::{Snapshot, Tables};
use vpclab_dataplane::time::{Duration, Instant};

use super::frames::FrameStore;

/// Packets handed to the pipeline at once, unless told otherwise.
pub const BATCH: usize = 64;

/// Virtual time that a packet takes: expiry runs as often as it would at ten
/// million packets a second.
const PACKET_TIME_NS: u64 = 100;

/// Takes what leaves and keeps its memory for the next batch.
#[derive(Debug, Default)]
pub struct Recycle {
    frames: Vec<Frame>,
    /// Frames that left by a port.
    pub sent: u64,
}

impl Sink for Recycle {
    #[inline]
    fn transmit(&mut self, _port: EniId, frame: Frame) {
        self.sent += 1;
        self.frames.push(frame);
    }

    fn local(&mut self, _eni: EniId, frame: Frame) {
        self.frames.push(frame);
    }
}

/// Shows what leaves, then keeps its memory, too.
struct Inspect<J> {
    judge: J,
    recycle: Recycle,
}

impl<J: FnMut(EniId, &Frame)> Sink for Inspect<J> {
    fn transmit(&mut self, port: EniId, frame: Frame) {
        (self.judge)(port, &frame);
        self.recycle.transmit(port, frame);
    }

    fn local(&mut self, eni: EniId, frame: Frame) {
        self.recycle.local(eni, frame);
    }
}

/// Sends the frames of a store, over and over, in their order.
#[derive(Debug)]
pub struct Feed {
    store: FrameStore,
    next: usize,
    batch: Vec<Frame>,
    batch_len: usize,
    /// Where frames go.
    pub sink: Recycle,
    /// Virtual time.
    pub now: Instant,
}

impl Feed {
    /// Sends `store` in batches of `batch_len`, from `now` on.
    pub fn new(store: FrameStore, batch_len: usize, now: Instant) -> Self {
        Self {
            store,
            next: 0,
            batch: Vec::with_capacity(batch_len),
            batch_len: batch_len.max(1),
            sink: Recycle::default(),
            now,
        }
    }

    /// Frames of the store.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// The number of packets of a round of at least `operations`: whole passes
    /// over the store, so that every frame counts the same.
    pub fn round_len(&self, operations: u64) -> u64 {
        let len = self.store.len() as u64;
        operations.div_ceil(len.max(1)).max(1) * len
    }

    /// Starts again with the first frame.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// Sends the next `packets` frames through the pipeline.
    pub fn drive(&mut self, pipeline: &mut Pipeline, tables: &Snapshot, packets: u64) {
        let mut left = packets;
        while left > 0 {
            left -= self.gather(left);
            self.now += Duration::from_nanos(self.batch.len() as u64 * PACKET_TIME_NS);
            pipeline.process(self.now, tables, &mut self.batch, &mut self.sink);
        }
    }

    /// The same by the tables that are published when each batch begins.
    pub fn drive_published(&mut self, pipeline: &mut Pipeline, tables: &Tables, packets: u64) {
        let mut left = packets;
        while left > 0 {
            left -= self.gather(left);
            self.now += Duration::from_nanos(self.batch.len() as u64 * PACKET_TIME_NS);
            pipeline.process(self.now, &tables.load(), &mut self.batch, &mut self.sink);
        }
    }

    /// The same without a pipeline: frames are made and taken back.
    pub fn idle(&mut self, packets: u64) {
        let mut left = packets;
        while left > 0 {
            left -= self.gather(left);
            for frame in black_box(&mut self.batch).drain(..) {
                self.sink.transmit(frame.port, frame);
            }
        }
    }

    /// Makes the next `packets` frames, shows each batch of them to `look`, and takes
    /// them back.
    pub fn show(&mut self, packets: u64, mut look: impl FnMut(&[Frame])) {
        let mut left = packets;
        while left > 0 {
            left -= self.gather(left);
            look(&self.batch);
            for frame in black_box(&mut self.batch).drain(..) {
                self.sink.transmit(frame.port, frame);
            }
        }
    }

    /// Sends the next `packets` frames, and shows `judge` what comes out.
    pub fn inspect(
        &mut self,
        pipeline: &mut Pipeline,
        tables: &Snapshot,
        packets: u64,
        judge: impl FnMut(EniId, &Frame),
    ) {
        let mut left = packets;
        let mut sink = Inspect {
            judge,
            recycle: Recycle::default(),
        };
        while left > 0 {
            left -= self.gather(left);
            pipeline.process(self.now, tables, &mut self.batch, &mut sink);
            self.sink.frames.append(&mut sink.recycle.frames);
        }
    }

    /// Fills a batch of up to `most` frames; returns how many it has.
    #[inline]
    fn gather(&mut self, most: u64) -> u64 {
        let count = most.min(self.batch_len as u64);
        for _ in 0..count {
            let mut frame = self
                .sink
                .frames
                .pop()
                .unwrap_or_else(|| Frame::with_capacity(2048));
            self.store.fill(self.next, &mut frame);
            self.next += 1;
            if self.next == self.store.len() {
                self.next = 0;
            }
            self.batch.push(frame);
        }
        count
    }
}
