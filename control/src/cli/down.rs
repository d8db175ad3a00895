//! `vpclab down`: stops a lab.

use nix::sys::signal::Signal;
use serde_json::json;

use super::{CliError, Exit, Globals};
use crate::host::signals::Signals;
use crate::host::{client, runtime_dir, up};

/// Arguments of `vpclab down`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stop every lab of this user.
    #[arg(long, conflicts_with = "lab")]
    pub all: bool,
}

/// Stops the lab.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    // What is begun is finished: half of a lab is of no use to anybody.
    let _signals = Signals::collect(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    runtime_dir::sweep();
    let labs = if args.all {
        runtime_dir::labs()?
    } else {
        vec![client::find_lab(globals)?]
    };
    let mut ended = Vec::new();
    for lab in labs {
        up::down(&lab)?;
        if !globals.json {
            super::print(&format!("lab `{}` is down\n", lab.name()))?;
        }
        ended.push(lab.name().to_owned());
    }
    if globals.json {
        super::print_json(&json!({"ended": ended}))?;
    }
    Ok(Exit::Ok)
}
