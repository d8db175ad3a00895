//! What happens to frames on one direction of a link: loss, delay, damage.
//!
//! One model for simulated links and for real ports. Each direction has its own
//! [`Faults`] and its own random stream, so that a change of one leaves the
//! other's fate as it was.

use super::rng::Rng;
use crate::drop::DropReason;
use crate::packet::Frame;
use crate::time::{Duration, Instant};

/// What one direction of a link does to frames. Probabilities are 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    /// Nothing passes.
    pub down: bool,
    /// A frame vanishes.
    pub loss: f64,
    /// A frame is held back long enough for later ones to overtake it.
    pub reorder: f64,
    /// A frame arrives twice.
    pub duplicate: f64,
    /// One bit of a frame is flipped.
    pub corrupt: f64,
    /// Time on the wire.
    pub delay: Duration,
    /// Added to the delay: evenly between nothing and this. Frames of one
    /// direction may overtake each other.
    pub jitter: Duration,
    /// Bits per second; 0 is no limit. Frames queue for their turn.
    pub bandwidth: u64,
    /// A frame whose turn would come later than this is refused.
    pub queue: Duration,
}

impl Faults {
    /// A wire that changes nothing and takes no time.
    pub const NONE: Self = Self {
        down: false,
        loss: 0.0,
        reorder: 0.0,
        duplicate: 0.0,
        corrupt: 0.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        bandwidth: 0,
        queue: Duration::MAX,
    };

    /// Whether it does nothing to frames.
    pub fn is_none(&self) -> bool {
        *self
            == Self {
                queue: self.queue,
                ..Self::NONE
            }
    }

    /// Whether it makes a difference for such a wire that a super-packet stands
    /// for many packets, or that its checksum is not there yet.
    pub fn wants_packets(&self) -> bool {
        let delayed = Self {
            delay: self.delay,
            queue: self.queue,
            down: self.down,
            ..Self::NONE
        };
        *self != delayed
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::NONE
    }
}

/// What a direction has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Frames put on the wire.
    pub sent: u64,
    /// Frames lost, those on a wire that is down included.
    pub lost: u64,
    /// Frames that the queue did not take.
    pub overflowed: u64,
    /// Frames held back.
    pub reordered: u64,
    /// Frames doubled.
    pub duplicated: u64,
    /// Frames damaged.
    pub corrupted: u64,
}

impl LinkCounters {
    /// Adds what another worker counted.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.overflowed += other.overflowed;
        self.reordered += other.reordered;
        self.duplicated += other.duplicated;
        self.corrupted += other.corrupted;
    }
}

/// One direction of a link.
#[derive(Debug)]
pub struct Wire {
    faults: Faults,
    counters: LinkCounters,
    rng: Rng,
    free_at: Instant,
}

impl Wire {
    /// A wire whose luck depends on `seed` and `salt` only.
    pub fn new(seed: u64, salt: u64, faults: Faults) -> Self {
        Self {
            faults,
            counters: LinkCounters::default(),
            rng: Rng::new(seed, salt),
            free_at: Instant::ZERO,
        }
    }

    /// What it does to frames.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The same, to change: for frames sent from now on.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// What it has done.
    pub const fn counters(&self) -> LinkCounters {
        self.counters
    }

    /// Sends `frame` at `now`; `deliver` is told each copy that arrives, and
    /// when. A frame that is lost comes back with the reason.
    pub fn send(
        &mut self,
        now: Instant,
        mut frame: Frame,
        mut deliver: impl FnMut(Instant, Frame),
    ) -> Option<(DropReason, Frame)> {
        let faults = self.faults;
        self.counters.sent += 1;
        if faults.down {
            self.counters.lost += 1;
            return Some((DropReason::LinkDown, frame));
        }
        let start = now.max(self.free_at);
        if start.since(now) > faults.queue {
            self.counters.overflowed += 1;
            return Some((DropReason::LinkQueue, frame));
        }
        self.free_at = start + serialization(frame.len(), faults.bandwidth);
        if self.rng.chance(faults.loss) {
            self.counters.lost += 1;
            return Some((DropReason::LinkLoss, frame));
        }
        if self.rng.chance(faults.corrupt) && !frame.is_empty() {
            self.counters.corrupted += 1;
            let bit = self.rng.below(frame.len() as u64 * 8);
            if let Some(byte) = frame.bytes_mut().get_mut((bit / 8) as usize) {
                *byte ^= 1 << (bit % 8);
            }
        }
        if self.rng.chance(faults.duplicate) {
            self.counters.duplicated += 1;
            let at = self.arrival(faults);
            deliver(at, frame.clone());
        }
        let mut at = self.arrival(faults);
        if self.rng.chance(faults.reorder) {
            self.counters.reordered += 1;
            // Held back by one to three further delays: whatever is sent within
            // that time arrives first.
            let hold = faults.delay.as_nanos().max(REORDER_HOLD_MIN.as_nanos());
            at += Duration::from_nanos(hold + self.rng.below(2 * hold + 1));
        }
        deliver(at, frame);
        None
    }

    fn arrival(&mut self, faults: Faults) -> Instant {
        let jitter = match faults.jitter.as_nanos() {
            0 => 0,
            most => self.rng.below(most + 1),
        };
        self.free_at + faults.delay + Duration::from_nanos(jitter)
    }
}

/// A frame is held back at least this long, on a wire without delay.
const REORDER_HOLD_MIN: Duration = Duration::from_micros(100);

/// How long a frame of `len` bytes occupies the wire.
fn serialization(len: usize, bandwidth: u64) -> Duration {
    if bandwidth == 0 {
        return Duration::ZERO;
    }
    let nanos = len as u128 * 8 * 1_000_000_000 / u128::from(bandwidth);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::EniId;

    const DELAY: Duration = Duration::from_micros(100);

    fn wire(faults: Faults) -> Wire {
        Wire::new(7, 0, faults)
    }

    /// Sends `count` numbered frames, `gap` apart; returns (arrival, bytes).
    fn send(wire: &mut Wire, count: u16, gap: Duration) -> Vec<(Instant, Vec<u8>)> {
        let mut arrived = Vec::new();
        let mut now = Instant::ZERO;
        for n in 0..count {
            let frame = Frame::from_bytes(EniId(0), &[&n.to_be_bytes()[..], &[0; 123]].concat());
            let _ = wire.send(now, frame, |at, f| arrived.push((at, f.bytes().to_vec())));
            now += gap;
        }
        arrived.sort_by_key(|&(at, _)| at);
        arrived
    }

    #[test]
    fn a_plain_link_only_delays() {
        let arrived = send(
            &mut wire(Faults {
                delay: DELAY,
                ..Faults::NONE
            }),
            3,
            Duration::ZERO,
        );
        assert_eq!(arrived.len(), 3);
        assert!(
            arrived
                .iter()
                .all(|(at, _)| at.since(Instant::ZERO) == DELAY)
        );
    }

    #[test]
    fn loss_duplication_and_corruption_keep_their_odds() {
        let faults = Faults {
            loss: 0.2,
            duplicate: 0.1,
            corrupt: 0.3,
            ..Faults::NONE
        };
        let mut link = wire(faults);
        let arrived = send(&mut link, 5_000, Duration::from_micros(10));
        let LinkCounters {
            sent,
            lost,
            duplicated,
            corrupted,
            ..
        } = link.counters();
        assert_eq!(arrived.len() as u64, sent - lost + duplicated);
        assert!((850..1_150).contains(&lost), "{lost}");
        assert!((300..500).contains(&duplicated), "{duplicated}");
        assert!((1_000..1_400).contains(&corrupted), "{corrupted}");
    }

    #[test]
    fn reordered_frames_are_overtaken() {
        let faults = Faults {
            reorder: 0.1,
            ..Faults::NONE
        };
        let arrived = send(&mut wire(faults), 1_000, Duration::from_micros(20));
        let late = arrived
            .windows(2)
            .filter(|pair| pair[0].1 > pair[1].1)
            .count();
        assert!((50..200).contains(&late), "{late}");
    }

    #[test]
    fn bandwidth_spaces_frames_out() {
        let faults = Faults {
            bandwidth: 1_000_000,
            ..Faults::NONE
        };
        let arrived = send(&mut wire(faults), 3, Duration::ZERO);
        let gaps: Vec<_> = arrived
            .windows(2)
            .map(|pair| pair[1].0.since(pair[0].0))
            .collect();
        // 125 bytes at 1 Mbit/s.
        assert_eq!(gaps, [Duration::from_millis(1); 2]);
    }

    #[test]
    fn what_waits_too_long_is_refused() {
        let faults = Faults {
            bandwidth: 1_000_000,
            queue: Duration::from_millis(2),
            ..Faults::NONE
        };
        let mut link = wire(faults);
        // Each takes a millisecond: the fourth would wait three.
        assert_eq!(send(&mut link, 5, Duration::ZERO).len(), 3);
        assert_eq!((link.counters().sent, link.counters().overflowed), (5, 2));
        let frame = Frame::from_bytes(EniId(0), b"one more");
        let refused = link.send(Instant::ZERO, frame, |_, _| panic!("it had room"));
        assert_eq!(
            refused.map(|(reason, _)| reason),
            Some(DropReason::LinkQueue)
        );
    }

    #[test]
    fn a_wire_that_is_down_passes_nothing_and_says_so() {
        let faults = Faults {
            down: true,
            ..Faults::NONE
        };
        let mut link = wire(faults);
        let frame = Frame::from_bytes(EniId(0), b"frame");
        let lost = link.send(Instant::ZERO, frame, |_, _| panic!("it passed"));
        assert_eq!(lost.map(|(reason, _)| reason), Some(DropReason::LinkDown));
    }
}
