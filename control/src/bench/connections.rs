//! Connections opened through a pipeline, packet by packet as hosts would, and
//! what must come out of it for each of their later packets.

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::packet::{FiveTuple, Frame, tcp_flag};
use vpclab_dataplane::pipeline::Config;
use vpclab_dataplane::tables::Snapshot;

use super::BenchError;
use super::driver::Driver;
use super::frames::Segment;

/// Connections opened side by side.
pub(super) const CHUNK: usize = 64;

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

impl End {
    /// The end that answers what arrived.
    pub(super) fn answering(arrived: &Expected) -> Self {
        Self {
            port: arrived.port,
            src_mac: arrived.macs.1,
            dst_mac: arrived.macs.0,
            tuple: arrived.tuple.reversed(),
        }
    }
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
    /// The pipeline, its tables and the time.
    pub(super) driver: Driver,
    /// The connections, or an even sample of them.
    pub(super) connections: Vec<Connection>,
}

impl Opened {
    /// Opens a connection for each of `clients`' ends, and keeps an even sample of at
    /// most `keep` of them.
    ///
    /// # Errors
    /// When a packet of a handshake is dropped, or a reply is not translated back.
    pub(super) fn new(
        config: Config,
        tables: Snapshot,
        mut clients: impl ExactSizeIterator<Item = End>,
        keep: usize,
    ) -> Result<Self, BenchError> {
        let mut driver = Driver::new(config, tables);
        let count = clients.len();
        let stride = count.div_ceil(keep.max(1)).max(1);
        let mut connections = Vec::with_capacity(count.div_ceil(stride));
        let mut opened = 0;
        loop {
            let chunk: Vec<End> = clients.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            for connection in open(&mut driver, &chunk)? {
                if opened % stride == 0 {
                    connections.push(connection);
                }
                opened += 1;
            }
        }
        let live = driver.pipeline.connections().sessions.len();
        if live < count {
            return Err(BenchError::wrong(format!(
                "{count} connections were opened, {live} are remembered"
            )));
        }
        Ok(Self {
            driver,
            connections,
        })
    }
}

/// Three packets each: the handshake of TCP, an exchange of UDP.
fn open(driver: &mut Driver, clients: &[End]) -> Result<Vec<Connection>, BenchError> {
    let arrived = send(driver, clients, tcp_flag::SYN)?;
    let servers: Vec<End> = arrived.iter().map(End::answering).collect();
    let connections: Vec<Connection> = clients
        .iter()
        .zip(&servers)
        .map(|(&client, &server)| Connection { client, server })
        .collect();
    let answered = send(driver, &servers, tcp_flag::SYN | tcp_flag::ACK)?;
    let completed = send(driver, clients, tcp_flag::ACK)?;
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

/// Each end sends a packet; returns what came out, in the order of the ends.
fn send(driver: &mut Driver, ends: &[End], flags: u8) -> Result<Vec<Expected>, BenchError> {
    let mut frame = Frame::with_capacity(128);
    for (id, end) in ends.iter().enumerate() {
        Segment::of(end, flags, id as u32).write(&mut frame, 64);
        driver.add(end.port, frame.bytes());
    }
    driver.send_plain()
}
