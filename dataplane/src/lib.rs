//! vpclab's data plane: packets in, packets out.
//!
//! Sans-IO: no clock, no randomness, no control plane, no async runtime. The
//! same code runs in simulation and on real interfaces. Imports point down
//! (`tests/architecture.rs`):
//!
//! ```text
//! addr, time, drop ← packet ← lpm, flow, accounts, nat, gwlb ← tables ← walk ← pipeline ← worker
//!                    packet ← io ← worker
//! ```

pub mod accounts;
pub mod addr;
pub mod counters;
pub mod drop;
pub mod flow;
pub mod gwlb;
pub mod io;
pub mod lpm;
#[cfg(all(test, loom))]
mod models;
pub mod nat;
pub mod packet;
pub mod pipeline;
mod sync;
pub mod tables;
pub mod time;
pub mod trace;
pub mod walk;
pub mod worker;
