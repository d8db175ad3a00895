//! `vpclab logs`: what a host's commands have printed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CliError, Exit, Globals};
use crate::host::client;
use crate::host::daemon::load;
use crate::host::log_file::previous;
use crate::host::plan::CommandPlan;
use crate::host::runtime_dir::RuntimeDir;
use crate::report::{CommandLog, LogsReport};
use crate::topology::Topology;

/// Arguments of `vpclab logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The host.
    pub host: String,
    /// Go on with what is printed from now on.
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines of each command.
    #[arg(long, value_name = "N")]
    pub tail: Option<usize>,
    /// Only the command with this number, counted from 0.
    #[arg(long, value_name = "N")]
    pub command: Option<usize>,
}

/// How often `--follow` looks for more.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Read at once.
const CHUNK: u64 = 1 << 20;

/// Prints the logs.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let plans = commands(&lab, &args)?;
    if globals.json {
        if args.follow {
            return Err(CliError::usage("--follow prints text, --json one document")
                .fix("leave one of them out"));
        }
        return json_of(&plans, args.tail);
    }
    // With several commands, each line says whose it is.
    let named = plans.len() > 1;
    let mut watched: Vec<_> = plans.iter().map(|plan| Watched::new(plan, named)).collect();
    for log in &mut watched {
        let text = whole(&log.path)?;
        log.skip_to_end()?;
        log.show(last_lines(&text, args.tail))?;
    }
    while args.follow && lab.path().exists() {
        std::thread::sleep(LOOK_INTERVAL);
        for log in &mut watched {
            while let Some(text) = log.more()? {
                log.show(&text)?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// The host's commands, as its file has them.
fn commands(lab: &RuntimeDir, args: &Args) -> Result<Vec<CommandPlan>, CliError> {
    let state = lab
        .state()
        .ok_or_else(|| CliError::fault("the lab's state.json is missing or damaged"))?;
    let topology = Topology::parse(&state.topology.display().to_string(), &state.text)?;
    let mut all = load::commands(&topology, &state, lab);
    let Some(mut plans) = all.remove(&args.host) else {
        let names: Vec<_> = all.keys().map(String::as_str).collect();
        return Err(CliError::usage(format!("no host is named `{}`", args.host))
            .fix(format!("one of {}", names.join(", "))));
    };
    let count = plans.len();
    if count == 0 {
        return Err(CliError::usage(format!("{} runs no command", args.host))
            .fix("give it one in the topology (`run:`); what `vpclab exec` runs prints there"));
    }
    if let Some(wanted) = args.command {
        if wanted >= count {
            return Err(
                CliError::usage(format!("{} has no command {wanted}", args.host))
                    .fix(format!("its commands are 0 to {}", count - 1)),
            );
        }
        plans = plans.drain(wanted..=wanted).collect();
    }
    Ok(plans)
}

fn json_of(plans: &[CommandPlan], tail: Option<usize>) -> Result<Exit, CliError> {
    let mut commands = Vec::new();
    for plan in plans {
        let text = whole(&plan.log)?;
        let text = String::from_utf8_lossy(last_lines(&text, tail)).into_owned();
        commands.push(CommandLog {
            command: plan.argv.last().cloned().unwrap_or_default(),
            key: plan.key.clone(),
            log: plan.log.clone(),
            lines: text.lines().map(str::to_owned).collect(),
        });
    }
    super::print_json(&LogsReport { commands })?;
    Ok(Exit::Ok)
}

/// The log and, before it, the one that was put aside.
fn whole(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut text = Vec::new();
    for path in [previous(path), path.to_owned()] {
        match std::fs::read(&path) {
            Ok(bytes) => text.extend(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(CliError::fault(format!("{}: {error}", path.display()))),
        }
    }
    Ok(text)
}

fn last_lines(text: &[u8], count: Option<usize>) -> &[u8] {
    let Some(count) = count else { return text };
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let mut ends = body
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n');
    let start = match count {
        0 => text.len(),
        count => ends.nth(count - 1).map_or(0, |(at, _)| at + 1),
    };
    text.get(start..).unwrap_or_default()
}

/// A log that is read on.
struct Watched {
    path: PathBuf,
    /// Before each line.
    label: String,
    file: Option<File>,
    at_line_start: bool,
}

impl Watched {
    fn new(plan: &CommandPlan, named: bool) -> Self {
        Self {
            path: plan.log.clone(),
            label: match named {
                true => format!("{} | ", plan.key),
                false => String::new(),
            },
            file: None,
            at_line_start: true,
        }
    }

    fn skip_to_end(&mut self) -> Result<(), CliError> {
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::End(0))?;
            self.file = Some(file);
        }
        Ok(())
    }

    /// What has been printed since; goes on to the next file when this one was
    /// put aside.
    fn more(&mut self) -> Result<Option<Vec<u8>>, CliError> {
        let mut text = Vec::new();
        if let Some(file) = &mut self.file {
            file.take(CHUNK).read_to_end(&mut text)?;
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
        let Ok(now) = std::fs::metadata(&self.path) else {
            return Ok(None);
        };
        let own = match &self.file {
            Some(file) => Some(file.metadata()?.ino()),
            None => None,
        };
        if own == Some(now.ino()) {
            return Ok(None);
        }
        self.file = File::open(&self.path).ok();
        Ok(self.file.is_some().then(Vec::new))
    }

    fn show(&mut self, text: &[u8]) -> Result<(), CliError> {
        let mut out = Vec::new();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            if self.at_line_start {
                out.extend_from_slice(self.label.as_bytes());
            }
            out.extend_from_slice(line);
            self.at_line_start = line.ends_with(b"\n");
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(&out).and_then(|()| stdout.flush()) {
            // The reader went away (`vpclab logs web -f | head`): so do we.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            other => Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole_lines() {
        let text = b"one\ntwo\nthree\n";
        for (count, expected) in [
            (None, &text[..]),
            (Some(0), b""),
            (Some(1), b"three\n"),
            (Some(2), b"two\nthree\n"),
            (Some(9), text),
        ] {
            assert_eq!(last_lines(text, count), expected, "{count:?}");
        }
        assert_eq!(last_lines(b"one\ntw", Some(1)), b"tw");
        assert_eq!(last_lines(b"", Some(3)), b"");
    }
}
