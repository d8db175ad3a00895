//! Connections opened through a pipeline, packet by packet as hosts would, and
//! what must come out of it for each of their later packets.

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::packet::{
    ETHERNET_LEN, FiveTuple, Frame, checksum, parse_ethernet, parse_ip, tcp_flag,
};
use vpclab_dataplane::pipeline::{Config, Pipeline, Sink};
use vpclab_dataplane::tables::Snapshot;
use vpclab_dataplane::time::{Duration, Instant};

use super::BenchError;
use super::frames::{Segment, packet_id};

/// Connections opened side by side.
const CHUNK: usize = 64;

/// One end of a connection: what it sends, and by which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Port of the host's interface.
    pub port: EniId,
    /// MAC address of the host.
    pub src_mac: Mac,
    /// MAC address that it sends to.
    pub dst_mac: Mac,
    /// The tuple of the packets that it sends.
    pub tuple: FiveTuple,
}

/// A connection as its two ends see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Who opened it.
    pub client: End,
    /// Who answered.
    pub server: End,
}

/// What has to come out for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// By which port.
    pub port: EniId,
    /// From and to which MAC address.
    pub macs: (Mac, Mac),
    /// With which tuple.
    pub tuple: FiveTuple,
}

impl Connection {
    /// What `end` must receive of what the other end sends.
    fn received_by(end: &End) -> Expected {
        Expected {
            port: end.port,
            macs: (end.dst_mac, end.src_mac),
            tuple: end.tuple.reversed(),
        }
    }

    /// The end that sends in a direction: 0 the client, 1 the server.
    pub fn sender(&self, direction: u32) -> &End {
        if direction == 0 {
            &self.client
        } else {
            &self.server
        }
    }

    /// What comes out for a packet of this direction.
    pub fn expected(&self, direction: u32) -> Expected {
        Self::received_by(self.sender(1 - direction))
    }
}

/// A pipeline with open connections.
#[derive(Debug)]
pub struct Opened {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The tables by which it forwards.
    pub tables: Snapshot,
    /// The connections, or an even sample of them.
    pub connections: Vec<Connection>,
    /// Virtual time.
    pub now: Instant,
}

/// Keeps what comes out.
#[derive(Debug, Default)]
struct Collect {
    out: Vec<(EniId, Frame)>,
    local: u64,
}

impl Sink for Collect {
    fn transmit(&mut self, port: EniId, frame: Frame) {
        self.out.push((port, frame));
    }

    fn local(&mut self, _eni: EniId, _frame: Frame) {
        self.local += 1;
    }
}

/// A sink's frame, read: its number, and what it is. Wrong checksums are an error.
pub(super) fn read(port: EniId, bytes: &[u8]) -> Result<(u32, Expected), BenchError> {
    let broken = |what: &str| BenchError::wrong(format!("a frame came out {what}"));
    let ethernet = parse_ethernet(bytes).map_err(|_| broken("without an Ethernet header"))?;
    let headers = parse_ip(bytes, ETHERNET_LEN)
        .map_err(|reason| broken(&format!("that is malformed ({})", reason.name())))?;
    if !checksum::verify_transport(bytes, &headers) {
        return Err(broken(&format!(
            "with a wrong transport checksum: {}",
            headers.tuple
        )));
    }
    let id = packet_id(bytes, &headers).ok_or_else(|| broken("that is too short"))?;
    let out = Expected {
        port,
        macs: (ethernet.src, ethernet.dst),
        tuple: headers.tuple,
    };
    Ok((id, out))
}

/// Opens connections in a new pipeline.
struct Opener {
    pipeline: Pipeline,
    tables: Snapshot,
    now: Instant,
    batch: Vec<Frame>,
    free: Vec<Frame>,
    sink: Collect,
}

impl Opener {
    /// Each end sends a packet; returns what came out, in the order of the ends.
    fn send(&mut self, ends: &[End], flags: u8) -> Result<Vec<Expected>, BenchError> {
        for (id, end) in ends.iter().enumerate() {
            let mut frame = self.free.pop().unwrap_or_else(|| Frame::with_capacity(256));
            let segment = Segment {
                src_mac: end.src_mac,
                dst_mac: end.dst_mac,
                tuple: end.tuple,
                flags,
                id: id as u32,
            };
            segment.write(&mut frame, 64);
            frame.port = end.port;
            self.batch.push(frame);
        }
        self.now += Duration::from_micros(10);
        let before = self.pipeline.counters().drops_total();
        self.pipeline
            .process(self.now, &self.tables, &mut self.batch, &mut self.sink);
        let mut came: Vec<Option<Expected>> = vec![None; ends.len()];
        for (port, frame) in self.sink.out.drain(..) {
            let (id, out) = read(port, frame.bytes())?;
            if let Some(place) = came.get_mut(id as usize) {
                *place = Some(out);
            }
            self.free.push(frame);
        }
        let all: Option<Vec<Expected>> = came.into_iter().collect();
        all.ok_or_else(|| {
            let counters = self.pipeline.counters();
            let why: Vec<String> = counters
                .named()
                .filter(|(name, _)| name.starts_with("drop."))
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            let dropped = counters.drops_total() - before;
            BenchError::wrong(format!(
                "{dropped} of {} packets that open connections were dropped ({})",
                ends.len(),
                why.join(", ")
            ))
        })
    }

    /// Three packets each: the handshake of TCP, an exchange of UDP.
    fn open(&mut self, clients: &[End]) -> Result<Vec<Connection>, BenchError> {
        let arrived = self.send(clients, tcp_flag::SYN)?;
        let servers: Vec<End> = arrived
            .iter()
            .map(|at| End {
                port: at.port,
                src_mac: at.macs.1,
                dst_mac: at.macs.0,
                tuple: at.tuple.reversed(),
            })
            .collect();
        let connections: Vec<Connection> = clients
            .iter()
            .zip(servers.iter())
            .map(|(&client, &server)| Connection { client, server })
            .collect();
        let answered = self.send(&servers, tcp_flag::SYN | tcp_flag::ACK)?;
        let completed = self.send(clients, tcp_flag::ACK)?;
        for (connection, (back, there)) in connections.iter().zip(answered.iter().zip(&completed)) {
            for (direction, came) in [(1, back), (0, there)] {
                let expected = connection.expected(direction);
                if *came != expected {
                    return Err(BenchError::wrong(format!(
                        "a packet of {} came out as {came:?} instead of {expected:?}",
                        connection.client.tuple
                    )));
                }
            }
        }
        Ok(connections)
    }
}

impl Opened {
    /// Opens a connection for each of `clients`' ends, and keeps an even sample of at
    /// most `keep` of them.
    ///
    /// # Errors
    /// When a packet of a handshake is dropped, or a reply is not translated back.
    pub fn new(
        config: Config,
        tables: Snapshot,
        clients: impl ExactSizeIterator<Item = End>,
        keep: usize,
    ) -> Result<Self, BenchError> {
        let mut opener = Opener {
            pipeline: Pipeline::new(config),
            tables,
            now: Instant::from_secs(1),
            batch: Vec::with_capacity(CHUNK),
            free: Vec::new(),
            sink: Collect::default(),
        };
        let count = clients.len();
        let stride = count.div_ceil(keep.max(1)).max(1);
        let mut connections = Vec::with_capacity(count.div_ceil(stride));
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut clients = clients;
        let mut opened = 0;
        loop {
            chunk.clear();
            chunk.extend(clients.by_ref().take(CHUNK));
            if chunk.is_empty() {
                break;
            }
            for connection in opener.open(&chunk)? {
                if opened % stride == 0 {
                    connections.push(connection);
                }
                opened += 1;
            }
        }
        let live = opener.pipeline.connections().sessions.len();
        if live < count {
            return Err(BenchError::wrong(format!(
                "{count} connections were opened, {live} are remembered"
            )));
        }
        Ok(Self {
            pipeline: opener.pipeline,
            tables: opener.tables,
            connections,
            now: opener.now,
        })
    }
}
