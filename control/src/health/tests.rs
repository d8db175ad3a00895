//! Probes against a toy target: another stack, joined in memory.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::packet::{Checksum, Frame};
use vpclab_dataplane::time::{Duration, Instant};

use super::testing::Peer;
use super::*;

const NODE: &str = "10.0.1.10";
const NODE_V6: &str = "2001:db8:1::10";
const NODE_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0, 254]);
const TARGET: &str = "10.0.2.20:80";

fn check(protocol: CheckProtocol) -> Arc<HealthCheck> {
    Arc::new(HealthCheck {
        protocol,
        port: CheckPort::Traffic,
        interval_s: 10,
        timeout_s: 5,
        healthy_threshold: 5,
        unhealthy_threshold: 2,
    })
}

fn http() -> Arc<HealthCheck> {
    check(CheckProtocol::Http {
        path: "/health?x=1".into(),
        matcher: Matcher::default(),
    })
}

fn target(address: &str, check: &Arc<HealthCheck>) -> ProbeTarget<u32> {
    ProbeTarget {
        key: 7,
        address: address.parse().unwrap(),
        check: Arc::clone(check),
        proxy_protocol: false,
        neighbour: None,
    }
}

fn prober(targets: Vec<ProbeTarget<u32>>) -> Prober<u32> {
    let config = NodeConfig {
        eni: EniId(5),
        mac: NODE_MAC,
        addresses: vec![NODE.parse().unwrap(), NODE_V6.parse().unwrap()],
        router_mac: ROUTER_MAC,
    };
    let mut prober = Prober::new(config, 42);
    prober.set_targets(Instant::ZERO, targets);
    prober
}

type Outcome = (Instant, Result<(), ProbeFailure>);

/// Runs both in virtual time until `end`; returns results with their times, and
/// every frame that the prober sent.
fn run(prober: &mut Prober<u32>, peer: &mut Peer, end: Instant) -> (Vec<Outcome>, Vec<Frame>) {
    let (mut seen, mut sent) = (Vec::new(), Vec::new());
    let (mut to_peer, mut to_node) = (Vec::new(), Vec::new());
    let mut now = Instant::ZERO;
    while now < end {
        let mut results = Vec::new();
        prober.poll(now, &mut to_node, &mut to_peer, &mut results);
        seen.extend(results.into_iter().map(|result| (now, result.outcome)));
        sent.extend(to_peer.iter().cloned());
        peer.poll(now, &mut to_peer, &mut to_node);
        let next = prober.next_deadline(now).unwrap();
        now = if to_node.is_empty() {
            next.max(now + Duration::from_millis(1))
        } else {
            now + Duration::from_millis(1)
        };
    }
    (seen, sent)
}

fn source(frame: &Frame) -> (IpAddr, u16) {
    let bytes = frame.bytes();
    let address: [u8; 4] = bytes[26..30].try_into().unwrap();
    (
        IpAddr::from(address),
        u16::from_be_bytes([bytes[34], bytes[35]]),
    )
}

#[test]
fn a_tcp_probe_leaves_the_node_and_passes_when_the_port_is_open() {
    let mut prober = prober(vec![target(TARGET, &check(CheckProtocol::Tcp))]);
    let mut peer = Peer::new(ROUTER_MAC, NODE_MAC, TARGET, true, b"");
    let (results, sent) = run(&mut prober, &mut peer, Instant::from_secs(29));
    assert_eq!(results.len(), 3, "one probe per interval: {results:?}");
    assert!(results.iter().all(|(_, outcome)| outcome.is_ok()));
    for frame in &sent {
        let (address, port) = source(frame);
        assert_eq!(address, NODE.parse::<IpAddr>().unwrap());
        assert!(PROBE_PORTS.contains(&port), "{port}");
        assert_eq!(frame.port, EniId(5));
        assert_eq!(frame.bytes()[..6], ROUTER_MAC.0);
        assert_eq!(frame.bytes()[6..12], NODE_MAC.0);
    }
    let resets = sent.iter().filter(|frame| frame.bytes()[47] & 4 != 0);
    assert_eq!(resets.count(), 0, "an orderly close, no reset");
}

#[test]
fn a_closed_port_fails_at_once_and_silence_after_the_timeout() {
    let mut refused = prober(vec![target(TARGET, &check(CheckProtocol::Tcp))]);
    let mut peer = Peer::new(ROUTER_MAC, NODE_MAC, TARGET, false, b"");
    let (results, _) = run(&mut refused, &mut peer, Instant::from_secs(5));
    assert_eq!(
        results,
        [(Instant::from_millis(1), Err(ProbeFailure::Refused))]
    );

    let mut silent = prober(vec![target(TARGET, &check(CheckProtocol::Tcp))]);
    let mut elsewhere = Peer::new(ROUTER_MAC, NODE_MAC, "10.0.2.21:80", true, b"");
    let (results, sent) = run(&mut silent, &mut elsewhere, Instant::from_secs(16));
    let at = |s| (Instant::from_secs(s), Err(ProbeFailure::Timeout));
    assert_eq!(results, [at(5), at(15)]);
    assert!(sent.len() > 2, "the SYN is retransmitted");
}

#[test]
fn an_http_probe_asks_for_the_path_and_judges_the_status() {
    for (answer, expected) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..], Ok(())),
        (b"HTTP/1.0 302 Found\r\n\r\n", Ok(())),
        (
            b"HTTP/1.1 404 Not Found\r\n\r\n",
            Err(ProbeFailure::Status(404)),
        ),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Err(ProbeFailure::Malformed)),
        (b"HTTP/1.1", Err(ProbeFailure::Refused)),
    ] {
        let mut prober = prober(vec![target(TARGET, &http())]);
        let mut peer = Peer::new(ROUTER_MAC, NODE_MAC, TARGET, true, answer);
        let (results, _) = run(&mut prober, &mut peer, Instant::from_secs(5));
        let outcomes: Vec<_> = results.into_iter().map(|(_, outcome)| outcome).collect();
        assert_eq!(outcomes, [expected], "{}", answer.escape_ascii());
        let request = String::from_utf8(peer.request).unwrap();
        assert!(
            request.starts_with("GET /health?x=1 HTTP/1.1\r\nHost: 10.0.2.20:80\r\n"),
            "{request}"
        );
    }
}

#[test]
fn an_http_server_that_accepts_and_says_nothing_times_out() {
    let mut prober = prober(vec![target(TARGET, &http())]);
    let mut peer = Peer::new(ROUTER_MAC, NODE_MAC, TARGET, true, b"");
    let (results, _) = run(&mut prober, &mut peer, Instant::from_secs(9));
    assert_eq!(
        results,
        [(Instant::from_secs(5), Err(ProbeFailure::Timeout))]
    );
}

#[test]
fn ipv6_targets_are_probed_from_the_nodes_ipv6_address() {
    let address = "[2001:db8:2::20]:80";
    let mut prober = prober(vec![target(address, &check(CheckProtocol::Tcp))]);
    let mut peer = Peer::new(ROUTER_MAC, NODE_MAC, address, true, b"");
    let (results, sent) = run(&mut prober, &mut peer, Instant::from_secs(5));
    assert_eq!(results.len(), 1);
    assert!(results[0].1.is_ok());
    let node: std::net::Ipv6Addr = NODE_V6.parse().unwrap();
    assert_eq!(sent[0].bytes()[22..38], node.octets());
}

#[test]
fn neighbours_are_framed_directly() {
    let mac = Mac([2, 9, 9, 9, 9, 9]);
    let mut near = target("10.0.1.77:80", &check(CheckProtocol::Tcp));
    near.neighbour = Some(mac);
    let mut prober = prober(vec![near]);
    let mut sent = Vec::new();
    prober.poll(Instant::ZERO, &mut Vec::new(), &mut sent, &mut Vec::new());
    assert_eq!(sent[0].bytes()[..6], mac.0);
}

/// Sends one SYN and lets `alter` touch the SYN-ACK; says whether it passed.
fn passes_with(alter: impl Fn(&mut Frame)) -> bool {
    let mut prober = prober(vec![target(TARGET, &check(CheckProtocol::Tcp))]);
    let mut peer = Peer::new(ROUTER_MAC, NODE_MAC, TARGET, true, b"");
    let (mut to_peer, mut to_node) = (Vec::new(), Vec::new());
    let mut results = Vec::new();
    prober.poll(Instant::ZERO, &mut Vec::new(), &mut to_peer, &mut results);
    peer.poll(Instant::ZERO, &mut to_peer, &mut to_node);
    assert_eq!(to_node.len(), 1);
    to_node.iter_mut().for_each(alter);
    prober.poll(Instant::ZERO, &mut to_node, &mut to_peer, &mut results);
    results.iter().any(|result| result.outcome.is_ok())
}

#[test]
fn checksums_are_verified_and_partial_ones_completed() {
    const TCP: usize = 34;
    assert!(passes_with(|_| ()));
    assert!(!passes_with(|frame| frame.bytes_mut()[TCP + 16] ^= 0xff));
    assert!(passes_with(|frame| {
        let len = frame.len() - TCP;
        let bytes = frame.bytes_mut();
        let words = bytes[26..34].chunks(2);
        let mut sum = 6
            + len as u32
            + words
                .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
                .sum::<u32>();
        sum = (sum & 0xffff) + (sum >> 16);
        bytes[TCP + 16..TCP + 18].copy_from_slice(&(sum as u16).to_be_bytes());
        frame.offload.checksum = Checksum::Partial {
            start: TCP as u16,
            offset: 16,
        };
    }));
    assert!(
        !passes_with(|frame| frame.bytes_mut()[0] ^= 1),
        "not our MAC"
    );
}

#[test]
fn local_ports_wrap_around_within_the_probe_range() {
    let check = check(CheckProtocol::Tcp);
    let targets = (0..600)
        .map(|key| ProbeTarget {
            key,
            address: SocketAddr::new([10, 0, 3, (key % 250) as u8].into(), 1000 + key as u16),
            check: Arc::clone(&check),
            proxy_protocol: false,
            neighbour: None,
        })
        .collect();
    let mut prober = prober(targets);
    let mut sent = Vec::new();
    prober.poll(Instant::ZERO, &mut Vec::new(), &mut sent, &mut Vec::new());
    let ports: std::collections::BTreeSet<u16> = sent.iter().map(|f| source(f).1).collect();
    assert_eq!(ports.len(), 512, "every port once, no port twice");
    assert_eq!(sent.len(), 512);
    assert!(ports.iter().all(|port| PROBE_PORTS.contains(port)));
    let later = prober.next_deadline(Instant::ZERO).unwrap();
    assert!(later > Instant::ZERO, "no busy loop while ports are short");
}

#[test]
fn a_target_that_stays_keeps_its_schedule_and_one_that_goes_is_silent() {
    let check = check(CheckProtocol::Tcp);
    let mut prober = prober(vec![target(TARGET, &check)]);
    let mut sent = Vec::new();
    let mut poll = |prober: &mut Prober<u32>, ms| {
        sent.clear();
        prober.poll(
            Instant::from_millis(ms),
            &mut Vec::new(),
            &mut sent,
            &mut Vec::new(),
        );
        sent.len()
    };
    assert_eq!(poll(&mut prober, 0), 1);
    prober.set_targets(Instant::from_millis(1), vec![target(TARGET, &check)]);
    assert_eq!(poll(&mut prober, 1), 0, "not probed again");
    prober.set_targets(Instant::from_millis(2), Vec::new());
    assert_eq!(poll(&mut prober, 20_000), 0);
    assert_eq!(prober.next_deadline(Instant::from_secs(20)), None);
}
