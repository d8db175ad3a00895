//! Bulk lookups for AVX-512 and AVX2. Each has a scalar twin in safe code
//! (`Lpm::lookup`), which tests compare it with on every structure.
//!
//! A batch is walked level by level, sixteen or 32 keys at a time, so that the loads
//! of one level are in flight together. The instructions that pay are one
//! comparison of a whole line with a key and the count of the mask's bits.

// JUSTIFICATION: 16 keys compared in one instruction, and lines that are known to be there read
// without looking again. Against the safe kernels before, 2.4 ns became 0.8 for a table of
// 50 routes, 3.0 became 1.2 for 1 000, and 6.4 became 2.6 for 902 000 (suite `lpm`).
#![expect(unsafe_code, reason = "this module's one leaf of intrinsics")]

mod eights;
mod huge;
mod kernels;
mod registers;
mod wide;

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::direct::Direct;
use super::level::Usable;
use super::line::{Byte, INNER_KEYS, Leaf, Line, PAD, Short, Wide, turned, upright, value};
use super::narrow::{self, Narrow};
use super::rank::{BELOW, Rank};
use super::rows::{self, Firsts, ROWS, Rows};
use super::six::{self, Home, Six};
use super::table::{Form, Inner, Small, View, by_form};
use super::tree::{Root, Trees};
use super::{Key, Level, Lpm};
use huge::{Block, Fields, LinesOfChunk, Top, Two, home_at};

/// Lanes of a register of AVX2.
const EIGHT: usize = 8;
/// Keys that are walked together.
const LANES: usize = 16;
/// Twice as many, where one step is done for all by wide instructions: what follows waits for it.
const PAIR: usize = 2 * LANES;
/// The same in huge tables, where every step misses a cache.
const RANKED: usize = 32;
/// Keys of an inner node that are faster compared one by one than searched.
const FEW: usize = 7;

// Of structures it is relied on that they are as their builders left them: nobody else makes
// them, and nobody changes them. A function that takes one and any key is safe. What takes a
// place in one, a count or a line out of it is not: whose they are is the caller's to know.

/// Looks `keys` up with these instructions; false where no faster way than one by one is known.
pub(super) fn bulk<K: Key>(level: Usable, inner: &Inner, keys: &[K], out: &mut [u32]) -> bool {
    debug_assert!(keys.len() == out.len());
    match level.level() {
        Level::Scalar => return false,
        // SAFETY: the machine was found to have them.
        Level::Avx2 => unsafe { kernels::avx2::bulk(inner, keys, out) },
        // SAFETY: as above.
        Level::Avx512 => unsafe { kernels::avx512::bulk(inner, keys, out) },
    }
    true
}

/// Looks each key up in a table of its own; as [`bulk`].
pub(super) fn each<K: Key>(level: Usable, tables: &[&Lpm<K>], keys: &[K], out: &mut [u32]) -> bool {
    debug_assert!(keys.len() == out.len());
    match level.level() {
        Level::Scalar => false,
        // SAFETY: as above.
        Level::Avx2 => unsafe { kernels::avx2::each(tables, keys, out) },
        // SAFETY: as above.
        Level::Avx512 => unsafe { kernels::avx512::each(tables, keys, out) },
    }
}

/// Starts to load what `place` refers to.
#[inline]
fn prefetch<T>(place: &T) {
    prefetch_at(place);
}

/// The same of a place of which it is not known yet whether there is something.
#[inline]
fn prefetch_at<T>(place: *const T) {
    // SAFETY: SSE is part of x86-64. A prefetch reads nothing that the program could see, and
    // does nothing where nothing can be read.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
}

/// The code of interval `rank` of a leaf.
///
/// # Safety
/// `rank` is less than `L::INTERVALS`: it counts no more than `L::KEYS` keys.
unsafe fn code_at<L: Leaf>(line: &Line, rank: u32) -> u32 {
    let at = std::ptr::from_ref(line).cast::<u8>();
    let rank = rank as usize;
    debug_assert!(rank < L::INTERVALS);
    // SAFETY: a leaf has a code for each of 0..=KEYS, which all lie in its 64
    // bytes (see `line`); codes are aligned to their size.
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

/// What a step finds for each key, before it is taken. Filled with nothing: where wide registers
/// have been stored before, what is stored over them comes back late, and each key waits for it.
type Found<T> = [MaybeUninit<T>; PAIR];

#[inline]
const fn nothing<T: Copy>() -> Found<T> {
    [const { MaybeUninit::uninit() }; PAIR]
}

/// The same when all is found; the compiler must take no later step before.
///
/// # Safety
/// Every place has been written.
#[inline]
unsafe fn all_of<T: Copy>(found: &mut Found<T>) -> &mut [T; PAIR] {
    laid_down(found);
    // SAFETY: `MaybeUninit<T>` is laid out as `T` is, and by the caller's word there is one.
    unsafe { &mut *std::ptr::from_mut(found).cast() }
}

/// `place`, and the compiler leaves a loop as it is in which it stands: once for each key. Where
/// it writes the steps out one after another, each stores where it is at a place of its own of
/// the stack, and Zen 4 takes up to 1.6 times as long as soon as caches are missed.
#[inline]
fn in_turn<T>(place: *const T) -> *const T {
    place.with_addr(number_in_turn(place.addr()))
}

/// The same of a number, and what [`lane`] is for, of one as wide as an address.
#[inline]
fn number_in_turn(mut number: usize) -> usize {
    // SAFETY: no instruction at all.
    unsafe {
        asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags));
    }
    number
}

/// The same of a reference.
#[inline]
fn in_turn_ref<T>(place: &T) -> &T {
    // SAFETY: it is the same reference afterwards.
    unsafe { &*in_turn(place) }
}

/// A line that a root, an inner node or an entry names, or a count of a table's first keys.
/// Builders name none that they have not laid down: `Grove::grow` an inner node's children,
/// `Root`s and `Entry`s after the lines, `rows::build` a line for each first key and one before.
///
/// # Safety
/// `at` is named so by the structure whose lines these are.
#[inline]
unsafe fn line_at(lines: &[Line], at: u32) -> &Line {
    debug_assert!((at as usize) < lines.len());
    // SAFETY: by the caller's word it is there. Debug builds check it, so every test and the
    // fuzz target do.
    unsafe { lines.get_unchecked(at as usize) }
}

/// A line in two registers.
#[target_feature(enable = "avx2")]
#[inline]
fn halves(line: &Line) -> [__m256i; 2] {
    let at = line.0.as_ptr().cast::<__m256i>();
    // SAFETY: a line is two aligned halves of 32 bytes.
    unsafe { [_mm256_load_si256(at), _mm256_load_si256(at.add(1))] }
}

/// The first keys of a table's lines in a register.
#[target_feature(enable = "avx2")]
#[inline]
fn load_firsts(firsts: &Firsts) -> __m256i {
    const { assert!(size_of::<Firsts>() == size_of::<__m256i>()) };
    // SAFETY: reads 32 bytes, wherever they lie: all of them are eight lanes' (`Firsts`).
    unsafe { _mm256_loadu_si256(std::ptr::from_ref(firsts).cast()) }
}

/// What a key that is held below padding is less than by one, turned: what is not above the key
/// is below that, and can be compared where it lies.
#[inline]
fn bound(key: u32) -> i32 {
    turned(key.min(upright(PAD - 1)) + 1)
}

/// The same of all; stored as [`places`] does.
#[target_feature(enable = "avx2")]
#[inline]
fn bounds_of(keys: &[u32; PAIR], bounds: &mut [i32; PAIR]) {
    let eights = bounds.as_chunks_mut::<8>().0.iter_mut();
    for (keys, bounds) in keys.as_chunks::<8>().0.iter().zip(eights) {
        // SAFETY: reads the 32 bytes of `keys` and writes those of `bounds`, wherever they lie.
        unsafe {
            let keys = _mm256_loadu_si256(keys.as_ptr().cast());
            _mm256_storeu_si256(bounds.as_mut_ptr().cast(), bounds_of_lanes(keys));
        }
    }
    laid_down(bounds);
}

/// The same of eight.
#[target_feature(enable = "avx2")]
#[inline]
fn bounds_of_lanes(keys: __m256i) -> __m256i {
    let held = _mm256_min_epu32(keys, _mm256_set1_epi32(upright(PAD - 1) as i32));
    _mm256_add_epi32(held, _mm256_set1_epi32(turned(1)))
}

/// How far on the line is, in bytes, whose first key is the last one below `bound`.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn line_below(firsts: &Firsts, bound: i32) -> usize {
    let below = _mm256_cmpgt_epi32(_mm256_set1_epi32(bound), load_firsts(firsts));
    // Four bits a lane: Zen 3 takes these in three quarters of the time of one bit a lane.
    let bits = (_mm256_movemask_epi8(below) as u32).count_ones();
    bits as usize * (size_of::<Line>() / 4)
}

/// The code of a line of rows that lies behind so many of its keys.
///
/// # Safety
/// `place` is at most 12, which is how many keys a line has.
#[inline]
unsafe fn row_code(line: &Line, place: u32) -> u8 {
    const KEYS: usize = rows::KEYS;
    let place = place as usize;
    debug_assert!(place <= 2 * KEYS);
    // From the code on that both rows have, those of the second row lie so much further on.
    const FURTHER: usize = 4 * rows::LANES - KEYS;
    let at = number_in_turn(if place < KEYS { place } else { place + FURTHER });
    let codes = std::ptr::from_ref(line).cast::<u8>();
    // SAFETY: codes lie behind the six keys of a row, from byte 24 on: here those before 30, and
    // from byte 56 to 62 of a line's 64.
    unsafe { *codes.add(4 * KEYS).add(at) }
}

/// The line of a bucket of a direct index.
///
/// # Safety
/// `bucket` is that of a key held between the index's `low` and `high`.
#[inline]
unsafe fn narrow_at(index: &Direct, bucket: u32) -> &Narrow {
    debug_assert!((bucket as usize) < index.top.len());
    // SAFETY: `Direct::build` makes an entry for each bucket from `low` to `high`, and each names
    // a line that it has laid down. Checked in debug builds.
    unsafe {
        let number = usize::from(*index.top.get_unchecked(bucket as usize));
        debug_assert!(number < index.lines.len());
        index.lines.get_unchecked(number)
    }
}

/// The code of interval `rank` of a line of narrow keys.
///
/// # Safety
/// `rank` counts keys of this line that are below a unit: what fills the last of the 16 places
/// is not (`Narrow::of`).
#[inline]
unsafe fn narrow_code(line: &Narrow, rank: u32) -> u32 {
    debug_assert!((rank as usize) < narrow::INTERVALS);
    // SAFETY: a line has a code for each of its 15 keys and one more.
    u32::from(unsafe { *line.codes.get_unchecked(rank as usize) })
}

/// The keys of a line of narrow keys in a register.
#[target_feature(enable = "avx2")]
#[inline]
fn load_narrow(line: &Narrow) -> __m256i {
    // SAFETY: the keys are the first 32 bytes of a line, which is aligned to 64.
    unsafe { _mm256_load_si256(line.keys.as_ptr().cast()) }
}

/// The 16 lowest bits of a unit's number as lines keep them, twice: as wide as lanes that can
/// be loaded all over a register.
#[inline]
const fn unit_pair(unit: u32) -> u32 {
    let half = unit & 0xffff;
    (half << 16 | half) ^ 0x8000_8000
}

/// The bucket of each key in a direct index, and its unit as lines have them, in both halves
/// ([`unit_pair`]). Stored eight at a time: of more at once each comes back later from memory.
#[target_feature(enable = "avx2")]
#[inline]
fn places(index: &Direct, keys: &[u32; PAIR]) -> ([u32; PAIR], [u32; PAIR]) {
    let all = |number: u32| _mm256_set1_epi32(number as i32);
    let (low, high) = (all(index.low), all(index.high.max(index.low)));
    let shift = _mm_cvtsi32_si128((index.shift & 31) as i32);
    let within = _mm_cvtsi32_si128((index.unit & 31) as i32);
    // The two lowest bytes of each lane, twice.
    const LOW: i64 = 0x0504_0504_0100_0100;
    const HIGH: i64 = 0x0d0c_0d0c_0908_0908;
    let twice = _mm256_set_epi64x(HIGH, LOW, HIGH, LOW);
    let (mut buckets, mut pairs) = ([0; PAIR], [0; PAIR]);
    let eights = buckets
        .as_chunks_mut::<8>()
        .0
        .iter_mut()
        .zip(pairs.as_chunks_mut::<8>().0);
    for (keys, (buckets, pairs)) in keys.as_chunks::<8>().0.iter().zip(eights) {
        // SAFETY: reads the 32 bytes of `keys`, wherever they lie.
        let keys = unsafe { _mm256_loadu_si256(keys.as_ptr().cast()) };
        let held = _mm256_max_epu32(_mm256_min_epu32(keys, high), low);
        let bucket = _mm256_srl_epi32(_mm256_sub_epi32(held, low), shift);
        let unit = _mm256_shuffle_epi8(_mm256_srl_epi32(held, within), twice);
        let pair = _mm256_xor_si256(unit, all(unit_pair(0)));
        // SAFETY: writes the 32 bytes of each, wherever they lie.
        unsafe {
            _mm256_storeu_si256(buckets.as_mut_ptr().cast(), bucket);
            _mm256_storeu_si256(pairs.as_mut_ptr().cast(), pair);
        }
    }
    (buckets, pairs)
}

/// The value of each code of eight bits, as [`values_of`].
#[target_feature(enable = "avx2")]
#[inline]
fn row_values(mut code: impl FnMut(usize) -> u8, out: &mut [u32; PAIR]) {
    let one = _mm256_set1_epi32(1);
    for (eight, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mut code = |n: usize| i32::from(code(eight * 8 + n));
        let mut codes = _mm_cvtsi32_si128(code(0));
        codes = _mm_insert_epi8::<1>(codes, code(1));
        codes = _mm_insert_epi8::<2>(codes, code(2));
        codes = _mm_insert_epi8::<3>(codes, code(3));
        codes = _mm_insert_epi8::<4>(codes, code(4));
        codes = _mm_insert_epi8::<5>(codes, code(5));
        codes = _mm_insert_epi8::<6>(codes, code(6));
        codes = _mm_insert_epi8::<7>(codes, code(7));
        let values = _mm256_sub_epi32(_mm256_cvtepu8_epi32(codes), one);
        // SAFETY: writes the 32 bytes of `out`, wherever they lie.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), values) };
    }
}

/// Codes of 16 bits become values: `code(n)` for each place of `out`. Each goes from memory into
/// its lane, so that what follows is done for eight at once and stored once. Says whether one of
/// the codes has the mark of a subtree.
#[target_feature(enable = "avx2")]
#[inline]
fn values_of(mut code: impl FnMut(usize) -> u16, out: &mut [u32; RANKED]) -> bool {
    let one = _mm256_set1_epi32(1);
    let mut any = _mm_setzero_si128();
    for (eight, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mut code = |n: usize| i32::from(code(eight * 8 + n));
        let mut codes = _mm_cvtsi32_si128(code(0));
        codes = _mm_insert_epi16::<1>(codes, code(1));
        codes = _mm_insert_epi16::<2>(codes, code(2));
        codes = _mm_insert_epi16::<3>(codes, code(3));
        codes = _mm_insert_epi16::<4>(codes, code(4));
        codes = _mm_insert_epi16::<5>(codes, code(5));
        codes = _mm_insert_epi16::<6>(codes, code(6));
        codes = _mm_insert_epi16::<7>(codes, code(7));
        any = _mm_or_si128(any, codes);
        let values = _mm256_sub_epi32(_mm256_cvtepu16_epi32(codes), one);
        // SAFETY: writes the 32 bytes of `out`, wherever they lie.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), values) };
    }
    _mm_testz_si128(any, _mm_set1_epi16(Short::SUBTREE as u16 as i16)) == 0
}

/// The largest value that a code of a field or tree, less one, is above.
const VALUES_END: i32 = Short::VALUE_MAX as i32;

/// The number of the field that each of `codes` names, all less one; 0 where it names none.
#[target_feature(enable = "avx2")]
#[inline]
fn fields_of(codes: &[u32; RANKED], out: &mut [u32; RANKED]) {
    let both = codes
        .as_chunks::<8>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<8>().0);
    for (codes, out) in both {
        // SAFETY: reads the 32 bytes of `codes` and writes those of `out`, wherever they lie.
        unsafe {
            let codes = _mm256_loadu_si256(codes.as_ptr().cast());
            let number = _mm256_sub_epi32(codes, _mm256_set1_epi32(VALUES_END + 1));
            let number = _mm256_max_epi32(number, _mm256_setzero_si256());
            _mm256_storeu_si256(out.as_mut_ptr().cast(), number);
        }
    }
    laid_down(out);
}

/// As [`values_of`], where `out` has a field; other values stay.
#[target_feature(enable = "avx2")]
#[inline]
fn values_of_fields(code: impl FnMut(usize) -> u16, out: &mut [u32; RANKED]) -> bool {
    let mut found = [0; RANKED];
    values_of(code, &mut found);
    let end = _mm256_set1_epi32(VALUES_END);
    let mut any = _mm256_setzero_si256();
    let both = found
        .as_chunks::<8>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<8>().0);
    for (found, out) in both {
        // SAFETY: reads the 32 bytes of `found` and of `out` and writes those, wherever they lie.
        unsafe {
            let held = _mm256_loadu_si256(out.as_ptr().cast());
            let found = _mm256_loadu_si256(found.as_ptr().cast());
            let value = _mm256_blendv_epi8(held, found, _mm256_cmpgt_epi32(held, end));
            any = _mm256_or_si256(any, _mm256_cmpgt_epi32(value, end));
            _mm256_storeu_si256(out.as_mut_ptr().cast(), value);
        }
    }
    _mm256_testz_si256(any, any) == 0
}

/// The 16 bits of an address that fields look at, as lines have them, in all lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn units<K: Key>(key: &K) -> __m256i {
    let units = match K::BITS {
        // SAFETY: an address of 128 bits.
        128 => _mm256_set1_epi16(unsafe { Top::of(key).below() } as i16),
        _ => _mm256_setzero_si256(),
    };
    let mut units = units;
    // The compiler would take them into a register of its own first, to turn them there.
    // SAFETY: no instruction at all.
    unsafe {
        asm!("/* {0} */", inout(ymm_reg) units, options(pure, nomem, nostack, preserves_flags))
    };
    _mm256_xor_si256(units, _mm256_set1_epi16(i16::MIN))
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

/// Comparing a line with a key, AVX-512.
mod isa512 {
    use super::*;

    /// The code of a line of rows behind the last of its keys below `bound`.
    #[target_feature(enable = "avx512f,popcnt")]
    #[inline]
    pub(super) fn code_below(line: &Line, bound: i32) -> u8 {
        const KEYS: u32 = mask(rows::KEYS) | mask(rows::KEYS) << rows::LANES;
        let bound = _mm512_set1_epi32(bound);
        let below = _mm512_mask_cmplt_epi32_mask(KEYS as u16, load(line), bound);
        // SAFETY: the bits of six keys of each row.
        unsafe { row_code(line, below.count_ones()) }
    }

    /// How many keys of a line are below a unit, which `pair` has in both its halves.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
    #[inline]
    pub(super) fn narrow_rank(line: &Narrow, pair: u32) -> u32 {
        let unit = _mm256_set1_epi32(pair as i32);
        u32::from(_mm256_cmpgt_epi16_mask(unit, load_narrow(line))).count_ones()
    }

    /// The same of a unit that all lanes have.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
    #[inline]
    pub(super) fn narrow_rank_of(line: &Narrow, unit: __m256i) -> u32 {
        u32::from(_mm256_cmpgt_epi16_mask(unit, load_narrow(line))).count_ones()
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

    /// Sixteen keys, turned.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
    #[inline]
    pub(super) fn lanes_of(keys: &[u32; LANES]) -> __m512i {
        // SAFETY: reads the 64 bytes of `keys`, wherever they lie.
        let read = unsafe { _mm512_loadu_si512(keys.as_ptr().cast()) };
        _mm512_xor_si512(read, _mm512_set1_epi32(i32::MIN))
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
    #[inline]
    pub(super) fn store_keys(out: &mut [i32; LANES], lanes: __m512i) {
        // SAFETY: writes the 64 bytes of `out`, wherever they lie.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), lanes) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
    #[inline]
    pub(super) fn store(out: &mut [u32; LANES], lanes: __m512i) {
        // SAFETY: writes the 64 bytes of `out`, wherever they lie.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), lanes) }
    }
}

/// The same, AVX2.
mod isa256 {
    use super::*;

    /// The code of a line of rows behind the last of its keys below `bound`.
    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    pub(super) fn code_below(line: &Line, bound: i32) -> u8 {
        // Two bits a lane, of which one is counted: four lanes of the first row and four of the
        // second, then what is left of both.
        const HALF: u32 = 0x55;
        const KEYS: u32 = HALF | HALF << 8 | (HALF & 0xf) << 16 | (HALF & 0xf) << 24;
        let [first, second] = halves(line);
        let bound = _mm256_set1_epi32(bound);
        let below = _mm256_packs_epi32(
            _mm256_cmpgt_epi32(bound, first),
            _mm256_cmpgt_epi32(bound, second),
        );
        let below = _mm256_movemask_epi8(below) as u32 & KEYS;
        // SAFETY: the bits of six keys of each row.
        unsafe { row_code(line, below.count_ones()) }
    }

    /// How many keys of a line are below a unit, which `pair` has in both its halves.
    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    pub(super) fn narrow_rank(line: &Narrow, pair: u32) -> u32 {
        let above = _mm256_cmpgt_epi16(_mm256_set1_epi32(pair as i32), load_narrow(line));
        // SAFETY: a comparison.
        unsafe { half_of_bits(above) }
    }

    /// The same of a unit that all lanes have.
    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    pub(super) fn narrow_rank_of(line: &Narrow, unit: __m256i) -> u32 {
        let above = _mm256_cmpgt_epi16(unit, load_narrow(line));
        // SAFETY: a comparison.
        unsafe { half_of_bits(above) }
    }

    /// How many lanes of 16 bits have all of them set.
    ///
    /// # Safety
    /// The others have none, as a comparison leaves them.
    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    unsafe fn half_of_bits(lanes: __m256i) -> u32 {
        // Two bits a lane. A code has two bytes, too: what is halved here is not doubled there.
        let bits = (_mm256_movemask_epi8(lanes) as u32).count_ones();
        // SAFETY: by the caller's word of each lane both bits are set or neither.
        unsafe { std::hint::assert_unchecked(bits.is_multiple_of(2)) }
        bits / 2
    }

    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    pub(super) fn rank(line: &Line, mask: u32, key: i32) -> u32 {
        let key = _mm256_set1_epi32(key);
        let [low, high] = halves(line);
        let above = |half| _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(half, key)));
        let above = above(low) as u32 | (above(high) as u32) << 8;
        (!above & mask).count_ones()
    }
}
