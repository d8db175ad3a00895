//! The direction of dependencies (ARCHITECTURE §3), between crates and
//! inside `dataplane`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a member of the workspace")
        .to_owned()
}

/// Every Rust file below `directory`.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

/// Why `dataplane` may depend on none of these.
const BANNED: &[(&str, &str)] = &[
    (
        "vpclab ",
        "tables are pushed to the data plane; it asks nobody",
    ),
    ("tokio ", "workers are plain threads and never await"),
    ("rusqlite ", "the data plane keeps nothing"),
    ("smoltcp ", "hosts and health checks are control's"),
];

#[test]
fn dataplane_depends_on_neither_control_nor_a_runtime() {
    let out = Command::new(env!("CARGO"))
        .args(["tree", "--package", "vpclab-dataplane", "--edges", "normal"])
        .args(["--prefix", "none", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    let tree = String::from_utf8(out.stdout).unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(
        tree.starts_with("vpclab-dataplane "),
        "cargo tree: {errors}"
    );
    for (banned, why) in BANNED {
        let found = tree.lines().find(|line| line.starts_with(banned));
        assert_eq!(found, None, "{why}");
    }
}

/// The modules of `dataplane`, lowest first: each may import from lines above
/// its own, and from its neighbours within the line.
const LAYERS: &[&[&str]] = &[
    &["addr", "time", "drop", "sync"],
    &["counters", "packet"],
    &["lpm", "acl", "flow", "accounts", "nat", "gwlb", "io"],
    &["tables"],
    &["walk"],
    &["pipeline"],
    &["trace"],
    &["worker"],
    &["models"],
];

/// Neighbours that may not see each other: ports know packets, nothing else.
const APART: &[&str] = &["io"];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules named by `crate::…` in code; comments do not count.
fn imports(text: &str) -> Vec<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let mut found = Vec::new();
    for line in code {
        for after in line.split("crate::").skip(1) {
            let name: String = after
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            found.push(name);
        }
    }
    found
}

#[test]
fn imports_in_dataplane_point_down() {
    let src = root().join("dataplane/src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 20, "found {} files only", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&src).unwrap();
        let first = inside.components().next().unwrap();
        let module = Path::new(first.as_os_str()).file_stem().unwrap();
        let module = module.to_str().unwrap();
        if module == "lib" {
            continue;
        }
        let Some(own) = layer(module) else {
            wrong.push(format!("{module} has no place in the order of modules"));
            continue;
        };
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            let points_down = match layer(&import) {
                _ if import == module => true,
                Some(other) if other == own => {
                    !APART.contains(&module) && !APART.contains(&import.as_str())
                }
                Some(other) => other < own,
                None => false,
            };
            if !points_down {
                wrong.push(format!("{} imports {import}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrong_import_would_be_seen() {
    assert_eq!(imports("use crate::walk::Path;"), ["walk"]);
    assert_eq!(imports("    let x = crate::flow::Seed(1);"), ["flow"]);
    assert!(imports("/// [path](crate::walk::Path)").is_empty());
    assert!(layer("walk") > layer("flow"));
}

/// What the oracle's adapter may name of the data plane: rows and their builder,
/// addresses, time, frames, the pipeline's front door, names of reasons.
const SHOWN_TO_THE_ORACLE: &[&str] = &[
    "addr as a",
    "drop::DropReason",
    "packet::Frame",
    "pipeline::{Config, Pipeline, Sink}",
    "tables as t",
    "time::{Duration, Instant}",
];

#[test]
fn the_oracle_knows_nothing_of_what_it_judges() {
    let oracle = root().join("tests/oracle");
    let mut files = Vec::new();
    sources(&oracle, &mut files);
    assert!(files.len() > 10, "found {} files only", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let name = file.strip_prefix(&oracle).unwrap().to_str().unwrap();
        for line in fs::read_to_string(&file).unwrap().lines() {
            let line = line.trim();
            if line.starts_with("//") || !line.contains("vpclab") {
                continue;
            }
            let shown = SHOWN_TO_THE_ORACLE
                .iter()
                .any(|path| line == format!("use vpclab_dataplane::{path};"));
            // How to run a case again is told in a text.
            let told = line.contains("cargo test -p vpclab-tests");
            if told || (name == "adapter.rs" && shown) {
                continue;
            }
            wrong.push(format!("{name}: {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
