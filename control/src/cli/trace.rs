//! `vpclab trace`: the path of a packet that is not sent.

use std::path::Path;

use super::{CliError, Destination, Exit, Globals};
use crate::host::client;
use crate::host::protocol::{Request, TraceRequest};
use crate::topology::Topology;
use crate::trace::{self, TraceReport};

/// Arguments of `vpclab trace`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits 0 if the packet and its reply arrive, 1 if not; \
                        then it names the AWS reachability code and what to change. With -v it \
                        says ids beside names.\n\n\
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
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let request = TraceRequest {
        from: args.from,
        to: args.to.host,
        port: args.to.port,
        protocol: args.proto,
        source_port: args.source_port,
    };
    let report = match args.file {
        Some(file) => in_file(&file, &request)?,
        None => {
            let lab = client::find_lab(globals)?;
            let answer = client::ask(&lab, &Request::Trace(request))?;
            serde_json::from_value(answer).map_err(|error| CliError::fault(error.to_string()))?
        }
    };
    if globals.json {
        let value =
            serde_json::to_value(&report).map_err(|error| CliError::fault(error.to_string()))?;
        super::print_json(&value)?;
    } else {
        super::print(&match globals.verbose {
            0 => report.to_string(),
            _ => format!("{report:#}"),
        })?;
    }
    Ok(if report.reachable { Exit::Ok } else { Exit::No })
}

/// Traces without a running lab: targets count as healthy or failing open.
fn in_file(file: &Path, request: &TraceRequest) -> Result<TraceReport, CliError> {
    let topology = Topology::load(file).map_err(|error| CliError::usage(error.to_string()))?;
    let (mut control, _) = topology
        .control_plane()
        .map_err(|error| CliError::usage(error.to_string()))?;
    // What waits for `vpclab attach` counts as attached.
    control
        .plug_all("the trace")
        .map_err(|error| CliError::fault(error.message))?;
    trace::answer(
        control.model(),
        &control.tables().load(),
        request,
        topology.seed(),
    )
}
