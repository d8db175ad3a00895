//! Arbitrary bytes through the whole pipeline: what the fuzz target `pipeline`
//! and the replay of its corpus call.
//!
//! The first byte chooses a world with live connections. Then come records:
//! port, what to mend, offload and its size (two bytes), the frame's length (two bytes), the frame.

use super::worlds::*;
use super::*;

/// Mends the frame's MAC addresses, so that more than the first check is met.
pub const MEND_MACS: u8 = 1;
/// Mends the IPv4 header checksum.
pub const MEND_IP: u8 = 2;
/// Hands the frame to load balancer node 3 itself.
pub const AT_NODE: u8 = 4;
/// Lets time pass first, until half-open connections are forgotten.
pub const WAIT: u8 = 8;
/// Mends the transport checksum.
pub const MEND_TRANSPORT: u8 = 16;

/// How many worlds there are.
pub const WORLDS: u8 = 3;
/// Ports that frames come in by: every interface of the worlds, and no one's.
pub const PORTS: u8 = 7;

/// The cookie of the live flow in world 0.
pub const COOKIE: u32 = 0x5eed_0001;

/// A world with connections under way.
pub fn busy(which: u8) -> World {
    match which % WORLDS {
        0 => {
            let mut w = worked();
            w.pipeline.inject_gwlb_flow(COOKIE, 60033);
            for flags in [tcp_flag::SYN, tcp_flag::ACK] {
                let out = w.tcp(1, "10.0.1.10:40000", "203.0.113.80:443", flags);
                let returned = bounce(only(out.out, 4));
                only(w.send(4, returned).out, 5);
            }
            w
        }
        1 => {
            let mut w = privatelink();
            let out = w.tcp(1, "10.0.1.10:40000", "10.0.2.20:443", tcp_flag::SYN);
            let back = read(&only(out.out, 4)).tuple.reversed();
            let frame = w.frame(4, &back, tcp_flag::SYN | tcp_flag::ACK, b"");
            only(w.send(4, frame).out, 1);
            w
        }
        _ => {
            let mut w = east_west();
            w.tcp(1, "10.0.1.10:40000", "10.0.2.10:80", tcp_flag::SYN);
            w
        }
    }
}

/// Runs all records of `data`. Returns how many frames came out and how many
/// were dropped.
pub fn fuzz_pipeline(data: &[u8]) -> (u64, u64) {
    let Some((&which, mut rest)) = data.split_first() else {
        return (0, 0);
    };
    let mut w = busy(which);
    let before = w.pipeline.counters().clone();
    while let Some((head, more)) = rest.split_first_chunk::<6>() {
        let [port, mend, offload, size, high, low] = *head;
        let len = usize::from(u16::from_be_bytes([high, low])).min(more.len());
        let (bytes, more) = more.split_at(len);
        rest = more;
        let mut frame = Frame::from_bytes(EniId(u32::from(port % PORTS)), bytes);
        frame.offload = offload_of(offload, size);
        inject(&mut w, which % WORLDS, mend, frame);
    }
    let after = w.pipeline.counters();
    (
        after.transmitted + after.local - before.transmitted - before.local,
        after.drops_total() - before.drops_total(),
    )
}

fn offload_of(kind: u8, size: u8) -> Offload {
    let size16 = u16::from(size) * 8;
    Offload {
        checksum: match kind & 3 {
            1 => Checksum::Verified,
            2 => Checksum::Partial {
                start: 34,
                offset: if kind & 64 == 0 { 16 } else { 6 },
            },
            3 => Checksum::Partial {
                start: size16,
                offset: u16::from(kind),
            },
            _ => Checksum::Unverified,
        },
        segmentation: match kind >> 2 & 3 {
            1 => Segmentation::Tcp(size16),
            2 => Segmentation::Udp(size16),
            _ => Segmentation::None,
        },
    }
}

fn mend_frame(w: &World, mend: u8, frame: &mut Frame) {
    let row = w.tables.enis.row(frame.port);
    let subnet = row.and_then(|eni| w.tables.subnets.row(eni.subnet));
    if mend & MEND_MACS != 0
        && let (Some(eni), Some(subnet)) = (row, subnet)
        && let Some(macs) = frame.bytes_mut().first_chunk_mut::<12>()
    {
        macs[..6].copy_from_slice(&subnet.router_mac.0);
        macs[6..].copy_from_slice(&eni.mac.0);
    }
    let bytes = frame.bytes_mut();
    if mend & MEND_IP != 0
        && bytes
            .get(12..15)
            .is_some_and(|b| b[..2] == [8, 0] && b[2] == 0x45)
        && let Some(header) = bytes.get_mut(14..34)
    {
        header[10..12].fill(0);
        checksum::fill_ipv4_header(header);
    }
    if mend & MEND_TRANSPORT != 0
        && let Ok(headers) = parse_ip(bytes, ETHERNET_LEN)
    {
        checksum::fill_transport(bytes, &headers);
    }
}

fn inject(w: &mut World, which: u8, mend: u8, mut frame: Frame) {
    mend_frame(w, mend, &mut frame);
    if mend & WAIT != 0 {
        w.wait(40);
    }
    let port = frame.port;
    let before = w.pipeline.counters().clone();
    let mut seen = Seen::default();
    if mend & AT_NODE != 0 {
        let node = EniId(3);
        w.pipeline
            .process_at_node(w.now, &w.tables, node, frame, &mut seen);
    } else {
        let mut batch = vec![frame];
        w.pipeline.process(w.now, &w.tables, &mut batch, &mut seen);
    }
    let after = w.pipeline.counters();
    let (left, right) = after.balance();
    assert_eq!(left, right, "frames in and out must balance");
    let done = |c: &vpclab_dataplane::counters::Counters| {
        c.transmitted + c.local + c.consumed + c.drops_total()
    };
    assert!(done(after) > done(&before), "it vanished uncounted");
    let drops = after.drops_total() - before.drops_total();
    assert_eq!(drops, seen.drops.len() as u64, "every drop is shown");
    for (to, frame) in &seen.out {
        let row = w.tables.enis.row(*to).unwrap();
        assert!(row.is_host(), "{to:?}");
        // Router advertisements may go to all nodes.
        let all_nodes = frame.bytes().starts_with(&ALL_NODES_MAC.0);
        assert!(frame.bytes().starts_with(&row.mac.0) || all_nodes);
        let kind = &frame.bytes()[12..14];
        if kind == [8, 6] {
            continue;
        }
        let headers = parse_ip(frame.bytes(), ETHERNET_LEN);
        let headers = headers.unwrap_or_else(|e| panic!("{e:?}: {:02x?}", frame.bytes()));
        // One way: what the provider sends is the answer of the one connection.
        if which == 1 && port == EniId(4) && *to == EniId(1) {
            assert_eq!(headers.tuple.src, ip("10.0.2.20"));
            assert_eq!(headers.tuple.dst, ip("10.0.1.10"));
        }
        if which == 1 && port == EniId(1) && *to == EniId(4) {
            assert_eq!(headers.tuple.src, ip("10.0.1.30"), "NAT hides the client");
        }
    }
}

/// One record.
pub fn record(port: u8, mend: u8, offload: (u8, u8), frame: &[u8]) -> Vec<u8> {
    let len = (frame.len() as u16).to_be_bytes();
    let head = [port, mend, offload.0, offload.1, len[0], len[1]];
    [&head[..], frame].concat()
}
