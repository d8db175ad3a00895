//! `vpclab exec`: runs a program inside a host.

use super::{CliError, Exit, Globals};
use crate::host::{client, exec};

/// Arguments of `vpclab exec`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The program keeps this terminal, directory and environment; \
                        its exit code becomes vpclab's.\n\n\
                        Example: vpclab exec client -- curl -s http://10.0.1.10/"
)]
pub struct Args {
    /// Name of the host in the topology file.
    pub host: String,
    /// Program and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Runs the program.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let code = exec::run(&lab, &args.host, &args.command)?;
    Ok(Exit::Program(code))
}
