//! Tables of a VPC's size: up to 112 intervals and 255 values, IPv4. One line of keys, then
//! rows of half a line:
//!
//! ```text
//! line 0   the first keys of rows 1 … 15                          (unused)
//! row      6 keys ─────────────────── 7 codes of 8 bits           (1 byte unused)
//! ```
//!
//! One address reads two lines. Many addresses at once are searched in registers, sixteen at
//! a time, once the rows are transposed: a register for each of their lanes.
//!
//! What is left over is [`PAD`]. No interval of such a table begins at the highest address,
//! which cannot be told from padding.

use std::sync::Arc;

use super::NO_MATCH;
use super::line::{Byte, Leaf, Line, PAD, code, turned, upright, value};

/// Rows of a table.
pub(super) const ROWS: usize = 16;
/// Keys of a row.
pub(super) const KEYS: usize = 6;
/// Intervals of a row.
const INTERVALS: usize = KEYS + 1;
/// Lanes of a row: two are a line.
pub(super) const LANES: usize = 8;

/// The lines of a table of `cells`; `None` if they are too many, or too much.
pub(super) fn build(cells: &[(u32, u32)]) -> Option<Arc<[Line]>> {
    let fits = |&(start, value): &(u32, u32)| {
        start != u32::MAX && (value == NO_MATCH || value <= Byte::VALUE_MAX)
    };
    if cells.len() > ROWS * INTERVALS || !cells.iter().all(fits) {
        return None;
    }
    let rows = cells.len().div_ceil(INTERVALS);
    let mut lines = vec![Line::EMPTY; 1 + rows.div_ceil(2)];
    for (row, cells) in cells.chunks(INTERVALS).enumerate() {
        if let Some(before) = row.checked_sub(1) {
            lines[0].0[before] = turned(cells.first()?.0);
        }
        let line = lines.get_mut(1 + row / 2)?;
        let lanes = line.0.get_mut(row % 2 * LANES..)?;
        lanes[KEYS..LANES].fill(0);
        for (place, &(start, value)) in cells.iter().enumerate() {
            if let Some(before) = place.checked_sub(1) {
                lanes[before] = turned(start);
            }
            lanes[KEYS + place / 4] |= (code(value) << (place % 4 * 8)) as i32;
        }
    }
    Some(lines.into())
}

/// Where an address is: its row, its place in it, and the key that it was looked up by.
fn find(lines: &[Line], key: u32) -> (usize, usize) {
    let key = turned(key).min(PAD - 1);
    let row = lines.first().map_or(0, |top| top.rank(ROWS - 1, key));
    (
        row,
        (0..KEYS)
            .filter(|&place| lane(lines, row, place) <= key)
            .count(),
    )
}

fn lane(lines: &[Line], row: usize, place: usize) -> i32 {
    let line = lines.get(1 + row / 2);
    line.and_then(|line| line.0.get(row % 2 * LANES + place))
        .copied()
        .unwrap_or(PAD)
}

fn value_at(lines: &[Line], row: usize, place: usize) -> u32 {
    value((lane(lines, row, KEYS + place / 4) as u32) >> (place % 4 * 8) & 0xff)
}

/// The value for `key`.
pub(super) fn lookup(lines: &[Line], key: u32) -> u32 {
    let (row, place) = find(lines, key);
    value_at(lines, row, place)
}

/// The first and last address around `key` with the same value, and that.
pub(super) fn interval(lines: &[Line], key: u32) -> (u32, u32, u32) {
    let (row, place) = find(lines, key);
    let top = |place: usize| lines.first().and_then(|top| top.0.get(place)).copied();
    let first = match (place.checked_sub(1), row.checked_sub(1)) {
        (Some(before), _) => lane(lines, row, before),
        (None, Some(before)) => top(before).unwrap_or(PAD),
        (None, None) => turned(0),
    };
    let own = Some(lane(lines, row, place)).filter(|&next| place < KEYS && next != PAD);
    let next = own.or_else(|| top(row).filter(|&next| row + 1 < ROWS && next != PAD));
    let last = next.map_or(u32::MAX, |next| upright(next) - 1);
    (upright(first), last, value_at(lines, row, place))
}
