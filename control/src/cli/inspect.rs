//! `vpclab inspect`: one resource, with everything known of it.

use super::style;
use super::table::{self, Cell, Table};
use super::{CliError, Exit, Globals, human};
use crate::host::client;
use crate::host::protocol::Request;
use crate::report::inspect::InterfaceReport;
use crate::report::{InspectReport, ResourceReport};

/// Arguments of `vpclab inspect`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Takes hosts, ENIs, VPCs, subnets (vpc/subnet), route tables, \
                        security groups, network ACLs, gateways, endpoints, services, \
                        load balancers, target groups and prefix lists.\n\n\
                        Example: vpclab inspect web"
)]
pub struct Args {
    /// Name in the topology file or AWS id [default: every ENI, and the counters].
    #[arg(value_name = "ID|NAME")]
    pub id: Option<String>,
}

/// Shows the resource.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let asked = args.id.is_some();
    let answer = client::ask(&lab, &Request::Inspect { id: args.id })?;
    if globals.json {
        super::print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let report: InspectReport = client::understand(answer)?;
    super::print(&if asked {
        details(&report)
    } else {
        overview(&report)
    })?;
    Ok(Exit::Ok)
}

/// What one name means, in full.
pub fn details(report: &InspectReport) -> String {
    let resources = report.resources.iter().map(resource);
    let blocks: Vec<_> = resources
        .chain(report.interfaces.iter().map(interface))
        .chain(report.gateway.as_ref().map(super::ps::published))
        .collect();
    blocks.join("\n")
}

/// All interfaces and the lab's counters.
pub fn overview(report: &InspectReport) -> String {
    let mut interfaces = Table::new(["ENI", "OF", "ADDRESS", "SUBNET", ">SENT", ">GOT", ">LOST"]);
    for it in &report.interfaces {
        let port = it.port.as_ref();
        let count = |packets: u64, bytes: u64| {
            format!("{} / {}", human::count(packets), human::bytes(bytes))
        };
        let dash = || "–".to_owned();
        interfaces.row([
            Cell::styled(&*it.id, style::FAINT),
            it.label.as_str().into(),
            it.addresses
                .first()
                .map_or(String::new(), ToString::to_string)
                .into(),
            it.subnet_name.as_str().into(),
            port.map_or_else(dash, |it| count(it.rx, it.rx_bytes))
                .into(),
            port.map_or_else(dash, |it| count(it.tx, it.tx_bytes))
                .into(),
            port.map_or_else(dash, |it| human::count(it.refused + it.errors))
                .into(),
        ]);
    }
    let mut counters = Table::new(["COUNTER", ">FRAMES"]);
    let mut drops = Table::new(["DROPPED FOR", ">FRAMES"]);
    for (name, &count) in &report.counters {
        let number = count.to_string();
        match name.strip_prefix("drop.") {
            Some(reason) => drops.row([Cell::styled(reason, style::WARN), number.into()]),
            None => counters.row([name.as_str().into(), number.into()]),
        }
    }
    let gateway = report.gateway.as_ref().map(super::ps::published);
    let tables = [
        interfaces.render(),
        gateway.unwrap_or_default(),
        counters.render(),
        drops.render(),
    ];
    let tables: Vec<_> = tables.into_iter().filter(|it| !it.is_empty()).collect();
    tables.join("\n")
}

fn resource(report: &ResourceReport) -> String {
    let mut out = heading(&report.kind, report.name.as_deref(), &report.id);
    let facts = report.facts.iter();
    out.push_str(&facts_text(
        facts.map(|it| (it.name.as_str(), it.value.clone())),
    ));
    for list in &report.lists {
        let titles = list.columns.iter();
        let mut rows: Vec<Vec<Cell>> = vec![
            titles
                .map(|title| Cell::styled(title.as_str(), style::TITLE))
                .collect(),
        ];
        rows.extend(list.rows.iter().map(|row| {
            let cells = row.iter();
            cells.map(|cell| cell.as_str().into()).collect()
        }));
        out.push('\n');
        if list.rows.is_empty() {
            out.push_str(&style::paint(style::FAINT, &format!("no {}", list.title)));
            out.push('\n');
        } else {
            out.push_str(&table::lines(&rows, &[]));
        }
    }
    out
}

fn interface(it: &InterfaceReport) -> String {
    let mut out = heading("ENI", Some(&it.label), &it.id);
    let list = |items: &[std::net::IpAddr]| {
        let items: Vec<_> = items.iter().map(ToString::to_string).collect();
        items.join(", ")
    };
    let mut facts = vec![
        ("addresses", list(&it.addresses)),
        ("public addresses", list(&it.public_addresses)),
        ("subnet", format!("{} ({})", it.subnet_name, it.subnet)),
        ("zone", it.zone.clone().unwrap_or_default()),
        ("security groups", it.group_names.join(", ")),
        (
            "source/destination check",
            if it.source_dest_check { "on" } else { "off" }.to_owned(),
        ),
        ("MAC address", it.mac.clone()),
        ("MTU", format!("{} bytes", it.mtu)),
    ];
    if let Some(port) = &it.port {
        let amount =
            |packets: u64, bytes: u64| format!("{packets} packets, {}", human::bytes(bytes));
        facts.push(("sent", amount(port.rx, port.rx_bytes)));
        facts.push(("got", amount(port.tx, port.tx_bytes)));
        facts.push((
            "lost at the port",
            format!("{} refused, {} errors", port.refused, port.errors),
        ));
    }
    facts.retain(|(_, value)| !value.is_empty());
    out.push_str(&facts_text(facts.into_iter()));
    out
}

fn heading(kind: &str, name: Option<&str>, id: &str) -> String {
    let name = name.map_or(String::new(), |name| {
        format!(" {}", style::paint(style::TITLE, name))
    });
    format!("{kind}{name}  {}\n", style::paint(style::FAINT, id))
}

fn facts_text<'a>(facts: impl Iterator<Item = (&'a str, String)>) -> String {
    let rows: Vec<Vec<Cell>> = facts
        .map(|(name, value)| {
            vec![
                Cell::styled(format!("  {name}"), style::FAINT),
                value.into(),
            ]
        })
        .collect();
    table::lines(&rows, &[])
}

#[cfg(test)]
mod tests {
    use vpclab_dataplane::worker::WorkerCounters;

    use super::*;
    use crate::topology::Topology;

    #[test]
    fn every_kind_of_resource_is_described() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/three-tier.yaml");
        let topology = Topology::load(file.as_ref()).expect("an example");
        let (control, _) = topology.control_plane().expect("an example");
        let model = control.model();
        let mut all = String::new();
        for asked in ["main/db-a", "public", "database", "offices", "db"] {
            let counters = WorkerCounters::default();
            let report = InspectReport::new(model, "lab", Some(asked), Some(&[]), &counters);
            all.push_str(&details(&report));
            all.push('\n');
        }
        insta::assert_snapshot!(anstream::adapter::strip_str(&all).to_string());
    }

    #[test]
    fn a_route_table_says_what_it_is_looked_up_in() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/three-tier.yaml");
        let topology = Topology::load(file.as_ref()).expect("an example");
        let (control, _) = topology.control_plane().expect("an example");
        let (model, counters) = (control.model(), WorkerCounters::default());
        let text = |asked| {
            let report = InspectReport::new(model, "lab", Some(asked), Some(&[]), &counters)
                .with_searches(model, &control.tables().load());
            let text = details(&report);
            anstream::adapter::strip_str(&text).to_string()
        };
        let table = text("public");
        let line = table.lines().find(|line| line.contains("looked up in"));
        let line = line.unwrap_or_else(|| panic!("{table}"));
        // The structure of each family, and its bytes.
        assert!(line.contains("a search tree of "), "{line}");
        assert!(line.contains("; IPv6: "), "{line}");
        assert_eq!(line.matches(" B").count(), 2, "{line}");
        assert!(!text("database").contains("looked up in"), "no route table");
    }
}
