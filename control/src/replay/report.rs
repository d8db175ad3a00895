//! What became of replayed frames.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpclab_dataplane::drop::DropReason;

/// The answer of `vpclab replay`, and what `--expect verdicts.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayReport {
    /// Interface at which the frames went in.
    pub at: String,
    /// Each frame, in the order of the capture.
    pub frames: Vec<FrameReport>,
}

/// What became of one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FrameReport {
    /// Its number, from 1.
    pub frame: usize,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it was dropped.
    pub reason: Option<String>,
    /// Frames that came out for it.
    pub out: Vec<OutReport>,
    /// Load balancers' nodes that took it.
    pub local: Vec<String>,
}

/// A frame that came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutReport {
    /// The interface that gets it.
    pub to: String,
    /// Its length from the Ethernet header on.
    pub bytes: usize,
}

/// In a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It went on to another interface.
    Forwarded,
    /// Its sender got an answer: ARP, an ICMP error, a reset.
    Answered,
    /// It ended.
    Dropped,
    /// It was taken: by a load balancer's node, or as a message to the router.
    Taken,
}

impl Verdict {
    pub(super) fn of(out: &[OutReport], dropped: &[DropReason], sender: &str) -> Self {
        if out.iter().any(|out| out.to != sender) {
            Self::Forwarded
        } else if !out.is_empty() {
            Self::Answered
        } else if !dropped.is_empty() {
            Self::Dropped
        } else {
            Self::Taken
        }
    }
}

impl fmt::Display for FrameReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verdict {
            Verdict::Forwarded => "forwarded",
            Verdict::Answered => "answered",
            Verdict::Dropped => "dropped",
            Verdict::Taken => "taken",
        })?;
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        for out in &self.out {
            write!(f, " → {} {} bytes", out.to, out.bytes)?;
        }
        for node in &self.local {
            write!(f, " → node {node}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for frame in &self.frames {
            writeln!(f, "{:>5}  {frame}", frame.frame)?;
        }
        let count = |verdict| {
            self.frames
                .iter()
                .filter(|frame| frame.verdict == verdict)
                .count()
        };
        writeln!(
            f,
            "{} frame{} in at {}: {} forwarded, {} answered, {} dropped, {} taken",
            self.frames.len(),
            if self.frames.len() == 1 { "" } else { "s" },
            self.at,
            count(Verdict::Forwarded),
            count(Verdict::Answered),
            count(Verdict::Dropped),
            count(Verdict::Taken)
        )
    }
}
