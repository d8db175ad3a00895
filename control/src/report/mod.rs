//! What a lab shows of itself, as data: the answers of `ps`, `inspect`, `flows`
//! and `drops`. The command line prints them as tables or, with `--json`, as
//! they are; their schemas are shipped in `docs/schemas/`.

pub mod attach;
pub mod drops;
pub mod faults;
pub mod flows;
pub mod follow;
pub mod gateway;
pub mod inspect;
pub mod joins;
pub mod logs;
pub mod metrics;
pub mod names;
pub mod ps;
mod resource;
pub mod schemas;
pub mod up;

pub use attach::{AttachReport, AttachedReport};
pub use drops::{DropReport, DropsReport};
pub use faults::{FaultsReport, LinkReport, WayReport};
pub use flows::{FlowEnd, FlowReport, FlowsReport};
pub use follow::{FlowChange, FlowEvent, Follower};
pub use inspect::InspectReport;
pub use joins::JoinReport;
pub use logs::{CommandLog, LogsReport};
pub use metrics::{Counted, Metrics};
pub use names::Names;
pub use ps::{AllReport, LabReport, PsReport};
pub use resource::{Fact, Listing, ResourceReport};
pub use up::{UpReport, UpResult};
