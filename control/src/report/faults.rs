//! `vpclab fault`: what is wrong with the lab, on purpose.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpclab_dataplane::io::LinkCounters;

use crate::faults::{HostFault, LinkFaults};

/// The answer of every `vpclab fault`: the faults that there are now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultsReport {
    /// Disturbed links, by host and device.
    pub links: Vec<LinkReport>,
    /// Hosts that were killed or frozen.
    pub hosts: BTreeMap<String, HostFault>,
    /// Availability zones that are down.
    pub zones_down: Vec<String>,
}

/// A link of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LinkReport {
    /// Its host.
    pub host: String,
    /// The interface in the host: `eth0`.
    pub device: String,
    /// AWS id of the ENI.
    pub eni: String,
    /// From the host.
    pub up: WayReport,
    /// To the host.
    pub down: WayReport,
}

/// One direction of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WayReport {
    /// What is wrong with it; nothing that is not named.
    pub faults: LinkFaults,
    /// What that has done.
    pub counters: WayCounters,
}

/// Frames on one direction of a link since it was disturbed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WayCounters {
    /// Frames that entered it.
    pub sent: u64,
    /// Frames that vanished.
    pub lost: u64,
    /// Frames that would have waited too long for a slow link's turn.
    pub overflowed: u64,
    /// Frames that others were to overtake.
    pub reordered: u64,
    /// Frames that arrived twice.
    pub duplicated: u64,
    /// Frames that arrived with a flipped bit.
    pub corrupted: u64,
}

impl From<LinkCounters> for WayCounters {
    fn from(counters: LinkCounters) -> Self {
        Self {
            sent: counters.sent,
            lost: counters.lost,
            overflowed: counters.overflowed,
            reordered: counters.reordered,
            duplicated: counters.duplicated,
            corrupted: counters.corrupted,
        }
    }
}
