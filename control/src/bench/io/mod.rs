//! Ports and workers: what lies between hosts and pipeline.
//!
//! ```text
//! memory/…   script ports ── 1 or 2 workers ── script ports             no rights needed
//!            1 or 2 threads that only count (floor): what the machine gives
//! tcp…/…     ┌ client ┐      bare mover       ┌ server ┐
//! udp-64B…/… │ eth0   ├──── kernel's router ──┤ eth0   │   namespaces made here, gone
//! udp-uso/…  └────────┘      vpclab           └────────┘   with the process
//! ping…/…
//! tcp-gwlb/… client ── vpclab ── server; in GENEVE by way of an appliance
//! ```
//!
//! Peers and vpclab take turns, round by round, with the same generators and
//! sinks (sockets of our own); a ratio is of one round, what is shown is the
//! middle of the rounds.

mod appliance;
mod bed;
mod contest;
mod floor;
mod lab;
mod load;
mod mover;
mod ping;
mod router;
mod scaling;
mod script;
mod tcp;
mod udp;
mod uso;

use super::{Case, Depth, Options, Suite};
use load::Load;

/// The suite.
#[derive(Debug)]
pub struct Io;

impl Suite for Io {
    fn name(&self) -> &'static str {
        "io"
    }

    fn about(&self) -> &'static str {
        "workers and hand-over in memory; namespaces through PrivateLink beside a bare mover and the kernel's router"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let mut cases = scaling::cases(options);
        for load in Load::ALL {
            cases.extend(load::cases(load, options.depth));
        }
        cases
    }
}

/// How long a round counts, and how long it runs before: sockets, queues and
/// caches are as full then as they will be.
#[derive(Clone, Copy, Debug)]
struct Span {
    warm: std::time::Duration,
    counted: std::time::Duration,
}

impl Span {
    const fn of(depth: Depth) -> Self {
        let (warm, counted) = match depth {
            Depth::Smoke => (10, 40),
            Depth::Normal => (150, 500),
            Depth::Full => (300, 2_000),
        };
        Self {
            warm: std::time::Duration::from_millis(warm),
            counted: std::time::Duration::from_millis(counted),
        }
    }
}
