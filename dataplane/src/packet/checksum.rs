//! Internet checksums: computing (RFC 1071), changing (RFC 1624), and the
//! partial ones that offloads carry.
//!
//! Sums here are ones'-complement sums of 16-bit words in host order, folded to
//! 16 bits and *not* complemented, unless a name says `checksum`.

use std::net::IpAddr;

use super::field::write16;
use super::frame::{Checksum, Frame};
use super::headers::{Fragment, Headers, protocol};
use crate::drop::DropReason;

/// Folded sum of `bytes`; an odd last byte is padded with zero.
///
/// Words are added in the machine's own byte order, 4 bytes at a time into 64
/// bits, and swapped once at the end (RFC 1071 §2 (B)); the loop vectorises.
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    let (words, tail) = bytes.as_chunks::<4>();
    let mut total = 0u64;
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    total += u64::from(u32::from_ne_bytes(last));
    u16::from_be(fold(total))
}

/// Folded sum of a header of a length known when compiling.
#[inline]
pub fn sum_chunk<const N: usize>(bytes: &[u8; N]) -> u16 {
    sum(bytes)
}

/// Adds the carries back in until 16 bits are left.
#[inline]
pub(crate) const fn fold(total: u64) -> u16 {
    let total = (total >> 32) + (total & 0xffff_ffff);
    let total = (total >> 32) + (total & 0xffff_ffff);
    let total = (total >> 16) + (total & 0xffff);
    let total = (total >> 16) + (total & 0xffff);
    ((total >> 16) + (total & 0xffff)) as u16
}

/// The same for a sum of a few dozen words of 32 bits: fewer steps, since less
/// can carry.
#[inline(always)]
pub(crate) const fn fold_few(total: u64) -> u16 {
    debug_assert!(total < 1 << 38, "few words");
    fold_word(((total >> 16) + (total & 0xffff)) as u32)
}

/// The same for a sum that is one word of 32 bits.
#[inline(always)]
pub(crate) const fn fold_word(total: u32) -> u16 {
    // Both halves meet in the upper one, and the carry of the lower comes with it.
    (total.wrapping_add(total.rotate_left(16)) >> 16) as u16
}

/// Whether the checksum of an IPv4 header without options is right: all words add up to
/// all ones, so their sum is a multiple of 0xffff. (The header is not all zero.)
#[inline(always)]
pub(crate) fn is_right(header: &[u8; 20]) -> bool {
    let (words, rest) = header.as_chunks::<8>();
    let word = |at: usize| words.get(at).map_or(0, |word| u64::from_ne_bytes(*word));
    let rest = rest
        .first_chunk()
        .map_or(0, |rest| u32::from_ne_bytes(*rest));
    // Words of any length and byte order do, if carries come back in.
    let (sum, carry) = word(0).overflowing_add(word(1));
    let (sum, carry) = sum.overflowing_add(u64::from(rest) + u64::from(carry));
    sum.wrapping_add(u64::from(carry)) % 0xffff == 0
}

/// A sum built from several parts. Each part but the last must be of even length.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        Self(self.0 + u64::from(sum(bytes)))
    }

    /// Adds one 16-bit word.
    #[inline]
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds an address.
    #[inline]
    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => self.bytes(&a.octets()),
            IpAddr::V6(a) => self.bytes(&a.octets()),
        }
    }

    /// The folded sum.
    #[inline]
    pub const fn folded(self) -> u16 {
        fold(self.0)
    }

    /// The checksum: the folded sum's complement.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !fold(self.0)
    }
}

/// Sum of the pseudo-header of TCP, UDP and ICMPv6.
///
/// ```text
/// IPv4 (RFC 9293 §3.1)                      IPv6 (RFC 8200 §8.1)
/// +-----------------------------------+     +-----------------------------------+
/// |           source address          |     |      source address (16 bytes)    |
/// +-----------------------------------+     +-----------------------------------+
/// |        destination address        |     |   destination address (16 bytes)  |
/// +--------+--------+-----------------+     +-----------------------------------+
/// |  zero  |protocol| transport length|     |          transport length         |
/// +--------+--------+-----------------+     +--------------------------+--------+
///                                           |           zero           |protocol|
///                                           +--------------------------+--------+
/// ```
#[inline]
pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, transport_len: u32) -> Sum {
    let [a, b, c, d] = transport_len.to_be_bytes();
    Sum::default()
        .address(src)
        .address(dst)
        .word(u16::from(protocol))
        .word(u16::from_be_bytes([a, b]))
        .word(u16::from_be_bytes([c, d]))
}

/// What a set of changed fields does to every checksum that covers them
/// (RFC 1624, equation 3). Built once for a flow, applied to each packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Delta(u16);

impl Delta {
    /// A 16-bit field changes.
    #[inline]
    #[must_use]
    pub const fn replace16(self, old: u16, new: u16) -> Self {
        Self(fold(self.0 as u64 + !old as u64 + new as u64))
    }

    /// A 32-bit field changes.
    #[inline]
    #[must_use]
    pub const fn replace32(self, old: u32, new: u32) -> Self {
        self.replace16((old >> 16) as u16, (new >> 16) as u16)
            .replace16(old as u16, new as u16)
    }

    /// An address changes. The two may be of different families.
    #[inline]
    #[must_use]
    pub fn replace_addr(self, old: IpAddr, new: IpAddr) -> Self {
        let old = Sum::default().address(old).folded();
        let new = Sum::default().address(new).folded();
        self.replace16(old, new)
    }

    /// Both sets of changes.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(fold(self.0 as u64 + other.0 as u64))
    }

    /// The new value of a checksum field. Never all ones, hence wrong in one
    /// case: an ICMP message that becomes all zeros (there is no pseudo-header).
    #[inline]
    pub const fn apply(self, field: u16) -> u16 {
        !fold(!field as u64 + self.0 as u64)
    }

    /// The new value of a UDP checksum field: zero means "none" and stays, a
    /// computed zero is sent as all ones (RFC 768).
    #[inline]
    pub const fn apply_udp(self, field: u16) -> u16 {
        match (field, self.apply(field)) {
            (0, _) => 0,
            (_, 0) => 0xffff,
            (_, new) => new,
        }
    }

    /// The new value of a field that is [`Checksum::Partial`]: it holds the
    /// pseudo-header's sum only, so the delta must be of addresses (and
    /// protocol and length) only, never of ports.
    #[inline]
    pub const fn apply_partial(self, field: u16) -> u16 {
        fold(field as u64 + self.0 as u64)
    }
}

/// Offset of the checksum field in the transport header.
#[inline]
pub const fn field_offset(protocol: u8) -> Option<usize> {
    match protocol {
        protocol::TCP => Some(16),
        protocol::UDP => Some(6),
        protocol::ICMP | protocol::ICMPV6 => Some(2),
        _ => None,
    }
}

/// Whether the transport checksum of a parsed packet is right. True also where
/// there is none to check: fragments, other protocols, and UDP over IPv4 with
/// checksum zero. (Over IPv6 zero is wrong, RFC 8200 §8.1.)
pub fn verify_transport(bytes: &[u8], headers: &Headers) -> bool {
    let Some(transport) = covered(bytes, headers) else {
        return true;
    };
    if headers.tuple.protocol == protocol::UDP && transport.get(6..8) == Some(&[0, 0]) {
        return headers.is_ipv4();
    }
    start_sum(headers, transport.len())
        .bytes(transport)
        .folded()
        == 0xffff
}

/// Computes and writes the transport checksum of a parsed packet, whatever the
/// field held, except that UDP over IPv4 with checksum zero keeps it. Does
/// nothing where [`verify_transport`] has nothing to check.
pub fn fill_transport(bytes: &mut [u8], headers: &Headers) {
    let udp = headers.tuple.protocol == protocol::UDP;
    let (Some(transport), Some(offset)) = (
        covered(bytes, headers),
        field_offset(headers.tuple.protocol),
    ) else {
        return;
    };
    let Some((before, rest)) = transport.split_at_checked(offset) else {
        return;
    };
    let Some((field, after)) = rest.split_first_chunk::<2>() else {
        return;
    };
    if udp && *field == [0, 0] && headers.is_ipv4() {
        return;
    }
    // The field counts as zero. Subtracting it from the sum instead would be
    // wrong for an ICMP message of zeros, whose checksum is all ones.
    let checksum = start_sum(headers, transport.len())
        .bytes(before)
        .bytes(after)
        .checksum();
    let checksum = if udp && checksum == 0 {
        0xffff
    } else {
        checksum
    };
    write16(bytes, usize::from(headers.l4) + offset, checksum);
}

/// Whether a partial checksum, if there is one, is that of the parsed packet's
/// transport header. A host chooses these offsets: unchecked, completing the
/// sum later would write into addresses or ports that were judged before.
#[inline]
pub fn partial_fits(checksum: Checksum, headers: &Headers) -> bool {
    let Checksum::Partial { start, offset } = checksum else {
        return true;
    };
    start == headers.l4
        && headers.fragment == Fragment::Whole
        && field_offset(headers.tuple.protocol) == Some(usize::from(offset))
}

/// Turns a partial transport checksum into a full one, as hardware would.
/// Other states are left alone. Padding after the packet must be zeros.
pub fn complete_partial(frame: &mut Frame) -> Result<(), DropReason> {
    let Checksum::Partial { start, offset } = frame.offload.checksum else {
        return Ok(());
    };
    let (start, offset) = (usize::from(start), usize::from(offset));
    let covered = frame.bytes().get(start..).unwrap_or_default();
    if covered.len() < offset + 2 {
        return Err(DropReason::MalformedTransport);
    }
    let checksum = match !sum(covered) {
        // Only UDP has its field there, and zero would mean "no checksum".
        0 if Some(offset) == field_offset(protocol::UDP) => 0xffff,
        checksum => checksum,
    };
    write16(frame.bytes_mut(), start + offset, checksum);
    frame.offload.checksum = Checksum::Verified;
    Ok(())
}

/// Computes and writes the checksum of an IPv4 header, given exactly its bytes.
pub fn fill_ipv4_header(header: &mut [u8]) {
    write16(header, 10, 0);
    let checksum = !sum(header);
    write16(header, 10, checksum);
}

/// The bytes that the transport checksum covers; `None` if it has none or the
/// packet is a fragment.
fn covered<'a>(bytes: &'a [u8], headers: &Headers) -> Option<&'a [u8]> {
    field_offset(headers.tuple.protocol)?;
    if headers.fragment != Fragment::Whole {
        return None;
    }
    let l4 = usize::from(headers.l4);
    let end = usize::from(headers.l3) + usize::try_from(headers.ip_len).ok()?;
    let transport = bytes.get(l4..end)?;
    if headers.tuple.protocol != protocol::UDP {
        return Some(transport);
    }
    let length = transport.get(4..6)?.first_chunk()?;
    transport.get(..usize::from(u16::from_be_bytes(*length)))
}

/// The pseudo-header's sum, or zero for ICMP, which has none.
fn start_sum(headers: &Headers, len: usize) -> Sum {
    if headers.tuple.protocol == protocol::ICMP {
        return Sum::default();
    }
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let tuple = &headers.tuple;
    pseudo_header(tuple.src, tuple.dst, tuple.protocol, len)
}

#[cfg(test)]
mod tests;
