use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::super::checksum::{pseudo_header, verify_transport};
use super::*;
use crate::addr::EniId;

const PORT: EniId = EniId(7);

/// A super-packet as a kernel hands it over: partial checksum, one header.
fn super_packet(v6: bool, tcp: bool, payload: &[u8], size: u16) -> Frame {
    let eth = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = match v6 {
        true => eth.ipv6([0x20; 16], [0x21; 16], 9),
        false => eth.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9),
    };
    let mut bytes = Vec::new();
    if tcp {
        let mut header = etherparse::TcpHeader::new(1000, 443, u32::MAX - 100, 1024);
        header.acknowledgment_number = 777;
        (header.ack, header.psh, header.fin, header.cwr) = (true, true, true, true);
        header
            .set_options_raw(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2])
            .unwrap();
        ip.tcp_header(header).write(&mut bytes, payload).unwrap();
    } else {
        ip.udp(1000, 443).write(&mut bytes, payload).unwrap();
    }
    let mut frame = Frame::from_bytes(PORT, &bytes);
    make_partial(&mut frame);
    frame.offload.segmentation = match tcp {
        true => Segmentation::Tcp(size),
        false => Segmentation::Udp(size),
    };
    frame
}

fn make_partial(frame: &mut Frame) {
    let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
    let tuple = headers.tuple;
    let len = u32::try_from(frame.len()).unwrap() - u32::from(headers.l4);
    let pseudo = pseudo_header(tuple.src, tuple.dst, tuple.protocol, len).folded();
    let offset = checksum::field_offset(tuple.protocol).unwrap();
    write16(frame.bytes_mut(), usize::from(headers.l4) + offset, pseudo);
    frame.offload.checksum = Checksum::Partial {
        start: headers.l4,
        offset: u16::try_from(offset).unwrap(),
    };
}

fn cut(frame: Frame) -> Result<Vec<Frame>, DropReason> {
    let mut out = Vec::new();
    let count = segment(frame, &mut FramePool::new(4), &mut |piece| out.push(piece))?;
    assert_eq!(count, out.len());
    Ok(out)
}

#[test]
fn tcp_flags_and_ids_are_those_of_hardware() {
    let frame = super_packet(false, true, &[5; 2500], 1000);
    let before = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
    let pieces = cut(frame).unwrap();
    let seen: Vec<_> = pieces
        .iter()
        .map(|piece| {
            let sliced = SlicedPacket::from_ethernet(piece.bytes()).unwrap();
            let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) =
                (sliced.net, sliced.transport)
            else {
                panic!("not TCP over IPv4");
            };
            let id = u32::from(ip.header().identification()).wrapping_sub(before.ip_id);
            let offset = tcp.sequence_number().wrapping_sub(before.tcp_seq);
            assert!(tcp.ack());
            assert_eq!(tcp.options().len(), 12);
            (
                id,
                offset,
                tcp.cwr(),
                tcp.psh(),
                tcp.fin(),
                tcp.payload().len(),
            )
        })
        .collect();
    let expected = vec![
        (0, 0, true, false, false, 1000),
        (1, 1000, false, false, false, 1000),
        (2, 2000, false, true, true, 500),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn ordinary_packets_pass_with_their_checksum_completed() {
    for (segmentation, len) in [
        (Segmentation::None, 100),
        (Segmentation::Tcp(100), 100),
        (Segmentation::Tcp(1400), 0),
    ] {
        let mut frame = super_packet(true, true, &vec![3; len], 1);
        frame.offload.segmentation = segmentation;
        let pieces = cut(frame).unwrap();
        assert_eq!(pieces.len(), 1);
        let headers = parse_ip(pieces[0].bytes(), ETHERNET_LEN).unwrap();
        assert!(verify_transport(pieces[0].bytes(), &headers));
        let done = Offload {
            checksum: Checksum::Verified,
            segmentation: Segmentation::None,
        };
        assert_eq!(pieces[0].offload, done);
        assert_eq!(
            headers.tcp_flags & (CWR | PSH | tcp_flag::FIN),
            CWR | PSH | tcp_flag::FIN
        );
    }
}

#[test]
fn wrong_metadata_is_malformed_and_the_frame_returns_to_the_pool() {
    for (tcp, segmentation) in [
        (true, Segmentation::Tcp(0)),
        (true, Segmentation::Udp(100)),
        (false, Segmentation::Tcp(100)),
    ] {
        let mut frame = super_packet(false, tcp, &[1; 1000], 1);
        frame.offload.segmentation = segmentation;
        let mut pool = FramePool::new(1);
        let result = segment(frame, &mut pool, &mut |_| panic!("emitted"));
        assert_eq!(
            result,
            Err(DropReason::MalformedTransport),
            "{segmentation:?}"
        );
    }
}

#[test]
fn udp_without_a_checksum_stays_without() {
    let mut frame = super_packet(false, false, &[1; 1000], 300);
    frame.offload.checksum = Checksum::Unverified;
    write16(frame.bytes_mut(), 40, 0);
    for piece in cut(frame).unwrap() {
        assert_eq!(read16(piece.bytes(), 40), Some(0));
    }
}

/// An IPv4 UDP packet without DF, with these IPv4 options.
fn fragmentable(options: &[u8], payload: &[u8]) -> Frame {
    let mut header = etherparse::Ipv4Header::new(
        0,
        9,
        etherparse::IpNumber::UDP,
        [10, 0, 0, 1],
        [10, 0, 0, 2],
    )
    .unwrap();
    header.dont_fragment = false;
    header.identification = 0xbeef;
    header.options = options.try_into().unwrap();
    let ip = etherparse::IpHeaders::Ipv4(header, Default::default());
    let mut bytes = Vec::new();
    let step = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ip(ip)
        .udp(1000, 2000);
    step.write(&mut bytes, payload).unwrap();
    Frame::from_bytes(PORT, &bytes)
}

fn fragments(frame: Frame, mtu: usize) -> Result<Vec<Frame>, DropReason> {
    let mut out = Vec::new();
    let count = fragment_ipv4(frame, mtu, &mut FramePool::new(4), &mut |piece| {
        out.push(piece)
    })?;
    assert_eq!(count, out.len());
    Ok(out)
}

#[test]
fn only_packets_without_df_are_fragmented() {
    let payload = [9; 600];
    let mut df = fragmentable(&[], &payload);
    df.bytes_mut()[20] = 0x40;
    checksum::fill_ipv4_header(&mut df.bytes_mut()[14..34]);
    assert_eq!(
        fragments(df.clone(), 628).unwrap()[0].bytes(),
        df.bytes(),
        "it fits"
    );
    assert_eq!(fragments(df, 627).unwrap_err(), DropReason::Mtu);
    assert_eq!(
        fragments(super_packet(true, false, &payload, 1000), 500).unwrap_err(),
        DropReason::Mtu
    );
    assert_eq!(
        fragments(fragmentable(&[], &payload), 27).unwrap_err(),
        DropReason::Mtu
    );
    let mut large = super_packet(false, false, &payload, 100);
    large.bytes_mut()[20] = 0;
    checksum::fill_ipv4_header(&mut large.bytes_mut()[14..34]);
    assert_eq!(
        fragments(large, 500).unwrap_err(),
        DropReason::Mtu,
        "super-packet"
    );
}

#[test]
fn only_copied_options_are_in_later_fragments() {
    // Record route (7) is not copied, router alert (148) is.
    let options = [7, 3, 4, 1, 148, 4, 0, 0];
    let pieces = fragments(fragmentable(&options, &[1; 200]), 100).unwrap();
    let header = |piece: &Frame| {
        let headers = parse_ip(piece.bytes(), ETHERNET_LEN).unwrap();
        piece.bytes()[34..usize::from(headers.l4)].to_vec()
    };
    assert_eq!(header(&pieces[0]), options);
    for later in &pieces[1..] {
        assert_eq!(header(later), [148, 4, 0, 0]);
    }
}

/// Puts fragments together; asserts that they leave no hole and fit the MTU.
fn reassemble(pieces: &[Frame], mtu: usize) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    let mut more = true;
    let base = first_offset(&pieces[0]);
    for piece in pieces {
        let sliced = SlicedPacket::from_ethernet(piece.bytes()).unwrap();
        let Some(NetSlice::Ipv4(ip)) = sliced.net else {
            panic!("not IPv4");
        };
        let header = ip.header();
        assert!(usize::from(header.total_len()) <= mtu);
        assert_eq!(header.identification(), 0xbeef);
        assert_eq!(
            header.to_header().calc_header_checksum(),
            header.header_checksum()
        );
        assert_eq!(first_offset(piece) - base, data.len());
        data.extend(ip.payload().payload);
        more = header.more_fragments();
        assert_eq!(piece.port, PORT);
    }
    (data, more)
}

fn first_offset(piece: &Frame) -> usize {
    usize::from(read16(piece.bytes(), 20).unwrap() & 0x1fff) * 8
}

proptest! {
    #[test]
    fn segments_join_to_the_payload(
        v6: bool, tcp: bool, size in 1u16..1500, seed: u8, len in 1usize..9000,
    ) {
        let payload: Vec<u8> = (0..len).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
        let size = size.max(u16::try_from(len / 64).unwrap());
        let pieces = cut(super_packet(v6, tcp, &payload, size)).unwrap();
        prop_assert_eq!(pieces.len(), len.div_ceil(usize::from(size)));
        let mut joined: Vec<u8> = Vec::new();
        for piece in &pieces {
            let headers = parse_ip(piece.bytes(), ETHERNET_LEN).unwrap();
            prop_assert_eq!(headers.ip_len as usize + ETHERNET_LEN, piece.len());
            prop_assert!(verify_transport(piece.bytes(), &headers));
            prop_assert_eq!(piece.offload.checksum, Checksum::Verified);
            prop_assert_eq!(piece.port, PORT);
            match SlicedPacket::from_ethernet(piece.bytes()).unwrap().transport {
                Some(TransportSlice::Tcp(tcp)) => joined.extend(tcp.payload()),
                Some(TransportSlice::Udp(udp)) => {
                    prop_assert_ne!(udp.checksum(), 0);
                    joined.extend(udp.payload());
                }
                other => panic!("{other:?}"),
            }
        }
        prop_assert_eq!(joined, payload);
    }

    /// Fragments, and fragments of fragments, join to the datagram.
    #[test]
    fn fragments_join_to_the_datagram(
        len in 0usize..6000, mtu in 68usize..1600, smaller in 68usize..1600, partial: bool, options: bool,
    ) {
        let payload: Vec<u8> = (0..len).map(|i| (i as u8).wrapping_mul(17)).collect();
        let options: &[u8] = if options { &[148, 4, 0, 0] } else { &[] };
        let mut frame = fragmentable(options, &payload);
        let whole = frame.bytes()[34 + options.len()..].to_vec();
        if partial {
            make_partial(&mut frame);
        }
        let pieces = fragments(frame, mtu).unwrap();
        prop_assert_eq!(reassemble(&pieces, mtu), (whole.clone(), false));
        let smaller_pieces: Vec<Frame> = pieces
            .into_iter()
            .flat_map(|piece| fragments(piece, smaller).unwrap())
            .collect();
        prop_assert_eq!(reassemble(&smaller_pieces, smaller.max(mtu)), (whole, false));
    }
}
