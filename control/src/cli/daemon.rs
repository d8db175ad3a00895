//! `vpclab daemon`: the background process of one lab.

use std::path::PathBuf;

use super::{CliError, Exit, Globals};
use crate::host::daemon;

/// Arguments of `vpclab daemon`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the lab, made by `up`.
    #[arg(long)]
    pub directory: PathBuf,
}

/// Runs the lab until it is told to stop.
pub fn run(args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    let _ = nix::sys::prctl::set_name(c"vpclab-daemon");
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // A disk that is full is no reason to end.
        .log_internal_errors(false)
        .init();
    daemon::run(&args.directory)?;
    Ok(Exit::Ok)
}
