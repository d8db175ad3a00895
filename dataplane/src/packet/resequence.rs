//! Changes to a TCP header whose peer counts the bytes of a stream otherwise:
//! numbers, window, SACK blocks; and fast open taken out of a SYN.
//!
//! Checksums follow incrementally, so that what was wrong stays wrong; a partial
//! one needs nothing but where the length changes.

use super::checksum::{self, Delta};
use super::field::{read16, read32, write, write16};
use super::frame::{Checksum, Frame, Segmentation};
use super::headers::{Headers, protocol};
use super::parse::ETHERNET_LEN;
use super::tcp::TcpOptions;

/// Offset of the checksum in the TCP header.
const CHECKSUM_AT: usize = 16;
/// No operation.
const NOP: u8 = 1;
/// Kind of the window scale option (RFC 7323).
const WINDOW_SCALE: u8 = 3;
/// Kind of the selective acknowledgements (RFC 2018).
pub(crate) const SACK: u8 = 5;
/// Kind of the timestamps (RFC 7323).
const TIMESTAMPS: u8 = 8;
/// Kind of the fast open cookie (RFC 7413), and its experimental form.
const FAST_OPEN: u8 = 34;
const EXPERIMENTAL: u8 = 254;
const FAST_OPEN_EXPERIMENT: [u8; 2] = [0xf9, 0x89];

/// The numbers of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpNumbers {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; means nothing without the flag.
    pub ack: u32,
    /// Window field.
    pub window: u16,
}

impl TcpNumbers {
    /// Of a TCP packet; `None` if its header is not there.
    pub fn of(bytes: &[u8], headers: &Headers) -> Option<Self> {
        let l4 = usize::from(headers.l4);
        Some(Self {
            seq: read32(bytes, l4 + 4)?,
            ack: read32(bytes, l4 + 8)?,
            window: read16(bytes, l4 + 14)?,
        })
    }

    /// Writes them in the place of `old`.
    pub fn write(&self, frame: &mut Frame, headers: &Headers, old: &Self) {
        let partial = is_partial(frame, headers);
        let l4 = usize::from(headers.l4);
        let bytes = frame.bytes_mut();
        write(bytes, l4 + 4, &self.seq.to_be_bytes());
        write(bytes, l4 + 8, &self.ack.to_be_bytes());
        write16(bytes, l4 + 14, self.window);
        if !partial {
            let delta = Delta::default()
                .replace32(old.seq, self.seq)
                .replace32(old.ack, self.ack)
                .replace16(old.window, self.window);
            mend(bytes, l4 + CHECKSUM_AT, delta);
        }
    }
}

/// The options of a TCP packet that matter here.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TcpHints {
    /// Shift of the window field, on a SYN.
    pub scale: Option<u8>,
    /// Value and echo reply of the timestamps.
    pub timestamps: Option<(u32, u32)>,
    /// Whether there are selective acknowledgements.
    pub sack: bool,
    /// Whether there is a fast open cookie, or a request for one.
    pub fast_open: bool,
}

impl TcpHints {
    /// Of a parsed packet; nothing if it is not TCP.
    pub fn of(bytes: &[u8], headers: &Headers) -> Self {
        let mut hints = Self::default();
        for option in TcpOptions::of(bytes, headers) {
            match (option.kind, option.value) {
                (WINDOW_SCALE, &[shift]) => hints.scale = Some(shift.min(14)),
                (TIMESTAMPS, value) => {
                    hints.timestamps = read32(value, 0).zip(read32(value, 4));
                }
                (SACK, _) => hints.sack = true,
                (kind, value) => hints.fast_open |= is_fast_open(kind, value),
            }
        }
        hints
    }
}

fn is_fast_open(kind: u8, value: &[u8]) -> bool {
    kind == FAST_OPEN || (kind == EXPERIMENTAL && value.starts_with(&FAST_OPEN_EXPERIMENT))
}

/// Puts both ends of every SACK block through `back`; a block of which nothing is
/// left goes.
pub fn map_sack(frame: &mut Frame, headers: &Headers, back: impl Fn(u32) -> u32) {
    edit_options(frame, headers, |options| {
        let found = TcpOptions::new(options).find(|option| option.kind == SACK);
        let Some((at, len)) = found.map(|option| (option.at, option.value.len())) else {
            return;
        };
        let mut kept = at;
        for block in (at..at + len / 8 * 8).step_by(8) {
            let edges = read32(options, block).zip(read32(options, block + 4));
            let Some((left, right)) = edges.map(|(left, right)| (back(left), back(right))) else {
                continue;
            };
            if left != right {
                write(options, kept, &left.to_be_bytes());
                write(options, kept + 4, &right.to_be_bytes());
                kept += 8;
            }
        }
        // What is over, or all of it, is padding now.
        let from = if kept == at {
            at - 2
        } else {
            write(options, at - 1, &[(kept - at + 2) as u8]);
            kept
        };
        if let Some(over) = options.get_mut(from..at + len) {
            over.fill(NOP);
        }
    });
}

/// Takes fast open out of a SYN: its option becomes padding, its data goes.
/// Returns the length of the IP packet then.
pub fn strip_fast_open(frame: &mut Frame, headers: &Headers) -> u32 {
    edit_options(frame, headers, |options| {
        let found = TcpOptions::new(options).find(|option| is_fast_open(option.kind, option.value));
        let place = found.map(|option| option.at - 2..option.at + option.value.len());
        if let Some(place) = place.and_then(|place| options.get_mut(place)) {
            place.fill(NOP);
        }
    });
    let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
    let offset = frame.bytes().get(l4 + 12).copied().unwrap_or(0x50);
    let data = l4 + usize::from(offset >> 4) * 4;
    let end = l3 + headers.ip_len as usize;
    if data >= end || data > frame.len() {
        return headers.ip_len;
    }
    if is_partial(frame, headers) && checksum::complete_partial(frame).is_err() {
        return headers.ip_len;
    }
    let ip_len = (data - l3) as u32;
    let bytes = frame.bytes_mut();
    let gone = checksum::sum(bytes.get(data..end).unwrap_or_default());
    let (old_len, new_len) = ((end - l4) as u32, (data - l4) as u32);
    let delta = Delta::default()
        .replace16(gone, 0)
        .replace32(old_len, new_len);
    mend(bytes, l4 + CHECKSUM_AT, delta);
    if headers.is_ipv4() {
        let old = read16(bytes, l3 + 2).unwrap_or_default();
        write16(bytes, l3 + 2, ip_len as u16);
        mend(
            bytes,
            l3 + 10,
            Delta::default().replace16(old, ip_len as u16),
        );
    } else {
        write16(bytes, l3 + 4, (ip_len - 40) as u16);
    }
    frame.resize(data);
    frame.offload.segmentation = Segmentation::None;
    ip_len
}

/// Numbers of a TCP header that an ICMP error quotes: as much of them as there is.
/// `at` is where the header begins; `message` is where the error does.
pub fn map_quoted(
    bytes: &mut [u8],
    message: usize,
    at: usize,
    seq: impl Fn(u32) -> u32,
    ack: impl Fn(u32) -> u32,
) {
    let mut delta = Delta::default();
    let both: [(usize, &dyn Fn(u32) -> u32); 2] = [(at + 4, &seq), (at + 8, &ack)];
    let mut quoted = Delta::default();
    for (place, map) in both {
        if let Some(old) = read32(bytes, place) {
            let new = map(old);
            write(bytes, place, &new.to_be_bytes());
            delta = delta.replace32(old, new);
            quoted = quoted.replace32(old, new);
        }
    }
    // The quoted checksum, where it was not cut off, follows what it covers.
    if let Some(old) = read16(bytes, at + CHECKSUM_AT) {
        let new = quoted.apply(old);
        write16(bytes, at + CHECKSUM_AT, new);
        delta = delta.replace16(old, new);
    }
    mend(bytes, message + 2, delta);
}

/// Lets `edit` change the options, and mends the checksum.
fn edit_options(frame: &mut Frame, headers: &Headers, edit: impl FnOnce(&mut [u8])) {
    if headers.tuple.protocol != protocol::TCP {
        return;
    }
    let partial = is_partial(frame, headers);
    let l4 = usize::from(headers.l4);
    let bytes = frame.bytes_mut();
    let len = usize::from(bytes.get(l4 + 12).copied().unwrap_or_default() >> 4) * 4;
    let Some(options) = bytes.get_mut(l4 + 20..l4 + len) else {
        return;
    };
    let before = checksum::sum(options);
    edit(options);
    let after = checksum::sum(options);
    if !partial {
        mend(
            bytes,
            l4 + CHECKSUM_AT,
            Delta::default().replace16(before, after),
        );
    }
}

/// Whether the packet's own checksum is partial; an inner packet's never is.
fn is_partial(frame: &Frame, headers: &Headers) -> bool {
    usize::from(headers.l3) == ETHERNET_LEN
        && matches!(frame.offload.checksum, Checksum::Partial { .. })
}

fn mend(bytes: &mut [u8], at: usize, delta: Delta) {
    if let Some(held) = read16(bytes, at) {
        write16(bytes, at, delta.apply(held));
    }
}
