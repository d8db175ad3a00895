//! What can go wrong in a lab, as tests and the demo see it.

use crate::topology::TopologyError;
use std::fmt;

use vpclab_dataplane::time::{Duration, Instant};

/// A condition did not come true in time. Its text says what was under way, and
/// the seed that repeats the run.
#[derive(Clone, PartialEq, Eq)]
pub struct Timeout {
    /// How long was waited, in virtual time.
    pub waited: Duration,
    /// When waiting ended.
    pub at: Instant,
    /// The lab's seed.
    pub seed: u64,
    /// What hosts were waiting for.
    pub pending: Vec<String>,
    /// Frames on links.
    pub in_flight: usize,
    /// Counters that are not zero.
    pub counters: String,
    /// The last drops.
    pub drops: Vec<String>,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "not true after {} ms of virtual time (now {:?}, {} frames on links); repeat with seed {}",
            self.waited.as_millis(),
            self.at,
            self.in_flight,
            self.seed
        )?;
        for line in &self.pending {
            writeln!(f, "  waiting: {line}")?;
        }
        for line in &self.drops {
            writeln!(f, "  dropped: {line}")?;
        }
        write!(f, "  counters: {}", self.counters)
    }
}

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Timeout {}

/// Why a lab could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// Nothing has this name.
    #[error("no {kind} is named '{name}'; there are: {known}")]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// The name.
        name: String,
        /// Names that exist.
        known: String,
    },
    /// The topology is wrong, or the API refused something of it.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A condition did not come true in time.
    #[error(transparent)]
    Timeout(#[from] Timeout),
    /// A capture could not be read or written.
    #[error("capture: {0}")]
    Capture(#[from] std::io::Error),
}
