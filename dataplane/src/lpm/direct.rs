//! Tables of some hundred to some ten thousand routes, IPv4: the span of the
//! routes in equal buckets, an entry of two bytes each that names the line (or
//! the small tree) to search. Most lookups read one entry and one line.
//!
//! Neighbouring buckets share a line while their intervals fit, so the lines
//! stay as full as a tree's.

use super::line::{Leaf, Line, code, value};
use super::tree::{Grove, Root, Trees, leaf};

/// A table with a direct index over its leading bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Direct {
    /// The first boundary: what lies below belongs to the first bucket.
    pub(super) low: u32,
    /// The last boundary: what lies above belongs to the last bucket.
    pub(super) high: u32,
    /// Bits of an address within its bucket.
    pub(super) shift: u32,
    /// A [`Root`] a bucket, packed: see [`Entry`].
    pub(super) top: Box<[Entry]>,
    pub(super) lines: Box<[Line]>,
}

/// A root in two bytes: the line and, in the two lowest bits, the depth less one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry(pub(super) u16);

impl Entry {
    fn new(root: Root) -> Option<Self> {
        let depth = root.depth().checked_sub(1).filter(|&depth| depth < 4)?;
        let packed = root.line().checked_mul(4)? + depth;
        Some(Self(u16::try_from(packed).ok()?))
    }

    pub(super) const fn line(self) -> usize {
        self.0 as usize >> 2
    }

    pub(super) const fn depth(self) -> usize {
        (self.0 as usize & 3) + 1
    }
}

/// A line that further buckets may join.
struct Open {
    coded: Vec<(u32, u32)>,
}

impl Direct {
    /// Builds from (start, value) with about `buckets` buckets; `None` when the
    /// table has too many lines for a direct index.
    pub(super) fn build<L: Leaf>(cells: &[(u32, u32)], buckets: usize) -> Option<Self> {
        let coded: Vec<(u32, u32)> = cells.iter().map(|&(s, v)| (s, code(v))).collect();
        let (low, high) = (coded.get(1)?.0, coded.last()?.0);
        let span = high - low;
        let shift = (0..32).find(|&shift| (span >> shift) < buckets.max(1) as u32)?;
        let mut grove = Grove::default();
        let mut top = Vec::with_capacity((span >> shift) as usize + 1);
        let mut open: Option<Open> = None;
        let mut at = 1;
        for bucket in 0..=span >> shift {
            let end = u64::from(low) + (u64::from(bucket + 1) << shift);
            let inside = |&&(start, _): &&(u32, u32)| u64::from(start) < end;
            let count = coded.get(at..)?.iter().take_while(inside).count();
            // What holds at the bucket's start goes first.
            let begin = u64::from(low) + (u64::from(bucket) << shift);
            let fits = coded.get(at).is_some_and(|&(s, _)| u64::from(s) == begin);
            let from = if fits && bucket > 0 { at } else { at - 1 };
            let own = coded.get(from..at + count)?;
            let added = coded.get(at..at + count)?;
            at += count;
            if own.len() > L::INTERVALS {
                close::<L>(&mut grove, open.take());
                top.push(Entry::new(grove.grow::<L>(own))?);
                continue;
            }
            match &mut open {
                Some(line) if line.coded.len() + count <= L::INTERVALS => {
                    line.coded.extend_from_slice(added);
                }
                _ => {
                    close::<L>(&mut grove, open.take());
                    let coded = own.to_vec();
                    open = Some(Open { coded });
                }
            }
            // The open line is the next to be laid down.
            top.push(Entry::new(Root::new(grove.lines.len(), 1))?);
        }
        close::<L>(&mut grove, open.take());
        Some(Self {
            low,
            high,
            shift,
            top: top.into(),
            lines: grove.lines.into(),
        })
    }

    fn bucket(&self, key: u32) -> usize {
        ((key.clamp(self.low, self.high) - self.low) >> self.shift) as usize
    }

    fn trees(&self) -> Trees<'_> {
        Trees {
            lines: &self.lines,
            roots: &[],
        }
    }

    fn root(&self, bucket: usize) -> Root {
        let entry = self.top.get(bucket).copied().unwrap_or(Entry(0));
        Root::new(entry.line(), entry.depth())
    }

    /// The value for `key`: an entry, then one line more often than not.
    pub(super) fn lookup<L: Leaf>(&self, key: u32) -> u32 {
        value(self.trees().descend::<L>(self.root(self.bucket(key)), key))
    }

    /// The interval around `key`.
    pub(super) fn interval<L: Leaf>(&self, key: u32) -> (u32, u32, u32) {
        let found = self.trees().find::<L>(self.root(self.bucket(key)), key);
        (self.first::<L>(key), self.last::<L>(key), value(found.code))
    }

    /// Where the interval around `key` begins. A line knows the starts within
    /// it; before them, the line before goes on.
    fn first<L: Leaf>(&self, mut key: u32) -> u32 {
        loop {
            let bucket = self.bucket(key);
            let found = self.trees().find::<L>(self.root(bucket), key);
            let line = self.root(bucket).line();
            let buckets = self.top.partition_point(|entry| entry.line() < line);
            let edge = match buckets {
                0 => 0,
                buckets => self.low + ((buckets as u32) << self.shift),
            };
            if found.start > edge || edge == 0 {
                return found.start;
            }
            if self.lookup::<L>(edge - 1) != value(found.code) {
                return edge;
            }
            key = edge - 1;
        }
    }

    /// Where it ends.
    fn last<L: Leaf>(&self, mut key: u32) -> u32 {
        loop {
            let bucket = self.bucket(key);
            let found = self.trees().find::<L>(self.root(bucket), key);
            if let Some(next) = found.next {
                return next - 1;
            }
            let line = self.root(bucket).line();
            let buckets = self.top.partition_point(|entry| entry.line() <= line);
            if buckets >= self.top.len() {
                return u32::MAX;
            }
            let edge = self.low + ((buckets as u32) << self.shift);
            if self.lookup::<L>(edge) != value(found.code) {
                return edge - 1;
            }
            key = edge;
        }
    }

    /// Heap bytes.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.top) + size_of_val(&*self.lines)
    }
}

fn close<L: Leaf>(grove: &mut Grove, open: Option<Open>) {
    if let Some(open) = open {
        grove.lines.push(leaf::<L>(&open.coded));
    }
}
