//! Whole connections through PrivateLink: open, six packets, close. Twelve
//! packets each, many connections side by side, the table in a steady state:
//! as many connections expire as are made.
//!
//! A closed connection is remembered for ten seconds, so at a million a second ten
//! million would be in the table. Here virtual time decides how many: it passes so
//! slowly from packet to packet that the table of the case is what they fill. No
//! tuple comes back while its last connection is remembered.

use std::hint::black_box;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::{Delta, Frame, tcp_flag};
use vpclab_dataplane::pipeline::Pipeline;
use vpclab_dataplane::tables::Snapshot;
use vpclab_dataplane::time::{Duration, Instant};

use super::connections::{CHUNK, Connection, Opened};
use super::driver;
use super::feed::Recycle;
use super::frames::{FrameStore, Segment};
use super::path::{self, Inspection};
use super::privatelink;
use super::{BenchError, Done, Kind, Options, Work};

const CLIENT: u32 = 0;
const SERVER: u32 = 1;

/// Who sends, with which flags: the handshake, a request with its answer and one
/// more, the end.
const PACKETS: [(u32, u8); 12] = [
    (CLIENT, tcp_flag::SYN),
    (SERVER, tcp_flag::SYN | tcp_flag::ACK),
    (CLIENT, tcp_flag::ACK),
    (CLIENT, tcp_flag::ACK),
    (SERVER, tcp_flag::ACK),
    (SERVER, tcp_flag::ACK),
    (CLIENT, tcp_flag::ACK),
    (CLIENT, tcp_flag::ACK),
    (SERVER, tcp_flag::ACK),
    (CLIENT, tcp_flag::FIN | tcp_flag::ACK),
    (SERVER, tcp_flag::FIN | tcp_flag::ACK),
    (CLIENT, tcp_flag::ACK),
];

/// Virtual time in which as many connections come as the table holds: more than the ten
/// seconds for which a closed one is remembered, so that some are always to be freed.
const TURN_NS: u64 = 15_000_000_000;
/// Most connections of a case, so that a round does not take long.
pub(super) const MOST: u64 = 20_000;
/// Tuples that come round, as a multiple of the connections that the table holds.
const TUPLES: u64 = 2;

/// Offset of the ports in a frame of IPv4 without options.
const PORTS: usize = 34;
/// Offset of TCP's sequence number: the packet's number is there.
const SEQUENCE: usize = PORTS + 4;
/// Offset of TCP's checksum.
const CHECKSUM: usize = PORTS + 16;

/// Connections that come and go.
#[derive(Debug)]
pub(super) struct Lifecycle {
    pipeline: Pipeline,
    tables: Snapshot,
    /// In the order in which they are sent: of 64 connections the first packets, then
    /// the second ones, and so on.
    store: FrameStore,
    /// The port that each server saw when the frames were made,
    made_for: Vec<u16>,
    /// and the one that it sees in this round.
    seen: Vec<u16>,
    now: Instant,
    batch: Vec<Frame>,
    free: Vec<Frame>,
    /// Virtual time that a packet takes.
    packet_time: Duration,
    sent: Opening,
    /// What a round did not do.
    wrong: Option<String>,
    /// As they were opened: what has to come out, but for the port that a server sees.
    connections: Vec<Connection>,
    /// Whether packets have been looked at.
    judged: bool,
}

/// Takes what leaves; of a SYN, it remembers from which port it comes now.
#[derive(Debug, Default)]
struct Opening {
    recycle: Recycle,
    frames: Vec<(EniId, Frame)>,
}

impl vpclab_dataplane::pipeline::Sink for Opening {
    #[inline]
    fn transmit(&mut self, port: EniId, frame: Frame) {
        self.recycle.sent += 1;
        self.frames.push((port, frame));
    }

    fn local(&mut self, _eni: EniId, _frame: Frame) {}
}

impl Lifecycle {
    /// Makes the frames, by opening each connection once. The table has room for
    /// `flows` connections.
    ///
    /// # Errors
    /// When the lab cannot be made or a connection not opened.
    pub(super) fn new(options: &Options, flows: u64) -> Result<Self, BenchError> {
        let flows = flows.max(CHUNK as u64);
        let tuples = flows * TUPLES;
        let lab = privatelink::lab_for(Kind::Tcp4, tuples)?;
        let config = path::config(options, tuples, 0);
        let opened = Opened::new(config, lab.tables.clone(), lab.ends(tuples), usize::MAX)?;
        let mut store = FrameStore::with_capacity(opened.connections.len() * PACKETS.len(), 64);
        let mut frame = Frame::with_capacity(128);
        let mut made_for = Vec::new();
        for chunk in opened.connections.chunks(CHUNK) {
            for connection in chunk {
                lab.check(connection).map_err(BenchError::Wrong)?;
                made_for.push(connection.server.tuple.dport);
            }
            for (sender, flags) in PACKETS {
                for (id, connection) in chunk.iter().enumerate() {
                    let end = connection.sender(sender);
                    // A load balancer chooses by the sequence number, too: as in the opening.
                    Segment::of(end, flags, id as u32).write(&mut frame, 64);
                    store.push(end.port, frame.bytes());
                }
            }
        }
        let config = path::exact_config(options, flows + 4 * CHUNK as u64);
        let packets = flows * PACKETS.len() as u64;
        Ok(Self {
            pipeline: Pipeline::new(config),
            tables: opened.driver.tables,
            store,
            seen: made_for.clone(),
            made_for,
            now: Instant::from_secs(1),
            batch: Vec::with_capacity(CHUNK),
            free: Vec::new(),
            packet_time: Duration::from_nanos(TURN_NS / packets),
            sent: Opening::default(),
            wrong: None,
            connections: opened.connections,
            judged: false,
        })
    }

    fn connections(&self) -> usize {
        self.made_for.len()
    }

    /// Sends every packet of every connection; `pass` takes a batch to the sink. It is
    /// told the first connection of the batch, and which of [`PACKETS`] it has of each.
    fn run(&mut self, mut pass: impl FnMut(&mut Self, usize, (u32, u8))) {
        let (mut first, mut next) = (0, 0);
        while first < self.connections() {
            let last = (first + CHUNK).min(self.connections());
            for (sender, flags) in PACKETS {
                for connection in first..last {
                    let mut frame = self
                        .free
                        .pop()
                        .unwrap_or_else(|| Frame::with_capacity(2048));
                    self.store.fill(next, &mut frame);
                    next += 1;
                    if sender == SERVER {
                        self.redirect(connection, &mut frame);
                    }
                    self.batch.push(frame);
                }
                pass(self, first, (sender, flags));
                self.take_back((flags == tcp_flag::SYN).then_some(first));
            }
            first = last;
        }
    }

    /// A server's packet goes to the port from which the client's SYN came in
    /// this round, not to that of the round in which it was made.
    #[inline]
    fn redirect(&self, connection: usize, frame: &mut Frame) {
        let (Some(&made), Some(&seen)) = (self.made_for.get(connection), self.seen.get(connection))
        else {
            return;
        };
        let bytes = frame.bytes_mut();
        if let Some(place) = bytes.get_mut(PORTS + 2..PORTS + 4) {
            place.copy_from_slice(&seen.to_be_bytes());
        }
        if let Some(place) = bytes
            .get_mut(CHECKSUM..)
            .and_then(|b| b.first_chunk_mut::<2>())
        {
            let delta = Delta::default().replace16(made, seen);
            *place = delta.apply(u16::from_be_bytes(*place)).to_be_bytes();
        }
    }

    /// Frames become free again; of SYNs, the first of which is connection
    /// `syns_from`'s, the source port is kept.
    #[inline]
    fn take_back(&mut self, syns_from: Option<usize>) {
        for (_, frame) in self.sent.frames.drain(..) {
            if let Some(first) = syns_from {
                let bytes = frame.bytes();
                let port = bytes.get(PORTS..).and_then(|b| b.first_chunk::<2>());
                let id = bytes.get(SEQUENCE..).and_then(|b| b.first_chunk::<4>());
                if let (Some(port), Some(id)) = (port, id)
                    && let Some(place) = self.seen.get_mut(first + u32::from_be_bytes(*id) as usize)
                {
                    *place = u16::from_be_bytes(*port);
                }
            }
            self.free.push(frame);
        }
    }
}

impl Lifecycle {
    /// Sends the batch through the pipeline.
    #[inline]
    fn process(&mut self) {
        let passed = self.packet_time.as_nanos() * self.batch.len() as u64;
        self.now += Duration::from_nanos(passed);
        self.pipeline
            .process(self.now, &self.tables, &mut self.batch, &mut self.sent);
    }

    /// One round more, in which each packet that comes out is judged.
    fn inspect(&mut self) -> Result<(), BenchError> {
        let mut judged = Ok(());
        self.run(|this, first, packet| {
            let count = this.batch.len();
            this.process();
            if judged.is_ok() {
                judged = this.judge(first, packet, count);
            }
        });
        judged
    }

    /// Judges what came out for `count` packets of the connections from `first` on.
    fn judge(
        &self,
        first: usize,
        (sender, flags): (u32, u8),
        count: usize,
    ) -> Result<(), BenchError> {
        let judge = |port: EniId, frame: &Frame| {
            let (id, came) = driver::read(port, frame.bytes())?;
            let at = first + id as usize;
            let (Some(connection), Some(&seen)) = (self.connections.get(at), self.seen.get(at))
            else {
                return Err(BenchError::wrong("a packet that nobody sent"));
            };
            let mut expected = connection.expected(sender);
            if sender == CLIENT {
                // NAT chooses a port for each round: any for the SYN, which the others keep.
                let is_first = flags == tcp_flag::SYN;
                let chosen = if is_first { came.tuple.sport } else { seen };
                expected.tuple.sport = chosen.max(1_024);
            }
            if came == expected {
                return Ok(id);
            }
            Err(BenchError::wrong(format!(
                "a packet of connection {at} came out as {came:?} instead of {expected:?}"
            )))
        };
        let mut inspection = Inspection::new(&judge);
        for (port, frame) in &self.sent.frames {
            inspection.take(*port, frame);
        }
        inspection.finish(count)
    }
}

impl Work for Lifecycle {
    fn round(&mut self) -> Done {
        let counters = self.pipeline.counters();
        let (hits, misses) = (counters.flow_hits, counters.flow_misses);
        let (created, sent) = (counters.flows_created, self.sent.recycle.sent);
        self.run(|this, _, _| this.process());
        let counters = self.pipeline.counters();
        let count = self.connections() as u64;
        let arrived = self.sent.recycle.sent - sent;
        let made = counters.flows_created - created;
        if arrived != count * PACKETS.len() as u64 || made != count {
            let packets = count * PACKETS.len() as u64;
            let why = driver::drops(counters);
            self.wrong = Some(format!(
                "{made} of {count} connections were made, {arrived} of {packets} packets arrived ({why})"
            ));
        }
        Done {
            operations: count,
            hits: counters.flow_hits - hits,
            misses: counters.flow_misses - misses,
            elapsed: None,
        }
    }

    fn floor(&mut self) -> Option<u64> {
        let seen = self.seen.clone();
        self.run(|this, _, _| {
            for frame in black_box(&mut this.batch).drain(..) {
                this.sent.frames.push((frame.port, frame));
            }
        });
        self.seen = seen;
        Some(self.connections() as u64)
    }

    fn verify(&mut self, done: &Done) -> Result<(), BenchError> {
        if let Some(wrong) = self.wrong.take() {
            return Err(BenchError::Wrong(wrong));
        }
        let packets = done.operations * PACKETS.len() as u64;
        // Only the first packet of either direction is walked.
        if done.hits + done.misses != packets || done.misses > done.operations * 2 {
            return Err(BenchError::wrong(format!(
                "of {packets} packets {} were hits and {} were walked",
                done.hits, done.misses
            )));
        }
        if !self.judged {
            // Timed rounds look at no byte but the ports of SYNs: one like them does.
            self.judged = true;
            self.inspect()?;
        }
        Ok(())
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        let counters = self.pipeline.counters();
        let share = |count: u64| count as f64 / counters.flows_created.max(1) as f64;
        vec![
            (
                "sessions_in_table",
                self.pipeline.connections().sessions.len() as f64,
            ),
            ("planned_per_connection", share(counters.flows_planned)),
            (
                "answers_planned_per_connection",
                share(counters.answers_planned),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vpclab_dataplane::packet::{ETHERNET_LEN, checksum, parse_ip};

    /// What a round with these frames is judged to be; `change` is told the place of each.
    fn judged(change: impl Fn(usize, &mut Frame)) -> Result<(), BenchError> {
        let mut work = Lifecycle::new(&Options::smoke(), 100)?;
        let mut store = FrameStore::default();
        let mut frame = Frame::with_capacity(128);
        for n in 0..work.store.len() {
            work.store.fill(n, &mut frame);
            change(n, &mut frame);
            store.push(frame.port, frame.bytes());
        }
        work.store = store;
        let done = work.round();
        work.verify(&done)
    }

    /// Places of a client's and of a server's packet, of the second 64 connections.
    fn places() -> [usize; 2] {
        let chunk = CHUNK * PACKETS.len();
        [chunk + 3 * CHUNK + 5, chunk + 5 * CHUNK + 5]
    }

    #[test]
    fn connections_whose_packets_come_out_right_have_a_result() {
        judged(|_, _| ()).unwrap();
    }

    #[test]
    fn one_wrong_checksum_of_either_direction_fails_the_case() {
        for place in places() {
            let error = judged(|n, frame| {
                if n == place {
                    frame.bytes_mut()[CHECKSUM] ^= 1;
                }
            });
            let said = error.unwrap_err().to_string();
            assert!(said.contains("wrong transport checksum"), "{said}");
        }
    }

    #[test]
    fn one_packet_that_came_out_as_another_of_either_direction_fails_the_case() {
        for place in places() {
            let error = judged(|n, frame| {
                if n == place {
                    // It says that it is the next connection's.
                    frame.bytes_mut()[SEQUENCE + 3] += 1;
                    let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
                    checksum::fill_transport(frame.bytes_mut(), &headers);
                }
            });
            let said = error.unwrap_err().to_string();
            assert!(said.contains("instead of"), "{said}");
        }
    }
}
