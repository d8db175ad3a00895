//! Names and addresses of a trace, as a user writes them.

use std::collections::HashMap;
use std::net::IpAddr;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::protocol;

use super::Query;
use crate::model::{InterfaceKind, Model, NetworkInterface};

/// What a user asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Host, or ENI id.
    pub from: &'a str,
    /// Address, or the name of a host, endpoint or load balancer.
    pub to: &'a str,
    /// Destination port.
    pub port: Option<u16>,
    /// `tcp`, `udp`, `icmp`, `icmpv6` or a number.
    pub protocol: &'a str,
    /// Source port.
    pub source_port: u16,
}

/// A question that cannot be understood: what is wrong, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misunderstood {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl Ask<'_> {
    /// The interface, address and numbers that were meant.
    ///
    /// # Errors
    /// An unknown name, a protocol that is none, a missing port.
    pub fn resolve(&self, model: &Model) -> Result<Query, Misunderstood> {
        let wrong = |message: String, fix: &str| Misunderstood {
            message,
            fix: fix.to_owned(),
        };
        let from = interface(model, self.from)
            .and_then(|interface| model.row(&interface.id))
            .ok_or_else(|| Misunderstood {
                message: format!("no host or ENI is named `{}`", self.from),
                fix: format!("name one of {}, or an eni-…", hosts(model)),
            })?;
        let sender = interface(model, self.from);
        let ipv4 = sender.is_none_or(|sender| !sender.private_addresses.is_empty());
        let to = match self.to.parse() {
            Ok(address) => address,
            Err(_) => address_of(model, self.to, sender, ipv4).ok_or_else(|| {
                let message = format!("`{}` is no address, host or endpoint", self.to);
                wrong(
                    message,
                    "write an IP address, or a name that `vpclab ps` shows",
                )
            })?,
        };
        let protocol = match self.protocol {
            "tcp" => protocol::TCP,
            "udp" => protocol::UDP,
            "icmp" if to.is_ipv4() => protocol::ICMP,
            "icmp" | "icmpv6" => protocol::ICMPV6,
            number => number.parse().map_err(|_| {
                let message = format!("`{number}` is not a protocol");
                wrong(
                    message,
                    "use tcp, udp, icmp, icmpv6 or an IP protocol number",
                )
            })?,
        };
        let needs_port = matches!(protocol, protocol::TCP | protocol::UDP);
        if needs_port && self.port.is_none() {
            let message = format!("{} needs a destination port", self.protocol);
            return Err(wrong(
                message,
                &format!("write {}:443, or use --proto icmp", self.to),
            ));
        }
        Ok(Query {
            from: EniId(from),
            to,
            protocol,
            source_port: if needs_port || protocol == protocol::ICMP || protocol == protocol::ICMPV6
            {
                self.source_port
            } else {
                0
            },
            port: if needs_port {
                self.port.unwrap_or(0)
            } else {
                0
            },
        })
    }
}

/// The names that a lab gave its resources, by AWS id.
pub fn names(model: &Model) -> HashMap<String, String> {
    let mut names = HashMap::new();
    macro_rules! collect {
        ($($table:ident),*) => {$(
            for resource in model.$table().iter() {
                if let Some(name) = &resource.meta.name {
                    names.insert(resource.id.as_str().to_owned(), name.to_string());
                }
            }
        )*};
    }
    collect!(
        vpcs,
        subnets,
        route_tables,
        security_groups,
        network_acls,
        internet_gateways,
        prefix_lists,
        vpc_endpoints,
        nat_gateways,
        vpc_peering_connections,
        vpn_gateways,
        vpn_connections,
        customer_gateways
    );
    for group in model.security_groups().iter() {
        names.insert(group.id.as_str().to_owned(), group.group_name.to_string());
    }
    for interface in model.interfaces().iter() {
        let name = match (&interface.attachment, &interface.kind) {
            (Some(_), _) if interface.is_service() => interface.description.to_string(),
            (Some(held), _) => held.host.to_string(),
            (None, InterfaceKind::Endpoint(id) | InterfaceKind::GatewayEndpoint(id))
                if names.contains_key(id.as_str()) =>
            {
                names.get(id.as_str()).cloned().unwrap_or_default()
            }
            (None, InterfaceKind::NatGateway(id)) => {
                names.get(id.as_str()).cloned().unwrap_or_default()
            }
            (None, InterfaceKind::LoadBalancer(id)) => {
                let balancer = model.load_balancers().get(id);
                balancer.map_or_else(String::new, |balancer| balancer.name.to_string())
            }
            (None, _) => interface
                .meta
                .name
                .as_deref()
                .unwrap_or(&interface.description)
                .to_owned(),
        };
        if !name.is_empty() {
            names.insert(interface.id.as_str().to_owned(), name);
        }
    }
    names
}

fn interface<'a>(model: &'a Model, name: &str) -> Option<&'a NetworkInterface> {
    let host = |interface: &&NetworkInterface| {
        interface
            .attachment
            .as_ref()
            .is_some_and(|held| &*held.host == name)
    };
    let all = || model.interfaces().iter().map(|interface| &**interface);
    all()
        .filter(host)
        .min_by_key(|interface| interface.attachment.as_ref().map(|held| held.device_index))
        .or_else(|| all().find(|interface| interface.id.as_str() == name))
        .or_else(|| all().find(|interface| interface.meta.name.as_deref() == Some(name)))
}

/// The address that a name stands for: an endpoint's or load balancer's in the
/// sender's zone, if it has one there.
fn address_of(
    model: &Model,
    name: &str,
    sender: Option<&NetworkInterface>,
    ipv4: bool,
) -> Option<IpAddr> {
    let endpoint = model.vpc_endpoints().iter().find(|endpoint| {
        endpoint.id.as_str() == name || endpoint.meta.name.as_deref() == Some(name)
    });
    let balancer = model
        .load_balancers()
        .iter()
        .find(|balancer| &*balancer.name == name);
    let ids: Vec<_> = endpoint
        .iter()
        .flat_map(|endpoint| {
            endpoint
                .interfaces
                .iter()
                .map(|held| held.interface.clone())
        })
        .chain(
            balancer
                .iter()
                .flat_map(|b| b.nodes.iter().map(|node| node.interface.clone())),
        )
        .collect();
    let zone = |interface: &NetworkInterface| {
        model
            .get(&interface.subnet)
            .map(|subnet| subnet.zone.clone())
    };
    let here = sender.and_then(&zone);
    let pick = ids
        .iter()
        .filter_map(|id| model.get(id))
        .max_by_key(|interface| u8::from(zone(interface) == here))
        .map(|interface| &**interface)
        .or_else(|| interface(model, name))?;
    let mut addresses = pick.addresses();
    let same = pick.addresses().find(|address| address.is_ipv4() == ipv4);
    same.or_else(|| addresses.next())
}

fn hosts(model: &Model) -> String {
    let mut hosts: Vec<_> = model
        .interfaces()
        .iter()
        .filter(|interface| interface.kind == InterfaceKind::Host)
        .filter_map(|interface| Some(interface.attachment.as_ref()?.host.to_string()))
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts.join(", ")
}
