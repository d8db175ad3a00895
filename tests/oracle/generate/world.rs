//! Topologies: VPCs with equal and overlapping CIDRs, everything the tables know.

use std::net::IpAddr;

use super::Rng;
use crate::world::*;

pub const SERVICE_PORTS: [u16; 6] = [80, 53, 443, 8080, 22, 6081];

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub fn cidr(text: &str) -> Cidr {
    let (address, len) = text.split_once('/').expect("a block");
    Cidr {
        address: ip(address),
        len: len.parse().expect("a length"),
    }
}

/// A world being made, and what later choices need of it.
pub struct Maker {
    pub world: World,
    pub rng: Rng,
    pub(super) timeouts: Timeouts,
    /// Whether target groups may keep clients' addresses.
    pub(super) keeps: bool,
}

/// `10.x` and the IPv6 block of a VPC, as they begin.
pub(super) fn bases(world: &World, vpc: Id) -> (String, String) {
    let cidrs = &world.vpcs[&vpc].cidrs;
    let v4 = cidrs[0].address.to_string();
    let v6 = cidrs[1].address.to_string();
    (
        v4.trim_end_matches(".0.0").to_owned(),
        v6.trim_end_matches("::").to_owned(),
    )
}

impl Maker {
    /// `peered`: VPCs that may be are connected; `keeps`: targets may see their clients.
    pub fn new(seed: u64, peered: bool, keeps: bool) -> Self {
        let mut rng = Rng::new(seed);
        let plain = Timeouts {
            tcp: 432_000,
            udp: 30,
            udp_stream: 180,
        };
        let short = Timeouts {
            tcp: 350,
            udp: 60,
            udp_stream: 120,
        };
        let timeouts = rng.of(&[plain, plain, short]);
        let mut maker = Self {
            world: World::empty(),
            rng,
            timeouts,
            keeps,
        };
        maker.internet();
        let vpcs = 1 + maker.rng.below(3) as Id;
        for vpc in 1..=vpcs {
            maker.vpc(vpc);
        }
        if peered {
            maker.peerings();
        }
        if maker.rng.chance(75) {
            maker.privatelink();
        }
        if maker.rng.chance(65) {
            maker.gateway();
        }
        if maker.rng.chance(50) {
            maker.nat_gateway();
        }
        let subnets: Vec<Id> = maker
            .world
            .subnets
            .keys()
            .copied()
            .filter(|id| *id != 0)
            .collect();
        for subnet in subnets {
            let table = maker.table(subnet);
            maker.world.tables.insert(subnet, table);
        }
        for vpc in 1..=vpcs {
            let table = maker.edge(vpc);
            maker.world.tables.insert(vpc * 10 + 9, table);
        }
        maker
    }

    pub(super) fn eni(&mut self, id: Id, subnet: Id, addresses: Vec<IpAddr>, kind: Kind) {
        let vpc = self.world.subnets[&subnet].vpc;
        let eni = Eni {
            vpc,
            subnet,
            mac: [2, 0, 0, 0, (id >> 8) as u8, id as u8],
            addresses,
            prefixes: vec![],
            elastic: vec![],
            groups: vec![],
            check: true,
            kind,
            attached: true,
            deny_igw: false,
            mtu: if vpc == 0 { 1500 } else { 9001 },
            timeouts: self.timeouts,
        };
        self.world.enis.insert(id, eni);
    }

    pub(super) fn internet(&mut self) {
        self.world.vpcs.insert(
            0,
            Vpc {
                cidrs: vec![],
                igw: None,
                internet: true,
            },
        );
        self.world.tables.insert(0, vec![]);
        self.world.acls.insert(
            0,
            Acl {
                ingress: vec![],
                egress: vec![],
            },
        );
        let cidrs = vec![cidr("0.0.0.0/0"), cidr("::/0")];
        self.world.subnets.insert(
            0,
            Subnet {
                vpc: 0,
                cidrs,
                router_mac: [10, 0, 0, 0, 0, 0],
                table: 0,
                acl: 0,
                az: 0,
            },
        );
        self.eni(
            1,
            0,
            vec![ip("203.0.113.80"), ip("2001:db8:f::53")],
            Kind::Host,
        );
        self.eni(
            2,
            0,
            vec![ip("203.0.113.81"), ip("2001:db8:f::54")],
            Kind::Host,
        );
        if self.rng.chance(20) {
            let odd = self
                .rng
                .of(&["10.0.1.99", "100.64.3.3", "172.31.0.9", "192.168.7.7"]);
            self.eni(3, 0, vec![ip(odd), ip("2001:db8:f::55")], Kind::Host);
        }
    }

    pub(super) fn vpc(&mut self, vpc: Id) {
        let second = self.rng.of(&[0, 0, 1]);
        let v6 = if self.rng.chance(30) {
            "fd00:1:1".to_owned()
        } else {
            format!("2001:db8:{vpc}")
        };
        let mut cidrs = vec![
            cidr(&format!("10.{second}.0.0/16")),
            cidr(&format!("{v6}::/48")),
        ];
        if self.rng.chance(20) {
            cidrs.push(cidr("172.16.0.0/20"));
        }
        let igw = self.rng.chance(85).then_some(Igw { edge_table: None });
        let edge = self.rng.chance(40).then_some(vpc * 10 + 9);
        let igw = igw.map(|_| Igw { edge_table: edge });
        self.world.vpcs.insert(
            vpc,
            Vpc {
                cidrs,
                igw,
                internet: false,
            },
        );
        let list = self.list(vpc);
        self.world.lists.insert(vpc, list);
        for group in 0..3 {
            let row = self.group(vpc, group);
            self.world.groups.insert(vpc * 10 + group, row);
        }
        self.world.acls.insert(vpc * 10, allow_all());
        let (v4, v6) = bases(&self.world, vpc);
        for j in 0..2 + self.rng.below(3) as Id {
            let id = vpc * 10 + j;
            let acl = if self.rng.chance(25) {
                100 + id
            } else {
                vpc * 10
            };
            if acl != vpc * 10 {
                let row = self.acl(vpc);
                self.world.acls.insert(acl, row);
            }
            let cidrs = vec![
                cidr(&format!("{v4}.{j}.0/24")),
                cidr(&format!("{v6}:{j}::/64")),
            ];
            let router_mac = [10, 0, 0, 0, 1, id as u8];
            let az = u16::from(self.rng.chance(30));
            self.world.subnets.insert(
                id,
                Subnet {
                    vpc,
                    cidrs,
                    router_mac,
                    table: id,
                    acl,
                    az,
                },
            );
            for n in 0..1 + self.rng.below(3) as Id {
                let row = self.host(vpc, j, n);
                self.world.enis.insert(vpc * 100 + j * 10 + n, row);
            }
        }
    }

    /// Some of those VPCs whose blocks do not overlap are peered.
    fn peerings(&mut self) {
        let vpcs: Vec<Id> = self
            .world
            .vpcs
            .keys()
            .copied()
            .filter(|id| *id != 0)
            .collect();
        let mut id = 0;
        for (n, &one) in vpcs.iter().enumerate() {
            for &other in &vpcs[n + 1..] {
                let blocks = |vpc: Id| self.world.vpcs[&vpc].cidrs.clone();
                let (mine, theirs) = (blocks(one), blocks(other));
                let overlap = |a: &Cidr| theirs.iter().any(|b| a.covers(b) || b.covers(a));
                if !mine.iter().any(overlap) && self.rng.chance(80) {
                    let far = self.rng.chance(30);
                    let vpcs = [one, other];
                    self.world.peerings.insert(id, Peering { vpcs, far });
                    id += 1;
                }
            }
        }
    }

    /// Peering connections of a VPC, and who is at their other end.
    pub(super) fn peers(&self, vpc: Id) -> Vec<(Id, Id)> {
        let across = |(id, row): (&Id, &Peering)| match row.vpcs {
            [one, other] if one == vpc => Some((*id, other)),
            [other, one] if one == vpc => Some((*id, other)),
            _ => None,
        };
        self.world.peerings.iter().filter_map(across).collect()
    }

    /// A host's interface, drawn anew.
    pub fn host(&mut self, vpc: Id, j: Id, n: Id) -> Eni {
        let (v4, v6) = bases(&self.world, vpc);
        let id = vpc * 100 + j * 10 + n;
        let mut addresses = vec![
            ip(&format!("{v4}.{j}.{}", 10 + n)),
            ip(&format!("{v6}:{j}::1{n}")),
        ];
        if self.rng.chance(25) {
            addresses.push(ip(&format!("{v4}.{j}.{}", 30 + n)));
        }
        self.eni(id, vpc * 10 + j, addresses.clone(), Kind::Host);
        let mut eni = self.world.enis[&id].clone();
        eni.groups = vec![vpc * 10 + self.rng.of(&[0, 0, 0, 1, 2])];
        if self.rng.chance(25) {
            let other = vpc * 10 + self.rng.below(3) as Id;
            if !eni.groups.contains(&other) {
                eni.groups.push(other);
            }
        }
        eni.check = !self.rng.chance(18);
        eni.attached = !self.rng.chance(2);
        eni.deny_igw = self.rng.chance(3);
        if self.rng.chance(65) {
            eni.elastic.push((
                addresses[0],
                ip(&format!("198.51.{}.{}", 100 + id / 250, id % 250)),
            ));
        }
        if self.rng.chance(20) {
            eni.prefixes
                .push(cidr(&format!("{v4}.{j}.{}/28", 64 + n * 16)));
            eni.prefixes.push(cidr(&format!("{v6}:{j}:{}::/80", n + 1)));
        }
        eni
    }

    /// The blocks of a prefix list.
    pub fn list(&mut self, vpc: Id) -> Vec<Cidr> {
        (0..self.rng.below(4)).map(|_| self.block(vpc)).collect()
    }

    /// Some block that matters.
    pub(super) fn block(&mut self, vpc: Id) -> Cidr {
        let (v4, v6) = bases(&self.world, vpc);
        let j = self.rng.below(4);
        let text = match self.rng.below(12) {
            0 => "10.0.0.0/15".to_owned(),
            1 => "10.0.0.0/8".to_owned(),
            2 => format!("{v4}.{j}.0/24"),
            3 => format!("{v4}.0.0/23"),
            4 => format!("{v4}.{j}.10/32"),
            5 => "203.0.113.0/24".to_owned(),
            6 => "203.0.113.80/32".to_owned(),
            7 => "2001:db8::/32".to_owned(),
            8 => "2001:db8:f::/64".to_owned(),
            9 => format!("{v6}::/48"),
            10 => format!("{v6}:{j}::/64"),
            _ => format!("{v6}:{j}::10/128"),
        };
        cidr(&text)
    }

    pub(super) fn ports(&mut self, protocol: Option<u8>) -> Ports {
        match protocol {
            Some(6 | 17) => match self.rng.below(4) {
                0 => Ports::Any,
                1 => Ports::Range(self.rng.of(&[0, 443, 1024]), 65535),
                _ => {
                    let port = self.rng.of(&SERVICE_PORTS);
                    Ports::Range(port, port)
                }
            },
            Some(1) => self.rng.of(&[
                Ports::Any,
                Ports::Icmp(8, None),
                Ports::Icmp(0, Some(0)),
                Ports::Icmp(3, Some(4)),
                Ports::Icmp(3, None),
            ]),
            Some(58) => self.rng.of(&[
                Ports::Any,
                Ports::Icmp(128, None),
                Ports::Icmp(129, Some(0)),
                Ports::Icmp(2, None),
                Ports::Icmp(1, None),
            ]),
            _ => Ports::Any,
        }
    }

    pub(super) fn protocol(&mut self) -> Option<u8> {
        self.rng.of(&[
            None,
            None,
            Some(6),
            Some(6),
            Some(17),
            Some(1),
            Some(58),
            Some(47),
        ])
    }

    /// A security group; the first of a VPC is mostly open.
    pub fn group(&mut self, vpc: Id, n: Id) -> Group {
        let mut side = || -> Vec<GroupRule> {
            let everywhere = |text| GroupRule {
                protocol: None,
                ports: Ports::Any,
                peer: Peer::Cidr(cidr(text)),
            };
            if self.rng.chance(if n == 0 { 85 } else { 35 }) {
                return vec![everywhere("0.0.0.0/0"), everywhere("::/0")];
            }
            (0..self.rng.below(5))
                .map(|_| {
                    let protocol = self.protocol();
                    let ports = self.ports(protocol);
                    let peer = match self.rng.below(5) {
                        0 => Peer::Cidr(self.block(vpc)),
                        1 | 2 => Peer::Group(vpc * 10 + self.rng.below(3) as Id),
                        3 => Peer::List(vpc),
                        _ => Peer::Cidr(cidr(self.rng.of(&["0.0.0.0/0", "::/0"]))),
                    };
                    GroupRule {
                        protocol,
                        ports,
                        peer,
                    }
                })
                .collect()
        };
        let (ingress, egress) = (side(), side());
        Group { ingress, egress }
    }

    /// A network ACL.
    pub fn acl(&mut self, vpc: Id) -> Acl {
        let mut side = || -> Vec<AclRule> {
            let mut rules = if self.rng.chance(90) {
                allow_all().ingress
            } else {
                vec![]
            };
            for _ in 0..self.rng.below(4) {
                let protocol = self.protocol();
                let number = self.rng.of(&[1, 50, 90, 99, 101, 200, 32000]);
                if rules.iter().any(|rule: &AclRule| rule.number == number) {
                    continue;
                }
                let (ports, cidr) = (self.ports(protocol), self.block(vpc));
                rules.push(AclRule {
                    number,
                    allow: self.rng.chance(50),
                    protocol,
                    ports,
                    cidr,
                });
            }
            rules
        };
        let (ingress, egress) = (side(), side());
        Acl { ingress, egress }
    }

    pub(super) fn gateway_endpoints(&self, vpc: Id) -> Vec<Id> {
        let gateway = |(_, row): &(&Id, &Endpoint)| {
            row.vpc == vpc && matches!(row.kind, EndpointKind::Gateway { .. })
        };
        self.world
            .endpoints
            .iter()
            .filter(gateway)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn route_target(&mut self, vpc: Id) -> RouteTo {
        let routers =
            |(_, eni): &(&Id, &Eni)| eni.vpc == vpc && !eni.check && eni.kind == Kind::Host;
        let routers: Vec<Id> = self
            .world
            .enis
            .iter()
            .filter(routers)
            .map(|(id, _)| *id)
            .collect();
        let endpoints = self.gateway_endpoints(vpc);
        let nat = |(_, eni): &(&Id, &Eni)| eni.vpc == vpc && matches!(eni.kind, Kind::Nat(_));
        let nat = self.world.enis.iter().find(nat).map(|(id, _)| *id);
        if let Some(nat) = nat
            && self.rng.chance(40)
        {
            return RouteTo::Eni(nat);
        }
        match self.rng.below(10) {
            0 | 1 if !routers.is_empty() => RouteTo::Eni(self.rng.of(&routers)),
            2..6 if !endpoints.is_empty() => RouteTo::GatewayEndpoint(self.rng.of(&endpoints)),
            9 if self.rng.chance(50) => RouteTo::Blackhole,
            _ => RouteTo::Igw,
        }
    }

    pub(super) fn local(&self, vpc: Id) -> Vec<Route> {
        let cidrs = &self.world.vpcs[&vpc].cidrs;
        cidrs
            .iter()
            .map(|to| Route {
                to: *to,
                target: RouteTo::Local,
                origin: Origin::Local,
            })
            .collect()
    }

    pub(super) fn narrow(&mut self, vpc: Id) -> Cidr {
        let (v4, v6) = bases(&self.world, vpc);
        let j = self.rng.below(4);
        match self.rng.below(7) {
            0 => cidr("203.0.113.80/32"),
            1 => cidr("2001:db8:f::53/128"),
            2 | 3 => cidr(&format!("{v4}.{j}.0/24")),
            4 => cidr("203.0.113.0/24"),
            5 => cidr("192.168.0.0/16"),
            _ => cidr(&format!("{v6}:{j}::/64")),
        }
    }

    /// A subnet's table, drawn anew.
    pub fn table(&mut self, subnet: Id) -> Vec<Route> {
        let vpc = self.world.subnets[&subnet].vpc;
        let mut routes = self.local(vpc);
        let add = |routes: &mut Vec<Route>, to: Cidr, target, origin| {
            // Two routes of one origin and destination cannot be made.
            if !routes.iter().any(|held| {
                held.to == to && (held.origin == origin || held.origin == Origin::Local)
            }) {
                routes.push(Route { to, target, origin });
            }
        };
        let exits = |(_, row): (&Id, &Endpoint)| match row.kind {
            EndpointKind::Gateway { eni, .. } => self.world.enis[&eni].subnet == subnet,
            EndpointKind::Interface { .. } => false,
        };
        let translates = |eni: &Eni| matches!(eni.kind, Kind::Nat(_)) && eni.subnet == subnet;
        let leaves =
            self.world.endpoints.iter().any(exits) || self.world.enis.values().any(translates);
        let straight = leaves && self.rng.chance(80);
        if straight {
            for to in ["0.0.0.0/0", "::/0"] {
                add(&mut routes, cidr(to), RouteTo::Igw, Origin::Static);
            }
            return routes;
        }
        if !self.rng.chance(8) {
            for to in ["0.0.0.0/0", "::/0"] {
                let target = self.route_target(vpc);
                add(&mut routes, cidr(to), target, Origin::Static);
            }
        }
        let ends: Vec<(Id, Id)> = self.peers(vpc);
        for (peering, peer) in ends {
            let (v4, v6) = bases(&self.world, peer);
            let j = self.rng.below(4);
            let narrow = [format!("{v4}.{j}.0/24"), format!("{v6}:{j}::/64")];
            // Wider than the peer: what is left over must not be taken there.
            let wide = ["10.0.0.0/8".to_owned(), format!("{v6}::/40")];
            let whole = [format!("{v4}.0.0/16"), format!("{v6}::/48")];
            for to in self.rng.of(&[whole.clone(), whole, narrow, wide]) {
                if self.rng.chance(90) {
                    add(
                        &mut routes,
                        cidr(&to),
                        RouteTo::Peering(peering),
                        Origin::Static,
                    );
                }
            }
        }
        for _ in 0..self.rng.below(4) {
            let (to, target) = (self.narrow(vpc), self.route_target(vpc));
            let list = vpc + self.rng.below(2) as Id;
            let origin = self.rng.of(&[
                Origin::Static,
                Origin::Static,
                Origin::List(list),
                Origin::Propagated,
            ]);
            add(&mut routes, to, target, origin);
        }
        if self.rng.chance(3) {
            self.many(vpc, &mut routes);
        }
        if self.rng.chance(4) {
            routes[0].target = self.route_target(vpc);
        }
        let from = self.rng.below(routes.len());
        routes.rotate_left(from);
        routes
    }

    /// So many routes more that a table is searched in another way.
    fn many(&mut self, vpc: Id, routes: &mut Vec<Route>) {
        let targets: Vec<RouteTo> = (0..5).map(|_| self.route_target(vpc)).collect();
        for _ in 0..self.rng.of(&[20, 90, 400, 900]) {
            let low = self.rng.next();
            let (address, len): (IpAddr, u32) = match self.rng.below(4) {
                0 => ([203, 0, 113, low as u8].into(), 25 + low as u32 % 8),
                1 => ([198, 51, 96 | low as u8, 0].into(), 20 + low as u32 % 8),
                2 => (
                    [198, 18, (low >> 8) as u8, low as u8].into(),
                    17 + low as u32 % 16,
                ),
                _ => {
                    let base = u128::from(0x2001_0db8_000f_u64) << 80;
                    let bits = base | u128::from(low) << 16;
                    (bits.to_be_bytes().into(), 49 + low as u32 % 80)
                }
            };
            let to = Cidr { address, len };
            let to = Cidr {
                address: to.nth(0),
                len,
            };
            if !routes.iter().any(|held| held.to == to) {
                let (target, origin) = (self.rng.of(&targets), Origin::Static);
                routes.push(Route { to, target, origin });
            }
        }
    }

    /// The table of a VPC's gateway, drawn anew.
    pub fn edge(&mut self, vpc: Id) -> Vec<Route> {
        let mut routes = self.local(vpc);
        for _ in 0..self.rng.below(4) {
            let (to, target) = (self.narrow(vpc), self.route_target(vpc));
            let translates = |id: Id| matches!(self.world.enis[&id].kind, Kind::Nat(_));
            let fits = match target {
                RouteTo::Igw => false,
                RouteTo::Eni(id) => !translates(id),
                _ => true,
            };
            if fits && !routes.iter().any(|held| held.to == to) {
                routes.push(Route {
                    to,
                    target,
                    origin: Origin::Static,
                });
            }
        }
        routes
    }
}

pub(super) fn allow_all() -> Acl {
    let rule = |number, text| AclRule {
        number,
        allow: true,
        protocol: None,
        ports: Ports::Any,
        cidr: cidr(text),
    };
    let rules = vec![rule(100, "0.0.0.0/0"), rule(102, "::/0")];
    Acl {
        ingress: rules.clone(),
        egress: rules,
    }
}
