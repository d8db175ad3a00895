//! `vpclab import`: makes what a topology file describes in a running lab.

use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::{CliError, Exit, Globals, up};
use crate::host::client;
use crate::host::runtime_dir::State;
use crate::host::signals::Signals;
use crate::topology::Topology;

/// Arguments of `vpclab import`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The file takes the place of the one that the lab runs from; what the AWS \
                        API made stays. The file's own `name` does not count.\n\
                        Example: vpclab serve &  vpclab import lab.yaml --lab aws"
)]
pub struct Args {
    /// Topology file; - is standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only say what would change.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// Changes the lab.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let signals = Signals::collect(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    let text = up::read(&args.file)?;
    let file = args.file.display().to_string();
    let topology =
        Topology::parse(&file, &text).map_err(|error| CliError::usage(error.to_string()))?;
    let dir = client::find_lab(globals)?;
    let running = dir.state().ok_or_else(|| {
        CliError::usage(format!("lab `{}` is not running", dir.name()))
            .fix("start it with the file: vpclab up FILE; or begin an empty one: vpclab serve")
    })?;
    let state = State {
        topology: std::path::absolute(&args.file)?,
        text,
        ..running
    };
    if args.dry_run {
        return up::dry_run(&state, globals);
    }
    let started = crate::host::up::up(&state, &signals)?;
    let http = up::http_url(&dir)?;
    up::report(&state, &topology, &started, http.as_deref(), globals)?;
    Ok(Exit::Ok)
}
