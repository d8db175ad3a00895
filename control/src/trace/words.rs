//! Hops in words.

use std::net::IpAddr;

use vpclab_dataplane::addr::{EniId, PrefixListId, SecurityGroupId};
use vpclab_dataplane::packet::protocol;
use vpclab_dataplane::tables::{NetworkAclRule, Peer, PortMatch, SecurityGroupRule, Snapshot};
use vpclab_dataplane::walk::{Component, Hop, Rule, Service};

use super::Names;

/// `id (name)`, or the id alone.
pub(super) fn named(label: &str, names: Names<'_>) -> String {
    match names(label) {
        Some(name) if name != label => format!("{label} ({name})"),
        _ => label.to_owned(),
    }
}

/// `text` with `id (name)` as the name alone, where the id is AWS's.
pub(crate) fn short(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(" (") {
        let start = before.rfind(' ').map_or(0, |blank| blank + 1);
        let (head, id) = before.split_at(start);
        match after.split_once(')') {
            // An ACL's direction stands in parentheses, too.
            Some((name, after)) if is_id(id) && !matches!(name, "in" | "out") => {
                out.push_str(head);
                out.push_str(name);
                rest = after;
            }
            _ => {
                out.push_str(before);
                out.push_str(" (");
                rest = after;
            }
        }
    }
    out + rest
}

/// `eni-0756d0d13413cf687`: a kind, and hexadecimal digits.
fn is_id(word: &str) -> bool {
    word.rsplit_once('-').is_some_and(|(kind, digits)| {
        !kind.is_empty() && digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

fn label(found: Option<&std::sync::Arc<str>>) -> &str {
    found.map_or("(deleted)", |label| &**label)
}

pub(super) fn eni(tables: &Snapshot, id: EniId, names: Names<'_>) -> String {
    named(label(tables.enis.row(id).map(|row| &row.label)), names)
}

pub(super) fn group(tables: &Snapshot, id: SecurityGroupId, names: Names<'_>) -> String {
    named(
        label(tables.security_groups.row(id).map(|row| &row.label)),
        names,
    )
}

/// What and where a hop is.
pub(super) fn component(tables: &Snapshot, component: Component, names: Names<'_>) -> String {
    let way = |egress| if egress { "out of" } else { "into" };
    match component {
        Component::Source(id) => format!("from {}", eni(tables, id, names)),
        Component::Destination(id) => format!("to {}", eni(tables, id, names)),
        Component::SecurityGroups { eni: id, egress } => {
            format!("security groups {} {}", way(egress), eni(tables, id, names))
        }
        Component::NetworkAcl { acl, egress } => {
            let acl = label(tables.network_acls.row(acl).map(|row| &row.label));
            format!(
                "network ACL {} ({})",
                named(acl, names),
                if egress { "out" } else { "in" }
            )
        }
        Component::RouteTable(id) => {
            let table = label(tables.route_tables.row(id).map(|table| table.label()));
            format!("route table {}", named(table, names))
        }
        Component::InternetGateway { vpc, outward } => {
            let igw = tables.vpcs.row(vpc).and_then(|row| row.igw.as_ref());
            let igw = named(label(igw.map(|igw| &igw.label)), names);
            format!(
                "internet gateway {igw} ({})",
                if outward { "out" } else { "in" }
            )
        }
        Component::Internet => "internet".to_owned(),
        Component::VirtualPrivateGateway { vpc, outward } => {
            let vgw = tables.vpcs.row(vpc).and_then(|row| row.vgw.as_ref());
            let vgw = named(label(vgw.map(|vgw| &vgw.label)), names);
            format!(
                "virtual private gateway {vgw} ({})",
                if outward { "out" } else { "in" }
            )
        }
        Component::OnPrem(id) => {
            let network = label(tables.vpcs.row(id).map(|row| &row.label));
            // Its id is vpclab's own, and says no more than its name.
            format!(
                "on-premises network {}",
                names(network).unwrap_or_else(|| network.to_owned())
            )
        }
        Component::Peering(id, vpc) => {
            let peering = label(tables.peerings.row(id).map(|row| &row.label));
            let vpc = label(tables.vpcs.row(vpc).map(|row| &row.label));
            format!(
                "peering connection {} to {}",
                named(peering, names),
                named(vpc, names)
            )
        }
        Component::Endpoint(id) => {
            format!(
                "endpoint {}",
                named(label(tables.endpoints.row(id).map(|r| &r.label)), names)
            )
        }
        Component::LoadBalancer(id, _) => {
            let row = tables.load_balancers.row(id);
            format!(
                "load balancer {}",
                named(label(row.map(|row| &row.label)), names)
            )
        }
        Component::NatGateway(id) => {
            let row = tables.nat_gateways.row(id);
            format!(
                "NAT gateway {}",
                named(label(row.map(|row| &row.label)), names)
            )
        }
        Component::TargetGroup(id) => {
            let row = tables.target_groups.row(id);
            format!(
                "target group {}",
                named(label(row.map(|row| &row.label)), names)
            )
        }
        Component::Tunnel { endpoint, outward } => {
            let row = tables.endpoints.row(endpoint);
            let endpoint = named(label(row.map(|row| &row.label)), names);
            format!(
                "GWLB endpoint {endpoint} ({})",
                if outward { "in" } else { "out" }
            )
        }
        Component::Service(id, service) => {
            let vpc = label(tables.vpcs.row(id).map(|row| &row.label));
            format!("{} of {}", service_name(service), named(vpc, names))
        }
        Component::Router(id) => {
            format!(
                "router of {}",
                named(label(tables.vpcs.row(id).map(|row| &row.label)), names)
            )
        }
    }
}

/// What a service on the link of an interface is.
pub(super) const fn service_name(service: Service) -> &'static str {
    match service {
        Service::Resolver => "resolver",
        Service::Metadata => "instance metadata service",
        Service::Time => "time service",
        Service::Dhcp => "DHCP server",
    }
}

/// What decided at a hop.
pub(super) fn rule(tables: &Snapshot, hop: &Hop, names: Names<'_>) -> String {
    match hop.rule {
        Rule::None if hop.dropped.is_some() => {
            let reason = hop.dropped.map_or("", |reason| reason.description());
            reason.trim_end_matches('.').to_owned()
        }
        Rule::None => "–".to_owned(),
        Rule::Check(true) => "source/destination check".to_owned(),
        Rule::Check(false) => "source/destination check off".to_owned(),
        Rule::NoGroups => "no security group".to_owned(),
        Rule::Tracked => "tracked connection".to_owned(),
        Rule::KnownFlow => "known flow".to_owned(),
        Rule::PublicAddress(address) => format!("public address {address}"),
        Rule::Listener(port) => format!("listener {port}"),
        Rule::Target(address, port) => format!("target {}", socket(address, port)),
        Rule::Source(address, port) => format!("source becomes {}", socket(address, port)),
        Rule::Route(prefix) => {
            let Component::RouteTable(table) = hop.component else {
                return prefix.to_string();
            };
            let target = tables
                .route_tables
                .row(table)
                .and_then(|table| table.route_of(prefix))
                .map(|route| named(&route.label, names));
            format!("{prefix} → {}", target.as_deref().unwrap_or("?"))
        }
        Rule::AclEntry(None) => "entry *: deny".to_owned(),
        Rule::AclEntry(Some(number)) => acl_entry(tables, hop, number),
        Rule::Group { group: id, index } => {
            let egress = matches!(
                hop.component,
                Component::SecurityGroups { egress: true, .. }
            );
            let row = tables.security_groups.row(id);
            let rules = row.map(|row| if egress { &row.egress } else { &row.ingress });
            match rules.and_then(|rules| rules.get(index)) {
                Some(rule) => format!(
                    "{} of {}: {}",
                    rule.label,
                    group(tables, id, names),
                    group_rule(tables, rule, egress, names)
                ),
                None => group(tables, id, names),
            }
        }
    }
}

fn acl_entry(tables: &Snapshot, hop: &Hop, number: u16) -> String {
    let Component::NetworkAcl { acl, egress } = hop.component else {
        return number.to_string();
    };
    let row = tables.network_acls.row(acl);
    let rules = row.map(|row| if egress { &row.egress } else { &row.ingress });
    let found = rules.and_then(|rules| rules.iter().find(|rule| rule.number == number));
    match found {
        Some(&NetworkAclRule {
            allow,
            protocol,
            ports,
            cidr,
            ..
        }) => format!(
            "entry {number}: {} {} {} {cidr}",
            if allow { "allow" } else { "deny" },
            traffic(protocol, ports),
            if egress { "to" } else { "from" },
        ),
        None => format!("entry {number}"),
    }
}

fn group_rule(
    tables: &Snapshot,
    rule: &SecurityGroupRule,
    egress: bool,
    names: Names<'_>,
) -> String {
    let peer = match rule.peer {
        Peer::Cidr(prefix) => prefix.to_string(),
        Peer::Group(id) => group(tables, id, names),
        Peer::PrefixList(id) => prefix_list(tables, id, names),
    };
    format!(
        "{} {} {peer}",
        traffic(rule.protocol, rule.ports),
        if egress { "to" } else { "from" }
    )
}

fn prefix_list(tables: &Snapshot, id: PrefixListId, names: Names<'_>) -> String {
    named(
        label(tables.prefix_lists.row(id).map(|row| &row.label)),
        names,
    )
}

/// `tcp 443`, `all traffic`…
pub(crate) fn traffic(protocol: Option<u8>, ports: PortMatch) -> String {
    let Some(number) = protocol else {
        return "all traffic".to_owned();
    };
    let name = protocol_name(number);
    match ports {
        PortMatch::Any => name,
        PortMatch::Range(from, to) if from == to => format!("{name} {from}"),
        PortMatch::Range(from, to) => format!("{name} {from}-{to}"),
        PortMatch::Icmp(kind, Some(code)) => format!("{name} type {kind} code {code}"),
        PortMatch::Icmp(kind, None) => format!("{name} type {kind}"),
    }
}

/// Name of an IP protocol, as rules are written.
pub(super) fn protocol_name(number: u8) -> String {
    match number {
        protocol::ICMP => "icmp".to_owned(),
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::ICMPV6 => "icmpv6".to_owned(),
        other => format!("protocol {other}"),
    }
}

fn socket(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_ids_and_nothing_else_is_lost() {
        for (long, wanted) in [
            ("from eni-0756d0d13413cf687 (web)", "from web"),
            (
                "network ACL acl-0f6426d9896aaae66 (database) (in)",
                "network ACL database (in)",
            ),
            (
                "network ACL acl-0f6426d9896aaae66 (out)",
                "network ACL acl-0f6426d9896aaae66 (out)",
            ),
            (
                "sgr-0c48545d58d5fc698 of sg-0fcdc977c3c2e61fb (a): tcp 80 to sg-0bf4f21f55bc1a339 (b)",
                "sgr-0c48545d58d5fc698 of a: tcp 80 to b",
            ),
            (
                "endpoint vpce-0c1dbada17a920efa",
                "endpoint vpce-0c1dbada17a920efa",
            ),
            ("not closed (", "not closed ("),
            ("tg (not-anid) (x)", "tg (not-anid) (x)"),
        ] {
            assert_eq!(short(long), wanted);
        }
    }
}
