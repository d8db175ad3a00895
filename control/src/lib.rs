//! vpclab: control plane, lab and command line.

pub mod cli;
pub mod topology;
