//! `vpclab demo`: the tour that needs nothing.

use super::{CliError, Exit, Globals};

/// Arguments of `vpclab demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seed of every random choice: the same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write every frame of the run to this pcap file.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<std::path::PathBuf>,
}

/// Runs the demo.
pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    Err(CliError::not_wired("demo"))
}
