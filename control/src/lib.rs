//! vpclab: control plane, lab and command line.

pub mod health;
