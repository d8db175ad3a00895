//! Random worlds: VPCs with equal and overlapping CIDRs, routes of every kind,
//! groups, ACLs, an internet gateway, PrivateLink, gateway load balancing.

use std::collections::BTreeSet;

use super::tape::Tape;
use super::worlds::{any, everything, target};
use super::*;

pub const INTERNET_V4: [&str; 2] = ["203.0.113.80", "203.0.113.81"];
pub const INTERNET_V6: [&str; 2] = ["2001:db8:f::53", "2001:db8:f::54"];
const SERVICE_PORTS: [u16; 4] = [80, 443, 53, 8443];

/// A subnet and what its addresses begin with.
#[derive(Clone, Debug)]
pub struct Net {
    pub id: u32,
    pub vpc: u32,
    pub v4: String,
    pub v6: String,
    pub az: u16,
}

/// What was built, as far as later choices need it.
pub struct Topology {
    pub world: World,
    pub nets: Vec<Net>,
    pub vpcs: Vec<(u32, Vec<String>)>,
    /// ENIs with a port, internet hosts included.
    pub hosts: Vec<u32>,
    pub routers: Vec<u32>,
    pub appliances: BTreeSet<EniId>,
    pub services: Vec<IpAddr>,
    /// Endpoints' VPCs and those of their load balancers.
    pub links: Vec<(u32, u32)>,
    gateway_endpoints: Vec<(u32, u32)>,
}

impl Topology {
    pub fn new(tape: &mut Tape<'_>) -> Self {
        let mut topology = Self {
            world: World::new(),
            nets: vec![],
            vpcs: vec![],
            hosts: vec![],
            routers: vec![],
            appliances: BTreeSet::new(),
            services: vec![],
            links: vec![],
            gateway_endpoints: vec![],
        };
        topology.internet(tape);
        for vpc in 1..=1 + tape.below(4) as u32 {
            topology.vpc(vpc, tape);
        }
        topology.privatelink(tape);
        topology.gateway(tape);
        for net in topology.nets.clone() {
            topology.routes(net.id, net.vpc, tape);
            if topology.ends_here(&net) && !tape.chance(15) {
                topology.straight_out(&net);
            }
        }
        for vpc in topology.vpcs.clone() {
            topology.edge(vpc.0, tape);
        }
        topology
    }

    fn internet(&mut self, tape: &mut Tape<'_>) {
        let w = &mut self.world;
        w.vpc(0, &[], false, None);
        w.table(0, &[]);
        w.subnet(1, 0, &["0.0.0.0/0", "::/0"], 0);
        for n in 0..=tape.below(2) {
            let id = 2 + n as u32;
            let addresses = [INTERNET_V4[n], INTERNET_V6[n]];
            w.eni(id, 1, &addresses, &[], EniKind::Host);
            self.hosts.push(id);
        }
    }

    fn vpc(&mut self, vpc: u32, tape: &mut Tape<'_>) {
        let second = tape.of(&[0, 0, 1]);
        let v4 = format!("10.{second}");
        // The second choice is the same in every VPC that makes it.
        let v6 = if tape.chance(30) {
            "fd00:1:1".to_owned()
        } else {
            format!("2001:db8:{vpc}")
        };
        let wide = tape.chance(30);
        let cidrs = vec![
            if wide {
                "10.0.0.0/15".to_owned()
            } else {
                format!("{v4}.0.0/16")
            },
            format!("{v6}::/48"),
        ];
        self.vpcs.push((vpc, cidrs.clone()));
        let cidrs: Vec<_> = cidrs.iter().map(String::as_str).collect();
        let edge = tape.chance(40).then_some(vpc * 10 + 9);
        let igw = !tape.chance(20);
        self.world.vpc(vpc, &cidrs, igw, edge);
        self.prefix_list(vpc, tape);
        for group in 0..3 {
            self.group(vpc, group, tape);
        }
        for j in 0..=tape.below(4) as u32 {
            let net = Net {
                id: vpc * 10 + j,
                vpc,
                v4: format!("{v4}.{j}"),
                v6: format!("{v6}:{j}"),
                az: u16::from(tape.chance(25)),
            };
            self.subnet(&net, tape);
            for n in 0..=u32::from(tape.chance(60)) {
                self.host(&net, n, tape);
            }
            self.nets.push(net);
        }
    }

    fn subnet(&mut self, net: &Net, tape: &mut Tape<'_>) {
        let (v4, v6) = (format!("{}.0/24", net.v4), format!("{}::/64", net.v6));
        self.world.subnet(net.id, net.vpc, &[&v4, &v6], net.id);
        let own_acl = tape.chance(25);
        if own_acl {
            self.acl(net.id, tape);
        }
        let mut row = self
            .world
            .tables
            .subnets
            .row(SubnetId(net.id))
            .unwrap()
            .clone();
        row.az = AzId(net.az);
        if own_acl {
            row.network_acl = NetworkAclId(100 + net.id);
        }
        self.world
            .edit(|b| b.set_subnet(SubnetId(net.id), Some(row)));
    }

    fn host(&mut self, net: &Net, n: u32, tape: &mut Tape<'_>) {
        let id = net.id * 2 + n + 10;
        let private = format!("{}.{}", net.v4, 10 + n);
        let addresses = [private.clone(), format!("{}::{:x}", net.v6, 16 + n)];
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let mut groups = vec![net.vpc * 10 + tape.of(&[0, 0, 0, 1, 2])];
        if tape.chance(20) {
            groups.push(net.vpc * 10 + 1);
            groups.dedup();
        }
        self.world
            .eni(id, net.id, &addresses, &groups, EniKind::Host);
        let router = tape.chance(20);
        let public = tape.chance(70);
        let delegated = tape.chance(10);
        self.world.eni_edit(id, |eni| {
            eni.source_dest_check = !router;
            if public {
                eni.public = vec![PublicAddress {
                    private: ip(&private),
                    public: ip(&format!("198.51.100.{id}")),
                }];
            }
            if delegated {
                let block = format!("{}.{}/28", net.v4, 64 + n * 16);
                eni.prefixes = vec![block.parse().unwrap()];
            }
        });
        if router {
            self.routers.push(id);
        }
        self.hosts.push(id);
    }

    pub fn prefix_list(&mut self, vpc: u32, tape: &mut Tape<'_>) {
        let entries = (0..tape.below(4)).map(|_| self.prefix(vpc, tape)).collect();
        let row = PrefixListRow {
            label: label("pl"),
            entries,
        };
        self.world
            .edit(|b| b.set_prefix_list(PrefixListId(vpc), Some(row)));
    }

    /// Some block that matters in `vpc`.
    fn prefix(&self, vpc: u32, tape: &mut Tape<'_>) -> Prefix {
        let text = tape.of(&[
            "10.0.0.0/15",
            "10.0.0.0/8",
            "10.0.1.0/24",
            "10.0.0.0/23",
            "10.0.0.10/32",
            "203.0.113.0/24",
            "203.0.113.80/32",
            "2001:db8::/32",
            "2001:db8:f::/64",
            "fd00:1:1::/48",
        ]);
        if tape.chance(20) {
            format!("2001:db8:{vpc}::/48").parse().unwrap()
        } else {
            text.parse().unwrap()
        }
    }

    fn ports(tape: &mut Tape<'_>) -> PortMatch {
        match tape.below(5) {
            0 | 1 => PortMatch::Any,
            2 => {
                let port = tape.of(&SERVICE_PORTS);
                PortMatch::Range(port, port)
            }
            3 => PortMatch::Range(tape.of(&[0, 443, 1024]), u16::MAX),
            _ => PortMatch::Icmp(tape.of(&[8, 128, 0]), None),
        }
    }

    fn protocol(tape: &mut Tape<'_>) -> Option<u8> {
        tape.of(&[None, None, Some(6), Some(17), Some(1), Some(58)])
    }

    pub fn group(&mut self, vpc: u32, n: u32, tape: &mut Tape<'_>) {
        let rules = |tape: &mut Tape<'_>| -> Vec<_> {
            if tape.below(4) != 3 || (n == 0 && !tape.chance(10)) {
                return everything();
            }
            (0..tape.below(4))
                .map(|_| {
                    let peer = match tape.below(4) {
                        0 => Peer::Cidr(self.prefix(vpc, tape)),
                        1 => Peer::Group(SecurityGroupId(vpc * 10 + tape.below(3) as u32)),
                        2 => Peer::PrefixList(PrefixListId(vpc)),
                        _ => any(tape.of(&["0.0.0.0/0", "::/0"])),
                    };
                    rule(Self::protocol(tape), Self::ports(tape), peer)
                })
                .collect()
        };
        let (ingress, egress) = (rules(tape), rules(tape));
        self.world.group(vpc * 10 + n, ingress, egress);
    }

    pub fn acl(&mut self, net: u32, tape: &mut Tape<'_>) {
        let rules = |tape: &mut Tape<'_>| -> Vec<_> {
            let mut rules = allow_all().ingress;
            for number in 0..tape.below(4) as u16 {
                rules.push(NetworkAclRule {
                    number: number + tape.of(&[1, 100]),
                    allow: tape.chance(40),
                    protocol: Self::protocol(tape),
                    ports: Self::ports(tape),
                    cidr: self.prefix(net / 10, tape),
                });
            }
            if tape.chance(10) {
                rules.retain(|rule| rule.number != 100);
            }
            rules
        };
        let row = NetworkAclRow {
            label: label("acl"),
            ingress: rules(tape),
            egress: rules(tape),
        };
        self.world
            .edit(|b| b.set_network_acl(NetworkAclId(100 + net), Some(row)));
    }

    fn route_target(&self, vpc: u32, tape: &mut Tape<'_>) -> RouteTarget {
        let routers: Vec<_> = self.of_vpc(&self.routers, vpc);
        let endpoints: Vec<_> = self
            .gateway_endpoints
            .iter()
            .filter(|e| e.1 == vpc)
            .collect();
        match tape.below(8) {
            3 if !routers.is_empty() => RouteTarget::Eni(EniId(tape.of(&routers))),
            4..8 if !endpoints.is_empty() => {
                RouteTarget::GatewayEndpoint(EndpointId(tape.of(&endpoints).0))
            }
            2 if tape.chance(50) => RouteTarget::Blackhole,
            _ => RouteTarget::InternetGateway,
        }
    }

    pub fn of_vpc(&self, enis: &[u32], vpc: u32) -> Vec<u32> {
        let enis_of = &self.world.tables.enis;
        let inside = |id: &&u32| enis_of.row(EniId(**id)).is_some_and(|e| e.vpc.0 == vpc);
        enis.iter().filter(inside).copied().collect()
    }

    fn local_routes(&self, vpc: u32) -> Vec<(String, RouteTarget)> {
        let cidrs = self.vpcs.iter().find(|(id, _)| *id == vpc);
        let cidrs = cidrs.map(|(_, cidrs)| cidrs.clone()).unwrap_or_default();
        cidrs.into_iter().map(|c| (c, RouteTarget::Local)).collect()
    }

    /// The table of a subnet, drawn anew.
    pub fn routes(&mut self, net: u32, vpc: u32, tape: &mut Tape<'_>) {
        let mut routes = self.local_routes(vpc);
        if !tape.chance(10) {
            routes.push(("0.0.0.0/0".to_owned(), self.route_target(vpc, tape)));
            routes.push(("::/0".to_owned(), self.route_target(vpc, tape)));
        }
        for _ in 0..tape.below(4) {
            let prefix = self.narrow(vpc, tape);
            routes.push((prefix, self.route_target(vpc, tape)));
        }
        self.put_table(net, &routes);
    }

    /// Whether a gateway endpoint is in this subnet.
    fn ends_here(&self, net: &Net) -> bool {
        let enis = &self.world.tables.enis;
        let mut ids = self.gateway_endpoints.iter().map(|e| EniId(240 + e.0));
        ids.any(|id| enis.row(id).is_some_and(|eni| eni.subnet.0 == net.id))
    }

    /// What a subnet of endpoints needs: local, and the internet gateway.
    fn straight_out(&mut self, net: &Net) {
        let mut routes = self.local_routes(net.vpc);
        for everywhere in ["0.0.0.0/0", "::/0"] {
            routes.push((everywhere.to_owned(), RouteTarget::InternetGateway));
        }
        self.put_table(net.id, &routes);
    }

    /// A subnet's block, or an internet host's.
    fn narrow(&self, vpc: u32, tape: &mut Tape<'_>) -> String {
        let nets: Vec<_> = self.nets.iter().filter(|net| net.vpc == vpc).collect();
        let v4: Vec<_> = nets.iter().map(|net| format!("{}.0/24", net.v4)).collect();
        let v6: Vec<_> = nets.iter().map(|net| format!("{}::/64", net.v6)).collect();
        match tape.below(4) {
            0 => "203.0.113.80/32".to_owned(),
            1 => "2001:db8:f::53/128".to_owned(),
            2 => tape.of(&v4),
            _ => tape.of(&v6),
        }
    }

    /// The edge table of a VPC's gateway: local, subnets led aside.
    pub fn edge(&mut self, vpc: u32, tape: &mut Tape<'_>) {
        let mut routes = self.local_routes(vpc);
        for _ in 0..tape.below(4) {
            let prefix = self.narrow(vpc, tape);
            match self.route_target(vpc, tape) {
                RouteTarget::InternetGateway
                | RouteTarget::Peering(_)
                | RouteTarget::VirtualPrivateGateway => {}
                target => routes.push((prefix, target)),
            }
        }
        self.put_table(vpc * 10 + 9, &routes);
    }

    fn put_table(&mut self, id: u32, routes: &[(String, RouteTarget)]) {
        let mut seen = BTreeSet::new();
        let routes: Vec<_> = routes
            .iter()
            .filter(|(prefix, _)| seen.insert(prefix.clone()))
            .map(|(prefix, target)| (prefix.as_str(), target.clone()))
            .collect();
        self.world.table(id, &routes);
    }

    fn health(tape: &mut Tape<'_>) -> TargetHealth {
        use TargetHealth::{Draining, Healthy, Initial, Unhealthy, Unused};
        let rare = tape.of(&[Healthy, Initial, Unhealthy, Draining, Unused]);
        if tape.chance(40) { rare } else { Healthy }
    }

    /// Interface endpoint 0: zero, one or two ENIs, to load balancer 0.
    fn privatelink(&mut self, tape: &mut Tape<'_>) {
        if tape.below(4) == 3 {
            return;
        }
        let provider = tape.below(self.vpcs.len()) as u32 + 1;
        let consumer = tape.below(self.vpcs.len()) as u32 + 1;
        self.links.push((consumer, provider));
        let nets = |topology: &Self, vpc| -> Vec<Net> {
            let nets = topology.nets.iter().filter(|net| net.vpc == vpc);
            nets.cloned().collect()
        };
        let mut nodes = vec![];
        for net in nets(self, provider).iter().take(2) {
            let id = 200 + nodes.len() as u32;
            let (v4, v6) = (format!("{}.200", net.v4), format!("{}::200", net.v6));
            let groups: &[u32] = if tape.chance(30) {
                &[provider * 10 + 1]
            } else {
                &[]
            };
            let kind = EniKind::LoadBalancer(LoadBalancerId(0));
            self.world.eni(id, net.id, &[&v4, &v6], groups, kind);
            self.services.push(ip(&v4));
            nodes.push(LoadBalancerNode {
                az: AzId(net.az),
                eni: EniId(id),
            });
        }
        let mut enis = vec![];
        let all = nets(self, consumer);
        for n in 0..=u32::from(tape.chance(30)) {
            let net = tape.of(&all);
            let (v4, v6) = (
                format!("{}.{}", net.v4, 210 + n),
                format!("{}::{}", net.v6, 210 + n),
            );
            let kind = EniKind::Endpoint(EndpointId(0));
            let group = consumer * 10 + tape.of(&[0, 0, 1]);
            self.world.eni(210 + n, net.id, &[&v4, &v6], &[group], kind);
            self.services.extend([ip(&v4), ip(&v6)]);
            enis.push(EniId(210 + n));
        }
        self.targets(0, provider, 8443, tape);
        let listener = |protocol, port| Listener {
            protocol,
            port,
            target_group: Some(TargetGroupId(0)),
            tcp_idle: Duration::from_secs(350),
        };
        let balancer = LoadBalancerRow {
            label: label("nlb"),
            kind: LoadBalancerKind::Network,
            vpc: VpcId(provider),
            nodes,
            listeners: vec![listener(6, 443), listener(17, 53), listener(6, 80)],
            cross_zone: !tape.chance(30),
            enforce_privatelink_groups: tape.chance(50),
        };
        let row = EndpointRow {
            label: label("vpce-if"),
            vpce: 0xf,
            vpc: VpcId(consumer),
            available: !tape.chance(5),
            kind: EndpointKind::Interface {
                load_balancers: vec![LoadBalancerId(0)],
                enis,
            },
        };
        self.world.edit(|b| {
            b.set_load_balancer(LoadBalancerId(0), Some(balancer));
            b.set_endpoint(EndpointId(0), Some(row));
        });
    }

    /// Target group `id` of up to three hosts of a VPC.
    pub fn targets(&mut self, id: u32, vpc: u32, port: u16, tape: &mut Tape<'_>) {
        let pool: Vec<u32> = if id == 0 {
            self.of_vpc(&self.hosts, vpc)
        } else {
            self.appliances.iter().map(|eni| eni.0).collect()
        };
        let mut targets: Vec<Target> = vec![];
        let most = if pool.is_empty() { 0 } else { 9 };
        for _ in 0..most.min(tape.of(&[2, 1, 3, 2, 1, 0])) {
            let eni = self.world.tables.enis.row(EniId(tape.of(&pool))).unwrap();
            let Some(address) = eni.addresses.first().map(IpAddr::to_string) else {
                continue;
            };
            if targets.iter().all(|t| t.address.to_string() != address) {
                let subnet = self.world.tables.subnets.row(eni.subnet).unwrap();
                targets.push(Target {
                    az: Some(subnet.az),
                    ..target(&address, port, Self::health(tape))
                });
            }
        }
        let row = TargetGroupRow {
            label: label("tg"),
            vpc: VpcId(vpc),
            targets,
            stickiness: tape.of(&[
                Stickiness::FiveTuple,
                Stickiness::ThreeTuple,
                Stickiness::TwoTuple,
            ]),
            failover: tape.of(&[Failover::NoRebalance, Failover::Rebalance]),
            reset_on_unhealthy: false,
            reset_on_deregistration: false,
            reset_on_idle: tape.chance(30),
            proxy_protocol: false,
            preserve_client_ip: false,
        };
        self.world
            .edit(|b| b.set_target_group(TargetGroupId(id), Some(row)));
    }

    /// Gateway load balancer 1 with appliances, and endpoints 1 to 3 to it.
    fn gateway(&mut self, tape: &mut Tape<'_>) {
        if tape.chance(15) {
            return;
        }
        let provider = tape.below(self.vpcs.len()) as u32 + 1;
        // A subnet of their own, which no route leads elsewhere.
        let near = self.nets.iter().find(|net| net.vpc == provider).unwrap();
        let (two, _) = near.v4.rsplit_once('.').unwrap();
        let first = Net {
            id: provider * 10 + 8,
            vpc: provider,
            v4: format!("{two}.200"),
            v6: format!("{}c8", near.v6),
            az: 0,
        };
        self.subnet(&first, tape);
        let local = self.local_routes(provider);
        self.put_table(first.id, &local);
        let node = format!("{}.220", first.v4);
        let kind = EniKind::LoadBalancer(LoadBalancerId(1));
        self.world.eni(220, first.id, &[&node], &[], kind);
        for n in 0..=u32::from(tape.chance(60)) {
            let (id, address) = (230 + n, format!("{}.{}", first.v4, 230 + n));
            let group = provider * 10 + u32::from(tape.chance(20));
            self.world
                .eni(id, first.id, &[&address], &[group], EniKind::Host);
            self.appliances.insert(EniId(id));
        }
        self.targets(1, provider, 6081, tape);
        let balancer = LoadBalancerRow {
            label: label("gwlb"),
            kind: LoadBalancerKind::Gateway,
            vpc: VpcId(provider),
            nodes: [0, 1]
                .map(|az| LoadBalancerNode {
                    az: AzId(az),
                    eni: EniId(220),
                })
                .to_vec(),
            listeners: vec![Listener {
                protocol: 0,
                port: 0,
                target_group: Some(TargetGroupId(1)),
                tcp_idle: Duration::from_secs(350),
            }],
            cross_zone: true,
            enforce_privatelink_groups: false,
        };
        self.world
            .edit(|b| b.set_load_balancer(LoadBalancerId(1), Some(balancer)));
        for n in 1..=3 {
            let net = tape.of(&self.nets);
            let address = format!("{}.{}", net.v4, 240 + n);
            let kind = EniKind::GatewayEndpoint(EndpointId(n));
            self.world.eni(240 + n, net.id, &[&address], &[], kind);
            self.links.push((net.vpc, provider));
            self.gateway_endpoints.push((n, net.vpc));
            let row = EndpointRow {
                label: label("vpce-gw"),
                vpce: 0x100 + u64::from(n),
                vpc: VpcId(net.vpc),
                available: true,
                kind: EndpointKind::GatewayLoadBalancer {
                    load_balancers: vec![LoadBalancerId(1)],
                    eni: EniId(240 + n),
                },
            };
            self.world
                .edit(|b| b.set_endpoint(EndpointId(n), Some(row)));
        }
    }
}
