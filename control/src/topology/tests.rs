//! Every kind of mistake with its exact message, and the shipped examples.

use super::*;

const NET: &str = "\
name: lab
vpcs:
  a:
    cidr: 10.0.0.0/16
    igw: true
    subnets:
      app: {cidr: 10.0.1.0/24}
      db: {cidr: 10.0.2.0/24, az: b}
    security_groups:
      web: {ingress: [{proto: tcp, ports: 443, from: 0.0.0.0/0}]}
  b:
    cidr: 10.0.0.0/16
    subnets:
      app: {cidr: 10.0.9.0/24}
";

/// What is said of NET with `more` after it.
fn said(more: &str) -> String {
    error(&format!("{NET}{more}"))
}

fn error(text: &str) -> String {
    match Topology::parse("t.yaml", text) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted:\n{text}"),
    }
}

fn table(cases: &[(&str, &str)], said: impl Fn(&str) -> String) {
    for (text, expected) in cases {
        assert_eq!(said(text), *expected, "\n{text}");
    }
}

#[test]
fn the_network_of_these_tests_is_right() {
    Topology::parse("t.yaml", NET).expect("parses");
}

#[test]
fn yaml_and_type_mistakes() {
    table(
        &[
            (
                "",
                "t.yaml:1:1: the file is empty; a topology needs at least `name:`",
            ),
            ("vpcs: {}", "t.yaml:1:1: missing key 'name'; add `name: …`"),
            (
                "name:\nvpcs: {}",
                "t.yaml:1:5: empty value; write one or remove the key",
            ),
            (
                "name: x\nvpsc: {}",
                "t.yaml:2:1: unknown key 'vpsc'; did you mean 'vpcs'?",
            ),
            (
                "name: x\nsettings:\n  workers: 65",
                "t.yaml:3:12: 65 packet workers are not possible; from 1 to 64, at most one a core makes sense",
            ),
            (
                "name: x\nvpcs: [a]",
                "t.yaml:2:7: expected a mapping here; write `key: value` lines below",
            ),
            (
                "name: x\n  vpcs: {}",
                "t.yaml:2:7: mapping values are not allowed in this context",
            ),
            (
                "name: x\nvpcs:\n  a: {cidr: 10.0.0.0/16}\n  a: {cidr: 10.1.0.0/16}",
                "t.yaml:4:3: 'a' is defined twice; rename or remove one of them",
            ),
            (
                "name: x\nvpcs:\n  a: {cidr: 10.0.0.0/16, CidrBlock: 10.0.0.0/16}",
                "t.yaml:3:6: 'cidr' is given twice, under two spellings; remove one of them",
            ),
            (
                "name: x\nvpcs:\n  a: {cidr: 10.0.0.0/16, enable_dns_support: maybe}",
                "t.yaml:3:46: not a boolean; write true or false",
            ),
            (
                "name: x\nvpcs:\n  a: &a\n    cidr: 10.0.0.0/16\n    subnets: *a",
                "t.yaml:5:14: this alias contains itself (a cycle); write the value out",
            ),
            (
                "name: x\nhosts: *nobody",
                "t.yaml:2:8: no anchor of this name; define it with & first",
            ),
            (
                "name: My Lab",
                "t.yaml:1:7: 'My Lab' cannot name a lab; use lower-case letters, digits and \
                 dashes, at most 63",
            ),
        ],
        error,
    );
}

#[test]
fn network_mistakes() {
    let vpc = |text: &str| error(&format!("name: x\nvpcs:\n  a: {text}"));
    table(
        &[
            (
                "{cidr: 10.0.0.0/33}",
                "t.yaml:3:13: '10.0.0.0/33' is not a CIDR block; write ADDRESS/LENGTH, such as \
                 10.0.0.0/16 or 2001:db8::/56",
            ),
            (
                "{cidr: 10.0.0.0/8}",
                "t.yaml:3:13: a VPC's IPv4 block is /16 to /28, not /8",
            ),
            (
                "{cidr: [10.0.0.0/16, 10.0.1.0/24]}",
                "t.yaml:3:27: block 10.0.1.0/24 overlaps 10.0.0.0/16; choose blocks that are apart",
            ),
            (
                "{cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.1.0.0/24}}}",
                "t.yaml:3:46: subnet s (10.1.0.0/24) is outside VPC a (10.0.0.0/16); \
                 choose a block inside it",
            ),
            (
                "{cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.0.1.0/24}, t: {cidr: 10.0.1.128/25}}}",
                "t.yaml:3:70: subnet t (10.0.1.128/25) overlaps subnet s (10.0.1.0/24); \
                 choose blocks that are apart",
            ),
            (
                "{cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.0.1.0/24, route_table: pub}}, \
                 route_tables: {public: {}}}",
                "t.yaml:3:72: no route table of this VPC is called 'pub'; known: public",
            ),
            (
                "{cidr: 10.0.0.0/16, route_tables: {r: {routes: [{to: 0.0.0.0/0, via: igw}]}}}",
                "t.yaml:3:75: VPC a has no internet gateway; add `igw: true` to it",
            ),
            (
                "{cidr: 10.0.0.0/16, igw: true, route_tables: {r: {routes: [{to: 0.0.0.0/0, via: \
                 iwg}]}}}",
                "t.yaml:3:86: no route target is called 'iwg'; did you mean 'igw'?",
            ),
            (
                "{cidr: 10.0.0.0/16, igw: true, route_tables: {r: {routes: [{to: everywhere, \
                 via: igw}]}}}",
                "t.yaml:3:70: no prefix list is called 'everywhere'",
            ),
            (
                "{cidr: 10.0.0.0/16, security_groups: {g: {ingress: [{proto: tcp, from: h}]}}}",
                "t.yaml:3:77: no security group of VPC a and no prefix list is called 'h'; \
                 did you mean 'g'?",
            ),
            (
                "{cidr: 10.0.0.0/16, security_groups: {g: {ingress: [{proto: icmp, ports: 8, \
                 from: g}]}}}",
                "t.yaml:3:79: protocol icmp has no ports; write `icmp_type: 8`",
            ),
            (
                "{cidr: 10.0.0.0/16, network_acls: {n: {ingress: [{rule: 1, action: allow, cidr: \
                 0.0.0.0/0}, {rule: 1, action: deny, cidr: 0.0.0.0/0}]}}}",
                "t.yaml:3:105: rule 1 stands at line 3 too; renumber one",
            ),
            (
                "{cidr: 10.0.0.0/16, network_acls: {n: {ingress: [{rule: 1, action: alow, cidr: \
                 0.0.0.0/0}]}}}",
                "t.yaml:3:73: 'alow' is not allowed here; did you mean 'allow'?",
            ),
        ],
        vpc,
    );
}

#[test]
fn peering_mistakes() {
    let vpcs = |text: &str| {
        error(&format!(
            "name: x\nvpcs:\n  a: {{cidr: 10.0.0.0/16}}\n  b: {{cidr: 10.1.0.0/16, \
             security_groups: {{g: {{}}}}}}\n  c: {{cidr: 10.0.0.0/20, route_tables: {{r: \
             {{routes: [{{to: 10.1.0.0/16, via: a-b}}]}}}}}}\n{text}"
        ))
    };
    table(
        &[
            (
                "peerings: {a-b: {vpcs: [b, c]}, p: {vpcs: a}}",
                "t.yaml:6:43: a peering connection joins two VPCs, not 1; write `vpcs: [one, \
                 other]`",
            ),
            (
                "peerings: {a-b: {vpcs: [a, b]}}",
                "t.yaml:5:77: peering connection a-b does not join VPC c; a route leads to one \
                 that does",
            ),
            (
                "peerings: {a-b: {vpcs: [c, b]}, p: {vpcs: [b, c]}}",
                "t.yaml:6:47: VPCs b and c are joined by a-b already; two VPCs have one peering \
                 connection",
            ),
            (
                "peerings: {a-b: {vpcs: [b, c]}, p: {vpcs: [a, c]}}",
                "t.yaml:6:47: 10.0.0.0/16 of VPC a overlaps 10.0.0.0/20 of VPC c, so they cannot \
                 be peered; choose blocks that are apart, or PrivateLink",
            ),
            (
                "peerings: {a-b: {vpcs: [b, c]}, p: {vpcs: [a, d]}}",
                "t.yaml:6:47: no VPC is called 'd'; did you mean 'a'?",
            ),
        ],
        vpcs,
    );
}

#[test]
fn host_mistakes() {
    table(
        &[
            (
                "hosts:\n  h: {subnet: app}",
                "t.yaml:16:15: several VPCs have a subnet 'app'; write a/app or b/app",
            ),
            (
                "hosts:\n  h: {subnet: a/app, attach: true, run: x}",
                "t.yaml:16:41: host h has `attach: true`, so it starts its programs itself; remove `run:`, or `attach:`",
            ),
            (
                "hosts:\n  h: {subnet: a/app, eip: true}\npublish: [\"8080:h:80\", \"0.0.0.0:8080:h:81\"]",
                "t.yaml:17:24: 127.0.0.1:8080/tcp is published at line 17 already; choose another port",
            ),
            (
                "internet: {uplink: true, hosts: {s: {addresses: 192.0.2.1}}}",
                "t.yaml:15:49: 192.0.2.1 is that of the gateway to the real network; choose another, or give the gateway one: `internet: {gateway: ADDRESS}`",
            ),
            (
                "internet: {uplink: true, gateway: [192.0.2.1, 192.0.2.2]}",
                "t.yaml:15:47: the gateway has one address of each family; remove this one",
            ),
            (
                "hosts:\n  h: {subnet: b/app}\npublish: [\"8080:h:80\"]",
                "t.yaml:17:11: host h has no public address, and a published port is entered from the internet; add `eip: true`",
            ),
            (
                "hosts:\n  h: {subnet: b/app}\npublish: [\"8080:web:80\"]",
                "t.yaml:17:11: no host is called 'web'; known: h",
            ),
            (
                "hosts:\n  h: {subnet: a/ap}",
                "t.yaml:16:15: no subnet of VPC a is called 'ap'; did you mean 'app'?",
            ),
            (
                "hosts:\n  h: {subnet: db, groups: wbe}",
                "t.yaml:16:27: VPC a has no security group 'wbe'; did you mean 'web'?",
            ),
            (
                "hosts:\n  h: {subnet: b/app, groups: a/web}",
                "t.yaml:16:30: 'web' of VPC a cannot be used in VPC b; name one of b",
            ),
            (
                "hosts:\n  h: {subnet: db, address: 10.0.1.5}",
                "t.yaml:16:28: 10.0.1.5 is not in subnet db (10.0.2.0/24); choose one inside it",
            ),
            (
                "hosts:\n  h: {subnet: db, address: 10.0.2.3}",
                "t.yaml:16:28: 10.0.2.3 is reserved by AWS in subnet db (10.0.2.0/24); choose 10.0.2.4 \
                 or a later one, but not the last",
            ),
            (
                "hosts:\n  h: {subnet: db, address: 10.0.2.9}\n  i: {subnet: db, address: 10.0.2.9}",
                "t.yaml:17:28: 10.0.2.9 is in use at line 16 already; choose another",
            ),
            (
                "hosts:\n  h: {subnet: b/app, eip: true}",
                "t.yaml:16:27: a public address needs an internet gateway; add `igw: true` to VPC b",
            ),
            (
                "hosts:\n  h: {}",
                "t.yaml:16:3: host h is in no subnet; add `subnet: NAME`",
            ),
            (
                "hosts:\n  h: {subnet: db}\ninternet:\n  hosts:\n    h: {addresses: 203.0.113.1}",
                "t.yaml:19:5: 'h' is already the name of the host at line 16; rename one of them",
            ),
            (
                "internet:\n  hosts:\n    h: {addresses: 10.0.0.1}",
                "t.yaml:17:20: 10.0.0.1 is a private address (RFC 1918); an internet host has a \
                 public one",
            ),
            (
                "hosts:\n  igw: {subnet: db}",
                "t.yaml:16:3: 'igw' means something else in routes and rules; rename",
            ),
        ],
        said,
    );
}

#[test]
fn service_mistakes() {
    table(
        &[
            (
                "load_balancers:\n  n: {subnets: db, listeners: [{port: 80, target_group: t}]}",
                "t.yaml:16:57: no target group is called 't'",
            ),
            (
                "target_groups:\n  t: {protocol: tcp, port: 80}",
                "t.yaml:16:3: target group t is in no VPC; add `vpc: NAME`",
            ),
            (
                "target_groups:\n  t: {protocol: tcp, port: 80, vpc: a, targets: n}\n\
                 load_balancers:\n  n: {subnets: db, listeners: [{port: 80, target_group: t}]}",
                "t.yaml:16:49: 'n' is a load balancer; a target is a host or an address in a VPC",
            ),
            (
                "endpoints:\n  e: {service: s, subnets: db}\nendpoint_services:\n  \
                 s: {load_balancers: n}\nload_balancers:\n  n: {subnets: b/app}",
                "t.yaml:16:28: subnet db is in zone us-east-1b, service s is in us-east-1a; \
                 choose a subnet of a shared zone",
            ),
            (
                "endpoints:\n  e: {type: gateway_load_balancer, service: s, subnets: a/app}\n\
                 endpoint_services:\n  s: {load_balancers: n}\nload_balancers:\n  n: {subnets: b/app}",
                "t.yaml:16:3: service s is not of this type; write `type: interface`",
            ),
            (
                "endpoint_services:\n  s: {load_balancers: n}\n  t: {load_balancers: n}\n\
                 load_balancers:\n  n: {subnets: b/app}",
                "t.yaml:17:23: load balancer n belongs to endpoint service s; one service each",
            ),
        ],
        said,
    );
}

#[test]
fn cycles() {
    assert_eq!(
        said("prefix_lists:\n  p: [q, 10.0.0.0/8]\n  q: [r]\n  r: [p]\n"),
        "t.yaml:16:7: these prefix lists contain each other: p → q → r → p; break the cycle"
    );
    let example = include_str!("../../../examples/gwlb-inspection.yaml");
    let looped = example.replace(
        "- {to: 0.0.0.0/0, via: igw}",
        "- {to: 0.0.0.0/0, via: inspect}",
    );
    let message = error(&looped);
    assert!(message.contains("inspect → inspect"), "{message}");
}

#[test]
fn groups_may_name_each_other() {
    let text = "name: x\nvpcs:\n  a:\n    cidr: 10.0.0.0/16\n    security_groups:\n      \
                g: {ingress: [{proto: tcp, from: [g, h]}]}\n      \
                h: {ingress: [{proto: tcp, from: [g, default]}]}\n";
    Topology::parse("t.yaml", text).expect("legal in AWS");
}

#[test]
fn cloudformation_names_are_understood() {
    let text = "name: x\nvpcs:\n  a:\n    CidrBlock: 10.0.0.0/16\n    EnableDnsSupport: true\n    \
                subnets:\n      s: {CidrBlock: 10.0.1.0/24, AvailabilityZone: us-east-1b, \
                MapPublicIpOnLaunch: true}\n    security_groups:\n      g:\n        \
                SecurityGroupIngress: [{IpProtocol: tcp, ports: 80, CidrIp: 0.0.0.0/0}]\n    \
                network_acls:\n      n:\n        Ingress: [{RuleNumber: 100, RuleAction: allow, \
                Protocol: -1, CidrBlock: 0.0.0.0/0}]\n";
    let topology = Topology::parse("t.yaml", text).expect("parses");
    let vpc = topology.vpcs.find("a").expect("there");
    assert_eq!(
        vpc.subnets.find("s").and_then(|s| s.map_public_ip),
        Some(true)
    );
    assert_eq!(
        vpc.security_groups.find("g").map(|g| g.ingress.len()),
        Some(1)
    );
}

#[test]
fn scalars_keep_their_text() {
    let text = "name: x\nvpcs: {n: {cidr: 10.0.0.0/16, subnets: {on: {cidr: 10.0.1.0/24}}}}\n\
                hosts:\n  y: {subnet: n/on, run: [true, 1.10], env: {A: 010, B: 'true', C: 1e3}}\n";
    let topology = Topology::parse("t.yaml", text).expect("parses");
    let host = topology.hosts.find("y").expect("there");
    let run: Vec<&str> = host
        .run
        .iter()
        .map(|command| command.value.as_str())
        .collect();
    assert_eq!(run, ["true", "1.10"]);
    let env: Vec<&str> = host.env.values().map(String::as_str).collect();
    assert_eq!(env, ["010", "true", "1e3"]);
}

#[test]
fn aliases_and_merges_are_understood() {
    let text = "name: x\nvpcs: {a: {cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.0.1.0/24}}}}\n\
                hosts:\n  h: &h {subnet: s, env: {A: 1.50}}\n  i: *h\n  j: {<<: *h, groups: nobody}\n";
    assert_eq!(
        error(text),
        "t.yaml:6:23: VPC a has no security group 'nobody'; known: default"
    );
    let topology = Topology::parse("t.yaml", &text.replace(", groups: nobody", ""));
    let topology = topology.expect("parses");
    for name in ["h", "i", "j"] {
        let host = topology.hosts.find(name).expect(name);
        assert_eq!(host.env["A"], "1.50", "{name}");
    }
}

#[test]
fn every_example_is_right() {
    for (name, text) in examples() {
        if let Err(error) = Topology::parse(&name, &text) {
            panic!("{error}");
        }
    }
}

/// The files of `examples/`.
pub(crate) fn examples() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .expect("examples/")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::read_to_string(&path).expect("readable"),
            )
        })
        .collect();
    found.sort();
    assert!(found.len() >= 3, "{folder} holds the shipped examples");
    found
}
