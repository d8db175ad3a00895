use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::super::segment::segment;
use super::*;
use crate::addr::EniId;

/// The pieces of a super-packet as `segment` cuts it, their checksums as if nobody had
/// looked yet.
fn pieces(v6: bool, tcp: bool, payload: &[u8], size: u16, push: bool) -> Vec<Frame> {
    let eth = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = match v6 {
        true => eth.ipv6([0x20; 16], [0x21; 16], 9),
        false => eth.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9),
    };
    let mut bytes = Vec::new();
    if tcp {
        // Numbers of both kinds wrap within the super-packet.
        let mut header = etherparse::TcpHeader::new(1000, 443, u32::MAX - 100, 1024);
        header.acknowledgment_number = 777;
        (header.ack, header.psh) = (true, push);
        let timestamps = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        header.set_options_raw(&timestamps).unwrap();
        ip.tcp_header(header).write(&mut bytes, payload).unwrap();
    } else {
        ip.udp(1000, 443).write(&mut bytes, payload).unwrap();
    }
    let mut frame = Frame::from_bytes(EniId(7), &bytes);
    if !v6 {
        let header = &mut frame.bytes_mut()[ETHERNET_LEN..ETHERNET_LEN + IPV4_LEN];
        write16(header, 4, 0xfffe);
        checksum::fill_ipv4_header(header);
    }
    let l4 = ETHERNET_LEN + if v6 { IPV6_LEN } else { IPV4_LEN };
    let tuple = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap().tuple;
    let len = (frame.len() - l4) as u32;
    let sum = checksum::pseudo_header(tuple.src, tuple.dst, tuple.protocol, len).folded();
    let offset = field_offset(tuple.protocol).unwrap();
    write16(frame.bytes_mut(), l4 + offset, sum);
    frame.offload = Offload {
        checksum: Checksum::Partial {
            start: l4 as u16,
            offset: offset as u16,
        },
        segmentation: match tcp {
            true => Segmentation::Tcp(size),
            false => Segmentation::Udp(size),
        },
    };
    let mut all = cut(frame);
    for piece in &mut all {
        piece.offload.checksum = Checksum::Unverified;
    }
    all
}

fn cut(frame: Frame) -> Vec<Frame> {
    let mut out = Vec::new();
    segment(frame, &mut FramePool::new(4), &mut |piece| out.push(piece)).unwrap();
    out
}

/// All that the frames become, in order.
fn join(frames: &[Frame]) -> Vec<Frame> {
    let pool = &mut FramePool::new(4);
    let mut out = Vec::new();
    let mut held: Option<Joined> = None;
    for frame in frames {
        if held.as_mut().is_some_and(|held| held.hang_on(frame, pool)) {
            continue;
        }
        out.extend(held.replace(Joined::new(frame.clone())).map(Joined::finish));
    }
    out.extend(held.map(Joined::finish));
    out
}

fn bytes(frames: &[Frame]) -> Vec<&[u8]> {
    frames.iter().map(Frame::bytes).collect()
}

/// Changes something of one frame, so that it is right by itself; nothing of one that is no
/// packet any more.
fn change(frame: &mut Frame, what: impl FnOnce(&mut [u8], usize)) {
    let Ok(headers) = parse_ip(frame.bytes(), ETHERNET_LEN) else {
        return;
    };
    what(frame.bytes_mut(), usize::from(headers.l4));
    let bytes = frame.bytes_mut();
    if headers.is_ipv4() {
        checksum::fill_ipv4_header(&mut bytes[ETHERNET_LEN..ETHERNET_LEN + IPV4_LEN]);
    }
    if let Ok(headers) = parse_ip(frame.bytes(), ETHERNET_LEN) {
        checksum::fill_transport(frame.bytes_mut(), &headers);
    }
}

#[test]
fn a_super_packet_is_whole_again() {
    for (v6, tcp, push) in [
        (false, true, false),
        (false, true, true),
        (true, true, true),
        (false, false, false),
        (true, false, false),
    ] {
        let payload: Vec<u8> = (0..3_500u16).map(|n| (n % 251) as u8).collect();
        let before = pieces(v6, tcp, &payload, 1_000, push);
        let joined = join(&before);
        assert_eq!((before.len(), joined.len()), (4, 1), "{v6} {tcp} {push}");
        let headers = parse_ip(joined[0].bytes(), ETHERNET_LEN).unwrap();
        assert!(checksum::partial_fits(joined[0].offload.checksum, &headers));
        assert!(joined[0].bytes().ends_with(&payload));
        assert_eq!(bytes(&cut(joined[0].clone())), bytes(&before));
    }
}

/// Of four pieces, the third is another's: two are joined before it, and what comes after
/// begins anew.
#[test]
fn what_is_not_the_next_piece_is_not_joined() {
    type Change = (&'static str, fn(&mut [u8], usize));
    let all: [Change; 9] = [
        ("a gap", |b, l4| b[l4 + 7] ^= 1),
        ("an acknowledgement", |b, l4| b[l4 + 11] ^= 1),
        ("another flow", |b, l4| b[l4 + 1] ^= 1),
        ("a timestamp", |b, l4| b[l4 + 31] ^= 1),
        ("a window", |b, l4| b[l4 + 15] ^= 1),
        ("FIN", |b, l4| b[l4 + 13] |= 1),
        ("an identification", |b, _| b[ETHERNET_LEN + 5] ^= 1),
        ("a TTL", |b, _| b[ETHERNET_LEN + 8] ^= 1),
        ("a sender on the link", |b, _| b[7] ^= 1),
    ];
    for (name, what) in all {
        let mut frames = pieces(false, true, &[5; 4_000], 1_000, false);
        change(&mut frames[2], what);
        let joined = join(&frames);
        assert_eq!(joined.len(), 3, "{name}");
        assert_eq!(joined[1].bytes(), frames[2].bytes(), "{name}");
        let again: Vec<Frame> = joined.into_iter().flat_map(cut).collect();
        assert_eq!(bytes(&again), bytes(&frames), "{name}");
    }
}

#[test]
fn a_wrong_checksum_arrives_wrong() {
    for at in [16, 40] {
        let mut frames = pieces(false, true, &[5; 4_000], 1_000, false);
        frames[1].bytes_mut()[ETHERNET_LEN + IPV4_LEN + at] ^= 0x40;
        let joined = join(&frames);
        assert_eq!(joined.len(), 3, "the first, the wrong one, the rest");
        assert_eq!(joined[1].bytes(), frames[1].bytes());
        assert_eq!(joined[1].offload, Offload::default());
    }
    // Nor is one made where UDP has none.
    let mut frames = pieces(false, false, &[5; 2_000], 1_000, false);
    for frame in &mut frames {
        write16(frame.bytes_mut(), ETHERNET_LEN + IPV4_LEN + 6, 0);
    }
    assert_eq!(bytes(&join(&frames)), bytes(&frames));
}

#[test]
fn a_push_or_a_shorter_piece_ends_it_and_so_does_length() {
    let mut pushed = pieces(false, true, &[5; 4_000], 1_000, false);
    change(&mut pushed[1], |b, l4| b[l4 + 13] |= PSH);
    let joined = join(&pushed);
    assert_eq!(joined.len(), 2);
    let short = pieces(false, false, &[5; 1_500], 1_000, false);
    let twice = [short.clone(), short].concat();
    assert_eq!(join(&twice).len(), 2);
    let long = pieces(false, true, &vec![5; 64_000], 9_000, false);
    let more = pieces(false, true, &vec![5; 65_450], 9_000, false);
    assert_eq!((join(&long).len(), join(&more).len()), (1, 1));
    let datagrams = pieces(false, false, &[5; 700], 10, false);
    assert_eq!(join(&datagrams).len(), 2, "64 of 70, and the rest");
}

proptest! {
    /// Whatever is in a train, in whatever order: joined and cut again it is the same
    /// packets, and what was cut from one super-packet in order is one again.
    #[test]
    fn joining_loses_and_changes_nothing(
        v6: bool, tcp: bool, push: bool,
        size in 1..400u16, len in 1..3_000usize,
        edits in prop::collection::vec((0..8u8, any::<prop::sample::Index>(), 0..60usize, 1..=255u8), 0..4),
    ) {
        let payload: Vec<u8> = (0..len).map(|n| (n % 253) as u8).collect();
        let size = size.max(len.div_ceil(60) as u16);
        let mut frames = pieces(v6, tcp, &payload, size, push);
        let count = frames.len();
        prop_assert_eq!(join(&frames).len(), 1);
        for (kind, at, byte, flip) in &edits {
            let at = at.index(frames.len());
            match kind {
                0 if frames.len() > 1 => drop(frames.remove(at)),
                1 => frames.swap(0, at),
                2 => frames.insert(at, frames[at].clone()),
                // Anywhere, checksums as they then happen to be.
                3 => {
                    let bytes = frames[at].bytes_mut();
                    let place = ETHERNET_LEN + byte % (bytes.len() - ETHERNET_LEN);
                    bytes[place] ^= flip;
                }
                // A header that is right all the same.
                4 => change(&mut frames[at], |bytes, l4| {
                    let place = l4 + byte % (if tcp { 32 } else { 4 });
                    if !tcp || place / 4 != (l4 + 12) / 4 {
                        bytes[place] ^= flip;
                    }
                }),
                5 if tcp => change(&mut frames[at], |bytes, l4| bytes[l4 + 13] ^= flip & 0x39),
                6 => frames[at].bytes_mut()[*byte % 12] ^= flip,
                _ => frames[at].extend(&[*flip]),
            }
        }
        let joined = join(&frames);
        prop_assert!(joined.len() <= frames.len());
        prop_assert!(!edits.is_empty() || count == frames.len());
        let mut again = Vec::new();
        for frame in joined {
            match frame.offload.segmentation {
                Segmentation::None => again.push(frame),
                _ => again.extend(cut(frame)),
            }
        }
        prop_assert_eq!(bytes(&again), bytes(&frames));
    }
}
