//! `vpclab logs`: what a host's commands have printed.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

/// What `vpclab logs --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LogsReport {
    /// The host's commands, in the order of the topology.
    pub commands: Vec<CommandLog>,
}

/// What one command has printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CommandLog {
    /// The command, as the topology has it.
    pub command: String,
    /// What it is called in the lab: host and number.
    pub key: String,
    /// The file to which it prints.
    pub log: PathBuf,
    /// Its lines, the oldest first; what is no UTF-8 is replaced.
    pub lines: Vec<String>,
}
