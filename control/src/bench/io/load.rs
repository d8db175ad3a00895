//! What is sent between the namespaces.

use super::Span;
use super::bed::Kind;
use super::contest::{self, Beside, Entry, Shown, Way};
use super::ping::Ping;
use super::tcp::Tcp;
use super::udp::Udp;
use crate::bench::{BenchError, Case, Depth, Unit};
use crate::cli::CliError;
use crate::host::HostError;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// One TCP stream.
    Tcp,
    /// Datagrams that make frames of 64 bytes, as many as a thread can send.
    Udp,
    /// Echo requests, one after the other.
    Ping,
}

impl Load {
    pub(super) const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Ping];

    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp-64B",
            Self::Ping => "ping",
        }
    }

    const fn shown(self, kind: Kind) -> Shown {
        Shown {
            figure: match self {
                Self::Tcp => ["gbit_per_s", "gbit_per_s_min", "gbit_per_s_max"],
                Self::Udp => ["mpps", "mpps_min", "mpps_max"],
                Self::Ping => ["p50_us", "p50_us_min", "p50_us_max"],
            },
            beside: match kind {
                Kind::PrivateLink => BESIDE,
                _ => &[],
            },
        }
    }

    fn prepare(self, kind: Kind, depth: Depth) -> Result<Box<dyn Way>, HostError> {
        let span = Span::of(depth);
        Ok(match self {
            Self::Tcp => Box::new(Tcp::new(kind, span)?),
            Self::Udp => Box::new(Udp::new(kind, span)?),
            Self::Ping => Box::new(Ping::new(kind, depth)?),
        })
    }
}

const BESIDE: &[Beside] = &[
    Beside {
        names: [
            "times_bare_mover",
            "times_bare_mover_min",
            "times_bare_mover_max",
        ],
        way: Kind::Mover.name(),
        inverse: false,
    },
    Beside {
        names: [
            "times_kernel_router",
            "times_kernel_router_min",
            "times_kernel_router_max",
        ],
        way: Kind::Router.name(),
        inverse: false,
    },
    Beside {
        names: [
            "times_kernel_masquerade",
            "times_kernel_masquerade_min",
            "times_kernel_masquerade_max",
        ],
        way: Kind::Masquerade.name(),
        inverse: false,
    },
];

/// A case for each of the things that may lie between.
pub(super) fn cases(load: Load, depth: Depth) -> Vec<Case> {
    let entries = Kind::ALL.into_iter().map(|kind| Entry {
        name: kind.name(),
        unit: match load {
            Load::Tcp => Unit::Byte,
            Load::Udp | Load::Ping => Unit::Packet,
        },
        shown: load.shown(kind),
        build: Box::new(move || load.prepare(kind, depth).map_err(not_here)),
    });
    contest::cases(load.name(), entries.collect())
}

/// The machine lacks something: the rest can go on.
fn not_here(error: HostError) -> BenchError {
    let CliError { message, fix, .. } = CliError::from(error);
    let fix = fix.map(|fix| format!(" ({fix})")).unwrap_or_default();
    BenchError::NotHere(message + &fix)
}
