//! Reachability Analyzer: paths and analyses.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Action, ApiError, Transaction};
use crate::model::*;

/// `CreateNetworkInsightsPath`
#[derive(Clone, Debug, Default)]
pub struct CreateNetworkInsightsPath {
    /// Interface or instance that sends.
    pub source: String,
    /// What receives, or
    pub destination: Option<String>,
    /// its address.
    pub destination_ip: Option<IpAddr>,
    /// IP protocol: 6 or 17.
    pub protocol: u8,
    /// Destination port.
    pub destination_port: Option<u16>,
}

impl Action for CreateNetworkInsightsPath {
    type Output = NetworkInsightsPathId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<NetworkInsightsPathId, ApiError> {
        require(tx, &self.source)?;
        match &self.destination {
            Some(destination) => require(tx, destination)?,
            None if self.destination_ip.is_none() => return Err(ApiError::missing("destination")),
            None => {}
        }
        let id: NetworkInsightsPathId = tx.mint();
        tx.put(NetworkInsightsPath {
            id: id.clone(),
            meta: tx.meta(None),
            source: Arc::from(self.source),
            destination: self.destination.map(Arc::from),
            destination_ip: self.destination_ip,
            protocol: self.protocol,
            destination_port: self.destination_port,
        });
        Ok(id)
    }
}

/// Refuses an end that is nothing that sends or receives.
fn require(tx: &Transaction<'_>, id: &str) -> Result<(), ApiError> {
    match kind_of(id) {
        Some(Kind::NetworkInterface) => tx.require(&NetworkInterfaceId::from(id)).map(drop),
        Some(Kind::Instance) => tx.require(&InstanceId::from(id)).map(drop),
        Some(Kind::VpcEndpoint) => tx.require(&VpcEndpointId::from(id)).map(drop),
        _ => Err(ApiError::invalid_value(format!(
            "'{id}' cannot be an end of a path here: give a network interface, an instance or a \
             VPC endpoint, or DestinationIp for what is outside"
        ))),
    }
}

/// `DeleteNetworkInsightsPath`: one without analyses.
#[derive(Clone, Debug)]
pub struct DeleteNetworkInsightsPath {
    /// The path.
    pub path: NetworkInsightsPathId,
}

impl Action for DeleteNetworkInsightsPath {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let path = tx.require(&self.path)?;
        if let Some(analysis) = tx.referrers::<NetworkInsightsAnalysis>(&path.id).first() {
            return Err(ApiError::new(
                "AnalysisExistsForNetworkInsightsPath",
                format!(
                    "{} has the analysis {}; delete that first",
                    path.id, analysis.id
                ),
            ));
        }
        tx.remove(&path.id);
        Ok(())
    }
}

/// `StartNetworkInsightsAnalysis`: keeps what the walk has found.
#[derive(Clone, Debug)]
pub struct KeepNetworkInsightsAnalysis {
    /// The path.
    pub path: NetworkInsightsPathId,
    /// Whether there is a way there and back.
    pub found: bool,
    /// The way there.
    pub forward: Vec<PathComponent>,
    /// The way back.
    pub back: Vec<PathComponent>,
    /// Why there is none.
    pub explanations: Vec<Explanation>,
}

impl Action for KeepNetworkInsightsAnalysis {
    type Output = NetworkInsightsAnalysisId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<NetworkInsightsAnalysisId, ApiError> {
        let path = tx.require(&self.path)?;
        let id: NetworkInsightsAnalysisId = tx.mint();
        tx.put(NetworkInsightsAnalysis {
            id: id.clone(),
            meta: tx.meta(None),
            path: path.id.clone(),
            found: self.found,
            forward: self.forward,
            back: self.back,
            explanations: self.explanations,
        });
        Ok(id)
    }
}

/// `DeleteNetworkInsightsAnalysis`
#[derive(Clone, Debug)]
pub struct DeleteNetworkInsightsAnalysis {
    /// The analysis.
    pub analysis: NetworkInsightsAnalysisId,
}

impl Action for DeleteNetworkInsightsAnalysis {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let analysis = tx.require(&self.analysis)?;
        tx.remove(&analysis.id);
        Ok(())
    }
}
