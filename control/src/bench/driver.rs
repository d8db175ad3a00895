//! A pipeline driven by hand while a benchmark is prepared: packets in, and
//! what came out for each.

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::counters::Counters;
use vpclab_dataplane::packet::{
    ETHERNET_LEN, Frame, GENEVE_PORT, GeneveView, Headers, checksum, parse_ethernet, parse_ip,
    protocol, udp_payload,
};
use vpclab_dataplane::pipeline::{Config, Pipeline, Sink};
use vpclab_dataplane::tables::Snapshot;
use vpclab_dataplane::time::{Duration, Instant};

use super::BenchError;
use super::connections::Expected;
use super::frames::packet_id;

/// A frame that came out, and by which port.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) port: EniId,
    pub(super) bytes: Vec<u8>,
}

/// Keeps what comes out.
#[derive(Debug, Default)]
struct Collect(Vec<(EniId, Frame)>);

impl Sink for Collect {
    fn transmit(&mut self, port: EniId, frame: Frame) {
        self.0.push((port, frame));
    }

    fn local(&mut self, _eni: EniId, _frame: Frame) {}
}

/// A pipeline, its tables and the time.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) pipeline: Pipeline,
    pub(super) tables: Snapshot,
    pub(super) now: Instant,
    batch: Vec<Frame>,
    free: Vec<Frame>,
    sink: Collect,
}

impl Driver {
    pub(super) fn new(config: Config, tables: Snapshot) -> Self {
        Self {
            pipeline: Pipeline::new(config),
            tables,
            now: Instant::from_secs(1),
            batch: Vec::new(),
            free: Vec::new(),
            sink: Collect::default(),
        }
    }

    /// Adds a frame to the next [`Self::send`].
    pub(super) fn add(&mut self, port: EniId, bytes: &[u8]) {
        let free = self.free.pop();
        let mut frame = free.unwrap_or_else(|| Frame::with_capacity(bytes.len().max(2_048)));
        frame.refill(port, bytes);
        self.batch.push(frame);
    }

    /// Sends the frames added; returns what came out for each, in their order.
    /// Each must carry its place among them as its number.
    ///
    /// # Errors
    /// When one was dropped.
    pub(super) fn send(&mut self) -> Result<Vec<Came>, BenchError> {
        self.send_and(|port, bytes| {
            let id = innermost(bytes)?.1;
            let bytes = bytes.to_vec();
            Ok((id, Came { port, bytes }))
        })
    }

    /// The same where nothing is tunnelled; returns what each frame was.
    ///
    /// # Errors
    /// When one was dropped.
    pub(super) fn send_plain(&mut self) -> Result<Vec<Expected>, BenchError> {
        self.send_and(read)
    }

    /// Sends the frames added; `read` says the number of what came out, and what it is.
    fn send_and<T>(
        &mut self,
        read: impl Fn(EniId, &[u8]) -> Result<(u32, T), BenchError>,
    ) -> Result<Vec<T>, BenchError> {
        let count = self.batch.len();
        self.now += Duration::from_micros(10);
        let before = self.pipeline.counters().drops_total();
        self.pipeline
            .process(self.now, &self.tables, &mut self.batch, &mut self.sink);
        let mut came: Vec<Option<T>> = Vec::new();
        came.resize_with(count, || None);
        for (port, frame) in self.sink.0.drain(..) {
            let (id, one) = read(port, frame.bytes())?;
            if let Some(place) = came.get_mut(id as usize) {
                *place = Some(one);
            }
            self.free.push(frame);
        }
        let all: Option<Vec<T>> = came.into_iter().collect();
        all.ok_or_else(|| {
            let counters = self.pipeline.counters();
            let dropped = counters.drops_total() - before;
            let why = drops(counters);
            BenchError::wrong(format!("{dropped} of {count} packets were dropped ({why})"))
        })
    }
}

/// Why packets were dropped so far.
pub(super) fn drops(counters: &Counters) -> String {
    let named = counters.named();
    let drops = named.filter(|(name, _)| name.starts_with("drop."));
    let drops: Vec<String> = drops
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    drops.join(", ")
}

/// The headers of the packet, or of that in the tunnel, and its number. Wrong
/// checksums are an error.
pub(super) fn innermost(bytes: &[u8]) -> Result<(Headers, u32), BenchError> {
    let outer = parsed(bytes, ETHERNET_LEN)?;
    let mut headers = outer;
    if outer.tuple.protocol == protocol::UDP && outer.tuple.dport == GENEVE_PORT {
        let tunnel = udp_payload(bytes, &outer).and_then(|it| GeneveView::parse(it).ok());
        let tunnel = tunnel.ok_or_else(|| BenchError::wrong("a malformed tunnel came out"))?;
        headers = parsed(bytes, usize::from(outer.l4) + 8 + tunnel.header_len())?;
    }
    let id = packet_id(bytes, &headers);
    let id = id.ok_or_else(|| BenchError::wrong("a frame that is too short came out"))?;
    Ok((headers, id))
}

fn parsed(bytes: &[u8], l3: usize) -> Result<Headers, BenchError> {
    let headers = parse_ip(bytes, l3)
        .map_err(|why| BenchError::wrong(format!("a malformed frame came out ({})", why.name())))?;
    if checksum::verify_transport(bytes, &headers) {
        Ok(headers)
    } else {
        let tuple = headers.tuple;
        let what = format!("a frame with a wrong transport checksum came out: {tuple}");
        Err(BenchError::Wrong(what))
    }
}

/// A frame that came out untunnelled: its number, and what it is.
pub(super) fn read(port: EniId, bytes: &[u8]) -> Result<(u32, Expected), BenchError> {
    let ethernet = parse_ethernet(bytes)
        .map_err(|_| BenchError::wrong("a frame without an Ethernet header came out"))?;
    let headers = parsed(bytes, ETHERNET_LEN)?;
    let id = packet_id(bytes, &headers);
    let id = id.ok_or_else(|| BenchError::wrong("a frame that is too short came out"))?;
    let came = Expected {
        port,
        macs: (ethernet.src, ethernet.dst),
        tuple: headers.tuple,
    };
    Ok((id, came))
}
