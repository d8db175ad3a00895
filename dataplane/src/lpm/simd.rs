//! Bulk lookups for AVX-512 and AVX2. Each has a scalar twin in safe code
//! (`Lpm::lookup`), which tests compare it with on every structure.
//!
//! A batch is walked level by level, sixteen keys at a time, so that the loads
//! of one level are in flight together. The instructions that pay are one
//! comparison of a whole line with a key and the count of the mask's bits.

// JUSTIFICATION: 16 keys compared in one instruction. Measured once, AVX-512
// against the scalar twin, from 1.4 times (huge IPv6 table, addresses out of its
// prefixes) to 16 times (10 routes) as fast; the benchmark is still to be shipped.
#![allow(unsafe_code, reason = "this module's one leaf of intrinsics")]

use std::arch::x86_64::*;

use super::direct::Direct;
use super::line::{Byte, CHILDREN, INNER_KEYS, Leaf, Line, PAD, Short, Wide, turned, value};
use super::rank::{BELOW, CHUNKS, Rank, WORD_LINES};
use super::table::{Form, Inner, Small, TINY, by_form};
use super::tree::{Root, Trees};
use super::{Key, Level, Lpm};

/// Keys that are walked together.
const LANES: usize = 16;
/// The same in huge tables, where every step misses a cache.
const RANKED: usize = 32;

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

/// A word of a huge table: the bitmap, and the place of the code before it.
fn word(line: &Line, number: u32) -> (u64, u32) {
    let at = (number & 3) as usize * 4;
    let lane = |n: usize| line.0[at + n] as u32;
    (u64::from(lane(1)) << 32 | u64::from(lane(0)), lane(2))
}

/// The line of a chunk with the code at `place`.
fn code_line<L: Leaf>(place: u32) -> usize {
    WORD_LINES + place as usize * L::CODE_BITS / 512
}

/// The code at `place`, in its line.
fn code_in<L: Leaf>(line: &Line, place: u32) -> u32 {
    let at = std::ptr::from_ref(line);
    let place = place as usize % (512 / L::CODE_BITS);
    // SAFETY: a line has 512 / CODE_BITS codes, aligned to their size, and
    // `place` is taken modulo that.
    unsafe {
        match L::CODE_BITS {
            8 => u32::from(*at.cast::<u8>().add(place)),
            16 => u32::from(*at.cast::<u16>().add(place)),
            _ => *at.cast::<u32>().add(place),
        }
    }
}

/// The numbers of the bits that are set.
fn lanes(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = bits.checked_ilog2()?;
        bits &= !(1 << lane);
        Some(lane as usize)
    })
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
            use super::$isa::rank;
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
            /// of a fixed length need no checks.
            #[target_feature(enable = $features)]
            #[inline]
            fn by_groups<K: Key, const N: usize>(
                keys: &[K],
                out: &mut [u32],
                mut search: impl FnMut(&[K; N], &mut [u32; N]),
            ) {
                let (groups, rest) = keys.as_chunks::<N>();
                let (out, last) = out.as_chunks_mut::<N>();
                for (keys, out) in groups.iter().zip(out) {
                    search(keys, out);
                }
                if let Some(first) = rest.first() {
                    let (mut keys, mut answers) = ([*first; N], [0; N]);
                    keys[..rest.len()].copy_from_slice(rest);
                    search(&keys, &mut answers);
                    last.copy_from_slice(&answers[..last.len()]);
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

            /// One tree, IPv4, level by level.
            #[target_feature(enable = $features)]
            fn tree<L: Leaf>(lines: &[Line], root: Root, keys: &[u32], out: &mut [u32]) {
                by_groups(keys, out, |keys: &[u32; LANES], out| {
                    let mut at = [root.line(); LANES];
                    for _ in 1..root.depth() {
                        for (key, at) in keys.iter().zip(&mut at) {
                            let line = &lines[*at];
                            let key = turned(*key).min(PAD - 1);
                            *at = line.child(rank(line, mask(INNER_KEYS), key) as usize);
                            prefetch(&lines[*at]);
                        }
                    }
                    for ((key, at), out) in keys.iter().zip(at).zip(out) {
                        let line = &lines[at];
                        let rank = rank(line, mask(L::KEYS), turned(*key));
                        *out = value(code_at::<L>(line, rank));
                    }
                });
            }

            /// Trees with subtrees.
            #[target_feature(enable = $features)]
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
            fn direct<L: Leaf>(index: &Direct, keys: &[u32], out: &mut [u32]) {
                by_groups(keys, out, |keys: &[u32; LANES], out| {
                    let mut bucket = [0; LANES];
                    for (key, bucket) in keys.iter().zip(&mut bucket) {
                        *bucket = (*key).clamp(index.low, index.high) - index.low >> index.shift;
                    }
                    let mut at = [0; LANES];
                    let mut deep = 0u32;
                    for (lane, (bucket, at)) in bucket.iter().zip(&mut at).enumerate() {
                        let entry = index.top[*bucket as usize];
                        *at = entry.line();
                        prefetch(&index.lines[*at]);
                        deep |= u32::from(entry.depth() > 1) << lane;
                    }
                    while deep != 0 {
                        let lane = deep.trailing_zeros() as usize;
                        deep &= deep - 1;
                        let depth = index.top[bucket[lane] as usize].depth();
                        for _ in 1..depth {
                            let line = &index.lines[at[lane]];
                            let key = turned(keys[lane]).min(PAD - 1);
                            at[lane] = line.child(rank(line, mask(INNER_KEYS), key) as usize);
                        }
                    }
                    for ((key, at), out) in keys.iter().zip(at).zip(out) {
                        let line = &index.lines[at];
                        let rank = rank(line, mask(L::KEYS), turned(*key));
                        *out = value(code_at::<L>(line, rank));
                    }
                });
            }

            /// A huge table: words, codes, and what goes on in trees.
            #[target_feature(enable = $features)]
            fn ranked<K: Key, L: Leaf>(table: &Rank, keys: &[K], out: &mut [u32]) {
                let hot = &table.hot[..CHUNKS];
                by_groups(keys, out, |keys: &[K; RANKED], out| {
                    for key in keys {
                        let top = key.window(0);
                        prefetch(&hot[(top >> 24) as usize][(top >> 16 & 0xff) as usize]);
                    }
                    let mut at = [0; RANKED];
                    for (key, at) in keys.iter().zip(&mut at) {
                        let top = key.window(0);
                        let lines = &hot[(top >> 24) as usize];
                        let (bits, before) = word(&lines[(top >> 16 & 0xff) as usize], top >> 14 & 3);
                        let bits = bits & u64::MAX >> (63 - (top >> 8 & 63));
                        *at = before.wrapping_add(bits.count_ones());
                        prefetch(&lines[code_line::<L>(*at)]);
                    }
                    let mut deep = 0u32;
                    for (lane, ((key, at), out)) in keys.iter().zip(at).zip(out.iter_mut()).enumerate() {
                        let lines = &hot[(key.window(0) >> 24) as usize];
                        let code = code_in::<L>(&lines[code_line::<L>(at)], at);
                        deep |= u32::from(code & L::SUBTREE != 0) << lane;
                        *out = value(code);
                    }
                    if deep != 0 {
                        deeper::<K, L>(table, deep, keys, out);
                    }
                });
            }

            /// The keys of `deep`, whose codes name subtrees: one line of each at
            /// a time.
            #[target_feature(enable = $features)]
            fn deeper<K: Key, L: Leaf>(
                table: &Rank,
                deep: u32,
                keys: &[K; RANKED],
                out: &mut [u32; RANKED],
            ) {
                let mut at = [(0, 0, BELOW); RANKED];
                for lane in lanes(deep) {
                    let trees = table.trees((keys[lane].window(0) >> 24) as usize);
                    let root = trees.subtree::<L>(out[lane].wrapping_add(1));
                    at[lane] = (root.line(), root.depth(), BELOW);
                    prefetch(&trees.lines[root.line()]);
                }
                let mut left = deep;
                while left != 0 {
                    for lane in lanes(left) {
                        let trees = table.trees((keys[lane].window(0) >> 24) as usize);
                        let (line, depth, offset) = &mut at[lane];
                        let key = turned(keys[lane].window(*offset));
                        let held = &trees.lines[*line];
                        if *depth > 1 {
                            let rank = rank(held, mask(INNER_KEYS), key.min(PAD - 1));
                            (*line, *depth) = (held.child(rank as usize), *depth - 1);
                        } else {
                            let code = code_at::<L>(held, rank(held, mask(L::KEYS), key));
                            if code & L::SUBTREE == 0 {
                                out[lane] = value(code);
                                left &= !(1 << lane);
                                continue;
                            }
                            let root = trees.subtree::<L>(code);
                            (*line, *depth) = (root.line(), root.depth());
                            *offset += 32;
                        }
                        prefetch(&trees.lines[*line]);
                    }
                }
            }

            /// Another table for each key.
            #[target_feature(enable = $features)]
            pub(super) fn each<K: Key>(tables: &[&Lpm<K>], keys: &[K], out: &mut [u32]) -> bool {
                let Some(keys) = K::as_v4(keys) else {
                    return false;
                };
                let batches = tables.chunks(LANES).zip(keys.chunks(LANES));
                for ((tables, keys), out) in batches.zip(out.chunks_mut(LANES)) {
                    let mut at: [Option<&Line>; LANES] = [None; LANES];
                    for (table, at) in tables.iter().zip(&mut at) {
                        if let Inner::Small(small) = &table.inner {
                            let root = &small.lines[small.root.line()];
                            prefetch(root);
                            *at = Some(root);
                        }
                    }
                    for ((table, key), at) in tables.iter().zip(keys).zip(&mut at) {
                        let (Inner::Small(small), Some(line)) = (&table.inner, at) else {
                            continue;
                        };
                        for _ in 1..small.root.depth() {
                            let key = turned(*key).min(PAD - 1);
                            let child = line.child(rank(line, mask(INNER_KEYS), key) as usize);
                            *line = &small.lines[child];
                        }
                        prefetch(*line);
                    }
                    for (((table, key), at), out) in tables.iter().zip(keys).zip(at).zip(out) {
                        let turned = turned(*key);
                        *out = match (&table.inner, at) {
                            (Inner::Small(Small { form: Form::Byte, .. }), Some(line)) => {
                                value(code_at::<Byte>(line, rank(line, mask(Byte::KEYS), turned)))
                            }
                            (Inner::Small(Small { form: Form::Short, .. }), Some(line)) => {
                                value(code_at::<Short>(line, rank(line, mask(Short::KEYS), turned)))
                            }
                            (Inner::Small(Small { form: Form::Wide, .. }), Some(line)) => {
                                value(code_at::<Wide>(line, rank(line, mask(Wide::KEYS), turned)))
                            }
                            (Inner::Small(small), _) => small.lookup(*key),
                            _ => table.lookup(K::MIN.with_window(0, *key)),
                        };
                    }
                }
                true
            }
        }
    };
}

/// Comparing a line with a key, AVX-512.
mod isa512 {
    use super::*;

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
    /// A tiny table compares its two lines of keys like any other line.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    fn special(small: &Small, keys: &[u32], out: &mut [u32]) -> bool {
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

        /// One inner node, kept in a register, and its leaves.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
        fn two_levels<L: Leaf>(small: &Small, keys: &[u32], out: &mut [u32]) {
            let node = &small.lines[small.root.line()];
            let Some(leaves) = small.lines.get(node.child(0)..) else {
                return;
            };
            let pad = _mm512_set1_epi32(PAD);
            let line = _mm512_mask_mov_epi32(pad, mask(INNER_KEYS) as u16, load(node));
            by_groups(keys, out, |keys: &[u32; LANES], out| {
                let lanes = lanes_of(keys);
                let inner = _mm512_min_epi32(lanes, _mm512_set1_epi32(PAD - 1));
                let mut at = [0; CHILDREN];
                store(&mut at, ranks(line, inner));
                for ((key, at), out) in keys.iter().zip(at).zip(out) {
                    let line = &leaves[at as usize];
                    let rank = rank(line, mask(L::KEYS), turned(*key));
                    *out = value(code_at::<L>(line, rank));
                }
            });
        }
    }
);
