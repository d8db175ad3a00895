//! What vpclab chose for a lab and should choose again: addresses that its file
//! leaves open.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::Prefix;

use super::Names;
use crate::model::{Model, NetworkInterfaceId, SubnetId};

/// Choices by what they were made for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Addresses by subnet, then by what has them.
    addresses: BTreeMap<String, BTreeMap<String, BTreeSet<IpAddr>>>,
    /// Elastic IP addresses by interface.
    public: BTreeMap<String, Ipv4Addr>,
    /// IPv6 blocks by VPC, and by VPC and subnet.
    blocks: BTreeMap<String, String>,
}

/// Names an interface of a host.
pub(super) fn eni_key(host: &str, index: usize) -> String {
    format!("host/{host}/{index}")
}

/// Names the node of a load balancer or endpoint in a subnet.
pub(super) fn node_key(kind: &str, name: &str) -> String {
    format!("{kind}/{name}")
}

impl Kept {
    /// What was chosen for the lab that a file made.
    pub fn of(model: &Model, names: &Names) -> Self {
        let mut kept = Self::default();
        for (vpc, of_vpc) in &names.vpcs {
            if let Some(block) = of_vpc.ipv6 {
                kept.blocks.insert(vpc.clone(), block.to_string());
            }
            for (subnet, id) in &of_vpc.subnets {
                if let Some(block) = model.get(id).and_then(|subnet| subnet.ipv6_cidr) {
                    kept.blocks
                        .insert(format!("{vpc}/{subnet}"), block.to_string());
                }
            }
        }
        for (host, of_host) in &names.hosts {
            let allocations = of_host.elastic_ips.iter();
            for (index, (eni, eip)) in of_host.enis.iter().zip(allocations).enumerate() {
                kept.note(model, &eni_key(host, index), eni);
                if let Some(eip) = eip.as_ref().and_then(|id| model.get(id)) {
                    kept.public.insert(eni_key(host, index), eip.public);
                }
            }
        }
        for (name, of_gateway) in &names.nat_gateways {
            let key = node_key("nat", name);
            let gateway = model.get(&of_gateway.id);
            if let Some(interface) = gateway.and_then(|it| it.interface.as_ref()) {
                kept.note(model, &key, interface);
            }
            let first = of_gateway.elastic_ips.first();
            if let Some(eip) = first.and_then(|id| model.get(id)) {
                kept.public.insert(key, eip.public);
            }
        }
        for (name, id) in &names.load_balancers {
            let nodes = model.get(id).into_iter().flat_map(|lb| &lb.nodes);
            for node in nodes {
                kept.note(model, &node_key("lb", name), &node.interface);
            }
        }
        for (name, id) in &names.endpoints {
            let places = model.get(id).into_iter().flat_map(|it| &it.interfaces);
            for place in places {
                kept.note(model, &node_key("endpoint", name), &place.interface);
            }
        }
        kept
    }

    /// The IPv6 block of a VPC, or of a subnet (`vpc/subnet`).
    pub(super) fn block(&self, key: &str) -> Option<Prefix> {
        self.blocks.get(key)?.parse().ok()
    }

    fn note(&mut self, model: &Model, key: &str, id: &NetworkInterfaceId) {
        let Some(interface) = model.get(id) else {
            return;
        };
        let subnet = self.addresses.entry(interface.subnet.to_string());
        let own = subnet.or_default().entry(key.to_owned()).or_default();
        own.extend(interface.primary().map(IpAddr::V4));
        own.extend(interface.ipv6_addresses.first().map(|&ip| IpAddr::V6(ip)));
    }

    fn all(&self, subnet: &SubnetId, key: &str) -> impl Iterator<Item = IpAddr> {
        let of_subnet = self.addresses.get(subnet.as_str());
        let own = of_subnet.and_then(|things| things.get(key));
        own.into_iter().flatten().copied()
    }

    /// The IPv4 address of this thing in that subnet.
    pub(super) fn address(&self, subnet: &SubnetId, key: &str) -> Option<Ipv4Addr> {
        self.all(subnet, key).find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// Its IPv6 address.
    pub(super) fn ipv6(&self, subnet: &SubnetId, key: &str) -> Option<Ipv6Addr> {
        self.all(subnet, key).find_map(|address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        })
    }

    /// Its Elastic IP address.
    pub(super) fn public(&self, key: &str) -> Option<Ipv4Addr> {
        self.public.get(key).copied()
    }

    /// Whether something of that subnet had this address.
    pub(super) fn has(&self, subnet: &SubnetId, address: IpAddr) -> bool {
        let things = self.addresses.get(subnet.as_str());
        let mut all = things.into_iter().flat_map(|things| things.values());
        all.any(|addresses| addresses.contains(&address))
    }

    /// Whether there was such a thing.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.addresses
            .values()
            .any(|things| things.contains_key(key))
    }
}
