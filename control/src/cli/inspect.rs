//! `vpclab inspect`: one resource, with everything known of it.

use super::{CliError, Exit, Globals};

/// Arguments of `vpclab inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name in the topology file or AWS id [default: everything].
    pub id: Option<String>,
}

/// Shows the resource.
pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    Err(CliError::not_wired("inspect"))
}
