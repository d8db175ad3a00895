//! The in-process lab: simulated hosts on the real data plane, in virtual time.
//!
//! No root, no clock, no thread: hosts are smoltcp stacks behind memory ports,
//! links lose and delay by seed, and a run jumps from one deadline to the next.

mod appliance;
mod brain;
mod datagram;
mod device;
mod error;
mod event;
mod expect;
mod harness;
mod host;
mod link;
mod node;
mod plane;
mod record;
mod sim;
mod stack;
mod tcp;
mod throughput;

pub use appliance::{Encapsulated, RunningAppliance};
pub use brain::{Presence, Presences};
pub use error::{LabError, Timeout};
pub use harness::{DEFAULT_LIMIT, Lab};
pub use host::{Conn, Host, IcmpError, IntoAddress, Listener, Ping, Udp};
pub use link::{DEFAULT_DELAY, Link};
pub use node::{Forwarder, Node};
pub use plane::Dropped;
pub(crate) use record::read_pcap;
pub use record::{Capture, Direction, RECORD_BYTES_MAX, Recorded};
pub use smoltcp::socket::tcp::State as TcpState;
pub use stack::Wiring;
pub use throughput::Throughput;
pub use vpclab_dataplane::io::{Faults, LinkCounters};
