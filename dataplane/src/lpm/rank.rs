//! Huge tables: a bit for each /24 behind which the answer changes, and the codes
//! of the answers one after another. The number of bits from an address on is
//! the place of its code (see `chunk`): two dependent loads for most lookups.
//!
//! What differs within a /24 has a tree at bit 24 of the address: the long
//! prefixes of IPv4, most of IPv6. Nothing in it is limited but by memory.
//!
//! The space is kept in 256 chunks, one a value of the first eight bits, which
//! are shared between versions of the table: a change copies the chunks that it
//! touches.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::chunk::{self, Chunk};
use super::line::{Leaf, Line, value};
use super::table::print_of;
use super::tree::{Grove, Root, Slots, Trees, parts};
use super::{Intervals, Key, NO_MATCH};

/// Chunks of a table.
pub(super) const CHUNKS: usize = 256;
/// The bit of an address at which the trees begin.
pub(super) const BELOW: u8 = 24;
/// Lines of dead trees that a chunk may gather before it is made anew.
const DEAD_LINES: usize = 256;

/// A huge table.
#[derive(Clone, Debug)]
pub(super) struct Rank {
    /// Index, bitmaps and codes by chunk.
    pub(super) hot: Box<[Arc<[Line]>]>,
    /// Trees by chunk.
    pub(super) cold: Box<[Arc<Cold>]>,
    /// Where the lines of each chunk in `hot` are: the addresses of what is never moved.
    pub(super) places: Box<[usize; CHUNKS]>,
    /// What equal chunks have in common, and seldom others.
    prints: Box<[u64; CHUNKS]>,
}

/// The trees of a chunk.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Cold {
    lines: Vec<Line>,
    roots: Vec<Root>,
    /// Lines that were alive when the chunk was last made anew.
    fresh: usize,
}

/// Where its chunks are is no part of what it is.
impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.prints == other.prints && self.hot == other.hot && self.cold == other.cold
    }
}

impl Eq for Rank {}

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
        let mut made = Self {
            hot: hot.into(),
            cold: cold.into(),
            places: Box::new([0; CHUNKS]),
            prints: Box::new([0; CHUNKS]),
        };
        made.note(0..=CHUNKS - 1);
        Some(made)
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
        let chunks = first >> SLOT_BITS..=last >> SLOT_BITS;
        for chunk in chunks.clone() {
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
        next.note(*chunks.start() as usize..=*chunks.end() as usize);
        Some(next)
    }

    /// Notes where chunks that were made lie, and what they have in common with equal ones.
    fn note(&mut self, chunks: RangeInclusive<usize>) {
        for chunk in chunks {
            let (hot, cold) = (self.hot.get(chunk), self.cold.get(chunk));
            let noted = (self.places.get_mut(chunk), self.prints.get_mut(chunk));
            if let ((Some(hot), Some(cold)), (Some(place), Some(print))) = ((hot, cold), noted) {
                *place = hot.as_ptr().expose_provenance();
                *print = print_of(&(hot, cold));
            }
        }
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
    #[inline(always)]
    pub(super) fn lookup<K: Key, L: Leaf>(&self, key: K) -> u32 {
        let (chunk, lines) = self.chunk(key);
        let slot = key.window(0) >> 8 & 0xffff;
        let code = chunk::code_at::<L>(lines, slot);
        if code & L::SUBTREE == 0 {
            return value(code);
        }
        let trees = self.trees(chunk);
        trees.lookup::<K, L>(trees.subtree::<L>(code), key, BELOW)
    }

    /// The same for each of `keys`. (On its own, so that the loop has all registers.)
    #[inline(never)]
    pub(super) fn lookup_all<K: Key, L: Leaf>(&self, keys: &[K], out: &mut [u32]) {
        for (key, out) in keys.iter().zip(out) {
            *out = self.lookup::<K, L>(*key);
        }
    }

    /// The interval around `key`, within its first eight bits.
    pub(super) fn interval<K: Key, L: Leaf>(&self, key: K) -> (K, K, u32) {
        let (chunk, lines) = self.chunk(key);
        let slot = key.window(0) >> 8 & 0xffff;
        let code = chunk::code_at::<L>(lines, slot);
        if code & L::SUBTREE != 0 {
            let trees = self.trees(chunk);
            return trees.interval::<K, L>(trees.subtree::<L>(code), key, BELOW);
        }
        let base = (chunk as u32) << SLOT_BITS;
        let first = address(base | chunk::first_of::<L>(lines, slot));
        let last = match chunk::next_of::<L>(lines, slot) {
            Some(next) => address::<K>(base | next).prev(),
            None => key.last(8),
        };
        (first, last, value(code))
    }

    /// What equal tables have in common, and seldom others.
    pub(super) fn print(&self) -> u64 {
        print_of(&self.prints)
    }

    /// Heap bytes; chunks that are the same count once.
    pub(super) fn memory(&self) -> usize {
        let mut seen: Vec<*const Line> = Vec::new();
        let mut bytes = size_of_val(&*self.hot) + size_of_val(&*self.cold);
        bytes += size_of_val(&*self.places) + size_of_val(&*self.prints);
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

/// One chunk from the cells in it, the first perhaps beginning before.
fn chunk_of<K: Key, L: Leaf>(chunk: u32, cells: &[(K, u32)]) -> Option<(Arc<[Line]>, Cold)> {
    let base = chunk << SLOT_BITS;
    let mut grove = Grove::default();
    let parts = parts(cells, slots::<K>(base, base | 0xffff)).into_iter();
    let made = Chunk::of(parts.map(|(slot, part)| {
        let code = grove.code_of::<K, L>(part, cells, BELOW);
        (slot & 0xffff, code)
    }));
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
