//! Values that many sessions share, kept once and counted.

use std::collections::HashMap;
use std::hash::Hash;

use super::hash::Seeded;
use super::memory;

/// Interned values; a number names each while somebody uses it.
#[derive(Debug)]
pub(super) struct Interned<T> {
    values: Vec<T>,
    /// Of each. Sessions that come and go count here, and need not fetch the value.
    users: Vec<u32>,
    free: Vec<u32>,
    by_value: HashMap<T, u32, Seeded>,
    /// The number asked for last: comparing is cheaper than hashing.
    last: u32,
}

impl<T: Copy + Eq + Hash> Interned<T> {
    pub(super) fn new(seeded: Seeded) -> Self {
        Self {
            values: Vec::new(),
            users: Vec::new(),
            free: Vec::new(),
            by_value: HashMap::with_hasher(seeded),
            last: 0,
        }
    }

    /// The number of `value`, in use once more; and whether it is new.
    pub(super) fn intern(&mut self, value: T) -> (u32, bool) {
        if let (Some(held), Some(users)) = (self.get(self.last), self.users(self.last))
            && users > 0
            && *held == value
        {
            self.again(self.last);
            return (self.last, false);
        }
        if let Some(&number) = self.by_value.get(&value) {
            self.again(number);
            self.last = number;
            return (number, false);
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None => self.values.len() as u32,
        };
        let at = number as usize;
        match (self.values.get_mut(at), self.users.get_mut(at)) {
            (Some(held), Some(users)) => (*held, *users) = (value, 1),
            _ => {
                self.values.push(value);
                self.users.push(1);
            }
        }
        self.by_value.insert(value, number);
        (number, true)
    }

    /// One more use of a value that is in use.
    pub(super) fn again(&mut self, number: u32) {
        if let Some(users) = self.users.get_mut(number as usize) {
            *users += 1;
        }
    }

    /// Gives up one use; the value, if it was the last.
    pub(super) fn release(&mut self, number: u32) -> Option<T> {
        let users = self.users.get_mut(number as usize)?;
        *users = users.saturating_sub(1);
        if *users > 0 {
            return None;
        }
        let value = *self.get(number)?;
        self.by_value.remove(&value);
        self.free.push(number);
        Some(value)
    }

    /// The value with this number.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.values.get(number as usize)
    }

    fn users(&self, number: u32) -> Option<u32> {
        self.users.get(number as usize).copied()
    }

    /// Fetches the value with this number.
    #[inline]
    pub(super) fn prefetch(&self, number: u32) {
        memory::prefetch_whole(&self.values, number as usize);
    }
}
