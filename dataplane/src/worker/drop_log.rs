//! The last drops, kept for whoever asks later.
//!
//! A ring of fixed size: a drop costs a copy of its first bytes, nothing is
//! allocated, and a flood of drops overwrites its own past. Readers learn how
//! many they missed.

use crate::addr::EniId;
use crate::drop::DropReason;
use crate::packet::{ETHERNET_LEN, Frame};
use crate::time::Instant;

/// Drops that are kept.
pub const DROPS_KEPT: usize = 1024;
/// Bytes kept of each: Ethernet, IPv6 with options, GENEVE with options, and the
/// headers within.
const HEAD_LEN: usize = 192;

/// A frame that was dropped.
#[derive(Clone, Copy, Debug)]
pub struct DropRecord {
    /// When, by the worker's clock.
    pub at: Instant,
    /// By which interface it came in; where it should have left, if its port
    /// did not take it.
    pub eni: EniId,
    /// Why.
    pub reason: DropReason,
    /// Length of the whole frame.
    pub len: u32,
    head: [u8; HEAD_LEN],
}

impl DropRecord {
    /// A frame of these bytes, dropped at `at`.
    pub fn new(at: Instant, eni: EniId, reason: DropReason, bytes: &[u8]) -> Self {
        let mut head = [0; HEAD_LEN];
        for (to, from) in head.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self {
            at,
            eni,
            reason,
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            head,
        }
    }

    /// Its first bytes.
    pub fn head(&self) -> &[u8] {
        let len = usize::try_from(self.len).unwrap_or(HEAD_LEN);
        self.head.get(..len.min(HEAD_LEN)).unwrap_or(&self.head)
    }

    /// The frame at its full length, zeros where its bytes were not kept:
    /// everything in its headers is as it was.
    pub fn frame(&self) -> Frame {
        let mut bytes = self.head().to_vec();
        let len = usize::try_from(self.len).unwrap_or(0);
        bytes.resize(len.max(ETHERNET_LEN.min(bytes.len())), 0);
        Frame::from_bytes(self.eni, &bytes)
    }
}

/// Drops since some moment.
#[derive(Clone, Debug, Default)]
pub struct Drops {
    /// Ask from here the next time: a number for each worker.
    pub next: Vec<u64>,
    /// Drops in between that are no longer there.
    pub missed: u64,
    /// The others, oldest first.
    pub records: Vec<DropRecord>,
}

#[derive(Debug, Default)]
pub(super) struct DropLog {
    /// Time of the turn under way.
    now: Instant,
    records: Vec<DropRecord>,
    /// Number of the next drop; it goes to this place, modulo the ring's length.
    next: u64,
}

impl DropLog {
    /// An empty log that will not grow.
    pub(super) fn new() -> Self {
        Self {
            records: Vec::with_capacity(DROPS_KEPT),
            ..Self::default()
        }
    }

    /// What follows happens at `now`.
    pub(super) fn turn(&mut self, now: Instant) {
        self.now = now;
    }

    pub(super) fn note(&mut self, eni: EniId, reason: DropReason, bytes: &[u8]) {
        let record = DropRecord::new(self.now, eni, reason, bytes);
        let place = self.next % DROPS_KEPT as u64;
        match self.records.get_mut(place as usize) {
            Some(old) => *old = record,
            None => self.records.push(record),
        }
        self.next += 1;
    }

    /// The drops from number `from` on.
    pub(super) fn since(&self, from: u64) -> Drops {
        let oldest = self.next.saturating_sub(DROPS_KEPT as u64);
        let first = from.clamp(oldest, self.next);
        let records = (first..self.next)
            .filter_map(|n| self.records.get((n % DROPS_KEPT as u64) as usize))
            .copied();
        Drops {
            next: vec![self.next],
            missed: first.saturating_sub(from),
            records: records.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_kept_and_the_missed_are_counted() {
        let mut log = DropLog::new();
        let memory = log.records.as_ptr();
        let total = DROPS_KEPT as u64 + 10;
        for n in 0..total {
            log.turn(Instant::from_nanos(n));
            log.note(EniId(1), DropReason::NoRoute, &[7; 400]);
        }
        assert_eq!(log.records.as_ptr(), memory, "the ring does not grow");
        let all = log.since(0);
        assert_eq!((all.next, all.missed), (vec![total], 10));
        assert_eq!(all.records.len(), DROPS_KEPT);
        assert_eq!(all.records[0].at, Instant::from_nanos(10));
        let last = all.records.last().expect("a record");
        assert_eq!(last.at, Instant::from_nanos(total - 1));
        assert_eq!((last.head().len(), last.frame().len()), (HEAD_LEN, 400));

        assert_eq!(log.since(total - 2).records.len(), 2);
        assert_eq!(log.since(total - 2).missed, 0);
        let none = log.since(total + 5);
        assert!(none.records.is_empty() && none.missed == 0 && none.next == [total]);
    }

    #[test]
    fn a_short_frame_keeps_its_length() {
        let mut log = DropLog::new();
        log.note(EniId(2), DropReason::MalformedFrame, b"abc");
        let record = log.since(0).records[0];
        assert_eq!(record.head(), b"abc");
        assert_eq!(record.frame().bytes(), b"abc");
    }
}
