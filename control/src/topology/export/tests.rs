use vpclab_dataplane::tables::PortMatch;
use vpclab_dataplane::time::Instant;

use super::*;
use crate::api::testing::{cidr, default_group, interface, internet_gateway, subnet_in, vpc};
use crate::api::*;
use crate::model::{Destination, Direction, RouteTargetSpec, RulePeer};

fn parse(text: &str) -> Topology {
    Topology::parse("exported.yaml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn exported(control: &ControlPlane, file: &Topology, names: &Names) -> Exported {
    export(control.model(), file, names, DEFAULT_ACCOUNT)
}

/// Reads, writes, reads and writes; says what the second reading would change.
fn round(file: &Topology) -> Exported {
    let (control, names) = file.control_plane().unwrap();
    let first = exported(&control, file, &names);
    let again = parse(&first.topology);
    let difference = again
        .difference(&control, file, &names, Instant::ZERO)
        .unwrap();
    let said: Vec<_> = difference.changes.iter().map(ToString::to_string).collect();
    assert_eq!(said, Vec::<String>::new(), "{}", first.topology);
    assert_eq!(again_exported(&first), first);
    first
}

/// What the exported file makes, exported.
fn again_exported(first: &Exported) -> Exported {
    let again = parse(&first.topology);
    let (control, names) = again.control_plane().unwrap();
    exported(&control, &again, &names)
}

/// Every example, read, written and read again, is the same lab, and is written
/// the same.
#[test]
fn examples_come_back_as_they_were() {
    let mut count = 0;
    for entry in std::fs::read_dir("../examples").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "yaml") {
            continue;
        }
        count += 1;
        let file = Topology::load(&path).unwrap().closed();
        let first = round(&file);
        assert_eq!(first.left_out, Vec::<String>::new(), "{}", path.display());
    }
    assert!(count >= 3, "{count} examples");
}

/// A subnet whose zone the file leaves open is the same one as that which is written.
#[test]
fn a_subnet_without_a_zone_comes_back() {
    round(&parse(
        "name: x\nvpcs: {v: {cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.0.0.0/24}}}}\n\
         hosts: {h: {subnet: s}}\n",
    ));
}

/// Something of everything that a file can say, with what would be chosen
/// otherwise: ids follow from it.
const ALL: &str = r#"
name: all
description: "says: everything"
seed: 7
region: eu-west-1
time_scale: 10
vpcs:
  v:
    cidr: [10.0.0.0/16, 10.1.0.0/16]
    ipv6: 2001:db8:1::/56
    igw: edge-gate
    enable_dns_support: false
    enable_dns_hostnames: true
    dhcp_options: {domain_name: corp.example, domain_name_servers: [10.0.0.9, AmazonProvidedDNS], ntp_servers: 10.0.0.7,
                   netbios_name_servers: 10.0.0.8, netbios_node_type: 2, ipv6_address_preferred_lease_time: 600}
    subnets:
      a: {cidr: 10.0.1.0/24, az: a, ipv6: 2001:db8:1:1::/64, route_table: out, network_acl: open}
      b: {cidr: 10.0.2.0/24, az: b, map_public_ip: true}
      c: {cidr: 10.0.3.0/24, az: a}
    route_tables:
      out:
        routes:
          - {to: 0.0.0.0/0, via: igw}
          - {to: "::/0", via: igw}
          - {to: 10.0.2.0/24, via: fw/eth1}
          - {to: partners, via: fw}
          - {to: 10.8.0.0/16, via: to-x}
      base: {main: true, routes: [{to: 192.168.0.0/16, via: fw}]}
      gate: {edge: igw, routes: [{to: 10.0.1.0/24, via: ins}]}
      spare: {}
    security_groups:
      web:
        description: what the world sees
        ingress:
          - {proto: tcp, ports: 8000-8100, from: [0.0.0.0/0, "::/0", partners], description: "web: all"}
          - {proto: icmp, icmp_type: 3/4, from: web}
          - {proto: 50, from: default}
          - {proto: udp, from: x/default}
        egress: []
      db: {ingress: [{proto: tcp, ports: 5432, from: web}], egress: [{proto: all, to: web}]}
    network_acls:
      open:
        ingress: [{rule: 100, action: allow, cidr: 0.0.0.0/0}, {rule: 90, action: deny, proto: udp, ports: 53, cidr: 10.0.9.0/24}]
        egress: [{rule: 100, action: allow, cidr: "::/0"}]
  w:
    cidr: 10.0.0.0/16
    subnets: {a: {cidr: 10.0.1.0/24, az: a}}
  x: {cidr: 10.8.0.0/16}
peerings:
  to-x: {vpcs: [v, x]}
  asked: {vpcs: [w, x], accept: false}
prefix_lists:
  partners: [203.0.113.0/24, 198.51.100.0/25]
hosts:
  web:
    subnet: v/a
    address: 10.0.1.6
    groups: [web, db]
    eip: 198.51.100.77
    secondary: [10.0.1.40, 10.0.1.41]
    prefixes: [10.0.1.64/28]
    run: ["python3 -m http.server 80", "echo 'a: b'"]
    env: {PORT: "80", EMPTY: ""}
    restart: on-failure
    link: {loss: 1%, delay: 20ms, rate: 10mbit}
  fw: {enis: [{subnet: v/a, address: 10.0.1.4, ipv6: [], source_dest_check: false}, {subnet: v/a, address: 10.0.1.5}]}
  box: {subnet: v/b, address: 10.0.2.4, attach: true, eip: false}
  given: {subnet: v/b, address: 10.0.2.5}
  other: {subnet: w/a, address: 10.0.1.4}
  target: {subnet: w/a, address: 10.0.1.5}
internet:
  hosts: {out: {addresses: [203.0.113.80, "2001:db8:ffff::1"], run: "true"}}
nat_gateways:
  leave: {subnet: v/a, address: 10.0.1.90, eip: 198.51.100.90, secondary_eips: 198.51.100.91}
  inside: {type: private, subnet: w/a, address: 10.0.1.91, secondary: [10.0.1.92]}
load_balancers:
  nlb: {subnets: v/a, addresses: {v/a: 10.0.1.200}, groups: web, enforce_privatelink_groups: false,
        dualstack: true, cross_zone: true, secondary_ips: 2,
        listeners: [{port: 80, target_group: servers, idle_timeout: 60}, {proto: udp, port: 53, target_group: names}]}
  gwlb: {type: gateway, subnets: w/a, listeners: [{target_group: appliances}]}
target_groups:
  servers: {protocol: tcp, port: 80, targets: ["web:8080", 10.0.9.9], reset_on_unhealthy: false, reset_on_deregistration: true, proxy_protocol: true, preserve_client_ip: true, deregistration_delay: 5,
            health_check: {protocol: http, path: "/ok?a=b", matcher: "200,300-302", interval: 10}}
  names: {protocol: udp, port: 53, vpc: v, targets: "given:5353"}
  appliances: {protocol: geneve, targets: target, stickiness: source_ip_dest_ip, failover: rebalance,
               health_check: {port: 8080}}
  resets: {protocol: geneve, vpc: w, reset_on_idle: true}
endpoint_services:
  svc: {load_balancers: nlb, allowed_principals: ["*", "arn:aws:iam::111122223333:root"]}
  inspection: {load_balancers: gwlb, acceptance_required: false}
services: {s3: echo, com.amazonaws.eu-west-1.sqs: "http://127.0.0.1:4566"}
dns: {upstream: "127.0.0.1:5353"}
endpoints:
  ep: {service: svc, subnets: w/a, address: 10.0.1.99}
  queue: {service: sqs, subnets: w/a, address: 10.0.1.98}
  silent: {service: svc, subnets: w/a, accept: false}
  ins: {service: inspection, subnets: v/c}
faults: {zones_down: b}
expect:
  - {name: "to the web", from: other, to: "ep:80", reachable: true, via: [ep], seen_as: 10.0.1.200}
  - {from: web, to: 203.0.113.80, proto: icmp, code: NO_ROUTE, reachable: false}
quotas: {vpcs-per-region: 9}
settings: {workers: 2, waiting: event, io_uring: false}
"#;

#[test]
fn all_that_a_file_can_say_is_written() {
    let first = round(&parse(ALL));
    assert_eq!(first.left_out, Vec::<String>::new());
    // Nothing of it has been forgotten on both sides.
    let keys: BTreeSet<&str> = ALL
        .split(|c: char| c.is_whitespace() || matches!(c, '{' | ','))
        .filter_map(|word| word.strip_suffix(':'))
        .filter(|word| !word.is_empty() && !word.contains(['"', '\'']))
        .collect();
    let missing: Vec<_> = keys
        .into_iter()
        .filter(|key| !first.topology.contains(&format!("{key}:")))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "{}", first.topology);
}

const EMPTY: &str = "name: aws\nregion: us-east-1\n";

/// A lab that API clients made, who give no names and change what came by itself.
fn made_by_clients(control: &mut ControlPlane) {
    let vpc = vpc(control);
    let public = subnet_in(control, &vpc, "10.0.1.0/24", "us-east-1a");
    let private = subnet_in(control, &vpc, "10.0.2.0/24", "us-east-1b");
    let gateway = internet_gateway(control, &vpc);
    let main = crate::api::main_association(control.model(), &vpc).unwrap();
    let main = main.route_table.clone();
    let route = |route_table, block, target| CreateRoute {
        route_table,
        destination: Destination::Cidr(cidr(block)),
        target,
    };
    let web = interface(control, &public);
    interface(control, &private);
    let out = RouteTargetSpec::InternetGateway(gateway);
    control
        .execute(route(main.clone(), "0.0.0.0/0", out))
        .unwrap();
    let by_web = RouteTargetSpec::NetworkInterface(web.clone());
    control
        .execute(route(main, "192.168.0.0/16", by_web))
        .unwrap();
    let own = default_group(control, &vpc);
    let open = AuthorizeSecurityGroup {
        group: own,
        direction: Direction::Ingress,
        permissions: vec![Permission {
            protocol: Some(6),
            ports: PortMatch::Range(22, 22),
            peer: RulePeer::Cidr(cidr("0.0.0.0/0")),
            description: String::new(),
        }],
    };
    control.execute(open).unwrap();
    let odd = CreateSecurityGroup {
        group_name: "odd name: 1".into(),
        vpc,
        ..CreateSecurityGroup::default()
    };
    control.execute(odd).unwrap();
    // An interface that nothing has, an address that nothing has.
    let loose = CreateNetworkInterface {
        subnet: private,
        name: Some("Spare One".into()),
        ..CreateNetworkInterface::default()
    };
    control.execute(loose).unwrap();
    control.execute(AllocateAddress::default()).unwrap();
    let other = Caller::new("999988887777", "us-east-1");
    let theirs = CreateVpc {
        cidr_block: Some(cidr("10.9.0.0/16")),
        ..CreateVpc::default()
    };
    control.execute_as(&other, theirs).unwrap();
}

#[test]
fn what_api_clients_made_is_written_and_the_rest_is_said() {
    let file = parse(EMPTY);
    let (mut control, names) = file.control_plane().unwrap();
    made_by_clients(&mut control);
    let first = exported(&control, &file, &names);
    let again = again_exported(&first);
    assert_eq!(again.topology, first.topology);
    assert_eq!(again.left_out, Vec::<String>::new());
    let said = first.left_out.join("\n");
    for what in [
        "account 999988887777, us-east-1: ",
        "an Elastic IP that nothing has",
    ] {
        assert!(said.contains(what), "{said}");
    }
    // The same rows, whatever the ids.
    let (made, _) = parse(&first.topology).control_plane().unwrap();
    let count = |control: &ControlPlane| {
        let model = control.model();
        let own = |meta: &Meta| is_of(meta, DEFAULT_ACCOUNT, "us-east-1");
        let interfaces = model.interfaces().iter().filter(|r| own(&r.meta)).count();
        let groups = model
            .security_groups()
            .iter()
            .filter(|r| own(&r.meta))
            .count();
        let rules = model.security_groups().iter().filter(|r| own(&r.meta));
        (
            interfaces,
            groups,
            rules.map(|group| group.rules.len()).sum::<usize>(),
        )
    };
    let (before, after) = (count(&control), count(&made));
    assert_eq!(before.0, after.0, "{}", first.topology);
    // The changed group of the VPC has become one of its own, beside the VPC's.
    assert_eq!(
        (before.1 + 1, before.2 + 2),
        (after.1, after.2),
        "{}",
        first.topology
    );
}
