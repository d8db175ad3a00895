//! The fuzz targets of the search structures and of what stands between ports and the
//! kernel on a stable toolchain: their corpora, and fixed streams of bytes. A finding
//! is a panic there.

#![allow(
    clippy::unwrap_used,
    reason = "a missing or unreadable corpus is a failed test"
)]

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::flow::fuzzing::{Done, fuzz_flow};
use vpclab_dataplane::io::fuzzing::{fuzz_interface, fuzz_poller, fuzz_ring};
use vpclab_dataplane::lpm::fuzzing::{fuzz_arena, fuzz_lpm};

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = fs::read_dir(folder.join(name)).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let read = |path: PathBuf| (path.display().to_string(), fs::read(path).unwrap());
    files.into_iter().map(read).collect()
}

/// `len` bytes that `seed` decides.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|n| Seed(seed).words(&[n]) as u8)
        .collect()
}

#[test]
fn the_corpus_of_route_tables_reaches_every_structure_and_agrees_with_a_list() {
    let mut reached = HashSet::new();
    for (name, data) in corpus("lpm") {
        let family = data.first().map(|kind| kind & 1);
        if let Some(structure) = fuzz_lpm(&data) {
            reached.insert(format!("{family:?} {structure:?}"));
        } else {
            assert!(data.len() < 2, "{name} made no table");
        }
    }
    // IPv4: registers, tree, direct index, bitmap; IPv6: trees, bitmap.
    assert_eq!(reached.len(), 6, "{reached:?}");
}

#[test]
fn arbitrary_route_tables_agree_with_a_list() {
    for seed in 0..400 {
        let mut data = bytes(seed, 2 + (seed as usize * 7) % 300);
        // Few of them huge: those take a hundred times as long.
        if seed % 40 > 0 {
            data[0] = data[0] & 0xf1 | (seed as u8 % 6) << 1;
        }
        fuzz_lpm(&data);
    }
}

#[test]
fn runs_of_lines_agree_with_lists_of_their_own() {
    let streams = (0..60).map(|seed| bytes(seed, 400));
    let all = corpus("arena").into_iter().map(|(_, data)| data);
    // Tables are made and dropped by several threads.
    let done: Vec<[usize; 3]> = std::thread::scope(|scope| {
        let runs: Vec<_> = all
            .chain(streams)
            .map(|data| scope.spawn(move || fuzz_arena(&data)))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for what in 0..3 {
        assert!(
            done.iter().map(|done| done[what]).sum::<usize>() > 500,
            "{done:?}"
        );
    }
}

#[test]
fn the_flow_table_agrees_with_a_map() {
    let mut all = Done::default();
    let mut count = |data: &[u8]| {
        let done = fuzz_flow(data);
        all.added += done.added;
        all.refused += done.refused;
        all.removed += done.removed;
        all.expired += done.expired;
    };
    for (_, data) in corpus("flow") {
        count(&data);
    }
    for seed in 0..100 {
        count(&bytes(seed, 600));
    }
    // Each kind of step must have had an effect.
    let Done {
        added,
        refused,
        removed,
        expired,
    } = all;
    assert!(
        added > 1_000 && refused > 10 && removed > 100 && expired > 100,
        "{all:?}"
    );
}

#[test]
fn names_and_numbers_of_interfaces_are_handed_over_whole_or_refused() {
    let taken = |data: Vec<u8>| usize::from(fuzz_interface(&data));
    let corpus: usize = corpus("interface")
        .into_iter()
        .map(|(_, of)| taken(of))
        .sum();
    assert_eq!(corpus, 3, "two plain names, and one that is not ASCII");
    // Each number of low ones, each byte in a name, each length.
    let mut count = 0;
    for n in 0..=255u8 {
        let number = u32::from(n).rotate_right(u32::from(n % 3)).to_be_bytes();
        let name = [&b"eth"[..], &[n], &vec![b'x'; usize::from(n % 17)]].concat();
        count += taken([&number[..], &name].concat());
    }
    assert!((50..150).contains(&count), "{count}");
}

#[test]
fn whoever_is_waited_for_is_found_ready() {
    let corpus: usize = corpus("poller")
        .iter()
        .map(|(_, data)| fuzz_poller(data))
        .sum();
    let random: usize = (0..150).map(|seed| fuzz_poller(&bytes(seed, 200))).sum();
    assert!(corpus >= 8 && random > 1_000, "{corpus} {random}");
}

#[test]
fn a_run_of_the_ring_is_what_its_transfers_are_one_by_one() {
    let mut moved = 0;
    for data in corpus("ring")
        .into_iter()
        .map(|(_, data)| data)
        .chain((0..100).map(|seed| bytes(seed, 60 * (1 + seed as usize % 40))))
    {
        let Some(count) = fuzz_ring(&data) else {
            assert!(std::env::var_os("CI").is_none(), "CI needs io_uring");
            eprintln!("not run: io_uring is switched off here");
            return;
        };
        moved += count;
    }
    assert!(moved > 2_000, "{moved}");
}
