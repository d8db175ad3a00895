//! How a command ends: the exit codes that scripts rely on, and errors that
//! say what to do next.

use std::fmt;

/// The exit codes of every `vpclab` command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or the answer is yes.
    Ok,
    /// 1: the answer is no (unreachable, unhealthy, refused, test failed).
    No,
    /// 2: bad usage or input; nothing was changed.
    Usage,
    /// 3: a fault of vpclab's own, or of the machine under it.
    Fault,
    /// The exit code of a program that vpclab ran (`vpclab exec`).
    Program(u8),
}

impl Exit {
    /// The number handed to the operating system.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Fault => 3,
            Self::Program(code) => code,
        }
    }
}

/// An error as a user reads it: what is wrong and, where known, how to fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError {
    /// Exit code of the process.
    pub exit: Exit,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl CliError {
    /// The user asked for something that does not exist or make sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
            fix: None,
        }
    }

    /// Something failed that the user could not have avoided.
    pub fn fault(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Fault,
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
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        match &self.fix {
            Some(fix) => write!(f, "\n  fix: {fix}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CliError {}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::fault(error.to_string())
    }
}

impl From<crate::topology::TopologyError> for CliError {
    fn from(error: crate::topology::TopologyError) -> Self {
        Self::usage(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let codes = [
            Exit::Ok,
            Exit::No,
            Exit::Usage,
            Exit::Fault,
            Exit::Program(42),
        ];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 42]);
    }

    #[test]
    fn an_error_shows_its_fix_on_a_second_line() {
        let error = CliError::usage("no lab is running").fix("start one: vpclab up FILE");
        assert_eq!(
            error.to_string(),
            "no lab is running\n  fix: start one: vpclab up FILE"
        );
    }
}
