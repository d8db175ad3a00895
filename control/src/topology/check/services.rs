//! Load balancers, target groups, endpoint services and endpoints.

use std::collections::BTreeMap;

use super::Findings;
use crate::api::aws_service_name;
use crate::model::AwsList;
use crate::topology::error::Mistake;
use crate::topology::located::{At, Value};
use crate::topology::resolve::{SubnetRef, TargetRef, known, vpcs_of};
use crate::topology::schema::{
    Endpoint, EndpointType, HealthCheck, LoadBalancer, LoadBalancerType, NatGateway,
    NatGatewayType, TargetGroup, TargetProtocol, Topology,
};
use crate::topology::values::{ElasticIp, Gateway};

pub(super) fn check(topology: &Topology, found: &mut Findings) {
    for (name, balancer) in topology.load_balancers.iter() {
        load_balancer(topology, name, balancer, found);
    }
    for (name, group) in topology.target_groups.iter() {
        target_group(topology, name, group, found);
    }
    for (name, gateway) in topology.nat_gateways.iter() {
        nat_gateway(topology, name, gateway, found);
    }
    services(topology, found);
    aws_services(topology, found);
    for (name, endpoint) in topology.endpoints.iter() {
        self::endpoint(topology, name, endpoint, found);
    }
}

/// A NAT gateway's subnet exists, its addresses lie in it, and a public one has an
/// internet gateway before it.
fn nat_gateway(
    topology: &Topology,
    name: &Value<String>,
    gateway: &NatGateway,
    found: &mut Findings,
) {
    let Some(subnet) = found.note(topology.subnet(&gateway.subnet)) else {
        return;
    };
    for address in gateway.address.iter().chain(gateway.secondary.iter()) {
        let block = subnet.subnet.cidr.value.0;
        if let Err(message) = super::network::usable(subnet.name, block, address.0) {
            found.add(Mistake::new(address.at, message));
        }
    }
    let off = Gateway::Off;
    let vpc = topology.vpcs.find(subnet.vpc);
    let internet = vpc.and_then(|vpc| vpc.igw.as_ref());
    let internet = internet.map_or(&off, |igw| &igw.value);
    let public = gateway.kind == NatGatewayType::Public;
    if public && *internet == Gateway::Off {
        let message = format!(
            "NAT gateway {} is public, and VPC {} has no internet gateway; add `igw: true` there, \
             or write `type: private`",
            name.value, subnet.vpc
        );
        found.add(Mistake::new(name.at, message));
    }
    let eip = gateway.eip.as_ref();
    let wrong = match public {
        true => {
            let first = gateway.secondary.first();
            first.map(|first| {
                (
                    first.at,
                    "`secondary` is for private ones; write `secondary_eips`",
                )
            })
        }
        false => {
            let named = eip.filter(|eip| eip.value != ElasticIp::None);
            let first = gateway.secondary_eips.first();
            named
                .map(|eip| eip.at)
                .or(first.map(|first| first.at))
                .map(|at| (at, "a private NAT gateway has no Elastic IP; remove it"))
        }
    };
    if let Some((at, message)) = wrong {
        found.add(Mistake::new(at, message));
    }
    if let Some(eip) = eip.filter(|eip| public && eip.value == ElasticIp::None) {
        let message =
            "a public NAT gateway has an Elastic IP; write `eip: true` or `type: private`";
        found.add(Mistake::new(eip.at, message));
    }
}

/// Subnets exist, lie in one VPC, and in a zone each.
fn subnets<'a>(
    topology: &'a Topology,
    what: &str,
    name: &Value<String>,
    references: &[Value<String>],
    found: &mut Findings,
) -> Vec<SubnetRef<'a>> {
    if references.is_empty() {
        let message = format!(
            "{what} {} is in no subnet; add `subnets: [NAME]`",
            name.value
        );
        found.add(Mistake::new(name.at, message));
    }
    let mut resolved = Vec::new();
    let mut zones: BTreeMap<String, &str> = BTreeMap::new();
    for reference in references {
        let Some(subnet) = found.note(topology.subnet(reference)) else {
            continue;
        };
        resolved.push(subnet);
        if vpcs_of(&resolved).len() > 1 {
            let message = format!(
                "subnet {} is in VPC {}, the others in {}; {what} {} is in one VPC",
                subnet.name, subnet.vpc, resolved[0].vpc, name.value
            );
            found.add(Mistake::new(reference.at, message));
            continue;
        }
        let zone = zone_of(topology, subnet);
        if let Some(other) = zones.insert(zone.clone(), subnet.name) {
            let message = format!(
                "subnets {other} and {} are both in zone {zone}; one subnet a zone",
                subnet.name
            );
            found.add(Mistake::new(reference.at, message));
        }
    }
    resolved
}

fn zone_of(topology: &Topology, subnet: SubnetRef<'_>) -> String {
    let zone = subnet.subnet.az.as_ref();
    zone.map_or_else(
        || format!("{}a", topology.region()),
        |zone| zone.name(topology.region()),
    )
}

fn load_balancer(
    topology: &Topology,
    name: &Value<String>,
    balancer: &LoadBalancer,
    found: &mut Findings,
) {
    let resolved = subnets(topology, "load balancer", name, &balancer.subnets, found);
    let vpc = resolved.first().map(|subnet| subnet.vpc);
    let gateway = balancer.kind == LoadBalancerType::Gateway;
    if let Some(group) = balancer.groups.first()
        && gateway
    {
        let message = "a gateway load balancer has no security groups; remove `groups`";
        found.add(Mistake::new(group.at, message));
    } else if let Some((vpc, body)) = vpc.and_then(|vpc| Some((vpc, topology.vpcs.find(vpc)?))) {
        for group in balancer.groups.iter() {
            found.note(body.group(vpc, group));
        }
    }
    if gateway && balancer.listeners.len() > 1 {
        let message = "a gateway load balancer has one listener; remove the others";
        found.add(Mistake::new(balancer.listeners[1].at, message));
    }
    let mut ports: Vec<(u16, At)> = Vec::new();
    for listener in &balancer.listeners {
        match (&listener.port, gateway) {
            (Some(port), true) => {
                let message =
                    "a gateway load balancer takes all ports; remove `port` from its listener";
                found.add(Mistake::new(port.at, message));
            }
            (None, false) => {
                let message = "a listener needs a port; add `port: 80`";
                found.add(Mistake::new(listener.at, message));
            }
            (Some(port), false) => {
                if let Some((_, at)) = ports.iter().find(|(other, _)| *other == port.value) {
                    let message = format!(
                        "port {} has a listener at line {}; one a port (tcp_udp serves both)",
                        port.value, at.line
                    );
                    found.add(Mistake::new(port.at, message));
                }
                ports.push((port.value, port.at));
            }
            (None, true) => {}
        }
        range(
            listener.idle_timeout.as_ref(),
            "an idle timeout",
            60,
            6000,
            found,
        );
        let group = known(
            "target group",
            &topology.target_groups,
            &listener.target_group,
        );
        let Some((group_name, group)) = found.note(group) else {
            continue;
        };
        let geneve = group.protocol == TargetProtocol::Geneve;
        if geneve != gateway {
            let message = match gateway {
                true => format!(
                    "target group {group_name} is not geneve; a gateway load balancer needs `protocol: geneve`"
                ),
                false => {
                    format!("target group {group_name} is geneve; that is for `type: gateway`")
                }
            };
            found.add(Mistake::new(listener.target_group.at, message));
        }
    }
}

fn target_group(
    topology: &Topology,
    name: &Value<String>,
    group: &TargetGroup,
    found: &mut Findings,
) {
    let geneve = group.protocol == TargetProtocol::Geneve;
    match (&group.port, geneve) {
        (None, false) => {
            let message = format!("target group {} needs a port; add `port: 80`", name.value);
            found.add(Mistake::new(name.at, message));
        }
        (Some(port), true) if port.value != 6081 => {
            let message = "a geneve target group uses port 6081; remove `port`";
            found.add(Mistake::new(port.at, message));
        }
        (Some(port), _) if port.value == 0 => {
            found.add(Mistake::new(port.at, "0 is not a port; write 1-65535"));
        }
        _ => {}
    }
    if !geneve && (group.stickiness.is_some() || group.failover.is_some()) {
        let message = format!(
            "`stickiness` and `failover` are for geneve; target group {} is not",
            name.value
        );
        found.add(Mistake::new(name.at, message));
    }
    health(&group.health_check, found);
    range(
        group.deregistration_delay.as_ref(),
        "a deregistration delay",
        0,
        3600,
        found,
    );
    let vpc = found.note(topology.target_group_vpc(name, group));
    let mut seen: Vec<(TargetRef<'_>, Option<u16>)> = Vec::new();
    for target in group.targets.iter() {
        let Some(what) = found.note(topology.target(target.at, &target.to)) else {
            continue;
        };
        if seen.contains(&(what, target.port)) {
            let message = format!("'{}' is a target already; remove one", target.to);
            found.add(Mistake::new(target.at, message));
        }
        seen.push((what, target.port));
        if let TargetRef::Host(host, index) = what
            && let (Some(vpc), Ok(own)) = (vpc, topology.interface_vpc(host, index, target.at))
            && own != vpc
        {
            let message = format!(
                "host {host} is in VPC {own}, target group {} in {vpc}; targets are in its VPC",
                name.value
            );
            found.add(Mistake::new(target.at, message));
        }
    }
}

fn health(check: &HealthCheck, found: &mut Findings) {
    range(check.interval.as_ref(), "an interval", 5, 300, found);
    range(check.timeout.as_ref(), "a timeout", 2, 120, found);
    range(check.healthy.as_ref(), "a threshold", 2, 10, found);
    range(check.unhealthy.as_ref(), "a threshold", 2, 10, found);
}

fn range(value: Option<&Value<u32>>, what: &str, min: u32, max: u32, found: &mut Findings) {
    if let Some(value) = value
        && !(min..=max).contains(&value.value)
    {
        let message = format!("{what} is {min} to {max}, not {}", value.value);
        found.add(Mistake::new(value.at, message));
    }
}

/// A service's balancers are of one kind, and belong to it alone.
fn services(topology: &Topology, found: &mut Findings) {
    let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, service) in topology.endpoint_services.iter() {
        if service.load_balancers.is_empty() {
            let message = format!(
                "endpoint service {} has no load balancer; add one",
                name.value
            );
            found.add(Mistake::new(name.at, message));
        }
        let mut kinds = Vec::new();
        for reference in service.load_balancers.iter() {
            let found_one = known("load balancer", &topology.load_balancers, reference);
            let Some((balancer, body)) = found.note(found_one) else {
                continue;
            };
            kinds.push(body.kind);
            if kinds[0] != body.kind {
                let message = "a service has network or gateway load balancers, not both";
                found.add(Mistake::new(reference.at, message));
            }
            if let Some(other) = owner.insert(balancer, name.as_str()) {
                let message = match other == name.value {
                    true => format!("load balancer {balancer} is listed twice; remove one"),
                    false => format!(
                        "load balancer {balancer} belongs to endpoint service {other}; one service each"
                    ),
                };
                found.add(Mistake::new(reference.at, message));
            }
        }
    }
}

/// AWS's services are named as AWS does, each once, and not as one of the lab's.
fn aws_services(topology: &Topology, found: &mut Findings) {
    let mut seen: BTreeMap<&str, At> = BTreeMap::new();
    for (name, _) in topology.services.iter() {
        let short = match aws_service_name(topology.region(), &name.value) {
            Ok(short) => short,
            Err(message) => {
                found.add(Mistake::new(name.at, message));
                continue;
            }
        };
        if let Some(first) = seen.insert(short, name.at) {
            let message = format!("service {short} stands at line {} already", first.line);
            found.add(Mistake::new(name.at, message));
        }
        if topology.endpoint_services.find(&name.value).is_some() {
            let message = format!(
                "an endpoint service of the lab is called {short}, too; write com.amazonaws.{}.{short}",
                topology.region()
            );
            found.add(Mistake::new(name.at, message));
        }
    }
}

/// A gateway endpoint has route tables and nothing else; its service is AWS's.
fn gateway_endpoint(
    topology: &Topology,
    name: &Value<String>,
    endpoint: &Endpoint,
    found: &mut Findings,
) {
    let places = endpoint.subnets.first().or(endpoint.groups.first());
    if let Some(place) = places {
        let message = "a gateway endpoint has no subnets and no groups; write `route_tables`";
        found.add(Mistake::new(place.at, message));
    }
    let service = aws_service_name(topology.region(), &endpoint.service.value);
    let list = service.map(|service| AwsList::of(topology.region(), service));
    if !matches!(list, Ok(Some(_))) {
        let services: Vec<_> = AwsList::in_region(topology.region())
            .map(|list| list.service)
            .collect();
        let message = match services.is_empty() {
            true => format!(
                "vpclab knows no addresses of AWS's services in {}; use us-east-1, us-east-2, \
                 us-west-2 or eu-west-1",
                topology.region()
            ),
            false => format!(
                "a gateway endpoint is for {}, not '{}'",
                services.join(" or "),
                endpoint.service.value
            ),
        };
        found.add(Mistake::new(endpoint.service.at, message));
    }
    let mut vpc = endpoint.vpc.as_ref().and_then(|vpc| {
        let known = found.note(topology.vpc(vpc));
        known.map(|(name, _)| name)
    });
    for reference in endpoint.route_tables.iter() {
        let Some((of, _)) = found.note(topology.table(reference)) else {
            continue;
        };
        if let Some(vpc) = vpc.filter(|vpc| *vpc != of) {
            let message = format!(
                "route table {} is in VPC {of}, endpoint {} in {vpc}",
                reference.value, name.value
            );
            found.add(Mistake::new(reference.at, message));
        }
        vpc = vpc.or(Some(of));
    }
    if vpc.is_none() {
        let message = format!(
            "endpoint {} is in no VPC; add `route_tables: [NAME]`",
            name.value
        );
        found.add(Mistake::new(name.at, message));
    }
}

fn endpoint(topology: &Topology, name: &Value<String>, endpoint: &Endpoint, found: &mut Findings) {
    if endpoint.kind == Some(EndpointType::Gateway) {
        return gateway_endpoint(topology, name, endpoint, found);
    }
    if let Some(table) = endpoint.route_tables.first() {
        let message = "route tables are for `type: gateway`; write `subnets`";
        found.add(Mistake::new(table.at, message));
    }
    let resolved = subnets(topology, "endpoint", name, &endpoint.subnets, found);
    let vpc = resolved.first().map(|subnet| subnet.vpc);
    if let Some(reference) = &endpoint.vpc
        && let Some((own, _)) = found.note(topology.vpc(reference))
        && let Some(vpc) = vpc
        && own != vpc
    {
        let message = format!(
            "endpoint {} names VPC {own}, its subnets are in {vpc}",
            name.value
        );
        found.add(Mistake::new(reference.at, message));
    }
    if let Some((vpc, body)) = vpc.and_then(|vpc| Some((vpc, topology.vpcs.find(vpc)?))) {
        for group in endpoint.groups.iter() {
            found.note(body.group(vpc, group));
        }
    }
    // A service of AWS's is in every zone.
    if topology
        .endpoint_services
        .find(&endpoint.service.value)
        .is_none()
        && let Some(service) = topology.aws_service(&endpoint.service)
    {
        if endpoint.kind == Some(EndpointType::GatewayLoadBalancer) {
            let message = format!("{service} is a service of AWS's; write `type: interface`");
            found.add(Mistake::new(name.at, message));
        }
        return;
    }
    let service = known(
        "endpoint service",
        &topology.endpoint_services,
        &endpoint.service,
    );
    let service =
        service.map_err(
            |mistake| match aws_service_name(topology.region(), &endpoint.service) {
                // Nobody knows whether AWS has it; what there is to write is known.
                Ok(short) if topology.endpoint_services.is_empty() => Mistake::new(
                    mistake.at,
                    format!(
                        "{}; for a service of AWS's add `services: {{{short}: echo}}`",
                        mistake.message
                    ),
                ),
                _ => mistake,
            },
        );
    let Some((service_name, service)) = found.note(service) else {
        return;
    };
    let balancers: Vec<&LoadBalancer> = service
        .load_balancers
        .iter()
        .filter_map(|balancer| topology.load_balancers.find(balancer))
        .collect();
    let Some(first) = balancers.first() else {
        return;
    };
    let provides = match first.kind {
        LoadBalancerType::Network => EndpointType::Interface,
        LoadBalancerType::Gateway => EndpointType::GatewayLoadBalancer,
    };
    if endpoint.kind.is_some_and(|kind| kind != provides) {
        let fix = match provides {
            EndpointType::Interface => "interface",
            EndpointType::Gateway => "gateway",
            EndpointType::GatewayLoadBalancer => "gateway_load_balancer",
        };
        let message = format!("service {service_name} is not of this type; write `type: {fix}`");
        found.add(Mistake::new(name.at, message));
    }
    if provides == EndpointType::GatewayLoadBalancer {
        if let Some(second) = endpoint.subnets.get(1) {
            let message =
                "a gateway load balancer endpoint has one subnet; make an endpoint for each";
            found.add(Mistake::new(second.at, message));
        }
        if let Some(group) = endpoint.groups.first() {
            let message =
                "a gateway load balancer endpoint has no security groups; remove `groups`";
            found.add(Mistake::new(group.at, message));
        }
    }
    let provided: Vec<String> = balancers
        .iter()
        .flat_map(|balancer| balancer.subnets.iter())
        .filter_map(|subnet| topology.subnet(subnet).ok())
        .map(|subnet| zone_of(topology, subnet))
        .collect();
    for (reference, subnet) in endpoint.subnets.iter().zip(&resolved) {
        let zone = zone_of(topology, *subnet);
        if !provided.contains(&zone) {
            let message = format!(
                "subnet {} is in zone {zone}, service {service_name} is in {}; \
                 choose a subnet of a shared zone",
                subnet.name,
                provided.join(", ")
            );
            found.add(Mistake::new(reference.at, message));
        }
    }
}
