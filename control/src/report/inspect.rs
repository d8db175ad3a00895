//! `vpclab inspect`: one resource with everything known of it, or all interfaces.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::{self, EniId};
use vpclab_dataplane::lpm::Structure;
use vpclab_dataplane::tables::Snapshot;
use vpclab_dataplane::worker::WorkerCounters;

use super::gateway::GatewayReport;
use super::ps::{PortCountersReport, public_addresses};
use super::{Names, ResourceReport, resource};
use crate::model::{Model, NetworkInterface, RouteTableId};

/// The answer of `vpclab inspect`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InspectReport {
    /// Name of the lab.
    pub lab: String,
    /// The resource that was asked for, unless it is an interface or a host.
    pub resources: Vec<ResourceReport>,
    /// Its interfaces; all of the lab's when nothing was asked for.
    pub interfaces: Vec<InterfaceReport>,
    /// The data plane's counters by name. `drop.REASON` is there once something
    /// was dropped for that reason.
    pub counters: BTreeMap<String, u64>,
    /// The same by packet worker.
    pub workers: Vec<BTreeMap<String, u64>>,
    /// How frames are moved between interfaces and data plane: `io_uring`, or
    /// why not.
    pub io: String,
    /// Frames that captures missed because their reader was slow.
    pub capture_lost: u64,
    /// The way to and from this machine's real network, as far as it is about
    /// what was asked for; `null` without one.
    pub gateway: Option<GatewayReport>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceReport {
    /// AWS id.
    pub id: String,
    /// Its own name in the topology.
    pub name: Option<String>,
    /// The host on it; `null` for a service's.
    pub host: Option<String>,
    /// Device in the host: `eth0`.
    pub device: Option<String>,
    /// `host eth0`; of a service's interface, whose it is.
    pub label: String,
    /// Free text; says what a service's interface is for.
    pub description: String,
    /// Id of its VPC.
    pub vpc: String,
    /// Id of its subnet.
    pub subnet: String,
    /// Its subnet as the topology names it: `vpc/subnet`.
    pub subnet_name: String,
    /// Zone.
    pub zone: Option<String>,
    /// MAC address.
    pub mac: String,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Private addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
    /// Public addresses that are translated to it.
    pub public_addresses: Vec<IpAddr>,
    /// Ids of its security groups.
    pub groups: Vec<String>,
    /// Their names.
    pub group_names: Vec<String>,
    /// Whether the source/destination check is on.
    pub source_dest_check: bool,
    /// What crossed it; `null` for a service's, and while no port is open.
    pub port: Option<PortCountersReport>,
}

impl InspectReport {
    /// What `asked` names, and the interfaces `wanted` (all without it). Empty in
    /// both if there is no such thing.
    pub fn new(
        model: &Model,
        lab: &str,
        asked: Option<&str>,
        wanted: Option<&[EniId]>,
        counters: &WorkerCounters,
    ) -> Self {
        let names = Names::of(model);
        let ports: BTreeMap<_, _> = counters.ports.iter().copied().collect();
        let interfaces = model.interfaces().iter().filter_map(|interface| {
            let eni = EniId(model.row(&interface.id)?);
            let shown = wanted.is_none_or(|wanted| wanted.contains(&eni));
            let port = ports.get(&eni).map(PortCountersReport::from);
            shown.then(|| describe(model, &names, interface, port))
        });
        Self {
            lab: lab.to_owned(),
            resources: asked.map_or(Vec::new(), |asked| resource::find(model, &names, asked)),
            interfaces: interfaces.collect(),
            counters: counters.pipeline.named().collect(),
            workers: counters
                .workers
                .iter()
                .map(|worker| worker.named().collect())
                .collect(),
            io: counters.mover.to_string(),
            capture_lost: counters.capture_lost,
            gateway: None,
        }
    }

    /// The same with what the data plane looks up addresses in, of each route table.
    #[must_use]
    pub fn with_searches(mut self, model: &Model, tables: &Snapshot) -> Self {
        for table in self
            .resources
            .iter_mut()
            .filter(|it| it.kind == "route table")
        {
            let row = model.row(&RouteTableId::from(table.id.clone()));
            let compiled = row.and_then(|row| tables.route_tables.row(addr::RouteTableId(row)));
            if let Some(compiled) = compiled {
                let [v4, v6] = compiled
                    .searches()
                    .map(|(structure, memory)| format!("{} of {memory} B", words(structure)));
                table.fact("looked up in", format!("{v4}; IPv6: {v6}"));
            }
        }
        self
    }

    /// The same with the gateway; of its published ports only those of the hosts
    /// in the report, if something was asked for.
    #[must_use]
    pub fn with_gateway(mut self, gateway: Option<GatewayReport>, asked: bool) -> Self {
        let shown = |host: &str| {
            let mut all = self.interfaces.iter();
            !asked || all.any(|it| it.host.as_deref() == Some(host))
        };
        self.gateway = gateway.and_then(|mut gateway| {
            gateway.published.retain(|port| shown(&port.host));
            (!asked || !gateway.published.is_empty()).then_some(gateway)
        });
        self
    }
}

fn describe(
    model: &Model,
    names: &Names,
    interface: &NetworkInterface,
    port: Option<PortCountersReport>,
) -> InterfaceReport {
    let attachment = interface.attachment.as_ref();
    let groups = interface.groups.iter();
    InterfaceReport {
        id: interface.id.as_str().to_owned(),
        name: interface.meta.name.as_deref().map(str::to_owned),
        host: attachment.map(|held| held.host.to_string()),
        device: attachment.map(|held| format!("eth{}", held.device_index)),
        label: names.interface(interface),
        description: interface.description.to_string(),
        vpc: interface.vpc.as_str().to_owned(),
        subnet: interface.subnet.as_str().to_owned(),
        subnet_name: if interface.internet {
            "internet".to_owned()
        } else if interface.on_prem {
            "on premises".to_owned()
        } else {
            names.subnet(&interface.vpc, &interface.subnet)
        },
        zone: model
            .get(&interface.subnet)
            .filter(|_| !interface.is_outside())
            .map(|subnet| subnet.zone.to_string()),
        mac: interface.mac.to_string(),
        mtu: interface.mtu,
        addresses: interface.addresses().collect(),
        public_addresses: public_addresses(model, interface),
        groups: groups.clone().map(|id| id.as_str().to_owned()).collect(),
        group_names: groups
            .map(|id| names.short(id.as_str()).to_owned())
            .collect(),
        source_dest_check: interface.source_dest_check,
        port,
    }
}

fn words(structure: Structure) -> &'static str {
    match structure {
        Structure::Tiny => "registers",
        Structure::Tree => "a search tree",
        Structure::Direct => "an index with lines",
        Structure::Rank => "a ranked bitmap",
    }
}
