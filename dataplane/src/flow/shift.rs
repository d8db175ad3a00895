//! Sequence numbers of a connection to whose client's stream a load balancer adds
//! a header: how the client counts, and how the target does.

use std::num::NonZeroU32;

/// The header's place in the stream. All numbers are modulo 2³².
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shift {
    /// Sequence number of the client's first byte, and of the header's.
    base: u32,
    /// Length of the header in bytes.
    len: u32,
    /// Whether numbers near `base` mean the stream's beginning: they come round
    /// again after 4 GiB.
    is_near: bool,
}

/// Beyond so many bytes the beginning is not spoken of any more. (No window is
/// larger, so what is spoken of moves in smaller steps.)
const FAR: u32 = 1 << 30;

/// What is left of a [`Shift`] when the target has the header: numbers differ by its
/// length, and nothing else is to be judged or remembered of them from one number on, as
/// the target counts. (A session's lines have that, in as many bytes: `note_shift`.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Settled(NonZeroU32);

impl Settled {
    /// How many numbers from there on: none of them is so far that the beginning is not
    /// spoken of any more.
    const COUNT: u32 = FAR - (1 << 8);

    /// From this number on; there is no zeroth.
    const fn new(from: u32) -> Self {
        Self(match NonZeroU32::new(from) {
            Some(from) => from,
            None => NonZeroU32::MIN,
        })
    }

    /// Back from [`Self::number`]; zero is none.
    #[inline(always)]
    pub(crate) const fn from_number(from: u32) -> Option<Self> {
        match NonZeroU32::new(from) {
            Some(from) => Some(Self(from)),
            None => None,
        }
    }

    /// The first number, which is not zero.
    pub(crate) const fn number(self) -> u32 {
        self.0.get()
    }

    /// Whether it is one of those numbers.
    #[inline(always)]
    pub(crate) const fn covers(self, number: u32) -> bool {
        number.wrapping_sub(self.0.get()) < Self::COUNT
    }
}

impl Shift {
    /// Of a stream that begins at `base` with a header of `len` bytes.
    pub const fn new(base: u32, len: u32) -> Self {
        Self {
            base,
            len,
            is_near: true,
        }
    }

    /// Where the stream begins.
    pub const fn base(&self) -> u32 {
        self.base
    }

    /// A number of the client's, as the target counts.
    pub const fn forward(&self, seq: u32) -> u32 {
        seq.wrapping_add(self.len)
    }

    /// A number of the target's, as the client counts: what lies within the header
    /// is the beginning, what lies before (the SYN) is what it was.
    pub const fn back(&self, seq: u32) -> u32 {
        if self.is_before(seq) {
            return seq;
        }
        seq.wrapping_add(self.missing(seq)).wrapping_sub(self.len)
    }

    /// How many bytes of the header an acknowledgement leaves unacknowledged.
    pub const fn missing(&self, ack: u32) -> u32 {
        let past = ack.wrapping_sub(self.base);
        if !self.is_near {
            0
        } else if self.is_before(ack) {
            self.len
        } else {
            self.len.saturating_sub(past)
        }
    }

    /// The window of an acknowledgement for the client: room that the rest of the
    /// header will take is none for its data. `scale` is the field's shift.
    pub const fn window(&self, ack: u32, window: u16, scale: u8) -> u16 {
        let room = (window as u32) << scale;
        (room.saturating_sub(self.missing(ack)) >> scale) as u16
    }

    /// The target acknowledges up to here.
    pub const fn acknowledged(&mut self, ack: u32) {
        if self.gets_far(ack) {
            self.is_near = false;
        }
    }

    /// Whether with this acknowledgement the beginning is not spoken of any more.
    pub const fn gets_far(&self, ack: u32) -> bool {
        let past = ack.wrapping_sub(self.base);
        self.is_near && FAR <= past && past < 2 * FAR
    }

    /// What is left of it when the target has the header, around a number as the target
    /// counts. `None` if there is no header.
    pub(crate) const fn settled(&self, number: u32) -> Option<Settled> {
        if self.len == 0 {
            return None;
        }
        Some(Settled::new(match self.is_near {
            true => self.base.wrapping_add(self.len),
            false => number.wrapping_sub(FAR / 2),
        }))
    }

    const fn is_before(&self, seq: u32) -> bool {
        self.is_near && (seq.wrapping_sub(self.base) as i32) < 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes of a stream in 64 bits, as sequence numbers.
    fn wire(base: u32, at: u64) -> u32 {
        base.wrapping_add(at as u32)
    }

    proptest! {
        /// Wherever the numbers begin and however often they come round: what the
        /// target acknowledges is what the client has sent, never more.
        #[test]
        fn acknowledgements_come_back_as_the_client_counts(
            base in prop_oneof![any::<u32>(), 0xffff_ff00u32..=u32::MAX],
            len in prop_oneof![Just(100u32), Just(124)],
            steps in prop::collection::vec(prop_oneof![0u64..300, 0u64..1 << 30], 1..40),
        ) {
            let mut shift = Shift::new(base, len);
            // Bytes that the target has acknowledged, header included.
            let mut acked = 0u64;
            for step in steps {
                acked += step;
                let ack = wire(base, acked);
                let data = acked.saturating_sub(len.into());
                prop_assert_eq!(shift.back(ack), wire(base, data), "acked {}", acked);
                prop_assert_eq!(
                    u64::from(shift.missing(ack)),
                    u64::from(len).saturating_sub(acked)
                );
                // The client's next byte, there and back again.
                prop_assert_eq!(shift.back(shift.forward(wire(base, data))), wire(base, data));
                shift.acknowledged(ack);
            }
        }

        /// Where only the length is left to add, that is all that there is to do.
        #[test]
        fn settled_numbers_differ_by_the_header_and_nothing_happens(
            base in prop_oneof![any::<u32>(), 0xffff_ff00u32..=u32::MAX],
            len in prop_oneof![Just(100u32), Just(124)],
            acked in prop_oneof![0u64..300, 0..3u64 << 30, 0..1u64 << 40],
            others in prop::collection::vec(prop_oneof![any::<u32>(), 0u32..400], 20),
        ) {
            let mut shift = Shift::new(base, len);
            for at in (0..=acked).step_by(1 << 29).chain([acked]) {
                shift.acknowledged(wire(base, at));
            }
            let ack = wire(base, acked);
            let settled = shift.settled(ack).unwrap();
            prop_assert_eq!(Settled::from_number(settled.number()), Some(settled));
            let is_plain = shift.missing(ack) == 0 && acked < u64::from(FAR / 2);
            prop_assert!(settled.covers(ack) || (!is_plain && shift.is_near) || ack == 0);
            for ack in others.into_iter().flat_map(|n| [n, wire(base, n.into()), wire(ack, n.into())]) {
                if settled.covers(ack) {
                    prop_assert_eq!(shift.back(ack), ack.wrapping_sub(len));
                    prop_assert_eq!((shift.missing(ack), shift.gets_far(ack)), (0, false));
                }
            }
            prop_assert_eq!(Shift::new(base, 0).settled(ack), None);
        }

        /// The right edge of the window is never beyond what the target takes.
        #[test]
        fn a_window_never_promises_room_that_the_header_takes(
            base in any::<u32>(), acked in 0u32..300, window in any::<u16>(), scale in 0u8..=14,
        ) {
            let shift = Shift::new(base, 100);
            let ack = base.wrapping_add(acked);
            let edge = u64::from(acked) + (u64::from(window) << scale);
            let told = u64::from(shift.back(ack).wrapping_sub(base))
                + (u64::from(shift.window(ack, window, scale)) << scale);
            prop_assert!(told + 100 <= edge.max(100), "{told} of {edge}");
            prop_assert!(edge.saturating_sub(100) < told + (1 << scale));
        }
    }

    #[test]
    fn what_lies_within_the_header_is_the_beginning() {
        let base = u32::MAX - 20;
        let shift = Shift::new(base, 100);
        assert_eq!(
            shift.back(base.wrapping_sub(1)),
            base.wrapping_sub(1),
            "the SYN"
        );
        for within in 0..=100 {
            assert_eq!(shift.back(base.wrapping_add(within)), base);
        }
        assert_eq!(shift.back(base.wrapping_add(101)), base.wrapping_add(1));
    }
}
