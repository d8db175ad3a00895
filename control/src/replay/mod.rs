//! `vpclab replay`: recorded frames through a topology's data plane.
//!
//! No lab and no hosts: one pipeline over the topology's tables, at the
//! capture's times. Targets count as in `vpclab trace --file`: without health
//! checks, load balancers fail open.

mod capture;
mod report;

pub use capture::{Recorded, read};
pub use report::{FrameReport, OutReport, ReplayReport, Verdict};

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::packet::checksum::complete_partial;
use vpclab_dataplane::pipeline::{Config, Pipeline, Sink};
use vpclab_dataplane::time::Instant;

use crate::cli::CliError;
use crate::lab::{Capture, Direction};
use crate::model::{Model, NetworkInterface};
use crate::topology::Topology;

/// Virtual time of the first frame: sessions have an age from the start on.
const START: Instant = Instant::from_secs(1);

/// What came of a capture.
#[derive(Clone, Debug)]
pub struct Replay {
    /// What became of each frame.
    pub report: ReplayReport,
    /// What came out, in order.
    out: Vec<Recorded>,
}

/// Collects what becomes of one frame.
#[derive(Default)]
struct Outcome {
    transmitted: Vec<(EniId, Frame)>,
    local: Vec<EniId>,
    dropped: Vec<DropReason>,
}

impl Sink for Outcome {
    fn transmit(&mut self, port: EniId, frame: Frame) {
        self.transmitted.push((port, frame));
    }

    fn local(&mut self, eni: EniId, _: Frame) {
        self.local.push(eni);
    }

    fn dropped(&mut self, _: EniId, reason: DropReason, _: &[u8]) {
        self.dropped.push(reason);
    }
}

impl Replay {
    /// Sends every frame into the data plane at the interface that `at` names.
    ///
    /// # Errors
    /// An interface that does not exist.
    pub fn run(topology: &Topology, at: &str, frames: Vec<Recorded>) -> Result<Self, CliError> {
        let (mut control, _) = topology.control_plane()?;
        control
            .plug_all("the replay")
            .map_err(|error| CliError::fault(error.message))?;
        let model = control.model();
        let port = port(model, at)?;
        let tables = control.tables().load();
        let config = Config {
            seed: topology.seed(),
            ..Config::default()
        };
        let mut pipeline = Pipeline::new(config);
        let mut out = Vec::new();
        let mut reports = Vec::new();
        let mut batch = Vec::new();
        for (number, recorded) in frames.into_iter().enumerate() {
            let now = START + recorded.after;
            if pipeline
                .next_deadline()
                .is_some_and(|deadline| deadline <= now)
            {
                pipeline.expire(now, &tables);
            }
            batch.push(Frame::from_bytes(port, &recorded.bytes));
            let mut outcome = Outcome::default();
            pipeline.process(now, &tables, &mut batch, &mut outcome);
            let mut outs = Vec::new();
            for (eni, mut frame) in outcome.transmitted {
                // What cannot be completed is shown as it is.
                let _ = complete_partial(&mut frame);
                outs.push(OutReport {
                    to: name(model, eni),
                    bytes: frame.len(),
                });
                out.push(Recorded {
                    after: recorded.after,
                    bytes: frame.bytes().to_vec(),
                });
            }
            reports.push(FrameReport {
                frame: number + 1,
                verdict: Verdict::of(&outs, &outcome.dropped, &name(model, port)),
                reason: outcome
                    .dropped
                    .first()
                    .map(|reason| reason.name().to_owned()),
                out: outs,
                local: outcome.local.iter().map(|&eni| name(model, eni)).collect(),
            });
        }
        let report = ReplayReport {
            at: name(model, port),
            frames: reports,
        };
        Ok(Self { report, out })
    }

    /// What came out as a pcap file, at the times of what went in.
    ///
    /// # Errors
    /// Frames that a pcap file cannot hold.
    pub fn to_pcap(&self) -> std::io::Result<Vec<u8>> {
        let frames = self.out.iter().map(|frame| crate::lab::Recorded {
            at: Instant::ZERO + frame.after,
            direction: Direction::Received,
            bytes: frame.bytes.clone(),
        });
        Capture::of(frames.collect()).to_pcap()
    }

    /// Where the frames that came out differ from `expected`, a line each.
    pub fn frame_differences(&self, expected: &[Recorded]) -> Vec<String> {
        let mut differences = Vec::new();
        for (number, pair) in self.out.iter().zip(expected).enumerate() {
            let (is, wanted) = (&pair.0.bytes, &pair.1.bytes);
            if is != wanted {
                let at = is.iter().zip(wanted).position(|(a, b)| a != b);
                differences.push(match at {
                    Some(at) => format!("frame {} that came out, from byte {at} on", number + 1),
                    None => format!(
                        "frame {} that came out has {} bytes, not {}",
                        number + 1,
                        is.len(),
                        wanted.len()
                    ),
                });
            }
        }
        if self.out.len() != expected.len() {
            differences.push(format!(
                "{} frames came out, not {}",
                self.out.len(),
                expected.len()
            ));
        }
        differences
    }

    /// Where the verdicts differ from `expected`, a line each.
    pub fn verdict_differences(&self, expected: &ReplayReport) -> Vec<String> {
        let mut differences = Vec::new();
        for (is, wanted) in self.report.frames.iter().zip(&expected.frames) {
            if is != wanted {
                differences.push(format!("frame {}: {is}; expected: {wanted}", is.frame));
            }
        }
        let (is, wanted) = (self.report.frames.len(), expected.frames.len());
        if is != wanted {
            differences.push(format!("{is} frames went in, not {wanted}"));
        }
        differences
    }
}

fn port(model: &Model, name: &str) -> Result<EniId, CliError> {
    let means = |interface: &NetworkInterface| {
        interface.id.as_str() == name
            || interface.attachment.as_ref().is_some_and(|held| {
                (*held.host == *name && held.device_index == 0)
                    || format!("{}/eth{}", held.host, held.device_index) == name
            })
    };
    let found = model.interfaces().iter().find(|interface| means(interface));
    let row = found.and_then(|interface| model.row(&interface.id));
    row.map(EniId).ok_or_else(|| {
        let all = model.interfaces().iter();
        let hosts: Vec<_> = all
            .filter_map(|interface| Some(interface.attachment.as_ref()?.host.to_string()))
            .collect();
        CliError::usage(format!("no host or ENI is named `{name}`"))
            .fix(format!("one of {}; or an id eni-…", hosts.join(", ")))
    })
}

/// `host/eth0`, or the id of a managed interface.
fn name(model: &Model, eni: EniId) -> String {
    let mut all = model.interfaces().iter();
    let found = all.find(|interface| model.row(&interface.id) == Some(eni.0));
    match found {
        None => format!("eni #{}", eni.0),
        Some(interface) => match &interface.attachment {
            Some(held) => format!("{}/eth{}", held.host, held.device_index),
            None => interface.id.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
