//! Client tokens: what calls that had one were answered.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ClientTokenId, Meta, References, Resource, resource_fields};

/// A call that was made with a client token. It is kept with what the call made,
/// so that one repeated after a restart makes nothing twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientToken {
    /// Of the account, the region, the action and the token.
    pub id: ClientTokenId,
    /// Whose call, and when.
    pub meta: Meta,
    /// Hash of its parameters.
    pub request: u64,
    /// What it was answered, in JSON.
    pub answer: Arc<str>,
}

impl Resource for ClientToken {
    resource_fields!(ClientTokenId);

    fn references(&self, _to: &mut References) {}

    fn is_hidden(&self) -> bool {
        true
    }
}
