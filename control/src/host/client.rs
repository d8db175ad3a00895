//! Asks a running lab's daemon, for the commands that show or change a lab.

use std::io::{BufReader, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::geteuid;

use super::attach::Held;
use super::protocol::{Reply, Request};
use super::runtime_dir::{self, RuntimeDir};
use super::{Context, descriptors, line};
use crate::cli::{CliError, Globals};

/// The lab that `--lab` names, or the only one.
pub fn find_lab(globals: &Globals) -> Result<RuntimeDir, CliError> {
    find_lab_in(globals, runtime_dir::base_dir())
}

fn find_lab_in(globals: &Globals, base: PathBuf) -> Result<RuntimeDir, CliError> {
    if let Some(name) = &globals.lab {
        let lab = RuntimeDir::new(name).map_err(usage)?.in_base(&base);
        lab.check_place()?;
        if !lab.path().exists() {
            return Err(CliError::usage(format!("lab `{name}` is not running")).fix(how_to_start()));
        }
        return Ok(lab);
    }
    let mut labs = runtime_dir::labs_in(&base)?;
    match (labs.pop(), labs.is_empty()) {
        (Some(lab), true) => Ok(lab),
        (None, _) => Err(CliError::usage("no lab is running").fix(how_to_start())),
        (Some(last), false) => {
            let names: Vec<_> = labs.iter().chain([&last]).map(RuntimeDir::name).collect();
            Err(
                CliError::usage(format!("several labs are running: {}", names.join(", ")))
                    .fix("say which: --lab NAME"),
            )
        }
    }
}

/// Labs belong to the user who started them: says so where others may have some.
fn how_to_start() -> &'static str {
    if !geteuid().is_root() && Path::new(runtime_dir::ROOT_BASE).exists() {
        "start it: vpclab up FILE; root's labs are root's: sudo vpclab ps"
    } else if geteuid().is_root() && std::env::var_os("SUDO_UID").is_some() {
        "start it: vpclab up FILE; your own labs are seen without sudo"
    } else {
        "start it: vpclab up FILE"
    }
}

/// As [`find_lab`]; for root by `sudo`, the lab of whoever called it, if root
/// has none.
pub fn find_lab_of_caller(globals: &Globals) -> Result<RuntimeDir, CliError> {
    let found = find_lab(globals);
    match (&found, runtime_dir::caller_base_dir()) {
        (Err(_), Some(base)) => find_lab_in(globals, base).or(found),
        _ => found,
    }
}

/// Asks and waits for the answer.
pub fn ask(lab: &RuntimeDir, request: &Request) -> Result<serde_json::Value, CliError> {
    Ok(open(lab, request)?.0)
}

/// Asks; what follows the answer on the connection is the caller's to read.
pub fn open(
    lab: &RuntimeDir,
    request: &Request,
) -> Result<(serde_json::Value, BufReader<UnixStream>), CliError> {
    exchange(connect(lab)?, request)
}

/// Connects to the lab's daemon.
pub fn connect(lab: &RuntimeDir) -> Result<UnixStream, CliError> {
    let path = lab.control_socket();
    UnixStream::connect(&path).map_err(|error| {
        let message = match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                format!("the daemon of lab `{}` does not run", lab.name())
            }
            _ => format!("{}: {error}", path.display()),
        };
        CliError::fault(message).fix(HOW_TO_GO_ON)
    })
}

/// Asks for something that comes with open files, and waits until it is done.
pub fn hand_over(stream: UnixStream, request: &Request, held: &[Held]) -> Result<(), CliError> {
    let (_, mut reader) = exchange(stream, request)?;
    for held in held {
        descriptors::send(reader.get_ref(), &held.descriptors()).context("daemon")?;
    }
    reply(&mut reader).map(|_| ())
}

/// Asks over a connection that is there.
pub fn exchange(
    stream: UnixStream,
    request: &Request,
) -> Result<(serde_json::Value, BufReader<UnixStream>), CliError> {
    if !line::is_peer_allowed(&stream) && !line::is_peer_caller(&stream) {
        return Err(CliError::fault("the lab belongs to somebody else"));
    }
    line::send(&stream, request).map_err(lost)?;
    let mut reader = BufReader::new(stream);
    let value = reply(&mut reader)?;
    Ok((value, reader))
}

fn reply(reader: &mut BufReader<UnixStream>) -> Result<serde_json::Value, CliError> {
    match line::receive(reader).map_err(lost)? {
        Some(Reply::Ok(value)) => Ok(value),
        Some(Reply::Failed(failure)) => Err(failure.into()),
        None => Err(ended()),
    }
}

fn ended() -> CliError {
    CliError::fault("the lab's daemon has ended").fix(HOW_TO_GO_ON)
}

/// A connection that broke is a daemon that ended.
fn lost(error: std::io::Error) -> CliError {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => ended(),
        _ => CliError::fault(format!("the lab's daemon: {error}")),
    }
}

/// What to do when the daemon is not there.
const HOW_TO_GO_ON: &str = "start it again: vpclab up FILE; or end the lab: vpclab down";

/// How often `up` looks whether something it waits for has happened.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// An answer as what it must be. Another version's daemon may answer otherwise.
pub fn understand<T: serde::de::DeserializeOwned>(
    answer: serde_json::Value,
) -> Result<T, CliError> {
    serde_json::from_value(answer).map_err(|error| {
        CliError::fault(format!("the daemon's answer is not understood: {error}"))
            .fix("it may be of another version: vpclab down, then vpclab up FILE")
    })
}

fn usage(error: super::HostError) -> CliError {
    let mut error = CliError::from(error);
    error.exit = crate::cli::Exit::Usage;
    error
}
