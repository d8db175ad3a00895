//! What can be said of a resource, for a report of changes.

use std::collections::BTreeMap;

use vpclab_dataplane::tables::PortMatch;

use crate::model::{
    Destination, Direction, Id, InterfaceKind, Kind, Model, NetworkAclEntry, Resource, ResourceId,
    RouteTableUse, RouteTargetSpec, RulePeer, Target,
};

/// A resource in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// `route table`
    pub(super) kind: &'static str,
    /// `consumer/private`
    pub(super) name: String,
    /// What is true of it, by what it is about.
    pub(super) facts: BTreeMap<String, String>,
    /// It is a part of the thing that it names.
    pub(super) part: bool,
}

impl Facts {
    fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            facts: BTreeMap::new(),
            part: false,
        }
    }

    fn part_of(self) -> Self {
        Self { part: true, ..self }
    }

    fn with(mut self, about: impl Into<String>, what: impl Into<String>) -> Self {
        let (about, what) = (about.into(), what.into());
        if !what.is_empty() {
            self.facts.insert(about, what);
        }
        self
    }

    /// A fact that is there or not.
    fn item(mut self, what: impl Into<String>) -> Self {
        self.facts.insert(what.into(), String::new());
        self
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

/// The resource as it is in `model`; none if it is not there, or nothing to tell.
pub(super) fn of(model: &Model, id: &ResourceId) -> Option<Facts> {
    let text = id.text.clone();
    match id.kind {
        // Told with its VPC.
        Kind::DhcpOptions => None,
        Kind::HostedZone => {
            let it = model.get(&crate::model::HostedZoneId::from_text(text))?;
            let facts = Facts::new("zone", &*it.domain)
                .with("VPCs", list(it.vpcs.iter().map(|id| name(model, id))));
            let records = it.records.iter();
            Some(records.fold(facts, |facts, (name, values)| {
                facts.with(format!("record {name}"), list(values))
            }))
        }
        // The last ones are made by the API only.
        Kind::Scope
        | Kind::Instance
        | Kind::NetworkInsightsPath
        | Kind::NetworkInsightsAnalysis
        | Kind::ClientToken => None,
        Kind::Vpc => vpc(model, model.get(&crate::model::VpcId::from_text(text))?),
        Kind::PrefixList => {
            let it = model.get(&crate::model::PrefixListId::from_text(text))?;
            let facts = Facts::new("prefix list", &*it.list_name);
            Some(
                it.entries
                    .keys()
                    .fold(facts, |facts, block| facts.item(block.to_string())),
            )
        }
        Kind::SecurityGroup => security_group(
            model,
            model.get(&crate::model::SecurityGroupId::from_text(text))?,
        ),
        Kind::NetworkAcl => {
            let it = model.get(&crate::model::NetworkAclId::from_text(text))?;
            let mut facts = Facts::new("network ACL", within(model, &it.vpc, it.meta()));
            for (way, entries) in [("ingress", &it.ingress), ("egress", &it.egress)] {
                for (number, entry) in entries {
                    facts = facts.with(format!("{way} {number}"), acl_entry(entry));
                }
            }
            Some(facts)
        }
        Kind::NetworkAclAssociation => {
            let it = model.get(&crate::model::NetworkAclAssociationId::from_text(text))?;
            let subnet = subnet_name(model, &it.subnet);
            let facts = Facts::new("subnet", subnet).part_of();
            let acl = model.get(&it.network_acl)?;
            let acl_name = match acl.is_default {
                true => "default".to_owned(),
                false => name(model, &acl.id),
            };
            Some(facts.with("network ACL", acl_name))
        }
        Kind::RouteTable => route_table(
            model,
            model.get(&crate::model::RouteTableId::from_text(text))?,
        ),
        Kind::RouteTableAssociation => {
            let it = model.get(&crate::model::RouteTableAssociationId::from_text(text))?;
            let table = name(model, &it.route_table);
            Some(match &it.used_by {
                RouteTableUse::Subnet(id) => Facts::new("subnet", subnet_name(model, id))
                    .part_of()
                    .with("route table", table),
                RouteTableUse::Main(id) => Facts::new("VPC", name(model, id))
                    .part_of()
                    .with("main route table", table),
                RouteTableUse::VpnGateway(id) => {
                    Facts::new("virtual private gateway", name(model, id))
                        .part_of()
                        .with("edge route table", table)
                }
                RouteTableUse::InternetGateway(id) => {
                    Facts::new("internet gateway", name(model, id))
                        .part_of()
                        .with("edge route table", table)
                }
            })
        }
        Kind::Subnet => {
            let it = model.get(&crate::model::SubnetId::from_text(text))?;
            let facts = Facts::new("subnet", within(model, &it.vpc, it.meta()))
                .with("IPv6 block", list(it.ipv6_cidr));
            Some(match it.map_public_ip_on_launch {
                true => facts.item("public addresses"),
                false => facts,
            })
        }
        Kind::InternetGateway => {
            let it = model.get(&crate::model::InternetGatewayId::from_text(text.clone()))?;
            let own = it.meta.name.as_deref().unwrap_or(&text);
            let vpc = it.vpc.as_ref().map(|vpc| name(model, vpc));
            Some(Facts::new("internet gateway", own).with("VPC", list(vpc)))
        }
        Kind::VpnGateway => {
            let it = model.get(&crate::model::VpnGatewayId::from_text(text))?;
            let vpc = it.vpc.as_ref().map(|vpc| name(model, vpc));
            let own = Facts::new("virtual private gateway", name(model, &it.id));
            Some(own.with("VPC", list(vpc)))
        }
        // Told by its connections.
        Kind::CustomerGateway => None,
        Kind::VpnConnection => {
            let it = model.get(&crate::model::VpnConnectionId::from_text(text))?;
            let facts = Facts::new("VPN connection", name(model, &it.id))
                .with("gateway", name(model, &it.vpn_gateway))
                .with("static routes only", it.static_routes_only.to_string());
            let route = |facts: Facts, route| facts.item(format!("route {route}"));
            Some(it.routes.iter().fold(facts, route))
        }
        Kind::VpcPeeringConnection => {
            let it = model.get(&crate::model::VpcPeeringConnectionId::from_text(text))?;
            let vpcs = it.ends().map(|end| name(model, &end.vpc));
            Some(
                Facts::new("peering connection", name(model, &it.id))
                    .with("VPCs", list(vpcs))
                    .with("state", it.state.name()),
            )
        }
        Kind::NetworkInterface => interface(
            model,
            model.get(&crate::model::NetworkInterfaceId::from_text(text))?,
        ),
        Kind::ElasticIp => {
            let it = model.get(&crate::model::AllocationId::from_text(text))?;
            let held = it.association.as_ref()?;
            let eni = model.get(&held.interface)?;
            let mut facts = host_facts(eni)?;
            facts.part = true;
            Some(facts.with("Elastic IP", it.public.to_string()))
        }
        Kind::TargetGroup => {
            let it = model.get(&crate::model::TargetGroupArn::from_text(text))?;
            let facts = Facts::new("target group", &*it.name)
                .with("health check", format!("{:?}", it.health_check))
                .with("attributes", format!("{:?}", it.attributes));
            let lives = |target: &&Target| target.draining_until.is_none();
            let targets = it.targets.iter().filter(lives);
            Some(targets.fold(facts, |facts, target| {
                facts.item(format!("target {}:{}", target.id, target.port))
            }))
        }
        Kind::LoadBalancer => {
            let it = model.get(&crate::model::LoadBalancerArn::from_text(text))?;
            let facts = Facts::new("load balancer", &*it.name)
                .with("groups", list(it.groups.iter().map(|id| name(model, id))))
                .with("cross-zone", it.cross_zone.to_string())
                .with(
                    "groups for PrivateLink",
                    it.enforce_privatelink_groups.to_string(),
                )
                .with("further addresses", it.secondary_ips.to_string());
            Some(it.nodes.iter().fold(facts, |facts, node| {
                facts.item(format!("node in {}", subnet_name(model, &node.subnet)))
            }))
        }
        Kind::Listener => {
            let it = model.get(&crate::model::ListenerArn::from_text(text))?;
            let balancer = model.get(&it.load_balancer)?;
            let own = format!("{} {}:{}", balancer.name, it.protocol, it.port);
            let group = model.get(&it.target_group)?;
            Some(
                Facts::new("listener", own)
                    .with("target group", &*group.name)
                    .with("idle timeout", format!("{} s", it.tcp_idle_s)),
            )
        }
        Kind::EndpointService => {
            let it = model.get(&crate::model::EndpointServiceId::from_text(text))?;
            let balancers = it.load_balancers.iter().filter_map(|id| model.get(id));
            Some(
                Facts::new(
                    if it.aws.is_some() {
                        "AWS service"
                    } else {
                        "endpoint service"
                    },
                    name(model, &it.id),
                )
                .with("load balancers", list(balancers.map(|it| it.name.clone())))
                .with("acceptance required", it.acceptance_required.to_string())
                .with("principals", list(&it.principals))
                .with("other regions", list(&it.supported_regions))
                .with(
                    "private DNS name",
                    list(it.private_dns.iter().map(|held| &held.name)),
                ),
            )
        }
        Kind::NatGateway => {
            let it = model.get(&crate::model::NatGatewayId::from_text(text))?;
            let interface = model.get(it.interface.as_ref()?)?;
            let public = model.referrers::<crate::model::ElasticIp>(&interface.id);
            Some(
                Facts::new("NAT gateway", name(model, &it.id))
                    .with("addresses", list(&interface.private_addresses))
                    .with("Elastic IPs", list(public.map(|it| it.public))),
            )
        }
        Kind::VpcEndpoint => {
            let it = model.get(&crate::model::VpcEndpointId::from_text(text))?;
            let facts = Facts::new("endpoint", name(model, &it.id))
                .with("groups", list(it.groups.iter().map(|id| name(model, id))))
                .with("state", it.state.name())
                .with("private DNS", it.private_dns.to_string());
            Some(it.interfaces.iter().fold(facts, |facts, place| {
                facts.item(format!(
                    "interface in {}",
                    subnet_name(model, &place.subnet)
                ))
            }))
        }
    }
}

fn vpc(model: &Model, it: &crate::model::Vpc) -> Option<Facts> {
    if it.on_prem.is_some() {
        let facts = Facts::new("on-premises network", name(model, &it.id));
        let blocks = it.blocks();
        return Some(blocks.fold(facts, |facts, block| facts.item(format!("block {block}"))));
    }
    let facts = Facts::new("VPC", name(model, &it.id))
        .with("DNS support", it.dns_support.to_string())
        .with("DNS hostnames", it.dns_hostnames.to_string())
        .with("DHCP options", dhcp_options(model, it));
    Some(
        it.blocks()
            .fold(facts, |facts, block| facts.item(format!("block {block}"))),
    )
}

fn dhcp_options(model: &Model, vpc: &crate::model::Vpc) -> String {
    let options = model.dhcp_options_of(&vpc.id);
    let all = options.map_or(Vec::new(), |options| options.values.listed());
    let one = |(key, values): (&str, Vec<String>)| format!("{key} {}", values.join(" "));
    list(all.into_iter().map(one))
}

fn security_group(model: &Model, it: &crate::model::SecurityGroup) -> Option<Facts> {
    let own = match it.is_default {
        true => format!("{}/default", name(model, &it.vpc)),
        false => within(model, &it.vpc, it.meta()),
    };
    let facts = Facts::new("security group", own);
    Some(it.rules.iter().fold(facts, |facts, rule| {
        let (way, side) = match rule.direction {
            Direction::Ingress => ("ingress", "from"),
            Direction::Egress => ("egress", "to"),
        };
        let peer = match &rule.peer {
            RulePeer::Cidr(block) => block.to_string(),
            RulePeer::PrefixList(id) => name(model, id),
            RulePeer::Group(id) => name(model, id),
        };
        let what = traffic(rule.protocol, rule.ports);
        facts.item(format!("{way} {what} {side} {peer}"))
    }))
}

fn route_table(model: &Model, it: &crate::model::RouteTable) -> Option<Facts> {
    let own = within(model, &it.vpc, it.meta());
    let facts = Facts::new("route table", own);
    let propagating = it.propagating.iter().map(|id| name(model, id));
    let facts = facts.with("propagates", list(propagating));
    Some(it.routes.iter().fold(facts, |facts, (to, route)| {
        let to = match to {
            Destination::Cidr(block) => block.to_string(),
            Destination::PrefixList(id) => name(model, id),
        };
        let target = match &route.target {
            RouteTargetSpec::Local => "local".to_owned(),
            RouteTargetSpec::InternetGateway(id) => name(model, id),
            RouteTargetSpec::NetworkInterface(id) => name(model, id),
            RouteTargetSpec::VpcEndpoint(id) => name(model, id),
            RouteTargetSpec::VpcPeeringConnection(id) => name(model, id),
            RouteTargetSpec::NatGateway(id) => name(model, id),
            RouteTargetSpec::VpnGateway(id) => name(model, id),
        };
        facts.with(format!("route {to}"), format!("via {target}"))
    }))
}

/// An interface of a host; others are told by what they belong to.
fn interface(model: &Model, it: &crate::model::NetworkInterface) -> Option<Facts> {
    // It is told by the service, or the endpoint.
    if it.is_service() {
        return None;
    }
    if it.is_gateway() {
        let facts = Facts::new("gateway", "to the real network");
        let facts = facts.with("addresses", list(it.addresses()));
        return Some(match it.prefixes.is_empty() {
            true => facts,
            false => facts.item("uplink"),
        });
    }
    let facts = host_facts(it)?
        .with("address", list(it.private_addresses.first()))
        .with(
            "secondary addresses",
            list(it.private_addresses.iter().skip(1)),
        )
        .with("IPv6 addresses", list(&it.ipv6_addresses))
        .with("prefixes", list(&it.prefixes))
        .with("groups", list(it.groups.iter().map(|id| name(model, id))))
        .with("subnet", subnet_name(model, &it.subnet))
        .with("public address", list(it.auto_public))
        .with("source/destination check", it.source_dest_check.to_string());
    Some(facts)
}

fn host_facts(it: &crate::model::NetworkInterface) -> Option<Facts> {
    if it.kind != InterfaceKind::Host {
        return None;
    }
    let held = it.attachment.as_ref()?;
    Some(match held.device_index {
        0 => Facts::new("host", &*held.host),
        index => Facts::new("ENI", format!("{}/eth{index}", held.host)),
    })
}

fn acl_entry(entry: &NetworkAclEntry) -> String {
    let verb = if entry.allow { "allow" } else { "deny" };
    format!(
        "{verb} {} {}",
        traffic(entry.protocol, entry.ports),
        entry.cidr
    )
}

fn traffic(protocol: Option<u8>, ports: PortMatch) -> String {
    let protocol = match protocol {
        None => "all".to_owned(),
        Some(1) => "icmp".to_owned(),
        Some(6) => "tcp".to_owned(),
        Some(17) => "udp".to_owned(),
        Some(58) => "icmpv6".to_owned(),
        Some(number) => format!("protocol {number}"),
    };
    match ports {
        PortMatch::Any => protocol,
        PortMatch::Range(from, to) if from == to => format!("{protocol} {from}"),
        PortMatch::Range(from, to) => format!("{protocol} {from}-{to}"),
        PortMatch::Icmp(kind, None) => format!("{protocol} type {kind}"),
        PortMatch::Icmp(kind, Some(code)) => format!("{protocol} type {kind}/{code}"),
    }
}

/// The name of a thing, else its id.
fn name(model: &Model, id: &impl Id) -> String {
    let own = model.name_of(&id.resource());
    own.as_deref().unwrap_or(id.text()).to_owned()
}

fn within(model: &Model, vpc: &crate::model::VpcId, meta: &crate::model::Meta) -> String {
    let own = meta.name.as_deref().unwrap_or("main");
    format!("{}/{own}", name(model, vpc))
}

fn subnet_name(model: &Model, id: &crate::model::SubnetId) -> String {
    match model.get(id) {
        Some(subnet) => within(model, &subnet.vpc, &subnet.meta),
        None => id.to_string(),
    }
}
