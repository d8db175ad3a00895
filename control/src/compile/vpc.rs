//! Rows of VPCs and subnets.

use std::sync::Arc;

use vpclab_dataplane::addr::{self, Mac};
use vpclab_dataplane::tables::{IgwRow, SubnetRow, VpcRow};

use crate::model::*;

pub(super) fn vpc(model: &Model, text: &Arc<str>) -> Option<VpcRow> {
    let vpc = model.get(&VpcId::from_text(text.clone()))?;
    let gateway = model.referrers::<InternetGateway>(&vpc.id).next();
    Some(VpcRow {
        label: text.clone(),
        cidrs: vpc.blocks().collect(),
        igw: gateway.map(|gateway| IgwRow {
            label: gateway.id.text().clone(),
            edge_table: edge_table(model, &gateway.id),
        }),
        vgw: super::vpn::gateway(model, &vpc.id),
        on_prem: super::vpn::reached(model, vpc),
        internet: vpc.internet,
        dns_support: vpc.dns_support,
    })
}

pub(super) fn edge_table(model: &Model, gateway: &impl Id) -> Option<addr::RouteTableId> {
    let association = model.referrers::<RouteTableAssociation>(gateway).next()?;
    model.row(&association.route_table).map(Into::into)
}

pub(super) fn subnet(model: &Model, text: &Arc<str>) -> Option<SubnetRow> {
    let id = SubnetId::from_text(text.clone());
    let subnet = model.get(&id)?;
    let row = model.row(&id)?;
    let table = route_table_in_force(model, subnet)?;
    let acl = model.referrers::<NetworkAclAssociation>(&id).next()?;
    Some(SubnetRow {
        label: text.clone(),
        vpc: model.row(&subnet.vpc)?.into(),
        cidrs: subnet.blocks().collect(),
        router_mac: router_mac(row),
        route_table: model.row(&table)?.into(),
        network_acl: model.row(&acl.network_acl)?.into(),
        az: subnet.az,
        down: model.is_zone_down(&subnet.zone),
    })
}

/// The table that a subnet uses: its own association's, else the main one.
pub(crate) fn route_table_in_force(model: &Model, subnet: &Subnet) -> Option<RouteTableId> {
    let own = model.referrers::<RouteTableAssociation>(&subnet.id).next();
    let used = own.or_else(|| model.referrers::<RouteTableAssociation>(&subnet.vpc).next());
    used.map(|association| association.route_table.clone())
}

/// MAC address of the VPC router in the subnet with this row.
///
/// ASSUMPTION: AWS documents no router MAC (aws-behaviour.md §1.2).
pub fn router_mac(row: u32) -> Mac {
    let [_, b, c, d] = row.to_be_bytes();
    Mac([0x0a, 0x00, 0x00, b, c, d])
}
