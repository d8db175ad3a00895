//! Traces of the shipped examples.

use super::*;
use crate::topology::Topology;

fn trace_in(file: &str, from: &str, to: &str, port: u16) -> Result<TraceReport, CliError> {
    let path = format!("{}/../examples/{file}", env!("CARGO_MANIFEST_DIR"));
    let topology = Topology::load(path.as_ref()).expect("the example is right");
    let (control, _) = topology.control_plane().expect("the example applies");
    let request = TraceRequest {
        from: from.to_owned(),
        to: to.to_owned(),
        port: Some(port),
        protocol: "tcp".to_owned(),
        source_port: 49152,
    };
    answer(control.model(), &control.tables().load(), &request, 7)
}

#[test]
fn an_inspected_path_shows_every_hop_both_ways() {
    let report = trace_in("gwlb-inspection.yaml", "app", "203.0.113.80", 443).unwrap();
    assert!(report.reachable, "{report}");
    assert_eq!((&report.code, &report.fix), (&None, &None));
    let rules = |hops: &[HopReport], component: &str| -> Vec<String> {
        let of = hops
            .iter()
            .filter(|hop| hop.component.starts_with(component));
        of.map(|hop| hop.rule.clone()).collect()
    };
    let there = rules(&report.forward, "route table");
    assert!(there[0].starts_with("0.0.0.0/0 → vpce-0") && there[0].ends_with("(inspect)"));
    assert!(there[3].starts_with("0.0.0.0/0 → igw-"), "{there:?}");
    for hops in [&report.forward, &report.reply] {
        assert_eq!(
            rules(hops, "GWLB endpoint").len(),
            2,
            "into the tunnel and out"
        );
        assert_eq!(
            rules(hops, "internet gateway"),
            ["public address 198.51.100.10"]
        );
        assert!(hops.iter().all(|hop| hop.verdict == "pass"));
    }
    let edge = rules(&report.reply, "route table");
    assert!(edge[0].starts_with("10.1.1.0/24 → vpce-0"), "{edge:?}");
    let last = report.reply.last().unwrap();
    assert_eq!(last.after, "tcp 203.0.113.80:443 > 10.1.1.10:49152");
}

#[test]
fn a_blocked_path_names_the_code_the_rule_and_the_change() {
    let report = trace_in("three-tier.yaml", "web", "db", 5432).unwrap();
    assert!(!report.reachable && report.reply.is_empty());
    assert_eq!(report.code.as_deref(), Some("SUBNET_ACL_RESTRICTION"));
    assert_eq!(report.reason.as_deref(), Some("network_acl"));
    let last = report.forward.last().unwrap();
    assert!(last.component.contains("(database)"), "{}", last.component);
    assert_eq!(
        (&*last.rule, &*last.verdict),
        ("entry *: deny", "drop: network_acl")
    );
    let fix = report.fix.as_deref().unwrap();
    assert!(
        fix.starts_with("add an inbound rule from 10.3.1.10/32 to acl-"),
        "{fix}"
    );
    assert!(fix.ends_with("(database): allow tcp 5432"), "{fix}");
    let text = report.to_string();
    assert!(
        text.contains("  ✗ network ACL database (in)") && text.contains("to change that: "),
        "{text}"
    );
    assert!(
        format!("{report:#}").contains("  ✗ network ACL acl-"),
        "{report:#}"
    );

    let report = trace_in("privatelink.yaml", "client", "service", 81).unwrap();
    assert_eq!(
        report.code.as_deref(),
        Some("ENI_SG_RULES_MISMATCH"),
        "{report}"
    );
    assert!(
        report.fix.as_deref().unwrap().contains("tcp 81"),
        "{report}"
    );
}

#[test]
fn json_has_the_fields_that_tools_rely_on() {
    let report = trace_in("privatelink.yaml", "client", "service", 80).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["reachable"], true);
    assert!(json["code"].is_null());
    for way in ["forward", "reply"] {
        for hop in json[way].as_array().unwrap() {
            for field in ["component", "rule", "before", "after", "verdict"] {
                assert!(hop[field].is_string(), "{field} of {hop}");
            }
        }
    }
}

#[test]
fn what_cannot_be_traced_says_what_to_write() {
    for (from, to, message) in [
        ("nobody", "10.0.1.1", "no host or ENI is named `nobody`"),
        (
            "client",
            "nowhere",
            "`nowhere` is no address, host or endpoint",
        ),
    ] {
        let error = trace_in("privatelink.yaml", from, to, 80).unwrap_err();
        assert_eq!(
            (error.exit, &*error.message),
            (crate::cli::Exit::Usage, message)
        );
        assert!(error.fix.is_some());
    }
}
