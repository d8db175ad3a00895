//! CIDR blocks, subnets, routes and rules.

use std::net::IpAddr;

use vpclab_dataplane::addr::Prefix;

use super::{Findings, must_be, plain};
use crate::topology::error::{Mistake, suggest};
use crate::topology::located::{At, Value};
use crate::topology::resolve::{DEFAULT, Via, within};
use crate::topology::schema::{RouteTable, Topology, Vpc};
use crate::topology::values::{CidrOrName, Gateway, IcmpType, Ipv6Block, Ports, Protocol};

pub(super) fn check(topology: &Topology, found: &mut Findings) {
    super::peering::check(topology, found);
    super::on_prem::check(topology, found);
    for (name, vpc) in topology.vpcs.iter() {
        blocks(name, vpc, found);
        subnets(name, vpc, found);
        for (table_name, table) in vpc.route_tables.iter() {
            found.note(plain("a route table", table_name));
            route_table(topology, name, vpc, table, found);
        }
        one_of(
            "main: true",
            vpc.route_tables.iter().filter(|(_, table)| table.main),
            found,
        );
        for gateway in ["igw", "vgw"] {
            let edges = vpc.route_tables.iter().filter(|(_, table)| {
                let edge = table.edge.as_ref();
                edge.is_some_and(|edge| (edge.value == "vgw") == (gateway == "vgw"))
            });
            one_of("edge:", edges, found);
        }
        groups(topology, name, vpc, found);
        network_acls(vpc, found);
    }
}

/// At most one route table of a VPC may say that.
fn one_of<'a>(
    what: &str,
    mut tables: impl Iterator<Item = (&'a Value<String>, &'a RouteTable)>,
    found: &mut Findings,
) {
    if let (Some((first, _)), Some((second, _))) = (tables.next(), tables.next()) {
        let message = format!(
            "route tables {} and {} both say `{what}`; only one of a VPC can",
            first.value, second.value
        );
        found.add(Mistake::new(second.at, message));
    }
}

fn blocks(name: &Value<String>, vpc: &Vpc, found: &mut Findings) {
    if vpc.cidr.is_empty() {
        let message = format!("VPC {} has no block; write `cidr: 10.0.0.0/16`", name.value);
        found.add(Mistake::new(name.at, message));
    }
    for (index, cidr) in vpc.cidr.iter().enumerate() {
        let block = cidr.value.0;
        if block.address().is_ipv6() {
            let message = format!("{block} is IPv6; write it under `ipv6:`");
            found.add(Mistake::new(cidr.at, message));
        } else if !(16..=28).contains(&block.len()) {
            let message = format!("a VPC's IPv4 block is /16 to /28, not /{}", block.len());
            found.add(Mistake::new(cidr.at, message));
        }
        for earlier in &vpc.cidr[..index] {
            overlap(cidr.at, "block", block, earlier.value.0, found);
        }
    }
    if let Some(Value {
        value: Ipv6Block::Block(block),
        at,
    }) = vpc.ipv6
        && !((44..=60).contains(&block.len()) && block.len().is_multiple_of(4))
    {
        let message = format!(
            "a VPC's IPv6 block is /44 to /60 in steps of 4, not /{}",
            block.len()
        );
        found.add(Mistake::new(at, message));
    }
}

fn overlap(at: At, what: &str, block: Prefix, other: Prefix, found: &mut Findings) {
    if block.overlaps(other) {
        let message = format!("{what} {block} overlaps {other}; choose blocks that are apart");
        found.add(Mistake::new(at, message));
    }
}

fn subnets(vpc_name: &Value<String>, vpc: &Vpc, found: &mut Findings) {
    let mut earlier: Vec<(&str, Prefix)> = Vec::new();
    for (name, subnet) in vpc.subnets.iter() {
        found.note(plain("a subnet", name));
        let mut own = vec![(subnet.cidr.value.0, subnet.cidr.at)];
        let block = subnet.cidr.value.0;
        if !vpc.cidr.iter().any(|cidr| cidr.value.0.covers(block)) {
            let blocks: Vec<String> = vpc.cidr.iter().map(|cidr| cidr.to_string()).collect();
            let message = format!(
                "subnet {} ({block}) is outside VPC {} ({}); choose a block inside it",
                name.value,
                vpc_name.value,
                blocks.join(", ")
            );
            found.add(Mistake::new(subnet.cidr.at, message));
        } else if !(16..=28).contains(&block.len()) {
            let message = format!("a subnet's IPv4 block is /16 to /28, not /{}", block.len());
            found.add(Mistake::new(subnet.cidr.at, message));
        }
        if let Some(ipv6) = &subnet.ipv6 {
            subnet_ipv6(vpc_name, vpc, ipv6, found);
            if let Ipv6Block::Block(block) = ipv6.value {
                own.push((block, ipv6.at));
            }
        }
        for (block, at) in own {
            for (other, taken) in &earlier {
                if block.overlaps(*taken) {
                    let message = format!(
                        "subnet {} ({block}) overlaps subnet {other} ({taken}); choose blocks that are apart",
                        name.value
                    );
                    found.add(Mistake::new(at, message));
                }
            }
            earlier.push((name.as_str(), block));
        }
        if let Some(reference) = &subnet.route_table {
            found.note(within(vpc_name, reference).and_then(|name| {
                must_be("route table of this VPC", &name, vpc.route_tables.names())
            }));
        }
        if let Some(reference) = &subnet.network_acl {
            found.note(within(vpc_name, reference).and_then(|name| {
                let names = vpc
                    .network_acls
                    .names()
                    .chain([DEFAULT])
                    .collect::<Vec<_>>();
                must_be("network ACL of this VPC", &name, names.iter().copied())
            }));
        }
    }
}

fn subnet_ipv6(vpc_name: &str, vpc: &Vpc, ipv6: &Value<Ipv6Block>, found: &mut Findings) {
    let of_vpc = vpc.ipv6.as_ref().map_or(Ipv6Block::None, |ipv6| ipv6.value);
    match (ipv6.value, of_vpc) {
        (Ipv6Block::None, _) => {}
        (_, Ipv6Block::None) => {
            let message = format!("VPC {vpc_name} has no IPv6 block; add `ipv6: true` to it");
            found.add(Mistake::new(ipv6.at, message));
        }
        (Ipv6Block::Block(block), Ipv6Block::Block(of_vpc)) if !of_vpc.covers(block) => {
            let message =
                format!("{block} is outside VPC {vpc_name} ({of_vpc}); choose one inside it");
            found.add(Mistake::new(ipv6.at, message));
        }
        (Ipv6Block::Block(block), Ipv6Block::Next) => {
            let message = format!(
                "{block} may lie outside VPC {vpc_name}, whose block is chosen later; \
                 write `ipv6: true` here, or a block there"
            );
            found.add(Mistake::new(ipv6.at, message));
        }
        (Ipv6Block::Block(block), _)
            if !((44..=64).contains(&block.len()) && block.len().is_multiple_of(4)) =>
        {
            let message = format!(
                "a subnet's IPv6 block is /44 to /64 in steps of 4, not /{}",
                block.len()
            );
            found.add(Mistake::new(ipv6.at, message));
        }
        _ => {}
    }
}

fn route_table(
    topology: &Topology,
    vpc_name: &Value<String>,
    vpc: &Vpc,
    table: &RouteTable,
    found: &mut Findings,
) {
    let gateway = vpc.igw.as_ref().map_or(&Gateway::Off, |igw| &igw.value);
    let is_gateway = |name: &str| match gateway {
        Gateway::Off => false,
        Gateway::On => name == "igw",
        Gateway::Named(own) => name == "igw" || name == own,
    };
    let no_vgw = vpc.vgw.as_ref().is_none_or(|vgw| vgw.value == Gateway::Off);
    if table.propagate && no_vgw {
        let at = table.edge.as_ref().map_or(vpc_name.at, |edge| edge.at);
        found.add(no_vpn_gateway(at, vpc_name));
    }
    if let Some(edge) = table.edge.as_ref().filter(|edge| edge.value == "vgw") {
        if no_vgw {
            found.add(no_vpn_gateway(edge.at, vpc_name));
        }
        if table.main || table.propagate {
            let message = "an edge table is not the main table, and no routes are propagated \
                           into it; remove `main:` and `propagate:`";
            found.add(Mistake::new(edge.at, message));
        }
    } else if let Some(edge) = &table.edge {
        if *gateway == Gateway::Off {
            found.add(no_gateway(edge.at, vpc_name));
        } else if !is_gateway(edge) {
            let message = format!(
                "'{}' is no gateway of this VPC; write `edge: igw`",
                edge.value
            );
            found.add(Mistake::new(edge.at, message));
        }
        if table.main {
            let message = "an edge table cannot be the main table; remove `main: true`";
            found.add(Mistake::new(edge.at, message));
        }
    }
    let mut seen: Vec<(&CidrOrName, At)> = Vec::new();
    for route in &table.routes {
        if let Some((_, at)) = seen.iter().find(|(to, _)| **to == route.to.value) {
            let message = format!(
                "this destination has a route at line {}; remove one",
                at.line
            );
            found.add(Mistake::new(route.to.at, message));
        }
        seen.push((&route.to.value, route.to.at));
        if let CidrOrName::Name(name) = &route.to.value {
            let reference = Value {
                value: name.clone(),
                at: route.to.at,
            };
            found.note(must_be(
                "prefix list",
                &reference,
                topology.prefix_lists.names(),
            ));
        }
        if is_gateway(&route.via) {
            continue;
        }
        match found.note(topology.via(&route.via)) {
            Some(Via::InternetGateway) => found.add(no_gateway(route.via.at, vpc_name)),
            Some(Via::Host(host, index)) => {
                let vpc = found.note(topology.interface_vpc(host, index, route.via.at));
                other_vpc(&route.via, vpc, vpc_name, found);
            }
            Some(Via::Endpoint(name)) => {
                let endpoint = topology.endpoints.find(name);
                let subnet = endpoint.and_then(|endpoint| endpoint.subnets.first());
                let vpc = subnet
                    .and_then(|subnet| topology.subnet(subnet).ok())
                    .map(|s| s.vpc);
                other_vpc(&route.via, vpc, vpc_name, found);
            }
            Some(Via::VirtualPrivateGateway) => {
                if no_vgw {
                    found.add(no_vpn_gateway(route.via.at, vpc_name));
                }
            }
            Some(Via::Peering(name)) => {
                let ends = topology.peerings.find(name);
                let ends = ends.and_then(|peering| topology.peered(peering));
                if ends.is_some_and(|ends| ends.iter().all(|(end, _)| *end != vpc_name.value)) {
                    let message = format!(
                        "peering connection {name} does not join VPC {}; a route leads to one \
                         that does",
                        vpc_name.value
                    );
                    found.add(Mistake::new(route.via.at, message));
                }
            }
            Some(Via::NatGateway(name)) => {
                let gateway = topology.nat_gateways.find(name);
                let subnet = gateway.and_then(|gateway| topology.subnet(&gateway.subnet).ok());
                other_vpc(&route.via, subnet.map(|subnet| subnet.vpc), vpc_name, found);
            }
            Some(Via::Local) | None => {}
        }
    }
}

fn no_gateway(at: At, vpc: &str) -> Mistake {
    Mistake::new(
        at,
        format!("VPC {vpc} has no internet gateway; add `igw: true` to it"),
    )
}

fn no_vpn_gateway(at: At, vpc: &str) -> Mistake {
    Mistake::new(
        at,
        format!("VPC {vpc} has no virtual private gateway; add `vgw: true` to it"),
    )
}

fn other_vpc(via: &Value<String>, vpc: Option<&str>, own: &str, found: &mut Findings) {
    if let Some(vpc) = vpc.filter(|vpc| *vpc != own) {
        let message = format!(
            "'{}' is in VPC {vpc}; a route of VPC {own} leads to something in {own}",
            via.value
        );
        found.add(Mistake::new(via.at, message));
    }
}

fn groups(topology: &Topology, vpc_name: &str, vpc: &Vpc, found: &mut Findings) {
    for (name, group) in vpc.security_groups.iter() {
        found.note(plain("a security group", name));
        if name.value == DEFAULT {
            let message = "'default' is the VPC's own group; give yours another name";
            found.add(Mistake::new(name.at, message));
        }
        for rule in &group.ingress {
            ports(
                Some(&rule.proto),
                rule.ports.as_ref(),
                rule.icmp_type.as_ref(),
                found,
            );
            peers(topology, vpc_name, vpc, &rule.from, found);
        }
        for rule in group.egress.iter().flatten() {
            ports(
                Some(&rule.proto),
                rule.ports.as_ref(),
                rule.icmp_type.as_ref(),
                found,
            );
            peers(topology, vpc_name, vpc, &rule.to, found);
        }
    }
}

fn peers(
    topology: &Topology,
    vpc_name: &str,
    vpc: &Vpc,
    peers: &[Value<CidrOrName>],
    found: &mut Findings,
) {
    for peer in peers {
        let CidrOrName::Name(name) = &peer.value else {
            continue;
        };
        if topology.prefix_lists.has(name) || topology.aws_list(name).is_some() {
            continue;
        }
        let reference = Value {
            value: name.clone(),
            at: peer.at,
        };
        let Some((in_vpc, own)) = found.note(topology.rule_group(vpc_name, &reference)) else {
            continue;
        };
        let Some(vpc) = topology
            .vpcs
            .find(&in_vpc)
            .filter(|_| in_vpc != vpc_name)
            .or(Some(vpc))
        else {
            continue;
        };
        let vpc_name = in_vpc.as_str();
        if own.value == DEFAULT || vpc.security_groups.has(&own) {
            continue;
        }
        let names = vpc
            .security_groups
            .names()
            .chain(topology.prefix_lists.names());
        let hint = suggest(&own, names);
        let message = format!(
            "no security group of VPC {vpc_name} and no prefix list is called '{name}'{hint}"
        );
        found.add(Mistake::new(peer.at, message));
    }
}

fn network_acls(vpc: &Vpc, found: &mut Findings) {
    for (name, acl) in vpc.network_acls.iter() {
        found.note(plain("a network ACL", name));
        if name.value == DEFAULT {
            let message = "'default' is the VPC's own ACL; give yours another name";
            found.add(Mistake::new(name.at, message));
        }
        for rules in [&acl.ingress, &acl.egress] {
            let mut seen: Vec<(u16, At)> = Vec::new();
            for rule in rules {
                let number = rule.rule.value;
                if !(1..=32766).contains(&number) {
                    let message = format!("rule number {number} is not in 1-32766");
                    found.add(Mistake::new(rule.rule.at, message));
                }
                if let Some((_, at)) = seen.iter().find(|(other, _)| *other == number) {
                    let message =
                        format!("rule {number} stands at line {} too; renumber one", at.line);
                    found.add(Mistake::new(rule.rule.at, message));
                }
                seen.push((number, rule.rule.at));
                ports(
                    rule.proto.as_ref(),
                    rule.ports.as_ref(),
                    rule.icmp_type.as_ref(),
                    found,
                );
            }
        }
    }
}

/// Ports go with TCP and UDP, types with ICMP.
fn ports(
    proto: Option<&Value<Protocol>>,
    ports: Option<&Value<Ports>>,
    icmp: Option<&Value<IcmpType>>,
    found: &mut Findings,
) {
    let protocol = proto.map_or(Protocol(None), |proto| proto.value);
    if let Some(ports) = ports
        && ports.value != Ports::ALL
        && !protocol.has_ports()
    {
        let fix = match protocol.is_icmp() {
            true => format!("write `icmp_type: {}`", ports.from),
            false => "write `proto: tcp` or `proto: udp`, or remove `ports`".to_owned(),
        };
        found.add(Mistake::new(
            ports.at,
            format!("protocol {protocol} has no ports; {fix}"),
        ));
    }
    if let Some(icmp) = icmp
        && !protocol.is_icmp()
    {
        let message = format!(
            "protocol {protocol} has no ICMP types; write `proto: icmp` or `proto: icmpv6`"
        );
        found.add(Mistake::new(icmp.at, message));
    }
}

/// The address is one that a subnet can give away: not the first four of its
/// block nor the last (V:subnet-sizing).
pub(super) fn usable(subnet: &str, block: Prefix, address: IpAddr) -> Result<(), String> {
    if !block.contains(address) {
        return Err(format!(
            "{address} is not in subnet {subnet} ({block}); choose one inside it"
        ));
    }
    let first = (0..4).any(|n| block.nth(n) == Some(address));
    match (first || block.last() == address, block.nth(4)) {
        (true, Some(lowest)) => Err(format!(
            "{address} is reserved by AWS in subnet {subnet} ({block}); choose {lowest} or a later \
             one, but not the last"
        )),
        _ => Ok(()),
    }
}
