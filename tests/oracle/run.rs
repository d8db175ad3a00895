//! One case: a world, and what happens in it, frame by frame on both sides.

use std::collections::BTreeMap;

use crate::adapter::{Observed, Subject};
use crate::generate::Rng;
use crate::generate::frames;
use crate::generate::world::Maker;
use crate::model::{Expected, Oracle};
use crate::world::{Change, Id, Seconds, World};

/// What happens, made explicit, so that it can be played again.
#[derive(Clone, Debug)]
pub enum Event {
    Send(Id, Vec<u8>),
    Change(Change),
    Wait(Seconds),
}

/// What was seen, to know that the generator is worth something.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub packets: u64,
    pub delivered: u64,
    pub pieces: u64,
    pub answered: u64,
    pub served: u64,
    pub unsure: u64,
    pub hits: u64,
    pub misses: u64,
    pub tunnelled: u64,
    pub translated: u64,
    pub reasons: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.packets += other.packets;
        self.delivered += other.delivered;
        self.pieces += other.pieces;
        self.answered += other.answered;
        self.served += other.served;
        self.unsure += other.unsure;
        self.hits += other.hits;
        self.misses += other.misses;
        self.tunnelled += other.tunnelled;
        self.translated += other.translated;
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }
}

/// Both sides of a case.
struct Pair {
    subject: Subject,
    oracle: Oracle,
    tally: Tally,
}

impl Pair {
    fn new(world: World, seed: u64) -> Self {
        Self {
            subject: Subject::new(world.rows(), seed),
            oracle: Oracle::new(world),
            tally: Tally::default(),
        }
    }

    /// Lets one thing happen on both sides; what the data plane did with a frame.
    fn step(&mut self, event: &Event) -> Result<Observed, String> {
        match event {
            Event::Wait(seconds) => {
                self.oracle.now += seconds;
                Ok(Observed::default())
            }
            Event::Change(change) => {
                self.oracle.world.apply(change.clone());
                self.subject.change(change.clone());
                Ok(Observed::default())
            }
            Event::Send(port, bytes) => self.send(*port, bytes),
        }
    }

    fn send(&mut self, port: Id, bytes: &[u8]) -> Result<Observed, String> {
        let seen = self.subject.send(self.oracle.now, port, bytes);
        let expected = self.oracle.judge(port, bytes, &seen)?;
        if !self.subject.balances() {
            return Err("the frame accounts do not balance".to_owned());
        }
        let tally = &mut self.tally;
        tally.packets += 1;
        match expected {
            Expected::Delivered { frame, .. } => {
                tally.delivered += 1;
                tally.tunnelled += u64::from(frames::is_tunnel(&frame));
                tally.translated += u64::from(frame.get(26..) != bytes.get(26..));
            }
            Expected::Pieces { .. } => tally.pieces += 1,
            Expected::Answered { .. } => tally.answered += 1,
            Expected::Served => tally.served += 1,
            Expected::Dropped { .. } => *tally.reasons.entry(seen.drops[0]).or_default() += 1,
            Expected::Anything => {}
        }
        Ok(seen)
    }

    fn finish(mut self) -> Tally {
        (self.tally.hits, self.tally.misses) = self.subject.hits_and_misses();
        self.tally.unsure = self.oracle.unsure;
        self.tally
    }
}

/// What went wrong, and how to see it again.
pub struct Failure {
    pub world: World,
    pub events: Vec<Event>,
    pub report: String,
}

/// Draws and plays a case.
pub fn play(seed: u64, steps: usize, peered: bool) -> Result<Tally, Box<Failure>> {
    let mut maker = Maker::new(seed, peered);
    let world = maker.world.clone();
    let mut case = Case {
        pair: Pair::new(world.clone(), seed),
        rng: Rng::new(seed ^ 0x5eed),
        events: Vec::new(),
        sent: Vec::new(),
        received: Vec::new(),
    };
    for _ in 0..steps {
        if let Err(report) = case.one(&mut maker) {
            return Err(Box::new(Failure {
                world,
                events: case.events,
                report,
            }));
        }
    }
    Ok(case.pair.finish())
}

struct Case {
    pair: Pair,
    rng: Rng,
    events: Vec<Event>,
    sent: Vec<(Id, Vec<u8>)>,
    received: Vec<(Id, Vec<u8>)>,
}

/// As many frames as are remembered to be sent again or answered.
const MEMORY: usize = 24;

impl Case {
    fn step(&mut self, event: Event) -> Result<Observed, String> {
        self.events.push(event.clone());
        self.pair.step(&event)
    }

    fn one(&mut self, maker: &mut Maker) -> Result<(), String> {
        const WAITS: [Seconds; 16] = [
            1, 5, 9, 11, 19, 29, 31, 59, 61, 100, 119, 121, 179, 181, 351, 601,
        ];
        match self.rng.below(100) {
            0..6 => {
                if let Some(change) = maker.change() {
                    maker.world.apply(change.clone());
                    self.step(Event::Change(change))?;
                }
            }
            6..9 => {
                let seconds = self.rng.of(&WAITS);
                self.step(Event::Wait(seconds))?;
            }
            9..40 => {
                let (port, bytes) = frames::fresh(&maker.world, &mut self.rng);
                self.sent.push((port, bytes.clone()));
                self.again(&maker.world, port, bytes)?;
            }
            40..62 if !self.sent.is_empty() => {
                let (port, bytes) = self.rng.of(&self.sent);
                self.again(&maker.world, port, bytes)?;
            }
            62..88 if !self.received.is_empty() => {
                let (port, bytes) = self.rng.of(&self.received);
                if let Some(answer) = frames::answer(&maker.world, &mut self.rng, port, &bytes) {
                    self.sent.push((port, answer.clone()));
                    self.again(&maker.world, port, answer)?;
                }
            }
            88..91 if !self.received.is_empty() => {
                let (port, bytes) = self.rng.of(&self.received);
                if let Some(error) = frames::error(&maker.world, &mut self.rng, port, &bytes) {
                    self.again(&maker.world, port, error)?;
                }
            }
            91..94 if !self.sent.is_empty() => {
                let (port, bytes) = self.rng.of(&self.sent);
                if let Some(pieces) = frames::cut(&mut self.rng, &bytes) {
                    for piece in pieces {
                        self.follow(&maker.world, port, piece)?;
                    }
                }
            }
            94..97 if !self.sent.is_empty() => {
                let (port, bytes) = self.rng.of(&self.sent);
                if maker.world.enis.contains_key(&port) {
                    let bytes = frames::spoiled(&maker.world, &mut self.rng, port, &bytes);
                    self.follow(&maker.world, port, bytes)?;
                }
            }
            _ => {}
        }
        if self.sent.len() > MEMORY {
            self.sent.remove(0);
        }
        while self.received.len() > MEMORY {
            self.received.remove(0);
        }
        Ok(())
    }

    /// A frame, one to three times.
    fn again(&mut self, world: &World, port: Id, bytes: Vec<u8>) -> Result<(), String> {
        for _ in 0..1 + self.rng.below(3) {
            self.follow(world, port, bytes.clone())?;
        }
        Ok(())
    }

    /// A frame, and what routers and appliances make of it.
    fn follow(&mut self, world: &World, port: Id, bytes: Vec<u8>) -> Result<(), String> {
        let mut next = Some((port, bytes));
        for _ in 0..10 {
            let Some((port, bytes)) = next.take() else {
                break;
            };
            let seen = self.step(Event::Send(port, bytes))?;
            let [(at, frame)] = &seen.out[..] else { break };
            let Some(eni) = world.enis.get(at) else { break };
            if !seen.drops.is_empty() || frame.len() < 34 {
                break;
            }
            if frames::is_tunnel(frame) && *at >= 960 {
                if self.rng.chance(94) {
                    next =
                        frames::bounced(world, &mut self.rng, *at, frame).map(|bytes| (*at, bytes));
                }
                continue;
            }
            let dst = crate::wire::Packet::read(&frame[14..], false).map(|packet| packet.tuple.dst);
            let foreign = dst.is_some_and(|dst| {
                !eni.addresses.contains(&dst) && !eni.prefixes.iter().any(|p| p.contains(dst))
            });
            if foreign && self.rng.chance(92) {
                next = frames::routed(world, *at, frame).map(|bytes| (*at, bytes));
            } else if at != &port {
                self.received.push((*at, frame.clone()));
            }
        }
        Ok(())
    }
}

/// Plays what is written down; how far it came, and what went wrong there.
fn replay(world: &World, events: &[Event], seed: u64) -> Option<(usize, String)> {
    let mut pair = Pair::new(world.clone(), seed);
    for (n, event) in events.iter().enumerate() {
        if let Err(report) = pair.step(event) {
            return Some((n, report));
        }
    }
    None
}

/// Plays it once more, and says what the data plane did with each frame.
pub fn told(world: &World, events: &[Event], seed: u64) -> Vec<String> {
    let mut pair = Pair::new(world.clone(), seed);
    let mut lines = Vec::new();
    for event in events {
        lines.push(match pair.step(event) {
            Ok(seen) if !seen.drops.is_empty() => format!("dropped {:?}", seen.drops),
            Ok(seen) => seen
                .out
                .iter()
                .map(|(port, _)| format!("to port {port} "))
                .collect(),
            Err(_) => String::new(),
        });
    }
    lines
}

/// Leaves out what the failure does not need.
pub fn shrink(failure: &Failure, seed: u64) -> (Vec<Event>, String) {
    let mut events = failure.events.clone();
    let mut report = failure.report.clone();
    let mut size = events.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < events.len() {
            let mut fewer = events.clone();
            fewer.drain(at..(at + size).min(events.len()));
            match replay(&failure.world, &fewer, seed) {
                Some((end, why)) => {
                    fewer.truncate(end + 1);
                    events = fewer;
                    report = why;
                }
                None => at += size,
            }
        }
        size /= 2;
    }
    (events, report)
}
