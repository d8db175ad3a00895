//! Frames made before the clock starts, in the order in which they are sent.
//!
//! A big table must not make the harness slow, so frames lie one behind the
//! other and are read in order (the hardware prefetches them). Of a large frame
//! only the first bytes are kept; the rest of the payload is the same for all.

use std::net::IpAddr;

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::packet::{
    ETHERNET_LEN, Endpoints, FiveTuple, Frame, Headers, checksum, parse_ip, protocol, put_ip,
};

use super::connections::End;

/// Bytes kept of each frame: every header that anybody writes, a tunnel and IPv6 in it.
const HEAD: usize = 160;
/// Payload of everything beyond.
const FILLER: u8 = b'x';

/// A TCP segment or UDP datagram to be written into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Source MAC address.
    pub src_mac: Mac,
    /// Destination MAC address.
    pub dst_mac: Mac,
    /// Addresses, protocol, ports.
    pub tuple: FiveTuple,
    /// TCP flags.
    pub flags: u8,
    /// A number to know the packet by when it comes out: TCP's sequence number,
    /// the first bytes of UDP's payload.
    pub id: u32,
}

impl Segment {
    /// What an end sends.
    pub(super) fn of(end: &End, flags: u8, id: u32) -> Self {
        Self {
            src_mac: end.src_mac,
            dst_mac: end.dst_mac,
            tuple: end.tuple,
            flags,
            id,
        }
    }

    /// Writes the packet with valid checksums: `len` bytes from the Ethernet
    /// header on, or as many as its headers need.
    pub fn write(&self, out: &mut Frame, len: usize) {
        let ip_len = match self.tuple.src {
            IpAddr::V4(_) => 20,
            IpAddr::V6(_) => 40,
        };
        let room = len.saturating_sub(ETHERNET_LEN + ip_len);
        let mut header = [0u8; 20];
        header[..2].copy_from_slice(&self.tuple.sport.to_be_bytes());
        header[2..4].copy_from_slice(&self.tuple.dport.to_be_bytes());
        let header = if self.tuple.protocol == protocol::TCP {
            header[4..8].copy_from_slice(&self.id.to_be_bytes());
            header[12] = 0x50;
            header[13] = self.flags;
            header[14..16].copy_from_slice(&[0xff, 0xff]);
            &header[..]
        } else {
            let udp_len = room.max(12) as u16;
            header[4..6].copy_from_slice(&udp_len.to_be_bytes());
            // Zero would mean that there is no checksum.
            header[6..8].copy_from_slice(&[0, 1]);
            header[8..12].copy_from_slice(&self.id.to_be_bytes());
            &header[..12]
        };
        let ends = Endpoints {
            src_mac: self.src_mac,
            dst_mac: self.dst_mac,
            src: self.tuple.src,
            dst: self.tuple.dst,
        };
        let transport_len = room.max(header.len());
        out.clear();
        put_ip(out, &ends, self.tuple.protocol, 64, transport_len);
        out.extend(header);
        while out.len() < len {
            let missing = len - out.len();
            out.extend(&[FILLER; 256][..missing.min(256)]);
        }
        if let Ok(headers) = parse_ip(out.bytes(), ETHERNET_LEN) {
            checksum::fill_transport(out.bytes_mut(), &headers);
        }
    }
}

/// The number that [`Segment::id`] put into a packet.
pub(super) fn packet_id(bytes: &[u8], headers: &Headers) -> Option<u32> {
    if headers.tuple.protocol == protocol::TCP {
        return Some(headers.tcp_seq);
    }
    let payload = bytes.get(usize::from(headers.l4) + 8..)?;
    payload.first_chunk().copied().map(u32::from_be_bytes)
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    head: u16,
    tail: u16,
    port: EniId,
}

/// Many frames, each with its port of entry.
#[derive(Clone, Debug, Default)]
pub struct FrameStore {
    heads: Vec<[u8; 32]>,
    entries: Vec<Entry>,
    tail: Vec<u8>,
}

impl FrameStore {
    /// Room for `count` frames of up to `len` bytes.
    pub fn with_capacity(count: usize, len: usize) -> Self {
        Self {
            heads: Vec::with_capacity(count * len.min(HEAD).div_ceil(32)),
            entries: Vec::with_capacity(count),
            tail: Vec::new(),
        }
    }

    /// Adds a frame. Bytes after the first 160 must be the filler that
    /// [`Segment::write`] puts there.
    pub fn push(&mut self, port: EniId, bytes: &[u8]) {
        let (head, tail) = bytes.split_at(bytes.len().min(HEAD));
        let entry = Entry {
            start: self.heads.len() as u32,
            head: head.len() as u16,
            tail: tail.len() as u16,
            port,
        };
        for chunk in head.chunks(32) {
            let mut line = [0; 32];
            if let Some(place) = line.get_mut(..chunk.len()) {
                place.copy_from_slice(chunk);
            }
            self.heads.push(line);
        }
        if self.tail.len() < tail.len() {
            self.tail.resize(tail.len(), FILLER);
        }
        self.entries.push(entry);
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Makes `frame` the `index`-th one.
    #[inline]
    pub fn fill(&self, index: usize, frame: &mut Frame) {
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        let lines = self.heads.get(entry.start as usize..).unwrap_or_default();
        let head = lines.as_flattened().get(..usize::from(entry.head));
        frame.refill(entry.port, head.unwrap_or_default());
        if entry.tail > 0 {
            let tail = self.tail.get(..usize::from(entry.tail));
            frame.extend(tail.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(protocol: u8, v6: bool) -> Segment {
        let (src, dst) = if v6 {
            ("2001:db8::1", "2001:db8::2")
        } else {
            ("10.0.0.1", "10.0.0.2")
        };
        Segment {
            src_mac: Mac([2, 0, 0, 0, 0, 1]),
            dst_mac: Mac([2, 0, 0, 0, 0, 2]),
            tuple: FiveTuple {
                src: src.parse().unwrap(),
                dst: dst.parse().unwrap(),
                protocol,
                sport: 1024,
                dport: 443,
            },
            flags: 0x10,
            id: 0xdead_beef,
        }
    }

    #[test]
    fn every_size_comes_back_whole_with_valid_checksums() {
        for (protocol, v6) in [(6, false), (17, false), (6, true), (17, true)] {
            for len in [64, 128, 129, 512, 1518, 9001] {
                let mut written = Frame::with_capacity(len);
                let segment = segment(protocol, v6);
                segment.write(&mut written, len);
                let mut store = FrameStore::with_capacity(2, len);
                store.push(EniId(7), &[1; 60]);
                store.push(EniId(9), written.bytes());
                let mut frame = Frame::with_capacity(0);
                store.fill(1, &mut frame);
                assert_eq!(frame.bytes(), written.bytes());
                assert_eq!(frame.port, EniId(9));
                let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
                assert_eq!(headers.tuple, segment.tuple);
                assert!(checksum::verify_transport(frame.bytes(), &headers));
                assert_eq!(packet_id(frame.bytes(), &headers), Some(0xdead_beef));
                let shortest = if v6 {
                    54 + if protocol == 6 { 20 } else { 12 }
                } else {
                    64
                };
                assert_eq!(frame.len(), len.max(shortest), "{protocol} {v6} {len}");
            }
        }
    }
}
