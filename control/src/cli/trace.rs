//! `vpclab trace`: the path of a packet that is not sent.

use super::{CliError, Destination, Exit, Globals};

/// Arguments of `vpclab trace`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits 0 if the packet and its reply arrive, 1 if not; \
                        then it names the AWS reachability code and what to change.\n\n\
                        Example: vpclab trace client 203.0.113.80:443")]
pub struct Args {
    /// Host or ENI that sends the packet.
    pub from: String,
    /// Address, host or endpoint that it is for, with a port or without.
    #[arg(value_name = "TO[:PORT]")]
    pub to: Destination,
    /// tcp, udp, icmp, icmpv6 or an IP protocol number.
    #[arg(long, default_value = "tcp")]
    pub proto: String,
    /// Source port.
    #[arg(long, default_value_t = 49152, value_name = "PORT")]
    pub source_port: u16,
    /// Trace in this topology file instead of in a running lab.
    #[arg(long, value_name = "FILE", conflicts_with = "lab")]
    pub file: Option<std::path::PathBuf>,
}

/// Prints the path.
pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    Err(CliError::not_wired("trace"))
}
