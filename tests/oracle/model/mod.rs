//! The model: what must become of one frame, by the reference alone.
//!
//! Slow and obvious on purpose: lists are searched from the front, every packet
//! is judged anew, nothing is compiled or cached. Where the reference leaves a
//! choice (a target, a source port, a cookie; timers after a change that it does
//! not speak of), [`Tape`] lets every allowed choice be tried: the data plane
//! must have done what one of them leads to, and that one is then binding.

mod balancer;
mod edge;
mod filters;
mod gateway;
mod hops;
mod local;
mod nat;
mod ready;
mod state;
pub mod tracking;

use std::collections::{HashMap, HashSet};

use crate::adapter::Observed;
use crate::wire::{Packet, Tuple};
use crate::world::{Id, Mac, Seconds, World};
pub use nat::NatMapping;
pub use ready::line;
use state::{Effect, Seen};
pub use state::{Flow, Mapping};
use tracking::{Entry, Way};

/// Names of reasons, any of which is right.
pub type Classes = &'static [&'static str];

/// What must become of a frame.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Exactly this frame leaves by this port.
    Delivered { port: Id, frame: Vec<u8> },
    /// Fragments of this IP packet leave by this port.
    Pieces {
        port: Id,
        macs: (Mac, Mac),
        ip: Vec<u8>,
        mtu: usize,
    },
    /// Exactly this frame comes back.
    Answered { frame: Vec<u8> },
    /// It goes, as it is, to a service on the sender's link.
    Served,
    /// Dropped for one of these reasons; perhaps its sender is told.
    Dropped { classes: Classes, told: Told },
    /// The reference does not say.
    Anything,
}

/// What the sender of a dropped packet hears.
#[derive(Clone, Debug)]
pub enum Told {
    Nothing,
    /// A TCP reset.
    Reset,
    /// An ICMP error about this packet, with one of these second words from one
    /// of these sources.
    Icmp {
        kind: (u8, u8),
        from: Vec<(std::net::IpAddr, u32)>,
        about: Vec<u8>,
    },
    /// Anything or nothing.
    Whatever,
}

/// Which of several allowed things happens, choice by choice.
#[derive(Default)]
pub struct Tape {
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl Tape {
    /// One of `n` possibilities.
    fn pick(&mut self, n: usize) -> usize {
        if n <= 1 {
            return 0;
        }
        if self.at == self.taken.len() {
            self.taken.push((0, n));
        }
        let (choice, _) = self.taken[self.at];
        self.at += 1;
        choice
    }

    /// The next combination of choices; false after the last.
    fn advance(&mut self) -> bool {
        self.taken.truncate(self.at);
        self.at = 0;
        while let Some((choice, n)) = self.taken.pop() {
            if choice + 1 < n {
                self.taken.push((choice + 1, n));
                return true;
            }
        }
        false
    }
}

/// The model of everything.
pub struct Oracle {
    pub world: World,
    pub now: Seconds,
    tracking: HashMap<(Id, Tuple), Entry>,
    pub mappings: Vec<Mapping>,
    pub flows: Vec<Flow>,
    pub nats: Vec<NatMapping>,
    fragments: Vec<Seen>,
    /// Which of several load balancers an endpoint's interface uses.
    favourites: HashMap<Id, (Vec<Id>, Id)>,
    pub cookies: HashSet<u32>,
    /// Where packets from a place went last.
    paths: HashMap<(state::Place, Tuple), state::Taken>,
    /// Connections whose packets took another way than before: asymmetric paths
    /// are unsupported (§2.3), so who still tracks them is not certain. When the last of
    /// their packets passed: what is idle for longer than anybody remembers is new.
    strayed: HashMap<Tuple, Seconds>,
    /// What a load balancer sends for a client that it had sent otherwise before, and when
    /// it began to.
    remapped: HashMap<Tuple, Seconds>,
    /// How often the reference did not decide.
    pub unsure: u64,
}

/// Why a walk ends before a port.
#[derive(Clone, Debug)]
enum Stop {
    Drop(Classes),
    Reset(Classes),
    Echo,
    Service,
}

type Step = Result<(), Stop>;

fn drop(classes: Classes) -> Step {
    Err(Stop::Drop(classes))
}

/// A limit that a hop puts on a packet's size.
#[derive(Clone, Debug)]
struct Limit {
    bytes: usize,
    /// The reason, if it vanishes silently.
    silent: Option<&'static str>,
    source: std::net::IpAddr,
}

/// The outside of a packet in a tunnel.
#[derive(Clone, Debug)]
struct Outer {
    number: u64,
    cookie: u32,
    sport: u16,
    node: std::net::IpAddr,
    target: std::net::IpAddr,
    ttl: u8,
}

/// One packet on its way.
struct Walk<'a> {
    oracle: &'a Oracle,
    world: &'a World,
    now: Seconds,
    seen: &'a Observed,
    tape: &'a mut Tape,
    /// As it entered (or came out of a tunnel).
    packet: Packet,
    /// As it is now; in a tunnel, the outside.
    tuple: Tuple,
    /// In a tunnel: the inside.
    inside: Tuple,
    /// The packet that an ICMP error quotes, as it is now.
    quoted: Option<Tuple>,
    /// A later fragment of something unseen.
    portless: bool,
    /// Port by which it entered, and its frame's destination.
    port: Id,
    /// The interface that sent it last, within the VPC where it is.
    sender: Option<Id>,
    /// A node that sent it in its client's name.
    stands_for: Option<Id>,
    /// The connection of which it is the target's answer to a client.
    answers: Option<usize>,
    sender_mac: Option<Mac>,
    lookups: u32,
    ttl: u8,
    ttl_died: bool,
    mss: Option<u16>,
    limits: Vec<Limit>,
    effects: Vec<Effect>,
    /// Entries of interfaces to be made or touched.
    tracks: Vec<(Id, Tuple, Way, bool)>,
    always_tracked: bool,
    /// The flow whose tunnel it has just left, and what it crossed before.
    left: Option<usize>,
    /// The same, kept whatever becomes of the packet.
    came_back: Option<usize>,
    outer: Option<Outer>,
    /// Where the address that a client called translates (for errors).
    front: Option<std::net::IpAddr>,
    /// What an address translation of the destination was asked by.
    delivered: Option<(Id, (Mac, Mac))>,
}

impl Oracle {
    pub fn new(world: World) -> Self {
        Self {
            world,
            now: 1,
            tracking: HashMap::new(),
            mappings: Vec::new(),
            flows: Vec::new(),
            nats: Vec::new(),
            fragments: Vec::new(),
            favourites: HashMap::new(),
            cookies: HashSet::new(),
            paths: HashMap::new(),
            strayed: HashMap::new(),
            remapped: HashMap::new(),
            unsure: 0,
        }
    }

    /// Judges what became of a frame. `Err` says what should have.
    pub fn judge(&mut self, port: Id, frame: &[u8], seen: &Observed) -> Result<Expected, String> {
        let mut tape = Tape::default();
        let mut all = Vec::new();
        for _ in 0..256 {
            let (expected, effects) = self.expect(port, frame, seen, &mut tape);
            if ready::agrees(&expected, port, frame, seen) {
                if matches!(expected, Expected::Anything) {
                    self.unsure += 1;
                }
                self.keep(effects);
                return Ok(expected);
            }
            all.push(expected);
            if !tape.advance() {
                break;
            }
        }
        Err(ready::report(&all, seen) + &self.remembered(frame))
    }

    /// What interfaces know of a frame's connection, in words.
    fn remembered(&self, frame: &[u8]) -> String {
        let packet = frame.get(14..).and_then(|ip| Packet::read(ip, false));
        let Some(tuple) = packet.map(|packet| packet.tuple) else {
            return String::new();
        };
        let about = self.forms(tuple);
        let mut known: Vec<_> = self.tracking.iter().collect();
        known.retain(|((_, sent), _)| about.contains(sent));
        known.sort_by_key(|((eni, _), _)| *eni);
        let line = |((eni, _), entry): (&(Id, Tuple), &Entry)| {
            let idle = self.now - entry.last;
            format!("  port {eni} knows, {idle} s ago: {entry:?}\n")
        };
        known.into_iter().map(line).collect()
    }
}
