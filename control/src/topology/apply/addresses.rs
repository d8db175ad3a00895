//! Which IPv4 address everything gets: those of the file first, then the lowest
//! free ones, so that nothing chosen takes what a later line asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use vpclab_dataplane::addr::Prefix;

use crate::topology::located::{Named, Value};
use crate::topology::resolve::SubnetRef;
use crate::topology::schema::Topology;
use crate::topology::values::Address;

/// The plan of a lab's IPv4 addresses.
pub(super) struct Plan {
    /// By VPC and subnet.
    subnets: BTreeMap<(String, String), Pool>,
}

struct Pool {
    block: Prefix,
    taken: BTreeSet<Ipv4Addr>,
    prefixes: Vec<Prefix>,
}

impl Plan {
    /// Notes every address that the file names.
    pub(super) fn new(topology: &Topology) -> Self {
        let pools = topology.subnets().map(|subnet| {
            let block = subnet.subnet.cidr.value.0;
            let pool = Pool {
                block,
                taken: BTreeSet::new(),
                prefixes: Vec::new(),
            };
            (key(&subnet), pool)
        });
        let mut plan = Self {
            subnets: pools.collect(),
        };
        for (_, host) in topology.hosts.iter() {
            for interface in host.interfaces() {
                let Ok(subnet) = topology.subnet(interface.subnet) else {
                    continue;
                };
                for address in interface.address.into_iter().chain(interface.secondary) {
                    plan.take(&subnet, address.0);
                }
                if let Some(pool) = plan.subnets.get_mut(&key(&subnet)) {
                    pool.prefixes
                        .extend(interface.prefixes.iter().map(|prefix| prefix.value.0));
                }
            }
        }
        for (_, gateway) in topology.nat_gateways.iter() {
            if let Ok(subnet) = topology.subnet(&gateway.subnet) {
                for address in gateway.address.iter().chain(gateway.secondary.iter()) {
                    plan.take(&subnet, address.0);
                }
            }
        }
        for (_, balancer) in topology.load_balancers.iter() {
            plan.take_all(topology, &balancer.addresses);
        }
        for (_, endpoint) in topology.endpoints.iter() {
            plan.take_all(topology, &endpoint.addresses);
            if let (Some(subnet), Some(address)) = (endpoint.subnets.first(), &endpoint.address)
                && let Ok(subnet) = topology.subnet(subnet)
            {
                plan.take(&subnet, address.0);
            }
        }
        plan
    }

    /// The lowest address of a subnet that neither the file nor anything made
    /// so far has (`used`); `None` when it is full.
    pub(super) fn next(
        &mut self,
        subnet: &SubnetRef<'_>,
        used: impl Fn(IpAddr) -> bool,
    ) -> Option<Ipv4Addr> {
        let pool = self.subnets.get_mut(&key(subnet))?;
        let last = pool.block.last();
        // AWS keeps the first four addresses and the last (V:subnet-sizing).
        let free = (4..)
            .map_while(|n| pool.block.nth(n))
            .find_map(|address| match address {
                IpAddr::V4(v4) => {
                    let delegated = pool.prefixes.iter().any(|prefix| prefix.contains(address));
                    (address != last && !delegated && !pool.taken.contains(&v4) && !used(address))
                        .then_some(v4)
                }
                IpAddr::V6(_) => None,
            })?;
        pool.taken.insert(free);
        Some(free)
    }

    /// Takes this address, unless the file gives it to something.
    pub(super) fn claim(&mut self, subnet: &SubnetRef<'_>, address: Ipv4Addr) -> bool {
        let Some(pool) = self.subnets.get_mut(&key(subnet)) else {
            return false;
        };
        let delegated = |prefix: &Prefix| prefix.contains(address.into());
        !pool.prefixes.iter().any(delegated) && pool.taken.insert(address)
    }

    fn take_all(&mut self, topology: &Topology, addresses: &Named<Value<Address>>) {
        for (subnet, address) in addresses.iter() {
            if let Ok(subnet) = topology.subnet(subnet) {
                self.take(&subnet, address.0);
            }
        }
    }

    fn take(&mut self, subnet: &SubnetRef<'_>, address: IpAddr) {
        if let (Some(pool), IpAddr::V4(v4)) = (self.subnets.get_mut(&key(subnet)), address) {
            pool.taken.insert(v4);
        }
    }
}

fn key(subnet: &SubnetRef<'_>) -> (String, String) {
    (subnet.vpc.to_owned(), subnet.name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_addresses_leave_those_of_later_lines_alone() {
        let text = "name: x\nvpcs: {a: {cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.0.0.0/28}}}}\n\
                    hosts:\n  h: {subnet: s, address: 10.0.0.5}\n  i: {subnet: s, secondary: 10.0.0.4}\n";
        let topology = Topology::parse("t.yaml", text).expect("parses");
        let mut plan = Plan::new(&topology);
        let subnet = topology.subnets().next().expect("one");
        let made: IpAddr = "10.0.0.7".parse().expect("address");
        let chosen: Vec<String> = std::iter::from_fn(|| plan.next(&subnet, |ip| ip == made))
            .map(|address| address.to_string())
            .collect();
        assert_eq!(chosen.first().map(String::as_str), Some("10.0.0.6"));
        assert_eq!(chosen.last().map(String::as_str), Some("10.0.0.14"));
        assert_eq!(
            chosen.len(),
            8,
            "16 - 4 first - 1 last - 2 of the file - 1 made"
        );
    }
}
