//! `vpclab flows`: live connections.

use super::{CliError, Exit, Globals};

/// Arguments of `vpclab flows`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only flows of this host or ENI.
    pub port: Option<String>,
}

/// Lists the flows.
pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    Err(CliError::not_wired("flows"))
}
