//! `vpclab up`: what it found and did.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use crate::topology::difference::Change;

/// What `vpclab up --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UpReport {
    /// Name of the lab.
    pub lab: String,
    /// What became of it.
    pub result: UpResult,
    /// What changed, or would, of a lab that ran already; what goes first.
    pub changes: Vec<Change>,
    /// Hosts that stayed as they were, programs included; `null` unless the lab
    /// changed, or would.
    pub untouched: Option<usize>,
    /// The file from which it ran, if that was another.
    pub was: Option<PathBuf>,
    /// Where it serves metrics and health; `null` if nowhere.
    pub http: Option<String>,
}

/// What `up` made of a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpResult {
    /// It did not run, and does now.
    Started,
    /// Its daemon had ended and runs again: hosts and programs are as they were.
    Adopted,
    /// It runs as the file says already.
    AlreadyRunning,
    /// It ran from another file, and is what this one says now.
    Changed,
    /// `--dry-run`: it does not run.
    WouldStart,
    /// `--dry-run`: it runs; `changes` says what would change.
    WouldChange,
}
