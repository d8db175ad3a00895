//! `vpclab schema`: the topology file's JSON schema, from the types.

use super::{CliError, Exit, Globals};

/// Arguments of `vpclab schema`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the schema.
pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    Err(CliError::not_wired("schema"))
}
