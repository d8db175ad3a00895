//! Hostile input on a stable toolchain: the fuzz corpora, and every truncation
//! and thousands of mutations of the reference packets, through every fuzz
//! function. A finding is a panic there; otherwise input is accepted or named
//! by a drop reason.

#![allow(
    clippy::unwrap_used,
    reason = "a missing or unreadable corpus is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::io::fuzzing::fuzz_vnet;
use vpclab_dataplane::packet::fuzzing::{TARGETS, Target};

/// Every target that takes packets: the parsers', and what a TAP gives.
fn targets() -> impl Iterator<Item = (&'static str, Target)> {
    TARGETS.into_iter().chain([("vnet", fuzz_vnet as Target)])
}

/// The outcomes of many inputs.
#[derive(Default)]
struct Tally {
    accepted: usize,
    dropped: BTreeMap<DropReason, usize>,
}

impl Tally {
    fn run(&mut self, target: Target, data: &[u8]) {
        match target(data) {
            Ok(()) => self.accepted += 1,
            Err(reason) => *self.dropped.entry(reason).or_default() += 1,
        }
    }

    fn total(&self) -> usize {
        self.accepted + self.dropped.values().sum::<usize>()
    }
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The worked packets A to E of the GENEVE reference, outer IPv4 header first.
fn reference_packets() -> Vec<(String, Vec<u8>)> {
    let text = fs::read_to_string(package().join("testdata/gwlb.hex")).unwrap();
    let packets: Vec<_> = text
        .lines()
        .map(|line| {
            let (name, hex) = line.split_once(' ').unwrap();
            let bytes = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            (name.to_owned(), bytes)
        })
        .collect();
    assert_eq!(packets.len(), 5);
    packets
}

/// The forms in which a packet meets the parsers: each layer's bytes from its
/// start, in Ethernet or bare, with metadata for the segmenter, and as a TAP gives
/// it: with a checksum to be completed, and to be cut besides.
fn forms(packet: &[u8]) -> Vec<Vec<u8>> {
    let ethernet = |ip: &[u8]| {
        let ethertype: [u8; 2] = match ip[0] >> 4 {
            4 => [0x08, 0x00],
            _ => [0x86, 0xdd],
        };
        [&[2; 12][..], &ethertype, ip].concat()
    };
    let inner = &packet[68..];
    let metadata = |kind: u8, frame: Vec<u8>| [&[kind, 0, 16, 0, 100][..], &frame].concat();
    let vnet = |kind: u8, offset: u16, frame: Vec<u8>| {
        let words = [54, 16, 34, offset, 0u16].map(u16::to_ne_bytes);
        [&[1, kind][..], words.as_flattened(), &frame].concat()
    };
    vec![
        ethernet(packet),
        ethernet(inner),
        packet.to_vec(),
        inner.to_vec(),
        packet[28..].to_vec(),
        metadata(0x01, ethernet(inner)),
        metadata(0x02, ethernet(packet)),
        metadata(0x84, ethernet(inner)),
        vnet(0, 6, ethernet(packet)),
        vnet(1, 16, ethernet(inner)),
        vnet(5, 6, ethernet(packet)),
    ]
}

/// SplitMix64: a fixed stream of numbers, so that a failure repeats.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

/// Each file is in every clone, and replayed by every run: seeds, not what a fuzzer gathers.
/// Every target that there is has some.
#[test]
fn corpora_are_small_and_one_for_each_target() {
    let list = |folder: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(package().join("fuzz").join(folder)).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let stems = |folder: &str| -> Vec<_> {
        let stem = |path: &PathBuf| path.file_stem().unwrap().to_owned();
        list(folder).iter().map(stem).collect()
    };
    assert_eq!(stems("corpus"), stems("fuzz_targets"));
    let folders = list("corpus").into_iter();
    let files: Vec<_> = folders
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    assert!(files.len() <= 300, "{} files", files.len());
    assert!(files.iter().sum::<u64>() <= 128 << 10, "more than 128 KiB");
}

#[test]
fn corpora_replay_without_a_panic() {
    for (name, target) in targets() {
        let folder = package().join("fuzz/corpus").join(name);
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let mut tally = Tally::default();
        for file in &files {
            tally.run(target, &fs::read(file).unwrap());
        }
        // A corpus that is all accepted or all dropped tests half a parser.
        assert_eq!(tally.total(), files.len());
        assert!(tally.accepted > 0, "{name}: nothing was accepted");
        assert!(!tally.dropped.is_empty(), "{name}: nothing was dropped");
    }
}

#[test]
fn every_truncation_of_the_reference_packets_is_survived() {
    for (name, packet) in reference_packets() {
        for form in forms(&packet) {
            for len in 0..=form.len() {
                for (_, target) in targets() {
                    let _ = target(&form[..len]);
                }
            }
        }
        // Of the frame itself, only the whole is accepted.
        let frame = &forms(&packet)[0];
        let (_, parse) = TARGETS[0];
        assert_eq!(parse(frame), Ok(()), "{name}");
        for len in 0..frame.len() {
            assert!(parse(&frame[..len]).is_err(), "{name} cut to {len} bytes");
        }
    }
}

#[test]
fn mutations_of_the_reference_packets_are_survived() {
    const MUTATIONS: usize = 2000;
    let mut stream = Stream(0x7663_6c61_6221);
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for (_, packet) in reference_packets() {
        let forms = forms(&packet);
        for number in 0..MUTATIONS {
            let mut data = forms[number % forms.len()].clone();
            for _ in 0..=stream.below(2) {
                let at = stream.below(data.len());
                data[at] = stream.next() as u8;
            }
            for (name, target) in targets() {
                tallies.entry(name).or_default().run(target, &data);
            }
        }
    }
    for (name, tally) in &tallies {
        assert_eq!(tally.total(), 5 * MUTATIONS, "{name}");
        assert!(!tally.dropped.is_empty(), "{name}: no mutation was dropped");
    }
    // Mutants reach past the checks of the first bytes.
    for name in [
        "ethernet_ip",
        "quoted",
        "geneve",
        "tcp_options",
        "segment",
        "vnet",
    ] {
        assert!(tallies[name].accepted > 0, "{name}: no mutant was accepted");
    }
}
