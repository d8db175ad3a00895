//! Failures of the machine under the lab.

use std::fmt;

use crate::cli::CliError;

/// What failed, and what the operating system said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    message: String,
    fix: Option<String>,
}

impl HostError {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            fix: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Says where it happened; unlike [`Context`], keeps what to do about it.
    #[must_use]
    pub fn within(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HostError {}

impl From<HostError> for CliError {
    fn from(error: HostError) -> Self {
        let fault = Self::fault(error.message);
        match error.fix {
            Some(fix) => fault.fix(fix),
            None => fault,
        }
    }
}

/// Says what was being done when something failed.
pub trait Context<T> {
    /// Prefixes the error with `what`.
    fn context(self, what: impl fmt::Display) -> Result<T, HostError>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T, HostError> {
        self.map_err(|error| HostError::new(format!("{what}: {error}")))
    }
}

impl From<HostError> for super::protocol::Failure {
    fn from(error: HostError) -> Self {
        CliError::from(error).into()
    }
}
