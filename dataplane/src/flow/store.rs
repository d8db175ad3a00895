//! The entries of the sessions of one family.

use super::entry::{Address, Entry, Line, State, state_flag};
use super::{Direction, Key, memory};

/// The entries of one family.
#[derive(Debug)]
pub(crate) struct Store<A> {
    pub(super) entries: Vec<Entry<A>>,
    free: Vec<u32>,
}

impl<A: Address> Store<A> {
    pub(super) fn new(capacity: usize) -> Self {
        let mut entries = Vec::with_capacity(capacity);
        memory::prefer_huge_pages(&mut entries);
        Self {
            entries,
            free: Vec::new(),
        }
    }

    /// Takes a slot for a session with these ends.
    pub(super) fn put(&mut self, keys: [&Key; 2], family: u32) -> Option<u32> {
        let [near, far] = keys.map(Line::<A>::new);
        let lines = [near?, far?];
        let at = self.take();
        self.entries.get_mut(at as usize)?.lines = lines;
        Some(at << 1 | family)
    }

    /// Takes a place for a session, whose lines are still those of another.
    #[inline]
    pub(super) fn take(&mut self) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| self.grow());
        if let Some(Entry { state, .. }) = self.entries.get_mut(at as usize) {
            *state = State {
                age: state.age.wrapping_add(1),
                flags: state_flag::LIVE,
                ..State::FREE
            };
        }
        at
    }

    #[inline(never)]
    fn grow(&mut self) -> u32 {
        self.entries.push(Entry {
            state: State::FREE,
            lines: [Line::default(); 2],
        });
        self.entries.len() as u32 - 1
    }

    /// The place that will be taken after the next `ahead`.
    pub(super) fn next(&self, ahead: usize) -> usize {
        let at = self.free.len().checked_sub(ahead + 1);
        let free = at.and_then(|at| self.free.get(at));
        free.map_or(self.entries.len(), |&at| at as usize)
    }

    pub(super) fn take_away(&mut self, slot: u32) {
        if let Some(entry) = self.entry_mut(slot) {
            entry.state.flags = 0;
            // Nobody who has the slot from an earlier look takes it for a session.
            for line in &mut entry.lines {
                line.flags = 0;
            }
            self.free.push(slot >> 1);
        }
    }

    pub(super) fn entry(&self, slot: u32) -> Option<&Entry<A>> {
        self.entries.get((slot >> 1) as usize)
    }

    pub(super) fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry<A>> {
        self.entries.get_mut((slot >> 1) as usize)
    }

    pub(super) fn line(&self, slot: u32, direction: Direction) -> Option<&Line<A>> {
        self.entry(slot)?.lines.get(direction.index())
    }

    pub(super) fn line_mut(&mut self, slot: u32, direction: Direction) -> Option<&mut Line<A>> {
        self.entry_mut(slot)?.lines.get_mut(direction.index())
    }

    pub(super) fn memory(&self) -> usize {
        self.entries.len() * size_of::<Entry<A>>() + self.free.capacity() * size_of::<u32>()
    }
}
