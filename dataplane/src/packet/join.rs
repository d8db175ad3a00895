//! Super-packets put together again: what `segment` does, undone.
//!
//! An appliance that gets a train may send one back, and what is in it are most often
//! the segments of one super-packet, in order. Joined, they cross the leaving port for
//! the price of one frame, as the sender's did.
//!
//! Only what `segment` would cut into the same bytes again is joined: headers that are
//! equal but for lengths, checksums, sequence number and identification, these two
//! going up as they do there, and checksums that are right. (A wrong one must arrive
//! wrong.)

use super::checksum::{self, field_offset};
use super::field::{read16, write, write16};
use super::frame::{Checksum, Frame, FramePool, Offload, Segmentation};
use super::headers::{Fragment, Headers, protocol, tcp_flag};
use super::parse::{ETHERNET_LEN, IPV4_LEN, IPV6_LEN, parse_ip};

/// Datagrams in one super-packet: what every kernel that knows them takes.
const DATAGRAMS_MAX: usize = 64;
/// Longest IP packet.
const IP_LEN_MAX: usize = 65_535;
/// Longest headers that are joined: Ethernet, IPv6, TCP with all its options.
const HEADERS_MAX: usize = ETHERNET_LEN + IPV6_LEN + 60;
/// TCP flag PSH, which the last segment may have.
const PSH: u8 = 0x08;

/// What may become a super-packet: a packet, and those that were hung on.
#[derive(Debug)]
pub struct Joined {
    frame: Frame,
    /// Of the first; `None` if nothing can be hung on to it.
    first: Option<Piece>,
    count: usize,
    /// Whether a shorter one or PSH ended it.
    ended: bool,
    pushed: bool,
}

/// A packet that may be one of several.
#[derive(Debug)]
struct Piece {
    headers: Headers,
    /// All headers, zeros where pieces of one super-packet differ.
    outline: [u8; HEADERS_MAX],
    /// Where the payload begins, and its length.
    payload: usize,
    len: usize,
    pushed: bool,
}

impl Piece {
    /// `None` for what is never a piece of anything, or not surely as it must be.
    fn of(frame: &Frame) -> Option<Self> {
        let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
        if partial || frame.offload.segmentation != Segmentation::None {
            return None;
        }
        let bytes = frame.bytes();
        let headers = parse_ip(bytes, ETHERNET_LEN).ok()?;
        let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
        // No IP options, no extension headers, no padding.
        let ip_header = if headers.is_ipv4() {
            IPV4_LEN
        } else {
            IPV6_LEN
        };
        let end = l3 + usize::try_from(headers.ip_len).ok()?;
        if headers.fragment != Fragment::Whole || l4 != l3 + ip_header || end != bytes.len() {
            return None;
        }
        let offset = field_offset(headers.tuple.protocol)?;
        let (header_len, pushed) = match headers.tuple.protocol {
            protocol::TCP if headers.tcp_flags & !PSH == tcp_flag::ACK => {
                let words = bytes.get(l4 + 12)? >> 4;
                (usize::from(words) * 4, headers.tcp_flags & PSH != 0)
            }
            protocol::UDP if usize::from(read16(bytes, l4 + 4)?) == end - l4 => (8, false),
            _ => return None,
        };
        let payload = l4 + header_len;
        let len = end.checked_sub(payload).filter(|&len| len > 0)?;
        // One that is not there stays so; and of two ways to write one, `segment` knows one.
        let usual = match (headers.tuple.protocol, read16(bytes, l4 + offset)?) {
            (protocol::UDP, held) => held != 0,
            (_, held) => held != 0xffff,
        };
        let usual_ip = !headers.is_ipv4() || read16(bytes, l3 + 10)? != 0xffff;
        if !usual || !usual_ip {
            return None;
        }
        let known = frame.offload.checksum == Checksum::Verified;
        if !known && !checksum::verify_transport(bytes, &headers) {
            return None;
        }
        let mut outline = [0; HEADERS_MAX];
        outline
            .get_mut(..payload)?
            .copy_from_slice(bytes.get(..payload)?);
        if headers.is_ipv4() {
            // Length and identification; checksum.
            write(&mut outline, l3 + 2, &[0; 4]);
            write16(&mut outline, l3 + 10, 0);
        } else {
            write16(&mut outline, l3 + 4, 0);
        }
        write16(&mut outline, l4 + offset, 0);
        match headers.tuple.protocol {
            protocol::UDP => write16(&mut outline, l4 + 4, 0),
            _ => {
                write(&mut outline, l4 + 4, &[0; 4]);
                write(&mut outline, l4 + 13, &[0]);
            }
        }
        Some(Self {
            headers,
            outline,
            payload,
            len,
            pushed,
        })
    }

    /// Whether this is the piece after `count` ones that begin with `first`.
    fn follows(&self, first: &Self, count: usize) -> bool {
        let (own, its) = (&self.headers, &first.headers);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let before = count.wrapping_mul(u32::try_from(first.len).unwrap_or(0));
        let is_tcp = own.tuple.protocol == protocol::TCP;
        self.payload == first.payload
            && self.outline == first.outline
            && self.len <= first.len
            && (!is_tcp || own.tcp_seq == its.tcp_seq.wrapping_add(before))
            && (!own.is_ipv4() || own.ip_id as u16 == its.ip_id.wrapping_add(count) as u16)
    }
}

impl Joined {
    /// A packet alone.
    pub fn new(frame: Frame) -> Self {
        let first = Piece::of(&frame);
        let pushed = first.as_ref().is_some_and(|first| first.pushed);
        Self {
            frame,
            first,
            count: 1,
            ended: pushed,
            pushed,
        }
    }

    /// Hangs the next packet on; false if it is no part of the same super-packet, and
    /// nothing changes. Long ones are put together in a frame of `pool`.
    pub fn hang_on(&mut self, packet: &Frame, pool: &mut FramePool) -> bool {
        let Some(first) = self.first.as_ref().filter(|_| !self.ended) else {
            return false;
        };
        let Some(piece) = Piece::of(packet) else {
            return false;
        };
        let is_full = first.headers.tuple.protocol == protocol::UDP && self.count >= DATAGRAMS_MAX;
        let ip_len = self.frame.len() - ETHERNET_LEN + piece.len;
        if is_full || ip_len > IP_LEN_MAX || !piece.follows(first, self.count) {
            return false;
        }
        if self.count == 1 {
            // That of the train, which is as long, was just given back. (To another that
            // the same train has, the pool may have to give a shorter one.)
            let mut whole = pool.take();
            whole.refill(self.frame.port, self.frame.bytes());
            pool.put(std::mem::replace(&mut self.frame, whole));
        }
        self.ended = piece.pushed || piece.len < first.len;
        self.pushed = piece.pushed;
        self.frame
            .extend(packet.bytes().get(piece.payload..).unwrap_or_default());
        self.count += 1;
        true
    }

    /// The super-packet, its checksum to be done by whoever cuts it; a packet that
    /// stayed alone as it was.
    pub fn finish(mut self) -> Frame {
        let Some(first) = self.first.filter(|_| self.count > 1) else {
            return self.frame;
        };
        let headers = &first.headers;
        let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
        let len = self.frame.len() - l4;
        let bytes = self.frame.bytes_mut();
        let short = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        if headers.is_ipv4() {
            write16(bytes, l3 + 2, short(len + IPV4_LEN));
            if let Some(header) = bytes.get_mut(l3..l4) {
                checksum::fill_ipv4_header(header);
            }
        } else {
            write16(bytes, l3 + 4, short(len));
        }
        let tuple = &headers.tuple;
        let size = short(first.len);
        let segmentation = if tuple.protocol == protocol::UDP {
            write16(bytes, l4 + 4, short(len));
            Segmentation::Udp(size)
        } else {
            let push = if self.pushed { PSH } else { 0 };
            write(bytes, l4 + 13, &[tcp_flag::ACK | push]);
            Segmentation::Tcp(size)
        };
        let sum = checksum::pseudo_header(tuple.src, tuple.dst, tuple.protocol, len as u32);
        let offset = field_offset(tuple.protocol).unwrap_or_default();
        write16(bytes, l4 + offset, sum.folded());
        self.frame.offload = Offload {
            checksum: Checksum::Partial {
                start: headers.l4,
                offset: offset as u16,
            },
            segmentation,
        };
        self.frame
    }
}

#[cfg(test)]
mod tests;
