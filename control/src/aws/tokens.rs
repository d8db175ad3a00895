//! Client tokens: the same request with the same token makes nothing twice
//! (E:Run_Instance_Idempotency). They are part of the change that the call makes, so
//! they are on disk when it is, and gone when it is undone.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::form::Node;
use crate::api::{ApiError, Caller, Transaction};
use crate::model::{ClientToken, ClientTokenId, Id};

/// Tokens that are remembered; the oldest is forgotten first. AWS keeps them for
/// hours: nobody retries past thousands of other requests.
const TOKENS_MAX: usize = 4096;

/// A call with a token.
pub(super) struct Tokened {
    id: ClientTokenId,
    token: String,
    request: u64,
}

impl Tokened {
    pub(super) fn new(caller: &Caller, action: &str, token: String, request: &Node) -> Self {
        let mut hasher = Stable::default();
        (&*caller.account, &*caller.region, action, &*token).hash(&mut hasher);
        let digest = hasher.0.finalize();
        let number = digest
            .iter()
            .take(8)
            .fold(0, |n, byte| n << 8 | u64::from(*byte));
        let mut hasher = Stable::default();
        request.hash(&mut hasher);
        Self {
            id: ClientTokenId::from_text(Arc::from(format!(
                "{}0{number:016x}",
                ClientTokenId::PREFIX
            ))),
            token,
            request: hasher.finish(),
        }
    }

    /// The answer that a call with this token had before.
    ///
    /// # Errors
    /// `IdempotentParameterMismatch`: it had other parameters.
    pub(super) fn answer_before(&self, tx: &Transaction<'_>) -> Result<Option<Value>, ApiError> {
        let Some(before) = tx.model().get(&self.id) else {
            return Ok(None);
        };
        if before.request != self.request {
            return Err(ApiError::new(
                "IdempotentParameterMismatch",
                format!(
                    "The client token '{}' was used before with other parameters",
                    self.token
                ),
            ));
        }
        // What was written as JSON can be read.
        Ok(serde_json::from_str(&before.answer).ok())
    }

    /// Remembers an answer.
    pub(super) fn remember(self, tx: &mut Transaction<'_>, answer: &Value) {
        if tx.model().client_tokens().len() >= TOKENS_MAX {
            let all = tx.model().client_tokens().iter();
            let oldest = all.min_by_key(|token| (token.meta.created_s, token.id.clone()));
            if let Some(id) = oldest.map(|token| token.id.clone()) {
                tx.remove(&id);
            }
        }
        let meta = tx.meta(None);
        tx.put(ClientToken {
            id: self.id,
            meta,
            request: self.request,
            answer: Arc::from(answer.to_string()),
        });
    }
}

/// A hash that is the same after a restart, whatever built the program.
#[derive(Default)]
struct Stable(Sha256);

impl Hasher for Stable {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |n, byte| n << 8 | u64::from(*byte))
    }
}
