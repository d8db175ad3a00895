//! `vpclab capture`: a host's packets, as pcapng.

use super::{CliError, Exit, Globals};

/// Arguments of `vpclab capture`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: vpclab capture web -w - | wireshark -k -i -")]
pub struct Args {
    /// Name of a host, or an ENI (`eni-…`).
    #[arg(value_name = "HOST|ENI")]
    pub port: String,
    /// Write pcapng to this file; `-` is standard output [default: print a line per packet].
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<std::path::PathBuf>,
    /// Stop after this many packets.
    #[arg(short, long, value_name = "N")]
    pub count: Option<u64>,
}

/// Captures until interrupted or `count` is reached.
pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    Err(CliError::not_wired("capture"))
}
