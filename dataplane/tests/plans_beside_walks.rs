//! Two worlds side by side, in either family: in one plans are kept, in the other nothing
//! holds from one packet to the next, so that each is walked. The same packets leave both,
//! and the same sessions are in both, whatever changes between them.

#![allow(clippy::unwrap_used, reason = "a test stops where its data is bad")]

mod common;

use std::net::IpAddr;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::packet::*;
use vpclab_dataplane::pipeline::{Config, Pipeline};
use vpclab_dataplane::tables::*;

const SYN: u8 = tcp_flag::SYN;
const ACK: u8 = tcp_flag::ACK;
const FIN: u8 = tcp_flag::FIN;
const RST: u8 = tcp_flag::RST;

/// Addresses by family: those of client 1, whose second differs from the first in one half,
/// and whose third in the other, and one that it may send from where nobody checks; of client
/// 6; of the endpoint, halves as above; of the node; of targets 4 and 5; of servers 7 and 8.
const FIRST: [[&str; 4]; 2] = [
    ["10.0.1.10", "10.0.1.12", "10.0.3.10", "10.9.1.10"],
    [
        "fd00:0:0:1::10",
        "fd00:0:0:1:1::10",
        "fd00:0:0:3::10",
        "fd00:0:0:9::10",
    ],
];
const SECOND: [&str; 2] = ["10.0.1.11", "fd00:0:0:1::11"];
const ENDPOINT: [[&str; 3]; 2] = [
    ["10.0.2.20", "10.0.2.21", "10.0.5.20"],
    ["fd00:0:0:2::20", "fd00:0:0:2:1::20", "fd00:0:0:5::20"],
];
const NODE: [&str; 2] = ["10.0.1.30", "fd01:7:0:1:5:6:7:30"];
const TARGETS: [[&str; 2]; 2] = [
    ["10.0.2.40", "10.0.2.41"],
    ["fd01:7:0:2:5:6:7:40", "fd01:7:0:2:5:6:8:40"],
];
const SERVERS: [[&str; 2]; 2] = [
    ["10.0.2.70", "10.0.1.20"],
    ["fd00:0:0:2:2::20", "fd00:0:0:1::20"],
];

/// Numbers that look random.
struct Dice(u64, u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.1 += 1;
        (Seed(self.0).words(&[self.1]) % sides as u64) as usize
    }
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

fn targets(family: usize, states: [TargetHealth; 2]) -> TargetGroupRow {
    let targets = TARGETS[family].iter().zip(states);
    let targets = targets.map(|(address, health)| target(address, 8443, health));
    target_group(2, targets.collect())
}

/// PrivateLink with two clients and targets, and servers beside the clients.
fn world(family: usize, workers: u32) -> World {
    let mut w = privatelink_of(family);
    for (eni, subnet, v4, v6) in [
        (5, 21, TARGETS[0][1], TARGETS[1][1]),
        (6, 10, SECOND[0], SECOND[1]),
        (7, 11, SERVERS[0][0], SERVERS[1][0]),
        (8, 10, SERVERS[0][1], SERVERS[1][1]),
        (9, 10, "10.0.1.90", "fd00:0:0:1::90"),
    ] {
        w.eni(eni, subnet, &[v4, v6], &[1], EniKind::Host);
    }
    for router in [8, 9] {
        w.eni_edit(router, |row| row.source_dest_check = false);
    }
    for (eni, addresses) in [(1, &FIRST[family][1..3]), (2, &ENDPOINT[family][1..])] {
        w.eni_edit(eni, |row| {
            row.addresses.extend(addresses.iter().map(|a| ip(a)))
        });
    }
    w.edit(|b| {
        let row = targets(family, [TargetHealth::Healthy; 2]);
        b.set_target_group(TargetGroupId(0), Some(row));
        let mut other = targets(family, [TargetHealth::Healthy; 2]);
        other.targets.reverse();
        other.targets.truncate(1);
        other
            .targets
            .extend(targets(family, [TargetHealth::Healthy; 2]).targets);
        b.set_target_group(TargetGroupId(1), Some(other));
    });
    w.pipeline = Pipeline::new(Config {
        connections: 100,
        seed: 7,
        worker: (0, workers),
        ..Config::default()
    });
    w
}

/// Nothing that was decided holds any more.
fn forget(w: &mut World, step: usize) {
    let mut settings = w.tables.settings;
    // Read by every walk; no test packet meets it.
    settings.ttl_vgw = 1 + (step % 2) as u8;
    w.edit(|b| b.set_settings(settings));
}

/// Somebody calls somebody: port of entry, and the tuple.
fn call(family: usize, dice: &mut Dice) -> (u32, FiveTuple) {
    let first = dice.of(&FIRST[family]);
    let (from, src) = dice.of(&[(1, FIRST[family][0]), (1, first), (6, SECOND[family])]);
    let any = dice.of(&ENDPOINT[family]);
    let endpoint = dice.of(&[ENDPOINT[family][0], any]);
    let port = 2_000 + dice.below(40) as u16;
    let (tcp, udp) = (protocol::TCP, protocol::UDP);
    let (from, src, dst, dport, protocol) = match dice.below(12) {
        0..6 => (from, src, endpoint, 443, tcp),
        6 | 7 => (from, src, endpoint, 53, udp),
        8 | 9 => {
            let (to, protocol) = (dice.of(&SERVERS[family]), dice.of(&[tcp, udp]));
            (from, src, to, 443, protocol)
        }
        // Nobody listens there.
        10 => (from, src, endpoint, 444, tcp),
        // A target that is its own client, perhaps.
        _ => (4, TARGETS[family][0], NODE[family], 443, tcp),
    };
    let (src, dst): (IpAddr, IpAddr) = (ip(src), ip(dst));
    let sport = port;
    let tuple = FiveTuple {
        src,
        dst,
        protocol,
        sport,
        dport,
    };
    (from, tuple)
}

/// A packet as others are not: in one respect.
fn odd(frame: &mut Frame, dice: &mut Dice) {
    let headers = read(frame);
    let l4 = usize::from(headers.l4);
    let is_v4 = headers.is_ipv4();
    match dice.below(8) {
        0 => frame.bytes_mut()[5] ^= 0x40,
        1 => frame.bytes_mut()[11] ^= 0x40,
        2 | 3 => {
            frame.bytes_mut()[if is_v4 { 22 } else { 21 }] = 1 + dice.below(3) as u8;
            if is_v4 {
                checksum::fill_ipv4_header(&mut frame.bytes_mut()[14..34]);
            }
        }
        4 | 5 => {
            let tuple = headers.tuple;
            let len = (frame.bytes().len() - l4) as u32;
            let offset = match tuple.protocol {
                protocol::TCP => 16,
                _ => 6,
            };
            let pseudo = checksum::pseudo_header(tuple.src, tuple.dst, tuple.protocol, len);
            let field = l4 + offset;
            frame.bytes_mut()[field..field + 2].copy_from_slice(&pseudo.folded().to_be_bytes());
            frame.offload.checksum = Checksum::Partial {
                start: l4 as u16,
                offset: offset as u16,
            };
        }
        6 if headers.tuple.protocol == protocol::UDP => frame.bytes_mut()[l4 + 6..l4 + 8].fill(0),
        // Options for its destination, before the transport header.
        _ if !is_v4 => {
            let next = frame.bytes()[20];
            let mut bytes = frame.bytes().to_vec();
            bytes[20] = 60;
            bytes[19] += 8;
            bytes.splice(54..54, [next, 0, 1, 4, 0, 0, 0, 0]);
            frame.refill(frame.port, &bytes);
        }
        _ => {}
    }
}

/// What the tables have that comes and goes.
fn change(worlds: &mut [World; 2], family: usize, dice: &mut Dice) {
    let (what, which, order) = (dice.below(9), dice.below(3), dice.below(6));
    for w in worlds {
        match what {
            0 | 1 => {
                let (up, down) = (TargetHealth::Healthy, TargetHealth::Unhealthy);
                let states = [[up, up], [up, down], [down, up]][which];
                let mut row = targets(family, states);
                // In each place of the group is another, perhaps, or there are fewer places.
                match order {
                    0 | 1 => row.targets.reverse(),
                    2 => _ = row.targets.remove(0),
                    3 => row.targets.truncate(1),
                    _ => {}
                }
                w.edit(|b| b.set_target_group(TargetGroupId(0), Some(row)));
            }
            2 => {
                let only = |block: &str| vec![rule(None, PortMatch::Any, any(block))];
                let within = [
                    ["10.0.1.10/32", "fd00:0:0:1::10/128"],
                    ["10.0.0.0/8", "fd00::/8"],
                ];
                let inbound = match which {
                    2 => everything(),
                    _ => only(within[which][family]),
                };
                w.group(1, inbound, everything());
            }
            3 => {
                let mut acl = allow_all();
                for rule in &mut acl.ingress {
                    rule.ports = [
                        PortMatch::Any,
                        PortMatch::Range(1, 2_019),
                        PortMatch::Range(2_010, 65_535),
                    ][which];
                }
                w.edit(|b| b.set_network_acl(NetworkAclId(1), Some(acl)));
            }
            4 => {
                let blocks = ["10.0.0.0/16", "fd00::/48"];
                let mut routes = blocks.map(|block| (block, RouteTarget::Local)).to_vec();
                let specific = ["10.0.2.64/26", "fd00:0:0:2:1::/80"][family];
                match (which, order) {
                    (1, _) => routes.push((specific, RouteTarget::Blackhole)),
                    // By way of who passes on what is not its own.
                    (2, _) => routes.push((specific, RouteTarget::Eni(EniId([8, 9][order % 2])))),
                    _ => {}
                }
                w.table(1, &routes);
            }
            7 => {
                // Its listeners' other group, in which the same place is another target's.
                let mut row = w
                    .tables
                    .load_balancers
                    .row(LoadBalancerId(0))
                    .unwrap()
                    .clone();
                for listener in &mut row.listeners {
                    listener.target_group = Some(TargetGroupId(which as u32 % 2));
                }
                row.cross_zone = order % 2 == 0;
                w.edit(|b| b.set_load_balancer(LoadBalancerId(0), Some(row)));
            }
            5 => w.eni_edit(7, |row| row.attached = which > 0),
            6 => w.eni_edit(1, |row| row.source_dest_check = which > 0),
            _ => {
                let mut row = w.tables.endpoints.row(EndpointId(0)).unwrap().clone();
                row.available = which > 0;
                w.edit(|b| b.set_endpoint(EndpointId(0), Some(row)));
            }
        }
    }
}

/// All that is known of connections, but for what counts no more once they are settled: who
/// sent last.
fn sessions(w: &World) -> Vec<String> {
    let all = w.pipeline.connections().sessions.iter();
    all.map(|(id, session)| {
        let text = format!("{id:?} {session:?}");
        let (before, rest) = text.split_once(", turns: ").unwrap();
        let (_, behind) = rest.split_once(", last_seen: ").unwrap();
        format!("{before}, {behind}")
    })
    .collect()
}

/// How many connections were opened by plan, and how many answers sent by one.
fn life(family: usize, seed: u64, workers: u32) -> [u64; 2] {
    let mut worlds = [(); 2].map(|()| world(family, workers));
    let mut dice = Dice(seed, 0);
    // Who may answer whom.
    let mut heard: Vec<(u32, FiveTuple)> = Vec::new();
    let mut called: Vec<(u32, FiveTuple)> = vec![call(family, &mut dice)];
    for step in 0..900 {
        let what = dice.below(100);
        match what {
            0..3 => change(&mut worlds, family, &mut dice),
            3..6 => {
                let seconds = dice.of(&[1, 20, 31, 40, 121, 400]);
                for w in &mut worlds {
                    w.wait(seconds);
                }
            }
            _ => {}
        }
        let answers = what < 45 && !heard.is_empty();
        let (from, tuple) = match what {
            _ if answers => heard.swap_remove(dice.below(heard.len())),
            45..55 => dice.of(&called),
            _ => call(family, &mut dice),
        };
        let flags = match (answers, dice.below(20)) {
            (true, 0..16) => SYN | ACK,
            (true, 16) => RST | ACK,
            (true, 17) => SYN,
            (false, 0..16) => SYN,
            (false, 16) => RST,
            (false, 17) => FIN | ACK,
            _ => ACK,
        };
        let size = dice.of(&[0, 0, 0, 4, 9_000]);
        // Of a SYN the largest segment that its sender takes.
        let mut payload = vec![3; size];
        let options = [2, 4, 0x23, 0x28];
        let has_options = size == 4 && tuple.protocol == protocol::TCP;
        if has_options {
            payload.copy_from_slice(&options);
        }
        let mut frame = worlds[0].frame(from, &tuple, flags, &payload);
        if has_options {
            let headers = read(&frame);
            frame.bytes_mut()[usize::from(headers.l4) + 12] = 0x60;
            checksum::fill_transport(frame.bytes_mut(), &headers);
        }
        if tuple.protocol == protocol::TCP {
            // Targets are chosen by the sequence number, too.
            frame = numbered(frame, dice.below(1 << 30) as u32, 0);
        }
        if dice.below(12) == 0 && size < 9_000 {
            odd(&mut frame, &mut dice);
        }
        forget(&mut worlds[1], step);
        let [planned, walked] = worlds.each_mut().map(|w| w.send(from, frame.clone()));
        let at = format!("family {family}, seed {seed}, step {step}: {tuple:?}, flags {flags}");
        assert_eq!(planned.drops, walked.drops, "{at}");
        let bytes = |out: &[(EniId, Frame)]| -> Vec<_> {
            let all = out.iter();
            all.map(|(at, frame)| (*at, frame.bytes().to_vec(), frame.offload))
                .collect()
        };
        assert_eq!(bytes(&planned.out), bytes(&walked.out), "{at}");
        let [held, expected] = worlds.each_ref().map(sessions);
        for (held, expected) in held.iter().zip(&expected) {
            assert_eq!(held, expected, "{at}");
        }
        assert_eq!(held.len(), expected.len(), "{at}");
        let counts = worlds.each_ref().map(|w| {
            let counters = w.pipeline.counters();
            (counters.flows_created, counters.flows_ended)
        });
        assert_eq!(counts[0], counts[1], "{at}");
        called.push((from, tuple));
        for (to, mut frame) in planned.out {
            checksum::complete_partial(&mut frame).unwrap();
            let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
            let is_plain = matches!(headers.tuple.protocol, protocol::TCP | protocol::UDP);
            if is_plain && headers.tcp_flags & RST == 0 {
                heard.push((to.0, headers.tuple.reversed()));
            }
        }
    }
    let [planned, walked] = worlds.map(|w| {
        let counters = w.pipeline.counters();
        [counters.flows_planned, counters.answers_planned]
    });
    assert_eq!(walked, [0, 0], "nothing holds there");
    planned
}

#[test]
fn what_is_planned_leaves_as_what_is_walked() {
    for family in [0, 1] {
        // Alone, and as one of workers of whose ports each has a few.
        for workers in [1, 256] {
            let mut sum = [0; 2];
            for seed in 0..12 {
                let counts = life(family, seed, workers);
                sum = [sum[0] + counts[0], sum[1] + counts[1]];
            }
            println!("family {family}, {workers} workers: {sum:?}");
            assert!(sum[0] > 500 && sum[1] > 100, "{sum:?}");
        }
    }
}

/// Where all ports toward a target are in use nothing is opened, by plan or not; one that
/// comes free is the next one's.
#[test]
fn used_up_ports_are_used_up_for_plans_too() {
    for family in [0, 1] {
        let mut worlds = [(); 2].map(|()| world(family, 256));
        for w in &mut worlds {
            w.pipeline = Pipeline::new(Config {
                connections: 1_000,
                seed: 7,
                worker: (0, 256),
                ..Config::default()
            });
            w.edit(|b| {
                let states = [TargetHealth::Healthy, TargetHealth::Unhealthy];
                b.set_target_group(TargetGroupId(0), Some(targets(family, states)));
            });
        }
        let (mut dice, mut refused) = (Dice(1, 0), 0);
        for step in 0..600 {
            let (src, dst) = (ip(FIRST[family][0]), ip(ENDPOINT[family][0]));
            // Some are reset, and called again.
            let again = step > 300 && dice.below(4) == 0;
            let tuple = FiveTuple {
                src,
                dst,
                protocol: protocol::TCP,
                sport: if again {
                    2_000 + dice.below(step) as u16
                } else {
                    2_000 + step as u16
                },
                dport: 443,
            };
            let flags = if again { RST } else { SYN };
            let frame = worlds[0].frame(1, &tuple, flags, b"");
            forget(&mut worlds[1], step);
            let [planned, walked] = worlds.each_mut().map(|w| w.send(1, frame.clone()));
            assert_eq!(planned.drops, walked.drops, "{tuple:?}");
            let bytes = |out: &[(EniId, Frame)]| -> Vec<_> {
                let all = out.iter();
                all.map(|(at, frame)| (*at, frame.bytes().to_vec()))
                    .collect()
            };
            assert_eq!(bytes(&planned.out), bytes(&walked.out), "{tuple:?}");
            let portless = |drop: &&(EniId, DropReason)| drop.1 == DropReason::PortAllocation;
            refused += planned.drops.iter().filter(portless).count();
        }
        let [held, expected] = worlds.each_ref().map(sessions);
        assert_eq!(held, expected);
        let counters = worlds[0].pipeline.counters();
        assert!(refused > 100, "{refused} refused");
        assert!(counters.flows_planned > 200, "{}", counters.flows_planned);
    }
}

/// What is foreseen of a batch's first packets is no other than what is found one by one:
/// among few ports, of which some are given back within the batch, and with the same call
/// more than once in it.
fn batches(family: usize, seed: u64, workers: u32) -> [u64; 2] {
    let mut worlds = [(); 2].map(|()| world(family, workers));
    for w in &mut worlds {
        w.pipeline = Pipeline::new(Config {
            connections: 2_000,
            seed: 7,
            worker: (0, workers),
            ..Config::default()
        });
    }
    let mut dice = Dice(seed, 0);
    let mut heard: Vec<(u32, FiveTuple)> = Vec::new();
    let mut called: Vec<(u32, FiveTuple)> = vec![call(family, &mut dice)];
    let mut steps = 0;
    for round in 0..60 {
        if dice.below(4) == 0 {
            change(&mut worlds, family, &mut dice);
        }
        let seconds = dice.of(&[0, 0, 1, 12]);
        for w in &mut worlds {
            // What is over by then ends before the batch, in both.
            w.wait(seconds);
            w.send_all(Vec::new());
        }
        let frames: Vec<Frame> = (0..1 + dice.below(80))
            .map(|_| {
                let (from, tuple, flags) = match dice.below(10) {
                    0..6 => {
                        let (from, mut tuple) = call(family, &mut dice);
                        tuple.sport += 40 * dice.below(20) as u16;
                        called.push((from, tuple));
                        (from, tuple, SYN)
                    }
                    6 => {
                        let (from, tuple) = dice.of(&called);
                        (from, tuple, dice.of(&[SYN, SYN, RST, FIN | ACK]))
                    }
                    _ if heard.is_empty() => (1, called[0].1, ACK),
                    _ => {
                        let (from, tuple) = heard.swap_remove(dice.below(heard.len()));
                        (from, tuple, dice.of(&[SYN | ACK, SYN | ACK, RST | ACK]))
                    }
                };
                let mut frame = worlds[0].frame(from, &tuple, flags, b"");
                if tuple.protocol == protocol::TCP {
                    frame = numbered(frame, dice.below(1 << 30) as u32, 0);
                }
                frame.port = EniId(from);
                frame
            })
            .collect();
        let at = format!("family {family}, seed {seed}, round {round}");
        let [together, apart] = &mut worlds;
        let seen = together.send_all(frames.clone());
        let (mut out, mut drops) = (Vec::new(), Vec::new());
        for frame in frames {
            steps += 1;
            forget(apart, steps);
            let mut seen = apart.send_all(vec![frame]);
            out.append(&mut seen.out);
            drops.append(&mut seen.drops);
        }
        assert_eq!(seen.drops, drops, "{at}");
        let bytes = |out: &[(EniId, Frame)]| -> Vec<_> {
            let all = out.iter();
            all.map(|(at, frame)| (*at, frame.bytes().to_vec()))
                .collect()
        };
        assert_eq!(bytes(&seen.out), bytes(&out), "{at}");
        let [held, expected] = worlds.each_ref().map(sessions);
        assert_eq!(held, expected, "{at}");
        for (to, frame) in out {
            let headers = read(&frame);
            if headers.tcp_flags & RST == 0 {
                heard.push((to.0, headers.tuple.reversed()));
            }
        }
    }
    let counters = worlds[0].pipeline.counters();
    [counters.flows_planned, counters.answers_planned]
}

#[test]
fn a_batch_leaves_as_its_packets_one_by_one() {
    for family in [0, 1] {
        for workers in [1, 256] {
            let mut sum = [0; 2];
            for seed in 0..8 {
                let counts = batches(family, seed, workers);
                sum = [sum[0] + counts[0], sum[1] + counts[1]];
            }
            println!("family {family}, {workers} workers: {sum:?}");
            assert!(sum[0] > 2_000 && sum[1] > 300, "{sum:?}");
        }
    }
}

/// Where an address was an endpoint's and is a host's, what the load balancer chose by does
/// not stand in the way of the class's new plan.
#[test]
fn a_class_for_which_nobody_chooses_any_more_has_a_plan_again() {
    for family in [0, 1] {
        let mut w = world(family, 1);
        let mut planned = 0;
        let mut call = |w: &mut World, ports: std::ops::Range<u16>| {
            for sport in ports {
                let tuple = FiveTuple {
                    src: ip(FIRST[family][0]),
                    dst: ip(ENDPOINT[family][0]),
                    protocol: protocol::TCP,
                    sport,
                    dport: 443,
                };
                let frame = w.frame(1, &tuple, SYN, b"");
                assert_eq!(w.send(1, frame).out.len(), 1);
            }
            let all = w.pipeline.counters().flows_planned;
            all - std::mem::replace(&mut planned, all)
        };
        // A walk for each of two targets.
        assert!(call(&mut w, 2_000..2_010) >= 8);
        w.edit(|b| b.set_endpoint(EndpointId(0), None));
        w.eni_edit(2, |row| row.kind = EniKind::Host);
        assert_eq!(call(&mut w, 3_000..3_010), 9);
    }
}
