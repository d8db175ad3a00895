//! Endpoint services: what a provider offers by PrivateLink.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

use vpclab_dataplane::tables::LoadBalancerKind;

use super::{
    EndpointServiceId, LoadBalancerArn, Meta, Model, NetworkInterfaceId, PrivateDns, References,
    Resource, VpcEndpointId, VpcEndpointType, VpcId, resource_fields,
};

/// Who owns the services of AWS's.
pub const AWS_SERVICE_OWNER: &str = "amazon";

/// A service of AWS's, for which something of the lab's owner answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsService {
    /// `com.amazonaws.us-east-1.sqs`
    pub name: Arc<str>,
    /// What names of its endpoints have between their own part and the region: `sqs`.
    pub label: Arc<str>,
    /// Its public names, the regional one first; `*.` may begin one.
    pub names: Vec<Arc<str>>,
    /// The host of the internet that has its public address.
    pub interface: NetworkInterfaceId,
}

/// Where requests for a service of AWS's come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// `com.amazonaws.us-east-1.sqs`
    pub service: Arc<str>,
    /// The endpoint, and its VPC; none by the internet.
    pub endpoint: Option<(VpcEndpointId, VpcId)>,
}

/// An endpoint service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointService {
    /// Id.
    pub id: EndpointServiceId,
    /// Owner, region, name.
    pub meta: Meta,
    /// Which kind of load balancer it consists of.
    pub kind: LoadBalancerKind,
    /// Its load balancers, all of that kind.
    pub load_balancers: Vec<LoadBalancerArn>,
    /// Endpoints wait for the provider's yes.
    pub acceptance_required: bool,
    /// Who may connect: ARNs, or `*`. Nobody by default.
    pub principals: BTreeSet<Arc<str>>,
    /// The name by which consumers may reach it.
    #[serde(default)]
    pub private_dns: Option<PrivateDns>,
    /// Regions, besides its own, in which it may have endpoints.
    #[serde(default)]
    pub supported_regions: BTreeSet<Arc<str>>,
    /// Which one of AWS's it is, if it is one: then it has no load balancers.
    #[serde(default)]
    pub aws: Option<AwsService>,
}

impl EndpointService {
    /// `com.amazonaws.vpce.<region>.<id>`
    ///
    /// Of a service of AWS's `com.amazonaws.<region>.<service>`.
    pub fn service_name(&self) -> String {
        if let Some(aws) = &self.aws {
            return aws.name.to_string();
        }
        format!("com.amazonaws.vpce.{}.{}", self.meta.region, self.id)
    }

    /// The names of which an endpoint with private DNS takes hold in its VPC.
    pub fn private_names(&self) -> impl Iterator<Item = &Arc<str>> {
        let others = self.aws.iter().flat_map(|aws| aws.names.iter().skip(1));
        self.usable_private_dns().into_iter().chain(others)
    }

    /// Whether it may have endpoints in a region.
    pub fn serves(&self, region: &str) -> bool {
        *self.meta.region == *region || self.supported_regions.contains(region)
    }

    /// The regions in which it may have endpoints.
    pub fn regions(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.meta.region).chain(&self.supported_regions)
    }

    /// Whether an endpoint of `account` is allowed. The provider's own account
    /// always is.
    ///
    /// ASSUMPTION: users and roles are not told apart, so a permission for one
    /// of an account's users or roles lets the account in.
    pub fn allows(&self, account: &str) -> bool {
        account == &*self.meta.owner
            || self.principals.iter().any(|principal| {
                let of_account = principal.split(':').nth(4) == Some(account);
                &**principal == "*" || of_account
            })
    }
}

impl Resource for EndpointService {
    resource_fields!(EndpointServiceId);

    fn references(&self, to: &mut References) {
        to.extend(&self.load_balancers);
        to.extend(self.aws.iter().map(|aws| &aws.interface));
    }

    fn aliases(&self, to: &mut Vec<Arc<str>>) {
        to.push(Arc::from(self.service_name()));
    }
}

impl Model {
    /// The interfaces at which services of AWS's answer: one on the internet for
    /// each service, one for each gateway endpoint, those of interface endpoints.
    pub fn service_ports(&self) -> Vec<(NetworkInterfaceId, Through)> {
        let mut ports = Vec::new();
        for service in self.endpoint_services().iter() {
            let Some(aws) = &service.aws else { continue };
            let through = |endpoint| Through {
                service: aws.name.clone(),
                endpoint,
            };
            ports.push((aws.interface.clone(), through(None)));
            for endpoint in self.referrers::<super::VpcEndpoint>(&service.id) {
                let from = through(Some((endpoint.id.clone(), endpoint.vpc.clone())));
                if endpoint.endpoint_type == VpcEndpointType::Interface {
                    let places = endpoint.interfaces.iter();
                    ports.extend(places.map(|it| (it.interface.clone(), from.clone())));
                }
                ports.extend(endpoint.service_port.clone().map(|port| (port, from)));
            }
        }
        ports
    }
}
