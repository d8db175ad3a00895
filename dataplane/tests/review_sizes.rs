//! Sizes: who is told what, and what becomes of offloads.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::*;
use vpclab_dataplane::tables::*;

const SYN: u8 = tcp_flag::SYN;
const ACK: u8 = tcp_flag::ACK;

/// Makes an IPv4 frame one that may be fragmented.
fn clear_df(frame: &mut Frame) {
    frame.bytes_mut()[20] = 0;
    checksum::fill_ipv4_header(&mut frame.bytes_mut()[14..34]);
}

fn udp(w: &World, from: u32, src: &str, dst: &str, len: usize) -> Frame {
    w.frame(from, &tuple(protocol::UDP, src, dst), 0, &vec![7; len])
}

/// What a "too big" message quotes, and its MTU.
fn too_big(frame: &Frame) -> (Headers, FiveTuple, u16) {
    let headers = read(frame);
    assert_eq!((headers.icmp_type, headers.icmp_code), (3, 4));
    let l4 = usize::from(headers.l4);
    let mtu = u16::from_be_bytes([frame.bytes()[l4 + 6], frame.bytes()[l4 + 7]]);
    let quoted = parse_quoted(frame.bytes(), l4 + 8).unwrap();
    (headers, quoted.tuple, mtu)
}

#[test]
fn gwlb_behind_the_appliance_the_internet_gateway_still_fragments() {
    let mut w = worked();
    let mut frame = udp(&w, 1, "10.0.1.10:4000", "203.0.113.80:53", 3000);
    clear_df(&mut frame);
    let geneve = only(w.send(1, frame).out, 4);
    let seen = w.send(4, bounce(geneve));
    assert_eq!(seen.drops, []);
    assert_eq!(seen.out.len(), 3);
    let mut bytes = 0;
    for (port, piece) in &seen.out {
        let headers = read(piece);
        assert_eq!((*port, headers.tuple.src), (EniId(5), ip("198.51.100.1")));
        assert!(headers.ip_len <= 1500);
        bytes += headers.ip_len - 20;
    }
    assert_eq!(bytes, 3008);
}

#[test]
fn gwlb_behind_the_appliance_the_sender_still_learns_the_mtu() {
    let mut w = worked();
    let frame = udp(&w, 1, "10.0.1.10:4000", "203.0.113.80:53", 3000);
    let geneve = only(w.send(1, frame).out, 4);
    // Seen once before, so that the sender's session is known.
    let seen = w.send(4, bounce(geneve));
    assert_eq!(seen.drops, [(EniId(4), DropReason::Mtu)]);
    let (headers, quoted, mtu) = too_big(&only(seen.out, 1));
    assert_eq!(
        (headers.tuple.src, headers.tuple.dst),
        (ip("10.0.2.1"), ip("10.0.1.10"))
    );
    assert_eq!(
        quoted,
        tuple(protocol::UDP, "10.0.1.10:4000", "203.0.113.80:53")
    );
    assert_eq!(mtu, 1500);
}

#[test]
fn privatelink_shows_no_router_of_the_provider() {
    let mut w = privatelink();
    w.eni_edit(4, |eni| eni.mtu = 1500);
    only(w.tcp(1, "10.0.1.10:40000", "10.0.2.20:443", SYN).out, 4);
    let frame = w.frame(1, &tcp("10.0.1.10:40000", "10.0.2.20:443"), ACK, &[1; 3000]);
    let seen = w.send(1, frame);
    assert_eq!(seen.drops, [(EniId(1), DropReason::Mtu)]);
    let (headers, ..) = too_big(&only(seen.out, 1));
    assert_eq!(headers.tuple.src, ip("10.0.2.20"), "the endpoint's address");
}

#[test]
fn gwlb_what_the_appliance_cannot_take_vanishes() {
    let mut w = worked();
    w.eni_edit(4, |eni| eni.mtu = 1500);
    let frame = udp(&w, 1, "10.0.1.10:4000", "203.0.113.80:53", 1432 - 28);
    only(w.send(1, frame).out, 4);
    let frame = udp(&w, 1, "10.0.1.10:4000", "203.0.113.80:53", 1433 - 28);
    let seen = w.send(1, frame);
    assert!(seen.out.is_empty(), "no word of the provider's network");
    assert_eq!(seen.drops, [(EniId(1), DropReason::GwlbMtu)]);
}

#[test]
fn a_super_packet_that_may_be_fragmented_is() {
    let mut w = worked();
    let direct = [("0.0.0.0/0", RouteTarget::InternetGateway)];
    w.table(10, &direct);
    let mut frame = udp(&w, 1, "10.0.1.10:4000", "203.0.113.80:53", 6000);
    clear_df(&mut frame);
    frame.offload.segmentation = Segmentation::Udp(3000);
    let seen = w.send(1, frame);
    assert_eq!(seen.drops, []);
    assert_eq!(seen.out.len(), 6);
    for (port, piece) in &seen.out {
        let headers = read(piece);
        assert_eq!(*port, EniId(5));
        assert!(headers.ip_len <= 1500 && piece.offload.segmentation == Segmentation::None);
    }
}

/// A super-packet of 3500 bytes in pieces of 1000, and the world that it is sent in.
fn with_super_packet(flow: &FiveTuple) -> (World, Frame) {
    super_packet_in(worked(), flow)
}

fn super_packet_in(mut w: World, flow: &FiveTuple) -> (World, Frame) {
    let payload: Vec<u8> = (0..3500u16).map(|n| (n % 251) as u8).collect();
    if flow.protocol == protocol::TCP {
        // Past both appliances, where there are two.
        let syn = w.frame(1, flow, SYN, b"");
        let (mut port, mut syn) = w.send(1, syn).out.remove(0);
        while port == EniId(4) {
            (port, syn) = w.send(4, bounce(syn)).out.remove(0);
        }
        assert_eq!(port, EniId(5));
    }
    let mut frame = w.frame(1, flow, ACK, &payload);
    frame.offload.segmentation = match flow.protocol {
        protocol::TCP => Segmentation::Tcp(1000),
        _ => Segmentation::Udp(1000),
    };
    (w, frame)
}

/// Headers of a frame whose checksum may be wrong, or not done.
fn headers_of(frame: &Frame) -> Headers {
    parse_ip(frame.bytes(), ETHERNET_LEN).unwrap()
}

fn cut(frame: Frame) -> Vec<Frame> {
    let mut pieces = Vec::new();
    segment(frame, &mut FramePool::new(0), &mut |piece| {
        pieces.push(piece)
    })
    .unwrap();
    pieces
}

/// What an appliance makes of the datagrams of a train before it returns them as one.
fn train_of(train: &Frame, change: impl FnOnce(&mut Vec<Frame>)) -> Frame {
    let mut cars = cut(train.clone());
    change(&mut cars);
    let outer = headers_of(&cars[0]).tuple;
    let mut again = Train::new(cars.remove(0));
    assert!(cars.iter().all(|car| again.hang_on(car)));
    bounce(again.finish(&outer))
}

/// What the sessions have counted: packets and bytes of either direction.
fn counted(w: &World) -> Vec<([u64; 2], [u64; 2])> {
    let sessions = &w.pipeline.connections().sessions;
    sessions
        .iter()
        .map(|(_, session)| (session.packets, session.bytes))
        .collect()
}

#[test]
fn gwlb_a_super_packet_crosses_the_appliance_as_a_train_and_is_whole_behind_it() {
    for (kind, len, segmentation) in [
        (protocol::TCP, 1080, Segmentation::Tcp(1000)),
        (protocol::UDP, 1068, Segmentation::Udp(1000)),
    ] {
        let flow = tuple(kind, "10.0.1.10:40000", "203.0.113.80:443");
        let (mut w, frame) = with_super_packet(&flow);
        let train = only(w.send(1, frame.clone()).out, 4);
        // Outer UDP payload: 40 bytes of GENEVE and options, the headers inside, 1000.
        assert_eq!(train.offload.segmentation, Segmentation::Udp(len));
        let seen = w.send(4, bounce(train.clone()));
        assert_eq!(seen.drops, []);
        let whole = only(seen.out, 5);
        assert_eq!(whole.offload.segmentation, segmentation);
        let headers = headers_of(&whole);
        assert_eq!(headers.tuple.src, ip("198.51.100.1"));
        assert!(checksum::partial_fits(whole.offload.checksum, &headers));
        assert_eq!(whole.bytes()[34..].len(), frame.bytes()[34..].len());

        // The same datagrams one by one, in a world like it.
        let (mut other, frame) = with_super_packet(&flow);
        let train = only(other.send(1, frame).out, 4);
        let single: Vec<Frame> = cut(train)
            .into_iter()
            .map(|car| only(other.send(4, bounce(car)).out, 5))
            .collect();
        let pieces = cut(whole);
        assert_eq!(pieces.len(), 4);
        for (piece, single) in pieces.iter().zip(&single) {
            assert_eq!(piece.bytes(), single.bytes());
            let headers = read(piece);
            assert!(checksum::verify_transport(piece.bytes(), &headers));
        }
        assert_eq!(counted(&w), counted(&other), "packets, not frames");
        let (joined, apart) = (w.pipeline.counters(), other.pipeline.counters());
        assert_eq!(joined.flow_hits, apart.flow_hits);
        assert_eq!(joined.flow_misses, apart.flow_misses);
        let of_flows = |w: &World| w.pipeline.connections().gwlb.accounts(w.now).sum(|_| true);
        assert_eq!(of_flows(&w), of_flows(&other));
    }
}

#[test]
fn gwlb_what_a_train_lost_or_mixed_up_does_not_become_whole() {
    let flow = tcp("10.0.1.10:40000", "203.0.113.80:443");
    // Where the TCP header inside a datagram is.
    const TCP: usize = 14 + 68 + 20;
    type Change = (&'static str, fn(&mut Vec<Frame>), &'static [usize]);
    let all: [Change; 3] = [
        ("a gap", |cars| drop(cars.remove(1)), &[1000, 1500]),
        ("reordered", |cars| cars.swap(0, 1), &[1000, 1000, 1500]),
        (
            "a wrong byte",
            |cars| cars[1].bytes_mut()[TCP + 25] ^= 1,
            &[1000, 1000, 1500],
        ),
    ];
    for (name, change, lens) in all {
        let (mut w, frame) = with_super_packet(&flow);
        let train = only(w.send(1, frame).out, 4);
        let seen = w.send(4, train_of(&train, change));
        assert_eq!(seen.drops, [], "{name}");
        let came: Vec<usize> = seen.out.iter().map(|(_, f)| f.len() - 54).collect();
        assert_eq!(came, lens, "{name}");
        let wrong = |frame: &&(EniId, Frame)| {
            let headers = headers_of(&frame.1);
            frame.1.offload.segmentation == Segmentation::None
                && !checksum::verify_transport(frame.1.bytes(), &headers)
        };
        let wrong = seen.out.iter().filter(wrong).count();
        assert_eq!(wrong, usize::from(name == "a wrong byte"), "as it came");
    }
}

#[test]
fn gwlb_two_flows_in_one_train_stay_two() {
    let mut w = worked();
    let flows = ["10.0.1.10:40000", "10.0.1.10:40001"].map(|src| tcp(src, "203.0.113.80:443"));
    let trains = flows.map(|flow| {
        only(w.send(1, w.frame(1, &flow, SYN, b"")).out, 4);
        let mut frame = w.frame(1, &flow, ACK, &[7; 3000]);
        frame.offload.segmentation = Segmentation::Tcp(1000);
        cut(only(w.send(1, frame).out, 4))
    });
    // One socket sends them, with one outer header: cookies tell them apart.
    let [first, second] = &trains;
    let cars: Vec<&Frame> = first.iter().zip(second).flat_map(|(a, b)| [a, b]).collect();
    let outer = headers_of(cars[0]).tuple;
    let hang = |cars: &[&Frame]| {
        let mut train = Train::new(cars[0].clone());
        assert!(cars[1..].iter().all(|car| train.hang_on(car)));
        bounce(train.finish(&outer))
    };
    let ports = |seen: &Seen| -> Vec<(u16, usize)> {
        let of = |(_, frame): &(EniId, Frame)| (headers_of(frame).tuple.sport, frame.len() - 54);
        seen.out.iter().map(of).collect()
    };
    let seen = w.send(4, hang(&cars));
    assert_eq!(seen.drops, []);
    let singles = [(40000, 1000), (40001, 1000)];
    assert_eq!(ports(&seen), [singles, singles, singles].concat());
    let one_by_one: Vec<&Frame> = first.iter().chain(second).collect();
    let seen = w.send(4, hang(&one_by_one));
    assert_eq!(ports(&seen), [(40000, 3000), (40001, 3000)]);
}

#[test]
fn gwlb_two_flows_in_one_train_are_two_trains_to_the_next_appliance() {
    let mut w = inspected_twice();
    let flows = ["10.0.1.10:40000", "10.0.1.10:40001"].map(|src| tcp(src, "203.0.113.80:443"));
    let mut cars = flows.map(|flow| {
        let syn = only(w.send(1, w.frame(1, &flow, SYN, b"")).out, 4);
        let syn = only(w.send(4, bounce(syn)).out, 4);
        only(w.send(4, bounce(syn)).out, 5);
        let mut frame = w.frame(1, &flow, ACK, &[7; 3000]);
        frame.offload.segmentation = Segmentation::Tcp(1000);
        cut(only(w.send(1, frame).out, 4))
    });
    let outer = headers_of(&cars[0][0]).tuple;
    let mut train = Train::new(cars[0].remove(0));
    assert!(cars.iter().flatten().all(|car| train.hang_on(car)));
    let seen = w.send(4, bounce(train.finish(&outer)));
    assert_eq!(seen.drops, []);
    let of = |(port, frame): &(EniId, Frame)| (port.0, headers_of(frame).tuple.sport, frame.len());
    let came: Vec<_> = seen.out.iter().map(of).collect();
    let [(4, first, len), (4, second, other)] = came[..] else {
        panic!("{came:?}");
    };
    assert!(first != second && len == other, "{came:?}");
}

#[test]
fn gwlb_a_train_goes_whole_from_one_appliance_to_the_next() {
    for (kind, segmentation) in [
        (protocol::TCP, Segmentation::Tcp(1000)),
        (protocol::UDP, Segmentation::Udp(1000)),
    ] {
        let flow = tuple(kind, "10.0.1.10:40000", "203.0.113.80:443");
        let (mut w, frame) = super_packet_in(inspected_twice(), &flow);
        let first = only(w.send(1, frame).out, 4);
        let seen = w.send(4, bounce(first.clone()));
        assert_eq!(seen.drops, []);
        let second = only(seen.out, 4);
        assert_eq!(second.offload, first.offload);
        assert_eq!(second.len(), first.len());
        let passed = counted(&w);
        let whole = only(w.send(4, bounce(second.clone())).out, 5);
        assert_eq!(whole.offload.segmentation, segmentation);

        // The same datagrams one by one, in a world like it.
        let (mut other, frame) = super_packet_in(inspected_twice(), &flow);
        let single: Vec<Frame> = cut(only(other.send(1, frame).out, 4))
            .into_iter()
            .map(|car| only(other.send(4, bounce(car)).out, 4))
            .collect();
        let cars = cut(second);
        assert_eq!(cars.len(), 4);
        for (car, single) in cars.iter().zip(&single) {
            // What is in the outer UDP datagram; its own checksum is done for a train only.
            assert_eq!(car.bytes()[42..], single.bytes()[42..]);
            assert!(checksum::verify_transport(car.bytes(), &read(car)));
        }
        assert_eq!(passed, counted(&other), "packets, not frames");
    }
}

#[test]
fn gwlb_ethernet_padding_stays_outside_the_tunnel() {
    let mut w = worked();
    let frame = udp(&w, 1, "10.0.1.10:4000", "203.0.113.80:53", 2);
    let mut padded = frame.clone();
    padded.extend(&[0xee; 16]);
    let plain = only(w.send(1, frame).out, 4);
    let padded = only(w.send(1, padded).out, 4);
    assert_eq!(plain.len(), padded.len());
}

#[test]
fn a_node_gets_whole_packets_with_whole_checksums() {
    let mut w = privatelink();
    // A health check leaves the node, the target answers with offloads.
    let check = tcp("10.0.1.30:1100", "10.0.2.40:8443");
    let frame = w.frame(3, &check, SYN, b"");
    only(w.send(3, frame).out, 4);
    let mut reply = w.frame(4, &check.reversed(), SYN | ACK, b"");
    let headers = read(&reply);
    let pseudo = checksum::pseudo_header(headers.tuple.src, headers.tuple.dst, 6, 20).folded();
    reply.bytes_mut()[50..52].copy_from_slice(&pseudo.to_be_bytes());
    reply.offload.checksum = Checksum::Partial {
        start: 34,
        offset: 16,
    };
    let at_node = only(w.send(4, reply).local, 3);
    read(&at_node);
    assert!(!matches!(
        at_node.offload.checksum,
        Checksum::Partial { .. }
    ));
}

#[test]
fn a_first_packet_in_fragments_opens_a_connection_like_any_other() {
    let mut w = worked();
    w.table(10, &[("0.0.0.0/0", RouteTarget::InternetGateway)]);
    w.vpc(1, &["10.0.0.0/16"], true, None);
    let outward = vec![rule(None, PortMatch::Any, any("0.0.0.0/0"))];
    w.group(9, vec![], outward);
    w.eni_edit(1, |eni| eni.groups = vec![SecurityGroupId(9)]);
    for _ in 0..2 {
        let mut frame = udp(&w, 1, "10.0.1.10:4000", "203.0.113.80:53", 3000);
        clear_df(&mut frame);
        assert_eq!(w.send(1, frame).out.len(), 3);
        let answer = udp(&w, 5, "203.0.113.80:53", "198.51.100.1:4000", 8);
        only(w.send(5, answer).out, 1);
        w.wait(20);
    }
}
