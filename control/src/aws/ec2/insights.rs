//! Reachability Analyzer: answers from the walk that packets take.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::protocol;

use super::shape::time;
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, each, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{
    Explanation, NetworkInsightsAnalysis, NetworkInsightsAnalysisId, NetworkInsightsPath,
    NetworkInsightsPathId, NetworkInterface, NetworkInterfaceId, PathComponent, VpcEndpointId,
};
use crate::trace;

calls! {
    Read: DescribeNetworkInsightsPaths DescribeNetworkInsightsAnalyses;
    Write: CreateNetworkInsightsPath DeleteNetworkInsightsPath StartNetworkInsightsAnalysis
        DeleteNetworkInsightsAnalysis;
}

/// Port of a path that names none.
const DEFAULT_PORT: u16 = 80;
/// Source port of the packet that is traced, as `vpclab trace` has it.
const SOURCE_PORT: u16 = 49152;

/// `CreateNetworkInsightsPath`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateNetworkInsightsPath {
    source: String,
    destination: Option<String>,
    destination_ip: Option<IpAddr>,
    protocol: Protocol,
    destination_port: Option<u16>,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Protocol {
    #[serde(rename = "tcp")]
    Tcp,
    #[serde(rename = "udp")]
    Udp,
}

/// A path, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OnePath {
    network_insights_path: PathItem,
}

impl Call for CreateNetworkInsightsPath {
    type Answer = OnePath;

    fn call(self, at: &mut At<'_, '_>) -> Result<OnePath, ApiError> {
        let tags = tags::specified(&self.tag_specification, "network-insights-path")?;
        let id = at.run(api::CreateNetworkInsightsPath {
            source: self.source,
            destination: self.destination,
            destination_ip: self.destination_ip,
            protocol: match self.protocol {
                Protocol::Tcp => protocol::TCP,
                Protocol::Udp => protocol::UDP,
            },
            destination_port: self.destination_port,
        })?;
        tags::put(at, &id, tags);
        let path = at.tx.require(&id)?;
        Ok(OnePath {
            network_insights_path: PathItem::new(&path),
        })
    }
}

/// `DeleteNetworkInsightsPath`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteNetworkInsightsPath {
    network_insights_path_id: NetworkInsightsPathId,
}

/// The path that is gone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedPath {
    network_insights_path_id: NetworkInsightsPathId,
}

impl Call for DeleteNetworkInsightsPath {
    type Answer = DeletedPath;

    fn call(self, at: &mut At<'_, '_>) -> Result<DeletedPath, ApiError> {
        at.run(api::DeleteNetworkInsightsPath {
            path: self.network_insights_path_id.clone(),
        })?;
        Ok(DeletedPath {
            network_insights_path_id: self.network_insights_path_id,
        })
    }
}

describe! {
    /// `DescribeNetworkInsightsPaths`
    DescribeNetworkInsightsPaths { network_insights_path_id: NetworkInsightsPathId }
}

/// `DescribeNetworkInsightsPaths`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Paths {
    network_insights_path_set: Vec<PathItem>,
    next_token: Option<String>,
}

impl Call for DescribeNetworkInsightsPaths {
    type Answer = Paths;

    fn call(self, at: &mut At<'_, '_>) -> Result<Paths, ApiError> {
        let page = self.wanted().select(at, PATH_FILTERS)?;
        Ok(Paths {
            network_insights_path_set: page.items.iter().map(|path| PathItem::new(path)).collect(),
            next_token: page.next_token,
        })
    }
}

const PATH_FILTERS: &[Known<NetworkInsightsPath>] = &[
    ("source", |path, _| one(&path.source)),
    ("destination", |path, _| each(&path.destination)),
    ("protocol", |path, _| one(protocol_name(path.protocol))),
    ("destination-port", |path, _| each(path.destination_port)),
];

fn protocol_name(number: u8) -> &'static str {
    match number {
        protocol::UDP => "udp",
        _ => "tcp",
    }
}

/// A path in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PathItem {
    network_insights_path_id: NetworkInsightsPathId,
    network_insights_path_arn: String,
    created_date: String,
    source: Arc<str>,
    destination: Option<Arc<str>>,
    destination_ip: Option<IpAddr>,
    protocol: &'static str,
    destination_port: Option<u16>,
    tag_set: Vec<TagItem>,
}

impl PathItem {
    fn new(path: &NetworkInsightsPath) -> Self {
        let meta = &path.meta;
        Self {
            network_insights_path_arn: format!(
                "arn:aws:ec2:{}:{}:network-insights-path/{}",
                meta.region, meta.owner, path.id
            ),
            network_insights_path_id: path.id.clone(),
            created_date: time(meta.created_s),
            source: path.source.clone(),
            destination: path.destination.clone(),
            destination_ip: path.destination_ip,
            protocol: protocol_name(path.protocol),
            destination_port: path.destination_port,
            tag_set: tags::items(&meta.all_tags()),
        }
    }
}

/// `StartNetworkInsightsAnalysis`: it is done when it is answered.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartNetworkInsightsAnalysis {
    network_insights_path_id: NetworkInsightsPathId,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// An analysis, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneAnalysis {
    network_insights_analysis: AnalysisItem,
}

impl Call for StartNetworkInsightsAnalysis {
    type Answer = OneAnalysis;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneAnalysis, ApiError> {
        let tags = tags::specified(&self.tag_specification, "network-insights-analysis")?;
        let path = at.tx.require(&self.network_insights_path_id)?;
        let found = analyse(at, &path)?;
        let id = at.run(api::KeepNetworkInsightsAnalysis {
            path: path.id.clone(),
            found: found.found,
            forward: found.forward,
            back: found.back,
            explanations: found.explanations,
        })?;
        tags::put(at, &id, tags);
        let analysis = at.tx.require(&id)?;
        Ok(OneAnalysis {
            network_insights_analysis: AnalysisItem::new(&analysis),
        })
    }
}

/// Walks the path's packet through the tables that packets go by.
fn analyse(at: &At<'_, '_>, path: &NetworkInsightsPath) -> Result<trace::Found, ApiError> {
    let from = ends(at, &path.source);
    let from = from.first().and_then(|eni| at.model().row(&eni.id));
    let destination = path.destination.as_deref();
    let receiver = destination.map(|id| ends(at, id)).unwrap_or_default();
    let to = path
        .destination_ip
        .or_else(|| receiver.first()?.addresses().next());
    let (Some(from), Some(to)) = (from, to) else {
        // An end has gone since the path was made.
        let gone = if from.is_none() {
            Some(&*path.source)
        } else {
            destination
        };
        let gone = gone.unwrap_or_default();
        return Ok(trace::Found {
            explanations: vec![Explanation {
                code: Arc::from("NO_SOURCE_OR_DESTINATION"),
                component: Some(Arc::from(gone)),
                direction: None,
                message: format!("{gone} has no network interface with an address"),
            }],
            ..trace::Found::default()
        });
    };
    let query = trace::Query {
        from: EniId(from),
        to,
        protocol: path.protocol,
        source_port: SOURCE_PORT,
        port: path.destination_port.unwrap_or(DEFAULT_PORT),
    };
    let seed = at.backend.flow_seed();
    let seed = seed.map_err(|why| ApiError::new("InternalError", why))?;
    let names = trace::names(at.model());
    let tables = at.backend.tables();
    trace::found(&tables.load(), &query, seed, &|id| names.get(id).cloned())
        .map_err(|error| ApiError::invalid_value(error.to_string()))
}

/// The interfaces of an end of a path.
fn ends(at: &At<'_, '_>, id: &str) -> Vec<Arc<NetworkInterface>> {
    let (model, caller) = (at.model(), at.caller());
    if let Some(eni) = model.get(&NetworkInterfaceId::from(id)) {
        return vec![Arc::clone(eni)];
    }
    if let Some(endpoint) = model.get(&VpcEndpointId::from(id)) {
        let places = endpoint.interfaces.iter();
        return places
            .filter_map(|place| model.get(&place.interface).cloned())
            .collect();
    }
    super::instance::interfaces(model, caller, id)
}

/// `DeleteNetworkInsightsAnalysis`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteNetworkInsightsAnalysis {
    network_insights_analysis_id: NetworkInsightsAnalysisId,
}

/// The analysis that is gone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedAnalysis {
    network_insights_analysis_id: NetworkInsightsAnalysisId,
}

impl Call for DeleteNetworkInsightsAnalysis {
    type Answer = DeletedAnalysis;

    fn call(self, at: &mut At<'_, '_>) -> Result<DeletedAnalysis, ApiError> {
        at.run(api::DeleteNetworkInsightsAnalysis {
            analysis: self.network_insights_analysis_id.clone(),
        })?;
        Ok(DeletedAnalysis {
            network_insights_analysis_id: self.network_insights_analysis_id,
        })
    }
}

describe! {
    /// `DescribeNetworkInsightsAnalyses`
    DescribeNetworkInsightsAnalyses { network_insights_analysis_id: NetworkInsightsAnalysisId }
}

/// `DescribeNetworkInsightsAnalyses`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Analyses {
    network_insights_analysis_set: Vec<AnalysisItem>,
    next_token: Option<String>,
}

impl Call for DescribeNetworkInsightsAnalyses {
    type Answer = Analyses;

    fn call(self, at: &mut At<'_, '_>) -> Result<Analyses, ApiError> {
        let page = self.wanted().select(at, ANALYSIS_FILTERS)?;
        let items = page
            .items
            .iter()
            .map(|analysis| AnalysisItem::new(analysis));
        Ok(Analyses {
            network_insights_analysis_set: items.collect(),
            next_token: page.next_token,
        })
    }
}

const ANALYSIS_FILTERS: &[Known<NetworkInsightsAnalysis>] = &[
    ("path-found", |analysis, _| one(analysis.found)),
    ("status", |_, _| one("succeeded")),
];

/// An analysis in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AnalysisItem {
    network_insights_analysis_id: NetworkInsightsAnalysisId,
    network_insights_analysis_arn: String,
    network_insights_path_id: NetworkInsightsPathId,
    start_date: String,
    status: &'static str,
    network_path_found: bool,
    forward_path_component_set: Vec<ComponentItem>,
    return_path_component_set: Vec<ComponentItem>,
    explanation_set: Vec<ExplanationItem>,
    tag_set: Vec<TagItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ComponentItem {
    sequence_number: usize,
    component: Named,
}

/// Something with an id; the name says what decided there.
#[derive(Debug, Serialize)]
struct Named {
    id: Arc<str>,
    name: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplanationItem {
    explanation_code: Arc<str>,
    component: Option<Named>,
    direction: Option<Arc<str>>,
    missing_component: Option<String>,
}

impl AnalysisItem {
    fn new(analysis: &NetworkInsightsAnalysis) -> Self {
        let meta = &analysis.meta;
        Self {
            network_insights_analysis_arn: format!(
                "arn:aws:ec2:{}:{}:network-insights-analysis/{}",
                meta.region, meta.owner, analysis.id
            ),
            network_insights_analysis_id: analysis.id.clone(),
            network_insights_path_id: analysis.path.clone(),
            start_date: time(meta.created_s),
            status: "succeeded",
            network_path_found: analysis.found,
            forward_path_component_set: ComponentItem::all(&analysis.forward),
            return_path_component_set: ComponentItem::all(&analysis.back),
            explanation_set: analysis
                .explanations
                .iter()
                .map(ExplanationItem::new)
                .collect(),
            tag_set: tags::items(&meta.all_tags()),
        }
    }
}

impl ComponentItem {
    fn all(components: &[PathComponent]) -> Vec<Self> {
        let item = |(number, component): (usize, &PathComponent)| Self {
            sequence_number: number + 1,
            component: Named {
                id: component.id.clone(),
                name: Some(component.rule.clone()),
            },
        };
        components.iter().enumerate().map(item).collect()
    }
}

impl ExplanationItem {
    fn new(explanation: &Explanation) -> Self {
        Self {
            explanation_code: explanation.code.clone(),
            component: explanation.component.clone().map(|id| Named {
                id,
                name: Some(explanation.message.clone()),
            }),
            direction: explanation.direction.clone(),
            missing_component: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::aws::tests::{Client, text};

    #[test]
    fn an_analysis_says_what_the_walk_says_before_and_after_a_change() {
        let client = Client::new();
        let (vpc, subnet) = client.vpc_and_subnet();
        let group = client.ec2(&format!(
            "Action=CreateSecurityGroup&GroupName=g&GroupDescription=g&VpcId={vpc}"
        ));
        let group = text(&group, "groupId");
        let run = || {
            let made = client.ec2(&format!(
                "Action=RunInstances&ImageId=ami-1&MinCount=1&MaxCount=1&SubnetId={subnet}\
                 &SecurityGroupId.1={group}"
            ));
            (text(&made, "instanceId"), text(&made, "networkInterfaceId"))
        };
        let ((one, _), (two, eni)) = (run(), run());
        let path = client.ec2(&format!(
            "Action=CreateNetworkInsightsPath&Source={one}&Destination={two}&Protocol=tcp\
             &DestinationPort=443"
        ));
        let path = text(&path, "networkInsightsPathId");
        let start = format!("Action=StartNetworkInsightsAnalysis&NetworkInsightsPathId={path}");
        let before = client.ec2(&start);
        assert_eq!(text(&before, "networkPathFound"), "false");
        assert_eq!(text(&before, "explanationCode"), "ENI_SG_RULES_MISMATCH");
        assert_eq!(text(&before, "direction"), "ingress");
        assert!(before.contains(&eni), "{before}");
        client.ec2(&format!(
            "Action=AuthorizeSecurityGroupIngress&GroupId={group}&IpPermissions.1.IpProtocol=tcp\
             &IpPermissions.1.FromPort=443&IpPermissions.1.ToPort=443\
             &IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/16"
        ));
        let after = client.ec2(&start);
        assert_eq!(text(&after, "networkPathFound"), "true");
        assert!(
            after.contains("<explanationSet></explanationSet>"),
            "{after}"
        );
        let found = client.ec2(
            "Action=DescribeNetworkInsightsAnalyses&Filter.1.Name=path-found&Filter.1.Value.1=true",
        );
        let analysis = text(&found, "networkInsightsAnalysisId");
        let delete = format!("Action=DeleteNetworkInsightsPath&NetworkInsightsPathId={path}");
        assert_eq!(
            client.refused(&delete),
            "AnalysisExistsForNetworkInsightsPath"
        );
        for id in [analysis, text(&before, "networkInsightsAnalysisId")] {
            let delete = "Action=DeleteNetworkInsightsAnalysis&NetworkInsightsAnalysisId=";
            client.ec2(&format!("{delete}{id}"));
        }
        client.ec2(&format!("Action=TerminateInstances&InstanceId.1={two}"));
        let gone = client.ec2(&start);
        assert_eq!(text(&gone, "networkPathFound"), "false");
        let unknown = client.refused(
            "Action=CreateNetworkInsightsPath&Source=i-00000000&DestinationIp=1.2.3.4&Protocol=tcp",
        );
        assert_eq!(unknown, "InvalidInstanceID.NotFound");
    }
}
