//! `vpclab serve`: the AWS API of a lab that begins empty, until Ctrl-C.

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
use crate::http::HttpChoice;
use crate::topology::Kept;

/// Name of the lab, unless `--lab` gives another.
const LAB: &str = "aws";
/// How often it looks whether somebody else has ended the lab.
const WATCH_MS: u16 = 500;

/// Arguments of `vpclab serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Serve at this port of 127.0.0.1; 0 is any [default: 4566 or the next that is free].
    /// Other addresses need `--credentials`.
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = HttpChoice::parse)]
    pub http: Option<HttpChoice>,
    /// Answer only calls that are signed with a key of this file, which is as AWS's own
    /// tools have it (`~/.aws/credentials`).
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Keep all resources in this file, and go on with what it has.
    #[arg(long, value_name = "FILE", conflicts_with = "ephemeral")]
    pub state: Option<PathBuf>,
    /// Keep them in memory only: the default, said aloud.
    #[arg(long)]
    pub ephemeral: bool,
    /// Begin with a default VPC: 172.31.0.0/16, a public subnet in each zone.
    #[arg(long)]
    pub default_vpc: bool,
    /// Let `POST /_vpclab/reset` take away all resources.
    #[arg(long)]
    pub allow_reset: bool,
    /// Run the user data of instances, as a script inside them. Any local process
    /// can reach the API.
    #[arg(long)]
    pub run_user_data: bool,
    /// Make no namespaces, and need no rights: an instance is a record, to which
    /// `vpclab attach` gives a container, a network or a machine.
    #[arg(long, conflicts_with = "run_user_data")]
    pub attach_only: bool,
    /// Packet workers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(crate::topology::WORKERS_MAX)))]
    pub workers: u16,
}

/// The absolute path of a state file, in a directory that exists.
///
/// # Errors
/// It does not.
pub(super) fn state_file(file: Option<PathBuf>) -> Result<Option<PathBuf>, CliError> {
    let Some(file) = file.map(std::path::absolute).transpose()? else {
        return Ok(None);
    };
    if !file.parent().is_some_and(std::path::Path::is_dir) {
        let message = format!(
            "state file {}: its directory does not exist",
            file.display()
        );
        return Err(CliError::usage(message).fix("make the directory, or give another file"));
    }
    Ok(Some(file))
}

/// The absolute path of a file of credentials, which can be read.
///
/// # Errors
/// It cannot.
pub(super) fn credentials_file(file: Option<PathBuf>) -> Result<Option<PathBuf>, CliError> {
    let Some(file) = file.map(std::path::absolute).transpose()? else {
        return Ok(None);
    };
    match crate::aws::Credentials::read(&file) {
        Ok(_) => Ok(Some(file)),
        Err(error) => Err(CliError::usage(error.to_string()).fix(
            "for each key: [NAME], aws_access_key_id = ID, aws_secret_access_key = SECRET, and \
             aws_account_id = TWELVE DIGITS",
        )),
    }
}

/// Serves until it is told to end.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let signals = Signals::collect(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    let lab = globals.lab.clone().unwrap_or_else(|| LAB.to_owned());
    let state = State {
        text: format!("name: {lab}\n"),
        topology: std::path::absolute("serve")?,
        time_scale: None,
        kept: Kept::default(),
        workers: Some(args.workers),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        http: args.http.unwrap_or_default(),
        credentials: credentials_file(args.credentials)?,
        state_file: state_file(args.state)?,
        default_vpc: args.default_vpc,
        allow_reset: args.allow_reset,
        run_user_data: args.run_user_data,
        attach_only: args.attach_only,
        ip_ranges: globals.ip_ranges()?,
        lab,
    };
    let started = up::up(&state, &signals)?;
    let dir = RuntimeDir::new(&state.lab)?;
    if matches!(started, Started::AlreadyRunning | Started::Changed(_)) {
        let message = format!("lab `{}` is up already", state.lab);
        return Err(
            CliError::usage(message).fix("serve another: --lab NAME; or end it: vpclab down")
        );
    }
    let ready = client::ask(&dir, &Request::Ready)?;
    let url = ready
        .get("http")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default();
    if globals.json {
        super::print_json(&json!({"lab": state.lab, "http": url}))?;
    } else {
        let kept = match &state.state_file {
            Some(file) => format!("in {}", file.display()),
            None => "in memory; --state FILE keeps them".to_owned(),
        };
        let who = match &state.credentials {
            Some(file) => format!("AWS_SHARED_CREDENTIALS_FILE={}", file.display()),
            None => "AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test".to_owned(),
        };
        super::print(&format!(
            "export AWS_ENDPOINT_URL={url} {who} AWS_DEFAULT_REGION=us-east-1\n\
             lab `{}`: resources are {kept}. Ctrl-C ends it.\n",
            state.lab
        ))?;
    }
    while signals.take().is_none() && dir.is_alive() {
        let mut descriptors = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut descriptors, PollTimeout::from(WATCH_MS));
    }
    up::down(&dir)?;
    Ok(Exit::Ok)
}
