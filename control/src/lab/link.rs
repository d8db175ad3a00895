//! The wire between a host and its interface: where loss, delay and damage happen.
//!
//! Each direction has its own [`Faults`] and its own random stream, so that a
//! change of one leaves the other's fate as it was. A link without faults still
//! takes [`DEFAULT_DELAY`], as every wire does: without it a conversation could
//! go on forever within one moment.

use std::cell::RefCell;
use std::rc::Rc;

use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::time::{Duration, Instant};

use super::rng::Rng;

/// One-way delay of a link unless set: four of them make a round trip of
/// 0.4 ms, which is what two instances of one zone see.
pub const DEFAULT_DELAY: Duration = Duration::from_micros(100);

/// What one direction of a link does to frames. Probabilities are 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
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
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            loss: 0.0,
            reorder: 0.0,
            duplicate: 0.0,
            corrupt: 0.0,
            delay: DEFAULT_DELAY,
            jitter: Duration::ZERO,
            bandwidth: 0,
        }
    }
}

/// What a direction has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Frames put on the wire.
    pub sent: u64,
    /// Frames lost.
    pub lost: u64,
    /// Frames held back.
    pub reordered: u64,
    /// Frames doubled.
    pub duplicated: u64,
    /// Frames damaged.
    pub corrupted: u64,
}

/// One direction of a link.
#[derive(Debug)]
pub(crate) struct Wire {
    faults: Faults,
    counters: LinkCounters,
    rng: Rng,
    free_at: Instant,
}

impl Wire {
    pub(crate) fn new(seed: u64, salt: u64) -> Self {
        Self {
            faults: Faults::default(),
            counters: LinkCounters::default(),
            rng: Rng::new(seed, salt),
            free_at: Instant::ZERO,
        }
    }

    /// Sends `frame` at `now`; `deliver` is told each copy that arrives, and when.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        mut frame: Frame,
        mut deliver: impl FnMut(Instant, Frame),
    ) {
        let faults = self.faults;
        self.counters.sent += 1;
        let start = now.max(self.free_at);
        self.free_at = start + serialization(frame.len(), faults.bandwidth);
        if self.rng.chance(faults.loss) {
            self.counters.lost += 1;
            return;
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
            let hold = faults.delay.as_nanos().max(100_000);
            at += Duration::from_nanos(hold + self.rng.below(2 * hold + 1));
        }
        deliver(at, frame);
    }

    fn arrival(&mut self, faults: Faults) -> Instant {
        let jitter = match faults.jitter.as_nanos() {
            0 => 0,
            most => self.rng.below(most + 1),
        };
        self.free_at + faults.delay + Duration::from_nanos(jitter)
    }
}

/// How long a frame of `len` bytes occupies the wire.
fn serialization(len: usize, bandwidth: u64) -> Duration {
    if bandwidth == 0 {
        return Duration::ZERO;
    }
    let nanos = len as u128 * 8 * 1_000_000_000 / u128::from(bandwidth);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Both directions of one link.
#[derive(Debug)]
pub(crate) struct Wires {
    /// Host to data plane.
    pub(crate) up: Wire,
    /// Data plane to host.
    pub(crate) down: Wire,
}

/// A handle to the link between a host and the data plane. Methods chain and
/// change both directions, unless [`Link::upstream`] or [`Link::downstream`]
/// came before:
///
/// ```ignore
/// lab.link("client").loss(0.01).reorder(0.05);
/// lab.link("server").downstream().delay(Duration::from_millis(20));
/// ```
#[derive(Clone, Debug)]
pub struct Link {
    wires: Rc<RefCell<Wires>>,
    up: bool,
    down: bool,
}

impl Link {
    pub(crate) fn new(wires: Rc<RefCell<Wires>>) -> Self {
        Self {
            wires,
            up: true,
            down: true,
        }
    }

    /// What follows concerns frames from the host only.
    #[must_use]
    pub fn upstream(self) -> Self {
        Self {
            up: true,
            down: false,
            ..self
        }
    }

    /// What follows concerns frames to the host only.
    #[must_use]
    pub fn downstream(self) -> Self {
        Self {
            up: false,
            down: true,
            ..self
        }
    }

    /// What follows concerns both directions again.
    #[must_use]
    pub fn both(self) -> Self {
        Self::new(self.wires)
    }

    fn change(self, apply: impl Fn(&mut Faults)) -> Self {
        {
            let mut wires = self.wires.borrow_mut();
            if self.up {
                apply(&mut wires.up.faults);
            }
            if self.down {
                apply(&mut wires.down.faults);
            }
        }
        self
    }

    /// Share of frames that vanish.
    pub fn loss(self, probability: f64) -> Self {
        self.change(|faults| faults.loss = probability)
    }

    /// Share of frames that later ones overtake.
    pub fn reorder(self, probability: f64) -> Self {
        self.change(|faults| faults.reorder = probability)
    }

    /// Share of frames that arrive twice.
    pub fn duplicate(self, probability: f64) -> Self {
        self.change(|faults| faults.duplicate = probability)
    }

    /// Share of frames that arrive with one bit flipped.
    pub fn corrupt(self, probability: f64) -> Self {
        self.change(|faults| faults.corrupt = probability)
    }

    /// One-way delay.
    pub fn delay(self, delay: Duration) -> Self {
        self.change(|faults| faults.delay = delay)
    }

    /// Random addition to the delay, up to `jitter`.
    pub fn jitter(self, jitter: Duration) -> Self {
        self.change(|faults| faults.jitter = jitter)
    }

    /// Bits per second; 0 is no limit.
    pub fn bandwidth(self, bits_per_second: u64) -> Self {
        self.change(|faults| faults.bandwidth = bits_per_second)
    }

    /// Cuts the link: nothing passes until [`Link::heal`].
    pub fn cut(self) -> Self {
        self.loss(1.0)
    }

    /// Takes all faults away.
    pub fn heal(self) -> Self {
        self.change(|faults| *faults = Faults::default())
    }

    /// What the link has done so far: from the host, and to it.
    pub fn counters(&self) -> (LinkCounters, LinkCounters) {
        let wires = self.wires.borrow();
        (wires.up.counters, wires.down.counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vpclab_dataplane::addr::EniId;

    fn wire(faults: Faults) -> Wire {
        Wire {
            faults,
            ..Wire::new(7, 0)
        }
    }

    /// Sends `count` numbered frames, `gap` apart; returns (arrival, bytes).
    fn send(wire: &mut Wire, count: u16, gap: Duration) -> Vec<(Instant, Vec<u8>)> {
        let mut arrived = Vec::new();
        let mut now = Instant::ZERO;
        for n in 0..count {
            let frame = Frame::from_bytes(EniId(0), &[&n.to_be_bytes()[..], &[0; 123]].concat());
            wire.send(now, frame, |at, f| arrived.push((at, f.bytes().to_vec())));
            now += gap;
        }
        arrived.sort_by_key(|&(at, _)| at);
        arrived
    }

    #[test]
    fn a_plain_link_only_delays() {
        let arrived = send(&mut wire(Faults::default()), 3, Duration::ZERO);
        assert_eq!(arrived.len(), 3);
        assert!(
            arrived
                .iter()
                .all(|(at, _)| at.since(Instant::ZERO) == DEFAULT_DELAY)
        );
    }

    #[test]
    fn loss_duplication_and_corruption_keep_their_odds() {
        let faults = Faults {
            loss: 0.2,
            duplicate: 0.1,
            corrupt: 0.3,
            ..Faults::default()
        };
        let mut link = wire(faults);
        let arrived = send(&mut link, 5_000, Duration::from_micros(10));
        let LinkCounters {
            sent,
            lost,
            duplicated,
            corrupted,
            ..
        } = link.counters;
        assert_eq!(arrived.len() as u64, sent - lost + duplicated);
        assert!((850..1_150).contains(&lost), "{lost}");
        assert!((300..500).contains(&duplicated), "{duplicated}");
        assert!((1_000..1_400).contains(&corrupted), "{corrupted}");
    }

    #[test]
    fn reordered_frames_are_overtaken() {
        let faults = Faults {
            reorder: 0.1,
            ..Faults::default()
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
            ..Faults::default()
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
    fn handles_change_the_directions_they_name() {
        let wires = Rc::new(RefCell::new(Wires {
            up: Wire::new(1, 1),
            down: Wire::new(1, 2),
        }));
        let link = Link::new(wires.clone()).loss(0.5);
        link.upstream().delay(Duration::from_millis(3));
        let wires = wires.borrow();
        assert_eq!(wires.up.faults.loss, 0.5);
        assert_eq!(wires.down.faults.loss, 0.5);
        assert_eq!(wires.up.faults.delay, Duration::from_millis(3));
        assert_eq!(wires.down.faults.delay, DEFAULT_DELAY);
    }
}
