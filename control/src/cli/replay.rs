//! `vpclab replay`: a capture through the data plane, in virtual time.

use std::path::{Path, PathBuf};

use super::{CliError, Exit, Globals};
use crate::replay::{self, Replay};
use crate::topology::Topology;

/// Arguments of `vpclab replay`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Frames go in at one ENI at the capture's times, and no host answers: what \
    comes out follows from the file alone. A capture by `vpclab capture` holds both directions; \
    the host's own frames are replayed. Exits 1 where the outcome is not the expected one.\n\n\
    vpclab replay client.pcapng --at client --file lab.yaml --json > verdicts.json\n\
    vpclab replay client.pcapng --at client --file lab.yaml --expect verdicts.json"
)]
pub struct Args {
    /// Capture (pcap or pcapng) of Ethernet frames.
    #[arg(value_name = "IN.pcap")]
    pub input: PathBuf,
    /// Host or ENI that sends the frames.
    #[arg(long, value_name = "HOST|ENI")]
    pub at: String,
    /// Topology file (YAML).
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
    /// What is to come out: frames (pcap, pcapng), or verdicts as `--json` prints them (.json).
    #[arg(long, value_name = "OUT.pcap|verdicts.json")]
    pub expect: Option<PathBuf>,
    /// Write what comes out as pcap.
    #[arg(short, long, value_name = "OUT.pcap")]
    pub write: Option<PathBuf>,
}

/// Replays and compares.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let topology = Topology::load(&args.file)?;
    let frames = replay::read(&read(&args.input)?).map_err(|error| about(&args.input, error))?;
    let replay = Replay::run(&topology, &args.at, frames)?;
    if let Some(path) = &args.write {
        let pcap = replay.to_pcap().map_err(|error| about(path, error))?;
        std::fs::write(path, pcap).map_err(|error| about(path, error))?;
    }
    let differences = match &args.expect {
        None => Vec::new(),
        Some(path) if path.extension().is_some_and(|ending| ending == "json") => {
            let expected =
                serde_json::from_slice(&read(path)?).map_err(|error| about(path, error))?;
            replay.verdict_differences(&expected)
        }
        Some(path) => {
            let expected = replay::read(&read(path)?).map_err(|error| about(path, error))?;
            replay.frame_differences(&expected)
        }
    };
    if globals.json {
        super::print_json(&replay.report)?;
    } else {
        super::print(&replay.report.to_string())?;
    }
    for difference in &differences {
        eprintln!("differs: {difference}");
    }
    Ok(if differences.is_empty() {
        Exit::Ok
    } else {
        Exit::No
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|error| about(path, error))
}

fn about(path: &Path, error: impl std::fmt::Display) -> CliError {
    CliError::usage(format!("{}: {error}", path.display()))
}
