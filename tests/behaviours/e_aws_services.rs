//! AWS's services behind endpoints of both types, answered by `echo`.

use vpclab::api::*;
use vpclab::lab::{Conn, Lab};
use vpclab::upstream::echo::Echo;

/// Two VPCs with the same addresses, each with both endpoints.
const LAB: &str = "
name: services
vpcs:
  one:
    cidr: 10.0.0.0/16
    subnets: {apps: {cidr: 10.0.1.0/24, route_table: apps}}
    route_tables: {apps: {}}
    security_groups:
      app: {ingress: []}
      endpoint: {ingress: [{proto: tcp, ports: 80, from: app}]}
  two:
    cidr: 10.0.0.0/16
    subnets: {apps: {cidr: 10.0.1.0/24, route_table: apps}}
    route_tables: {apps: {}}
    security_groups:
      app: {ingress: []}
      endpoint: {ingress: [{proto: tcp, ports: 80, from: app}]}
hosts:
  first: {subnet: one/apps, address: 10.0.1.10, groups: app}
  second: {subnet: two/apps, address: 10.0.1.10, groups: app}
  guest: {subnet: one/apps, address: 10.0.1.11}
services: {s3: echo, sqs: echo}
endpoints:
  s3-one: {type: gateway, service: s3, route_tables: one/apps}
  s3-two: {type: gateway, service: s3, route_tables: two/apps}
  sqs-one: {service: sqs, subnets: one/apps, address: 10.0.1.100, groups: endpoint}
  sqs-two: {service: sqs, subnets: two/apps, address: 10.0.1.100, groups: endpoint}
";

/// The first address of S3's list in us-east-1, and one that nothing was told of.
const S3: [&str; 2] = ["1.178.4.1", "52.217.9.9"];
const SQS: &str = "10.0.1.100";

fn said(conn: &Conn) -> Option<Echo> {
    let answer = String::from_utf8(conn.data()).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Echo::read(body)
}

fn ask(lab: &mut Lab, host: &str, port: u16, to: &str) -> Echo {
    let conn = lab.host(host).tcp_connect_from(port, to, 80);
    conn.send("GET /x HTTP/1.1\r\nHost: a\r\nX-Vpclab-Vpce-Id: forged\r\n\r\n");
    lab.run_until(|_| said(&conn).is_some()).unwrap();
    said(&conn).unwrap()
}

fn id(lab: &Lab, name: &str) -> String {
    let mut all = lab.control().model().vpc_endpoints().iter();
    let found = all.find(|it| it.meta.name.as_deref() == Some(name));
    found.unwrap().id.to_string()
}

#[test]
fn a_service_knows_the_endpoint_and_the_private_address_whoever_else_has_it() {
    let mut lab = Lab::from_yaml(LAB).unwrap().seed(7);
    // The same client's port, at the same service's address, from two VPCs at once.
    for to in S3.into_iter().chain([SQS]) {
        let service = if to == SQS { "sqs" } else { "s3" };
        let (one, two) = (
            ask(&mut lab, "first", 4000, to),
            ask(&mut lab, "second", 4000, to),
        );
        assert_eq!(one.vpce, Some(id(&lab, &format!("{service}-one"))), "{to}");
        assert_eq!(two.vpce, Some(id(&lab, &format!("{service}-two"))), "{to}");
        assert_ne!(one.vpc, two.vpc);
        for echo in [one, two] {
            assert_eq!(echo.service, format!("com.amazonaws.us-east-1.{service}"));
            assert_eq!(
                (echo.client.as_str(), echo.path.as_str()),
                ("10.0.1.10", "/x")
            );
            assert!(!echo.headers.values().any(|value| value == "forged"));
        }
    }
}

#[test]
fn an_interface_endpoint_is_judged_by_its_groups_and_takes_tcp_alone() {
    let mut lab = Lab::from_yaml(LAB).unwrap().seed(7);
    lab.reset_counters();
    let guest = lab.host("guest").tcp_connect(SQS, 80);
    let ping = lab.host("first").ping(SQS);
    lab.run_for(vpclab_dataplane::time::Duration::from_millis(2500));
    assert!(!guest.is_established() && !ping.is_answered());
    lab.expect_counters("drop.security_group +1..");
}

#[test]
fn a_service_answers_and_never_begins() {
    let mut lab = Lab::from_yaml(LAB).unwrap().seed(7);
    ask(&mut lab, "first", 4000, SQS);
    lab.host("first").tcp_listen(80).echo();
    let eni = lab.endpoint("sqs-one").all()[0].eni;
    let row = lab.snapshot().enis.row(eni).unwrap().label.to_string();
    lab.reset_counters();
    let conn = lab.host(&row).tcp_connect("10.0.1.10", 80);
    lab.run_for(vpclab_dataplane::time::Duration::from_millis(2500));
    assert!(!conn.is_established());
    lab.expect_counters("drop.privatelink.one_way +1..");
}

#[test]
fn an_endpoint_that_goes_ends_what_went_through_it() {
    let mut lab = Lab::from_yaml(LAB).unwrap().seed(7);
    ask(&mut lab, "first", 4000, S3[0]);
    let endpoint = vpclab::model::Id::from_text(id(&lab, "s3-one").as_str().into());
    let delete = DeleteVpcEndpoints {
        vpc_endpoints: vec![endpoint],
    };
    assert_eq!(lab.execute(delete).unwrap(), []);
    lab.reset_counters();
    let conn = lab.host("first").tcp_connect_from(4001, S3[0], 80);
    lab.run_for(vpclab_dataplane::time::Duration::from_millis(1500));
    assert!(!conn.is_established());
    lab.expect_counters("drop.route.none +1..");
    // The other VPC's is another.
    ask(&mut lab, "second", 4001, S3[0]);
}
