//! FIDELITY.md says what is so: every behaviour has a row, every row that
//! claims a test names one that exists, every assumption of the code is listed.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How many behaviours there are.
const BEHAVIOURS: u16 = 114;
const STATUSES: [&str; 4] = ["exact", "assumed", "approximate", "missing"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn fidelity() -> String {
    fs::read_to_string(root().join("FIDELITY.md")).unwrap()
}

struct Row {
    number: u16,
    status: String,
    test: String,
}

/// The rows of the behaviour tables: those whose first cell is a number.
fn rows(text: &str) -> Vec<Row> {
    let lines = text.lines().filter(|line| line.starts_with("| "));
    lines
        .filter_map(|line| {
            // An escaped bar is no separator.
            let line = line.replace("\\|", "");
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let number = cells.first()?.parse().ok()?;
            assert_eq!(cells.len(), 5, "row {number}: {line}");
            Some(Row {
                number,
                status: cells[2].to_owned(),
                test: cells[4].trim_matches('`').to_owned(),
            })
        })
        .collect()
}

fn rust_files(under: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// Names of the numbered test functions of the `behaviours` binary.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    rust_files(&root().join("tests/behaviours"), &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let source = fs::read_to_string(file).unwrap();
        for after in source.split("#[test]\n").skip(1) {
            let name = after.trim_start().strip_prefix("fn ").unwrap();
            let end = name.find('(').unwrap();
            names.insert(name[..end].to_owned());
        }
    }
    names
}

#[test]
fn every_behaviour_has_one_row_with_a_status() {
    let rows = rows(&fidelity());
    let numbers: Vec<u16> = rows.iter().map(|row| row.number).collect();
    let all: Vec<u16> = (1..=BEHAVIOURS).collect();
    assert_eq!(numbers, all);
    for row in &rows {
        let status = row.status.as_str();
        assert!(STATUSES.contains(&status), "{}: {status}", row.number);
    }
}

#[test]
fn every_row_that_is_not_missing_names_its_test() {
    let tests = tests();
    for row in rows(&fidelity()) {
        let claims = row.status != "missing";
        assert_eq!(
            claims,
            tests.contains(&row.test),
            "{}: {}",
            row.number,
            row.test
        );
        let prefix = format!("b{:03}_", row.number);
        let numbered = tests.iter().any(|name| name.starts_with(&prefix));
        assert_eq!(claims, numbered, "{}: tests and status differ", row.number);
        assert!(!claims || row.test.starts_with(&prefix), "{}", row.test);
    }
}

/// Numbers of the behaviours that scenarios with real programs check: `bNNN` in the
/// name of a part, or as the name of a function whose name its part has.
fn with_real_programs() -> BTreeSet<u16> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root().join("tests/scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ext| ext != "py") {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        let says = |line: &&str| line.contains("report.part(\"") || line.starts_with("def b");
        for line in source.lines().filter(says) {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric());
            let numbers = words.filter_map(|word| word.strip_prefix('b'));
            let numbers = numbers.filter(|digits| digits.len() == 3);
            found.extend(numbers.filter_map(|digits| digits.parse::<u16>().ok()));
        }
    }
    found
}

#[test]
fn behaviours_with_real_programs_are_listed() {
    let found = with_real_programs();
    let text = fidelity();
    let words: Vec<_> = text.split_whitespace().collect();
    let flat = words.join(" ");
    let (_, after) = flat.split_once("with real programs too:").unwrap();
    let (list, _) = after.split_once('.').unwrap();
    let listed: BTreeSet<u16> = list
        .split(',')
        .map(|number| number.trim().parse().unwrap())
        .collect();
    assert_eq!(listed, found, "FIDELITY.md, and tests/scenarios");
    // Those of endpoints, NAT, peering and load balancers, of services on the link.
    let wanted = |number: &u16| matches!(number, 11..=14 | 20..=23 | 50..=56 | 61..=67 | 71..=102);
    let of_services = found.iter().filter(|number| wanted(number)).count();
    assert!(of_services >= 25, "only {of_services}");
    // Nothing that is missing is shown.
    let rows = rows(&text);
    let missing = rows.iter().filter(|row| row.status == "missing");
    let shown: Vec<_> = missing.filter(|row| found.contains(&row.number)).collect();
    assert!(
        shown.is_empty(),
        "{:?}",
        shown.first().map(|row| row.number)
    );
}

#[test]
fn the_counts_in_the_introduction_are_right() {
    let text = fidelity();
    let rows = rows(&text);
    let count = |status: &str| {
        let of = rows.iter().filter(|row| row.status == status).count();
        format!("{of} {status}")
    };
    let counts = STATUSES.map(count).join(", ");
    assert!(
        text.contains(&counts),
        "the introduction should say: {counts}"
    );
}

#[test]
fn every_assumption_of_the_code_is_listed() {
    let text = fidelity();
    let mut files = Vec::new();
    for part in ["dataplane/src", "control/src"] {
        rust_files(&root().join(part), &mut files);
    }
    let assumes = |file: &PathBuf| fs::read_to_string(file).unwrap().contains("ASSUMPTION");
    let relative = |file: PathBuf| {
        let path = file.strip_prefix(root()).unwrap();
        path.display().to_string()
    };
    let in_code: BTreeSet<_> = files.into_iter().filter(assumes).map(relative).collect();
    assert!(!in_code.is_empty());
    let cells = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let paths = cells.map(|(path, _)| path.to_owned());
    let listed: BTreeSet<_> = paths.filter(|path| path.ends_with(".rs")).collect();
    let unlisted: Vec<_> = in_code.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&in_code).collect();
    assert!(unlisted.is_empty(), "not in FIDELITY.md: {unlisted:?}");
    assert!(
        stale.is_empty(),
        "in FIDELITY.md, not in the code: {stale:?}"
    );
}
