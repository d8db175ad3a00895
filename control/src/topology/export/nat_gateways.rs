//! NAT gateways and their addresses.

use std::net::Ipv4Addr;

use super::Exporter;
use super::node::{Map, Node};
use crate::model::{Connectivity, ElasticIp, NatGateway, NetworkInterface};

impl Exporter<'_> {
    pub(super) fn nat_gateways(&mut self) -> Map {
        let all: Vec<&NatGateway> = self.own().collect();
        let named = all.into_iter().filter_map(|gateway| {
            let name = self.label(&gateway.id, "NAT gateways")?;
            let user = format!("NAT gateway {name}");
            let interface = gateway.interface.as_ref().and_then(|id| self.model.get(id));
            let Some(interface) = interface.cloned() else {
                self.leave_out(format!("{user}: it has failed"));
                return None;
            };
            let subnet = self.subnet_name(&gateway.vpc, &gateway.subnet, &user)?;
            let mut map = Map::default();
            map.put("subnet", Node::shown(subnet));
            map.some("address", interface.primary());
            let more = interface.private_addresses.iter().skip(1);
            match gateway.connectivity {
                Connectivity::Private => {
                    map.put("type", Node::shown("private"));
                    map.filled("secondary", Node::list(more));
                }
                Connectivity::Public => {
                    let public = |private| self.public_of(&interface, private);
                    map.some("eip", interface.primary().and_then(public));
                    let more: Vec<_> = more.filter_map(|&private| public(private)).collect();
                    map.filled("secondary_eips", Node::list(&more));
                }
            }
            Some((name, map))
        });
        named.collect()
    }

    fn public_of(&self, interface: &NetworkInterface, private: Ipv4Addr) -> Option<Ipv4Addr> {
        let mut all = self.model.referrers::<ElasticIp>(&interface.id);
        all.find_map(|elastic| {
            let held = elastic.association.as_ref()?;
            (held.private == private).then_some(elastic.public)
        })
    }
}
