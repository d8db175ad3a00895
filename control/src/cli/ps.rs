//! `vpclab ps`: what runs.

use std::fmt::Display;

use super::style::{self, Mood};
use super::table::{Cell, Table};
use super::{CliError, Exit, Globals, human};
use crate::faults::HostFault;
use crate::host::protocol::Request;
use crate::host::{client, runtime_dir};
use crate::report::gateway::GatewayReport;
use crate::report::ps::{HostReport, PortState, TargetReport};
use crate::report::{AllReport, LabReport, PsReport};

/// Arguments of `vpclab ps`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A line for every lab of this user.
    #[arg(long, conflicts_with = "lab")]
    pub all: bool,
}

/// Lists hosts, endpoints, load balancers and targets.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    if args.all {
        return all(globals);
    }
    let lab = client::find_lab(globals)?;
    let answer = client::ask(&lab, &Request::Ps)?;
    if globals.json {
        super::print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let report: PsReport = client::understand(answer)?;
    super::print(&text(&report))?;
    Ok(Exit::Ok)
}

/// Every lab, those without a daemon too.
fn all(globals: &Globals) -> Result<Exit, CliError> {
    let mut labs = Vec::new();
    let mut lines = String::new();
    for lab in runtime_dir::labs()? {
        match client::ask(&lab, &Request::Ps) {
            Ok(answer) => {
                let report: PsReport = client::understand(answer)?;
                lines.push_str(&summary(&report));
                labs.push(LabReport::Answer(Box::new(report)));
            }
            Err(error) => {
                let name = style::paint(style::TITLE, lab.name());
                let what = style::paint(style::BAD, &error.message);
                lines.push_str(&format!("{name}  {what}\n"));
                labs.push(LabReport::Silent {
                    lab: lab.name().to_owned(),
                    error: error.message,
                });
            }
        }
    }
    if globals.json {
        super::print_json(&AllReport { labs })?;
        return Ok(Exit::Ok);
    }
    if lines.is_empty() {
        lines.push_str("no lab is running\n");
    }
    super::print(&lines)?;
    Ok(Exit::Ok)
}

/// The report as tables, without those that are empty.
pub fn text(report: &PsReport) -> String {
    let tables = [
        hosts(report),
        endpoints(report),
        nat_gateways(report),
        joins(report),
        load_balancers(report),
        targets(report),
        report.gateway.as_ref().map(published).unwrap_or_default(),
    ];
    let mut out = summary(report);
    for table in tables.iter().filter(|table| !table.is_empty()) {
        out.push('\n');
        out.push_str(table);
    }
    out
}

/// One line: the lab and how it is.
fn summary(report: &PsReport) -> String {
    let mut parts = vec![
        format!("up {}", human::seconds(report.uptime_s)),
        counted(report.hosts.len(), "host"),
    ];
    if report.time_scale > 1 {
        parts.push(format!("clock {} times as fast", report.time_scale));
    }
    let ended = report.hosts.iter().filter(|host| ended(host).is_some());
    match ended.count() {
        0 => {}
        n => parts.push(style::paint(
            style::BAD,
            &format!("{n} with ended commands"),
        )),
    }
    let targets: Vec<_> = report
        .target_groups
        .iter()
        .flat_map(|group| &group.targets)
        .collect();
    if !targets.is_empty() {
        let healthy = targets.iter().filter(|it| it.health == "healthy").count();
        let text = format!("{healthy}/{} targets healthy", targets.len());
        let style = if healthy == targets.len() {
            style::GOOD
        } else {
            style::WARN
        };
        parts.push(style::paint(style, &text));
    }
    if let Some(http) = &report.http {
        parts.push(http.clone());
    }
    let name = style::paint(style::TITLE, &report.lab);
    format!("{name}  {}\n", parts.join(", "))
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// How a command of the host ended, if one did.
fn ended(host: &HostReport) -> Option<&str> {
    host.commands.iter().find_map(|it| it.ended.as_deref())
}

/// A host's fault, else what its commands do.
fn host_state(host: &HostReport) -> Cell {
    match host.fault {
        Some(HostFault::Killed) => return Cell::state(Mood::Bad, "killed"),
        Some(HostFault::Paused) => return Cell::state(Mood::Bad, "paused"),
        None => {}
    }
    if let Some(port) = host
        .interfaces
        .iter()
        .find(|port| port.state != PortState::Up)
    {
        return match &port.attached_to {
            None => Cell::state(Mood::Waiting, "detached"),
            Some(to) => Cell::state(Mood::Good, &format!("attached: {to}")),
        };
    }
    let restarts: u32 = host.commands.iter().map(|it| it.restarts).sum();
    let restarts = match restarts {
        0 => String::new(),
        n => format!(", {}", counted(n as usize, "restart")),
    };
    let last = host.commands.iter().find(|it| it.ended.is_some());
    match (last.zip(ended(host)), host.commands.len()) {
        (Some((command, how)), _) if command.restarting => {
            Cell::state(Mood::Bad, &format!("restarting: {how}{restarts}"))
        }
        (Some((_, how)), _) => Cell::state(Mood::Bad, &format!("command ended: {how}{restarts}")),
        (None, 0) => Cell::state(Mood::Good, "up"),
        (None, n) => Cell::state(Mood::Good, &format!("up, {n} running{restarts}")),
    }
}

fn hosts(report: &PsReport) -> String {
    let titles = [
        "~HOST", "?ENI", "ADDRESS", "~SUBNET", ">SENT", ">GOT", "STATE",
    ];
    let mut table = Table::new(titles);
    for host in &report.hosts {
        let mut first = true;
        for port in &host.interfaces {
            let mut addresses = words(&port.addresses);
            if !port.public_addresses.is_empty() {
                addresses = format!("{addresses} ({})", words(&port.public_addresses));
            }
            let counters = port.counters.as_ref();
            let bytes = |pick: fn(&crate::report::ps::PortCountersReport) -> u64| {
                counters.map_or("–".to_owned(), |it| human::bytes(pick(it)))
            };
            table.row([
                if first { host.name.as_str() } else { "" }.into(),
                Cell::styled(&*port.id, style::FAINT),
                addresses.into(),
                port.subnet.as_str().into(),
                bytes(|it| it.rx_bytes).into(),
                bytes(|it| it.tx_bytes).into(),
                if first { host_state(host) } else { "".into() },
            ]);
            first = false;
        }
    }
    table.render()
}

fn endpoints(report: &PsReport) -> String {
    let mut table = Table::new(["~ENDPOINT", "?TYPE", "ADDRESS", "~SERVICE", "STATE"]);
    for endpoint in &report.endpoints {
        table.row([
            endpoint
                .name
                .as_ref()
                .unwrap_or(&endpoint.id)
                .as_str()
                .into(),
            endpoint_type(&endpoint.kind).into(),
            words(&endpoint.addresses).into(),
            endpoint.service_label.as_str().into(),
            Cell::state(Mood::of(&endpoint.state), &endpoint.state),
        ]);
    }
    table.render()
}

/// AWS's names are long.
fn endpoint_type(kind: &str) -> &str {
    match kind {
        "Interface" => "interface",
        "GatewayLoadBalancer" => "gateway lb",
        "Gateway" => "gateway",
        other => other,
    }
}

fn nat_gateways(report: &PsReport) -> String {
    let mut table = Table::new(["~NAT GATEWAY", "?TYPE", "ADDRESS", "~SUBNET", "STATE"]);
    for gateway in &report.nat_gateways {
        let mut addresses = words(&gateway.addresses);
        if !gateway.public_addresses.is_empty() {
            addresses = format!("{addresses} ({})", words(&gateway.public_addresses));
        }
        let name = gateway.name.as_ref().unwrap_or(&gateway.id);
        table.row([
            name.as_str().into(),
            gateway.kind.as_str().into(),
            addresses.into(),
            gateway.subnet.as_str().into(),
            Cell::state(Mood::of(&gateway.state), &gateway.state),
        ]);
    }
    table.render()
}

fn joins(report: &PsReport) -> String {
    let mut table = Table::new(["~CONNECTION", "TYPE", "~JOINS", "~AND", "STATE"]);
    for join in &report.joins {
        let [one, other] = &join.joins;
        table.row([
            join.name.as_ref().unwrap_or(&join.id).as_str().into(),
            join.kind.as_str().into(),
            one.as_str().into(),
            other.as_str().into(),
            Cell::state(Mood::of(&join.state), &join.state),
        ]);
    }
    table.render()
}

fn load_balancers(report: &PsReport) -> String {
    let mut table = Table::new(["~LOAD BALANCER", "?TYPE", "ADDRESS", "~LISTENERS", "STATE"]);
    for balancer in &report.load_balancers {
        table.row([
            balancer.name.as_str().into(),
            balancer.kind.as_str().into(),
            words(&balancer.addresses).into(),
            balancer.listeners.join(", ").into(),
            Cell::state(Mood::Good, "active"),
        ]);
    }
    table.render()
}

fn targets(report: &PsReport) -> String {
    let mut table = Table::new(["~TARGET GROUP", "TARGET", "~HOST", "?ZONE", "HEALTH"]);
    for group in &report.target_groups {
        let mut name = group.name.as_str();
        if group.targets.is_empty() {
            let nothing = Cell::state(Mood::Idle, "no targets");
            table.row([name.into(), "".into(), "".into(), "".into(), nothing]);
        }
        for target in &group.targets {
            table.row([
                name.into(),
                target.socket().into(),
                target.host.as_deref().unwrap_or("").into(),
                target.zone.as_deref().unwrap_or("all").into(),
                health(target),
            ]);
            name = "";
        }
    }
    table.render()
}

/// Published ports, and the uplink.
pub(super) fn published(gateway: &GatewayReport) -> String {
    let mut table = Table::new(["PUBLISHED", "PROTOCOL", "LEADS TO", "PUBLIC ADDRESS"]);
    for port in &gateway.published {
        let address = port.target.map(|target| target.ip().to_string());
        table.row([
            port.listen.to_string().into(),
            port.protocol.as_str().into(),
            format!("{}:{}", port.host, port.port).into(),
            match address {
                Some(address) => address.into(),
                None => Cell::state(Mood::Bad, "none"),
            },
        ]);
    }
    if gateway.uplink {
        let uses = "the real network".into();
        table.row(["uplink".into(), "tcp udp icmp".into(), uses, "".into()]);
    }
    let mut text = table.render();
    text.push_str(&format!(
        "{} tcp connections and {} other conversations with the real network",
        gateway.tcp, gateway.datagrams
    ));
    for (count, what) in [
        (gateway.no_room, "without room"),
        (gateway.not_carried, "packets not let out"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text.push('\n');
    text
}

fn health(target: &TargetReport) -> Cell {
    let mood = Mood::of(&target.health);
    match &target.description {
        Some(why) => Cell::state(mood, &format!("{}: {why}", target.health)),
        None => Cell::state(mood, &target.health),
    }
}

fn words(items: &[impl Display]) -> String {
    let words: Vec<_> = items.iter().map(|item| item.to_string()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::host::from_model;
    use crate::report::ps::Inputs;
    use crate::topology::Topology;

    #[test]
    fn a_lab_that_has_just_started_reads_well() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../examples/gwlb-inspection.yaml"
        );
        let topology = Topology::load(file.as_ref()).expect("an example");
        let (control, _) = topology.control_plane().expect("an example");
        let inputs = Inputs {
            lab: "gwlb",
            uptime_s: 65,
            http: Some(crate::http::local(4566)),
            hosts: &from_model::hosts(control.model()),
            time_scale: 1,
            faults: &BTreeMap::new(),
            programs: &BTreeMap::new(),
            ports: &BTreeMap::new(),
            counted: &Default::default(),
            gateway: None,
        };
        let report = PsReport::new(control.model(), &inputs);
        let text = text(&report);
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
        assert!(text.contains("\u{1b}[32m● up"), "colour: {text}");
    }
}
