//! Client tokens: the same request with the same token makes nothing twice
//! (E:Run_Instance_Idempotency).

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::form::Node;
use crate::api::{ApiError, Caller};

/// Tokens that are remembered; the oldest is forgotten first. AWS keeps them for
/// hours: nobody retries past thousands of other requests.
const TOKENS_MAX: usize = 4096;

type Key = (Caller, &'static str, String);

/// The answers of calls that had a token.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    answers: HashMap<Key, (u64, Value)>,
    order: VecDeque<Key>,
}

impl Tokens {
    /// The answer that a call with this token had before.
    ///
    /// # Errors
    /// `IdempotentParameterMismatch`: it had other parameters.
    pub(super) fn find(
        &self,
        caller: &Caller,
        action: &'static str,
        token: &str,
        request: &Node,
    ) -> Result<Option<&Value>, ApiError> {
        let Some((hash, answer)) = self
            .answers
            .get(&(caller.clone(), action, token.to_owned()))
        else {
            return Ok(None);
        };
        if *hash == hash_of(request) {
            return Ok(Some(answer));
        }
        Err(ApiError::new(
            "IdempotentParameterMismatch",
            format!("The client token '{token}' was used before with other parameters"),
        ))
    }

    /// Remembers an answer.
    pub(super) fn put(
        &mut self,
        caller: &Caller,
        action: &'static str,
        token: String,
        request: &Node,
        answer: Value,
    ) {
        let key = (caller.clone(), action, token);
        if self.order.len() >= TOKENS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.answers.insert(key, (hash_of(request), answer));
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn hash_of(request: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    request.hash(&mut hasher);
    hasher.finish()
}
