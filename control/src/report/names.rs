//! How reports name resources: by the names of the topology file, where AWS ids
//! would have to be looked up.

use std::collections::HashMap;

use vpclab_dataplane::addr::EniId;

use crate::model::{InterfaceKind, Model, NetworkInterface, SubnetId, VpcId};

/// The names that a lab gave its resources, by AWS id.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// The names in `model`.
    pub fn of(model: &Model) -> Self {
        let mut names = crate::trace::names(model);
        for balancer in model.load_balancers().iter() {
            names.insert(balancer.id.as_str().to_owned(), balancer.name.to_string());
        }
        for group in model.target_groups().iter() {
            names.insert(group.id.as_str().to_owned(), group.name.to_string());
        }
        for list in model.prefix_lists().iter() {
            names.insert(list.id.as_str().to_owned(), list.list_name.to_string());
        }
        for service in model.endpoint_services().iter() {
            if let Some(name) = &service.meta.name {
                names.insert(service.id.as_str().to_owned(), name.to_string());
                names.insert(service.service_name(), name.to_string());
            }
        }
        Self(names)
    }

    /// The name of `id`, if it has one.
    pub fn get(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }

    /// The name of `id`, else the id.
    pub fn short<'a>(&'a self, id: &'a str) -> &'a str {
        self.get(id).unwrap_or(id)
    }

    /// `name (id)`, or the id alone.
    pub fn long(&self, id: &str) -> String {
        match self.get(id) {
            Some(name) if name != id => format!("{name} ({id})"),
            _ => id.to_owned(),
        }
    }

    /// `vpc/subnet`, as the topology file writes it.
    pub fn subnet(&self, vpc: &VpcId, subnet: &SubnetId) -> String {
        format!(
            "{}/{}",
            self.short(vpc.as_str()),
            self.short(subnet.as_str())
        )
    }

    /// `host eth0`; of a service's interface, whose it is.
    pub fn interface(&self, interface: &NetworkInterface) -> String {
        if let Some(held) = &interface.attachment {
            // Of a gateway endpoint, or the service's own on the internet.
            if interface.is_service() {
                return interface.description.to_string();
            }
            return format!("{} eth{}", held.host, held.device_index);
        }
        match &interface.kind {
            InterfaceKind::Endpoint(id) | InterfaceKind::GatewayEndpoint(id) => {
                format!("endpoint {}", self.short(id.as_str()))
            }
            InterfaceKind::LoadBalancer(id) => {
                format!("load balancer {}", self.short(id.as_str()))
            }
            InterfaceKind::NatGateway(id) => format!("NAT gateway {}", self.short(id.as_str())),
            InterfaceKind::Host => self.short(interface.id.as_str()).to_owned(),
        }
    }

    /// Every interface by its row: its name and its id.
    pub fn interfaces(&self, model: &Model) -> HashMap<EniId, String> {
        let interfaces = model.interfaces().iter().filter_map(|interface| {
            let row = model.row(&interface.id)?;
            let name = self.interface(interface);
            Some((EniId(row), format!("{name} {}", interface.id)))
        });
        interfaces.collect()
    }
}
