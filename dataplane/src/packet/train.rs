//! Trains: equal UDP datagrams of one tunnel as one frame (virtio `UDP_L4`).
//!
//! The kernel cuts a train where its socket is, and gives a socket that asks
//! for it (`UDP_GRO`) the whole. So the segments of one super-packet reach an
//! appliance for the price of a frame.
//!
//! ```text
//! +-----+----+-----+-----------------+-----------------+-----------+
//! | Eth | IP | UDP | GENEVE, segment | GENEVE, segment | GENEVE, … |
//! +-----+----+-----+-----------------+-----------------+-----------+
//!                  |<---- size ----->|<---- size ----->|<= size -->|
//! ```

use super::checksum;
use super::field::write16;
use super::frame::{Checksum, Frame, Offload, Segmentation};
use super::headers::FiveTuple;
use super::parse::{ETHERNET_LEN, IPV4_LEN};

/// Datagrams in one train: what every kernel that knows them takes.
const CARS_MAX: usize = 64;
/// Longest IP packet.
const IP_LEN_MAX: usize = 65_535;
const UDP_AT: usize = ETHERNET_LEN + IPV4_LEN;
const PAYLOAD_AT: usize = UDP_AT + 8;

/// A train that is being put together, of IPv4 datagrams without options.
#[derive(Debug)]
pub struct Train {
    frame: Frame,
    /// Payload of each datagram but the last.
    size: usize,
    cars: usize,
    /// Whether a shorter one ended it.
    ended: bool,
}

impl Train {
    /// A train of one datagram.
    pub fn new(frame: Frame) -> Self {
        Self {
            size: frame.len().saturating_sub(PAYLOAD_AT),
            frame,
            cars: 1,
            ended: false,
        }
    }

    /// Whether another datagram's outer header is the same, but for what all datagrams
    /// have of their own: lengths, identification, checksums.
    pub fn has_header_of(&self, datagram: &Frame) -> bool {
        let header = |frame: &Frame| {
            let mut header = *frame.bytes().first_chunk::<PAYLOAD_AT>()?;
            header[ETHERNET_LEN + 2..ETHERNET_LEN + 6].fill(0);
            header[ETHERNET_LEN + 10..ETHERNET_LEN + 12].fill(0);
            header[UDP_AT + 4..].fill(0);
            Some(header)
        };
        header(&self.frame) == header(datagram)
    }

    /// Hangs another datagram with the same outer header on; false if it does
    /// not fit, and nothing changes.
    pub fn hang_on(&mut self, datagram: &Frame) -> bool {
        let payload = datagram.bytes().get(PAYLOAD_AT..).unwrap_or_default();
        let ip_len = self.frame.len() - ETHERNET_LEN + payload.len();
        let fits = !self.ended
            && self.cars < CARS_MAX
            && payload.len() <= self.size
            && ip_len <= IP_LEN_MAX;
        if fits {
            self.frame.extend(payload);
            self.cars += 1;
            self.ended = payload.len() < self.size;
        }
        fits
    }

    /// The train as one frame: lengths, and a partial outer checksum, without
    /// which the kernel takes no train. `outer` are the tunnel's ends.
    pub fn finish(mut self, outer: &FiveTuple) -> Frame {
        let size = u16::try_from(self.size).unwrap_or(u16::MAX);
        if self.cars == 1 {
            return self.frame;
        }
        let udp_len = self.frame.len() - UDP_AT;
        let sum = checksum::pseudo_header(outer.src, outer.dst, outer.protocol, udp_len as u32);
        let bytes = self.frame.bytes_mut();
        write16(bytes, ETHERNET_LEN + 2, (udp_len + IPV4_LEN) as u16);
        if let Some(header) = bytes.get_mut(ETHERNET_LEN..UDP_AT) {
            checksum::fill_ipv4_header(header);
        }
        write16(bytes, UDP_AT + 4, udp_len as u16);
        write16(bytes, UDP_AT + 6, sum.folded());
        self.frame.offload = Offload {
            checksum: Checksum::Partial {
                start: UDP_AT as u16,
                offset: 6,
            },
            segmentation: Segmentation::Udp(size),
        };
        self.frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{EniId, Mac};
    use crate::packet::{FramePool, ethertype, parse_ip, protocol, put_ethernet, segment};
    use crate::packet::{GENEVE_OUTER_LEN, GeneveOuter};

    fn datagram(inner_len: usize, fill: u8) -> Frame {
        let mut frame = Frame::with_capacity(2048);
        let outer = GeneveOuter {
            src: "10.100.0.10".parse().unwrap(),
            dst: "10.100.0.20".parse().unwrap(),
            source_port: 50_000,
            endpoint_id: 1,
            cookie: 2,
            ttl: 64,
        };
        put_ethernet(&mut frame, Mac([4; 6]), Mac([2; 6]), ethertype::IPV4);
        let mut header = [0; GENEVE_OUTER_LEN];
        outer.encode(&mut header, inner_len as u16, false);
        frame.extend(&header);
        frame.extend(&vec![fill; inner_len]);
        frame.port = EniId(4);
        frame
    }

    fn payloads(frame: Frame) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let pool = &mut FramePool::new(0);
        segment(frame, pool, &mut |piece| {
            let headers = parse_ip(piece.bytes(), ETHERNET_LEN).unwrap();
            assert!(checksum::verify_transport(piece.bytes(), &headers));
            pieces.push(piece.bytes()[PAYLOAD_AT..].to_vec());
        })
        .unwrap();
        pieces
    }

    #[test]
    fn a_train_falls_apart_into_what_it_was_made_of() {
        let cars = [(1400, 1), (1400, 2), (1400, 3), (200, 4)].map(|(len, n)| datagram(len, n));
        let mut train = Train::new(cars[0].clone());
        assert!(cars[1..].iter().all(|car| train.hang_on(car)));
        assert!(!train.hang_on(&cars[1]), "the short one is the last");
        let outer = FiveTuple {
            src: "10.100.0.10".parse().unwrap(),
            dst: "10.100.0.20".parse().unwrap(),
            protocol: protocol::UDP,
            sport: 50_000,
            dport: 6081,
        };
        let frame = train.finish(&outer);
        let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
        assert_eq!(headers.ip_len as usize, frame.len() - ETHERNET_LEN);
        assert!(checksum::partial_fits(frame.offload.checksum, &headers));
        assert_eq!(frame.offload.segmentation, Segmentation::Udp(1440));
        let whole = cars.map(|car| car.bytes()[PAYLOAD_AT..].to_vec());
        assert_eq!(payloads(frame), whole);
    }

    #[test]
    fn only_datagrams_with_the_same_outer_header_have_it() {
        let train = Train::new(datagram(100, 1));
        let mut other = datagram(60, 2);
        // What each has of its own: identification, checksum.
        other.bytes_mut()[ETHERNET_LEN + 4] ^= 1;
        other.bytes_mut()[ETHERNET_LEN + 10] ^= 1;
        assert!(train.has_header_of(&other));
        for at in [0, 6, ETHERNET_LEN + 1, ETHERNET_LEN + 8, UDP_AT] {
            let mut other = datagram(100, 1);
            other.bytes_mut()[at] ^= 1;
            assert!(!train.has_header_of(&other), "byte {at}");
        }
    }

    #[test]
    fn a_train_is_bounded_and_a_longer_datagram_starts_another() {
        let small = datagram(100, 1);
        let mut train = Train::new(small.clone());
        assert!(!train.hang_on(&datagram(101, 2)));
        let hung = (0..100).filter(|_| train.hang_on(&small)).count();
        assert_eq!(hung, CARS_MAX - 1);

        let large = datagram(8_900, 1);
        let mut train = Train::new(large.clone());
        let hung = (0..100).filter(|_| train.hang_on(&large)).count();
        assert_eq!(hung, 6, "seven of 8 940 bytes are below 65 535");
    }

    #[test]
    fn one_datagram_stays_as_it_is() {
        let alone = datagram(700, 9);
        let outer = parse_ip(alone.bytes(), ETHERNET_LEN).unwrap().tuple;
        let frame = Train::new(alone.clone()).finish(&outer);
        assert_eq!(
            (frame.bytes(), frame.offload),
            (alone.bytes(), alone.offload)
        );
    }
}
