//! Services on the link: what goes to them, what does not, and how much.

#![allow(clippy::unwrap_used, reason = "a test stops where its data is bad")]

mod common;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{Frame, protocol, tcp_flag};
use vpclab_dataplane::tables::VpcRow;

fn udp(w: &mut World, src: &str, dst: &str) -> Seen {
    let frame = w.frame(1, &tuple(protocol::UDP, src, dst), 0, b"question");
    w.send(1, frame)
}

/// Gives the world's VPC another row.
fn vpc(w: &mut World, change: impl FnOnce(&mut VpcRow)) {
    let mut row = w.tables.vpcs.row(VpcId(1)).unwrap().clone();
    change(&mut row);
    w.edit(|b| b.set_vpc(VpcId(1), Some(row)));
}

#[test]
fn each_service_is_at_its_address_and_port_only() {
    let mut w = east_west();
    for (src, dst, served) in [
        ("10.0.1.10:4000", "10.0.0.2:53", true),
        ("10.0.1.10:4000", "169.254.169.253:53", true),
        ("10.0.1.10:4000", "169.254.169.123:123", true),
        // Each port for itself; another subnet's third address is nobody's.
        ("10.0.1.10:4000", "10.0.0.2:54", false),
        ("10.0.1.10:4000", "169.254.169.253:123", false),
        ("10.0.1.10:4000", "169.254.169.254:80", false),
        ("10.0.1.10:4000", "169.254.169.250:53", false),
    ] {
        let seen = udp(&mut w, src, dst);
        assert_eq!(seen.local.len(), usize::from(served), "{dst}");
        let drops = if served {
            vec![]
        } else {
            vec![(EniId(1), DropReason::NotAnswered)]
        };
        assert_eq!(seen.drops, drops, "{dst}");
    }
    let seen = w.tcp(1, "10.0.1.10:4000", "169.254.169.254:80", tcp_flag::SYN);
    assert_eq!(seen.local.len(), 1);
    assert_eq!(seen.local[0].0, EniId(1), "named by the sender's interface");
    // Whoever is not the sender is not answered in its stead.
    let seen = udp(&mut w, "10.0.1.99:4000", "10.0.0.2:53");
    assert_eq!(seen.drops, [(EniId(1), DropReason::SourceDestCheck)]);
}

#[test]
fn without_dns_support_the_resolver_is_off_and_time_is_not() {
    let mut w = east_west();
    vpc(&mut w, |row| row.dns_support = false);
    for dst in ["10.0.0.2:53", "169.254.169.253:53"] {
        let seen = udp(&mut w, "10.0.1.10:4000", dst);
        assert_eq!(seen.drops, [(EniId(1), DropReason::ResolverOff)], "{dst}");
    }
    let seen = udp(&mut w, "10.0.1.10:4000", "169.254.169.123:123");
    assert_eq!(seen.local.len(), 1);
}

#[test]
fn the_limit_counts_what_is_for_these_services() {
    let mut w = east_west();
    let ask = |w: &mut World, dst: &str| udp(w, "10.0.1.10:4000", dst);
    for n in 0..1030 {
        let dst = if n % 2 == 0 {
            "10.0.0.2:53"
        } else {
            "169.254.169.123:123"
        };
        let seen = ask(&mut w, dst);
        let drops = if n < 1024 {
            vec![]
        } else {
            vec![(EniId(1), DropReason::ServiceRate)]
        };
        assert_eq!(seen.drops, drops, "{n}");
    }
    // Traffic and DHCP have nothing to do with it.
    only(ask(&mut w, "10.0.2.10:53").out, 2);
    let dhcp = tuple(protocol::UDP, "0.0.0.0:68", "255.255.255.255:67");
    let frame = w.frame(1, &dhcp, 0, b"discover");
    assert_eq!(w.send(1, frame).local.len(), 1);
    w.wait(1);
    assert_eq!(ask(&mut w, "10.0.0.2:53").local.len(), 1);
}

#[test]
fn an_answer_reaches_the_host_past_everything_but_a_host_that_is_gone() {
    let mut w = east_west();
    w.group(1, vec![], vec![]);
    let answer = |w: &World, port| {
        let mut frame = w.frame(
            1,
            &tuple(protocol::UDP, "10.0.0.2:53", "10.0.1.10:4000"),
            0,
            b"a",
        );
        frame.port = EniId(port);
        frame
    };
    let serve = |w: &mut World, frame: Frame| {
        let mut seen = Seen::default();
        let mut frames = vec![frame];
        w.pipeline.serve(w.now, &w.tables, &mut frames, &mut seen);
        let (taken, given) = w.pipeline.counters().balance();
        assert_eq!(taken, given);
        seen
    };
    let frame = answer(&w, 1);
    only(serve(&mut w, frame).out, 1);
    let frame = answer(&w, 99);
    assert_eq!(serve(&mut w, frame).drops[0].1, DropReason::NoSuchPort);
    w.eni_edit(1, |row| row.attached = false);
    let frame = answer(&w, 1);
    assert_eq!(serve(&mut w, frame).drops[0].1, DropReason::Detached);
}
