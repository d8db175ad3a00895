//! `vpclab up`: starts a lab from a topology file.

use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde_json::json;

use super::{CliError, Exit, Globals};
use crate::host::client;
use crate::host::protocol::Request;
use crate::host::runtime_dir::{RuntimeDir, State};
use crate::host::signals::Signals;
use crate::host::up::{self, Started};
use crate::topology::Topology;

/// Arguments of `vpclab up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Topology file (YAML); `-` reads standard input.
    pub file: PathBuf,
    /// Only check the file: say what is wrong with it, change nothing.
    #[arg(long)]
    pub check: bool,
    /// Wait until every target that is checked is healthy.
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "wait")]
    pub timeout: u32,
    /// Run the lab's clock so many times as fast as ours: timeouts and intervals
    /// of AWS's pass sooner [default: the topology's `time_scale`, else 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub time_scale: Option<u32>,
    /// Stay in the foreground: the lab ends with Ctrl-C.
    #[arg(long)]
    pub foreground: bool,
}

/// Starts the lab.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let signals = Signals::collect(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    let text = read(&args.file)?;
    let file = args.file.display().to_string();
    let topology =
        Topology::parse(&file, &text).map_err(|error| CliError::usage(error.to_string()))?;
    let lab = globals
        .lab
        .clone()
        .unwrap_or_else(|| topology.name.to_string());
    if args.check {
        return Ok(Exit::Ok);
    }
    let state = State {
        lab,
        topology: std::path::absolute(&args.file)?,
        text,
        time_scale: args.time_scale,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let started = up::up(&state, &signals)?;
    report(&state.lab, started, globals)?;
    if args.wait && !wait_healthy(&RuntimeDir::new(&state.lab)?, args.timeout)? {
        eprintln!("error: not every target is healthy; see: vpclab ps");
        return Ok(Exit::No);
    }
    if args.foreground {
        let mut descriptors = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        while signals.take().is_none() {
            let _ = poll(&mut descriptors, PollTimeout::NONE);
        }
        up::down(&RuntimeDir::new(&state.lab)?)?;
    }
    Ok(Exit::Ok)
}

/// Whether all targets are healthy before `seconds` are over.
fn wait_healthy(lab: &RuntimeDir, seconds: u32) -> Result<bool, CliError> {
    for _ in 0..=seconds * HEALTH_LOOKS_PER_SECOND {
        if client::ask(lab, &Request::Healthy)? == json!(true) {
            return Ok(true);
        }
        std::thread::sleep(std::time::Duration::from_secs(1) / HEALTH_LOOKS_PER_SECOND);
    }
    Ok(false)
}

/// How often a second `--wait` asks.
const HEALTH_LOOKS_PER_SECOND: u32 = 5;

fn read(file: &std::path::Path) -> Result<String, CliError> {
    let result = if file == std::path::Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    result.map_err(|error| CliError::usage(format!("{}: {error}", file.display())))
}

fn report(lab: &str, started: Started, globals: &Globals) -> Result<(), CliError> {
    if globals.json {
        let how = match started {
            Started::Fresh => "started",
            Started::Adopted => "adopted",
            Started::AlreadyRunning => "already_running",
        };
        return super::print_json(&json!({"lab": lab, "result": how}));
    }
    super::print(&match started {
        Started::Fresh => format!("lab `{lab}` is up\n"),
        Started::Adopted => {
            format!("lab `{lab}` is up again: its hosts are as they were, its flows are new\n")
        }
        Started::AlreadyRunning => format!("lab `{lab}` is up already\n"),
    })
}
