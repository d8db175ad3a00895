//! Ports: where frames enter and leave the data plane.
//!
//! [`Port`] moves batches. [`MemoryPort`] serves simulations, tests and
//! benches; [`TapPort`] joins a Linux network namespace. [`Links`] stand before
//! the ports that a lab was told to disturb. A [`Ring`] moves the frames of all
//! TAPs of a worker at once.

mod attach;
pub mod fuzzing;
mod links;
mod memory;
mod port;
mod rng;
mod sys;
pub(crate) mod tap;
mod vnet;
mod wake;
mod wire;

pub use attach::{make_persistent_tap, make_tap, namespace_owner, open_packet_socket};
pub use links::{LinkAccounts, Links};
pub use memory::{MemoryPort, memory_pair};
pub use port::{Port, PortError};
pub use rng::Rng;
pub use sys::{Poller, Ring, Transfer, Way, pin_thread};
pub use tap::TapPort;
pub use vnet::{VNET_HEADER_LEN, VnetHeader};
pub use wake::{WakeReceiver, WakeSender, wake_pair};
pub use wire::{Faults, LinkCounters, Wire};
