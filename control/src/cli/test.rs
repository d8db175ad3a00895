//! `vpclab test`: what a topology expects of itself.

use std::path::PathBuf;

use super::{CliError, Exit, Globals};
use crate::expect;
use crate::topology::Topology;

/// Arguments of `vpclab test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The topology says what is to hold:\n\n\
    expect:\n  \
      - {from: client, to: \"service:443\", via: [inspect], seen_as: 10.0.2.50}\n  \
      - {from: web, to: \"db:5432\", reachable: false, code: SUBNET_ACL_RESTRICTION}\n\n\
    Each is judged by trace and by real packets between simulated hosts, in this process \
    and in virtual time. Every host answers where it is asked, whatever `run:` says: this \
    tests the network.\n\nExits 0 if all hold, 1 if one does not, 2 if the file makes no sense.")]
pub struct Args {
    /// Topology file (YAML); `-` reads standard input.
    pub file: PathBuf,
    /// Write the results as JUnit XML, too.
    #[arg(long, value_name = "OUT.xml")]
    pub junit: Option<PathBuf>,
}

/// Judges every expectation.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let topology = Topology::load(&args.file)?;
    let report = expect::run(&topology)?;
    if let Some(path) = &args.junit {
        std::fs::write(path, expect::junit(&report))
            .map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
    }
    if globals.json {
        super::print_json(&report)?;
    } else {
        super::print(&report.to_string())?;
    }
    Ok(if report.failed == 0 {
        Exit::Ok
    } else {
        Exit::No
    })
}
