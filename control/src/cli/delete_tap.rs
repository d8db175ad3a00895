//! `vpclab delete-tap`: deletes a virtual machine's TAP in its network.

use super::{CliError, Exit, Globals};
use crate::host::attach::taps::PersistentTap;

/// Arguments of `vpclab delete-tap`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The TAP, as JSON.
    pub tap: String,
}

/// Moves there and deletes it.
pub fn run(args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    let tap: PersistentTap = serde_json::from_str(&args.tap)
        .map_err(|error| CliError::usage(format!("not a TAP: {error}")))?;
    tap.delete_there()?;
    Ok(Exit::Ok)
}
