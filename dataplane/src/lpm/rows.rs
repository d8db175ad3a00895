//! Tables of a VPC's size: up to 104 intervals and 255 values, IPv4. The table itself has the
//! first keys of its lines, so that one address reads one line more. Many addresses at once are
//! searched in registers, sixteen at a time, once the rows are transposed: a register for each
//! of their lanes. With AVX2 their rows are found eight at a time, then each reads its own.
//!
//! ```text
//! line     two rows
//! row      6 keys ─────────────────── 7 codes of 8 bits           (1 byte unused)
//! ```
//!
//! The second row of a line has its own first key once more, and before it the code that the
//! first row ends with: so the number of keys of a line that are not above an address is the
//! place of its code, too.
//!
//! What is left over is [`PAD`]. No interval of such a table begins at the highest address,
//! which cannot be told from padding.

use super::NO_MATCH;
use super::line::{Byte, Leaf, Line, PAD, code, turned, upright, value};

/// Rows of a table.
pub(super) const ROWS: usize = 16;
/// Keys of a row.
pub(super) const KEYS: usize = 6;
/// Intervals of a line: of its first row, and of its second.
const INTERVALS: usize = FIRST + KEYS;
const FIRST: usize = KEYS + 1;
/// Lanes of a row: two are a line.
pub(super) const LANES: usize = 8;
/// Lines of a table.
pub(super) const LINES: usize = ROWS / 2;

/// A table of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rows<'a> {
    pub(super) lines: &'a [Line],
    pub(super) firsts: &'a Firsts,
}

/// The first keys of lines: eight lanes, the last of which is [`PAD`] in a table of rows.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Firsts {
    /// Of the second line of rows, and so on.
    pub(super) keys: [i32; LINES - 1],
    end: i32,
}

impl Firsts {
    /// What a table has that is no rows: it would count to [`LINES`], a line more than there is.
    pub(super) const NO_ROWS: Self = Self {
        keys: [i32::MIN; LINES - 1],
        end: i32::MIN,
    };

    /// How many are not above `key`, which is below [`PAD`].
    fn rank(&self, key: i32) -> usize {
        self.keys.iter().filter(|&&held| held <= key).count()
    }
}

/// The lines of a table of `cells`, and their first keys; `None` if they are too many, or too much.
pub(super) fn build(cells: &[(u32, u32)]) -> Option<(Firsts, Vec<Line>)> {
    let fits = |&(start, value): &(u32, u32)| {
        start != u32::MAX && (value == NO_MATCH || value <= Byte::VALUE_MAX)
    };
    if cells.len() > LINES * INTERVALS || !cells.iter().all(fits) {
        return None;
    }
    let mut lines = vec![Line::EMPTY; cells.len().div_ceil(INTERVALS)];
    let mut firsts = [PAD; LINES - 1];
    for (number, cells) in cells.chunks(INTERVALS).enumerate() {
        let (own, others) = cells.split_at_checked(FIRST).unwrap_or((cells, &[]));
        if let Some(before) = number.checked_sub(1) {
            *firsts.get_mut(before)? = turned(own.first()?.0);
        }
        let line = lines.get_mut(number)?;
        let (first, second) = line.0.split_at_mut(LANES);
        let starts = own.iter().skip(1).chain(others).map(|cell| cell.0);
        let places = first[..KEYS].iter_mut().chain(&mut second[..KEYS]);
        for (place, start) in places.zip(starts) {
            *place = turned(start);
        }
        put_codes(first, own.iter());
        put_codes(second, own.iter().skip(KEYS).chain(others));
    }
    let firsts = Firsts {
        keys: firsts,
        end: PAD,
    };
    Some((firsts, lines))
}

impl Rows<'_> {
    /// The value for `key`.
    pub(super) fn lookup(&self, key: u32) -> u32 {
        let key = turned(key).min(PAD - 1);
        let line = self.firsts.rank(key);
        let row = 2 * line + usize::from(self.lane(2 * line + 1, 0) <= key);
        self.value_at(row, self.place(row, key))
    }

    /// The first keys of all rows but the first one, and one more place.
    pub(super) fn first_keys(&self) -> [i32; ROWS] {
        let mut first = [PAD; ROWS];
        let (pairs, _) = first.as_chunks_mut();
        let next = self.firsts.keys.iter().chain([&PAD]);
        for (([second, next], line), held) in pairs.iter_mut().zip(self.lines).zip(next) {
            (*second, *next) = (line.0[LANES], *held);
        }
        first
    }

    /// How many of a row's keys are not above `key`.
    fn place(&self, row: usize, key: i32) -> usize {
        let is_reached = |&place: &usize| self.lane(row, place) <= key;
        (0..KEYS).filter(is_reached).count()
    }

    fn lane(&self, row: usize, place: usize) -> i32 {
        let line = self.lines.get(row / 2);
        line.and_then(|line| line.0.get(row % 2 * LANES + place))
            .copied()
            .unwrap_or(PAD)
    }

    fn value_at(&self, row: usize, place: usize) -> u32 {
        value((self.lane(row, KEYS + place / 4) as u32) >> (place % 4 * 8) & 0xff)
    }

    /// The first and last address around `key` with the same value, and that.
    pub(super) fn interval(&self, key: u32) -> (u32, u32, u32) {
        let key = turned(key).min(PAD - 1);
        let firsts = self.first_keys();
        let row = firsts.iter().filter(|&&held| held <= key).count();
        let place = self.place(row, key);
        let top = |place: usize| firsts.get(place).copied();
        let first = match (place.checked_sub(1), row.checked_sub(1)) {
            (Some(before), _) => self.lane(row, before),
            (None, Some(before)) => top(before).unwrap_or(PAD),
            (None, None) => turned(0),
        };
        let own = Some(self.lane(row, place)).filter(|&next| place < KEYS && next != PAD);
        let next = own.or_else(|| top(row).filter(|&next| row + 1 < ROWS && next != PAD));
        let last = next.map_or(u32::MAX, |next| upright(next) - 1);
        (upright(first), last, self.value_at(row, place))
    }
}

/// Fills the codes of a row.
fn put_codes<'a>(row: &mut [i32], cells: impl Iterator<Item = &'a (u32, u32)>) {
    let codes = row.get_mut(KEYS..LANES).unwrap_or_default();
    codes.fill(0);
    for (place, &(_, value)) in cells.enumerate() {
        if let Some(lane) = codes.get_mut(place / 4) {
            *lane |= (code(value) << (place % 4 * 8)) as i32;
        }
    }
}
