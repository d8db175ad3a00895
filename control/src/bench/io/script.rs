//! A port that gives frames from a list as fast as they are taken, and counts
//! what is sent by it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vpclab_dataplane::io::{Port, PortError};
use vpclab_dataplane::packet::{Frame, FramePool};

use crate::bench::FrameStore;

/// Frames that may be on their way: few enough that no ring between workers is
/// ever full, whoever waits for its core.
pub(super) const WINDOW: u64 = 512;

/// What a port has sent: one thread counts, others look. Two lines for itself,
/// since processors fetch them in pairs: the counts of two workers side by side
/// would cost both.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Frames in, a count out. Two ports are two workers', as above.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct ScriptPort {
    store: Arc<FrameStore>,
    given: u64,
    next: usize,
    open: Arc<AtomicBool>,
    /// How many of those that it gave have been sent, and what that was when it was
    /// last looked at: another worker's line is looked at when it has to be.
    arrived: Arc<Count>,
    known: u64,
    sent: u64,
    counted: Arc<Count>,
}

impl ScriptPort {
    /// Gives the frames of `store` in turn while `open`; `arrived` is counted by
    /// the port that sends them.
    pub(super) fn source(
        store: Arc<FrameStore>,
        open: Arc<AtomicBool>,
        arrived: Arc<Count>,
    ) -> Self {
        Self {
            store,
            given: 0,
            next: 0,
            open,
            arrived,
            known: 0,
            sent: 0,
            counted: Arc::default(),
        }
    }

    /// Gives nothing; what it sends is counted in `counted`, which no other port
    /// counts in.
    pub(super) fn sink(counted: Arc<Count>) -> Self {
        Self {
            counted,
            ..Self::source(Arc::default(), Arc::default(), Arc::default())
        }
    }
}

impl Port for ScriptPort {
    fn receive(
        &mut self,
        limit: usize,
        out: &mut Vec<Frame>,
        pool: &mut FramePool,
    ) -> io::Result<usize> {
        if self.store.is_empty() {
            // Told once a turn, not with every frame: another worker that waits for
            // it takes the line away each time it looks.
            if self.counted.get() != self.sent {
                self.counted.0.store(self.sent, Ordering::Relaxed);
            }
            return Ok(0);
        }
        let given = self.given + limit as u64;
        if given - self.known > WINDOW {
            self.known = self.arrived.get();
        }
        if !self.open.load(Ordering::Relaxed) || given - self.known > WINDOW {
            return Ok(0);
        }
        for _ in 0..limit {
            let mut frame = pool.take();
            self.store.fill(self.next, &mut frame);
            self.next = (self.next + 1) % self.store.len().max(1);
            out.push(frame);
        }
        self.given = given;
        Ok(limit)
    }

    fn transmit(&mut self, frame: Frame, pool: &mut FramePool) -> Result<(), PortError> {
        self.sent += 1;
        pool.put(frame);
        Ok(())
    }
}
