//! vpclab: control plane, lab and command line.

pub mod api;
pub mod appliance;
pub mod compile;
pub mod health;
pub mod lab;
pub mod model;
pub mod quotas;
