//! Hostile input through the whole pipeline, by every kind of port and at a
//! load balancer's node: each frame is counted once, nothing panics, and no
//! broken packet leaves.

#![allow(clippy::unwrap_used, reason = "a test stops where its data is bad")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::hostile::*;
use common::worlds::{bounce, only};
use common::*;
use vpclab_dataplane::packet::{Frame, tcp_flag};

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// Every file of the parsers' corpora and the worked packets, as frames.
fn frames() -> Vec<Vec<u8>> {
    let mut frames = vec![];
    for target in [
        "ethernet_ip",
        "arp",
        "nd",
        "geneve",
        "quoted",
        "tcp_options",
    ] {
        let files = fs::read_dir(corpus().join(target)).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        frames.extend(files.iter().map(|file| fs::read(file).unwrap()));
    }
    frames.extend(reference());
    frames
}

fn ethernet(packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = match packet[0] >> 4 {
        4 => [0x08, 0x00],
        _ => [0x86, 0xdd],
    };
    [&[2; 12][..], &kind, packet].concat()
}

/// The worked packets and what is inside them, in Ethernet; and plain traffic
/// of the live connections.
fn reference() -> Vec<Vec<u8>> {
    let text = include_str!("../testdata/gwlb.hex");
    let mut frames = vec![];
    for line in text.lines() {
        let (_, hex) = line.split_once(' ').unwrap();
        let packet: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        frames.extend([ethernet(&packet), ethernet(&packet[68..])]);
    }
    let live = [
        (0, 1, "10.0.1.10:40000", "203.0.113.80:443"),
        (0, 5, "203.0.113.80:443", "198.51.100.1:40000"),
        (1, 1, "10.0.1.10:40000", "10.0.2.20:443"),
        (1, 4, "10.0.2.40:8443", "10.0.1.30:2000"),
        (2, 2, "10.0.2.10:80", "10.0.1.10:40000"),
    ];
    for (world, from, src, dst) in live {
        let frame = busy(world).frame(from, &tcp(src, dst), tcp_flag::ACK, b"payload");
        frames.push(frame.bytes().to_vec());
    }
    frames
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

/// One run of many records in each world.
fn run(records: &[Vec<u8>]) -> (u64, u64) {
    let mut total = (0, 0);
    for world in 0..WORLDS {
        let data = [&[world][..], &records.concat()].concat();
        let (out, dropped) = fuzz_pipeline(&data);
        total = (total.0 + out, total.1 + dropped);
    }
    total
}

#[test]
fn every_truncation_by_every_port_and_at_the_node() {
    let mut records = vec![];
    for frame in reference() {
        for len in 0..=frame.len() {
            for port in 0..PORTS {
                records.push(record(port, MEND_MACS, (0, 0), &frame[..len]));
            }
            records.push(record(4, AT_NODE | MEND_MACS, (0, 0), &frame[..len]));
        }
    }
    let (out, dropped) = run(&records);
    assert!(out > 0 && dropped > 10_000, "{out} out, {dropped} dropped");
}

#[test]
fn the_corpora_of_the_parsers_by_every_port_with_every_offload() {
    let mut records = vec![];
    for frame in frames() {
        for port in 0..PORTS {
            for mend in [0, MEND_MACS, MEND_MACS | MEND_IP | MEND_TRANSPORT] {
                records.push(record(port, mend, (0, 0), &frame));
            }
            for offload in 0..16 {
                let size = offload * 13;
                records.push(record(port, MEND_MACS, (offload, size), &frame));
            }
        }
        for mend in [AT_NODE, AT_NODE | MEND_IP | MEND_TRANSPORT] {
            records.push(record(4, mend, (0, 0), &frame));
        }
    }
    let (out, dropped) = run(&records);
    assert!(out > 100 && dropped > 1000, "{out} out, {dropped} dropped");
}

#[test]
fn mutations_by_every_port_and_at_the_node() {
    const MUTATIONS: usize = 300_000;
    let mut stream = Stream(0x0076_7063_6c61_6221);
    let frames = frames();
    let reference = reference();
    let mut total = (0, 0);
    for _ in 0..MUTATIONS / 500 {
        let records: Vec<_> = (0..500)
            .map(|n| {
                let from = if n % 3 == 0 { &frames } else { &reference };
                let mut frame = from[stream.below(from.len())].clone();
                for _ in 0..=stream.below(3) {
                    if frame.is_empty() {
                        break;
                    }
                    let at = stream.below(frame.len());
                    // Small steps reach neighbouring values; a byte of any value the rest.
                    frame[at] = match stream.below(3) {
                        0 => frame[at] ^ (1 << stream.below(8)),
                        1 => stream.next() as u8,
                        _ => *[0, 1, 0x7f, 0x80, 0xff].get(stream.below(5)).unwrap(),
                    };
                }
                if stream.below(8) == 0 {
                    frame.truncate(stream.below(frame.len() + 1));
                }
                let mend = stream.next() as u8 & !(WAIT * u8::from(stream.below(50) > 0));
                let offload = if stream.below(3) == 0 {
                    (stream.next() as u8, stream.next() as u8)
                } else {
                    (0, 0)
                };
                record(stream.next() as u8, mend | MEND_MACS, offload, &frame)
            })
            .collect();
        let world = stream.below(usize::from(WORLDS)) as u8;
        let data = [&[world][..], &records.concat()].concat();
        let (out, dropped) = fuzz_pipeline(&data);
        total = (total.0 + out, total.1 + dropped);
    }
    let (out, dropped) = total;
    assert!(
        out > 1000 && dropped > 10_000,
        "{out} out, {dropped} dropped"
    );
}

#[test]
fn the_corpus_of_the_pipeline_replays() {
    let files = fs::read_dir(corpus().join("pipeline")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut total = (0, 0);
    for file in &files {
        let (out, dropped) = fuzz_pipeline(&fs::read(file).unwrap());
        total = (total.0 + out, total.1 + dropped);
    }
    assert!(files.len() > 5 && total.0 > 0 && total.1 > 0, "{total:?}");
}

#[test]
fn after_all_this_a_new_connection_passes() {
    let mut w = busy(0);
    for frame in frames() {
        for port in [1, 4, 5] {
            w.send(port, Frame::from_bytes(Default::default(), &frame));
        }
    }
    let out = w.tcp(1, "10.0.1.10:50000", "203.0.113.80:443", tcp_flag::SYN);
    let returned = bounce(only(out.out, 4));
    only(w.send(4, returned).out, 5);
}

/// Writes the seeds of the fuzz target: `cargo test -- --ignored write_corpus`.
#[test]
#[ignore = "writes the corpus"]
fn write_corpus() {
    let folder = corpus().join("pipeline");
    fs::create_dir_all(&folder).unwrap();
    for (n, frame) in reference().iter().enumerate() {
        for world in 0..WORLDS {
            let mut data = vec![world];
            for port in [1, 2, 4, 5] {
                data.extend(record(port, MEND_MACS | MEND_IP, (0, 0), frame));
            }
            data.extend(record(4, AT_NODE, (0, 0), frame));
            if n % 3 == usize::from(world) {
                fs::write(folder.join(format!("reference-{n}-{world}")), data).unwrap();
            }
        }
    }
    let tcp = &reference()[10];
    let offloaded = record(1, MEND_MACS, (6, 1), tcp);
    fs::write(folder.join("offloaded"), [&[0][..], &offloaded].concat()).unwrap();
    fs::write(folder.join("no-port"), record(0, 6, (0, 0), tcp)).unwrap();
}
