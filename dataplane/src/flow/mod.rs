//! Connections: what the data plane remembers between packets.
//!
//! A *session* is one pass through the data plane and its reply: from the port
//! where a packet enters to the port (or appliance tunnel) where it leaves. It
//! is found from both ends, by the tuple that each end *sends*: so the key at
//! an interface is also that interface's connection-tracking entry. Each
//! direction keeps its compiled [`Pass`]; both are walked for real, by the
//! tables of their own first packet.

mod action;
mod beside;
mod bulk;
mod common;
mod deps;
mod entry;
mod family;
mod fragments;
pub mod fuzzing;
mod hash;
mod held;
mod index;
mod interned;
mod lifetime;
mod memory;
mod nat;
mod proxied;
mod session;
mod shard;
mod shift;
mod short;
mod standing;
mod store;
mod table;
mod tracking;

pub(crate) use action::{Hot, Takes};
pub(crate) use common::{Begin, Common, Leaves, Shared};
pub use deps::{DepSets, DepsId, Generations, Object, Reads, RouteRange};
pub(crate) use entry::{Line, Sums, both_ports, line_flag, split_ports};
pub(crate) use family::{End, Family};
pub use fragments::{First, FragmentKey, Fragments};
pub(crate) use hash::PairSeed;
pub use hash::{RowHash, Seed, Seeded};
pub use held::Held;
pub(crate) use memory::{CacheLine, LinesPastCaches, prefetch, prefetch_whole};
pub use nat::{NATS_MAX, NatFlow, Nats};
pub use proxied::{Phase, Proxied, ProxiedFlows};
pub use session::{LbFlow, Limits, Outcome, Pass, Rewrite, Session, SizeLimit, Tracked, Tunnel};
pub use shard::Shard;
pub(crate) use shift::Settled;
pub use shift::Shift;
pub(crate) use short::{Key4, Key6};
pub use table::{SessionId, Table};
pub(crate) use table::{reference, split};
pub use tracking::{TcpState, Tracking, TrackingTimeouts};

use crate::addr::EniId;
use crate::packet::FiveTuple;

/// By what a packet entered a pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ingress {
    /// The port of an interface.
    Eni(EniId),
    /// Out of the tunnel of a gateway load balancer flow (its serial number).
    Gwlb(u32),
}

/// Finds a session: an end, and the tuple of the packets that this end sends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// The end.
    pub ingress: Ingress,
    /// The tuple as sent by that end.
    pub tuple: FiveTuple,
}

/// Which way a packet of a session travels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// As the packet that created the session.
    Forward,
    /// The other way.
    Reply,
}

impl Direction {
    /// The way back.
    pub const fn other(self) -> Self {
        match self {
            Self::Forward => Self::Reply,
            Self::Reply => Self::Forward,
        }
    }

    /// 0 or 1.
    pub const fn index(self) -> usize {
        self as usize
    }
}
