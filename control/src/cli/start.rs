//! `vpclab start`: becomes a host's command, with every signal let through.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{CliError, Exit, Globals};
use crate::host::signals;

/// Arguments of `vpclab start`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Program and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// Returns only if the program cannot be run.
pub fn run(args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    signals::unblock_all()?;
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(CliError::usage("no command"));
    };
    let error = Command::new(program).args(arguments).exec();
    Err(CliError::fault(format!("{program}: {error}")))
}
