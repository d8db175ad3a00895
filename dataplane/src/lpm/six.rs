//! Huge IPv6 tables. The first 16 bits name a chunk: registries give addresses out of some
//! sixty. A chunk has a slot for each /32, in groups with blocks as in `chunk`. A /32 that is
//! cut further has a field: its 65 536 /48s in equal buckets, as many as it takes for a line of
//! narrow keys each, and their lines, which neighbours share. So all addresses take the same
//! steps: field, entry of the bucket, line. What differs within a /48 has a tree.
//!
//! A code from 0x8000 on is the number of a field in a block, and that of a tree in a line.
//!
//! Chunks are shared between versions of the table: a change copies the one that it touches.
//! Tables of larger values, or of more fields than codes can name, are `rank`'s.

use std::collections::HashMap;
use std::sync::Arc;

use super::chunk::{self, Chunk};
use super::line::{Leaf, Line, Short, value};
use super::narrow::{INTERVALS, Lines, Narrow};
use super::table::print_of;
use super::tree::{Grove, Part, Root, Slots, Trees, parts};
use super::{Intervals, Key, NO_MATCH};

/// In the code of a field or tree.
const FURTHER: u32 = Short::SUBTREE;
/// The bits of such a code that are its number.
pub(super) const NUMBER: u32 = FURTHER - 1;
/// Where fields begin to look at an address, and where trees do.
const FIELDS: u8 = 32;
const TREES: u8 = 48;
/// The most buckets of a field, as a power of two: each has as many units as a line intervals.
const BUCKETS: u32 = 12;
/// Lines that nothing leads to that a chunk may gather before it is made anew.
const DEAD_LINES: usize = 256;
/// Values of the first 16 bits.
const TOPS: usize = 1 << 16;

/// A huge IPv6 table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Six {
    /// The number of the chunk that has the addresses beginning with 16 bits.
    pub(super) map: Arc<[u16]>,
    /// Chunks by number.
    pub(super) homes: Box<[Home]>,
}

/// A chunk.
#[derive(Clone, Debug)]
pub(super) struct Home {
    /// Index and blocks.
    pub(super) lines: Arc<[Line]>,
    /// The value, where all of it has one.
    even: Option<u32>,
    pub(super) below: Arc<Below>,
    pub(super) places: Places,
    /// What equal chunks have in common, and seldom others.
    print: u64,
}

/// Where its parts are is no part of what it is.
impl PartialEq for Home {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
            && self.even == other.even
            && self.lines == other.lines
            && self.below == other.below
    }
}

impl Eq for Home {}

/// Where the parts of a chunk are: the addresses of what is never moved, as long as the chunk
/// holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) blocks: usize,
    pub(super) fields: usize,
    pub(super) entries: usize,
    pub(super) lines: usize,
}

/// What a chunk has below its slots; at least one of each, for whoever looks at many addresses
/// at once takes every step for all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Below {
    pub(super) fields: Vec<Field>,
    /// The line of each bucket, field by field.
    pub(super) entries: Vec<u16>,
    pub(super) lines: Vec<Narrow>,
    tree_lines: Vec<Line>,
    tree_roots: Vec<Root>,
    /// Lines that were alive when the chunk was last made anew.
    fresh: usize,
}

/// A /32 that is cut further: its first entry, and in the lowest five bits how many bits of a
/// unit are within a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Field(u32);

impl Field {
    fn new(entry: usize, shift: u32) -> Option<Self> {
        let entry = u32::try_from(entry).ok().filter(|&entry| entry < 1 << 27)?;
        Some(Self(entry << 5 | shift))
    }

    /// The first and the last unit of a unit's bucket.
    const fn bucket(self, unit: u32) -> (u32, u32) {
        let within = (1 << (self.0 & 31)) - 1;
        (unit & !within, unit | within)
    }

    /// The entry for a unit.
    pub(super) const fn entry(self, unit: u32) -> u32 {
        (self.0 >> 5) + (unit >> (self.0 & 31))
    }
}

fn top<K: Key>(key: K) -> usize {
    (key.window(0) >> 16) as usize
}

fn slot<K: Key>(key: K) -> u32 {
    key.window(0) & 0xffff
}

/// The 16 bits of an address that fields look at.
pub(super) fn unit<K: Key>(key: K) -> u32 {
    key.window(FIELDS) >> 16
}

/// The first address of a slot.
fn address<K: Key>(top: usize, slot: u32) -> K {
    K::MIN.with_window(0, (top as u32) << 16 | slot)
}

impl Default for Below {
    fn default() -> Self {
        Self {
            fields: vec![Field(16)],
            entries: vec![0],
            lines: vec![Narrow::of(&[])],
            tree_lines: Vec::new(),
            tree_roots: Vec::new(),
            fresh: 0,
        }
    }
}

impl Below {
    fn trees(&self) -> Trees<'_> {
        Trees {
            lines: &self.tree_lines,
            roots: &self.tree_roots,
        }
    }

    /// The line that has a unit of the field which `code` names.
    fn line(&self, code: u32, unit: u32) -> Option<&Narrow> {
        let field = self.fields.get((code & NUMBER) as usize)?;
        let entry = self.entries.get(field.entry(unit) as usize)?;
        self.lines.get(usize::from(*entry))
    }

    /// The units around one with the same code, as far as a line knows, and the code.
    fn find(&self, code: u32, unit: u32) -> Option<(u32, u32, u32)> {
        let field = *self.fields.get((code & NUMBER) as usize)?;
        let at = |unit: u32| self.entries.get(field.entry(unit) as usize);
        let number = at(unit)?;
        let held = self.lines.get(usize::from(*number))?.find(unit);
        let (mut first, mut last) = field.bucket(unit);
        while first > 0 && at(first - 1) == Some(number) {
            first = field.bucket(first - 1).0;
        }
        while last < 0xffff && at(last + 1) == Some(number) {
            last = field.bucket(last + 1).1;
        }
        let (first, last) = (held.first.unwrap_or(first), held.last.unwrap_or(last));
        Some((first, last, held.code))
    }

    /// The code of a part; lays down what it leads to. `None` when codes cannot name it.
    fn code_of<K: Key>(&mut self, part: Part, cells: &[(K, u32)]) -> Option<u32> {
        let (from, to) = match part {
            Part::Value(value) => return Some(super::line::code(value)),
            Part::Cut(from, to) => (from, to),
        };
        let cells = cells.get(from..to)?;
        let slots = Slots {
            of: unit::<K>,
            span: (0, 0xffff),
            bits: TREES,
        };
        let mut grove = Grove {
            lines: std::mem::take(&mut self.tree_lines),
            roots: std::mem::take(&mut self.tree_roots),
        };
        let coded: Vec<(u32, u32)> = parts(cells, slots)
            .into_iter()
            .map(|(unit, part)| (unit, grove.code_of::<K, Short>(part, cells, TREES)))
            .collect();
        (self.tree_lines, self.tree_roots) = (grove.lines, grove.roots);
        let field = self.fields.len();
        self.lay(&coded)?;
        let fits = field <= NUMBER as usize && self.tree_roots.len() <= FURTHER as usize;
        fits.then_some(FURTHER | field as u32)
    }

    /// Lays down a field of (unit, code).
    fn lay(&mut self, coded: &[(u32, u32)]) -> Option<()> {
        let shift = (16 - BUCKETS..=16).rev().find(|&shift| {
            let crowded = |own: &[(u32, u32)]| {
                let [(first, _), .., (last, _)] = own else {
                    return false;
                };
                // A bucket that does not begin with one of them has what came before, too.
                first >> shift == last >> shift
            };
            let begins =
                |own: &[(u32, u32)]| own.first().is_some_and(|cell| cell.0 % (1 << shift) == 0);
            !coded
                .windows(INTERVALS)
                .any(|own| crowded(own) && !begins(own))
                && !coded.windows(INTERVALS + 1).any(crowded)
        })?;
        self.fields.push(Field::new(self.entries.len(), shift)?);
        let mut lines = Lines::behind(std::mem::take(&mut self.lines));
        let buckets = 1 << (16 - shift);
        let (mut at, mut bucket, mut own) = (0, 0, Vec::with_capacity(INTERVALS));
        while bucket < buckets {
            let begin = bucket << shift;
            let inside = |cell: &&(u32, u32)| cell.0 >> shift == bucket;
            let added = coded.get(at..)?.iter().take_while(inside).count();
            own.clear();
            if added == 0 || coded.get(at)?.0 != begin {
                // What holds at the bucket's start goes first.
                own.push((begin, coded.get(at.checked_sub(1)?)?.1));
            }
            own.extend_from_slice(coded.get(at..at + added)?);
            at += added;
            let line = u16::try_from(lines.join(&own)).ok()?;
            // What it ends with goes on to where the next one begins.
            let next = coded.get(at).map_or(buckets, |cell| cell.0 >> shift);
            let again = next - bucket;
            self.entries
                .extend(std::iter::repeat_n(line, again as usize));
            bucket = next;
        }
        self.lines = lines.closed();
        Some(())
    }
}

impl Home {
    fn new(lines: Arc<[Line]>, even: Option<u32>, below: Arc<Below>) -> Self {
        let places = Places {
            blocks: lines.as_ptr().expose_provenance(),
            fields: below.fields.as_ptr().expose_provenance(),
            entries: below.entries.as_ptr().expose_provenance(),
            lines: below.lines.as_ptr().expose_provenance(),
        };
        Self {
            print: print_of(&(&lines, even, &below)),
            lines,
            even,
            below,
            places,
        }
    }

    /// One chunk from the cells in it, the first perhaps beginning before.
    fn of<K: Key>(top: usize, cells: &[(K, u32)]) -> Option<Self> {
        let mut below = Below::default();
        let base = (top as u32) << 16;
        let mut coded = Vec::new();
        for (slot, part) in parts(cells, slots::<K>(base, base | 0xffff)) {
            coded.push((slot & 0xffff, below.code_of(part, cells)?));
        }
        below.fields.shrink_to_fit();
        below.entries.shrink_to_fit();
        below.lines.shrink_to_fit();
        below.tree_lines.shrink_to_fit();
        below.tree_roots.shrink_to_fit();
        below.fresh = below.lines.len();
        let even = match cells {
            &[(_, value)] => Some(value),
            _ => None,
        };
        let lines = Chunk::of(coded.into_iter()).put_together::<Short>();
        Some(Self::new(lines, even, Arc::new(below)))
    }

    /// The same but for the slots of a stretch.
    fn replaced<K: Key>(&self, (from, to): (u32, u32), own: &[(K, u32)]) -> Option<Self> {
        let mut below = None;
        let mut coded = Vec::new();
        for (slot, part) in parts(own, slots::<K>(from, to)) {
            let code = match part {
                Part::Value(value) => super::line::code(value),
                Part::Cut(..) => below
                    .get_or_insert_with(|| Below::clone(&self.below))
                    .code_of(part, own)?,
            };
            coded.push((slot & 0xffff, code));
        }
        let mut apart = Chunk::take_apart::<Short>(&self.lines);
        apart.splice::<Short>(from & 0xffff, to & 0xffff, &coded);
        let below = below.map_or_else(|| self.below.clone(), Arc::new);
        Some(Self::new(apart.put_together::<Short>(), None, below))
    }
}

/// By the first 32 bits.
fn slots<K: Key>(first: u32, last: u32) -> Slots<impl Fn(K) -> u32> {
    Slots {
        of: |key: K| key.window(0),
        span: (first, last),
        bits: FIELDS,
    }
}

impl Six {
    /// Builds from intervals of the whole space; `None` when codes cannot name all.
    pub(super) fn build<K: Key>(cells: &[(K, u32)]) -> Option<Self> {
        let (mut map, mut homes) = (Vec::with_capacity(TOPS), Vec::new());
        // Chunks without a boundary are the same wherever they lie.
        let mut even: HashMap<u32, u16> = HashMap::new();
        let (mut at, mut number) = (0, 0);
        while number < TOPS {
            let inside = |cell: &&(K, u32)| top(cell.0) <= number;
            let end = at + cells.get(at..)?.iter().take_while(inside).count();
            let begins = cells
                .get(at)
                .is_some_and(|&(start, _)| start == address(number, 0) && end > at);
            let own = cells.get(if begins { at } else { at.checked_sub(1)? }..end)?;
            at = end;
            let next = u16::try_from(homes.len());
            let &[(_, value)] = own else {
                homes.push(Home::of(number, own)?);
                map.push(next.ok()?);
                number += 1;
                continue;
            };
            let held = match even.get(&value) {
                Some(held) => *held,
                None => {
                    homes.push(Home::of(number, own)?);
                    even.insert(value, next.ok()?);
                    next.ok()?
                }
            };
            // It holds to where the next cell begins.
            let to = cells.get(end).map_or(TOPS, |cell| top(cell.0));
            map.extend(std::iter::repeat_n(held, to - number));
            number = to;
        }
        Some(Self {
            map: map.into(),
            homes: homes.into(),
        })
    }

    /// The same table but for the stretch of `new`, which begins and ends with /32 blocks.
    /// `None` as with [`Six::build`].
    pub(super) fn replaced<K: Key>(&self, span: (K, K), new: &Intervals<K>) -> Option<Self> {
        if new.value_max() > Short::VALUE_MAX {
            return None;
        }
        let number = top(span.0);
        if number != top(span.1) {
            return Self::build(&self.with((K::MIN, K::MAX), span, new.cells()));
        }
        let held = *self.map.get(number)?;
        let home = self.homes.get(usize::from(held))?;
        let (from, to) = (span.0.window(0), span.1.window(0));
        let mut made = home.replaced((from, to), new.cells())?;
        // Lines that nothing leads to any more are left behind at some point.
        if made.below.lines.len() > 2 * made.below.fresh + DEAD_LINES {
            let all = (address::<K>(number, 0), address::<K>(number, 0).last(16));
            made = Home::of(number, &self.with(all, span, new.cells()))?;
        }
        let mut next = self.clone();
        let users = next.map.iter().filter(|&&number| number == held);
        if users.count() == 1 {
            *next.homes.get_mut(usize::from(held))? = made;
            return Some(next);
        }
        let mut map = next.map.to_vec();
        *map.get_mut(number)? = u16::try_from(next.homes.len()).ok()?;
        next.map = map.into();
        next.homes = next.homes.iter().cloned().chain([made]).collect();
        Some(next)
    }

    /// The cells from `all.0` to `all.1`, where `new` ones hold in a stretch.
    fn with<K: Key>(&self, all: (K, K), span: (K, K), new: &[(K, u32)]) -> Vec<(K, u32)> {
        let mut cells: Vec<(K, u32)> = Vec::new();
        let mut put = |start: K, value: u32| {
            if cells.last().is_none_or(|&(_, held)| held != value) {
                cells.push((start, value));
            }
        };
        // The interval around a key, and as many even chunks as follow it.
        let wide = |key: K| {
            let (first, last, value) = self.interval(key);
            let number = self.map.get(top(last)).copied();
            if self.home(key).is_none_or(|home| home.even.is_none()) {
                return (first, last, value);
            }
            let behind = self.map.get(top(last) + 1..).unwrap_or_default();
            let again = behind.iter().take_while(|&&next| Some(next) == number);
            (
                first,
                address::<K>(top(last) + again.count(), 0).last(16),
                value,
            )
        };
        let mut at = all.0;
        while at < span.0 {
            let (_, last, value) = wide(at);
            put(at, value);
            at = last.next().unwrap_or(K::MAX);
        }
        for &(start, value) in new {
            put(start, value);
        }
        let mut at = span.1.next();
        while let Some(start) = at.filter(|&start| start <= all.1) {
            let (_, last, value) = wide(start);
            put(start, value);
            at = last.next();
        }
        cells
    }

    fn home<K: Key>(&self, key: K) -> Option<&Home> {
        self.homes.get(usize::from(*self.map.get(top(key))?))
    }

    /// What a code of a tree has for `key`.
    pub(super) fn in_tree<K: Key>(&self, code: u32, key: K) -> u32 {
        let Some(home) = self.home(key) else {
            return NO_MATCH;
        };
        let trees = home.below.trees();
        trees.lookup::<K, Short>(trees.subtree::<Short>(code), key, TREES)
    }

    /// The value for `key`: three dependent loads, or six.
    pub(super) fn lookup<K: Key>(&self, key: K) -> u32 {
        let Some(home) = self.home(key) else {
            return NO_MATCH;
        };
        let mut code = chunk::code_at::<Short>(&home.lines, slot(key));
        if code & FURTHER != 0 {
            let line = home.below.line(code, unit(key));
            code = line.map_or(0, |line| line.code(unit(key)));
        }
        match code & FURTHER {
            0 => value(code),
            _ => self.in_tree(code, key),
        }
    }

    /// The interval around `key`, within its first 16 bits, or its /32.
    pub(super) fn interval<K: Key>(&self, key: K) -> (K, K, u32) {
        let Some(home) = self.home(key) else {
            return (K::MIN, K::MAX, NO_MATCH);
        };
        if let Some(value) = home.even {
            return (key.first(16), key.last(16), value);
        }
        let code = chunk::code_at::<Short>(&home.lines, slot(key));
        if code & FURTHER == 0 {
            let first = address(top(key), chunk::first_of::<Short>(&home.lines, slot(key)));
            let last = match chunk::next_of::<Short>(&home.lines, slot(key)) {
                Some(next) => address::<K>(top(key), next).prev(),
                None => key.last(16),
            };
            return (first, last, value(code));
        }
        let Some((first, last, code)) = home.below.find(code, unit(key)) else {
            return (key.first(FIELDS), key.last(FIELDS), NO_MATCH);
        };
        if code & FURTHER != 0 {
            let trees = home.below.trees();
            return trees.interval::<K, Short>(trees.subtree::<Short>(code), key, TREES);
        }
        let first = key.with_window(FIELDS, first << 16);
        let last = key.with_window(FIELDS, last << 16).last(TREES);
        (first, last, value(code))
    }

    /// What equal tables have in common, and seldom others.
    pub(super) fn print(&self) -> u64 {
        let mut all = 0;
        for home in &self.homes {
            all = print_of(&(all, home.print));
        }
        all
    }

    /// Heap bytes.
    pub(super) fn memory(&self) -> usize {
        // The counts before the lines take one, by alignment.
        let home = |home: &Home| {
            let below = &home.below;
            size_of_val(&*home.lines)
                + size_of::<Line>()
                + size_of::<Below>()
                + below.fields.capacity() * size_of::<Field>()
                + below.entries.capacity() * size_of::<u16>()
                + below.lines.capacity() * size_of::<Narrow>()
                + below.tree_lines.capacity() * size_of::<Line>()
                + below.tree_roots.capacity() * size_of::<Root>()
        };
        let homes = self.homes.iter().map(home);
        size_of_val(&*self.map) + size_of_val(&*self.homes) + homes.sum::<usize>()
    }
}
