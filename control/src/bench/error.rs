//! Why a benchmark has no result.

use crate::topology::TopologyError;

/// Why a benchmark has no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The benchmark's own topology was refused.
    #[error("the benchmark's topology was refused: {0}")]
    Topology(#[from] TopologyError),
    /// What came out is not what had to, so its speed means nothing.
    #[error("{0}")]
    Wrong(String),
    /// The machine lacks what the benchmark needs; the rest can go on.
    #[error("{0}")]
    NotHere(String),
    /// A case of this name failed.
    #[error("{case}: {error}")]
    Case {
        /// Suite and case.
        case: String,
        /// Why.
        error: Box<BenchError>,
    },
}

impl BenchError {
    /// What came out is not what had to.
    pub fn wrong(what: impl Into<String>) -> Self {
        Self::Wrong(what.into())
    }

    /// The error of a named case.
    #[must_use]
    pub fn of(self, case: &str) -> Self {
        Self::Case {
            case: case.to_owned(),
            error: Box::new(self),
        }
    }
}

impl From<std::io::Error> for BenchError {
    fn from(error: std::io::Error) -> Self {
        Self::NotHere(error.to_string())
    }
}
