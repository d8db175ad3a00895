//! `vpclab up`: starts a lab from a topology file.

use std::path::PathBuf;

use super::{CliError, Exit, Globals};

/// Arguments of `vpclab up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Topology file (YAML); `-` reads standard input.
    pub file: PathBuf,
    /// Only check the file: say what is wrong with it, change nothing.
    #[arg(long)]
    pub check: bool,
    /// Stay in the foreground instead of starting a daemon.
    #[arg(long)]
    pub foreground: bool,
}

/// Starts the lab.
pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    Err(CliError::not_wired("up"))
}
