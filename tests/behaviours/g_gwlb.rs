//! G. Gateway load balancers.

use std::collections::{BTreeMap, BTreeSet};

use vpclab::api::{DeregisterTargets, TargetDescription};
use vpclab::appliance::Appliance;
use vpclab::lab::{Encapsulated, RunningAppliance};
use vpclab_dataplane::packet::{parse_ip, tcp_flag};
use vpclab_dataplane::tables::TargetHealth;
use vpclab_tests::{Packet, World, ip, seconds};

use crate::fixtures::{FIREWALLS, INSPECTION};

/// Bytes of GENEVE before the inner packet: header and three options.
const GENEVE_LEN: usize = 40;
pub(crate) const PEER: &str = "198.51.100.7";

/// A lab whose appliances run and are healthy.
pub(crate) fn inspection() -> (World, [RunningAppliance; 3]) {
    inspection_of(INSPECTION)
}

fn inspection_of(topology: &str) -> (World, [RunningAppliance; 3]) {
    let mut w = World::new(topology);
    let firewalls = FIREWALLS.map(|name| w.host(name).run_appliance(Appliance::new(), Some(80)));
    w.healthy();
    (w, firewalls)
}

/// Every GENEVE packet that the appliances received so far, with who received it.
pub(crate) fn all(firewalls: &[RunningAppliance]) -> Vec<(usize, Encapsulated)> {
    let numbered = firewalls.iter().enumerate();
    numbered
        .flat_map(|(index, fw)| fw.received().into_iter().map(move |packet| (index, packet)))
        .collect()
}

/// Option 1: the endpoint.
fn vpce_option(packet: &Encapsulated) -> u64 {
    assert_eq!(&packet.payload[8..12], [0x01, 0x08, 1, 2]);
    u64::from_be_bytes(packet.payload[12..20].try_into().unwrap())
}

/// What option 1 says of an endpoint: the last 16 digits of its id.
fn vpce_number(w: &World, endpoint: &str) -> u64 {
    let id = w.vpce(endpoint);
    u64::from_str_radix(&id.as_str()["vpce-0".len()..], 16).unwrap()
}

fn inner(packet: &Encapsulated) -> &[u8] {
    &packet.payload[GENEVE_LEN..]
}

/// The inner packet's tuple.
fn tuple(packet: &Encapsulated) -> vpclab_dataplane::packet::FiveTuple {
    parse_ip(inner(packet), 0).unwrap().tuple
}

/// Given endpoint subnet `0/0 → IGW`, app `0/0 → vpce`, when app sends, then an
/// appliance gets GENEVE with option 1 = the vpce id and the untouched inner
/// packet; after return it leaves by the gateway.
#[test]
fn b088_an_appliance_gets_the_untouched_packet_and_it_leaves_by_the_gateway() {
    let (mut w, firewalls) = inspection();
    w.mute(&["app", "peer"]);
    let packet = Packet::udp("10.1.1.10:5", format!("{PEER}:9")).payload(b"untouched");
    w.send("app", &packet);
    let got = all(&firewalls);
    assert_eq!(got.len(), 1);
    let (_, geneve) = &got[0];
    assert_eq!(vpce_option(geneve), vpce_number(&w, "inspect"));
    assert_eq!(*geneve.from.ip(), w.gwlb("firewalls").address("az1"));
    assert_eq!(geneve.to.port(), 6081);
    let sent = packet.frame(w.host("app").mac(), w.router_mac("app"));
    assert_eq!(inner(geneve), &sent[14..]);
    let out = w.take("peer");
    assert_eq!(
        (out[0].from(), out[0].payload()),
        ("203.0.113.10:5".into(), &b"untouched"[..])
    );
    w.expect_counters("rx +2, tx +2, gwlb.flow_created +1");
}

/// When an IPv6 packet passes, then the outer packet is IPv4 and the protocol
/// 0x86DD.
#[test]
fn b089_ipv6_travels_in_an_ipv4_tunnel() {
    let (mut w, firewalls) = inspection();
    w.mute(&["app", "peer"]);
    let packet = Packet::udp("[2001:db8:1:1::10]:5", "[2001:db8:ffff::7]:9").payload(b"six");
    w.send("app", &packet);
    let got = all(&firewalls);
    assert_eq!(got.len(), 1);
    assert_eq!(&got[0].1.payload[2..4], [0x86, 0xdd]);
    let sent = packet.frame(w.host("app").mac(), w.router_mac("app"));
    assert_eq!(inner(&got[0].1), &sent[14..]);
    let out = w.take("peer");
    assert_eq!(out[0].from(), "[2001:db8:1:1::10]:5");
    w.expect_counters("gwlb.flow_created +1");
}

/// When flow and reply pass (ingress routing on), then the same appliance gets
/// both directions of every connection.
#[test]
fn b090_both_directions_of_a_connection_meet_one_appliance() {
    let (mut w, firewalls) = inspection();
    w.host("peer").tcp_listen(80).echo();
    w.host("app").tcp_listen(443).echo();
    for _ in 0..6 {
        w.echo("app", PEER, 80);
        w.echo("peer", "203.0.113.10", 443);
    }
    let mut seen: BTreeMap<_, (BTreeSet<usize>, BTreeSet<bool>)> = BTreeMap::new();
    for (index, packet) in all(&firewalls) {
        let tuple = tuple(&packet);
        let outward = tuple.src == ip("10.1.1.10");
        let connection = if outward { tuple } else { tuple.reversed() };
        let (who, ways) = seen.entry(connection).or_default();
        who.insert(index);
        ways.insert(outward);
    }
    assert_eq!(seen.len(), 12);
    for (connection, (who, ways)) in &seen {
        assert_eq!(who.len(), 1, "{connection}: {who:?}");
        assert_eq!(ways.len(), 2, "{connection}: one way only");
    }
    let used: BTreeSet<_> = seen.values().flat_map(|(who, _)| who).collect();
    assert!(used.len() > 1, "all on one appliance");
    w.expect_counters("gwlb.flow_created +12");
}

/// Given three appliances, when 1000 flows start, then all are used, about
/// evenly, and each flow stays on one.
#[test]
fn b091_a_thousand_flows_use_all_appliances_and_stay() {
    let (mut w, firewalls) = inspection();
    w.mute(&["app", "peer"]);
    let (app, router) = (w.host("app"), w.router_mac("app"));
    for round in 0..2 {
        for n in 0..1000_u16 {
            let packet = Packet::syn(format!("10.1.1.10:{}", 10_000 + n), format!("{PEER}:80"));
            app.send_raw(&packet.frame(app.mac(), router));
            if n % 100 == 99 {
                w.settle();
            }
        }
        let created = if round == 0 { 1000 } else { 0 };
        w.expect_counters(&format!("gwlb.flow_created +{created}"));
    }
    let mut flows: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (index, packet) in all(&firewalls) {
        flows.entry(tuple(&packet).sport).or_default().push(index);
    }
    assert_eq!(flows.len(), 1000);
    assert!(flows.values().all(|who| who.len() == 2 && who[0] == who[1]));
    for index in 0..3 {
        let share = flows.values().filter(|who| who[0] == index).count();
        assert!((250..=420).contains(&share), "appliance {index}: {share}");
    }
    assert_eq!(w.take("peer").len(), 2000);
}

/// Given 2-tuple stickiness, when one client opens 100 ports to one server, then
/// one appliance gets them all; with 5-tuples several do.
#[test]
fn b092_two_tuple_stickiness_ignores_ports() {
    let two = INSPECTION.replace(
        "{protocol: geneve,",
        "{protocol: geneve, stickiness: source_ip_dest_ip,",
    );
    assert_ne!(two, INSPECTION);
    for (topology, one) in [(two.as_str(), true), (INSPECTION, false)] {
        let (mut w, firewalls) = inspection_of(topology);
        w.mute(&["app", "peer"]);
        for port in 1000..1100 {
            w.send(
                "app",
                &Packet::udp(format!("10.1.1.10:{port}"), format!("{PEER}:9")),
            );
        }
        let got = all(&firewalls);
        assert_eq!(got.len(), 100);
        let who: BTreeSet<_> = got.iter().map(|(index, _)| *index).collect();
        assert_eq!(who.len() == 1, one, "{who:?}");
        let flows = if one { 1 } else { 100 };
        w.expect_counters(&format!("gwlb.flow_created +{flows}"));
    }
}

/// One flow that was inspected: the appliance that got it, its packet.
fn one_flow(w: &mut World, firewalls: &[RunningAppliance; 3]) -> (usize, Encapsulated) {
    w.mute(&["app", "peer"]);
    w.send("app", &Packet::udp("10.1.1.10:5", format!("{PEER}:9")));
    w.take("peer");
    let got = all(firewalls);
    assert_eq!(got.len(), 1);
    w.reset_counters();
    got.into_iter().next().unwrap()
}

/// Given a wrong cookie, a missing option 1, or outer addresses that are not the
/// flow's swapped ones, then dropped and the matching counter moves.
#[test]
fn b093_what_an_appliance_returns_must_carry_the_flows_marks() {
    let (mut w, firewalls) = inspection();
    let (index, packet) = one_flow(&mut w, &firewalls);
    let fw = &firewalls[index];
    let wrong = packet.cookie().unwrap() ^ 0x0101;
    fw.send(&packet.clone().with_cookie(wrong));
    w.settle();
    w.expect_counters("rx +1, drop.gwlb.invalid_flow_cookie +1, tx +0");

    let mut unmarked = packet.clone();
    unmarked.payload[10] = 0x77;
    fw.send(&unmarked);
    w.settle();
    w.expect_counters("rx +1, drop.gwlb.invalid_endpoint_id +1, tx +0");

    let mut elsewhere = packet.clone();
    elsewhere.payload[19] ^= 1;
    fw.send(&elsewhere);
    w.settle();
    w.expect_counters("rx +1, drop.gwlb.invalid_endpoint_id +1, tx +0");

    // Unswapped: a packet that claims to come from the load balancer does not
    // even pass the source check of the appliance's own interface.
    let mut unswapped = packet.clone();
    std::mem::swap(&mut unswapped.from, &mut unswapped.to);
    unswapped.from.set_port(packet.from.port());
    fw.send(&unswapped);
    w.settle();
    w.expect_counters("rx +1, drop.source_dest_check +1, tx +0");

    // From another appliance than the flow's, and to another port.
    let other = (index + 1) % 3;
    let stranger = w.host(FIREWALLS[other]).address();
    let node = packet.from.ip();
    for (host, from, to) in [
        (
            other,
            format!("{stranger}:{}", packet.from.port()),
            format!("{node}:6081"),
        ),
        (
            index,
            format!("{}:6081", packet.to.ip()),
            format!("{node}:6082"),
        ),
    ] {
        w.send(
            FIREWALLS[host],
            &Packet::udp(from, to).payload(&packet.payload),
        );
        w.expect_counters("rx +1, drop.gwlb.invalid_tunnel +1, tx +0");
    }
    assert!(w.take("peer").is_empty());

    // The packet as it was passes: it was the marks that failed.
    fw.send(&packet);
    w.settle();
    w.expect_counters("rx +1, tx +1");
    assert_eq!(w.take("peer").len(), 1);
}

/// When the appliance sends a flow of its own in GENEVE, then dropped.
#[test]
fn b094_an_appliance_can_start_no_flow() {
    let (mut w, firewalls) = inspection();
    let (index, packet) = one_flow(&mut w, &firewalls);
    let own = Packet::udp("10.1.1.10:7777", format!("{PEER}:7777"));
    let own = own.frame(w.host("app").mac(), w.router_mac("app"));
    for cookie in [0, 1, u32::MAX, packet.cookie().unwrap().wrapping_add(1)] {
        let mut made = packet.clone().with_cookie(cookie);
        made.payload.truncate(GENEVE_LEN);
        made.payload.extend_from_slice(&own[14..]);
        firewalls[index].send(&made);
        w.settle();
        w.expect_counters("rx +1, drop.gwlb.invalid_flow_cookie +1, tx +0");
    }
    assert!(w.take("peer").is_empty());
}

/// Given a TCP flow idle 351 s, when data comes, then dropped; when a SYN comes,
/// a new flow. After 349 s data still passes.
#[test]
fn b095_a_tcp_flow_idles_out_after_350_s() {
    let (mut w, _firewalls) = inspection();
    w.mute(&["app", "peer"]);
    let (a, p) = ("10.1.1.10:5000", format!("{PEER}:80"));
    w.send("app", &Packet::syn(a, &p));
    w.send(
        "peer",
        &Packet::ack(&p, "203.0.113.10:5000").flags(tcp_flag::SYN | tcp_flag::ACK),
    );
    w.send("app", &Packet::ack(a, &p));
    assert_eq!((w.take("peer").len(), w.take("app").len()), (2, 1));
    w.expect_counters("gwlb.flow_created +1");
    w.run_for(seconds(349));
    w.send("app", &Packet::ack(a, &p).payload(b"in time"));
    assert_eq!(w.take("peer").len(), 1);
    w.expect_counters("gwlb.flow_created +0");
    w.run_for(seconds(351));
    w.send("app", &Packet::ack(a, &p).payload(b"late"));
    assert!(w.take("peer").is_empty());
    assert!(w.take("app").is_empty(), "no reset unless asked for");
    w.expect_counters("drop.gwlb.no_flow +1, gwlb.flow_created +0");
    w.send("app", &Packet::syn(a, &p).sequence(9000));
    assert_eq!(w.take("peer").len(), 1);
    w.expect_counters("gwlb.flow_created +1");
}

/// Given a UDP flow idle 121 s, when a packet comes, then a new flow; after
/// 119 s the old one.
#[test]
fn b096_a_udp_flow_idles_out_after_120_s() {
    let (mut w, firewalls) = inspection();
    w.mute(&["app", "peer"]);
    let packet = Packet::udp("10.1.1.10:5000", format!("{PEER}:9"));
    w.send("app", &packet);
    w.expect_counters("gwlb.flow_created +1");
    for (idle, created) in [(119, 0), (121, 1)] {
        w.run_for(seconds(idle));
        w.send("app", &packet);
        w.expect_counters(&format!("gwlb.flow_created +{created}"));
    }
    let got = all(&firewalls);
    let cookies: BTreeSet<_> = got.iter().map(|(_, packet)| packet.cookie()).collect();
    assert_eq!((got.len(), cookies.len()), (3, 2));
    assert_eq!(w.take("peer").len(), 3);
}

/// Given all appliances unhealthy, found so by real health checks, then new
/// flows still go to one of them.
#[test]
fn b098_with_all_appliances_unhealthy_new_flows_still_go_to_one() {
    let mut w = World::new(INSPECTION);
    // They return packets, but nothing answers health checks.
    let firewalls = FIREWALLS.map(|name| w.host(name).run_appliance(Appliance::new(), None));
    w.healthy();
    let group = w.target_group("firewalls");
    let model = w.control().model();
    let targets = model.get(&group).unwrap().targets.clone();
    assert!(
        targets
            .iter()
            .all(|target| target.health == TargetHealth::Unhealthy)
    );
    w.mute(&["app", "peer"]);
    for port in 1000..1020 {
        w.send(
            "app",
            &Packet::udp(format!("10.1.1.10:{port}"), format!("{PEER}:9")),
        );
    }
    assert_eq!(w.take("peer").len(), 20);
    assert_eq!(all(&firewalls).len(), 20);
    w.expect_counters("gwlb.flow_created +20");
}

/// Given cross-zone off and no target in the zone, then dropped.
#[test]
fn b099_without_cross_zone_a_zone_without_targets_drops() {
    let topology = INSPECTION
        .replace(
            "      fw: {cidr: 10.2.1.0/24, az: a}\n",
            "      fw: {cidr: 10.2.1.0/24, az: a}\n      fw-b: {cidr: 10.2.2.0/24, az: b}\n",
        )
        .replace("    subnets: fw\n", "    subnets: [fw, fw-b]\n");
    assert_ne!(topology, INSPECTION);
    let topology = topology.replace(
        "inspection: {cidr: 10.1.2.0/24, ipv6: '2001:db8:1:2::/64', az: a,",
        "inspection: {cidr: 10.1.2.0/24, ipv6: '2001:db8:1:2::/64', az: b,",
    );
    let mut w = World::new(&topology);
    let firewalls = FIREWALLS.map(|name| w.host(name).run_appliance(Appliance::new(), Some(80)));
    let peer = vpclab::model::RulePeer::Cidr(vpclab_tests::cidr("10.2.0.0/16"));
    let ingress = vpclab::model::Direction::Ingress;
    let anything = vpclab::api::Permission::all(peer);
    w.allow("appliances/appliance", ingress, anything);
    w.run_for(seconds(5));
    w.reset_counters();
    w.mute(&["app", "peer"]);
    let packet = Packet::udp("10.1.1.10:5", format!("{PEER}:9"));
    w.send("app", &packet);
    w.expect_counters("rx +1, drop.gwlb.no_target +1, tx +0");
    assert!(all(&firewalls).is_empty());
    let load_balancer_arn = w.names.load_balancers["firewalls"].clone();
    w.apply(vpclab::api::ModifyLoadBalancerAttributes {
        load_balancer_arn,
        cross_zone: Some(true),
        ..Default::default()
    });
    w.healthy();
    w.send("app", &packet);
    w.expect_counters("gwlb.flow_created +1");
    assert_eq!(w.take("peer").len(), 1);
}

/// When the inner packet is 8500 bytes, then delivered as 8568; 8501, dropped
/// without ICMP.
#[test]
fn b100_the_tunnel_takes_8500_bytes_and_says_nothing_beyond() {
    let mut w = World::new(INSPECTION);
    w.run_for(seconds(1));
    w.mute(&["app", "peer", "fw1", "fw2", "fw3"]);
    for name in FIREWALLS {
        w.take(name);
    }
    w.reset_counters();
    let outer = |w: &World| -> Vec<u32> {
        let got = FIREWALLS.iter().flat_map(|name| w.take(name));
        let tunnelled = got.filter(|seen| seen.headers.tuple.dport == 6081);
        tunnelled.map(|seen| seen.headers.ip_len).collect()
    };
    let packet = Packet::udp("10.1.1.10:5", format!("{PEER}:9"));
    w.send("app", &packet.clone().ip_len(8500));
    assert_eq!(outer(&w), [8568]);
    w.expect_counters("gwlb.flow_created +1");
    w.send("app", &packet.ip_len(8501));
    assert_eq!(outer(&w), Vec::<u32>::new());
    assert!(w.host("app").frames().is_empty(), "no ICMP");
    w.expect_counters("drop.gwlb.mtu +1");
}

/// Given two consumer VPCs with equal CIDRs and equal 5-tuples, then their flows
/// are apart by option 1, and each comes out where it came from.
#[test]
fn b101_equal_tuples_of_two_consumers_are_two_flows() {
    let second = INSPECTION
        .split_once("vpcs:\n")
        .and_then(|(_, rest)| rest.split_once("  appliances:\n"))
        .map(|(app, _)| app.replace("  app:\n    cidr", "  app2:\n    cidr"))
        .unwrap();
    let second = second
        .replace("via: inspect}", "via: inspect2}")
        .replace("db8:1:", "db8:2:");
    let topology = INSPECTION
        .replace("  appliances:\n", &format!("{second}  appliances:\n"))
        .replace("groups: open}\n  fw1", "groups: open}\n  twin: {subnet: app2/app, address: 10.1.1.10, eip: 203.0.113.20, groups: open}\n  fw1")
        .replace("address: 10.1.2.100, dualstack: true}\n", "address: 10.1.2.100, dualstack: true}\n  inspect2: {service: firewalls, subnets: app2/inspection, address: 10.1.2.100, dualstack: true}\n");
    let (mut w, firewalls) = inspection_of(&topology);
    w.mute(&["app", "twin", "peer"]);
    let packet = Packet::udp("10.1.1.10:5", format!("{PEER}:9"));
    w.send("app", &packet);
    w.send("twin", &packet);
    let got = all(&firewalls);
    let endpoints: BTreeSet<_> = got.iter().map(|(_, packet)| vpce_option(packet)).collect();
    let expected = ["inspect", "inspect2"].map(|name| vpce_number(&w, name));
    assert_eq!(endpoints, BTreeSet::from(expected));
    let cookies: BTreeSet<_> = got.iter().map(|(_, packet)| packet.cookie()).collect();
    assert_eq!(cookies.len(), 2);
    w.expect_counters("gwlb.flow_created +2");
    let out: BTreeSet<_> = w.take("peer").iter().map(|seen| seen.from()).collect();
    let public = ["203.0.113.10:5", "203.0.113.20:5"].map(String::from);
    assert_eq!(out, BTreeSet::from(public));
    // And back, each to its own.
    for (to, host, other) in [
        ("203.0.113.10:5", "app", "twin"),
        ("203.0.113.20:5", "twin", "app"),
    ] {
        w.send("peer", &Packet::udp(format!("{PEER}:9"), to));
        assert_eq!(w.take(host).len(), 1);
        assert!(w.take(other).is_empty());
    }
    w.expect_counters("gwlb.flow_created +0");
}

/// How many GENEVE packets a host has received since the last look.
fn tunnelled(w: &World, host: &str) -> usize {
    let got = w.take(host);
    let geneve = got.iter().filter(|seen| seen.headers.tuple.dport == 6081);
    geneve.count()
}

/// Given an appliance that turns unhealthy: with no_rebalance its flows stay on
/// it and new ones go elsewhere; with rebalance its flows move.
#[test]
fn b097_flows_of_a_failed_appliance_stay_or_move_as_configured() {
    let moving = INSPECTION.replace(
        "{protocol: geneve,",
        "{protocol: geneve, failover: rebalance,",
    );
    assert_ne!(moving, INSPECTION);
    for (topology, moves) in [(INSPECTION, false), (moving.as_str(), true)] {
        let (mut w, firewalls) = inspection_of(topology);
        let (index, _) = one_flow(&mut w, &firewalls);
        let failed = FIREWALLS[index];
        firewalls[index].stop();
        w.mute(&[failed]);
        // Two checks, each 10 s apart and given up after 5 s.
        w.run_for(seconds(40));
        w.take(failed);
        w.reset_counters();
        w.send("app", &Packet::udp("10.1.1.10:5", format!("{PEER}:9")));
        assert_eq!(tunnelled(&w, failed), usize::from(!moves));
        assert_eq!(w.take("peer").len(), usize::from(moves));
        w.expect_counters("gwlb.flow_created +0");
        for port in 1000..1030 {
            w.send(
                "app",
                &Packet::udp(format!("10.1.1.10:{port}"), format!("{PEER}:9")),
            );
        }
        assert_eq!(tunnelled(&w, failed), 0);
        assert_eq!(w.take("peer").len(), 30);
        w.expect_counters("gwlb.flow_created +30");
    }
}

/// Given `send_tcp_reset.on_idle_timeout`, when late data comes, then its sender
/// gets a reset.
#[test]
fn b102_late_data_is_reset_where_the_attribute_says_so() {
    let resetting = INSPECTION.replace(
        "{protocol: geneve,",
        "{protocol: geneve, reset_on_idle: true,",
    );
    assert_ne!(resetting, INSPECTION);
    let (mut w, _firewalls) = inspection_of(&resetting);
    w.mute(&["app", "peer"]);
    let (a, p) = ("10.1.1.10:5000", format!("{PEER}:80"));
    w.send("app", &Packet::syn(a, &p));
    w.run_for(seconds(351));
    w.take("peer");
    w.reset_counters();
    w.send("app", &Packet::ack(a, &p).payload(b"late"));
    assert!(w.take("peer").is_empty());
    let answer = w.take("app");
    assert_eq!(answer.len(), 1);
    assert!(answer[0].has(tcp_flag::RST));
    assert_eq!((answer[0].from(), answer[0].to()), (p, a.into()));
    w.expect_counters("drop.gwlb.no_flow +1, generated +1");
}

/// Given `send_tcp_reset.on_unhealthy` or `.on_deregistration`, when the appliance
/// of a connection fails or goes, then the sender of its next packet gets a reset,
/// and a new connection goes to another.
#[test]
fn b102_connections_of_a_lost_appliance_are_reset_where_the_attributes_say_so() {
    let on = |attributes: &str| {
        INSPECTION.replace(
            "{protocol: geneve,",
            &format!("{{protocol: geneve, {attributes},"),
        )
    };
    for (deregisters, resets, topology) in [
        (false, true, on("reset_on_unhealthy: true")),
        (false, false, on("reset_on_deregistration: true")),
        (
            true,
            true,
            on("deregistration_delay: 5, reset_on_deregistration: true"),
        ),
        (
            true,
            false,
            on("deregistration_delay: 5, reset_on_unhealthy: true"),
        ),
    ] {
        let (mut w, firewalls) = inspection_of(&topology);
        w.mute(&["app", "peer"]);
        let (a, p) = ("10.1.1.10:5000", format!("{PEER}:80"));
        w.send("app", &Packet::syn(a, &p));
        let (index, _) = all(&firewalls)[0];
        let lost = w.host(FIREWALLS[index]).address();
        let group = w.target_group("firewalls");
        let targets = w.control().model().get(&group).unwrap().targets.clone();
        let target = targets
            .into_iter()
            .find(|target| target.address(w.control().model()) == Some(lost))
            .unwrap();
        let now = w.now();
        if deregisters {
            w.apply(DeregisterTargets {
                target_group_arn: group,
                targets: vec![TargetDescription::new(target.id.to_string())],
                now,
            });
            w.run_for(seconds(6));
        } else {
            firewalls[index].stop();
            // Two checks, each 10 s apart and given up after 5 s.
            w.run_for(seconds(40));
        }
        w.take("peer");
        w.take("app");
        w.send("app", &Packet::ack(a, &p).payload(b"late"));
        let answer = w.take("app");
        assert_eq!(answer.len(), usize::from(resets), "{topology}");
        assert!(answer.iter().all(|seen| seen.has(tcp_flag::RST)));
        let passes = !resets && deregisters;
        assert_eq!(w.take("peer").len(), usize::from(passes), "{topology}");
        if resets {
            let before = firewalls[index].received().len();
            w.send("app", &Packet::syn(a, &p));
            assert_eq!(w.take("peer").len(), 1);
            assert_eq!(
                firewalls[index].received().len(),
                before,
                "another takes it"
            );
        }
    }
}

/// Which appliance got which flow, by source port: what came since the last look.
pub(crate) fn flows_at(w: &World, appliances: &[String]) -> BTreeMap<u16, usize> {
    let mut found = BTreeMap::new();
    for (index, host) in appliances.iter().enumerate() {
        for seen in w.take(host) {
            let geneve = seen.headers.tuple.dport == 6081;
            if geneve && let Ok(inner) = parse_ip(&seen.payload()[GENEVE_LEN..], 0) {
                found.insert(inner.tuple.sport, index);
            }
        }
    }
    found
}

/// Given 2000 live flows over four appliances, when one of them is killed: with
/// no_rebalance every flow stays where it was, with rebalance the dead one's flows
/// move, and no other.
#[test]
fn b097_of_two_thousand_flows_exactly_the_dead_appliances_move() {
    const FLOWS: u16 = 2000;
    let names: Vec<String> = (1..=4).map(|n| format!("fw{n}")).collect();
    let four = INSPECTION
        .replace(
            "  fw3: {subnet: fw, address: 10.2.1.13, groups: appliance}\n",
            "  fw3: {subnet: fw, address: 10.2.1.13, groups: appliance}\n  \
             fw4: {subnet: fw, address: 10.2.1.14, groups: appliance}\n",
        )
        .replace("[fw1, fw2, fw3]", "[fw1, fw2, fw3, fw4]");
    let moving = four.replace(
        "{protocol: geneve,",
        "{protocol: geneve, failover: rebalance,",
    );
    assert!(four != INSPECTION && moving != four);
    let mut table = String::from("appliance  before  no_rebalance  rebalance\n");
    let mut columns = Vec::new();
    for topology in [&four, &moving] {
        let mut w = World::new(topology);
        let run = |name: &String| w.host(name).run_appliance(Appliance::new(), Some(80));
        let firewalls: Vec<_> = names.iter().map(run).collect();
        w.healthy();
        w.mute(&["app", "peer"]);
        let say = |w: &mut World| {
            let (app, router) = (w.host("app"), w.router_mac("app"));
            for n in 0..FLOWS {
                let from = format!("10.1.1.10:{}", 10_000 + n);
                let packet = Packet::udp(from, format!("{PEER}:9"));
                app.send_raw(&packet.frame(app.mac(), router));
                if n % 200 == 199 {
                    w.settle();
                }
            }
            flows_at(w, &names)
        };
        flows_at(&w, &names);
        let before = say(&mut w);
        w.expect_counters("gwlb.flow_created +2000");
        let dead = before[&10_000];
        firewalls[dead].stop();
        w.mute(&[&names[dead]]);
        // Two checks, each 10 s apart and given up after 5 s.
        w.run_for(seconds(40));
        w.take("peer");
        flows_at(&w, &names);
        w.reset_counters();
        let after = say(&mut w);
        w.expect_counters("gwlb.flow_created +0");
        assert_eq!((before.len(), after.len()), (2000, 2000));
        let rebalances = *topology == moving;
        let moved = before.iter().filter(|(port, at)| after[port] != **at);
        let moved: Vec<_> = moved.map(|(_, at)| *at).collect();
        let of_dead = before.values().filter(|at| **at == dead).count();
        assert!((350..=650).contains(&of_dead), "{of_dead}");
        assert!(moved.iter().all(|at| *at == dead), "only the dead one's");
        assert_eq!(moved.len(), if rebalances { of_dead } else { 0 });
        let passed = w.take("peer").len();
        assert_eq!(passed, if rebalances { 2000 } else { 2000 - of_dead });
        columns.push((dead, before, after));
    }
    let count = |flows: &BTreeMap<u16, usize>, at| flows.values().filter(|is| **is == at).count();
    let [(dead, before, stayed), (_, _, moved)] = &columns[..] else {
        unreachable!("two runs");
    };
    for (at, name) in names.iter().enumerate() {
        let mark = if at == *dead { "killed" } else { "" };
        table += &format!(
            "{name:9}  {:6}  {:12}  {:9}  {mark}\n",
            count(before, at),
            count(stayed, at),
            count(moved, at)
        );
    }
    print!("{table}");
}
