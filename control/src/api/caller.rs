//! On whose behalf, and where, an action runs.

use std::sync::Arc;

/// The account of callers that name none.
pub const DEFAULT_ACCOUNT: &str = "123456789012";
/// The region of callers that name none.
pub const DEFAULT_REGION: &str = "us-east-1";

/// An account in a region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Twelve digits.
    pub account: Arc<str>,
    /// `us-east-1`
    pub region: Arc<str>,
}

impl Caller {
    /// An account in a region.
    pub fn new(account: &str, region: &str) -> Self {
        Self {
            account: Arc::from(account),
            region: Arc::from(region),
        }
    }
}

impl Default for Caller {
    fn default() -> Self {
        Self::new(DEFAULT_ACCOUNT, DEFAULT_REGION)
    }
}
