//! `vpclab schema`: JSON schemas, from the types.

use super::{CliError, Exit, Globals, print};
use crate::report::schemas;
use crate::topology;

/// Arguments of `vpclab schema`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topology file's, or that of a command's `--json`.
    #[arg(value_name = "topology|COMMAND", default_value = "topology")]
    pub of: String,
}

/// Prints the schema.
pub fn run(args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    let schema = if args.of == "topology" {
        topology::json_schema()
            .map_err(|error| CliError::fault(format!("cannot write the schema: {error}")))?
    } else {
        schemas::of(&args.of).ok_or_else(|| {
            let known = schemas::COMMANDS.join(", ");
            CliError::usage(format!("`{}` has no schema", args.of))
                .fix(format!("one of: topology, {known}"))
        })?
    };
    print(&schema)?;
    Ok(Exit::Ok)
}
