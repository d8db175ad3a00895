//! One arena for the lines of all small tables.
//!
//! A machine full of VPCs asks another table for each packet, and what lies all over the heap
//! takes many pages. So their lines lie together, in blocks of a huge page, 64-byte aligned
//! and with nothing between them; counts of who shares a run are at the block's start.
//! Runs come and go off the packet path: the shortest free one that fits is taken, and what
//! comes back grows together with its free neighbours ([`Free`]).
//!
//! ```text
//! block    counts, one a line (128 kB) ── lines ─────────────────
//! ```

// JUSTIFICATION: std's shared slices have an allocation each, and a line for their counts: of
// 50 routes each takes half a byte less without, and lookups in 4 096 such tables are no slower
// (4.7 ns beside 4.8: ARCHITECTURE §10). No allocator but the heap's can be named for them.
#![expect(unsafe_code, reason = "memory that is shared out by line, and counted")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::line::Line;

/// Bytes of a block, and what it is aligned to: a huge page.
const BLOCK: usize = 2 << 20;
/// Bytes of its counts.
const COUNTS: usize = BLOCK / size_of::<Line>() * size_of::<AtomicU32>();
/// Lines of a block.
const LINES: usize = (BLOCK - COUNTS) / size_of::<Line>();

/// A run of lines that nobody changes. Clones share it; the last one gives it back.
pub(super) struct Lines {
    start: NonNull<Line>,
    len: usize,
}

// SAFETY: lines are plain numbers that nobody changes; counts are atomic.
unsafe impl Send for Lines {}
// SAFETY: as above.
unsafe impl Sync for Lines {}

impl Lines {
    /// A copy of `lines` in the arena.
    pub(super) fn new(lines: &[Line]) -> Self {
        let start = match room_for(lines.len()) {
            // As many as a block has, or more: a block of its own, which is never shared out.
            LINES.. => new_block(lines.len()),
            room => arena().take(room),
        };
        // SAFETY: room for so many lines was taken there, and nobody else has it: neither the
        // lines nor their count.
        unsafe {
            start.copy_from_nonoverlapping(NonNull::from(lines).cast(), lines.len());
            count_of(start).write(AtomicU32::new(1));
        }
        Self {
            start,
            len: lines.len(),
        }
    }

    fn count(&self) -> &AtomicU32 {
        // SAFETY: written when the run was taken, and there until the last of its clones goes.
        unsafe { count_of(self.start).as_ref() }
    }

    /// Bytes of memory: the lines, and their part of the counts.
    pub(super) fn memory(&self) -> usize {
        self.len * (size_of::<Line>() + size_of::<AtomicU32>())
    }

    /// Whether the two are one run.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.start == other.start
    }
}

/// Lines that a run takes: one even if it has none.
fn room_for(len: usize) -> usize {
    len.max(1)
}

impl Deref for Lines {
    type Target = [Line];

    #[inline]
    fn deref(&self) -> &[Line] {
        // SAFETY: so many were written there, and are the run's until the last clone goes.
        unsafe { NonNull::slice_from_raw_parts(self.start, self.len).as_ref() }
    }
}

impl Clone for Lines {
    fn clone(&self) -> Self {
        // As std's `Arc`: who clones has one, so there is nothing to wait for. (More clones
        // than a count can hold would take 64 GB.)
        self.count().fetch_add(1, Ordering::Relaxed);
        Self { ..*self }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.count().fetch_sub(1, Ordering::Release) > 1 {
            return;
        }
        // What others read of the run, they have read before it is given back.
        fence(Ordering::Acquire);
        match room_for(self.len) {
            LINES.. => free_block(self.start, self.len),
            room => arena().give_back(self.start, room),
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl PartialEq for Lines {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Lines {}

impl Hash for Lines {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// Where the count of a run is that begins here.
fn count_of(start: NonNull<Line>) -> NonNull<AtomicU32> {
    let within = start.addr().get() % BLOCK;
    let number = within / size_of::<Line>();
    // SAFETY: runs begin within the first `BLOCK` bytes of a block, which is aligned to as
    // many; a line's place among all that fit is that of a count before the lines.
    unsafe { start.byte_sub(within).cast().add(number) }
}

/// How a block for `lines` lines is laid out.
fn layout(lines: usize) -> Layout {
    let bytes = (COUNTS + lines * size_of::<Line>()).next_multiple_of(BLOCK);
    // A size that is none is more than any machine has.
    Layout::from_size_align(bytes, BLOCK)
        .unwrap_or_else(|_| handle_alloc_error(Layout::new::<Line>()))
}

/// A new block's first line.
fn new_block(lines: usize) -> NonNull<Line> {
    let layout = layout(lines);
    // SAFETY: it is not empty. The advice changes no byte of what was just made; a refusal
    // leaves ordinary pages. The first line is behind the counts, within the block.
    unsafe {
        let Some(block) = NonNull::new(alloc(layout)) else {
            handle_alloc_error(layout)
        };
        libc::madvise(block.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE);
        block.add(COUNTS).cast()
    }
}

/// Gives a block back whose first line this is.
fn free_block(first: NonNull<Line>, lines: usize) {
    // SAFETY: made by `new_block` for as many lines, and nobody has anything of it.
    unsafe { dealloc(first.byte_sub(COUNTS).cast().as_ptr(), layout(lines)) };
}

/// What is free of all blocks.
#[derive(Debug)]
struct Free {
    /// Free runs: first line, number of lines.
    runs: BTreeMap<NonNull<Line>, usize>,
    /// The same, shortest first.
    by_len: BTreeSet<(usize, NonNull<Line>)>,
}

// SAFETY: it owns what its pointers lead to.
unsafe impl Send for Free {}

static ARENA: Mutex<Free> = Mutex::new(Free::EMPTY);

/// Tables are made, and go, on threads that no packet waits for.
fn arena() -> MutexGuard<'static, Free> {
    // Nothing panics between two changes that belong together.
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The line after a run.
fn after(start: NonNull<Line>, len: usize) -> NonNull<Line> {
    // SAFETY: runs lie within a block; its end is allowed.
    unsafe { start.add(len) }
}

impl Free {
    const EMPTY: Self = Self {
        runs: BTreeMap::new(),
        by_len: BTreeSet::new(),
    };

    /// Takes a run of `len` lines, at most a block's.
    fn take(&mut self, len: usize) -> NonNull<Line> {
        // (Below all places there are.)
        let lowest = NonNull::dangling();
        let fits = self.by_len.range((len, lowest)..).next();
        let (held, start) = fits.copied().unwrap_or_else(|| (LINES, new_block(LINES)));
        self.remove(start, held);
        if held > len {
            self.insert(after(start, len), held - len);
        }
        start
    }

    /// Takes a run back. A block that is all free goes, unless it is the only such.
    fn give_back(&mut self, mut start: NonNull<Line>, mut len: usize) {
        if let Some((&before, &held)) = self.runs.range(..start).next_back()
            && after(before, held) == start
        {
            self.remove(before, held);
            (start, len) = (before, held + len);
        }
        // (Never another block's: that begins with its counts.)
        let next = after(start, len);
        if let Some(&held) = self.runs.get(&next) {
            self.remove(next, held);
            len += held;
        }
        let other_is_free = self.by_len.last().is_some_and(|&(held, _)| held == LINES);
        if len == LINES && other_is_free {
            free_block(start, LINES);
        } else {
            self.insert(start, len);
        }
    }

    fn insert(&mut self, start: NonNull<Line>, len: usize) {
        self.runs.insert(start, len);
        self.by_len.insert((len, start));
    }

    fn remove(&mut self, start: NonNull<Line>, len: usize) {
        self.runs.remove(&start);
        self.by_len.remove(&(len, start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_grows_together() {
        let mut free = Free::EMPTY;
        let runs = [3, 1, 9, 2].map(|len| (free.take(len), len));
        let [a, b, c, d] = runs.map(|(start, _)| start.addr().get());
        let line = size_of::<Line>();
        assert_eq!((b - a, c - b, d - c), (3 * line, line, 9 * line));
        assert_eq!((a % BLOCK, a % line), (COUNTS, 0));
        // The shortest that fits, and what it leaves.
        free.give_back(runs[2].0, 9);
        assert_eq!(free.take(4).addr().get(), c);
        assert_eq!(free.take(5).addr().get(), c + 4 * line);
        free.give_back(runs[2].0, 9);
        for n in [1, 3, 0] {
            free.give_back(runs[n].0, runs[n].1);
        }
        assert_eq!(free.runs.values().copied().collect::<Vec<_>>(), [LINES]);
        assert_eq!(free.by_len.len(), 1);
        free_block(runs[0].0, LINES);
    }

    #[test]
    fn of_blocks_that_are_all_free_one_stays() {
        let mut free = Free::EMPTY;
        let halves = [(); 4].map(|()| free.take(LINES / 2));
        assert!(free.runs.is_empty());
        for half in halves {
            free.give_back(half, LINES / 2);
        }
        let held: Vec<_> = free
            .runs
            .iter()
            .map(|(&start, &len)| (start, len))
            .collect();
        let &[(start, LINES)] = held.as_slice() else {
            panic!("{held:?}");
        };
        free_block(start, LINES);
    }

    #[test]
    fn clones_are_one_run_and_equals_are_not() {
        let lines = Lines::new(&[Line([7; 16]); 3]);
        let (same, equal) = (lines.clone(), Lines::new(&lines));
        assert!(lines.is(&same) && !lines.is(&equal) && lines == equal);
        assert_eq!(lines.count().load(Ordering::Relaxed), 2);
        drop(lines);
        assert_eq!(same[2], Line([7; 16]));
        assert_eq!(same.count().load(Ordering::Relaxed), 1);
        assert!(Lines::new(&[]).is_empty());
    }
}
