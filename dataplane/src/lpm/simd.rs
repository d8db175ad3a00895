//! Bulk lookups for AVX-512 and AVX2. Each has a scalar twin in safe code
//! (`Lpm::lookup`), which tests compare it with on every structure.
//!
//! A batch is walked level by level, sixteen keys at a time, so that the loads
//! of one level are in flight together. The instructions that pay are one
//! comparison of a whole line with a key and the count of the mask's bits.

// JUSTIFICATION: 16 keys compared in one instruction, and lines that are known to be there read
// without looking again. Against the safe kernels before, 2.4 ns became 0.8 for a table of
// 50 routes, 3.0 became 1.6 for 1 000, and 6.4 became 3.9 for 902 000 (suite `lpm`).
#![allow(unsafe_code, reason = "this module's one leaf of intrinsics")]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over lanes have a fixed length, and what adapters are made of has no wide registers"
)]

use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::Arc;

use super::direct::{Direct, Entry};
use super::line::{Byte, INNER_KEYS, Leaf, Line, PAD, Short, Wide, turned, upright, value};
use super::rank::{BELOW, CHUNKS, Rank, WORD_LINES};
use super::rows::{self, ROWS};
use super::table::{DirectTable, Form, Inner, Small, TINY, by_form};
use super::tree::{Root, Trees};
use super::{Key, Level, Lpm};

/// Keys that are walked together.
const LANES: usize = 16;
/// Twice as many, where one step is done for all by wide instructions: what follows waits for it.
const PAIR: usize = 2 * LANES;
/// The same in huge tables, where every step misses a cache.
const RANKED: usize = 32;
/// Keys of an inner node that are faster compared one by one than searched.
const FEW: usize = 7;

/// Looks `keys` up with the instructions of `level`, which the machine has;
/// false where no faster way than one by one is known.
pub(super) fn bulk<K: Key>(level: Level, inner: &Inner, keys: &[K], out: &mut [u32]) -> bool {
    debug_assert!(level <= Level::detect() && keys.len() == out.len());
    match level {
        Level::Scalar => false,
        // SAFETY: `level` is at most what the machine was found to have.
        Level::Avx2 => unsafe { avx2::bulk(inner, keys, out) },
        // SAFETY: as above.
        Level::Avx512 => unsafe { avx512::bulk(inner, keys, out) },
    }
}

/// Looks each key up in a table of its own; as [`bulk`].
pub(super) fn each<K: Key>(level: Level, tables: &[&Lpm<K>], keys: &[K], out: &mut [u32]) -> bool {
    debug_assert!(level <= Level::detect() && keys.len() == out.len());
    match level {
        Level::Scalar => false,
        // SAFETY: `level` is at most what the machine was found to have.
        Level::Avx2 => unsafe { avx2::each(tables, keys, out) },
        // SAFETY: as above.
        Level::Avx512 => unsafe { avx512::each(tables, keys, out) },
    }
}

/// Starts to load what `place` refers to.
fn prefetch<T>(place: &T) {
    // SAFETY: SSE is part of x86-64, and a prefetch of a reference that is alive
    // reads nothing that the program could see.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) }
}

/// The code of interval `rank` of a leaf.
fn code_at<L: Leaf>(line: &Line, rank: u32) -> u32 {
    let at = std::ptr::from_ref(line).cast::<u8>();
    let rank = rank as usize;
    debug_assert!(rank < L::INTERVALS);
    // SAFETY: a leaf has a code for each of 0..=KEYS, which all lie in its 64
    // bytes (see `line`), and `rank` counts at most KEYS bits; codes are aligned
    // to their size.
    unsafe {
        let codes = at.add(L::CODES_AT);
        match L::CODE_BITS {
            8 => u32::from(*codes.add(rank)),
            16 => u32::from(*codes.cast::<u16>().add(rank)),
            _ => *codes.cast::<u32>().add(rank),
        }
    }
}

/// `number`, and the compiler does not know that it is. Else it gathers lanes into wide
/// registers, only to take them out again: two instructions where a load or store is one.
#[inline]
fn lane(mut number: u32) -> u32 {
    // SAFETY: no instruction at all.
    unsafe {
        asm!("/* {0:e} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags))
    };
    number
}

/// The same of lanes that are in memory from here on.
#[inline]
fn laid_down<T>(lanes: &mut T) {
    // SAFETY: no instruction at all.
    unsafe {
        asm!("/* {0} */", in(reg) std::ptr::from_mut(lanes), options(nostack, preserves_flags))
    };
}

/// A line that a root, an inner node or an entry names.
#[inline]
fn line_at(lines: &[Line], at: u32) -> &Line {
    debug_assert!((at as usize) < lines.len());
    // SAFETY: structures cannot be changed, and their builders name no line that they have
    // not laid down: `Grove::grow` an inner node's children, and `Root`s and `Entry`s after
    // the lines. Debug builds check it, so every test and the fuzz target do.
    unsafe { lines.get_unchecked(at as usize) }
}

/// A row as `rows` describes it.
#[repr(C, align(32))]
struct Row {
    keys: [i32; rows::KEYS],
    codes: [u8; 8],
}

const _: () = assert!(size_of::<Row>() * 2 == size_of::<Line>());

/// Row `number` of a table's.
#[inline]
fn row_at(lines: &[Line], number: u32) -> &Row {
    debug_assert!(1 + number as usize / 2 < lines.len());
    // SAFETY: behind the first line lie rows, two a line; the first line has as many keys as
    // there are rows but one, and `number` counts of them. Checked in debug builds, as above.
    unsafe { row_behind(lines.as_ptr(), number) }
}

/// The same.
///
/// # Safety
/// `lines` are those of a table of rows that lives as long as is asked for, which has this row.
#[inline]
unsafe fn row_behind<'a>(lines: *const Line, number: u32) -> &'a Row {
    // SAFETY: the caller's. A row is half a line, of no larger alignment and of plain integers.
    unsafe { &*lines.add(1).cast::<Row>().add(number as usize) }
}

/// A row in a register.
#[target_feature(enable = "avx2")]
#[inline]
fn load_row(row: &Row) -> __m256i {
    // SAFETY: a row has 32 bytes and is aligned to 32.
    unsafe { _mm256_load_si256(std::ptr::from_ref(row).cast()) }
}

/// The entry of a bucket of a direct index.
#[inline]
fn entry_at(top: &[Entry], bucket: u32) -> &Entry {
    debug_assert!((bucket as usize) < top.len());
    // SAFETY: `Direct::build` makes an entry for each bucket from `low` to `high`, between which
    // keys are held. Checked in debug builds, as above.
    unsafe { top.get_unchecked(bucket as usize) }
}

/// A word of a huge table, as `rank` describes it.
#[repr(C, align(16))]
struct Word {
    bits: u64,
    before: u32,
    unused: u32,
}

const _: () = assert!(size_of::<Word>() * 4 == size_of::<Line>());

/// The lines of the chunk that has the addresses beginning with `top`.
#[inline]
fn chunk_at(hot: &[Arc<[Line]>; CHUNKS], top: u32) -> &[Line] {
    &hot[(top >> 24) as usize]
}

/// The word of a chunk for the addresses beginning with `top`.
#[inline]
fn word_at(lines: &[Line], top: u32) -> &Word {
    debug_assert!(WORD_LINES <= lines.len());
    // SAFETY: a chunk begins with a word for each value of the ten bits that are left of `top`,
    // four a line; a word is a quarter of a line, of no larger alignment and of plain integers.
    // Checked in debug builds, as above.
    unsafe {
        &*lines
            .as_ptr()
            .cast::<Word>()
            .add((top >> 14 & 0x3ff) as usize)
    }
}

/// The place of the code that a word has for the addresses beginning with `top`.
#[inline]
fn place(word: &Word, top: u32) -> u32 {
    // The slot's bit becomes the highest.
    let up_to = word.bits << (!(top >> 8) & 63);
    word.before.wrapping_add(up_to.count_ones())
}

/// The code at `place` of a chunk.
#[inline]
fn code_in<L: Leaf>(lines: &[Line], place: u32) -> *const u8 {
    debug_assert!(WORD_LINES * 64 + (place as usize + 1) * L::CODE_BITS / 8 <= lines.len() * 64);
    // SAFETY: behind the words lie the codes, as many as the words have bits, and `place` counts
    // such bits. Checked in debug builds, as above.
    unsafe {
        lines
            .as_ptr()
            .add(WORD_LINES)
            .cast::<u8>()
            .add(place as usize * (L::CODE_BITS / 8))
    }
}

/// Reads the code that [`code_in`] found.
#[inline]
fn read_code<L: Leaf>(at: *const u8) -> u32 {
    // SAFETY: the callers pass what `code_in` returned of a chunk that they still have; codes are
    // aligned to their size.
    unsafe {
        match L::CODE_BITS {
            8 => u32::from(*at),
            16 => u32::from(*at.cast::<u16>()),
            _ => *at.cast::<u32>(),
        }
    }
}

/// Starts to load what lies at `place`.
#[inline]
fn prefetch_at(place: *const u8) {
    // SAFETY: as for `prefetch`; a prefetch of any address is allowed.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
}

/// The number of the lowest bit that is set, which is not any more.
#[inline]
fn take_lowest(bits: &mut u32) -> usize {
    let lowest = bits.trailing_zeros() as usize & 31;
    *bits &= bits.wrapping_sub(1);
    lowest
}

/// The lowest `keys` bits.
const fn mask(keys: usize) -> u32 {
    (1 << keys) - 1
}

/// The same code for both sets of instructions; they differ in how a line is
/// compared with a key.
macro_rules! kernels {
    ($module:ident, $features:literal, $isa:ident, { $($special:item)* }) => {
        mod $module {
            use super::*;
            use super::$isa::{rank, row_rank};
            $($special)*

            #[target_feature(enable = $features)]
            pub(super) fn bulk<K: Key>(inner: &Inner, keys: &[K], out: &mut [u32]) -> bool {
                match (inner, K::as_v4(keys)) {
                    (Inner::Small(small), Some(keys)) => {
                        if !special(small, keys, out) {
                            by_form!(small.form, L => tree::<L>(&small.lines, small.root, keys, out));
                        }
                    }
                    (Inner::Direct(table), Some(keys)) => {
                        by_form!(table.form, L => direct::<L>(&table.index, keys, out));
                    }
                    (Inner::Small(small), None) => {
                        let trees = small.trees();
                        by_form!(small.form, L => grove::<K, L>(trees, small.root, keys, out));
                    }
                    (Inner::Grove(table), _) => {
                        let trees = table.trees();
                        by_form!(table.form, L => grove::<K, L>(trees, table.root, keys, out));
                    }
                    (Inner::Rank(table), _) => {
                        by_form!(table.form, L => ranked::<K, L>(&table.rank, keys, out));
                    }
                    (Inner::Direct(_), None) => return false,
                }
                true
            }

            /// Runs `search` over `N` keys at a time, the last ones filled up: loops
            /// of a fixed length need no checks. It is called at one place, so it is
            /// part of the loop.
            #[target_feature(enable = $features)]
            #[inline]
            fn by_groups<K: Key, const N: usize>(
                keys: &[K],
                out: &mut [u32],
                mut search: impl FnMut(&[K; N], &mut [u32; N]),
            ) {
                let (groups, rest) = keys.as_chunks::<N>();
                let (out, last) = out.as_chunks_mut::<N>();
                let (mut filled, mut answers) = ([K::MIN; N], [0; N]);
                if !rest.is_empty() {
                    filled[..rest.len()].copy_from_slice(rest);
                }
                for group in 0..groups.len() + usize::from(!rest.is_empty()) {
                    let (keys, out) = match (groups.get(group), out.get_mut(group)) {
                        (Some(keys), Some(out)) => (keys, out),
                        _ => (&filled, &mut answers),
                    };
                    search(keys, out);
                }
                if !rest.is_empty() {
                    last.copy_from_slice(&answers[..last.len()]);
                }
            }

            /// (Not `map`: what has no wide registers cannot become part of what has.)
            #[target_feature(enable = $features)]
            #[inline]
            fn all_turned<const N: usize>(keys: &[u32; N]) -> [i32; N] {
                let mut out = [0; N];
                for lane in 0..N {
                    out[lane] = turned(keys[lane]);
                }
                out
            }

            /// The answers for keys whose leaves are known. The loads do not wait for
            /// each other.
            #[target_feature(enable = $features)]
            #[inline]
            fn leaves<L: Leaf, const N: usize>(
                lines: &[Line],
                at: &[u32; N],
                keys: &[i32; N],
                out: &mut [u32; N],
            ) {
                for n in 0..N {
                    let line = line_at(lines, at[n]);
                    let code = code_at::<L>(line, rank(line, mask(L::KEYS), keys[n]));
                    out[n] = lane(value(code));
                }
            }

            /// One code; 1 dependent load a level.
            #[target_feature(enable = $features)]
            #[inline]
            fn descend<L: Leaf>(lines: &[Line], root: Root, key: u32) -> u32 {
                let key = turned(key);
                let mut at = root.line();
                for _ in 1..root.depth() {
                    let line = &lines[at];
                    at = line.child(rank(line, mask(INNER_KEYS), key.min(PAD - 1)) as usize);
                }
                let line = &lines[at];
                code_at::<L>(line, rank(line, mask(L::KEYS), key))
            }

            /// The value that a row has for a key.
            #[target_feature(enable = $features)]
            #[inline]
            fn row_value(row: &Row, key: i32) -> u32 {
                value(u32::from(row.codes[row_rank(row, key) as usize & 7]))
            }

            /// One tree, IPv4, level by level.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn tree<L: Leaf>(lines: &[Line], root: Root, keys: &[u32], out: &mut [u32]) {
                by_groups(keys, out, |keys: &[u32; LANES], out| {
                    let keys = all_turned(keys);
                    let mut at = [root.line() as u32; LANES];
                    for _ in 1..root.depth() {
                        for (key, at) in keys.iter().zip(&mut at) {
                            let line = line_at(lines, *at);
                            *at = line.child(rank(line, mask(INNER_KEYS), (*key).min(PAD - 1)) as usize) as u32;
                        }
                    }
                    leaves::<L, _>(lines, &at, &keys, out);
                });
            }

            /// Trees with subtrees.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn grove<K: Key, L: Leaf>(trees: Trees<'_>, root: Root, keys: &[K], out: &mut [u32]) {
                for (key, out) in keys.iter().zip(out) {
                    let (mut root, mut offset) = (root, 0);
                    let mut code = descend::<L>(trees.lines, root, key.window(offset));
                    while code & L::SUBTREE != 0 {
                        root = trees.subtree::<L>(code);
                        offset += 32;
                        code = descend::<L>(trees.lines, root, key.window(offset));
                    }
                    *out = value(code);
                }
            }

            /// A direct index: bucket, line, code.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn direct<L: Leaf>(index: &Direct, keys: &[u32], out: &mut [u32]) {
                let (low, high, shift) = (index.low, index.high.max(index.low), index.shift & 31);
                let (top, lines) = (&*index.top, &*index.lines);
                by_groups(keys, out, |keys: &[u32; PAIR], out| {
                    let mut bucket = [0; PAIR];
                    for lane in 0..PAIR {
                        bucket[lane] = (keys[lane].min(high).max(low) - low) >> shift;
                    }
                    let mut keys = all_turned(keys);
                    laid_down(&mut bucket);
                    laid_down(&mut keys);
                    let mut any = 0;
                    for first in (0..PAIR).step_by(8) {
                        for n in first..first + 8 {
                            let entry = lane(u32::from(entry_at(top, bucket[n]).0));
                            any |= entry;
                            let line = line_at(lines, entry >> 2);
                            let code = code_at::<L>(line, rank(line, mask(L::KEYS), keys[n]));
                            out[n] = lane(value(code));
                        }
                        any = lane(any);
                    }
                    // Some of these lines were no leaves: seldom, so what was read of them is
                    // thrown away.
                    if any & 3 != 0 {
                        climb::<L>(index, &bucket, &keys, out);
                    }
                });
            }

            /// The answers of buckets that have a tree.
            #[target_feature(enable = $features)]
            #[cold]
            fn climb<L: Leaf>(
                index: &Direct,
                bucket: &[u32; PAIR],
                keys: &[i32; PAIR],
                out: &mut [u32; PAIR],
            ) {
                for n in 0..PAIR {
                    let entry = entry_at(&index.top, bucket[n]);
                    if entry.depth() == 1 {
                        continue;
                    }
                    let mut line = line_at(&index.lines, entry.line() as u32);
                    for _ in 1..entry.depth() {
                        let rank = rank(line, mask(INNER_KEYS), keys[n].min(PAD - 1));
                        line = line_at(&index.lines, line.child(rank as usize) as u32);
                    }
                    let code = code_at::<L>(line, rank(line, mask(L::KEYS), keys[n]));
                    out[n] = value(code);
                }
            }

            /// A huge table: words, codes, and what goes on in trees.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn ranked<K: Key, L: Leaf>(table: &Rank, keys: &[K], out: &mut [u32]) {
                let Some(hot) = table.hot.first_chunk() else {
                    return;
                };
                by_groups(keys, out, |keys: &[K; RANKED], out| {
                    let mut any = 0;
                    if K::BITS == 32 {
                        for n in 0..RANKED {
                            let top = keys[n].window(0);
                            prefetch(word_at(chunk_at(hot, top), top));
                        }
                        let mut codes: [*const u8; RANKED] = [std::ptr::null(); RANKED];
                        for n in 0..RANKED {
                            let top = keys[n].window(0);
                            let lines = chunk_at(hot, top);
                            codes[n] = code_in::<L>(lines, place(word_at(lines, top), top));
                            prefetch_at(codes[n]);
                        }
                        for n in 0..RANKED {
                            let code = lane(read_code::<L>(codes[n]));
                            any = lane(any | code);
                            out[n] = value(code);
                        }
                    } else {
                        // Words and codes of IPv6 are near: what is far is what they lead to.
                        for n in 0..RANKED {
                            let top = keys[n].window(0);
                            let lines = chunk_at(hot, top);
                            let place = place(word_at(lines, top), top);
                            let code = lane(read_code::<L>(code_in::<L>(lines, place)));
                            any = lane(any | code);
                            out[n] = value(code);
                        }
                    }
                    if any & L::SUBTREE != 0 {
                        deeper::<K, L>(table, keys, out);
                    }
                });
            }

            /// The keys whose answers in `out` are subtrees still: a level of all of them at a
            /// time.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn deeper<K: Key, L: Leaf>(table: &Rank, keys: &[K; RANKED], out: &mut [u32; RANKED]) {
                let mut deep = 0;
                for n in 0..RANKED {
                    deep |= u32::from(out[n].wrapping_add(1) & L::SUBTREE != 0) << n;
                }
                let mut lines: [&[Line]; RANKED] = [&[]; RANKED];
                let (mut at, mut left, mut windows) = ([0; RANKED], [0; RANKED], [0; RANKED]);
                let mut levels = 0;
                let mut bits = deep;
                while bits != 0 {
                    let n = take_lowest(&mut bits);
                    let trees = table.trees((keys[n].window(0) >> 24) as usize);
                    let root = trees.subtree::<L>(out[n].wrapping_add(1));
                    lines[n] = trees.lines;
                    at[n] = root.line() as u32;
                    left[n] = root.depth() as u32 - 1;
                    windows[n] = turned(keys[n].window(BELOW));
                    levels |= 1 << left[n];
                    prefetch(line_at(lines[n], at[n]));
                }
                for level in 0..u32::ilog2(levels | 1) {
                    let mut bits = 0;
                    for n in 0..RANKED {
                        bits |= u32::from(left[n] > level) << n;
                    }
                    while bits != 0 {
                        let n = take_lowest(&mut bits);
                        let line = line_at(lines[n], at[n]);
                        let rank = rank(line, mask(INNER_KEYS), windows[n].min(PAD - 1));
                        at[n] = line.child(rank as usize) as u32;
                        prefetch(line_at(lines[n], at[n]));
                    }
                }
                let mut bits = deep;
                while bits != 0 {
                    let n = take_lowest(&mut bits);
                    let line = line_at(lines[n], at[n]);
                    let code = code_at::<L>(line, rank(line, mask(L::KEYS), windows[n]));
                    out[n] = value(code);
                    if code & L::SUBTREE != 0 {
                        // Longer than /56: few are.
                        let trees = table.trees((keys[n].window(0) >> 24) as usize);
                        out[n] = trees.lookup::<K, L>(trees.subtree::<L>(code), keys[n], BELOW + 32);
                    }
                }
            }

            /// Another table for each key.
            #[target_feature(enable = $features)]
            pub(super) fn each<K: Key>(tables: &[&Lpm<K>], keys: &[K], out: &mut [u32]) -> bool {
                let Some(keys) = K::as_v4(keys) else {
                    return false;
                };
                let batches = tables.chunks(PAIR).zip(keys.chunks(PAIR));
                for ((tables, keys), out) in batches.zip(out.chunks_mut(PAIR)) {
                    let whole = match (tables.as_array(), keys.as_array(), out.as_mut_array()) {
                        (Some(tables), Some(keys), Some(out)) => each_in_rows(tables, keys, out),
                        _ => false,
                    };
                    if !whole {
                        each_by_steps(tables, keys, out);
                    }
                }
                true
            }

            /// Tables that all are rows: what a machine full of VPCs has.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn each_in_rows<K: Key>(
                tables: &[&Lpm<K>; PAIR],
                keys: &[u32; PAIR],
                out: &mut [u32; PAIR],
            ) -> bool {
                let mut held: [*const Line; PAIR] = [std::ptr::null(); PAIR];
                for n in 0..PAIR {
                    let Inner::Small(Small { lines, form: Form::Rows, .. }) = &tables[n].inner else {
                        return false;
                    };
                    prefetch(line_at(lines, 0));
                    held[n] = lines.as_ptr();
                }
                let mut turned = all_turned(keys);
                for key in &mut turned {
                    *key = (*key).min(PAD - 1);
                }
                laid_down(&mut turned);
                let mut rows = [&NO_ROW; PAIR];
                for n in 0..PAIR {
                    // SAFETY: the tables that these are the lines of are borrowed, and have one
                    // line at least.
                    let top = unsafe { &*held[n] };
                    let number = rank(top, mask(ROWS - 1), turned[n]);
                    // SAFETY: as for `row_at`.
                    rows[n] = unsafe { row_behind(held[n], number) };
                    prefetch(rows[n]);
                }
                for n in 0..PAIR {
                    out[n] = lane(row_value(rows[n], turned[n]));
                }
                true
            }

            /// Tables of any kind: each step is taken for all of them before the next, so that
            /// the lines of one step are fetched together.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn each_by_steps<K: Key>(tables: &[&Lpm<K>], keys: &[u32], out: &mut [u32]) {
                let mut at: [At<'_>; PAIR] = [At::Elsewhere; PAIR];
                for (table, at) in tables.iter().zip(&mut at) {
                    match &table.inner {
                        Inner::Small(small) => {
                            let first = line_at(&small.lines, small.root.line() as u32);
                            prefetch(first);
                            if let Some(line) = small.lines.get(2).filter(|_| small.form == Form::Tiny) {
                                prefetch(line);
                            }
                            *at = At::Tree(first);
                        }
                        Inner::Direct(table) => {
                            prefetch(&**table);
                            *at = At::Index(&**table);
                        }
                        _ => {}
                    }
                }
                for ((table, key), at) in tables.iter().zip(keys).zip(&mut at) {
                    let key = turned(*key);
                    match (&table.inner, *at) {
                        (Inner::Small(small), At::Tree(first)) if small.form == Form::Rows => {
                            let rank = rank(first, mask(ROWS - 1), key.min(PAD - 1));
                            let row = row_at(&small.lines, rank);
                            prefetch(row);
                            *at = At::Row(row);
                        }
                        (Inner::Small(small), At::Tree(first)) => {
                            let mut line = first;
                            for _ in 1..small.root.depth() {
                                let rank = rank(line, mask(INNER_KEYS), key.min(PAD - 1));
                                line = line_at(&small.lines, line.child(rank as usize) as u32);
                            }
                            prefetch(line);
                            *at = At::Tree(line);
                        }
                        (_, At::Index(table)) => {
                            let index = &table.index;
                            let key = upright(key).clamp(index.low, index.high.max(index.low));
                            let bucket = (key - index.low) >> (index.shift & 31);
                            prefetch(entry_at(&index.top, bucket));
                            *at = At::Bucket(table, bucket);
                        }
                        _ => {}
                    }
                }
                for (key, at) in keys.iter().zip(&mut at) {
                    if let At::Bucket(table, bucket) = *at {
                        let entry = *entry_at(&table.index.top, bucket);
                        let mut line = line_at(&table.index.lines, entry.line() as u32);
                        for _ in 1..entry.depth() {
                            let rank = rank(line, mask(INNER_KEYS), turned(*key).min(PAD - 1));
                            line = line_at(&table.index.lines, line.child(rank as usize) as u32);
                        }
                        prefetch(line);
                        *at = At::Leaf(line, table.form);
                    }
                }
                for (((table, key), at), out) in tables.iter().zip(keys).zip(at).zip(out) {
                    let turned = turned(*key);
                    let (leaf, form) = match (&table.inner, at) {
                        (_, At::Row(row)) => {
                            *out = row_value(row, turned.min(PAD - 1));
                            continue;
                        }
                        (_, At::Leaf(leaf, form)) => (leaf, form),
                        (Inner::Small(small), At::Tree(leaf)) if small.form != Form::Tiny => (leaf, small.form),
                        (Inner::Small(small), _) => {
                            *out = small.lookup(*key);
                            continue;
                        }
                        _ => {
                            *out = table.lookup(K::MIN.with_window(0, *key));
                            continue;
                        }
                    };
                    let code = by_form!(form, L => code_at::<L>(leaf, rank(leaf, mask(L::KEYS), turned)));
                    *out = value(code);
                }
            }
        }
    };
}

/// How far one of many lookups is.
#[derive(Clone, Copy)]
enum At<'a> {
    /// In a structure that is searched at once.
    Elsewhere,
    /// A line of a small table.
    Tree(&'a Line),
    /// A row of one.
    Row(&'a Row),
    /// A table with a direct index, and the bucket of it.
    Index(&'a DirectTable),
    Bucket(&'a DirectTable, u32),
    /// The last line, and what it is.
    Leaf(&'a Line, Form),
}

/// Where no row is known yet.
static NO_ROW: Row = Row {
    keys: [PAD; rows::KEYS],
    codes: [0; 8],
};

/// Comparing a line with a key, AVX-512.
mod isa512 {
    use super::*;

    /// How many of a row's keys are not above `key`.
    #[target_feature(enable = "avx512f,avx512vl,popcnt")]
    #[inline]
    pub(super) fn row_rank(row: &Row, key: i32) -> u32 {
        let below = _mm256_cmple_epi32_mask(load_row(row), _mm256_set1_epi32(key));
        (u32::from(below) & mask(rows::KEYS)).count_ones()
    }

    /// A line in a register.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn load(line: &Line) -> __m512i {
        // SAFETY: a line has 64 bytes and is aligned to 64.
        unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
    }

    /// How many of the keys in `mask` are not above `key`.
    #[target_feature(enable = "avx512f,popcnt")]
    #[inline]
    pub(super) fn rank(line: &Line, mask: u32, key: i32) -> u32 {
        let keys = load(line);
        let below = _mm512_mask_cmple_epi32_mask(mask as u16, keys, _mm512_set1_epi32(key));
        u32::from(below).count_ones()
    }
}

/// The same, AVX2.
mod isa256 {
    use super::*;

    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    pub(super) fn row_rank(row: &Row, key: i32) -> u32 {
        let above = _mm256_cmpgt_epi32(load_row(row), _mm256_set1_epi32(key));
        let above = _mm256_movemask_ps(_mm256_castsi256_ps(above)) as u32;
        (!above & mask(rows::KEYS)).count_ones()
    }

    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    pub(super) fn rank(line: &Line, mask: u32, key: i32) -> u32 {
        let key = _mm256_set1_epi32(key);
        let at = line.0.as_ptr().cast::<__m256i>();
        // SAFETY: a line is two aligned halves of 32 bytes.
        let (low, high) = unsafe { (_mm256_load_si256(at), _mm256_load_si256(at.add(1))) };
        let above = |half| _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(half, key)));
        let above = above(low) as u32 | (above(high) as u32) << 8;
        (!above & mask).count_ones()
    }
}

kernels!(avx2, "avx2,bmi1,bmi2,popcnt", isa256, {
    /// Rows: a line for all keys, then a row of each.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    fn one_by_one(lines: &[Line], keys: &[u32], out: &mut [u32]) {
        let top = line_at(lines, 0);
        by_groups(keys, out, |keys: &[u32; LANES], out| {
            let mut keys = all_turned(keys);
            for key in &mut keys {
                *key = (*key).min(PAD - 1);
            }
            for n in 0..LANES {
                let row = row_at(lines, rank(top, mask(ROWS - 1), keys[n]));
                out[n] = lane(row_value(row, keys[n]));
            }
        });
    }

    /// A tiny table compares its two lines of keys like any other line.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    fn special(small: &Small, keys: &[u32], out: &mut [u32]) -> bool {
        if small.form == Form::Rows {
            one_by_one(&small.lines, keys, out);
            return true;
        }
        let (Form::Tiny, Some([low, high, codes])) = (small.form, small.lines.first_chunk()) else {
            return false;
        };
        for (key, out) in keys.iter().zip(out) {
            let key = turned(*key);
            let rank = rank(low, mask(16), key) + rank(high, mask(TINY - 1 - 16), key);
            let lane = codes.0[rank as usize / 2] as u32;
            *out = value((lane >> (rank % 2 * 16)) & 0xffff);
        }
        true
    }
});

kernels!(
    avx512,
    "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt",
    isa512,
    {
        use super::isa512::load;

        /// Tables whose first lines fit registers: sixteen keys are searched at once.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
        fn special(small: &Small, keys: &[u32], out: &mut [u32]) -> bool {
            match (small.form, small.root.depth()) {
                (Form::Tiny, _) => tiny(small, keys, out),
                (Form::Rows, _) => in_rows(&small.lines, keys, out),
                (Form::Byte, 1) => lone(small, keys, out),
                (form, 2) => by_form!(form, L => two_levels::<L>(small, keys, out)),
                _ => return false,
            }
            true
        }

        /// Sixteen keys, turned.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
        #[inline]
        fn lanes_of(keys: &[u32; LANES]) -> __m512i {
            // SAFETY: reads the 64 bytes of `keys`, wherever they lie.
            let read = unsafe { _mm512_loadu_si512(keys.as_ptr().cast()) };
            _mm512_xor_si512(read, _mm512_set1_epi32(i32::MIN))
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
        #[inline]
        fn store(out: &mut [u32; LANES], lanes: __m512i) {
            // SAFETY: writes the 64 bytes of `out`, wherever they lie.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), lanes) }
        }

        /// Counts for each lane the keys of `line` that are not above it: a binary
        /// search in which each step is a permutation.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
        #[inline]
        fn ranks(line: __m512i, lanes: __m512i) -> __m512i {
            let mut rank = _mm512_setzero_si512();
            for step in [8, 4, 2, 1] {
                let probe = _mm512_add_epi32(rank, _mm512_set1_epi32(step - 1));
                let below = _mm512_cmple_epi32_mask(_mm512_permutexvar_epi32(probe, line), lanes);
                rank = _mm512_mask_add_epi32(rank, below, rank, _mm512_set1_epi32(step));
            }
            rank
        }

        /// At most 32 intervals: two lines of keys and one of codes in registers.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
        #[inline(never)]
        fn tiny(small: &Small, keys: &[u32], out: &mut [u32]) {
            let Some([low, high, codes]) = small.lines.first_chunk() else {
                return;
            };
            let (low, high, codes) = (load(low), load(high), load(codes));
            by_groups(keys, out, |keys: &[u32; LANES], out| {
                let lanes = lanes_of(keys);
                let mut rank = _mm512_setzero_si512();
                for step in [16, 8, 4, 2, 1] {
                    let probe = _mm512_add_epi32(rank, _mm512_set1_epi32(step - 1));
                    let held = _mm512_permutex2var_epi32(low, probe, high);
                    let below = _mm512_cmple_epi32_mask(held, lanes);
                    rank = _mm512_mask_add_epi32(rank, below, rank, _mm512_set1_epi32(step));
                }
                let code = _mm512_permutexvar_epi16(rank, codes);
                let code = _mm512_and_si512(code, _mm512_set1_epi32(0xffff));
                store(out, _mm512_sub_epi32(code, _mm512_set1_epi32(1)));
            });
        }

        /// One leaf of byte codes.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
        #[inline(never)]
        fn lone(small: &Small, keys: &[u32], out: &mut [u32]) {
            let line = load(&small.lines[small.root.line()]);
            let codes = _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32::<3>(line));
            let pad = _mm512_set1_epi32(PAD);
            let line = _mm512_mask_mov_epi32(pad, mask(Byte::KEYS) as u16, line);
            by_groups(keys, out, |keys: &[u32; LANES], out| {
                let lanes = lanes_of(keys);
                // The highest address counts padding as reached.
                let rank =
                    _mm512_min_epi32(ranks(line, lanes), _mm512_set1_epi32(Byte::KEYS as i32));
                let code = _mm512_permutexvar_epi32(rank, codes);
                store(out, _mm512_sub_epi32(code, _mm512_set1_epi32(1)));
            });
        }

        /// Rows: transposed, so that a register holds what all have in one lane.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
        #[inline(never)]
        fn in_rows(lines: &[Line], keys: &[u32], out: &mut [u32]) {
            let Some((top, held)) = lines.split_first() else {
                return;
            };
            // Every fourth key of the first line parts it in four; the other three of each part
            // lie where the counting below leaves the part's number.
            let parts = [top.0[3], top.0[7], top.0[11]];
            let top = load(top);
            let first = _mm512_setr_epi32(0, 0, 4, 0, 0, 0, 0, 0, 8, 0, 12, 0, 0, 0, 0, 0);
            let next = _mm512_set1_epi32(1);
            let second = _mm512_add_epi32(first, next);
            let third = _mm512_add_epi32(second, next);
            let others = [
                _mm512_permutexvar_epi32(first, top),
                _mm512_permutexvar_epi32(second, top),
                _mm512_permutexvar_epi32(third, top),
            ];
            let none = _mm512_setzero_si512();
            let row = |number: usize| held.get(number).map_or(none, |line| load(line));
            let rows = [
                row(0),
                row(1),
                row(2),
                row(3),
                row(4),
                row(5),
                row(6),
                row(7),
            ];
            let columns = transposed(&rows);
            let all = |number: i32| _mm512_set1_epi32(number);
            by_groups(keys, out, |keys: &[u32; PAIR], out| {
                let (keys, out) = (keys.as_chunks().0, out.as_chunks_mut().0);
                let mut lanes = [lanes_of(&keys[0]), lanes_of(&keys[1])];
                let mut part = [all(0); 2];
                for half in 0..2 {
                    lanes[half] = _mm512_min_epi32(lanes[half], all(PAD - 1));
                    // What is added says where the transposition has left the rows.
                    for (key, add) in parts.iter().zip([2, 6, 2]) {
                        let below = _mm512_cmple_epi32_mask(all(*key), lanes[half]);
                        part[half] = _mm512_mask_add_epi32(part[half], below, part[half], all(add));
                    }
                }
                let mut row = part;
                for half in 0..2 {
                    for (other, add) in others.iter().zip([4, -3, 4]) {
                        let held = _mm512_permutexvar_epi32(part[half], *other);
                        let below = _mm512_cmple_epi32_mask(held, lanes[half]);
                        row[half] = _mm512_mask_add_epi32(row[half], below, row[half], all(add));
                    }
                }
                // Bits of the codes before the one that is meant.
                let mut bits = [all(0); 2];
                for half in 0..2 {
                    for column in &columns[..rows::KEYS] {
                        let held = _mm512_permutexvar_epi32(row[half], *column);
                        let below = _mm512_cmple_epi32_mask(held, lanes[half]);
                        bits[half] = _mm512_mask_add_epi32(bits[half], below, bits[half], all(8));
                    }
                }
                for half in 0..2 {
                    let (low, high) = (columns[rows::KEYS], columns[rows::KEYS + 1]);
                    let low = _mm512_permutexvar_epi32(row[half], low);
                    let high = _mm512_permutexvar_epi32(row[half], high);
                    // A shift by too much, or by less than nothing, leaves 0.
                    let low = _mm512_srlv_epi32(low, bits[half]);
                    let high = _mm512_srlv_epi32(high, _mm512_sub_epi32(bits[half], all(32)));
                    let code = _mm512_and_si512(_mm512_or_si512(low, high), all(0xff));
                    store(&mut out[half], _mm512_sub_epi32(code, all(1)));
                }
            });
        }

        /// Eight lanes of sixteen rows, two of which are a register: afterwards sixteen rows of
        /// each lane, those of the registers' first halves and of their second in turn, four each.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
        #[inline]
        fn transposed(rows: &[__m512i; ROWS / 2]) -> [__m512i; rows::LANES] {
            let quads = |a: usize| {
                let [a, b, c, d] = [rows[a], rows[a + 1], rows[a + 2], rows[a + 3]];
                let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
                let (low2, high2) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
                [
                    _mm512_unpacklo_epi64(low, low2),
                    _mm512_unpackhi_epi64(low, low2),
                    _mm512_unpacklo_epi64(high, high2),
                    _mm512_unpackhi_epi64(high, high2),
                ]
            };
            let (first, second) = (quads(0), quads(4));
            let mut out = [_mm512_setzero_si512(); rows::LANES];
            for lane in 0..4 {
                out[lane] = _mm512_shuffle_i64x2::<0x88>(first[lane], second[lane]);
                out[lane + 4] = _mm512_shuffle_i64x2::<0xdd>(first[lane], second[lane]);
            }
            out
        }

        /// One inner node, kept in registers, and its leaves.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
        #[inline(never)]
        fn two_levels<L: Leaf>(small: &Small, keys: &[u32], out: &mut [u32]) {
            let lines = &*small.lines;
            let node = line_at(lines, small.root.line() as u32);
            let first = _mm512_set1_epi32(node.child(0) as i32);
            let few = node.0[FEW] == PAD;
            let pad = _mm512_set1_epi32(PAD);
            let line = _mm512_mask_mov_epi32(pad, mask(INNER_KEYS) as u16, load(node));
            by_groups(keys, out, |keys: &[u32; PAIR], out| {
                let (mut at, mut turned) = ([0; PAIR], [0; PAIR]);
                let (keys, _) = keys.as_chunks::<LANES>();
                let halves = at.as_chunks_mut::<LANES>().0.iter_mut();
                for ((keys, at), turned) in keys.iter().zip(halves).zip(turned.as_chunks_mut().0) {
                    let lanes = lanes_of(keys);
                    store_keys(turned, lanes);
                    let inner = _mm512_min_epi32(lanes, _mm512_set1_epi32(PAD - 1));
                    let rank = if few {
                        ranks_among::<FEW>(node, inner)
                    } else {
                        ranks(line, inner)
                    };
                    store(at, _mm512_add_epi32(rank, first));
                }
                laid_down(&mut at);
                laid_down(&mut turned);
                leaves::<L, _>(lines, &at, &turned, out);
            });
        }

        /// How many of a node's first keys are not above each lane: they are compared one
        /// after another, for no comparison waits for another.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
        #[inline]
        fn ranks_among<const N: usize>(node: &Line, lanes: __m512i) -> __m512i {
            let one = _mm512_set1_epi32(1);
            let mut rank = [_mm512_setzero_si512(); 2];
            for place in 0..N {
                let below = _mm512_cmple_epi32_mask(_mm512_set1_epi32(node.0[place]), lanes);
                let rank = &mut rank[place % 2];
                *rank = _mm512_mask_add_epi32(*rank, below, *rank, one);
            }
            _mm512_add_epi32(rank[0], rank[1])
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
        #[inline]
        fn store_keys(out: &mut [i32; LANES], lanes: __m512i) {
            // SAFETY: writes the 64 bytes of `out`, wherever they lie.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), lanes) }
        }
    }
);
