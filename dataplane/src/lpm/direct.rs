//! Tables of some hundred to some ten thousand routes, IPv4: the span of the routes in equal
//! buckets, two bytes each that name a line of narrow keys. A lookup reads one entry and one
//! line.
//!
//! Neighbouring buckets share a line while their intervals fit, so the lines stay full. A
//! key of a line has 16 bits: the number of a unit of addresses within the line's stretch of
//! 65 536 units, which no line with keys crosses. What differs within a unit (routes that are
//! longer than nearly all others) and a bucket of more intervals than a line holds have a
//! tree of whole addresses.

use super::NO_MATCH;
use super::line::{Leaf, Line, Short, code, value};
use super::narrow::{INTERVALS, Lines, Narrow};
use super::tree::{Grove, Part, Root, Slots, Trees, parts};

/// A table with a direct index over its leading bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Direct {
    /// Where the first bucket begins, before the first boundary: what lies below has the same
    /// answer.
    pub(super) low: u32,
    /// Where the last bucket ends: what lies above has the same answer.
    pub(super) high: u32,
    /// Bits of an address within its bucket.
    pub(super) shift: u32,
    /// Bits of an address within its unit.
    pub(super) unit: u32,
    /// The line of each bucket; those of later buckets are never before.
    pub(super) top: Box<[u16]>,
    pub(super) lines: Box<[Narrow]>,
    /// Where values do not fit codes: the values, by the number that stands for them.
    pub(super) values: Box<[u32]>,
    tree_lines: Box<[Line]>,
    tree_roots: Box<[Root]>,
}

/// Buckets that a stretch of 65 536 units has at most, as a power of two: lines are shared by
/// no more.
const SHARED: u32 = 6;
/// One boundary of so many may lie within a unit.
const RARE: usize = 32;

impl Direct {
    /// Builds from (start, value) with about `buckets` buckets; `None` when the table has too
    /// many lines or trees for a direct index.
    pub(super) fn build(cells: &[(u32, u32)], buckets: usize) -> Option<Self> {
        let (first, last) = (cells.get(1)?.0, cells.last()?.0);
        let shift = (0..32).find(|&shift| ((last - first) >> shift) < buckets.max(1) as u32)?;
        let low = first.checked_sub(1)? >> shift << shift;
        let high = last | ((1 << shift) - 1);
        let unit = unit_of(cells, shift);
        let (cells, values) = numbered(cells);
        let mut grove = Grove::default();
        let mut lines = Lines::default();
        let mut top = Vec::with_capacity(((high - low) >> shift) as usize + 1);
        let mut at = 1;
        for bucket in 0..=(high - low) >> shift {
            let begin = low + (bucket << shift);
            let end = begin + ((1u32 << shift) - 1);
            let inside = |&&(start, _): &&(u32, u32)| start <= end;
            let count = cells.get(at..)?.iter().take_while(inside).count();
            // What holds at the bucket's start goes first.
            let fits = cells.get(at).is_some_and(|&(start, _)| start == begin);
            let own = cells.get(if fits { at } else { at - 1 }..at + count)?;
            at += count;
            let slots = Slots {
                of: |key: u32| key >> unit,
                span: (begin >> unit, end >> unit),
                bits: (32 - unit) as u8,
            };
            let mut parts = parts(own, slots);
            if parts.len() > INTERVALS {
                parts = vec![(begin >> unit, Part::Cut(0, own.len()))];
            }
            let coded: Vec<(u32, u32)> = parts
                .into_iter()
                .map(|(slot, part)| (slot, grove.code_of::<u32, Short>(part, own, 0)))
                .collect();
            top.push(u16::try_from(lines.join(&coded)).ok()?);
        }
        let lines = lines.closed();
        if grove.roots.len() > Short::SUBTREE as usize {
            return None;
        }
        Some(Self {
            low,
            high,
            shift,
            unit,
            top: top.into(),
            lines: lines.into(),
            values,
            tree_lines: grove.lines.into(),
            tree_roots: grove.roots.into(),
        })
    }

    /// The bucket of an address, and its unit.
    fn place(&self, key: u32) -> (usize, u32) {
        let key = key.min(self.high).max(self.low);
        (((key - self.low) >> self.shift) as usize, key >> self.unit)
    }

    fn line(&self, bucket: usize) -> Option<&Narrow> {
        self.lines.get(usize::from(*self.top.get(bucket)?))
    }

    fn trees(&self) -> Trees<'_> {
        Trees {
            lines: &self.tree_lines,
            roots: &self.tree_roots,
        }
    }

    /// What a code that leads to a tree has for `key`.
    pub(super) fn below(&self, code: u32, key: u32) -> u32 {
        let trees = self.trees();
        trees.descend::<Short>(trees.subtree::<Short>(code), key)
    }

    /// The value that a code without tree stands for.
    pub(super) fn value(&self, code: u32) -> u32 {
        let number = value(code);
        if self.values.is_empty() {
            return number;
        }
        self.values
            .get(number as usize)
            .copied()
            .unwrap_or(NO_MATCH)
    }

    /// The value for `key`: an entry, then one line more often than not.
    pub(super) fn lookup(&self, key: u32) -> u32 {
        let (bucket, unit) = self.place(key);
        let code = self.line(bucket).map_or(0, |line| line.code(unit));
        if code & Short::SUBTREE == 0 {
            return self.value(code);
        }
        self.value(self.below(code, key))
    }

    /// The interval around `key`.
    pub(super) fn interval(&self, key: u32) -> (u32, u32, u32) {
        let (mut first, mut last, code) = self.piece(key);
        // A line or tree knows the starts within it; beyond, its neighbours go on.
        while let Some((before, _, held)) = first.checked_sub(1).map(|key| self.piece(key)) {
            if held != code {
                break;
            }
            first = before;
        }
        while let Some((_, after, held)) = last.checked_add(1).map(|key| self.piece(key)) {
            if held != code {
                break;
            }
            last = after;
        }
        (first, last, self.value(code))
    }

    /// The part of the interval around `key` that one line or tree knows, and the code.
    fn piece(&self, key: u32) -> (u32, u32, u32) {
        let (bucket, unit) = self.place(key);
        let Some((number, line)) = self.top.get(bucket).zip(self.line(bucket)) else {
            return (0, u32::MAX, 0);
        };
        let held = line.find(unit);
        let stretch = unit & !0xffff;
        let first = match held.first {
            Some(unit) => (stretch | unit) << self.unit,
            None => match self.top.partition_point(|entry| entry < number) {
                0 => 0,
                buckets => self.low + ((buckets as u32) << self.shift),
            },
        };
        let last = match held.last {
            Some(unit) => (stretch | unit) << self.unit | ((1 << self.unit) - 1),
            None => match self.top.partition_point(|entry| entry <= number) {
                buckets if buckets >= self.top.len() => u32::MAX,
                buckets => self.low + ((buckets as u32) << self.shift) - 1,
            },
        };
        if held.code & Short::SUBTREE == 0 {
            return (first, last, held.code);
        }
        let trees = self.trees();
        let found = trees.find::<Short>(trees.subtree::<Short>(held.code), key);
        let next = found.next.map_or(last, |next| next - 1);
        (found.start.max(first), next.min(last), found.code)
    }

    /// Heap bytes.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.top)
            + size_of_val(&*self.lines)
            + size_of_val(&*self.values)
            + size_of_val(&*self.tree_lines)
            + size_of_val(&*self.tree_roots)
    }
}

/// Bits of an address within a unit: as many as nearly all boundaries leave 0, so that many
/// buckets are one stretch.
fn unit_of(cells: &[(u32, u32)], shift: u32) -> u32 {
    // A bucket has 65 536 units at most.
    let least = shift.saturating_sub(16);
    let most = (least + SHARED).min(shift);
    let is_rare = |unit: &u32| {
        let within = |&&(start, _): &&(u32, u32)| start & ((1 << unit) - 1) != 0;
        cells.iter().filter(within).count() * RARE <= cells.len()
    };
    (least..=most).rev().find(is_rare).unwrap_or(least)
}

/// The cells with numbers instead of values that do not fit codes, and the values.
fn numbered(cells: &[(u32, u32)]) -> (Vec<(u32, u32)>, Box<[u32]>) {
    let held = cells.iter().map(|cell| cell.1);
    let mut values: Vec<u32> = held.filter(|&value| value != NO_MATCH).collect();
    if values.iter().all(|&value| value <= Short::VALUE_MAX) {
        return (cells.to_vec(), Box::default());
    }
    values.sort_unstable();
    values.dedup();
    let number = |value: u32| {
        let found = values.binary_search(&value);
        found.map_or(NO_MATCH, |number| number as u32)
    };
    let numbered = cells.iter().map(|&(start, held)| (start, number(held)));
    (numbered.collect(), values.into())
}

const _: () = assert!(code(NO_MATCH) == 0);
