//! How the lab's data plane runs.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::topology::located::Value;

/// The most packet workers of a lab.
pub const WORKERS_MAX: u16 = 64;

/// How the data plane runs. Nothing here changes what happens to a packet.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Packet workers, 1 to 64, each a thread with flows of its own [default: 1].
    #[serde(default)]
    pub workers: Option<Value<u16>>,
    /// Keep worker `n` on core `first_core + n` [default: wherever there is room].
    #[serde(default)]
    pub first_core: Option<Value<u16>>,
    /// What a worker does when no packet waits [default: adaptive].
    #[serde(default)]
    pub waiting: Waiting,
    /// Move frames by io_uring where the kernel allows it [default: true].
    #[serde(default)]
    pub io_uring: Option<bool>,
}

/// What a worker does when no packet waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Sleeps until one comes: the least processor time.
    Event,
    /// Looks for more for 50 µs, then sleeps.
    #[default]
    Adaptive,
    /// Never sleeps: the shortest delay, for a whole core each.
    Busy,
}
