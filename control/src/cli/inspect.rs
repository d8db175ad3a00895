//! `vpclab inspect`: one resource, with everything known of it.

use super::{CliError, Exit, Globals};
use crate::host::client;
use crate::host::protocol::Request;

/// Arguments of `vpclab inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name in the topology file or AWS id [default: everything].
    pub id: Option<String>,
}

/// Shows the resource.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let answer = client::ask(&lab, &Request::Inspect { id: args.id })?;
    // Deep and open-ended: text would be JSON with worse punctuation.
    super::print_json(&answer)?;
    Ok(Exit::Ok)
}
