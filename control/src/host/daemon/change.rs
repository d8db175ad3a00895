//! A second `up` with another file: the running lab becomes what the file says,
//! and what does not differ is not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::EniId;

use super::load::{self, File};
use super::model::with_commands;
use super::{Lab, faults, fixed, gateway, local, services, wiring};
use crate::cli::CliError;
use crate::host::init::DAEMON_KEY;
use crate::host::init_client::InitClient;
use crate::host::plan::{CommandPlan, HostPlan, InterfacePlan};
use crate::host::runtime_dir::State;
use crate::host::{Context, HostError, from_model, limits, netlink};
use crate::topology::difference::{Change, Verb};

/// What a second `up` did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeReport {
    /// Resources and programs, what goes first.
    pub changes: Vec<Change>,
    /// Hosts that stay as they are, programs included.
    pub untouched: usize,
    /// The file from which the lab ran, if that was another.
    #[serde(default)]
    pub was: Option<PathBuf>,
}

/// Hosts before and after.
pub(super) struct Hosts {
    pub(super) old: BTreeMap<String, HostPlan>,
    pub(super) new: BTreeMap<String, HostPlan>,
}

/// Makes the lab what `state` says, or only says what would change.
pub(super) fn change(lab: &Lab, mut state: State, dry_run: bool) -> Result<ChangeReport, CliError> {
    let topology = load::parse(&state)?;
    let before = lab.dir.state().ok_or_else(load::no_state)?;
    fixed::keep(lab, &before, &mut state)?;
    let old_hosts = lab.model.hosts();
    // Held to the end: nobody else changes the model meanwhile.
    let mut file = lab.model.file();
    let mut control = lab.model.control();
    let now = lab.worker.clock().now();
    let difference = topology.difference(&control, &file.topology, &file.names, now)?;
    let listeners = gateway::prepare(lab, &topology)?;
    let mut published = gateway::changes(&file.topology, &topology);
    published.extend(services::changes(&file.topology, &topology));
    published.extend(local::change(&file.topology, &topology));
    let next = File::new(topology, difference.names.clone(), &state, &lab.dir);
    let mut report = ChangeReport {
        changes: difference.changes.clone(),
        untouched: 0,
        was: (before.topology != state.topology).then(|| before.topology.clone()),
    };
    let by_name = |hosts: Vec<HostPlan>| -> BTreeMap<String, HostPlan> {
        hosts
            .into_iter()
            .map(|host| (host.name.clone(), host))
            .collect()
    };
    let coming = with_commands(from_model::hosts(difference.model()), &next.commands);
    limits::check_open_files(&coming, lab.worker.workers())?;
    refuse_taken(lab, &old_hosts, &coming)?;
    if !dry_run {
        let commit = difference.commit(&mut control);
        commit
            .and_then(|()| control.set_file_text(&state.text))
            .map_err(|error| CliError::fault(error.message))?;
    }
    // Rows of newcomers are known once they are there.
    let model = if dry_run {
        difference.model()
    } else {
        control.model()
    };
    let hosts = Hosts {
        old: by_name(old_hosts),
        new: by_name(with_commands(from_model::hosts(model), &next.commands)),
    };
    report.changes.extend(program_changes(&hosts));
    report.changes.extend(published);
    report.changes.sort();
    report.changes.sort_by_key(|change| change.verb);
    report.untouched = hosts.untouched(&report.changes);
    if dry_run {
        return Ok(report);
    }
    let old_links = std::mem::replace(&mut *file, next).links;
    let links = file.links.clone();
    let topology = file.topology.clone();
    let now_there = control.model().clone();
    drop(control);
    drop(file);
    state.kept = lab.model.kept();
    let saved = lab.dir.save(&state).map_err(CliError::from);
    let made = saved
        .and_then(|()| gateway::apply(lab, &topology, listeners))
        .and_then(|()| {
            services::configure(lab, &topology);
            Ok(services::sync(lab, &now_there)?)
        })
        .and_then(|()| rewire(lab, &hosts));
    if let Err(error) = made {
        // Half of it is done: the next daemon begins with what there is.
        lab.set_ready(Err(error.clone().into()));
        return Err(error);
    }
    let changed: BTreeSet<_> = links
        .keys()
        .chain(old_links.keys())
        .filter(|host| links.get(*host) != old_links.get(*host))
        .collect();
    faults::set_links(
        lab,
        changed
            .into_iter()
            .map(|host| (host.as_str(), links.get(host).copied().unwrap_or_default())),
    );
    faults::apply(lab)?;
    Ok(report)
}

impl Hosts {
    fn untouched(&self, changes: &[Change]) -> usize {
        let touched = |name: &str| {
            changes.iter().any(|change| {
                let host = change.name.split(['/', ':']).next();
                matches!(&*change.kind, "host" | "ENI" | "command") && host == Some(name)
            })
        };
        let stay = self.new.keys().filter(|name| self.old.contains_key(*name));
        stay.filter(|name| !touched(name)).count()
    }
}

/// Programs that start, end or start anew in hosts that stay.
fn program_changes(hosts: &Hosts) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, new) in &hosts.new {
        let Some(old) = hosts.old.get(name) else {
            continue;
        };
        let line = |plan: &CommandPlan| plan.argv.last().cloned().unwrap_or_default();
        let count = old.commands.len().max(new.commands.len());
        for index in 0..count {
            let (old, new) = (old.commands.get(index), new.commands.get(index));
            let (verb, details) = match (old, new) {
                (Some(old), Some(new)) if old == new => continue,
                (Some(old), Some(new)) if line(old) == line(new) => {
                    (Verb::Changed, vec!["restarts".to_owned()])
                }
                (Some(old), Some(new)) => {
                    let details = format!("restarts as `{}`, was `{}`", line(new), line(old));
                    (Verb::Changed, vec![details])
                }
                (Some(_), None) => (Verb::Removed, Vec::new()),
                _ => (Verb::Added, Vec::new()),
            };
            changes.push(Change {
                kind: "command".to_owned(),
                name: format!("{name}:{index}"),
                verb,
                details,
            });
        }
    }
    changes
}

/// An error if a host that stays is to have an interface of a name that
/// somebody has given to another in it.
fn refuse_taken(lab: &Lab, old: &[HostPlan], coming: &[HostPlan]) -> Result<(), CliError> {
    let mut init = InitClient::connect_as_child(&lab.dir)?;
    let made = init.status()?.hosts;
    for host in coming {
        let Some(before) = old.iter().find(|before| before.name == host.name) else {
            continue;
        };
        let had = |device: &str| before.interfaces.iter().any(|it| it.device == device);
        let new: Vec<_> = host
            .interfaces
            .iter()
            .filter(|it| !had(&it.device))
            .cloned()
            .collect();
        let Some(namespaces) = made.get(&host.name).filter(|_| !new.is_empty()) else {
            continue;
        };
        let namespaces = init.open(*namespaces)?;
        if let Some(device) = namespaces.in_network(|| netlink::taken(&new))? {
            let name = &host.name;
            return Err(CliError::usage(format!(
                "{name} has an interface `{device}` already that the lab has not made"
            ))
            .fix(format!(
                "delete it: vpclab exec {name} -- ip link delete {device}"
            )));
        }
    }
    Ok(())
}

/// Takes down and sets up what differs of hosts on Linux.
pub(super) fn rewire(lab: &Lab, hosts: &Hosts) -> Result<(), CliError> {
    let mut init = InitClient::connect_as_child(&lab.dir)?;
    for (name, old) in &hosts.old {
        let new = hosts.new.get(name);
        let stays =
            |interface: &&InterfacePlan| new.is_some_and(|new| new.interfaces.contains(interface));
        for gone in old.interfaces.iter().filter(|it| !stays(it)) {
            lab.worker.remove_port(EniId(gone.eni)).context(name)?;
        }
        let keys = new.map(|new| &new.commands);
        let kept = |plan: &&CommandPlan| {
            keys.is_some_and(|plans| plans.iter().any(|new| new.key == plan.key))
        };
        for gone in old.commands.iter().filter(|plan| !kept(plan)) {
            init.stop(&gone.key)?;
        }
        if new.is_none() {
            init.remove_host(name)?;
        }
    }
    // The worker has let go of the TAPs once it has answered.
    lab.worker.counters().context("counters")?;
    for (name, new) in &hosts.new {
        let old = hosts.old.get(name);
        let is_new =
            |interface: &&InterfacePlan| old.is_none_or(|old| !old.interfaces.contains(interface));
        let missing: Vec<_> = new.interfaces.iter().filter(is_new).cloned().collect();
        if old.is_none() || !missing.is_empty() {
            wiring::wire_interfaces(&mut init, &lab.worker, new, &missing)?;
        }
    }
    // A host that comes starts with its faults.
    faults::apply(lab)?;
    for (name, new) in &hosts.new {
        let old = hosts.old.get(name).map(|old| &old.commands);
        for plan in &new.commands {
            if old.is_none_or(|old| !old.contains(plan)) {
                init.run(name, plan.clone())?;
            }
        }
    }
    Ok(())
}

/// Ends hosts and programs that the lab's file does not know: it changed while
/// no daemon ran.
pub(super) fn end_strangers(init: &mut InitClient, hosts: &[HostPlan]) -> Result<(), HostError> {
    let status = init.status()?;
    for name in status.hosts.keys() {
        if !hosts.iter().any(|host| host.name == *name) {
            init.remove_host(name)?;
        }
    }
    let known: BTreeSet<_> = hosts
        .iter()
        .flat_map(|host| host.commands.iter().map(|plan| plan.key.as_str()))
        .chain([DAEMON_KEY])
        .collect();
    for key in status
        .programs
        .keys()
        .filter(|key| !known.contains(key.as_str()))
    {
        init.stop(key)?;
    }
    Ok(())
}
