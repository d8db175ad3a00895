//! One resource of the model, as a reader wants it: facts, and lists of its parts.

mod joins;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpclab_dataplane::tables::PortMatch;

use super::Names;
use super::ps::{balancer_kind, health_name};
use crate::model::{
    DhcpOptions, Direction, ElasticIp, EndpointService, HostedZone, INTERNET_OWNER, Id,
    InternetGateway, Listener, LoadBalancer, Meta, Model, NatGateway, NetworkAcl,
    NetworkAclAssociation, NetworkInterface, PrefixList, RouteTable, RouteTableAssociation,
    RouteTableUse, RouteTargetSpec, RulePeer, SecurityGroup, Subnet, TargetGroup, Vpc, VpcEndpoint,
    VpcPeeringConnection, VpnGateway,
};

/// A resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceReport {
    /// What it is: `vpc`, `subnet`, `route table`…
    pub kind: String,
    /// AWS id or ARN.
    pub id: String,
    /// Its name in the topology.
    pub name: Option<String>,
    /// What is known of it.
    pub facts: Vec<Fact>,
    /// Its parts.
    pub lists: Vec<Listing>,
}

/// One thing known of a resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fact {
    /// What.
    pub name: String,
    /// How it is.
    pub value: String,
}

/// Parts of a resource: routes, rules, targets…
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// What they are.
    pub title: String,
    /// Titles of the columns.
    pub columns: Vec<String>,
    /// A row for each, of as many cells.
    pub rows: Vec<Vec<String>>,
}

/// The resources that `asked` names, by id, by name or as `vpc/subnet`. Interfaces
/// and hosts are reported elsewhere.
pub(super) fn find(model: &Model, names: &Names, asked: &str) -> Vec<ResourceReport> {
    let is = |id: &str, name: Option<&str>| id == asked || name == Some(asked);
    let view = View { model, names };
    let mut found = Vec::new();
    macro_rules! look {
        ($($table:ident: $function:ident;)*) => {$(
            for it in model.$table().iter() {
                let id = it.id.as_str();
                // What the world outside is made of is no resource.
                if &*it.meta.owner == INTERNET_OWNER {
                    continue;
                }
                if is(id, it.meta.name.as_deref()) || is(id, names.get(id)) {
                    found.push(view.$function(it));
                }
            }
        )*};
    }
    look! {
        vpcs: vpc;
        route_tables: route_table;
        security_groups: security_group;
        network_acls: network_acl;
        internet_gateways: internet_gateway;
        dhcp_options: dhcp_options;
        hosted_zones: hosted_zone;
        prefix_lists: prefix_list;
        target_groups: target_group;
        load_balancers: load_balancer;
        endpoint_services: endpoint_service;
        vpc_endpoints: endpoint;
        nat_gateways: nat_gateway;
        vpc_peering_connections: peering;
        vpn_gateways: vpn_gateway;
        customer_gateways: customer_gateway;
        vpn_connections: vpn_connection;
    }
    for network in model.vpcs().iter().filter(|it| it.on_prem.is_some()) {
        if is(network.id.as_str(), network.meta.name.as_deref()) {
            found.push(view.on_prem(network));
        }
    }
    let own = |it: &&std::sync::Arc<Subnet>| &*it.meta.owner != INTERNET_OWNER;
    for subnet in model.subnets().iter().filter(own) {
        let id = subnet.id.as_str();
        if is(id, names.get(id)) || names.subnet(&subnet.vpc, &subnet.id) == asked {
            found.push(view.subnet(subnet));
        }
    }
    found
}

struct View<'a> {
    model: &'a Model,
    names: &'a Names,
}

impl View<'_> {
    fn start(&self, kind: &str, id: &impl Id, meta: &Meta) -> ResourceReport {
        let id = id.text();
        ResourceReport {
            kind: kind.to_owned(),
            id: id.to_string(),
            name: self
                .names
                .get(id)
                .or(meta.name.as_deref())
                .map(str::to_owned),
            facts: Vec::new(),
            lists: Vec::new(),
        }
    }

    fn name(&self, id: &impl Id) -> String {
        self.names.long(id.text())
    }

    fn short(&self, id: &impl Id) -> String {
        self.names.short(id.text()).to_owned()
    }

    fn vpc(&self, vpc: &Vpc) -> ResourceReport {
        let mut report = self.start("vpc", &vpc.id, &vpc.meta);
        report.fact("blocks", joined(vpc.blocks()));
        let options = vpc.dhcp_options.as_ref();
        report.fact(
            "DHCP options",
            options.map_or("none".to_owned(), |options| self.name(options)),
        );
        let gateways = self.model.referrers::<InternetGateway>(&vpc.id);
        report.fact(
            "internet gateway",
            joined(gateways.map(|it| self.name(&it.id))),
        );
        let gateways = self.model.referrers::<VpnGateway>(&vpc.id);
        report.fact(
            "virtual private gateway",
            joined(gateways.map(|it| self.name(&it.id))),
        );
        let peerings = self.model.referrers::<VpcPeeringConnection>(&vpc.id);
        report.fact(
            "peering connections",
            joined(peerings.map(|it| self.name(&it.id))),
        );
        let subnets = self.model.referrers::<Subnet>(&vpc.id);
        let rows = subnets.map(|subnet| {
            let hosts = self.model.count::<NetworkInterface>(&subnet.id.resource());
            [
                self.short(&subnet.id),
                subnet.zone.to_string(),
                joined(subnet.blocks()),
                self.table_of(subnet),
                hosts.to_string(),
                subnet.id.to_string(),
            ]
        });
        let columns = ["NAME", "ZONE", "BLOCKS", "ROUTE TABLE", "ENIS", "ID"];
        report.list("subnets", columns, rows.collect());
        report
    }

    fn subnet(&self, subnet: &Subnet) -> ResourceReport {
        let mut report = self.start("subnet", &subnet.id, &subnet.meta);
        report.fact("vpc", self.name(&subnet.vpc));
        report.fact("zone", subnet.zone.to_string());
        report.fact("blocks", joined(subnet.blocks()));
        report.fact("route table", self.table_of(subnet));
        let mut acls = self.model.referrers::<NetworkAclAssociation>(&subnet.id);
        if let Some(acl) = acls.next() {
            report.fact("network ACL", self.name(&acl.network_acl));
        }
        report
    }

    /// The subnet's own table, else the VPC's main one.
    fn table_of(&self, subnet: &Subnet) -> String {
        match crate::compile::route_table_in_force(self.model, subnet) {
            Some(id) => self.name(&id),
            None => "none".to_owned(),
        }
    }

    fn route_table(&self, table: &RouteTable) -> ResourceReport {
        let mut report = self.start("route table", &table.id, &table.meta);
        report.fact("vpc", self.name(&table.vpc));
        let uses = self.model.referrers::<RouteTableAssociation>(&table.id);
        let uses = uses.map(|it| match &it.used_by {
            RouteTableUse::Main(_) => "every subnet without a table of its own".to_owned(),
            RouteTableUse::Subnet(id) => format!("subnet {}", self.short(id)),
            RouteTableUse::VpnGateway(id) => {
                format!("what enters by virtual private gateway {}", self.short(id))
            }
            RouteTableUse::InternetGateway(id) => {
                format!("what enters by internet gateway {}", self.short(id))
            }
        });
        report.fact("used by", joined(uses));
        let rows = table.routes.iter().map(|(to, route)| {
            let target = match &route.target {
                RouteTargetSpec::Local => "local".to_owned(),
                other => self.names.long(&other.label()),
            };
            [to.to_string(), target]
        });
        let propagated = crate::compile::vpn::propagated(self.model, table);
        let propagated = propagated.iter().map(|(to, gateway)| {
            let target = format!("{} (propagated)", self.name(gateway));
            [to.to_string(), target]
        });
        let rows = rows.chain(propagated).collect();
        report.list("routes", ["DESTINATION", "TARGET"], rows);
        report
    }

    fn security_group(&self, group: &SecurityGroup) -> ResourceReport {
        let mut report = self.start("security group", &group.id, &group.meta);
        report.fact("vpc", self.name(&group.vpc));
        let members = self.model.referrers::<NetworkInterface>(&group.id);
        report.fact(
            "members",
            joined(members.map(|it| self.names.interface(it))),
        );
        let rows = group.rules.iter().map(|rule| {
            let peer = match &rule.peer {
                RulePeer::Cidr(block) => block.to_string(),
                RulePeer::PrefixList(id) => self.name(id),
                RulePeer::Group(id) => self.name(id),
            };
            [
                match rule.direction {
                    Direction::Ingress => "in".to_owned(),
                    Direction::Egress => "out".to_owned(),
                },
                traffic(rule.protocol, rule.ports),
                peer,
                rule.id.to_string(),
            ]
        });
        report.list("rules", ["WAY", "ALLOWS", "PEER", "ID"], rows.collect());
        report
    }

    fn network_acl(&self, acl: &NetworkAcl) -> ResourceReport {
        let mut report = self.start("network ACL", &acl.id, &acl.meta);
        report.fact("vpc", self.name(&acl.vpc));
        let subnets = self.model.referrers::<NetworkAclAssociation>(&acl.id);
        report.fact("subnets", joined(subnets.map(|it| self.short(&it.subnet))));
        let mut rows = Vec::new();
        for (way, entries) in [("in", &acl.ingress), ("out", &acl.egress)] {
            for (number, entry) in entries {
                let verdict = if entry.allow { "allow" } else { "deny" };
                rows.push([
                    way.to_owned(),
                    number.to_string(),
                    verdict.to_owned(),
                    traffic(entry.protocol, entry.ports),
                    entry.cidr.to_string(),
                ]);
            }
            let rest = [way, "*", "deny", "all traffic", "any"];
            rows.push(rest.map(str::to_owned));
        }
        report.list(
            "entries",
            ["WAY", "NUMBER", "VERDICT", "TRAFFIC", "PEER"],
            rows,
        );
        report
    }

    fn internet_gateway(&self, gateway: &InternetGateway) -> ResourceReport {
        let mut report = self.start("internet gateway", &gateway.id, &gateway.meta);
        let vpc = gateway.vpc.as_ref();
        report.fact("vpc", vpc.map_or("none".to_owned(), |vpc| self.name(vpc)));
        let tables = self.model.referrers::<RouteTableAssociation>(&gateway.id);
        let tables = tables.map(|it| self.name(&it.route_table));
        report.fact("edge route table", joined(tables));
        report
    }

    fn hosted_zone(&self, zone: &HostedZone) -> ResourceReport {
        let mut report = self.start("hosted zone", &zone.id, &zone.meta);
        let vpcs = zone.vpcs.iter().map(|vpc| self.name(vpc));
        let seen = match zone.vpcs.is_empty() {
            true => "public".to_owned(),
            false => format!("private, of {}", joined(vpcs)),
        };
        report.fact("seen", seen);
        for (name, values) in &zone.records {
            let values = values.iter().map(ToString::to_string);
            report.fact(name, joined(values));
        }
        report
    }

    fn dhcp_options(&self, options: &DhcpOptions) -> ResourceReport {
        let mut report = self.start("DHCP options", &options.id, &options.meta);
        for (key, values) in options.values.listed() {
            report.fact(key, joined(values.into_iter()));
        }
        let vpcs = self.model.referrers::<Vpc>(&options.id);
        report.fact("vpcs", joined(vpcs.map(|vpc| self.name(&vpc.id))));
        report
    }

    fn prefix_list(&self, list: &PrefixList) -> ResourceReport {
        let mut report = self.start("prefix list", &list.id, &list.meta);
        report.fact("version", list.version.to_string());
        let rows = list
            .entries
            .iter()
            .map(|(block, text)| [block.to_string(), text.to_string()]);
        report.list("entries", ["BLOCK", "DESCRIPTION"], rows.collect());
        report
    }

    fn target_group(&self, group: &TargetGroup) -> ResourceReport {
        let mut report = self.start("target group", &group.id, &group.meta);
        report.fact("vpc", self.name(&group.vpc));
        report.fact("protocol", format!("{}:{}", group.protocol, group.port));
        let check = &group.health_check;
        let (every, wait) = (check.interval_s, check.timeout_s);
        let (up, down) = (check.healthy_threshold, check.unhealthy_threshold);
        report.fact(
            "health check",
            format!("every {every} s, {wait} s each; {up} passes to heal, {down} failures to fall"),
        );
        // Each load balancer once, whatever the number of its listeners.
        let users = self.model.referrers::<Listener>(&group.id);
        let users: BTreeSet<_> = users.map(|it| self.short(&it.load_balancer)).collect();
        report.fact("used by", joined(users.into_iter()));
        let rows = group.targets.iter().map(|target| {
            let address = target.address(self.model);
            [
                address.map_or("gone".to_owned(), |address| address.to_string()),
                target.port.to_string(),
                health_name(target.health).to_owned(),
                target.failure.map_or(String::new(), |why| why.to_string()),
            ]
        });
        report.list(
            "targets",
            ["ADDRESS", "PORT", "HEALTH", "WHY"],
            rows.collect(),
        );
        report
    }

    fn load_balancer(&self, balancer: &LoadBalancer) -> ResourceReport {
        let mut report = self.start("load balancer", &balancer.id, &balancer.meta);
        report.fact("type", balancer_kind(balancer.kind).to_owned());
        report.fact("vpc", self.name(&balancer.vpc));
        report.fact("cross-zone", on_off(balancer.cross_zone));
        report.fact(
            "groups",
            joined(balancer.groups.iter().map(|id| self.name(id))),
        );
        let rows = super::ps::listeners(self.model, balancer);
        let rows = rows.into_iter().map(|it| {
            let port = match it.port {
                0 => it.protocol.to_string(),
                port => format!("{}:{port}", it.protocol),
            };
            [port, self.short(&it.target_group)]
        });
        report.list("listeners", ["LISTENER", "TARGET GROUP"], rows.collect());
        report
    }

    fn endpoint_service(&self, service: &EndpointService) -> ResourceReport {
        let mut report = self.start("endpoint service", &service.id, &service.meta);
        report.fact("service name", service.service_name());
        report.fact("acceptance required", yes_no(service.acceptance_required));
        report.fact("principals", joined(service.principals.iter()));
        if let Some(held) = &service.private_dns {
            let (label, text) = service.verification();
            let state = held.state.name();
            report.fact(
                "private DNS name",
                format!("{} ({state}; TXT {label} {text})", held.name),
            );
        }
        let balancers = service.load_balancers.iter().map(|id| self.short(id));
        report.fact("load balancers", joined(balancers));
        let rows = self
            .model
            .referrers::<VpcEndpoint>(&service.id)
            .map(|it| [self.name(&it.id), it.state.name().to_owned()]);
        report.list("endpoints", ["ENDPOINT", "STATE"], rows.collect());
        report
    }

    fn nat_gateway(&self, gateway: &NatGateway) -> ResourceReport {
        let mut report = self.start("NAT gateway", &gateway.id, &gateway.meta);
        report.fact("type", gateway.connectivity.name().to_owned());
        report.fact("vpc", self.name(&gateway.vpc));
        report.fact("subnet", self.name(&gateway.subnet));
        report.fact("state", gateway.state().to_owned());
        if let Some(failure) = &gateway.failure {
            report.fact("failure", format!("{}: {}", failure.code, failure.message));
        }
        let interface = gateway.interface.as_ref().and_then(|id| self.model.get(id));
        if let Some(interface) = interface {
            report.fact("interface", self.name(&interface.id));
            let public = |private| {
                let mut all = self.model.referrers::<ElasticIp>(&interface.id);
                all.find_map(|it| {
                    let held = it.association.as_ref()?;
                    (held.private == private).then(|| it.public.to_string())
                })
            };
            let addresses = interface.private_addresses.iter();
            let rows = addresses
                .map(|&private| [private.to_string(), public(private).unwrap_or_default()]);
            report.list("addresses", ["PRIVATE", "PUBLIC"], rows.collect());
        }
        let tables = self.model.referrers::<RouteTable>(&gateway.id);
        report.fact("routed to by", joined(tables.map(|it| self.name(&it.id))));
        report
    }

    fn endpoint(&self, endpoint: &VpcEndpoint) -> ResourceReport {
        let mut report = self.start("endpoint", &endpoint.id, &endpoint.meta);
        report.fact("type", endpoint.endpoint_type.name().to_owned());
        report.fact("vpc", self.name(&endpoint.vpc));
        report.fact("service", self.name(&endpoint.service));
        report.fact("service name", endpoint.service_name.to_string());
        report.fact("state", endpoint.state.name().to_owned());
        report.fact(
            "groups",
            joined(endpoint.groups.iter().map(|id| self.name(id))),
        );
        let service = self.model.get(&endpoint.service);
        let private = service.and_then(|service| service.usable_private_dns());
        let private = private.filter(|_| endpoint.private_dns);
        let rows = endpoint.dns_names(self.model).into_iter().map(|name| {
            let zone = name.zone.map(|zone| zone.to_string());
            [name.name, zone.unwrap_or_else(|| "all".to_owned())]
        });
        let private = private.map(|name| [name.to_string(), "all, in the VPC".to_owned()]);
        report.list("DNS names", ["NAME", "ZONE"], rows.chain(private).collect());
        report
    }
}

impl ResourceReport {
    pub(super) fn fact(&mut self, name: &str, value: String) {
        let value = if value.is_empty() {
            "none".to_owned()
        } else {
            value
        };
        self.facts.push(Fact {
            name: name.to_owned(),
            value,
        });
    }

    fn list<const N: usize>(&mut self, title: &str, columns: [&str; N], rows: Vec<[String; N]>) {
        self.lists.push(Listing {
            title: title.to_owned(),
            columns: columns.map(str::to_owned).to_vec(),
            rows: rows.into_iter().map(Vec::from).collect(),
        });
    }
}

fn joined(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    items.join(", ")
}

fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// `tcp 443`, `all traffic`…
fn traffic(protocol: Option<u8>, ports: PortMatch) -> String {
    crate::trace::traffic(protocol, ports)
}
