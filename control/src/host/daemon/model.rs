//! What the daemon knows of its lab: hosts, their ports, and how to show them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::tables::Tables;

use super::Lab;
use crate::cli::CliError;
use crate::host::plan::{HostPlan, InterfacePlan};
use crate::host::protocol::TraceRequest;
use crate::host::runtime_dir::State;
use crate::host::{Context, HostError};

/// The lab's hosts and tables.
#[derive(Debug)]
pub(crate) struct Model {
    tables: Arc<Tables>,
    hosts: Vec<HostPlan>,
}

impl Model {
    /// Builds the lab from its file.
    pub(super) fn load(state: &State) -> Result<Self, CliError> {
        let hosts: Vec<HostPlan> = serde_json::from_str(&state.text)
            .map_err(|error| CliError::usage(error.to_string()))?;
        Ok(Self {
            tables: Arc::default(),
            hosts,
        })
    }

    /// What the workers read.
    pub(super) fn tables(&self) -> Arc<Tables> {
        Arc::clone(&self.tables)
    }

    /// Hosts that have a namespace.
    pub(super) fn hosts(&self) -> Vec<HostPlan> {
        self.hosts.clone()
    }

    /// The ports of a host, by its name, or of one ENI.
    pub(super) fn ports(&self, name: &str) -> Result<Vec<EniId>, CliError> {
        let ports: Vec<_> = self
            .interfaces()
            .filter(|(host, interface)| host.name == name || interface.label == name)
            .map(|(_, interface)| EniId(interface.eni))
            .collect();
        if ports.is_empty() {
            let names: Vec<_> = self.hosts.iter().map(|host| host.name.as_str()).collect();
            return Err(CliError::usage(format!("no host or ENI is named `{name}`"))
                .fix(format!("one of: {}", names.join(", "))));
        }
        Ok(ports)
    }

    /// How captures name an interface.
    pub(super) fn interface_name(&self, eni: EniId) -> String {
        self.interfaces()
            .find(|(_, interface)| interface.eni == eni.0)
            .map_or_else(
                || format!("eni #{}", eni.0),
                |(host, interface)| {
                    format!("{} {} {}", host.name, interface.device, interface.label)
                },
            )
    }

    /// Hosts with their interfaces, programs and counters.
    pub(super) fn ps(&self, lab: &Lab) -> Result<Value, CliError> {
        self.inspect(lab, None)
    }

    /// Everything known of one resource, or of all.
    pub(super) fn inspect(&self, lab: &Lab, id: Option<&str>) -> Result<Value, CliError> {
        let counters = lab.worker.counters().context("counters")?;
        let ports: BTreeMap<_, _> = counters.ports.iter().copied().collect();
        let hosts: Vec<_> = self
            .hosts
            .iter()
            .filter(|host| id.is_none_or(|id| id == host.name))
            .map(|host| {
                let interfaces: Vec<_> = host
                    .interfaces
                    .iter()
                    .map(|interface| {
                        let port = ports.get(&EniId(interface.eni)).copied().unwrap_or_default();
                        json!({
                            "id": interface.label,
                            "device": interface.device,
                            "addresses": interface.addresses.iter().map(|(a, _)| a).collect::<Vec<_>>(),
                            "counters": {
                                "rx": port.received,
                                "rx_bytes": port.received_bytes,
                                "tx": port.transmitted,
                                "tx_bytes": port.transmitted_bytes,
                                "refused": port.refused,
                                "errors": port.errors,
                            },
                        })
                    })
                    .collect();
                json!({"name": host.name, "interfaces": interfaces})
            })
            .collect();
        let named: BTreeMap<_, _> = counters.pipeline.named().collect();
        Ok(json!({"lab": lab.dir.name(), "hosts": hosts, "counters": named}))
    }

    /// Live connections.
    pub(super) fn flows(&self, _lab: &Lab, _port: Option<&str>) -> Result<Value, CliError> {
        Err(CliError::not_wired("flows"))
    }

    /// The path of a packet that is not sent.
    pub(super) fn trace(&self, _lab: &Lab, _request: &TraceRequest) -> Result<Value, CliError> {
        Err(CliError::not_wired("trace"))
    }

    fn interfaces(&self) -> impl Iterator<Item = (&HostPlan, &InterfacePlan)> {
        self.hosts.iter().flat_map(|host| {
            host.interfaces
                .iter()
                .map(move |interface| (host, interface))
        })
    }
}

impl From<HostError> for super::Failure {
    fn from(error: HostError) -> Self {
        CliError::from(error).into()
    }
}
