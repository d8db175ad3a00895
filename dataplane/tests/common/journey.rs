//! One packet's journey through a pipeline, appliances and routers included,
//! every crossing checked against a walk made just before it.

use std::net::IpAddr;

use super::random::Topology;
use super::tape::Tape;
use super::worlds::bounce;
use super::*;
use vpclab_dataplane::flow::{Ingress, Rewrite};
use vpclab_dataplane::walk::{Component, Entry, Geneve, Packet, Path, Verdict, View, walk};

/// As many as a trace follows.
const CROSSINGS_MAX: usize = 16;

/// Where a journey ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// At a host: the frame as it got it.
    Delivered(EniId, FiveTuple, Vec<u8>),
    /// The router's answer came back.
    Answered,
    /// Dropped; whether a reset came back.
    Dropped(DropReason, bool),
    /// Nothing to be compared: a stack of a node took it, or no port sent it.
    Other,
}

/// A TCP, UDP or ICMP packet from ENI `from`; ICMP echo by `flags` 0 or 1.
pub fn packet(w: &World, from: u32, tuple: &FiveTuple, flags: u8) -> Frame {
    let mut frame = match tuple.protocol {
        protocol::ICMPV6 => icmp_v6(w, from, tuple),
        _ => w.frame(from, tuple, flags, b""),
    };
    let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
    let l4 = usize::from(headers.l4);
    let bytes = frame.bytes_mut();
    match tuple.protocol {
        // A trace knows no sequence number.
        protocol::TCP => bytes[l4 + 7] = 0,
        protocol::ICMP | protocol::ICMPV6 => {
            let reply = if headers.is_ipv4() { 0 } else { 129 };
            if flags == 1 {
                bytes[l4] = reply;
            }
            let identifier = tuple.sport.max(tuple.dport);
            bytes[l4 + 4..l4 + 6].copy_from_slice(&identifier.to_be_bytes());
        }
        _ => {}
    }
    checksum::fill_transport(bytes, &headers);
    frame.port = EniId(from);
    frame
}

fn icmp_v6(w: &World, from: u32, tuple: &FiveTuple) -> Frame {
    let eni = w.tables.enis.row(EniId(from)).unwrap();
    let router = w.tables.subnets.row(eni.subnet).unwrap().router_mac;
    let mut frame = Frame::with_capacity(128);
    let ends = Endpoints {
        src_mac: eni.mac,
        dst_mac: router,
        src: tuple.src,
        dst: tuple.dst,
    };
    put_ip(&mut frame, &ends, protocol::ICMPV6, 64, 8);
    frame.extend(&[128, 0, 0, 0, 0, 0, 0, 1]);
    frame
}

/// The packet as the pipeline judges it; `None` for those with state of their
/// own kind (fragments, errors).
fn judged(frame: &Frame) -> Option<Packet> {
    let headers = parse_ip(frame.bytes(), ETHERNET_LEN).ok()?;
    let plain = |h: &Headers| h.fragment == Fragment::Whole && !h.is_icmp_error();
    if !plain(&headers) {
        return None;
    }
    let outer = View::plain(headers);
    let tunnel = headers.tuple.protocol == protocol::UDP && headers.tuple.dport == GENEVE_PORT;
    let geneve = tunnel.then(|| {
        let payload = udp_payload(frame.bytes(), &headers).ok_or(DropReason::MalformedGeneve)?;
        let parsed = GeneveView::parse(payload)?;
        let inner = parse_ip(
            frame.bytes(),
            usize::from(headers.l4) + 8 + parsed.header_len(),
        )?;
        Ok(Geneve {
            vpce: parsed.endpoint_id,
            cookie: parsed.cookie,
            inner: View::plain(inner),
        })
    });
    let inner_is_plain = geneve.is_none_or(|g| g.is_ok_and(|g| plain(&g.inner.headers)));
    let packet = Packet { outer, geneve };
    (inner_is_plain || packet.geneve.is_some_and(|g| g.is_err())).then_some(packet)
}

/// What a fresh walk with the present connection state says, if the packet's
/// connection does not end just before it.
fn expected(w: &World, frame: &Frame, path: &mut Path) -> Option<Packet> {
    let packet = judged(frame)?;
    let connections = w.pipeline.connections();
    let (ingress, headers) = match packet.geneve {
        Some(Ok(geneve)) => {
            let slot = connections.gwlb.by_cookie(geneve.cookie?)?.0;
            (
                Ingress::Gwlb(connections.gwlb.serial(slot)),
                geneve.inner.headers,
            )
        }
        _ => (Ingress::Eni(frame.port), packet.outer.headers),
    };
    if let Some(known) = connections.find(ingress, headers.tuple) {
        let tracking = known.session.tracking();
        let ends = tracking.is_closed() && headers.is_tcp_open();
        if ends || known.session.dies_at() < w.now {
            return None;
        }
    }
    let dst: [u8; 6] = frame.bytes()[..6].try_into().unwrap();
    let entry = Entry::Port(frame.port, Mac(dst));
    walk(&w.tables, connections, w.now, entry, &packet, path);
    Some(packet)
}

/// Checksums of a frame, by code of the test's own.
fn check_checksums(bytes: &[u8]) {
    fn sum(bytes: &[u8]) -> u32 {
        let words = bytes.chunks(2);
        words.fold(0, |sum, w| {
            sum + u32::from(w[0]) * 256 + w.get(1).map_or(0, |&b| u32::from(b))
        })
    }
    fn is_right(mut sum: u32) -> bool {
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum == 0xffff
    }
    fn packet(ip: &[u8]) {
        let v4 = ip[0] >> 4 == 4;
        let (header, proto, addresses, len) = if v4 {
            let len = usize::from(ip[2]) * 256 + usize::from(ip[3]);
            (usize::from(ip[0] & 15) * 4, ip[9], &ip[12..20], len)
        } else {
            let len = usize::from(ip[4]) * 256 + usize::from(ip[5]);
            (40, ip[6], &ip[8..40], 40 + len)
        };
        assert!(!v4 || is_right(sum(&ip[..header])), "IP header checksum");
        let l4 = &ip[header..len];
        let pseudo = sum(addresses) + u32::from(proto) + l4.len() as u32;
        match proto {
            protocol::TCP | protocol::ICMPV6 => assert!(is_right(sum(l4) + pseudo), "{ip:02x?}"),
            protocol::ICMP => assert!(is_right(sum(l4)), "{ip:02x?}"),
            protocol::UDP if l4[6..8] == [0, 0] => assert!(v4, "UDP without checksum"),
            protocol::UDP => assert!(is_right(sum(l4) + pseudo), "{ip:02x?}"),
            _ => {}
        }
        if proto == protocol::UDP && l4[2..4] == GENEVE_PORT.to_be_bytes() && l4.len() > 48 {
            packet(&l4[48..]);
        }
    }
    packet(&bytes[ETHERNET_LEN..]);
}

/// VPCs that a single crossing may lead to from `vpc`, by the topology alone.
fn within_reach(t: &Topology, vpc: u32) -> Vec<u32> {
    let open = |vpc: u32| {
        vpc == 0
            || t.world
                .tables
                .vpcs
                .row(VpcId(vpc))
                .is_some_and(|v| v.igw.is_some())
    };
    let mut reach = vec![vpc];
    let mut at = 0;
    while let Some(&from) = reach.get(at) {
        for to in 0..=4 {
            let linked = t.links.contains(&(from, to)) || t.links.contains(&(to, from));
            if (linked || (open(from) && open(to))) && !reach.contains(&to) {
                reach.push(to);
            }
        }
        at += 1;
    }
    reach
}

/// One crossing: sends, and checks everything that must hold of any packet.
pub fn cross(t: &mut Topology, frame: Frame) -> Seen {
    let mut path = Path::default();
    let judged = expected(&t.world, &frame, &mut path);
    let port = frame.port;
    let sent = frame.clone();
    let before = t.world.pipeline.counters().clone();
    let seen = t.world.send(port.0, frame);
    let hits = t.world.pipeline.counters().flow_hits - before.flow_hits;
    for (_, frame) in seen.out.iter().chain(&seen.local) {
        check_checksums(frame.bytes());
    }
    if judged.is_some() {
        compare(&t.world, port, &path, &seen, hits);
    }
    isolation(t, &sent, &path, judged.is_some(), &seen);
    seen
}

/// A path, a line for each hop.
fn short(path: &Path) -> String {
    let mut text = String::new();
    for hop in &path.hops {
        text += &format!("{:?} {:?} -> {}\n", hop.component, hop.rule, hop.after);
    }
    text + &format!("{:?}", path.verdict)
}

fn compare(w: &World, port: EniId, path: &Path, seen: &Seen, hits: u64) {
    let what = || format!("hit {hits}\n{}\n{:?}", short(path), seen.drops);
    match path.verdict {
        Verdict::Forward(rewrite) => {
            assert!(seen.drops.is_empty(), "walk delivers: {}", what());
            let out = if rewrite.local {
                &seen.local
            } else {
                &seen.out
            };
            assert_eq!(out.len(), 1, "{}", what());
            assert_eq!(out[0].0, rewrite.out, "{}", what());
            compare_frame(w, &out[0].1, &rewrite, path);
        }
        Verdict::Drop(reason) => {
            assert_eq!(seen.drops, [(port, reason)], "{}", what());
            assert!(seen.out.is_empty(), "{}", what());
        }
        Verdict::Reset(reason) => assert_eq!(seen.drops, [(port, reason)], "{}", what()),
        Verdict::Service(_) => {
            assert!(seen.drops.is_empty() && seen.local.len() == 1, "{}", what());
        }
        Verdict::RouterEcho => {
            assert!(seen.drops.is_empty() && seen.out.len() == 1, "{}", what());
        }
    }
}

fn compare_frame(w: &World, frame: &Frame, rewrite: &Rewrite, path: &Path) {
    let bytes = frame.bytes();
    assert_eq!(bytes[..6], rewrite.dst_mac.0, "{}", short(path));
    assert_eq!(bytes[6..12], rewrite.src_mac.0, "{}", short(path));
    let outer = parse_ip(bytes, ETHERNET_LEN).unwrap();
    let inner = match rewrite.tunnel {
        None => outer,
        Some(tunnel) => {
            assert_eq!(
                outer.tuple.dst,
                IpAddr::V4(tunnel.target),
                "{}",
                short(path)
            );
            let view = GeneveView::parse(udp_payload(bytes, &outer).unwrap()).unwrap();
            assert_eq!(view.endpoint_id, Some(tunnel.vpce));
            let flow = w
                .pipeline
                .connections()
                .gwlb
                .by_cookie(view.cookie.unwrap());
            let (_, flow) = flow.unwrap();
            assert_eq!(flow.leg.source_port(), outer.tuple.sport);
            if path.opens_gwlb.is_none() {
                assert_eq!(view.cookie, Some(tunnel.cookie));
            }
            parse_ip(bytes, ETHERNET_LEN + GENEVE_OUTER_LEN).unwrap()
        }
    };
    assert_eq!(inner.tuple, rewrite.tuple, "{}", short(path));
    if let Some(ttl) = rewrite.ttl_set {
        assert_eq!(inner.ttl, ttl, "{}", short(path));
    }
}

/// Tenants are apart; and the frame a host gets is framed by its own subnet.
fn isolation(t: &Topology, sent: &Frame, path: &Path, walked: bool, seen: &Seen) {
    let enis = &t.world.tables.enis;
    let Some(from) = enis.row(sent.port) else {
        assert!(seen.out.is_empty());
        return;
    };
    for (port, frame) in &seen.out {
        let to = enis.row(*port).unwrap();
        assert!(to.is_host() && to.attached, "{port:?} {}", short(path));
        let reach = within_reach(t, from.vpc.0);
        assert!(reach.contains(&to.vpc.0), "{:?} to {:?}", from.vpc, to.vpc);
        let bytes = frame.bytes();
        assert_eq!(bytes[..6], to.mac.0);
        let router = t.world.tables.subnets.row(to.subnet).unwrap().router_mac;
        let neighbor = from.subnet == to.subnet && bytes[6..12] == from.mac.0;
        assert!(
            bytes[6..12] == router.0 || neighbor,
            "a frame from elsewhere comes from the router: {}",
            short(path)
        );
        let gates = |c: &Component| {
            matches!(
                c,
                Component::InternetGateway { .. }
                    | Component::Internet
                    | Component::Endpoint(_)
                    | Component::Tunnel { .. }
            )
        };
        if walked && from.vpc != to.vpc {
            let through = path.hops.iter().any(|hop| gates(&hop.component));
            assert!(through, "from VPC to VPC by nothing: {}", short(path));
        }
    }
}

/// Sends a frame and plays every appliance and router that it meets.
pub fn travel(t: &mut Topology, frame: Frame) -> Ended {
    let mut frame = frame;
    for _ in 0..CROSSINGS_MAX {
        let port = frame.port;
        let Seen {
            mut out,
            local,
            drops,
        } = cross(t, frame);
        if let Some(&(_, reason)) = drops.first() {
            return Ended::Dropped(reason, !out.is_empty());
        }
        let Some((at, next)) = out.pop() else {
            assert_eq!(local.len(), 1);
            return Ended::Other;
        };
        let headers = read(&next);
        let eni = t.world.tables.enis.row(at).unwrap();
        let to_geneve =
            headers.tuple.protocol == protocol::UDP && headers.tuple.dport == GENEVE_PORT;
        if t.appliances.contains(&at) && to_geneve {
            frame = bounce(next);
        } else if at == port && is_answer(t, at, &headers) {
            return Ended::Answered;
        } else if !eni.owns(headers.tuple.dst) {
            // A router passes it on.
            frame = next;
            let router = t.world.tables.subnets.row(eni.subnet).unwrap().router_mac;
            frame.bytes_mut()[..6].copy_from_slice(&router.0);
            frame.bytes_mut()[6..12].copy_from_slice(&eni.mac.0);
        } else {
            return Ended::Delivered(at, headers.tuple, next.bytes().to_vec());
        }
        frame.port = at;
    }
    Ended::Dropped(DropReason::Loop, false)
}

fn is_answer(t: &Topology, at: EniId, headers: &Headers) -> bool {
    let source = headers.tuple.src;
    let eni = t.world.tables.enis.row(at).unwrap();
    let subnet = t.world.tables.subnets.row(eni.subnet).unwrap();
    subnet.cidrs.iter().any(|cidr| cidr.nth(1) == Some(source))
}

/// A random packet, likely to arrive.
pub fn probe(t: &Topology, tape: &mut Tape<'_>) -> (u32, FiveTuple) {
    let kind = tape.below(12);
    let consumers = t.links.first().map(|link| t.of_vpc(&t.hosts, link.0));
    let consumers = consumers.filter(|hosts| !t.services.is_empty() && !hosts.is_empty());
    let from = match (kind, consumers) {
        (6..=8, Some(hosts)) => tape.of(&hosts),
        _ => tape.of(&t.hosts),
    };
    let eni = t.world.tables.enis.row(EniId(from));
    let Some(eni) = eni else {
        return (from, tcp("10.0.0.10:1", "10.0.0.11:1"));
    };
    let v6 = tape.chance(25);
    let family = |address: &IpAddr| address.is_ipv6() == v6;
    let own = |id: u32| -> Option<IpAddr> {
        let row = t.world.tables.enis.row(EniId(id))?;
        row.addresses.iter().copied().find(family)
    };
    let Some(&fallback) = eni.addresses.first() else {
        return (from, tcp("10.0.0.10:1", "10.0.0.11:1"));
    };
    let neighbors = t.of_vpc(&t.hosts, eni.vpc.0);
    if neighbors.is_empty() {
        return (from, tcp("10.0.0.10:1", "10.0.0.11:1"));
    }
    let public = |id: u32| {
        let row = t.world.tables.enis.row(EniId(id))?;
        row.public.first().map(|pair| pair.public)
    };
    let (mut protocol, mut dport) = (
        tape.of(&[protocol::TCP, protocol::UDP, protocol::TCP, protocol::ICMP]),
        tape.of(&[80, 443, 53, 8443, 6081, 5000]),
    );
    let internet = eni.vpc.0 == 0;
    let dst = match kind {
        0..4 if !internet => own(tape.of(&neighbors)),
        0..6 if internet => {
            let id = tape.of(&t.hosts);
            if v6 { own(id) } else { public(id) }
        }
        4 | 5 => own(tape.of(&[2, 3])),
        6..=8 if !t.services.is_empty() => {
            if protocol != protocol::ICMP {
                dport = if protocol == protocol::TCP { 443 } else { 53 };
            }
            Some(tape.of(&t.services)).filter(family)
        }
        9 => own(tape.of(&t.hosts)),
        10 => own(tape.of(&[2, 3])),
        _ => {
            let odd = tape.of(&["10.0.0.1", "10.0.0.70", "198.51.100.99", "10.1.0.11"]);
            Some(ip(odd)).filter(family)
        }
    };
    let src = if tape.chance(4) {
        Some(ip("10.0.0.99"))
    } else {
        own(from)
    };
    let (src, dst) = match (src, dst) {
        (Some(src), Some(dst)) if src.is_ipv4() == dst.is_ipv4() => (src, dst),
        _ => {
            let other = first_address(t, tape.of(&neighbors));
            let same = other.filter(|other| other.is_ipv4() == fallback.is_ipv4());
            (fallback, same.unwrap_or(fallback))
        }
    };
    if protocol == protocol::ICMP && src.is_ipv6() {
        protocol = protocol::ICMPV6;
    }
    let sport = 40000 + tape.below(4) as u16;
    let echo = matches!(protocol, protocol::ICMP | protocol::ICMPV6);
    let tuple = FiveTuple {
        src,
        dst,
        protocol,
        sport,
        dport: if echo { 0 } else { dport },
    };
    (from, tuple)
}

fn first_address(t: &Topology, id: u32) -> Option<IpAddr> {
    let row = t.world.tables.enis.row(EniId(id))?;
    row.addresses.first().copied()
}
