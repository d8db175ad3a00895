use super::super::testing::*;
use super::super::*;
use super::*;
use vpclab_dataplane::tables::RouteTarget;

const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// A VPC with a gateway attached, and an office connected to it by static routes.
fn connected() -> (ControlPlane, VpcId, VpnGatewayId, VpnConnectionId) {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let gateway = control.execute(CreateVpnGateway::default()).unwrap();
    let attach = AttachVpnGateway {
        vpn_gateway: gateway.clone(),
        vpc: vpc.clone(),
    };
    control.execute(attach.clone()).unwrap();
    refused(
        &mut control,
        attach,
        "VpnGatewayAttachmentLimitExceeded",
        vpc.as_str(),
    );
    let customer = CreateCustomerGateway {
        address: ROUTER,
        asn: 65_000,
        name: None,
    };
    let customer_gateway = control.execute(customer.clone()).unwrap();
    assert_eq!(control.execute(customer).unwrap(), customer_gateway);
    let create = CreateVpnConnection {
        customer_gateway,
        vpn_gateway: gateway.clone(),
        static_routes_only: true,
        name: None,
    };
    let connection = control.execute(create).unwrap();
    (control, vpc, gateway, connection)
}

fn leads(control: &ControlPlane, vpc: &VpcId, to: &str) -> Option<RouteTarget> {
    let main = main_association(control.model(), vpc).unwrap();
    let row = control.model().row(&main.route_table).unwrap();
    let tables = control.tables().snapshot();
    let hit = tables
        .route_tables
        .row(row)
        .unwrap()
        .lookup(to.parse().unwrap());
    hit.map(|hit| hit.route.target.clone())
}

fn route(connection: &VpnConnectionId, block: &str, present: bool) -> SetVpnConnectionRoute {
    SetVpnConnectionRoute {
        vpn_connection: connection.clone(),
        destination: cidr(block),
        present,
    }
}

#[test]
fn what_a_gateway_knows_is_propagated_where_it_is_enabled() {
    let (mut control, vpc, gateway, connection) = connected();
    let vgw = Some(RouteTarget::VirtualPrivateGateway);
    control
        .execute(route(&connection, "192.168.0.0/16", true))
        .unwrap();
    assert_eq!(leads(&control, &vpc, "192.168.1.1"), None);
    let main = main_association(control.model(), &vpc).unwrap();
    let enable = SetVgwRoutePropagation {
        route_table: main.route_table.clone(),
        vpn_gateway: gateway.clone(),
        enabled: true,
    };
    control.execute(enable.clone()).unwrap();
    assert_eq!(leads(&control, &vpc, "192.168.1.1"), vgw);
    // Routes follow, in one change each.
    control
        .execute(route(&connection, "172.16.0.0/12", true))
        .unwrap();
    assert_eq!(leads(&control, &vpc, "172.16.1.1"), vgw);
    control
        .execute(route(&connection, "192.168.0.0/16", false))
        .unwrap();
    assert_eq!(leads(&control, &vpc, "192.168.1.1"), None);
    assert_consistent(&control);
    let gone = route(&connection, "192.168.0.0/16", false);
    refused(
        &mut control,
        gone,
        "InvalidRoute.NotFound",
        "192.168.0.0/16",
    );

    // The network appears: what was known has somewhere to go.
    let network = CreateOnPremNetwork {
        name: "office".into(),
        cidrs: vec![cidr("172.16.0.0/12")],
        address: ROUTER,
    };
    let office = control.execute(network.clone()).unwrap();
    refused(
        &mut control,
        network,
        "InvalidIPAddress.InUse",
        "198.51.100.1",
    );
    let row = |control: &ControlPlane, id: &VpcId| {
        let row = control.model().row(id).unwrap();
        control.tables().snapshot().vpcs.row(row).unwrap().clone()
    };
    let known = row(&control, &vpc).vgw.unwrap().known;
    assert!(known.iter().all(|(_, network)| network.is_some()));
    assert_eq!(row(&control, &office).on_prem.unwrap().len(), 1);
    assert_consistent(&control);

    let detach = DetachVpnGateway {
        vpn_gateway: gateway.clone(),
        vpc: vpc.clone(),
    };
    let delete = DeleteVpnGateway {
        vpn_gateway: gateway.clone(),
    };
    refused(
        &mut control,
        delete.clone(),
        "IncorrectState",
        connection.as_str(),
    );
    control.execute(detach.clone()).unwrap();
    refused(
        &mut control,
        detach,
        "InvalidVpnGatewayAttachment.NotFound",
        vpc.as_str(),
    );
    assert_eq!(leads(&control, &vpc, "172.16.1.1"), None);
    assert_eq!(row(&control, &office).on_prem.unwrap(), []);
    refused(
        &mut control,
        enable,
        "Gateway.NotAttached",
        gateway.as_str(),
    );
    let customer = control
        .model()
        .get(&connection)
        .unwrap()
        .customer_gateway
        .clone();
    let drop_customer = DeleteCustomerGateway {
        customer_gateway: customer,
    };
    refused(
        &mut control,
        drop_customer.clone(),
        "IncorrectState",
        connection.as_str(),
    );
    control
        .execute(DeleteVpnConnection {
            vpn_connection: connection,
        })
        .unwrap();
    control.execute(delete).unwrap();
    control.execute(drop_customer).unwrap();
    assert_consistent(&control);
}

#[test]
fn a_static_route_to_a_detached_gateway_is_a_blackhole() {
    let (mut control, vpc, gateway, _) = connected();
    let main = main_association(control.model(), &vpc).unwrap();
    let create = CreateRoute {
        route_table: main.route_table.clone(),
        destination: Destination::Cidr(cidr("192.168.0.0/16")),
        target: RouteTargetSpec::VpnGateway(gateway.clone()),
    };
    control.execute(create).unwrap();
    let vgw = Some(RouteTarget::VirtualPrivateGateway);
    assert_eq!(leads(&control, &vpc, "192.168.1.1"), vgw);
    let detach = DetachVpnGateway {
        vpn_gateway: gateway,
        vpc: vpc.clone(),
    };
    control.execute(detach).unwrap();
    assert_eq!(
        leads(&control, &vpc, "192.168.1.1"),
        Some(RouteTarget::Blackhole)
    );
    assert_consistent(&control);
}

#[test]
fn an_edge_table_of_a_gateway_has_no_propagated_routes() {
    let (mut control, vpc, gateway, connection) = connected();
    let table = CreateRouteTable {
        vpc: vpc.clone(),
        name: None,
    };
    let route_table = control.execute(table).unwrap();
    let associate = AssociateRouteTable {
        route_table: route_table.clone(),
        vpn_gateway: Some(gateway.clone()),
        ..AssociateRouteTable::default()
    };
    control.execute(associate).unwrap();
    let row = control.model().row(&vpc).unwrap();
    let vgw = control
        .tables()
        .snapshot()
        .vpcs
        .row(row)
        .unwrap()
        .vgw
        .clone();
    let table = control.model().row(&route_table).unwrap();
    assert_eq!(vgw.unwrap().edge_table, Some(table.into()));
    let enable = SetVgwRoutePropagation {
        route_table: route_table.clone(),
        vpn_gateway: gateway,
        enabled: true,
    };
    refused(
        &mut control,
        enable,
        "InvalidParameterValue",
        route_table.as_str(),
    );
    assert!(control.model().get(&connection).is_some());
    assert_consistent(&control);
}

#[test]
fn more_routes_than_the_quota_are_refused() {
    let (mut control, vpc, gateway, connection) = connected();
    control
        .quotas_mut()
        .set(Quota::PropagatedRoutesPerRouteTable, 1);
    let main = main_association(control.model(), &vpc).unwrap();
    let enable = SetVgwRoutePropagation {
        route_table: main.route_table.clone(),
        vpn_gateway: gateway,
        enabled: true,
    };
    control.execute(enable).unwrap();
    control
        .execute(route(&connection, "192.168.0.0/16", true))
        .unwrap();
    let second = route(&connection, "172.16.0.0/12", true);
    refused(
        &mut control,
        second,
        "RouteLimitExceeded",
        "Propagated routes",
    );
}
