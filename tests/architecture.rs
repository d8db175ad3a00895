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
    &["lpm", "flow", "accounts", "nat", "gwlb", "io"],
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

/// An unsafe leaf of the data plane, and who watches over it.
struct Leaf {
    /// Below `dataplane/src`; with what is in the directory of the same name.
    file: &'static str,
    /// Fuzz targets that drive it.
    fuzzed: &'static [&'static str],
    /// Tests that compare it with its scalar twin or with a plain model: file, function.
    compared: &'static [(&'static str, &'static str)],
}

const LEAVES: &[Leaf] = &[
    Leaf {
        file: "flow/memory.rs",
        fuzzed: &["flow"],
        compared: &[
            ("src/flow/memory.rs", "equal_places_are_found_by_both_twins"),
            ("src/flow/memory.rs", "lines_are_appended_by_both_twins"),
            (
                "src/flow/memory.rs",
                "hints_change_nothing_and_accept_any_place",
            ),
            ("tests/structures.rs", "the_flow_table_agrees_with_a_map"),
        ],
    },
    Leaf {
        file: "io/sys/attach.rs",
        fuzzed: &["interface"],
        compared: &[(
            "tests/structures.rs",
            "names_and_numbers_of_interfaces_are_handed_over_whole_or_refused",
        )],
    },
    Leaf {
        file: "io/sys/mod.rs",
        fuzzed: &["interface", "vnet"],
        compared: &[(
            "tests/structures.rs",
            "names_and_numbers_of_interfaces_are_handed_over_whole_or_refused",
        )],
    },
    Leaf {
        file: "io/sys/poller.rs",
        fuzzed: &["poller"],
        compared: &[
            ("src/io/sys/poller.rs", "few_and_many_are_found_ready_alike"),
            (
                "tests/structures.rs",
                "whoever_is_waited_for_is_found_ready",
            ),
        ],
    },
    Leaf {
        file: "io/sys/uring.rs",
        fuzzed: &["ring"],
        compared: &[(
            "tests/structures.rs",
            "a_run_of_the_ring_is_what_its_transfers_are_one_by_one",
        )],
    },
    Leaf {
        file: "lpm/arena.rs",
        fuzzed: &["arena"],
        compared: &[(
            "tests/structures.rs",
            "runs_of_lines_agree_with_lists_of_their_own",
        )],
    },
    Leaf {
        file: "lpm/simd.rs",
        fuzzed: &["lpm"],
        compared: &[(
            "tests/structures.rs",
            "arbitrary_route_tables_agree_with_a_list",
        )],
    },
];

/// Whether a line of code has unsafe code in it, or lets some in.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let mut words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.any(|word| word == "unsafe" || word == "unsafe_code")
}

#[test]
fn each_unsafe_leaf_is_fuzzed_and_compared_with_its_twin() {
    let src = root().join("dataplane/src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut found: Vec<String> = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        if text.lines().any(is_unsafe) {
            let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
            // Parts of a leaf are in the directory of its name.
            let whole = LEAVES.iter().map(|leaf| leaf.file).find(|file| {
                let (stem, _) = file.split_once(".rs").unwrap();
                name.starts_with(&format!("{stem}/"))
            });
            found.push(whole.unwrap_or(name).to_owned());
            // `undocumented_unsafe_blocks` asks for one at each block; this for why at all.
            assert!(
                text.contains("JUSTIFICATION:") && text.contains("SAFETY:"),
                "{name} does not say why it must be, and why it may be"
            );
        }
    }
    found.sort();
    found.dedup();
    let known: Vec<_> = LEAVES.iter().map(|leaf| leaf.file).collect();
    assert_eq!(
        found, known,
        "leaves with unsafe code, and those known here"
    );

    let dataplane = root().join("dataplane");
    let manifest = fs::read_to_string(dataplane.join("fuzz/Cargo.toml")).unwrap();
    let corpora = [
        fs::read_to_string(dataplane.join("tests/corpus.rs")).unwrap(),
        fs::read_to_string(dataplane.join("tests/structures.rs")).unwrap(),
    ]
    .concat();
    for leaf in LEAVES {
        assert!(!leaf.fuzzed.is_empty() && !leaf.compared.is_empty());
        for target in leaf.fuzzed {
            let path = format!("fuzz_targets/{target}.rs");
            let text = fs::read_to_string(dataplane.join("fuzz").join(&path));
            let text = text.unwrap_or_else(|error| panic!("{path}: {error}"));
            let entry = format!("fuzz_{target}");
            assert!(text.contains(&format!("{entry}(data)")), "{path}");
            assert!(manifest.contains(&format!("path = \"{path}\"")), "{path}");
            assert!(corpora.contains(&entry), "no test replays {path}");
        }
        for (file, function) in leaf.compared {
            let text = fs::read_to_string(dataplane.join(file)).unwrap();
            let is_there = text.contains(&format!("fn {function}("));
            assert!(is_there, "{}: no {function} in {file}", leaf.file);
        }
    }
}

#[test]
fn unsafe_code_would_be_seen() {
    assert!(is_unsafe("    unsafe { f() }") && is_unsafe("    unsafe_code,"));
    assert!(is_unsafe("pub unsafe fn f();"));
    assert!(!is_unsafe("// SAFETY: unsafe") && !is_unsafe("let unsafer = 1;"));
}

/// Where the data plane has locks, and why no packet waits for one.
const LOCKS: &[(&str, &str)] = &[
    (
        "io/memory.rs",
        "a port of tests, with a host at its other end",
    ),
    (
        "lpm/arena.rs",
        "who makes and drops tables, among themselves",
    ),
    (
        "sync.rs",
        "names them; loom's stand for those of std in models",
    ),
    ("tables/publish.rs", "who publishes, among themselves"),
    (
        "worker/ring.rs",
        "a tray's slot is tried once by whose turn it is",
    ),
];

/// What may make a thread wait for another.
const WAITS: &[&str] = &[
    "Mutex", "RwLock", "Condvar", "Barrier", "OnceLock", "LazyLock", "park", "sleep",
];

/// Whether code (no comment) has a word that may make a thread wait.
fn may_wait(text: &str) -> bool {
    let code = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .any(|word| WAITS.contains(&word))
}

/// Allocations are counted where packets pass (`dataplane/tests/allocations.rs`); of locks
/// there are none to be found on their way.
#[test]
fn no_packet_waits_for_a_lock() {
    let src = root().join("dataplane/src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut found: Vec<String> = files
        .iter()
        .filter(|file| may_wait(&fs::read_to_string(file).unwrap()))
        .map(|file| file.strip_prefix(&src).unwrap().display().to_string())
        .collect();
    found.sort();
    let known: Vec<_> = LOCKS.iter().map(|(file, _)| *file).collect();
    assert_eq!(found, known, "files with locks, and those known here");
    let ring = fs::read_to_string(src.join("worker/ring.rs")).unwrap();
    assert!(ring.contains(".try_lock()") && !ring.contains(".lock()"));
}

#[test]
fn a_lock_would_be_seen() {
    assert!(may_wait("let held: Mutex<u32>;") && may_wait("std::thread::park();"));
    assert!(!may_wait("// Mutex") && !may_wait("let parked = mutex;"));
}
