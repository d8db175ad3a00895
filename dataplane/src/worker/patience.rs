//! How long [`Waiting::Adaptive`](super::Waiting) looks for more before it sleeps: by what
//! the last pauses were like, as hypervisors do when a guest halts (Linux's haltpoll). Where
//! frames come sooner than one can sleep and be woken, it looks on. Once that was for nothing
//! it sleeps at once, until pauses are that short again: the programs that are to send may
//! need this very processor.

use crate::time::Duration;

/// How long it looks on, where it does: a few times what it takes to sleep and to be woken.
const LOOK: Duration = Duration::from_micros(50);
/// Who sleeps at once and is woken so soon would not have needed to.
const SHORT: Duration = Duration::from_micros(10);

/// Whether to look on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    looks: bool,
}

impl Patience {
    pub(super) const NEW: Self = Self { looks: true };

    /// Whether to look on, so long after the last frame.
    pub(super) fn looks_on(self, quiet: Duration) -> bool {
        self.looks && quiet < LOOK
    }

    /// A frame came after a pause.
    pub(super) fn came_after(&mut self, pause: Duration) {
        self.looks = pause < if self.looks { LOOK } else { SHORT };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it looks on after pauses of so many microseconds.
    fn looks_after(pauses: &[u64]) -> bool {
        let mut patience = Patience::NEW;
        for &pause in pauses {
            patience.came_after(Duration::from_micros(pause));
        }
        assert!(!patience.looks_on(LOOK), "not without end");
        patience.looks_on(Duration::ZERO)
    }

    #[test]
    fn it_looks_on_as_long_as_that_finds_something() {
        assert!(looks_after(&[]));
        assert!(looks_after(&[49, 3, 49]));
        assert!(!looks_after(&[50]));
        // Longer than it takes to be woken: it is right to sleep.
        assert!(!looks_after(&[3_000, 20, 49, 10]));
        assert!(looks_after(&[3_000, 20, 9]));
        assert!(looks_after(&[3_000, 20, 9, 49]));
    }
}
