//! One cache line of a search tree, in four forms.
//!
//! ```text
//! lane        0 … 6   7 … 9   10 11   12 … 14   15
//! inner node  15 keys ─────────────────────────  first child's line
//! byte leaf   12 keys ─────────────── 13 codes of 8 bits
//! short leaf  10 keys ──────── 11 codes of 16 bits
//! wide leaf   7 keys   8 codes of 32 bits ─────  (unused)
//! ```
//!
//! Keys are the starts of all intervals but the first, ascending; what is left
//! over is [`PAD`]. The number of keys that are not above the address looked for
//! is the number of the child or of the code. Keys are kept with the highest
//! bit turned, so that signed comparisons (all that AVX2 has) order them.
//!
//! A code is 0 for no match, or the value plus one, or with its highest bit the
//! number of a subtree that looks at the next 32 bits of the address.

use super::NO_MATCH;

/// A cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line(pub(super) [i32; 16]);

/// Fills the places of keys that are not there: the highest address.
pub(super) const PAD: i32 = i32::MAX;

/// Keys of an inner node.
pub(super) const INNER_KEYS: usize = 15;
/// Children of an inner node.
pub(super) const CHILDREN: usize = INNER_KEYS + 1;

/// As keys are kept.
pub(super) const fn turned(key: u32) -> i32 {
    (key ^ 0x8000_0000) as i32
}

/// As keys are meant.
pub(super) const fn upright(key: i32) -> u32 {
    key as u32 ^ 0x8000_0000
}

/// How a tree's leaves are laid out.
pub(super) trait Leaf {
    /// Keys in a line.
    const KEYS: usize;
    /// Intervals in a line.
    const INTERVALS: usize = Self::KEYS + 1;
    /// Set in the code of a subtree.
    const SUBTREE: u32;
    /// The largest value that fits.
    const VALUE_MAX: u32;
    /// Bits of a code.
    const CODE_BITS: usize;
    /// Byte at which the codes begin.
    const CODES_AT: usize = Self::KEYS * 4;

    /// The code of interval `index`.
    fn code(line: &Line, index: usize) -> u32 {
        let at = Self::CODES_AT * 8 + index * Self::CODE_BITS;
        let lane = line.0.get(at / 32).copied().unwrap_or(0) as u32;
        (lane >> (at % 32)) & (u32::MAX >> (32 - Self::CODE_BITS))
    }

    /// Sets the code of interval `index`.
    fn set_code(line: &mut Line, index: usize, code: u32) {
        let at = Self::CODES_AT * 8 + index * Self::CODE_BITS;
        let mask = (u32::MAX >> (32 - Self::CODE_BITS)) << (at % 32);
        if let Some(lane) = line.0.get_mut(at / 32) {
            *lane = (*lane as u32 & !mask | (code << (at % 32)) & mask) as i32;
        }
    }
}

/// Codes of 8 bits: tables of up to 255 values, without subtrees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Byte;

impl Leaf for Byte {
    const KEYS: usize = 12;
    const SUBTREE: u32 = 0x100;
    const VALUE_MAX: u32 = 0xfe;
    const CODE_BITS: usize = 8;
}

/// Codes of 16 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short;

impl Leaf for Short {
    const KEYS: usize = 10;
    const SUBTREE: u32 = 0x8000;
    const VALUE_MAX: u32 = 0x7ffe;
    const CODE_BITS: usize = 16;
}

/// Codes of 32 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide;

impl Leaf for Wide {
    const KEYS: usize = 7;
    const SUBTREE: u32 = 0x8000_0000;
    const VALUE_MAX: u32 = super::VALUE_MAX;
    const CODE_BITS: usize = 32;
}

/// The value that a code without subtree stands for.
pub(super) const fn value(code: u32) -> u32 {
    code.wrapping_sub(1)
}

/// The code of a value. Values that no table can hold match nothing.
pub(super) const fn code(value: u32) -> u32 {
    if value > super::VALUE_MAX {
        return 0;
    }
    value + 1
}

const _: () = assert!(value(code(NO_MATCH)) == NO_MATCH);

impl Line {
    pub(super) const EMPTY: Self = Self([PAD; 16]);

    /// How many of the first `keys` keys are not above `key`.
    pub(super) fn rank(&self, keys: usize, key: i32) -> usize {
        self.0.iter().take(keys).filter(|&&k| k <= key).count()
    }

    /// The line of child `index`.
    pub(super) fn child(&self, index: usize) -> usize {
        self.0[15] as u32 as usize + index
    }
}
