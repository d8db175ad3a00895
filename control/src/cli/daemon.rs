//! `vpclab daemon`: the background process of one lab.

use std::path::PathBuf;

use super::{CliError, Exit, Globals};

/// Arguments of `vpclab daemon`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Topology file, already checked by `up`.
    pub file: PathBuf,
}

/// Runs the lab until it is told to stop.
pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    Err(CliError::not_wired("daemon"))
}
