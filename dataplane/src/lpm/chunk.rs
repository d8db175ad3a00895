//! A chunk of a huge table: 65 536 slots, a /24 each, in groups of 64. An index names the
//! block of each group: a bit for each slot that says "the answer changes behind it", and behind
//! them the codes of the answers, the last one first. The number of bits from a slot on is the
//! place of its code, most often in the line that the bits are in. (From the last on, for a
//! shift by a slot's number counts so: it is in the address as it stands.)
//!
//! ```text
//! index   1024 × 16 bits: where each group's block is, in units of 8 bytes
//! block   bitmap (64 bits, the highest set) │ codes, 16 or 32 bits each
//! ```
//!
//! A block that fits a line lies in one, a longer one begins with one. Groups of one and the
//! same answer share a block.

use std::collections::HashMap;
use std::sync::Arc;

use super::line::{Leaf, Line};

/// Groups of a chunk, and the lines that their index takes.
pub(super) const GROUPS: usize = 1024;
pub(super) const INDEX_LINES: usize = GROUPS / 32;
/// Slots of a group.
const SLOTS: u32 = 64;
/// Units of a line.
const UNITS: usize = 8;

/// A chunk taken apart: neighbours that are alike are one.
pub(super) struct Chunk {
    bits: Box<[u64]>,
    codes: Vec<u32>,
}

/// The unit at which a group's block begins.
fn block_of(lines: &[Line], group: usize) -> usize {
    let lane = lines
        .get(group / 32)
        .and_then(|line| line.0.get(group % 32 / 2));
    (lane.map_or(0, |&lane| lane as u32) >> (group % 2 * 16) & 0xffff) as usize
}

/// The bitmap of a block: where answers end.
fn ends_of(lines: &[Line], block: usize) -> u64 {
    let lane = |n: usize| {
        let line = lines.get(block / UNITS);
        let lane = line.and_then(|line| line.0.get(block % UNITS * 2 + n));
        lane.map_or(0, |&lane| u64::from(lane as u32))
    };
    lane(1) << 32 | lane(0)
}

/// Where answers begin, from where they end in a group.
const fn starts(ends: u64) -> u64 {
    ends << 1 | 1
}

/// The bitmap of a block, told by where answers begin.
const fn ends(starts: u64) -> u64 {
    starts >> 1 | 1 << (SLOTS - 1)
}

/// The code at `place` of a block.
fn code_of<L: Leaf>(lines: &[Line], block: usize, place: usize) -> u32 {
    let bit = (block + 1) * 64 + place * L::CODE_BITS;
    let lane = lines
        .get(bit / 512)
        .and_then(|line| line.0.get(bit % 512 / 32));
    let lane = lane.map_or(0, |&lane| lane as u32);
    (lane >> (bit % 32)) & (u32::MAX >> (32 - L::CODE_BITS))
}

/// Bits up to `bit`, itself included.
const fn up_to(bit: u32) -> u64 {
    u64::MAX >> (63 - bit)
}

/// The code of a slot: two dependent loads, and sometimes a third.
pub(super) fn code_at<L: Leaf>(lines: &[Line], slot: u32) -> u32 {
    let block = block_of(lines, (slot / SLOTS) as usize);
    let from_here = ends_of(lines, block) >> (slot % SLOTS);
    let place = (from_here.count_ones() as usize).saturating_sub(1);
    code_of::<L>(lines, block, place)
}

/// The slot from which on the code of `slot` holds.
pub(super) fn first_of<L: Leaf>(lines: &[Line], slot: u32) -> u32 {
    let code = code_at::<L>(lines, slot);
    let mut slot = slot;
    loop {
        let block = block_of(lines, (slot / SLOTS) as usize);
        let bits = starts(ends_of(lines, block)) & up_to(slot % SLOTS);
        let first = slot / SLOTS * SLOTS + bits.checked_ilog2().unwrap_or(0);
        // A group repeats what held before it.
        let before = first.checked_sub(1).filter(|_| first.is_multiple_of(SLOTS));
        match before.filter(|&before| repeats::<L>(code, Some(code_at::<L>(lines, before)))) {
            Some(before) => slot = before,
            None => return first,
        }
    }
}

/// The first slot after `slot` with another code.
pub(super) fn next_of<L: Leaf>(lines: &[Line], slot: u32) -> Option<u32> {
    let code = code_at::<L>(lines, slot);
    let mut slot = slot;
    loop {
        let group = slot / SLOTS;
        let ends = ends_of(lines, block_of(lines, group as usize));
        let bits = starts(ends) & !up_to(slot % SLOTS);
        if bits != 0 {
            return Some(group * SLOTS + bits.trailing_zeros());
        }
        slot = (group + 1) * SLOTS;
        if slot as usize == GROUPS * SLOTS as usize {
            return None;
        }
        if !repeats::<L>(code_at::<L>(lines, slot), Some(code)) {
            return Some(slot);
        }
    }
}

/// Whether `code` need not be said again after `before`: each subtree is one of its own.
fn repeats<L: Leaf>(code: u32, before: Option<u32>) -> bool {
    before == Some(code) && code & L::SUBTREE == 0
}

/// Lines that blocks are laid down in, and the room that is left in them.
struct Room {
    lines: Vec<Line>,
    /// Units that are free at the end of a line, by their number.
    free: [Vec<usize>; UNITS],
}

impl Room {
    /// Where `units` units may go.
    fn take(&mut self, units: usize) -> usize {
        let fits = (units..UNITS).find_map(|left| Some((self.free.get_mut(left)?.pop()?, left)));
        let (at, left) = fits.unwrap_or_else(|| {
            let at = self.lines.len() * UNITS;
            let more = units.div_ceil(UNITS);
            let all = self.lines.len() + more;
            self.lines.resize(all, Line([0; 16]));
            (at, more * UNITS)
        });
        if let Some(free) = self.free.get_mut(left - units).filter(|_| left > units) {
            free.push(at + units);
        }
        at
    }

    /// Fills a unit.
    fn put(&mut self, unit: usize, held: u64) {
        let line = self.lines.get_mut(unit / UNITS);
        if let Some([low, high]) =
            line.and_then(|line| line.0.as_chunks_mut().0.get_mut(unit % UNITS))
        {
            (*low, *high) = (held as i32, (held >> 32) as i32);
        }
    }

    /// Lays down a block, told by where the answers begin; says where it is.
    fn block<L: Leaf>(&mut self, starts: u64, codes: &[u32]) -> usize {
        let each = 64 / L::CODE_BITS;
        let at = self.take(1 + codes.len().div_ceil(each));
        self.put(at, ends(starts));
        for (unit, codes) in codes.rchunks(each).enumerate() {
            let held = codes.iter();
            let held = held.fold(0, |held, &code| held << L::CODE_BITS | u64::from(code));
            self.put(at + 1 + unit, held);
        }
        at
    }

    /// Says where the block of a group is.
    fn index(&mut self, group: usize, block: usize) {
        let line = self.lines.get_mut(group / 32);
        if let Some(lane) = line.and_then(|line| line.0.get_mut(group % 32 / 2)) {
            *lane |= (block as i32) << (group % 2 * 16);
        }
    }
}

impl Chunk {
    /// Of (slot, code), ascending; the first slot is 0.
    pub(super) fn of(cells: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut made = Self {
            bits: vec![0; GROUPS].into(),
            codes: Vec::new(),
        };
        for (slot, code) in cells {
            made.set(slot, true);
            made.codes.push(code);
        }
        made
    }

    pub(super) fn take_apart<L: Leaf>(lines: &[Line]) -> Self {
        let mut apart = Self::of([].into_iter());
        for group in 0..GROUPS {
            let block = block_of(lines, group);
            let bits = starts(ends_of(lines, block));
            let codes = |from| {
                let places = (0..bits.count_ones() as usize - from).rev();
                places.map(|place| code_of::<L>(lines, block, place))
            };
            // Only the first may repeat what held before the group.
            let again = codes(0)
                .next()
                .is_some_and(|code| repeats::<L>(code, apart.codes.last().copied()));
            apart.codes.extend(codes(usize::from(again)));
            if let Some(held) = apart.bits.get_mut(group) {
                *held = bits & !u64::from(again);
            }
        }
        apart
    }

    pub(super) fn put_together<L: Leaf>(&self) -> Arc<[Line]> {
        let mut room = Room {
            lines: vec![Line([0; 16]); INDEX_LINES],
            free: Default::default(),
        };
        let mut even: HashMap<u32, usize> = HashMap::new();
        let (mut after, mut last) = (0, None);
        for (group, &bits) in self.bits.iter().enumerate() {
            // What holds when the group begins goes first.
            let from = if bits & 1 == 1 {
                after
            } else {
                after.max(1) - 1
            };
            after += bits.count_ones() as usize;
            let codes = self.codes.get(from..after).unwrap_or_default();
            let block = match codes {
                // Neighbours are alike more often than not.
                &[code] if last.is_some_and(|(held, _)| held == code) => {
                    last.map_or(0, |(_, at)| at)
                }
                &[code] => {
                    let at = *even
                        .entry(code)
                        .or_insert_with(|| room.block::<L>(1, &[code]));
                    last = Some((code, at));
                    at
                }
                codes => room.block::<L>(bits | 1, codes),
            };
            room.index(group, block);
        }
        room.lines.into()
    }

    /// Bits set below `slot`: the place of the first code at or after it.
    fn place(&self, slot: u32) -> usize {
        let (word, bit) = (slot as usize / 64, slot % 64);
        let before = self.bits.iter().take(word).map(|word| word.count_ones());
        let within = self
            .bits
            .get(word)
            .map_or(0, |word| word & ((1 << bit) - 1));
        (before.sum::<u32>() + within.count_ones()) as usize
    }

    fn has(&self, slot: u32) -> bool {
        let word = self.bits.get(slot as usize / 64);
        word.is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    fn set(&mut self, slot: u32, on: bool) {
        if let Some(word) = self.bits.get_mut(slot as usize / 64) {
            *word = *word & !(1 << (slot % 64)) | u64::from(on) << (slot % 64);
        }
    }

    fn clear(&mut self, first: u32, last: u32) {
        let (from, to) = (first as usize / 64, last as usize / 64);
        for (number, word) in self.bits.iter_mut().enumerate().take(to + 1).skip(from) {
            let low = if number == from {
                up_to(first % 64) >> 1
            } else {
                0
            };
            let high = if number == to { !up_to(last % 64) } else { 0 };
            *word &= low | high;
        }
    }

    /// From `first` to `last` the codes are `new` (slot, code) now.
    pub(super) fn splice<L: Leaf>(&mut self, first: u32, last: u32, new: &[(u32, u32)]) {
        let (from, to) = (self.place(first), self.place(last + 1));
        let before = from
            .checked_sub(1)
            .and_then(|at| self.codes.get(at))
            .copied();
        let held = to.checked_sub(1).and_then(|at| self.codes.get(at)).copied();
        self.clear(first, last);
        let mut codes = Vec::with_capacity(new.len() + 1);
        for &(slot, code) in new {
            if !repeats::<L>(code, codes.last().copied().or(before)) {
                codes.push(code);
                self.set(slot, true);
            }
        }
        // What held behind the stretch goes on to hold there.
        let ends_with = codes.last().copied().or(before);
        let mut to = to;
        let next = last + 1;
        if (next as usize) < GROUPS * SLOTS as usize {
            let follows = if self.has(next) {
                self.codes.get(to).copied()
            } else {
                held
            };
            let follows = follows.unwrap_or(0);
            to += usize::from(self.has(next));
            let cut = !repeats::<L>(follows, ends_with);
            self.set(next, cut);
            codes.extend(cut.then_some(follows));
        }
        self.codes.splice(from..to, codes);
    }
}
