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

/// The same for all lines of `slice[index]`.
#[inline(always)]
pub(crate) fn prefetch_whole<T>(slice: &[T], index: usize) {
    // One more, if it begins within a line.
    let lines = size_of::<T>().div_ceil(CACHE_LINE) + usize::from(align_of::<T>() < CACHE_LINE);
    (0..lines).for_each(|line| prefetch_line(slice, index, line));
}

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

#[inline(always)]
fn prefetch_at(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // JUSTIFICATION: a batch's misses overlap instead of following one another: a line
        // of a large table takes 21 ns so, and about 160 waited for (ARCHITECTURE §8).
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

/// Lines written past the caches: for what another core reads next. What it still has of
/// these places is not fetched from there only to be written whole.
///
/// The rule for such stores is a fence by the same thread before anything else touches what they
/// wrote. So what was pushed is no part of the list until [`Self::settle`]; and where lines
/// move, are written once more or are freed, they settle first. What remains to be heeded: the
/// list goes to another thread settled.
#[derive(Debug, Default)]
pub(crate) struct LinesPastCaches {
    /// Those that have settled; room for all.
    settled: Vec<CacheLine>,
    /// How many there are with those that have not.
    count: usize,
}

impl LinesPastCaches {
    /// Appends copies of `lines`.
    #[inline(always)]
    pub(crate) fn push(&mut self, lines: &[[u8; CACHE_LINE]]) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
            const LINE_WORDS: usize = CACHE_LINE / size_of::<__m128i>();
            if self.settled.capacity() - self.count < lines.len() {
                self.make_room(lines.len());
            }
            // JUSTIFICATION: such stores have no safe form. A frame that crosses costs 33 ns
            // with them and 58 without; in a program that does nothing else, 14–25 and 16–40
            // (ARCHITECTURE §10).
            // SAFETY: every x86-64 has SSE2. A line is 64 bytes, read from any address. There
            // is room for all behind the last one, just made if need be, which nothing else
            // refers to, at a multiple of 64. The fence is `settle`'s: see the type.
            unsafe {
                let mut place: *mut __m128i = self.settled.as_mut_ptr().add(self.count).cast();
                for line in lines {
                    let source: *const __m128i = line.as_ptr().cast();
                    for n in 0..LINE_WORDS {
                        _mm_stream_si128(place.add(n), _mm_loadu_si128(source.add(n)));
                    }
                    place = place.add(LINE_WORDS);
                }
            }
            self.count += lines.len();
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let lines = lines.iter().map(|line| CacheLine(*line));
            self.settled.extend(lines);
            self.count = self.settled.len();
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, more: usize) {
        // They are copied to where the room is.
        self.settle();
        self.settled.reserve(more.max(64));
    }

    /// Those that have settled.
    #[inline]
    pub(crate) fn settled(&self) -> &[CacheLine] {
        &self.settled
    }

    /// All have settled afterwards: others see them before what is stored from now on.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if self.settled.len() == self.count {
            return;
        }
        // JUSTIFICATION: no fence of Rust's own orders such stores, and none of its lists knows
        // how many of them there were.
        // SAFETY: every x86-64 has SSE; a fence reads and writes nothing. `push` has written
        // so many lines, for which there is room.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::x86_64::_mm_sfence();
            self.settled.set_len(self.count);
        }
    }

    /// Forgets all lines, and keeps their room.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.settle();
        self.settled.clear();
        self.count = 0;
    }
}

impl Drop for LinesPastCaches {
    fn drop(&mut self) {
        // The allocator writes to what it gets back.
        self.settle();
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
            let mut to = LinesPastCaches::default();
            to.push(&vec![[7; CACHE_LINE]; had]);
            let mut scalar = vec![CacheLine([7; CACHE_LINE]); had];
            // From any address.
            for from in 0..bytes.len() {
                let lines = bytes.get(from..).unwrap_or_default().as_chunks().0;
                to.push(lines);
                scalar.extend(lines.iter().map(|line| CacheLine(*line)));
                proptest::prop_assert!(scalar.starts_with(to.settled()));
            }
            to.settle();
            proptest::prop_assert_eq!(to.settled(), scalar);
        }
    }

    #[test]
    fn lines_are_there_once_settled_and_settle_before_they_move() {
        let line = |n: u8| [n; CACHE_LINE];
        let mut to = LinesPastCaches::default();
        to.push(&[line(1)]);
        let room = to.settled.capacity();
        for n in 2..=room {
            to.push(&[line(n as u8)]);
        }
        #[cfg(target_arch = "x86_64")]
        assert!(to.settled().is_empty(), "nobody sees what has not settled");
        // One more than there is room for: the others are copied.
        to.push(&[line(0)]);
        assert!(to.settled().len() >= room && to.settled.capacity() > room);
        let expected = |n: usize| CacheLine(line(n as u8));
        assert!(
            to.settled()
                .iter()
                .take(room)
                .cloned()
                .eq((1..=room).map(expected))
        );
        to.settle();
        assert_eq!(to.settled().get(room), Some(&CacheLine(line(0))));
        // Lines that never settled are forgotten with the others.
        to.push(&[line(9)]);
        to.clear();
        to.push(&[line(8)]);
        to.settle();
        assert_eq!(to.settled(), [CacheLine(line(8))]);
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
