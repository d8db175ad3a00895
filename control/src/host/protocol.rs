//! What the daemon can be asked over its control socket: one JSON request per
//! connection, one JSON reply; a capture's reply is followed by pcapng.

use serde::{Deserialize, Serialize};

use super::attach::Attached;
use super::runtime_dir::State;
use crate::cli::{CliError, Exit};
use crate::faults::FaultRequest;

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Whether the lab runs: waits until all hosts are wired.
    Ready,
    /// Hosts, endpoints, load balancers, targets.
    Ps,
    /// One resource with everything known of it, or all of them.
    Inspect {
        /// Name or AWS id.
        id: Option<String>,
    },
    /// Live connections.
    Flows(FlowsRequest),
    /// Packets that were dropped.
    Drops(DropsRequest),
    /// One look at everything that moves.
    Top,
    /// The lab as a picture.
    Graph {
        /// How it is written.
        format: crate::graph::Format,
    },
    /// The lab as a topology file.
    Export {
        /// Whose resources.
        account: String,
    },
    /// The path of a packet that is not sent.
    Trace(TraceRequest),
    /// Become what another file says, or say what that would change.
    Change {
        /// What the lab is to be made from.
        state: Box<State>,
        /// Only say it.
        dry_run: bool,
    },
    /// Make faults, end or list them.
    Fault(FaultRequest),
    /// End a host's programs and start them anew.
    Restart {
        /// The host.
        host: String,
    },
    /// What attaching something as this host or ENI has to make.
    AttachPlan {
        /// Host or ENI.
        name: String,
    },
    /// Interfaces that were made elsewhere: after the first reply their
    /// descriptors are sent, after these comes a second reply.
    Attach {
        /// In the order of the descriptors.
        interfaces: Vec<Attached>,
    },
    /// Lets go of what is attached.
    Detach {
        /// Host or ENI.
        name: String,
    },
    /// Frames at a host's interfaces or at an ENI, as pcapng after the reply.
    Capture(CaptureRequest),
}

/// What `vpclab flows` asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsRequest {
    /// Only those of this host or ENI.
    pub port: Option<String>,
    /// Only those that this filter wants.
    pub filter: Option<String>,
}

/// What `vpclab drops` asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropsRequest {
    /// Only those at this host or ENI.
    pub port: Option<String>,
    /// Only those that this filter wants.
    pub filter: Option<String>,
    /// From these numbers on, one a packet worker; without them, the latest.
    pub since: Option<Vec<u64>>,
    /// No more than this many.
    pub limit: usize,
    /// Multicast and ARP for nobody, too.
    pub all: bool,
}

/// What `vpclab capture` asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureRequest {
    /// Host or ENI; all without it.
    pub port: Option<String>,
    /// Only what this filter wants.
    pub filter: Option<String>,
    /// Stop after this many.
    pub count: Option<u64>,
}

/// What `vpclab trace` asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// Host or ENI that would send.
    pub from: String,
    /// Address, host or endpoint.
    pub to: String,
    /// Destination port.
    pub port: Option<u16>,
    /// `tcp`, `udp`, `icmp` or a number.
    pub protocol: String,
    /// Source port.
    pub source_port: u16,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It went well; what was asked for.
    Ok(serde_json::Value),
    /// It did not.
    Failed(Failure),
}

/// Why a request failed, as the command line shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Exit code of the command.
    pub exit: u8,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        Self {
            exit: error.exit.code(),
            message: error.message,
            fix: error.fix,
        }
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let exit = match failure.exit {
            1 => Exit::No,
            2 => Exit::Usage,
            _ => Exit::Fault,
        };
        Self {
            exit,
            message: failure.message,
            fix: failure.fix,
        }
    }
}
