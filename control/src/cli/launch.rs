//! `vpclab launch`: makes a lab's namespaces and starts its init.

use std::path::PathBuf;

use super::{CliError, Exit, Globals};
use crate::host::launch;

/// Arguments of `vpclab launch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the lab, made by `up`.
    #[arg(long)]
    pub directory: PathBuf,
}

/// Runs until the lab has ended.
pub fn run(args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    launch::run(&args.directory)?;
    Ok(Exit::Ok)
}
