//! `vpclab top`: what moves in a lab, live.
//!
//! `state` is what is shown and what keys do; `view` draws it. Neither knows a
//! terminal or a clock: `cli::top` has both.

mod rates;
mod state;
mod view;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::{FlowReport, PsReport};

pub use state::{Key, Pane, State};
pub use view::draw;

/// One look at a lab; rates come from two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopReport {
    /// Nanoseconds since the daemon started.
    pub at_ns: u64,
    /// Hosts with their ports' counters, endpoints, targets.
    pub ps: PsReport,
    /// The data plane's counters by name.
    pub counters: std::collections::BTreeMap<String, u64>,
    /// Number of live flows.
    pub flow_count: u64,
    /// Live flows, those that carried most first; no more than a screen needs.
    pub flows: Vec<FlowReport>,
}

#[cfg(test)]
mod tests;
