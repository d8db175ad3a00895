//! Small rules about the text of the program.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use vpclab_dataplane::drop::DropReason;

/// The most lines that a file may have, tests included.
const LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a member of the workspace")
        .to_owned()
}

/// Every Rust file of the workspace, by its path from the root, with its text.
fn sources() -> Vec<(String, String)> {
    fn visit(root: &Path, directory: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(root, &path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let name = path.strip_prefix(root).unwrap();
                let text = fs::read_to_string(&path).unwrap();
                found.push((name.to_str().unwrap().to_owned(), text));
            }
        }
    }
    let (root, mut found) = (root(), Vec::new());
    for part in ["dataplane", "control", "benches", "tests"] {
        for inner in ["src", "tests", "benches", "fuzz/fuzz_targets", "."] {
            let directory = root.join(part).join(inner);
            if inner != "." && directory.is_dir() {
                visit(&root, &directory, &mut found);
            }
        }
    }
    // The tests' crate has its files beside its manifest.
    for entry in fs::read_dir(root.join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let is_known = ["src", "tests", "benches"]
            .iter()
            .any(|known| path.ends_with(known));
        if path.is_dir() && !is_known {
            visit(&root, &path, &mut found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let name = path.strip_prefix(&root).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            found.push((name.to_str().unwrap().to_owned(), text));
        }
    }
    found.sort();
    found.dedup();
    assert!(found.len() > 50, "found {} files only", found.len());
    found
}

#[test]
fn files_are_short() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|&(_, lines)| lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "more than {LINES_MAX} lines: {long:?}");
}

#[test]
fn what_is_left_to_do_names_its_issue() {
    // Written in two parts, so that this file does not find itself.
    let mark = concat!("TO", "DO");
    let with_issue = |rest: &str| {
        let number = rest
            .strip_prefix("(#")
            .and_then(|rest| rest.split_once(')'));
        number.is_some_and(|(number, _)| {
            !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
        })
    };
    assert!(with_issue("(#12): x") && !with_issue(": x") && !with_issue("(#)"));
    let mut bare = Vec::new();
    for (name, text) in sources() {
        for (at, line) in text.lines().enumerate() {
            if line.split(mark).skip(1).any(|rest| !with_issue(rest)) {
                bare.push(format!("{name}:{}", at + 1));
            }
        }
    }
    assert!(bare.is_empty(), "write {mark}(#issue): {bare:?}");
}

/// Files of the walk that are no stage.
const NO_STAGE: &[&str] = &["mod.rs", "path.rs", "connections.rs"];

#[test]
fn each_stage_says_what_it_reads_and_drops_and_where_aws_says_so() {
    let walk = root().join("dataplane/src/walk");
    let mut stages = 0;
    for entry in fs::read_dir(walk).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if NO_STAGE.contains(&name.as_str()) || path.is_dir() {
            continue;
        }
        stages += 1;
        let text = fs::read_to_string(&path).unwrap();
        let head: Vec<&str> = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        for heading in ["Reads:", "Drops:", "AWS:"] {
            let has = head
                .iter()
                .any(|line| line.starts_with(&format!("//! {heading}")));
            assert!(has, "{name}: no '{heading}' in its head");
        }
    }
    assert!(stages >= 8, "found {stages} stages only");
}

/// Reasons that no test names, each with why.
const UNTESTED: &[(DropReason, &str)] = &[
    (
        DropReason::PortAllocation,
        "needs 55 000 connections; nat has the count",
    ),
    (
        DropReason::LocalBusy,
        "needs a full queue to a thread; counted as the drop log is",
    ),
];

#[test]
fn each_drop_reason_has_a_test() {
    let mut tests = String::new();
    for (name, text) in sources() {
        if name.contains("/tests/") || name.starts_with("tests/") || name.ends_with("/tests.rs") {
            if name != "tests/tidy.rs" {
                tests.push_str(&text);
            }
        } else if let Some((_, after)) = text.split_once("#[cfg(test)]\nmod tests {") {
            tests.push_str(after);
        }
    }
    let missing: Vec<_> = DropReason::ALL
        .iter()
        .filter(|reason| !tests.contains(&format!("DropReason::{reason:?}")))
        .filter(|reason| !UNTESTED.iter().any(|(excepted, _)| excepted == *reason))
        .collect();
    assert!(missing.is_empty(), "no test is about {missing:?}");
}

#[test]
fn the_documentation_of_the_data_plane_builds_without_warnings() {
    let out = std::process::Command::new(env!("CARGO"))
        .args(["doc", "--package", "vpclab-dataplane", "--no-deps"])
        .args(["--offline", "--locked", "--quiet"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{errors}");
}
