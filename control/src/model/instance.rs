//! Instances: hosts that the API makes.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{InstanceId, Meta, References, Resource, SubnetId, VpcId, resource_fields};

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceState {
    /// Its host runs, or waits to be attached.
    Running,
    /// It has its interfaces, and no host.
    Stopped,
    /// It is gone, and still shown for a while.
    Terminated,
}

impl InstanceState {
    /// AWS's code and name.
    pub const fn code_and_name(self) -> (u16, &'static str) {
        match self {
            Self::Running => (16, "running"),
            Self::Stopped => (80, "stopped"),
            Self::Terminated => (48, "terminated"),
        }
    }
}

/// An instance. Its interfaces say that they are attached to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Id, which is the name of its host, too.
    pub id: InstanceId,
    /// Owner, region, name.
    pub meta: Meta,
    /// What it is doing.
    pub state: InstanceState,
    /// When it came into that state, in seconds since 1970.
    pub state_since_s: u64,
    /// `r-…`
    pub reservation: Arc<str>,
    /// Its place in the reservation.
    pub launch_index: u32,
    /// `ami-…`: kept, nothing else.
    pub image: Arc<str>,
    /// `t3.micro`: kept, nothing else.
    pub instance_type: Arc<str>,
    /// Kept, nothing else.
    pub key_name: Option<Arc<str>>,
    /// Base64, as it was given: a script for the host to run.
    pub user_data: Option<Arc<str>>,
    /// VPC of its first interface.
    pub vpc: VpcId,
    /// Subnet of its first interface.
    pub subnet: SubnetId,
    /// It gets a public address whenever it starts.
    pub public: bool,
    /// It cannot be terminated.
    pub termination_protected: bool,
}

impl Resource for Instance {
    resource_fields!(InstanceId);

    // Its interfaces hold the subnet: a terminated one holds nothing.
    fn references(&self, _to: &mut References) {}
}
