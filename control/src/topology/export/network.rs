//! VPCs with what is in them, and prefix lists.

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::PortMatch;

use super::Exporter;
use super::node::{Map, Node};
use crate::model::{
    AwsList, Destination, DhcpValues, Direction, Id, InternetGateway, NetworkAcl,
    NetworkAclAssociation, NetworkAclEntry, PeeringState, PrefixList, Route, RouteTable,
    RouteTableAssociation, RouteTableUse, RouteTargetSpec, RulePeer, SecurityGroup,
    SecurityGroupId, SecurityGroupRule, Subnet, Vpc, VpcEndpointType, VpcId, VpcPeeringConnection,
    VpnGateway,
};
use crate::topology::values::Protocol;

impl<'a> Exporter<'a> {
    pub(super) fn vpcs(&mut self) -> Map {
        let vpcs: Vec<&Vpc> = self.own().collect();
        let named = vpcs.into_iter().filter_map(|vpc| {
            let name = self.label(&vpc.id, "VPCs")?;
            let map = self.vpc(&name, vpc);
            Some((name, map))
        });
        named.collect()
    }

    fn vpc(&mut self, name: &str, vpc: &Vpc) -> Map {
        let mut map = Map::default();
        map.put(
            "cidr",
            Node::one_or_list(vpc.cidrs.iter().map(|association| association.block)),
        );
        map.some("ipv6", vpc.ipv6_cidrs.first().map(|first| first.block));
        if vpc.ipv6_cidrs.len() > 1 {
            self.leave_out(format!("VPC {name}: IPv6 blocks after the first"));
        }
        if vpc.is_default {
            self.leave_out(format!("VPC {name}: that it is the default VPC"));
        }
        let gateway = self.model.referrers::<InternetGateway>(&vpc.id).next();
        if let Some(gateway) = gateway {
            let own = gateway.meta.name.as_deref().filter(|own| *own != name);
            map.put("igw", own.map_or(Node::Flag(true), Node::shown));
        }
        if let Some(gateway) = self.model.referrers::<VpnGateway>(&vpc.id).next() {
            let own = gateway.meta.name.as_deref().filter(|own| *own != name);
            map.put("vgw", own.map_or(Node::Flag(true), Node::shown));
        }
        map.flag("enable_dns_support", vpc.dns_support, true);
        map.flag("enable_dns_hostnames", vpc.dns_hostnames, false);
        self.dhcp_options(&mut map, name, vpc);
        map.filled("subnets", self.subnets(name, vpc).into());
        map.filled("route_tables", self.route_tables(name, vpc).into());
        map.filled("security_groups", self.groups(vpc).into());
        map.filled("network_acls", self.acls(vpc).into());
        map
    }

    /// What hosts are told, unless it is what they are told in the whole region.
    fn dhcp_options(&mut self, map: &mut Map, name: &str, vpc: &Vpc) {
        let options = self.model.dhcp_options_of(&vpc.id);
        let values = options.map_or_else(DhcpValues::default, |options| options.values.clone());
        if values == DhcpValues::of_region(self.file.region()) {
            return;
        }
        let mut of = Map::default();
        for (key, all) in values.listed() {
            of.put(key.replace('-', "_"), Node::one_or_list(all));
        }
        match of.is_empty() {
            true => self.leave_out(format!("VPC {name}: that its hosts get no DHCP options")),
            false => map.put("dhcp_options", of.into()),
        }
    }

    fn subnets(&mut self, vpc_name: &str, vpc: &Vpc) -> Map {
        let subnets: Vec<_> = self.model.referrers::<Subnet>(&vpc.id).collect();
        let named = subnets.into_iter().filter_map(|subnet| {
            let name = self.label(&subnet.id, vpc_name)?;
            let mut map = Map::default();
            map.put("cidr", Node::shown(subnet.cidr));
            map.some("ipv6", subnet.ipv6_cidr);
            map.put("az", Node::shown(self.zone(&subnet.zone)));
            let table = self.explicit_table(subnet);
            map.some(
                "route_table",
                table.and_then(|table| self.label(&table.route_table, vpc_name)),
            );
            let acl = self
                .model
                .referrers::<NetworkAclAssociation>(&subnet.id)
                .next();
            if let Some(acl) = acl.and_then(|used| self.model.get(&used.network_acl))
                && !is_own_default(acl)
            {
                map.some("network_acl", self.label(&acl.id, vpc_name));
            }
            map.flag("map_public_ip", subnet.map_public_ip_on_launch, false);
            Some((name, map))
        });
        named.collect()
    }

    /// `a` for `us-east-1a` in us-east-1.
    pub(super) fn zone(&self, zone: &str) -> String {
        let letter = zone.strip_prefix(self.file.region());
        let letter = letter.filter(|rest| rest.len() == 1);
        letter.unwrap_or(zone).to_owned()
    }

    fn explicit_table(&self, subnet: &Subnet) -> Option<&'a RouteTableAssociation> {
        let all = self.model.referrers::<RouteTableAssociation>(&subnet.id);
        all.map(|association| &**association).next()
    }

    fn route_tables(&mut self, vpc_name: &str, vpc: &Vpc) -> Map {
        let tables: Vec<_> = self.model.referrers::<RouteTable>(&vpc.id).collect();
        let named = tables.into_iter().filter_map(|table| {
            let uses = self.model.referrers::<RouteTableAssociation>(&table.id);
            let uses: Vec<&RouteTableUse> = uses.map(|used| &used.used_by).collect();
            let is_main = uses
                .iter()
                .any(|used| matches!(used, RouteTableUse::Main(_)));
            let explicit = uses.len() > usize::from(is_main);
            let name = self.label(&table.id, vpc_name)?;
            let routes = self.routes(&format!("{vpc_name}/{name}"), vpc, table);
            // The table that came with the VPC comes with it again.
            let plain = routes.is_empty() && table.propagating.is_empty();
            if plain && !explicit && !self.labels.is_given(&table.id) {
                return None;
            }
            let mut map = Map::default();
            map.filled("routes", Node::List(routes));
            map.flag("main", is_main, false);
            map.flag("propagate", !table.propagating.is_empty(), false);
            for used in uses {
                match used {
                    RouteTableUse::InternetGateway(_) => map.put("edge", Node::shown("igw")),
                    RouteTableUse::VpnGateway(_) => map.put("edge", Node::shown("vgw")),
                    RouteTableUse::Main(_) | RouteTableUse::Subnet(_) => {}
                }
            }
            Some((name, map))
        });
        named.collect()
    }

    fn routes(&mut self, table: &str, vpc: &Vpc, of: &RouteTable) -> Vec<Node> {
        // A gateway endpoint brings its routes itself.
        let is_endpoints = |route: &Route| match &route.target {
            RouteTargetSpec::VpcEndpoint(id) => {
                let endpoint = self.model.get(id);
                endpoint.is_some_and(|it| it.endpoint_type == VpcEndpointType::Gateway)
            }
            _ => false,
        };
        let routes: Vec<_> = of
            .routes
            .iter()
            .filter(|(_, route)| !is_own_local(route) && !is_endpoints(route))
            .collect();
        routes
            .into_iter()
            .filter_map(|(destination, route)| {
                let user = format!("route table {table}: the route to {destination}");
                let mut map = Map::default();
                let to = match destination {
                    Destination::Cidr(block) => block.to_string(),
                    Destination::PrefixList(list) => self.label(list, &user)?,
                };
                map.put("to", Node::shown(to));
                map.put("via", Node::shown(self.via(vpc, &route.target, &user)?));
                Some(map.into())
            })
            .collect()
    }

    fn via(&mut self, vpc: &Vpc, target: &RouteTargetSpec, user: &str) -> Option<String> {
        match target {
            RouteTargetSpec::Local => Some("local".to_owned()),
            RouteTargetSpec::InternetGateway(id) => {
                let attached = self.model.get(id).and_then(|gateway| gateway.vpc.as_ref());
                if attached == Some(&vpc.id) {
                    return Some("igw".to_owned());
                }
                self.leave_out(format!("{user}: a blackhole, {id}"));
                None
            }
            RouteTargetSpec::NetworkInterface(id) => {
                let found = self.interface_name(id);
                if found.is_none() {
                    self.leave_out(format!("{user}: leads to {id}, which is no host's"));
                }
                found
            }
            RouteTargetSpec::VpcEndpoint(id) => self.label(id, user),
            RouteTargetSpec::VpcPeeringConnection(id) => self.label(id, user),
            RouteTargetSpec::NatGateway(id) => self.label(id, user),
            RouteTargetSpec::VpnGateway(id) => {
                let attached = self.model.get(id).and_then(|gateway| gateway.vpc.as_ref());
                if attached == Some(&vpc.id) {
                    return Some("vgw".to_owned());
                }
                self.leave_out(format!("{user}: a blackhole, {id}"));
                None
            }
        }
    }

    fn groups(&mut self, vpc: &Vpc) -> Map {
        let groups: Vec<_> = self.model.referrers::<SecurityGroup>(&vpc.id).collect();
        let named = groups.into_iter().filter_map(|group| {
            if self.is_default_group(group) {
                return None;
            }
            let name = self.label(&group.id, "security groups")?;
            let mut map = Map::default();
            let description = Some(&*group.description).filter(|text| *text != name);
            map.some("description", description);
            map.filled("ingress", self.rules(vpc, &name, group, Direction::Ingress));
            let default = SecurityGroupRule::all(
                Default::default(),
                Direction::Egress,
                RulePeer::Cidr(Prefix::ANY_V4),
            );
            let egress: Vec<_> = of(group, Direction::Egress).collect();
            let as_made = matches!(egress.as_slice(), [only] if only.is_same(&default));
            if !as_made {
                map.put("egress", self.rules(vpc, &name, group, Direction::Egress));
            }
            Some((name, map))
        });
        named.collect()
    }

    /// Whether this is a VPC's own group, as it came. One that was changed is
    /// written as a group with a name.
    fn is_default_group(&self, group: &SecurityGroup) -> bool {
        let own = RulePeer::Group(group.id.clone());
        let come = [
            SecurityGroupRule::all(Default::default(), Direction::Ingress, own),
            SecurityGroupRule::all(
                Default::default(),
                Direction::Egress,
                RulePeer::Cidr(Prefix::ANY_V4),
            ),
        ];
        // With an IPv6 block comes a rule for it.
        let ipv6 = |rule: &SecurityGroupRule| {
            rule.direction == Direction::Egress
                && rule.protocol.is_none()
                && rule.peer == RulePeer::Cidr(Prefix::ANY_V6)
        };
        let rules = || group.rules.iter().filter(|rule| !ipv6(rule));
        group.is_default
            && rules().count() == come.len()
            && rules().all(|rule| come.iter().any(|came| came.is_same(rule)))
    }

    /// A group in a `groups:` list of that VPC.
    pub(super) fn group_name(&mut self, id: &SecurityGroupId, user: &str) -> Option<String> {
        if let Some(group) = self.model.get(id)
            && self.is_default_group(group)
        {
            return Some("default".to_owned());
        }
        self.label(id, user)
    }

    fn rules(&mut self, vpc: &Vpc, name: &str, group: &SecurityGroup, way: Direction) -> Node {
        let user = format!("security group {name}");
        let rules = of(group, way).filter_map(|rule| {
            let mut map = Map::default();
            map.put("proto", Node::shown(Protocol(rule.protocol)));
            self.ports(&mut map, rule.ports);
            let peer = match &rule.peer {
                RulePeer::Cidr(block) => block.to_string(),
                RulePeer::PrefixList(list) => match AwsList::by_id(list.as_str()) {
                    Some(aws) => format!("pl-{}", aws.service),
                    None => self.label(list, &user)?,
                },
                RulePeer::Group(id) => {
                    let group = self.group_name(id, &user)?;
                    let other = self.model.get(id).map(|group| &group.vpc);
                    match other.filter(|other| **other != vpc.id) {
                        Some(other) => format!("{}/{group}", self.label(other, &user)?),
                        None => group,
                    }
                }
            };
            let key = match way {
                Direction::Ingress => "from",
                Direction::Egress => "to",
            };
            map.put(key, Node::shown(peer));
            let description = Some(&rule.description).filter(|text| !text.is_empty());
            map.some("description", description);
            Some(Node::Map(map))
        });
        Node::List(rules.collect())
    }

    fn ports(&self, map: &mut Map, ports: PortMatch) {
        match ports {
            PortMatch::Any => {}
            PortMatch::Range(from, to) if from == to => map.put("ports", Node::shown(from)),
            PortMatch::Range(from, to) => map.put("ports", Node::Text(format!("{from}-{to}"))),
            PortMatch::Icmp(kind, None) => map.put("icmp_type", Node::shown(kind)),
            PortMatch::Icmp(kind, Some(code)) => {
                map.put("icmp_type", Node::Text(format!("{kind}/{code}")));
            }
        }
    }

    fn acls(&mut self, vpc: &Vpc) -> Map {
        let acls: Vec<_> = self.model.referrers::<NetworkAcl>(&vpc.id).collect();
        let named = acls.into_iter().filter_map(|acl| {
            if is_own_default(acl) {
                return None;
            }
            let name = self.label(&acl.id, "network ACLs")?;
            let mut map = Map::default();
            map.filled("ingress", self.entries(acl.ingress.iter()));
            map.filled("egress", self.entries(acl.egress.iter()));
            Some((name, map))
        });
        named.collect()
    }

    fn entries<'e>(&self, all: impl Iterator<Item = (&'e u16, &'e NetworkAclEntry)>) -> Node {
        let entries = all.map(|(number, entry)| {
            let mut map = Map::default();
            map.put("rule", Node::shown(number));
            let action = if entry.allow { "allow" } else { "deny" };
            map.put("action", Node::shown(action));
            map.some("proto", entry.protocol.map(|number| Protocol(Some(number))));
            self.ports(&mut map, entry.ports);
            map.put("cidr", Node::shown(entry.cidr));
            Node::Map(map)
        });
        Node::List(entries.collect())
    }

    pub(super) fn peerings(&mut self) -> Map {
        let all: Vec<&VpcPeeringConnection> = self.own().collect();
        let open = all.into_iter().filter(|peering| peering.state.is_open());
        let named = open.filter_map(|peering| {
            let name = self.label(&peering.id, "peering connections")?;
            let user = format!("peering connection {name}");
            let mut map = Map::default();
            let ends = peering.ends().map(|end| self.label(&end.vpc, &user));
            let [Some(one), Some(other)] = ends else {
                return None;
            };
            map.put("vpcs", Node::list([one, other]));
            map.flag("accept", peering.state == PeeringState::Active, true);
            if peering.ends().iter().any(|end| end.dns_resolution) {
                self.leave_out(format!(
                    "{user}: names resolve to the peer's private addresses"
                ));
            }
            Some((name, map))
        });
        named.collect()
    }

    pub(super) fn prefix_lists(&mut self) -> Map {
        let lists: Vec<&PrefixList> = self.own().collect();
        let mut map = Map::default();
        let mut named: Vec<_> = lists
            .into_iter()
            .filter_map(|list| Some((self.label(&list.id, "prefix lists")?, list)))
            .collect();
        named.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, list) in named {
            if list.entries.values().any(|text| !text.is_empty()) {
                self.leave_out(format!("prefix list {name}: descriptions of its entries"));
            }
            if u32::try_from(list.entries.len()) != Ok(list.max_entries) {
                self.leave_out(format!("prefix list {name}: room for more entries"));
            }
            map.put(name, Node::list(list.entries.keys()));
        }
        map
    }

    /// Subnets where another part of the file names them.
    pub(super) fn subnet_name(
        &mut self,
        vpc: &VpcId,
        subnet: &impl Id,
        user: &str,
    ) -> Option<String> {
        let found = self.labels.within(vpc, subnet);
        if found.is_none() {
            self.leave_out(format!(
                "{user}: is in {subnet}, which the file cannot name"
            ));
        }
        found
    }
}

fn of(group: &SecurityGroup, way: Direction) -> impl Iterator<Item = &SecurityGroupRule> {
    group.rules.iter().filter(move |rule| rule.direction == way)
}

/// The route of a VPC's own block, as it came with the table.
fn is_own_local(route: &Route) -> bool {
    route.target == RouteTargetSpec::Local
}

/// Whether this is a VPC's own ACL, as it came.
fn is_own_default(acl: &NetworkAcl) -> bool {
    let as_made = |ipv6| {
        let all = NetworkAcl::allow_all(ipv6);
        acl.ingress == all && acl.egress == all
    };
    acl.is_default && (as_made(false) || as_made(true))
}
