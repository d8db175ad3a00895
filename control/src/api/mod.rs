//! The one way in: every change is an action, executed in a transaction.
//!
//! clone the model → validate and apply → compile what was touched onto the last
//! snapshot → commit → publish → answer. A failure at any step leaves everything
//! as it was.

mod caller;
mod control;
mod error;
mod transaction;

pub mod interface;
pub mod internet_host;
pub mod subnet;
pub mod vpc;

pub use caller::{Caller, DEFAULT_ACCOUNT, DEFAULT_REGION};
pub use control::{ControlPlane, ControlPlaneOptions};
pub use error::ApiError;
pub use internet_host::*;
pub use subnet::*;
pub use transaction::Transaction;
pub use vpc::*;

/// A change to the model, as a typed request.
pub trait Action {
    /// What the caller learns.
    type Output;

    /// Validates the request and changes the model. An error drops the
    /// transaction, so nothing needs to be undone.
    ///
    /// # Errors
    /// With AWS's code and a message that names the offending value.
    fn apply(self, tx: &mut Transaction<'_>) -> Result<Self::Output, ApiError>;
}

#[cfg(test)]
pub(crate) mod testing;
