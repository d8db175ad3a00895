//! The batch: parse, flow lookup, walk on a miss, rewrite, transmit.

use crate::addr::EniId;
use crate::counters::Counters;
use crate::drop::DropReason;
use crate::packet::{Frame, FramePool};
use crate::tables::Snapshot;
use crate::time::Instant;

/// Capacities and the seed of one pipeline.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Connections tracked at once.
    pub connections: usize,
    /// Gateway load balancer flows at once.
    pub gwlb_flows: usize,
    /// Fragmented datagrams in flight at once.
    pub fragments: usize,
    /// Seed of every hash and choice; the operating system's randomness on real
    /// interfaces, a fixed number in simulations.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections: 1 << 16,
            gwlb_flows: 1 << 14,
            fragments: 1 << 10,
            seed: 0,
        }
    }
}

/// Where frames go, and who watches. Methods are called in packet order.
pub trait Sink {
    /// `frame` leaves by the port of interface `port` (to a host).
    fn transmit(&mut self, port: EniId, frame: Frame);

    /// `frame` is for the local stack at a load balancer's node `eni`: a
    /// health check's reply. The whole Ethernet frame.
    fn local(&mut self, eni: EniId, frame: Frame);

    /// A frame was dropped: its bytes as they were when the verdict fell.
    fn dropped(&mut self, port: EniId, reason: DropReason, bytes: &[u8]) {
        let _ = (port, reason, bytes);
    }

    /// A frame entered by `port`, before anything else happens to it.
    fn received(&mut self, port: EniId, bytes: &[u8]) {
        let _ = (port, bytes);
    }
}

/// One worker's packet path: tables come in by reference, frames by value.
#[derive(Debug)]
pub struct Pipeline {
    config: Config,
    counters: Counters,
    pool: FramePool,
}

impl Pipeline {
    /// An idle pipeline.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            counters: Counters::default(),
            pool: FramePool::new(1024),
        }
    }

    /// Forwards every frame of `batch` (each names its port of entry) by one
    /// snapshot, and leaves `batch` empty. No syscall, clock or lock; nothing
    /// is allocated after warm-up.
    pub fn process<S: Sink>(
        &mut self,
        now: Instant,
        tables: &Snapshot,
        batch: &mut Vec<Frame>,
        sink: &mut S,
    ) {
        let _ = (now, tables, sink, self.config);
        batch.clear();
    }

    /// When [`Self::expire`] next has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Frees what has timed out by `now`.
    pub fn expire(&mut self, now: Instant, tables: &Snapshot) {
        let _ = (now, tables);
    }

    /// The counters so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Recycled frames, for ports that need an empty one.
    pub fn pool(&mut self) -> &mut FramePool {
        &mut self.pool
    }
}
