//! Changes to a world while packets pass.

use super::world::*;
use crate::world::*;

impl Maker {
    /// Some change, as the API could make it.
    pub fn change(&mut self) -> Option<Change> {
        let subnets: Vec<Id> = self
            .world
            .subnets
            .keys()
            .copied()
            .filter(|id| *id != 0)
            .collect();
        let vpcs: Vec<Id> = self
            .world
            .vpcs
            .keys()
            .copied()
            .filter(|id| *id != 0)
            .collect();
        let vpc = self.rng.of(&vpcs);
        match self
            .rng
            .below(20 + usize::from(!self.world.peerings.is_empty()))
        {
            0..4 => {
                let subnet = self.rng.of(&subnets);
                Some(Change::Table(subnet, self.table(subnet)))
            }
            4 => Some(Change::Table(vpc * 10 + 9, self.edge(vpc))),
            5..8 => {
                let n = self.rng.below(3) as Id;
                Some(Change::Group(vpc * 10 + n, self.group(vpc, n)))
            }
            8 => Some(Change::List(vpc, self.list(vpc))),
            9..11 => {
                let acls: Vec<Id> = self
                    .world
                    .acls
                    .keys()
                    .copied()
                    .filter(|id| *id > 100)
                    .collect();
                let id = if acls.is_empty() {
                    return None;
                } else {
                    self.rng.of(&acls)
                };
                Some(Change::Acl(id, self.acl((id - 100) / 10)))
            }
            11..14 => self.change_of_eni(),
            14..16 => {
                let groups: Vec<Id> = self.world.target_groups.keys().copied().collect();
                let id = if groups.is_empty() {
                    return None;
                } else {
                    self.rng.of(&groups)
                };
                let mut row = self.world.target_groups[&id].clone();
                row.targets = self.targets(row.vpc, id != 1, if id == 10 { 6081 } else { 80 });
                if self.keeps && id != 10 {
                    row.keeps = self.rng.chance(70);
                }
                Some(Change::TargetGroup(id, row))
            }
            16 => {
                let endpoints: Vec<Id> = self.world.endpoints.keys().copied().collect();
                let id = if endpoints.is_empty() {
                    return None;
                } else {
                    self.rng.of(&endpoints)
                };
                let mut row = self.world.endpoints[&id].clone();
                row.available = !row.available || self.rng.chance(70);
                Some(Change::Endpoint(id, row))
            }
            17 => {
                let mut row = self.world.vpcs[&vpc].clone();
                let edge = vpc * 10 + 9;
                row.igw = self.rng.of(&[
                    None,
                    Some(Igw { edge_table: None }),
                    Some(Igw {
                        edge_table: Some(edge),
                    }),
                ]);
                Some(Change::Vpc(vpc, row))
            }
            18 => {
                let id = self.rng.of(&subnets);
                let mut row = self.world.subnets[&id].clone();
                let of_vpc: Vec<Id> = subnets
                    .iter()
                    .copied()
                    .filter(|s| s / 10 == id / 10)
                    .collect();
                row.table = self.rng.of(&of_vpc);
                if self.rng.chance(50) && self.world.acls.contains_key(&(100 + id)) {
                    row.acl = self.rng.of(&[100 + id, id / 10 * 10]);
                }
                Some(Change::Subnet(id, row))
            }
            20 => {
                let ids: Vec<Id> = self.world.peerings.keys().copied().collect();
                let id = self.rng.of(&ids);
                let mut row = self.world.peerings[&id];
                row.far = !row.far;
                // One that is deleted leaves its routes behind.
                Some(Change::Peering(id, self.rng.chance(70).then_some(row)))
            }
            _ => {
                let mut row = self.world.settings;
                row.ttl_router = self.rng.of(&[0, 0, 1]);
                row.ttl_igw = self.rng.of(&[0, 1]);
                row.ttl_balancer = self.rng.of(&[64, 64, 255]);
                row.ttl_nat = self.rng.of(&[1, 1, 0]);
                Some(Change::Settings(row))
            }
        }
    }

    fn change_of_eni(&mut self) -> Option<Change> {
        let hosts = |(id, eni): &(&Id, &Eni)| eni.vpc != 0 && eni.kind == Kind::Host && **id < 900;
        let hosts: Vec<Id> = self
            .world
            .enis
            .iter()
            .filter(hosts)
            .map(|(id, _)| *id)
            .collect();
        let id = if hosts.is_empty() {
            return None;
        } else {
            self.rng.of(&hosts)
        };
        let held = self.world.enis[&id].clone();
        match self.rng.below(8) {
            0 => {
                let fresh = self.host(id / 100, id / 10 % 10, id % 10);
                // `host` keeps its draft in the world.
                self.world.enis.insert(id, held);
                Some(Change::Eni(id, Some(fresh)))
            }
            1 => Some(Change::Eni(
                id,
                Some(Eni {
                    check: !held.check,
                    ..held
                }),
            )),
            2 => Some(Change::Eni(
                id,
                Some(Eni {
                    attached: !held.attached,
                    ..held
                }),
            )),
            3 => Some(Change::Eni(
                id,
                Some(Eni {
                    elastic: vec![],
                    ..held
                }),
            )),
            4 => {
                // An address inside another interface's delegated prefix, or one more.
                let same = |(other, eni): &(&Id, &Eni)| {
                    **other != id && eni.subnet == held.subnet && !eni.prefixes.is_empty()
                };
                let others: Vec<Eni> = self
                    .world
                    .enis
                    .iter()
                    .filter(same)
                    .map(|(_, eni)| eni.clone())
                    .collect();
                let mut eni = held;
                if others.is_empty() {
                    return None;
                }
                let prefix = self.rng.of(&others).prefixes[0];
                let address = prefix.nth(3);
                let taken = self
                    .world
                    .enis
                    .values()
                    .any(|e| e.vpc == eni.vpc && e.addresses.contains(&address));
                if taken {
                    return None;
                }
                eni.addresses.push(address);
                Some(Change::Eni(id, Some(eni)))
            }
            5 => Some(Change::Eni(
                id,
                Some(Eni {
                    prefixes: vec![],
                    ..held
                }),
            )),
            _ => {
                let mut eni = held;
                eni.groups = vec![eni.vpc * 10 + self.rng.below(3) as Id];
                Some(Change::Eni(id, Some(eni)))
            }
        }
    }
}
