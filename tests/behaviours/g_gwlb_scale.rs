//! G. Gateway load balancers: as many appliances as AWS allows, and what is counted.

use std::collections::BTreeMap;

use vpclab::api::{DeregisterTargets, RegisterTargets, TargetDescription};
use vpclab::appliance::Appliance;
use vpclab_dataplane::accounts::BalancerCounts;
use vpclab_tests::{Packet, World, seconds};

use crate::f_one_way::unreachable;
use crate::fixtures::{FIREWALLS, INSPECTION};
use crate::g_gwlb::{PEER, all, flows_at, inspection};

/// Appliances of one target group, at most.
const MOST: usize = 300;
const FLOWS: u16 = 15_000;

/// [`INSPECTION`] with 300 appliances, and a host more.
fn many() -> (String, Vec<String>) {
    let names: Vec<_> = (0..MOST).map(|n| format!("fw{n}")).collect();
    let address = |n: usize| format!("10.2.{}.{}", n / 200, n % 200 + 20);
    let hosts: String = names
        .iter()
        .map(String::as_str)
        .chain(["spare"])
        .enumerate()
        .map(|(n, name)| {
            let address = address(n);
            format!("  {name}: {{subnet: fw, address: {address}, groups: appliance}}\n")
        })
        .collect();
    let (before, rest) = INSPECTION.split_once("  fw1:").unwrap();
    let (_, after) = rest.split_once("internet:\n").unwrap();
    let text = format!("{before}{hosts}internet:\n{after}")
        .replace("10.2.1.0/24", "10.2.0.0/22")
        .replace("[fw1, fw2, fw3]", &format!("[{}]", names.join(", ")));
    (text, names)
}

/// A datagram of each of these ports; which appliance got it.
fn say(w: &mut World, names: &[String], ports: std::ops::Range<u16>) -> BTreeMap<u16, usize> {
    let (app, router) = (w.host("app"), w.router_mac("app"));
    for port in ports {
        let packet = Packet::udp(format!("10.1.1.10:{port}"), format!("{PEER}:9"));
        app.send_raw(&packet.frame(app.mac(), router));
        if port % 500 == 499 {
            w.settle();
        }
    }
    w.settle();
    flows_at(w, names)
}

/// Given 300 appliances, when 15 000 flows start, then all are used about evenly; when
/// one dies, its flows stay or move as configured, and no other moves; and new flows
/// take the places of old ones.
#[test]
fn b091_three_hundred_appliances_share_flows_evenly_and_one_dies() {
    let (stays, names) = many();
    let moves = stays.replace(
        "{protocol: geneve,",
        "{protocol: geneve, failover: rebalance,",
    );
    assert_ne!(moves, stays);
    for (topology, rebalances) in [(&stays, false), (&moves, true)] {
        let mut w = World::new(topology);
        let run = |name: &String| w.host(name).run_appliance(Appliance::new(), Some(80));
        let firewalls: Vec<_> = names.iter().map(run).collect();
        w.healthy();
        w.mute(&["app", "peer"]);
        flows_at(&w, &names);
        w.reset_counters();
        let before = say(&mut w, &names, 10_000..10_000 + FLOWS);
        assert_eq!(before.len(), usize::from(FLOWS));
        let mut shares = vec![0; MOST];
        for at in before.values() {
            shares[*at] += 1;
        }
        // 50 each; a binomial share has a deviation of 7.
        assert!(
            shares.iter().all(|share| (18..=90).contains(share)),
            "{shares:?}"
        );
        let spread = shares
            .iter()
            .map(|share| (share - 50_i32).pow(2))
            .sum::<i32>();
        assert!(spread / 300 < 100, "variance {}", spread / 300);

        let dead = before[&10_000];
        firewalls[dead].stop();
        w.mute(&[&names[dead]]);
        // Two checks, each 10 s apart and given up after 5 s.
        w.run_for(seconds(40));
        w.take("peer");
        flows_at(&w, &names);
        let after = say(&mut w, &names, 10_000..10_000 + FLOWS);
        assert_eq!(after.len(), usize::from(FLOWS));
        let moved = before.iter().filter(|(port, at)| after[port] != **at);
        let moved: Vec<_> = moved.map(|(_, at)| *at).collect();
        assert!(moved.iter().all(|at| *at == dead), "only the dead one's");
        let of_dead = usize::try_from(shares[dead]).unwrap();
        assert_eq!(moved.len(), if rebalances { of_dead } else { 0 });
        let counts = counts(&w);
        assert_eq!(
            (counts.created, counts.active),
            (u64::from(FLOWS), u64::from(FLOWS))
        );

        // The table holds 16 384: only what is forgotten makes room.
        w.run_for(seconds(150));
        w.take("peer");
        flows_at(&w, &names);
        let new = say(&mut w, &names, 30_000..30_000 + FLOWS);
        assert_eq!(new.len(), usize::from(FLOWS));
        assert!(new.values().all(|at| *at != dead));
        w.expect_counters("drop.flow.table_full +0");
        let counts = self::counts(&w);
        assert_eq!(
            (counts.created, counts.active),
            (2 * u64::from(FLOWS), u64::from(FLOWS))
        );
        assert!(w.gwlb_flows() <= 16_384);
        if !rebalances {
            let one_more = RegisterTargets {
                target_group_arn: w.target_group("firewalls"),
                targets: vec![TargetDescription::new(
                    w.host("spare").address().to_string(),
                )],
            };
            w.refused(one_more, "TooManyTargets", "300");
        }
    }
}

/// What the load balancer's node has counted, all endpoints together.
fn counts(w: &World) -> BalancerCounts {
    let model = w.control().model();
    let arn = &w.names.load_balancers["firewalls"];
    w.counted().node(model, &model.get(arn).unwrap().nodes[0])
}

fn endpoint_counts(w: &World) -> BalancerCounts {
    let model = w.control().model();
    let endpoint = model.get(&w.vpce("inspect")).unwrap();
    w.counted().endpoint(model, endpoint)
}

/// When flows begin, carry, are refused and end, and when an appliance returns what it
/// must not, then the load balancer's and the endpoint's counters say so, each once.
#[test]
fn b093_load_balancer_and_endpoint_count_by_the_names_of_cloudwatch() {
    let (mut w, firewalls) = inspection();
    w.mute(&["app", "peer"]);
    let none = BalancerCounts::default();
    assert_eq!((counts(&w), endpoint_counts(&w)), (none, none));
    let packet = Packet::udp("10.1.1.10:5", format!("{PEER}:9")).ip_len(100);
    // Walked, by the long way and by the short way: all are counted, there and back.
    for _ in 0..3 {
        w.send("app", &packet);
    }
    w.send(
        "peer",
        &Packet::udp(format!("{PEER}:9"), "203.0.113.10:5").ip_len(60),
    );
    assert_eq!((w.take("peer").len(), w.take("app").len()), (3, 1));
    let carried = BalancerCounts {
        active: 1,
        created: 1,
        bytes: 2 * (3 * 100 + 60),
        ..none
    };
    assert_eq!((counts(&w), endpoint_counts(&w)), (carried, carried));

    // A late segment of no flow; a packet that is too large; a reset that comes back.
    let (a, p) = ("10.1.1.10:5000", format!("{PEER}:80"));
    w.send("app", &Packet::ack(a, &p));
    w.send("app", &packet.clone().ip_len(8501));
    let now = endpoint_counts(&w);
    assert_eq!((now.rejected, now.rejected_tcp, now.dropped), (1, 1, 2));
    let now = counts(&w);
    assert_eq!((now.rejected, now.rejected_tcp, now.bytes), (1, 1, 720));
    w.send("app", &Packet::syn(a, &p));
    w.send("app", &Packet::ack(a, &p).flags(4));
    let now = endpoint_counts(&w);
    assert_eq!((now.resets, now.created, now.active), (1, 2, 1));

    // What an appliance returns wrongly is the load balancer's to count.
    let (index, returned) = all(&firewalls).swap_remove(0);
    let fw = &firewalls[index];
    fw.send(&returned.clone().with_cookie(1));
    let mut unmarked = returned.clone();
    unmarked.payload[10] = 0x77;
    fw.send(&unmarked);
    w.settle();
    w.send(
        FIREWALLS[index],
        &Packet::udp(
            format!("{}:6081", returned.to.ip()),
            format!("{}:6082", returned.from.ip()),
        ),
    );
    let now = counts(&w);
    assert_eq!(
        (
            now.invalid_cookie,
            now.invalid_endpoint_id,
            now.invalid_tunnel
        ),
        (1, 1, 1)
    );
    assert_eq!(endpoint_counts(&w).dropped, 2);

    // What is over is not active; what it carried stays counted.
    w.run_for(seconds(400));
    let now = counts(&w);
    assert_eq!((now.active, now.created, now.bytes > 720), (0, 2, true));
}

/// When a datagram comes in fragments, then one appliance gets all of them; when an
/// ICMP error quotes a flow, then the flow's appliance gets it.
#[test]
fn b090_fragments_and_errors_meet_one_appliance() {
    let (mut w, firewalls) = inspection();
    w.mute(&["app", "peer"]);
    let (app, router) = (w.host("app"), w.router_mac("app"));
    for port in 1000..1020 {
        let packet = Packet::udp(format!("10.1.1.10:{port}"), format!("{PEER}:9")).ip_len(1400);
        let seen: Vec<_> = firewalls.iter().map(|fw| fw.received().len()).collect();
        let pieces = packet.fragments(app.mac(), router, 600);
        // The last piece first: it has no ports.
        for piece in pieces.iter().rev() {
            app.send_raw(piece);
        }
        w.settle();
        let got = firewalls.iter().zip(seen);
        let got: Vec<_> = got.map(|(fw, seen)| fw.received().len() - seen).collect();
        assert!(
            got.contains(&3) && got.iter().sum::<usize>() == 3,
            "{got:?}"
        );
    }
    assert_eq!(w.take("peer").len(), 60);
    // All fragments of two hosts are one flow, whole datagrams each their own.
    w.expect_counters("gwlb.flow_created +1");
    for port in 2000..2020 {
        let packet = Packet::udp(format!("10.1.1.10:{port}"), format!("{PEER}:9"));
        let seen: Vec<_> = firewalls.iter().map(|fw| fw.received().len()).collect();
        w.send("app", &packet);
        let there = w.take("peer").remove(0);
        let mut error = unreachable(PEER, "203.0.113.10", &there.bytes);
        error[..6].copy_from_slice(&w.router_mac("peer").0);
        error[6..12].copy_from_slice(&w.host("peer").mac().0);
        w.host("peer").send_raw(&error);
        w.settle();
        let back = w.take("app");
        assert_eq!((back.len(), back[0].headers.icmp_type), (1, 3));
        let got = firewalls.iter().zip(seen);
        let got: Vec<_> = got.map(|(fw, seen)| fw.received().len() - seen).collect();
        assert!(
            got.contains(&2) && got.iter().sum::<usize>() == 2,
            "{got:?}"
        );
    }
    w.expect_counters("gwlb.flow_created +20");
}

/// Given an appliance that is deregistered: with rebalance its flows move, but not
/// before the delay is over; with no_rebalance they stay.
#[test]
fn b097_flows_of_a_deregistered_appliance_move_after_the_delay() {
    let with = |failover: &str| {
        INSPECTION.replace(
            "{protocol: geneve,",
            &format!("{{protocol: geneve, deregistration_delay: 60, failover: {failover},"),
        )
    };
    for (topology, moves) in [(with("rebalance"), true), (with("no_rebalance"), false)] {
        let mut w = World::new(&topology);
        let firewalls =
            FIREWALLS.map(|name| w.host(name).run_appliance(Appliance::new(), Some(80)));
        w.healthy();
        w.mute(&["app", "peer"]);
        let packet = Packet::udp("10.1.1.10:5", format!("{PEER}:9"));
        w.send("app", &packet);
        let at = |seen: &[usize; 3]| {
            let now = std::array::from_fn::<_, 3, _>(|n| firewalls[n].received().len());
            (0..3).find(|n| now[*n] > seen[*n])
        };
        let first = at(&[0; 3]).unwrap();
        let target = w.host(FIREWALLS[first]).address().to_string();
        let gone = DeregisterTargets {
            target_group_arn: w.target_group("firewalls"),
            targets: vec![TargetDescription::new(target)],
            now: w.now(),
        };
        w.apply(gone);
        for (after, moved) in [(50, false), (20, moves)] {
            w.run_for(seconds(after));
            let seen = std::array::from_fn(|n| firewalls[n].received().len());
            w.send("app", &packet);
            let now = at(&seen).unwrap();
            assert_eq!(now != first, moved, "{after} s, {moves}: at {now}");
        }
        // New ones go elsewhere in any case.
        for port in 1000..1020 {
            let seen = std::array::from_fn(|n| firewalls[n].received().len());
            w.send(
                "app",
                &Packet::udp(format!("10.1.1.10:{port}"), format!("{PEER}:9")),
            );
            assert_ne!(at(&seen), Some(first));
        }
        w.expect_counters("gwlb.flow_created +21");
    }
}
