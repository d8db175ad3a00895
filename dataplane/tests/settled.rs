//! Settled connections: their cached packets leave the time with their direction,
//! not with the session; timeouts must be those of the last packet all the same.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::worlds::*;
use common::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{protocol, tcp_flag};
use vpclab_dataplane::pipeline::{Config, Pipeline};
use vpclab_dataplane::tables::{EniKind, PortMatch, RouteTarget};
use vpclab_dataplane::time::Duration;

/// Client and server, by family.
type Ends<'a> = [&'a str; 2];
const V4: Ends<'_> = ["10.0.1.10:5000", "10.0.2.10:53"];
const V6: Ends<'_> = ["[fd00:0:0:1::10]:5000", "[fd00:0:0:2::10]:53"];
/// Idle timeout of UDP with several exchanges (`aws-behaviour.md` §3.1).
const STREAM: Duration = Duration::from_secs(180);

/// Hosts 1 and 2 of [`V4`] and [`V6`]. Only host 1 may begin: what host 2 sends needs a
/// tracked connection.
fn one_way() -> World {
    let mut w = World::new();
    let all = ["10.0.0.0/16", "fd00::/48"];
    w.vpc(1, &all, false, None);
    w.table(1, &all.map(|cidr| (cidr, RouteTarget::Local)));
    let within = || {
        all.map(|cidr| rule(None, PortMatch::Any, any(cidr)))
            .to_vec()
    };
    w.group(1, vec![], within());
    w.group(2, within(), vec![]);
    w.subnet(1, 1, &["10.0.1.0/24", "fd00:0:0:1::/64"], 1);
    w.subnet(2, 1, &["10.0.2.0/24", "fd00:0:0:2::/64"], 1);
    w.eni(1, 1, &["10.0.1.10", "fd00:0:0:1::10"], &[1], EniKind::Host);
    w.eni(2, 2, &["10.0.2.10", "fd00:0:0:2::10"], &[2], EniKind::Host);
    w
}

/// The same with room for many connections.
fn large() -> World {
    let mut w = one_way();
    w.pipeline = Pipeline::new(Config {
        connections: 1 << 15,
        seed: 7,
        ..Config::default()
    });
    w
}

/// Sessions in the table.
fn live(w: &World) -> usize {
    w.pipeline.connections().sessions.len()
}

/// What becomes of a packet from one end to the other.
fn exchange(
    w: &mut World,
    [client, server]: Ends<'_>,
    protocol: u8,
    from: u32,
    flags: u8,
) -> Result<(), DropReason> {
    let (src, dst) = if from == 1 {
        (client, server)
    } else {
        (server, client)
    };
    let frame = w.frame(from, &tuple(protocol, src, dst), flags, b"");
    let seen = w.send(from, frame);
    match (seen.out.as_slice(), seen.drops.as_slice()) {
        ([_], []) => Ok(()),
        ([], [(_, reason)]) => Err(*reason),
        other => panic!("{other:?}"),
    }
}

/// A stream of UDP that is settled.
fn stream(w: &mut World, ends: Ends<'_>) {
    for from in [1, 2, 1, 2, 1, 2] {
        exchange(w, ends, protocol::UDP, from, 0).unwrap();
    }
}

#[test]
fn a_stream_lives_for_as_long_after_a_packet_of_either_direction() {
    for (from, ends) in [(1, V4), (2, V4), (1, V6), (2, V6)] {
        let mut w = one_way();
        stream(&mut w, ends);
        // Much longer than the timeout, in one direction only.
        for _ in 0..5 {
            w.now += STREAM;
            assert_eq!(exchange(&mut w, ends, protocol::UDP, from, 0), Ok(()));
        }
        w.now += STREAM;
        assert_eq!(
            exchange(&mut w, ends, protocol::UDP, 2, 0),
            Ok(()),
            "to the last"
        );
        w.now += STREAM + Duration::from_nanos(1);
        let late = exchange(&mut w, ends, protocol::UDP, 2, 0);
        assert_eq!(late, Err(DropReason::SecurityGroup), "and no longer");
    }
}

#[test]
fn the_sweep_spares_what_is_settled_and_takes_it_when_it_is_over() {
    for ends in [V4, V6] {
        sweep_spares(ends);
    }
}

fn sweep_spares(ends: Ends<'_>) {
    let mut w = one_way();
    stream(&mut w, ends);
    w.now += STREAM;
    exchange(&mut w, ends, protocol::UDP, 2, 0).unwrap();
    w.now += STREAM;
    w.pipeline.expire(w.now, &w.tables);
    assert_eq!(live(&w), 1);
    w.now += STREAM;
    w.pipeline.expire(w.now, &w.tables);
    assert_eq!(live(&w), 0);
}

/// FIN, FIN and the last ACK go to the session's state as before.
#[test]
fn a_settled_connection_that_is_closed_is_soon_forgotten() {
    for ends in [V4, V6] {
        closed_is_forgotten(ends);
    }
}

fn closed_is_forgotten(ends: Ends<'_>) {
    let (syn, ack, fin) = (tcp_flag::SYN, tcp_flag::ACK, tcp_flag::FIN);
    let mut w = one_way();
    let opened = [(1, syn), (2, syn | ack), (1, ack)];
    let settled = [(2, ack), (1, ack), (2, ack)];
    for (from, flags) in opened.into_iter().chain(settled) {
        exchange(&mut w, ends, protocol::TCP, from, flags).unwrap();
    }
    // Established, it is known for days.
    w.wait(100_000);
    for (from, flags) in [(2, ack), (1, fin | ack), (2, fin | ack), (1, ack)] {
        exchange(&mut w, ends, protocol::TCP, from, flags).unwrap();
    }
    w.wait(10);
    assert_eq!(exchange(&mut w, ends, protocol::TCP, 2, ack), Ok(()));
    w.now += Duration::from_secs(10) + Duration::from_nanos(1);
    let late = exchange(&mut w, ends, protocol::TCP, 2, ack);
    assert_eq!(late, Err(DropReason::SecurityGroup));
}

/// Packets and bytes of both directions, whichever way they were counted.
#[test]
fn every_packet_is_counted_once() {
    counted_once(V4, 28);
    counted_once(V6, 48);
}

fn counted_once(ends: Ends<'_>, bytes: u64) {
    let mut w = one_way();
    stream(&mut w, ends);
    for _ in 0..1000 {
        exchange(&mut w, ends, protocol::UDP, 1, 0).unwrap();
    }
    let (_, session) = w.pipeline.connections().sessions.iter().next().unwrap();
    assert_eq!(session.packets, [1003, 3]);
    assert_eq!(session.bytes, [bytes * 1003, bytes * 3]);
    assert_eq!(session.tracking.last_seen(), w.now);
}

/// Flows that come and go fast are swept as fast.
#[test]
fn many_dead_sessions_are_swept_in_haste() {
    let mut w = large();
    for port in 1..=20_000 {
        let ends = tuple(protocol::UDP, V4[0], &format!("10.0.2.10:{port}"));
        let frame = w.frame(1, &ends, 0, b"");
        w.send(1, frame);
    }
    assert_eq!(live(&w), 20_000);
    w.wait(121);
    for _ in 0..6 {
        w.pipeline.expire(w.now, &w.tables);
        w.now += Duration::from_millis(130);
    }
    assert_eq!(live(&w), 0);
    // Nobody is dead any more: there is time.
    w.pipeline.expire(w.now, &w.tables);
    exchange(&mut w, V4, protocol::UDP, 1, 0).unwrap();
    let next = w.pipeline.next_deadline().unwrap();
    assert!(next.since(w.now) > Duration::from_millis(800));
}

/// Closed connections are freed ten seconds after their last packet, with those of the
/// next moments, and those of which packets still come keep none of the others.
#[test]
fn closed_sessions_are_freed_as_they_die() {
    let mut w = large();
    let mut last = Vec::new();
    for n in 0..1_000 {
        close(&mut w, n);
        last.push(w.now);
        w.now += Duration::from_millis(5);
    }
    for (n, last) in last.iter_mut().enumerate().take(20) {
        let (client, server) = numbered(n);
        exchange(&mut w, [client, &server], protocol::TCP, 1, tcp_flag::ACK).unwrap();
        *last = w.now;
    }
    let remembered = Duration::from_secs(10);
    let gather = Duration::from_millis(50);
    let end = *last.iter().max().unwrap() + remembered + gather;
    while live(&w) > 0 {
        w.now = w.pipeline.next_deadline().unwrap();
        assert!(w.now <= end, "{} are left", live(&w));
        w.pipeline.expire(w.now, &w.tables);
        let alive = |at| last.iter().filter(|&&last| last + remembered >= at).count();
        let most = last
            .iter()
            .filter(|&&last| last + remembered + gather >= w.now);
        assert!((alive(w.now)..=most.count()).contains(&live(&w)));
    }
}

/// However many die at once, no batch waits for all of them.
#[test]
fn closed_sessions_are_freed_a_few_at_a_time() {
    let mut w = large();
    (0..1_000).for_each(|n| close(&mut w, n));
    w.wait(11);
    for left in [744, 488, 232, 0] {
        assert!(w.pipeline.next_deadline().unwrap() <= w.now);
        w.pipeline.expire(w.now, &w.tables);
        assert_eq!(live(&w), left);
    }
}

/// The ends of many connections, of both families in turn.
fn numbered(n: usize) -> (&'static str, String) {
    match n % 2 {
        0 => (V4[0], format!("10.0.2.10:{}", 1 + n)),
        _ => (V6[0], format!("[fd00:0:0:2::10]:{}", 1 + n)),
    }
}

/// Opens a connection, and closes it: once it is settled, or at once.
fn close(w: &mut World, n: usize) {
    let (client, server) = numbered(n);
    let (syn, ack, fin) = (tcp_flag::SYN, tcp_flag::ACK, tcp_flag::FIN | tcp_flag::ACK);
    let settled = [(2, syn | ack), (1, ack), (2, ack), (1, fin), (2, fin)];
    let rest = match n % 4 {
        0 | 1 => &[(1, tcp_flag::RST)],
        _ => settled.as_slice(),
    };
    for &(from, flags) in [(1, syn)].iter().chain(rest) {
        exchange(w, [client, &server], protocol::TCP, from, flags).unwrap();
    }
}
