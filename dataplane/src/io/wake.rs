//! Wakes a thread that waits in [`super::Poller`].

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sync::Dozing;

/// The side that wakes.
#[derive(Clone, Debug)]
pub struct WakeSender {
    pending: Arc<AtomicBool>,
    dozing: Arc<Dozing>,
    pipe: Arc<PipeWriter>,
}

/// The side that waits.
#[derive(Debug)]
pub struct WakeReceiver {
    pending: Arc<AtomicBool>,
    dozing: Arc<Dozing>,
    pipe: PipeReader,
}

/// A pair of the two.
pub fn wake_pair() -> io::Result<(WakeSender, WakeReceiver)> {
    let (reader, writer) = io::pipe()?;
    let pending = Arc::new(AtomicBool::new(false));
    let dozing = Arc::new(Dozing::default());
    let sender = WakeSender {
        pending: Arc::clone(&pending),
        dozing: Arc::clone(&dozing),
        pipe: Arc::new(writer),
    };
    let receiver = WakeReceiver {
        pending,
        dozing,
        pipe: reader,
    };
    Ok((sender, receiver))
}

impl WakeSender {
    /// Ends the other side's wait, if it waits or is about to: whoever does
    /// not will see for itself what was left for it before this call.
    pub fn wake_dozing(&self) {
        if self.dozing.is_dozing() {
            self.wake();
        }
    }

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
    /// Says that the thread is about to wait; it looks once more for work
    /// after this, and only then waits.
    pub fn doze(&self) {
        self.dozing.doze();
    }

    /// Says that it does not, or no more.
    pub fn rise(&self) {
        self.dozing.rise();
    }

    /// Takes the wake-up, once the descriptor is readable. What was sent
    /// before a wake-up is visible after this call. Fails when no sender is left.
    pub fn take(&mut self) -> io::Result<()> {
        self.pipe.read_exact(&mut [0])?;
        self.pending.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Whether a wake-up was sent and not taken.
    pub fn is_pending(&self) -> bool {
        self.pending.load(Ordering::SeqCst)
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
