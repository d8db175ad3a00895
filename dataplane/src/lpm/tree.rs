//! Static search trees over the starts of elementary intervals, one cache line
//! a node: 16 children, so 10 000 intervals are four lines deep.
//!
//! A tree looks at 32 bits of the address. An interval that is cut further down
//! leads to a subtree of the next 32 bits: IPv6 needs up to four of them, and
//! what is longer than /24 in a huge IPv4 table one.

use super::line::{CHILDREN, INNER_KEYS, Leaf, Line, PAD, code, turned, upright, value};
use super::{Key, NO_MATCH};

/// Where a tree begins, and how many lines a search reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Root(pub(super) u32);

impl Root {
    const DEPTH_BITS: u32 = 3;

    pub(super) const fn new(line: usize, depth: usize) -> Self {
        Self((line as u32) << Self::DEPTH_BITS | depth as u32)
    }

    /// Its first line.
    pub(super) const fn line(self) -> usize {
        (self.0 >> Self::DEPTH_BITS) as usize
    }

    /// Lines from there to a code, the leaf included.
    pub(super) const fn depth(self) -> usize {
        (self.0 & ((1 << Self::DEPTH_BITS) - 1)) as usize
    }
}

/// What an interval of one window leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A value, or [`NO_MATCH`].
    Value(u32),
    /// Cells from–to (exclusive) of the source cut it further.
    Cut(usize, usize),
}

/// How a stretch of addresses is numbered: by the 32 bits of a tree's window, or
/// by the /24 blocks of a huge table's bitmap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots<F> {
    /// The slot of an address.
    pub(super) of: F,
    /// The stretch's first slot and its last.
    pub(super) span: (u32, u32),
    /// Bits of an address that tell its slot, those before the stretch included.
    pub(super) bits: u8,
}

/// Cuts sorted cells into intervals of slots. All cells but the first lie in the
/// stretch; the first may begin earlier.
pub(super) fn parts<K: Key>(
    cells: &[(K, u32)],
    slots: Slots<impl Fn(K) -> u32>,
) -> Vec<(u32, Part)> {
    let mut out: Vec<(u32, Part)> = Vec::with_capacity(cells.len());
    let Some(&(_, background)) = cells.first() else {
        return out;
    };
    out.push((slots.span.0, Part::Value(background)));
    let mut at = 1;
    while let Some(&(start, _)) = cells.get(at) {
        let slot = (slots.of)(start);
        let own = cells.iter().skip(at);
        let group = own
            .take_while(|&&(start, _)| (slots.of)(start) == slot)
            .count();
        let whole = start.first(slots.bits) == start;
        let last = cells.get(at + group - 1).map_or(NO_MATCH, |cell| cell.1);
        if whole && group == 1 {
            put(&mut out, slot, Part::Value(last));
        } else {
            let from = if whole { at } else { at - 1 };
            put(&mut out, slot, Part::Cut(from, at + group));
            if slot < slots.span.1 {
                put(&mut out, slot + 1, Part::Value(last));
            }
        }
        at += group;
    }
    out
}

fn put(out: &mut Vec<(u32, Part)>, window: u32, part: Part) {
    if out.last().is_some_and(|&(start, _)| start == window) {
        out.pop();
    }
    if out.last().is_none_or(|&(_, held)| held != part) {
        out.push((window, part));
    }
}

/// Trees under construction, in one run of lines.
#[derive(Debug, Default)]
pub(super) struct Grove {
    pub(super) lines: Vec<Line>,
    /// Subtrees by number, as codes name them.
    pub(super) roots: Vec<Root>,
}

impl Grove {
    /// Plants the tree of `cells` at the window from `offset` on.
    pub(super) fn plant<K: Key, L: Leaf>(&mut self, cells: &[(K, u32)], offset: u8) -> Root {
        let below = offset.saturating_add(32);
        let slots = Slots {
            of: |key: K| key.window(offset),
            span: (0, u32::MAX),
            bits: below,
        };
        let coded: Vec<(u32, u32)> = parts(cells, slots)
            .into_iter()
            .map(|(start, part)| (start, self.code_of::<K, L>(part, cells, below)))
            .collect();
        self.grow::<L>(&coded)
    }

    /// The code of a part; plants what lies below it, at bit `below`.
    pub(super) fn code_of<K: Key, L: Leaf>(
        &mut self,
        part: Part,
        cells: &[(K, u32)],
        below: u8,
    ) -> u32 {
        match part {
            Part::Value(value) => code(value),
            Part::Cut(from, to) => {
                let cut = cells.get(from..to).unwrap_or_default();
                let root = self.plant::<K, L>(cut, below);
                self.roots.push(root);
                L::SUBTREE | (self.roots.len() - 1) as u32
            }
        }
    }

    /// Lays out one tree: level by level, the children of a node side by side.
    pub(super) fn grow<L: Leaf>(&mut self, coded: &[(u32, u32)]) -> Root {
        let leaves = coded.len().div_ceil(L::INTERVALS).max(1);
        let mut widths = vec![leaves];
        while let Some(&width) = widths.first().filter(|&&width| width > 1) {
            widths.insert(0, width.div_ceil(CHILDREN));
        }
        let root = Root::new(self.lines.len(), widths.len());
        // Leaves share the intervals evenly: none but a lone one begins at the
        // highest address, which inner nodes cannot tell from padding.
        let bound = |leaf: usize| leaf * coded.len() / leaves;
        let first = |leaf: usize| coded.get(bound(leaf)).map_or(PAD, |&(s, _)| turned(s));
        for (level, &width) in widths.iter().enumerate() {
            let next = self.lines.len() + width;
            // Leaves below one child of this level.
            let span = CHILDREN.pow((widths.len() - level).saturating_sub(2) as u32);
            for node in 0..width {
                let mut line = Line::EMPTY;
                if level + 1 == widths.len() {
                    let own = coded.get(bound(node)..bound(node + 1)).unwrap_or_default();
                    line = leaf::<L>(own);
                } else {
                    let children = widths.get(level + 1).copied().unwrap_or(0);
                    let from = node * CHILDREN;
                    for (place, child) in (from + 1..children.min(from + CHILDREN)).enumerate() {
                        line.0[place] = first(child * span);
                    }
                    line.0[INNER_KEYS] = (next + from) as i32;
                }
                self.lines.push(line);
            }
        }
        root
    }
}

/// A leaf of up to [`Leaf::INTERVALS`] intervals; the last code is repeated, for
/// padding counts as reached by the highest address.
pub(super) fn leaf<L: Leaf>(coded: &[(u32, u32)]) -> Line {
    let mut line = Line::EMPTY;
    let last = coded.last().map_or(0, |&(_, code)| code);
    for index in 0..L::INTERVALS {
        let held = coded.get(index).copied();
        if let (Some((start, _)), Some(place)) = (held, index.checked_sub(1)) {
            line.0[place] = turned(start);
        }
        L::set_code(&mut line, index, held.map_or(last, |(_, code)| code));
    }
    line
}

/// A grove to search, with the subtrees that its codes name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trees<'a> {
    pub(super) lines: &'a [Line],
    pub(super) roots: &'a [Root],
}

/// Where a search ended: the code, and between which starts of the window it
/// holds (`None`: to the window's end).
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) code: u32,
    pub(super) start: u32,
    pub(super) next: Option<u32>,
}

impl Trees<'_> {
    /// The value for `key`, which agrees with the trees' source in the bits
    /// before `offset`. One dependent load a level.
    pub(super) fn lookup<K: Key, L: Leaf>(&self, mut root: Root, key: K, mut offset: u8) -> u32 {
        loop {
            let code = self.descend::<L>(root, key.window(offset));
            if code & L::SUBTREE == 0 {
                return value(code);
            }
            root = self.subtree::<L>(code);
            offset = offset.saturating_add(32);
        }
    }

    /// The interval around `key`, no wider than the window that decides.
    pub(super) fn interval<K: Key, L: Leaf>(
        &self,
        mut root: Root,
        key: K,
        mut offset: u8,
    ) -> (K, K, u32) {
        loop {
            let found = self.find::<L>(root, key.window(offset));
            if found.code & L::SUBTREE == 0 {
                let first = key.with_window(offset, found.start);
                let last = match found.next {
                    Some(next) => key.with_window(offset, next).prev(),
                    None => key.last(offset),
                };
                return (first, last, value(found.code));
            }
            root = self.subtree::<L>(found.code);
            offset = offset.saturating_add(32);
        }
    }

    /// The subtree that `code` names.
    pub(super) fn subtree<L: Leaf>(&self, code: u32) -> Root {
        let number = (code & !L::SUBTREE) as usize;
        self.roots.get(number).copied().unwrap_or_default()
    }

    /// One window's code for `key`.
    pub(super) fn descend<L: Leaf>(&self, root: Root, key: u32) -> u32 {
        let inner = turned(key).min(PAD - 1);
        let mut at = root.line();
        for _ in 1..root.depth() {
            let Some(line) = self.lines.get(at) else {
                return 0;
            };
            at = line.child(line.rank(INNER_KEYS, inner));
        }
        let leaf = self.lines.get(at);
        leaf.map_or(0, |line| L::code(line, line.rank(L::KEYS, turned(key))))
    }

    /// The same, with the bounds of the interval.
    pub(super) fn find<L: Leaf>(&self, root: Root, key: u32) -> Found {
        let (mut start, mut next) = (0, None);
        let inner = turned(key).min(PAD - 1);
        let mut at = root.line();
        for level in 1..=root.depth() {
            let Some(line) = self.lines.get(at) else {
                break;
            };
            let is_leaf = level == root.depth();
            let keys = if is_leaf { L::KEYS } else { INNER_KEYS };
            let rank = line.rank(keys, if is_leaf { turned(key) } else { inner });
            let before = start;
            if let Some(&held) = rank.checked_sub(1).and_then(|below| line.0.get(below)) {
                start = upright(held);
            }
            let above = line.0.get(rank).filter(|_| rank < keys).copied();
            let is_key = |held: i32| {
                // A real start at the highest address has a code of its own.
                held != PAD || is_leaf && L::code(line, rank) != L::code(line, rank + 1)
            };
            if let Some(held) = above.filter(|&held| is_key(held)) {
                next = Some(upright(held));
            }
            if is_leaf {
                // The highest address counts padding as reached.
                if start == u32::MAX {
                    start = start_at_top::<L>(line, before);
                }
                let code = L::code(line, rank);
                return Found { code, start, next };
            }
            at = line.child(rank);
        }
        Found {
            code: 0,
            start,
            next,
        }
    }
}

/// Where the interval begins that holds at the highest address; `before` is
/// where the leaf's first one does.
fn start_at_top<L: Leaf>(line: &Line, before: u32) -> u32 {
    let below = line.rank(L::KEYS, PAD - 1);
    if L::code(line, below) != L::code(line, L::KEYS) {
        return u32::MAX;
    }
    let held = below.checked_sub(1).and_then(|place| line.0.get(place));
    held.map_or(before, |&held| upright(held))
}
