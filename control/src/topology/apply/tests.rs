//! Every example applies; what is refused changes nothing and names its line.

use super::*;
use crate::compile;
use crate::model::*;
use crate::topology::tests::examples;

fn made(text: &str) -> (ControlPlane, Names) {
    let topology = Topology::parse("t.yaml", text).unwrap_or_else(|error| panic!("{error}"));
    topology
        .control_plane()
        .unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    let topology = Topology::parse("t.yaml", text).unwrap_or_else(|error| panic!("{error}"));
    let mut control = ControlPlane::default();
    let before = control.tables().snapshot();
    let quotas = control.quotas().clone();
    let error = topology.apply(&mut control).expect_err("must be refused");
    let after = control.tables().snapshot();
    assert_eq!(after.version, before.version, "nothing is published");
    assert_eq!(after.row_difference(&before), None);
    assert_eq!(*control.quotas(), quotas);
    let empty = ControlPlane::default();
    assert_eq!(control.model().ids(), empty.model().ids());
    error.to_string()
}

#[test]
fn every_example_applies() {
    for (name, text) in examples() {
        let topology = Topology::parse(&name, &text).unwrap_or_else(|error| panic!("{error}"));
        let (control, names) = topology
            .control_plane()
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(names.vpcs.len(), topology.vpcs.0.len());
        assert_eq!(names.hosts.len(), topology.hosts.0.len());
        let published = control.tables().snapshot();
        let full = compile::full(control.model(), published.settings);
        assert_eq!(published.row_difference(&full), None, "{name}");
    }
}

#[test]
fn privatelink_is_made_as_written() {
    let (control, names) = made(include_str!("../../../../examples/privatelink.yaml"));
    let model = control.model();
    let client = model.get(&names.hosts["client"].enis[0]).expect("client");
    assert_eq!(
        client.primary().map(|ip| ip.to_string()).as_deref(),
        Some("10.0.1.10")
    );
    assert_eq!(
        client.groups,
        [names.vpcs["consumer"].security_groups["client"].clone()]
    );
    assert_eq!(
        client.attachment.as_ref().map(|at| &*at.host),
        Some("client")
    );
    let endpoint = model.get(&names.endpoints["service"]).expect("endpoint");
    assert_eq!(
        endpoint.state,
        VpcEndpointState::Available,
        "accepted within the file"
    );
    let group = model
        .get(&names.vpcs["consumer"].security_groups["endpoint"])
        .expect("group");
    let egress = group
        .rules
        .iter()
        .filter(|rule| rule.direction == Direction::Egress);
    assert_eq!(egress.count(), 0, "`egress: []` takes the first rule away");
    assert_eq!(
        names.id("server"),
        Some(names.hosts["server"].enis[0].to_string())
    );
    assert_eq!(
        names.id("provider/servers"),
        Some(names.vpcs["provider"].subnets["servers"].to_string())
    );
    assert_eq!(names.id("nobody"), None);
}

#[test]
fn an_endpoint_waits_when_the_file_says_so() {
    let text = include_str!("../../../../examples/privatelink.yaml");
    let (control, names) = made(&text.replace("accept: auto ", "accept: false "));
    let endpoint = control
        .model()
        .get(&names.endpoints["service"])
        .expect("endpoint");
    assert_eq!(endpoint.state, VpcEndpointState::PendingAcceptance);
}

#[test]
fn the_edge_table_is_the_gateways() {
    let (control, names) = made(include_str!("../../../../examples/gwlb-inspection.yaml"));
    let app = &names.vpcs["app"];
    let tables = control.tables().snapshot();
    let row = control.model().row(&app.id).expect("row");
    let igw = tables
        .vpcs
        .row(row)
        .and_then(|vpc| vpc.igw.clone())
        .expect("gateway");
    let edge = control
        .model()
        .row(&app.route_tables["gateway"])
        .expect("row");
    assert_eq!(igw.edge_table.map(|table| table.0), Some(edge));
}

const TWO: &str = "\
name: lab
vpcs:
  a:
    cidr: 10.0.0.0/16
    ipv6: true
    subnets:
      one: {cidr: 10.0.1.0/24, ipv6: true}
      two: {cidr: 10.0.2.0/24, az: b, ipv6: true}
";

#[test]
fn the_same_file_gives_the_same_ids() {
    let (_, first) = made(TWO);
    let (_, second) = made(TWO);
    assert_eq!(first, second);
    let (_, third) = made(&TWO.replace("name: lab", "name: lab\nseed: 2"));
    assert_ne!(first.vpcs["a"].id, third.vpcs["a"].id);
}

#[test]
fn chosen_ipv6_blocks_and_addresses_are_of_the_vpc() {
    let (control, names) = made(&format!("{TWO}hosts:\n  h: {{subnet: two}}\n"));
    let of_vpc = names.vpcs["a"].ipv6.expect("a block");
    let host = control
        .model()
        .get(&names.hosts["h"].enis[0])
        .expect("host");
    let address = host.ipv6_addresses.first().copied().expect("an address");
    assert!(of_vpc.contains(address.into()), "{address} in {of_vpc}");
    assert_eq!(address.segments()[3] & 0xff, 1, "the second /64: {address}");
}

#[test]
fn what_the_api_refuses_changes_nothing_and_names_the_line() {
    let many: String = (0..6)
        .map(|n| format!("  v{n}: {{cidr: 10.{n}.0.0/16}}\n"))
        .collect();
    for (text, line, code) in [
        (
            "name: x\nvpcs:\n  a: {cidr: 127.0.0.0/16}".to_owned(),
            "3:13",
            "InvalidVpc.Range",
        ),
        (
            format!("name: x\nquotas: {{rules-per-network-acl: 30}}\nvpcs:\n{many}"),
            "9:14",
            "VpcLimitExceeded",
        ),
        (
            format!("{TWO}    route_tables: {{r: {{routes: [{{to: 10.0.0.0/8, via: local}}]}}}}"),
            "9:55",
            "InvalidParameterValue",
        ),
        (
            format!("{TWO}hosts:\n  h: {{subnet: one, groups: [default, default]}}"),
            "10:15",
            "InvalidGroup.Duplicate",
        ),
    ] {
        let said = refused(&text);
        assert!(said.starts_with(&format!("t.yaml:{line}: ")), "{said}");
        assert!(said.ends_with(&format!(" ({code})")), "{said}");
    }
    let said = refused("name: x\nquotas: {vpcs: 3}");
    assert!(
        said.starts_with("t.yaml:2:10: no quota is called 'vpcs'"),
        "{said}"
    );
}

#[test]
fn a_quota_of_the_file_is_in_force() {
    let many: String = (0..6)
        .map(|n| format!("  v{n}: {{cidr: 10.{n}.0.0/16}}\n"))
        .collect();
    let (_, names) = made(&format!(
        "name: x\nquotas: {{vpcs-per-region: 6}}\nvpcs:\n{many}"
    ));
    assert_eq!(names.vpcs.len(), 6);
}

#[test]
fn a_host_has_its_interfaces_in_order() {
    let (control, names) = made(&format!(
        "{TWO}hosts:\n  h:\n    enis:\n      - {{subnet: one, address: 10.0.1.9, source_dest_check: false}}\n      \
         - {{subnet: one, secondary: [10.0.1.20]}}\n"
    ));
    let enis: Vec<_> = names.hosts["h"]
        .enis
        .iter()
        .map(|id| control.model().get(id).expect("eni").clone())
        .collect();
    assert_eq!(enis.len(), 2);
    assert!(!enis[0].source_dest_check && enis[1].source_dest_check);
    let indexes = enis
        .iter()
        .map(|eni| eni.attachment.as_ref().map(|at| at.device_index));
    assert_eq!(indexes.collect::<Vec<_>>(), [Some(0), Some(1)]);
    assert_eq!(enis[1].private_addresses.len(), 2);
    assert_eq!(names.id("h/eth1"), Some(enis[1].id.to_string()));
}

#[test]
fn a_vpc_has_its_further_blocks_and_attributes() {
    let (control, names) = made(
        "name: x\nvpcs:\n  a:\n    cidr: [10.0.0.0/16, 10.1.0.0/16]\n    enable_dns_hostnames: true\n    \
         subnets: {s: {cidr: 10.1.1.0/24}}\n",
    );
    let vpc = control.model().get(&names.vpcs["a"].id).expect("vpc");
    assert_eq!(vpc.cidrs.len(), 2);
    assert!(vpc.dns_hostnames && vpc.dns_support);
}

#[test]
fn a_vpc_says_what_its_file_says_by_dhcp() {
    let text = |options: &str| {
        format!(
            "name: x\nvpcs:\n  a: {{cidr: 10.0.0.0/16, dhcp_options: {options}}}\n  \
             b: {{cidr: 10.1.0.0/16}}\n"
        )
    };
    let (control, names) = made(&text(
        "{domain_name: corp.example, domain_name_servers: [AmazonProvidedDNS, 10.0.0.53], \
         ntp_servers: 169.254.169.123, netbios_node_type: 2}",
    ));
    let said = |vpc: &str| {
        let options = control.model().dhcp_options_of(&names.vpcs[vpc].id);
        options.expect("options").values.listed()
    };
    let one = |value: &str| vec![value.to_owned()];
    assert_eq!(
        said("a"),
        [
            ("domain-name", one("corp.example")),
            (
                "domain-name-servers",
                vec!["AmazonProvidedDNS".into(), "10.0.0.53".into()]
            ),
            ("ntp-servers", one("169.254.169.123")),
            ("netbios-node-type", one("2")),
        ]
    );
    assert_eq!(
        said("b"),
        [
            ("domain-name", one("ec2.internal")),
            ("domain-name-servers", one("AmazonProvidedDNS")),
        ]
    );
    for (wrong, why) in [
        ("{netbios_node_type: 3}", "3 is not 1, 2, 4 or 8"),
        ("{netbios_name_servers: \"::1\"}", "::1 is IPv6"),
        ("{}", "DhcpConfiguration"),
    ] {
        let topology = Topology::parse("x.yaml", &text(wrong)).expect("parses");
        let error = topology
            .control_plane()
            .expect_err("is refused")
            .to_string();
        assert!(error.contains(why) && error.contains("x.yaml:3"), "{error}");
    }
}
