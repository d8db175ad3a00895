//! `vpclab pid1`: PID 1 of a lab.

use std::path::PathBuf;

use super::{CliError, Exit, Globals};
use crate::host::init;

/// Arguments of `vpclab pid1`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the lab, made by `up`.
    #[arg(long)]
    pub directory: PathBuf,
}

/// Runs until told to end.
pub fn run(args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    init::run(&args.directory)?;
    Ok(Exit::Ok)
}
