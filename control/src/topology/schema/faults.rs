//! What a lab is to do wrong from its start, and how fast its time passes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Topology;
use crate::faults::{Chance, LinkFaults, Rate, Span};
use crate::host::plan::RestartPolicy;
use crate::topology::located::{Many, Value};
use crate::topology::values::Zone;

/// What is wrong with a link, in both directions.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Share of packets that vanish: 1% [default: none].
    #[serde(default)]
    pub loss: Option<Value<Chance>>,
    /// Time on the wire, each way: 20ms [default: none].
    #[serde(default)]
    pub delay: Option<Value<Span>>,
    /// Random addition to the delay, up to this [default: none].
    #[serde(default)]
    pub jitter: Option<Value<Span>>,
    /// Share of packets that later ones overtake [default: none].
    #[serde(default)]
    pub reorder: Option<Value<Chance>>,
    /// Share of packets that arrive twice [default: none].
    #[serde(default)]
    pub duplicate: Option<Value<Chance>>,
    /// Share of packets that arrive with one bit flipped [default: none].
    #[serde(default)]
    pub corrupt: Option<Value<Chance>>,
    /// Bits per second: 10mbit [default: no limit].
    #[serde(default)]
    pub rate: Option<Value<Rate>>,
    /// Longest wait for a slow link's turn [default: 200ms].
    #[serde(default)]
    pub queue: Option<Value<Span>>,
}

impl Link {
    /// The same, as a running lab takes it.
    pub fn faults(&self) -> LinkFaults {
        fn of<T: Copy>(value: &Option<Value<T>>) -> Option<T> {
            value.as_ref().map(|value| value.value)
        }
        LinkFaults {
            down: None,
            loss: of(&self.loss),
            delay: of(&self.delay),
            jitter: of(&self.jitter),
            reorder: of(&self.reorder),
            duplicate: of(&self.duplicate),
            corrupt: of(&self.corrupt),
            rate: of(&self.rate),
            queue: of(&self.queue),
        }
    }
}

/// Faults of the whole lab.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Availability zones that are down: a letter (a) or a name (us-east-1a).
    #[serde(default)]
    pub zones_down: Many<Zone>,
}

/// What runs in a host.
#[derive(Clone, Copy, Debug)]
pub struct Programs<'a> {
    /// Shell commands.
    pub run: &'a [Value<String>],
    /// Their environment.
    pub env: &'a BTreeMap<String, String>,
    /// Whether they start again.
    pub restart: RestartPolicy,
}

impl Topology {
    /// What runs in each host, those outside included.
    pub fn programs(&self) -> impl Iterator<Item = (&str, Programs<'_>)> {
        let hosts = self.hosts.iter();
        let hosts = hosts.map(|(name, host)| (name, &host.run, &host.env, &host.restart));
        let outside = self.outside_hosts();
        let outside = outside.map(|(name, host)| (name, &host.run, &host.env, &host.restart));
        hosts.chain(outside).map(|(name, run, env, restart)| {
            let restart = restart.as_ref().map(|restart| restart.value.0);
            let programs = Programs {
                run,
                env,
                restart: restart.unwrap_or_default(),
            };
            (name.value.as_str(), programs)
        })
    }

    /// What is wrong with the links of hosts.
    pub fn link_faults(&self) -> BTreeMap<String, LinkFaults> {
        let hosts = self.hosts.iter().map(|(name, host)| (name, &host.link));
        let outside = self.outside_hosts();
        let outside = outside.map(|(name, host)| (name, &host.link));
        hosts
            .chain(outside)
            .filter_map(|(name, link)| Some((name.value.clone(), link.as_ref()?.faults())))
            .collect()
    }
}
