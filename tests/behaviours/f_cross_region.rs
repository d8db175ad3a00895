//! A service's endpoint in another region.

use vpclab::api::*;
use vpclab::lab::Lab;
use vpclab::model::VpcEndpointType;

/// A service in zones a and b; the consumer comes by API, in another region and
/// with the same addresses.
const PROVIDER: &str = "
name: provider
vpcs:
  provider:
    cidr: 10.0.0.0/16
    subnets:
      a: {cidr: 10.0.1.0/24, az: a}
      b: {cidr: 10.0.2.0/24, az: b}
    security_groups:
      web: {ingress: [{proto: tcp, ports: 80, from: 10.0.0.0/16}]}
hosts:
  web-a: {subnet: a, address: 10.0.1.10, groups: web}
  web-b: {subnet: b, address: 10.0.2.10, groups: web}
load_balancers:
  web: {subnets: [a, b], listeners: [{port: 80, target_group: servers}]}
target_groups:
  servers: {protocol: tcp, port: 80, targets: [web-a, web-b]}
endpoint_services:
  web: {load_balancers: web, acceptance_required: false}
";

#[test]
fn a_service_is_reached_from_another_region_by_any_of_its_zones() {
    let mut lab = Lab::from_yaml(PROVIDER).unwrap().seed(7);
    for web in ["web-a", "web-b"] {
        lab.host(web).tcp_listen(80).echo();
    }
    lab.run_until_health_is_known().unwrap();
    let model = lab.control().model();
    let service = model.endpoint_services().iter().next().unwrap().clone();
    let support = ModifyVpcEndpointServiceConfiguration {
        service: service.id.clone(),
        add_supported_regions: vec!["eu-west-1".into()],
        ..Default::default()
    };
    lab.execute(support).unwrap();

    let abroad = Caller::new(DEFAULT_ACCOUNT, "eu-west-1");
    let control = lab.control_mut();
    let vpc = CreateVpc {
        cidr_block: Some("10.0.0.0/16".parse().unwrap()),
        ..CreateVpc::default()
    };
    let vpc = control.execute_as(&abroad, vpc).unwrap().vpc;
    let subnet = CreateSubnet {
        vpc: vpc.clone(),
        cidr_block: Some("10.0.1.0/24".parse().unwrap()),
        // No zone of this letter is the service's.
        availability_zone: Some("eu-west-1c".into()),
        ..CreateSubnet::default()
    };
    let subnet = control.execute_as(&abroad, subnet).unwrap();
    let interface = CreateNetworkInterface {
        subnet: subnet.clone(),
        ..CreateNetworkInterface::default()
    };
    let interface = control.execute_as(&abroad, interface).unwrap();
    let attach = AttachNetworkInterface {
        network_interface: interface.clone(),
        host: "client".into(),
        device_index: None,
        associate_public_ip_address: None,
    };
    control.execute_as(&abroad, attach).unwrap();
    let endpoint = CreateVpcEndpoint {
        service_region: Some("us-east-1".into()),
        name: Some("far".into()),
        ..CreateVpcEndpoint::new(
            VpcEndpointType::Interface,
            vpc,
            &service.service_name(),
            [subnet],
        )
    };
    control.execute_as(&abroad, endpoint).unwrap();

    // The default group lets its own members in: client and endpoint are both.
    lab.run_for(vpclab_dataplane::time::Duration::from_millis(1));
    let to = lab.endpoint("far").all()[0].addresses[0];
    let conn = lab.host("client").tcp_connect(to, 80);
    conn.send("hello");
    lab.run_until(|_| conn.received("hello")).unwrap();
    let peers: Vec<_> = ["web-a", "web-b"]
        .into_iter()
        .filter_map(|web| Some(lab.host(web).accepted_from(&conn)?.peer().ip()))
        .collect();
    let nodes = lab.nlb("web");
    let seen = nodes
        .all()
        .iter()
        .any(|node| node.addresses[..1] == peers[..]);
    assert!(seen, "{peers:?} is one of {nodes:?}");
}
