//! Ports: where frames enter and leave the data plane.
//!
//! [`Port`] moves batches. [`MemoryPort`] serves simulations, tests and
//! benches; [`TapPort`] joins a Linux network namespace.

mod memory;
mod port;
mod sys;
mod tap;
mod vnet;
mod wake;

pub use memory::{MemoryPort, memory_pair};
pub use port::{Port, PortError};
pub use sys::Poller;
pub use tap::TapPort;
pub use vnet::{VNET_HEADER_LEN, VnetHeader};
pub use wake::{WakeReceiver, WakeSender, wake_pair};
