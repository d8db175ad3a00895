//! The reference appliance behind a gateway load balancer.
//!
//! A small bump in the wire: it takes GENEVE packets on UDP 6081, keeps the
//! header and its options as they are, passes, drops or rewrites the inner
//! packet by rule, counts flows, and sends the packet back with the outer
//! addresses swapped and the ports as they were (`gwlb-geneve.md` §4.2).
//!
//! [`Appliance`] is the sans-IO core. The lab puts it behind a simulated host,
//! [`run`] behind real sockets (`vpclab appliance`). It has a parser of its own:
//! an appliance that shared the data plane's would share its mistakes.

mod core;
mod inner;
mod program;
mod rule;
pub(crate) mod wire;

pub use self::core::{Appliance, FLOWS_MAX, FlowReport, Stats};
pub use program::{Options, ProgramError, run};
pub use rule::{Rewrite, Rule, RuleError};

/// The port of GENEVE (RFC 8926 §3.3).
pub const GENEVE_PORT: u16 = 6081;
