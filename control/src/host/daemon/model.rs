//! What the daemon knows of its lab: control plane, hosts, names.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::tables::Tables;

use super::load::{self, File};
use crate::api::ControlPlane;
use crate::cli::CliError;
use crate::host::from_model;
use crate::host::plan::HostPlan;
use crate::host::runtime_dir::{RuntimeDir, State};
use crate::model::{InterfaceKind, NetworkInterfaceId};
use crate::report::Names;
use crate::topology::Kept;

/// The lab: its control plane, and what its hosts run.
#[derive(Debug)]
pub(crate) struct Model {
    control: Mutex<ControlPlane>,
    tables: Arc<Tables>,
    file: Mutex<File>,
    time_scale: u32,
}

impl Model {
    /// Builds the lab from its file.
    pub(super) fn load(state: &State, dir: &RuntimeDir) -> Result<Self, CliError> {
        let loaded = load::load(state, dir)?;
        Ok(Self {
            tables: Arc::clone(loaded.control.tables()),
            control: Mutex::new(loaded.control),
            file: Mutex::new(loaded.file),
            time_scale: loaded.time_scale,
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

    /// How many times as fast as ours the lab's clock runs.
    pub(super) const fn time_scale(&self) -> u32 {
        self.time_scale
    }

    /// The file that the lab is made from.
    pub(super) fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What vpclab chose, for a daemon that comes after this one.
    pub(super) fn kept(&self) -> Kept {
        // In the order of every other caller.
        let file = self.file();
        Kept::of(self.control().model(), &file.names)
    }

    /// Hosts that have a namespace, with their commands.
    pub(super) fn hosts(&self) -> Vec<HostPlan> {
        let hosts = from_model::hosts(self.control().model());
        with_commands(hosts, &self.file().commands)
    }

    /// The interfaces that a name means: those of a host, endpoint or load
    /// balancer, or the one with this id.
    pub(super) fn ports(&self, name: &str) -> Result<Vec<EniId>, CliError> {
        let control = self.control();
        let model = control.model();
        let managed = managed_interfaces(model, name);
        let mut known = Vec::new();
        let mut ports = Vec::new();
        for interface in model.interfaces().iter() {
            let host = interface.attachment.as_ref().map(|held| &*held.host);
            if host == Some(name)
                || interface.id.as_str() == name
                || interface.meta.name.as_deref() == Some(name)
                || managed.contains(&interface.id)
            {
                ports.extend(model.row(&interface.id).map(EniId));
            }
            known.extend(host.filter(|_| interface.kind == InterfaceKind::Host));
        }
        if ports.is_empty() {
            known.extend(
                model
                    .vpc_endpoints()
                    .iter()
                    .filter_map(|e| e.meta.name.as_deref()),
            );
            known.extend(
                model
                    .load_balancers()
                    .iter()
                    .map(|balancer| &*balancer.name),
            );
            known.sort_unstable();
            known.dedup();
            let message = format!("no host, endpoint, load balancer or ENI is named `{name}`");
            let fix = format!("one of {}; or an id eni-…", known.join(", "));
            return Err(CliError::usage(message).fix(fix));
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
        let names = Names::of(model);
        format!("{} {}", names.interface(interface), interface.id)
    }
}

/// The requester-managed interfaces of an endpoint or a load balancer.
fn managed_interfaces(model: &crate::model::Model, name: &str) -> Vec<NetworkInterfaceId> {
    let endpoints = model.vpc_endpoints().iter().filter(|endpoint| {
        endpoint.id.as_str() == name || endpoint.meta.name.as_deref() == Some(name)
    });
    let balancers = model
        .load_balancers()
        .iter()
        .filter(|balancer| balancer.id.as_str() == name || &*balancer.name == name);
    endpoints
        .flat_map(|endpoint| {
            endpoint
                .interfaces
                .iter()
                .map(|held| held.interface.clone())
        })
        .chain(balancers.flat_map(|b| b.nodes.iter().map(|node| node.interface.clone())))
        .collect()
}

/// Hosts with what the file runs in them.
pub(super) fn with_commands(mut hosts: Vec<HostPlan>, commands: &load::Commands) -> Vec<HostPlan> {
    for host in &mut hosts {
        host.commands = commands.get(&host.name).cloned().unwrap_or_default();
    }
    hosts
}
