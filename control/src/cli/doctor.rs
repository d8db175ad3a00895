//! `vpclab doctor`: whether this machine can run labs, and what to change.

use serde_json::json;

use super::style::{self, Mood, paint};
use super::table::{Cell, Table};
use super::{CliError, Exit, Globals};
use crate::host::doctor::{self, Verdict};

/// Arguments of `vpclab doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 0: labs run here; 1: something keeps them from it.")]
pub struct Args {
    /// Try what changes the process that tries it; started by `doctor`.
    #[arg(long, hide = true)]
    pub probe: bool,
}

/// Looks, and says what it found.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    if args.probe {
        super::print_json(&doctor::run_probe())?;
        return Ok(Exit::Ok);
    }
    let checks = doctor::examine();
    let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
    if globals.json {
        super::print_json(&json!({"ok": !failed, "checks": checks}))?;
    } else {
        let mut table = Table::new(["CHECK", "STATE", "FOUND"]);
        for check in &checks {
            let (mood, word) = match check.verdict {
                Verdict::Ok => (Mood::Good, "ok"),
                Verdict::Warn => (Mood::Waiting, "warn"),
                Verdict::Fail => (Mood::Bad, "fail"),
            };
            table.row([
                Cell::from(check.name.as_str()),
                Cell::state(mood, word),
                Cell::from(check.found.as_str()),
            ]);
        }
        super::print(&table.render())?;
        for check in &checks {
            if let Some(fix) = &check.fix {
                super::print(&format!(
                    "{} {fix}\n",
                    paint(style::TITLE, &format!("{}:", check.name))
                ))?;
            }
        }
    }
    Ok(if failed { Exit::No } else { Exit::Ok })
}
