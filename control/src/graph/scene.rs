//! What a picture of a lab shows, as data: boxes in boxes, and arrows.

use std::collections::BTreeMap;

use vpclab_dataplane::tables::TargetHealth;

use crate::model::{
    EndpointService, InterfaceKind, Listener, LoadBalancer, Model, NetworkInterface,
    NetworkInterfaceId, PeeringState, RouteTable, RouteTableAssociation, RouteTableUse,
    RouteTargetSpec, Subnet, SubnetId, TargetGroup, Vpc, VpcEndpoint, VpcEndpointType, VpcId,
    VpcPeeringConnection, VpcPeeringConnectionId, VpnGateway,
};
use crate::report::Names;
use crate::report::ps::public_addresses;

/// A picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// VPCs, consumers of services before their providers.
    pub vpcs: Vec<VpcBox>,
    /// Hosts of the internet.
    pub internet: Vec<Node>,
    /// Arrows.
    pub edges: Vec<Edge>,
}

/// A VPC, or a network on premises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcBox {
    /// AWS id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Whether it is a network on premises.
    pub on_prem: bool,
    /// Address blocks.
    pub blocks: String,
    /// What stands on its border: its internet gateway, its virtual private gateway,
    /// its ends of peering connections, its gateway endpoints; the router on premises.
    pub border: Vec<Node>,
    /// Zones that have subnets, by name.
    pub zones: Vec<ZoneColumn>,
}

impl VpcBox {
    /// Its internet gateway.
    pub fn internet_gateway(&self) -> Option<&Node> {
        let mut border = self.border.iter();
        border.find(|it| it.kind == NodeKind::Gateway)
    }
}

/// An availability zone of a VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneColumn {
    /// `us-east-1a`
    pub name: String,
    /// Public ones first.
    pub subnets: Vec<SubnetBox>,
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetBox {
    /// AWS id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Address blocks.
    pub blocks: String,
    /// Its route table.
    pub table: String,
    /// Whether a route leads to an internet gateway.
    pub public: bool,
    /// ENIs in it.
    pub nodes: Vec<Node>,
}

/// What a node is, in the order in which they stand in a subnet: what sends to
/// others above them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A load balancer's node.
    LoadBalancer,
    /// An interface endpoint's ENI.
    Endpoint,
    /// A NAT gateway's ENI.
    NatGateway,
    /// A gateway load balancer endpoint's ENI.
    GatewayEndpoint,
    /// An ENI of a host.
    Host,
    /// An ENI without a host.
    Interface,
    /// An internet gateway.
    Gateway,
    /// Another thing on the border of a VPC.
    Border,
}

/// A small box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// AWS id.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// Name.
    pub name: String,
    /// Below the name: addresses.
    pub detail: String,
}

/// What an arrow means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeKind {
    /// A route.
    Route,
    /// Between a gateway and the internet.
    Internet,
    /// PrivateLink, endpoint to load balancer.
    PrivateLink,
    /// GENEVE, endpoint to gateway load balancer.
    Geneve,
    /// A load balancer's target, not known to be unhealthy.
    Target,
    /// A target that is unhealthy.
    UnhealthyTarget,
    /// Between the two ends of a peering connection.
    Peering,
    /// A VPN connection.
    Vpn,
}

impl EdgeKind {
    /// In a word, for the legend.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Internet => "internet",
            Self::PrivateLink => "PrivateLink",
            Self::Geneve => "GENEVE",
            Self::Target => "target",
            Self::UnhealthyTarget => "unhealthy target",
            Self::Peering => "peering",
            Self::Vpn => "VPN",
        }
    }

    /// Whether it leads both ways.
    pub const fn is_two_way(self) -> bool {
        matches!(self, Self::Internet | Self::Peering | Self::Vpn)
    }
}

/// An arrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Id of a node or subnet.
    pub from: String,
    /// Id of a node; [`INTERNET`] is the internet.
    pub to: String,
    /// What it means.
    pub kind: EdgeKind,
    /// What is written on it; may be empty.
    pub label: String,
}

/// The internet, as the end of an arrow.
pub const INTERNET: &str = "internet";

impl Scene {
    /// The lab in `model`.
    pub fn of(model: &Model) -> Self {
        let names = Names::of(model);
        let view = View { model, names };
        let mut scene = Self::default();
        for vpc in model.vpcs().iter() {
            if vpc.internet {
                let hosts = model.referrers::<NetworkInterface>(&vpc.id);
                // What a service of AWS's has for each gateway endpoint is nothing to see.
                let hosts = hosts.filter(|it| it.addresses().next().is_some());
                scene.internet = hosts.map(|it| view.node(it)).collect();
                scene.internet.sort_by(|a, b| a.name.cmp(&b.name));
            } else {
                scene.vpcs.push(view.vpc(vpc));
            }
        }
        view.routes(&mut scene);
        view.joins(&mut scene);
        view.services(&mut scene);
        view.targets(&mut scene);
        scene.order_vpcs();
        scene
    }

    /// All ENIs and gateways.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        let inner = self.vpcs.iter().flat_map(|vpc| {
            let subnets = vpc.zones.iter().flat_map(|zone| &zone.subnets);
            subnets.flat_map(|it| &it.nodes).chain(&vpc.border)
        });
        inner.chain(&self.internet)
    }

    /// Those that send to others before those that are sent to.
    fn order_vpcs(&mut self) {
        let mut home = BTreeMap::new();
        for vpc in &self.vpcs {
            for subnet in vpc.zones.iter().flat_map(|zone| &zone.subnets) {
                for node in &subnet.nodes {
                    home.insert(node.id.clone(), vpc.id.clone());
                }
            }
            for node in &vpc.border {
                home.insert(node.id.clone(), vpc.id.clone());
            }
        }
        let mut balance: BTreeMap<&str, i64> = BTreeMap::new();
        for edge in &self.edges {
            if let (Some(from), Some(to)) = (home.get(&edge.from), home.get(&edge.to))
                && from != to
            {
                *balance.entry(from.as_str()).or_default() -= 1;
                *balance.entry(to.as_str()).or_default() += 1;
            }
        }
        let rank = |vpc: &VpcBox| balance.get(vpc.id.as_str()).copied().unwrap_or(0);
        self.vpcs
            .sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
    }
}

fn on_border(id: String, name: String) -> Node {
    Node {
        id,
        kind: NodeKind::Border,
        name,
        detail: String::new(),
    }
}

/// The id of a peering connection's end in a VPC.
fn peering_end(id: &VpcPeeringConnectionId, vpc: &VpcId) -> String {
    format!("{id}/{vpc}")
}

/// The id of the router of a network on premises.
fn router_of(network: &VpcId) -> String {
    format!("{network}/router")
}

struct View<'a> {
    model: &'a Model,
    names: Names,
}

impl View<'_> {
    fn vpc(&self, vpc: &Vpc) -> VpcBox {
        let mut zones: BTreeMap<String, Vec<SubnetBox>> = BTreeMap::new();
        for subnet in self.model.referrers::<Subnet>(&vpc.id) {
            let zone = zones.entry(subnet.zone.to_string()).or_default();
            zone.push(self.subnet(subnet));
        }
        if vpc.on_prem.is_some() {
            return self.on_prem(vpc, zones);
        }
        let zones = zones.into_iter().map(|(name, mut subnets)| {
            subnets.sort_by(|a, b| (!a.public, &a.name).cmp(&(!b.public, &b.name)));
            ZoneColumn { name, subnets }
        });
        VpcBox {
            id: vpc.id.to_string(),
            name: self.names.short(vpc.id.as_str()).to_owned(),
            on_prem: false,
            blocks: joined(vpc.blocks()),
            border: self.border(vpc),
            zones: zones.collect(),
        }
    }

    /// A network on premises: no zones, no subnets, its hosts behind its router.
    fn on_prem(&self, vpc: &Vpc, zones: BTreeMap<String, Vec<SubnetBox>>) -> VpcBox {
        let name = self.names.short(vpc.id.as_str()).to_owned();
        let blocks = joined(vpc.blocks());
        let subnets = zones.into_values().flatten().map(|subnet| SubnetBox {
            name: name.clone(),
            blocks: blocks.clone(),
            table: String::new(),
            public: false,
            ..subnet
        });
        let router = vpc.on_prem;
        let router = router.map(|at| on_border(router_of(&vpc.id), at.to_string()));
        VpcBox {
            id: vpc.id.to_string(),
            on_prem: true,
            border: router.into_iter().collect(),
            zones: vec![ZoneColumn {
                name: "on premises".to_owned(),
                subnets: subnets.collect(),
            }],
            name,
            blocks,
        }
    }

    fn border(&self, vpc: &Vpc) -> Vec<Node> {
        let mut border = Vec::new();
        let mut gateways = self.model.internet_gateways().iter();
        if let Some(it) = gateways.find(|it| it.vpc.as_ref() == Some(&vpc.id)) {
            border.push(Node {
                kind: NodeKind::Gateway,
                ..on_border(it.id.to_string(), "internet gateway".to_owned())
            });
        }
        for it in self.model.referrers::<VpnGateway>(&vpc.id) {
            border.push(on_border(it.id.to_string(), "VPN gateway".to_owned()));
        }
        for it in self.peerings(&vpc.id) {
            let name = self.names.short(it.id.as_str());
            border.push(on_border(
                peering_end(&it.id, &vpc.id),
                format!("peering {name}"),
            ));
        }
        for it in self.model.referrers::<VpcEndpoint>(&vpc.id) {
            if it.endpoint_type == VpcEndpointType::Gateway {
                let name = self.names.short(it.id.as_str());
                border.push(on_border(it.id.to_string(), format!("endpoint {name}")));
            }
        }
        border
    }

    /// The active peering connections of a VPC, each once.
    fn peerings(&self, vpc: &VpcId) -> Vec<&VpcPeeringConnection> {
        let all = self.model.vpc_peering_connections().iter();
        let own = all.filter(|it| {
            it.state == PeeringState::Active && it.ends().iter().any(|end| end.vpc == *vpc)
        });
        own.map(|it| &**it).collect()
    }

    /// Arrows between the ends of peering and VPN connections.
    fn joins(&self, scene: &mut Scene) {
        let mut join = |from: String, to: String, kind| {
            scene.edges.push(Edge {
                from,
                to,
                kind,
                label: String::new(),
            });
        };
        for it in self.model.vpc_peering_connections().iter() {
            let [a, b] = it.ends();
            let here = |end: &crate::model::PeeringEnd| self.model.get(&end.vpc).is_some();
            if it.state == PeeringState::Active && here(a) && here(b) {
                let (a, b) = (peering_end(&it.id, &a.vpc), peering_end(&it.id, &b.vpc));
                join(a, b, EdgeKind::Peering);
            }
        }
        for it in self.model.vpn_connections().iter() {
            let gateway = self.model.get(&it.vpn_gateway);
            let attached = gateway.filter(|gateway| gateway.vpc.is_some());
            let network = crate::compile::vpn::network(self.model, it);
            if let (Some(gateway), Some(network)) = (attached, network) {
                join(
                    router_of(&network.id),
                    gateway.id.to_string(),
                    EdgeKind::Vpn,
                );
            }
        }
    }

    /// What stands for a route's target; nothing does for a blackhole.
    fn route_end(
        &self,
        table: &RouteTable,
        target: &RouteTargetSpec,
        zone: Option<&str>,
    ) -> Option<String> {
        let attached = |vpc: Option<&VpcId>| vpc == Some(&table.vpc);
        match target {
            RouteTargetSpec::Local => None,
            RouteTargetSpec::InternetGateway(id) => {
                let gateway = self.model.get(id)?;
                attached(gateway.vpc.as_ref()).then(|| id.to_string())
            }
            RouteTargetSpec::VpnGateway(id) => {
                let gateway = self.model.get(id)?;
                attached(gateway.vpc.as_ref()).then(|| id.to_string())
            }
            RouteTargetSpec::VpcPeeringConnection(id) => {
                let mut own = self.peerings(&table.vpc).into_iter();
                own.any(|it| it.id == *id)
                    .then(|| peering_end(id, &table.vpc))
            }
            RouteTargetSpec::NetworkInterface(id) => Some(self.model.get(id)?.id.to_string()),
            RouteTargetSpec::NatGateway(id) => {
                Some(self.model.get(id)?.interface.as_ref()?.to_string())
            }
            RouteTargetSpec::VpcEndpoint(id) => match self.model.get(id)?.endpoint_type {
                VpcEndpointType::Gateway => Some(id.to_string()),
                _ => Some(self.endpoint_interface(id, zone)?.to_string()),
            },
        }
    }

    fn subnet(&self, subnet: &Subnet) -> SubnetBox {
        let table = crate::compile::route_table_in_force(self.model, subnet);
        let routes = table.as_ref().and_then(|id| self.model.get(id));
        let mut routes = routes.iter().flat_map(|table| table.routes.values());
        let interfaces = self.model.referrers::<NetworkInterface>(&subnet.id);
        let mut nodes: Vec<_> = interfaces.map(|it| self.node(it)).collect();
        nodes.sort_by(|a, b| (a.kind as u8, &a.name).cmp(&(b.kind as u8, &b.name)));
        SubnetBox {
            id: subnet.id.to_string(),
            name: self.names.short(subnet.id.as_str()).to_owned(),
            blocks: joined(subnet.blocks()),
            public: routes.any(|it| matches!(it.target, RouteTargetSpec::InternetGateway(_))),
            table: table.map_or(String::new(), |id| self.table_name(id.as_str())),
            nodes,
        }
    }

    /// The name of a route table; one without is the VPC's main one.
    fn table_name(&self, id: &str) -> String {
        self.names.get(id).unwrap_or("main").to_owned()
    }

    fn node(&self, interface: &NetworkInterface) -> Node {
        let kind = match &interface.kind {
            InterfaceKind::Host if interface.attachment.is_some() => NodeKind::Host,
            InterfaceKind::Host => NodeKind::Interface,
            InterfaceKind::Endpoint(_) => NodeKind::Endpoint,
            InterfaceKind::GatewayEndpoint(_) => NodeKind::GatewayEndpoint,
            InterfaceKind::LoadBalancer(_) => NodeKind::LoadBalancer,
            InterfaceKind::NatGateway(_) => NodeKind::NatGateway,
        };
        let name = match &interface.attachment {
            // A host's first interface stands for it.
            Some(held) if held.device_index == 0 => held.host.to_string(),
            _ => {
                let name = self.names.interface(interface);
                let name = name.strip_prefix("endpoint ").unwrap_or(&name);
                let name = name.strip_prefix("NAT gateway ").unwrap_or(name);
                name.strip_prefix("load balancer ")
                    .unwrap_or(name)
                    .to_owned()
            }
        };
        let v4 = interface.private_addresses.iter().map(ToString::to_string);
        let v6 = interface.ipv6_addresses.iter().map(ToString::to_string);
        let mut detail = v4.chain(v6).next().unwrap_or_default();
        if interface.is_gateway() && !interface.prefixes.is_empty() {
            detail = format!("{detail} · real network");
        }
        let public = public_addresses(self.model, interface);
        if !public.is_empty() {
            detail = format!("{detail} · {}", joined(public.iter()));
        }
        Node {
            id: interface.id.to_string(),
            kind,
            name,
            detail,
        }
    }

    /// An arrow for each route that is not local.
    fn routes(&self, scene: &mut Scene) {
        let mut edges: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        let mut add = |from: &str, id: &crate::model::RouteTableId, zone: Option<&str>| {
            let Some(table) = self.model.get(id) else {
                return;
            };
            let propagated = crate::compile::vpn::propagated(self.model, table);
            let propagated = propagated.into_iter().map(|(prefix, gateway)| {
                (prefix.to_string(), RouteTargetSpec::VpnGateway(gateway))
            });
            let routes = table.routes.iter();
            let routes = routes.map(|(to, route)| (to.to_string(), route.target.clone()));
            for (destination, target) in routes.chain(propagated) {
                let Some(to) = self.route_end(table, &target, zone) else {
                    continue;
                };
                let label = self.names.short(&destination).to_owned();
                let labels = edges.entry((from.to_owned(), to)).or_default();
                labels.push(label);
            }
        };
        for subnet in self.model.subnets().iter() {
            if let Some(id) = crate::compile::route_table_in_force(self.model, subnet) {
                add(subnet.id.as_str(), &id, Some(&subnet.zone));
            }
        }
        for used in self.model.route_table_associations().iter() {
            let RouteTableAssociation { route_table, .. } = &**used;
            match &used.used_by {
                RouteTableUse::InternetGateway(gateway) => {
                    add(gateway.as_str(), route_table, None);
                }
                RouteTableUse::VpnGateway(gateway) => add(gateway.as_str(), route_table, None),
                RouteTableUse::Main(_) | RouteTableUse::Subnet(_) => {}
            }
        }
        for ((from, to), labels) in edges {
            scene.edges.push(Edge {
                from,
                to,
                kind: EdgeKind::Route,
                label: short_list(&labels),
            });
        }
        for vpc in &scene.vpcs {
            if let Some(gateway) = vpc.internet_gateway() {
                scene.edges.push(Edge {
                    from: gateway.id.clone(),
                    to: INTERNET.to_owned(),
                    kind: EdgeKind::Internet,
                    label: String::new(),
                });
            }
        }
    }

    /// An endpoint's interface, in the zone if it has one there.
    fn endpoint_interface(
        &self,
        id: &crate::model::VpcEndpointId,
        zone: Option<&str>,
    ) -> Option<&NetworkInterfaceId> {
        let endpoint = self.model.get(id)?;
        let here = endpoint.interfaces.iter().find(|place| {
            let subnet = self.model.get(&place.subnet);
            subnet.is_some_and(|subnet| Some(&*subnet.zone) == zone)
        });
        let place = here.or_else(|| endpoint.interfaces.first())?;
        Some(&place.interface)
    }

    /// Endpoints to the nodes of their service in the same zone (any, if there is
    /// none).
    fn services(&self, scene: &mut Scene) {
        for endpoint in self.model.vpc_endpoints().iter() {
            let Some(service) = self.model.get(&endpoint.service) else {
                continue;
            };
            for place in &endpoint.interfaces {
                let subnet = self.model.get(&place.subnet);
                let zone = subnet.map(|subnet| subnet.zone.clone());
                let nodes = self.service_nodes(service);
                let mut here: Vec<_> = nodes
                    .iter()
                    .filter(|(_, at)| Some(at) == zone.as_ref())
                    .collect();
                if here.is_empty() {
                    here = nodes.iter().collect();
                }
                for (node, _) in here {
                    scene
                        .edges
                        .push(service_edge(endpoint, &place.interface, node));
                }
            }
        }
    }

    fn service_nodes(
        &self,
        service: &EndpointService,
    ) -> Vec<(NetworkInterfaceId, std::sync::Arc<str>)> {
        let balancers = service.load_balancers.iter();
        let nodes = balancers.filter_map(|id| self.model.get(id));
        nodes
            .flat_map(|balancer| &balancer.nodes)
            .filter_map(|node| {
                let subnet = self.model.get(&node.subnet)?;
                Some((node.interface.clone(), subnet.zone.clone()))
            })
            .collect()
    }

    fn targets(&self, scene: &mut Scene) {
        for balancer in self.model.load_balancers().iter() {
            let mut edges: BTreeMap<(String, String), (Vec<String>, bool)> = BTreeMap::new();
            for listener in self.model.referrers::<Listener>(&balancer.id) {
                let Some(group) = self.model.get(&listener.target_group) else {
                    continue;
                };
                for target in &group.targets {
                    let Some(to) = target
                        .address(self.model)
                        .and_then(|address| self.interface_with(group, address))
                    else {
                        continue;
                    };
                    for node in self.nodes_for(balancer, to) {
                        let key = (node.to_string(), to.id.to_string());
                        let (labels, unhealthy) = edges.entry(key).or_default();
                        labels.extend(label(listener, target.port));
                        *unhealthy |= target.health == TargetHealth::Unhealthy;
                    }
                }
            }
            for ((from, to), (labels, unhealthy)) in edges {
                let kind = if unhealthy {
                    EdgeKind::UnhealthyTarget
                } else {
                    EdgeKind::Target
                };
                scene.edges.push(Edge {
                    from,
                    to,
                    kind,
                    label: short_list(&labels),
                });
            }
        }
    }

    /// The nodes that send to a target: that of its zone, or all.
    fn nodes_for<'a>(
        &self,
        balancer: &'a LoadBalancer,
        target: &NetworkInterface,
    ) -> Vec<&'a NetworkInterfaceId> {
        let zone = |id: &SubnetId| self.model.get(id).map(|subnet| subnet.az);
        let here = zone(&target.subnet);
        let nodes = balancer.nodes.iter();
        let nodes = nodes.filter(|it| balancer.cross_zone || zone(&it.subnet) == here);
        nodes.map(|it| &it.interface).collect()
    }

    fn interface_with(
        &self,
        group: &TargetGroup,
        address: std::net::IpAddr,
    ) -> Option<&NetworkInterface> {
        let mut interfaces = self.model.referrers::<NetworkInterface>(&group.vpc);
        let found = interfaces.find(|it| it.addresses().any(|own| own == address))?;
        Some(found)
    }
}

fn service_edge(
    endpoint: &VpcEndpoint,
    from: &NetworkInterfaceId,
    to: &NetworkInterfaceId,
) -> Edge {
    let kind = match endpoint.endpoint_type {
        crate::model::VpcEndpointType::Interface => EdgeKind::PrivateLink,
        crate::model::VpcEndpointType::GatewayLoadBalancer
        | crate::model::VpcEndpointType::Gateway => EdgeKind::Geneve,
    };
    let label = match endpoint.state {
        crate::model::VpcEndpointState::Available => kind.name().to_owned(),
        other => other.name().to_owned(),
    };
    Edge {
        from: from.to_string(),
        to: to.to_string(),
        kind,
        label,
    }
}

/// `TCP:80`, and the target's port where it is another. A gateway load balancer
/// sends everything to all.
fn label(listener: &Listener, port: u16) -> Option<String> {
    if listener.port == 0 {
        return None;
    }
    let from = format!("{}:{}", listener.protocol, listener.port);
    Some(if listener.port == port {
        from
    } else {
        format!("{from}→{port}")
    })
}

/// The first few; a picture is no listing.
fn short_list(items: &[String]) -> String {
    match items {
        [one] => one.clone(),
        [one, two] => format!("{one}, {two}"),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
        [] => String::new(),
    }
}

fn joined(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    items.join(", ")
}
