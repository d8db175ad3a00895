//! One case: a world, and what happens in it on both sides: the data plane gets its
//! frames one by one or in batches, the model each by itself.

use std::collections::{BTreeMap, VecDeque};

use crate::adapter::{Observed, Subject};
use crate::generate::Rng;
use crate::generate::frames;
use crate::generate::world::Maker;
use crate::model::{Expected, Oracle, line as line_of};
use crate::world::{Change, Id, Seconds, World};

/// What happens, made explicit, so that it can be played again.
#[derive(Clone, Debug)]
pub enum Event {
    /// A frame; `true` if more come in the same batch.
    Send(Id, Vec<u8>, bool),
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
    /// Most frames that went in together, and how many were with others.
    pub largest_batch: usize,
    pub in_batches: u64,
    /// Answers of route tables, looked up together.
    pub routes: u64,
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
        self.largest_batch = self.largest_batch.max(other.largest_batch);
        self.in_batches += other.in_batches;
        self.routes += other.routes;
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
    /// The frames of a batch that is not complete.
    waiting: Vec<(Id, Vec<u8>)>,
    /// What became of those of the last one, if it is to be told.
    last: Option<Vec<Observed>>,
}

/// Frames of a batch, and what became of each.
type Seen = Vec<(Id, Vec<u8>, Observed)>;

impl Pair {
    fn new(world: World, seed: u64) -> Self {
        Self {
            subject: Subject::new(world.rows(), seed),
            oracle: Oracle::new(world),
            tally: Tally::default(),
            waiting: Vec::new(),
            last: None,
        }
    }

    /// Lets one thing happen on both sides; what the data plane did with the frames
    /// of a batch that is now complete.
    fn step(&mut self, event: &Event) -> Result<Seen, String> {
        match event {
            Event::Wait(seconds) => {
                let seen = self.send()?;
                self.oracle.now += seconds;
                Ok(seen)
            }
            Event::Change(change) => {
                let seen = self.send()?;
                self.oracle.world.apply(change.clone());
                self.subject.change(change.clone());
                if let Change::Table(id, _) = change {
                    self.routes(*id)?;
                }
                Ok(seen)
            }
            Event::Send(port, bytes, more) => {
                self.waiting.push((*port, bytes.clone()));
                if *more { Ok(Seen::new()) } else { self.send() }
            }
        }
    }

    /// The batch that waits, through both sides.
    fn send(&mut self) -> Result<Seen, String> {
        let batch = std::mem::take(&mut self.waiting);
        if batch.len() > 1 {
            self.tally.largest_batch = self.tally.largest_batch.max(batch.len());
            self.tally.in_batches += batch.len() as u64;
        }
        let seen = self.subject.send(self.oracle.now, &batch);
        if let Some(last) = &mut self.last {
            last.clone_from(&seen);
        }
        if seen.len() != batch.len() {
            return Err(format!("{} of {} frames went in", seen.len(), batch.len()));
        }
        let mut all = Seen::new();
        for ((port, bytes), seen) in batch.into_iter().zip(seen) {
            self.judge(port, &bytes, &seen)?;
            all.push((port, bytes, seen));
        }
        if !self.subject.balances() {
            return Err("the frame accounts do not balance".to_owned());
        }
        Ok(all)
    }

    /// What a route table says of many destinations at once: at both ends of each
    /// route, and beside them.
    fn routes(&mut self, table: Id) -> Result<(), String> {
        let asked: Vec<_> = self.oracle.edges(table).into_iter().take(400).collect();
        let expected: Vec<_> = asked
            .iter()
            .map(|address| (*address, self.oracle.route(table, *address)))
            .collect();
        self.tally.routes += expected.len() as u64;
        self.subject.routes(table, &expected)
    }

    fn judge(&mut self, port: Id, bytes: &[u8], seen: &Observed) -> Result<(), String> {
        let expected = self.oracle.judge(port, bytes, seen)?;
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
        Ok(())
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

/// What cases are like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// VPCs that may be are peered.
    pub peered: bool,
    /// Targets of network load balancers may see the addresses of their clients.
    pub keeps: bool,
    /// Frames go in in batches, or one by one; unless said, of three cases two and one.
    pub batches: Option<bool>,
}

/// Draws and plays a case.
pub fn play(seed: u64, steps: usize, manner: Manner) -> Result<Tally, Box<Failure>> {
    let mut maker = Maker::new(seed, manner.peered, manner.keeps);
    let world = maker.world.clone();
    let mut case = Case {
        pair: Pair::new(world.clone(), seed),
        rng: Rng::new(seed ^ 0x5eed),
        sizes: Rng::new(seed ^ 0xba7c),
        batches: manner.batches.unwrap_or(!seed.is_multiple_of(3)),
        size: 1,
        queue: VecDeque::new(),
        events: Vec::new(),
        sent: Vec::new(),
        received: Vec::new(),
    };
    let tables: Vec<Id> = world.tables.keys().copied().collect();
    let mut known = tables.iter().try_for_each(|id| case.pair.routes(*id));
    for _ in 0..steps {
        known = known.and_then(|()| case.one(&mut maker));
    }
    match known {
        Ok(()) => Ok(case.pair.finish()),
        Err(report) => Err(Box::new(Failure {
            world,
            events: case.events,
            report,
        })),
    }
}

struct Case {
    pair: Pair,
    rng: Rng,
    sizes: Rng,
    /// Whether frames go in in batches.
    batches: bool,
    /// Frames of the next batch.
    size: usize,
    /// Frames for it, and how many routers and appliances had them before.
    queue: VecDeque<(Id, Vec<u8>, u32)>,
    events: Vec<Event>,
    sent: Vec<(Id, Vec<u8>)>,
    received: Vec<(Id, Vec<u8>)>,
}

/// As many frames as are remembered to be sent again or answered.
const MEMORY: usize = 24;

/// Frames in a batch: one, a few, and around what is looked at together.
const SIZES: [usize; 12] = [1, 2, 3, 5, 8, 16, 20, 31, 32, 33, 48, 64];

/// A frame goes round so often at most.
const HOPS: u32 = 10;

impl Case {
    fn step(&mut self, event: Event) -> Result<Seen, String> {
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
                    self.before_others(&maker.world)?;
                    maker.world.apply(change.clone());
                    self.step(Event::Change(change))?;
                }
            }
            6..9 => {
                let seconds = self.rng.of(&WAITS);
                self.before_others(&maker.world)?;
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

    /// A frame into the batch, and the batch on its way when it is complete.
    fn follow(&mut self, world: &World, port: Id, bytes: Vec<u8>) -> Result<(), String> {
        self.queue.push_back((port, bytes, 1));
        while self.queue.len() >= self.size {
            self.batch(world)?;
        }
        Ok(())
    }

    /// Before a change, or time passes: most of what waits goes its way.
    fn before_others(&mut self, world: &World) -> Result<(), String> {
        if !self.queue.is_empty() && self.sizes.chance(70) {
            self.batch(world)?;
        }
        Ok(())
    }

    /// A batch, and what routers and appliances make of what they get: frames of
    /// the batches that follow.
    fn batch(&mut self, world: &World) -> Result<(), String> {
        let size = self.size.min(self.queue.len());
        let frames: Vec<_> = self.queue.drain(..size).collect();
        if self.batches {
            self.size = self.sizes.of(&SIZES);
        }
        let mut seen = Seen::new();
        let mut hops = Vec::new();
        for (n, (port, bytes, before)) in frames.into_iter().enumerate() {
            hops.push(before);
            seen = self.step(Event::Send(port, bytes, n + 1 < size))?;
        }
        for (hops, (port, _, seen)) in hops.into_iter().zip(seen) {
            if let Some((port, bytes)) = self.sent_on(world, port, seen)
                && hops < HOPS
            {
                self.queue.push_back((port, bytes, hops + 1));
            }
        }
        Ok(())
    }

    /// What becomes of a frame where it arrived; if it is sent on, by whom and how.
    fn sent_on(&mut self, world: &World, port: Id, seen: Observed) -> Option<(Id, Vec<u8>)> {
        let [(at, frame)] = &seen.out[..] else {
            return None;
        };
        let eni = world.enis.get(at)?;
        if !seen.drops.is_empty() || frame.len() < 34 {
            return None;
        }
        if frames::is_tunnel(frame) && *at >= 960 {
            if !self.rng.chance(94) {
                return None;
            }
            return frames::bounced(world, &mut self.rng, *at, frame).map(|bytes| (*at, bytes));
        }
        let dst = crate::wire::Packet::read(&frame[14..], false).map(|packet| packet.tuple.dst);
        let foreign = dst.is_some_and(|dst| {
            !eni.addresses.contains(&dst) && !eni.prefixes.iter().any(|p| p.contains(dst))
        });
        if foreign && self.rng.chance(92) {
            return frames::routed(world, *at, frame).map(|bytes| (*at, bytes));
        }
        if *at != port {
            self.received.push((*at, frame.clone()));
        }
        None
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
    let end = events.len().saturating_sub(1);
    pair.send().err().map(|report| (end, report))
}

/// Plays it once more, and says what the data plane did with each frame, in the
/// line of its event.
pub fn told(world: &World, events: &[Event], seed: u64) -> Vec<String> {
    let mut pair = Pair::new(world.clone(), seed);
    let mut lines = vec![String::new(); events.len()];
    let mut waiting = VecDeque::new();
    for n in 0..=events.len() {
        pair.last = Some(Vec::new());
        // What became of a batch in which something was wrong is told, too.
        let _ = match events.get(n) {
            Some(event) => pair.step(event),
            None => pair.send(),
        };
        if matches!(events.get(n), Some(Event::Send(..))) {
            waiting.push_back(n);
        }
        for seen in pair.last.iter().flatten() {
            let Some(line) = waiting.pop_front().and_then(|n| lines.get_mut(n)) else {
                continue;
            };
            *line = match &seen.drops[..] {
                [] => {
                    let out = seen.out.iter();
                    out.map(|(port, frame)| format!("to port {port}: {} ", line_of(frame)))
                        .collect()
                }
                drops => format!("dropped {drops:?}"),
            };
        }
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
