//! TCP (RFC 9293): options, MSS clamping, resets.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |          source port          |       destination port        |
//! +-------------------------------+-------------------------------+
//! |                        sequence number                        |
//! +---------------------------------------------------------------+
//! |                     acknowledgment number                     |
//! +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
//! | offset| rsvd  |C|E|U|A|P|R|S|F|            window             |
//! +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
//! |           checksum            |         urgent pointer        |
//! +---------------+---------------+-------------------------------+
//! |  option kind  |  its length   |  value …                      |
//! +---------------+---------------+-------------------------------+
//! ```

use super::build::{Endpoints, TTL_DEFAULT, finish, put_ip};
use super::checksum::Delta;
use super::field::{read16, read32, write16};
use super::frame::{Checksum, Frame};
use super::headers::{Fragment, Headers, protocol, tcp_flag};

/// Offset of the checksum in the TCP header.
const CHECKSUM_AT: usize = 16;

/// Kind of the maximum-segment-size option.
const MSS: u8 = 2;

/// One TCP option other than padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpOption<'a> {
    /// Option kind.
    pub kind: u8,
    /// Offset of the value from the first option's start.
    pub at: usize,
    /// The value, without kind and length.
    pub value: &'a [u8],
}

/// Walks TCP options; ends at the end-of-list option or at a malformed one.
#[derive(Clone, Debug)]
pub struct TcpOptions<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> TcpOptions<'a> {
    /// Over the bytes between the fixed header and the data.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The options of a parsed packet; none if it is not TCP or a later fragment.
    pub fn of(bytes: &'a [u8], headers: &Headers) -> Self {
        Self::new(options(bytes, headers).unwrap_or_default())
    }
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // No-operation is one byte long, and so is the end of the list.
        while self.bytes.get(self.at) == Some(&1) {
            self.at += 1;
        }
        let &[kind, len, ..] = self.bytes.get(self.at..)? else {
            return None;
        };
        let (at, end) = (self.at + 2, self.at + usize::from(len));
        let value = self.bytes.get(at..end)?;
        if kind == 0 {
            return None;
        }
        self.at = end;
        Some(TcpOption { kind, at, value })
    }
}

/// The option bytes of a TCP packet whose header is present.
fn options<'a>(bytes: &'a [u8], headers: &Headers) -> Option<&'a [u8]> {
    if headers.tuple.protocol != protocol::TCP || headers.fragment == Fragment::Later {
        return None;
    }
    let header = bytes.get(usize::from(headers.l4)..)?;
    let len = usize::from(*header.get(12)? >> 4) * 4;
    header.get(20..len)
}

/// Lowers the MSS option of a SYN to `limit`, in place. A SYN without the
/// option is left alone. Returns whether the packet changed.
///
/// The checksum follows incrementally; a partial one needs nothing, since the
/// TCP header is still to be summed.
pub fn clamp_mss(frame: &mut Frame, headers: &Headers, limit: u16) -> bool {
    if headers.tcp_flags & tcp_flag::SYN == 0 {
        return false;
    }
    let found = TcpOptions::of(frame.bytes(), headers)
        .find(|option| option.kind == MSS && option.value.len() == 2);
    let Some((at, old)) = found.and_then(|o| Some((o.at, read16(o.value, 0)?))) else {
        return false;
    };
    if old <= limit {
        return false;
    }
    let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
    let l4 = usize::from(headers.l4);
    let bytes = frame.bytes_mut();
    write16(bytes, l4 + 20 + at, limit);
    if let (false, Some(field)) = (partial, read16(bytes, l4 + CHECKSUM_AT)) {
        // At an odd offset the value's bytes lie in two words, the halves swapped.
        let delta = match at % 2 {
            0 => Delta::default().replace16(old, limit),
            _ => Delta::default().replace16(old.swap_bytes(), limit.swap_bytes()),
        };
        write16(bytes, l4 + CHECKSUM_AT, delta.apply(field));
    }
    true
}

/// Sequence numbers and flags of a reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpReset {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number; zero unless `flags` has ACK.
    pub ack: u32,
    /// RST, or RST and ACK.
    pub flags: u8,
}

impl TcpReset {
    /// The reset that answers a segment to a connection that does not exist
    /// (RFC 9293 §3.5.2, group 1). `None` for a reset, which is not answered,
    /// and for what is not a whole TCP segment.
    pub fn answering(bytes: &[u8], headers: &Headers) -> Option<Self> {
        let flags = headers.tcp_flags;
        if headers.tuple.protocol != protocol::TCP
            || headers.fragment != Fragment::Whole
            || flags & tcp_flag::RST != 0
        {
            return None;
        }
        let l4 = usize::from(headers.l4);
        if flags & tcp_flag::ACK != 0 {
            return Some(Self {
                seq: read32(bytes, l4 + 8)?,
                ack: 0,
                flags: tcp_flag::RST,
            });
        }
        let header_len = u32::from(*bytes.get(l4 + 12)? >> 4) * 4;
        let before_payload = u32::from(headers.l4 - headers.l3) + header_len;
        let controls = (flags & tcp_flag::SYN != 0) as u32 + (flags & tcp_flag::FIN != 0) as u32;
        let segment_len = headers.ip_len.checked_sub(before_payload)? + controls;
        Some(Self {
            seq: 0,
            ack: headers.tcp_seq.wrapping_add(segment_len),
            flags: tcp_flag::RST | tcp_flag::ACK,
        })
    }

    /// Appends the reset as a frame between `ends`, with these ports.
    pub fn write(&self, out: &mut Frame, ends: &Endpoints, sport: u16, dport: u16) {
        put_ip(out, ends, protocol::TCP, TTL_DEFAULT, 20);
        out.extend(&sport.to_be_bytes());
        out.extend(&dport.to_be_bytes());
        out.extend(&self.seq.to_be_bytes());
        out.extend(&self.ack.to_be_bytes());
        out.extend(&[0x50, self.flags, 0, 0, 0, 0, 0, 0]);
        finish(out);
    }
}

#[cfg(test)]
mod tests;
