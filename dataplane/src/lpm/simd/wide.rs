//! What AVX-512 does with small tables that the other kernels cannot: sixteen keys are searched
//! at once in a table's first lines, or all of its lines, kept in registers.

// JUSTIFICATION: lines of two levels that are known to be there are read without looking again.

use super::isa512::{lanes_of, load, store, store_keys};
use super::kernels::avx512::{by_groups, leaves};
use super::*;

/// Tables whose first lines fit registers: sixteen keys are searched at once.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
pub(super) fn special(small: &Small, keys: &[u32], out: &mut [u32]) -> bool {
    match (small.form, small.root.depth()) {
        (Form::Tiny, _) => tiny(small, keys, out),
        (Form::Byte, 1) => lone(small, keys, out),
        (form, 2) => by_form!(form, L => two_levels::<L>(small, keys, out)),
        _ => return false,
    }
    true
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
        let rank = _mm512_min_epi32(ranks(line, lanes), _mm512_set1_epi32(Byte::KEYS as i32));
        let code = _mm512_permutexvar_epi32(rank, codes);
        store(out, _mm512_sub_epi32(code, _mm512_set1_epi32(1)));
    });
}

/// Rows: transposed, so that a register holds what all have in one lane.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
#[inline(never)]
pub(super) fn in_rows(table: &Rows, keys: &[u32], out: &mut [u32]) {
    let (top, held) = (Line(table.first_keys()), table.lines);
    // Every fourth of the rows' first keys parts them in four; the other three of each part
    // lie where the counting below leaves the part's number.
    let parts = [top.0[3], top.0[7], top.0[11]];
    let top = load(&top);
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
    let lines = small.lines;
    // SAFETY: the root's line.
    let node = unsafe { line_at(lines, small.root.line() as u32) };
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
        // SAFETY: children of the root, of which a tree of two levels has no others.
        unsafe { leaves::<L, _>(lines, &at, &turned, out) };
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
