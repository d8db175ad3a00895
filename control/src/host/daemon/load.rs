//! From the topology file to a control plane and the hosts' commands.

use std::collections::BTreeMap;
use std::path::Path;

use crate::api::ControlPlane;
use crate::cli::CliError;
use crate::host::plan::CommandPlan;
use crate::host::runtime_dir::{RuntimeDir, State};
use crate::topology::Topology;

/// Commands by host.
type Commands = BTreeMap<String, Vec<CommandPlan>>;

/// Builds everything that the file names, by API actions.
pub(super) fn load(state: &State, dir: &RuntimeDir) -> Result<(ControlPlane, Commands), CliError> {
    let file = state.topology.display().to_string();
    let topology =
        Topology::parse(&file, &state.text).map_err(|error| CliError::usage(error.to_string()))?;
    let (control, _names) = topology
        .control_plane()
        .map_err(|error| CliError::usage(error.to_string()))?;
    Ok((control, commands(&topology, state, dir)))
}

fn commands(topology: &Topology, state: &State, dir: &RuntimeDir) -> Commands {
    let directory = state.topology.parent().unwrap_or(Path::new("/"));
    let instances = topology
        .hosts
        .iter()
        .map(|(name, host)| (name, &host.run, &host.env));
    let internet = topology.internet.hosts.iter();
    let internet = internet.map(|(name, host)| (name, &host.run, &host.env));
    let mut commands = Commands::new();
    for (name, run, env) in instances.chain(internet) {
        let plans = run.iter().enumerate().map(|(n, line)| {
            let key = format!("{}-{n}", name.value);
            CommandPlan {
                log: dir.command_log(&key),
                key,
                argv: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
                env: env.clone(),
                directory: directory.to_owned(),
            }
        });
        commands.insert(name.value.clone(), plans.collect());
    }
    commands
}
