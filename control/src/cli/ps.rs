//! `vpclab ps`: what runs.

use super::{CliError, Exit, Globals};

/// Arguments of `vpclab ps`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Lists hosts, endpoints, load balancers and targets.
pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    Err(CliError::not_wired("ps"))
}
