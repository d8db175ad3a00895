//! F. PrivateLink: names of endpoints.

use std::collections::BTreeSet;

use vpclab::api::{
    ModifyVpcAttribute, ModifyVpcEndpoint, ModifyVpcEndpointServiceConfiguration, SetZoneState,
    StartVpcEndpointServicePrivateDnsVerification,
};
use vpclab::model::{EndpointServiceId, PrivateDnsState};
use vpclab_tests::World;

use crate::a_services::ask;

/// PrivateLink in two zones, with names; `client` asks.
const LAB: &str = "
name: names
vpcs:
  consumer:
    cidr: 10.0.0.0/16
    enable_dns_hostnames: true
    subnets:
      app: {cidr: 10.0.1.0/24, az: a}
      app-b: {cidr: 10.0.11.0/24, az: b}
    security_groups:
      client: {ingress: []}
  other:
    cidr: 10.8.0.0/16
    enable_dns_hostnames: true
    subnets:
      one: {cidr: 10.8.1.0/24}
  provider:
    cidr: 10.0.0.0/16
    subnets:
      left: {cidr: 10.0.3.0/24, az: a}
      right: {cidr: 10.0.13.0/24, az: b}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
hosts:
  client: {subnet: consumer/app, address: 10.0.1.10, groups: consumer/client}
  stranger: {subnet: other/one, address: 10.8.1.10}
  server: {subnet: left, address: 10.0.3.10, groups: provider/open}
  twin: {subnet: right, address: 10.0.13.10, groups: provider/open}
load_balancers:
  web:
    type: network
    subnets: [left, right]
    listeners: [{proto: tcp, port: 80, target_group: servers}]
target_groups:
  servers: {protocol: tcp, port: 80, targets: [server, twin]}
endpoint_services:
  web: {load_balancers: web, private_dns_name: api.example.com}
endpoints:
  service:
    service: web
    subnets: [consumer/app, consumer/app-b]
    addresses: {consumer/app: 10.0.1.100, consumer/app-b: 10.0.11.100}
    private_dns: true
";

const BOTH: [[u8; 4]; 2] = [[10, 0, 1, 100], [10, 0, 11, 100]];

/// The addresses that a host is told for a name; none if there is no such name.
fn addresses(w: &mut World, host: &str, name: &str) -> Option<BTreeSet<[u8; 4]>> {
    let answers = ask(w, host, "169.254.169.253", name);
    let [(_, bytes)] = &answers[..] else {
        panic!("{name}: {answers:?}");
    };
    // Each A record ends with a length of four and the address.
    let count = usize::from(bytes[7]);
    let start = bytes.len() - count * 16;
    let records = bytes[start..].chunks(16);
    let found = records.map(|record| record[12..].try_into().unwrap());
    match bytes[3] & 15 {
        0 => Some(found.collect()),
        3 => None,
        code => panic!("{name}: code {code}"),
    }
}

fn world() -> World {
    let mut w = World::new(LAB);
    for host in ["server", "twin"] {
        w.lab.host(host).tcp_listen(80).echo();
    }
    w.healthy();
    w
}

fn service(w: &World) -> EndpointServiceId {
    let model = w.lab.control().model();
    model.endpoint_services().iter().next().unwrap().id.clone()
}

fn set_hostnames(w: &mut World, on: bool) {
    let request = ModifyVpcAttribute {
        vpc: w.vpc("consumer"),
        enable_dns_hostnames: Some(on),
        ..ModifyVpcAttribute::default()
    };
    w.apply(request);
}

/// Given private DNS and both VPC attributes, when the service's name is resolved
/// in the VPC, then the endpoint's addresses; without hostnames, no private zone
/// answers.
#[test]
fn b084_the_private_name_leads_to_the_endpoint_in_its_vpc() {
    let mut w = world();
    let name = "api.example.com";
    assert_eq!(addresses(&mut w, "client", name), Some(BOTH.into()));
    assert_eq!(addresses(&mut w, "stranger", name), None, "another VPC");
    set_hostnames(&mut w, false);
    assert_eq!(addresses(&mut w, "client", name), None);

    // The API asks for both attributes, and for a name that is proved.
    let vpc_endpoint = w.vpce("service");
    let switch = |on| ModifyVpcEndpoint {
        vpc_endpoint: vpc_endpoint.clone(),
        private_dns: Some(on),
        ..ModifyVpcEndpoint::default()
    };
    w.apply(switch(false));
    w.refused(switch(true), "InvalidParameter", "enableDnsHostnames");
    set_hostnames(&mut w, true);
    let service = service(&w);
    w.apply(ModifyVpcEndpointServiceConfiguration {
        service: service.clone(),
        private_dns_name: Some("other.example.com".to_owned()),
        ..ModifyVpcEndpointServiceConfiguration::default()
    });
    w.refused(switch(true), "InvalidParameter", "not verified");
    let verify = StartVpcEndpointServicePrivateDnsVerification {
        service: service.clone(),
    };
    assert_eq!(w.apply(verify.clone()), PrivateDnsState::Failed);
    let model = w.lab.control().model();
    let (label, text) = model.get(&service).unwrap().verification();
    let text = vpclab::model::RecordValue::Text(text.as_str().into());
    w.apply(vpclab::api::CreateHostedZone {
        name: "example.com".to_owned(),
        records: [(label, vec![text])].into(),
        ..vpclab::api::CreateHostedZone::default()
    });
    assert_eq!(w.apply(verify), PrivateDnsState::Verified);
    w.apply(switch(true));
    let other = addresses(&mut w, "client", "other.example.com");
    assert_eq!(other, Some(BOTH.into()));
}

/// When the zonal name is resolved, then only that zone's address.
#[test]
fn b085_a_zonal_name_leads_to_its_zone_only() {
    let mut w = world();
    let model = w.lab.control().model();
    let endpoint = model.get(&w.vpce("service")).unwrap();
    let names = endpoint.dns_names(model);
    let [regional, a, b] = &names[..] else {
        panic!("{names:?}");
    };
    for host in ["client", "stranger"] {
        // Public records: whoever asks is told.
        assert_eq!(addresses(&mut w, host, &regional.name), Some(BOTH.into()));
        assert_eq!(addresses(&mut w, host, &a.name), Some([BOTH[0]].into()));
        assert_eq!(addresses(&mut w, host, &b.name), Some([BOTH[1]].into()));
    }
    let nobody = regional.name.replace("vpce-", "vpce-1");
    assert_eq!(addresses(&mut w, "client", &nobody), None);

    // The regional name leaves out a zone that is down, and one without a
    // healthy target.
    let zone = |down| SetZoneState {
        availability_zone: "us-east-1b".to_owned(),
        down,
    };
    w.apply(zone(true));
    let found = addresses(&mut w, "client", &regional.name);
    assert_eq!(found, Some([BOTH[0]].into()));
    w.apply(zone(false));
    w.healthy();
    w.lab.host("twin").set_raw(true);
    w.lab.run_for(vpclab_tests::seconds(200));
    let found = addresses(&mut w, "client", &regional.name);
    assert_eq!(found, Some([BOTH[0]].into()));
}
