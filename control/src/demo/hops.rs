//! A traced path in words: one line per hop, by names that the user gave.

use std::collections::BTreeMap;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::tables::Snapshot;
use vpclab_dataplane::trace::{End, Leg, Trace};
use vpclab_dataplane::walk::{Component, Hop, Rule};

/// The names of interfaces, beside the ids that the tables know.
pub(super) type Names = BTreeMap<EniId, String>;

/// A trace as indented lines.
pub(super) fn lines(tables: &Snapshot, names: &Names, trace: &Trace) -> Vec<String> {
    let mut lines = leg(tables, names, "forward", &trace.forward);
    if let Some(reply) = &trace.reply {
        lines.extend(leg(tables, names, "reply", reply));
    }
    lines
}

fn leg(tables: &Snapshot, names: &Names, title: &str, leg: &Leg) -> Vec<String> {
    let mut lines = vec![format!("  {title}:")];
    lines.extend(leg.hops.iter().map(|one| hop(tables, names, one)));
    lines.push(match leg.end {
        End::Delivered(eni, tuple) => {
            format!(
                "    => delivered to {} as {tuple}",
                name(tables, names, eni)
            )
        }
        End::Answered => "    => answered by the router".to_owned(),
        End::Dropped { reason, .. } => {
            let code = reason.aws_code().unwrap_or("no AWS code");
            format!("    => dropped: {} ({code})", reason.name())
        }
    });
    lines
}

fn hop(tables: &Snapshot, names: &Names, hop: &Hop) -> String {
    let mut line = format!("    {:<34}", component(tables, names, hop.component));
    line.push_str(&rule(tables, hop.rule));
    if hop.before != hop.after {
        line.push_str(&format!("  {} -> {}", hop.before, hop.after));
    }
    line.trim_end().to_owned()
}

fn name(tables: &Snapshot, names: &Names, eni: EniId) -> String {
    let label = || tables.enis.row(eni).map(|row| row.label.to_string());
    let named = names.get(&eni).cloned().or_else(label);
    named.unwrap_or_else(|| format!("interface {}", eni.0))
}

fn component(tables: &Snapshot, names: &Names, component: Component) -> String {
    let endpoint = |id| {
        let row = tables.endpoints.row(id);
        row.map_or_else(|| "endpoint".to_owned(), |row| row.label.to_string())
    };
    let way = |out: bool| if out { "out" } else { "in" };
    match component {
        Component::Source(eni) => format!("from {}", name(tables, names, eni)),
        Component::SecurityGroups { eni, egress } => {
            format!("groups {} of {}", way(egress), name(tables, names, eni))
        }
        Component::NetworkAcl { acl, egress } => {
            let label = tables
                .network_acls
                .row(acl)
                .map(|row| row.label.to_string());
            format!("acl {} {}", way(egress), label.unwrap_or_default())
        }
        Component::RouteTable(id) => {
            let label = tables
                .route_tables
                .row(id)
                .map(|row| row.row().label.to_string());
            format!("route table {}", label.unwrap_or_default())
        }
        Component::InternetGateway { outward, .. } => format!("internet gateway {}", way(outward)),
        Component::Internet => "internet".to_owned(),
        Component::Endpoint(id) => format!("endpoint {}", endpoint(id)),
        Component::LoadBalancer(id, _) => {
            let label = tables
                .load_balancers
                .row(id)
                .map(|row| row.label.to_string());
            format!("load balancer {}", label.unwrap_or_default())
        }
        Component::TargetGroup(id) => {
            let label = tables
                .target_groups
                .row(id)
                .map(|row| row.label.to_string());
            format!("target group {}", label.unwrap_or_default())
        }
        Component::Tunnel {
            endpoint: id,
            outward,
        } => {
            format!("GENEVE {} {}", way(outward), endpoint(id))
        }
        Component::Router(_) => "router".to_owned(),
        Component::Destination(eni) => format!("to {}", name(tables, names, eni)),
    }
}

fn rule(tables: &Snapshot, rule: Rule) -> String {
    match rule {
        Rule::None => String::new(),
        Rule::Check(on) => format!("source/destination check {}", if on { "on" } else { "off" }),
        Rule::Group { group, index } => {
            let label = tables
                .security_groups
                .row(group)
                .map(|row| row.label.to_string());
            format!("{} rule {index}", label.unwrap_or_default())
        }
        Rule::NoGroups => "no groups".to_owned(),
        Rule::Tracked => "tracked connection".to_owned(),
        Rule::AclEntry(Some(number)) => format!("rule {number}"),
        Rule::AclEntry(None) => "rule *".to_owned(),
        Rule::Route(prefix) => format!("route {prefix}"),
        Rule::PublicAddress(address) => format!("public address {address}"),
        Rule::Listener(port) => format!("listener {port}"),
        Rule::Target(address, port) => format!("target {address} port {port}"),
        Rule::KnownFlow => "known flow".to_owned(),
    }
}
