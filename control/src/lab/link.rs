//! The wire between a host and its interface: how a test changes it.
//!
//! What a wire does to frames is the data plane's ([`Wire`]), so that a fault
//! means the same here and at a real port. Here every link takes
//! [`DEFAULT_DELAY`], as every wire does: without it a conversation could go on
//! forever within one moment.

use std::cell::RefCell;
use std::rc::Rc;

use vpclab_dataplane::io::{Faults, LinkCounters, Wire};
use vpclab_dataplane::time::Duration;

use crate::faults::LinkFaults;

/// One-way delay of a link unless set: four of them make a round trip of
/// 0.4 ms, which is what two instances of one zone see.
pub const DEFAULT_DELAY: Duration = Duration::from_micros(100);

/// A link without faults.
const PLAIN: Faults = Faults {
    delay: DEFAULT_DELAY,
    ..Faults::NONE
};

/// Both directions of one link.
#[derive(Debug)]
pub(crate) struct Wires {
    /// Host to data plane.
    pub(crate) up: Wire,
    /// Data plane to host.
    pub(crate) down: Wire,
}

impl Wires {
    /// A link without faults; `salt` and the number after it name its two
    /// random streams.
    pub(crate) fn new(seed: u64, salt: u64) -> Self {
        Self {
            up: Wire::new(seed, salt, PLAIN),
            down: Wire::new(seed, salt + 1, PLAIN),
        }
    }
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
                apply(wires.up.faults_mut());
            }
            if self.down {
                apply(wires.down.faults_mut());
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

    /// Makes the faults that a topology or a command line names.
    pub fn set(self, faults: &LinkFaults) -> Self {
        let mut wire = faults.wire(1);
        if faults.delay.is_none() {
            wire.delay = DEFAULT_DELAY;
        }
        self.change(|faults| *faults = wire)
    }

    /// Cuts the link: nothing passes until [`Link::heal`].
    pub fn cut(self) -> Self {
        self.change(|faults| faults.down = true)
    }

    /// Takes all faults away.
    pub fn heal(self) -> Self {
        self.change(|faults| *faults = PLAIN)
    }

    /// What the link has done so far: from the host, and to it.
    pub fn counters(&self) -> (LinkCounters, LinkCounters) {
        let wires = self.wires.borrow();
        (wires.up.counters(), wires.down.counters())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_change_the_directions_they_name() {
        let wires = Rc::new(RefCell::new(Wires::new(1, 1)));
        let link = Link::new(wires.clone()).loss(0.5);
        link.upstream().delay(Duration::from_millis(3));
        let wires = wires.borrow();
        assert_eq!(wires.up.faults().loss, 0.5);
        assert_eq!(wires.down.faults().loss, 0.5);
        assert_eq!(wires.up.faults().delay, Duration::from_millis(3));
        assert_eq!(wires.down.faults().delay, DEFAULT_DELAY);
    }

    #[test]
    fn a_topology_disturbs_its_links_and_a_new_seed_keeps_that() {
        let text = "
name: x
vpcs: {v: {cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.0.1.0/24}}}}
hosts:
  far: {subnet: s, link: {delay: 30ms, loss: 5%}}
  near: {subnet: s}
";
        let lab = crate::lab::Lab::from_yaml(text).unwrap().seed(3);
        let up = |name: &str| *lab.link(name).wires.borrow().up.faults();
        assert_eq!(up("far").delay, Duration::from_millis(30));
        assert_eq!(up("far").loss, 0.05);
        assert_eq!(up("near"), PLAIN);
        let wrong = crate::lab::Lab::from_yaml(&text.replace("5%", "5"));
        let error = wrong
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            error.contains("lab.yaml:5:") && error.contains("write 5%"),
            "{error}"
        );
    }
}
