//! Faults that a lab makes on purpose: how they are written and shown.
//!
//! What a disturbed link does to frames is the data plane's (`io::Wire`); a zone
//! that is down is a row of its tables. Here is what people write: on the
//! command line, in a topology, over the control socket.

mod values;

use std::fmt;

use serde::{Deserialize, Serialize};
pub use values::{Chance, Rate, Span};
use vpclab_dataplane::io::Faults;
use vpclab_dataplane::time::Duration;

/// What is wrong with a link; what is not named stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LinkFaults {
    /// Nothing passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<bool>,
    /// Share of frames that vanish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Chance>,
    /// Time on the wire, one way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Random addition to the delay, up to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// Share of frames that later ones overtake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reorder: Option<Chance>,
    /// Share of frames that arrive twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Chance>,
    /// Share of frames that arrive with one bit flipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Chance>,
    /// Bits per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Longest wait for the link's turn; what would wait longer is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Span>,
}

/// How long a frame may wait for a link with a rate, unless said otherwise.
/// A router's usual buffer: our choice, nothing of AWS's.
const QUEUE_DEFAULT: Duration = Duration::from_millis(200);

impl LinkFaults {
    /// Changes what `newer` names.
    #[must_use]
    pub fn changed_by(self, newer: &Self) -> Self {
        Self {
            down: newer.down.or(self.down),
            loss: newer.loss.or(self.loss),
            delay: newer.delay.or(self.delay),
            jitter: newer.jitter.or(self.jitter),
            reorder: newer.reorder.or(self.reorder),
            duplicate: newer.duplicate.or(self.duplicate),
            corrupt: newer.corrupt.or(self.corrupt),
            rate: newer.rate.or(self.rate),
            queue: newer.queue.or(self.queue),
        }
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a wire then does, in a lab whose clock runs `scale` times as fast
    /// as ours: its links are as slow as we say, by our clock.
    pub fn wire(&self, scale: u32) -> Faults {
        let chance = |chance: Option<Chance>| chance.unwrap_or_default().value();
        let span =
            |span: Duration| Duration::from_nanos(span.as_nanos().saturating_mul(u64::from(scale)));
        let rate = self.rate.unwrap_or_default().value();
        Faults {
            down: self.down.unwrap_or(false),
            loss: chance(self.loss),
            reorder: chance(self.reorder),
            duplicate: chance(self.duplicate),
            corrupt: chance(self.corrupt),
            delay: span(self.delay.unwrap_or_default().value()),
            jitter: span(self.jitter.unwrap_or_default().value()),
            bandwidth: match rate {
                0 => 0,
                rate => (rate / u64::from(scale.max(1))).max(1),
            },
            queue: span(self.queue.map_or(QUEUE_DEFAULT, Span::value)),
        }
    }
}

impl fmt::Display for LinkFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
        let parts = [
            self.down.filter(|down| *down).map(|_| "down".to_owned()),
            shown("loss", self.loss.map(Into::into)),
            shown("delay", self.delay.map(Into::into)),
            shown("jitter", self.jitter.map(Into::into)),
            shown("reorder", self.reorder.map(Into::into)),
            shown("duplicate", self.duplicate.map(Into::into)),
            shown("corrupt", self.corrupt.map(Into::into)),
            shown("rate", self.rate.map(Into::into)),
            shown("queue", self.queue.map(Into::into)),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

/// What is wrong with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostFault {
    /// Power is off: its programs are dead, its links are down.
    Killed,
    /// Frozen: its programs are stopped, its links are down.
    Paused,
}

/// Which frames a fault of a link concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LinkDirection {
    /// Both directions.
    #[default]
    Both,
    /// From the host.
    Up,
    /// To the host.
    Down,
}

/// What `vpclab fault` asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultRequest {
    /// Disturb a host's links, or one of them.
    Link {
        /// Host, `host/eth1` or ENI.
        port: String,
        /// Which frames.
        direction: LinkDirection,
        /// How.
        faults: LinkFaults,
    },
    /// Take a zone down, or bring it back.
    Zone {
        /// `us-east-1a`, or its letter.
        zone: String,
        /// Whether it is down from now on.
        down: bool,
    },
    /// Kill or freeze a host, or bring it back.
    Host {
        /// Its name.
        host: String,
        /// What; none brings it back.
        fault: Option<HostFault>,
    },
    /// What faults there are.
    List,
    /// End all faults, or those of one host.
    Clear {
        /// Host, `host/eth1` or ENI.
        port: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::located::Scalar;

    #[test]
    fn a_later_word_changes_what_it_names_and_a_scaled_lab_keeps_our_time() {
        let first = LinkFaults {
            loss: Chance::parse("1%").ok(),
            delay: Span::parse("20ms").ok(),
            ..LinkFaults::default()
        };
        let second = LinkFaults {
            delay: Span::parse("5ms").ok(),
            rate: Rate::parse("10mbit").ok(),
            ..LinkFaults::default()
        };
        let both = first.changed_by(&second);
        assert_eq!(both.to_string(), "loss 1%, delay 5ms, rate 10mbit");
        let wire = both.wire(50);
        assert_eq!(wire.delay, Duration::from_millis(250));
        assert_eq!(wire.bandwidth, 200_000);
        assert_eq!(wire.loss, 0.01);
    }
}
