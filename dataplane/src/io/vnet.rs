//! The virtio-net header before each frame of a TAP, and offload metadata.
//!
//! Virtual I/O Device specification 1.2, §5.1.6. A TAP speaks the legacy form
//! in the machine's byte order; its size is 12 with `num_buffers`.

use crate::packet::{Checksum, Frame, Offload, Segmentation};

/// Bytes of the header, as set with `TUNSETVNETHDRSZ`.
pub const VNET_HEADER_LEN: usize = 12;

const FLAG_NEEDS_CSUM: u8 = 1;
const FLAG_DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// A modifier: the first segment carries CWR. Nothing to remember, the flag is
/// in the TCP header.
const GSO_ECN: u8 = 0x80;
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// Shortest TCP header: what the data offset field says at least.
const TCP_HEADER_MIN: u16 = 20;
const UDP_HEADER: u16 = 8;

/// A virtio-net header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VnetHeader {
    flags: u8,
    gso_type: u8,
    hdr_len: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
}

impl VnetHeader {
    /// Reads a header; `None` if `bytes` is too short.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[flags, gso_type, l0, l1, g0, g1, s0, s1, o0, o1, _, _] =
            bytes.first_chunk::<VNET_HEADER_LEN>()?;
        Some(Self {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([l0, l1]),
            gso_size: u16::from_ne_bytes([g0, g1]),
            csum_start: u16::from_ne_bytes([s0, s1]),
            csum_offset: u16::from_ne_bytes([o0, o1]),
        })
    }

    /// The header as bytes.
    pub fn to_bytes(self) -> [u8; VNET_HEADER_LEN] {
        let [l0, l1] = self.hdr_len.to_ne_bytes();
        let [g0, g1] = self.gso_size.to_ne_bytes();
        let [s0, s1] = self.csum_start.to_ne_bytes();
        let [o0, o1] = self.csum_offset.to_ne_bytes();
        [
            self.flags,
            self.gso_type,
            l0,
            l1,
            g0,
            g1,
            s0,
            s1,
            o0,
            o1,
            0,
            0,
        ]
    }

    /// The metadata that a received header states; `None` for a kind of
    /// super-packet that was not asked for.
    pub fn offload(self) -> Option<Offload> {
        let checksum = if self.flags & FLAG_NEEDS_CSUM != 0 {
            Checksum::Partial {
                start: self.csum_start,
                offset: self.csum_offset,
            }
        } else if self.flags & FLAG_DATA_VALID != 0 {
            Checksum::Verified
        } else {
            Checksum::Unverified
        };
        let segmentation = match self.gso_type & !GSO_ECN {
            GSO_NONE => Segmentation::None,
            _ if self.gso_size == 0 => return None,
            GSO_TCPV4 | GSO_TCPV6 => Segmentation::Tcp(self.gso_size),
            GSO_UDP_L4 => Segmentation::Udp(self.gso_size),
            _ => return None,
        };
        Some(Offload {
            checksum,
            segmentation,
        })
    }

    /// The header to send before `frame`; `None` when its metadata contradicts
    /// its length.
    pub fn of(frame: &Frame) -> Option<Self> {
        let mut header = Self::default();
        let bytes = frame.bytes();
        match frame.offload.checksum {
            Checksum::Partial { start, offset } => {
                let field_end = usize::from(start) + usize::from(offset) + 2;
                if field_end > bytes.len() {
                    return None;
                }
                header.flags = FLAG_NEEDS_CSUM;
                header.csum_start = start;
                header.csum_offset = offset;
            }
            Checksum::Verified => header.flags = FLAG_DATA_VALID,
            Checksum::Unverified => {}
        }
        let v6 = bytes.get(12..14) == Some(&ETHERTYPE_IPV6);
        match frame.offload.segmentation {
            Segmentation::None => {}
            Segmentation::Tcp(size) => {
                header.gso_type = if v6 { GSO_TCPV6 } else { GSO_TCPV4 };
                header.gso_size = size;
                let offset = bytes.get(usize::from(header.csum_start) + 12);
                let header_len = offset.map_or(0, |byte| u16::from(byte >> 4) * 4);
                let header_len = header_len.max(TCP_HEADER_MIN);
                header.hdr_len = header.csum_start.saturating_add(header_len);
            }
            Segmentation::Udp(size) => {
                header.gso_type = GSO_UDP_L4;
                header.gso_size = size;
                header.hdr_len = header.csum_start.saturating_add(UDP_HEADER);
            }
        }
        // The kernel segments only what it can also finish the checksum of.
        let segmented = header.gso_type != GSO_NONE;
        if segmented && (header.flags != FLAG_NEEDS_CSUM || header.gso_size == 0) {
            return None;
        }
        (usize::from(header.hdr_len) <= bytes.len()).then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::EniId;

    fn tcp_frame(ethertype: [u8; 2], offload: Offload) -> Frame {
        let mut bytes = vec![0u8; 14 + 20 + 32 + 3000];
        bytes[12..14].copy_from_slice(&ethertype);
        bytes[14 + 20 + 12] = 8 << 4;
        let mut frame = Frame::from_bytes(EniId(0), &bytes);
        frame.offload = offload;
        frame
    }

    #[test]
    fn metadata_survives_the_header_both_ways() {
        let partial = Checksum::Partial {
            start: 34,
            offset: 16,
        };
        let cases = [
            (Checksum::Unverified, Segmentation::None),
            (Checksum::Verified, Segmentation::None),
            (partial, Segmentation::None),
            (partial, Segmentation::Tcp(1448)),
            (partial, Segmentation::Udp(1200)),
        ];
        for (checksum, segmentation) in cases {
            let offload = Offload {
                checksum,
                segmentation,
            };
            let header = VnetHeader::of(&tcp_frame([8, 0], offload)).unwrap();
            let again = VnetHeader::parse(&header.to_bytes()).unwrap();
            assert_eq!(again, header);
            assert_eq!(again.offload(), Some(offload));
        }
    }

    #[test]
    fn tcp_super_packets_name_family_and_header_length() {
        let offload = Offload {
            checksum: Checksum::Partial {
                start: 34,
                offset: 16,
            },
            segmentation: Segmentation::Tcp(1448),
        };
        let v4 = VnetHeader::of(&tcp_frame([8, 0], offload)).unwrap();
        assert_eq!((v4.gso_type, v4.hdr_len), (GSO_TCPV4, 34 + 32));
        let v6 = VnetHeader::of(&tcp_frame([0x86, 0xdd], offload)).unwrap();
        assert_eq!(v6.gso_type, GSO_TCPV6);
    }

    #[test]
    fn contradictions_are_refused() {
        let beyond = Offload {
            checksum: Checksum::Partial {
                start: 60_000,
                offset: 16,
            },
            segmentation: Segmentation::None,
        };
        assert_eq!(VnetHeader::of(&tcp_frame([8, 0], beyond)), None);
        let unfinished = Offload {
            checksum: Checksum::Unverified,
            segmentation: Segmentation::Tcp(1448),
        };
        assert_eq!(VnetHeader::of(&tcp_frame([8, 0], unfinished)), None);
        assert_eq!(VnetHeader::parse(&[0; VNET_HEADER_LEN - 1]), None);
        let fragmentation_offload = VnetHeader {
            gso_type: 3,
            gso_size: 1480,
            ..VnetHeader::default()
        };
        assert_eq!(fragmentation_offload.offload(), None);
    }
}
