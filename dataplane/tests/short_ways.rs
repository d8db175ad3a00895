//! The short ways make of a packet what the long way makes of it: in both families, with
//! every state of its checksum; and what is not whole takes none of them.

#![allow(clippy::unwrap_used, reason = "a test stops where its data is bad")]

mod common;

use common::worlds::*;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::packet::*;

const SYN: u8 = tcp_flag::SYN;
const ACK: u8 = tcp_flag::ACK;

/// How a sender leaves the checksum.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sum {
    Whole,
    Verified,
    Partial,
    /// Of UDP: none.
    Absent,
}

fn leave(frame: &mut Frame, sum: Sum) {
    let headers = read(frame);
    // Some hops behind it already.
    let ttl = if headers.is_ipv4() { 22 } else { 21 };
    frame.bytes_mut()[ttl] = 61;
    if headers.is_ipv4() {
        checksum::fill_ipv4_header(&mut frame.bytes_mut()[14..34]);
    }
    let (start, tuple) = (headers.l4, headers.tuple);
    let offset = if tuple.protocol == protocol::TCP {
        16
    } else {
        6
    };
    let field = usize::from(start + offset);
    let len = u32::from(frame.bytes().len() as u16 - start);
    match sum {
        Sum::Whole => {}
        Sum::Verified => frame.offload.checksum = Checksum::Verified,
        Sum::Partial => {
            let pseudo = checksum::pseudo_header(tuple.src, tuple.dst, tuple.protocol, len);
            frame.bytes_mut()[field..field + 2].copy_from_slice(&pseudo.folded().to_be_bytes());
            frame.offload.checksum = Checksum::Partial { start, offset };
        }
        Sum::Absent => frame.bytes_mut()[field..field + 2].fill(0),
    }
}

/// What was decided holds no more: the next packet of each connection is walked.
fn forget(w: &mut World) {
    for eni in 1..=4 {
        w.eni_edit(eni, |row| row.label = label(&format!("{}'", row.label)));
    }
}

/// What a host gets of a frame, and whether its way was known.
fn pass(w: &mut World, from: u32, frame: &Frame) -> (EniId, Frame, bool) {
    let hits = w.pipeline.counters().flow_hits;
    let seen = w.send(from, frame.clone());
    let [(at, frame)] = &seen.out[..] else {
        panic!("{:?}", seen.drops)
    };
    (*at, frame.clone(), w.pipeline.counters().flow_hits > hits)
}

/// The frame is walked, then goes the short way, and is the same; its checksum is right.
fn same_by_both(w: &mut World, from: u32, frame: &Frame, what: &str) -> Frame {
    forget(w);
    let (at, long, known) = pass(w, from, frame);
    assert!(!known, "{what} is walked");
    let (to, short, known) = pass(w, from, frame);
    assert!(known, "{what} is known");
    assert_eq!((at, long.bytes()), (to, short.bytes()), "{what}");
    assert_eq!(long.offload, short.offload, "{what}");
    let mut whole = short;
    checksum::complete_partial(&mut whole).unwrap();
    whole
}

/// A connection that both ends have sent in, as the server sees it.
fn connection(w: &mut World, family: usize, ip_protocol: u8) -> [FiveTuple; 2] {
    let port = if ip_protocol == protocol::TCP {
        443
    } else {
        53
    };
    let (src, dst) = (CLIENT[family], SERVICE[family]);
    let tuple = tuple(
        ip_protocol,
        &format!("{src}:4000"),
        &format!("{dst}:{port}"),
    );
    let syn = w.frame(1, &tuple, SYN, b"");
    let (at, frame, _) = pass(w, 1, &syn);
    assert_eq!(at, EniId(4));
    let back = read(&frame).tuple.reversed();
    let answer = w.frame(4, &back, SYN | ACK, b"");
    assert_eq!(pass(w, 4, &answer).0, EniId(1));
    let ack = w.frame(1, &tuple, ACK, b"");
    pass(w, 1, &ack);
    [tuple, back]
}

#[test]
fn each_state_of_a_checksum_leaves_as_by_the_long_way() {
    for (family, ip_protocol) in [(0, 6), (0, 17), (1, 6), (1, 17)] {
        let mut w = privatelink_of(family);
        let tuples = connection(&mut w, family, ip_protocol);
        for (from, tuple) in [1, 4].into_iter().zip(tuples) {
            for sum in [Sum::Whole, Sum::Verified, Sum::Partial, Sum::Absent] {
                if sum == Sum::Absent && ip_protocol != protocol::UDP {
                    continue;
                }
                for payload in [&b""[..], b"x", &[0xff; 301]] {
                    let mut frame = w.frame(from, &tuple, ACK, payload);
                    leave(&mut frame, sum);
                    let what = format!("{sum:?} of {tuple:?}, {} bytes", payload.len());
                    let whole = same_by_both(&mut w, from, &frame, &what);
                    let headers = parse_ip(whole.bytes(), ETHERNET_LEN).unwrap();
                    let l4 = usize::from(headers.l4);
                    let is_none = sum == Sum::Absent && whole.bytes()[l4 + 6..l4 + 8] == [0, 0];
                    assert!(is_none || read(&whole).tuple == headers.tuple, "{what}");
                    assert_ne!(headers.tuple.dst, tuple.dst, "{what} is translated");
                    assert_eq!(headers.ttl, 64, "a load balancer's leg begins anew");
                }
            }
        }
    }
}

/// The sum that is zero is sent as all ones (RFC 768, RFC 8200 §8.1).
#[test]
fn a_checksum_of_udp_that_becomes_zero_is_sent_as_ones() {
    for family in [0, 1] {
        let mut w = privatelink_of(family);
        let [tuple, _] = connection(&mut w, family, protocol::UDP);
        let plain = w.frame(1, &tuple, 0, &[0, 0]);
        let (_, out, _) = pass(&mut w, 1, &plain);
        let l4 = usize::from(read(&out).l4);
        // What is added to the payload goes off the sum.
        let held: [u8; 2] = out.bytes()[l4 + 6..l4 + 8].try_into().unwrap();
        let frame = w.frame(1, &tuple, 0, &held);
        let out = same_by_both(&mut w, 1, &frame, "a sum of zero");
        assert_eq!(out.bytes()[l4 + 6..l4 + 8], [0xff, 0xff]);
        read(&out);
    }
}

/// A packet that its frame does not hold, or whose lengths contradict one another, is no
/// packet of the connection.
#[test]
fn packets_that_are_not_whole_are_not_taken_for_known_ones() {
    for (family, ip_protocol) in [(0, 6), (0, 17), (1, 6), (1, 17)] {
        let mut w = privatelink_of(family);
        let [tuple, _] = connection(&mut w, family, ip_protocol);
        let good = w.frame(1, &tuple, ACK, b"some bytes");
        assert!(pass(&mut w, 1, &good).2, "known");
        let l4 = usize::from(read(&good).l4);
        let spoil = |at: usize, by: u8| {
            let mut frame = good.clone();
            let byte = &mut frame.bytes_mut()[at];
            *byte = byte.wrapping_add(by);
            if family == 0 {
                checksum::fill_ipv4_header(&mut frame.bytes_mut()[14..34]);
            }
            frame
        };
        let ip_len = if family == 0 { 17 } else { 19 };
        // One byte more than there is; and less than the transport header.
        let mut bad = vec![spoil(ip_len, 1)];
        bad.push(match ip_protocol {
            protocol::TCP => spoil(l4 + 12, 0x50),
            _ => spoil(l4 + 5, 1),
        });
        bad.push(match ip_protocol {
            protocol::TCP => spoil(l4 + 12, 0xf0),
            _ => spoil(l4 + 5, 0xf5),
        });
        for (n, frame) in bad.into_iter().enumerate() {
            let hits = w.pipeline.counters().flow_hits;
            let seen = w.send(1, frame);
            assert!(seen.out.is_empty(), "{n} of {tuple:?}");
            assert_ne!(seen.drops, [], "{n} of {tuple:?}");
            assert_eq!(w.pipeline.counters().flow_hits, hits);
        }
    }
}

/// A frame for somebody else, one hop too far, and one too large.
#[test]
fn what_a_known_packet_must_be_is_asked_of_each() {
    for family in [0, 1] {
        let mut w = privatelink_of(family);
        let [tuple, back] = connection(&mut w, family, protocol::TCP);
        for (from, tuple) in [(1, tuple), (4, back)] {
            let good = w.frame(from, &tuple, ACK, b"");
            assert!(pass(&mut w, from, &good).2, "known");
            let mut other = good.clone();
            other.bytes_mut()[5] ^= 0x40;
            assert!(w.send(from, other).out.is_empty(), "another MAC address");
            let mut spoofed = good.clone();
            spoofed.bytes_mut()[11] ^= 0x40;
            assert!(w.send(from, spoofed).out.is_empty(), "not its own");
            let large = w.frame(from, &tuple, ACK, &[1; 8_900]);
            let seen = w.send(from, large);
            assert!(matches!(
                seen.drops[..],
                [(_, DropReason::Mtu | DropReason::EndpointMtu)]
            ));
            assert!(pass(&mut w, from, &good).2, "known as before");
        }
    }
}

/// Into a tunnel and out of it: a checksum that its sender left undone is whole inside, and
/// each packet is counted both ways.
#[test]
fn packets_through_a_tunnel_are_whole_and_counted() {
    let mut w = worked();
    let flow = tuple(protocol::UDP, "10.0.1.10:4000", "203.0.113.80:53");
    for n in 0..6 {
        let mut frame = w.frame(1, &flow, 0, &[7; 100]);
        leave(&mut frame, [Sum::Whole, Sum::Partial][n % 2]);
        let inside = only(w.send(1, frame).out, 4);
        let out = only(w.send(4, bounce(inside)).out, 5);
        assert_eq!(read(&out).tuple.src, ip("198.51.100.1"));
    }
    assert!(w.pipeline.counters().flow_hits >= 9, "known both ways");
    let counts = w.pipeline.connections().gwlb.accounts(w.now).sum(|_| true);
    assert_eq!(counts.bytes, 6 * 2 * 128);
}

/// Where the client's stream begins, the target's, and the length of the header before it.
const CLIENT_SEQ: u32 = 0xffff_ffc0;
const TARGET_SEQ: u32 = 5_000;

/// A connection whose target has acknowledged its proxy protocol header; and the header's
/// length.
fn proxied(w: &mut World, family: usize) -> ([FiveTuple; 2], u32) {
    let tuple = tuple(
        protocol::TCP,
        &format!("{}:4000", CLIENT[family]),
        &format!("{}:443", SERVICE[family]),
    );
    let syn = numbered(w.frame(1, &tuple, SYN, b""), CLIENT_SEQ - 1, 0);
    let back = read(&only(w.send(1, syn).out, 4)).tuple.reversed();
    let answer = w.frame(4, &back, SYN | ACK, b"");
    let answer = numbered(answer, TARGET_SEQ - 1, CLIENT_SEQ);
    only(w.send(4, answer).out, 1);
    let ack = numbered(w.frame(1, &tuple, ACK, b""), CLIENT_SEQ, TARGET_SEQ);
    let [(_, header), _] = &w.send(1, ack).out[..] else {
        panic!("a header, and the acknowledgement")
    };
    let len = if family == 0 { 20 } else { 40 };
    let len = read(header).ip_len - len - 20;
    let heard = numbered(
        w.frame(4, &back, ACK, b""),
        TARGET_SEQ,
        CLIENT_SEQ.wrapping_add(len),
    );
    only(w.send(4, heard).out, 1);
    ([tuple, back], len)
}

fn numbers(frame: &Frame) -> TcpNumbers {
    TcpNumbers::of(frame.bytes(), &read(frame)).unwrap()
}

/// The numbers of a stream with a header before it change on the short way, too: both ways,
/// where they come round, with timestamps or without.
#[test]
fn streams_that_began_with_a_header_are_counted_by_both_ends() {
    for family in [0, 1] {
        let mut w = privatelink_with(family, |group| group.proxy_protocol = true);
        let ([tuple, back], len) = proxied(&mut w, family);
        for (n, sum) in [Sum::Whole, Sum::Verified, Sum::Partial]
            .into_iter()
            .enumerate()
        {
            let at = CLIENT_SEQ.wrapping_add(40 * n as u32);
            let mut data = numbered(w.frame(1, &tuple, ACK, &[3; 40]), at, TARGET_SEQ);
            leave(&mut data, sum);
            let out = same_by_both(&mut w, 1, &data, &format!("{sum:?} of the client's"));
            let expected = (at.wrapping_add(len), TARGET_SEQ);
            assert_eq!((numbers(&out).seq, numbers(&out).ack), expected);
            let ack = at.wrapping_add(len);
            let mut data = numbered(w.frame(4, &back, ACK, &[4; 40]), TARGET_SEQ, ack);
            leave(&mut data, sum);
            let out = same_by_both(&mut w, 4, &data, &format!("{sum:?} of the target's"));
            assert_eq!((numbers(&out).seq, numbers(&out).ack), (TARGET_SEQ, at));
        }
    }
}

/// What speaks of the header still, or selects what it acknowledges, is judged; and an idle
/// connection's numbers change once only.
#[test]
fn what_is_to_be_judged_of_a_shifted_stream_is() {
    for family in [0, 1] {
        let mut w = privatelink_with(family, |group| group.proxy_protocol = true);
        let ([tuple, back], len) = proxied(&mut w, family);
        let acked = |w: &mut World, ack: u32, options: &[u8]| {
            let mut frame = w.frame(4, &back, ACK, options);
            let l4 = usize::from(read(&frame).l4);
            frame.bytes_mut()[l4 + 14] = 1;
            frame.bytes_mut()[l4 + 12] = (5 + options.len() as u8 / 4) << 4;
            let frame = numbered(frame, TARGET_SEQ, ack);
            let out = pass(w, 4, &frame).1;
            let room = numbers(&frame).window - numbers(&out).window;
            let blocks = TcpOptions::of(out.bytes(), &read(&out))
                .find(|option| option.kind == 5)
                .map(|option| option.value.to_vec());
            (numbers(&out).ack.wrapping_sub(CLIENT_SEQ), room, blocks)
        };
        let first = CLIENT_SEQ.wrapping_add(len);
        assert_eq!(acked(&mut w, first.wrapping_add(9), &[]), (9, 0, None));
        assert_eq!(acked(&mut w, first.wrapping_sub(9), &[]), (0, 9, None));
        let times = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        assert_eq!(acked(&mut w, first, &times), (0, 0, None));
        let edges = |of: u32| [of.wrapping_add(10), of.wrapping_add(15)].map(u32::to_be_bytes);
        let blocks = [&[1, 1, 5, 10], edges(first).as_flattened()].concat();
        let mapped = edges(CLIENT_SEQ).as_flattened().to_vec();
        assert_eq!(acked(&mut w, first, &blocks), (0, 0, Some(mapped)));
        // So long that something may have timed out.
        w.wait(200);
        let data = numbered(w.frame(1, &tuple, ACK, b"late"), CLIENT_SEQ, TARGET_SEQ);
        for _ in 0..2 {
            assert_eq!(numbers(&pass(&mut w, 1, &data).1).seq, first);
        }
    }
}

/// Any segments of a stream behind a header, both ways and in any order: what takes the
/// short way leaves as by the long way, beside a world in which each is walked.
#[test]
fn any_segment_behind_a_header_leaves_as_by_the_long_way() {
    for (family, seed) in [(0, 1), (1, 2), (0, 3), (1, 4), (0, 5)] {
        let mut worlds =
            [(); 2].map(|()| privatelink_with(family, |group| group.proxy_protocol = true));
        let [(tuples, len), other] = worlds.each_mut().map(|w| proxied(w, family));
        assert_eq!((tuples, len), other);
        // Bytes of the client's that the target has.
        let mut acked = 0u32;
        let mut left = 0;
        for step in 0..400 {
            let mut dice = (0..).map(|n| Seed(seed).words(&[step, n]));
            let mut roll = |sides: u32| (dice.next().unwrap() % u64::from(sides)) as u32;
            acked = acked.wrapping_add([0, 100, 40_000, 1 << 29][roll(4) as usize]);
            let near = |roll: &mut dyn FnMut(u32) -> u32, of: u32| match roll(8) {
                0 => of.wrapping_sub(roll(3_000)),
                1 => roll(u32::MAX),
                _ => of.wrapping_add(roll(3_000)),
            };
            let place = CLIENT_SEQ.wrapping_add(acked);
            let from = roll(2) as usize;
            let (seq, ack) = match from {
                0 => (near(&mut roll, place), TARGET_SEQ),
                _ => (TARGET_SEQ, near(&mut roll, place.wrapping_add(len))),
            };
            let mut options = match roll(3) {
                0 => vec![],
                _ => vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
            };
            if roll(2) == 0 {
                let blocks = 1 + roll(2);
                let odd = roll(4) == 0;
                options.extend(if odd { &[1][..] } else { &[1, 1] });
                options.extend([5, 2 + 8 * blocks as u8]);
                for _ in 0..2 * blocks {
                    options.extend(near(&mut roll, ack).to_be_bytes());
                }
                options.resize(options.len().next_multiple_of(4), 1);
            }
            let payload = [&options[..], &[9; 50][..roll(50) as usize]].concat();
            let flags = match (roll(20), step) {
                (0, 300..) => tcp_flag::FIN | ACK,
                (1, 350..) => tcp_flag::RST | ACK,
                (2, _) => tcp_flag::PSH,
                _ => ACK,
            };
            let mut frame = worlds[0].frame([1, 4][from], &tuples[from], flags, &payload);
            let l4 = usize::from(read(&frame).l4);
            frame.bytes_mut()[l4 + 12] = (5 + options.len() as u8 / 4) << 4;
            let mut frame = numbered(frame, seq, ack);
            leave(
                &mut frame,
                [Sum::Whole, Sum::Verified, Sum::Partial][roll(3) as usize],
            );
            let wait = u64::from(roll(40) / 39 * 15);
            forget(&mut worlds[0]);
            let [long, short] = worlds.each_mut().map(|w| {
                w.wait(wait);
                w.send([1, 4][from], frame.clone())
            });
            let bytes = |(at, frame): &(EniId, Frame)| (*at, frame.bytes().to_vec(), frame.offload);
            let [long_out, short_out] = [&long, &short].map(|seen| seen.out.iter().map(bytes));
            assert!(
                long_out.eq(short_out),
                "step {step} of {family}, {seed}: {:?} {:?}",
                long.drops,
                short.drops
            );
            assert_eq!(long.drops.len(), short.drops.len());
            for (_, mut frame) in short.out {
                left += 1;
                checksum::complete_partial(&mut frame).unwrap();
                assert!(checksum::verify_transport(
                    frame.bytes(),
                    &parse_ip(frame.bytes(), 14).unwrap()
                ));
            }
        }
        assert!(left > 300, "{left} left");
    }
}
