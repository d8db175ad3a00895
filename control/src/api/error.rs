//! What a refused action answers.

use std::borrow::Cow;

/// A refusal: AWS's code, and a message that names the offending value and what
/// would be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// AWS's error code (`InvalidSubnet.Range`).
    pub code: Cow<'static, str>,
    /// For people.
    pub message: String,
}

/// An item of a bulk request that was refused while others went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsuccessful {
    /// The item.
    pub resource_id: String,
    /// Why.
    pub error: ApiError,
}

impl Unsuccessful {
    /// A refused item.
    pub fn new(id: impl std::fmt::Display, error: ApiError) -> Self {
        Self {
            resource_id: id.to_string(),
            error,
        }
    }
}

impl ApiError {
    /// A refusal.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }

    /// `InvalidParameterValue`
    pub fn invalid_value(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", message)
    }

    /// `InvalidParameterCombination`
    pub fn invalid_combination(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterCombination", message)
    }

    /// `MissingParameter`
    pub fn missing(parameter: &str) -> Self {
        Self::new(
            "MissingParameter",
            format!("The request must contain the parameter {parameter}"),
        )
    }

    /// `DependencyViolation`: `what` is still used by `user`.
    pub fn dependency(what: impl std::fmt::Display, user: impl std::fmt::Display) -> Self {
        Self::new(
            "DependencyViolation",
            format!("'{what}' has dependencies and cannot be deleted: {user} uses it"),
        )
    }
}
