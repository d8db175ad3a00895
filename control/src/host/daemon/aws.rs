//! What the AWS API finds in a running lab: its control plane, its clock, and
//! namespaces for instances.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use vpclab_dataplane::tables::Tables;
use vpclab_dataplane::worker::Clock;

use super::{Lab, change, load, services};
use crate::api::{Action, Caller, ControlPlane, CreateDefaultVpc, default_vpc};
use crate::aws::{Backend, Credentials};
use crate::cli::CliError;
use crate::host::from_model;
use crate::host::plan::{CommandPlan, HostPlan, RestartPolicy};
use crate::model::{InstanceState, Model, Plug};

/// What the user allowed the API to do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowed {
    pub(super) reset: bool,
    pub(super) user_data: bool,
    /// Whether instances are namespaces; else they wait to be attached.
    pub(super) namespaces: bool,
}

impl Backend for Lab {
    fn control(&self) -> MutexGuard<'_, ControlPlane> {
        self.model.control()
    }

    fn tables(&self) -> Arc<Tables> {
        self.model.tables()
    }

    fn clock(&self) -> Clock {
        self.worker.clock()
    }

    #[expect(clippy::disallowed_methods, reason = "AWS dates what it makes")]
    fn since_1970_s(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }

    fn plug(&self) -> Plug {
        match self.allowed.namespaces {
            true => Plug::Lab,
            false => Plug::Waiting,
        }
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.lock_changes()
    }

    fn rewire(&self, before: &Model, after: &Model) -> Result<(), String> {
        let hosts = change::Hosts {
            old: self.hosts_of(before),
            new: self.hosts_of(after),
        };
        services::sync(self, after).map_err(|error| error.to_string())?;
        change::rewire(self, &hosts).map_err(|error| error.to_string())
    }

    fn flow_seed(&self) -> Result<u64, String> {
        self.worker
            .visit(|pipeline, _, _| pipeline.connections().seed.0)
            .map_err(|gone| gone.to_string())
    }

    fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    fn allows_reset(&self) -> bool {
        self.allowed.reset
    }
}

impl Lab {
    /// Makes the default VPC that the lab is to begin with, unless it is there.
    pub(super) fn make_default_vpc(&self) -> Result<(), CliError> {
        let now = self.since_1970_s();
        let made = self.model.control().transact(&Caller::default(), |tx| {
            tx.set_now(now);
            match default_vpc(tx) {
                Some(_) => Ok(()),
                None => CreateDefaultVpc.apply(tx).map(drop),
            }
        });
        made.map_err(|error| CliError::usage(error.message))
    }

    /// The hosts of a model and what runs in them, by name.
    pub(super) fn hosts_of(&self, model: &Model) -> BTreeMap<String, HostPlan> {
        let commands = self.commands(model);
        let hosts = super::model::with_commands(from_model::hosts(model), &commands);
        hosts
            .into_iter()
            .map(|host| (host.name.clone(), host))
            .collect()
    }

    /// What runs in the hosts: the file's commands, and instances' user data.
    pub(super) fn commands(&self, model: &Model) -> load::Commands {
        let mut commands = self.model.file().commands.clone();
        if !self.allowed.user_data {
            return commands;
        }
        for instance in model.instances().iter() {
            let running = instance.state == InstanceState::Running;
            let script = instance
                .user_data
                .as_deref()
                .filter(|_| running)
                .and_then(script);
            if let Some(script) = script {
                let key = format!("{}-user-data", instance.id);
                commands
                    .entry(instance.id.to_string())
                    .or_default()
                    .push(CommandPlan {
                        log: self.dir.command_log(&key),
                        key,
                        argv: script,
                        env: BTreeMap::new(),
                        directory: "/".into(),
                        restart: RestartPolicy::No,
                    });
            }
        }
        commands
    }
}

/// How to run user data: base64 of a script, whose first line may say by what.
fn script(user_data: &str) -> Option<Vec<String>> {
    let bytes = STANDARD.decode(user_data.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let first = text.lines().next()?;
    let shell = first.strip_prefix("#!").map_or("/bin/sh", str::trim);
    let mut argv: Vec<String> = shell.split_whitespace().map(str::to_owned).collect();
    argv.extend(["-c".to_owned(), text]);
    Some(argv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_runs_by_its_first_line() {
        let argv = |text: &str| script(&STANDARD.encode(text)).unwrap();
        assert_eq!(
            argv("#!/bin/bash -e\necho"),
            ["/bin/bash", "-e", "-c", "#!/bin/bash -e\necho"]
        );
        assert_eq!(argv("echo")[..2], ["/bin/sh", "-c"]);
        assert_eq!(script("*"), None);
    }
}
