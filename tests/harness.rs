//! The lab as a library: what those call who test their own protocols with it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use vpclab::lab::{Capture, Lab};

/// Two hosts in a subnet.
const TWO: &str = "
name: two
vpcs:
  main:
    cidr: 10.0.0.0/16
    subnets:
      a: {cidr: 10.0.1.0/24, az: a}
hosts:
  one: {subnet: a}
  two: {subnet: a}
";

fn two() -> Lab {
    Lab::from_yaml(TWO).unwrap().seed(7)
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Without saying for what it waits.
#[test]
fn a_lab_runs_until_nothing_is_under_way() {
    let mut lab = two();
    let (one, two) = (lab.host("one"), lab.host("two"));
    two.tcp_listen(80).echo();
    let conn = one.tcp_connect(two.address(), 80);
    conn.send([7; 100_000]);
    lab.run_until_idle().unwrap();
    assert_eq!(conn.received_len(), 100_000, "there and back");
    let (start, frames) = (lab.now(), two.frames().len());
    lab.run_until_idle().unwrap();
    assert_eq!((lab.now(), two.frames().len()), (start, frames));
    // Whoever repeats what nobody answers keeps no lab from being idle.
    lab.link("one").loss(1.0);
    conn.send(b"lost");
    lab.run_until_idle().unwrap();
    assert_eq!(two.frames().len(), frames);
}

/// What a host sent in one lab is sent in another by a file.
#[test]
fn a_capture_is_replayed_in_another_lab() {
    let path = file("harness-replay.pcap");
    let mut lab = two();
    let (one, two) = (lab.host("one"), lab.host("two"));
    two.udp_bind(53);
    for question in [&b"first"[..], b"second"] {
        one.udp_send(4000, two.address(), 53, question);
        lab.run_until_idle().unwrap();
    }
    let heard = two.udp_received();
    assert_eq!(heard.len(), 2);
    Capture::of(one.sent_frames()).write(&path).unwrap();

    let mut again = self::two();
    again.host("two").udp_bind(53);
    again.replay_file(&path, "one").unwrap();
    again.run_until_idle().unwrap();
    assert_eq!(again.host("two").udp_received(), heard);
    assert!(again.replay_file(&path, "three").is_err(), "no such host");
    let error = again.replay_file(file("harness-none.pcap"), "one");
    assert!(error.is_err(), "no such file");
}

/// A smaller MTU at one end makes its packets smaller; who only counts what it gets keeps
/// none of it.
#[test]
fn hosts_send_no_larger_packets_than_they_are_told() {
    let mut lab = two();
    let (one, two) = (lab.host("one"), lab.host("two"));
    two.tcp_listen(80).discard();
    let mut largest = Vec::new();
    for mtu in [None, Some(600)] {
        one.clear_frames();
        if let Some(mtu) = mtu {
            one.set_mtu(mtu);
        }
        let conn = one.tcp_connect(two.address(), 80);
        conn.send([7; 20_000]);
        lab.run_until_idle().unwrap();
        let there = two.accepted_from(&conn).unwrap();
        assert_eq!((there.received_len(), there.data().len()), (20_000, 0));
        let sent = one.sent_frames();
        largest.push(sent.iter().map(|sent| sent.bytes.len()).max());
    }
    // With the Ethernet header.
    assert!(largest[0] > Some(5_000), "{largest:?}");
    assert_eq!(largest[1], Some(614), "{largest:?}");
}
