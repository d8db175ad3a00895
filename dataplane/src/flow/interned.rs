//! Values that many sessions share, kept once and counted.

use std::collections::HashMap;
use std::hash::Hash;

use super::hash::Seeded;

#[derive(Debug)]
struct Place<T> {
    value: T,
    users: u32,
}

/// Interned values; a number names each while somebody uses it.
#[derive(Debug)]
pub(super) struct Interned<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    by_value: HashMap<T, u32, Seeded>,
    /// The number asked for last: comparing is cheaper than hashing.
    last: u32,
}

impl<T: Copy + Eq + Hash> Interned<T> {
    pub(super) fn new(seeded: Seeded) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_value: HashMap::with_hasher(seeded),
            last: 0,
        }
    }

    /// The number of `value`, in use once more; and whether it is new.
    pub(super) fn intern(&mut self, value: T) -> (u32, bool) {
        if let Some(place) = self.places.get_mut(self.last as usize)
            && place.users > 0
            && place.value == value
        {
            place.users += 1;
            return (self.last, false);
        }
        if let Some(&number) = self.by_value.get(&value) {
            self.again(number);
            self.last = number;
            return (number, false);
        }
        let place = Place { value, users: 1 };
        let number = match self.free.pop() {
            Some(number) => number,
            None => self.places.len() as u32,
        };
        match self.places.get_mut(number as usize) {
            Some(free) => *free = place,
            None => self.places.push(place),
        }
        self.by_value.insert(value, number);
        (number, true)
    }

    /// One more use of a value that is in use.
    pub(super) fn again(&mut self, number: u32) {
        if let Some(place) = self.places.get_mut(number as usize) {
            place.users += 1;
        }
    }

    /// Gives up one use; the value, if it was the last.
    pub(super) fn release(&mut self, number: u32) -> Option<T> {
        let place = self.places.get_mut(number as usize)?;
        place.users = place.users.saturating_sub(1);
        if place.users > 0 {
            return None;
        }
        let value = place.value;
        self.by_value.remove(&value);
        self.free.push(number);
        Some(value)
    }

    /// The value with this number.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.places.get(number as usize).map(|place| &place.value)
    }
}
