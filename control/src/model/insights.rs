//! Reachability Analyzer: paths, and what their analyses found.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Meta, NetworkInsightsAnalysisId, NetworkInsightsPathId, References, Resource, resource_fields,
};

/// A question: can this reach that?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInsightsPath {
    /// Id.
    pub id: NetworkInsightsPathId,
    /// Owner, region, name.
    pub meta: Meta,
    /// Interface or instance that sends.
    pub source: Arc<str>,
    /// Interface, instance or endpoint that receives.
    pub destination: Option<Arc<str>>,
    /// Its address, if it has several or is outside.
    pub destination_ip: Option<IpAddr>,
    /// IP protocol: 6 or 17.
    pub protocol: u8,
    /// Destination port; 80 unless given.
    pub destination_port: Option<u16>,
}

impl Resource for NetworkInsightsPath {
    resource_fields!(NetworkInsightsPathId);

    // What it names may come and go: then there is no way.
    fn references(&self, _to: &mut References) {}
}

/// A step of a way: what it passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathComponent {
    /// AWS id.
    pub id: Arc<str>,
    /// The rule or route that decided there, in words.
    pub rule: String,
}

/// Why there is no way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Reachability Analyzer's code.
    pub code: Arc<str>,
    /// Where: an AWS id.
    pub component: Option<Arc<str>>,
    /// `ingress` or `egress`, at a filter.
    pub direction: Option<Arc<str>>,
    /// What happened and what to change, in words.
    pub message: String,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInsightsAnalysis {
    /// Id.
    pub id: NetworkInsightsAnalysisId,
    /// Owner, region, name; when it was made is when it was started.
    pub meta: Meta,
    /// The question.
    pub path: NetworkInsightsPathId,
    /// Whether there is a way there and back.
    pub found: bool,
    /// The way there, as far as it goes.
    pub forward: Vec<PathComponent>,
    /// The way back, as far as it goes.
    pub back: Vec<PathComponent>,
    /// Why there is none.
    pub explanations: Vec<Explanation>,
}

impl Resource for NetworkInsightsAnalysis {
    resource_fields!(NetworkInsightsAnalysisId);

    fn references(&self, to: &mut References) {
        to.add(&self.path);
    }
}
