use vpclab_dataplane::time::Instant;

use super::*;
use crate::compile;

const BASE: &str = "
name: lab
vpcs:
  v:
    cidr: 10.0.0.0/16
    igw: true
    security_groups:
      web: {ingress: [{proto: tcp, ports: 80, from: 0.0.0.0/0}, {proto: tcp, ports: 22, from: db}]}
      db: {ingress: [{proto: tcp, ports: 5432, from: web}]}
    network_acls:
      open: {ingress: [{rule: 100, action: allow, cidr: 0.0.0.0/0}],
             egress: [{rule: 100, action: allow, cidr: 0.0.0.0/0}]}
    subnets:
      a: {cidr: 10.0.1.0/24, route_table: out}
      b: {cidr: 10.0.2.0/24, az: b, network_acl: open}
    route_tables:
      out: {routes: [{to: 0.0.0.0/0, via: igw}]}
hosts:
  one: {subnet: a, groups: web}
  two: {subnet: b, groups: [web, db], address: 10.0.2.10}
  three: {subnet: b, groups: db, eip: true}
load_balancers:
  lb: {subnets: [a, b], listeners: [{port: 80, target_group: tg}]}
target_groups:
  tg: {protocol: tcp, port: 80, targets: [one, two]}
endpoint_services:
  svc: {load_balancers: lb, acceptance_required: false}
endpoints:
  ep: {service: svc, subnets: [a]}
";

fn parse(text: &str) -> Topology {
    Topology::parse("lab.yaml", text).unwrap()
}

/// `BASE` with each of these replaced.
fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(BASE.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "no {old}");
        text.replace(old, new)
    })
}

/// A running lab of one file, then of the other; and what is said to change.
fn changed(from: &str, to: &str) -> (ControlPlane, Names, Vec<String>) {
    let old = parse(from);
    let (mut control, names) = old.control_plane().unwrap();
    let difference = parse(to)
        .difference(&control, &old, &names, Instant::ZERO)
        .unwrap();
    difference.commit(&mut control).unwrap();
    let said = difference.changes.iter().map(ToString::to_string).collect();
    (control, difference.names, said)
}

/// The tables that the running lab was changed into are those of its model.
fn assert_compiled(control: &ControlPlane) {
    let tables = control.tables().load();
    let full = compile::full(control.model(), tables.settings);
    if let Some(difference) = tables.row_difference(&full) {
        panic!("{difference}");
    }
}

const EDITS: &[&[(&str, &str)]] = &[
    &[("  three: {subnet: b, groups: db, eip: true}\n", "")],
    &[("hosts:\n", "hosts:\n  zero: {subnet: a, groups: web}\n")],
    &[("via: igw", "via: one")],
    &[("routes: [{to: 0.0.0.0/0, via: igw}]", "routes: []")],
    &[("ports: 80, from: 0.0.0.0/0", "ports: 81, from: 0.0.0.0/0")],
    &[("{proto: tcp, ports: 5432, from: web}", "")],
    &[("network_acl: open", "map_public_ip: true")],
    &[("cidr: 10.0.1.0/24", "cidr: 10.0.3.0/24")],
    &[("cidr: 10.0.0.0/16", "cidr: [10.0.0.0/16, 10.1.0.0/16]")],
    &[("targets: [one, two]", "targets: [two, three]")],
    &[
        ("subnets: [a, b], listeners", "subnets: [b], listeners"),
        ("subnets: [a]}", "subnets: [b]}"),
    ],
    &[(
        "{port: 80, target_group: tg}",
        "{port: 81, target_group: tg}",
    )],
    &[("subnet: a, groups: web", "subnet: b, groups: web")],
    &[
        ("two: {subnet: b", "other: {subnet: b"),
        ("[one, two]", "[one, other]"),
    ],
    &[("name: lab", "name: lab\nfaults: {zones_down: b}")],
    &[("endpoints:\n  ep: {service: svc, subnets: [a]}\n", "")],
];

/// Edits and pairs of them, there and back: the running lab becomes
/// what a new one of the same file would be, resource by resource.
#[test]
fn a_changed_lab_is_a_new_lab_of_the_same_file() {
    let mut tried = 0;
    for (n, first) in EDITS.iter().enumerate() {
        // Every edit beside some others: all pairs take their time.
        for second in EDITS.iter().cycle().skip(n).take(4) {
            let mut text = edited(first);
            for (old, new) in *second {
                text = text.replace(old, new);
            }
            if Topology::parse("lab.yaml", &text).is_err() {
                continue;
            }
            for (from, to) in [(BASE, &*text), (&*text, BASE)] {
                let old = parse(from);
                let (before, names) = old.control_plane().unwrap();
                let kept = Kept::of(before.model(), &names);
                let (control, names, _) = changed(from, to);
                let (mut fresh, fresh_names) = parse(to).control_plane_keeping(&kept).unwrap();
                assert_compiled(&control);
                // Targets that went are still draining.
                let mut live = control;
                live.edit(finish_draining);
                fresh.edit(finish_draining);
                let left: Vec<_> = live
                    .model()
                    .differences(fresh.model())
                    .into_iter()
                    .collect();
                assert!(left.is_empty(), "{left:?} after {first:?} and {second:?}");
                assert_eq!(names, fresh_names);
                tried += 1;
            }
        }
    }
    assert!(tried > 90, "{tried}");
}

fn finish_draining(model: &mut Model) {
    let groups: Vec<_> = model
        .target_groups()
        .iter()
        .map(|g| TargetGroup::clone(g))
        .collect();
    for mut group in groups {
        group
            .targets
            .retain(|target| target.draining_until.is_none());
        for target in &mut group.targets {
            target.health = TargetHealth::Initial;
        }
        model.put(group);
    }
}

#[test]
fn what_does_not_change_keeps_its_rows_and_generations() {
    let text = edited(&[
        ("hosts:\n", "hosts:\n  zero: {subnet: a, groups: web}\n"),
        ("via: igw", "via: zero"),
    ]);
    let old = parse(BASE);
    let (before, names) = old.control_plane().unwrap();
    let (control, _, said) = changed(BASE, &text);
    assert_eq!(
        said,
        [
            "~ route table v/out: route 0.0.0.0/0 via v → via zero",
            "+ host zero"
        ]
    );
    let (then, now) = (before.tables().load(), control.tables().load());
    for host in names.hosts.values() {
        for eni in &host.enis {
            let row = before.model().row(eni).unwrap();
            assert_eq!(control.model().row(eni), Some(row));
            assert_eq!(then.enis.generation(row), now.enis.generation(row));
        }
    }
    assert_eq!(changed(BASE, BASE).2, Vec::<String>::new());
}

#[test]
fn a_report_names_what_a_reader_of_the_file_knows() {
    for (edit, expected) in [
        (
            EDITS[3],
            &["~ route table v/out: - route 0.0.0.0/0 via v"][..],
        ),
        (
            EDITS[4],
            &[
                "~ security group v/web: - ingress tcp 80 from 0.0.0.0/0; + ingress tcp 81 from 0.0.0.0/0",
            ],
        ),
        (
            EDITS[6],
            &["~ subnet v/b: network ACL open → default; + public addresses"],
        ),
        (
            EDITS[9],
            &["~ target group tg: - target 10.0.1.4:80; + target 10.0.2.4:80"],
        ),
        (EDITS[11], &["- listener lb TCP:80", "+ listener lb TCP:81"]),
    ] {
        let (_, _, said) = changed(BASE, &edited(edit));
        let expected: Vec<_> = expected.iter().map(|text| (*text).to_owned()).collect();
        let said: Vec<_> = said
            .into_iter()
            .filter(|line| !line.contains("host"))
            .collect();
        assert_eq!(said, expected);
    }
}

#[test]
fn a_refused_file_changes_nothing_and_names_its_line() {
    let old = parse(BASE);
    let (control, names) = old.control_plane().unwrap();
    let before = control.tables().load().version;
    let refused = |text: &str| {
        parse(text)
            .difference(&control, &old, &names, Instant::ZERO)
            .unwrap_err()
            .to_string()
    };
    let quota = format!("{BASE}quotas: {{vpcs-per-region: 0}}\n");
    assert!(
        refused(&quota).starts_with("lab.yaml:5:"),
        "{}",
        refused(&quota)
    );
    let scaled = format!("{BASE}time_scale: 50\n");
    assert!(
        refused(&scaled).contains("vpclab down"),
        "{}",
        refused(&scaled)
    );
    assert_eq!(control.tables().load().version, before);
}

#[test]
fn targets_that_stay_keep_their_health_and_those_that_go_drain() {
    let old = parse(BASE);
    let (mut control, names) = old.control_plane().unwrap();
    control.edit(|model| {
        let mut group = model
            .target_groups()
            .iter()
            .next()
            .map(|g| TargetGroup::clone(g))
            .unwrap();
        for target in &mut group.targets {
            target.health = TargetHealth::Healthy;
        }
        model.put(group);
    });
    let text = edited(EDITS[9]);
    let now = Instant::from_secs(5);
    let difference = parse(&text)
        .difference(&control, &old, &names, now)
        .unwrap();
    difference.commit(&mut control).unwrap();
    let group = control.model().target_groups().iter().next().unwrap();
    let seen: Vec<_> = group
        .targets
        .iter()
        .map(|target| (target.id.to_string(), target.health))
        .collect();
    assert_eq!(
        seen,
        [
            ("10.0.2.10".to_owned(), TargetHealth::Healthy),
            ("10.0.2.4".to_owned(), TargetHealth::Initial),
            ("10.0.1.4".to_owned(), TargetHealth::Draining)
        ]
    );
}

/// Makes an interface as the AWS API does: with a date.
fn by_api(control: &mut ControlPlane, subnet: &crate::model::SubnetId) -> NetworkInterfaceId {
    let create = crate::api::CreateNetworkInterface {
        subnet: subnet.clone(),
        ..Default::default()
    };
    let made = control.transact(&crate::api::Caller::default(), |tx| {
        tx.set_now(1_700_000_000);
        crate::api::Action::apply(create, tx)
    });
    made.unwrap()
}

#[test]
fn what_the_api_made_stays_and_keeps_its_address() {
    let old = parse(BASE);
    let (mut control, names) = old.control_plane().unwrap();
    let eni = by_api(&mut control, &names.vpcs["v"].subnets["a"]);
    let before = control.model().get(&eni).unwrap().clone();
    let text = edited(&[(
        "  one: {subnet: a, groups: web}",
        "  one: {subnet: a, groups: web}\n  new: {subnet: a}",
    )]);
    let difference = parse(&text)
        .difference(&control, &old, &names, Instant::ZERO)
        .unwrap();
    let said: Vec<_> = difference.changes.iter().map(ToString::to_string).collect();
    difference.commit(&mut control).unwrap();
    assert_eq!(control.model().get(&eni), Some(&before));
    assert!(said.iter().all(|line| line.starts_with('+')), "{said:?}");
    let new = &difference.names.hosts["new"].enis[0];
    let address = control.model().get(new).unwrap().primary();
    assert_ne!(address, before.primary());
    assert_eq!(control.inconsistency(), None);
}

#[test]
fn a_file_cannot_take_away_what_the_apis_resources_need() {
    let old = parse(BASE);
    let (mut control, names) = old.control_plane().unwrap();
    let eni = by_api(&mut control, &names.vpcs["v"].subnets["b"]);
    let text = "name: lab\nvpcs: {v: {cidr: 10.0.0.0/16}}\n";
    let error = parse(text)
        .difference(&control, &old, &names, Instant::ZERO)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(eni.as_str()) && error.contains("delete that first"),
        "{error}"
    );
}

#[test]
fn other_dhcp_options_are_told_with_their_vpc() {
    let with = |options: &str| {
        let block = "    cidr: 10.0.0.0/16\n";
        edited(&[(block, &format!("{block}    dhcp_options: {options}\n"))])
    };
    let (control, names, said) = changed(BASE, &with("{domain_name: corp.example}"));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("VPC v") && said[0].contains("domain-name corp.example"),
        "{said:?}"
    );
    let options = control.model().dhcp_options_of(&names.vpcs["v"].id);
    assert_eq!(options.unwrap().values.listed().len(), 1);
    // And back: the set goes with what named it, the region's stays.
    let (control, _, said) = changed(&with("{domain_name: corp.example}"), BASE);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(control.model().dhcp_options().len(), 1);
    let none = changed(&with("{domain_name: a}"), &with("{domain_name: a}"));
    assert_eq!(none.2, Vec::<String>::new());
}
