//! Hosts on Linux as they follow from the control plane's model.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::walk::RESOLVER_V4;

use super::plan::{GatewayPlan, HostPlan, InterfacePlan, ROUTER_LINK_LOCAL_V4, ROUTER_V6};
use crate::model::{InterfaceKind, Model, NameServer, NetworkInterface, Plug};

/// Where the VPC's resolver is, from the start of its primary block.
const RESOLVER_OFFSET: u128 = 2;
/// Where the router is, from the start of each subnet.
const ROUTER_OFFSET: u128 = 1;

/// Every host that the lab makes, in the order of names, without commands.
pub fn hosts(model: &Model) -> Vec<HostPlan> {
    hosts_that(model, |plug| *plug == Plug::Lab)
}

/// Every host that somebody is to attach, with those of its interfaces that
/// wait for it.
pub fn waiting(model: &Model) -> Vec<HostPlan> {
    hosts_that(model, |plug| *plug == Plug::Waiting)
}

/// Every host that is not made by the lab, attached or not.
pub fn foreign(model: &Model) -> Vec<HostPlan> {
    hosts_that(model, |plug| {
        matches!(plug, Plug::Waiting | Plug::Foreign(_))
    })
}

fn hosts_that(model: &Model, wanted: impl Fn(&Plug) -> bool) -> Vec<HostPlan> {
    let mut hosts: BTreeMap<String, Vec<(u16, &NetworkInterface)>> = BTreeMap::new();
    for interface in model.interfaces().iter() {
        if interface.kind != InterfaceKind::Host {
            continue;
        }
        if let Some(attachment) = interface.attachment.as_ref().filter(|a| wanted(&a.plug)) {
            let host = hosts.entry(attachment.host.to_string()).or_default();
            host.push((attachment.device_index, interface));
        }
    }
    hosts
        .into_iter()
        .map(|(name, mut interfaces)| {
            interfaces.sort_by_key(|&(index, _)| index);
            let first = interfaces.first().map(|(_, first)| *first);
            let (nameservers, search) = first
                .map(|first| told_by_dhcp(model, first))
                .unwrap_or_default();
            HostPlan {
                name,
                interfaces: interfaces
                    .iter()
                    .filter_map(|&(index, interface)| plan(model, index, interface))
                    .collect(),
                nameservers,
                search,
                commands: Vec::new(),
            }
        })
        .collect()
}

/// The resolvers and the domain that DHCP tells: those of the VPC's set of options,
/// without one the resolver on the link.
fn told_by_dhcp(model: &Model, interface: &NetworkInterface) -> (Vec<IpAddr>, Option<String>) {
    let Some(vpc) = model.get(&interface.vpc).filter(|vpc| !vpc.is_outside()) else {
        return (Vec::new(), None);
    };
    let Some(options) = model.dhcp_options_of(&vpc.id) else {
        return (vec![RESOLVER_V4.into()], None);
    };
    let own = vpc.blocks().next().and_then(|it| it.nth(RESOLVER_OFFSET));
    let servers = options.values.domain_name_servers.iter();
    let servers = servers.filter_map(|server| match server {
        NameServer::Amazon => own,
        NameServer::At(address) => Some(*address),
    });
    let domain = options.values.domain_name.as_ref();
    (servers.collect(), domain.map(ToString::to_string))
}

fn plan(model: &Model, index: u16, interface: &NetworkInterface) -> Option<InterfacePlan> {
    let subnet = model.get(&interface.subnet)?;
    // A host outside is alone on its link: the whole internet is no subnet.
    let block_of = |address: IpAddr| {
        if interface.is_outside() {
            return Prefix::host(address);
        }
        let mut blocks = subnet.blocks();
        let block = blocks.find(|block| block.contains(address));
        block.unwrap_or(Prefix::host(address))
    };
    let addresses: Vec<_> = interface
        .addresses()
        .map(|address| (address, block_of(address).len()))
        .collect();
    let router_v4 = if interface.is_outside() {
        Some(GatewayPlan {
            address: ROUTER_LINK_LOCAL_V4.into(),
            onlink: true,
        })
    } else {
        subnet.cidr.nth(ROUTER_OFFSET).map(|address| GatewayPlan {
            address,
            onlink: false,
        })
    };
    let router_v6 = Some(GatewayPlan {
        address: ROUTER_V6.into(),
        onlink: true,
    });
    // ASSUMPTION: default routes by the primary interface only, as on a plain
    // Linux instance; AMIs with policy routing differ.
    let gateways = [router_v4, router_v6]
        .into_iter()
        .flatten()
        .filter(|gateway| {
            index == 0
                && addresses
                    .iter()
                    .any(|(own, _)| own.is_ipv4() == gateway.address.is_ipv4())
        })
        .collect();
    Some(InterfacePlan {
        eni: model.row(&interface.id)?,
        label: interface.id.to_string(),
        device: format!("eth{index}"),
        mac: interface.mac.0,
        mtu: interface.mtu,
        addresses,
        gateways,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::{interface, subnet, vpc};
    use crate::api::{ControlPlane, CreateInternetHost};

    #[test]
    fn a_host_gets_its_subnets_prefix_router_and_resolver() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let subnet = subnet(&mut control, &vpc, "10.0.3.0/24");
        let eni = interface(&mut control, &subnet);
        let request = CreateInternetHost {
            name: "web".to_owned(),
            addresses: vec!["203.0.113.80".parse().unwrap()],
        };
        control.execute(request).unwrap();

        let hosts = hosts(control.model());
        let instance = &hosts[0];
        assert_eq!(instance.name, format!("host-{eni}"));
        assert_eq!(
            instance.nameservers,
            ["10.0.0.2".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(instance.search.as_deref(), Some("ec2.internal"));
        let device = &instance.interfaces[0];
        assert_eq!((device.device.as_str(), device.mtu), ("eth0", 9001));
        assert_eq!(device.addresses[0].1, 24);
        assert_eq!(
            device.gateways,
            [GatewayPlan {
                address: "10.0.3.1".parse().unwrap(),
                onlink: false
            }]
        );

        let web = &hosts[1];
        assert!(web.nameservers.is_empty());
        let device = &web.interfaces[0];
        assert_eq!(device.addresses, [("203.0.113.80".parse().unwrap(), 32)]);
        assert_eq!(device.mtu, 1500);
        assert!(device.gateways[0].onlink);
    }
}
