//! Load balancers, target groups, endpoint services and endpoints.

use std::net::IpAddr;

use vpclab_dataplane::tables::{Failover, LoadBalancerKind, Stickiness};

use super::Exporter;
use super::node::{Map, Node};
use crate::model::{
    CheckPort, CheckProtocol, EndpointService, HealthCheck, HostedZone, LbProtocol, Listener,
    LoadBalancer, NetworkInterfaceId, SecurityGroupId, SubnetId, TargetGroup,
    TargetGroupAttributes, TargetId, TargetType, VpcEndpoint, VpcEndpointState, VpcEndpointType,
    VpcId,
};

impl Exporter<'_> {
    pub(super) fn load_balancers(&mut self) -> Map {
        let all: Vec<&LoadBalancer> = self.own().collect();
        let named = all.into_iter().filter_map(|balancer| {
            let name = self.label(&balancer.id, "load balancers")?;
            let map = self.load_balancer(&name, balancer);
            Some((name, map))
        });
        named.collect()
    }

    fn load_balancer(&mut self, name: &str, balancer: &LoadBalancer) -> Map {
        let user = format!("load balancer {name}");
        let gateway = balancer.kind == LoadBalancerKind::Gateway;
        let mut map = Map::default();
        if gateway {
            map.put("type", Node::shown("gateway"));
        }
        let nodes: Vec<_> = balancer
            .nodes
            .iter()
            .map(|node| (&node.subnet, &node.interface))
            .collect();
        self.places(&mut map, &balancer.vpc, &nodes, &user, !gateway);
        self.group_list(&mut map, &balancer.groups, &user);
        let mut listeners: Vec<_> = self
            .model
            .referrers::<Listener>(&balancer.id)
            .cloned()
            .collect();
        listeners.sort_by_key(|listener| (listener.port, listener.protocol));
        let listeners = listeners.iter().filter_map(|listener| {
            let mut map = Map::default();
            if !gateway {
                map.put("proto", Node::shown(protocol(listener.protocol)));
                map.put("port", Node::shown(listener.port));
            }
            map.put(
                "target_group",
                Node::shown(self.label(&listener.target_group, &user)?),
            );
            let idle = Some(listener.tcp_idle_s).filter(|seconds| *seconds != 350);
            map.some("idle_timeout", idle);
            Some(map.into())
        });
        let listeners = Node::List(listeners.collect());
        map.filled("listeners", listeners);
        map.flag("cross_zone", balancer.cross_zone, false);
        if !balancer.groups.is_empty() {
            map.flag(
                "enforce_privatelink_groups",
                balancer.enforce_privatelink_groups,
                true,
            );
        }
        map.flag("dualstack", balancer.dualstack, false);
        let further = balancer.secondary_ips;
        map.some("secondary_ips", (further > 0).then_some(further));
        if balancer.deletion_protected || !balancer.kept.is_empty() {
            self.leave_out(format!("{user}: attributes that change no packet"));
        }
        map
    }

    /// Subnets, and the addresses there.
    fn places(
        &mut self,
        map: &mut Map,
        vpc: &VpcId,
        nodes: &[(&SubnetId, &NetworkInterfaceId)],
        user: &str,
        addresses: bool,
    ) {
        let mut subnets = Vec::new();
        let mut fixed = Map::default();
        for (subnet, interface) in nodes {
            let Some(name) = self.subnet_name(vpc, *subnet, user) else {
                continue;
            };
            let node = self.model.get(*interface);
            fixed.some(&name, node.and_then(|eni| eni.primary()));
            subnets.push(name);
        }
        map.put("subnets", Node::one_or_list(subnets));
        if addresses {
            map.filled("addresses", fixed.into());
        }
    }

    fn group_list(&mut self, map: &mut Map, groups: &[SecurityGroupId], user: &str) {
        let groups: Vec<_> = groups
            .iter()
            .filter_map(|group| self.group_name(group, user))
            .collect();
        map.filled("groups", Node::one_or_list(groups));
    }

    pub(super) fn target_groups(&mut self) -> Map {
        let all: Vec<&TargetGroup> = self.own().collect();
        let named = all.into_iter().filter_map(|group| {
            let name = self.label(&group.id, "target groups")?;
            let map = self.target_group(&name, group)?;
            Some((name, map))
        });
        named.collect()
    }

    fn target_group(&mut self, name: &str, group: &TargetGroup) -> Option<Map> {
        let user = format!("target group {name}");
        let mut map = Map::default();
        let geneve = group.protocol == LbProtocol::Geneve;
        map.put("protocol", Node::shown(protocol(group.protocol)));
        map.some("port", (!geneve).then_some(group.port));
        map.put("vpc", Node::shown(self.label(&group.vpc, &user)?));
        let targets = group.targets.iter().filter_map(|target| {
            let host = match &target.id {
                TargetId::Interface(id) => self.interface_name(id),
                TargetId::Address(address) => Some(
                    self.host_at(&group.vpc, *address)
                        .unwrap_or_else(|| address.to_string()),
                ),
            };
            let Some(host) = host else {
                self.leave_out(format!("{user}: {}, which is no host's", target.id));
                return None;
            };
            Some(match (target.port == group.port, host.parse::<IpAddr>()) {
                (true, _) => host,
                (false, Ok(IpAddr::V6(_))) => format!("[{host}]:{}", target.port),
                (false, _) => format!("{host}:{}", target.port),
            })
        });
        let targets: Vec<_> = targets.collect();
        map.filled("targets", Node::one_or_list(targets));
        map.put("health_check", health(&group.health_check).into());
        self.attributes(&mut map, group);
        if !group.kept.is_empty() {
            self.leave_out(format!("{user}: attributes that change no packet"));
        }
        Some(map)
    }

    fn attributes(&self, map: &mut Map, group: &TargetGroup) {
        let (own, default) = (
            &group.attributes,
            TargetGroupAttributes::defaults(group.protocol, TargetType::Ip),
        );
        let stickiness = match own.stickiness {
            Stickiness::FiveTuple => None,
            Stickiness::ThreeTuple => Some("source_ip_dest_ip_proto"),
            Stickiness::TwoTuple => Some("source_ip_dest_ip"),
        };
        map.some("stickiness", stickiness);
        let failover = (own.failover == Failover::Rebalance).then_some("rebalance");
        map.some("failover", failover);
        let delay = own.deregistration_delay_s;
        map.some(
            "deregistration_delay",
            (delay != default.deregistration_delay_s).then_some(delay),
        );
        map.flag(
            "reset_on_unhealthy",
            own.reset_on_unhealthy,
            default.reset_on_unhealthy,
        );
        map.flag(
            "reset_on_deregistration",
            own.reset_on_deregistration,
            default.reset_on_deregistration,
        );
        map.flag("reset_on_idle", own.reset_on_idle, default.reset_on_idle);
        map.flag("proxy_protocol", own.proxy_protocol, default.proxy_protocol);
        map.flag(
            "preserve_client_ip",
            own.preserve_client_ip,
            default.preserve_client_ip,
        );
    }

    pub(super) fn endpoint_services(&mut self) -> Map {
        let all: Vec<&EndpointService> = self.own().collect();
        let named = all.into_iter().filter_map(|service| {
            let name = self.label(&service.id, "endpoint services")?;
            let user = format!("endpoint service {name}");
            let mut map = Map::default();
            let balancers: Vec<_> = service
                .load_balancers
                .iter()
                .filter_map(|arn| self.label(arn, &user))
                .collect();
            map.put("load_balancers", Node::one_or_list(balancers));
            map.flag("acceptance_required", service.acceptance_required, true);
            map.filled("allowed_principals", Node::list(&service.principals));
            let usable = service.usable_private_dns();
            map.text("private_dns_name", usable.map(ToString::to_string));
            if !service.supported_regions.is_empty() {
                self.leave_out(format!("{user}: the other regions that it supports"));
            }
            if service.private_dns.is_some() && usable.is_none() {
                self.leave_out(format!(
                    "{user}: its private DNS name, which is not verified"
                ));
            }
            Some((name, map))
        });
        named.collect()
    }

    pub(super) fn zones(&mut self) -> Map {
        let all: Vec<&HostedZone> = self.own().collect();
        let mut zones = Map::default();
        for zone in all {
            let user = format!("zone {}", zone.domain);
            let mut map = Map::default();
            let vpcs = zone.vpcs.iter().filter_map(|id| self.label(id, &user));
            let vpcs: Vec<_> = vpcs.collect();
            // One of VPCs that are gone is seen by nobody, and not a public one.
            if vpcs.is_empty() && !zone.vpcs.is_empty() {
                continue;
            }
            map.filled("vpcs", Node::list(vpcs));
            let mut records = Map::default();
            for (name, values) in &zone.records {
                let inside = name.strip_suffix(&*zone.domain).unwrap_or(name);
                let inside = match inside.trim_end_matches('.') {
                    "" => "@",
                    inside => inside,
                };
                records.put(inside, Node::one_or_list(values));
            }
            map.filled("records", records.into());
            zones.put(&*zone.domain, map.into());
        }
        zones
    }

    pub(super) fn endpoints(&mut self) -> Map {
        let all: Vec<&VpcEndpoint> = self.own().collect();
        let named = all.into_iter().filter_map(|endpoint| {
            let name = self.label(&endpoint.id, "endpoints")?;
            let map = self.endpoint(&name, endpoint)?;
            Some((name, map))
        });
        named.collect()
    }

    fn endpoint(&mut self, name: &str, endpoint: &VpcEndpoint) -> Option<Map> {
        let user = format!("endpoint {name}");
        let mut map = Map::default();
        if endpoint.endpoint_type == VpcEndpointType::Gateway {
            let service = endpoint.service_name.rsplit('.').next().unwrap_or_default();
            map.put("type", Node::shown("gateway"));
            map.put("service", Node::shown(service));
            map.put("vpc", Node::shown(self.label(&endpoint.vpc, &user)?));
            let tables: Vec<_> = endpoint
                .route_tables
                .iter()
                .filter_map(|table| self.labels.within(&endpoint.vpc, table))
                .collect();
            map.filled("route_tables", Node::list(&tables));
            if endpoint.policy.is_some() {
                self.leave_out(format!("{user}: its policy"));
            }
            return Some(map);
        }
        let aws = self
            .model
            .get(&endpoint.service)
            .and_then(|it| it.aws.as_ref());
        let service = match aws {
            Some(aws) => {
                let region = format!("com.amazonaws.{}.", self.file.region());
                let name = &*aws.name;
                name.strip_prefix(&region).unwrap_or(name).to_owned()
            }
            None => self.label(&endpoint.service, &user)?,
        };
        map.put("service", Node::Text(service));
        if let Some(region) = &endpoint.service_region {
            self.leave_out(format!("{user}: its service, which is in {region}"));
            return None;
        }
        let places: Vec<_> = endpoint
            .interfaces
            .iter()
            .map(|place| (&place.subnet, &place.interface))
            .collect();
        self.places(&mut map, &endpoint.vpc, &places, &user, true);
        if endpoint.endpoint_type == VpcEndpointType::Interface {
            self.group_list(&mut map, &endpoint.groups, &user);
        }
        map.flag("dualstack", endpoint.dualstack, false);
        map.flag("private_dns", endpoint.private_dns, false);
        let accepted = endpoint.state == VpcEndpointState::Available;
        map.flag("accept", accepted, true);
        if !accepted && endpoint.state != VpcEndpointState::PendingAcceptance {
            self.leave_out(format!("{user}: that it is {}", endpoint.state.name()));
        }
        if endpoint.policy.is_some() {
            self.leave_out(format!("{user}: its policy"));
        }
        Some(map)
    }
}

const fn protocol(protocol: LbProtocol) -> &'static str {
    match protocol {
        LbProtocol::Tcp => "tcp",
        LbProtocol::Udp => "udp",
        LbProtocol::TcpUdp => "tcp_udp",
        LbProtocol::Geneve => "geneve",
    }
}

fn health(check: &HealthCheck) -> Map {
    let mut map = Map::default();
    match &check.protocol {
        CheckProtocol::Tcp => map.put("protocol", Node::shown("tcp")),
        CheckProtocol::Http { path, matcher } => {
            map.put("protocol", Node::shown("http"));
            map.put("path", Node::Text(path.clone()));
            map.put("matcher", Node::Text(matcher.to_string()));
        }
    }
    if let CheckPort::Fixed(port) = check.port {
        map.put("port", Node::shown(port));
    }
    map.put("interval", Node::shown(check.interval_s));
    map.put("timeout", Node::shown(check.timeout_s));
    map.put("healthy", Node::shown(check.healthy_threshold));
    map.put("unhealthy", Node::shown(check.unhealthy_threshold));
    map
}
