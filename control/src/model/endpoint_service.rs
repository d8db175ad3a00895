//! Endpoint services: what a provider offers by PrivateLink.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

use vpclab_dataplane::tables::LoadBalancerKind;

use super::{
    EndpointServiceId, LoadBalancerArn, Meta, PrivateDns, References, Resource, resource_fields,
};

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
}

impl EndpointService {
    /// `com.amazonaws.vpce.<region>.<id>`
    pub fn service_name(&self) -> String {
        format!("com.amazonaws.vpce.{}.{}", self.meta.region, self.id)
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
    }

    fn aliases(&self, to: &mut Vec<Arc<str>>) {
        to.push(Arc::from(self.service_name()));
    }
}
