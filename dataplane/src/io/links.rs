//! The disturbed links of a worker: what stands between its ports and the
//! pipeline while a lab makes faults.
//!
//! Frames are lost, held back or damaged here, whatever kind of port they come
//! from or go to. Without a fault the cost is one comparison a batch.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::wire::{Faults, LinkCounters, Wire};
use crate::addr::EniId;
use crate::drop::DropReason;
use crate::packet::{Frame, FramePool, segment};
use crate::time::Instant;

/// Frames that may be on their way at once; what exceeds it is refused as by a
/// full queue.
const HELD_MAX: usize = 1 << 16;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// From the host.
    Up,
    /// To the host.
    Down,
}

/// What the links have added to and taken from a worker's accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkAccounts {
    /// Frames of hosts that never reached the pipeline, by reason.
    pub up: Lost,
    /// Frames of the pipeline that never reached their host, by reason.
    pub down: Lost,
    /// Frames to hosts that a link made itself: doubles, and the packets of a
    /// super-packet beyond the first.
    pub made: u64,
    /// Frames on their way to hosts.
    pub held: u64,
}

/// Lost frames by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost([u64; 3]);

impl Lost {
    const REASONS: [DropReason; 3] = [
        DropReason::LinkLoss,
        DropReason::LinkQueue,
        DropReason::LinkDown,
    ];

    /// Counts by reason.
    pub fn by_reason(self) -> impl Iterator<Item = (DropReason, u64)> {
        Self::REASONS.into_iter().zip(self.0)
    }

    /// All of them.
    pub fn total(self) -> u64 {
        self.0.iter().sum()
    }

    fn count(&mut self, reason: DropReason) {
        let counted = Self::REASONS.iter().zip(&mut self.0);
        for (_, count) in counted.filter(|(own, _)| **own == reason) {
            *count += 1;
        }
    }
}

/// A frame on its way. Ordered by arrival, then by departure.
#[derive(Debug)]
struct Held {
    at: Instant,
    order: u64,
    eni: EniId,
    frame: Frame,
}

type Queue = BinaryHeap<Reverse<Held>>;

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[derive(Debug)]
struct Link {
    up: Wire,
    down: Wire,
}

/// The links with faults, and the frames on them.
#[derive(Debug, Default)]
pub struct Links {
    seed: u64,
    links: BTreeMap<EniId, Link>,
    up: Queue,
    down: Queue,
    order: u64,
    accounts: LinkAccounts,
    pieces: Vec<Frame>,
    arrived: Vec<Frame>,
}

impl Links {
    /// No faults; equal seeds, faults and frames lose the same frames.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Whether there is nothing to do: no fault, no frame on its way.
    pub fn is_idle(&self) -> bool {
        self.links.is_empty() && self.up.is_empty() && self.down.is_empty()
    }

    /// Disturbs the link of an interface from now on, or no more. What is on
    /// its way arrives.
    pub fn set(&mut self, eni: EniId, up: Faults, down: Faults) {
        if up.is_none() && down.is_none() {
            self.links.remove(&eni);
            return;
        }
        let salt = u64::from(eni.0) * 2;
        let seed = self.seed;
        let link = self.links.entry(eni).or_insert_with(|| Link {
            up: Wire::new(seed, salt, up),
            down: Wire::new(seed, salt + 1, down),
        });
        *link.up.faults_mut() = up;
        *link.down.faults_mut() = down;
    }

    /// What the links have done since they were disturbed: frames from the
    /// host, and to it.
    pub fn counters(&self) -> impl Iterator<Item = (EniId, LinkCounters, LinkCounters)> {
        let links = self.links.iter();
        links.map(|(&eni, link)| (eni, link.up.counters(), link.down.counters()))
    }

    /// What to add to the worker's accounts.
    pub fn accounts(&self) -> LinkAccounts {
        self.accounts
    }

    /// When the next frame arrives.
    pub fn next_deadline(&self) -> Option<Instant> {
        let first = [&self.up, &self.down].map(|queue| queue.peek());
        first.into_iter().flatten().map(|held| held.0.at).min()
    }

    /// Takes the frames that came in by disturbed links out of `batch`, and puts
    /// those in that have arrived by `now`. `lost` is told what vanished.
    pub fn receive(
        &mut self,
        now: Instant,
        batch: &mut Vec<Frame>,
        pool: &mut FramePool,
        mut lost: impl FnMut(EniId, DropReason, &[u8]),
    ) {
        let links = &mut self.links;
        let disturbed = |frame: &mut Frame| links.contains_key(&frame.port);
        let mut taken = std::mem::take(&mut self.arrived);
        taken.extend(batch.extract_if(.., disturbed));
        for frame in taken.drain(..) {
            self.send(Way::Up, now, frame.port, frame, pool, &mut lost);
        }
        self.arrived = taken;
        while let Some(held) = pop(&mut self.up, now) {
            batch.push(held.frame);
        }
    }

    /// A frame for the host of `eni`: given back if its link is not disturbed.
    pub fn transmit(
        &mut self,
        now: Instant,
        eni: EniId,
        frame: Frame,
        pool: &mut FramePool,
        mut lost: impl FnMut(EniId, DropReason, &[u8]),
    ) -> Option<Frame> {
        if !self.links.contains_key(&eni) {
            return Some(frame);
        }
        self.send(Way::Down, now, eni, frame, pool, &mut lost);
        None
    }

    /// The next frame that has reached its host's end by `now`.
    pub fn arrived(&mut self, now: Instant) -> Option<(EniId, Frame)> {
        let held = pop(&mut self.down, now)?;
        self.accounts.held = self.accounts.held.saturating_sub(1);
        Some((held.eni, held.frame))
    }

    fn send(
        &mut self,
        way: Way,
        now: Instant,
        eni: EniId,
        frame: Frame,
        pool: &mut FramePool,
        lost: &mut impl FnMut(EniId, DropReason, &[u8]),
    ) {
        let Some(link) = self.links.get_mut(&eni) else {
            return;
        };
        let (wire, queue, account) = match way {
            Way::Up => (&mut link.up, &mut self.up, &mut self.accounts.up),
            Way::Down => (&mut link.down, &mut self.down, &mut self.accounts.down),
        };
        let lost_before = account.total();
        let mut arrivals = 0;
        if wire.faults().wants_packets() {
            // A wire has no offloads: every packet has its own luck.
            if segment(frame, pool, &mut |piece| self.pieces.push(piece)).is_err() {
                account.count(DropReason::LinkLoss);
            }
        } else {
            self.pieces.push(frame);
        }
        for piece in self.pieces.drain(..) {
            let result = match queue.len() < HELD_MAX {
                true => wire.send(now, piece, |at, mut frame| {
                    frame.port = eni;
                    arrivals += 1;
                    self.order += 1;
                    let order = self.order;
                    queue.push(Reverse(Held {
                        at,
                        order,
                        eni,
                        frame,
                    }));
                }),
                false => Some((DropReason::LinkQueue, piece)),
            };
            if let Some((reason, frame)) = result {
                account.count(reason);
                lost(eni, reason, frame.bytes());
                pool.put(frame);
            }
        }
        if way == Way::Down {
            // One frame became so many; the first was the pipeline's own.
            let became = arrivals + account.total() - lost_before;
            self.accounts.held += arrivals;
            self.accounts.made += became.saturating_sub(1);
        }
    }
}

fn pop(queue: &mut Queue, now: Instant) -> Option<Held> {
    if queue.peek().is_none_or(|Reverse(first)| first.at > now) {
        return None;
    }
    queue.pop().map(|Reverse(held)| held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    const ENI: EniId = EniId(3);

    fn frame(n: u8) -> Frame {
        Frame::from_bytes(ENI, &[n; 60])
    }

    fn nothing_lost(_: EniId, reason: DropReason, _: &[u8]) {
        panic!("lost: {reason:?}");
    }

    #[test]
    fn delayed_frames_come_back_in_time_and_others_at_once() {
        let (mut links, mut pool) = (Links::new(1), FramePool::new(8));
        let delay = Duration::from_millis(20);
        let slow = Faults {
            delay,
            ..Faults::NONE
        };
        links.set(ENI, slow, Faults::NONE);
        let other = Frame::from_bytes(EniId(4), b"other");
        let mut batch = vec![frame(1), other, frame(2)];
        let start = Instant::from_secs(1);
        links.receive(start, &mut batch, &mut pool, nothing_lost);
        assert_eq!(batch.len(), 1, "the undisturbed one");
        assert_eq!(links.next_deadline(), Some(start + delay));

        batch.clear();
        links.receive(start + delay, &mut batch, &mut pool, nothing_lost);
        let seen: Vec<_> = batch.iter().map(|f| (f.port, f.bytes()[0])).collect();
        assert_eq!(seen, [(ENI, 1), (ENI, 2)]);
        links.set(ENI, Faults::NONE, Faults::NONE);
        assert!(links.is_idle());
    }

    #[test]
    fn what_is_lost_is_told_and_the_account_closes() {
        let (mut links, mut pool) = (Links::new(1), FramePool::new(8));
        let bad = Faults {
            loss: 0.5,
            duplicate: 0.2,
            ..Faults::NONE
        };
        links.set(ENI, Faults::NONE, bad);
        let (mut told, mut delivered) = (0, 0);
        for n in 0..1000u32 {
            let now = Instant::from_millis(u64::from(n));
            let lost = |_, reason, _: &[u8]| {
                assert_eq!(reason, DropReason::LinkLoss);
                told += 1;
            };
            assert!(
                links
                    .transmit(now, ENI, frame(0), &mut pool, lost)
                    .is_none()
            );
            while links.arrived(now).is_some() {
                delivered += 1;
            }
        }
        let accounts = links.accounts();
        assert!((400..600).contains(&told), "{told}");
        assert_eq!(accounts.down.total(), told);
        assert_eq!(accounts.held, 0);
        assert_eq!(1000 + accounts.made, delivered + told);
        assert!(accounts.made > 50, "{}", accounts.made);
    }

    #[test]
    fn a_link_that_is_down_holds_nothing_back_but_passes_what_was_on_it() {
        let (mut links, mut pool) = (Links::new(1), FramePool::new(8));
        let slow = Faults {
            delay: Duration::from_millis(5),
            ..Faults::NONE
        };
        links.set(ENI, Faults::NONE, slow);
        let now = Instant::ZERO;
        links.transmit(now, ENI, frame(1), &mut pool, nothing_lost);
        let down = Faults {
            down: true,
            ..Faults::NONE
        };
        links.set(ENI, down, down);
        let mut reasons = Vec::new();
        links.transmit(now, ENI, frame(2), &mut pool, |_, r, _| reasons.push(r));
        let mut batch = vec![frame(3)];
        links.receive(now, &mut batch, &mut pool, |_, r, _| reasons.push(r));
        assert_eq!(reasons, [DropReason::LinkDown; 2]);
        assert!(batch.is_empty());
        let (_, arrived) = links.arrived(Instant::from_millis(5)).expect("the first");
        assert_eq!(arrived.bytes()[0], 1);
    }
}
