//! Load balancing: targets, and for gateway load balancers which appliance a flow goes to, and what identifies
//! the flow when the appliance sends it back.
//!
//! The GENEVE bytes are in [`crate::packet`]; routing to and from the endpoint
//! is in [`crate::walk`].

mod flows;
mod leg;
mod select;
mod target;

pub use flows::{Flow, FlowKey, Flows, NewFlow, source_port};
pub use leg::Leg;
pub(crate) use leg::Moment;
pub use select::{choose, usable};
pub use target::{Stickiness, Target, TargetHealth};
