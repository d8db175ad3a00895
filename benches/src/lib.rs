//! Workloads for the benchmarks: packets made before the clock starts, hits
//! and misses asserted afterwards.
//!
//! `cargo bench -p vpclab-benches` measures; `cargo test -p vpclab-benches
//! --benches` runs each once.

use vpclab::lab::{Lab, LabError};
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::pipeline::{Config, Pipeline, Sink};
use vpclab_dataplane::tables::Snapshot;
use vpclab_dataplane::time::Instant;

/// Packets handed to the pipeline at once.
pub const BATCH: usize = 64;

/// Keeps what leaves, so that its memory is used again.
#[derive(Debug, Default)]
pub struct Recycle {
    frames: Vec<Frame>,
    /// Frames that left by a port.
    pub sent: u64,
}

impl Sink for Recycle {
    fn transmit(&mut self, _port: EniId, frame: Frame) {
        self.sent += 1;
        self.frames.push(frame);
    }

    fn local(&mut self, _eni: EniId, frame: Frame) {
        self.frames.push(frame);
    }
}

/// One established connection, ready to be driven in one direction.
#[derive(Debug)]
pub struct Established {
    tables: Snapshot,
    pipeline: Pipeline,
    port: EniId,
    frame: Vec<u8>,
    batch: Vec<Frame>,
    sink: Recycle,
    now: Instant,
}

impl Established {
    /// The client's side of a PrivateLink connection, as a lab made it: the
    /// lab's own frames open it again in a pipeline of the benchmark's.
    ///
    /// # Errors
    /// When the lab does not come up or the connection is not made.
    pub fn privatelink() -> Result<Self, LabError> {
        let text = include_str!("../../examples/privatelink.yaml");
        let mut lab = Lab::from_yaml(text)?.seed(1);
        let (client, server) = (lab.host("client"), lab.host("server"));
        server.tcp_listen(80).echo();
        let conn = client.tcp_connect(lab.dns("service")?, 80);
        conn.send(b"ping");
        lab.run_until(|_| conn.received(b"ping"))?;
        let mut frames: Vec<_> = Vec::new();
        for (eni, host) in [(client.eni(), &client), (server.eni(), &server)] {
            frames.extend(
                host.sent_frames()
                    .into_iter()
                    .map(|sent| (sent.at, eni, sent.bytes)),
            );
        }
        frames.sort_by_key(|(at, ..)| *at);
        let mut established = Self {
            tables: (*lab.snapshot()).clone(),
            pipeline: Pipeline::new(Config {
                seed: 1,
                ..Config::default()
            }),
            port: client.eni(),
            frame: Vec::new(),
            batch: Vec::with_capacity(BATCH),
            sink: Recycle::default(),
            now: lab.now(),
        };
        for (_, port, bytes) in &frames {
            established.offer(*port, bytes, 1);
            if *port == established.port {
                established.frame.clone_from(bytes);
            }
        }
        Ok(established)
    }

    /// Sends one batch through; returns how many frames came out.
    pub fn run_batch(&mut self) -> u64 {
        let (port, frame) = (self.port, std::mem::take(&mut self.frame));
        let before = self.sink.sent;
        self.offer(port, &frame, BATCH);
        self.frame = frame;
        self.sink.sent - before
    }

    /// Packets that had to be walked so far.
    pub fn misses(&self) -> u64 {
        self.pipeline.counters().flow_misses
    }

    fn offer(&mut self, port: EniId, bytes: &[u8], copies: usize) {
        for _ in 0..copies {
            let mut frame = self
                .sink
                .frames
                .pop()
                .unwrap_or_else(|| Frame::with_capacity(2048));
            frame.refill(port, bytes);
            self.batch.push(frame);
        }
        self.pipeline
            .process(self.now, &self.tables, &mut self.batch, &mut self.sink);
    }
}
