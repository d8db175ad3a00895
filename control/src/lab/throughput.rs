//! How fast the data plane forwards one established flow.

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::pipeline::Sink;

use super::harness::Lab;

/// What a throughput run saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Throughput {
    /// Packets sent into the data plane.
    pub offered: u64,
    /// Packets that came out of it.
    pub packets: u64,
    /// How long it took, by the caller's clock.
    pub elapsed: std::time::Duration,
}

impl Throughput {
    /// Millions of delivered packets per second.
    pub fn mpps(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 {
            self.packets as f64 / seconds / 1e6
        } else {
            0.0
        }
    }
}

/// Packets per batch: what an interface hands over at once.
const BATCH: usize = 64;
/// Batches between two looks at the clock.
const ROUNDS: usize = 64;

/// Keeps what leaves, for another round.
#[derive(Default)]
struct Collect {
    out: Vec<Frame>,
}

impl Sink for Collect {
    fn transmit(&mut self, _: EniId, frame: Frame) {
        self.out.push(frame);
    }

    fn local(&mut self, _: EniId, _: Frame) {}

    fn dropped(&mut self, _: EniId, _: DropReason, _: &[u8]) {}
}

impl Lab {
    /// Sends copies of `frame` from a host's interface through the data plane,
    /// one worker, for at least `span` by `clock`, which tells the time since
    /// any fixed moment. Frames neither cross links nor reach hosts.
    pub fn measure(
        &mut self,
        host: &str,
        frame: &[u8],
        span: std::time::Duration,
        mut clock: impl FnMut() -> std::time::Duration,
    ) -> Throughput {
        let port = self.eni(host);
        let now = self.now();
        let snapshot = self.snapshot();
        let pipeline = &mut self.plane.pipeline;
        let mut sink = Collect::default();
        let mut idle: Vec<Frame> = (0..BATCH)
            .map(|_| Frame::with_capacity(frame.len()))
            .collect();
        let mut batch = Vec::with_capacity(BATCH);
        let mut result = Throughput::default();
        let start = clock();
        while result.elapsed < span {
            for _ in 0..ROUNDS {
                idle.resize_with(BATCH, || Frame::with_capacity(frame.len()));
                for mut copy in idle.drain(..) {
                    copy.refill(port, frame);
                    batch.push(copy);
                }
                result.offered += batch.len() as u64;
                pipeline.process(now, &snapshot, &mut batch, &mut sink);
                result.packets += sink.out.len() as u64;
                idle.append(&mut sink.out);
            }
            result.elapsed = clock().saturating_sub(start);
        }
        result
    }
}
