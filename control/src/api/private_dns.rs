//! Private DNS names of endpoint services, and endpoints that use them.

use std::sync::Arc;

use super::endpoint_service::invalid;
use super::hosted_zone::checked_name;
use super::{Action, ApiError, Transaction};
use crate::model::*;

/// `StartVpcEndpointServicePrivateDnsVerification`: looks for the TXT record in
/// the lab's public zones.
#[derive(Clone, Debug, Default)]
pub struct StartVpcEndpointServicePrivateDnsVerification {
    /// The service.
    pub service: EndpointServiceId,
}

impl Action for StartVpcEndpointServicePrivateDnsVerification {
    type Output = PrivateDnsState;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<PrivateDnsState, ApiError> {
        let mut service = (*tx.require(&self.service)?).clone();
        let (label, text) = service.verification();
        let Some(held) = &mut service.private_dns else {
            return Err(invalid(format!(
                "{} has no private DNS name to verify",
                service.id
            )));
        };
        // The proof is of the domain: that of a wildcard is what it stands in.
        let domain = held.name.strip_prefix("*.").unwrap_or(&held.name);
        let at = std::iter::successors(Some(domain), |name| {
            let (_, parent) = name.split_once('.')?;
            parent.contains('.').then_some(parent)
        });
        let mut at = at.map(|domain| format!("{label}.{domain}"));
        let found = at.any(|name| tx.model().has_public_text(&name, &text));
        held.state = match found {
            true => PrivateDnsState::Verified,
            false => PrivateDnsState::Failed,
        };
        let state = held.state;
        tx.put(service);
        Ok(state)
    }
}

/// The name of a service, not verified yet. Gateway load balancer services
/// have none (P:manage-dns-names).
pub(super) fn named(name: &str, gateway: bool) -> Result<PrivateDns, ApiError> {
    if gateway {
        return Err(invalid(
            "Private DNS names are for services of network load balancers".to_owned(),
        ));
    }
    let name = checked_name(name)?;
    if !name.contains('.') {
        return Err(invalid(format!("'{name}' is not in a domain")));
    }
    Ok(PrivateDns {
        name: Arc::from(name),
        state: PrivateDnsState::PendingVerification,
    })
}

/// Refuses an endpoint that cannot use its service's name.
pub(super) fn check(
    tx: &Transaction<'_>,
    endpoint: &VpcEndpoint,
    service: &EndpointService,
) -> Result<(), ApiError> {
    let Some(held) = &service.private_dns else {
        return Err(invalid(format!(
            "Private DNS can't be enabled because the service {} does not provide a private DNS \
             name",
            endpoint.service_name
        )));
    };
    if held.state != PrivateDnsState::Verified {
        return Err(invalid(format!(
            "Private DNS can't be enabled because the service {} has not verified the private DNS \
             name {}",
            endpoint.service_name, held.name
        )));
    }
    let vpc = tx.require(&endpoint.vpc)?;
    if !(vpc.dns_support && vpc.dns_hostnames) {
        return Err(invalid(format!(
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC \
             attributes set to true for {}",
            vpc.id
        )));
    }
    let mut others = tx.model().referrers::<VpcEndpoint>(&vpc.id);
    let same = others.find(|other| {
        let of_other = tx.model().get(&other.service);
        let name = of_other.and_then(|service| service.private_dns.as_ref());
        let same = name.is_some_and(|other| other.name == held.name);
        other.id != endpoint.id && other.private_dns && same
    });
    match same {
        Some(other) => Err(invalid(format!(
            "private-dns-enabled cannot be set because there is already a conflicting DNS domain \
             for {} in the VPC {}: {}",
            held.name, vpc.id, other.id
        ))),
        None => Ok(()),
    }
}
