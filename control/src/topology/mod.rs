//! The topology file: a lab in YAML.
//!
//! ```text
//! text ──parse──► Topology ──check──► apply: API actions in dependency order ──► Names
//! ```
//!
//! [`Topology::parse`] reads and checks; nothing else of vpclab is touched until
//! a file is known to make sense. Every mistake is one [`TopologyError`]:
//! `FILE:LINE:COL: what is wrong; how to fix it`.

mod error;
pub mod located;
pub mod schema;
pub mod values;

pub use error::TopologyError;
pub use schema::Topology;

impl Topology {
    /// Reads a topology; `file` is its name in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, TopologyError> {
        serde_saphyr::from_str(text).map_err(|error| error::from_yaml(&error).in_file(file))
    }
}
