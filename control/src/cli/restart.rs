//! `vpclab restart`: a host's commands, from the start.

use super::{CliError, Exit, Globals};
use crate::host::client;
use crate::host::protocol::Request;

/// Arguments of `vpclab restart`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The host.
    pub host: String,
}

/// Ends the host's commands and starts them anew; its interfaces stay.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let host = args.host;
    let answer = client::ask(&lab, &Request::Restart { host: host.clone() })?;
    if globals.json {
        super::print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let count = answer.get("commands").and_then(serde_json::Value::as_u64);
    super::print(&match count {
        Some(0) => format!("{host} has no commands\n"),
        _ => format!("{host}: commands started anew\n"),
    })?;
    Ok(Exit::Ok)
}
