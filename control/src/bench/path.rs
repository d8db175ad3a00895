//! The cached path: packets of open connections, in random order, both directions.

use std::collections::HashSet;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::packet::{Frame, tcp_flag};
use vpclab_dataplane::pipeline::Config;

use super::connections::{self, End, Opened};
use super::feed::Feed;
use super::frames::{FrameStore, Segment};
use super::{BenchError, Connection, Depth, Done, Options, Size, Work};

/// Most connections whose packets are sent: of ten million, a random million.
const SAMPLE: usize = 1 << 20;

/// Most packets looked at afterwards.
const CHECKED: usize = 20_000;

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

/// Sorts into a random order that the seed decides.
pub(super) fn shuffle<T>(items: &mut [T], seed: u64) {
    for last in (1..items.len()).rev() {
        let other = Seed(seed).words(&[last as u64]) % (last as u64 + 1);
        items.swap(last, other as usize);
    }
}

/// Open connections and the packets of both their directions.
#[derive(Debug)]
pub struct EstablishedPath {
    opened: Opened,
    feed: Feed,
    packets: u64,
}

impl EstablishedPath {
    /// Opens a connection from each of `clients` and makes the packets of both
    /// directions. `check` judges what a connection was translated to.
    ///
    /// # Errors
    /// When one cannot be opened, or `check` says that it is wrong.
    pub fn new(
        options: &Options,
        size: Size,
        tables: vpclab_dataplane::tables::Snapshot,
        clients: impl ExactSizeIterator<Item = End>,
        check: impl Fn(&Connection) -> Result<(), String>,
    ) -> Result<Self, BenchError> {
        let config = config(options, clients.len() as u64, 0);
        let opened = Opened::new(config, tables, clients, SAMPLE)?;
        for connection in &opened.connections {
            check(connection).map_err(BenchError::Wrong)?;
        }
        let mut order: Vec<u32> = (0..opened.connections.len() as u32 * 2).collect();
        shuffle(&mut order, options.seed);
        let longest = match size {
            Size::Bytes(bytes) => bytes,
            Size::Imix => 1518,
        };
        let mut store = FrameStore::with_capacity(order.len(), longest);
        let mut frame = Frame::with_capacity(longest);
        for (nth, &id) in order.iter().enumerate() {
            let Some(connection) = opened.connections.get(id as usize / 2) else {
                continue;
            };
            let end = connection.sender(id % 2);
            let segment = Segment {
                src_mac: end.src_mac,
                dst_mac: end.dst_mac,
                tuple: end.tuple,
                flags: tcp_flag::ACK,
                id,
            };
            segment.write(&mut frame, size.of(nth as u64));
            store.push(end.port, frame.bytes());
        }
        let feed = Feed::new(store, options.batch, opened.now);
        let least = match options.depth {
            // Large frames are bound by copies: fewer of them say as much.
            Depth::Normal if longest > 1_000 => options.operations() / 4,
            _ => options.operations(),
        };
        let packets = feed.round_len(least);
        Ok(Self {
            opened,
            feed,
            packets,
        })
    }

    /// Packets of a round.
    pub fn round_len(&self) -> u64 {
        self.packets
    }

    /// Sends the next `packets` packets; hits and misses are the pipeline's.
    pub fn drive(&mut self, packets: u64) -> Done {
        let counters = self.opened.pipeline.counters();
        let (hits, misses) = (counters.flow_hits, counters.flow_misses);
        let sent = self.feed.sink.sent;
        self.feed
            .drive(&mut self.opened.pipeline, &self.opened.tables, packets);
        let counters = self.opened.pipeline.counters();
        Done {
            operations: self.feed.sink.sent - sent,
            hits: counters.flow_hits - hits,
            misses: counters.flow_misses - misses,
            elapsed: None,
        }
    }
}

impl Work for EstablishedPath {
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
            return Err(BenchError::wrong(format!(
                "of {} packets sent {} came out; {hits} hit the flow cache, {misses} missed it",
                self.packets, done.operations
            )));
        }
        let count = self.feed.len().min(CHECKED);
        let mut check = Check::new(&self.opened.connections);
        self.feed.rewind();
        self.feed.inspect(
            &mut self.opened.pipeline,
            &self.opened.tables,
            count as u64,
            |port, frame| check.take(port, frame),
        );
        check.finish(count)
    }
}

/// Compares what comes out with what must.
struct Check<'a> {
    connections: &'a [Connection],
    seen: HashSet<u32>,
    wrong: Option<BenchError>,
}

impl<'a> Check<'a> {
    fn new(connections: &'a [Connection]) -> Self {
        Self {
            connections,
            seen: HashSet::new(),
            wrong: None,
        }
    }

    fn take(&mut self, port: EniId, frame: &Frame) {
        if let Err(error) = self.judge(port, frame) {
            self.wrong.get_or_insert(error);
        }
    }

    fn judge(&mut self, port: EniId, frame: &Frame) -> Result<(), BenchError> {
        let (id, came) = connections::read(port, frame.bytes())?;
        let connection = self.connections.get(id as usize / 2);
        let expected = connection.map(|connection| connection.expected(id % 2));
        if expected != Some(came) {
            return Err(BenchError::wrong(format!(
                "packet {id} came out as {came:?} instead of {expected:?}"
            )));
        }
        if !self.seen.insert(id) {
            return Err(BenchError::wrong(format!("packet {id} came out twice")));
        }
        Ok(())
    }

    fn finish(self, count: usize) -> Result<(), BenchError> {
        match self.wrong {
            Some(error) => Err(error),
            None if self.seen.len() != count => Err(BenchError::wrong(format!(
                "of {count} packets {} came out",
                self.seen.len()
            ))),
            None => Ok(()),
        }
    }
}
