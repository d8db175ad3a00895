//! The topology file: a lab in YAML.
//!
//! ```text
//! text ──parse──► Topology ──check──► apply: API actions in dependency order ──► Names
//! ```
//!
//! [`Topology::parse`] reads and checks; nothing else of vpclab is touched until
//! a file is known to make sense. Every mistake is one [`TopologyError`]:
//! `FILE:LINE:COL: what is wrong; how to fix it`.

mod check;
mod error;
mod json_schema;
pub mod located;
mod resolve;
pub mod schema;
pub mod values;

pub use error::TopologyError;
pub use json_schema::json_schema;
pub use schema::Topology;

impl Topology {
    /// Reads a topology; `file` is its name in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, TopologyError> {
        // Otherwise `n` and `on` would be booleans: they are good names.
        let options = serde_saphyr::options! { strict_booleans: true };
        let read = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| error::from_yaml(&error));
        read.and_then(|topology| check::check(&topology).map(|()| topology))
            .map_err(|mistake| mistake.in_file(file))
    }
}

#[cfg(test)]
mod tests;
