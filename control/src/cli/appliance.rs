//! `vpclab appliance`: the reference GWLB appliance for labs.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{CliError, Exit, Globals};
use crate::appliance::{self, Appliance, GENEVE_PORT, Rewrite, Rule};

/// Arguments of `vpclab appliance`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address and UDP port for GENEVE.
    #[arg(long, default_value_t = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, GENEVE_PORT))]
    pub listen: SocketAddrV4,
    /// TCP port that answers health checks (HTTP 200); 0 for none.
    #[arg(long, default_value_t = 80)]
    pub health_port: u16,
    /// Drop inner packets that match: `tcp:23`, `udp`, `icmp`, `10.0.2.0/24`, `dst=203.0.113.80`. Repeatable.
    #[arg(long, value_name = "RULE")]
    pub drop: Vec<Rule>,
    /// Rewrite inner packets: `tcp:80=8080` (a destination port, and back in answers), `ttl=7`. Repeatable.
    #[arg(long, value_name = "FROM=TO")]
    pub rewrite: Vec<Rewrite>,
    /// Write counters as JSON to this file, not to standard output, on SIGUSR1 and at the end.
    #[arg(long, value_name = "FILE")]
    pub stats: Option<std::path::PathBuf>,
    /// Write counters every so many seconds, too.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub every: Option<u64>,
}

/// Runs the appliance until it is stopped.
pub fn run(args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    let appliance = args
        .drop
        .into_iter()
        .fold(Appliance::new(), Appliance::drop);
    let appliance = args.rewrite.into_iter().fold(appliance, Appliance::rewrite);
    let options = appliance::Options {
        listen: args.listen,
        health_port: (args.health_port != 0).then_some(args.health_port),
        stats: args.stats,
        every: args.every,
    };
    appliance::run(appliance, &options).map_err(|error| CliError::fault(error.to_string()))?;
    Ok(Exit::Ok)
}
