//! From the topology file to a control plane and the hosts' commands.

use std::collections::BTreeMap;
use std::path::Path;

use crate::api::ControlPlane;
use crate::cli::CliError;
use crate::faults::LinkFaults;
use crate::host::plan::CommandPlan;
use crate::host::runtime_dir::{RuntimeDir, State};
use crate::topology::Topology;

/// Commands by host.
pub(crate) type Commands = BTreeMap<String, Vec<CommandPlan>>;

/// What the file makes.
pub(super) struct Loaded {
    pub(super) control: ControlPlane,
    pub(super) commands: Commands,
    /// What is wrong with hosts' links.
    pub(super) links: BTreeMap<String, LinkFaults>,
    pub(super) time_scale: u32,
}

/// Builds everything that the file names, by API actions.
pub(super) fn load(state: &State, dir: &RuntimeDir) -> Result<Loaded, CliError> {
    let topology = parse(state)?;
    let (control, _names) = topology
        .control_plane()
        .map_err(|error| CliError::usage(error.to_string()))?;
    Ok(Loaded {
        control,
        commands: commands(&topology, state, dir),
        links: topology.link_faults(),
        time_scale: state.time_scale.unwrap_or(topology.time_scale()),
    })
}

fn parse(state: &State) -> Result<Topology, CliError> {
    let file = state.topology.display().to_string();
    Topology::parse(&file, &state.text).map_err(|error| CliError::usage(error.to_string()))
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
