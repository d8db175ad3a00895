//! `vpclab export`: a running lab as a topology file.

use std::path::{Path, PathBuf};

use super::{CliError, Exit, Globals};
use crate::api::DEFAULT_ACCOUNT;
use crate::host::client;
use crate::host::protocol::Request;
use crate::topology::export::Exported;

/// Arguments of `vpclab export`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What a topology file cannot say (other accounts, tags) is left out, and \
                        listed on standard error.\n\
                        Examples: vpclab export -o lab.yaml\n          \
                        vpclab export --lab aws | vpclab import - --lab other"
)]
pub struct Args {
    /// Write to this file [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Account whose resources are written: clients choose it by their access key.
    #[arg(long, value_name = "ID", default_value = DEFAULT_ACCOUNT)]
    pub account: String,
}

/// Writes the file.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let request = Request::Export {
        account: args.account,
    };
    let exported: Exported = client::understand(client::ask(&lab, &request)?)?;
    match args.output.filter(|path| path != Path::new("-")) {
        Some(path) => std::fs::write(&path, &exported.topology)
            .map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?,
        None if globals.json => {}
        None => super::print(&exported.topology)?,
    }
    if globals.json {
        super::print_json(&exported)?;
        return Ok(Exit::Ok);
    }
    for what in &exported.left_out {
        eprintln!("left out: {what}");
    }
    Ok(Exit::Ok)
}
