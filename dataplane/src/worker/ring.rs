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
//! `try_lock` does not fail (`tests/loom.rs`), and nobody ever waits. It is
//! there because it makes the exchange safe code, for one atomic operation a
//! batch.

use crate::sync::{Arc, AtomicUsize, Mutex, Ordering};

/// Keeps the two indexes out of each other's cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Index(AtomicUsize);

#[derive(Debug)]
struct Shared<T> {
    slots: Box<[Mutex<T>]>,
    head: Index,
    tail: Index,
}

/// The side that fills.
#[derive(Debug)]
pub(crate) struct Filler<T>(Arc<Shared<T>>);

/// The side that takes.
#[derive(Debug)]
pub(crate) struct Taker<T>(Arc<Shared<T>>);

/// A ring of `slots` empty trays.
pub(crate) fn ring<T: Default>(slots: usize) -> (Filler<T>, Taker<T>) {
    let shared = Arc::new(Shared {
        slots: (0..slots.max(1))
            .map(|_| Mutex::new(T::default()))
            .collect(),
        head: Index(AtomicUsize::new(0)),
        tail: Index(AtomicUsize::new(0)),
    });
    (Filler(Arc::clone(&shared)), Taker(shared))
}

impl<T> Shared<T> {
    /// Swaps `tray` with the one in the slot of `index`. The caller knows that
    /// the slot is its own; false if it is not, which cannot be.
    fn swap(&self, index: usize, tray: &mut T) -> bool {
        let slot = self.slots.get(index % self.slots.len());
        match slot.map(Mutex::try_lock) {
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
        let tail = self.0.tail.0.load(Ordering::Relaxed);
        let head = self.0.head.0.load(Ordering::Acquire);
        let full = tail.wrapping_sub(head) >= self.0.slots.len();
        if full || !self.0.swap(tail, tray) {
            return false;
        }
        self.0.tail.0.store(tail.wrapping_add(1), Ordering::Release);
        true
    }
}

impl<T> Taker<T> {
    /// Takes the next tray and sends `tray` back in its place; false, and
    /// nothing changes, when the ring is empty.
    pub(crate) fn take(&mut self, tray: &mut T) -> bool {
        let head = self.0.head.0.load(Ordering::Relaxed);
        if self.is_empty() || !self.0.swap(head, tray) {
            return false;
        }
        self.0.head.0.store(head.wrapping_add(1), Ordering::Release);
        true
    }

    /// Whether no tray waits.
    pub(crate) fn is_empty(&self) -> bool {
        let head = self.0.head.0.load(Ordering::Relaxed);
        self.0.tail.0.load(Ordering::Acquire) == head
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
