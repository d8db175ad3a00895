//! Target health checks, sans-IO: probes leave each load-balancer node's
//! address through the data plane; their results move a state machine.

mod checks;
mod http;
mod prober;
mod stack;
mod state;

pub use crate::model::{CheckPort, CheckProtocol, HealthCheck, Matcher, ProbeFailure};
pub(crate) use stack::NodeDevice;

pub use checks::{HealthChanges, HealthChecks, TargetKey};
pub use prober::{NodeConfig, PROBE_PORTS, ProbeResult, ProbeTarget, Prober};
pub use state::{TargetState, Track};

#[cfg(test)]
mod checks_tests;
#[cfg(test)]
mod pipeline_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
