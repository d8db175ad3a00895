//! vpclab: control plane, lab and command line.

pub mod appliance;
pub mod lab;
