//! Huge tables: a bit for each /24 that says "the answer changes here", and the
//! codes of the answers one after another. The number of bits up to an address
//! is the place of its code: two dependent loads for most lookups.
//!
//! What differs within a /24 has a tree at bit 24 of the address: the long
//! prefixes of IPv4, most of IPv6. Nothing in it is limited but by memory.
//!
//! The space is kept in 256 chunks, one a value of the first eight bits, which
//! are shared between versions of the table: a change copies the chunks that it
//! touches.
//!
//! ```text
//! chunk   256 lines of words │ codes, 16 or 32 bits each
//! word    bitmap of 64 /24s (64 bits) │ codes before it, less one (32) │ unused (32)
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use super::line::{Leaf, Line, value};
use super::tree::{Grove, Root, Slots, Trees, parts};
use super::{Intervals, Key, NO_MATCH};

/// Chunks of a table.
pub(super) const CHUNKS: usize = 256;
/// Words of a chunk, and the lines that they take.
const WORDS: usize = 1024;
pub(super) const WORD_LINES: usize = WORDS / 4;
/// The bit of an address at which the trees begin.
pub(super) const BELOW: u8 = 24;
/// Lines of dead trees that a chunk may gather before it is made anew.
const DEAD_LINES: usize = 256;

/// A huge table.
#[derive(Clone, Debug)]
pub(super) struct Rank {
    /// Words and codes by chunk.
    pub(super) hot: Box<[Arc<[Line]>]>,
    /// Trees by chunk.
    pub(super) cold: Box<[Arc<Cold>]>,
}

/// The trees of a chunk.
#[derive(Debug, Default)]
pub(super) struct Cold {
    lines: Vec<Line>,
    roots: Vec<Root>,
    /// Lines that were alive when the chunk was last made anew.
    fresh: usize,
}

/// A chunk taken apart.
struct Chunk {
    bits: Box<[u64]>,
    codes: Vec<u32>,
}

/// A word's bitmap and the place of the code before its first bit.
fn word_of(lines: &[Line], word: usize) -> (u64, u32) {
    let Some(line) = lines.get(word / 4) else {
        return (0, 0);
    };
    let at = word % 4 * 4;
    let lane = |n: usize| line.0.get(at + n).map_or(0, |&lane| lane as u32);
    (u64::from(lane(1)) << 32 | u64::from(lane(0)), lane(2))
}

/// The code at `place`.
fn code_of<L: Leaf>(lines: &[Line], place: u32) -> u32 {
    let bit = place as usize * L::CODE_BITS;
    let line = lines.get(WORD_LINES + bit / 512);
    let lane = line.and_then(|line| line.0.get(bit % 512 / 32));
    let lane = lane.map_or(0, |&lane| lane as u32);
    (lane >> (bit % 32)) & (u32::MAX >> (32 - L::CODE_BITS))
}

/// Bits up to `bit`, itself included.
const fn up_to(bit: u32) -> u64 {
    u64::MAX >> (63 - bit)
}

impl Chunk {
    fn take_apart<L: Leaf>(lines: &[Line]) -> Self {
        let bits: Box<[u64]> = (0..WORDS).map(|word| word_of(lines, word).0).collect();
        let count: u32 = bits.iter().map(|word| word.count_ones()).sum();
        let codes = (0..count).map(|place| code_of::<L>(lines, place)).collect();
        Self { bits, codes }
    }

    fn put_together<L: Leaf>(&self) -> Arc<[Line]> {
        let code_lines = (self.codes.len() * L::CODE_BITS).div_ceil(512);
        let mut lines = vec![Line([0; 16]); WORD_LINES + code_lines];
        let mut before = 0u32;
        for (word, &bits) in self.bits.iter().enumerate() {
            let lanes = [bits as u32, (bits >> 32) as u32, before.wrapping_sub(1), 0];
            if let Some(line) = lines.get_mut(word / 4) {
                for (place, lane) in line.0.iter_mut().skip(word % 4 * 4).zip(lanes) {
                    *place = lane as i32;
                }
            }
            before += bits.count_ones();
        }
        for (place, &code) in self.codes.iter().enumerate() {
            let bit = place * L::CODE_BITS;
            let line = lines.get_mut(WORD_LINES + bit / 512);
            if let Some(lane) = line.and_then(|line| line.0.get_mut(bit % 512 / 32)) {
                *lane |= (code << (bit % 32)) as i32;
            }
        }
        lines.into()
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
    fn splice<L: Leaf>(&mut self, first: u32, last: u32, new: &[(u32, u32)]) {
        let (from, to) = (self.place(first), self.place(last + 1));
        let before = from
            .checked_sub(1)
            .and_then(|at| self.codes.get(at))
            .copied();
        let held = to.checked_sub(1).and_then(|at| self.codes.get(at)).copied();
        self.clear(first, last);
        let mut codes = Vec::with_capacity(new.len() + 1);
        let repeats =
            |code: u32, before: Option<u32>| before == Some(code) && code & L::SUBTREE == 0;
        for &(slot, code) in new {
            if !repeats(code, codes.last().copied().or(before)) {
                codes.push(code);
                self.set(slot, true);
            }
        }
        // What held behind the stretch goes on to hold there.
        let ends_with = codes.last().copied().or(before);
        let mut to = to;
        let next = last + 1;
        if next < (WORDS * 64) as u32 {
            let follows = if self.has(next) {
                self.codes.get(to).copied()
            } else {
                held
            };
            let follows = follows.unwrap_or(0);
            to += usize::from(self.has(next));
            let cut = !repeats(follows, ends_with);
            self.set(next, cut);
            codes.extend(cut.then_some(follows));
        }
        self.codes.splice(from..to, codes);
    }
}

/// Bits of a chunk's slots, from the slot's number in the table.
const SLOT_BITS: u32 = 16;

fn slots<K: Key>(first: u32, last: u32) -> Slots<impl Fn(K) -> u32> {
    Slots {
        of: |key: K| key.window(0) >> 8,
        span: (first, last),
        bits: BELOW,
    }
}

/// The first address of a slot.
fn address<K: Key>(slot: u32) -> K {
    K::MIN.with_window(0, slot << 8)
}

impl Rank {
    /// Builds from intervals of the whole space; `None` when the codes of `L`
    /// cannot name the subtrees of a chunk.
    pub(super) fn build<K: Key, L: Leaf>(cells: &[(K, u32)]) -> Option<Self> {
        let (mut hot, mut cold) = (Vec::with_capacity(CHUNKS), Vec::with_capacity(CHUNKS));
        // Chunks without a boundary are the same wherever they lie.
        let mut even: HashMap<u32, Arc<[Line]>> = HashMap::new();
        let empty = Arc::new(Cold::default());
        let mut at = 0;
        for chunk in 0..CHUNKS as u32 {
            let inside = |&(start, _): &(K, u32)| start.window(0) >> 24 <= chunk;
            let end = at + cells.get(at..)?.partition_point(inside);
            // The first cell may begin before the chunk, or with it.
            let begins = cells
                .get(at)
                .is_some_and(|&(start, _)| start == address(chunk << SLOT_BITS) && end > at);
            let own = cells.get(if begins { at } else { at.saturating_sub(1) }..end)?;
            at = end;
            if let [(_, value)] = own {
                let made = even.entry(*value).or_insert_with(|| {
                    let (hot, _) = chunk_of::<K, L>(chunk, own).unwrap_or_default();
                    hot
                });
                hot.push(made.clone());
                cold.push(empty.clone());
                continue;
            }
            let (made, trees) = chunk_of::<K, L>(chunk, own)?;
            hot.push(made);
            cold.push(Arc::new(trees));
        }
        Some(Self {
            hot: hot.into(),
            cold: cold.into(),
        })
    }

    /// The same table but for the stretch of `new`, which begins and ends with
    /// /24 blocks. `None` as with [`Rank::build`].
    pub(super) fn replaced<K: Key, L: Leaf>(
        &self,
        span: (K, K),
        new: &Intervals<K>,
    ) -> Option<Self> {
        if new.value_max() > L::VALUE_MAX {
            return None;
        }
        let mut next = self.clone();
        let (first, last) = (span.0.window(0) >> 8, span.1.window(0) >> 8);
        for chunk in first >> SLOT_BITS..=last >> SLOT_BITS {
            let from = first.max(chunk << SLOT_BITS);
            let to = last.min(chunk << SLOT_BITS | 0xffff);
            let start: K = address(from);
            let at = new.cells().partition_point(|&(s, _)| s <= start);
            let end = new
                .cells()
                .partition_point(|&(s, _)| s.window(0) >> 8 <= to);
            let own = new.cells().get(at.checked_sub(1)?..end)?;
            next.splice::<K, L>(chunk as usize, (from, to), own)?;
        }
        Some(next)
    }

    fn splice<K: Key, L: Leaf>(
        &mut self,
        chunk: usize,
        (from, to): (u32, u32),
        own: &[(K, u32)],
    ) -> Option<()> {
        let (hot, cold) = (self.hot.get_mut(chunk)?, self.cold.get_mut(chunk)?);
        let mut grove = Grove {
            lines: Vec::new(),
            roots: Vec::new(),
        };
        let parts = parts(own, slots::<K>(from, to));
        let cut = |part: &(u32, super::tree::Part)| matches!(part.1, super::tree::Part::Cut(..));
        if parts.iter().any(cut) {
            grove.lines.clone_from(&cold.lines);
            grove.roots.clone_from(&cold.roots);
        }
        let coded: Vec<(u32, u32)> = parts
            .into_iter()
            .map(|(slot, part)| (slot & 0xffff, grove.code_of::<K, L>(part, own, BELOW)))
            .collect();
        if grove.roots.len() > L::SUBTREE as usize {
            return None;
        }
        let mut apart = Chunk::take_apart::<L>(hot);
        apart.splice::<L>(from & 0xffff, to & 0xffff, &coded);
        *hot = apart.put_together::<L>();
        if !grove.roots.is_empty() {
            *cold = Arc::new(Cold {
                lines: grove.lines,
                roots: grove.roots,
                fresh: cold.fresh,
            });
        }
        // Trees that nothing leads to any more are left behind at some point.
        if cold.lines.len() > 2 * cold.fresh + DEAD_LINES {
            let cells = self.cells_of::<K, L>(chunk);
            let (hot, cold) = chunk_of::<K, L>(chunk as u32, &cells)?;
            *self.hot.get_mut(chunk)? = hot;
            *self.cold.get_mut(chunk)? = Arc::new(cold);
        }
        Some(())
    }

    /// The cells of a chunk, as it answers.
    fn cells_of<K: Key, L: Leaf>(&self, chunk: usize) -> Vec<(K, u32)> {
        let mut cells: Vec<(K, u32)> = Vec::new();
        let mut at: K = address((chunk as u32) << SLOT_BITS);
        loop {
            let (first, last, value) = self.interval::<K, L>(at);
            if cells.last().is_none_or(|&(_, held)| held != value) {
                cells.push((first, value));
            }
            match last.next() {
                Some(next) if (next.window(0) >> 24) as usize == chunk => at = next,
                _ => return cells,
            }
        }
    }

    /// The trees of the chunk that holds an address.
    pub(super) fn trees(&self, chunk: usize) -> Trees<'_> {
        let cold = self.cold.get(chunk);
        Trees {
            lines: cold.map_or(&[], |cold| &cold.lines),
            roots: cold.map_or(&[], |cold| &cold.roots),
        }
    }

    fn chunk<K: Key>(&self, key: K) -> (usize, &[Line]) {
        let chunk = (key.window(0) >> 24) as usize;
        (chunk, self.hot.get(chunk).map_or(&[], |lines| lines))
    }

    /// The value for `key`: two dependent loads, and a tree's below a /24.
    pub(super) fn lookup<K: Key, L: Leaf>(&self, key: K) -> u32 {
        let (chunk, lines) = self.chunk(key);
        let slot = key.window(0) >> 8 & 0xffff;
        let (bits, before) = word_of(lines, slot as usize / 64);
        let place = before.wrapping_add((bits & up_to(slot % 64)).count_ones());
        let code = code_of::<L>(lines, place);
        if code & L::SUBTREE == 0 {
            return value(code);
        }
        let trees = self.trees(chunk);
        trees.lookup::<K, L>(trees.subtree::<L>(code), key, BELOW)
    }

    /// The interval around `key`, within its first eight bits.
    pub(super) fn interval<K: Key, L: Leaf>(&self, key: K) -> (K, K, u32) {
        let (chunk, lines) = self.chunk(key);
        let slot = key.window(0) >> 8 & 0xffff;
        let (bits, before) = word_of(lines, slot as usize / 64);
        let place = before.wrapping_add((bits & up_to(slot % 64)).count_ones());
        let code = code_of::<L>(lines, place);
        if code & L::SUBTREE != 0 {
            let trees = self.trees(chunk);
            return trees.interval::<K, L>(trees.subtree::<L>(code), key, BELOW);
        }
        let base = (chunk as u32) << SLOT_BITS;
        let first = address(base | previous(lines, slot));
        let last = match next(lines, slot) {
            Some(next) => address::<K>(base | next).prev(),
            None => key.last(8),
        };
        (first, last, value(code))
    }

    /// Heap bytes; chunks that are the same count once.
    pub(super) fn memory(&self) -> usize {
        let mut seen: Vec<*const Line> = Vec::new();
        let mut bytes = size_of_val(&*self.hot) + size_of_val(&*self.cold);
        for lines in &self.hot {
            if !seen.contains(&lines.as_ptr()) {
                seen.push(lines.as_ptr());
                // The counts before the lines take one, by alignment.
                bytes += size_of_val(&**lines) + size_of::<Line>();
            }
        }
        let trees = self.cold.iter().filter(|cold| !cold.lines.is_empty());
        let tree = |cold: &Arc<Cold>| {
            size_of::<Cold>() + cold.lines.capacity() * 64 + cold.roots.capacity() * 4
        };
        bytes + trees.map(tree).sum::<usize>()
    }
}

/// The last slot up to `slot` with its bit set; the first of a chunk is.
fn previous(lines: &[Line], slot: u32) -> u32 {
    let mut word = slot as usize / 64;
    let mut bits = word_of(lines, word).0 & up_to(slot % 64);
    while bits == 0 && word > 0 {
        word -= 1;
        bits = word_of(lines, word).0;
    }
    word as u32 * 64 + bits.checked_ilog2().unwrap_or(0)
}

/// The first slot after `slot` with its bit set.
fn next(lines: &[Line], slot: u32) -> Option<u32> {
    let mut word = slot as usize / 64;
    let mut bits = word_of(lines, word).0 & !up_to(slot % 64);
    while bits == 0 {
        word += 1;
        if word == WORDS {
            return None;
        }
        bits = word_of(lines, word).0;
    }
    Some(word as u32 * 64 + bits.trailing_zeros())
}

/// One chunk from the cells in it, the first perhaps beginning before.
fn chunk_of<K: Key, L: Leaf>(chunk: u32, cells: &[(K, u32)]) -> Option<(Arc<[Line]>, Cold)> {
    let base = chunk << SLOT_BITS;
    let mut grove = Grove::default();
    let mut made = Chunk {
        bits: vec![0; WORDS].into(),
        codes: Vec::new(),
    };
    for (slot, part) in parts(cells, slots::<K>(base, base | 0xffff)) {
        made.set(slot & 0xffff, true);
        made.codes.push(grove.code_of::<K, L>(part, cells, BELOW));
    }
    if grove.roots.len() > L::SUBTREE as usize {
        return None;
    }
    grove.lines.shrink_to_fit();
    grove.roots.shrink_to_fit();
    let cold = Cold {
        fresh: grove.lines.len(),
        lines: grove.lines,
        roots: grove.roots,
    };
    Some((made.put_together::<L>(), cold))
}

const _: () = assert!(value(0) == NO_MATCH);
