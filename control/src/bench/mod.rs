//! `vpclab bench`: how fast the data plane is, measured the same way everywhere.
//!
//! ```text
//! Suite ──cases──► Case ──prepare──► Work ──round, floor, round, floor…──► Outcome ──► Report
//! ```
//!
//! - a [`Suite`] is one file here, named in [`SUITES`]: it turns the [`Options`] into cases;
//! - a [`Case`] is one row of the result: a name, where it stands on a plot, and how to prepare it;
//! - a [`Work`] is what is timed: everything made before the clock starts, one round after another;
//! - [`run`](run::run) times rounds, counts allocations, and asks the work to check what it did.
//!
//! `run` times whole rounds. Works that time a part of theirs (`steps`, `updates`), or have
//! threads of their own (`io`), read the same [`Clock`](vpclab_dataplane::worker::Clock) and
//! hand in what they found ([`Done::elapsed`], [`Work::metrics`]). The criterion benches and
//! the instruction counts of `benches/` drive the same works.

pub mod acl;
mod compare;
mod connections;
mod driver;
pub mod eastwest;
mod error;
mod feed;
pub mod first_packet;
pub mod flow;
mod frames;
pub mod gwlb;
mod heap;
pub mod io;
mod kind;
mod lifecycle;
pub mod lpm;
mod machine;
mod options;
pub mod parse;
mod path;
pub mod plot;
pub mod privatelink;
mod report;
pub mod run;
pub mod scale;
pub mod steps;
mod topology;
pub mod updates;

pub use compare::{Change, Comparison};
pub use connections::{Connection, Expected, Opened};
pub use error::BenchError;
pub use feed::{BATCH, Feed, Recycle};
pub use frames::{FrameStore, Segment};
pub use heap::Heap;
pub use kind::Kind;
pub use machine::{Busy, Machine};
pub use options::{Depth, Options, Size, parse_count, parse_counts};
pub use path::CachedPath;
pub use report::{CaseResult, Report, Skipped, Spread};
pub use topology::World;

/// A family of benchmarks.
pub trait Suite: Sync {
    /// What it is called on the command line and in front of its results.
    fn name(&self) -> &'static str;

    /// One line for `--list`.
    fn about(&self) -> &'static str;

    /// What is measured with these options, in the order of the table.
    fn cases(&self, options: &Options) -> Vec<Case>;
}

/// Every suite, in the order in which they run.
pub const SUITES: &[&dyn Suite] = &[
    &lpm::Longest,
    &flow::Flow,
    &parse::Parse,
    &acl::Acl,
    &eastwest::EastWest,
    &privatelink::PrivateLink,
    &gwlb::Gwlb,
    &first_packet::FirstPacket,
    &updates::Updates,
    &scale::Scale,
    &steps::Steps,
    &io::Io,
];

/// The suite of this name.
pub fn suite(name: &str) -> Option<&'static dyn Suite> {
    SUITES.iter().copied().find(|suite| suite.name() == name)
}

/// What a round's operations are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// A packet through the pipeline, or through a part of it.
    #[default]
    Packet,
    /// A look-up of a key.
    Lookup,
    /// A connection, from its first packet to its last.
    Connection,
    /// A published change of the tables.
    Update,
    /// A network interface, with all that belongs to it.
    Interface,
    /// A byte.
    Byte,
    /// A few instructions on registers.
    Step,
}

impl Unit {
    /// Its name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Lookup => "lookup",
            Self::Connection => "connection",
            Self::Update => "update",
            Self::Interface => "interface",
            Self::Byte => "byte",
            Self::Step => "step",
        }
    }
}

/// Makes a case's work ready.
pub type Prepare = Box<dyn FnOnce() -> Result<Box<dyn Work>, BenchError>>;

/// One row of the result.
pub struct Case {
    /// Its name without the suite's: `tcp4-64B/flows=100000`.
    pub name: String,
    /// Flows, where the case has them: the x axis of one plot.
    pub flows: Option<u64>,
    /// Routes, where the case has them: the x axis of another.
    pub routes: Option<u64>,
    /// Rules, where the case has them.
    pub rules: Option<u64>,
    /// What is counted.
    pub unit: Unit,
    /// Whether the cached path is measured: then one allocation fails the case.
    pub allocates_nothing: bool,
    /// Whether the measuring thread is held on one CPU. Works with threads of
    /// their own say no.
    pub pinned: bool,
    /// Whether there is one round and no warm-up: what grows memory is seen once.
    pub once: bool,
    /// Makes everything that must exist before the clock starts.
    pub prepare: Prepare,
}

impl Case {
    /// A case of the cached packet path: pinned, and nothing may allocate.
    pub fn new(
        name: impl Into<String>,
        prepare: impl FnOnce() -> Result<Box<dyn Work>, BenchError> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            flows: None,
            routes: None,
            rules: None,
            unit: Unit::Packet,
            allocates_nothing: true,
            pinned: true,
            once: false,
            prepare: Box::new(prepare),
        }
    }

    /// Stands at this many flows on the plot.
    #[must_use]
    pub fn flows(self, flows: u64) -> Self {
        Self {
            flows: Some(flows),
            ..self
        }
    }

    /// Stands at this many routes on the plot.
    #[must_use]
    pub fn routes(self, routes: u64) -> Self {
        Self {
            routes: Some(routes),
            ..self
        }
    }

    /// Stands at this many rules on the plot.
    #[must_use]
    pub fn rules(self, rules: u64) -> Self {
        Self {
            rules: Some(rules),
            ..self
        }
    }

    /// Counts something other than packets.
    #[must_use]
    pub fn unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    /// May allocate while it is timed: first packets, control plane, real I/O.
    #[must_use]
    pub fn may_allocate(self) -> Self {
        Self {
            allocates_nothing: false,
            ..self
        }
    }

    /// Has one round and no warm-up.
    #[must_use]
    pub fn once(self) -> Self {
        Self { once: true, ..self }
    }

    /// Runs threads of its own: the measuring thread is not held on one CPU.
    #[must_use]
    pub fn unpinned(self) -> Self {
        Self {
            pinned: false,
            ..self
        }
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish()
    }
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Operations: what the time is divided by.
    pub operations: u64,
    /// Of them, those that the flow cache answered (or keys that were found).
    pub hits: u64,
    /// Of them, those that were walked (or keys that were not found).
    pub misses: u64,
    /// Time of the operations, where the work knows better than the clock
    /// around the round.
    pub elapsed: Option<std::time::Duration>,
}

/// Something to be timed.
pub trait Work {
    /// Puts things as they were before a round; not timed.
    fn reset(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    /// One round. The same amount of work every time.
    fn round(&mut self) -> Done;

    /// The harness' own work in a round (making frames, taking them back)
    /// without what is measured; the number of operations it stands for.
    /// `None` where there is nothing to subtract.
    fn floor(&mut self) -> Option<u64> {
        None
    }

    /// Checks, untimed and after the rounds, that the work was done right.
    fn verify(&mut self, done: &Done) -> Result<(), BenchError>;

    /// Share of all CPUs, in percent, that other programs took in the rounds,
    /// where the work knows better than who called [`Self::round`].
    fn others_percent(&self) -> Option<f64> {
        None
    }

    /// Further figures by name, units last: `connections_per_second`.
    fn metrics(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// Those of them that each timed round has a value of.
    fn by_round(&self) -> Vec<(&'static str, Vec<f64>)> {
        Vec::new()
    }
}
