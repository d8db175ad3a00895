//! `vpclab down`: stops a lab.

use super::{CliError, Exit, Globals};

/// Arguments of `vpclab down`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stop every lab of this user.
    #[arg(long, conflicts_with = "lab")]
    pub all: bool,
}

/// Stops the lab.
pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    Err(CliError::not_wired("down"))
}
