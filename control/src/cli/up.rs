//! `vpclab up`: starts a lab from a topology file.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::{CliError, Exit, Globals};
use crate::host::client;
use crate::host::daemon::change::ChangeReport;
use crate::host::notify;
use crate::host::protocol::Request;
use crate::host::runtime_dir::{RuntimeDir, State};
use crate::host::signals::Signals;
use crate::host::up::{self, Started};
use crate::http::{DEFAULT_PORT, HttpChoice, local, url};
use crate::report::{PsReport, UpReport, UpResult};
use crate::topology::{Kept, Topology, WORKERS_MAX};

/// Arguments of `vpclab up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Topology file (YAML); `-` reads standard input.
    pub file: PathBuf,
    /// Only check the file: say what is wrong with it, change nothing.
    #[arg(long)]
    pub check: bool,
    /// Only say what would change in the running lab.
    #[arg(long, conflicts_with_all = ["check", "wait", "foreground"])]
    pub dry_run: bool,
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
    /// Packet workers, each a thread with flows of its own [default: the
    /// topology's `settings`, else 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(WORKERS_MAX)))]
    pub workers: Option<u16>,
    /// Serve metrics and the AWS API at this port of 127.0.0.1; 0 is any [default: the topology's,
    /// else 4566 or the next that is free]. Other addresses need `--credentials`.
    #[arg(long, value_name = "[ADDRESS:]PORT", conflicts_with = "no_http", value_parser = HttpChoice::parse)]
    pub http: Option<HttpChoice>,
    /// Answer AWS API calls only if they are signed with a key of this file, which is
    /// as AWS's own tools have it (`~/.aws/credentials`).
    #[arg(long, value_name = "FILE", conflicts_with = "no_http")]
    pub credentials: Option<PathBuf>,
    /// Keep all resources in this file: a lab that starts with it goes on where it
    /// was. `down` leaves it.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Serve neither metrics nor the AWS API.
    #[arg(long)]
    pub no_http: bool,
    /// Begin with a default VPC: 172.31.0.0/16, a public subnet in each zone.
    #[arg(long)]
    pub default_vpc: bool,
    /// Let `POST /_vpclab/reset` of the AWS API take away all resources.
    #[arg(long)]
    pub allow_reset: bool,
    /// Run the user data of instances that the AWS API starts, as a script inside
    /// them. Any local process can reach the API.
    #[arg(long)]
    pub run_user_data: bool,
    /// Stay in the foreground: the lab ends with Ctrl-C. Tells systemd when the lab is ready.
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
        kept: Kept::default(),
        workers: args.workers,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        http: match args.http {
            _ if args.no_http => HttpChoice::Off,
            choice => choice.unwrap_or_default(),
        },
        credentials: super::serve::credentials_file(args.credentials)?,
        state_file: super::serve::state_file(args.state)?,
        default_vpc: args.default_vpc,
        allow_reset: args.allow_reset,
        run_user_data: args.run_user_data,
        attach_only: false,
        ip_ranges: globals.ip_ranges()?,
    };
    if args.dry_run {
        return dry_run(&state, globals);
    }
    let started = up::up(&state, &signals)?;
    let http = http_url(&RuntimeDir::new(&state.lab)?)?;
    report(&state, &topology, &started, http.as_deref(), globals)?;
    if args.wait {
        let dir = RuntimeDir::new(&state.lab)?;
        match wait_healthy(&dir, args.timeout, &signals)? {
            Waited::Healthy => {}
            Waited::Interrupted(exit) => {
                // What this command began, it takes away.
                if started == Started::Fresh {
                    up::down(&dir)?;
                }
                return Ok(exit);
            }
            Waited::Unhealthy(what) => {
                eprintln!(
                    "error: not healthy within {} s: {}\n  fix: look at what they say: vpclab ps; \
                     vpclab logs HOST",
                    args.timeout,
                    what.join(", ")
                );
                return Ok(Exit::No);
            }
        }
    }
    if args.foreground {
        return foreground(&state.lab, &signals);
    }
    Ok(Exit::Ok)
}

/// Stays until a signal or the lab's end.
fn foreground(lab: &str, signals: &Signals) -> Result<Exit, CliError> {
    let dir = RuntimeDir::new(lab)?;
    // Never asked anything: closed when the daemon ends.
    let daemon = UnixStream::connect(dir.control_socket())?;
    notify::ready();
    let mut descriptors = [
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        PollFd::new(daemon.as_fd(), PollFlags::POLLIN),
    ];
    loop {
        if signals.take().is_some() {
            up::down(&dir)?;
            return Ok(Exit::Ok);
        }
        if descriptors[1].any() == Some(true) {
            // `vpclab down` elsewhere is a good end.
            return match up::is_left(&dir)? {
                false => Ok(Exit::Ok),
                true => Err(CliError::fault(format!(
                    "the daemon of lab `{lab}` has ended; its hosts are still there"
                ))
                .fix("vpclab up FILE takes them over; vpclab down ends them")),
            };
        }
        let _ = poll(&mut descriptors, PollTimeout::NONE);
    }
}

/// How waiting for targets ended.
enum Waited {
    Healthy,
    /// These targets are not.
    Unhealthy(Vec<String>),
    Interrupted(Exit),
}

/// Waits until all targets are healthy, and tells standard error for whom.
fn wait_healthy(lab: &RuntimeDir, seconds: u32, signals: &Signals) -> Result<Waited, CliError> {
    let mut told = Vec::new();
    for _ in 0..=seconds * HEALTH_LOOKS_PER_SECOND {
        let ps: PsReport = client::understand(client::ask(lab, &Request::Ps)?)?;
        let waiting = unhealthy(&ps);
        if waiting.is_empty() {
            return Ok(Waited::Healthy);
        }
        if waiting != told {
            eprintln!("waiting for {}", waiting.join(", "));
            told = waiting;
        }
        if let Some(arrived) = signals.take() {
            return Ok(Waited::Interrupted(Exit::Program(
                128 + arrived.signal as u8,
            )));
        }
        std::thread::sleep(std::time::Duration::from_secs(1) / HEALTH_LOOKS_PER_SECOND);
    }
    Ok(Waited::Unhealthy(told))
}

/// Targets that are checked and not healthy: `servers 10.0.3.10:80 (initial)`.
fn unhealthy(ps: &PsReport) -> Vec<String> {
    let mut found = Vec::new();
    for group in &ps.target_groups {
        let waits = group
            .targets
            .iter()
            .filter(|target| matches!(&*target.health, "initial" | "unhealthy"));
        found.extend(waits.map(|target| {
            let address = target.address.map_or("?".to_owned(), |ip| ip.to_string());
            let why = target.description.as_ref().unwrap_or(&target.health);
            format!("{} {address}:{} ({why})", group.name, target.port)
        }));
    }
    found
}

/// How often a second `--wait` asks.
const HEALTH_LOOKS_PER_SECOND: u32 = 5;

pub(super) fn dry_run(state: &State, globals: &Globals) -> Result<Exit, CliError> {
    let found = up::dry_run(state)?;
    if globals.json {
        let result = match found {
            Some(_) => UpResult::WouldChange,
            None => UpResult::WouldStart,
        };
        super::print_json(&as_json(&state.lab, result, found.as_ref(), None))?;
        return Ok(Exit::Ok);
    }
    super::print(&match found {
        None => format!("lab `{}` does not run: up would start it\n", state.lab),
        Some(report) if report.changes.is_empty() => "nothing would change\n".to_owned(),
        Some(report) => match &report.was {
            Some(was) => format!(
                "lab `{}` runs from {}\n{}",
                state.lab,
                was.display(),
                lines(&report)
            ),
            None => lines(&report),
        },
    })?;
    Ok(Exit::Ok)
}

fn as_json(
    lab: &str,
    result: UpResult,
    changes: Option<&ChangeReport>,
    http: Option<&str>,
) -> UpReport {
    UpReport {
        lab: lab.to_owned(),
        result,
        changes: changes.map_or_else(Vec::new, |report| report.changes.clone()),
        untouched: changes.map(|report| report.untouched),
        was: changes.and_then(|report| report.was.clone()),
        http: http.map(str::to_owned),
    }
}

/// The changes, a line each, and who is not concerned.
fn lines(report: &ChangeReport) -> String {
    let mut text = String::new();
    for change in &report.changes {
        text.push_str(&format!("{change}\n"));
    }
    match report.untouched {
        0 => {}
        1 => text.push_str("1 host stays as it is\n"),
        n => text.push_str(&format!("{n} hosts stay as they are\n")),
    }
    text
}

pub(super) fn read(file: &std::path::Path) -> Result<String, CliError> {
    let result = if file == std::path::Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    result.map_err(|error| CliError::usage(format!("{}: {error}", file.display())))
}

/// Where the lab serves HTTP, if it does.
pub(super) fn http_url(lab: &RuntimeDir) -> Result<Option<String>, CliError> {
    let ready = client::ask(lab, &Request::Ready)?;
    let url = ready.get("http").and_then(serde_json::Value::as_str);
    Ok(url.map(str::to_owned))
}

pub(super) fn report(
    state: &State,
    topology: &Topology,
    started: &Started,
    http: Option<&str>,
    globals: &Globals,
) -> Result<(), CliError> {
    let lab = &state.lab;
    if globals.json {
        let (result, changes) = match started {
            Started::Fresh => (UpResult::Started, None),
            Started::Adopted => (UpResult::Adopted, None),
            Started::AlreadyRunning => (UpResult::AlreadyRunning, None),
            Started::Changed(report) => (UpResult::Changed, Some(report)),
        };
        return super::print_json(&as_json(lab, result, changes, http));
    }
    super::print(&match started {
        Started::Fresh => format!("lab `{lab}` is up\n"),
        Started::Adopted => {
            format!("lab `{lab}` is up again: its hosts are as they were, its flows are new\n")
        }
        Started::AlreadyRunning => format!("lab `{lab}` is up already\n"),
        Started::Changed(report) if report.changes.is_empty() => {
            format!("lab `{lab}` is up already: the file says the same in other words\n")
        }
        Started::Changed(report) => {
            let was = report.was.as_ref();
            let was = was.map_or_else(String::new, |was| {
                format!("; until now it ran from {}", was.display())
            });
            format!("lab `{lab}` has changed{was}\n{}", lines(report))
        }
    })?;
    let Some(http) = http else { return Ok(()) };
    // Whoever had the port when this lab began may be gone by now.
    let other = *started == Started::Fresh
        && state.http == HttpChoice::Default
        && topology.http.is_none()
        && *http != url(local(DEFAULT_PORT));
    let why = if other {
        format!("  (port {DEFAULT_PORT} is taken)")
    } else {
        String::new()
    };
    super::print(&format!("metrics: {http}/metrics{why}\n"))
}
