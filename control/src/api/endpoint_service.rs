//! Endpoint services: what a provider offers, to whom, and whom it lets in.

use std::collections::BTreeSet;
use std::sync::Arc;

use vpclab_dataplane::tables::LoadBalancerKind;

use super::private_dns::named;
use super::{Action, ApiError, Transaction, Unsuccessful};
use crate::model::*;

/// `CreateVpcEndpointServiceConfiguration`
#[derive(Clone, Debug)]
pub struct CreateVpcEndpointServiceConfiguration {
    /// Network load balancers, for interface endpoints.
    pub network_load_balancer_arns: Vec<LoadBalancerArn>,
    /// Gateway load balancers, for gateway load balancer endpoints.
    pub gateway_load_balancer_arns: Vec<LoadBalancerArn>,
    /// Endpoints wait until they are accepted (AWS's default).
    pub acceptance_required: bool,
    /// A name by which consumers may reach it, once it is verified.
    pub private_dns_name: Option<String>,
    /// Regions in which it may have endpoints; its own always is one.
    pub supported_regions: Vec<String>,
    /// `Name` tag.
    pub name: Option<String>,
}

impl Default for CreateVpcEndpointServiceConfiguration {
    fn default() -> Self {
        Self {
            network_load_balancer_arns: Vec::new(),
            gateway_load_balancer_arns: Vec::new(),
            acceptance_required: true,
            private_dns_name: None,
            supported_regions: Vec::new(),
            name: None,
        }
    }
}

/// What `CreateVpcEndpointServiceConfiguration` made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateVpcEndpointServiceConfigurationOutput {
    /// The service.
    pub service: EndpointServiceId,
    /// What consumers ask for.
    pub service_name: String,
}

impl Action for CreateVpcEndpointServiceConfiguration {
    type Output = CreateVpcEndpointServiceConfigurationOutput;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Self::Output, ApiError> {
        let network = !self.network_load_balancer_arns.is_empty();
        let gateway = !self.gateway_load_balancer_arns.is_empty();
        let (kind, arns) = match (network, gateway) {
            (true, false) => (LoadBalancerKind::Network, self.network_load_balancer_arns),
            (false, true) => (LoadBalancerKind::Gateway, self.gateway_load_balancer_arns),
            (true, true) => {
                return Err(ApiError::invalid_combination(
                    "A service has either NetworkLoadBalancerArn or GatewayLoadBalancerArn, not \
                     both",
                ));
            }
            (false, false) => {
                return Err(ApiError::missing(
                    "NetworkLoadBalancerArn or GatewayLoadBalancerArn",
                ));
            }
        };
        let mut service = EndpointService {
            id: tx.mint(),
            meta: tx.meta(self.name.as_deref()),
            kind,
            load_balancers: Vec::new(),
            acceptance_required: self.acceptance_required,
            principals: BTreeSet::new(),
            private_dns: None,
            supported_regions: BTreeSet::new(),
            aws: None,
        };
        if let Some(name) = &self.private_dns_name {
            service.private_dns = Some(named(name, kind == LoadBalancerKind::Gateway)?);
        }
        for arn in &arns {
            add_load_balancer(tx, &mut service, arn)?;
        }
        add_regions(tx, &mut service, self.supported_regions)?;
        let output = CreateVpcEndpointServiceConfigurationOutput {
            service: service.id.clone(),
            service_name: service.service_name(),
        };
        tx.put(service);
        Ok(output)
    }
}

/// `ModifyVpcEndpointServiceConfiguration`
#[derive(Clone, Debug, Default)]
pub struct ModifyVpcEndpointServiceConfiguration {
    /// The service.
    pub service: EndpointServiceId,
    /// Whether endpoints made from now on wait.
    pub acceptance_required: Option<bool>,
    /// Load balancers of the service's kind to add.
    pub add_load_balancer_arns: Vec<LoadBalancerArn>,
    /// Load balancers to take away; not while endpoints are connected.
    pub remove_load_balancer_arns: Vec<LoadBalancerArn>,
    /// Regions in which it may have endpoints from now on.
    pub add_supported_regions: Vec<String>,
    /// Regions in which it gets no new ones.
    pub remove_supported_regions: Vec<String>,
    /// Another private DNS name, to be verified.
    pub private_dns_name: Option<String>,
    /// No private DNS name any more.
    pub remove_private_dns_name: bool,
}

impl Action for ModifyVpcEndpointServiceConfiguration {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let mut service = (*tx.require(&self.service)?).clone();
        for arn in &self.add_load_balancer_arns {
            add_load_balancer(tx, &mut service, arn)?;
        }
        if !self.remove_load_balancer_arns.is_empty() {
            refuse_if_connected(tx, &service)?;
        }
        for arn in &self.remove_load_balancer_arns {
            if !service.load_balancers.contains(arn) {
                return Err(invalid(format!(
                    "The load balancer '{arn}' is not associated with {}",
                    service.id
                )));
            }
            service.load_balancers.retain(|other| other != arn);
        }
        if service.load_balancers.is_empty() {
            return Err(invalid(format!(
                "{} must keep at least one load balancer",
                service.id
            )));
        }
        for region in &self.remove_supported_regions {
            if *service.meta.region == **region {
                return Err(invalid(format!(
                    "{} is in {region}: that Region cannot be removed",
                    service.id
                )));
            }
            if !service.supported_regions.remove(region.as_str()) {
                return Err(invalid(format!("{} does not support {region}", service.id)));
            }
        }
        add_regions(tx, &mut service, self.add_supported_regions)?;
        if self.remove_private_dns_name {
            service.private_dns = None;
        }
        if let Some(name) = &self.private_dns_name {
            let gateway = service.kind == LoadBalancerKind::Gateway;
            service.private_dns = Some(named(name, gateway)?);
        }
        let acceptance = self.acceptance_required;
        service.acceptance_required = acceptance.unwrap_or(service.acceptance_required);
        tx.put(service);
        Ok(())
    }
}

/// `ModifyVpcEndpointServicePermissions`. Taking a permission away does not cut
/// endpoints that exist.
#[derive(Clone, Debug, Default)]
pub struct ModifyVpcEndpointServicePermissions {
    /// The service.
    pub service: EndpointServiceId,
    /// `*`, or ARNs of accounts, users and roles.
    pub add_allowed_principals: Vec<String>,
    /// Principals to take away.
    pub remove_allowed_principals: Vec<String>,
}

impl Action for ModifyVpcEndpointServicePermissions {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let service = tx.require(&self.service)?;
        let mut principals = service.principals.clone();
        for principal in self.add_allowed_principals {
            if !is_principal(&principal) {
                return Err(ApiError::new(
                    "InvalidPrincipal",
                    format!(
                        "Invalid Principal: '{principal}'; use * or an ARN such as \
                         arn:aws:iam::123456789012:root"
                    ),
                ));
            }
            principals.insert(Arc::from(principal));
        }
        for principal in &self.remove_allowed_principals {
            principals.remove(principal.as_str());
        }
        tx.update(&service.id, |service| service.principals = principals);
        Ok(())
    }
}

/// `DeleteVpcEndpointServiceConfigurations`
#[derive(Clone, Debug, Default)]
pub struct DeleteVpcEndpointServiceConfigurations {
    /// The services; no endpoint of theirs may be available or waiting.
    pub services: Vec<EndpointServiceId>,
}

impl Action for DeleteVpcEndpointServiceConfigurations {
    type Output = Vec<Unsuccessful>;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Vec<Unsuccessful>, ApiError> {
        let mut unsuccessful = Vec::new();
        for id in &self.services {
            if let Err(error) = delete(tx, id) {
                unsuccessful.push(Unsuccessful::new(id, error));
            }
        }
        Ok(unsuccessful)
    }
}

fn delete(tx: &mut Transaction<'_>, id: &EndpointServiceId) -> Result<(), ApiError> {
    let service = tx.require(id)?;
    refuse_if_connected(tx, &service)?;
    for endpoint in tx.referrers::<VpcEndpoint>(id) {
        tx.update(&endpoint.id, |endpoint| {
            endpoint.state = VpcEndpointState::Failed;
        });
    }
    tx.remove(id);
    Ok(())
}

/// `AcceptVpcEndpointConnections`
#[derive(Clone, Debug, Default)]
pub struct AcceptVpcEndpointConnections {
    /// The service.
    pub service: EndpointServiceId,
    /// Endpoints that wait for acceptance.
    pub vpc_endpoints: Vec<VpcEndpointId>,
}

impl Action for AcceptVpcEndpointConnections {
    type Output = Vec<Unsuccessful>;

    /// ASSUMPTION: a rejected endpoint cannot be accepted any more; the
    /// consumer makes a new one.
    fn apply(self, tx: &mut Transaction<'_>) -> Result<Vec<Unsuccessful>, ApiError> {
        let from = [
            VpcEndpointState::PendingAcceptance,
            VpcEndpointState::Available,
        ];
        let to = VpcEndpointState::Available;
        decide(tx, &self.service, &self.vpc_endpoints, &from, to)
    }
}

/// `RejectVpcEndpointConnections`: an accepted one may be rejected later.
#[derive(Clone, Debug, Default)]
pub struct RejectVpcEndpointConnections {
    /// The service.
    pub service: EndpointServiceId,
    /// Endpoints that wait, or are available.
    pub vpc_endpoints: Vec<VpcEndpointId>,
}

impl Action for RejectVpcEndpointConnections {
    type Output = Vec<Unsuccessful>;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Vec<Unsuccessful>, ApiError> {
        let from = [
            VpcEndpointState::PendingAcceptance,
            VpcEndpointState::Available,
            VpcEndpointState::Rejected,
        ];
        let to = VpcEndpointState::Rejected;
        decide(tx, &self.service, &self.vpc_endpoints, &from, to)
    }
}

fn decide(
    tx: &mut Transaction<'_>,
    service: &EndpointServiceId,
    endpoints: &[VpcEndpointId],
    from: &[VpcEndpointState],
    to: VpcEndpointState,
) -> Result<Vec<Unsuccessful>, ApiError> {
    let service = tx.require(service)?;
    let mut unsuccessful = Vec::new();
    for id in endpoints {
        let known = tx.require_any_owner(id).and_then(|endpoint| {
            if endpoint.service != service.id {
                return Err(ApiError::new(
                    VpcEndpointId::NOT_FOUND,
                    format!("'{id}' is not connected to {}", service.id),
                ));
            }
            if !from.contains(&endpoint.state) {
                return Err(ApiError::new(
                    "InvalidState",
                    format!(
                        "'{id}' is {}, which cannot become {}",
                        endpoint.state.name(),
                        to.name()
                    ),
                ));
            }
            Ok(())
        });
        match known {
            Ok(()) => tx.update(id, |endpoint| endpoint.state = to),
            Err(error) => unsuccessful.push(Unsuccessful::new(id, error)),
        }
    }
    Ok(unsuccessful)
}

fn add_load_balancer(
    tx: &Transaction<'_>,
    service: &mut EndpointService,
    arn: &LoadBalancerArn,
) -> Result<(), ApiError> {
    let found = tx.require(arn);
    let balancer =
        found.map_err(|_| invalid(format!("The load balancer '{arn}' does not exist")))?;
    if balancer.kind != service.kind {
        return Err(invalid(format!(
            "The load balancer '{arn}' is of another type than the service's"
        )));
    }
    let other = tx.model().referrers::<EndpointService>(arn).next();
    if other.is_some() || service.load_balancers.contains(arn) {
        let user = other.map_or(&service.id, |other| &other.id);
        return Err(invalid(format!(
            "The load balancer '{arn}' is already associated with the endpoint service {user}"
        )));
    }
    service.load_balancers.push(arn.clone());
    Ok(())
}

/// AWS: PrivateLink "Share your services", cross-Region access: network load
/// balancers in two zones or more, with the usual idle timeout.
fn add_regions(
    tx: &Transaction<'_>,
    service: &mut EndpointService,
    regions: Vec<String>,
) -> Result<(), ApiError> {
    let own = service.meta.region.clone();
    let others = regions.into_iter().filter(|region| **region != *own);
    let others: Vec<Arc<str>> = others.map(Arc::from).collect();
    let Some(first) = others.first() else {
        return Ok(());
    };
    if service.kind == LoadBalancerKind::Gateway {
        return Err(invalid(format!(
            "Services of Gateway Load Balancers support their own Region only, not {first}"
        )));
    }
    let zones: BTreeSet<_> = super::endpoint::service_zones(tx, service).collect();
    if zones.len() < 2 {
        return Err(invalid(format!(
            "To support {first}, the load balancers of {} must be in at least two Availability \
             Zones",
            service.id
        )));
    }
    let mut listeners = service
        .load_balancers
        .iter()
        .flat_map(|arn| tx.model().referrers::<Listener>(arn));
    if let Some(listener) =
        listeners.find(|it| it.tcp_idle_s != super::listener::TCP_IDLE_DEFAULT_S)
    {
        return Err(invalid(format!(
            "To support {first}, the listener {} must have the usual TCP idle timeout, {} s, not {}",
            listener.id,
            super::listener::TCP_IDLE_DEFAULT_S,
            listener.tcp_idle_s
        )));
    }
    service.supported_regions.extend(others);
    Ok(())
}

fn refuse_if_connected(tx: &Transaction<'_>, service: &EndpointService) -> Result<(), ApiError> {
    let connected = [
        VpcEndpointState::PendingAcceptance,
        VpcEndpointState::Available,
    ];
    let mut endpoints = tx.model().referrers::<VpcEndpoint>(&service.id);
    match endpoints.find(|endpoint| connected.contains(&endpoint.state)) {
        Some(endpoint) => Err(ApiError::new(
            "ExistingVpcEndpointConnections",
            format!(
                "Service {} has existing active VPC Endpoint connections: {} is {}; reject it \
                 first",
                service.id,
                endpoint.id,
                endpoint.state.name()
            ),
        )),
        None => Ok(()),
    }
}

fn is_principal(principal: &str) -> bool {
    if principal == "*" {
        return true;
    }
    let parts: Vec<&str> = principal.splitn(6, ':').collect();
    let [arn, partition, "iam" | "sts", "", account, resource] = parts[..] else {
        return false;
    };
    let digits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    let named = ["user/", "role/", "assumed-role/"];
    let known = resource == "root" || named.iter().any(|kind| resource.starts_with(kind));
    arn == "arn" && partition.starts_with("aws") && digits && known
}

pub(super) fn invalid(message: String) -> ApiError {
    ApiError::new("InvalidParameter", message)
}
