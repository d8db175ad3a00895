//! A bounded ring between two threads: one fills, the other takes.
//!
//! What passes is a tray, not a packet: one exchange moves a batch, and the
//! tray that the taker leaves in its place goes back, with whatever is in it.
//! So nothing is allocated on either side.
//!
//! ```text
//!            next to fill (tail)
//!                  ↓
//!  ┌──────┬──────┬──────┬──────┐
//!  │ full │ full │ back │ back │      filler: swaps its tray for `back`
//!  └──────┴──────┴──────┴──────┘      taker:  swaps its tray for `full`
//!     ↑
//!  next to take (head)
//! ```
//!
//! The indexes say whose turn a slot is, so its mutex is never contended:
//! `try_lock` does not fail (`src/models.rs`), and nobody ever waits. It is
//! there because it makes the exchange safe code, for one atomic operation a
//! batch.

use crate::flow::prefetch;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering};

/// Keeps what two threads change out of each other's cache lines, of which
/// processors fetch two together.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

#[derive(Debug)]
struct Shared<T> {
    slots: Box<[Apart<Mutex<T>>]>,
    head: Apart<AtomicUsize>,
    tail: Apart<AtomicUsize>,
}

/// The side that fills.
#[derive(Debug)]
pub(crate) struct Filler<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    /// Where the other side was when it was last looked at.
    head: usize,
}

/// The side that takes.
#[derive(Debug)]
pub(crate) struct Taker<T> {
    shared: Arc<Shared<T>>,
    head: usize,
}

/// A ring of `slots` empty trays.
pub(crate) fn ring<T: Default>(slots: usize) -> (Filler<T>, Taker<T>) {
    let shared = Arc::new(Shared {
        slots: (0..slots.max(1))
            .map(|_| Apart(Mutex::new(T::default())))
            .collect(),
        head: Apart(AtomicUsize::new(0)),
        tail: Apart(AtomicUsize::new(0)),
    });
    let filler = Filler {
        shared: Arc::clone(&shared),
        tail: 0,
        head: 0,
    };
    (filler, Taker { shared, head: 0 })
}

impl<T> Shared<T> {
    /// Swaps `tray` with the one in the slot of `index`. The caller knows that
    /// the slot is its own; false if it is not, which cannot be.
    fn swap(&self, index: usize, tray: &mut T) -> bool {
        let slot = self.slots.get(index % self.slots.len());
        match slot.map(|slot| slot.0.try_lock()) {
            Some(Ok(mut held)) => {
                std::mem::swap(&mut *held, tray);
                true
            }
            _ => false,
        }
    }
}

impl<T> Filler<T> {
    /// Passes `tray` on and puts one that came back in its place; false, and
    /// nothing changes, when the ring is full.
    pub(crate) fn pass(&mut self, tray: &mut T) -> bool {
        if !self.has_room() || !self.shared.swap(self.tail, tray) {
            return false;
        }
        self.tail = self.tail.wrapping_add(1);
        self.shared.tail.0.store(self.tail, Ordering::Release);
        true
    }

    /// Whether the next [`Self::pass`] succeeds. The other side is looked at only
    /// where there was no room before.
    pub(crate) fn has_room(&mut self) -> bool {
        let slots = self.shared.slots.len();
        if self.tail.wrapping_sub(self.head) >= slots {
            self.head = self.shared.head.0.load(Ordering::Acquire);
        }
        self.tail.wrapping_sub(self.head) < slots
    }
}

impl<T> Taker<T> {
    /// Takes the next tray and sends `tray` back in its place; false, and
    /// nothing changes, when the ring is empty.
    pub(crate) fn take(&mut self, tray: &mut T) -> bool {
        if self.is_empty() || !self.shared.swap(self.head, tray) {
            return false;
        }
        self.head = self.head.wrapping_add(1);
        self.shared.head.0.store(self.head, Ordering::Release);
        true
    }

    /// Asks for the lines that [`Self::take`] will look at: they are in the other
    /// core's cache, perhaps.
    pub(crate) fn fetch(&self) {
        prefetch(std::slice::from_ref(&self.shared.tail), 0);
        prefetch(&self.shared.slots, self.head % self.shared.slots.len());
    }

    /// Whether no tray waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.tail.0.load(Ordering::Acquire) == self.head
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn trays_pass_in_order_come_back_and_a_full_ring_takes_none() {
        let (mut filler, mut taker) = ring::<Vec<u32>>(2);
        for n in 1..=2 {
            let mut tray = vec![n];
            assert!(filler.pass(&mut tray));
            assert!(tray.is_empty(), "a fresh one came back");
        }
        let mut third = vec![3];
        assert!(!filler.pass(&mut third));
        assert_eq!(third, [3]);

        let mut tray = vec![10];
        assert!(taker.take(&mut tray));
        assert_eq!(tray, [1]);
        assert!(filler.pass(&mut third));
        assert_eq!(third, [10], "what the taker left");
        for n in [2, 3] {
            assert!(taker.take(&mut tray));
            assert_eq!(tray, [n]);
        }
        assert!(taker.is_empty() && !taker.take(&mut tray));
    }
}
