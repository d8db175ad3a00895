//! [`Lpm`]: the structure that fits the table's size, behind one set of calls.

use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use super::arena::Lines;
use super::direct::Direct;
use super::level::Usable;
use super::line::{self, Byte, Leaf, Line, Short, Wide, turned, value};
use super::rank::{self, Rank};
use super::rows::{self, Firsts, Rows};
use super::six::Six;
use super::tree::{Grove, Root, Trees};
use super::{Intervals, Key, Level, NO_MATCH};
use crate::flow::{Seed, Seeded};

/// The most intervals that fit registers.
pub(super) const TINY: usize = 32;
/// Lines of keys in a tiny table; one line of codes follows.
const TINY_KEY_LINES: usize = 2;
/// The most intervals for which a direct index is used.
const DIRECT_MAX: usize = 24_576;
/// Up to so many intervals an index has twice as many buckets: all of it is in the first cache.
const FEW_INTERVALS: usize = 4096;
/// The most intervals of an IPv6 table that is one grove of trees.
const GROVE_MAX: usize = 512;

/// A longest-prefix-match table from addresses to `u32` values. Immutable, and
/// cheap to clone: a change builds another one, or what differs of it.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Lpm<K> {
    pub(super) inner: Inner,
    family: PhantomData<K>,
}

/// A line: what is looked at first, whatever the structure is.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    /// Of rows; else [`Firsts::NO_ROWS`].
    pub(super) firsts: Firsts,
    /// Of rows and of what is [`Small`].
    lines: Option<Lines>,
    kind: Kind,
}

/// What the structure has beside these.
#[derive(Clone, Debug)]
enum Kind {
    Small(Root, Form),
    Rows,
    Grove(Arc<GroveTable>),
    Direct(Arc<Direct>),
    Rank(Arc<RankTable>),
    Six(Arc<Six>),
}

/// The structure of a table.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'a> {
    /// One run of lines.
    Small(Small<'a>),
    /// A VPC's, IPv4.
    Rows(Rows<'a>),
    /// Trees with subtrees (IPv6).
    Grove(&'a GroveTable),
    Direct(&'a Direct),
    Rank(&'a RankTable),
    /// Huge, IPv6.
    Six(&'a Six),
}

/// A small table without subtrees: its lines and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Small<'a> {
    pub(super) lines: &'a [Line],
    pub(super) root: Root,
    pub(super) form: Form,
}

/// How the leaves are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// Two lines of keys, one of 16-bit codes.
    Tiny,
    Byte,
    Short,
    Wide,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct GroveTable {
    pub(super) lines: Lines,
    pub(super) roots: Box<[Root]>,
    pub(super) root: Root,
    pub(super) form: Form,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct RankTable {
    pub(super) rank: Rank,
    pub(super) form: Form,
}

/// Which structure a table has; for reports and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// In registers.
    Tiny,
    /// Search tree.
    Tree,
    /// Direct index, then lines.
    Direct,
    /// Bitmap of changes and codes, in chunks.
    Rank,
}

impl<K: Key> Default for Lpm<K> {
    fn default() -> Self {
        Self::build([])
    }
}

/// Calls generic code with the leaf's type.
macro_rules! by_form {
    ($form:expr, $leaf:ident => $run:expr) => {
        match $form {
            Form::Byte => {
                type $leaf = Byte;
                $run
            }
            Form::Short | Form::Tiny => {
                type $leaf = Short;
                $run
            }
            Form::Wide => {
                type $leaf = Wide;
                $run
            }
        }
    };
}
pub(super) use by_form;

impl<K: Key> Lpm<K> {
    /// Builds from (address, length, value). Of equal prefixes the last counts;
    /// values must not be above [`super::VALUE_MAX`].
    pub fn build(routes: impl IntoIterator<Item = (K, u8, u32)>) -> Self {
        Self::from_intervals(&Intervals::build(routes))
    }

    /// Builds from intervals that cover the whole space.
    pub fn from_intervals(intervals: &Intervals<K>) -> Self {
        let cells = intervals.cells();
        let value_max = intervals.value_max();
        Self::of(match K::BITS {
            32 if cells.len() <= DIRECT_MAX => Inner::v4(&windows(cells), value_max),
            128 if cells.len() <= GROVE_MAX => Inner::grove(cells, value_max),
            _ => Inner::rank(cells, value_max),
        })
    }

    /// The value of the longest prefix that covers `key`, or [`NO_MATCH`].
    pub fn lookup(&self, key: K) -> u32 {
        match self.inner.view() {
            View::Small(small) => small.lookup(key),
            View::Rows(rows) => rows.lookup(key.window(0)),
            View::Grove(grove) => {
                by_form!(grove.form, L => grove.trees().lookup::<K, L>(grove.root, key, 0))
            }
            View::Direct(direct) => direct.lookup(key.window(0)),
            View::Rank(table) => by_form!(table.form, L => table.rank.lookup::<K, L>(key)),
            View::Six(table) => table.lookup(key),
        }
    }

    /// The first and last address around `key` with the same answer, and that
    /// answer. The intervals of a table do not overlap and do not depend on which
    /// of their addresses is asked for. Those of IPv4 tables are as wide as can be
    /// up to some ten thousand routes; wider ones are cut where the structure
    /// does: at a /8, and around a /24 (IPv6: any 32 bits) that is cut further.
    pub fn interval(&self, key: K) -> (K, K, u32) {
        match self.inner.view() {
            View::Small(small) => small.interval(key),
            View::Rows(rows) => {
                let (first, last, value) = rows.interval(key.window(0));
                (key.with_window(0, first), key.with_window(0, last), value)
            }
            View::Grove(grove) => {
                by_form!(grove.form, L => grove.trees().interval::<K, L>(grove.root, key, 0))
            }
            View::Direct(direct) => {
                let (first, last, value) = direct.interval(key.window(0));
                (key.with_window(0, first), key.with_window(0, last), value)
            }
            View::Rank(table) => by_form!(table.form, L => table.rank.interval::<K, L>(key)),
            View::Six(table) => table.interval(key),
        }
    }

    /// Looks up every key; `out[i]` is the answer for `keys[i]`. Surplus places
    /// on either side are left alone. Best with 16 keys or more at once.
    pub fn lookup_bulk(&self, keys: &[K], out: &mut [u32]) {
        self.bulk_with(Usable::in_use(), keys, out);
    }

    /// The same with no more than the instructions of `level`.
    pub fn lookup_bulk_at(&self, level: Level, keys: &[K], out: &mut [u32]) {
        self.bulk_with(Usable::at_most(level), keys, out);
    }

    /// The same with a level that the machine has.
    fn bulk_with(&self, level: Usable, keys: &[K], out: &mut [u32]) {
        let count = keys.len().min(out.len());
        let (Some(keys), Some(out)) = (keys.get(..count), out.get_mut(..count)) else {
            return;
        };
        #[cfg(target_arch = "x86_64")]
        if super::simd::bulk(level, &self.inner, keys, out) {
            return;
        }
        let _ = level;
        self.one_by_one(keys, out);
    }

    /// Where the machine has no AVX2. (On its own, so that what is fast needs no registers
    /// saved for it.)
    #[inline(never)]
    fn one_by_one(&self, keys: &[K], out: &mut [u32]) {
        let all = keys.iter().zip(&mut *out);
        match self.inner.view() {
            View::Small(small) if small.form == Form::Tiny => {
                all.for_each(|(key, out)| *out = small.in_tiny(*key));
            }
            View::Small(small) => by_form!(small.form, L => {
                all.for_each(|(key, out)| *out = small.in_tree::<K, L>(*key));
            }),
            View::Rows(rows) => {
                all.for_each(|(key, out)| *out = rows.lookup(key.window(0)));
            }
            View::Rank(table) => {
                by_form!(table.form, L => table.rank.lookup_all::<K, L>(keys, out))
            }
            _ => all.for_each(|(key, out)| *out = self.lookup(*key)),
        }
    }

    /// The stretch that has to be said anew when a prefix comes, goes or changes
    /// value; see [`Self::replaced`].
    pub fn stretch_of(address: K, len: u8) -> (K, K) {
        let len = len.min(rank::BELOW);
        (address.first(len), address.last(len))
    }

    /// This table with other answers between `span.0` and `span.1`, a stretch of
    /// [`Self::stretch_of`]: what is not touched is shared. `None` where it takes
    /// a new table: below some ten thousand routes that is the faster way.
    pub fn replaced(&self, span: (K, K), new: &Intervals<K>) -> Option<Self> {
        let table = match self.inner.view() {
            View::Rank(table) => table,
            View::Six(table) => {
                let six = table.replaced(span, new)?;
                return Some(Self::of(Kind::Six(Arc::new(six)).into()));
            }
            _ => return None,
        };
        let rank = by_form!(table.form, L => table.rank.replaced::<K, L>(span, new))?;
        let form = table.form;
        Some(Self::of(
            Kind::Rank(Arc::new(RankTable { rank, form })).into(),
        ))
    }

    fn of(inner: Inner) -> Self {
        Self {
            inner,
            family: PhantomData,
        }
    }

    /// Which structure this is.
    pub fn structure(&self) -> Structure {
        match self.inner.view() {
            View::Small(small) if small.form == Form::Tiny => Structure::Tiny,
            View::Small(_) | View::Rows(_) | View::Grove(_) => Structure::Tree,
            View::Direct(_) => Structure::Direct,
            View::Rank(_) | View::Six(_) => Structure::Rank,
        }
    }

    /// Bytes in use: the table itself, a line with what is looked at first, and elsewhere,
    /// reference counts included. What several tables share counts for each.
    pub fn memory(&self) -> usize {
        let lines = self.inner.lines.as_ref().map_or(0, Lines::memory);
        let elsewhere = match &self.inner.kind {
            Kind::Small(..) | Kind::Rows => 0,
            Kind::Grove(grove) => {
                let held = grove.lines.memory() + size_of_val(&*grove.roots);
                size_of::<GroveTable>() + held
            }
            Kind::Direct(direct) => size_of::<Direct>() + direct.memory(),
            Kind::Rank(table) => size_of::<RankTable>() + table.rank.memory(),
            Kind::Six(table) => size_of::<Six>() + table.memory(),
        };
        size_of::<Self>() + lines + elsewhere
    }

    /// Uses `other`'s memory if the two tables are equal; says whether it does now. (Those
    /// of which a change makes only a part anew are compared as they are laid out: after
    /// different changes equal routes may lie differently.)
    pub fn share(&mut self, other: &Self) -> bool {
        let equal = self.shares(other)
            || match (self.inner.view(), other.inner.view()) {
                (View::Small(own), View::Small(held)) => own == held,
                (View::Rows(own), View::Rows(held)) => own == held,
                (View::Grove(own), View::Grove(held)) => own == held,
                (View::Direct(own), View::Direct(held)) => own == held,
                (View::Rank(own), View::Rank(held)) => own == held,
                (View::Six(own), View::Six(held)) => own == held,
                _ => false,
            };
        if equal {
            self.inner = other.inner.clone();
        }
        equal
    }

    /// Whether the two use the same memory.
    pub fn shares(&self, other: &Self) -> bool {
        match (&self.inner.kind, &other.inner.kind) {
            (Kind::Grove(own), Kind::Grove(held)) => Arc::ptr_eq(own, held),
            (Kind::Direct(own), Kind::Direct(held)) => Arc::ptr_eq(own, held),
            (Kind::Rank(own), Kind::Rank(held)) => Arc::ptr_eq(own, held),
            (Kind::Six(own), Kind::Six(held)) => Arc::ptr_eq(own, held),
            _ => match (&self.inner.lines, &other.inner.lines) {
                (Some(own), Some(held)) => own.is(held),
                _ => false,
            },
        }
    }

    /// What equal tables have in common, and seldom others.
    pub fn fingerprint(&self) -> u64 {
        match self.inner.view() {
            View::Small(small) => print_of(&small),
            View::Rows(rows) => print_of(&rows),
            View::Grove(grove) => print_of(grove),
            View::Direct(direct) => print_of(direct),
            View::Rank(table) => table.rank.print(),
            View::Six(table) => table.print(),
        }
    }
}

/// What equal values have in common, and seldom others. All of a table, or of a chunk, is
/// read at each change of it: a fast hash.
pub(super) fn print_of(value: &impl Hash) -> u64 {
    Seeded(Seed(0)).hash_one(value)
}

/// IPv4 cells; an IPv6 key would lose bits.
fn windows<K: Key>(cells: &[(K, u32)]) -> Vec<(u32, u32)> {
    let cells = cells.iter();
    cells
        .map(|&(start, value)| (start.window(0), value))
        .collect()
}

fn form_for(value_max: u32) -> Form {
    match value_max {
        value if value <= Byte::VALUE_MAX => Form::Byte,
        value if value <= Short::VALUE_MAX => Form::Short,
        _ => Form::Wide,
    }
}

impl Inner {
    fn v4(cells: &[(u32, u32)], value_max: u32) -> Self {
        let form = form_for(value_max);
        // One line is less than a tiny table's three, and as fast.
        let lone = cells.len() <= Byte::INTERVALS && form == Form::Byte;
        if let Some(lines) = tiny(cells, value_max).filter(|_| !lone) {
            return Self::small(&lines, Root::default(), Form::Tiny);
        }
        if let Some((firsts, lines)) = rows::build(cells).filter(|_| !lone) {
            return Self {
                firsts,
                lines: Some(Lines::new(&lines)),
                kind: Kind::Rows,
            };
        }
        let leaf = by_form!(form, L => L::INTERVALS);
        // A tree of one inner node keeps that node in a register.
        if cells.len() > leaf * line::CHILDREN
            && let Some(direct) = Direct::build(cells, buckets(cells.len()))
        {
            return Kind::Direct(Arc::new(direct)).into();
        }
        let mut grove = Grove::default();
        let root = by_form!(form, L => grove.plant::<u32, L>(cells, 0));
        Self::small(&grove.lines, root, form)
    }

    fn rank<K: Key>(cells: &[(K, u32)], value_max: u32) -> Self {
        if K::BITS == 128
            && value_max <= Short::VALUE_MAX
            && let Some(six) = Six::build(cells)
        {
            return Kind::Six(Arc::new(six)).into();
        }
        let short = (value_max <= Short::VALUE_MAX).then(|| Rank::build::<K, Short>(cells));
        let (form, rank) = match short.flatten() {
            Some(rank) => (Form::Short, Some(rank)),
            None => (Form::Wide, Rank::build::<K, Wide>(cells)),
        };
        match rank {
            Some(rank) => Kind::Rank(Arc::new(RankTable { rank, form })).into(),
            None => Self::grove(cells, value_max),
        }
    }

    fn grove<K: Key>(cells: &[(K, u32)], value_max: u32) -> Self {
        let mut grove = Grove::default();
        // A code of 16 bits can name this many subtrees; each takes two cells.
        let short = value_max <= Short::VALUE_MAX && cells.len() < Short::SUBTREE as usize;
        let (form, root) = if short {
            (Form::Short, grove.plant::<K, Short>(cells, 0))
        } else {
            (Form::Wide, grove.plant::<K, Wide>(cells, 0))
        };
        if grove.roots.is_empty() {
            return Self::small(&grove.lines, root, form);
        }
        let table = GroveTable {
            lines: Lines::new(&grove.lines),
            roots: grove.roots.into(),
            root,
            form,
        };
        Kind::Grove(Arc::new(table)).into()
    }

    fn small(lines: &[Line], root: Root, form: Form) -> Self {
        Self {
            lines: Some(Lines::new(lines)),
            ..Kind::Small(root, form).into()
        }
    }

    #[inline]
    pub(super) fn view(&self) -> View<'_> {
        let lines = self.lines();
        match &self.kind {
            &Kind::Small(root, form) => View::Small(Small { lines, root, form }),
            Kind::Rows => View::Rows(Rows {
                lines,
                firsts: &self.firsts,
            }),
            Kind::Grove(table) => View::Grove(table),
            Kind::Direct(index) => View::Direct(index),
            Kind::Rank(table) => View::Rank(table),
            Kind::Six(table) => View::Six(table),
        }
    }

    #[inline]
    pub(super) fn lines(&self) -> &[Line] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// Where the lines begin, if there are any: a load and nothing else, where an empty slice
    /// would be one more case.
    #[inline]
    pub(super) fn start(&self) -> *const Line {
        self.lines
            .as_ref()
            .map_or(ptr::null(), |lines| lines.as_ptr())
    }
}

impl From<Kind> for Inner {
    fn from(kind: Kind) -> Self {
        Self {
            firsts: Firsts::NO_ROWS,
            lines: None,
            kind,
        }
    }
}

/// Buckets of a direct index: one for two intervals or so, a fifth of the table's memory; one
/// for each where the table is small.
fn buckets(intervals: usize) -> usize {
    match intervals {
        0..=FEW_INTERVALS => intervals.next_power_of_two(),
        _ => intervals.next_power_of_two() / 2,
    }
}

impl GroveTable {
    pub(super) fn trees(&self) -> Trees<'_> {
        Trees {
            lines: &self.lines,
            roots: &self.roots,
        }
    }
}

/// The lines of a tiny table; `None` if it is none.
fn tiny(cells: &[(u32, u32)], value_max: u32) -> Option<[Line; TINY_KEY_LINES + 1]> {
    if cells.len() > TINY || value_max >= u32::from(u16::MAX) {
        return None;
    }
    let mut lines = [Line::EMPTY, Line::EMPTY, Line([0; 16])];
    let last = cells.last()?.1;
    for place in 0..TINY {
        let cell = cells.get(place).copied();
        if let (Some((start, _)), Some(before)) = (cell, place.checked_sub(1)) {
            lines[before / 16].0[before % 16] = turned(start);
        }
        let code = line::code(cell.map_or(last, |(_, value)| value)) as i32;
        lines[2].0[place / 2] |= code << (place % 2 * 16);
    }
    Some(lines)
}

impl<'a> Small<'a> {
    /// Keys of a tiny table that are not above `key`; the last place is padding.
    fn tiny_rank(self, key: i32) -> usize {
        let lines = self.lines.iter().take(TINY_KEY_LINES);
        lines
            .map(|line| line.rank(16, key))
            .sum::<usize>()
            .min(TINY - 1)
    }

    fn tiny_code(self, place: usize) -> u32 {
        let line = self.lines.get(TINY_KEY_LINES);
        let lane = line.and_then(|line| line.0.get(place / 2));
        lane.map_or(0, |&lane| (lane as u32 >> (place % 2 * 16)) & 0xffff)
    }

    fn tiny_key(self, place: usize) -> Option<i32> {
        self.lines.get(place / 16)?.0.get(place % 16).copied()
    }

    pub(super) fn trees(self) -> Trees<'a> {
        Trees {
            lines: self.lines,
            roots: &[],
        }
    }

    pub(super) fn lookup<K: Key>(self, key: K) -> u32 {
        if self.form == Form::Tiny {
            return self.in_tiny(key);
        }
        by_form!(self.form, L => self.in_tree::<K, L>(key))
    }

    fn in_tiny<K: Key>(self, key: K) -> u32 {
        value(self.tiny_code(self.tiny_rank(turned(key.window(0)))))
    }

    fn in_tree<K: Key, L: Leaf>(self, key: K) -> u32 {
        self.trees().lookup::<K, L>(self.root, key, 0)
    }

    fn interval<K: Key>(self, key: K) -> (K, K, u32) {
        if self.form != Form::Tiny {
            return by_form!(self.form, L => self.trees().interval::<K, L>(self.root, key, 0));
        }
        let rank = self.tiny_rank(turned(key.window(0)));
        let code = self.tiny_code(rank);
        // Padding repeats the last code, real neighbours differ.
        let same = |&place: &usize| self.tiny_code(place) == code;
        let first = (0..=rank).rev().take_while(same).last().unwrap_or(rank);
        let last = (rank..TINY).take_while(same).last().unwrap_or(rank);
        let start = |place: usize| {
            let held = self.tiny_key(place.checked_sub(1)?)?;
            Some(key.with_window(0, line::upright(held)))
        };
        let first = start(first).unwrap_or(K::MIN);
        let next = if last + 1 < TINY {
            start(last + 1)
        } else {
            None
        };
        (first, next.map_or(K::MAX, K::prev), value(code))
    }
}

const _: () = assert!(value(0) == NO_MATCH);
// A line: what is searched first is fetched with the table.
const _: () = assert!(size_of::<Lpm<u32>>() == size_of::<Line>());
const _: () = assert!(size_of::<Lpm<u128>>() == size_of::<Line>());
