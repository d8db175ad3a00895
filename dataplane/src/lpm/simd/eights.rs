//! Tables of rows with AVX2: the row of each key is found eight keys at a time, so that a key is
//! compared with one register more and nothing else.

// JUSTIFICATION: rows that are known to be there are read without looking again, for each key.

use super::kernels::avx2::by_whole_groups;
use super::*;

/// Keys as they are compared, and how far on the row of each is.
struct Placed {
    keys: [i32; PAIR],
    rows: [u32; PAIR],
}

/// Loads `keys` eight at a time, and stores what `place` finds for them.
#[target_feature(enable = "avx2")]
#[inline]
fn by_eights(keys: &[u32; PAIR], mut place: impl FnMut(__m256i) -> (__m256i, __m256i)) -> Placed {
    let mut found = Placed {
        keys: [0; PAIR],
        rows: [0; PAIR],
    };
    let (held, _) = found.keys.as_chunks_mut::<EIGHT>();
    let (rows, _) = found.rows.as_chunks_mut::<EIGHT>();
    let eights = keys.as_chunks::<EIGHT>().0.iter();
    for ((keys, held), rows) in eights.zip(held).zip(rows) {
        // SAFETY: reads the 32 bytes of `keys`, wherever they lie.
        let (key, row) = place(unsafe { _mm256_loadu_si256(keys.as_ptr().cast()) });
        // SAFETY: writes the 32 bytes of each, wherever they lie.
        unsafe {
            _mm256_storeu_si256(held.as_mut_ptr().cast(), key);
            _mm256_storeu_si256(rows.as_mut_ptr().cast(), row);
        }
    }
    laid_down(&mut found.keys);
    laid_down(&mut found.rows);
    found
}

/// The place of eight lanes, `row` bytes into `lines`.
///
/// # Safety
/// `row` is the number of a row, of which a line has two, times its 32 bytes.
#[inline]
unsafe fn row_at(lines: &[Line], row: u32) -> *const __m256i {
    debug_assert!(row.is_multiple_of(32) && (row as usize) < size_of_val(lines));
    // SAFETY: by the caller's word it is in these lines.
    unsafe { lines.as_ptr().cast::<u8>().add(row as usize).cast() }
}

/// The bits of lanes that have all bits set.
#[target_feature(enable = "avx2")]
#[inline]
fn bits(lanes: __m256i) -> u32 {
    _mm256_movemask_ps(_mm256_castsi256_ps(lanes)) as u32
}

/// Rows: which one is told by the first keys of all.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
#[inline(never)]
pub(super) fn in_rows(table: &Rows, keys: &[u32], out: &mut [u32]) {
    let all = |number: i32| _mm256_set1_epi32(number);
    let mut firsts = [all(0); rows::LANES - 1];
    for (first, key) in firsts.iter_mut().zip(table.firsts.keys) {
        *first = all(key);
    }
    // The last line (there is one) stands for those that are not there, to which no key is led.
    let last = table.lines.len() as u32 - 1;
    // SAFETY: so there are at least as many.
    let second = |line: u32| unsafe { line_at(table.lines, line.min(last)) }.0[rows::LANES];
    let seconds = _mm256_setr_epi32(
        second(0),
        second(1),
        second(2),
        second(3),
        second(4),
        second(5),
        second(6),
        second(7),
    );
    let again = |keys: &[u32], out: &mut [u32]| in_rows(table, keys, out);
    let search = |keys: &[u32; PAIR], out: &mut [u32; PAIR]| {
        let found = by_eights(keys, |keys| {
            let key = bounds_of_lanes(keys);
            let mut line = all(0);
            for first in firsts {
                line = _mm256_sub_epi32(line, _mm256_cmpgt_epi32(key, first));
            }
            let second = _mm256_permutevar8x32_epi32(seconds, line);
            let row = _mm256_add_epi32(line, line);
            let row = _mm256_sub_epi32(row, _mm256_cmpgt_epi32(key, second));
            (key, _mm256_slli_epi32::<5>(row))
        });
        let code = |n: usize| {
            // SAFETY: a line is there for each of the first keys and one before them
            // (`rows::build`), and what is left of these is above all keys.
            unsafe {
                let row = row_at(table.lines, found.rows[n]);
                let below = _mm256_cmpgt_epi32(all(found.keys[n]), _mm256_load_si256(row));
                let place = (bits(below) & mask(rows::KEYS)).count_ones() as usize;
                // At most as many as keys, behind which there is a code more than keys.
                *row.cast::<u8>().add(rows::KEYS * 4 + place)
            }
        };
        row_values(code, out);
    };
    by_whole_groups(keys, out, search, again);
}
