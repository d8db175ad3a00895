//! One route changed after the other beside flows that are cached: each acts on the
//! next packet, and what concerns nobody costs nobody a walk.

#![allow(clippy::unwrap_used, reason = "a test stops where its data is bad")]

mod common;

use std::net::IpAddr;

use common::worlds::{east_west, everything};
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::packet::protocol;
use vpclab_dataplane::tables::*;

const TABLE: RouteTableId = RouteTableId(1);

/// Host 1 sends; hosts 2 and 3 are routers: what is not theirs may reach them.
fn world() -> World {
    let mut w = east_west();
    w.group(1, everything(), everything());
    w.eni(3, 2, &["10.0.2.11"], &[1], EniKind::Host);
    for router in [2, 3] {
        w.eni_edit(router, |eni| eni.source_dest_check = false);
    }
    w
}

fn set(w: &mut World, prefix: &str, eni: Option<u32>) {
    let prefix: Prefix = prefix.parse().unwrap();
    let route = eni.map(|eni| Route {
        prefix,
        target: RouteTarget::Eni(EniId(eni)),
        origin: RouteOrigin::Static,
        label: label("route"),
    });
    w.edit(|b| b.set_route(TABLE, prefix, RouteOrigin::Static, route));
}

/// The port by which a packet to `dst` leaves, if it does, and whether it was cached.
fn send(w: &mut World, dst: &str) -> (Option<u32>, bool) {
    let hits = w.pipeline.counters().flow_hits;
    let tuple = tuple(protocol::UDP, "10.0.1.10:4000", &format!("{dst}:53"));
    let frame = w.frame(1, &tuple, 0, b"question");
    let seen = w.send(1, frame);
    let port = seen.out.first().map(|(at, _)| at.0).filter(|at| *at != 1);
    (port, w.pipeline.counters().flow_hits > hits)
}

#[test]
fn a_change_of_another_route_leaves_a_flow_cached_and_one_of_its_own_acts_at_once() {
    let mut w = world();
    set(&mut w, "172.16.0.0/16", Some(2));
    assert_eq!(send(&mut w, "172.16.5.5"), (Some(2), false));
    assert_eq!(send(&mut w, "172.16.5.5"), (Some(2), true));
    for n in 0..300 {
        // Several changes between two packets, in all more than are remembered.
        set(&mut w, &format!("172.17.{}.0/24", n % 256), Some(2 + n % 2));
        if n % 7 == 0 {
            assert_eq!(send(&mut w, "172.16.5.5"), (Some(2), true), "{n}");
        }
    }
    set(&mut w, "172.16.5.0/24", Some(3));
    assert_eq!(send(&mut w, "172.16.5.5"), (Some(3), false));
    assert_eq!(send(&mut w, "172.16.5.5"), (Some(3), true));
    set(&mut w, "172.16.5.0/24", None);
    assert_eq!(send(&mut w, "172.16.5.5"), (Some(2), false));
    set(&mut w, "172.16.0.0/16", Some(3));
    assert_eq!(send(&mut w, "172.16.5.5").0, Some(3));
    set(&mut w, "172.16.0.0/16", None);
    assert_eq!(send(&mut w, "172.16.5.5").0, None);
    set(&mut w, "172.16.0.0/12", Some(2));
    assert_eq!(send(&mut w, "172.16.5.5").0, Some(2));
}

/// The range of a route grows when its neighbour goes, and a flow in the new part
/// must not be taken for one that rests on the old range only.
#[test]
fn a_flow_in_the_new_part_of_a_range_that_grew_sees_changes_there() {
    let mut w = world();
    set(&mut w, "172.16.0.0/16", Some(2));
    set(&mut w, "172.16.200.0/24", Some(3));
    assert_eq!(send(&mut w, "172.16.5.5").0, Some(2));
    set(&mut w, "172.16.200.0/24", None);
    assert_eq!(send(&mut w, "172.16.200.9").0, Some(2));
    assert_eq!(send(&mut w, "172.16.200.9"), (Some(2), true));
    set(&mut w, "172.16.200.0/24", Some(3));
    assert_eq!(send(&mut w, "172.16.200.9").0, Some(3));
    assert_eq!(send(&mut w, "172.16.5.5").0, Some(2));
}

#[test]
fn random_changes_act_on_every_flow_that_they_concern() {
    let mut w = world();
    let (mut cached, mut moved) = (0, 0);
    let mut before = [None; 24];
    for step in 0..2_000u64 {
        let word = Seed(11).words(&[step]);
        let byte = |n: u32| (word >> (8 * n)) as u8;
        let target = [None, Some(2), Some(3), Some(2)][usize::from(byte(0) % 4)];
        let (high, low) = (byte(1) % 4, byte(2) % 16 * 16);
        let len = [12, 14, 16, 20, 24, 28][usize::from(byte(3) % 6)];
        let address: IpAddr = [172, 16 + high, low, byte(4)].into();
        let prefix = Prefix::new(address, len).unwrap();
        // Now and then several changes between two packets.
        set(&mut w, &prefix.to_string(), target);
        if byte(5) % 3 == 0 {
            continue;
        }
        for (n, before) in before.iter_mut().enumerate() {
            let word = Seed(12).words(&[n as u64]);
            let address: IpAddr = [172, 16 + (word % 4) as u8, (word >> 8) as u8, 9].into();
            let table = w.tables.route_tables.row(TABLE).unwrap();
            let expected = table.lookup(address).map(|hit| match hit.route.target {
                RouteTarget::Eni(eni) => eni.0,
                _ => panic!("{:?}", hit.route),
            });
            let (port, hit) = send(&mut w, &address.to_string());
            assert_eq!(port, expected, "step {step}, {address}");
            cached += u32::from(hit);
            moved += u32::from(port != *before);
            *before = port;
        }
    }
    assert!(
        cached > 10_000 && moved > 500,
        "{cached} cached, {moved} moved"
    );
}

#[test]
fn equal_tables_keep_one_structure_until_they_differ() {
    let mut w = world();
    let routes = |third: &'static str| {
        let prefixes = ["10.0.0.0/16", "172.16.0.0/12", third];
        prefixes.map(|prefix| (prefix, RouteTarget::Eni(EniId(2))))
    };
    w.table(20, &routes("192.168.0.0/16"));
    let one = w.tables.shared_searches();
    for id in 21..40 {
        w.table(id, &routes("192.168.0.0/16"));
    }
    assert_eq!(w.tables.shared_searches(), one);
    // Its own now, and gone with its last user.
    w.table(21, &routes("192.168.0.0/17"));
    assert_eq!(w.tables.shared_searches(), (one.0 + 1, one.1));
    w.table(21, &routes("192.168.0.0/16"));
    assert_eq!(w.tables.shared_searches(), one);
}
