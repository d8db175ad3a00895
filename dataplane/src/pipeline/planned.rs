//! What differs between the families where connections are opened and answered by plan.

use super::places::Words;
use super::plans::{ANY, FamilyPlans, PlainPacket, Plans};
use super::short::{self, Lane, Way};
use super::short6;
use crate::flow::{Family, Hot, Line, Shared};
use crate::packet::{Checksum, Frame};

/// A family whose connections are planned.
pub(super) trait Planned: Family {
    /// What the walk reads of a packet that opens a connection; last the target.
    type Opening: Words;
    /// What the walk reads of an answer and its session.
    type Answering: Words;
    /// What is done to a packet's headers.
    type Step: Copy;
    /// Where the transport header of a plain packet begins.
    const L4: usize;

    fn opening(plain: &PlainPacket<Self>) -> Self::Opening;
    fn answering(plain: &PlainPacket<Self>, session: &Shared<Self>) -> Self::Answering;
    fn plans(plans: &mut Plans) -> &mut FamilyPlans<Self>;
    /// The key of a plain packet that was looked at.
    fn key_of(bytes: &[u8], lane: &Lane) -> Option<Self::Key>;
    /// Whether that is the way of a plain packet of this family.
    fn is_plain(way: Way) -> bool;
    /// MAC addresses of a plain frame, and four bytes of its transport header from the
    /// fourth on: of TCP the sequence number.
    fn head(bytes: &[u8]) -> Option<(&[u8; 12], u32)>;
    fn step(line: &Line<Self>, hot: &Hot, lane: &Lane) -> Self::Step;
    /// Makes a packet with this key what it is where it leaves.
    fn write(step: &Self::Step, frame: &mut Frame, lane: &Lane, key: &Self::Key);
}

impl Planned for u32 {
    type Opening = [u64; 4];
    type Answering = [u64; 8];
    type Step = short::Step;
    const L4: usize = short::L4;

    #[inline(always)]
    fn opening(plain: &PlainPacket<Self>) -> [u64; 4] {
        [pair(plain.src, plain.dst), plain.way(), plain.mac, ANY]
    }

    #[inline(always)]
    fn answering(plain: &PlainPacket<Self>, session: &Shared<Self>) -> [u64; 8] {
        let (ends, near) = (pair(plain.src, plain.dst), pair(session.src, session.dst));
        let [a, b, c, d] = session.rest;
        [ends, plain.way_back(), plain.mac, near, a, b, c, d]
    }

    #[inline(always)]
    fn plans(plans: &mut Plans) -> &mut FamilyPlans<Self> {
        &mut plans.of_four
    }

    #[inline(always)]
    fn key_of(_: &[u8], lane: &Lane) -> Option<Self::Key> {
        Some(lane.key)
    }

    #[inline(always)]
    fn is_plain(way: Way) -> bool {
        matches!(way, Way::Plain | Way::Opens)
    }

    #[inline(always)]
    fn head(bytes: &[u8]) -> Option<(&[u8; 12], u32)> {
        head::<{ short::L4 + 8 }>(bytes)
    }

    #[inline(always)]
    fn step(line: &Line<Self>, hot: &Hot, lane: &Lane) -> short::Step {
        short::Step::new(line, hot, lane)
    }

    #[inline(always)]
    fn write(step: &short::Step, frame: &mut Frame, lane: &Lane, _: &Self::Key) {
        step.write(frame, lane);
    }
}

impl Planned for u128 {
    // One word is no one's: hashes take them by pairs.
    type Opening = [u64; 8];
    type Answering = [u64; 14];
    type Step = short6::Step;
    const L4: usize = short6::L4;

    #[inline(always)]
    fn opening(plain: &PlainPacket<Self>) -> [u64; 8] {
        let ([a, b], [c, d]) = (halves(plain.src), halves(plain.dst));
        [a, b, c, d, plain.way(), plain.mac, 0, ANY]
    }

    #[inline(always)]
    fn answering(plain: &PlainPacket<Self>, session: &Shared<Self>) -> [u64; 14] {
        let ([a, b], [c, d]) = (halves(plain.src), halves(plain.dst));
        let ([e, f], [g, h]) = (halves(session.src), halves(session.dst));
        let [i, j, k, l] = session.rest;
        let back = plain.way_back();
        [a, b, c, d, back, plain.mac, e, f, g, h, i, j, k, l]
    }

    #[inline(always)]
    fn plans(plans: &mut Plans) -> &mut FamilyPlans<Self> {
        &mut plans.of_six
    }

    #[inline(always)]
    fn key_of(bytes: &[u8], lane: &Lane) -> Option<Self::Key> {
        short6::key_of(bytes, lane)
    }

    #[inline(always)]
    fn is_plain(way: Way) -> bool {
        matches!(way, Way::Six | Way::SixOpens)
    }

    #[inline(always)]
    fn head(bytes: &[u8]) -> Option<(&[u8; 12], u32)> {
        head::<{ short6::L4 + 8 }>(bytes)
    }

    #[inline(always)]
    fn step(line: &Line<Self>, hot: &Hot, lane: &Lane) -> short6::Step {
        short6::Step::new(line, hot, lane)
    }

    #[inline(always)]
    fn write(step: &short6::Step, frame: &mut Frame, _: &Lane, key: &Self::Key) {
        let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
        step.write(frame.bytes_mut(), key, partial);
    }
}

/// Two addresses in a word.
const fn pair(src: u32, dst: u32) -> u64 {
    (src as u64) << 32 | dst as u64
}

/// An address in two words.
const fn halves(address: u128) -> [u64; 2] {
    [(address >> 64) as u64, address as u64]
}

#[inline(always)]
fn head<const N: usize>(bytes: &[u8]) -> Option<(&[u8; 12], u32)> {
    let header = bytes.first_chunk::<N>()?;
    let number = header.last_chunk::<4>()?;
    Some((header.first_chunk()?, u32::from_be_bytes(*number)))
}
