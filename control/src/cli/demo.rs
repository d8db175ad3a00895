//! `vpclab demo`: the tour that needs nothing.

use super::{CliError, Exit, Globals, print, print_json};
use crate::demo;

/// Arguments of `vpclab demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seed of every random choice: the same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write every frame of the client's interface to this pcap file.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<std::path::PathBuf>,
}

/// Runs the demo; exits 1 if something was not as it must be.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let options = demo::Options {
        seed: args.seed,
        ..demo::Options::default()
    };
    let mut failed = None;
    let narrate = |line: &str| {
        if !globals.json
            && let Err(error) = print(&format!("{line}\n"))
        {
            failed = Some(error);
        }
    };
    let started = monotonic();
    let clock = || started.elapsed();
    let (report, lab) =
        demo::run(&options, narrate, clock).map_err(|error| CliError::fault(error.to_string()))?;
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(path) = &args.pcap {
        lab.capture("client").write(path)?;
    }
    if globals.json {
        print_json(&report)?;
    } else {
        let verdict = |ok| if ok { "ok" } else { "FAILED" };
        print(&format!(
            "\nPrivateLink {}, one way {}, inspection {}\n",
            verdict(report.privatelink.ok),
            verdict(report.one_way.ok),
            verdict(report.gwlb.ok)
        ))?;
    }
    Ok(if report.is_ok() { Exit::Ok } else { Exit::No })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the throughput run is timed; nothing else in the demo looks at a clock"
)]
fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}
