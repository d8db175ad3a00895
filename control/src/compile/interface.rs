//! Rows of network interfaces.

use std::net::IpAddr;
use std::sync::Arc;

use vpclab_dataplane::tables::{EniKind, EniRow, PublicAddress};

use crate::model::*;

pub(super) fn interface(model: &Model, text: &Arc<str>) -> Option<EniRow> {
    let id = NetworkInterfaceId::from_text(text.clone());
    let interface = model.get(&id)?;
    let kind = match &interface.kind {
        InterfaceKind::Host => EniKind::Host,
        InterfaceKind::Endpoint(id) => EniKind::Endpoint(model.row(id)?.into()),
        InterfaceKind::GatewayEndpoint(id) => EniKind::GatewayEndpoint(model.row(id)?.into()),
        InterfaceKind::LoadBalancer(id) => EniKind::LoadBalancer(model.row(id)?.into()),
        InterfaceKind::NatGateway(id) => EniKind::NatGateway(model.row(id)?.into()),
    };
    let groups = interface.groups.iter();
    Some(EniRow {
        label: text.clone(),
        vpc: model.row(&interface.vpc)?.into(),
        subnet: model.row(&interface.subnet)?.into(),
        mac: interface.mac,
        addresses: interface.addresses().collect(),
        prefixes: interface.prefixes.clone(),
        public: public(model, interface),
        groups: groups
            .filter_map(|group| model.row(group).map(Into::into))
            .collect(),
        source_dest_check: interface.source_dest_check,
        kind,
        attached: interface.is_attached(),
        deny_all_igw_traffic: interface.deny_all_igw_traffic,
        mtu: interface.mtu,
        timeouts: interface.timeouts,
    })
}

fn public(model: &Model, interface: &NetworkInterface) -> Vec<PublicAddress> {
    let pair = |private, public| PublicAddress {
        private: IpAddr::V4(private),
        public: IpAddr::V4(public),
    };
    let elastic = model.referrers::<ElasticIp>(&interface.id);
    let mut pairs: Vec<PublicAddress> = elastic
        .filter_map(|address| {
            let held = address.association.as_ref()?;
            Some(pair(held.private, address.public))
        })
        .collect();
    let auto = interface.auto_public.zip(interface.primary());
    pairs.extend(auto.map(|(public, private)| pair(private, public)));
    pairs
}
