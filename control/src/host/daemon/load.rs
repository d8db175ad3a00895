//! From the topology file to a control plane and the hosts' commands.

use std::collections::BTreeMap;
use std::path::Path;

use vpclab_dataplane::time::Instant;
use vpclab_dataplane::worker::{Options, Waiting};

use crate::api::{ApiError, ControlPlane, ControlPlaneOptions};
use crate::aws::Credentials;
use crate::cli::CliError;
use crate::faults::LinkFaults;
use crate::host::plan::CommandPlan;
use crate::host::runtime_dir::{RuntimeDir, State};
use crate::http::HttpChoice;
use crate::store::SqliteStore;
use crate::topology::{Names, Topology, schema};

/// Commands by host.
pub(crate) type Commands = BTreeMap<String, Vec<CommandPlan>>;

/// What the file makes.
pub(super) struct Loaded {
    pub(super) control: ControlPlane,
    pub(super) file: File,
    pub(super) time_scale: u32,
}

/// A topology file in a running lab.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) topology: Topology,
    /// What its names became.
    pub(super) names: Names,
    pub(super) commands: Commands,
    /// What is wrong with hosts' links.
    pub(super) links: BTreeMap<String, LinkFaults>,
}

impl File {
    pub(super) fn new(topology: Topology, names: Names, state: &State, dir: &RuntimeDir) -> Self {
        Self {
            commands: commands(&topology, state, dir),
            links: topology.link_faults(),
            names,
            topology,
        }
    }
}

/// Builds everything that the file names, by API actions.
pub(super) fn load(state: &State, dir: &RuntimeDir) -> Result<Loaded, CliError> {
    let topology = parse(state)?;
    let (control, names) = topology
        .control_plane_keeping(&state.kept)
        .map_err(|error| CliError::usage(error.to_string()))?;
    let (control, names) = match &state.state_file {
        Some(file) => kept_in(file, state, &topology, control, names)?,
        None => (control, names),
    };
    Ok(Loaded {
        control,
        time_scale: state.time_scale.unwrap_or(topology.time_scale()),
        file: File::new(topology, names, state, dir),
    })
}

/// Goes on with what the state file keeps; begins it with what the topology `made`
/// if it is empty.
fn kept_in(
    file: &Path,
    state: &State,
    topology: &Topology,
    mut made: ControlPlane,
    names: Names,
) -> Result<(ControlPlane, Names), CliError> {
    let store = SqliteStore::open(file).map_err(|error| CliError::usage(error.to_string()))?;
    let options = ControlPlaneOptions {
        quotas: made.quotas().clone(),
        settings: made.tables().load().settings,
        ..ControlPlaneOptions::default()
    };
    let restored = ControlPlane::restore(options, Box::new(store))
        .map_err(|error| CliError::usage(format!("{}: {error}", file.display())))?;
    let refused = |error: ApiError| CliError::usage(error.message);
    match restored {
        Err(empty) => {
            made.keep_in(empty, &state.text).map_err(refused)?;
            Ok((made, names))
        }
        Ok(control) if control.file_text() == Some(&state.text) => Ok((control, names)),
        // The topology has changed since: what is not of the API's becomes so.
        Ok(mut control) => {
            let difference = topology.difference(&control, topology, &names, Instant::ZERO)?;
            difference.commit(&mut control).map_err(refused)?;
            control.set_file_text(&state.text).map_err(refused)?;
            Ok((control, difference.names))
        }
    }
}

pub(super) fn parse(state: &State) -> Result<Topology, CliError> {
    let file = state.topology.display().to_string();
    Topology::parse(&file, &state.text).map_err(|error| CliError::usage(error.to_string()))
}

/// Where the lab is to serve HTTP.
pub(super) fn http(state: &State) -> Result<HttpChoice, CliError> {
    let choice = match (state.http, parse(state)?.http) {
        (HttpChoice::Default, Some(port)) => HttpChoice::Port(port),
        (asked, _) => asked,
    };
    if choice.is_public() && state.credentials.is_none() {
        return Err(CliError::usage(
            "the AWS API is served at 127.0.0.1 only, unless requests are verified",
        )
        .fix("say whose count: --credentials FILE; or leave the address out: --http PORT"));
    }
    Ok(choice)
}

/// Whose requests are answered, if not everybody's.
pub(super) fn credentials(state: &State) -> Result<Option<Credentials>, CliError> {
    let read = state.credentials.as_deref().map(Credentials::read);
    read.transpose()
        .map_err(|error| CliError::usage(error.to_string()))
}

/// Somebody was at the lab's directory.
pub(super) fn no_state() -> CliError {
    CliError::fault("the lab's state.json is missing or damaged")
        .fix("end the lab and start it anew: vpclab down")
}

/// How the data plane is to run.
pub(in crate::host) fn settings(state: &State) -> Result<(u16, Options), CliError> {
    let settings = parse(state)?.settings;
    let first = settings.first_core.map(|first| first.value);
    let options = Options {
        waiting: match settings.waiting {
            schema::Waiting::Event => Waiting::Event,
            schema::Waiting::Adaptive => Waiting::Adaptive,
            schema::Waiting::Busy => Waiting::Busy,
        },
        ring: settings.io_uring.unwrap_or(true),
        core: first.map(usize::from),
    };
    let workers = settings.workers.map(|workers| workers.value);
    let workers = state.workers.or(workers).unwrap_or(1);
    if let Some(first) = first {
        // Where the kernel does not say, it has the last word.
        if let Ok(online) = std::fs::read_to_string(CORES) {
            cores_are_there(first, workers, online.trim())?;
        }
    }
    Ok((workers, options))
}

/// The machine's cores, as ranges.
const CORES: &str = "/sys/devices/system/cpu/online";

/// Whether the cores from `first` on, one a worker, are among those `online` (`0-3,6`).
fn cores_are_there(first: u16, workers: u16, online: &str) -> Result<(), CliError> {
    let is_online = |core: u32| {
        online.split(',').any(|range| {
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            let bounds = (low.parse::<u32>(), high.parse::<u32>());
            matches!(bounds, (Ok(low), Ok(high)) if (low..=high).contains(&core))
        })
    };
    let wanted = u32::from(first)..u32::from(first) + u32::from(workers);
    let Some(missing) = wanted.clone().find(|core| !is_online(*core)) else {
        return Ok(());
    };
    let plural = if workers == 1 { "" } else { "s" };
    Err(CliError::usage(format!(
        "settings.first_core: {first} with {workers} packet worker{plural} needs core {missing}; this machine has {online}",
    ))
    .fix("choose a first_core from which on there is a core for each worker, have fewer workers, or leave first_core out"))
}

/// The commands of every host, with their logs.
pub(crate) fn commands(topology: &Topology, state: &State, dir: &RuntimeDir) -> Commands {
    let directory = state.topology.parent().unwrap_or(Path::new("/"));
    let mut commands = Commands::new();
    for (name, programs) in topology.programs() {
        let plans = programs.run.iter().enumerate().map(|(n, line)| {
            let key = format!("{name}-{n}");
            CommandPlan {
                log: dir.command_log(&key),
                key,
                argv: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
                env: programs.env.clone(),
                directory: directory.to_owned(),
                restart: programs.restart,
            }
        });
        commands.insert(name.to_owned(), plans.collect());
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_say_the_first_core() {
        let text = "name: x\nsettings: {first_core: 3}\n";
        let settings = Topology::parse("t.yaml", text).unwrap().settings;
        assert_eq!(settings.first_core.map(|core| core.value), Some(3));
    }

    #[test]
    fn workers_have_cores_that_the_machine_has() {
        for (first, workers, online) in [(0, 1, "0"), (0, 2, "0-1"), (2, 2, "0,2-3"), (1, 3, "0-7")]
        {
            assert!(cores_are_there(first, workers, online).is_ok());
        }
        for (first, workers, online, missing) in [
            (2, 1, "0-1", "needs core 2"),
            (1, 2, "0-1", "needs core 2"),
            (0, 3, "0,2-3", "needs core 1"),
            (u16::MAX, 64, "0-1", "needs core 65535"),
        ] {
            let error = cores_are_there(first, workers, online)
                .unwrap_err()
                .to_string();
            assert!(error.contains("settings.first_core"), "{error}");
            assert!(error.contains(missing), "{error}");
            assert!(
                error.contains(&format!("this machine has {online}")),
                "{error}"
            );
        }
    }
}
