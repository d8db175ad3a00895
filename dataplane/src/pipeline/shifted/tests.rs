//! The change of a TCP header, beside what the long way does to it.

#![allow(
    clippy::indexing_slicing,
    reason = "a test stops where its data is bad"
)]

use super::*;
use crate::flow::Shift;
use crate::packet::checksum::{fill_ipv4_header, fill_transport, verify_transport};
use crate::packet::{Checksum, ETHERNET_LEN, TcpHints, TcpNumbers, parse_ip, protocol};
use crate::pipeline::proxy::{count_back, count_on};
use proptest::prelude::*;

/// A segment, of which the options and numbers are any.
#[derive(Clone, Debug)]
struct Segment {
    is_six: bool,
    direction: Direction,
    flags: u8,
    numbers: [u32; 2],
    options: Vec<u8>,
    payload: Vec<u8>,
    sum: Sum,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Sum {
    Right,
    Partial,
    /// Whatever it is: what was wrong stays wrong.
    Any(u16),
}

impl Segment {
    fn frame(&self) -> Frame {
        let options = self.options.len().next_multiple_of(4).min(40);
        let len = TCP_LEN + options + self.payload.len();
        let mut bytes = vec![0; ETHERNET_LEN];
        if self.is_six {
            bytes[12..].copy_from_slice(&[0x86, 0xdd]);
            bytes.extend([0x60, 0, 0, 0, (len >> 8) as u8, len as u8, 6, 64]);
            bytes.extend([0xfd; 32]);
        } else {
            bytes[12..].copy_from_slice(&[0x08, 0x00]);
            let len = len + 20;
            bytes.extend([0x45, 0, (len >> 8) as u8, len as u8, 0, 0, 0, 0, 64]);
            bytes.extend([protocol::TCP, 0, 0, 10, 0, 1, 10, 10, 0, 2, 20]);
            fill_ipv4_header(&mut bytes[ETHERNET_LEN..]);
        }
        let l4 = bytes.len();
        bytes.extend([0x0f, 0xa0, 1, 187]);
        bytes.extend(self.numbers.map(u32::to_be_bytes).as_flattened());
        let offset = (TCP_LEN + options) as u8 / 4;
        bytes.extend([offset << 4, self.flags, 0x12, 0x34, 0, 0, 0, 0]);
        bytes.extend(&self.options);
        bytes.resize(l4 + TCP_LEN + options, 0);
        bytes.extend(&self.payload);
        let headers = parse_ip(&bytes, ETHERNET_LEN).unwrap();
        fill_transport(&mut bytes, &headers);
        let mut frame = Frame::from_bytes(EniId(1), &bytes);
        match self.sum {
            Sum::Right => {}
            Sum::Partial => {
                let (start, offset) = (headers.l4, 16);
                frame.offload.checksum = Checksum::Partial { start, offset };
            }
            Sum::Any(sum) => {
                frame.bytes_mut()[l4 + 16..l4 + 18].copy_from_slice(&sum.to_be_bytes());
            }
        }
        frame
    }
}

/// What is done to a frame on the short way, if that is open.
fn shortly<const LEN: u32>(
    frame: &mut Frame,
    l4: usize,
    of: Direction,
    settled: Settled,
) -> Option<()> {
    let change = change::<LEN, true>(frame.bytes(), l4, of, settled)?;
    if change.is_longer() {
        change.write_blocks::<LEN>(frame.bytes_mut(), l4);
    }
    let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
    let header = frame.bytes_mut()[l4..].first_chunk_mut()?;
    change.write(header, None, partial);
    Some(())
}

/// Numbers near the beginning of a stream at `base`, near what is acknowledged, and any.
fn number(base: u32, acked: u32) -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => (0u32..100_000).prop_map(move |past| acked.wrapping_add(past)),
        2 => (0u32..500).prop_map(move |past| base.wrapping_add(past)),
        1 => (0u32..500).prop_map(move |before| acked.wrapping_sub(before)),
        1 => any::<u32>(),
    ]
}

fn option(base: u32, acked: u32) -> impl Strategy<Value = Vec<u8>> {
    let edges = prop::collection::vec(number(base, acked), 1..9);
    let selects = edges.prop_map(|edges| {
        let edges: Vec<u8> = edges.into_iter().flat_map(u32::to_be_bytes).collect();
        [vec![SACK, 2 + edges.len() as u8], edges].concat()
    });
    prop_oneof![
        3 => Just(vec![1]),
        2 => any::<[u8; 8]>().prop_map(|times| [&[8, 10][..], &times].concat()),
        4 => selects,
        1 => Just(vec![SACK, 2]),
        1 => (any::<u8>(), 0u8..6).prop_map(|(kind, len)| vec![kind, len, 7, 7, 7, 7]),
        1 => Just(vec![0]),
    ]
}

prop_compose! {
    fn stream()(
        base in prop_oneof![any::<u32>(), 0xffff_ff00u32..=u32::MAX],
        is_six in any::<bool>(),
        acked in prop_oneof![3 => 200u64..1 << 20, 1 => 0u64..200, 1 => 0u64..1 << 36],
    ) -> (Shift, u32, u32, bool) {
        let len = if is_six { LEN_OF_SIX } else { LEN_OF_FOUR };
        let mut shift = Shift::new(base, len);
        for at in (0..=acked).step_by(1 << 29).chain([acked]) {
            shift.acknowledged(base.wrapping_add(at as u32));
        }
        (shift, base, base.wrapping_add(acked as u32), is_six)
    }
}

fn segment() -> impl Strategy<Value = (Shift, u32, Segment)> {
    stream().prop_flat_map(|(shift, base, acked, is_six)| {
        let numbers = [number(base, acked), number(base, acked)];
        let options = prop::collection::vec(option(base, acked), 0..5);
        let sums = [Just(Sum::Right).boxed(), Just(Sum::Partial).boxed()];
        let wrong = prop_oneof![Just(0), Just(0xffff), any::<u16>()].prop_map(Sum::Any);
        let sum = prop_oneof![sums[0].clone(), sums[1].clone(), wrong];
        let payload = prop::collection::vec(any::<u8>(), 0..40);
        let direction = prop_oneof![Just(Direction::Forward), Just(Direction::Reply)];
        let flags = prop_oneof![6 => Just(tcp_flag::ACK), 1 => any::<u8>()];
        (numbers, options, sum, payload, direction, flags).prop_map(
            move |(numbers, options, sum, payload, direction, flags)| {
                let mut options = options.concat();
                options.truncate(40);
                let segment = Segment {
                    is_six,
                    direction,
                    flags: flags & !tcp_flag::SYN,
                    numbers,
                    options,
                    payload,
                    sum,
                };
                (shift, acked, segment)
            },
        )
    })
}

/// Whether a segment must be able to take the short way: nothing in it is odd.
fn is_usual(segment: &Segment, settled: Settled, bytes: &[u8]) -> bool {
    let headers = parse_ip(bytes, ETHERNET_LEN).unwrap();
    let mut options = TcpOptions::of(bytes, &headers);
    let selected = options
        .find(|option| option.kind == SACK)
        .is_none_or(|sack| {
            let (edges, rest) = sack.value.as_chunks::<4>();
            let pairs = edges.as_chunks::<2>().0;
            let inside = |edge: &[u8; 4]| settled.covers(u32::from_be_bytes(*edge));
            let is_whole = !edges.is_empty() && rest.is_empty() && edges.len() % 2 == 0;
            is_whole && edges.iter().all(inside) && pairs.iter().all(|[left, right]| left != right)
        });
    match segment.direction {
        Direction::Forward => true,
        Direction::Reply => {
            segment.flags & tcp_flag::ACK != 0 && settled.covers(segment.numbers[1]) && selected
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Of any segment the short way makes what the long way makes, byte for byte, or leaves
    /// it alone; and it leaves alone only what is not usual.
    #[test]
    fn a_header_becomes_what_it_becomes_on_the_long_way((shift, acked, segment) in segment()) {
        let came = segment.frame();
        let headers = parse_ip(came.bytes(), ETHERNET_LEN).unwrap();
        let numbers = TcpNumbers::of(came.bytes(), &headers).unwrap();
        let settled = shift.settled(acked).unwrap();
        let mut short = came.clone();
        let l4 = usize::from(headers.l4);
        let taken = match segment.is_six {
            false => shortly::<LEN_OF_FOUR>(&mut short, l4, segment.direction, settled),
            true => shortly::<LEN_OF_SIX>(&mut short, l4, segment.direction, settled),
        };
        prop_assert_eq!(taken.is_some(), is_usual(&segment, settled, came.bytes()));
        if taken.is_none() {
            prop_assert_eq!(short.bytes(), came.bytes());
            return Ok(());
        }
        let mut long = came.clone();
        let selects = TcpHints::of(came.bytes(), &headers).sack;
        match segment.direction {
            Direction::Forward => count_on(&mut long, &headers, &shift, &numbers),
            Direction::Reply => count_back(&mut long, &headers, &shift, &numbers, 7, selects),
        }
        prop_assert_eq!(short.bytes(), long.bytes());
        prop_assert!(segment.sum != Sum::Right || verify_transport(short.bytes(), &headers));
    }
}

/// What is cut off anywhere is left alone, and nothing is read beyond it.
#[test]
fn a_header_that_is_cut_short_is_left_alone() {
    let segment = Segment {
        is_six: false,
        direction: Direction::Reply,
        flags: tcp_flag::ACK,
        numbers: [1, 1_000],
        options: [&[SACK, 10][..], &[0, 0, 8, 0, 0, 0, 9, 0]].concat(),
        payload: Vec::new(),
        sum: Sum::Right,
    };
    let whole = segment.frame();
    let settled = Shift::new(1, LEN_OF_FOUR).settled(0).unwrap();
    for len in 0..=whole.len() {
        let of =
            |direction| change::<LEN_OF_FOUR, true>(&whole.bytes()[..len], L4, direction, settled);
        assert_eq!(of(Direction::Reply).is_some(), len == whole.len(), "{len}");
        assert_eq!(of(Direction::Forward).is_some(), len >= L4 + TCP_LEN);
    }
}
