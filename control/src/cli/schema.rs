//! `vpclab schema`: the topology file's JSON schema, from the types.

use super::{CliError, Exit, Globals, print};
use crate::topology;

/// Arguments of `vpclab schema`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the schema.
pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    let schema = topology::json_schema()
        .map_err(|error| CliError::fault(format!("cannot write the schema: {error}")))?;
    print(&schema)?;
    Ok(Exit::Ok)
}
