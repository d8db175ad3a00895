use super::super::testing::*;
use super::super::*;
use super::*;

const S3: &str = "com.amazonaws.us-east-1.s3";

fn gateway(vpc: &VpcId, tables: &[&RouteTableId]) -> CreateVpcEndpoint {
    CreateVpcEndpoint {
        route_tables: tables.iter().map(|id| (*id).clone()).collect(),
        ..CreateVpcEndpoint::new(VpcEndpointType::Gateway, vpc.clone(), S3, [])
    }
}

fn table(control: &mut ControlPlane, vpc: &VpcId) -> RouteTableId {
    let request = CreateRouteTable {
        vpc: vpc.clone(),
        name: None,
    };
    control.execute(request).unwrap()
}

fn target(control: &ControlPlane, table: &RouteTableId) -> Option<RouteTargetSpec> {
    let table = control.model().get(table).unwrap();
    let list = Destination::PrefixList("pl-63a5400a".into());
    table.routes.get(&list).map(|route| route.target.clone())
}

#[test]
fn only_the_endpoint_adds_and_removes_its_routes() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let [one, two] = [table(&mut control, &vpc), table(&mut control, &vpc)];
    let id = control.execute(gateway(&vpc, &[&one])).unwrap();
    let leads = RouteTargetSpec::VpcEndpoint(id.clone());
    assert_eq!(target(&control, &one), Some(leads.clone()));
    assert_eq!(target(&control, &two), None);
    assert_consistent(&control);
    let destination = Destination::PrefixList("pl-63a5400a".into());
    let delete = DeleteRoute {
        route_table: one.clone(),
        destination: destination.clone(),
    };
    refused(&mut control, delete, "InvalidParameterValue", id.as_str());
    let replace = ReplaceRoute {
        route_table: one.clone(),
        destination,
        target: RouteTargetSpec::Local,
    };
    refused(&mut control, replace, "InvalidParameterValue", id.as_str());
    // One endpoint a service and table.
    let code = "RouteAlreadyExists";
    refused(&mut control, gateway(&vpc, &[&one]), code, "pl-63a5400a");
    let move_on = ModifyVpcEndpoint {
        vpc_endpoint: id.clone(),
        add_route_tables: vec![two.clone()],
        remove_route_tables: vec![one.clone()],
        ..ModifyVpcEndpoint::default()
    };
    control.execute(move_on.clone()).unwrap();
    assert_eq!(
        (target(&control, &one), target(&control, &two)),
        (None, Some(leads))
    );
    refused(&mut control, move_on, "InvalidParameter", one.as_str());
    // A table that goes takes its route along.
    control
        .execute(DeleteRouteTable { route_table: two })
        .unwrap();
    assert!(control.model().get(&id).unwrap().route_tables.is_empty());
    let more = ModifyVpcEndpoint {
        vpc_endpoint: id.clone(),
        add_route_tables: vec![one.clone()],
        ..ModifyVpcEndpoint::default()
    };
    control.execute(more).unwrap();
    let delete = DeleteVpcEndpoints {
        vpc_endpoints: vec![id],
    };
    assert!(control.execute(delete).unwrap().is_empty());
    assert_eq!(target(&control, &one), None);
    assert_consistent(&control);
}

#[test]
fn what_does_not_fit_a_gateway_endpoint_is_refused() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
    let with_subnet = CreateVpcEndpoint {
        subnets: vec![subnet.clone().into()],
        ..gateway(&vpc, &[])
    };
    refused(
        &mut control,
        with_subnet,
        "InvalidParameter",
        subnet.as_str(),
    );
    for name in ["com.amazonaws.us-west-2.s3", "com.amazonaws.us-east-1.sqs"] {
        let wrong = CreateVpcEndpoint {
            service_name: name.to_owned(),
            ..gateway(&vpc, &[])
        };
        refused(&mut control, wrong, "InvalidServiceName", name);
    }
    let other = vpc_with(&mut control, "10.1.0.0/16");
    let foreign = table(&mut control, &other);
    let wrong = gateway(&vpc, &[&foreign]);
    refused(&mut control, wrong, "InvalidParameter", foreign.as_str());
    control
        .quotas_mut()
        .set(Quota::GatewayEndpointsPerRegion, 0);
    let code = "VpcEndpointLimitExceeded";
    refused(
        &mut control,
        gateway(&vpc, &[]),
        code,
        "Gateway VPC endpoints",
    );
    assert_consistent(&control);
}
