//! What the machine gives two threads beside one: a loop on registers alone.
//!
//! Nothing is shared and no memory is touched, so what two of them lack of twice
//! one is the machine's: a clock that falls when both cores work, a core that is
//! half of another, or a hypervisor that lends it elsewhere. Workers can do no
//! better in the same round.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use vpclab_dataplane::io::pin_thread;
use vpclab_dataplane::worker::Clock;

use super::Span;
use super::contest::{Measured, Way};
use crate::bench::{BenchError, Done};

/// Steps between two looks whether it is over.
const STEPS: u64 = 4_096;

/// So many threads, each on a core of its own.
pub(super) struct Floor {
    pub(super) threads: usize,
    pub(super) span: Span,
    pub(super) clock: Clock,
}

impl Way for Floor {
    fn measure(&mut self) -> Result<Measured, BenchError> {
        let (start, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        let (steps, elapsed) = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|core| {
                    scope.spawn({
                        let (start, stop) = (&start, &stop);
                        move || count(core, start, stop)
                    })
                })
                .collect();
            let from = self.clock.now();
            start.store(true, Ordering::Relaxed);
            thread::sleep(self.span.counted);
            stop.store(true, Ordering::Relaxed);
            let to = self.clock.now();
            let mut steps = 0;
            for thread in threads {
                let counted = thread.join();
                steps += counted
                    .map_err(|_| BenchError::wrong("a thread that counts panicked".to_owned()))??;
            }
            Ok::<_, BenchError>((steps, to.since(from).as_nanos()))
        })?;
        let done = Done {
            operations: steps,
            elapsed: Some(Duration::from_nanos(elapsed)),
            ..Done::default()
        };
        let figure = steps as f64 / elapsed as f64;
        Ok(Measured { done, figure })
    }
}

/// Steps done on `core` from `start` to `stop`.
fn count(core: usize, start: &AtomicBool, stop: &AtomicBool) -> std::io::Result<u64> {
    pin_thread(core)?;
    while !start.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
    let (mut done, mut state) = (0, [1_u64, 2, 3, 4]);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..STEPS {
            for lane in &mut state {
                *lane = lane.wrapping_add(*lane << 3) ^ (*lane >> 5);
            }
        }
        state = black_box(state);
        done += STEPS;
    }
    Ok(done)
}
