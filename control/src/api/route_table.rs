//! Route tables: create, associate with subnets and gateways, make main, delete.

use super::route::check_gateway_routes;
use super::vpc::main_association;
use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// `CreateRouteTable`: a table with the local routes of its VPC.
#[derive(Clone, Debug, Default)]
pub struct CreateRouteTable {
    /// Its VPC.
    pub vpc: VpcId,
    /// `Name` tag.
    pub name: Option<String>,
}

impl Action for CreateRouteTable {
    type Output = RouteTableId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<RouteTableId, ApiError> {
        let vpc = tx.require(&self.vpc)?;
        let have = tx.model().count::<RouteTable>(&vpc.id.resource());
        tx.check_quota(Quota::RouteTablesPerVpc, have, 1, "RouteTableLimitExceeded")?;
        let id: RouteTableId = tx.mint();
        let local = vpc
            .blocks()
            .map(|block| (Destination::Cidr(block), Route::local()));
        tx.put(RouteTable {
            id: id.clone(),
            meta: tx.meta(self.name.as_deref()),
            vpc: vpc.id.clone(),
            routes: local.collect(),
            propagating: std::collections::BTreeSet::new(),
        });
        Ok(id)
    }
}

/// `DeleteRouteTable`: one that nothing uses.
#[derive(Clone, Debug, Default)]
pub struct DeleteRouteTable {
    /// The table.
    pub route_table: RouteTableId,
}

impl Action for DeleteRouteTable {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let table = tx.require(&self.route_table)?;
        tx.refuse_if_used::<RouteTableAssociation>(&table.id)?;
        for endpoint in tx.referrers::<VpcEndpoint>(&table.id) {
            tx.update(&endpoint.id, |endpoint| {
                endpoint.route_tables.retain(|other| *other != table.id);
            });
        }
        tx.remove(&table.id);
        Ok(())
    }
}

/// `AssociateRouteTable` with a subnet, or with an internet gateway (edge
/// association: the table rules traffic that enters there).
#[derive(Clone, Debug, Default)]
pub struct AssociateRouteTable {
    /// The table.
    pub route_table: RouteTableId,
    /// A subnet without an association of its own.
    pub subnet: Option<SubnetId>,
    /// A gateway without one.
    pub gateway: Option<InternetGatewayId>,
    /// Or a virtual private gateway without one.
    pub vpn_gateway: Option<VpnGatewayId>,
}

impl Action for AssociateRouteTable {
    type Output = RouteTableAssociationId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<RouteTableAssociationId, ApiError> {
        let table = tx.require(&self.route_table)?;
        let used_by = match (&self.subnet, &self.gateway, &self.vpn_gateway) {
            (Some(subnet), None, None) => {
                let subnet = tx.require(subnet)?;
                same_vpc(&table, &subnet.id, &subnet.vpc)?;
                refuse_second(tx, &subnet.id)?;
                RouteTableUse::Subnet(subnet.id.clone())
            }
            (None, Some(gateway), None) => {
                let gateway = tx.require(gateway)?;
                check_gateway(tx, &table, &gateway.id, gateway.vpc.as_ref())?;
                RouteTableUse::InternetGateway(gateway.id.clone())
            }
            (None, None, Some(gateway)) => {
                let gateway = tx.require(gateway)?;
                check_gateway(tx, &table, &gateway.id, gateway.vpc.as_ref())?;
                RouteTableUse::VpnGateway(gateway.id.clone())
            }
            (None, None, None) => return Err(ApiError::missing("subnetId")),
            _ => {
                return Err(ApiError::invalid_combination(
                    "A route table is associated with a subnet or with a gateway, not with both \
                     subnetId and gatewayId",
                ));
            }
        };
        Ok(associate(tx, &table.id, used_by))
    }
}

/// `DisassociateRouteTable`: the subnet falls back to the main table.
#[derive(Clone, Debug, Default)]
pub struct DisassociateRouteTable {
    /// The association.
    pub association: RouteTableAssociationId,
}

impl Action for DisassociateRouteTable {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let association = tx.require(&self.association)?;
        if let RouteTableUse::Main(vpc) = &association.used_by {
            return Err(ApiError::invalid_value(format!(
                "Cannot disassociate the main route table association '{}' of {vpc}; replace it \
                 with another table's",
                association.id
            )));
        }
        tx.remove(&association.id);
        Ok(())
    }
}

/// `ReplaceRouteTableAssociation`: another table for the same user. On the main
/// association it makes the table the main one.
#[derive(Clone, Debug, Default)]
pub struct ReplaceRouteTableAssociation {
    /// The association to end.
    pub association: RouteTableAssociationId,
    /// The table to use instead.
    pub route_table: RouteTableId,
}

impl Action for ReplaceRouteTableAssociation {
    type Output = RouteTableAssociationId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<RouteTableAssociationId, ApiError> {
        let old = tx.require(&self.association)?;
        let table = tx.require(&self.route_table)?;
        let before = tx.require(&old.route_table)?;
        same_vpc(&table, &old.id, &before.vpc)?;
        match &old.used_by {
            RouteTableUse::Main(_) => refuse_gateway_table(tx, &table.id)?,
            RouteTableUse::InternetGateway(_) | RouteTableUse::VpnGateway(_) => {
                check_edge_table(tx, &table)?;
            }
            RouteTableUse::Subnet(_) => {}
        }
        tx.remove(&old.id);
        Ok(associate(tx, &table.id, old.used_by.clone()))
    }
}

fn associate(
    tx: &mut Transaction<'_>,
    table: &RouteTableId,
    used_by: RouteTableUse,
) -> RouteTableAssociationId {
    let id: RouteTableAssociationId = tx.mint();
    tx.put(RouteTableAssociation {
        id: id.clone(),
        meta: tx.meta(None),
        route_table: table.clone(),
        used_by,
    });
    id
}

/// Whether a gateway uses the table.
pub(super) fn is_gateway_table(model: &Model, table: &RouteTableId) -> bool {
    let mut uses = model.referrers::<RouteTableAssociation>(table);
    uses.any(|held| {
        matches!(
            held.used_by,
            RouteTableUse::InternetGateway(_) | RouteTableUse::VpnGateway(_)
        )
    })
}

fn refuse_gateway_table(tx: &Transaction<'_>, table: &RouteTableId) -> Result<(), ApiError> {
    if is_gateway_table(tx.model(), table) {
        return Err(ApiError::invalid_value(format!(
            "Route table '{table}' is associated with a gateway and cannot be the main table"
        )));
    }
    Ok(())
}

fn check_edge_table(tx: &Transaction<'_>, table: &RouteTable) -> Result<(), ApiError> {
    let main = main_association(tx.model(), &table.vpc);
    if main.is_some_and(|main| main.route_table == table.id) {
        return Err(ApiError::invalid_value(format!(
            "Route table '{}' is the main table of {} and cannot be associated with a gateway",
            table.id, table.vpc
        )));
    }
    if let Some(gateway) = table.propagating.iter().next() {
        return Err(ApiError::invalid_value(format!(
            "{gateway} propagates routes into '{}', which a gateway's table cannot have",
            table.id
        )));
    }
    check_gateway_routes(tx, table)
}

/// Whether the table may rule what enters by this gateway, attached to `vpc`.
fn check_gateway(
    tx: &Transaction<'_>,
    table: &RouteTable,
    gateway: &impl Id,
    vpc: Option<&VpcId>,
) -> Result<(), ApiError> {
    same_vpc(table, gateway, vpc.ok_or_else(|| not_attached(gateway))?)?;
    refuse_second(tx, gateway)?;
    check_edge_table(tx, table)
}

fn refuse_second(tx: &Transaction<'_>, user: &impl Id) -> Result<(), ApiError> {
    let mut held = tx.model().referrers::<RouteTableAssociation>(user);
    match held.next() {
        Some(held) => Err(ApiError::new(
            "Resource.AlreadyAssociated",
            format!(
                "'{user}' is already associated with {} by {}; replace that association",
                held.route_table, held.id
            ),
        )),
        None => Ok(()),
    }
}

fn not_attached(gateway: &impl Id) -> ApiError {
    ApiError::new(
        "Gateway.NotAttached",
        format!("'{gateway}' is not attached to any VPC"),
    )
}

fn same_vpc(table: &RouteTable, user: &impl Id, vpc: &VpcId) -> Result<(), ApiError> {
    if table.vpc == *vpc {
        return Ok(());
    }
    Err(ApiError::invalid_value(format!(
        "route table {} ({}) and {user} ({vpc}) belong to different networks",
        table.id, table.vpc
    )))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    fn in_force(control: &ControlPlane, subnet: &SubnetId) -> u32 {
        let tables = control.tables().snapshot();
        let row = control.model().row(subnet).unwrap();
        tables.subnets.row(row).unwrap().route_table.0
    }

    fn table(control: &mut ControlPlane, vpc: &VpcId) -> RouteTableId {
        let vpc = vpc.clone();
        control
            .execute(CreateRouteTable { vpc, name: None })
            .unwrap()
    }

    fn to_subnet(table: &RouteTableId, subnet: &SubnetId) -> AssociateRouteTable {
        AssociateRouteTable {
            route_table: table.clone(),
            subnet: Some(subnet.clone()),
            gateway: None,
            vpn_gateway: None,
        }
    }

    #[test]
    fn b033_a_subnet_without_association_follows_the_main_table() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let a = subnet(&mut control, &vpc, "10.0.1.0/24");
        let b = subnet(&mut control, &vpc, "10.0.2.0/24");
        let main = main_association(control.model(), &vpc).unwrap();
        let main_row = control.model().row(&main.route_table).unwrap();
        assert_eq!(in_force(&control, &a), main_row);

        let own = table(&mut control, &vpc);
        let association = control.execute(to_subnet(&own, &b)).unwrap();
        let own_row = control.model().row(&own).unwrap();
        assert_eq!(
            (in_force(&control, &a), in_force(&control, &b)),
            (main_row, own_row)
        );

        let other = table(&mut control, &vpc);
        let replace = ReplaceRouteTableAssociation {
            association: main.id.clone(),
            route_table: other.clone(),
        };
        control.execute(replace).unwrap();
        let other_row = control.model().row(&other).unwrap();
        assert_eq!(
            (in_force(&control, &a), in_force(&control, &b)),
            (other_row, own_row)
        );

        control
            .execute(DisassociateRouteTable { association })
            .unwrap();
        assert_eq!(in_force(&control, &b), other_row);
        // The table that was main can go now, the main one cannot.
        let old = DeleteRouteTable {
            route_table: main.route_table.clone(),
        };
        control.execute(old).unwrap();
        let delete = DeleteRouteTable {
            route_table: other.clone(),
        };
        refused(&mut control, delete, "DependencyViolation", other.as_str());
        assert_consistent(&control);
    }

    #[test]
    fn the_main_association_stays() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let main = main_association(control.model(), &vpc).unwrap();
        let request = DisassociateRouteTable {
            association: main.id.clone(),
        };
        refused(
            &mut control,
            request,
            "InvalidParameterValue",
            main.id.as_str(),
        );
    }

    #[test]
    fn a_subnet_has_one_association_and_of_its_own_vpc() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let a = subnet(&mut control, &vpc, "10.0.1.0/24");
        let other = vpc_with(&mut control, "10.1.0.0/16");
        let foreign = table(&mut control, &other);
        let wrong = to_subnet(&foreign, &a);
        refused(
            &mut control,
            wrong,
            "InvalidParameterValue",
            foreign.as_str(),
        );
        let own = table(&mut control, &vpc);
        control.execute(to_subnet(&own, &a)).unwrap();
        let code = "Resource.AlreadyAssociated";
        refused(&mut control, to_subnet(&own, &a), code, own.as_str());
        let nothing = AssociateRouteTable {
            route_table: own,
            ..AssociateRouteTable::default()
        };
        refused(&mut control, nothing, "MissingParameter", "subnetId");
    }

    #[test]
    fn an_edge_association_needs_an_attached_gateway_and_shows_in_the_vpc_row() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let edge = table(&mut control, &vpc);
        let gateway = control.execute(CreateInternetGateway::default()).unwrap();
        let request = AssociateRouteTable {
            route_table: edge.clone(),
            subnet: None,
            gateway: Some(gateway.clone()),
            vpn_gateway: None,
        };
        let code = "Gateway.NotAttached";
        refused(&mut control, request.clone(), code, gateway.as_str());
        let attach = AttachInternetGateway {
            internet_gateway: gateway.clone(),
            vpc: vpc.clone(),
        };
        control.execute(attach).unwrap();
        let main = main_association(control.model(), &vpc).unwrap();
        let main_table = AssociateRouteTable {
            route_table: main.route_table.clone(),
            ..request.clone()
        };
        let named = main.route_table.as_str();
        refused(&mut control, main_table, "InvalidParameterValue", named);
        control.execute(request).unwrap();
        let tables = control.tables().snapshot();
        let row = tables.vpcs.row(control.model().row(&vpc).unwrap()).unwrap();
        let edge_row = control.model().row(&edge).map(Into::into);
        assert_eq!(row.igw.as_ref().unwrap().edge_table, edge_row);
        let make_main = ReplaceRouteTableAssociation {
            association: main.id.clone(),
            route_table: edge.clone(),
        };
        refused(
            &mut control,
            make_main,
            "InvalidParameterValue",
            edge.as_str(),
        );
        assert_consistent(&control);
    }
}
