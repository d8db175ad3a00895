//! vpclab: control plane, lab and command line.

pub mod api;
pub mod appliance;
pub mod aws;
pub mod bench;
pub mod cli;
pub mod compile;
pub mod demo;
pub mod expect;
pub mod faults;
pub mod filter;
pub mod graph;
pub mod health;
pub mod host;
pub mod http;
pub mod lab;
pub mod local;
pub mod model;
pub mod quotas;
pub mod replay;
pub mod report;
pub mod store;
pub mod top;
pub mod topology;
pub mod trace;
pub mod upstream;
