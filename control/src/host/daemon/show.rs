//! What `ps`, `inspect` and `flows` show, as JSON.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::flow::Ingress;
use vpclab_dataplane::tables::TargetHealth;
use vpclab_dataplane::worker::PortCounters;

use super::Lab;
use crate::cli::CliError;
use crate::host::Context;
use crate::host::init_client::InitClient;
use crate::model::{Model, NetworkInterface, NetworkInterfaceId, TargetGroup};

/// Hosts, endpoints, load balancers and targets.
pub(super) fn ps(lab: &Lab) -> Result<Value, CliError> {
    let programs = InitClient::connect_as_child(&lab.dir)?.status()?.programs;
    let hosts: Vec<_> = lab
        .model
        .hosts()
        .iter()
        .map(|host| {
            let addresses: Vec<_> = host
                .interfaces
                .iter()
                .flat_map(|interface| interface.addresses.iter().map(|(address, _)| address))
                .collect();
            let commands: Vec<_> = host
                .commands
                .iter()
                .map(|command| {
                    let program = programs.get(&command.key);
                    json!({
                        "command": command.argv.last(),
                        "pid": program.map(|program| program.pid),
                        "ended": program.and_then(|program| program.ended.as_ref()),
                        "log": command.log,
                    })
                })
                .collect();
            json!({"name": host.name, "addresses": addresses, "commands": commands})
        })
        .collect();
    let control = lab.model.control();
    let model = control.model();
    let endpoints: Vec<_> = model
        .vpc_endpoints()
        .iter()
        .map(|endpoint| {
            json!({
                "id": endpoint.id.as_str(),
                "name": endpoint.meta.name,
                "service": endpoint.service_name,
                "state": endpoint.state.name(),
                "addresses": addresses(model, endpoint.interfaces.iter().map(|held| &held.interface)),
            })
        })
        .collect();
    let load_balancers: Vec<_> = model
        .load_balancers()
        .iter()
        .map(|balancer| {
            json!({
                "name": balancer.name,
                "arn": balancer.id.as_str(),
                "addresses": addresses(model, balancer.nodes.iter().map(|node| &node.interface)),
            })
        })
        .collect();
    let groups: Vec<_> = model
        .target_groups()
        .iter()
        .map(|group| target_group(model, group))
        .collect();
    Ok(json!({
        "lab": lab.dir.name(),
        "hosts": hosts,
        "endpoints": endpoints,
        "load_balancers": load_balancers,
        "target_groups": groups,
    }))
}

/// The addresses of these interfaces, in order.
fn addresses<'a>(
    model: &Model,
    interfaces: impl Iterator<Item = &'a NetworkInterfaceId>,
) -> Vec<IpAddr> {
    let rows = interfaces.filter_map(|id| model.get(id));
    rows.flat_map(|interface| interface.addresses().collect::<Vec<_>>())
        .collect()
}

fn target_group(model: &Model, group: &TargetGroup) -> Value {
    let targets: Vec<_> = group
        .targets
        .iter()
        .map(|target| {
            json!({
                "address": target.address(model),
                "port": target.port,
                "health": health_name(target.health),
                "reason": target.failure.as_ref().map(|failure| format!("{failure:?}")),
            })
        })
        .collect();
    json!({"name": group.name, "arn": group.id.as_str(), "targets": targets})
}

/// AWS's name of a target's state.
const fn health_name(health: TargetHealth) -> &'static str {
    match health {
        TargetHealth::Initial => "initial",
        TargetHealth::Healthy => "healthy",
        TargetHealth::Unhealthy => "unhealthy",
        TargetHealth::Draining => "draining",
        TargetHealth::Unused => "unused",
    }
}

/// Whether every target that is checked is healthy.
pub(super) fn all_healthy(lab: &Lab) -> bool {
    let control = lab.model.control();
    let mut targets = control
        .model()
        .target_groups()
        .iter()
        .flat_map(|group| &group.targets);
    targets.all(|target| {
        !matches!(
            target.health,
            TargetHealth::Initial | TargetHealth::Unhealthy
        )
    })
}

/// The interfaces that `id` means (all without one), with their state and
/// counters, and the lab's counters.
pub(super) fn inspect(lab: &Lab, id: Option<&str>) -> Result<Value, CliError> {
    let wanted = id.map(|id| lab.model.ports(id)).transpose()?;
    let counters = lab.worker.counters().context("counters")?;
    let ports: BTreeMap<_, _> = counters.ports.iter().copied().collect();
    let control = lab.model.control();
    let model = control.model();
    let interfaces: Vec<_> = model
        .interfaces()
        .iter()
        .filter_map(|interface| {
            let eni = EniId(model.row(&interface.id)?);
            let shown = wanted.as_ref().is_none_or(|wanted| wanted.contains(&eni));
            shown.then(|| describe(interface, ports.get(&eni)))
        })
        .collect();
    let named: BTreeMap<_, _> = counters.pipeline.named().collect();
    Ok(json!({
        "lab": lab.dir.name(),
        "interfaces": interfaces,
        "counters": named,
        "capture_lost": counters.capture_lost,
    }))
}

fn describe(interface: &NetworkInterface, port: Option<&PortCounters>) -> Value {
    let attachment = interface.attachment.as_ref();
    json!({
        "id": interface.id.as_str(),
        "name": interface.meta.name,
        "host": attachment.map(|held| &held.host),
        "device": attachment.map(|held| format!("eth{}", held.device_index)),
        "description": interface.description,
        "vpc": interface.vpc.as_str(),
        "subnet": interface.subnet.as_str(),
        "mac": interface.mac.to_string(),
        "mtu": interface.mtu,
        "addresses": interface.addresses().collect::<Vec<_>>(),
        "groups": interface.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>(),
        "source_dest_check": interface.source_dest_check,
        "port": port.map(|port| json!({
            "rx": port.received,
            "rx_bytes": port.received_bytes,
            "tx": port.transmitted,
            "tx_bytes": port.transmitted_bytes,
            "refused": port.refused,
            "errors": port.errors,
        })),
    })
}

/// Live connections: what each end sends, and how much went each way.
pub(super) fn flows(lab: &Lab, port: Option<&str>) -> Result<Value, CliError> {
    let wanted = port.map(|port| lab.model.ports(port)).transpose()?;
    let sessions = lab
        .worker
        .visit(move |pipeline, _, now| {
            let all = pipeline.connections().sessions.iter();
            all.filter(|(_, session)| session.dies_at() > now)
                .map(|(_, session)| {
                    let age = now.since(session.created).as_secs();
                    (session.keys, session.packets, session.bytes, age)
                })
                .collect::<Vec<_>>()
        })
        .context("flows")?;
    let name = |ingress: Ingress| match ingress {
        Ingress::Eni(eni) => lab.model.interface_name(eni),
        Ingress::Gwlb(slot) => format!("gwlb flow {slot}"),
    };
    let flows: Vec<_> = sessions
        .into_iter()
        .filter(|(keys, ..)| {
            wanted.as_ref().is_none_or(|wanted| {
                keys.iter()
                    .flatten()
                    .any(|key| matches!(key.ingress, Ingress::Eni(eni) if wanted.contains(&eni)))
            })
        })
        .map(|(keys, packets, bytes, age)| {
            let end = |n: usize| {
                let key = keys.get(n).copied().flatten();
                json!({
                    "at": key.map(|key| name(key.ingress)),
                    "sends": key.map(|key| key.tuple.to_string()),
                    "packets": packets.get(n),
                    "bytes": bytes.get(n),
                })
            };
            json!({"age_s": age, "opener": end(0), "answerer": end(1)})
        })
        .collect();
    Ok(json!({"flows": flows}))
}
