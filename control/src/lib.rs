//! vpclab: control plane, lab and command line.

pub mod api;
pub mod cli;
pub mod compile;
pub mod health;
pub mod model;
pub mod quotas;
pub mod topology;
