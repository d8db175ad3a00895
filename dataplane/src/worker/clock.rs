//! The one place of the data plane that reads a clock.

use crate::time::Instant;

/// Counts from the moment it was started. Copies share the origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock whose origin is now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the shell reads the clock so that nothing else has to"
    )]
    pub fn start() -> Self {
        Self {
            origin: std::time::Instant::now(),
        }
    }

    /// The moment it is.
    pub fn now(self) -> Instant {
        let elapsed = self.origin.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}
