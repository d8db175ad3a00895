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

mod kernels;
mod wide;

use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::chunk::{GROUPS, INDEX_LINES};
use super::direct::Direct;
use super::line::{Byte, INNER_KEYS, Leaf, Line, PAD, Short, Wide, turned, upright, value};
use super::narrow::{self, Narrow};
use super::rank::{BELOW, Rank};
use super::rows::{self, ROWS};
use super::six::{self, Below, Home, Six};
use super::table::{Form, Inner, Small, TINY, by_form};
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
        Level::Scalar => return false,
        // SAFETY: `level` is at most what the machine was found to have.
        Level::Avx2 => unsafe { kernels::avx2::bulk(inner, keys, out) },
        // SAFETY: as above.
        Level::Avx512 => unsafe { kernels::avx512::bulk(inner, keys, out) },
    }
    true
}

/// Looks each key up in a table of its own; as [`bulk`].
pub(super) fn each<K: Key>(level: Level, tables: &[&Lpm<K>], keys: &[K], out: &mut [u32]) -> bool {
    debug_assert!(level <= Level::detect() && keys.len() == out.len());
    match level {
        Level::Scalar => false,
        // SAFETY: `level` is at most what the machine was found to have.
        Level::Avx2 => unsafe { kernels::avx2::each(tables, keys, out) },
        // SAFETY: as above.
        Level::Avx512 => unsafe { kernels::avx512::each(tables, keys, out) },
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
    let mut address = place.addr();
    // SAFETY: no instruction at all.
    unsafe {
        asm!("/* {0} */", inout(reg) address, options(pure, nomem, nostack, preserves_flags));
    }
    place.with_addr(address)
}

/// The same of a reference.
#[inline]
fn in_turn_ref<T>(place: &T) -> &T {
    // SAFETY: it is the same reference afterwards.
    unsafe { &*in_turn(place) }
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

/// The lines of a table of rows, in one word.
#[derive(Clone, Copy)]
struct TableOfRows<'a> {
    lines: *const Line,
    table: PhantomData<&'a [Line]>,
}

impl<'a> TableOfRows<'a> {
    #[inline]
    fn of(lines: &'a [Line]) -> Self {
        debug_assert!(lines.len() > 1);
        Self {
            lines: lines.as_ptr(),
            table: PhantomData,
        }
    }

    /// The first keys of the rows.
    #[inline]
    fn top(self) -> &'a Line {
        // SAFETY: it was made of the lines of a table, borrowed for as long, and every table of
        // rows has two at least (`rows::build`).
        unsafe { &*self.lines }
    }

    /// Row `number`.
    #[inline]
    fn row(self, number: u32) -> &'a Row {
        // SAFETY: behind the first line lie rows, two a line; the first line has as many keys as
        // there are rows but one, and `number` counts of them. A row is half a line, of no larger
        // alignment and of plain integers.
        unsafe { &*self.lines.add(1).cast::<Row>().add(number as usize) }
    }
}

/// Row `number` of a table's.
#[inline]
fn row_at(lines: &[Line], number: u32) -> &Row {
    debug_assert!(1 + number as usize / 2 < lines.len());
    TableOfRows::of(lines).row(number)
}

/// A row in a register.
#[target_feature(enable = "avx2")]
#[inline]
fn load_row(row: &Row) -> __m256i {
    // SAFETY: a row has 32 bytes and is aligned to 32.
    unsafe { _mm256_load_si256(std::ptr::from_ref(row).cast()) }
}

/// The line of a bucket of a direct index.
#[inline]
fn narrow_at(index: &Direct, bucket: u32) -> &Narrow {
    debug_assert!((bucket as usize) < index.top.len());
    // SAFETY: `Direct::build` makes an entry for each bucket from `low` to `high`, between which
    // keys are held, and each names a line that it has laid down. Checked in debug builds.
    unsafe {
        let number = usize::from(*index.top.get_unchecked(bucket as usize));
        debug_assert!(number < index.lines.len());
        index.lines.get_unchecked(number)
    }
}

/// The code of interval `rank` of a line of narrow keys.
#[inline]
fn narrow_code(line: &Narrow, rank: u32) -> u32 {
    debug_assert!((rank as usize) < narrow::INTERVALS);
    // SAFETY: a line has a code for each of its 15 keys and one more (`Narrow::of`), and `rank`
    // counts keys that are below a unit, which what fills the last place is not.
    u32::from(unsafe { *line.codes.get_unchecked(rank as usize) })
}

/// The keys of a line of narrow keys in a register.
#[target_feature(enable = "avx2")]
#[inline]
fn load_narrow(line: &Narrow) -> __m256i {
    // SAFETY: the keys are the first 32 bytes of a line, which is aligned to 64.
    unsafe { _mm256_load_si256(line.keys.as_ptr().cast()) }
}

/// The lines of a chunk of a huge table.
#[derive(Clone, Copy)]
struct LinesOfChunk<'a> {
    at: *const Line,
    chunk: PhantomData<&'a [Line]>,
}

impl<'a> LinesOfChunk<'a> {
    #[inline]
    fn of(lines: &'a [Line]) -> Self {
        debug_assert!(INDEX_LINES < lines.len());
        Self {
            at: lines.as_ptr(),
            chunk: PhantomData,
        }
    }

    /// Chunk `number` of a table: out of a list of places, which is one load, where a slice's
    /// beginning has to be reckoned.
    #[inline]
    fn nth(table: &'a Rank, number: u8) -> Self {
        let place = table.places[usize::from(number)];
        debug_assert_eq!(place, table.hot[usize::from(number)].as_ptr().addr());
        Self {
            at: std::ptr::with_exposed_provenance(place),
            chunk: PhantomData,
        }
    }
}

/// A block of a chunk, as `chunk` describes it.
#[derive(Clone, Copy)]
struct Block<'a> {
    at: *const u64,
    chunk: PhantomData<&'a [Line]>,
}

impl<'a> Block<'a> {
    /// The block of the group that the highest ten bits of `word` number.
    #[inline]
    fn of(chunk: LinesOfChunk<'a>, word: u16) -> Self {
        Self::of_group(chunk, word >> (u16::BITS - GROUPS.ilog2()))
    }

    /// The block of a group: ten bits of an address.
    #[inline]
    fn of_group(chunk: LinesOfChunk<'a>, group: u16) -> Self {
        debug_assert!(usize::from(group) < GROUPS);
        let group = usize::from(group);
        // SAFETY: a chunk begins with an index of 1024 entries (`Chunk::put_together`), each of
        // which is the place of a block in the chunk's lines, in units of eight bytes. The lines
        // are borrowed (`of`), or held by the table that is (`nth`, `Rank::find_places`).
        let at = unsafe {
            let entry = *chunk.at.cast::<u16>().add(group);
            chunk.at.cast::<u64>().add(usize::from(entry))
        };
        Self {
            at,
            chunk: PhantomData,
        }
    }

    /// See [`in_turn`].
    #[inline]
    fn in_turn(self) -> Self {
        let at = in_turn(self.at);
        Self { at, ..self }
    }

    /// Starts to load it.
    #[inline]
    fn prefetch(self) {
        // SAFETY: as for `prefetch`; a prefetch of any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(self.at.cast()) }
    }

    /// The code that it has for a slot, of which the lowest six bits count.
    #[inline]
    fn code<L: Leaf>(self, slot: u8) -> u32 {
        // SAFETY: `of` found it in lines that are borrowed for as long. The highest bit of every
        // block is set, and behind the bits lie as many codes as there are bits, aligned to
        // their size: at least one bit is counted, and none that has no code.
        unsafe {
            let from_here = *self.at >> (slot & 63);
            let place = from_here.count_ones() as usize;
            debug_assert!(place > 0);
            match L::CODE_BITS {
                16 => u32::from(*self.at.cast::<u16>().add(place + 3)),
                _ => *self.at.cast::<u32>().add(place + 1),
            }
        }
    }
}

/// The highest 32 bits of an address, where they lie in memory: a byte of them is one load, where
/// taking it out of a register is up to three instructions.
#[derive(Clone, Copy)]
struct Top<'a> {
    at: *const u8,
    key: PhantomData<&'a u8>,
}

impl<'a> Top<'a> {
    #[inline]
    fn of<K: Key>(key: &'a K) -> Self {
        const { assert!(size_of::<K>() * 8 == K::BITS as usize && K::BITS >= 32) };
        Self {
            // SAFETY: the last four bytes of an address, which is an integer (see `Key`) and has
            // them at its end: x86 is little-endian.
            at: unsafe { std::ptr::from_ref(key).add(1).cast::<u8>().sub(4) },
            key: PhantomData,
        }
    }

    /// Bits 8 * `N` to 8 * `N` + 7, the lowest being 0.
    #[inline]
    fn byte<const N: usize>(self) -> u8 {
        const { assert!(N < 4) };
        // SAFETY: one of the four bytes that `of` has a borrow of.
        unsafe { *self.at.add(N) }
    }

    /// Bits 8 * `N` to 8 * `N` + 15.
    #[inline]
    fn word<const N: usize>(self) -> u16 {
        const { assert!(N < 3) };
        // SAFETY: two of these four bytes.
        unsafe { self.at.add(N).cast::<u16>().read_unaligned() }
    }
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

/// Keys turned, and not above what is left of a row; stored as [`places`] does.
#[target_feature(enable = "avx2")]
#[inline]
fn turned_below_pad(keys: &[u32; PAIR], out: &mut [i32; PAIR]) {
    let both = keys
        .as_chunks::<8>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<8>().0);
    for (keys, out) in both {
        // SAFETY: reads the 32 bytes of `keys` and writes those of `out`, wherever they lie.
        unsafe {
            let keys = _mm256_loadu_si256(keys.as_ptr().cast());
            let turned = _mm256_xor_si256(keys, _mm256_set1_epi32(i32::MIN));
            let below = _mm256_min_epi32(turned, _mm256_set1_epi32(PAD - 1));
            _mm256_storeu_si256(out.as_mut_ptr().cast(), below);
        }
    }
    laid_down(out);
}

/// A key in all lanes, turned, and not above what is left of a row: taken from where keys lie,
/// for what is stored as wide lanes comes back late in narrow ones.
#[target_feature(enable = "avx2")]
#[inline]
fn everywhere(key: &u32) -> __m256i {
    // SAFETY: reads the four bytes of a key.
    let key = unsafe { _mm256_castps_si256(_mm256_broadcast_ss(&*std::ptr::from_ref(key).cast())) };
    let turned = _mm256_xor_si256(key, _mm256_set1_epi32(i32::MIN));
    _mm256_min_epi32(turned, _mm256_set1_epi32(PAD - 1))
}

/// Two IPv4 keys in one register.
#[derive(Clone, Copy)]
struct Two(u64);

impl Two {
    #[inline]
    fn of(keys: &[u32; 2]) -> Self {
        // SAFETY: reads the eight bytes of two keys, wherever they lie.
        Self(unsafe { keys.as_ptr().cast::<u64>().read_unaligned() })
    }

    /// `BITS` bits from bit `FROM` of the key with number `N` on: one instruction.
    #[target_feature(enable = "bmi1")]
    #[inline]
    fn bits<const N: u32, const FROM: u32, const BITS: u32>(self) -> u16 {
        const { assert!(N < 2 && FROM + BITS <= 32 && BITS <= 16) };
        _bextr2_u64(self.0, ((N * 32 + FROM) | (BITS << 8)).into()) as u16
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

/// The chunk of an IPv6 table that has the addresses beginning with these 16 bits.
#[inline]
fn home_at(table: &Six, top: u16) -> &Home {
    let top = usize::from(top);
    debug_assert!(top < table.map.len());
    // SAFETY: `Six::build` maps each 16 bits to a chunk that it has made, and `Six::replaced`
    // changes one of these to a chunk that it adds; none is ever taken away.
    unsafe {
        let number = usize::from(*table.map.get_unchecked(top));
        debug_assert!(number < table.homes.len());
        table.homes.get_unchecked(number)
    }
}

/// What a chunk of an IPv6 table has below its slots. Its builder names nothing that it has not
/// laid down (`Below::code_of`), and lays down one of each kind before all others.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a Below);

impl<'a> Fields<'a> {
    /// The entry for a unit in the field that a code names, or in the first one if the code
    /// names none.
    #[inline]
    fn entry(self, code: u32, unit: u32) -> &'a u16 {
        let number = code.saturating_sub(Short::SUBTREE) as usize;
        debug_assert!(number < self.0.fields.len());
        // SAFETY: see above; a field has an entry for each bucket, the first one a single entry
        // for all units (`Below::lay`, `Below::default`).
        unsafe {
            let entry = self.0.fields.get_unchecked(number).entry(unit) as usize;
            debug_assert!(entry < self.0.entries.len());
            self.0.entries.get_unchecked(entry)
        }
    }

    /// The line that an entry names.
    #[inline]
    fn line(self, entry: u16) -> &'a Narrow {
        debug_assert!(usize::from(entry) < self.0.lines.len());
        // SAFETY: see above.
        unsafe { self.0.lines.get_unchecked(usize::from(entry)) }
    }
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

    /// How many of a row's keys are not above `key`, which is in all lanes.
    #[target_feature(enable = "avx512f,avx512vl,popcnt")]
    #[inline]
    pub(super) fn row_rank(row: &Row, key: __m256i) -> u32 {
        let keys = mask(rows::KEYS) as u8;
        u32::from(_mm256_mask_cmple_epi32_mask(keys, load_row(row), key)).count_ones()
    }

    /// The same of a table's first line.
    #[target_feature(enable = "avx512f,popcnt")]
    #[inline]
    pub(super) fn top_rank(top: &Line, key: __m256i) -> u32 {
        let key = _mm512_broadcastd_epi32(_mm256_castsi256_si128(key));
        let keys = mask(ROWS - 1) as u16;
        u32::from(_mm512_mask_cmple_epi32_mask(keys, load(top), key)).count_ones()
    }

    /// How many keys of a line are below a unit, which `pair` has in both its halves.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
    #[inline]
    pub(super) fn narrow_rank(line: &Narrow, pair: u32) -> u32 {
        let unit = _mm256_set1_epi32(pair as i32);
        u32::from(_mm256_cmpgt_epi16_mask(unit, load_narrow(line))).count_ones()
    }

    /// The same of a unit's lowest 16 bits, as they are.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
    #[inline]
    pub(super) fn narrow_rank_of(line: &Narrow, unit: u16) -> u32 {
        let unit = _mm256_xor_si256(_mm256_set1_epi16(unit as i16), _mm256_set1_epi16(i16::MIN));
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

    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    pub(super) fn row_rank(row: &Row, key: __m256i) -> u32 {
        let above = _mm256_cmpgt_epi32(load_row(row), key);
        let above = _mm256_movemask_ps(_mm256_castsi256_ps(above)) as u32;
        (!above & mask(rows::KEYS)).count_ones()
    }

    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    pub(super) fn top_rank(top: &Line, key: __m256i) -> u32 {
        rank_of(top, mask(ROWS - 1), key)
    }

    /// How many keys of a line are below a unit, which `pair` has in both its halves.
    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    pub(super) fn narrow_rank(line: &Narrow, pair: u32) -> u32 {
        let above = _mm256_cmpgt_epi16(_mm256_set1_epi32(pair as i32), load_narrow(line));
        // Two bits a key.
        (_mm256_movemask_epi8(above) as u32).count_ones() / 2
    }

    /// The same of a unit's lowest 16 bits, as they are.
    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    pub(super) fn narrow_rank_of(line: &Narrow, unit: u16) -> u32 {
        let unit = _mm256_xor_si256(_mm256_set1_epi16(unit as i16), _mm256_set1_epi16(i16::MIN));
        let above = _mm256_cmpgt_epi16(unit, load_narrow(line));
        (_mm256_movemask_epi8(above) as u32).count_ones() / 2
    }

    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    pub(super) fn rank(line: &Line, mask: u32, key: i32) -> u32 {
        rank_of(line, mask, _mm256_set1_epi32(key))
    }

    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    fn rank_of(line: &Line, mask: u32, key: __m256i) -> u32 {
        let at = line.0.as_ptr().cast::<__m256i>();
        // SAFETY: a line is two aligned halves of 32 bytes.
        let (low, high) = unsafe { (_mm256_load_si256(at), _mm256_load_si256(at.add(1))) };
        let above = |half| _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(half, key)));
        let above = above(low) as u32 | (above(high) as u32) << 8;
        (!above & mask).count_ones()
    }
}
