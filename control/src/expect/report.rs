//! What came of the expectations.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::trace::TraceReport;

/// The answer of `vpclab test`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectReport {
    /// Name of the lab.
    pub lab: String,
    /// The topology file.
    pub file: String,
    /// Expectations that hold.
    pub passed: usize,
    /// Expectations that do not.
    pub failed: usize,
    /// Each, in the order of the file.
    pub results: Vec<Outcome>,
}

/// What came of one expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Its name, or who talks to whom.
    pub name: String,
    /// `FILE:LINE`.
    pub place: String,
    /// Whether it holds, by trace and by packets.
    pub passed: bool,
    /// What does not hold; empty if it does.
    pub wrong: Vec<String>,
    /// Whether an answer to a real packet came back.
    pub answered: bool,
    /// Why packets were dropped meanwhile.
    pub dropped: Vec<String>,
    /// The way by trace.
    pub trace: TraceReport,
}

impl ExpectReport {
    pub(super) fn new(lab: &str, file: &str, results: Vec<Outcome>) -> Self {
        let passed = results.iter().filter(|outcome| outcome.passed).count();
        Self {
            lab: lab.to_owned(),
            file: file.to_owned(),
            passed,
            failed: results.len() - passed,
            results,
        }
    }
}

impl Outcome {
    /// What went wrong, with the way that the packet takes and what to change.
    pub fn explanation(&self) -> String {
        let mut text = self.wrong.join("\n");
        text.push('\n');
        text.push_str(&self.trace.to_string());
        text
    }
}

impl fmt::Display for ExpectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in &self.results {
            if outcome.passed {
                writeln!(f, "ok    {}", outcome.name)?;
                continue;
            }
            writeln!(f, "FAIL  {}  ({})", outcome.name, outcome.place)?;
            for line in outcome.explanation().lines() {
                writeln!(f, "      {line}")?;
            }
        }
        writeln!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}
