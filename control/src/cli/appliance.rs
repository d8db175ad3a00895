//! `vpclab appliance`: the reference GWLB appliance for labs.

use super::{CliError, Exit, Globals};

/// Arguments of `vpclab appliance`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// UDP port for GENEVE.
    #[arg(long, default_value_t = 6081)]
    pub port: u16,
    /// TCP port that answers health checks (HTTP 200).
    #[arg(long, default_value_t = 80)]
    pub health_port: u16,
    /// Drop inner packets that match, e.g. `tcp:23`, `udp:53`, `icmp`, `10.0.2.0/24`. Repeatable.
    #[arg(long, value_name = "RULE")]
    pub drop: Vec<String>,
    /// Rewrite an inner destination, e.g. `tcp:80=8080`. Repeatable.
    #[arg(long, value_name = "FROM=TO")]
    pub rewrite: Vec<String>,
    /// Write counters as JSON to this file when they change.
    #[arg(long, value_name = "FILE")]
    pub stats: Option<std::path::PathBuf>,
}

/// Runs the appliance until it is stopped.
pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    Err(CliError::not_wired("appliance"))
}
