//! The one place of the data plane that reads a clock.

use crate::time::{Duration, Instant};

/// Counts from the moment it was started, perhaps faster than time passes, so
/// that long timeouts can be waited for. Copies share the origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
    scale: u32,
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
            scale: 1,
        }
    }

    /// The same origin; every second counts as `scale` of them. (0 counts as 1.)
    #[must_use]
    pub fn scaled(self, scale: u32) -> Self {
        Self {
            scale: scale.max(1),
            ..self
        }
    }

    /// How long a span of this clock takes, rounded up.
    pub fn real(self, span: Duration) -> Duration {
        match span {
            Duration::MAX => span,
            span => Duration::from_nanos(span.as_nanos().div_ceil(u64::from(self.scale))),
        }
    }

    /// The moment it is.
    pub fn now(self) -> Instant {
        let elapsed = self.origin.elapsed().as_nanos() * u128::from(self.scale);
        Instant::from_nanos(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_clock_runs_faster_and_its_spans_are_shorter() {
        let plain = Clock::start();
        let fast = plain.scaled(50);
        let (before, there, after) = (plain.now(), fast.now(), plain.now());
        assert!(there.as_nanos() >= before.as_nanos() * 50);
        assert!(there.as_nanos() <= after.as_nanos() * 50);
        assert_eq!(fast.real(Duration::from_secs(350)), Duration::from_secs(7));
        assert_eq!(fast.real(Duration::from_nanos(1)), Duration::from_nanos(1));
        assert_eq!(fast.real(Duration::MAX), Duration::MAX);
    }
}
