//! The topology file: a lab in YAML.
//!
//! ```text
//! text ──parse──► Topology ──check──► apply: API actions in dependency order ──► Names
//! ```
//!
//! [`Topology::parse`] reads and checks; nothing else of vpclab is touched until
//! a file is known to make sense. Every mistake is one [`TopologyError`]:
//! `FILE:LINE:COL: what is wrong; how to fix it`.

mod apply;
mod check;
pub mod difference;
mod error;
pub mod export;
mod json_schema;
pub mod located;
mod read;
mod resolve;
pub mod schema;
pub mod values;

use std::path::Path;

pub use apply::{HostNames, Kept, Names, NatGatewayNames, ServiceNames, VpcNames};
pub use error::TopologyError;
pub use json_schema::json_schema;
pub use schema::{Topology, WORKERS_MAX};

use error::Mistake;
use located::At;

impl Topology {
    /// Reads and checks a topology; `file` is its name in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, TopologyError> {
        let checked = read::from_yaml::<Self>(text).and_then(|topology| {
            check::check(&topology)?;
            Ok(Self {
                file: file.to_owned(),
                ..topology
            })
        });
        checked.map_err(|mistake| mistake.in_file(file))
    }

    /// Reads and checks a file; `-` is standard input.
    pub fn load(path: &Path) -> Result<Self, TopologyError> {
        let file = path.display().to_string();
        let text = match file.as_str() {
            "-" => std::io::read_to_string(std::io::stdin()),
            _ => std::fs::read_to_string(path),
        };
        match text {
            Ok(text) => Self::parse(&file, &text),
            Err(error) => {
                let message = format!("cannot be read: {error}");
                Err(Mistake::new(At::default(), message).in_file(&file))
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
