//! What the fuzz targets call, so that `cargo test` can replay their corpora.
//!
//! Each function takes any bytes, drives one parser and what depends on it, and
//! panics when an invariant is broken. The result says whether the bytes were
//! accepted, or the reason for which a frame like this is dropped.

use super::build::Endpoints;
use super::checksum::{self, Delta, Sum, fill_transport, verify_transport};
use super::frame::{Checksum, Frame, FramePool, Segmentation};
use super::headers::{Fragment, Headers, protocol};
use super::icmp::{IcmpError, echo_reply, may_cause_error};
use super::nd::{NeighborAdvertisement, NeighborSolicitation, RouterSolicitation, nd_type};
use super::parse::{ETHERNET_LEN, parse_ethernet, parse_ip, parse_quoted, udp_payload};
use super::segment::{fragment_ipv4, segment};
use super::tcp::{TcpOptions, TcpReset, clamp_mss};
use super::{Arp, GeneveView};
use crate::addr::{EniId, Mac};
use crate::drop::DropReason;

/// A target: takes any bytes, says whether they were accepted.
pub type Target = fn(&[u8]) -> Result<(), DropReason>;

/// All targets by name, which is also the name of their corpus.
pub const TARGETS: [(&str, Target); 8] = [
    ("ethernet_ip", fuzz_ethernet_ip),
    ("quoted", fuzz_quoted),
    ("geneve", fuzz_geneve),
    ("arp", fuzz_arp),
    ("nd", fuzz_nd),
    ("tcp_options", fuzz_tcp_options),
    ("segment", fuzz_segment),
    ("checksum", fuzz_checksum),
];

/// A frame: Ethernet, IP, transport, and the answers that routers give to it.
pub fn fuzz_ethernet_ip(data: &[u8]) -> Result<(), DropReason> {
    parse_ethernet(data)?;
    let headers = parse_ip(data, ETHERNET_LEN)?;
    check_offsets(data, &headers);
    if let Some(payload) = udp_payload(data, &headers) {
        assert!(payload.len() + 8 <= transport_len(&headers));
    }

    // A checksum that was filled in is right, and filling changes no header.
    let mut filled = data.to_vec();
    fill_transport(&mut filled, &headers);
    assert!(verify_transport(&filled, &headers) || !headers.is_ipv4());
    assert_eq!(parse_ip(&filled, ETHERNET_LEN), Ok(headers));

    let mut frame = Frame::from_bytes(EniId(0), &filled);
    if echo_reply(&mut frame, &headers) {
        let reply = parse_ip(frame.bytes(), ETHERNET_LEN)?;
        assert_eq!(reply.tuple, headers.tuple.reversed());
        assert!(verify_transport(frame.bytes(), &reply));
    }
    if may_cause_error(&headers) {
        check_error(data, &headers);
    }
    Ok(())
}

/// The packet quoted in an ICMP error, from its IP header on.
pub fn fuzz_quoted(data: &[u8]) -> Result<(), DropReason> {
    let headers = parse_quoted(data, 0).ok_or(DropReason::MalformedTransport)?;
    check_offsets(data, &headers);
    if let Ok(whole) = parse_ip(data, 0) {
        assert_eq!(whole, headers, "both parsers agree on whole packets");
    }
    Ok(())
}

/// A UDP payload on port 6081.
pub fn fuzz_geneve(data: &[u8]) -> Result<(), DropReason> {
    let view = GeneveView::parse(data)?;
    assert_eq!(view.header_len() + view.inner.len(), data.len());
    assert!(view.header_len() >= 8 && !view.inner.is_empty());
    // Whatever is inside, parsing it must not panic.
    let _ = parse_ip(data, view.header_len());
    Ok(())
}

/// An ARP message, without its Ethernet header.
pub fn fuzz_arp(data: &[u8]) -> Result<(), DropReason> {
    let arp = Arp::parse(data, 0)?;
    let mut out = Frame::with_capacity(64);
    arp.write(&mut out, arp.target_mac);
    assert_eq!(Arp::parse(out.bytes(), ETHERNET_LEN), Ok(arp));
    let reply = arp.reply(Mac::default());
    assert_eq!(
        (reply.sender_ip, reply.target_ip),
        (arp.target_ip, arp.sender_ip)
    );
    Ok(())
}

/// A frame with a neighbour-discovery message. Its checksum is made right
/// first: guessing one would keep the fuzzer out.
pub fn fuzz_nd(data: &[u8]) -> Result<(), DropReason> {
    let headers = parse_ip(data, ETHERNET_LEN)?;
    let mut bytes = data.to_vec();
    fill_transport(&mut bytes, &headers);
    if headers.icmp_type == nd_type::ROUTER_SOLICITATION {
        return RouterSolicitation::parse(&bytes, &headers).map(|_| ());
    }
    let request = NeighborSolicitation::parse(&bytes, &headers)?;
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let mut out = Frame::with_capacity(128);
    NeighborAdvertisement::answer(&request, mac, &headers, mac, true).write(&mut out);
    let answer = parse_ip(out.bytes(), ETHERNET_LEN)?;
    assert!(verify_transport(out.bytes(), &answer));
    Ok(())
}

/// TCP options: as a list, and as those of a frame whose MSS is clamped.
pub fn fuzz_tcp_options(data: &[u8]) -> Result<(), DropReason> {
    for option in TcpOptions::new(data) {
        let end = option.at + option.value.len();
        assert_eq!(data.get(option.at..end), Some(option.value));
    }
    let headers = parse_ip(data, ETHERNET_LEN)?;
    if headers.tuple.protocol != protocol::TCP {
        return Ok(());
    }
    let mut bytes = data.to_vec();
    fill_transport(&mut bytes, &headers);
    let mut frame = Frame::from_bytes(EniId(0), &bytes);
    clamp_mss(&mut frame, &headers, 1000);
    assert!(verify_transport(frame.bytes(), &headers));
    let _ = TcpReset::answering(&bytes, &headers);
    Ok(())
}

/// Metadata in five bytes (kind, two of size, two of MTU), then a frame.
pub fn fuzz_segment(data: &[u8]) -> Result<(), DropReason> {
    let Some((&[kind, s0, s1, m0, m1], bytes)) = data.split_first_chunk::<5>() else {
        return Err(DropReason::MalformedFrame);
    };
    let size = u16::from_be_bytes([s0, s1]);
    let mtu = usize::from(u16::from_be_bytes([m0, m1]));
    let mut pool = FramePool::new(4);
    let mut frame = Frame::from_bytes(EniId(0), bytes);
    frame.offload.segmentation = match kind & 3 {
        1 => Segmentation::Tcp(size),
        2 => Segmentation::Udp(size),
        _ => Segmentation::None,
    };
    if kind & 4 != 0 {
        // Any two values: a host chooses them.
        frame.offload.checksum = Checksum::Partial {
            start: size % 128,
            offset: u16::from(kind >> 3),
        };
    }
    let mut pieces = Vec::new();
    let count = segment(frame, &mut pool, &mut |piece| pieces.push(piece))?;
    assert_eq!(count, pieces.len());
    let is_cut = pieces.len() > 1;
    for piece in pieces {
        assert_eq!(piece.offload.segmentation, Segmentation::None);
        if is_cut {
            let headers = parse_ip(piece.bytes(), ETHERNET_LEN)?;
            assert!(verify_transport(piece.bytes(), &headers) || !headers.is_ipv4());
            check_offsets(piece.bytes(), &headers);
        }
        fragment_ipv4(piece, mtu, &mut pool, &mut |fragment| {
            if let Ok(headers) = parse_ip(fragment.bytes(), ETHERNET_LEN) {
                assert!(headers.ip_len as usize <= mtu);
            }
        })?;
    }
    Ok(())
}

/// Sums: a length of the first part, a 16-bit field that changes (its place and its
/// new value), then bytes. The vector loop, in parts and after a change, says what
/// adding up one word after the other says.
pub fn fuzz_checksum(data: &[u8]) -> Result<(), DropReason> {
    let Some((&[part, place, v0, v1], bytes)) = data.split_first_chunk::<4>() else {
        return Err(DropReason::MalformedFrame);
    };
    let naive = |bytes: &[u8]| {
        let words = bytes.chunks(2).map(|word| {
            let low = word.get(1).copied().unwrap_or(0);
            u32::from(u16::from_be_bytes([
                word.first().copied().unwrap_or(0),
                low,
            ]))
        });
        words.fold(0u32, |sum, word| {
            let sum = sum + word;
            (sum & 0xffff) + (sum >> 16)
        }) as u16
    };
    let whole = naive(bytes);
    assert_eq!(checksum::sum(bytes), whole);
    // Parts but the last are of even length.
    let (first, second) = bytes.split_at((usize::from(part) & !1).min(bytes.len() & !1));
    assert_eq!(Sum::default().bytes(first).bytes(second).folded(), whole);
    // Wherever it lies in memory.
    for start in 1..bytes.len().min(9) {
        let rest = bytes.get(start..).unwrap_or_default();
        assert_eq!(checksum::sum(rest), naive(rest));
    }
    let at = usize::from(place) * 2;
    let mut changed = bytes.to_vec();
    let Some(field) = changed
        .get_mut(at..)
        .and_then(|rest| rest.first_chunk_mut::<2>())
    else {
        return Err(DropReason::MalformedFrame);
    };
    let (old, new) = (u16::from_be_bytes(*field), u16::from_be_bytes([v0, v1]));
    *field = [v0, v1];
    let delta = Delta::default().replace16(old, new).apply(!whole);
    // Two checksums are the same if they differ by the two zeros.
    let same = |a: u16, b: u16| a == b || (a ^ b == 0xffff && (a == 0 || b == 0));
    assert!(same(delta, !naive(&changed)), "{delta:04x}");
    Ok(())
}

/// Offsets and lengths of a parsed packet lie within its bytes, in order.
fn check_offsets(bytes: &[u8], headers: &Headers) {
    let end = usize::from(headers.l3) + headers.ip_len as usize;
    assert!(headers.l3 < headers.l4 && usize::from(headers.l4) <= end && end <= bytes.len());
    assert_eq!(headers.tuple.src.is_ipv4(), headers.tuple.dst.is_ipv4());
    if headers.fragment == Fragment::Later {
        let ports = (headers.tuple.sport, headers.tuple.dport);
        assert_eq!((ports, headers.tcp_flags), ((0, 0), 0));
    }
}

fn transport_len(headers: &Headers) -> usize {
    headers.ip_len as usize - usize::from(headers.l4 - headers.l3)
}

/// An error about the packet parses, and what it quotes is that packet.
fn check_error(bytes: &[u8], headers: &Headers) {
    let ends = Endpoints {
        src_mac: Mac::default(),
        dst_mac: Mac::default(),
        src: headers.tuple.dst,
        dst: headers.tuple.src,
    };
    let mut out = Frame::with_capacity(1500);
    IcmpError::time_exceeded(headers).write(&mut out, &ends, bytes, headers);
    let error = parse_ip(out.bytes(), ETHERNET_LEN);
    assert!(error.is_ok_and(|error| {
        let quote = usize::from(error.l4) + 8;
        let fits = usize::from(headers.l4 - headers.l3) + 20 <= 500;
        let quoted = parse_quoted(out.bytes(), quote).map(|quoted| quoted.tuple);
        error.is_icmp_error() && (quoted == Some(headers.tuple) || !fits)
    }));
}
