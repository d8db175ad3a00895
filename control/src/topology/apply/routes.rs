//! Route tables: routes, and who uses them.

use super::Applier;
use crate::api::{
    ApiError, AssociateRouteTable, CreateRoute, CreateRouteTable, ReplaceRoute,
    ReplaceRouteTableAssociation, SetVgwRoutePropagation, main_association,
};
use crate::model::{Destination, RouteTableId, RouteTargetSpec};
use crate::topology::located::Value;
use crate::topology::resolve::{Via, within};
use crate::topology::schema::{Route, RouteTable, Vpc};
use crate::topology::values::{CidrOrName, Gateway};

impl Applier<'_, '_> {
    pub(super) fn route_tables(&mut self, name: &Value<String>, vpc: &Vpc) -> Result<(), ApiError> {
        for (table, body) in vpc.route_tables.iter() {
            let vpc_id = self.vpc(name)?.id.clone();
            let create = CreateRouteTable {
                vpc: vpc_id,
                name: Some(table.value.clone()),
            };
            self.name(format_args!("{}/route-table/{}", create.vpc, table.value));
            let id = self.run(table.at, create)?;
            for route in &body.routes {
                self.route(name, vpc, &id, route)?;
            }
            self.use_table(name, table, body, &id)?;
            if let Some(names) = self.names.vpcs.get_mut(&name.value) {
                names.route_tables.insert(table.value.clone(), id);
            }
        }
        for (subnet, body) in vpc.subnets.iter() {
            let Some(reference) = &body.route_table else {
                continue;
            };
            let table = within(name, reference).map_err(|mistake| self.unexpected(mistake))?;
            let names = self.vpc(name)?;
            let associate = AssociateRouteTable {
                route_table: names
                    .route_tables
                    .get(&table.value)
                    .cloned()
                    .unwrap_or_default(),
                subnet: names.subnets.get(&subnet.value).cloned(),
                gateway: None,
                vpn_gateway: None,
            };
            self.name(format_args!("{:?}/route-table", associate.subnet));
            self.run(reference.at, associate)?;
        }
        Ok(())
    }

    /// The main table, or the internet gateway's.
    fn use_table(
        &mut self,
        vpc: &str,
        name: &Value<String>,
        table: &RouteTable,
        id: &RouteTableId,
    ) -> Result<(), ApiError> {
        let names = self.vpc(vpc)?.clone();
        if table.main {
            let Some(main) = main_association(self.tx.model(), &names.id) else {
                return Err(self.missing(name.at, vpc));
            };
            let replace = ReplaceRouteTableAssociation {
                association: main.id.clone(),
                route_table: id.clone(),
            };
            self.run(name.at, replace)?;
        }
        if table.propagate {
            let Some(vpn_gateway) = names.vpn_gateway.clone() else {
                return Err(self.missing(name.at, "vgw"));
            };
            let set = SetVgwRoutePropagation {
                route_table: id.clone(),
                vpn_gateway,
                enabled: true,
            };
            self.run(name.at, set)?;
        }
        if let Some(edge) = &table.edge {
            let vgw = edge.value == "vgw";
            let associate = AssociateRouteTable {
                route_table: id.clone(),
                subnet: None,
                gateway: names.internet_gateway.filter(|_| !vgw),
                vpn_gateway: names.vpn_gateway.clone().filter(|_| vgw),
            };
            self.run(edge.at, associate)?;
        }
        Ok(())
    }

    fn route(
        &mut self,
        vpc_name: &str,
        vpc: &Vpc,
        table: &RouteTableId,
        route: &Route,
    ) -> Result<(), ApiError> {
        let destination = match &route.to.value {
            CidrOrName::Cidr(block) => Destination::Cidr(*block),
            CidrOrName::Name(name) => match self.names.prefix_lists.get(name) {
                Some(list) => Destination::PrefixList(list.clone()),
                None => return Err(self.missing(route.to.at, name)),
            },
        };
        let target = self.route_target(vpc_name, vpc, &route.via)?;
        // The VPC's own blocks have their routes already.
        let local = self.tx.require(table)?.routes.contains_key(&destination);
        let table = table.clone();
        match local {
            true => self.run(
                route.via.at,
                ReplaceRoute {
                    route_table: table,
                    destination,
                    target,
                },
            ),
            false => self.run(
                route.via.at,
                CreateRoute {
                    route_table: table,
                    destination,
                    target,
                },
            ),
        }
    }

    fn route_target(
        &mut self,
        vpc_name: &str,
        vpc: &Vpc,
        via: &Value<String>,
    ) -> Result<RouteTargetSpec, ApiError> {
        let topology = self.topology;
        let own = vpc.igw.as_ref().map(|igw| &igw.value);
        let via_gateway = matches!(own, Some(Gateway::Named(own)) if *own == via.value);
        let resolved = match via_gateway {
            true => Via::InternetGateway,
            false => topology
                .via(via)
                .map_err(|mistake| self.unexpected(mistake))?,
        };
        let found = match resolved {
            Via::Local => Some(RouteTargetSpec::Local),
            Via::InternetGateway => {
                let gateway = self.vpc(vpc_name)?.internet_gateway.clone();
                gateway.map(RouteTargetSpec::InternetGateway)
            }
            Via::Host(host, index) => {
                let eni = self
                    .names
                    .hosts
                    .get(host)
                    .and_then(|host| host.enis.get(index));
                eni.cloned().map(RouteTargetSpec::NetworkInterface)
            }
            Via::VirtualPrivateGateway => {
                let gateway = self.vpc(vpc_name)?.vpn_gateway.clone();
                gateway.map(RouteTargetSpec::VpnGateway)
            }
            Via::Peering(name) => {
                let peering = self.names.peerings.get(name);
                peering.cloned().map(RouteTargetSpec::VpcPeeringConnection)
            }
            Via::NatGateway(name) => {
                let gateway = self.names.nat_gateways.get(name);
                gateway.map(|names| RouteTargetSpec::NatGateway(names.id.clone()))
            }
            Via::Endpoint(name) => {
                let endpoint = self.names.endpoints.get(name);
                endpoint.cloned().map(RouteTargetSpec::VpcEndpoint)
            }
        };
        found.ok_or_else(|| self.missing(via.at, via))
    }
}
