//! `vpclab aws-actions`: what of the AWS API there is, for the tests of clients.

use super::{CliError, Exit, Globals, print, print_json};
use crate::aws;

/// Arguments of `vpclab aws-actions`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints `service action`, one a line, or all of them as JSON.
pub fn run(_args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let actions = aws::actions();
    if globals.json {
        print_json(&actions)?;
    } else {
        let line = |(service, action): &(&str, &str)| format!("{service} {action}\n");
        print(&actions.iter().map(line).collect::<String>())?;
    }
    Ok(Exit::Ok)
}
