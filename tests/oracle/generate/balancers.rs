//! What stands in a VPC beside hosts: load balancers, their targets, and endpoints.

use std::net::IpAddr;

use super::world::Maker;
use crate::world::*;

impl Maker {
    pub(super) fn subnets_of(&self, vpc: Id) -> Vec<Id> {
        self.world
            .subnets
            .iter()
            .filter(|(_, row)| row.vpc == vpc)
            .map(|(id, _)| *id)
            .collect()
    }

    /// An address of a subnet, in both families.
    pub(super) fn pair(&self, subnet: Id, last: Id) -> Vec<IpAddr> {
        let cidrs = &self.world.subnets[&subnet].cidrs;
        vec![cidrs[0].nth(last), cidrs[1].nth(last + 0x1000)]
    }

    pub(super) fn any_vpc(&mut self) -> Id {
        1 + self.rng.below(self.world.vpcs.len() - 1) as Id
    }

    /// One subnet a zone.
    pub(super) fn zones(&self, vpc: Id) -> Vec<(u16, Id)> {
        let mut zones: Vec<(u16, Id)> = Vec::new();
        for subnet in self.subnets_of(vpc) {
            let az = self.world.subnets[&subnet].az;
            if !zones.iter().any(|(held, _)| *held == az) {
                zones.push((az, subnet));
            }
        }
        zones
    }

    pub(super) fn balancer_with_nodes(
        &mut self,
        id: Id,
        vpc: Id,
        first_eni: Id,
        gateway: bool,
    ) -> Balancer {
        let mut nodes = Vec::new();
        for (n, (az, subnet)) in self.zones(vpc).into_iter().enumerate() {
            let eni = first_eni + n as Id;
            let addresses = self.pair(subnet, 200 + (first_eni % 50));
            self.eni(eni, subnet, addresses, Kind::Node(id));
            if !gateway && self.rng.chance(40) {
                let group = vpc * 10 + self.rng.below(3) as Id;
                self.world.enis.get_mut(&eni).expect("just made").groups = vec![group];
            }
            nodes.push((az, eni));
        }
        Balancer {
            gateway,
            vpc,
            nodes,
            listeners: vec![],
            cross_zone: self.rng.chance(50),
            enforce: self.rng.chance(60),
        }
    }

    /// A target group of hosts of a VPC.
    pub fn targets(&mut self, vpc: Id, v4: bool, port: u16) -> Vec<Target> {
        let hosts = |(id, eni): &(&Id, &Eni)| {
            let appliance = **id >= 960;
            eni.vpc == vpc && eni.kind == Kind::Host && appliance == (port == 6081)
        };
        let hosts: Vec<Eni> = self
            .world
            .enis
            .iter()
            .filter(hosts)
            .map(|(_, eni)| eni.clone())
            .collect();
        let mut targets = Vec::new();
        for eni in hosts {
            if !self.rng.chance(70) {
                continue;
            }
            let Some(address) = eni.addresses.iter().find(|a| a.is_ipv4() == v4) else {
                continue;
            };
            let az = self.world.subnets[&eni.subnet].az;
            let odd = self.rng.of(&[
                Health::Initial,
                Health::Unhealthy,
                Health::Draining,
                Health::Unused,
            ]);
            targets.push(Target {
                address: *address,
                port: if port == 6081 || self.rng.chance(60) {
                    port
                } else {
                    8443
                },
                az: if self.rng.chance(15) { None } else { Some(az) },
                health: if self.rng.chance(25) {
                    odd
                } else {
                    Health::Healthy
                },
            });
        }
        targets
    }

    pub fn target_group(&mut self, vpc: Id, v4: bool, port: u16) -> TargetGroup {
        TargetGroup {
            vpc,
            targets: self.targets(vpc, v4, port),
            sticky: self
                .rng
                .of(&[Sticky::Five, Sticky::Five, Sticky::Three, Sticky::Two]),
            rebalance: self.rng.chance(40),
            reset_on_idle: self.rng.chance(30),
            keeps: self.keeps && port != 6081 && self.rng.chance(70),
        }
    }

    pub(super) fn privatelink(&mut self) {
        let (consumer, provider) = (self.any_vpc(), self.any_vpc());
        let count = if self.rng.chance(25) { 2 } else { 1 };
        for id in 0..count {
            let mut row = self.balancer_with_nodes(id, provider, 900 + id * 5, false);
            let listener = |protocol, port, group, tcp_idle| Listener {
                protocol,
                port,
                group,
                tcp_idle,
            };
            let idle = self.rng.of(&[350, 350, 60, 6000]);
            row.listeners = vec![
                listener(6, 80, Some(0), idle),
                listener(17, 53, Some(0), 350),
                listener(6, 8080, Some(1), idle),
                listener(17, 443, Some(1), 350),
                listener(6, 443, None, 350),
                listener(6, 22, Some(0), 350),
            ];
            self.world.balancers.insert(id, row);
        }
        for (id, v4) in [(0, true), (1, false)] {
            let row = self.target_group(provider, v4, 80);
            self.world.target_groups.insert(id, row);
        }
        let mut enis = Vec::new();
        for (n, (_, subnet)) in self.zones(consumer).into_iter().enumerate() {
            let eni = 920 + n as Id;
            let addresses = self.pair(subnet, 220);
            self.eni(eni, subnet, addresses, Kind::Endpoint(0));
            let group = consumer * 10 + self.rng.of(&[0, 0, 1]);
            self.world.enis.get_mut(&eni).expect("just made").groups = vec![group];
            enis.push(eni);
        }
        let kind = EndpointKind::Interface {
            balancers: (0..count).collect(),
            enis,
        };
        let row = Endpoint {
            number: 0xe0,
            vpc: consumer,
            available: !self.rng.chance(5),
            kind,
        };
        self.world.endpoints.insert(0, row);
    }

    pub(super) fn gateway(&mut self) {
        let provider = self.any_vpc();
        let mut row = self.balancer_with_nodes(10, provider, 940, true);
        let tcp_idle = self.rng.of(&[350, 350, 60]);
        row.listeners = vec![Listener {
            protocol: 0,
            port: 0,
            group: Some(10),
            tcp_idle,
        }];
        self.world.balancers.insert(10, row);
        let subnets = self.subnets_of(provider);
        for n in 0..1 + self.rng.below(3) as Id {
            let subnet = self.rng.of(&subnets);
            let addresses = self.pair(subnet, 150 + n);
            self.eni(960 + n, subnet, addresses, Kind::Host);
            let group = provider * 10 + self.rng.of(&[0, 0, 0, 1]);
            self.world
                .enis
                .get_mut(&(960 + n))
                .expect("just made")
                .groups = vec![group];
        }
        let row = self.target_group(provider, true, 6081);
        self.world.target_groups.insert(10, row);
        for n in 0..1 + self.rng.below(3) as Id {
            let consumer = self.any_vpc();
            let subnets = self.subnets_of(consumer);
            let subnet = self.rng.of(&subnets);
            let addresses = self.pair(subnet, 230 + n);
            self.eni(950 + n, subnet, addresses, Kind::GatewayEndpoint(10 + n));
            let number = 0xa100_0000_0000_0000 + u64::from(n);
            let kind = EndpointKind::Gateway {
                balancers: vec![10],
                eni: 950 + n,
            };
            let row = Endpoint {
                number,
                vpc: consumer,
                available: !self.rng.chance(4),
                kind,
            };
            self.world.endpoints.insert(10 + n, row);
        }
    }

    /// A NAT gateway in some subnet; mostly a public one.
    pub(super) fn nat_gateway(&mut self) {
        let vpc = self.any_vpc();
        let subnets = self.subnets_of(vpc);
        let subnet = self.rng.of(&subnets);
        let mut addresses = vec![self.pair(subnet, 245)[0]];
        if self.rng.chance(25) {
            addresses.push(self.pair(subnet, 246)[0]);
        }
        self.eni(980, subnet, addresses.clone(), Kind::Nat(0));
        let public = self.rng.chance(85);
        let eni = self.world.enis.get_mut(&980).expect("just made");
        for (n, address) in addresses.into_iter().enumerate().filter(|_| public) {
            let elastic = IpAddr::from([198, 51, 99, 1 + n as u8]);
            eni.elastic.push((address, elastic));
        }
    }
}
