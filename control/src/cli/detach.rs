//! `vpclab detach`: takes an ENI back.

use super::{CliError, Exit, Globals};
use crate::host::attach::{Attached, taps};
use crate::host::client;
use crate::host::protocol::Request;

/// Arguments of `vpclab detach`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Host of the topology, or one of its ENIs.
    #[arg(value_name = "HOST|ENI")]
    pub name: String,
}

/// Removes the interface; packets to the ENI are dropped until another is attached.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab_of_caller(globals)?;
    let answer = client::ask(&lab, &Request::Detach { name: args.name })?;
    let released: Vec<Attached> = serde_json::from_value(answer.clone())
        .map_err(|error| CliError::fault(error.to_string()))?;
    for tap in released.iter().filter_map(|attached| attached.tap.as_ref()) {
        taps::delete(&lab, tap)?;
    }
    if globals.json {
        super::print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let lines = released
        .iter()
        .map(|attached| format!("{} is no longer {attached}\n", attached.eni));
    super::print(&lines.collect::<String>())?;
    Ok(Exit::Ok)
}
