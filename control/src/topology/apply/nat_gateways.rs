//! NAT gateways and their Elastic IPs.

use std::net::{IpAddr, Ipv4Addr};

use super::Applier;
use super::kept::node_key;
use super::names::NatGatewayNames;
use crate::api::{AllocateAddress, ApiError, CreateNatGateway};
use crate::model::{AllocationId, Connectivity};
use crate::topology::located::{At, Value};
use crate::topology::schema::{NatGateway, NatGatewayType};
use crate::topology::values::{Address, ElasticIp};

impl Applier<'_, '_> {
    pub(super) fn nat_gateway(
        &mut self,
        name: &Value<String>,
        gateway: &NatGateway,
    ) -> Result<(), ApiError> {
        let subnet = self.subnet(&gateway.subnet)?;
        let key = node_key("nat", name);
        let public = gateway.kind == NatGatewayType::Public;
        let mut elastic_ips = Vec::new();
        if public {
            let at = gateway.eip.as_ref().map_or(name.at, |eip| eip.at);
            let address = match gateway.eip.as_ref().map(|eip| eip.value) {
                Some(ElasticIp::Address(address)) => Some(address),
                _ => {
                    let had = self.kept.public(&key);
                    let indexes = self.tx.model().indexes();
                    had.filter(|&address| indexes.public_owner(address.into()).is_none())
                }
            };
            elastic_ips.push(self.nat_elastic_ip(name, at, address)?);
            for address in gateway.secondary_eips.iter() {
                elastic_ips.push(self.nat_elastic_ip(name, address.at, ipv4(address))?);
            }
        }
        let private_ip = match gateway.address.as_ref().and_then(ipv4) {
            None => self.same_address(&subnet, &key)?,
            given => given,
        };
        // Their private addresses are free ones that no line of the file wants.
        let mut secondary_private_ips: Vec<Ipv4Addr> =
            gateway.secondary.iter().filter_map(ipv4).collect();
        for _ in gateway.secondary_eips.iter() {
            secondary_private_ips.extend(self.next_address(&subnet)?);
        }
        let create = CreateNatGateway {
            subnet: self.subnet_id(&subnet)?,
            connectivity: match public {
                true => Connectivity::Public,
                false => Connectivity::Private,
            },
            allocation: elastic_ips.first().cloned(),
            private_ip,
            secondary_allocations: elastic_ips.iter().skip(1).cloned().collect(),
            secondary_private_ips,
            name: Some(name.value.clone()),
            ..CreateNatGateway::default()
        };
        // What of it AWS cannot change in place is part of the name.
        self.name(format_args!(
            "nat-gateway/{}/{}/{public}/{private_ip:?}/{:?}",
            name.value,
            create.subnet,
            elastic_ips.first()
        ));
        let id = self.run(name.at, create)?;
        let names = NatGatewayNames { id, elastic_ips };
        self.names.nat_gateways.insert(name.value.clone(), names);
        Ok(())
    }

    fn nat_elastic_ip(
        &mut self,
        name: &Value<String>,
        at: At,
        address: Option<Ipv4Addr>,
    ) -> Result<AllocationId, ApiError> {
        self.name(format_args!(
            "{}/elastic-ip/{address:?}",
            node_key("nat", name)
        ));
        let name = Some(name.value.clone());
        let allocate = AllocateAddress { address, name };
        Ok(self.run(at, allocate)?.allocation)
    }
}

fn ipv4(address: &Value<Address>) -> Option<Ipv4Addr> {
    match address.0 {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
