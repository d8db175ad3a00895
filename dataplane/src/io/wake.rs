//! Wakes a thread that waits in [`super::Poller`].

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The side that wakes.
#[derive(Clone, Debug)]
pub struct WakeSender {
    pending: Arc<AtomicBool>,
    pipe: Arc<PipeWriter>,
}

/// The side that waits.
#[derive(Debug)]
pub struct WakeReceiver {
    pending: Arc<AtomicBool>,
    pipe: PipeReader,
}

/// A pair of the two.
pub fn wake_pair() -> io::Result<(WakeSender, WakeReceiver)> {
    let (reader, writer) = io::pipe()?;
    let pending = Arc::new(AtomicBool::new(false));
    let sender = WakeSender {
        pending: Arc::clone(&pending),
        pipe: Arc::new(writer),
    };
    let receiver = WakeReceiver {
        pending,
        pipe: reader,
    };
    Ok((sender, receiver))
}

impl WakeSender {
    /// Ends the other side's wait, or its next one. Never blocks: at most one
    /// byte is in the pipe.
    pub fn wake(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            // A write fails only when the reader is gone: then nobody waits.
            let _ = (&*self.pipe).write(&[1]);
        }
    }
}

impl WakeReceiver {
    /// Takes the wake-up, once the descriptor is readable. What was sent
    /// before a wake-up is visible after this call. Fails when no sender is left.
    pub fn take(&mut self) -> io::Result<()> {
        self.pipe.read_exact(&mut [0])?;
        self.pending.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// What becomes readable.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Poller;
    use crate::time::Duration;

    #[test]
    fn many_wakes_are_one_and_the_next_is_not_lost() {
        let (sender, mut receiver) = wake_pair().unwrap();
        let mut poller = Poller::default();
        let place = poller.add(receiver.descriptor());
        let is_ready = |poller: &mut Poller| {
            poller.wait(Some(Duration::ZERO)).unwrap();
            poller.is_ready(place)
        };
        assert!(!is_ready(&mut poller));
        for _ in 0..100_000 {
            sender.wake();
        }
        assert!(is_ready(&mut poller));
        receiver.take().unwrap();
        assert!(!is_ready(&mut poller));
        sender.wake();
        assert!(is_ready(&mut poller));
    }
}
