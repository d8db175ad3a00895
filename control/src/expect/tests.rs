use super::*;

fn example(name: &str) -> String {
    let (_, text) = crate::topology::tests::examples()
        .into_iter()
        .find(|(file, _)| file.trim_end_matches(".yaml").ends_with(name))
        .unwrap();
    text
}

fn judged(text: &str) -> ExpectReport {
    run(&Topology::parse("t.yaml", text).unwrap()).unwrap()
}

#[test]
fn every_example_keeps_its_word() {
    for (file, text) in crate::topology::tests::examples() {
        let report = judged(&text);
        assert_eq!(report.failed, 0, "{file}:\n{report}");
        assert!(report.passed >= 3, "{file} expects little: {report}");
        assert!(
            report.results.iter().any(|outcome| !outcome.answered),
            "{file}"
        );
    }
}

#[test]
fn a_broken_topology_fails_with_the_way_and_what_to_change() {
    let text = example("three-tier");
    let rule = "          - {proto: tcp, ports: 8080, from: web}\n";
    assert!(text.contains(rule));
    let report = judged(&text.replace(rule, "          - {proto: tcp, ports: 8081, from: web}\n"));
    assert_eq!(report.failed, 1, "{report}");
    let failed = report
        .results
        .iter()
        .find(|outcome| !outcome.passed)
        .unwrap();
    assert!(!failed.answered && failed.dropped.contains(&"security_group".to_owned()));
    let text = report.to_string();
    for part in [
        "expected to be reachable; by trace it is not reachable",
        "by packets: no answer came; dropped: security_group",
        "to change that: add an inbound rule",
        &failed.place,
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let xml = junit(&report);
    assert!(xml.contains("failures=\"1\""), "{xml}");
    assert!(
        xml.contains("<failure message=\"expected to be reachable"),
        "{xml}"
    );
    assert!(!xml.contains("tcp 10.3.1.10:49153 > "), "unescaped: {xml}");
}

#[test]
fn each_kind_of_expectation_can_fail() {
    let text = example("privatelink");
    let base = text.split("\nexpect:").next().unwrap();
    let cases = [
        (
            "{from: client, to: \"service:80\", reachable: false}",
            "an answer came",
        ),
        ("{from: client, to: \"service:443\"}", "no answer came"),
        (
            "{from: client, to: \"service:443\", code: NO_ROUTE_TO_DESTINATION}",
            "expected for NO_ROUTE_TO_DESTINATION; by trace it is ENI_SG_RULES_MISMATCH",
        ),
        (
            "{from: client, to: \"service:80\", via: [web, service]}",
            "does not cross service",
        ),
        (
            "{from: client, to: \"service:80\", seen_as: 10.0.1.10}",
            "the other end saw 10.0.2.50",
        ),
    ];
    for (line, why) in cases {
        let report = judged(&format!("{base}\nexpect:\n  - {line}\n"));
        assert_eq!(report.failed, 1, "{line}: {report}");
        assert!(report.to_string().contains(why), "{line}: {report}");
    }
}

#[test]
fn a_file_that_expects_nothing_is_no_success() {
    let topology = Topology::parse("t.yaml", "name: t").unwrap();
    assert_eq!(run(&topology).unwrap_err().exit, crate::cli::Exit::Usage);
}
