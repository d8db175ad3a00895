//! Route tables and what uses them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::route::RouteItem;
use super::shape::{DONE, Done, State};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, each, naming, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{
    Id, InternetGatewayId, Model, RouteTable, RouteTableAssociation, RouteTableAssociationId,
    RouteTableId, RouteTableUse, SubnetId, VpcId, VpnGatewayId,
};

calls! {
    Read: DescribeRouteTables;
    Write: CreateRouteTable DeleteRouteTable AssociateRouteTable DisassociateRouteTable
        ReplaceRouteTableAssociation;
}

/// `CreateRouteTable`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateRouteTable {
    vpc_id: VpcId,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// A table, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneTable {
    route_table: TableItem,
}

impl Call for CreateRouteTable {
    type Answer = OneTable;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneTable, ApiError> {
        let tags = tags::specified(&self.tag_specification, "route-table")?;
        let id = at.run(api::CreateRouteTable {
            vpc: self.vpc_id,
            name: None,
        })?;
        tags::put(at, &id, tags);
        let table = at.tx.require(&id)?;
        Ok(OneTable {
            route_table: TableItem::new(&table, at.model()),
        })
    }
}

/// `DeleteRouteTable`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteRouteTable {
    route_table_id: RouteTableId,
}

impl Call for DeleteRouteTable {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DeleteRouteTable {
            route_table: self.route_table_id,
        })?;
        Ok(DONE)
    }
}

/// `AssociateRouteTable` with a subnet or, by `GatewayId`, an internet gateway.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssociateRouteTable {
    route_table_id: RouteTableId,
    subnet_id: Option<SubnetId>,
    gateway_id: Option<String>,
}

/// An association, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Associated {
    association_id: RouteTableAssociationId,
    association_state: State,
}

impl Call for AssociateRouteTable {
    type Answer = Associated;

    fn call(self, at: &mut At<'_, '_>) -> Result<Associated, ApiError> {
        let gateway = self.gateway_id.clone();
        let is_vpn = gateway
            .as_ref()
            .is_some_and(|id| id.starts_with(VpnGatewayId::PREFIX));
        let association_id = at.run(api::AssociateRouteTable {
            route_table: self.route_table_id,
            subnet: self.subnet_id,
            gateway: gateway.filter(|_| !is_vpn).map(InternetGatewayId::from),
            vpn_gateway: self.gateway_id.filter(|_| is_vpn).map(VpnGatewayId::from),
        })?;
        Ok(Associated {
            association_id,
            association_state: State::ASSOCIATED,
        })
    }
}

/// `DisassociateRouteTable`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DisassociateRouteTable {
    association_id: RouteTableAssociationId,
}

impl Call for DisassociateRouteTable {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DisassociateRouteTable {
            association: self.association_id,
        })?;
        Ok(DONE)
    }
}

/// `ReplaceRouteTableAssociation`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReplaceRouteTableAssociation {
    association_id: RouteTableAssociationId,
    route_table_id: RouteTableId,
}

/// The association that took its place.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replaced {
    new_association_id: RouteTableAssociationId,
    association_state: State,
}

impl Call for ReplaceRouteTableAssociation {
    type Answer = Replaced;

    fn call(self, at: &mut At<'_, '_>) -> Result<Replaced, ApiError> {
        let new_association_id = at.run(api::ReplaceRouteTableAssociation {
            association: self.association_id,
            route_table: self.route_table_id,
        })?;
        Ok(Replaced {
            new_association_id,
            association_state: State::ASSOCIATED,
        })
    }
}

describe! {
    /// `DescribeRouteTables`
    DescribeRouteTables { route_table_id: RouteTableId }
}

/// `DescribeRouteTables`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tables {
    route_table_set: Vec<TableItem>,
    next_token: Option<String>,
}

impl Call for DescribeRouteTables {
    type Answer = Tables;

    fn call(self, at: &mut At<'_, '_>) -> Result<Tables, ApiError> {
        let page = self.wanted().select_by(at, FILTERS, find)?;
        let item = |table: &Arc<RouteTable>| TableItem::new(table, at.model());
        Ok(Tables {
            route_table_set: page.items.iter().map(item).collect(),
            next_token: page.next_token,
        })
    }
}

/// Those of a VPC.
fn find(model: &Model, filter: &str, value: &str) -> Option<Vec<RouteTableId>> {
    match filter {
        "vpc-id" => naming(model, &VpcId::from(value)),
        _ => None,
    }
}

const FILTERS: &[Known<RouteTable>] = &[
    ("route-table-id", |table, _| one(&table.id)),
    ("vpc-id", |table, _| one(&table.vpc)),
    ("owner-id", |table, _| one(&table.meta.owner)),
    ("association.main", |table, model| {
        let main = |it: &AssociationItem| it.main;
        // A table that nothing uses is not the main one.
        let items = associations(table, model);
        if items.is_empty() {
            return one(false);
        }
        each(items.iter().map(main))
    }),
    ("association.route-table-association-id", |table, model| {
        let items = associations(table, model).into_iter();
        each(items.map(|it| it.route_table_association_id))
    }),
    ("association.route-table-id", |table, model| {
        each(
            associations(table, model)
                .into_iter()
                .map(|it| it.route_table_id),
        )
    }),
    ("association.subnet-id", |table, model| {
        each(
            associations(table, model)
                .into_iter()
                .filter_map(|it| it.subnet_id),
        )
    }),
    ("association.gateway-id", |table, model| {
        each(
            associations(table, model)
                .into_iter()
                .filter_map(|it| it.gateway_id),
        )
    }),
    ("route.destination-cidr-block", |table, model| {
        each(RouteItem::all(table, model).filter_map(|it| it.destination_cidr_block))
    }),
    ("route.destination-ipv6-cidr-block", |table, model| {
        each(RouteItem::all(table, model).filter_map(|it| it.destination_ipv6_cidr_block))
    }),
    ("route.destination-prefix-list-id", |table, model| {
        each(RouteItem::all(table, model).filter_map(|it| it.destination_prefix_list_id))
    }),
    ("route.gateway-id", |table, model| {
        each(RouteItem::all(table, model).filter_map(|it| it.gateway_id))
    }),
    ("route.vpc-peering-connection-id", |table, model| {
        each(RouteItem::all(table, model).filter_map(|it| it.vpc_peering_connection_id))
    }),
    ("route.origin", |table, model| {
        each(RouteItem::all(table, model).map(|it| it.origin))
    }),
    ("route.state", |table, model| {
        each(RouteItem::all(table, model).map(|it| it.state))
    }),
];

/// A table in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableItem {
    route_table_id: RouteTableId,
    vpc_id: VpcId,
    owner_id: Arc<str>,
    route_set: Vec<RouteItem>,
    association_set: Vec<AssociationItem>,
    propagating_vgw_set: Vec<PropagatingItem>,
    tag_set: Vec<TagItem>,
}

impl TableItem {
    fn new(table: &RouteTable, model: &Model) -> Self {
        Self {
            route_table_id: table.id.clone(),
            vpc_id: table.vpc.clone(),
            owner_id: table.meta.owner.clone(),
            route_set: RouteItem::all(table, model).collect(),
            association_set: associations(table, model),
            propagating_vgw_set: table
                .propagating
                .iter()
                .map(|id| PropagatingItem {
                    gateway_id: id.clone(),
                })
                .collect(),
            tag_set: tags::items(&table.meta.all_tags()),
        }
    }
}

/// What uses a table.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PropagatingItem {
    gateway_id: VpnGatewayId,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AssociationItem {
    route_table_association_id: RouteTableAssociationId,
    route_table_id: RouteTableId,
    main: bool,
    subnet_id: Option<SubnetId>,
    gateway_id: Option<Arc<str>>,
    association_state: State,
}

fn associations(table: &RouteTable, model: &Model) -> Vec<AssociationItem> {
    let item = |held: &Arc<RouteTableAssociation>| AssociationItem {
        route_table_association_id: held.id.clone(),
        route_table_id: table.id.clone(),
        main: matches!(held.used_by, RouteTableUse::Main(_)),
        subnet_id: match &held.used_by {
            RouteTableUse::Subnet(id) => Some(id.clone()),
            _ => None,
        },
        gateway_id: match &held.used_by {
            RouteTableUse::InternetGateway(id) => Some(id.text().clone()),
            RouteTableUse::VpnGateway(id) => Some(id.text().clone()),
            _ => None,
        },
        association_state: State::ASSOCIATED,
    };
    model.referrers(&table.id).map(item).collect()
}
