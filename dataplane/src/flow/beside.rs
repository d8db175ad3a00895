//! What few sessions have beside what all of them have: by slot, found without
//! hashing, in memory that is reserved when the first of them comes.

use super::entry::NONE;

/// Values by slot, as many as there can be sessions.
#[derive(Debug)]
pub(super) struct Beside<T> {
    capacity: usize,
    /// Where the value of a slot is, by family; [`NONE`] if it has none.
    places: [Vec<u32>; 2],
    values: Vec<T>,
    free: Vec<u32>,
}

impl<T: Copy> Beside<T> {
    /// No values yet, and no memory.
    pub(super) const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            places: [Vec::new(), Vec::new()],
            values: Vec::new(),
            free: Vec::new(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.values.len() - self.free.len()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        let places = self.places.get(slot as usize & 1)?;
        let place = *places.get(slot as usize >> 1)?;
        self.values.get(place as usize)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        let places = self.places.get(slot as usize & 1)?;
        let place = *places.get(slot as usize >> 1)?;
        self.values.get_mut(place as usize)
    }

    /// Puts a slot's value; returns the one that it had.
    pub(super) fn insert(&mut self, slot: u32, value: T) -> Option<T> {
        if let Some(held) = self.get_mut(slot) {
            return Some(std::mem::replace(held, value));
        }
        if self.values.capacity() == 0 {
            self.values.reserve_exact(self.capacity);
            self.free.reserve_exact(self.capacity);
        }
        let places = self.places.get_mut(slot as usize & 1)?;
        if places.is_empty() {
            places.resize(self.capacity, NONE);
        }
        let place = places.get_mut(slot as usize >> 1)?;
        *place = match self.free.pop() {
            Some(free) => free,
            None => self.values.len() as u32,
        };
        match self.values.get_mut(*place as usize) {
            Some(free) => *free = value,
            None => self.values.push(value),
        }
        None
    }

    /// Takes a slot's value away.
    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let places = self.places.get_mut(slot as usize & 1)?;
        let place = places.get_mut(slot as usize >> 1)?;
        let value = *self.values.get(*place as usize)?;
        self.free.push(std::mem::replace(place, NONE));
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn it_holds_what_a_map_holds_and_no_more_memory_than_it_began_with() {
        let (mut beside, mut map) = (Beside::new(50), HashMap::new());
        let mut memory = 0;
        for n in 0..10_000u32 {
            let slot = (n.wrapping_mul(2_654_435_761) >> 7) % 60;
            if n % 3 == 0 {
                assert_eq!(beside.remove(slot), map.remove(&slot));
            } else {
                assert_eq!(beside.insert(slot, n), map.insert(slot, n));
            }
            assert_eq!(beside.len(), map.len());
            let all = (0..60).map(|slot| beside.get(slot).copied());
            assert!(all.eq((0..60).map(|slot| map.get(&slot).copied())));
            let now = beside.values.capacity() + beside.free.capacity();
            assert!(memory == 0 || memory == now);
            memory = now;
        }
        assert!(beside.get(1000).is_none() && beside.remove(1000).is_none());
    }
}
