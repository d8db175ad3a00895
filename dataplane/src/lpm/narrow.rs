//! A cache line of narrow keys: up to 16 intervals of a stretch of 65 536 units.
//!
//! ```text
//! byte    0 … 29    30 31      32 … 63
//!         15 keys   (unused)   16 codes of 16 bits
//! ```
//!
//! A key is the last unit of an interval; the last interval has none. The number of keys below
//! the unit looked for is the place of its code. Places without a key hold [`PAD`], which is
//! below nothing. Keys are kept with the highest bit turned, so that signed comparisons (all
//! that AVX2 has) order them.
//!
//! Codes are those of [`Short`].

use super::line::{Leaf, Short};

/// A line of narrow keys.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Narrow {
    pub(super) keys: [i16; INTERVALS],
    pub(super) codes: [u16; INTERVALS],
}

/// Intervals in a line.
pub(super) const INTERVALS: usize = 16;

/// Where there is no key.
const PAD: i16 = i16::MAX;

/// As keys are kept: the lowest 16 bits of a unit's number.
pub(super) const fn turned(unit: u32) -> i16 {
    (unit as u16 ^ 0x8000) as i16
}

/// What is found for a unit: the code, and between which units of the stretch it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) code: u32,
    /// The first; `None`: from where the line begins.
    pub(super) first: Option<u32>,
    /// The last; `None`: to where the line ends.
    pub(super) last: Option<u32>,
}

impl Narrow {
    /// Of (unit, code), ascending, at most [`INTERVALS`]; the first begins with the line.
    pub(super) fn of(cells: &[(u32, u32)]) -> Self {
        let mut line = Self {
            keys: [PAD; INTERVALS],
            codes: [0; INTERVALS],
        };
        let starts = cells.iter().skip(1).map(|cell| cell.0);
        for (key, start) in line.keys.iter_mut().zip(starts) {
            *key = turned(start.wrapping_sub(1));
        }
        for (held, (_, code)) in line.codes.iter_mut().zip(cells) {
            *held = *code as u16;
        }
        line
    }

    /// How many keys are below `unit`.
    fn rank(&self, unit: u32) -> usize {
        let key = turned(unit);
        self.keys.iter().filter(|&&held| held < key).count()
    }

    /// The code of a unit.
    pub(super) fn code(&self, unit: u32) -> u32 {
        self.codes
            .get(self.rank(unit))
            .map_or(0, |&code| u32::from(code))
    }

    /// The code of a unit, and where it holds.
    pub(super) fn find(&self, unit: u32) -> Held {
        let rank = self.rank(unit);
        let key = |place: usize| {
            let held = self.keys.get(place).filter(|&&held| held != PAD);
            held.map(|&held| u32::from(held as u16 ^ 0x8000))
        };
        Held {
            code: self.code(unit),
            first: rank.checked_sub(1).and_then(key).map(|last| last + 1),
            last: key(rank),
        }
    }
}

/// Lines under construction.
#[derive(Default)]
pub(super) struct Lines {
    laid: Vec<Narrow>,
    /// (unit, code) of the line that further buckets may join, which is the next to be laid.
    open: Vec<(u32, u32)>,
}

impl Lines {
    /// Goes on behind lines that are there.
    pub(super) const fn behind(laid: Vec<Narrow>) -> Self {
        Self {
            laid,
            open: Vec::new(),
        }
    }

    /// The line of a bucket with intervals `own`, as (unit, code); says which.
    pub(super) fn join(&mut self, own: &[(u32, u32)]) -> usize {
        let (Some(&(begin, first)), Some(&(opened, held))) = (own.first(), self.open.last()) else {
            self.open.extend_from_slice(own);
            return self.laid.len();
        };
        let repeats = first == held && first & Short::SUBTREE == 0;
        let added = own.get(usize::from(repeats)..).unwrap_or_default();
        let even = self.open.len() + added.len() == 1;
        let near = begin >> 16 == opened >> 16;
        if even || near && self.open.len() + added.len() <= INTERVALS {
            self.open.extend_from_slice(added);
        } else {
            self.close();
            self.open.extend_from_slice(own);
        }
        self.laid.len()
    }

    fn close(&mut self) {
        self.laid.push(Narrow::of(&self.open));
        self.open.clear();
    }

    /// All lines.
    pub(super) fn closed(mut self) -> Vec<Narrow> {
        self.close();
        self.laid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_sixteen_intervals_to_the_ends_of_its_stretch() {
        let cells: Vec<(u32, u32)> = (0..16).map(|n| (0x2_0000 + n * 0x1000, n + 1)).collect();
        let line = Narrow::of(&cells);
        for (n, &(start, code)) in cells.iter().enumerate() {
            let next = cells.get(n + 1).map_or(0x3_0000, |cell| cell.0);
            for unit in [start, (start + next) / 2, next - 1] {
                let held = line.find(unit);
                assert_eq!((line.code(unit), held.code), (code, code), "{unit:x}");
                assert_eq!(held.first, (n > 0).then_some(start & 0xffff), "{unit:x}");
                let last = (n < 15).then(|| (next - 1) & 0xffff);
                assert_eq!(held.last, last, "{unit:x}");
            }
        }
        // The highest unit as an interval of its own.
        let line = Narrow::of(&[(0, 1), (0xffff, 2)]);
        assert_eq!((line.code(0xfffe), line.code(0xffff)), (1, 2));
        assert_eq!(Narrow::of(&[(5, 9)]).find(0xffff).first, None);
    }
}
