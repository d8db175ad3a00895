//! `vpclab ps`: what runs, and how it is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::tables::{LoadBalancerKind, TargetHealth};
use vpclab_dataplane::worker::PortCounters;

use super::Names;
use super::gateway::GatewayReport;
use super::joins::JoinReport;
use super::metrics::{Counted, Metrics};
use crate::faults::HostFault;
use crate::host::init::ProgramStatus;
use crate::host::plan::HostPlan;
use crate::model::{
    Listener, LoadBalancer, Model, NatGateway, NetworkInterface, NetworkInterfaceId, Plug,
    TargetGroup, VpcEndpoint,
};

/// The answer of `vpclab ps`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PsReport {
    /// Name of the lab.
    pub lab: String,
    /// Seconds since its daemon started.
    pub uptime_s: u64,
    /// How many times as fast as ours its clock runs.
    pub time_scale: u32,
    /// Where it serves metrics and health; `null` if nowhere.
    pub http: Option<String>,
    /// Hosts, by name.
    pub hosts: Vec<HostReport>,
    /// VPC endpoints.
    pub endpoints: Vec<EndpointReport>,
    /// NAT gateways.
    pub nat_gateways: Vec<NatGatewayReport>,
    /// Peering and VPN connections.
    pub joins: Vec<JoinReport>,
    /// Load balancers.
    pub load_balancers: Vec<LoadBalancerReport>,
    /// Target groups with the health of their targets.
    pub target_groups: Vec<TargetGroupReport>,
    /// The way to and from this machine's real network; `null` without one.
    pub gateway: Option<GatewayReport>,
}

/// The answer of `vpclab ps --all`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AllReport {
    /// This user's labs, by name.
    pub labs: Vec<LabReport>,
}

/// A lab as it is, or why it does not say.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LabReport {
    /// It answers.
    Answer(Box<PsReport>),
    /// Its daemon does not.
    Silent {
        /// Name of the lab.
        lab: String,
        /// What is wrong.
        error: String,
    },
}

/// A host: a network namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostReport {
    /// Its name in the topology.
    pub name: String,
    /// Addresses of all its interfaces.
    pub addresses: Vec<IpAddr>,
    /// Its ENIs.
    pub interfaces: Vec<PortReport>,
    /// `killed` or `paused`, by `vpclab fault host`; `null` without a fault.
    pub fault: Option<HostFault>,
    /// What the topology runs in it.
    pub commands: Vec<CommandReport>,
}

/// An ENI of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PortReport {
    /// AWS id.
    pub id: String,
    /// Device in the host: `eth0`.
    pub device: String,
    /// Its subnet, as `vpc/subnet`; `internet` for internet hosts.
    pub subnet: String,
    /// Private addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
    /// Public addresses that are translated to it.
    pub public_addresses: Vec<IpAddr>,
    /// Who makes what is behind it.
    pub state: PortState,
    /// Where it is attached, in words: `eth0 in process 4711 (nginx)`.
    pub attached_to: Option<String>,
    /// What crossed it; `null` while no port is open.
    pub counters: Option<PortCountersReport>,
}

/// What is behind an ENI of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PortState {
    /// A host that the lab made.
    Up,
    /// Nothing: it waits for `vpclab attach`, and packets to it are dropped.
    Detached,
    /// What `vpclab attach` put there.
    Attached,
}

/// What crossed a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortCountersReport {
    /// Frames the host sent.
    pub rx: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames the host got.
    pub tx: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Frames the port did not take.
    pub refused: u64,
    /// Errors of the operating system, and frames that never fit.
    pub errors: u64,
}

impl From<&PortCounters> for PortCountersReport {
    fn from(port: &PortCounters) -> Self {
        Self {
            rx: port.received,
            rx_bytes: port.received_bytes,
            tx: port.transmitted,
            tx_bytes: port.transmitted_bytes,
            refused: port.refused,
            errors: port.errors,
        }
    }
}

/// A program of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommandReport {
    /// The line of the topology file.
    pub command: Option<String>,
    /// Its process number in the lab; `null` if it was never started.
    pub pid: Option<i32>,
    /// How it ended; `null` while it runs.
    pub ended: Option<String>,
    /// How often it was started again.
    pub restarts: u32,
    /// Whether it will be started again by itself.
    pub restarting: bool,
    /// File with what it prints.
    pub log: PathBuf,
}

/// A VPC endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointReport {
    /// AWS id.
    pub id: String,
    /// Its name in the topology.
    pub name: Option<String>,
    /// `Interface` or `GatewayLoadBalancer`.
    pub kind: String,
    /// AWS name of the service.
    pub service: String,
    /// Name of the service in the topology, else the AWS name.
    pub service_label: String,
    /// `available`, `pendingAcceptance`, `rejected` or `failed`.
    pub state: String,
    /// Addresses of its interfaces.
    pub addresses: Vec<IpAddr>,
    /// What it has counted, by the names of CloudWatch (`AWS/PrivateLinkEndpoints`);
    /// a gateway endpoint has none.
    #[serde(default)]
    pub metrics: Metrics,
}

/// A NAT gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NatGatewayReport {
    /// AWS id.
    pub id: String,
    /// Its name in the topology.
    pub name: Option<String>,
    /// `public` or `private`.
    pub kind: String,
    /// Its subnet, as `vpc/subnet`.
    pub subnet: String,
    /// Private addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
    /// Its Elastic IPs.
    pub public_addresses: Vec<IpAddr>,
    /// `available` or `failed`.
    pub state: String,
    /// What it has counted, by the names of CloudWatch (`AWS/NATGateway`).
    #[serde(default)]
    pub metrics: Metrics,
}

/// A load balancer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadBalancerReport {
    /// Its name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// `network` or `gateway`.
    pub kind: String,
    /// Addresses of its nodes.
    pub addresses: Vec<IpAddr>,
    /// Listeners, as `TCP:80 → group`.
    pub listeners: Vec<String>,
    /// What it has counted, by the names of CloudWatch (`AWS/NetworkELB`,
    /// `AWS/GatewayELB`).
    #[serde(default)]
    pub metrics: Metrics,
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetGroupReport {
    /// Its name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// `TCP`, `UDP`, `TCP_UDP` or `GENEVE`.
    pub protocol: String,
    /// Its targets.
    pub targets: Vec<TargetReport>,
    /// `HealthyHostCount` and `UnHealthyHostCount` of CloudWatch.
    #[serde(default)]
    pub metrics: Metrics,
}

/// A target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetReport {
    /// Address; `null` when its interface is gone.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: u16,
    /// The host that has the address, if one has.
    pub host: Option<String>,
    /// Its zone; `null` stands for all.
    pub zone: Option<String>,
    /// AWS's state: `initial`, `healthy`, `unhealthy`, `draining` or `unused`.
    pub health: String,
    /// AWS's reason code of an unhealthy target: `Target.Timeout`…
    pub reason: Option<String>,
    /// The reason in words.
    pub description: Option<String>,
}

/// What a report is made of, besides the model.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Name of the lab.
    pub lab: &'a str,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// How many times as fast as ours its clock runs.
    pub time_scale: u32,
    /// Hosts that were killed or frozen.
    pub faults: &'a BTreeMap<String, HostFault>,
    /// Port at which it serves HTTP.
    pub http: Option<std::net::SocketAddr>,
    /// Hosts with their commands.
    pub hosts: &'a [HostPlan],
    /// What became of the commands, by key.
    pub programs: &'a BTreeMap<String, ProgramStatus>,
    /// Accounts of the ports.
    pub ports: &'a BTreeMap<EniId, PortCounters>,
    /// What load balancers, endpoints and NAT gateways have counted.
    pub counted: &'a Counted,
    /// The way to and from the machine's network.
    pub gateway: Option<GatewayReport>,
}

impl PsReport {
    /// The lab as it is.
    pub fn new(model: &Model, inputs: &Inputs<'_>) -> Self {
        let names = Names::of(model);
        Self {
            lab: inputs.lab.to_owned(),
            uptime_s: inputs.uptime_s,
            time_scale: inputs.time_scale,
            http: inputs.http.map(crate::http::url),
            hosts: inputs
                .hosts
                .iter()
                .map(|plan| host(model, &names, plan, inputs))
                .collect(),
            endpoints: model
                .vpc_endpoints()
                .iter()
                .map(|it| endpoint(model, &names, it, inputs))
                .collect(),
            nat_gateways: model
                .nat_gateways()
                .iter()
                .map(|it| nat_gateway(model, &names, it, inputs))
                .collect(),
            joins: super::joins::all(model, &names),
            load_balancers: model
                .load_balancers()
                .iter()
                .map(|it| load_balancer(model, &names, it, inputs))
                .collect(),
            target_groups: model
                .target_groups()
                .iter()
                .map(|it| target_group(model, it))
                .collect(),
            gateway: inputs.gateway.clone(),
        }
    }
}

impl TargetReport {
    /// `address:port`
    pub fn socket(&self) -> String {
        match self.address {
            Some(address) => std::net::SocketAddr::new(address, self.port).to_string(),
            None => format!("gone:{}", self.port),
        }
    }
}

fn host(model: &Model, names: &Names, plan: &HostPlan, inputs: &Inputs<'_>) -> HostReport {
    let addresses = plan.interfaces.iter().flat_map(|it| &it.addresses);
    let interfaces = plan.interfaces.iter().filter_map(|it| {
        let interface = model
            .interfaces()
            .get(&crate::model::Id::from_text(it.label.as_str().into()))?;
        let (state, attached_to) = match interface.attachment.as_ref().map(|held| &held.plug) {
            Some(Plug::Waiting) => (PortState::Detached, None),
            Some(Plug::Foreign(to)) => (PortState::Attached, Some(to.to_string())),
            Some(Plug::Lab | Plug::Gateway | Plug::Service) | None => (PortState::Up, None),
        };
        Some(PortReport {
            state,
            attached_to,
            id: it.label.clone(),
            device: it.device.clone(),
            subnet: if interface.internet {
                "internet".to_owned()
            } else if interface.on_prem {
                "on premises".to_owned()
            } else {
                names.subnet(&interface.vpc, &interface.subnet)
            },
            addresses: interface.addresses().collect(),
            public_addresses: public_addresses(model, interface),
            counters: inputs.ports.get(&EniId(it.eni)).map(Into::into),
        })
    });
    let commands = plan.commands.iter().map(|command| {
        let program = inputs.programs.get(&command.key);
        CommandReport {
            command: command.argv.last().cloned(),
            pid: program.map(|program| program.pid),
            ended: program.and_then(|program| program.ended.clone()),
            restarts: program.map_or(0, |program| program.restarts),
            restarting: program.is_some_and(|program| program.restarting),
            log: command.log.clone(),
        }
    });
    HostReport {
        name: plan.name.clone(),
        addresses: addresses.map(|&(address, _)| address).collect(),
        interfaces: interfaces.collect(),
        fault: inputs.faults.get(&plan.name).copied(),
        commands: commands.collect(),
    }
}

/// Elastic IP addresses and an auto-assigned one.
pub(crate) fn public_addresses(model: &Model, interface: &NetworkInterface) -> Vec<IpAddr> {
    let elastic = model.elastic_ips().iter().filter(|ip| {
        let held = ip.association.as_ref();
        held.is_some_and(|held| held.interface == interface.id)
    });
    let elastic = elastic.map(|ip| IpAddr::V4(ip.public));
    elastic
        .chain(interface.auto_public.map(IpAddr::V4))
        .collect()
}

fn endpoint(
    model: &Model,
    names: &Names,
    endpoint: &VpcEndpoint,
    inputs: &Inputs<'_>,
) -> EndpointReport {
    EndpointReport {
        id: endpoint.id.as_str().to_owned(),
        name: endpoint.meta.name.as_deref().map(str::to_owned),
        kind: endpoint.endpoint_type.name().to_owned(),
        service: endpoint.service_name.to_string(),
        service_label: names.short(&endpoint.service_name).to_owned(),
        state: endpoint.state.name().to_owned(),
        addresses: addresses(model, endpoint.interfaces.iter().map(|it| &it.interface)),
        metrics: inputs.counted.of_endpoint(model, endpoint),
    }
}

fn nat_gateway(
    model: &Model,
    names: &Names,
    gateway: &NatGateway,
    inputs: &Inputs<'_>,
) -> NatGatewayReport {
    let interface = gateway.interface.as_ref().and_then(|id| model.get(id));
    NatGatewayReport {
        id: gateway.id.as_str().to_owned(),
        name: gateway.meta.name.as_deref().map(str::to_owned),
        kind: gateway.connectivity.name().to_owned(),
        subnet: names.subnet(&gateway.vpc, &gateway.subnet),
        addresses: addresses(model, gateway.interface.iter()),
        public_addresses: interface
            .map(|interface| public_addresses(model, interface))
            .unwrap_or_default(),
        state: gateway.state().to_owned(),
        metrics: inputs.counted.of_nat_gateway(model, gateway),
    }
}

fn load_balancer(
    model: &Model,
    names: &Names,
    balancer: &LoadBalancer,
    inputs: &Inputs<'_>,
) -> LoadBalancerReport {
    let listeners = listeners(model, balancer).into_iter();
    LoadBalancerReport {
        name: balancer.name.to_string(),
        arn: balancer.id.as_str().to_owned(),
        kind: balancer_kind(balancer.kind).to_owned(),
        addresses: addresses(model, balancer.nodes.iter().map(|it| &it.interface)),
        listeners: listeners.map(|it| listener(names, it)).collect(),
        metrics: inputs.counted.of_balancer(model, balancer),
    }
}

/// AWS's name of a kind of load balancer.
pub(crate) const fn balancer_kind(kind: LoadBalancerKind) -> &'static str {
    match kind {
        LoadBalancerKind::Network => "network",
        LoadBalancerKind::Gateway => "gateway",
    }
}

/// By port.
pub(super) fn listeners<'a>(model: &'a Model, balancer: &LoadBalancer) -> Vec<&'a Listener> {
    let found = model.referrers::<Listener>(&balancer.id);
    let mut all: Vec<_> = found.map(|it| &**it).collect();
    all.sort_by_key(|it| (it.port, it.protocol.to_string()));
    all
}

/// `TCP:80 → group`; a gateway load balancer has no port.
pub(super) fn listener(names: &Names, listener: &Listener) -> String {
    let group = names.short(listener.target_group.as_str());
    match listener.port {
        0 => format!("{} → {group}", listener.protocol),
        port => format!("{}:{port} → {group}", listener.protocol),
    }
}

fn target_group(model: &Model, group: &TargetGroup) -> TargetGroupReport {
    let zones: BTreeMap<_, _> = model
        .subnets()
        .iter()
        .map(|subnet| (subnet.az, subnet.zone.to_string()))
        .collect();
    let targets = group.targets.iter().map(|target| {
        let address = target.address(model);
        let zone = target.zone(group, model);
        TargetReport {
            address,
            port: target.port,
            host: address.and_then(|address| host_with(model, group, address)),
            zone: zone.and_then(|zone| zones.get(&zone).cloned()),
            health: health_name(target.health).to_owned(),
            reason: target.failure.map(|failure| failure.reason().to_owned()),
            description: target.failure.map(|failure| failure.to_string()),
        }
    });
    TargetGroupReport {
        name: group.name.to_string(),
        arn: group.id.as_str().to_owned(),
        protocol: group.protocol.name().to_owned(),
        targets: targets.collect(),
        metrics: health_counts(group),
    }
}

fn health_counts(group: &TargetGroup) -> Metrics {
    let count = |health| {
        let of = group.targets.iter().filter(|it| it.health == health);
        of.count() as u64
    };
    Metrics::from([
        ("HealthyHostCount".to_owned(), count(TargetHealth::Healthy)),
        (
            "UnHealthyHostCount".to_owned(),
            count(TargetHealth::Unhealthy),
        ),
    ])
}

fn host_with(model: &Model, group: &TargetGroup, address: IpAddr) -> Option<String> {
    let mut interfaces = model.referrers::<NetworkInterface>(&group.vpc);
    let found = interfaces.find(|it| it.addresses().any(|own| own == address))?;
    Some(found.attachment.as_ref()?.host.to_string())
}

/// The addresses of these interfaces, in order.
pub(super) fn addresses<'a>(
    model: &Model,
    interfaces: impl Iterator<Item = &'a NetworkInterfaceId>,
) -> Vec<IpAddr> {
    let rows = interfaces.filter_map(|id| model.get(id));
    rows.flat_map(|interface| interface.addresses().collect::<Vec<_>>())
        .collect()
}

/// AWS's name of a target's state.
pub const fn health_name(health: TargetHealth) -> &'static str {
    match health {
        TargetHealth::Initial => "initial",
        TargetHealth::Healthy => "healthy",
        TargetHealth::Unhealthy => "unhealthy",
        TargetHealth::Draining => "draining",
        TargetHealth::Unused => "unused",
    }
}
