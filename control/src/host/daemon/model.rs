//! What the daemon knows of its lab: control plane, hosts, names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::tables::Tables;

use super::load;
use crate::api::ControlPlane;
use crate::cli::CliError;
use crate::host::from_model;
use crate::host::plan::{CommandPlan, HostPlan};
use crate::host::runtime_dir::{RuntimeDir, State};
use crate::model::InterfaceKind;

/// The lab: its control plane, and what its hosts run.
#[derive(Debug)]
pub(crate) struct Model {
    control: Mutex<ControlPlane>,
    tables: Arc<Tables>,
    commands: BTreeMap<String, Vec<CommandPlan>>,
}

impl Model {
    /// Builds the lab from its file.
    pub(super) fn load(state: &State, dir: &RuntimeDir) -> Result<Self, CliError> {
        let (control, commands) = load::load(state, dir)?;
        Ok(Self {
            tables: Arc::clone(control.tables()),
            control: Mutex::new(control),
            commands,
        })
    }

    /// The control plane, for one request.
    pub(super) fn control(&self) -> MutexGuard<'_, ControlPlane> {
        // An action that panicked changed nothing: the old model is still there.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the workers read.
    pub(super) fn tables(&self) -> Arc<Tables> {
        Arc::clone(&self.tables)
    }

    /// Hosts that have a namespace, with their commands.
    pub(super) fn hosts(&self) -> Vec<HostPlan> {
        let mut hosts = from_model::hosts(self.control().model());
        for host in &mut hosts {
            host.commands = self.commands.get(&host.name).cloned().unwrap_or_default();
        }
        hosts
    }

    /// The ports of a host, by its name, or of an ENI, by its id or name.
    pub(super) fn ports(&self, name: &str) -> Result<Vec<EniId>, CliError> {
        let control = self.control();
        let model = control.model();
        let mut hosts = Vec::new();
        let mut ports = Vec::new();
        for interface in model.interfaces().iter() {
            let host = interface.attachment.as_ref().map(|held| &*held.host);
            if host == Some(name)
                || interface.id.as_str() == name
                || interface.meta.name.as_deref() == Some(name)
            {
                ports.extend(model.row(&interface.id).map(EniId));
            }
            hosts.extend(host.filter(|_| interface.kind == InterfaceKind::Host));
        }
        if ports.is_empty() {
            hosts.sort_unstable();
            hosts.dedup();
            return Err(CliError::usage(format!("no host or ENI is named `{name}`"))
                .fix(format!("a host: {}; or an id eni-…", hosts.join(", "))));
        }
        Ok(ports)
    }

    /// How captures and flows name an interface.
    pub(super) fn interface_name(&self, eni: EniId) -> String {
        let control = self.control();
        let model = control.model();
        let interface = model
            .interfaces()
            .iter()
            .find(|interface| model.row(&interface.id) == Some(eni.0));
        let Some(interface) = interface else {
            return format!("eni #{}", eni.0);
        };
        match &interface.attachment {
            Some(held) => format!("{} eth{} {}", held.host, held.device_index, interface.id),
            None => format!("{} {}", interface.description, interface.id),
        }
    }
}
