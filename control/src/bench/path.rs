//! The cached path: packets of open connections, in random order, both directions.

use std::collections::HashSet;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::packet::{Frame, tcp_flag};
use vpclab_dataplane::pipeline::{Config, Pipeline};
use vpclab_dataplane::tables::{Snapshot, Tables};

use super::connections::{End, Opened};
use super::driver::{self, Driver};
use super::feed::Feed;
use super::frames::{FrameStore, Segment};
use super::{BenchError, Connection, Depth, Done, Options, Size, Work};

/// Most packets looked at afterwards.
pub(super) const CHECKED: usize = 20_000;

/// A pipeline with room for so many connections and tunnel flows.
pub(super) fn config(options: &Options, connections: u64, gwlb_flows: u64) -> Config {
    let room = |count: u64| usize::try_from(count + count / 8 + 1_024).unwrap_or(usize::MAX);
    Config {
        connections: room(connections),
        gwlb_flows: room(gwlb_flows),
        seed: options.seed,
        ..Config::default()
    }
}

/// A pipeline with room for exactly so many connections.
pub(super) fn exact_config(options: &Options, connections: u64) -> Config {
    Config {
        connections: usize::try_from(connections).unwrap_or(usize::MAX),
        ..config(options, 0, 0)
    }
}

/// Sorts into a random order that the seed decides.
pub(super) fn shuffle<T>(items: &mut [T], seed: u64) {
    for last in (1..items.len()).rev() {
        let other = Seed(seed).words(&[last as u64]) % (last as u64 + 1);
        items.swap(last, other as usize);
    }
}

/// Reads a frame that came out: its number, or what is wrong with it.
pub(super) type Judge = Box<dyn Fn(EniId, &Frame) -> Result<u32, BenchError>>;

/// Sends the next `packets` packets; hits and misses are the pipeline's.
pub(super) fn drive(
    feed: &mut Feed,
    pipeline: &mut Pipeline,
    tables: &Snapshot,
    packets: u64,
) -> Done {
    let counters = pipeline.counters();
    let (hits, misses) = (counters.flow_hits, counters.flow_misses);
    let sent = feed.sink.sent;
    feed.drive(pipeline, tables, packets);
    let counters = pipeline.counters();
    Done {
        operations: feed.sink.sent - sent,
        hits: counters.flow_hits - hits,
        misses: counters.flow_misses - misses,
        elapsed: None,
    }
}

/// Packets of connections that are known: each is a hit.
pub struct CachedPath {
    pipeline: Pipeline,
    tables: Snapshot,
    feed: Feed,
    packets: u64,
    judge: Judge,
}

impl std::fmt::Debug for CachedPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachedPath").finish_non_exhaustive()
    }
}

impl CachedPath {
    /// The frames of `store`, to a pipeline that knows their connections.
    pub(super) fn new(
        options: &Options,
        driver: Driver,
        longest: usize,
        store: FrameStore,
        judge: Judge,
    ) -> Self {
        let feed = Feed::new(store, options.batch, driver.now);
        let least = match options.depth {
            // Large frames are bound by copies: fewer of them say as much.
            Depth::Normal if longest > 1_000 => options.operations() / 4,
            _ => options.operations(),
        };
        let packets = feed.round_len(least);
        Self {
            pipeline: driver.pipeline,
            tables: driver.tables,
            feed,
            packets,
            judge,
        }
    }

    /// Opens a connection from each of `clients` and makes the packets of both
    /// directions. `check` judges what a connection was translated to.
    ///
    /// # Errors
    /// When one cannot be opened, or `check` says that it is wrong.
    pub fn both_directions(
        options: &Options,
        size: Size,
        tables: Snapshot,
        clients: impl ExactSizeIterator<Item = End>,
        check: impl Fn(&Connection) -> Result<(), String>,
    ) -> Result<Self, BenchError> {
        let config = config(options, clients.len() as u64, 0);
        let Opened {
            driver,
            connections,
        } = Opened::new(config, tables, clients, usize::MAX)?;
        for connection in &connections {
            check(connection).map_err(BenchError::Wrong)?;
        }
        let mut order: Vec<u32> = (0..connections.len() as u32 * 2).collect();
        shuffle(&mut order, options.seed);
        let mut store = FrameStore::with_capacity(order.len(), size.longest());
        let mut frame = Frame::with_capacity(size.longest());
        for (nth, &id) in order.iter().enumerate() {
            let Some(connection) = connections.get(id as usize / 2) else {
                continue;
            };
            let end = connection.sender(id % 2);
            Segment::of(end, tcp_flag::ACK, id).write(&mut frame, size.of(nth as u64));
            store.push(end.port, frame.bytes());
        }
        let judge = move |port: EniId, frame: &Frame| {
            let (id, came) = driver::read(port, frame.bytes())?;
            let connection = connections.get(id as usize / 2);
            let expected = connection.map(|connection| connection.expected(id % 2));
            if expected == Some(came) {
                return Ok(id);
            }
            Err(BenchError::wrong(format!(
                "packet {id} came out as {came:?} instead of {expected:?}"
            )))
        };
        let longest = size.longest();
        Ok(Self::new(options, driver, longest, store, Box::new(judge)))
    }

    /// Packets of a round.
    pub fn round_len(&self) -> u64 {
        self.packets
    }

    /// What it consists of, to drive it otherwise.
    pub(super) fn parts(&mut self) -> (&mut Pipeline, &mut Feed) {
        (&mut self.pipeline, &mut self.feed)
    }

    /// Sends the next `packets` packets.
    pub fn drive(&mut self, packets: u64) -> Done {
        drive(&mut self.feed, &mut self.pipeline, &self.tables, packets)
    }

    /// The same by the tables that are published when each batch begins, as a
    /// worker has them.
    pub fn drive_published(&mut self, tables: &Tables, packets: u64) -> Done {
        let counters = self.pipeline.counters();
        let (hits, misses) = (counters.flow_hits, counters.flow_misses);
        let sent = self.feed.sink.sent;
        self.feed
            .drive_published(&mut self.pipeline, tables, packets);
        self.tables = (*tables.snapshot()).clone();
        let counters = self.pipeline.counters();
        Done {
            operations: self.feed.sink.sent - sent,
            hits: counters.flow_hits - hits,
            misses: counters.flow_misses - misses,
            elapsed: None,
        }
    }

    /// Sends some packets more, and judges each that comes out.
    pub(super) fn inspect(&mut self) -> Result<(), BenchError> {
        let Self { feed, pipeline, .. } = self;
        Inspection::new(&*self.judge)
            .feed(feed, pipeline, &self.tables)
            .map(drop)
    }
}

impl Work for CachedPath {
    fn round(&mut self) -> Done {
        self.drive(self.packets)
    }

    fn floor(&mut self) -> Option<u64> {
        self.feed.idle(self.packets);
        Some(self.packets)
    }

    fn verify(&mut self, done: &Done) -> Result<(), BenchError> {
        let Done { hits, misses, .. } = *done;
        if done.operations != self.packets || hits != self.packets || misses != 0 {
            let why = driver::drops(self.pipeline.counters());
            return Err(BenchError::wrong(format!(
                "of {} packets sent {} came out; {hits} hit the flow cache, {misses} missed it ({why})",
                self.packets, done.operations
            )));
        }
        self.inspect()
    }
}

/// Looks at what comes out, each packet once.
pub(super) struct Inspection<'a> {
    judge: &'a dyn Fn(EniId, &Frame) -> Result<u32, BenchError>,
    seen: HashSet<u32>,
    wrong: Option<BenchError>,
}

impl<'a> Inspection<'a> {
    pub(super) fn new(judge: &'a dyn Fn(EniId, &Frame) -> Result<u32, BenchError>) -> Self {
        Self {
            judge,
            seen: HashSet::new(),
            wrong: None,
        }
    }

    /// Sends some packets from the first on, judges each that comes out, and says how many
    /// they were.
    pub(super) fn feed(
        mut self,
        feed: &mut Feed,
        pipeline: &mut Pipeline,
        tables: &Snapshot,
    ) -> Result<usize, BenchError> {
        let count = CHECKED.min(feed.len());
        feed.rewind();
        feed.inspect(pipeline, tables, count as u64, |port, frame| {
            self.take(port, frame);
        });
        self.finish(count).map(|()| count)
    }

    /// Judges one frame.
    pub(super) fn take(&mut self, port: EniId, frame: &Frame) {
        let wrong = match (self.judge)(port, frame) {
            Ok(id) if self.seen.insert(id) => return,
            Ok(id) => BenchError::wrong(format!("packet {id} came out twice")),
            Err(error) => error,
        };
        self.wrong.get_or_insert(wrong);
    }

    /// Whether exactly `count` packets came, all of them right.
    pub(super) fn finish(self, count: usize) -> Result<(), BenchError> {
        let came = self.seen.len();
        match self.wrong {
            Some(error) => Err(error),
            None if came != count => Err(BenchError::wrong(format!(
                "of {count} packets {came} came out"
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::eastwest;
    use super::*;

    #[test]
    fn every_connection_that_is_open_sends_both_ways() {
        let options = Options::smoke();
        let (tables, ends) = eastwest::ends(&options, 100).unwrap();
        let mut path =
            CachedPath::both_directions(&options, Size::Bytes(64), tables, ends, |_| Ok(()))
                .unwrap();
        let done = path.round();
        path.verify(&done).unwrap();
        assert_eq!(path.feed.len(), 200);
        assert_eq!(path.pipeline.connections().sessions.len(), 100);
    }
}
