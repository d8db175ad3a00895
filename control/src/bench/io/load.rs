//! What is sent between the namespaces.

use super::Span;
use super::bed::Kind;
use super::contest::{self, Beside, Entry, Names, Shown, Way};
use super::ping::{From, Ping};
use super::tcp::{Congestion, Tcp};
use super::udp::{Flows, Udp};
use super::uso::Uso;
use crate::bench::{BenchError, Case, Depth, Unit};
use crate::cli::CliError;
use crate::host::HostError;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// One TCP stream.
    Tcp(Congestion),
    /// Datagrams that make frames of 64 bytes, as many as a thread can send.
    Udp(Flows),
    /// Super-packets of datagrams, as many as a thread can send.
    Uso,
    /// One TCP stream through a gateway load balancer's appliance.
    Inspected,
    /// Echo requests, one after the other.
    Ping(From),
}

impl Load {
    pub(super) const ALL: [Self; 8] = [
        Self::Tcp(Congestion::Default),
        Self::Tcp(Congestion::Cubic),
        Self::Udp(Flows::Thousand),
        Self::Udp(Flows::FiftyThousand),
        Self::Uso,
        Self::Inspected,
        Self::Ping(From::AnotherCore),
        Self::Ping(From::SameCore),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Tcp(Congestion::Default) => "tcp",
            Self::Tcp(Congestion::Cubic) => "tcp-cubic",
            Self::Udp(Flows::Thousand) => "udp-64B",
            Self::Udp(Flows::FiftyThousand) => "udp-64B-50k-flows",
            Self::Uso => "udp-uso",
            Self::Inspected => "tcp-gwlb",
            Self::Ping(From::AnotherCore) => "ping",
            Self::Ping(From::SameCore) => "ping-same-core",
        }
    }

    /// What may lie between. The peers first: what comes later is compared with them.
    const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Tcp(Congestion::Default) | Self::Udp(Flows::Thousand) => &[
                Kind::Mover,
                Kind::Router,
                Kind::Masquerade,
                Kind::PrivateLink,
                Kind::MoverOfTwo,
                Kind::PrivateLinkOfTwo,
            ],
            Self::Tcp(Congestion::Cubic)
            | Self::Udp(Flows::FiftyThousand)
            | Self::Uso
            | Self::Ping(_) => &[
                Kind::Mover,
                Kind::Router,
                Kind::Masquerade,
                Kind::PrivateLink,
            ],
            Self::Inspected => &[Kind::Direct, Kind::OneByOne, Kind::Trains],
        }
    }

    const fn shown(self, kind: Kind) -> Shown {
        Shown {
            figure: match self {
                Self::Tcp(_) | Self::Uso | Self::Inspected => {
                    ["gbit_per_s", "gbit_per_s_min", "gbit_per_s_max"]
                }
                Self::Udp(_) => ["mpps", "mpps_min", "mpps_max"],
                Self::Ping(_) => ["p50_us", "p50_us_min", "p50_us_max"],
            },
            beside: match kind {
                // What two TAPs and a thread between them take in any case.
                Kind::Mover if matches!(self, Self::Ping(_)) => ROUTER,
                Kind::PrivateLink => PEERS,
                Kind::MoverOfTwo => ONE_MOVER,
                Kind::PrivateLinkOfTwo => OF_TWO,
                Kind::OneByOne => DIRECT,
                Kind::Trains => INSPECTED,
                Kind::Mover | Kind::Router | Kind::Masquerade | Kind::Direct => &[],
            },
        }
    }

    fn prepare(self, kind: Kind, depth: Depth) -> Result<Box<dyn Way>, HostError> {
        let span = Span::of(depth);
        Ok(match self {
            Self::Tcp(congestion) => Box::new(Tcp::new(kind, congestion, span)?),
            Self::Inspected => Box::new(Tcp::new(kind, Congestion::Default, span)?),
            Self::Udp(flows) => Box::new(Udp::new(kind, flows, span)?),
            Self::Uso => Box::new(Uso::new(kind, span)?),
            Self::Ping(from) => Box::new(Ping::new(kind, from, depth)?),
        })
    }
}

const fn beside(names: Names, way: Kind) -> Beside {
    Beside {
        names,
        way: way.name(),
        inverse: false,
    }
}

const TIMES_MOVER: Names = [
    "times_bare_mover",
    "times_bare_mover_min",
    "times_bare_mover_max",
];
const TIMES_ROUTER: Names = [
    "times_kernel_router",
    "times_kernel_router_min",
    "times_kernel_router_max",
];
const TIMES_MASQUERADE: Names = [
    "times_kernel_masquerade",
    "times_kernel_masquerade_min",
    "times_kernel_masquerade_max",
];
const TIMES_ONE_QUEUE: Names = [
    "times_one_queue",
    "times_one_queue_min",
    "times_one_queue_max",
];
const TIMES_DIRECT: Names = ["times_direct", "times_direct_min", "times_direct_max"];
const TIMES_ONE_BY_ONE: Names = [
    "times_one_by_one",
    "times_one_by_one_min",
    "times_one_by_one_max",
];

const PEERS: &[Beside] = &[
    beside(TIMES_MOVER, Kind::Mover),
    beside(TIMES_ROUTER, Kind::Router),
    beside(TIMES_MASQUERADE, Kind::Masquerade),
];
const ROUTER: &[Beside] = &[beside(TIMES_ROUTER, Kind::Router)];
const ONE_MOVER: &[Beside] = &[beside(TIMES_ONE_QUEUE, Kind::Mover)];
const OF_TWO: &[Beside] = &[
    beside(TIMES_MOVER, Kind::MoverOfTwo),
    beside(TIMES_ONE_QUEUE, Kind::PrivateLink),
    beside(TIMES_MASQUERADE, Kind::Masquerade),
];
const DIRECT: &[Beside] = &[beside(TIMES_DIRECT, Kind::Direct)];
const INSPECTED: &[Beside] = &[
    beside(TIMES_DIRECT, Kind::Direct),
    beside(TIMES_ONE_BY_ONE, Kind::OneByOne),
];

/// A case for each of the things that may lie between.
pub(super) fn cases(load: Load, depth: Depth) -> Vec<Case> {
    let entries = load.kinds().iter().map(|&kind| Entry {
        name: kind.name(),
        unit: match load {
            Load::Tcp(_) | Load::Uso | Load::Inspected => Unit::Byte,
            Load::Udp(_) | Load::Ping(_) => Unit::Packet,
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
