//! Hints to the memory system: lines that will be needed, huge pages, stores past the
//! caches; and the comparison of a bucket's tags.
//!
//! The one unsafe file of `flow`. Hints change no value: the scalar twin of
//! each is to do nothing, and every caller is right without it.
#![expect(
    unsafe_code,
    reason = "prefetch, madvise, vector instructions and their stores have no safe form"
)]

/// Asks for the cache line at the start of `slice[index]`; nothing happens
/// when there is no such place.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    if let Some(place) = slice.get(index) {
        prefetch_at(std::ptr::from_ref(place).cast());
    }
}

/// The same for the line `lines` cache lines after the start of `slice[index]`.
#[inline(always)]
pub(super) fn prefetch_line<T>(slice: &[T], index: usize, lines: usize) {
    if let Some(place) = slice.get(index) {
        let at: *const u8 = std::ptr::from_ref(place).cast();
        prefetch_at(at.wrapping_add(lines * CACHE_LINE));
    }
}

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

#[inline(always)]
fn prefetch_at(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // JUSTIFICATION: a batch's misses overlap instead of following one
        // another. What it gains alone is still to be measured.
        // SAFETY: a prefetch never faults and changes no memory, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// What a core fetches at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(64))]
pub(crate) struct CacheLine(pub(crate) [u8; CACHE_LINE]);

/// Appends copies of lines past the caches: for what another core reads next. What it
/// still has of these places is not fetched from there only to be written whole. Who reads
/// them must be told after [`settle`].
#[inline(always)]
pub(crate) fn push_past_caches(to: &mut Vec<CacheLine>, lines: &[[u8; CACHE_LINE]]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
        const LINE_WORDS: usize = CACHE_LINE / size_of::<__m128i>();
        if to.capacity() - to.len() < lines.len() {
            make_room(to, lines.len());
        }
        let len = to.len();
        let mut place: *mut __m128i = to.spare_capacity_mut().as_mut_ptr().cast();
        // JUSTIFICATION: such stores have no safe form. A frame handed over cost 132–138 ns
        // with them and 155–200 without, when they came.
        // SAFETY: every x86-64 has SSE2. A line is 64 bytes, read from any address. There
        // is room for all behind the vector's last line, just made if need be, which nothing
        // else refers to, at a multiple of 64; it is initialised when the length says so.
        unsafe {
            for line in lines {
                let source: *const __m128i = line.as_ptr().cast();
                for n in 0..LINE_WORDS {
                    _mm_stream_si128(place.add(n), _mm_loadu_si128(source.add(n)));
                }
                place = place.add(LINE_WORDS);
            }
            to.set_len(len + lines.len());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    to.extend(lines.iter().map(|line| CacheLine(*line)));
}

#[cold]
#[inline(never)]
fn make_room(lines: &mut Vec<CacheLine>, more: usize) {
    lines.reserve(more.max(64));
}

/// What was stored past the caches is seen by others before what is stored from now on.
#[inline]
pub(crate) fn settle() {
    #[cfg(target_arch = "x86_64")]
    {
        // JUSTIFICATION: no fence of Rust's own orders such stores.
        // SAFETY: every x86-64 has SSE; a fence reads and writes nothing.
        unsafe { std::arch::x86_64::_mm_sfence() }
    }
}

/// Asks for huge pages under memory that is reserved but not yet used: a table
/// of hundreds of megabytes would miss the TLB at each look.
pub(super) fn prefer_huge_pages<T>(reserved: &mut Vec<T>) {
    let bytes = reserved.capacity() * size_of::<T>();
    if bytes < HUGE_FROM {
        return;
    }
    let start = reserved.as_ptr() as usize;
    let first = start.next_multiple_of(PAGE);
    let len = (start + bytes).saturating_sub(first) / PAGE * PAGE;
    // JUSTIFICATION: std has no way to say it.
    // SAFETY: the range lies within one allocation of ours, and MADV_HUGEPAGE
    // changes no byte of it. A refusal leaves ordinary pages.
    unsafe { libc::madvise(first as *mut libc::c_void, len, libc::MADV_HUGEPAGE) };
}

/// A bit for each place that holds `wanted`.
#[inline(always)]
pub(super) fn equal(places: &[u32; 8], wanted: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{
            _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_movemask_ps, _mm_set_epi32, _mm_set1_epi32,
        };
        let [a, b, c, d, e, f, g, h] = places.map(|place| place as i32);
        // JUSTIFICATION: each look does it once or twice; of the scalar twin the
        // compiler makes four times the instructions (39, these are 10).
        // SAFETY: every x86-64 has SSE2, and no pointer is involved.
        unsafe {
            let wanted = _mm_set1_epi32(wanted as i32);
            let bits =
                |four| _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(four, wanted))) as u32;
            bits(_mm_set_epi32(d, c, b, a)) | bits(_mm_set_epi32(h, g, f, e)) << 4
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    equal_scalar(places, wanted)
}

/// The same without vectors.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn equal_scalar(places: &[u32; 8], wanted: u32) -> u32 {
    let places = places.iter().enumerate();
    places.fold(0, |bits, (at, place)| {
        bits | u32::from(*place == wanted) << at
    })
}

/// Smaller tables do not gain.
const HUGE_FROM: usize = 8 << 20;
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn equal_places_are_found_by_both_twins(places: [u8; 8], wanted: u8) {
            // Few values, so that many are equal; in the high bits as well.
            let places = places.map(|place| u32::from(place % 4) << 30);
            let wanted = u32::from(wanted % 4) << 30;
            let bits = equal(&places, wanted);
            proptest::prop_assert_eq!(bits, equal_scalar(&places, wanted));
            proptest::prop_assert_eq!(bits & 1 == 1, places[0] == wanted);
        }
    }

    proptest::proptest! {
        #[test]
        fn lines_are_appended_by_both_twins(
            had in 0usize..9,
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
        ) {
            let mut to = vec![CacheLine([7; CACHE_LINE]); had];
            let mut scalar = to.clone();
            // From any address.
            for from in 0..bytes.len() {
                let lines = bytes.get(from..).unwrap_or_default().as_chunks().0;
                push_past_caches(&mut to, lines);
                scalar.extend(lines.iter().map(|line| CacheLine(*line)));
            }
            settle();
            proptest::prop_assert_eq!(to, scalar);
        }
    }

    #[test]
    fn hints_change_nothing_and_accept_any_place() {
        let lines = vec![[7u8; 64]; 4];
        for index in 0..8 {
            prefetch(&lines, index);
            prefetch_line(&lines, index, 1);
        }
        let mut reserved: Vec<u64> = Vec::with_capacity(HUGE_FROM / 4);
        reserved.push(5);
        prefer_huge_pages(&mut reserved);
        reserved.resize(100_000, 9);
        assert_eq!((reserved[0], reserved[99_999]), (5, 9));
        assert_eq!(lines, vec![[7u8; 64]; 4]);
    }
}
