//! Software segmentation and IPv4 fragmentation.
//!
//! A super-packet crosses the data plane whole. It is cut here where an
//! encapsulation or an output port cannot take it: every piece is an ordinary
//! packet with full checksums, as a network card would have sent it.
//!
//! ```text
//! +-----+----+-----+----------------------------------------------+
//! | Eth | IP | TCP |            up to 64 KiB of payload           |   one frame in
//! +-----+----+-----+----------------------------------------------+
//!          |            cut every `segment size` bytes
//!          v
//! +-----+----+-----+---------+  +-----+----+-----+---------+  +-----+-- …
//! | Eth | IP | TCP | payload |  | Eth | IP | TCP | payload |  | Eth | …     frames out
//! +-----+----+-----+---------+  +-----+----+-----+---------+  +-----+-- …
//!         id+0  seq+0               id+1  seq+size
//! ```

use super::checksum::{self, complete_partial};
use super::field::{read16, write, write16};
use super::frame::{Checksum, Frame, FramePool, Offload, Segmentation};
use super::headers::{Fragment, Headers, protocol, tcp_flag};
use super::parse::{ETHERNET_LEN, IPV4_LEN, IPV6_LEN, parse_ip};
use crate::drop::DropReason;

/// TCP flag CWR, which belongs to the first segment only (RFC 3168 §6.1.2).
const CWR: u8 = 0x80;

/// Cuts a super-packet into the packets that it stands for and gives them to
/// `emit` in order; returns how many. Pieces come from `pool`, and the frame
/// goes back to it. An ordinary frame is emitted as it is, a partial checksum
/// completed.
pub fn segment(
    mut frame: Frame,
    pool: &mut FramePool,
    emit: &mut impl FnMut(Frame),
) -> Result<usize, DropReason> {
    let plan = match Plan::new(&frame) {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            frame.offload.segmentation = Segmentation::None;
            if let Err(reason) = complete_partial(&mut frame) {
                pool.put(frame);
                return Err(reason);
            }
            emit(frame);
            return Ok(1);
        }
        Err(reason) => {
            pool.put(frame);
            return Err(reason);
        }
    };
    let bytes = frame.bytes();
    let (headers, rest) = bytes.split_at_checked(plan.payload).unwrap_or_default();
    let payload = rest
        .get(..plan.end.saturating_sub(plan.payload))
        .unwrap_or_default();
    let count = payload.len().div_ceil(plan.size);
    for (index, chunk) in payload.chunks(plan.size).enumerate() {
        let mut piece = pool.take();
        piece.refill(frame.port, headers);
        piece.extend(chunk);
        plan.patch(piece.bytes_mut(), index, index + 1 == count);
        piece.offload = Offload {
            checksum: plan.checksum,
            segmentation: Segmentation::None,
        };
        emit(piece);
    }
    pool.put(frame);
    Ok(count)
}

/// How a super-packet is cut.
struct Plan {
    headers: Headers,
    /// Payload bytes per piece.
    size: usize,
    /// Where the payload starts and the packet ends, from the frame's start.
    payload: usize,
    end: usize,
    /// State of the pieces' transport checksums.
    checksum: Checksum,
}

impl Plan {
    /// `None` when the frame is one packet already.
    fn new(frame: &Frame) -> Result<Option<Self>, DropReason> {
        let (expected, size) = match frame.offload.segmentation {
            Segmentation::None => return Ok(None),
            Segmentation::Tcp(size) => (protocol::TCP, usize::from(size)),
            Segmentation::Udp(size) => (protocol::UDP, usize::from(size)),
        };
        let bytes = frame.bytes();
        let headers = parse_ip(bytes, ETHERNET_LEN)?;
        let l4 = usize::from(headers.l4);
        let header_len = match expected {
            protocol::UDP => 8,
            _ => bytes.get(l4 + 12).map_or(0, |b| usize::from(b >> 4) * 4),
        };
        let valid =
            headers.tuple.protocol == expected && headers.fragment == Fragment::Whole && size > 0;
        if !valid {
            return Err(DropReason::MalformedTransport);
        }
        let end = usize::try_from(headers.ip_len).map_or(0, |len| ETHERNET_LEN + len);
        let payload = l4 + header_len;
        if end.saturating_sub(payload) <= size {
            return Ok(None);
        }
        // UDP over IPv4 that was sent without a checksum stays without one.
        let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
        let none = expected == protocol::UDP && !partial && read16(bytes, l4 + 6) == Some(0);
        Ok(Some(Self {
            headers,
            size,
            payload,
            end,
            checksum: match none {
                true => Checksum::Unverified,
                false => Checksum::Verified,
            },
        }))
    }

    /// Makes the copied headers those of piece `index`.
    fn patch(&self, bytes: &mut [u8], index: usize, is_last: bool) {
        let (l3, l4) = (usize::from(self.headers.l3), usize::from(self.headers.l4));
        let mut headers = self.headers;
        headers.ip_len = u32::try_from(bytes.len() - l3).unwrap_or(u32::MAX);
        patch_ip(bytes, &headers, index);
        if headers.tuple.protocol == protocol::UDP {
            let len = u16::try_from(bytes.len() - l4).unwrap_or(u16::MAX);
            write16(bytes, l4 + 4, len);
        } else {
            let advance = u32::try_from(index * self.size).unwrap_or(0);
            let seq = headers.tcp_seq.wrapping_add(advance);
            write(bytes, l4 + 4, &seq.to_be_bytes());
            let mut flags = headers.tcp_flags;
            if index > 0 {
                flags &= !CWR;
            }
            if !is_last {
                flags &= !(tcp_flag::FIN | PSH);
            }
            write(bytes, l4 + 13, &[flags]);
        }
        if self.checksum == Checksum::Verified {
            // Not zero, which would mean that UDP has none.
            if let Some(offset) = checksum::field_offset(headers.tuple.protocol) {
                write16(bytes, l4 + offset, 0xffff);
            }
            checksum::fill_transport(bytes, &headers);
        }
    }
}

/// TCP flag PSH, which belongs to the last segment only.
const PSH: u8 = 0x08;

/// Writes the lengths of piece `index` and, for IPv4, its identification.
fn patch_ip(bytes: &mut [u8], headers: &Headers, index: usize) {
    let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
    let Some(packet) = bytes.get_mut(l3..) else {
        return;
    };
    let len = packet.len();
    if headers.is_ipv4() {
        write16(packet, 2, u16::try_from(len).unwrap_or(u16::MAX));
        let id = headers
            .ip_id
            .wrapping_add(u32::try_from(index).unwrap_or(0));
        write16(packet, 4, (id & 0xffff) as u16);
        if let Some(header) = packet.get_mut(..l4 - l3) {
            checksum::fill_ipv4_header(header);
        }
    } else {
        let payload_len = len.saturating_sub(IPV6_LEN);
        write16(packet, 4, u16::try_from(payload_len).unwrap_or(u16::MAX));
    }
}

/// Cuts an IPv4 packet without DF into fragments of at most `mtu` bytes
/// (RFC 791 §3.2) and gives them to `emit` in order; returns how many. A packet
/// that fits is emitted as it is. Partial checksums are completed first.
///
/// Fails with [`DropReason::Mtu`] for what may not be fragmented: DF, IPv6,
/// super-packets (segment them first) and an MTU without room for 8 bytes.
pub fn fragment_ipv4(
    mut frame: Frame,
    mtu: usize,
    pool: &mut FramePool,
    emit: &mut impl FnMut(Frame),
) -> Result<usize, DropReason> {
    let cut = complete_partial(&mut frame).and_then(|()| Cut::new(&frame, mtu));
    let cut = match cut {
        Ok(Some(cut)) => cut,
        Ok(None) => {
            emit(frame);
            return Ok(1);
        }
        Err(reason) => {
            pool.put(frame);
            return Err(reason);
        }
    };
    let bytes = frame.bytes();
    let payload = bytes.get(cut.l4..cut.end).unwrap_or_default();
    let mut options = [0; OPTIONS_MAX];
    let options = copied_options(
        bytes.get(cut.l3 + IPV4_LEN..cut.l4).unwrap_or_default(),
        &mut options,
    );
    let mut at = 0;
    let mut count = 0;
    while at < payload.len() {
        // Options that are not copied leave later fragments more room.
        let header_len = match at {
            0 => cut.l4 - cut.l3,
            _ => IPV4_LEN + options.len(),
        };
        let end = at + ((mtu - header_len) & !7);
        let end = match payload.len() + header_len - at <= mtu {
            true => payload.len(),
            false => end,
        };
        let mut piece = pool.take();
        if at == 0 {
            piece.refill(frame.port, bytes.get(..cut.l4).unwrap_or_default());
        } else {
            let fixed = bytes.get(..cut.l3 + IPV4_LEN).unwrap_or_default();
            piece.refill(frame.port, fixed);
            piece.extend(options);
        }
        piece.extend(payload.get(at..end).unwrap_or_default());
        cut.patch(piece.bytes_mut(), header_len, at, end < payload.len());
        emit(piece);
        at = end;
        count += 1;
    }
    pool.put(frame);
    Ok(count)
}

/// Bytes of options that an IPv4 header can have.
const OPTIONS_MAX: usize = 40;

/// How a packet is fragmented.
struct Cut {
    l3: usize,
    l4: usize,
    end: usize,
    /// Flags and offset of the packet, which may be a fragment itself.
    field: u16,
}

impl Cut {
    /// `None` when the packet fits.
    fn new(frame: &Frame, mtu: usize) -> Result<Option<Self>, DropReason> {
        let bytes = frame.bytes();
        let headers = parse_ip(bytes, ETHERNET_LEN)?;
        let len = usize::try_from(headers.ip_len).map_err(|_| DropReason::Mtu)?;
        let is_super = frame.offload.segmentation != Segmentation::None;
        if len <= mtu && !is_super {
            return Ok(None);
        }
        let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
        if headers.dont_fragment || !headers.is_ipv4() || is_super || mtu < l4 - l3 + 8 {
            return Err(DropReason::Mtu);
        }
        Ok(Some(Self {
            l3,
            l4,
            end: l3 + len,
            field: read16(bytes, l3 + 6).unwrap_or(0),
        }))
    }

    /// Writes the header fields of the fragment that starts `at` bytes into
    /// the payload.
    fn patch(&self, bytes: &mut [u8], header_len: usize, at: usize, more: bool) {
        let Some(packet) = bytes.get_mut(self.l3..) else {
            return;
        };
        let words = u8::try_from(header_len / 4).unwrap_or(5);
        write(packet, 0, &[0x40 | words]);
        write16(packet, 2, u16::try_from(packet.len()).unwrap_or(u16::MAX));
        let offset = u16::try_from(at / 8).unwrap_or(0);
        let more = if more { MORE_FRAGMENTS } else { 0 };
        write16(packet, 6, (self.field | more).wrapping_add(offset));
        if let Some(header) = packet.get_mut(..header_len) {
            checksum::fill_ipv4_header(header);
        }
    }
}

const MORE_FRAGMENTS: u16 = 0x2000;

/// The options that every fragment must have (copied flag set, RFC 791 §3.1),
/// padded to 32 bits.
fn copied_options<'a>(mut options: &[u8], out: &'a mut [u8; OPTIONS_MAX]) -> &'a [u8] {
    let mut len = 0;
    while let &[kind, ..] = options {
        let size = match (kind, options.get(1)) {
            (0, _) => break,
            (1, _) => 1,
            (_, Some(&size)) if size >= 2 => usize::from(size),
            _ => break,
        };
        let Some((option, rest)) = options.split_at_checked(size) else {
            break;
        };
        if kind & 0x80 != 0 {
            write(out, len, option);
            len += size;
        }
        options = rest;
    }
    out.get(..len.next_multiple_of(4)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
