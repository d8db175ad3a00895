//! Hosts, their interfaces and public addresses, and internet hosts.

use std::net::{IpAddr, Ipv6Addr};

use super::kept::eni_key;
use super::{Applier, HostNames};
use crate::api::{
    AllocateAddress, ApiError, AssociateAddress, AttachNetworkInterface, CreateInternetHost,
    CreateNetworkGateway, CreateNetworkInterface, ModifyNetworkInterfaceAttribute,
    PlugNetworkInterface,
};
use crate::model::{AllocationId, NetworkInterfaceId, Plug};
use crate::topology::located::Value;
use crate::topology::resolve::{Interface, SubnetRef};
use crate::topology::schema::{Host, InternetHost};
use crate::topology::values::{ElasticIp, Ipv6Block};

impl Applier<'_, '_> {
    pub(super) fn hosts(&mut self) -> Result<(), ApiError> {
        let topology = self.topology;
        // Chosen IPv6 addresses must not take those that the file names: hosts
        // that name theirs go first.
        let names_ipv6 = |host: &Host| host.interfaces().iter().any(|i| i.ipv6.is_some());
        let mut hosts: Vec<(&Value<String>, &Host)> = topology.hosts.iter().collect();
        // And those that were there choose before newcomers.
        hosts.sort_by_key(|(name, host)| {
            let key = eni_key(name, 0);
            (!names_ipv6(host), !self.kept.knows(&key))
        });
        for (name, host) in hosts {
            let mut names = HostNames::default();
            for (index, interface) in host.interfaces().iter().enumerate() {
                let id = self.interface(name, index, interface)?;
                if host.attach {
                    self.unplug(name, &id)?;
                }
                let elastic_ip = self.elastic_ip(name, index, &id, interface)?;
                names.enis.push(id);
                names.elastic_ips.push(elastic_ip);
            }
            self.names.hosts.insert(name.value.clone(), names);
        }
        for (name, host) in topology.internet.hosts.iter() {
            self.internet_host(name, host)?;
        }
        self.gateway()
    }

    /// The way to and from the real network, if there is one.
    fn gateway(&mut self) -> Result<(), ApiError> {
        let topology = self.topology;
        if !topology.has_gateway() {
            return Ok(());
        }
        let addresses = topology.internet.gateway.first().map(|address| address.at);
        let published = topology.publish.first().map(|publish| publish.at);
        let create = CreateNetworkGateway {
            addresses: topology.gateway_addresses(),
            uplink: topology.internet.uplink,
        };
        self.name(format_args!("gateway/{:?}", create.addresses));
        let at = addresses.or(published).unwrap_or(topology.name.at);
        self.run(at, create)?;
        Ok(())
    }

    /// The lab makes no host there: somebody else will.
    pub(super) fn unplug(
        &mut self,
        name: &Value<String>,
        id: &NetworkInterfaceId,
    ) -> Result<(), ApiError> {
        let action = PlugNetworkInterface {
            network_interface: id.clone(),
            plug: Plug::Waiting,
        };
        self.run(name.at, action)
    }

    fn interface(
        &mut self,
        host: &Value<String>,
        index: usize,
        interface: &Interface<'_>,
    ) -> Result<NetworkInterfaceId, ApiError> {
        let subnet = self.subnet(interface.subnet)?;
        let create = self.create_interface(host, index, interface, &subnet)?;
        let at = interface
            .address
            .map_or(interface.subnet.at, |address| address.at);
        self.name(format_args!(
            "{}@{}/{:?}",
            eni_key(host, index),
            create.subnet,
            create.private_ip_address
        ));
        let id = self.run(at, create)?;
        let attach = AttachNetworkInterface {
            network_interface: id.clone(),
            host: host.value.clone(),
            device_index: u16::try_from(index).ok(),
            // An address of its own, or none, instead of the subnet's habit.
            associate_public_ip_address: interface.eip.map(|_| false),
        };
        self.run(interface.subnet.at, attach)?;
        if interface.source_dest_check.is_some() {
            let modify = ModifyNetworkInterfaceAttribute {
                network_interface: id.clone(),
                source_dest_check: interface.source_dest_check,
                ..ModifyNetworkInterfaceAttribute::default()
            };
            self.run(interface.subnet.at, modify)?;
        }
        Ok(id)
    }

    fn create_interface(
        &mut self,
        host: &Value<String>,
        index: usize,
        interface: &Interface<'_>,
        subnet: &SubnetRef<'_>,
    ) -> Result<CreateNetworkInterface, ApiError> {
        let given = interface.address.and_then(|address| match address.0 {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let secondary = interface
            .secondary
            .iter()
            .filter_map(|address| match address.0 {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            });
        let named = interface.ipv6.map(|many| many.iter()).into_iter().flatten();
        let mut ipv6_addresses: Vec<_> = named
            .filter_map(|address| match address.0 {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            })
            .collect();
        let block = subnet
            .subnet
            .ipv6
            .as_ref()
            .map_or(Ipv6Block::None, |ipv6| ipv6.value);
        let chosen = interface.ipv6.is_none() && block != Ipv6Block::None;
        if chosen {
            let id = self.subnet_id(subnet)?;
            let had = self.kept.ipv6(&id, &eni_key(host, index));
            let indexes = self.tx.model().indexes();
            let free = |ip: &Ipv6Addr| indexes.address_owner(&id, IpAddr::V6(*ip)).is_none();
            ipv6_addresses.extend(had.filter(free));
        }
        Ok(CreateNetworkInterface {
            subnet: self.subnet_id(subnet)?,
            private_ip_address: match given {
                Some(address) => Some(address),
                None => self.same_address(subnet, &eni_key(host, index))?,
            },
            secondary_private_ip_addresses: secondary.collect(),
            ipv6_address_count: ipv6_addresses.is_empty().then_some(u32::from(chosen)),
            ipv6_addresses,
            prefixes: interface
                .prefixes
                .iter()
                .map(|prefix| prefix.value.0)
                .collect(),
            groups: self.group_ids(subnet.vpc, interface.groups)?,
            name: Some(match index {
                0 => host.value.clone(),
                _ => format!("{}/eth{index}", host.value),
            }),
            ..CreateNetworkInterface::default()
        })
    }

    fn elastic_ip(
        &mut self,
        host: &Value<String>,
        index: usize,
        interface: &NetworkInterfaceId,
        body: &Interface<'_>,
    ) -> Result<Option<AllocationId>, ApiError> {
        let Some(eip) = body.eip else { return Ok(None) };
        let address = match eip.value {
            ElasticIp::None => return Ok(None),
            ElasticIp::Any => {
                let had = self.kept.public(&eni_key(host, index));
                let indexes = self.tx.model().indexes();
                had.filter(|&address| indexes.public_owner(address.into()).is_none())
            }
            ElasticIp::Address(address) => Some(address),
        };
        self.name(format_args!(
            "{}/elastic-ip/{address:?}",
            eni_key(host, index)
        ));
        let name = Some(host.value.clone());
        let allocation = self
            .run(eip.at, AllocateAddress { address, name })?
            .allocation;
        let associate = AssociateAddress {
            allocation: allocation.clone(),
            network_interface: interface.clone(),
            ..AssociateAddress::default()
        };
        self.run(eip.at, associate)?;
        Ok(Some(allocation))
    }

    fn internet_host(&mut self, name: &Value<String>, host: &InternetHost) -> Result<(), ApiError> {
        let at = host.addresses.first().map_or(name.at, |address| address.at);
        let create = CreateInternetHost {
            name: name.value.clone(),
            addresses: host.addresses.iter().map(|address| address.0).collect(),
        };
        self.name(format_args!(
            "internet/{}/{:?}",
            name.value, create.addresses
        ));
        let id = self.run(at, create)?;
        if host.attach {
            self.unplug(name, &id)?;
        }
        self.names.internet_hosts.insert(name.value.clone(), id);
        Ok(())
    }
}
