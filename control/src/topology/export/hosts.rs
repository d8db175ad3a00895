//! Hosts with their interfaces, and what is on the internet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Exporter;
use super::node::{Map, Node};
use crate::model::{
    ElasticIp, Instance, InstanceState, InterfaceKind, NetworkInterface, NetworkInterfaceId, Plug,
};

impl<'a> Exporter<'a> {
    pub(super) fn hosts(&mut self) -> Map {
        let mut hosts: BTreeMap<String, Vec<&'a NetworkInterface>> = BTreeMap::new();
        for eni in self.own::<NetworkInterface>() {
            if eni.kind != InterfaceKind::Host || eni.is_gateway() || eni.is_service() {
                continue;
            }
            let name = match &eni.attachment {
                Some(at) => self.labels.host(&at.host),
                None => self.labels.get(&eni.id),
            };
            if let Some(name) = name.cloned() {
                hosts.entry(name).or_default().push(eni);
            }
        }
        let stopped = |instance: &&Instance| instance.state == InstanceState::Stopped;
        let stopped: Vec<_> = self.own::<Instance>().filter(stopped).collect();
        let named = hosts.into_iter().map(|(name, mut enis)| {
            enis.sort_by_key(|eni| eni.attachment.as_ref().map(|at| at.device_index));
            let attached = enis.first().and_then(|eni| eni.attachment.as_ref());
            let is_stopped =
                |instance: &&Instance| attached.is_some_and(|at| *at.host == *instance.id.as_str());
            if stopped.iter().any(is_stopped) {
                self.leave_out(format!("host {name}: that it is stopped"));
            }
            let map = self.host(&name, &enis);
            (name, map)
        });
        named.collect()
    }

    fn host(&mut self, name: &str, enis: &[&'a NetworkInterface]) -> Map {
        let mut map = match enis {
            [only] => self.eni(name, only),
            several => {
                let list = several.iter().map(|eni| self.eni(name, eni).into());
                let list = Node::List(list.collect());
                let mut map = Map::default();
                map.put("enis", list);
                map
            }
        };
        let made = |eni: &&NetworkInterface| {
            let at = eni.attachment.as_ref();
            at.is_some_and(|at| at.plug == Plug::Lab)
        };
        map.flag("attach", !enis.iter().any(made), false);
        let own = self.file.hosts.find(name);
        if let Some(host) = own.filter(|_| enis.iter().any(|eni| eni.attachment.is_some())) {
            self.programs(&mut map, &host.run, &host.env, host.restart.as_ref());
            self.link(&mut map, host.link.as_ref());
        }
        map
    }

    fn eni(&mut self, host: &str, eni: &NetworkInterface) -> Map {
        let mut map = Map::default();
        let user = format!("host {host}");
        map.some("subnet", self.subnet_name(&eni.vpc, &eni.subnet, &user));
        map.some("address", eni.primary());
        let block = self
            .model
            .get(&eni.subnet)
            .and_then(|subnet| subnet.ipv6_cidr);
        if block.is_some() || !eni.ipv6_addresses.is_empty() {
            map.put("ipv6", Node::list(&eni.ipv6_addresses));
        }
        let secondary = eni.private_addresses.iter().skip(1);
        map.filled("secondary", Node::list(secondary));
        map.filled("prefixes", Node::list(&eni.prefixes));
        let groups: Vec<_> = eni
            .groups
            .iter()
            .filter_map(|group| self.group_name(group, &user))
            .collect();
        if groups != ["default"] {
            map.filled("groups", Node::one_or_list(groups));
        }
        map.flag("source_dest_check", eni.source_dest_check, true);
        self.public(&mut map, &user, eni);
        map
    }

    fn public(&mut self, map: &mut Map, user: &str, eni: &NetworkInterface) {
        let mut own = None;
        for address in self.model.referrers::<ElasticIp>(&eni.id) {
            let held = address.association.as_ref();
            match held.is_some_and(|held| Some(held.private) == eni.primary()) {
                true => own = Some(address.public),
                false => self.leave_out(format!(
                    "{user}: {}, which stands for a secondary address",
                    address.public
                )),
            }
        }
        let subnet = self.model.get(&eni.subnet);
        let by_subnet = subnet.is_some_and(|subnet| subnet.map_public_ip_on_launch);
        match (own, eni.auto_public, by_subnet) {
            (Some(own), _, _) => map.put("eip", Node::shown(own)),
            // The subnet gives it one again.
            (None, Some(_), true) => {}
            (None, Some(public), false) => map.put("eip", Node::shown(public)),
            (None, None, true) if eni.attachment.is_some() => map.put("eip", Node::Flag(false)),
            (None, None, _) => {}
        }
    }

    /// How a route or target names an interface: `web`, `fw/eth1`.
    pub(super) fn interface_name(&self, id: &NetworkInterfaceId) -> Option<String> {
        let eni = self.model.get(id)?;
        let Some(at) = &eni.attachment else {
            return self.labels.get(id).cloned();
        };
        let host = self.labels.host(&at.host)?;
        let index = self.device_index(eni)?;
        Some(match index {
            0 => host.clone(),
            _ => format!("{host}/eth{index}"),
        })
    }

    /// Its place among the host's interfaces, without gaps.
    fn device_index(&self, eni: &NetworkInterface) -> Option<usize> {
        let at = eni.attachment.as_ref()?;
        let of_host = |other: &&NetworkInterface| {
            let held = other.attachment.as_ref();
            held.is_some_and(|held| held.host == at.host && held.device_index < at.device_index)
        };
        Some(self.own::<NetworkInterface>().filter(of_host).count())
    }

    /// The host with this address in that VPC.
    pub(super) fn host_at(&self, vpc: &crate::model::VpcId, address: IpAddr) -> Option<String> {
        let mut enis = self.model.referrers::<NetworkInterface>(vpc);
        let found = enis.find(|eni| {
            eni.kind == InterfaceKind::Host && eni.addresses().next() == Some(address)
        })?;
        self.interface_name(&found.id)
    }

    /// Elastic addresses that nothing has, for which the file has no place.
    pub(super) fn unused(&mut self) {
        for address in self.own::<ElasticIp>().collect::<Vec<_>>() {
            if address.association.is_none() {
                self.leave_out(format!(
                    "{}: an Elastic IP that nothing has",
                    address.public
                ));
            }
        }
        for gateway in self
            .own::<crate::model::InternetGateway>()
            .collect::<Vec<_>>()
        {
            if gateway.vpc.is_none() {
                self.leave_out(format!("{}: an internet gateway without a VPC", gateway.id));
            }
        }
    }
}
