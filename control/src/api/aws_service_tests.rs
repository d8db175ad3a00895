//! Services of AWS's and endpoints to them.

use vpclab_dataplane::tables::{EndpointKind, EniKind};

use super::super::testing::*;
use super::super::*;
use super::*;

fn service(control: &mut ControlPlane, name: &str) -> EndpointServiceId {
    let create = CreateAwsService { name: name.into() };
    control.execute(create).unwrap()
}

#[test]
fn names_are_of_the_region_or_short() {
    for (name, short) in [
        ("s3", Some("s3")),
        ("com.amazonaws.us-east-1.ecr.api", Some("ecr.api")),
        ("com.amazonaws.eu-west-1.s3", None),
        ("com.amazonaws.s3", None),
        ("vpce.us-east-1.vpce-svc-1", None),
        ("S3", None),
        ("a..b", None),
        ("", None),
    ] {
        assert_eq!(aws_service_name("us-east-1", name).ok(), short, "{name}");
    }
    let names = public_names("eu-west-1", "ecr.dkr");
    let names: Vec<_> = names.iter().map(|name| &**name).collect();
    assert_eq!(
        names,
        [
            "dkr.ecr.eu-west-1.amazonaws.com",
            "*.dkr.ecr.eu-west-1.amazonaws.com"
        ]
    );
}

#[test]
fn an_interface_endpoint_is_a_port_of_the_service() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
    let name = "com.amazonaws.us-east-1.sqs";
    let create = || {
        CreateVpcEndpoint::new(
            VpcEndpointType::Interface,
            vpc.clone(),
            name,
            [subnet.clone()],
        )
    };
    refused(&mut control, create(), "InvalidServiceName", name);
    let sqs = service(&mut control, "sqs");
    let again = CreateAwsService { name: name.into() };
    refused(&mut control, again, "InvalidParameterValue", name);
    let id = control.execute(create()).unwrap();
    let endpoint = control.model().get(&id).unwrap().clone();
    // AWS's services accept at once, and have a place in every zone.
    assert_eq!(endpoint.state, VpcEndpointState::Available);
    assert_eq!(endpoint.service, sqs);
    let regional = &endpoint.dns_names(control.model())[0].name;
    assert!(
        regional.ends_with(".sqs.us-east-1.vpce.amazonaws.com"),
        "{regional}"
    );
    let tables = control.tables().snapshot();
    let row = tables
        .endpoints
        .row(control.model().row(&id).unwrap())
        .unwrap();
    assert!(matches!(&row.kind, EndpointKind::Service { enis } if enis.len() == 1));
    let eni = control
        .model()
        .row(&endpoint.interfaces[0].interface)
        .unwrap();
    assert!(matches!(
        tables.enis.row(eni).unwrap().kind,
        EniKind::Endpoint(_)
    ));
    let ports = control.model().service_ports();
    assert_eq!(
        ports.len(),
        2,
        "the internet's and the endpoint's: {ports:?}"
    );
    assert_eq!(ports[1].1.endpoint, Some((id.clone(), vpc.clone())));
    assert_consistent(&control);
    let delete = DeleteVpcEndpoints {
        vpc_endpoints: vec![id],
    };
    assert_eq!(control.execute(delete), Ok(Vec::new()));
    assert_eq!(control.model().service_ports().len(), 1);
    assert_consistent(&control);
}

#[test]
fn a_gateway_endpoint_has_a_port_of_its_own_where_the_lab_has_the_service() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let create = || {
        let name = "com.amazonaws.us-east-1.s3";
        CreateVpcEndpoint::new(VpcEndpointType::Gateway, vpc.clone(), name, [])
    };
    let without = control.execute(create()).unwrap();
    assert_eq!(control.model().get(&without).unwrap().service_port, None);
    service(&mut control, "s3");
    let with = control.execute(create()).unwrap();
    let port = control
        .model()
        .get(&with)
        .unwrap()
        .service_port
        .clone()
        .unwrap();
    let row = |control: &ControlPlane, id: &VpcEndpointId| {
        let tables = control.tables().snapshot();
        let row = control.model().row(id).unwrap();
        tables.endpoints.row(row).unwrap().kind.clone()
    };
    assert_eq!(
        row(&control, &without),
        EndpointKind::Gateway { service: None }
    );
    let EndpointKind::Gateway {
        service: Some((public, through)),
    } = row(&control, &with)
    else {
        panic!("a port");
    };
    assert_eq!(control.model().row(&port), Some(through.into()));
    let tables = control.tables().snapshot();
    let address = tables.enis.row(public).unwrap().addresses[0];
    let list = AwsList::of("us-east-1", "s3").unwrap().resource();
    assert!(
        list.entries.keys().any(|block| block.contains(address)),
        "{address}"
    );
    assert_consistent(&control);
    let delete = DeleteVpcEndpoints {
        vpc_endpoints: vec![with],
    };
    assert_eq!(control.execute(delete), Ok(Vec::new()));
    assert!(control.model().get(&port).is_none());
    assert_consistent(&control);
}
